use super::*;
use crate::{Ack, AckCode, Header};
use proptest::prelude::*;

type Split = (Vec<(String, String)>, Vec<(Line, String)>, bool);

/// The pieces, each as (its bytes, its message alone), and the lines of the envelope.
fn split(payload: &[u8], chunk: usize) -> Split {
    let mut splitter = Splitter::new();
    let mut pieces: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut lines = Vec::new();
    let mut act = |splitter: &Splitter, event: Event<'_>| match event {
        Event::Begin => pieces.push(Default::default()),
        Event::Data { bytes, of_message } => {
            assert!(!bytes.is_empty());
            let (all, message) = pieces.last_mut().expect("a piece has begun");
            all.extend_from_slice(bytes);
            if of_message {
                message.extend_from_slice(bytes);
            }
        }
        Event::Line(line) => lines.push((line, text(splitter.line()))),
    };
    for mut input in payload.chunks(chunk.max(1)) {
        while let Some(event) = splitter.next(&mut input) {
            act(&splitter, event);
        }
        assert!(input.is_empty());
    }
    while let Some(event) = splitter.finish() {
        act(&splitter, event);
    }
    let pieces = pieces.iter().map(|(all, message)| (text(all), text(message))).collect();
    (pieces, lines, splitter.is_batch())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn messages(payload: &str) -> Vec<String> {
    split(payload.as_bytes(), usize::MAX).0.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn a_batch_is_cut_before_each_message_and_keeps_its_envelope() {
    let payload = "FHS|^~\\&|F\rBHS|^~\\&|B|||||||1\rMSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\rBTS|2\rBHS|^~\\&|C\rMSH|^~\\&|3\rBTS|1\rFTS|2\r";
    let (pieces, lines, is_batch) = split(payload.as_bytes(), usize::MAX);
    assert!(is_batch);
    assert_eq!(
        pieces,
        [
            ("FHS|^~\\&|F\rBHS|^~\\&|B|||||||1\rMSH|^~\\&|1\rPID|1\r", "MSH|^~\\&|1\rPID|1\r"),
            ("MSH|^~\\&|2\rBTS|2\rBHS|^~\\&|C\r", "MSH|^~\\&|2\r"),
            ("MSH|^~\\&|3\rBTS|1\rFTS|2\r", "MSH|^~\\&|3\r"),
        ]
        .map(|(piece, message)| (piece.to_owned(), message.to_owned()))
    );
    use Line::{BatchHeader, BatchTrailer, FileHeader, FileTrailer};
    let kinds: Vec<Line> = lines.iter().map(|(line, _)| *line).collect();
    assert_eq!(kinds, [FileHeader, BatchHeader, BatchTrailer, BatchHeader, BatchTrailer, FileTrailer]);
    assert_eq!((lines[1].1.as_str(), lines[2].1.as_str()), ("BHS|^~\\&|B|||||||1", "BTS|2"));
    for chunk in 1..payload.len() {
        assert_eq!(split(payload.as_bytes(), chunk), (pieces.clone(), lines.clone(), true), "{chunk}");
    }
}

#[test]
fn only_what_begins_with_a_batch_header_is_cut() {
    for payload in [
        "MSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\r",
        "MSH|^~\\&|1\rBHS|^~\\&|2\rMSH|^~\\&|2\rBTS|1\r",
        "PID|1\rMSH|^~\\&|2\r",
        "BTS|1\rMSH|^~\\&|2\rMSH|^~\\&|3\r",
        "BHSX|1\rMSH|^~\\&|2\rMSH|^~\\&|3\r",
        "BH",
        "\u{feff}MSH|^~\\&|1\rMSH|^~\\&|2\r",
    ] {
        let (pieces, lines, is_batch) = split(payload.as_bytes(), usize::MAX);
        let message = payload.trim_start_matches('\u{feff}').to_owned();
        assert_eq!(pieces, [(payload.to_owned(), message)]);
        assert!(!is_batch && lines.is_empty());
    }
}

#[test]
fn a_line_feed_inside_a_field_cuts_nothing() {
    assert_eq!(
        messages("BHS|^~\\&|B\rMSH|^~\\&|1\rOBX|1|TX|x||a\nMSH|^~\\&|no\nBTS|9\rMSH|^~\\&|2\rBTS|2\r"),
        ["MSH|^~\\&|1\rOBX|1|TX|x||a\nMSH|^~\\&|no\nBTS|9\r", "MSH|^~\\&|2\r"]
    );
    // Where LF ends the first line it ends all of them.
    assert_eq!(
        messages("BHS|^~\\&|B\nMSH|^~\\&|1\nMSH|^~\\&|2\nBTS|2\n"),
        ["MSH|^~\\&|1\n", "MSH|^~\\&|2\n"]
    );
    assert_eq!(
        messages("\u{feff}\r\nBHS|^~\\&|B\r\nMSH|^~\\&|1\r\nMSHX|\r\nMSH|^~\\&|2\r\nBTS"),
        ["MSH|^~\\&|1\r\nMSHX|\r\n", "MSH|^~\\&|2\r\n"]
    );
}

#[test]
fn an_empty_batch_is_one_piece_without_a_message() {
    let (pieces, lines, is_batch) = split(b"BHS|^~\\&|B\rBTS|0", usize::MAX);
    assert!(is_batch);
    assert_eq!(pieces, [("BHS|^~\\&|B\rBTS|0".to_owned(), String::new())]);
    assert_eq!(lines[1], (Line::BatchTrailer, "BTS|0".to_owned()));
}

#[test]
fn a_line_without_end_takes_no_more_memory_than_its_limit() {
    let mut splitter = Splitter::new();
    let long = format!("BHS|^~\\&|{}\rMSH|^~\\&|1\r", "x".repeat(1 << 20));
    let mut input = long.as_bytes();
    let mut lines = 0;
    while let Some(event) = splitter.next(&mut input) {
        if matches!(event, Event::Line(Line::BatchHeader)) {
            lines += 1;
            assert_eq!(splitter.line().len(), MSH_BYTES_MAX);
        }
    }
    assert_eq!(lines, 1);
}

#[test]
fn counts_of_trailers() {
    for (line, count) in [
        ("BTS|2", Some(2)),
        ("BTS| 2 |x", Some(2)),
        ("FTS#3", Some(3)),
        ("BTS", None),
        ("BTS|", None),
        ("BTS|-1", None),
        ("BTS|two", None),
    ] {
        assert_eq!(stated_count(line.as_bytes()), count, "{line}");
    }
}

fn header(line: &str) -> Header {
    Header::read(line.as_bytes(), true).unwrap()
}

fn ack(id: &str, code: AckCode) -> Vec<u8> {
    let header = header(&format!("MSH|^~\\&|LAB|W|EHR|M|2026||ORU^R01|{id}|P|2.5"));
    Ack { code, fault: None, control_id: "W9", sent_at: "20261124083000+0000", expected_sequence: None }
        .to_bytes(Some(&header))
}

#[test]
fn the_answer_mirrors_the_envelope() {
    let stamp = "20261124083000+0000";
    let mut answer = BatchAnswer::new();
    answer.header(&header("FHS|^~\\&|LAB|W|EHR|M|2026|||nightly|F-1"), "W1", stamp);
    answer.header(&header("BHS|^~\\&|LAB|W|EHR|M|2026||||B-1"), "W2", stamp);
    answer.acknowledgement(&ack("A1", AckCode::Accept));
    answer.acknowledgement(&ack("A2", AckCode::Error));
    answer.trailer(Line::BatchTrailer);
    answer.header(&header("BHS#*~!$#LAB#W#EHR#M#2026####B-2"), "W3", stamp);
    answer.acknowledgement(&ack("A3", AckCode::Accept));
    insta::assert_snapshot!(text(&answer.finish()).replace('\r', "\n"), @r"
    FHS|^~\&|EHR|M|LAB|W|20261124083000+0000||||W1|F-1
    BHS|^~\&|EHR|M|LAB|W|20261124083000+0000||||W2|B-1
    MSH|^~\&|EHR|M|LAB|W|20261124083000+0000||ACK^R01^ACK|W9|P|2.5
    MSA|AA|A1
    MSH|^~\&|EHR|M|LAB|W|20261124083000+0000||ACK^R01^ACK|W9|P|2.5
    MSA|AE|A2
    BTS|2
    BHS#*~!$#EHR#M#LAB#W#20261124083000+0000####W3#B-2
    MSH|^~\&|EHR|M|LAB|W|20261124083000+0000||ACK^R01^ACK|W9|P|2.5
    MSA|AA|A3
    BTS#1
    FTS|2
    ");
}

/// Bits of batches, whole and broken.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let bit = prop_oneof![
        Just("FHS|^~\\&|F"),
        Just("BHS|^~\\&|B"),
        Just("MSH|^~\\&|1"),
        Just("PID|1"),
        Just("BTS|2"),
        Just("FTS"),
        Just("\r"),
        Just("\n"),
        Just("\r\n"),
        Just("MS"),
        Just("B"),
        Just(" "),
        Just("\u{feff}"),
        Just("|x"),
    ];
    proptest::collection::vec(bit, 0..40).prop_map(|bits| bits.concat().into_bytes())
}

