//! What goes wrong: refusals, broken frames, peers that are slow, gone or hostile.

use std::sync::Arc;
use std::time::Duration;

use hl7::AckCode;
use model::{Format, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::{At, FixedClock, Memory, PATIENCE, Ward, formats, framed, message};
use crate::mllp::{Config, Error, JUNK_BYTES_MAX, Server};
use forward::mllp::client::Client;

#[tokio::test]
async fn a_refusal_is_answered_with_what_to_do_and_the_connection_lives_on() {
    for at in [At::Begin, At::Push, At::Commit] {
        let ward = Ward::open(Memory::new());
        let mut client = ward.client().await;
        for (n, (refusal, code, text)) in [
            (Refusal::Full, AckCode::Error, "Not stored: the gateway has no room left. Send the message again later."),
            (
                Refusal::Stopping,
                AckCode::Error,
                "Not stored: the gateway is stopping. Connect again and send the message again.",
            ),
            (
                Refusal::Storage,
                AckCode::Error,
                "Not stored: the gateway's storage failed. Tell its operator and send the message again later.",
            ),
            (
                Refusal::TooLarge,
                AckCode::Reject,
                "Not stored: longer than this feed's limit of 67108864 bytes. Send a shorter message or have the limit raised.",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            ward.memory.refuse(Some((at, refusal)));
            let id = format!("R{n}");
            let answer = client.send(message(&id).as_bytes()).await.unwrap();
            assert_eq!((answer.code(), answer.control_id()), (code, id.as_bytes()), "{at:?} {refusal:?}");
            assert_eq!(answer.text().as_deref(), Some(text));
            assert!(answer.message().get(&"ERR-3".parse().unwrap()).is_some_and(|e| !e.is_empty()));
        }
        assert!(ward.memory.stored().is_empty());
        // The same message again, once there is room.
        ward.memory.refuse(None);
        assert_eq!(client.send(message("R0").as_bytes()).await.unwrap().code(), AckCode::Accept);
        let stats = ward.close().await;
        assert_eq!((stats.frames, stats.refused, stats.accepted), (5, 4, 1));
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_rejected_at_its_end() {
    let ward = Ward::with(Memory::new(), |c| c.frame_bytes_max = 4096);
    let mut peer = ward.peer().await;
    let large = format!("{}OBX|2|{}\r", message("BIG"), "x".repeat(100_000));
    peer.write([framed(&message("A1")), framed(&large), framed(&message("A2"))].concat()).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert!(
        peer.msa().await.starts_with("MSA|AR|BIG|Not stored: longer than this feed's limit of 4096 bytes.")
    );
    assert_eq!(peer.msa().await, "MSA|AA|A2");
    assert_eq!(ward.memory.payloads(), [message("A1"), message("A2")]);
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.refused), (2, 1));
}

#[tokio::test]
async fn a_frame_without_msh_is_kept_and_rejected() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(framed("PID|1||100\r")).await;
    let answer = peer.answer().await.unwrap();
    let fresh = answer.split('|').nth(9).unwrap().to_owned();
    insta::assert_snapshot!(answer.replace(&fresh, "[fresh]").replace('\r', "\n"), @r"
    MSH|^~\&|||||20261124083000+0000||ACK|[fresh]|P|2.5
    MSA|AR||Rejected: byte 0: the message does not begin with an MSH, FHS or BHS segment. Correct the message and send it again.
    ERR|||100^Segment sequence error^HL70357|E||||Rejected: byte 0: the message does not begin with an MSH, FHS or BHS segment. Correct the message and send it again.
    ");
    // The same again is the same record.
    peer.write(framed("PID|1||100\r")).await;
    assert_eq!(peer.answer().await.unwrap(), answer);
    peer.write(framed(&message("A1"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(ward.memory.payloads(), ["PID|1||100\r".to_owned(), message("A1")]);
    assert_eq!(formats(&ward.memory.stored()), [Format::Unparsed, Format::Hl7v2]);
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.unparsed, stats.duplicates, stats.accepted), (3, 1, 1, 1));
}

#[tokio::test]
async fn a_frame_that_lost_its_end_is_kept_apart_from_the_next() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let mut lost = framed(&message("LOST"));
    lost.truncate(lost.len() - 2);
    peer.write([lost, framed(&message("A1"))].concat()).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(ward.memory.payloads(), [message("LOST"), message("A1")]);
    assert_eq!(formats(&ward.memory.stored()), [Format::Unparsed, Format::Hl7v2]);
    // The sender, which got no answer, sends it again: a message of its own, not a resend of the evidence.
    peer.write(framed(&message("LOST"))).await;
    assert_eq!(peer.msa().await, "MSA|AA|LOST");
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.accepted, stats.broken, stats.duplicates), (2, 2, 1, 0));
}

