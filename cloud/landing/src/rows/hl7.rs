//! What is read out of a released HL7 v2 payload: its messages (MSH) and their observations (OBX).
//!
//! Text is UTF-8, decoded from the character set that the record names (where it names none or one that is not known
//! here, by MSH-18, else by what the bytes show: `hl7::charset`); a byte that cannot be decoded stands as `\Xhh\`.
//! Values are as released; nothing is repaired. The payload in `raw` stays the truth.

use bytes::Bytes;
use hl7::{Charset, Component, Field, Message, Segment};
use model::{Format, Released, Timestamp};

use super::VALUE_TEXT_BYTES_MAX;

/// One message's header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) message_type: Option<String>,
    pub(super) trigger_event: Option<String>,
    pub(super) structure: Option<String>,
    pub(super) version: Option<String>,
    pub(super) control_id: Option<String>,
    pub(super) sending_application: Option<String>,
    pub(super) sending_facility: Option<String>,
    pub(super) receiving_application: Option<String>,
    pub(super) receiving_facility: Option<String>,
    pub(super) message_time: Option<String>,
    pub(super) segments: i32,
}

/// One OBX.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Obx {
    pub(super) code: Option<String>,
    pub(super) code_text: Option<String>,
    pub(super) code_system: Option<String>,
    pub(super) loinc: Option<String>,
    pub(super) sub_id: Option<String>,
    pub(super) value_type: Option<String>,
    pub(super) value: Option<f64>,
    pub(super) value_text: Option<String>,
    pub(super) too_long: bool,
    pub(super) unit: Option<String>,
    pub(super) ucum: Option<String>,
    pub(super) interpretation: Option<String>,
    pub(super) status: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) time_text: Option<String>,
}

/// A record's message, where it is one.
pub(super) fn message(record: &Released) -> Option<Message> {
    if record.format != Format::Hl7v2 {
        return None;
    }
    decoded(&record.payload, record.charset.as_deref())
}

fn decoded(payload: &[u8], charset: Option<&str>) -> Option<Message> {
    let charset = charset.and_then(|name| Charset::read(name.as_bytes()));
    Message::decode(Bytes::copy_from_slice(payload), charset).ok()
}

/// How many rows of `messages` and `observations` a payload of format `hl7v2` makes.
pub(crate) fn counts(payload: &[u8], charset: Option<&str>) -> (u64, u64) {
    let Some(message) = decoded(payload, charset) else { return (0, 0) };
    let count = |name: &[u8]| message.segments().filter(|s| s.name() == name).count() as u64;
    (count(b"MSH"), count(b"OBX"))
}

/// The headers: one for each MSH, several in a batch of messages.
pub(super) fn headers(message: &Message) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    for segment in message.segments() {
        if segment.name() == b"MSH" {
            headers.push(header(segment));
        } else if let Some(header) = headers.last_mut() {
            header.segments = header.segments.saturating_add(1);
        }
    }
    headers
}

fn header(msh: Segment<'_>) -> Header {
    let field = |n| msh.field(n).and_then(|f| whole(&f));
    let part = |n, c| msh.field(n).and_then(|f| f.component(c)).and_then(|c| leaf(&c));
    Header {
        message_type: part(9, 1),
        trigger_event: part(9, 2),
        structure: part(9, 3),
        version: part(12, 1),
        control_id: field(10),
        sending_application: part(3, 1),
        sending_facility: part(4, 1),
        receiving_application: part(5, 1),
        receiving_facility: part(6, 1),
        message_time: part(7, 1),
        segments: 1,
    }
}

/// The observations, in order.
pub(super) fn observations(message: &Message) -> impl Iterator<Item = Obx> + '_ {
    message.segments().filter(|s| s.name() == b"OBX").map(obx)
}

