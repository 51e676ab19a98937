//! Batches: one frame in, a record a message, one frame out.

use model::{FaultKind, Format, Mismatch, Refusal};
use tokio::io::AsyncWriteExt;

use super::support::{At, Memory, Ward, formats, framed, message};
use crate::mllp::{BATCH_MESSAGES_MAX, BatchReply};

fn batch(ids: &[&str], stated: usize) -> String {
    let messages: String = ids.iter().map(|id| message(id)).collect();
    format!(
        "FHS|^~\\&|LAB|WEST|EHR|MAIN|2026|||nightly|F-1\rBHS|^~\\&|LAB|WEST|EHR|MAIN|2026||||B-1\r{messages}BTS|{stated}\rFTS|1\r"
    )
}

/// An answer without what differs from run to run.
fn shown(answer: &str) -> String {
    let lines = answer.split_terminator('\r').map(|line| {
        let fresh = match line.get(..3) {
            Some("MSH") => 9,
            Some("FHS" | "BHS") => 10,
            _ => return line.to_owned(),
        };
        let mut fields: Vec<&str> = line.split('|').collect();
        assert!(fields[fresh].starts_with('W'), "{line}");
        fields[fresh] = "[fresh]";
        fields.join("|")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn codes(answer: &str) -> Vec<String> {
    let msa = answer.split('\r').filter(|line| line.starts_with("MSA|"));
    msa.map(|line| line.split('|').skip(1).take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn a_batch_is_a_record_a_message_and_one_answer() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let payload = batch(&["A1", "A2", "A3"], 3);
    peer.write([framed(&payload), framed(&message("A4"))].concat()).await;
    insta::assert_snapshot!(shown(&peer.answer().await.unwrap()), @r"
    FHS|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||||[fresh]|F-1
    BHS|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||||[fresh]|B-1
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|[fresh]|P|2.5.1
    MSA|AA|A1
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|[fresh]|P|2.5.1
    MSA|AA|A2
    MSH|^~\&|EHR|MAIN|LAB|WEST|20261124083000+0000||ACK^R01^ACK|[fresh]|P|2.5.1
    MSA|AA|A3
    BTS|3
    FTS|1
    ");
    assert_eq!(peer.msa().await, "MSA|AA|A4");
    let payloads = ward.memory.payloads();
    assert_eq!(payloads.len(), 4);
    assert_eq!(payloads[..3].concat(), payload, "the records joined are the frame");
    assert!(payloads[1].starts_with("MSH|") && payloads[1].ends_with("A2\r"));
    assert!(formats(&ward.memory.stored()).iter().all(|format| *format == Format::Hl7v2));
    assert!(ward.memory.faults().is_empty());
    let stats = ward.close().await;
    assert_eq!((stats.frames, stats.accepted), (4, 4));
}

#[tokio::test]
async fn messages_of_a_batch_are_resends_of_themselves_alone() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(framed(&message("A2"))).await;
    let alone = peer.answer().await.unwrap();
    peer.write(framed(&batch(&["A1", "A2", "A3"], 3))).await;
    let first = peer.answer().await.unwrap();
    assert!(first.contains(&alone), "the stored answer stands in the batch");
    peer.write(framed(&batch(&["A1", "A2", "A3", "A4"], 4).replace("B-1", "B-2"))).await;
    let second = peer.answer().await.unwrap();
    assert_eq!(codes(&second), ["AA A1", "AA A2", "AA A3", "AA A4"]);
    let acks = |answer: &str| {
        answer.split("MSH|").skip(1).take(3).map(|a| a.get(..60).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(acks(&first), acks(&second), "word for word");
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.duplicates), (4, 4));
}

#[tokio::test]
async fn what_cannot_be_stored_is_said_and_nothing_after_it_is_tried() {
    // When the third message is in progress, its beginning has been granted.
    for (at, taken) in [(At::Begin, 3), (At::Push, 2)] {
        let ward = Ward::open(Memory::new());
        let mut peer = ward.peer().await;
        let ids = ["A1", "A2", "A3", "A4", "A5"];
        let payload = batch(&ids, 5);
        let third = payload.find(&message("A3")).unwrap();
        let (before, after) = (&framed(&payload)[..third + 8], &framed(&payload)[third + 8..]);
        peer.write(before).await;
        ward.until("two are durable", |s| s.accepted == 2).await;
        ward.memory.refuse(Some((at, Refusal::Full)));
        peer.write(after).await;
        let expected: Vec<String> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| format!("{} {id}", if n < taken { "AA" } else { "AE" }))
            .collect();
        assert_eq!(codes(&peer.answer().await.unwrap()), expected, "{at:?}");
        assert_eq!(ward.memory.stored().len(), taken);
        assert!(ward.memory.kinds().iter().all(|(kind, _)| *kind == FaultKind::NotStored));
        // Once there is room the whole batch can come again.
        ward.memory.refuse(None);
        peer.write(framed(&payload)).await;
        assert_eq!(codes(&peer.answer().await.unwrap()), ["AA A1", "AA A2", "AA A3", "AA A4", "AA A5"]);
        let stats = ward.close().await;
        let (stored, refused) = (taken as u64, 5 - taken as u64);
        assert_eq!((stats.accepted, stats.duplicates, stats.refused), (5, stored, refused));
    }
}

#[tokio::test]
async fn a_trailer_that_does_not_agree_is_a_fault_and_costs_nothing() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(framed(&batch(&["A1", "A2"], 3))).await;
    assert_eq!(codes(&peer.answer().await.unwrap()), ["AA A1", "AA A2"]);
    let faults = ward.memory.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(
        (faults[0].kind, faults[0].mismatch),
        (FaultKind::BatchCount, Some(Mismatch { expected: 3, found: 2 }))
    );
    assert_eq!(ward.memory.stored().len(), 2);
    ward.close().await;
}

/// However many lines the envelope has, all are stored, and the answer stays small.
#[tokio::test]
async fn an_envelope_without_end_costs_no_memory() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let payload = format!("BHS|^~\\&|B\r{}{}", message("A1"), "BTS\rBHS|^~\\&|C\r".repeat(20_000));
    peer.write(framed(&payload)).await;
    let answer = peer.answer().await.unwrap();
    assert_eq!(codes(&answer), ["AA A1"]);
    assert!(answer.len() < 128 << 10, "{} bytes", answer.len());
    assert_eq!(ward.memory.payloads(), [payload]);
    ward.close().await;
}

#[tokio::test]
async fn a_batch_without_messages_is_one_record() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let payload = "BHS|^~\\&|LAB|WEST|EHR|MAIN|2026||||B-7\rBTS|0\r";
    peer.write(framed(payload)).await;
    assert_eq!(peer.msa().await, "MSA|AA|B-7");
    peer.write(framed("BHS|^~\\&|LAB")).await;
    assert_eq!(peer.msa().await, "MSA|AA|");
    assert_eq!(ward.memory.payloads(), [payload, "BHS|^~\\&|LAB"]);
    assert!(ward.memory.faults().is_empty());
    ward.close().await;
}

