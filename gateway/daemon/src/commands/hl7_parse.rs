//! `wardgate hl7 parse`: HL7 v2 to JSON lines, one a message. The form stands in [`HELP`], which is also what
//! `wardgate hl7 parse --help` says.
//!
//! Written piece by piece: a message of sixty million empty repetitions takes no more memory than its own bytes.

use std::borrow::Cow;
use std::io::{self, Write};

use bytes::Bytes;
use hl7::charset::layout;
use hl7::mllp::{Deframer, Event, VT};
use hl7::split::{Piece, pieces};
use hl7::{Charset, Component, Field, Message, ParseError, Repetition, Segment};
use serde_json::{Value, json};

/// Most places of undecodable bytes that are listed for a message.
const PLACES_MAX: usize = 20;

pub(crate) const HELP: &str = r#"Reads HL7 v2 from standard input and prints one JSON object a line for each message. A message begins with MSH at
the start of a line; segments end with CR, LF or both. Batches (FHS, BHS), MLLP frames and UTF-16 are taken as well.

  index         number of the message in the input, from 0
  byte, bytes   where it begins in the input, and its length (of UTF-16: in the input decoded to UTF-8)
  message_type  MSH-9, control_id MSH-10, version MSH-12.1: as sent; null where empty
  charset       what it was decoded from: --charset, MSH-18 or the bytes themselves. ASCII where all bytes are
  undecodable   {"bytes": how many, "places": up to 20 paths}; such a byte stands in the text as \XFC\
  delimiters    MSH-1 and MSH-2
  segments      in order, each {"name": "PID", "fields": {"3": ..., "5": ...}}; empty fields are left out

A field is the array of its repetitions. A repetition is text, or an object of its components by number where there
are several; a component is text, or an object of its subcomponents. Empty ones are left out of objects. The null
value "" is null. Escape sequences that stand for characters are resolved; formatting (\.br\, \H\) stays. So
PID-3[2].4.1 is .fields["3"][1]["4"]["1"], or .fields["3"][1]["4"] where component 4 has one part.

What is no message is {"index", "byte", "bytes", "error": {"byte", "segment", "reason", "message"}}; byte and segment
say where in the input. Exit code 1 where there was such an error, or an undecodable byte."#;

/// A message of the input.
struct Found {
    /// Where in the input.
    byte: usize,
    bytes: Bytes,
}

/// Writes a line for each message; how many there were, and how many of them are findings.
pub(super) fn run(input: &[u8], source: Option<Charset>, out: &mut impl Write) -> io::Result<(usize, usize)> {
    let whole = Bytes::copy_from_slice(input);
    let wide = layout(&whole);
    let text = if wide.is_some() { hl7::charset::decode(&whole, None).text } else { whole };
    let (mut messages, mut findings) = (0, 0);
    for (offset, part) in frames(&text) {
        for found in messages_of(&part, offset) {
            findings += usize::from(line(messages, &found, source, wide, out)?);
            messages += 1;
        }
    }
    Ok((messages, findings))
}

/// The payloads of an input that is a capture of MLLP; any other input as it is.
fn frames(input: &Bytes) -> Vec<(usize, Bytes)> {
    let begins = input.iter().position(|b| !b.is_ascii_whitespace());
    if begins.and_then(|at| input.get(at)) != Some(&VT) {
        return vec![(0, input.clone())];
    }
    let mut deframer = Deframer::new(u64::MAX);
    let mut rest: &[u8] = input;
    let mut frames: Vec<(usize, Bytes)> = Vec::new();
    let mut current: Option<(usize, Vec<u8>)> = None;
    loop {
        let at = input.len() - rest.len();
        let event = match deframer.next(&mut rest) {
            Some(event) => event,
            None => match deframer.finish() {
                Some(event) => event,
                None => return frames,
            },
        };
        match event {
            Event::Begin => current = Some((at + 1, Vec::new())),
            Event::Data(data) => {
                if let Some((_, frame)) = &mut current {
                    frame.extend_from_slice(data);
                }
            }
            Event::End { .. } | Event::Broken { .. } => {
                frames.extend(current.take().map(|(at, frame)| (at, frame.into())));
            }
            Event::TooLong | Event::Junk(_) => {}
        }
    }
}

fn messages_of(part: &Bytes, offset: usize) -> Vec<Found> {
    let mut at = offset;
    let mut found = Vec::new();
    for piece in pieces(part) {
        if let Piece::Message(bytes) = piece {
            found.push(Found { byte: at, bytes: part.slice_ref(bytes) });
        }
        at += piece.bytes().len();
    }
    found
}

