//! Which acknowledgements leave: original and enhanced mode, overrides, sequence numbers.

use hl7::Message;
use model::{FaultKind, Flag, Mismatch, Refusal};

use super::support::{At, Memory, Peer, Ward, framed};
use crate::mllp::{AckMode, Sequence, When};

/// A message that asks for these acknowledgements and has this sequence number.
fn asking(id: &str, sequence: &str, asks: &str) -> String {
    format!("MSH|^~\\&|LAB|W|EHR|M|2026||ORU^R01|{id}|P|2.5.1|{sequence}||{asks}\rPID|1||{id}\r")
}

/// MSA-1 to MSA-4 of so many answers, and then silence.
async fn answers(peer: &mut Peer, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..count {
        let message = Message::parse(peer.answer().await.expect("an answer").into_bytes()).unwrap();
        let field = |path: &str| {
            message
                .get(&path.parse().unwrap())
                .map(|f| String::from_utf8_lossy(f).into_owned())
                .unwrap_or_default()
        };
        found.push(format!("{} {} {}", field("MSA-1"), field("MSA-2"), field("MSA-4")).trim().to_owned());
    }
    peer.silence().await;
    found
}

#[tokio::test]
async fn every_message_is_answered_as_it_asks() {
    let ward = Ward::open(Memory::new());
    for (n, (asks, expected)) in [
        ("", &["AA"][..]),
        ("AL|AL", &["CA", "AA"]),
        ("AL|NE", &["CA"]),
        ("NE|AL", &["AA"]),
        ("NE|NE", &[]),
        ("ER|ER", &[]),
        ("SU|SU", &["CA", "AA"]),
        ("|NE", &[]),
        ("AL|", &["CA"]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = ward.peer().await;
        let id = format!("Q{n}");
        let expected: Vec<String> = expected.iter().map(|code| format!("{code} {id}")).collect();
        peer.write(framed(&asking(&id, "", asks))).await;
        assert_eq!(answers(&mut peer, expected.len()).await, expected, "{asks}");
        // The same once more is the same record with the same answers, also where there are none.
        peer.write(framed(&asking(&id, "", asks))).await;
        assert_eq!(answers(&mut peer, expected.len()).await, expected, "{asks} again");
    }
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.duplicates), (9, 9));
}

#[tokio::test]
async fn a_refusal_is_told_to_whom_wants_to_know_and_never_called_a_success() {
    for at in [At::Begin, At::Commit] {
        let ward = Ward::open(Memory::new());
        ward.memory.refuse(Some((at, Refusal::Full)));
        for (n, (asks, expected)) in [
            ("", Some("AE")),
            ("AL|AL", Some("CE")),
            ("ER|NE", Some("CE")),
            ("NE|ER", Some("AE")),
            ("SU|AL", Some("AE")),
            ("NE|NE", None),
            ("SU|SU", None),
        ]
        .into_iter()
        .enumerate()
        {
            let mut peer = ward.peer().await;
            let id = format!("Q{n}");
            peer.write(framed(&asking(&id, "", asks))).await;
            let expected: Vec<String> = expected.iter().map(|code| format!("{code} {id}")).collect();
            assert_eq!(answers(&mut peer, expected.len()).await, expected, "{asks}");
        }
        let lost = ward.memory.kinds().iter().filter(|(kind, _)| *kind == FaultKind::LostUnanswered).count();
        let told = ward.memory.kinds().iter().filter(|(kind, _)| *kind == FaultKind::NotStored).count();
        assert_eq!((lost, told), (2, 5));
        assert!(ward.memory.stored().is_empty());
        ward.close().await;
    }
}

#[tokio::test]
async fn a_feed_can_be_answered_otherwise_than_its_messages_ask() {
    for (mode, accept, application, expected) in [
        (AckMode::Original, None, None, &["AA 1"][..]),
        (AckMode::Enhanced, None, None, &["CA 1"]),
        (AckMode::Enhanced, Some(When::Ne), Some(When::Al), &["AA 1"]),
        (AckMode::Enhanced, Some(When::Er), Some(When::Er), &[]),
        (AckMode::None, None, None, &[]),
    ] {
        let ward = Ward::with(Memory::new(), |c| {
            c.acknowledge.mode = mode;
            (c.acknowledge.accept, c.acknowledge.application) = (accept, application);
        });
        let mut peer = ward.peer().await;
        peer.write(framed(&asking("1", "", "NE|NE"))).await;
        assert_eq!(answers(&mut peer, expected.len()).await, expected, "{mode:?}");
        assert_eq!(ward.memory.stored().len(), 1);
        ward.close().await;
    }
}

#[tokio::test]
async fn both_answers_of_a_pipelining_sender_stay_in_order() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let burst: Vec<u8> = (0..200)
        .flat_map(|n| framed(&asking(&format!("{n}"), "", if n % 3 == 0 { "AL|AL" } else { "AL|NE" })))
        .collect();
    peer.write(burst).await;
    let expected: Vec<String> = (0..200)
        .flat_map(|n| {
            if n % 3 == 0 { vec![format!("CA {n}"), format!("AA {n}")] } else { vec![format!("CA {n}")] }
        })
        .collect();
    assert_eq!(answers(&mut peer, expected.len()).await, expected);
    ward.close().await;
}