fn obx(segment: Segment<'_>) -> Obx {
    let part = |n, c| segment.field(n).and_then(|f| f.component(c)).and_then(|c| leaf(&c));
    let code_system = part(3, 3);
    // LOINC in either half of the CWE (HL7 table 0396: LN).
    let loinc = [(1, 3), (4, 6)].into_iter().find_map(|(code, system)| {
        (part(3, system).as_deref() == Some("LN")).then(|| part(3, code)).flatten()
    });
    let value_type = part(2, 1);
    let value_field = segment.field(5);
    let size = value_field.map_or(0, |f| f.raw().len());
    let too_long = size > VALUE_TEXT_BYTES_MAX;
    let value_text = value_field.filter(|_| !too_long).and_then(|f| whole(&f));
    let value = match value_type.as_deref() {
        Some("NM") => value_text.as_deref().and_then(number),
        _ => None,
    };
    let unit = part(6, 1);
    let time_text = part(14, 1);
    Obx {
        code: part(3, 1),
        code_text: part(3, 2),
        loinc,
        sub_id: segment.field(4).and_then(|f| whole(&f)),
        ucum: unit.clone().filter(|_| part(6, 3).as_deref() == Some("UCUM")),
        unit,
        interpretation: part(8, 1),
        status: part(11, 1),
        time: time_text.as_deref().and_then(instant),
        code_system,
        value_type,
        value,
        value_text,
        too_long,
        time_text,
    }
}

/// HL7 NM (v2.8.2 §2A.2.47): optional sign, digits, optional decimal point. Nothing else, not `1e5` nor `inf`.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    let fits = text
        .bytes()
        .enumerate()
        .all(|(at, b)| b.is_ascii_digit() || b == b'.' || (at == 0 && (b == b'+' || b == b'-')));
    (digits && fits).then(|| text.parse().ok()).flatten()
}

/// HL7 DTM with a UTC offset and at least seconds (v2.8.2 §2A.2.22); without an offset the instant is not known.
fn instant(text: &str) -> Option<Timestamp> {
    let at = text.find(['+', '-'])?;
    let (local, offset) = text.split_at_checked(at)?;
    let (seconds, fraction) = local.split_once('.').unwrap_or((local, "0"));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if seconds.len() != 14 || !all_digits(seconds) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let (year, rest) = seconds.split_at_checked(4)?;
    let pairs: Vec<&str> = (0..5).filter_map(|n| rest.get(2 * n..2 * n + 2)).collect();
    let [month, day, hour, minute, second] = pairs.as_slice() else { return None };
    let (hours, minutes) = offset.split_at_checked(3)?;
    if minutes.len() != 2 {
        return None;
    }
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction}{hours}:{minutes}").parse().ok()
}

/// A component with its escapes resolved; `None` where it is empty.
fn leaf(component: &Component<'_>) -> Option<String> {
    (!component.is_empty()).then(|| component.text().into_owned())
}

