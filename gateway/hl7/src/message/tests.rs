use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::split;

fn parse(text: &str) -> Message {
    Message::parse(text.to_owned()).unwrap()
}

fn lines(text: &str) -> Vec<String> {
    parse(text).segments().map(|s| String::from_utf8_lossy(s.raw()).into_owned()).collect()
}

/// The parts joined, which must be the input.
fn rejoined(message: &Message) -> Vec<u8> {
    let mut again = message.prefix().to_vec();
    for segment in message.segments() {
        again.extend_from_slice(segment.raw());
        again.extend_from_slice(segment.gap());
        assert_eq!(values_rejoined(segment), segment.raw());
    }
    again
}

/// A segment put together again from its leaves.
fn values_rejoined(segment: Segment<'_>) -> Vec<u8> {
    let d = segment.delimiters();
    let mut out = segment.name().to_vec();
    let skip = if segment.is_header() { 1 } else { 0 };
    if skip == 1 {
        assert_eq!(segment.field(1).unwrap().raw(), [d.field()]);
    }
    for field in segment.fields().skip(skip) {
        out.push(d.field());
        let repetitions: Vec<Vec<u8>> = field
            .repetitions()
            .map(|r| {
                let components: Vec<Vec<u8>> = r
                    .components()
                    .map(|c| join(c.subcomponents().map(|s| s.raw().to_vec()), d.subcomponent()))
                    .collect();
                join(components, Some(d.component()))
            })
            .collect();
        out.extend(join(repetitions, d.repetition()));
    }
    out
}

fn join(parts: impl IntoIterator<Item = Vec<u8>>, separator: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            out.push(separator.expect("several parts need a separator"));
        }
        out.extend(part);
    }
    out
}

#[test]
fn fields_count_as_hl7_counts() {
    let message =
        parse("MSH|^~\\&|LAB|H|EHR|H|20260101||ORU^R01^ORU_R01|42|P|2.5.1^DEU\rPID|1||7^^^H~8|\"\"|\rZZZ\r");
    let msh = message.msh().unwrap();
    assert_eq!(msh.name(), b"MSH");
    assert_eq!(msh.field(0).map(|f| f.raw()), None);
    assert_eq!(msh.field(1).unwrap().raw(), b"|");
    assert_eq!(msh.field(2).unwrap().raw(), b"^~\\&");
    assert_eq!(msh.field(2).unwrap().repetitions().count(), 1, "MSH-2 is not cut by itself");
    assert_eq!(msh.field(3).unwrap().raw(), b"LAB");
    assert_eq!(msh.fields().count(), 12);
    assert_eq!(message.message_type(), Some(&b"ORU^R01^ORU_R01"[..]));
    assert_eq!(message.control_id(), Some(&b"42"[..]));
    assert_eq!(message.version(), Some(&b"2.5.1"[..]));
    let pid = message.segment(1).unwrap();
    assert!(pid.field(4).unwrap().is_null() && !pid.field(4).unwrap().is_empty());
    assert!(pid.field(5).unwrap().is_empty() && !pid.field(5).unwrap().is_null());
    assert!(pid.field(6).is_none());
    assert_eq!(pid.field(3).unwrap().repetitions().count(), 2);
    assert_eq!(pid.field(3).unwrap().component(4).unwrap().raw(), b"H");
    let zzz = message.segment(2).unwrap();
    assert_eq!((zzz.name(), zzz.fields().count()), (&b"ZZZ"[..], 0));
    assert!(message.segment(3).is_none());
}

#[test]
fn delimiters_are_the_message_s_own() {
    let message = parse("MSH#*~\\&#LAB#H#EHR#H#2026##ADT*A01#1#P#2.3\rPID#1##7***H!~8|x\r");
    let pid = message.segment(1).unwrap();
    assert_eq!(pid.field(3).unwrap().repetition(2).unwrap().raw(), b"8|x");
    assert_eq!(pid.field(3).unwrap().component(4).unwrap().raw(), b"H!");
    assert_eq!(rejoined(&message), &message.bytes()[..]);
}

