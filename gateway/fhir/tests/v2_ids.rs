//! Ids are the same for the same thing, whatever record tells of it, and no others can make them without the key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use fhir::v2::{Converter, Keyed};
use serde_json::Value;
use support::{context, convert, maps};

const FIRST: &[u8] = b"MSH|^~\\&|LAB|NORTH|||20260101120000||ORU^R01|1|P|2.5\rPID|1||4711^^^NORTH^MR||Quill^Ada\rPV1|1|I|||||||||||||||||V9^^^NORTH\rOBR|1|P1|F1|X^Test^L\rOBX|1|NM|A^a^L||1|mg\r";
const SECOND: &[u8] = b"MSH|^~\\&|ADT|NORTH|||20260102120000||ADT^A08|2|P|2.5\rPID|1||4711^^^NORTH^MR||Quill^Ada^B\rPV1|1|I|||||||||||||||||V9^^^NORTH\r";

fn resource(bundle: &str, kind: &str) -> (String, Value) {
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    let entry = entries.iter().find(|e| e["resource"]["resourceType"] == kind).unwrap();
    (entry["fullUrl"].as_str().unwrap().to_owned(), entry["resource"].clone())
}

#[test]
fn a_patient_and_a_visit_are_the_same_in_every_message() {
    let maps = maps();
    let first = convert(&maps, "clinical-1-1", FIRST).unwrap().to_json();
    let second = convert(&maps, "clinical-1-2", SECOND).unwrap().to_json();
    for kind in ["Patient", "Encounter"] {
        assert_eq!(resource(&first, kind).0, resource(&second, kind).0, "{kind}");
    }
    let again = convert(&maps, "clinical-1-3", FIRST).unwrap().to_json();
    assert_ne!(resource(&first, "Observation").0, resource(&again, "Observation").0, "of another record");
    assert_eq!(resource(&first, "ServiceRequest").0, resource(&again, "ServiceRequest").0, "P1");
}

#[test]
fn the_same_number_of_another_house_is_another_patient() {
    let maps = maps();
    let south = String::from_utf8(FIRST.to_vec()).unwrap().replace("NORTH", "SOUTH");
    let bare = |text: &str| text.replace("4711^^^NORTH^MR", "4711").replace("4711^^^SOUTH^MR", "4711");
    let north = String::from_utf8(FIRST.to_vec()).unwrap();
    for (a, b) in [(north.clone(), south.clone()), (bare(&north), bare(&south))] {
        let a = convert(&maps, "clinical-1-1", a.as_bytes()).unwrap().to_json();
        let b = convert(&maps, "clinical-1-1", b.as_bytes()).unwrap().to_json();
        assert_ne!(resource(&a, "Patient").0, resource(&b, "Patient").0);
    }
}

#[test]
fn another_key_makes_other_ids() {
    let maps = maps();
    let message = hl7::Message::parse(FIRST.to_vec()).unwrap();
    let [a, b] = [[1; 32], [2; 32]].map(|key| {
        let ids = Keyed::new(&key);
        let json = Converter::new(&maps, &ids).convert(&message, &context("clinical-1-1")).unwrap().to_json();
        resource(&json, "Patient").0
    });
    assert_ne!(a, b);
}

#[test]
fn the_provenance_leads_to_the_record_and_covers_everything() {
    let maps = maps();
    let json = convert(&maps, "clinical-1-9", FIRST).unwrap().to_json();
    let bundle: Value = serde_json::from_str(&json).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    let of_us =
        entries.iter().find(|e| e["resource"]["activity"]["coding"][0]["code"] == "v2-to-fhir").unwrap();
    let provenance = &of_us["resource"];
    let record = &provenance["entity"][0]["what"]["identifier"];
    assert_eq!(record["system"], "urn:wardgate:gateway:ward-3:record");
    assert_eq!(record["value"], "clinical-1-9");
    let targets: Vec<&str> =
        provenance["target"].as_array().unwrap().iter().map(|t| t["reference"].as_str().unwrap()).collect();
    for entry in entries {
        let kind = &entry["resource"]["resourceType"];
        let own = kind == "Device" || entry["fullUrl"] == of_us["fullUrl"];
        assert!(own || targets.contains(&entry["fullUrl"].as_str().unwrap()), "{kind}");
        assert_eq!(entry["request"]["method"], "PUT");
    }
}

#[test]
fn decimals_keep_their_digits() {
    let maps = maps();
    let text = String::from_utf8(FIRST.to_vec()).unwrap().replace("||1|mg", "||1.50|mg");
    let json = convert(&maps, "clinical-1-1", text.as_bytes()).unwrap().to_json();
    assert!(json.contains("\"value\":1.50"), "the precision is part of the value");
}
