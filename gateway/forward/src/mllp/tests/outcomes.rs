//! What becomes of a message, by what the receiver does.

use hl7::mllp::frame;

use super::receiver::{Do, Receiver, ack};
use super::*;

async fn send(sender: &Sender, seq: Seq, control_id: &str) -> Result<Committed, SendError> {
    sender.send(&batch(seq, &message(control_id))).await
}

fn ids(receiver: &Receiver) -> Vec<(usize, String)> {
    receiver.read()
}

fn pairs(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
    expected.iter().map(|(n, id)| (*n, (*id).to_owned())).collect()
}

#[tokio::test]
async fn what_is_acknowledged_is_committed_byte_for_byte_on_one_connection() {
    let receiver = Receiver::start([]).await;
    let sender = sender(&receiver.address, "");
    for (seq, id) in [(1, "M1"), (2, "M2"), (3, "M3")] {
        let committed = send(&sender, seq, id).await.unwrap();
        assert!(committed.is_ours());
        assert_eq!(committed.bytes_wire, message(id).len() as u64);
    }
    assert_eq!(receiver.payloads(), ["M1", "M2", "M3"].map(message));
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn the_envelope_of_a_batch_does_not_travel_with_its_messages() {
    let receiver = Receiver::start([]).await;
    let sender = sender(&receiver.address, "");
    let first = [&b"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r"[..], &message("M1")].concat();
    let last = [&message("M2")[..], b"BTS|2\rFTS|1\r"].concat();
    sender.send(&batch(1, &first)).await.unwrap();
    sender.send(&batch(2, &last)).await.unwrap();
    assert_eq!(receiver.payloads(), ["M1", "M2"].map(message));
}

#[tokio::test]
async fn whatever_is_no_answer_closes_the_connection_and_the_same_bytes_go_again() {
    let own = frame(&message("R77"));
    let cases: Vec<(&str, Vec<Do>)> = vec![
        ("silence", vec![Do::Wait(PATIENCE * 4), Do::Say("AA")]),
        ("closes without a word", vec![Do::Close]),
        ("an answer to another message", vec![Do::SayFor("AA", "M0")]),
        ("an answer without MSA", vec![Do::Raw(frame(b"MSH|^~\\&|B|E|A|L|2026||ACK|R1|P|2.5.1\r"))]),
        ("an answer with a code of its own", vec![Do::Say("OK")]),
        ("junk in a frame", vec![Do::Raw(frame(b"thank you"))]),
        ("an empty frame", vec![Do::Raw(frame(b""))]),
        ("a message of its own", vec![Do::Raw(own)]),
        ("closes in mid-answer", vec![Do::Raw(frame(&ack("AA", "M1"))[..40].to_vec()), Do::Close]),
        (
            "stops in mid-answer",
            vec![Do::Raw(frame(&ack("AA", "M1"))[..40].to_vec()), Do::Wait(PATIENCE * 4)],
        ),
        (
            "begins anew in mid-answer",
            vec![Do::Raw(b"\x0bMSH|^~\\&|\x0bMSH".to_vec()), Do::Wait(PATIENCE * 4)],
        ),
        ("another protocol", vec![Do::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), Do::Close]),
        ("accepts and never answers the rest", vec![Do::Raw(b"\r\n\0".to_vec()), Do::Wait(PATIENCE * 4)]),
    ];
    for (what, script) in cases {
        let receiver = Receiver::start([script]).await;
        let sender = sender(&receiver.address, "");
        let error = send(&sender, 1, "M1").await.unwrap_err();
        assert!(matches!(error, SendError::Unknown { .. }), "{what}: {error}");
        assert!(error.may_have_committed() && !error.to_string().contains("KESTREL"), "{what}: {error}");
        send(&sender, 1, "M1").await.unwrap_or_else(|e| panic!("{what}: {e}"));
        send(&sender, 2, "M2").await.unwrap();
        assert_eq!(ids(&receiver), pairs(&[(1, "M1"), (2, "M1"), (2, "M2")]), "{what}");
        let payloads = receiver.payloads();
        assert_eq!(payloads[0], payloads[1], "{what}: the very same bytes");
    }
}