#[test]
fn segments_end_as_senders_end_them() {
    for (text, expected) in [
        ("MSH|^~\\&\rPID|1\r", vec!["MSH|^~\\&", "PID|1"]),
        ("MSH|^~\\&\nPID|1\n", vec!["MSH|^~\\&", "PID|1"]),
        ("MSH|^~\\&\r\nPID|1\r\n\r\n", vec!["MSH|^~\\&", "PID|1"]),
        ("MSH|^~\\&\rPID|1", vec!["MSH|^~\\&", "PID|1"]),
        ("\u{feff}\r\n MSH|^~\\&\rPID|1", vec!["MSH|^~\\&", "PID|1"]),
        ("MSH|^~\\&\r\r\n\0\0\r  \rPID|1\r\0", vec!["MSH|^~\\&", "PID|1"]),
        // The sender ends segments with CR: an LF in a text is text,
        ("MSH|^~\\&\rOBX|1|one\ntwo|x\rPID|1\r", vec!["MSH|^~\\&", "OBX|1|one\ntwo|x", "PID|1"]),
        ("MSH|^~\\&\r\nOBX|1|one\ntwo\r\nPID|1", vec!["MSH|^~\\&", "OBX|1|one\ntwo", "PID|1"]),
        // but not before what looks like a segment, a blank line or the end.
        ("MSH|^~\\&\rPID|1\nOBX|2\n\nZ01\n", vec!["MSH|^~\\&", "PID|1", "OBX|2", "Z01"]),
        // The sender ends segments with LF: every LF is an end.
        ("MSH|^~\\&\nOBX|1|one\ntwo|x\n", vec!["MSH|^~\\&", "OBX|1|one", "two|x"]),
    ] {
        assert_eq!(lines(text), expected, "{text:?}");
        assert_eq!(rejoined(&parse(text)), text.as_bytes(), "{text:?}");
    }
}

#[test]
fn a_batch_is_segments_and_each_header_declares_its_delimiters() {
    let text =
        "FHS|^~\\&|F\rBHS|^~\\&|B\rMSH#*~\\&#A######T*E#9\rPID#1#a*b\rMSH|^~\\&|B\rPID|1|a^b\rBTS|2\rFTS|1\r";
    let message = parse(text);
    assert_eq!(message.len(), 8);
    assert_eq!(message.control_id(), Some(&b"9"[..]));
    let second = |n: usize| message.segment(n).unwrap().field(2).unwrap().component(2).map(|c| c.raw());
    assert_eq!((second(3), second(5)), (Some(&b"b"[..]), Some(&b"b"[..])));
    assert_eq!(message.segments().nth(3).unwrap().delimiters().field(), b'#');
    assert_eq!(rejoined(&message), text.as_bytes());
    assert_eq!(message.header().control_id(), b"9");

    let empty = parse("BHS|^~\\&|B||||||||77\rBTS|0\r");
    assert!(empty.msh().is_none() && empty.control_id().is_none() && empty.version().is_none());
    assert_eq!(empty.header().control_id(), b"77");
}

#[test]
fn refuses_what_is_no_message_and_says_where() {
    for (bytes, error) in [
        (&b""[..], "the message is empty"),
        (b"\r\n", "the message is empty"),
        (b"\nPID|1\r", "byte 1: the message does not begin with an MSH, FHS or BHS segment"),
        (b"msh|^~\\&|", "byte 0: the message does not begin with an MSH, FHS or BHS segment"),
        (b"MSH", "byte 0: MSH-1 and MSH-2 do not name a field and a component separator"),
        (b"MSH||A", "byte 0: MSH-1 and MSH-2 do not name a field and a component separator"),
        (b"\xff\xfeM\0S\0H\0", "the message is UTF-16 and was read as bytes"),
        (b"\0M\0S\0H\0|", "the message is UTF-16 and was read as bytes"),
    ] {
        assert_eq!(Message::parse(bytes).unwrap_err().to_string(), error);
    }
}

#[test]
fn the_number_of_segments_is_limited_and_blank_lines_are_free() {
    let mut text = b"MSH|^~\\&\r".to_vec();
    text.resize(5_000_000, b'\r');
    assert_eq!(Message::parse(text.clone()).unwrap().len(), 1);
    for pair in text.as_chunks_mut::<2>().0.iter_mut().skip(8) {
        *pair = *b"A\r";
    }
    assert_eq!(Message::parse(text).unwrap_err(), ParseError::TooManySegments);
}