/// A field as released, delimiters and escapes included; resolved where it is a single value.
fn whole(field: &Field<'_>) -> Option<String> {
    if field.is_empty() {
        return None;
    }
    let delimiters = field.delimiters();
    let compound = field.raw().iter().any(|b| {
        *b == delimiters.component()
            || Some(*b) == delimiters.repetition()
            || Some(*b) == delimiters.subcomponent()
    });
    Some(if compound { String::from_utf8_lossy(field.raw()).into_owned() } else { field.text().into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(message: &str) -> Obx {
        observations(&Message::parse(message.replace('\n', "\r")).unwrap()).next().unwrap()
    }

    #[test]
    fn numbers_are_numbers_and_text_stays_text() {
        for (obx, value, text) in [
            ("OBX|1|NM|8867-4^Heart rate^LN||72|/min^^UCUM", Some(72.0), "72"),
            ("OBX|1|NM|X||-0.5", Some(-0.5), "-0.5"),
            ("OBX|1|NM|X||+3.", Some(3.0), "+3."),
            ("OBX|1|NM|X||1e5", None, "1e5"),
            ("OBX|1|NM|X||<5", None, "<5"),
            ("OBX|1|SN|X||>^100", None, ">^100"),
            ("OBX|1|ST|X||a\\T\\b", None, "a&b"),
            ("OBX|1|CE|X||N^Normal^L~A^Abnormal^L", None, "N^Normal^L~A^Abnormal^L"),
        ] {
            let obx = first(&format!("MSH|^~\\&|A\n{obx}\n"));
            assert_eq!((obx.value, obx.value_text.as_deref()), (value, Some(text)));
        }
        let empty = first("MSH|^~\\&|A\nOBX|1|NM|X|||\n");
        assert_eq!((empty.value, empty.value_text), (None, None));
    }

    #[test]
    fn codes_units_and_times() {
        let obx = first(
            "MSH|^~\\&|A\nOBX|1|NM|HR^Herz^L^8867-4^Heart rate^LN|2|72|/min^^UCUM|60-100|N|||F|||20261124083000.25+0100\n",
        );
        assert_eq!((obx.code.as_deref(), obx.code_system.as_deref()), (Some("HR"), Some("L")));
        assert_eq!((obx.loinc.as_deref(), obx.sub_id.as_deref()), (Some("8867-4"), Some("2")));
        assert_eq!((obx.unit.as_deref(), obx.ucum.as_deref()), (Some("/min"), Some("/min")));
        assert_eq!((obx.interpretation.as_deref(), obx.status.as_deref()), (Some("N"), Some("F")));
        assert_eq!(obx.time.unwrap().to_string(), "2026-11-24T07:30:00.250000Z");
        for unknown in
            ["20261124083000", "20261124+0100", "2026", "2026112408300é+0100", "20261324083000+0100", "+"]
        {
            assert_eq!(instant(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn what_is_too_long_stays_in_the_payload() {
        let long = "x".repeat(VALUE_TEXT_BYTES_MAX + 1);
        let obx = first(&format!("MSH|^~\\&|A\nOBX|1|ED|X||{long}\n"));
        assert!(obx.too_long && obx.value_text.is_none());
    }

    #[test]
    fn a_batch_has_a_header_for_each_message() {
        let message = Message::parse(
            "BHS|^~\\&|A\rMSH|^~\\&|A|B|C|D|20261124||ADT^A01^ADT_A01|1|P|2.5.1^DE\rPID|1\rMSH|^~\\&|Ä||||||ORU^R01|2\rOBX|1\rOBX|2\r",
        )
        .unwrap();
        let headers = headers(&message);
        assert_eq!(headers.len(), 2);
        let [first, second] = headers.as_slice() else { panic!() };
        assert_eq!(
            (first.message_type.as_deref(), first.structure.as_deref()),
            (Some("ADT"), Some("ADT_A01"))
        );
        assert_eq!((first.version.as_deref(), first.segments), (Some("2.5.1"), 2));
        assert_eq!((second.trigger_event.as_deref(), second.segments), (Some("R01"), 3));
        assert_eq!(counts(message.bytes(), None), (2, 2));
        assert_eq!(counts(b"no message", None), (0, 0));
    }

    #[test]
    fn text_is_decoded_from_the_senders_character_set() {
        let read = |named: Option<&str>, declared: &str, bytes: &[u8]| {
            let head = format!("MSH|^~\\&|A|||||||||||||||{declared}\rOBX|1|ST|X||");
            let message = decoded(&[head.as_bytes(), bytes, b"\r"].concat(), named).unwrap();
            observations(&message).next().unwrap().value_text.unwrap()
        };
        let value = |declared: &str, bytes: &[u8]| read(None, declared, bytes);
        assert_eq!(value("", b"M\xfcller"), "Müller");
        assert_eq!(value("UTF-8", "Müller".as_bytes()), "Müller");
        assert_eq!(value("8859/5", b"\xb8"), "И");
        assert_eq!(value("GB18030", b"\x81\x7c"), "亅", "its second byte is the separator");
        assert_eq!(value("UTF-8", b"M\xfcller"), "M\\XFC\\ller", "visible, not lost");
        let wide = Charset::Utf16Le.encode("MSH|^~\\&|A\rOBX|1\r").unwrap();
        assert_eq!(counts(&wide, None), (1, 1));
        // What the gateway read it in stands before what the message says of itself and what the bytes look like.
        assert_eq!(read(Some("8859/5"), "8859/1", b"\xb8"), "И");
        assert_eq!(read(Some("8859/1"), "", b"\xc3\xbc"), "Ã¼");
        assert_eq!(read(Some("of a later gateway"), "8859/5", b"\xb8"), "И");
    }
}