proptest! {
    #[test]
    fn pieces_are_the_payload_under_any_chunking(payload in payloads(), chunk in 1_usize..20) {
        let whole = split(&payload, usize::MAX);
        let joined: String = whole.0.iter().map(|(piece, _)| piece.as_str()).collect();
        prop_assert_eq!(joined.as_bytes(), payload.as_slice());
        prop_assert_eq!(&split(&payload, chunk), &whole);
        if whole.2 {
            for (_, message) in &whole.0 {
                prop_assert!(message.is_empty() || message.starts_with("MSH|"));
            }
            // Every piece but one without any message has exactly one.
            prop_assert!(whole.0.len() == 1 || whole.0.iter().all(|(_, message)| !message.is_empty()));
        } else {
            prop_assert!(whole.0.len() <= 1);
        }
    }
}

#[test]
fn the_message_of_a_piece_stands_alone() {
    const MESSAGE: &[u8] = b"MSH|^~\\&|A\rPID|1\nBTS|no line of its own\r";
    for (before, after) in [
        (&b""[..], &b""[..]),
        (b"", b"BTS|2\r"),
        (b"", b"\r\n\rBTS|2\r\nFTS|1"),
        (b"BHS|^~\\&|\r", b""),
        (b"\xef\xbb\xbfFHS|^~\\&|\r\nBHS|^~\\&|\r\n", b"BTS|1\rBHS|^~\\&|\r"),
    ] {
        let piece = [before, MESSAGE, after].concat();
        let message = message_of(&piece);
        let blank =
            message.strip_prefix(MESSAGE).unwrap_or_else(|| panic!("{before:?} {after:?}: {message:?}"));
        assert!(blank.iter().all(u8::is_ascii_whitespace), "{blank:?}");
    }
    for whole in [&b""[..], b"\r", b"BHS|^~\\&|\rBTS|0\r", b"PID|1", b"MSH|^~\\&|A\nPID|1\n"] {
        assert_eq!(message_of(whole), whole);
    }
    assert_eq!(message_of(b"BHS|^~\\&\nMSH|^~\\&\nPID|\nBTS|1\n"), b"MSH|^~\\&\nPID|\n");
}

proptest::proptest! {
    /// What a splitter says is of the message is the message.
    #[test]
    fn pieces_and_their_messages_agree(bytes in "(FHS\\|\r)?BHS\\|\r(MSH\\|[a-z]{0,5}\r(PID\\|[a-z]{0,3}\r){0,2}){1,3}(BTS\\|1\r)?(FTS\\|1\r?)?") {
        let (pieces, _, _) = split(bytes.as_bytes(), usize::MAX);
        for (piece, message) in &pieces {
            proptest::prop_assert_eq!(message_of(piece.as_bytes()), message.as_bytes());
        }
    }
}
