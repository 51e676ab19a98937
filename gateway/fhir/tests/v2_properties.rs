//! Whatever a message says, its Bundle is valid and every value is accounted for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use fhir::maps::Maps;
use proptest::prelude::*;

const SEGMENTS: [&str; 46] = [
    "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "MRG", "ORC", "OBR", "OBX", "NTE", "SPM", "TQ1", "AL1", "IAM",
    "TXA", "RXA", "RXR", "RXO", "RXE", "RXD", "RXG", "RXC", "SFT", "MSA", "DG1", "PR1", "IN1", "IN2", "IN3",
    "GT1", "FT1", "ACC", "SCH", "AIS", "AIG", "AIL", "AIP", "ROL", "PRT", "RF1", "PRD", "PRB", "GOL", "STF",
    "ZZZ",
];

/// Values that have hurt somebody before.
const VALUES: [&str; 52] = [
    "",
    "",
    "",
    "1",
    "0",
    "-1",
    "+5",
    "5.",
    ".5",
    "<5",
    "1e9",
    "999999999999999999999",
    "Y",
    "N",
    "M",
    "F",
    "A",
    "P",
    "CA",
    "NM",
    "SN",
    "ED",
    "CWE",
    "TX",
    "DT",
    "TM",
    "DR",
    "NR",
    "RP",
    "20240101",
    "20240231",
    "2024010112",
    "20240101120000-0500",
    "20231231",
    "99999999",
    "a  b",
    " x ",
    "\"\"",
    "\\F\\\\X0D\\",
    "urn:oid:1.2",
    "1.2.840.113883",
    "ISO",
    "L",
    "HL70001",
    "LN",
    "http://x y",
    "image/png",
    "Base64",
    "aGk=",
    "&&",
    "é\u{1f600}",
    "a@b.c",
];

const TYPES: [&str; 14] = [
    "ADT^A01", "ADT^A40", "ORU^R01", "ORM^O01", "OML^O21", "VXU^V04", "MDM^T02", "SIU^S12", "DFT^P03",
    "RDE^O11", "RAS^O17", "RDS^O13", "ACK", "ZZZ^Z99",
];

fn value() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(&VALUES[..]);
    let component = prop::collection::vec(leaf.clone(), 1..3).prop_map(|v| v.join("&"));
    prop_oneof![
        4 => Just(String::new()),
        3 => leaf.prop_map(str::to_owned),
        2 => prop::collection::vec(component.clone(), 1..9).prop_map(|v| v.join("^")),
        1 => prop::collection::vec(component, 1..4).prop_map(|v| v.join("~")),
    ]
}

fn segment() -> impl Strategy<Value = String> {
    (prop::sample::select(&SEGMENTS[..]), prop::collection::vec(value(), 1..56))
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")))
}

fn message() -> impl Strategy<Value = String> {
    let header = (
        prop::sample::select(&TYPES[..]),
        prop::collection::vec(value(), 5),
        prop::collection::vec(value(), 0..15),
    );
    (header, prop::collection::vec(segment(), 0..12)).prop_map(|((kind, before, after), segments)| {
        let mut out = format!("MSH|^~\\&|{}|{kind}|{}", before.join("|"), after.join("|"));
        for segment in segments {
            out.push('\r');
            out.push_str(&segment);
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_makes_a_valid_bundle(text in message()) {
        static MAPS: std::sync::OnceLock<Maps> = std::sync::OnceLock::new();
        let maps = MAPS.get_or_init(support::maps);
        if let Ok(message) = hl7::Message::parse(text.into_bytes()) {
            fhir::fuzz::convert(maps, &message);
        }
    }

    #[test]
    fn any_bytes_make_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut message = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|".to_vec();
        message.extend(bytes);
        if let Ok(message) = hl7::Message::parse(message) {
            static MAPS: std::sync::OnceLock<Maps> = std::sync::OnceLock::new();
            fhir::fuzz::convert(MAPS.get_or_init(support::maps), &message);
        }
    }
}
