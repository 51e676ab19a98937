//! Under which keys a record is found.
//!
//! A key is a kind and a value, the value as text, without blanks around it, byte for byte: no case is folded.
//!
//! | kind | HL7 v2 | FHIR ([`fhir::lookup`]) | device |
//! |---|---|---|---|
//! | mrn | PID-3.1, every repetition | Patient | |
//! | visit | PV1-19.1 | Encounter | |
//! | order | ORC-2.1, ORC-3.1, OBR-2.1, OBR-3.1 | requests, reports, results | |
//! | control id | MSH-10 | Bundle, MessageHeader | |
//! | type | MSH-9: `ADT^A08`, `ADT` | type of every resource, event | id of the profile |
//! | device | | | as the topic names it |
//! | feed | its feed | its feed | its feed |
//!
//! Every message of a record counts, in the character set that the feed or the message says. Of a message of more than
//! one piece ([`spool::format::INLINE_BYTES`]) the segments that hold keys are cut out while it is read, so that a
//! document of any size takes [`HELD_BYTES_MAX`] of memory. Evidence that is no message is found by its feed.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use fhir::lookup::Named;
use model::{Envelope, Format, Slug, codec};
use spool::{Flow, Keyed, Payload, Record};

use crate::config::Feed;

/// Most that is held of a message in pieces.
const HELD_BYTES_MAX: usize = 256 << 10;
/// The segments that hold keys.
const TELLING: [&[u8]; 5] = [b"MSH", b"PID", b"PV1", b"ORC", b"OBR"];
const SEGMENT_NAME_BYTES: usize = 3;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mrn = 1,
    Visit = 2,
    Order = 3,
    ControlId = 4,
    Device = 5,
    Type = 6,
    Feed = 7,
}

/// The key of a value.
pub(super) fn key(kind: Kind, value: &str) -> Vec<u8> {
    let mut key = vec![kind as u8];
    key.extend_from_slice(value.trim().as_bytes());
    key
}

/// Tells the keys of records of these feeds.
#[derive(Debug, Clone)]
pub(crate) struct RecordKeys {
    feeds: Arc<HashMap<Slug, Feed>>,
}

impl RecordKeys {
    pub(crate) const fn new(feeds: Arc<HashMap<Slug, Feed>>) -> Self {
        Self { feeds }
    }
}

impl Keyed for RecordKeys {
    fn keys(&self, record: &Record, add: &mut dyn FnMut(&[u8])) -> Result<bool, spool::Error> {
        let Ok(envelope) = codec::decode::<Envelope>(&record.meta) else { return Ok(true) };
        let provenance = &envelope.provenance;
        let mut say = |kind, value: &str| {
            let value = value.trim();
            if !value.is_empty() && value != "\"\"" {
                add(&key(kind, value));
            }
        };
        say(Kind::Feed, provenance.feed.as_str());
        let feed = self.feeds.get(&provenance.feed);
        match &provenance.format {
            Format::Hl7v2 => hl7(&record.payload, feed.and_then(|feed| feed.charset), &mut say),
            Format::Fhir => fhir(&record.payload, &mut say),
            Format::Device(profile) => {
                say(Kind::Type, profile);
                let topics = feed.map(|feed| feed.device_topics.as_slice()).unwrap_or_default();
                if let Some(device) = profile::device_from_topics(topics, &provenance.channel) {
                    say(Kind::Device, &device);
                }
                Ok(true)
            }
            Format::Unparsed => Ok(true),
        }
    }
}

/// What a message type is shown as; nothing for what is no message.
pub(super) fn shown_type(keyed: &RecordKeys, record: &Record) -> Option<String> {
    let mut shown: Option<String> = None;
    let mut take = |key: &[u8]| {
        if let Some((kind, value)) = key.split_first()
            && *kind == Kind::Type as u8
            && shown.is_none()
        {
            shown = std::str::from_utf8(value).ok().map(str::to_owned);
        }
    };
    keyed.keys(record, &mut take).ok()?;
    shown
}

