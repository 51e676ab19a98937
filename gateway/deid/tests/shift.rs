//! Dates that move: the same way for one patient in every message, feed and format of a destination, and for nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use deid::{Clinical, Context, DestinationKeys, HeldWhy, Policy, SHIFT_DAYS_MAX};
use model::Timestamp;
use serde_json::Value;
use support::{keys_of, message, provenance};

/// The policy that ships, with a determination and names of one authority.
fn text() -> String {
    let shipped = include_str!("../policies/expert-determination.toml");
    let filled = shipped
        .replace("by = \"\"", "by = \"A. Statistician\"")
        .replace("#on =", "on =")
        .replace("reference = \"\"", "reference = \"ED-2026-014\"")
        .replace("#expires =", "expires =");
    format!("{filled}\n[authorities]\n\"urn:oid:1.2.3\" = [\"MERCY\", \"http://mercy.example/mrn\"]\n")
}

fn policy() -> Policy {
    compiled(&text())
}

fn compiled(text: &str) -> Policy {
    Policy::compile("research", text, support::now()).unwrap_or_else(|error| panic!("{error}"))
}

fn released(policy: &Policy, clinical: &Clinical, keys: &DestinationKeys, feed: &str) -> String {
    let provenance = model::Provenance { feed: feed.parse().unwrap(), ..provenance() };
    let context = Context { seq: 7, provenance: &provenance, keys: Some(keys) };
    let release = policy.release(clinical, &context).unwrap_or_else(|held| panic!("{held}"));
    String::from_utf8(release.payload().to_vec()).unwrap()
}

fn fhir(json: &str) -> Clinical {
    let resource_type = fhir::resource_type(json.as_bytes()).unwrap();
    Clinical::Fhir { resource_type, raw: Bytes::from(json.to_owned()) }
}

/// From the day of one date to that of another, each as HL7 or FHIR writes it.
fn days(to: &str, from: &str) -> i64 {
    let midnight = |text: &str| {
        let digits: String = text.chars().filter(char::is_ascii_digit).take(8).collect();
        let midnight = format!("{}-{}-{}T00:00:00Z", &digits[..4], &digits[4..6], &digits[6..]);
        midnight.parse::<Timestamp>().unwrap_or_else(|_| panic!("no day: {text}"))
    };
    midnight(to).micros_since(midnight(from)) / 86_400_000_000
}

fn hl7(pid: &str, admitted: &str, observed: &str) -> Clinical {
    message(
        format!(
            "MSH|^~\\&|LAB|MERCY|||20261103091500||ORU^R01^ORU_R01|L-1|P|2.5.1\rPID|{pid}\r\
             PV1|1|I{}{admitted}\rOBX|1|NM|718-7^^LN||12.5|g/dL|||||F|||{observed}\r",
            "|".repeat(42)
        )
        .as_bytes(),
    )
}

fn field(message: &str, segment: &str, number: usize) -> String {
    let line = message.split('\r').find(|line| line.starts_with(segment)).unwrap();
    let number = if segment == "MSH" { number - 1 } else { number };
    line.split('|').nth(number).unwrap_or_default().to_owned()
}

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","timestamp":"2026-11-05T10:00:00Z","entry":[
    {"fullUrl":"http://s/fhir/Patient/7","resource":{"resourceType":"Patient","id":"7","birthDate":"1962-02-10",
        "identifier":[{"system":"http://mercy.example/mrn","value":"44521"}]}},
    {"fullUrl":"http://s/fhir/Observation/1","resource":{"resourceType":"Observation","id":"1","status":"final",
        "meta":{"lastUpdated":"2026-11-04T08:00:00.5Z"},"code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},
        "subject":{"reference":"Patient/7"},"effectiveDateTime":"2026-11-03T08:00:00+01:00","issued":"2026-11-03T09:15:00Z"}},
    {"fullUrl":"http://s/fhir/Practitioner/1","resource":{"resourceType":"Practitioner","id":"1","birthDate":"1970-05-06"}}]}"#;

