//! The cases in which receivers were seen to fail, each over a real socket and under any chunking: what is stored, what
//! is answered, in which order, and which faults are noted.

use model::{FaultKind, Format};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::support::{Memory, Ward, framed, message, msa};

#[derive(Debug, Clone)]
struct Case {
    name: &'static str,
    stream: Vec<u8>,
    /// In their order on the line; parts of frames that lost their end stand where they came.
    stored: Vec<(Format, Vec<u8>)>,
    /// The MSA segments of each answer.
    answers: Vec<Vec<String>>,
    faults: Vec<FaultKind>,
}

/// Messages that are all accepted in original mode.
fn good(name: &'static str, stream: impl Into<Vec<u8>>, messages: &[(&str, Vec<u8>)]) -> Case {
    Case {
        name,
        stream: stream.into(),
        stored: messages.iter().map(|(_, payload)| (Format::Hl7v2, payload.clone())).collect(),
        answers: messages.iter().map(|(id, _)| vec![format!("MSA|AA|{id}")]).collect(),
        faults: Vec::new(),
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    hl7::mllp::frame(payload)
}

fn text(id: &str) -> (&str, Vec<u8>) {
    (id, message(id).into_bytes())
}

/// All eighteen; the one with 20 MB of an encoded document with so many bytes of it.
fn cases(document_bytes: usize) -> Vec<Case> {
    let (a1, a2) = (message("A1"), message("A2"));
    let lf = a1.replace('\r', "\n");
    let fs_inside = a1.replace("100^^^WEST", "10\u{1c}0");
    let large = format!("{a1}OBX|2|ED|x||^^^Base64^{}\r", "QUJD".repeat(document_bytes / 4));
    let own = "MSH#*~\\&#LAB#W#EHR#M#2026##ADT*A01#A1#P#2.4\rPID#1##7*\r";
    let latin1 = b"MSH|^~\\&|LAB|W|EHR|M|2026||ORU^R01|A1|P|2.3||||||8859/1\rPID|1||1||M\xfcller\r".to_vec();
    let asks = |fields: &str| a1.replace("|P|2.5.1\r", &format!("|P|2.5.1|{fields}\r"));
    let (both, never, numbered) = (asks("||AL|AL"), asks("||NE|NE"), asks("7"));
    let unknown = a1.replace("ORU^R01^ORU_R01", "ZZZ^Z99");
    let batch = format!("FHS|^~\\&|F\rBHS|^~\\&|B\r{a1}{a2}BTS|2\rFTS|1\r");
    let cut = batch.find(&a2).unwrap();
    let no_msh = b"PID|1||100\r".to_vec();
    let lost_fs = [&framed(&a1)[..a1.len() + 1], &framed(&a2)].concat();
    let mut without_cr = framed(&a1);
    without_cr.pop();
    let plain = |payload: &str| vec![("A1", payload.as_bytes().to_vec())];
    vec![
        good("plain", framed(&a1), &[text("A1")]),
        // Every case is cut into single bytes below; this one is for the list.
        good("one byte at a time", framed(&a1), &[text("A1")]),
        good("two frames in one write", [framed(&a1), framed(&a2)].concat(), &[text("A1"), text("A2")]),
        good("FS without CR", [without_cr, framed(&a2)].concat(), &[text("A1"), text("A2")]),
        good(
            "CRLF and NUL between frames",
            [b"\r\n\0", &framed(&a1)[..], b"\r\n\0\0\r\n", &framed(&a2)].concat(),
            &[text("A1"), text("A2")],
        ),
        good("LF as segment end", framed(&lf), &plain(&lf)),
        Case {
            name: "lost FS",
            stream: lost_fs,
            stored: vec![(Format::Unparsed, a1.clone().into_bytes()), (Format::Hl7v2, a2.clone().into_bytes())],
            answers: vec![vec!["MSA|AA|A2".to_owned()]],
            faults: vec![FaultKind::BrokenOff],
        },
        good("FS in the payload", framed(&fs_inside), &plain(&fs_inside)),
        good("a large document", framed(&large), &plain(&large)),
        Case {
            answers: vec![vec!["MSA#AA#A1".to_owned()]],
            ..good("delimiters of its own", framed(own), &plain(own))
        },
        good("an empty frame first", [framed(""), framed(&a1)].concat(), &[text("A1")]),
        good("Latin-1", frame(&latin1), &[("A1", latin1.clone())]),
        Case {
            answers: vec![vec!["MSA|CA|A1".to_owned()], vec!["MSA|AA|A1".to_owned()]],
            ..good("MSH-15/16 AL/AL", framed(&both), &plain(&both))
        },
        Case { answers: vec![], ..good("MSH-15/16 NE/NE", framed(&never), &plain(&never)) },
        Case {
            answers: vec![vec!["MSA|AA|A1||7".to_owned()]],
            ..good("MSH-13", framed(&numbered), &plain(&numbered))
        },
        Case {
            name: "no MSH",
            stream: [frame(&no_msh), framed(&a1)].concat(),
            stored: vec![(Format::Unparsed, no_msh.clone()), (Format::Hl7v2, a1.clone().into_bytes())],
            answers: vec![
                vec!["MSA|AR||Rejected: byte 0: the message does not begin with an MSH, FHS or BHS segment. Correct the message and send it again.".to_owned()],
                vec!["MSA|AA|A1".to_owned()],
            ],
            faults: vec![FaultKind::NoHeader],
        },
        good("an unknown type", framed(&unknown), &plain(&unknown)),
        Case {
            answers: vec![vec!["MSA|AA|A1".to_owned(), "MSA|AA|A2".to_owned()]],
            ..good(
                "a batch",
                framed(&batch),
                &[("A1", batch.as_bytes()[..cut].to_vec()), ("A2", batch.as_bytes()[cut..].to_vec())],
            )
        },
    ]
}

/// Sends the stream in chunks of these sizes, over and over, and holds everything against the case.
async fn run(case: &Case, sizes: &[usize]) {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.stream.set_nodelay(true).unwrap();
    let mut rest = case.stream.as_slice();
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        peer.write(now).await;
        // So that small chunks arrive as they are cut.
        tokio::task::yield_now().await;
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    peer.stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    while let Some(answer) = peer.answer().await {
        msa(&answer);
        let segments = answer.split('\r').filter(|s| s.starts_with("MSA")).map(str::to_owned);
        answers.push(segments.collect::<Vec<_>>());
    }
    assert_eq!(answers, case.answers, "{}", case.name);
    let (memory, name) = (ward.memory.clone(), case.name);
    let stats = ward.close().await;
    // What a frame left that lost its end may be durable after the next message is.
    let sorted = |mut stored: Vec<(Format, Vec<u8>)>| {
        stored.sort_by_key(|(format, _)| *format != Format::Unparsed);
        stored
    };
    let stored = memory.stored().into_iter().map(|s| (s.provenance.format, s.payload)).collect();
    assert!(sorted(stored) == sorted(case.stored.clone()), "{name}: the records are not the frames");
    let faults: Vec<FaultKind> = memory.faults().iter().map(|f| f.kind).collect();
    assert_eq!(faults, case.faults, "{name}");
    let broken = case.faults.contains(&FaultKind::BrokenOff);
    assert_eq!(stats.frames, (case.stored.len() - usize::from(broken)) as u64, "{name}");
}

#[tokio::test]
async fn every_case_under_fixed_chunkings() {
    let cases = cases(4 << 10);
    assert_eq!(cases.len(), 18);
    for case in &cases {
        for size in [usize::MAX, 1, 2, 7, 1000] {
            run(case, &[size]).await;
        }
    }
}

#[tokio::test]
async fn a_document_of_20_mb() {
    let cases = cases(20 << 20);
    let large = cases.iter().find(|case| case.name == "a large document").unwrap();
    for size in [usize::MAX, 100_003] {
        run(large, &[size]).await;
    }
}

/// Bytes that are neither a frame nor filler are a fault with their number, and cost no message.
#[tokio::test]
async fn junk_between_frames_is_skipped_counted_and_noted() {
    let ward = Ward::open(Memory::new());
    let mut peer = ward.peer().await;
    peer.write(
        [b"GET / HTTP/1.1\r\n", &framed(&message("A1"))[..], b"\r\nxyz", &framed(&message("A2"))].concat(),
    )
    .await;
    assert_eq!(peer.msa().await, "MSA|AA|A1");
    assert_eq!(peer.msa().await, "MSA|AA|A2");
    peer.write(b"left over").await;
    peer.stream.shutdown().await.unwrap();
    peer.closed().await;
    let address = peer.stream.local_addr().unwrap().to_string();
    ward.until("the connection has ended", |s| s.connections == 0).await;
    assert_eq!(ward.memory.kinds(), [(FaultKind::Junk, 16), (FaultKind::Junk, 5), (FaultKind::Junk, 9)]);
    assert!(ward.memory.faults().iter().all(|fault| fault.peer == address && fault.feed.as_str() == "adt"));
    assert_eq!(ward.close().await.junk_bytes, 30);
}

proptest! {
    #[test]
    fn every_case_under_any_chunking(n in 0_usize..18, sizes in proptest::collection::vec(1_usize..200, 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let case = &cases(400)[n];
        runtime.block_on(run(case, &sizes));
    }
}