/// One line; whether it is a finding.
fn line(
    index: usize,
    found: &Found,
    source: Option<Charset>,
    wide: Option<Charset>,
    out: &mut impl Write,
) -> io::Result<bool> {
    let (byte, bytes) = (found.byte, found.bytes.len());
    let message = match Message::decode(found.bytes.clone(), source) {
        Ok(message) => message,
        Err(error) => {
            let (within, reason) = where_and_what(&error);
            let error = json!({
                "byte": byte + within,
                "segment": 1,
                "reason": reason,
                "message": error.to_string(),
            });
            writeln!(out, "{}", json!({ "index": index, "byte": byte, "bytes": bytes, "error": error }))?;
            return Ok(true);
        }
    };
    let charset = wide.or(message.charset()).map(|charset| charset.to_string());
    write!(out, r#"{{"index":{index},"byte":{byte},"bytes":{bytes},"message_type":"#)?;
    value(out, &json!(text(message.message_type())))?;
    out.write_all(br#","control_id":"#)?;
    value(out, &json!(text(message.control_id())))?;
    out.write_all(br#","version":"#)?;
    value(out, &json!(text(message.version())))?;
    out.write_all(br#","charset":"#)?;
    value(out, &json!(charset))?;
    out.write_all(br#","undecodable":"#)?;
    value(out, &json!({ "bytes": message.undecodable(), "places": undecodable_places(&message) }))?;
    out.write_all(br#","delimiters":"#)?;
    let header = message.msh().or_else(|| message.segment(0));
    let delimiters = [1, 2].map(|n| header.and_then(|h| h.field(n)).map(|f| f.text()).unwrap_or_default());
    value(out, &json!(delimiters.concat()))?;
    out.write_all(br#","segments":"#)?;
    list(out, b"[]", message.segments(), |out, s| segment(out, &s))?;
    out.write_all(b"}\n")?;
    Ok(message.undecodable() > 0)
}

fn text(part: Option<&[u8]>) -> Option<Cow<'_, str>> {
    part.map(String::from_utf8_lossy)
}

/// Where in the message, and a word that programs can go by.
const fn where_and_what(error: &ParseError) -> (usize, &'static str) {
    match error {
        ParseError::Empty => (0, "empty"),
        ParseError::NoHeader { offset } => (*offset, "no_header"),
        ParseError::Delimiters { offset } => (*offset, "delimiters"),
        ParseError::Utf16 => (0, "utf16"),
        ParseError::HeaderTooLong { .. } => (0, "header_too_long"),
        ParseError::TooLong { .. } => (0, "too_long"),
        ParseError::TooManySegments => (0, "too_many_segments"),
    }
}

/// Paths of fields with bytes that are no letters.
fn undecodable_places(message: &Message) -> Vec<String> {
    let mut places = Vec::new();
    if message.undecodable() == 0 {
        return places;
    }
    let mut seen: Vec<(&[u8], usize)> = Vec::new();
    for segment in message.segments() {
        let name = segment.name();
        let occurrence = match seen.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                seen.push((name, 1));
                1
            }
        };
        let is_undecodable = |field: &Field<'_>| std::str::from_utf8(&field.unescaped()).is_err();
        for (number, _) in (1..).zip(segment.fields()).filter(|(_, field)| is_undecodable(field)) {
            if places.len() == PLACES_MAX {
                return places;
            }
            let which = if occurrence == 1 { String::new() } else { format!("[{occurrence}]") };
            places.push(format!("{}{which}-{number}", String::from_utf8_lossy(name)));
        }
    }
    places
}

fn segment(out: &mut impl Write, segment: &Segment<'_>) -> io::Result<()> {
    out.write_all(br#"{"name":"#)?;
    value(out, &json!(String::from_utf8_lossy(segment.name())))?;
    out.write_all(br#","fields":"#)?;
    let fields = (1..).zip(segment.fields()).filter(|(_, field)| !field.is_empty());
    list(out, b"{}", fields, |out, (number, field)| {
        write!(out, r#""{number}":"#)?;
        list(out, b"[]", field.repetitions(), |out, r| repetition(out, r))
    })?;
    out.write_all(b"}")
}

fn repetition(out: &mut impl Write, repetition: Repetition<'_>) -> io::Result<()> {
    let mut components = repetition.components();
    let first = components.next();
    match (first, components.next()) {
        (Some(only), None) => component(out, only),
        _ => {
            let components = (1..).zip(repetition.components()).filter(|(_, c)| !c.is_empty());
            list(out, b"{}", components, |out, (number, c)| {
                write!(out, r#""{number}":"#)?;
                component(out, c)
            })
        }
    }
}

fn component(out: &mut impl Write, component: Component<'_>) -> io::Result<()> {
    let mut parts = component.subcomponents();
    let first = parts.next();
    match (first, parts.next()) {
        (Some(only), None) => leaf(out, only.is_null(), only.text()),
        _ => {
            let parts = (1..).zip(component.subcomponents()).filter(|(_, s)| !s.is_empty());
            list(out, b"{}", parts, |out, (number, part)| {
                write!(out, r#""{number}":"#)?;
                leaf(out, part.is_null(), part.text())
            })
        }
    }
}

fn leaf(out: &mut impl Write, is_null: bool, text: Cow<'_, str>) -> io::Result<()> {
    if is_null { out.write_all(b"null") } else { value(out, &json!(text)) }
}

fn value(out: &mut impl Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}

/// Items between brackets, with commas.
fn list<W: Write, T>(
    out: &mut W,
    brackets: &[u8; 2],
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut W, T) -> io::Result<()>,
) -> io::Result<()> {
    let [open, close] = *brackets;
    out.write_all(&[open])?;
    for (n, item) in items.enumerate() {
        if n > 0 {
            out.write_all(b",")?;
        }
        write(out, item)?;
    }
    out.write_all(&[close])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(input: &[u8]) -> Vec<Value> {
        let mut out = Vec::new();
        let (messages, findings) = run(input, None, &mut out).unwrap();
        let lines: Vec<Value> =
            String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), messages);
        let found = |l: &&Value| l.get("error").is_some() || l["undecodable"]["bytes"] != 0;
        assert_eq!(lines.iter().filter(found).count(), findings);
        lines
    }

    #[test]
    fn every_place_has_its_number_and_null_is_not_empty() {
        let found = lines(
            b"MSH|^~\\&|LAB||||||ORU^R01|7|P|2.5.1^DEU\rPID|1||7^^^H&1.2&ISO~8|\"\"||a\\T\\b^^\"\"|||line\\.br\\two\rZPI\r",
        );
        assert_eq!(
            found,
            [json!({
                "index": 0, "byte": 0, "bytes": 96,
                "message_type": "ORU^R01", "control_id": "7", "version": "2.5.1",
                "charset": "ASCII", "undecodable": {"bytes": 0, "places": []}, "delimiters": "|^~\\&",
                "segments": [
                    {"name": "MSH", "fields": {
                        "1": ["|"], "2": ["^~\\&"], "3": ["LAB"], "9": [{"1": "ORU", "2": "R01"}], "10": ["7"],
                        "11": ["P"], "12": [{"1": "2.5.1", "2": "DEU"}],
                    }},
                    {"name": "PID", "fields": {
                        "1": ["1"], "3": [{"1": "7", "4": {"1": "H", "2": "1.2", "3": "ISO"}}, "8"], "4": [null],
                        "6": [{"1": "a&b", "3": null}], "9": ["line\\.br\\two"],
                    }},
                    {"name": "ZPI", "fields": {}},
                ],
            })]
        );
    }

    #[test]
    fn text_is_decoded_and_what_is_none_is_listed() {
        let head = "MSH|^~\\&|A|||||||||||||||";
        let latin = [head.as_bytes(), b"8859/1\rPID|1||||M\xfcller\r"].concat();
        let wrong = [head.as_bytes(), b"UTF-8\rPID|1||||M\xfcller\rPID|1|\xff\r"].concat();
        let found = lines(&[latin, wrong].concat());
        assert_eq!(
            (&found[0]["charset"], &found[0]["segments"][1]["fields"]["5"][0]),
            (&json!("8859/1"), &json!("Müller"))
        );
        assert_eq!(found[1]["segments"][1]["fields"]["5"][0], "M\\XFC\\ller");
        assert_eq!(found[1]["undecodable"], json!({"bytes": 2, "places": ["PID-5", "PID[2]-2"]}));
        let wide = Charset::Utf16Be.encode(&format!("\u{feff}{head}\rPID|ü\r{head}\r")).unwrap();
        let found = lines(&wide);
        assert_eq!((found.len(), &found[0]["charset"]), (2, &json!("UNICODE UTF-16BE")));
        assert_eq!(found[0]["segments"][1]["fields"]["1"][0], "ü");
    }

    #[test]
    fn errors_say_where_and_what() {
        let found = lines(b"MSH|^~\\&|A\rMSH||B\rMSH|^~\\&|C\r");
        assert_eq!(found[1]["error"]["byte"], 11);
        assert_eq!(found[1]["error"]["reason"], "delimiters");
        assert_eq!((&found[2]["index"], &found[2]["byte"]), (&json!(2), &json!(18)));
    }

    #[test]
    fn a_capture_of_mllp_is_cut_at_its_frames() {
        let found = lines(b"\x0bMSH|^~\\&|A\rPID|1\r\x1c\r\x0bMSH|^~\\&|B\r\x1c\r");
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0]["byte"], &found[1]["byte"]), (&json!(1), &json!(21)));
        assert_eq!(found[0]["segments"].as_array().unwrap().len(), 2, "the end of the frame is no segment");
    }

    proptest! {
        #[test]
        fn any_input_gives_json(input in proptest::collection::vec(any::<u8>(), 0..200), head: bool) {
            lines(&[if head { &b"MSH|^~\\&|"[..] } else { b"" }, &input[..]].concat());
        }
    }
}