#[test]
fn parts_know_where_they_lie_and_debug_says_sizes_only() {
    let message = parse("MSH|^~\\&|A\rPID|1||DOE\r");
    let name = message.segment(1).unwrap().field(3).unwrap();
    assert_eq!(message.range_of(name.raw()), Some(18..21));
    assert_eq!(message.range_of(b"elsewhere"), None);
    let shown = format!("{message:?} {:?} {name:?} {:?}", message.segment(1), message.header());
    assert_eq!(
        shown,
        "Message(22 bytes, 2 segments) Some(Segment(10 bytes)) Field(3 bytes) Header(Message, 10 bytes)"
    );
}

#[test]
fn nothing_is_copied() {
    let bytes = Bytes::from_static(b"MSH|^~\\&|A\rPID|1\r");
    let message = Message::parse(bytes.clone()).unwrap();
    assert_eq!(message.bytes().as_ptr(), bytes.as_ptr());
}

/// Text in which everything that the index looks at is common.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r"),
        Just("\n"),
        Just("\r\n"),
        Just("|"),
        Just("^"),
        Just("~"),
        Just("&"),
        Just("\\"),
        Just("\\F\\"),
        Just("PID|"),
        Just("OBX"),
        Just("MSH#*~\\&#"),
        Just("BHS|^~"),
        Just("\"\""),
        Just("text"),
        Just(" "),
        Just("\0"),
        Just("é"),
    ];
    proptest::collection::vec(piece, 0..60)
        .prop_map(|pieces| format!("MSH|^~\\&|{}", pieces.concat()).into_bytes())
}

proptest! {
    #[test]
    fn the_parts_are_the_whole(text in messages()) {
        let message = Message::parse(text.clone()).unwrap();
        prop_assert_eq!(rejoined(&message), text);
        for index in 0..message.len() {
            prop_assert_eq!(message.segment(index).unwrap().raw(), message.segments().nth(index).unwrap().raw());
            prop_assert_eq!(message.segment(index).unwrap().delimiters(), message.segments().nth(index).unwrap().delimiters());
        }
    }

    #[test]
    fn a_stream_s_header_is_the_message_s(text in messages()) {
        let message = Message::parse(text.clone()).unwrap();
        let header = Header::read(&text, true).unwrap();
        prop_assert_eq!(header.segment().raw(), message.msh().unwrap().raw());
        prop_assert_eq!(header.control_id(), message.control_id().unwrap_or_default());
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), with_header: bool) {
        let mut input = if with_header { b"MSH|^~\\&|".to_vec() } else { Vec::new() };
        input.extend(bytes);
        crate::fuzz::message(&input);
        crate::fuzz::header(&input);
        crate::fuzz::path(&input);
        crate::fuzz::escapes(&input);
        crate::fuzz::split(&input);
        crate::fuzz::frame(&input);
        crate::fuzz::batch(&input);
    }
}

/// Public samples beside the repository, where they are.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("WARDGATE_CORPUS").map(PathBuf::from);
    let root =
        named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"));
    Some(root.join("hl7")).filter(|hl7| hl7.is_dir())
}

fn files(folder: &std::path::Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_none_or(|e| e != "json") {
            out.push(path);
        }
    }
}

#[test]
fn the_whole_corpus_comes_out_as_it_went_in() {
    let Some(folder) = corpus() else {
        println!("skipped: no corpus at WARDGATE_CORPUS or ../shared/corpus");
        return;
    };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let (mut messages, mut refused) = (0, Vec::new());
    for path in paths {
        let file = Bytes::from(std::fs::read(&path).unwrap());
        let whole: Vec<u8> = crate::split::pieces(&file).flat_map(|p| p.bytes().to_vec()).collect();
        assert_eq!(whole, file, "{}", path.display());
        for part in split(&file) {
            messages += 1;
            match Message::parse(file.slice_ref(part)) {
                Ok(message) => {
                    assert_eq!(rejoined(&message), part, "{}", path.display());
                    crate::fuzz::header(part);
                }
                Err(error) => refused.push(format!("{}: {error}", path.display())),
            }
        }
        if let Ok(message) = Message::parse(file.clone()) {
            assert_eq!(rejoined(&message), file, "{}", path.display());
        }
    }
    println!("{messages} messages; refused:\n{}", refused.join("\n"));
    assert!(messages > 1000, "only {messages} messages were found");
    assert!(refused.len() * 100 < messages, "{} messages were refused", refused.len());
}
