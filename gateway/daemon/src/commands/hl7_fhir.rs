//! `wardgate hl7 fhir`: HL7 v2 to FHIR R4, as a filter, so that anyone can compare engines on the same input.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use fhir::maps::Maps;
use fhir::v2::{Context, Converter, Identity, Ids as _, Keyed, Report};
use hl7::{Charset, Message};
use model::Clock as _;
use serde_json::{Value, json};

use super::nothing_to_read;
use crate::clock::SystemClock;
use crate::exit;

/// The gateway's name in what the filter makes.
const FILTER: &str = "filter";

/// Bundles to standard output. A message that cannot be converted is left out and listed.
pub(super) fn convert(
    input: &[u8],
    charset: Option<Charset>,
    report: Option<&Path>,
    trace: bool,
    zone: &str,
    key_file: Option<&Path>,
) -> anyhow::Result<()> {
    let maps = Maps::builtin()
        .map_err(|errors| anyhow!(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let ids = ids(key_file)?;
    let offset_minutes = offset(zone).ok_or_else(|| anyhow!("{zone} is no zone: +HHMM or -HHMM"))?;
    let converter = Converter::new(&maps, &ids);
    let recorded_at = SystemClock.now();
    let (mut messages, mut faults, mut listed) = (0, 0, String::new());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (index, bytes) in hl7::split(input).enumerate() {
        messages += 1;
        let record = record(&ids, bytes);
        let context = Context { gateway: FILTER, record: &record, recorded_at, offset_minutes, trace };
        let outcome = Message::decode(bytes.to_vec(), charset)
            .map_err(|e| e.to_string())
            .and_then(|message| converter.convert(&message, &context).map_err(|e| e.to_string()));
        let line = match outcome {
            Ok(converted) => {
                out.write_all(converted.to_json().as_bytes())?;
                out.write_all(b"\n")?;
                account(index, &converted.report, trace)
            }
            Err(reason) => {
                faults += 1;
                json!({ "index": index, "outcome": "failed", "reason": reason })
            }
        };
        listed.push_str(&format!("{line}\n"));
    }
    out.flush()?;
    drop(out);
    if let Some(file) = report {
        std::fs::write(file, listed).with_context(|| file.display().to_string())?;
    }
    nothing_to_read(input, messages)?;
    if faults == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// There is no log behind a filter, so a record is named by its bytes: the same message makes the same ids again.
fn record(ids: &Keyed, bytes: &[u8]) -> String {
    let digest = ids.id(Identity { resource: "record", key: &hex(bytes) });
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    out
}

fn account(index: usize, report: &Report, trace: bool) -> Value {
    let unmapped: Vec<Value> =
        report.unmapped.iter().map(|u| json!({ "path": u.from, "reason": u.reason })).collect();
    let mut line = json!({
        "index": index,
        "outcome": "converted",
        "message_type": report.message_type,
        "values": report.leaves,
        "official": report.official,
        "ours": report.ours,
        "rest": report.rest,
        "unmapped": unmapped,
    });
    if trace && let Some(members) = line.as_object_mut() {
        let kept: Vec<Value> = report
            .kept
            .iter()
            .map(|k| json!({ "path": k.from, "element": k.to, "way": k.way.as_str() }))
            .collect();
        members.insert("kept".into(), Value::Array(kept));
    }
    line
}

fn ids(key_file: Option<&Path>) -> anyhow::Result<Keyed> {
    let Some(file) = key_file else { return Ok(Keyed::public()) };
    let bytes = zeroize::Zeroizing::new(std::fs::read(file).with_context(|| file.display().to_string())?);
    let key: &[u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| anyhow!("{}: a key has 32 bytes, this file has {}", file.display(), bytes.len()))?;
    Ok(Keyed::new(key))
}

/// `+HHMM` in minutes.
fn offset(zone: &str) -> Option<i16> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i16 = digits.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        assert_eq!(offset("+0000"), Some(0));
        assert_eq!(offset("-0530"), Some(-330));
        for wrong in ["", "0100", "+1", "+2500", "+0160", "Z"] {
            assert_eq!(offset(wrong), None, "{wrong}");
        }
    }
}
