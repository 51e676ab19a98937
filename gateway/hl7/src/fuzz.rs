//! What a fuzz target calls: one line over each function that reads what others wrote. A panic is a finding.

use bytes::Bytes;

use crate::charset::decode;
use crate::mllp::{Deframer, Event};
use crate::split::pieces;
use crate::{Charset, Delimiters, Header, Message, Path, escape, unescape};

/// Frames: data passes through unchanged, whatever the chunking, and every byte is accounted for. The first byte
/// sizes the chunks, the second one the limit.
pub fn frame(input: &[u8]) {
    let [size, limit, stream @ ..] = input else { return };
    let size = usize::from(*size).max(1);
    let limit = u64::from(*limit);
    let whole = run(stream, stream.len().max(1), limit);
    assert!(whole == run(stream, size, limit), "the frames depend on the chunking");
    let junk: usize = whole.iter().filter(|(kind, ..)| *kind == 5).map(|(_, bytes, _)| bytes.len()).sum();
    let framed: u64 =
        whole.iter().filter(|(kind, ..)| matches!(kind, 3 | 4)).map(|(.., length)| length).sum();
    // A frame has a VT, and at most an FS and a CR.
    let ends = 3 * whole.iter().filter(|(kind, ..)| *kind == 0).count();
    let counted = junk as u64 + framed;
    assert!(counted <= stream.len() as u64 && counted + ends as u64 >= stream.len() as u64, "bytes are lost");
}

/// A message, as bytes and as text.
pub fn message(input: &[u8]) {
    if let Ok(message) = Message::parse(input.to_vec()) {
        assert!(*message.bytes() == input, "the bytes are others");
        parts(&message);
    }
    if let Ok(message) = Message::decode(input.to_vec(), None) {
        assert!(*message.payload() == input, "the payload is another");
        parts(&message);
    }
}

/// The parts are the whole, and every value can be reached, unescaped and read as text.
fn parts(message: &Message) {
    let mut again = message.prefix().to_vec();
    for segment in message.segments() {
        again.extend_from_slice(segment.raw());
        again.extend_from_slice(segment.gap());
        let leaves = segment
            .fields()
            .flat_map(|f| f.repetitions().collect::<Vec<_>>())
            .flat_map(|r| r.components().collect::<Vec<_>>())
            .flat_map(|c| c.subcomponents().collect::<Vec<_>>());
        for leaf in leaves {
            assert!(message.range_of(leaf.raw()).is_some(), "a leaf lies outside its message");
            let lost = leaf.text().contains('\u{fffd}')
                && !leaf.raw().windows(3).any(|w| w == "\u{fffd}".as_bytes());
            assert!(!lost || message.charset().is_none(), "a decoded text lost a letter");
        }
    }
    assert!(*message.bytes() == again, "the parts are not the whole");
}

/// A character set: the text is UTF-8; what could be decoded encodes to bytes of the same text. The first byte
/// chooses what the source is configured to be.
pub fn charset(input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else { return };
    let named = [
        "",
        "UTF-8",
        "8859/1",
        "8859/8",
        "WINDOWS-1251",
        "GB18030",
        "BIG5",
        "KS X 1001",
        "ISO IR87",
        "SJIS",
        "EUC-JP",
    ];
    let source =
        named.get(usize::from(*choice) % named.len()).and_then(|name| Charset::read(name.as_bytes()));
    let payload = Bytes::copy_from_slice(payload);
    let decoded = decode(&payload, source);
    let text = std::str::from_utf8(&decoded.text);
    assert!(text.is_ok(), "a text is no UTF-8");
    let text = text.unwrap_or_default();
    assert!(decoded.undecodable <= payload.len(), "more bytes are undecodable than there are");
    assert!(text.len() <= 5 * payload.len() + 16, "a text is much longer than its payload");
    // ISO 2022-JP is written with other escape sequences, and katakana in their full width.
    if decoded.undecodable == 0
        && decoded.charset != Charset::Iso2022Jp
        && let Some(bytes) = decoded.charset.encode(text)
    {
        let again = decode(&bytes.into(), Some(decoded.charset));
        // Detection may take the other bytes for something else; a configured source cannot.
        assert!(again.charset != decoded.charset || again.text == decoded.text, "encoding is not undone");
    }
}