#[tokio::test]
async fn a_sequence_number_is_answered_and_a_gap_is_a_fault() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    for (id, number, expected) in [
        ("start", "0", "AA start -1"),
        ("a", "41", "AA a 41"),
        ("b", "42", "AA b 42"),
        ("c", "44", "AA c 44"),
        ("d", "45", "AA d 45"),
        ("q", "0", "AA q 46"),
        ("anew", "-1", "AA anew -1"),
        ("e", "7", "AA e 7"),
        ("f", "8", "AA f 8"),
    ] {
        peer.write(framed(&asking(id, number, ""))).await;
        assert_eq!(answers(&mut peer, 1).await, [expected]);
    }
    // A lost answer: the same again is answered the same and is no gap.
    peer.write(framed(&asking("f", "8", ""))).await;
    assert_eq!(answers(&mut peer, 1).await, ["AA f 8"]);
    let faults = ward.memory.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].kind, FaultKind::SequenceGap);
    assert_eq!(faults[0].mismatch, Some(Mismatch { expected: 43, found: 44 }));
    assert_eq!(faults[0].peer, peer.stream.local_addr().unwrap().to_string());
    let stored = ward.memory.stored();
    let record = faults[0].record.unwrap();
    assert_eq!(stored[usize::try_from(record.seq).unwrap() - 1].flags, [Flag::OutOfSequence]);
    assert_eq!(stored.iter().filter(|s| !s.flags.is_empty()).count(), 1);
    // Another sender has numbers of its own, also over another connection.
    let mut other = ward.peer().await;
    other.write(framed(&asking("o", "1", "").replace("|LAB|", "|RAD|"))).await;
    assert_eq!(answers(&mut other, 1).await, ["AA o 1"]);
    other.write(framed(&asking("g", "9", ""))).await;
    assert_eq!(answers(&mut other, 1).await, ["AA g 9"]);
    assert_eq!(ward.memory.faults().len(), 1);
    ward.close().await;
}

#[tokio::test]
async fn what_is_no_sequence_number_is_passed_over() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    for (n, number) in ["X7", "7.5", "-3", "20261124083000123", "\"\""].into_iter().enumerate() {
        peer.write(framed(&asking(&format!("{n}"), number, ""))).await;
        assert_eq!(answers(&mut peer, 1).await, [format!("AA {n}")]);
    }
    assert!(ward.memory.faults().is_empty());
    ward.close().await;
    let ward = Ward::with(Memory::new(), |c| c.acknowledge.sequence = Sequence::Off);
    let mut peer = ward.peer().await;
    for number in ["5", "9"] {
        peer.write(framed(&asking(number, number, ""))).await;
        assert_eq!(answers(&mut peer, 1).await, [format!("AA {number}")]);
    }
    assert!(ward.memory.faults().is_empty());
    ward.close().await;
}

#[tokio::test]
async fn an_enforced_sequence_takes_nothing_out_of_order() {
    let ward = Ward::with(Memory::new(), |c| c.acknowledge.sequence = Sequence::Enforce);
    let mut peer = ward.peer().await;
    for (id, number, expected) in [
        ("a", "1", "AA a 1"),
        ("c", "3", "AE c 2"),
        ("b", "2", "AA b 2"),
        ("b", "2", "AA b 2"),
        ("a", "1", "AE a 3"),
        ("c", "3", "AA c 3"),
    ] {
        peer.write(framed(&asking(id, number, ""))).await;
        assert_eq!(answers(&mut peer, 1).await, [expected]);
    }
    // In one write too, and with the accept level.
    let burst = [("d", "4"), ("f", "6"), ("e", "5"), ("f", "6")];
    peer.write(burst.map(|(id, number)| framed(&asking(id, number, "AL|AL"))).concat()).await;
    assert_eq!(
        answers(&mut peer, 7).await,
        ["CA d 4", "AA d 4", "CE f 5", "CA e 5", "AA e 5", "CA f 6", "AA f 6"]
    );
    assert_eq!(ward.memory.stored().len(), 6);
    assert!(ward.memory.kinds().iter().all(|(kind, _)| *kind == FaultKind::SequenceGap));
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.duplicates, stats.refused), (6, 1, 3));
}

#[tokio::test]
async fn a_number_is_remembered_only_when_its_message_is_durable() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(framed(&asking("a", "1", ""))).await;
    assert_eq!(answers(&mut peer, 1).await, ["AA a 1"]);
    ward.memory.refuse(Some((At::Commit, Refusal::Full)));
    peer.write(framed(&asking("b", "2", ""))).await;
    assert_eq!(answers(&mut peer, 1).await, ["AE b"]);
    ward.memory.refuse(None);
    peer.write(framed(&asking("b", "2", ""))).await;
    assert_eq!(answers(&mut peer, 1).await, ["AA b 2"]);
    assert!(!ward.memory.kinds().iter().any(|(kind, _)| *kind == FaultKind::SequenceGap));
    ward.close().await;
}

#[tokio::test]
async fn a_feed_s_character_set_decides_where_the_fields_of_a_header_end() {
    // Each of the sender's two letters has the separator as its second byte, and MSH-18 says nothing, or a lie.
    for declared in ["", "8859/1"] {
        let head = b"MSH|^~\\&|\x81\x7c|W|EHR|M|2026||ORU^R01|42|P|2.5.1||||||".to_vec();
        let message = [&head[..], declared.as_bytes(), b"\rPID|1\r"].concat();
        let ward = Ward::with(Memory::new(), |c| c.charset = Some("GB 18030-2000".into()));
        let mut peer = ward.peer().await;
        peer.write([b"\x0b", &message[..], b"\x1c\r"].concat()).await;
        let answer = peer.answer_bytes().await.unwrap();
        assert!(answer.starts_with(b"MSH|^~\\&|EHR|M|\x81\x7c|W|"), "its name as it wrote it: {answer:?}");
        assert!(answer.ends_with(b"\rMSA|AA|42\r"), "{answer:?}");
        assert_eq!(ward.memory.stored().len(), 1);
        ward.close().await;
    }
}