#[tokio::test]
async fn messages_that_ask_for_nothing_get_nothing() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let quiet = |id: &str| message(id).replace("|P|2.5.1\r", "|P|2.5.1|||NE|NE\r");
    let both = message("A2").replace("|P|2.5.1\r", "|P|2.5.1|||AL|AL\r");
    peer.write(framed(&format!("BHS|^~\\&|B\r{}{both}BTS|2\r", quiet("A1")))).await;
    assert_eq!(codes(&peer.answer().await.unwrap()), ["CA A2", "AA A2"]);
    peer.write(framed(&format!("BHS|^~\\&|B\r{}BTS|1\r", quiet("A3")))).await;
    peer.silence().await;
    assert_eq!(ward.memory.stored().len(), 3);
    ward.close().await;
}

#[tokio::test]
async fn one_answer_for_all_where_the_sender_reads_no_batches() {
    let ward = Ward::with(Memory::new(), |c| c.acknowledge.batch = BatchReply::One);
    let mut peer = ward.peer().await;
    peer.write(framed(&batch(&["A1", "A2", "A3"], 3))).await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    ward.memory.refuse(Some((At::Commit, Refusal::Full)));
    peer.write(framed(&batch(&["A1", "A4"], 2))).await;
    let answer = peer.msa().await;
    assert!(answer.starts_with("MSA|AE|A"), "{answer}");
    ward.close().await;
}