/// A header, and the answer to it: our own frame around the answer holds, and the answer can be read.
pub fn header(input: &[u8]) {
    let Ok(header) = Header::read(input, false) else { return };
    let ack = crate::Ack {
        code: crate::AckCode::Accept,
        fault: None,
        control_id: "1",
        sent_at: "2026",
        expected_sequence: None,
    };
    let bytes = ack.to_bytes(Some(&header));
    assert!(crate::mllp::can_frame(&bytes), "an answer breaks its frame");
    assert!(Message::decode(bytes, None).is_ok(), "an answer is no message");
}

/// A path: what parses prints and parses to itself.
pub fn path(input: &[u8]) {
    let Some(path) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Path>().ok()) else {
        return;
    };
    assert!(path.to_string().parse() == Ok(path), "a path does not print as itself");
}

/// Escapes: resolving ends and never makes a value longer; what is escaped holds no delimiter, and resolves to
/// what it was. The first six bytes are the delimiters.
pub fn escapes(input: &[u8]) {
    let Some(([field, encoding @ ..], value)) = input.split_first_chunk::<6>() else { return };
    let Some(delimiters) = Delimiters::from_header(*field, encoding) else { return };
    let resolved = unescape(value, &delimiters);
    assert!(resolved.len() <= value.len(), "resolving escapes made a value longer");
    let written = escape(value, &delimiters);
    let breaks = |b: u8| b == b'\r' || b == b'\n' || delimiters.contains(b) && Some(b) != delimiters.escape();
    assert!(!written.iter().any(|b| breaks(*b)), "an escaped value holds a delimiter");
    if delimiters.escape().is_some() {
        assert!(*unescape(&written, &delimiters) == *value, "escaping is not undone");
    }
}

/// A file: the pieces are the whole.
pub fn split(input: &[u8]) {
    let again: Vec<u8> = pieces(input).flat_map(|piece| piece.bytes().to_vec()).collect();
    assert!(again == input, "the pieces are not the file");
}

/// A batch: the pieces are the payload, each has one message, and none depends on the chunking. The first byte sizes
/// the chunks.
pub fn batch(input: &[u8]) {
    let Some((size, payload)) = input.split_first() else { return };
    let whole = cut(payload, payload.len().max(1));
    assert!(whole.concat() == payload, "the pieces are not the payload");
    assert!(whole == cut(payload, usize::from(*size).max(1)), "the pieces depend on the chunking");
}

/// The pieces of a batch.
fn cut(payload: &[u8], chunk: usize) -> Vec<Vec<u8>> {
    let (mut splitter, mut pieces) = (crate::batch::Splitter::new(), Vec::<Vec<u8>>::new());
    let mut act = |event: crate::batch::Event<'_>| match event {
        crate::batch::Event::Begin => pieces.push(Vec::new()),
        crate::batch::Event::Data { bytes, .. } => {
            if let Some(piece) = pieces.last_mut() {
                piece.extend_from_slice(bytes);
            }
        }
        crate::batch::Event::Line(_) => {}
    };
    for mut input in payload.chunks(chunk) {
        while let Some(event) = splitter.next(&mut input) {
            act(event);
        }
    }
    while let Some(event) = splitter.finish() {
        act(event);
    }
    pieces
}

/// The events of a stream, neighbouring data joined.
fn run(stream: &[u8], chunk: usize, limit: u64) -> Vec<(u8, Vec<u8>, u64)> {
    let mut deframer = Deframer::new(limit);
    let mut events: Vec<(u8, Vec<u8>, u64)> = Vec::new();
    let mut note = |event: Event<'_>| {
        let (kind, bytes, length): (u8, &[u8], u64) = match event {
            Event::Begin => (0, &[], 0),
            Event::Data(data) => (1, data, 0),
            Event::TooLong => (2, &[], 0),
            Event::End { bytes } => (3, &[], bytes),
            Event::Broken { bytes, .. } => (4, &[], bytes),
            Event::Junk(junk) => (5, junk, 0),
        };
        match events.last_mut() {
            Some((last, joined, _)) if *last == kind && matches!(kind, 1 | 5) => {
                joined.extend_from_slice(bytes)
            }
            _ => events.push((kind, bytes.to_vec(), length)),
        }
    };
    for mut input in stream.chunks(chunk) {
        while let Some(event) = deframer.next(&mut input) {
            note(event);
        }
    }
    if let Some(event) = deframer.finish() {
        note(event);
    }
    events
}