#[tokio::test]
async fn what_stands_between_frames_and_empty_frames_are_skipped_and_counted() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let stream = [
        "\r\n\0".as_bytes(),
        &framed(""),
        &framed(&message("A1")),
        b"\r\n\0\0",
        &framed(""),
        &framed(&message("A2")),
    ];
    peer.write(stream.concat()).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(peer.msa().await, "MSA|AA|A2");
    // A frame whose CR was lost ends where the next begins.
    let mut no_cr = framed(&message("A3"));
    no_cr.pop();
    peer.write([no_cr, framed(&message("A4"))].concat()).await;
    assert_eq!(peer.msa().await, "MSA|AA|A3");
    assert_eq!(peer.msa().await, "MSA|AA|A4");
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.empty, stats.junk_bytes), (4, 2, 7));
}

#[tokio::test]
async fn a_disconnect_inside_a_frame_stores_nothing() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let frame = framed(&message("A1"));
    peer.write(&frame[..60]).await;
    drop(peer);
    ward.until("the frame is cut off", |s| s.cut_off == 1 && s.connections == 0).await;
    assert!(ward.memory.stored().is_empty());
    let mut client = ward.client().await;
    assert!(client.send(message("A1").as_bytes()).await.unwrap().code().is_positive());
    assert_eq!(ward.close().await.duplicates, 0);
}

#[tokio::test]
async fn a_peer_that_goes_before_its_answer_has_its_message_stored_once() {
    let ward = Ward::open(Memory::gated());
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A1"))).await;
    ward.memory.begun(1).await;
    peer.stream.set_zero_linger().unwrap();
    drop(peer);
    ward.memory.open_gate();
    ward.until("the message is durable", |s| s.accepted == 1 && s.connections == 0).await;
    let mut client = ward.client().await;
    assert!(client.send(message("A1").as_bytes()).await.unwrap().code().is_positive());
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.duplicates), (1, 1));
}

#[tokio::test]
async fn a_peer_that_speaks_no_mllp_is_disconnected() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let junk = vec![b'x'; 64 << 10];
    let mut sent = 0_u64;
    while peer.stream.write_all(&junk).await.is_ok() {
        sent += junk.len() as u64;
        assert!(sent < 64 * JUNK_BYTES_MAX, "it was never disconnected");
    }
    ward.until("closed", |s| s.connections == 0).await;
    assert!(ward.stats().junk_bytes <= JUNK_BYTES_MAX + (64 << 10));
    ward.close().await;
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_stops_being_read() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    // Small messages whose long headers come back in the answers: more than the sockets' buffers hold.
    let head = "X".repeat(3000);
    let frame = framed(&format!("MSH|^~\\&|{head}|W|EHR|M|2026||ORU^R01|1|P|2.3\r"));
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), peer.stream.write(&frame)).await
    {
        sent += written.unwrap();
        assert!(sent < 256 << 20, "the listener reads without end");
    }
    // The answers are all there for whom takes them.
    let mut answers = vec![0; 1 << 20];
    assert!(peer.stream.read(&mut answers).await.unwrap() > 0);
    drop(peer);
    ward.until("closed", |s| s.connections == 0).await;
    ward.close().await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let ward = Ward::with(Memory::new(), |c| c.connections_max = 2);
    let (mut a, mut b) = (ward.client().await, ward.client().await);
    assert!(a.send(message("A").as_bytes()).await.unwrap().code().is_positive());
    assert!(b.send(message("B").as_bytes()).await.unwrap().code().is_positive());
    ward.peer().await.closed().await;
    assert_eq!(ward.stats().connections_refused, 1);
    drop(a);
    ward.until("a place is free", |s| s.connections == 1).await;
    let mut c = ward.client().await;
    assert!(c.send(message("C").as_bytes()).await.unwrap().code().is_positive());
    assert_eq!(ward.close().await.connections_total, 3);
}

#[tokio::test]
async fn one_peer_cannot_take_all_connections() {
    let ward = Ward::with(Memory::new(), |c| c.connections_per_peer_max = 1);
    let mut first = ward.client().await;
    assert!(first.send(message("A").as_bytes()).await.unwrap().code().is_positive());
    ward.peer().await.closed().await;
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = other.connect(ward.handle.local_addr()).await.unwrap();
    let mut other = Client::over(stream, PATIENCE);
    assert!(other.send(message("B").as_bytes()).await.unwrap().code().is_positive());
    ward.close().await;
}

#[tokio::test]
async fn an_address_in_use_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config { listen: Some(taken.local_addr().unwrap()), ..Config::default() };
    let error = Server::bind("adt".parse().unwrap(), &config, Arc::new(FixedClock)).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }));
    assert!(error.to_string().starts_with("feed adt: cannot listen on 127.0.0.1:"));
}