#[tokio::test]
async fn a_slow_answer_in_pieces_is_an_answer() {
    let whole = frame(&ack("AA", "M1"));
    let pieces = whole.chunks(40).flat_map(|c| [Do::Raw(c.to_vec()), Do::Wait(PATIENCE / 20)]).collect();
    let receiver = Receiver::start([pieces]).await;
    let sender = sender(&receiver.address, "");
    send(&sender, 1, "M1").await.unwrap();
}

/// The answers of a sender with a constant MSH-10 all look alike: only the closed connection keeps a late or second
/// one from being taken for the next message's.
#[tokio::test]
async fn a_late_or_second_answer_never_settles_the_next_message() {
    for id in ["SAME", ""] {
        // Late: the answer to the first attempt comes while the second message waits, were the connection kept.
        let receiver = Receiver::start([
            vec![Do::Wait(PATIENCE + PATIENCE / 2), Do::Say("AA")],
            vec![Do::Say("AA")],
            vec![Do::Wait(PATIENCE * 4)],
        ])
        .await;
        let sender = sender(&receiver.address, "");
        assert!(matches!(send(&sender, 1, id).await, Err(SendError::Unknown { .. })));
        send(&sender, 1, id).await.unwrap();
        let swallowed = send(&sender, 2, id).await;
        assert!(matches!(swallowed, Err(SendError::Unknown { .. })), "{id:?}: it was never answered");
        assert_eq!(receiver.connections(), 3, "each has a connection of its own");

        // Twice: the second answer stands ready when the next message goes.
        let receiver =
            Receiver::start([vec![Do::Say("AA"), Do::Say("AA")], vec![Do::Wait(PATIENCE * 4)]]).await;
        let sender = super::sender(&receiver.address, "");
        send(&sender, 1, id).await.unwrap();
        assert!(matches!(send(&sender, 2, id).await, Err(SendError::Unknown { .. })), "{id:?}");
    }
    // With control ids that differ the second answer is noticed, at the latest when the next one is awaited.
    let receiver = Receiver::start([vec![Do::Say("AA"), Do::Wait(PATIENCE / 4), Do::Say("AA")]]).await;
    let sender = sender(&receiver.address, "");
    send(&sender, 1, "M1").await.unwrap();
    tokio::time::sleep(PATIENCE / 2).await;
    send(&sender, 2, "M2").await.unwrap();
    assert_eq!(ids(&receiver), pairs(&[(1, "M1"), (2, "M2")]), "the connection was not used again");
}

#[tokio::test]
async fn ae_is_sent_again_and_with_on_error_hold_it_ends() {
    let receiver = Receiver::start([vec![Do::Say("AE")], vec![Do::Say("CE")]]).await;
    let sender = sender(&receiver.address, "");
    for _ in 0..2 {
        let error = send(&sender, 1, "M1").await.unwrap_err();
        assert!(matches!(&error, SendError::Declined { .. }) && error.is_transient(), "{error}");
    }
    send(&sender, 1, "M1").await.unwrap();
    assert_eq!(receiver.payloads(), vec![message("M1"); 3]);

    receiver.will(std::iter::repeat_n(vec![Do::Say("AE")], 5));
    let sender = super::sender(&receiver.address, "on_error = 'hold'\nattempts = 3");
    for _ in 0..2 {
        assert!(matches!(send(&sender, 1, "M1").await, Err(SendError::Declined { .. })));
    }
    let error = send(&sender, 1, "M1").await.unwrap_err();
    assert!(matches!(&error, SendError::Rejected { seq: 1, .. }), "{error}");
    assert!(error.to_string().contains("AE, 3 times in a row"), "{error}");
    assert!(matches!(send(&sender, 2, "M2").await, Err(SendError::Declined { .. })), "counted anew");
}

#[tokio::test]
async fn ar_is_for_a_person_who_reads_where_and_no_content() {
    let refusal = frame(
        b"MSH|^~\\&|B|E|A|L|2026||ACK|R1|P|2.5.1\rMSA|AR|M1|KESTREL is unknown\rERR||PID^1^3|103^Table value not found^HL70357|E||||7100037 of ISADORA KESTREL\r",
    );
    let receiver = Receiver::start([vec![Do::Raw(refusal)], vec![Do::Say("CR")]]).await;
    let sender = sender(&receiver.address, "");
    let Err(SendError::Rejected { seq: 1, why }) = send(&sender, 1, "M1").await else {
        panic!("not rejected")
    };
    assert_eq!(why, "the receiver answered AR, condition 103 at PID-3");
    assert!(matches!(send(&sender, 2, "M2").await, Err(SendError::Rejected { seq: 2, .. })));
    send(&sender, 3, "M3").await.unwrap();
    assert_eq!(receiver.connections(), 1, "a refusal is an answer");
}