fn hl7(
    payload: &Payload,
    charset: Option<hl7::Charset>,
    say: &mut dyn FnMut(Kind, &str),
) -> Result<bool, spool::Error> {
    let (bytes, is_all) = match payload.at_hand() {
        Some(bytes) => (bytes.clone(), true),
        None => telling(payload)?,
    };
    let Ok(message) = hl7::Message::decode(bytes, charset) else { return Ok(is_all) };
    for segment in message.segments() {
        let mut first_of = |kind: Kind, numbers: &[usize]| {
            let fields = numbers.iter().filter_map(|number| segment.field(*number));
            for repetition in fields.flat_map(|field| field.repetitions()) {
                if let Some(id) = repetition.component(1) {
                    say(kind, &id.text());
                }
            }
        };
        match segment.name() {
            b"MSH" => {
                first_of(Kind::ControlId, &[10]);
                let Some(kind) = segment.field(9) else { continue };
                let part = |n| kind.component(n).map(|c| c.text().trim().to_owned()).unwrap_or_default();
                let (code, event) = (part(1), part(2));
                if !event.is_empty() {
                    say(Kind::Type, &format!("{code}^{event}"));
                }
                say(Kind::Type, &code);
            }
            b"PID" => first_of(Kind::Mrn, &[3]),
            b"PV1" => first_of(Kind::Visit, &[19]),
            b"ORC" | b"OBR" => first_of(Kind::Order, &[2, 3]),
            _ => {}
        }
    }
    Ok(is_all)
}

/// The segments of a message in pieces that hold keys, and whether that is all of them. Bytes of CR and LF are no part of
/// any letter in a character set of HL7 but UTF-16, of which the first piece must do.
fn telling(payload: &Payload) -> Result<(Bytes, bool), spool::Error> {
    let mut held = Vec::new();
    let mut line = Vec::new();
    let mut is_all = true;
    let mut is_wide = None;
    payload.pieces(&mut |piece| {
        if *is_wide.get_or_insert_with(|| piece.iter().take(64).any(|byte| *byte == 0)) {
            held.extend_from_slice(piece);
            is_all = false;
            return Flow::Enough;
        }
        let mut rest: &[u8] = piece;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (now, later) =
                rest.split_at_checked(end.map_or(rest.len(), |end| end + 1)).unwrap_or((rest, &[]));
            // Of what tells nothing only the beginning is kept, to see that it does not.
            let is_kept = line.len() < SEGMENT_NAME_BYTES || is_telling(&line);
            if is_kept && line.len() + now.len() <= HELD_BYTES_MAX {
                line.extend_from_slice(now);
            } else if is_kept {
                let name = now.get(..SEGMENT_NAME_BYTES).unwrap_or_default();
                is_all &= !(is_telling(&line) || line.is_empty() && is_telling(name));
                line.extend_from_slice(name);
            }
            if end.is_some() {
                is_all &= keep(&mut held, &line);
                line.clear();
            }
            rest = later;
        }
        Flow::On
    })?;
    is_all &= keep(&mut held, &line);
    Ok((held.into(), is_all))
}

fn is_telling(line: &[u8]) -> bool {
    TELLING.iter().any(|name| line.starts_with(name))
}

/// Whether nothing was left out.
fn keep(held: &mut Vec<u8>, line: &[u8]) -> bool {
    if !is_telling(line) {
        return true;
    }
    let fits = held.len() + line.len() < HELD_BYTES_MAX;
    if fits {
        held.extend_from_slice(line);
    }
    fits
}

fn fhir(payload: &Payload, say: &mut dyn FnMut(Kind, &str)) -> Result<bool, spool::Error> {
    let mut pieces = Pieces { payload, next: 0, piece: Bytes::new(), failed: None };
    let is_whole = fhir::lookup::names(&mut pieces, &mut |named, id| {
        let kind = match named {
            Named::Patient => Kind::Mrn,
            Named::Visit => Kind::Visit,
            Named::Order => Kind::Order,
            Named::Message => Kind::ControlId,
            Named::Type => Kind::Type,
        };
        say(kind, id);
    });
    match pieces.failed {
        Some(error) if !is_whole => Err(error),
        // What was taken in is valid JSON; what is not has no ids.
        _ => Ok(true),
    }
}

/// A payload as a stream.
struct Pieces<'p> {
    payload: &'p Payload,
    next: usize,
    piece: Bytes,
    failed: Option<spool::Error>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.next < self.payload.chunks() {
            self.piece = self.payload.piece(self.next).map_err(|error| {
                self.failed = Some(error);
                io::Error::other("a piece cannot be read")
            })?;
            self.next += 1;
        }
        let taken = self.piece.len().min(into.len());
        for (to, from) in into.iter_mut().zip(self.piece.split_to(taken)) {
            *to = from;
        }
        Ok(taken)
    }
}