/// Two messages of two feeds, a Bundle and a lone resource, all of one patient.
#[test]
fn intervals_survive_across_messages_feeds_and_formats() {
    let (policy, keys) = (policy(), keys_of(1));
    let pid = "1||44521^^^MERCY^MR||||19620210|F";
    let first = released(&policy, &hl7(pid, "20261101230000", "20261103080000.5-0500"), &keys, "adt");
    let other_pid = "1|99|9^^^SSA^SS~44521^^^&1.2.3&ISO^MR||||196202|F";
    let second = released(&policy, &hl7(other_pid, "20280229", "20261231235959"), &keys, "lab");
    let shift = days(&field(&first, "OBX", 14), "20261103080000");
    assert!(shift != 0 && shift.unsigned_abs() <= u64::from(SHIFT_DAYS_MAX), "{shift}");
    for (shifted, original) in [
        (field(&first, "MSH", 7), "20261103091500"),
        (field(&first, "PID", 7), "19620210"),
        (field(&first, "PV1", 44), "20261101230000"),
        (field(&second, "PV1", 44), "20280229"),
        (field(&second, "OBX", 14), "20261231235959"),
    ] {
        assert_eq!(days(&shifted, original), shift, "{shifted} for {original}");
        assert_eq!(shifted.get(8..), original.get(8..), "the time of day stays");
    }
    assert!(field(&first, "OBX", 14).ends_with("080000.5-0500"));
    assert_eq!(field(&second, "PID", 7), "1962", "a month cannot be moved by days");

    let bundle: Value = serde_json::from_str(&released(&policy, &fhir(BUNDLE), &keys, "fhir")).unwrap();
    let resource = |n: usize| &bundle["entry"][n]["resource"];
    for (shifted, original) in [
        (&bundle["timestamp"], "2026-11-05T10:00:00Z"),
        (&resource(0)["birthDate"], "1962-02-10"),
        (&resource(1)["meta"]["lastUpdated"], "2026-11-04T08:00:00.5Z"),
        (&resource(1)["effectiveDateTime"], "2026-11-03T08:00:00+01:00"),
        (&resource(1)["issued"], "2026-11-03T09:15:00Z"),
    ] {
        let shifted = shifted.as_str().unwrap();
        assert_eq!(days(shifted, original), shift, "{shifted} for {original}");
        assert_eq!(shifted.get(10..), original.get(10..));
    }
    assert_eq!(resource(2)["birthDate"], "1970", "the practitioner's is not the patient's to move");

    let alone = r##"{"resourceType":"Condition","recordedDate":"2026-11-03","subject":{"reference":"#p"},
        "contained":[{"resourceType":"Patient","id":"p","identifier":[{"system":"urn:oid:1.2.3","value":"44521"}]}]}"##;
    let alone: Value = serde_json::from_str(&released(&policy, &fhir(alone), &keys, "fhir")).unwrap();
    assert_eq!(days(alone["recordedDate"].as_str().unwrap(), "20261103"), shift);
    let named = r#"{"resourceType":"Condition","recordedDate":"2026-11-03",
        "subject":{"identifier":{"system":"urn:oid:1.2.3","value":"44521"}}}"#;
    let named: Value = serde_json::from_str(&released(&policy, &fhir(named), &keys, "fhir")).unwrap();
    assert_eq!(days(named["recordedDate"].as_str().unwrap(), "20261103"), shift);
}

#[test]
fn patients_and_destinations_have_shifts_of_their_own() {
    let policy = policy();
    let shift = |id: &str, keys: u8, feed: &str| {
        let pid = format!("1||{id}");
        let out = released(&policy, &hl7(&pid, "20261101", "20261103"), &keys_of(keys), feed);
        days(&field(&out, "OBX", 14), "20261103")
    };
    // One of 730 agrees by chance; of eight that do not differ somebody is wrong.
    let shifts = |id: &str, feed: &str| (0..8).map(|keys| shift(id, keys, feed)).collect::<Vec<_>>();
    let base = shifts("44521^^^MERCY^MR", "adt");
    assert_eq!(base, shifts("44521^^^MERCY&1.2.3&ISO^MR", "lab"));
    for other in ["44522^^^MERCY^MR", "44521^^^GRACE^MR", "44521^^^mercy^MR"] {
        assert_ne!(base, shifts(other, "adt"), "{other}");
    }
    assert!(base.iter().any(|shift| *shift != base[0]), "destinations differ");
    // A number without an authority is the feed's.
    assert_ne!(shifts("44521", "adt"), shifts("44521", "lab"));
    assert_ne!(shifts("7a", "adt"), shifts("7A", "adt"), "case may tell two patients");
}