#[tokio::test]
async fn what_cannot_be_framed_is_never_sent() {
    let receiver = Receiver::start([]).await;
    let sender = sender(&receiver.address, "");
    for broken in [&b"OBX|1|ED|\x0b|\r"[..], b"OBX|1|ED|\x1c\r|\r"] {
        let payload = [&message("M1")[..], broken].concat();
        let sent = sender.send(&batch(1, &payload)).await;
        assert!(matches!(sent, Err(SendError::Rejected { seq: 1, .. })), "{sent:?}");
    }
    assert_eq!(receiver.connections(), 0);
    // FS elsewhere is data.
    sender.send(&batch(1, &[&message("M1")[..], b"OBX|1|ED|\x1c|\r"].concat())).await.unwrap();
}

#[tokio::test]
async fn a_message_waits_for_what_it_asks_for() {
    let both = || vec![Do::Say("CA"), Do::Wait(PATIENCE / 4), Do::Say("AA")];
    let receiver = Receiver::start([both(), vec![Do::Say("CA")], vec![Do::Say("CA"), Do::Say("AR")]]).await;
    let sender = sender(&receiver.address, "");
    sender.send(&batch(1, &asking("M1", "AL", "AL"))).await.unwrap();
    // The accept acknowledgement alone is not enough where both are asked for.
    let half = sender.send(&batch(2, &asking("M2", "AL", "AL"))).await;
    assert!(matches!(half, Err(SendError::Unknown { .. })), "{half:?}");
    let refused = sender.send(&batch(2, &asking("M2", "AL", "AL"))).await;
    assert!(matches!(refused, Err(SendError::Rejected { .. })), "{refused:?}");

    // It is where it alone is asked for, or where the operator says so; what the application says later is no fault.
    receiver.will([both(), both()]);
    let sender = super::sender(&receiver.address, "wait_for = 'first-answer'");
    sender.send(&batch(3, &asking("M3", "AL", "AL"))).await.unwrap();
    tokio::time::sleep(PATIENCE / 2).await;
    sender.send(&batch(4, &asking("M4", "AL", "NE"))).await.unwrap();
    sender.send(&batch(5, &asking("M5", "AL", "NE"))).await.unwrap();
    let connections: Vec<usize> = receiver.read().iter().rev().take(3).map(|(n, _)| *n).collect();
    assert_eq!(connections, [3, 3, 3]);
}

/// NE/NE: nothing is answered when all is well. The receiver's end of the connection says that it read to the end.
#[tokio::test]
async fn a_message_that_asks_for_nothing_is_confirmed_by_the_end_of_its_connection() {
    let receiver = Receiver::start([vec![], vec![Do::Say("AA")], vec![Do::Say("CR")]]).await;
    let sender = sender(&receiver.address, "");
    for id in ["M1", "M2"] {
        sender.send(&batch(1, &asking(id, "NE", "NE"))).await.unwrap();
    }
    let refused = sender.send(&batch(1, &asking("M3", "ER", "ER"))).await;
    assert!(matches!(refused, Err(SendError::Rejected { .. })), "{refused:?}");
    assert_eq!(receiver.connections(), 3);
    // One that neither answers nor closes has not confirmed anything.
    receiver.will([vec![Do::Wait(PATIENCE * 4)]]);
    let silent = sender.send(&batch(2, &asking("M4", "NE", "NE"))).await;
    assert!(matches!(silent, Err(SendError::Unknown { .. })), "{silent:?}");
}

#[tokio::test]
async fn a_receiver_that_closed_an_idle_connection_costs_nothing() {
    let receiver = Receiver::start([vec![Do::Say("AA"), Do::Close]]).await;
    let sender = sender(&receiver.address, "");
    send(&sender, 1, "M1").await.unwrap();
    tokio::time::sleep(PATIENCE / 4).await;
    send(&sender, 2, "M2").await.unwrap();
    assert_eq!(ids(&receiver), pairs(&[(1, "M1"), (2, "M2")]));
}

