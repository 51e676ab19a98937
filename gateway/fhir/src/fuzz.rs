//! What a fuzz target calls: one line over each function that reads what others wrote. A panic is a finding.

use crate::accept::{Accepted, Entry, Interaction, Request};
use std::sync::OnceLock;

use crate::v2::{Context, Converter, Keyed};
use crate::validate::{operation_outcome, resource_type};
use crate::{maps, validate};

/// A message of HL7 v2: whatever can be read as one makes a valid Bundle, and every value is accounted for.
pub fn v2(input: &[u8]) {
    let Ok(message) = hl7::Message::decode(input.to_vec(), None) else { return };
    // Compiled once: a fuzzer comes here some hundred times a second.
    static MAPS: OnceLock<Option<maps::Maps>> = OnceLock::new();
    if let Some(maps) = MAPS.get_or_init(|| maps::Maps::builtin().ok()) {
        convert(maps, &message);
    }
}

/// A resource: whatever the bytes are, they are judged.
pub fn resource(input: &[u8]) {
    let report = validate::validate(input);
    assert!(report.issues.len() <= validate::ISSUES_MAX.saturating_add(1), "more issues than may be listed");
}

/// The same with maps that are compiled already.
pub fn convert(maps: &maps::Maps, message: &hl7::Message) {
    let ids = Keyed::public();
    let context = Context {
        gateway: "fuzz",
        record: "clinical-1-1",
        recorded_at: model::Timestamp::from_micros(1_700_000_000_000_000),
        offset_minutes: 0,
        trace: true,
    };
    let Ok(converted) = Converter::new(maps, &ids).convert(message, &context) else { return };
    let json = converted.to_json();
    let problems = validate::validate(json.as_bytes());
    assert!(problems.is_valid(), "not valid: {:?}", problems.issues);
    let report = converted.report;
    assert!(report.official + report.ours + report.rest == report.leaves, "a value is not accounted for");
    assert!(report.unmapped.len() == report.rest, "the list of the rest is not complete");
}

/// A body of a request, as every kind of request.
pub fn accept(input: &[u8]) {
    let report = validate::validate(input);
    let outcome = report.operation_outcome();
    assert!(validate::validate(outcome.as_bytes()).issues.is_empty(), "an outcome is not valid itself");
    if report.is_valid() {
        let other = serde_json::from_slice::<serde_json::Value>(input);
        // A number that does not fit into another parser's type is still one.
        assert!(other.is_ok() || has_long_number(input), "valid here, and no JSON elsewhere");
        assert!(report.resource_type.is_some() && report.resource_type == resource_type(input));
    }
    for request in [
        Request::Create { kind: "Patient" },
        Request::Create { kind: report.resource_type.unwrap_or("Basic") },
        Request::Update { kind: report.resource_type.unwrap_or("Basic"), id: "p1" },
        Request::Bundle,
    ] {
        match crate::accept::accept(request, input) {
            Err(refused) => {
                assert!(!refused.issues.is_empty() && refused.status >= 400, "refused without a word");
                let outcome = operation_outcome(&refused.issues);
                assert!(
                    validate::validate(outcome.as_bytes()).issues.is_empty(),
                    "an outcome is not valid itself"
                );
            }
            Ok(Accepted::One(entry)) => {
                assert!(report.is_valid());
                kept(input, &entry);
                if entry.interaction == Interaction::Create {
                    let created = crate::accept::with_id(input, "new-1").unwrap_or_default();
                    assert!(validate::validate(&created).is_valid(), "an id makes it invalid");
                }
            }
            Ok(Accepted::Transaction(entries)) => entries.iter().for_each(|entry| kept(input, entry)),
            Ok(Accepted::Batch(entries)) => entries.iter().flatten().for_each(|entry| {
                kept(input, entry);
                let bytes = input.get(entry.bytes.clone()).unwrap_or_default();
                assert!(
                    validate::validate(bytes).is_valid(),
                    "an entry that is stored alone is not valid alone"
                );
            }),
        }
    }
}

/// The bytes of an entry are a resource of its type.
fn kept(input: &[u8], entry: &Entry) {
    let bytes = input.get(entry.bytes.clone()).unwrap_or_default();
    assert!(resource_type(bytes) == Some(entry.kind), "the bytes of an entry are something else");
    assert!(entry.interaction == Interaction::Create || entry.id.is_some(), "an update without an id");
}

fn has_long_number(input: &[u8]) -> bool {
    input.windows(2).any(|pair| matches!(pair, [b'0'..=b'9', b'e' | b'E']))
        || input.split(|b| !b.is_ascii_digit()).any(|digits| digits.len() > 300)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const BUNDLE: &str = r##"{"resourceType": "Bundle", "type": "TYPE", "entry": [
        {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "request": {"method": "PUT", "url": "Patient/p1"},
         "resource": {"resourceType": "Patient", "id": "p1", "name": [{"given": ["A", null], "_given": [null, {"id": "x"}]}],
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">\u00e4</div>"},
            "contained": [{"resourceType": "Organization", "id": "o", "name": "x"}],
            "managingOrganization": {"reference": "#o"}, "birthDate": "1970-01-01", "multipleBirthInteger": 2}},
        {"request": {"method": "POST", "url": "Observation"}, "resource": {"resourceType": "Observation", "status": "final",
            "code": {"text": "x"}, "valueQuantity": {"value": 1.50, "code": "mg", "system": "http://unitsofmeasure.org"},
            "effectivePeriod": {"start": "2024-02-29T10:00:00Z", "end": "2024-03-01T10:00:00+01:00"}}}]}"##;

    fn seeds() -> impl Strategy<Value = Vec<u8>> {
        let patient = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"male"}"#;
        prop_oneof![
            Just(BUNDLE.replace("TYPE", "transaction").into_bytes()),
            Just(BUNDLE.replace("TYPE", "batch").into_bytes()),
            Just(patient.as_bytes().to_vec()),
        ]
    }

    /// Bytes that JSON and FHIR are made of, and some that they are not.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            Just(b'"'),
            Just(b'{'),
            Just(b'}'),
            Just(b'['),
            Just(b']'),
            Just(b','),
            Just(b'\\'),
            any::<u8>()
        ]
    }

    proptest! {
        #[test]
        fn changed_resources_are_judged_and_nothing_breaks(
            mut input in seeds(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, byte()), 0..6),
        ) {
            for (at, how, byte) in changes {
                let at = at.index(input.len().max(1));
                match how {
                    0 if at < input.len() => input[at] = byte,
                    1 if at < input.len() => drop(input.remove(at)),
                    _ => input.insert(at.min(input.len()), byte),
                }
            }
            super::accept(&input);
        }

        #[test]
        fn noise_is_refused(input in prop::collection::vec(byte(), 0..200)) {
            super::accept(&input);
        }
    }

    /// What a fuzzer learned, kept beside its targets.
    #[test]
    fn what_was_learned_is_not_forgotten() {
        let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/fhir_in");
        let mut count = 0;
        for entry in std::fs::read_dir(kept).unwrap() {
            super::accept(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 100);
    }

    #[test]
    fn the_seeds_are_good() {
        for kind in ["transaction", "batch"] {
            let body = BUNDLE.replace("TYPE", kind);
            let report = crate::validate::validate(body.as_bytes());
            assert!(report.issues.is_empty(), "{:?}", report.issues);
            super::accept(body.as_bytes());
        }
    }
}
