//! What a fuzz target calls: one line over each function that reads what others wrote. A panic is a finding.

use crate::mllp::{Deframer, Event};
use crate::split::pieces;
use crate::{Header, Message, Path, unescape};

/// Frames: data passes through unchanged, whatever the chunking. The first byte sizes the chunks.
pub fn frame(input: &[u8]) {
    let Some((size, stream)) = input.split_first() else { return };
    let size = usize::from(*size).max(1);
    let whole = run(stream, stream.len().max(1));
    assert!(whole == run(stream, size), "the frames depend on the chunking");
}

/// A message: the parts are the whole, and every value can be reached and unescaped.
pub fn message(input: &[u8]) {
    let Ok(message) = Message::parse(input.to_vec()) else { return };
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
            let _unescaped = leaf.unescaped();
        }
    }
    assert!(again == input, "the parts are not the whole");
}

/// A header, and the answer to it: our own frame around the answer holds.
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
    assert!(Message::parse(bytes).is_ok(), "an answer is no message");
}

/// A path: what parses prints and parses to itself.
pub fn path(input: &[u8]) {
    let Some(path) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Path>().ok()) else {
        return;
    };
    assert!(path.to_string().parse() == Ok(path), "a path does not print as itself");
}

/// Escapes: resolving ends, and never makes a value longer.
pub fn escapes(input: &[u8]) {
    let resolved = unescape(input, &crate::Delimiters::STANDARD);
    assert!(resolved.len() <= input.len(), "resolving escapes made a value longer");
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
fn run(stream: &[u8], chunk: usize) -> Vec<(u8, Vec<u8>, u64)> {
    let mut deframer = Deframer::new(64);
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
