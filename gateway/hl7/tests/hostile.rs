//! Inputs made to hang a parser or to fill its memory. A quadratic walk over them would take hours, so that the tests
//! need no clock; memory is counted where it could grow.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use bytes::Bytes;
use hl7::charset::decode;
use hl7::mllp::{Deframer, Event};
use hl7::{Charset, Message, ParseError, Path, SEGMENTS_MAX, split};

const BYTES: usize = 256 << 10;

/// A header, and this again and again.
fn repeated(unit: &[u8]) -> Bytes {
    let mut out = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rZZZ|".to_vec();
    while out.len() < BYTES {
        out.extend_from_slice(unit);
    }
    out.into()
}

/// Reads everything that can be read of a message, and counts its leaves.
fn walk(message: &Message) -> usize {
    let fields = message.segments().flat_map(|s| s.fields());
    let components = fields.flat_map(|f| f.repetitions()).flat_map(|r| r.components());
    components
        .flat_map(|c| c.subcomponents())
        .map(|leaf| usize::from(!leaf.text().is_empty() || leaf.is_empty()))
        .sum()
}

#[test]
fn delimiters_alone_are_read_in_one_walk() {
    for unit in ["|", "~", "^", "&", "\\", "|^~\\&", "\\F", "\\X", "\\XFF\\", "\n", " \n", "\0"] {
        let payload = repeated(unit.as_bytes());
        let message = Message::decode(payload.clone(), None).unwrap();
        assert_eq!(message.payload().as_ptr(), payload.as_ptr(), "{unit:?} is copied");
        assert_eq!(message.len(), 2, "{unit:?}");
        assert!(walk(&message) > 0);
        let path: Path = "ZZZ-65535[65535].65535.65535".parse().unwrap();
        assert_eq!(message.get(&path), None, "{unit:?}");
    }
}

#[test]
fn segments_without_number_are_refused_before_they_fill_the_memory() {
    for unit in ["A\r", "PID|1\r", "MSH|^~\\&\rMSH#*!?%\r"] {
        let payload: Bytes = unit.repeat(SEGMENTS_MAX + 1).into();
        let payload: Bytes = [&b"MSH|^~\\&|\r"[..], &payload].concat().into();
        assert_eq!(Message::decode(payload, None).unwrap_err(), ParseError::TooManySegments, "{unit:?}");
    }
}

#[test]
fn headers_that_change_the_delimiters_each_time_are_walked_once() {
    let text = "MSH|^~\\&\rMSH#*!?%\r".repeat(BYTES / 64);
    let message = Message::decode(text.into_bytes(), None).unwrap();
    assert_eq!(
        message.segments().map(|s| usize::from(s.delimiters().field())).sum::<usize>(),
        (124 + 35) * message.len() / 2
    );
}

#[test]
fn bytes_that_do_not_decode_make_a_text_of_bounded_length() {
    for (charset, unit) in [
        ("UTF-8", &b"\xff"[..]),
        ("UTF-8", b"a\xff"),
        ("GB18030", b"\x81 "),
        ("BIG5", b"\xff"),
        ("SJIS", b"\xfd"),
        ("KS X 1001", b"\xffa"),
        ("ISO IR87", b"\x80"),
        ("ISO IR87", b"\x1b$B~~"),
        ("ISO IR87", b"\x1b$B\x1b(B"),
        ("ISO IR87", b"\x1b"),
    ] {
        let payload = repeated(unit);
        let source = Charset::read(charset.as_bytes());
        let decoded = decode(&payload, source);
        assert!(decoded.text.len() <= 5 * payload.len(), "{charset}");
        let message = Message::decode(payload, source).unwrap();
        assert_eq!(message.undecodable(), decoded.undecodable);
        assert!(walk(&message) > 0);
    }
    // Long enough for what an undecodable byte costs to show, if it grew with the length of the text.
    let bad = decode(&[0xff].repeat(2 << 20).into(), Some(Charset::Utf8));
    assert_eq!(
        (bad.undecodable, bad.text.len()),
        (2 << 20, 3 * (2 << 20)),
        "without an escape character U+FFFD each"
    );
    let halves = [Charset::Utf16Le.encode("MSH|^~\\&|").unwrap(), [0, 0xd8].repeat(BYTES / 2)].concat();
    let decoded = decode(&halves.into(), None);
    assert_eq!((decoded.undecodable, decoded.text.len()), (BYTES, "MSH|^~\\&|\\X\\".len() + 2 * BYTES));
}

#[test]
fn files_and_streams_of_nothing_are_read_in_one_walk() {
    for unit in [
        "\r",
        "\n",
        "MSH\r",
        "MSH|\r",
        "BHS|\r",
        "\u{feff}",
        "\u{b}",
        "\u{1c}",
        "\u{1c}\u{b}",
        "\u{1c}\r\u{b}",
    ] {
        let file = unit.repeat(BYTES / unit.len());
        assert_eq!(
            split::pieces(file.as_bytes()).map(|piece| piece.bytes().len()).sum::<usize>(),
            file.len()
        );
        let mut deframer = Deframer::new(1000);
        let (mut rest, mut data) = (file.as_bytes(), 0_usize);
        while let Some(event) = deframer.next(&mut rest) {
            if let Event::Data(bytes) = event {
                data += bytes.len();
            }
        }
        assert!(data <= file.len());
        assert!(Message::decode(file.into_bytes(), None).is_err() || unit == "BHS|\r" || unit == "MSH|\r");
    }
}
