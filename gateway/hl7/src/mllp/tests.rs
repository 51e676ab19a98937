use proptest::prelude::*;

use super::*;

/// What came out, data and junk joined, so that two chunkings compare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Begin,
    Data(Vec<u8>),
    TooLong,
    End(u64),
    Broken(Cause, u64),
    Junk(Vec<u8>),
}

fn run(stream: &[u8], chunks: impl IntoIterator<Item = usize>, bytes_max: u64) -> Vec<Seen> {
    let mut deframer = Deframer::new(bytes_max);
    let mut seen = Vec::new();
    let mut rest = stream;
    let mut sizes = chunks.into_iter();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let mut input = take(&mut rest, size);
        while let Some(event) = deframer.next(&mut input) {
            note(&mut seen, event);
        }
        assert!(input.is_empty(), "None means that the input is used up");
    }
    if let Some(event) = deframer.finish() {
        note(&mut seen, event);
    }
    assert!(!deframer.in_frame());
    seen
}

fn note(seen: &mut Vec<Seen>, event: Event<'_>) {
    match (event, seen.last_mut()) {
        (Event::Data(more), Some(Seen::Data(data))) | (Event::Junk(more), Some(Seen::Junk(data))) => {
            data.extend_from_slice(more);
        }
        (Event::Begin, _) => seen.push(Seen::Begin),
        (Event::Data(data), _) => {
            assert!(!data.is_empty());
            seen.push(Seen::Data(data.to_vec()));
        }
        (Event::TooLong, _) => seen.push(Seen::TooLong),
        (Event::End { bytes }, _) => seen.push(Seen::End(bytes)),
        (Event::Broken { cause, bytes }, _) => seen.push(Seen::Broken(cause, bytes)),
        (Event::Junk(junk), _) => seen.push(Seen::Junk(junk.to_vec())),
    }
}

/// The complete payloads.
fn frames(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut current = Vec::new();
    for event in run(stream, [], u64::MAX) {
        match event {
            Seen::Begin => current.clear(),
            Seen::Data(data) => current = data,
            Seen::End(_) => out.push(std::mem::take(&mut current)),
            _ => {}
        }
    }
    out
}

fn data(text: &str) -> Seen {
    Seen::Data(text.as_bytes().to_vec())
}

fn junk(text: &str) -> Seen {
    Seen::Junk(text.as_bytes().to_vec())
}

#[test]
fn every_framing_case_under_every_chunking() {
    use Seen::{Begin, Broken, End};
    let cases: Vec<(&str, &str, Vec<Seen>)> = vec![
        ("plain", "\u{b}MSH\u{1c}\r", vec![Begin, data("MSH"), End(3)]),
        (
            "two frames in one write",
            "\u{b}A\u{1c}\r\u{b}B\u{1c}\r",
            vec![Begin, data("A"), End(1), Begin, data("B"), End(1)],
        ),
        (
            "FS without CR, then the next frame",
            "\u{b}A\u{1c}\u{b}B\u{1c}\r",
            vec![Begin, data("A"), End(1), Begin, data("B"), End(1)],
        ),
        ("FS without CR, then the end", "\u{b}A\u{1c}", vec![Begin, data("A"), End(1)]),
        (
            "CRLF and NUL between frames",
            "\r\n\0\u{b}A\u{1c}\r\n\0\0\u{b}B\u{1c}\r\n",
            vec![
                junk("\r\n\0"),
                Begin,
                data("A"),
                End(1),
                junk("\n\0\0"),
                Begin,
                data("B"),
                End(1),
                junk("\n"),
            ],
        ),
        ("LF as segment end", "\u{b}MSH\nPID\n\u{1c}\r", vec![Begin, data("MSH\nPID\n"), End(8)]),
        (
            "lost FS, new VT starts",
            "\u{b}AB\r\u{b}C\u{1c}\r",
            vec![Begin, data("AB\r"), Broken(Cause::Restarted, 3), Begin, data("C"), End(1)],
        ),
        ("FS inside the payload", "\u{b}A\u{1c}B\u{1c}\r", vec![Begin, data("A\u{1c}B"), End(3)]),
        ("FS FS CR", "\u{b}A\u{1c}\u{1c}\r", vec![Begin, data("A\u{1c}"), End(2)]),
        ("FS LF is not an end", "\u{b}A\u{1c}\n\u{1c}\r", vec![Begin, data("A\u{1c}\n"), End(3)]),
        ("empty frame first", "\u{b}\u{1c}\r\u{b}A\u{1c}\r", vec![Begin, End(0), Begin, data("A"), End(1)]),
        (
            "VT twice",
            "\u{b}\u{b}A\u{1c}\r",
            vec![Begin, Broken(Cause::Restarted, 0), Begin, data("A"), End(1)],
        ),
        ("without a frame", "MSH|^~\\&|\r", vec![junk("MSH|^~\\&|\r")]),
        ("disconnect inside", "\u{b}AB", vec![Begin, data("AB"), Broken(Cause::Closed, 2)]),
        ("an end without a beginning", "\u{1c}\r", vec![junk("\u{1c}\r")]),
        ("nothing", "", vec![]),
    ];
    for (name, stream, expected) in cases {
        let stream = stream.as_bytes();
        for size in 1..=stream.len().max(1) {
            let sizes = std::iter::repeat_n(size, stream.len());
            assert_eq!(run(stream, sizes, u64::MAX), expected, "{name}, in chunks of {size}");
        }
    }
}