#[tokio::test]
async fn a_message_without_a_readable_header_is_rejected_alone() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let long = format!("MSH|^~\\&|{}\r", "x".repeat(hl7::MSH_BYTES_MAX));
    peer.write(framed(&format!("BHS|^~\\&|B\r{}{long}{}BTS|3\r", message("A1"), message("A2")))).await;
    assert_eq!(codes(&peer.answer().await.unwrap()), ["AA A1", "AR ", "AA A2"]);
    assert_eq!(formats(&ward.memory.stored()), [Format::Hl7v2, Format::Unparsed, Format::Hl7v2]);
    ward.close().await;
}

#[tokio::test]
async fn a_batch_that_is_cut_off_keeps_what_came_whole() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let payload = batch(&["A1", "A2", "A3"], 3);
    let frame = framed(&payload);
    let third = payload.find(&message("A3")).unwrap();
    // Broken off by the next frame: the part of the third is evidence.
    peer.write([&frame[..third + 20], &framed(&message("A9"))].concat()).await;
    assert_eq!(peer.msa().await, "MSA|AA|A9");
    let mut kept = formats(&ward.memory.stored());
    kept.sort_by_key(|format| *format == Format::Unparsed);
    assert_eq!(kept, [Format::Hl7v2, Format::Hl7v2, Format::Hl7v2, Format::Unparsed]);
    // Cut off by the end of the connection.
    peer.write(&frame[..third + 20]).await;
    peer.stream.shutdown().await.unwrap();
    peer.closed().await;
    ward.until("the connection has ended", |s| s.connections == 0).await;
    let kinds: Vec<FaultKind> = ward.memory.faults().iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [FaultKind::BrokenOff, FaultKind::CutOff]);
    let mut again = ward.peer().await;
    again.write(&frame).await;
    assert_eq!(codes(&again.answer().await.unwrap()), ["AA A1", "AA A2", "AA A3"]);
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.duplicates), (4, 4));
}

#[tokio::test]
async fn a_batch_has_a_most_of_messages() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    let most = usize::try_from(BATCH_MESSAGES_MAX).unwrap();
    let messages: String =
        (0..most + 50).map(|n| format!("MSH|^~\\&|L|W|E|M|2026||ORU^R01|{n}|P|2.5\r")).collect();
    let frame = framed(&format!("BHS|^~\\&|B\r{messages}BTS|{}\r", most + 50));
    let (mut read, mut write) = peer.stream.split();
    let mut answer = Vec::new();
    let reading = async {
        use tokio::io::AsyncReadExt as _;
        while !answer.ends_with(b"\x1c\r") {
            assert_ne!(read.read_buf(&mut answer).await.unwrap(), 0);
        }
    };
    let (written, ()) = tokio::join!(write.write_all(&frame), reading);
    written.unwrap();
    let found = codes(&String::from_utf8(answer).unwrap());
    assert_eq!(found.len(), most + 1);
    assert_eq!(found[most], format!("AR {most}"));
    assert!(found[..most].iter().all(|code| code.starts_with("AA")));
    assert_eq!(ward.memory.stored().len(), most);
    let stats = ward.close().await;
    assert_eq!((stats.accepted, stats.refused), (BATCH_MESSAGES_MAX, 50));
}
