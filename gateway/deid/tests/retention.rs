//! What the rules must not lose: clinical numbers and codes of the public test data, byte for byte. Skipped
//! with a note where the data is not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use std::collections::BTreeMap;

use deid::Clinical;
use hl7::Message;
use support::{corpus, corpus_messages, policy, release};

/// Least share of numbers (OBX-5 of type NM and SN) and of codes with a known system that must stay as they
/// are.
const KEPT_SHARE_MIN: f64 = 0.995;

/// Fields that hold clinical codes, with their system in the third and sixth component.
const CODED: [(&str, &[usize]); 12] = [
    ("OBX", &[3, 5]),
    ("OBR", &[4]),
    ("DG1", &[3]),
    ("AL1", &[3]),
    ("IAM", &[3]),
    ("PRB", &[3]),
    ("PR1", &[3]),
    ("RXA", &[5]),
    ("RXE", &[2]),
    ("RXO", &[1]),
    ("RXD", &[2]),
    ("SPM", &[4]),
];
/// The systems as the test knows them, without asking the engine.
const SYSTEMS: [&str; 14] = [
    "LN", "SCT", "SNOMED", "I9", "I9C", "I9CDX", "I10", "I10C", "ICD10", "CVX", "RXNORM", "NDC", "C4", "CPT",
];

/// Whether this is a code of the system at all: the samples put mnemonics and made-up numbers beside `LN` and
/// `NDC`.
fn is_code_of(system: &str, code: &str) -> bool {
    let digits = code.bytes().filter(u8::is_ascii_digit).count();
    match system {
        "LN" => code.contains('-') && digits + 1 == code.len(),
        "NDC" => digits >= 9,
        "C4" | "CPT" => code.len() == 5,
        _ => digits > 0,
    }
}

/// A plain number of the standard's form, as the test knows it.
fn is_plain_number(value: &str) -> bool {
    value.parse::<f64>().is_ok() && value.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b))
}

#[derive(Default)]
struct Share {
    all: u32,
    lost: BTreeMap<String, u32>,
}

impl Share {
    fn see(&mut self, before: &[u8], after: Option<&[u8]>) {
        self.all += 1;
        if after != Some(before) {
            *self.lost.entry(String::from_utf8_lossy(before).into_owned()).or_default() += 1;
        }
    }

    fn kept(&self, what: &str) -> f64 {
        let lost: u32 = self.lost.values().sum();
        let kept = 1.0 - f64::from(lost) / f64::from(self.all.max(1));
        println!("{what}: {} seen, {:.2} % kept, lost {:?}", self.all, kept * 100.0, self.lost);
        kept
    }
}

#[test]
fn clinical_numbers_and_codes_stay_as_they_are() {
    let Some(folder) = corpus() else {
        println!("skipped: no test data (WARDGATE_CORPUS)");
        return;
    };
    for name in ["safe-harbor", "limited-data-set"] {
        let policy = policy(name);
        let (mut numbers, mut codes) = (Share::default(), Share::default());
        for (_, bytes) in corpus_messages(&folder) {
            let Ok(source) = Message::parse(bytes) else { continue };
            let Ok(released) = release(&policy, &Clinical::Hl7(source.clone())) else { continue };
            let released = Message::parse(released.payload().to_vec()).unwrap();
            // Unknown segments are gone; the others are in order.
            let mut after = released.segments();
            for before in source.segments() {
                let Some((segment, fields)) =
                    CODED.iter().find(|(name, _)| name.as_bytes() == before.name() && before.raw().len() > 4)
                else {
                    continue;
                };
                let Some(after) = after.find(|s| s.name() == segment.as_bytes()) else { break };
                let text = |n: usize| before.field(n).map(|f| String::from_utf8_lossy(f.raw()).into_owned());
                let component = |s: &hl7::Segment<'_>, n: usize, c: usize| {
                    s.field(n).and_then(|f| f.component(c)).map(|c| c.raw().to_vec())
                };
                let value_type = text(2).unwrap_or_default();
                for number in *fields {
                    let is_value = (*segment, *number) == ("OBX", 5);
                    if is_value && matches!(value_type.as_str(), "NM" | "SN") {
                        let place = if value_type == "NM" { 1 } else { 2 };
                        let Some(value) = component(&before, *number, place) else { continue };
                        if is_plain_number(&String::from_utf8_lossy(&value)) {
                            numbers.see(&value, component(&after, *number, place).as_deref());
                        }
                        continue;
                    }
                    if is_value && !matches!(value_type.as_str(), "CE" | "CWE" | "CNE") {
                        continue;
                    }
                    for (code, system) in [(1, 3), (4, 6)] {
                        let system = component(&before, *number, system).unwrap_or_default();
                        let Some(code_before) = component(&before, *number, code).filter(|c| !c.is_empty())
                        else {
                            continue;
                        };
                        let (system, text) =
                            (String::from_utf8_lossy(&system), String::from_utf8_lossy(&code_before));
                        if SYSTEMS.contains(&system.as_ref()) && is_code_of(&system, &text) {
                            codes.see(&code_before, component(&after, *number, code).as_deref());
                        }
                    }
                }
            }
        }
        let (numbers_kept, codes_kept) = (numbers.kept("numbers"), codes.kept("codes"));
        assert!(numbers.all > 500 && codes.all > 200, "too few to say anything");
        assert!(numbers_kept >= KEPT_SHARE_MIN && codes_kept >= KEPT_SHARE_MIN, "{name}");
    }
}