#[tokio::test]
async fn a_receiver_that_is_away_is_unreachable_and_nothing_was_sent() {
    let receiver = Receiver::start([]).await;
    let address = receiver.address.clone();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let sender = sender(&closed, "");
    let request =
        EpochRequest { incarnation: "00".repeat(16), proposed: StreamEpoch::FIRST, resume_after: 7 };
    for error in
        [sender.open(Lane::Clinical, &request).await.unwrap_err(), send(&sender, 1, "M1").await.unwrap_err()]
    {
        assert!(matches!(&error, SendError::Unreachable { .. }) && !error.may_have_committed(), "{error}");
        assert!(error.to_string().contains("nothing listens on that port"), "{error}");
    }
    let sender = super::sender(&address, "");
    let grant = sender.open(Lane::Clinical, &request).await.unwrap();
    assert_eq!((grant.epoch, grant.watermark, grant.manifest_sha256), (StreamEpoch::FIRST, 7, None));
    send(&sender, 8, "M1").await.unwrap();
    assert_eq!(receiver.connections(), 1, "opening made the connection that is sent on");
}

#[tokio::test]
async fn a_cancelled_send_leaves_no_connection_behind() {
    let receiver = Receiver::start([vec![Do::Wait(PATIENCE / 2), Do::Say("AA")]]).await;
    let sender = sender(&receiver.address, "");
    let cancelled = tokio::time::timeout(PATIENCE / 4, send(&sender, 1, "M1")).await;
    assert!(cancelled.is_err());
    send(&sender, 1, "M1").await.unwrap();
    assert_eq!(ids(&receiver), pairs(&[(1, "M1"), (2, "M1")]));
}

#[tokio::test]
async fn lanes_do_not_wait_for_each_other() {
    let receiver = Receiver::start([vec![Do::Wait(PATIENCE / 2), Do::Say("AA")]]).await;
    let sender = sender(&receiver.address, "");
    let slow = batch(1, &message("M1"));
    let mut urgent = batch(1, &message("U1"));
    urgent.stream.lane = Lane::Urgent;
    let (mut order, second) = (Vec::new(), std::cell::Cell::new(0));
    let began = tokio::time::Instant::now();
    tokio::join!(
        async {
            sender.send(&slow).await.unwrap();
            second.set(1);
        },
        async {
            tokio::time::sleep(PATIENCE / 8).await;
            sender.send(&urgent).await.unwrap();
            order.push(second.get());
        }
    );
    assert_eq!(order, [0], "the urgent lane was done first, {:?}", began.elapsed());
}

#[tokio::test]
async fn batches_hold_one_record_or_none() {
    let receiver = Receiver::start([]).await;
    let sender = sender(&receiver.address, "");
    let nothing = sender.send(&of(1, vec![], vec![skip(1, 9)])).await.unwrap();
    assert_eq!((nothing.manifest_sha256.as_str(), nothing.bytes_wire), ("", 0));
    let two = of(1, vec![release(1, &message("M1")), release(2, &message("M2"))], vec![]);
    assert_eq!(sender.send(&two).await.unwrap_err(), SendError::Encode(EncodeError::TooManyRecords));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn the_connection_test_goes_step_by_step() {
    let receiver = Receiver::start([]).await;
    let report = sender(&receiver.address, "").test().await;
    assert!(report.passed(), "{report}");
    assert!(report.to_string().contains("in the clear"), "{report}");
    assert!(receiver.payloads().is_empty(), "nothing was sent");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let shown = sender(&closed.to_string(), "").test().await.to_string();
    assert!(shown.contains("tcp            FAILED") && shown.contains("nothing listens"), "{shown}");
    let shown = sender("no-such-host.invalid:2575", "").test().await.to_string();
    assert!(shown.contains("dns            FAILED") && shown.contains("`to`"), "{shown}");

    // One that closes at once, as an allow-list does.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let probe = sender(&address, "");
    let (report, ()) = tokio::join!(probe.test(), async { drop(listener.accept().await.unwrap()) });
    let shown = report.to_string();
    assert!(shown.contains("authorisation  FAILED") && shown.contains("allow-list"), "{shown}");
}