/// What is nobody's is never moved by a shift that all share: it keeps the year.
#[test]
fn dates_of_nobody_keep_the_year() {
    let (policy, keys) = (policy(), keys_of(1));
    for pid in ["1", "1||9^^^SSA^SS", "1||0000^^^MERCY^MR", "1||V1^^^MERCY^VN"] {
        let out = released(&policy, &hl7(pid, "20261101", "20261103080000"), &keys, "adt");
        assert_eq!((field(&out, "OBX", 14), field(&out, "MSH", 7)), ("2026".into(), "2026".into()), "{pid}");
    }
    let two = "MSH|^~\\&|||||20261103||ORU^R01|1|P|2.5\rPID|1||1^^^H^MR\rOBX|1|NM|718-7^^LN||1|||||||||20261103\r\
               PID|2||2^^^H^MR\rOBX|1|NM|718-7^^LN||1|||||||||20261103\r";
    let out = released(&policy, &message(two.as_bytes()), &keys, "adt");
    assert_eq!(field(&out, "MSH", 7), "2026", "of two patients the header is nobody's");
    let shifted: Vec<&str> = out.split('\r').filter(|line| line.starts_with("OBX")).collect();
    assert_ne!(shifted[0], shifted[1]);
    assert!(!out.contains("20261103"));

    for json in [
        r#"{"resourceType":"Condition","recordedDate":"2026-11-03","meta":{"lastUpdated":"2026-11-03T08:00:00Z"},"subject":{"reference":"Patient/7"}}"#,
        r#"{"resourceType":"Condition","recordedDate":"2026-11-03","meta":{"lastUpdated":"2026-11-03T08:00:00Z"},"subject":{"reference":"Group/7"}}"#,
        r#"{"resourceType":"Condition","recordedDate":"2026-11-03","meta":{"lastUpdated":"2026-11-03T08:00:00Z"}}"#,
    ] {
        let out: Value = serde_json::from_str(&released(&policy, &fhir(json), &keys, "fhir")).unwrap();
        assert_eq!(out["recordedDate"], "2026", "{json}");
        assert!(out["meta"]["lastUpdated"].is_null(), "an instant cannot be a year");
    }
}

/// Where servers name patients by their own ids, these may be what counts; then HL7 v2 is another world.
#[test]
fn a_policy_may_go_by_the_ids_of_a_server() {
    let by_id = compiled(&text().replace("patients = \"identifier\"", "patients = \"id\""));
    let keys = keys_of(1);
    let condition =
        r#"{"resourceType":"Condition","recordedDate":"2026-11-03","subject":{"reference":"Patient/7"}}"#;
    let patient = r#"{"resourceType":"Patient","id":"7","birthDate":"1962-02-10","identifier":[{"system":"urn:oid:1.2.3","value":"44521"}]}"#;
    let shifted = |json: &str, name: &str, original: &str, feed: &str| {
        let out: Value = serde_json::from_str(&released(&by_id, &fhir(json), &keys, feed)).unwrap();
        days(out[name].as_str().unwrap(), original)
    };
    let shift = shifted(condition, "recordedDate", "20261103", "fhir");
    assert_eq!(shifted(patient, "birthDate", "19620210", "fhir"), shift);
    assert_ne!(
        shifted(condition, "recordedDate", "20261103", "other"),
        shift,
        "the Patient/7 of another feed"
    );
}

#[test]
fn ages_over_89_do_not_come_back_by_a_shift() {
    let policy = policy();
    for birth in ["19311230", "19361231", "193112", "1931", "19370101"] {
        for keys in 0..8 {
            let pid = format!("1||44521^^^MERCY^MR||||{birth}");
            let out = released(&policy, &hl7(&pid, "20261101", "20261103"), &keys_of(keys), "adt");
            let shown = field(&out, "PID", 7);
            let year: i32 = shown.get(..4).unwrap_or("2000").parse().unwrap();
            assert!(2026 - year < 90, "{birth} became {shown}");
        }
    }
}

#[test]
fn what_a_determination_covers_ends_with_it() {
    let policy = policy();
    let clinical = hl7("1||44521^^^MERCY^MR", "20261101", "20261103");
    let keys = keys_of(1);
    let at = |received_at: &str| {
        let provenance = model::Provenance { received_at: received_at.parse().unwrap(), ..provenance() };
        policy.release(&clinical, &Context { seq: 7, provenance: &provenance, keys: Some(&keys) }).err()
    };
    assert_eq!(at("2028-03-01T23:59:59Z"), None);
    assert_eq!(at("2028-03-02T00:00:00Z").map(|held| held.why), Some(HeldWhy::DeterminationExpired));
}

#[test]
fn without_keys_nothing_that_would_be_shifted_goes() {
    let provenance = provenance();
    let context = Context { seq: 7, provenance: &provenance, keys: None };
    for clinical in [hl7("1||44521^^^MERCY^MR", "20261101", "20261103"), fhir(BUNDLE)] {
        let held = policy().release(&clinical, &context).unwrap_err();
        assert_eq!(held.why, HeldWhy::KeysMissing);
    }
}

/// As it ships, the policy says what is missing before it says anything else.
#[test]
fn the_shipped_policy_waits_for_its_determination() {
    let shipped = include_str!("../policies/expert-determination.toml");
    let error = Policy::compile("research", shipped, support::now()).unwrap_err();
    let paths: Vec<&str> = error.mistakes.iter().map(|mistake| mistake.path.as_str()).collect();
    assert_eq!(
        paths,
        ["determination.expires", "determination.on", "determination.by", "determination.reference"]
    );
}