#[test]
fn a_frame_beyond_the_limit_is_cut_off_there_and_the_next_is_whole() {
    use Seen::{Begin, Broken, End, TooLong};
    let next = [Begin, data("B"), End(1)];
    for (name, stream, expected) in [
        ("exactly the limit", "\u{b}ABCD\u{1c}\r", vec![Begin, data("ABCD"), End(4)]),
        ("one more", "\u{b}ABCDE\u{1c}\r", vec![Begin, data("ABCD"), TooLong, End(5)]),
        ("FS beyond", "\u{b}ABCD\u{1c}E\u{1c}\r", vec![Begin, data("ABCD"), TooLong, End(6)]),
        ("FS as the last within", "\u{b}ABC\u{1c}E\u{1c}\r", vec![Begin, data("ABC\u{1c}"), TooLong, End(5)]),
        ("many FS beyond", "\u{b}ABCDEF\u{1c}\u{1c}\u{1c}\r", vec![Begin, data("ABCD"), TooLong, End(8)]),
        ("CR lost beyond", "\u{b}ABCDEF\u{1c}", vec![Begin, data("ABCD"), TooLong, End(6)]),
        ("broken off beyond", "\u{b}ABCDEF", vec![Begin, data("ABCD"), TooLong, Broken(Cause::Restarted, 6)]),
    ] {
        let stream = format!("{stream}\u{b}B\u{1c}\r").into_bytes();
        let expected = [expected, next.to_vec()].concat();
        for size in 1..=stream.len() {
            let sizes = std::iter::repeat_n(size, stream.len());
            assert_eq!(run(&stream, sizes, 4), expected, "{name}, in chunks of {size}");
        }
    }
}

#[test]
fn what_is_framed_comes_out_again() {
    for payload in [&b"MSH|^~\\&|A\rPID|1\r"[..], b"", b"\x1cx", b"\xff\x00"] {
        assert!(can_frame(payload));
        assert_eq!(frames(&frame(payload)), [payload]);
    }
    for payload in [&b"a\x0bb"[..], b"a\x1c\rb", b"a\x1c"] {
        assert!(!can_frame(payload));
    }
}

#[test]
fn a_large_frame_passes_through_in_linear_time() {
    let payload = vec![b'A'; 20 << 20];
    let stream = frame(&payload);
    let mut deframer = Deframer::new(64 << 20);
    let mut bytes = 0;
    for mut chunk in stream.chunks(32 << 10) {
        while let Some(event) = deframer.next(&mut chunk) {
            if let Event::Data(data) = event {
                bytes += data.len();
            }
        }
    }
    assert_eq!(bytes, payload.len());
}

#[test]
fn debug_shows_sizes_only() {
    assert_eq!(
        format!("{:?} {:?}", Event::Data(b"DOE"), Event::Junk(b"JANE")),
        "Data(3 bytes) Junk(4 bytes)"
    );
}

/// Bytes in which frame bytes are common.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(VT), 3 => Just(FS), 3 => Just(CR), 1 => Just(b'\n'), 4 => Just(b'A'), 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        stream in streams(),
        sizes in proptest::collection::vec(1..40_usize, 0..100),
        limit in prop_oneof![Just(u64::MAX), 0..20_u64],
    ) {
        prop_assert_eq!(run(&stream, sizes, limit), run(&stream, [], limit));
    }

    #[test]
    fn no_byte_is_lost_or_invented(stream in streams()) {
        let mut counted = 0;
        for event in run(&stream, [], u64::MAX) {
            counted += match event {
                Seen::Begin => 1,
                Seen::Data(data) | Seen::Junk(data) => data.len(),
                _ => 0,
            };
        }
        // What is left are the FS and CR of ends.
        let ends = run(&stream, [], u64::MAX).iter().filter(|e| matches!(e, Seen::End(_))).count();
        prop_assert!(counted + ends <= stream.len() && stream.len() <= counted + 2 * ends);
    }

    #[test]
    fn payloads_come_out_whole_whatever_stands_between(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8),
        between in "[\r\n\0 ]{0,4}",
    ) {
        let payloads: Vec<_> = payloads.into_iter().filter(|p| can_frame(p)).collect();
        let mut stream = Vec::new();
        for payload in &payloads {
            stream.extend_from_slice(&frame(payload));
            stream.extend_from_slice(between.as_bytes());
        }
        prop_assert_eq!(frames(&stream), payloads);
    }
}
