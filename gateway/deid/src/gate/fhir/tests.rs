//! People who are called like a code of FHIR, and people whose name stands where a code should.

use std::collections::BTreeSet;
use std::path::Path as File;

use serde_json::json;

use super::*;
use crate::{Clinical, Context, DestinationKeys, Label, Policy};

const LABELS: [&str; 2] = ["safe-harbor", "limited-data-set"];

fn named(name: &str, strict: bool) -> Gate {
    let scope = Scope::from(if strict { Label::SafeHarbor } else { Label::LimitedDataSet });
    let mut known = Known::default();
    known.name(name.as_bytes());
    known.settle(scope);
    Gate { known, scope, seq: String::new() }
}

/// Words of a text that may be names.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|w| w.len() >= super::super::NAME_LETTERS_MIN && w.bytes().any(|b| b.is_ascii_alphabetic()))
}

/// Every closed code of every element of R4, of a patient who is called like each word of it.
#[test]
fn nobody_is_held_for_a_code_that_r4_lists() {
    let mut count = 0;
    for kind in definitions().types().filter(|kind| kind.resource) {
        for name in kind.names() {
            let Some(Property { content: Content::Primitive(Primitive::Code), binding: Some(set), .. }) =
                kind.property(name)
            else {
                continue;
            };
            let Some(set) = definitions().set(*set).filter(|set| set.closed()) else { continue };
            for code in set.codes() {
                let release = json!({"resourceType": kind.name, name: code}).to_string();
                let elsewhere = json!({"resourceType": "Observation", "valueString": code}).to_string();
                for word in words(code) {
                    let gate = named(word, true);
                    assert_eq!(gate.resource(release.as_bytes()), None, "{word} of {}.{name}", kind.name);
                    let is_word = super::super::ordinary::is_word(word.to_lowercase().as_bytes());
                    let expected = (!is_word).then_some(HitKind::Name);
                    let found = gate.resource(elsewhere.as_bytes());
                    assert!(
                        found == expected || code.contains(['-', ' ']),
                        "{word} of {code} as text: {found:?}"
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 1_000, "{count}");
}

#[test]
fn a_name_is_a_name_wherever_else_it_stands() {
    let coded = |system: &str, code: &str| json!({"resourceType": "Observation", "code": {"coding": [{"system": system, "code": code}]}});
    let category = "http://terminology.hl7.org/CodeSystem/observation-category";
    for (name, release, held) in [
        ("Final", json!({"resourceType": "Observation", "status": "final"}), false),
        ("Final", json!({"resourceType": "Observation", "status": "Final"}), true),
        ("Final", json!({"resourceType": "Patient", "status": "final"}), true),
        ("Final", json!({"resourceType": "Observation", "status": "final kestrel"}), true),
        ("Final", json!({"resourceType": "Observation", "valueString": "final"}), true),
        ("Final", json!({"resourceType": "Patient", "name": [{"family": "final"}]}), true),
        ("Kestrel", json!({"resourceType": "Observation", "status": "kestrel"}), true),
        ("Goal", json!({"resourceType": "Goal"}), false),
        ("Goal", json!({"resourceType": "Observation", "subject": {"type": "Goal"}}), false),
        ("Goal", json!({"resourceType": "Observation", "subject": {"display": "Goal"}}), true),
        ("Kestrel", json!({"resourceType": "Kestrel"}), true),
        ("Vital", coded(category, "vital-signs"), false),
        ("Vital", coded(category, "vital"), true),
        ("Vital", coded("http://kestrel.example/codes", "vital-signs"), true),
        ("Vital", json!({"resourceType": "Observation", "category": [{"text": "vital-signs"}]}), true),
        ("Kestrel", coded(category, "kestrel"), true),
        ("Kestrel", coded("http://loinc.org", "kestrel"), true),
        ("Home", coded("http://terminology.hl7.org/CodeSystem/discharge-disposition", "home"), false),
        ("Doctor", coded("http://terminology.hl7.org/CodeSystem/practitioner-role", "doctor"), false),
    ] {
        let text = release.to_string();
        for strict in [true, false] {
            assert_eq!(named(name, strict).resource(text.as_bytes()).is_some(), held, "{name} in {text}");
        }
    }
}

/// What a machine computed, and when, is no telephone number; one that is written as a number is.
#[test]
fn digits_of_results_and_times_are_no_telephone_numbers() {
    let mut known = Known::default();
    known.telecom(b"(555) 312-5567");
    known.settle(Scope::from(Label::LimitedDataSet));
    let gate = Gate { known, scope: Scope::from(Label::LimitedDataSet), seq: String::new() };
    let found = |value: &str| {
        let release = format!(r#"{{"resourceType":"Observation","valueQuantity":{{"value":{value}}}}}"#);
        gate.resource(release.as_bytes())
    };
    for number in ["0.4312556719", "12.831255670001", "131.2556712"] {
        assert_eq!(found(number), None, "{number}");
    }
    for number in ["3125567", "5553125567", "555.3125567", "3125567.5", "15553125567"] {
        assert_eq!(found(number), Some(HitKind::Telephone), "{number}");
    }
    let at = |time: &str| {
        gate.resource(format!(r#"{{"resourceType":"Observation","issued":"{time}"}}"#).as_bytes())
    };
    assert_eq!(at("2003-12-05T05:06:07.003-12:55"), None);
    assert_eq!(at("2013-12-31T25:56:07Z"), None);
    assert_eq!(at("2013-12-31T25:56:07Z 555 312 5567"), Some(HitKind::Telephone));
}

fn strings(name: &str, value: &Value, into: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| strings(name, value, into)),
        Value::Array(values) => values.iter().for_each(|value| strings(name, value, into)),
        Value::String(text) => drop(into.insert((name.to_owned(), text.clone()))),
        _ => {}
    }
}

/// Whatever word a release of the corpus holds, a patient may be called so; but for towns, which a limited data set keeps, and
/// which nobody can tell from people.
#[test]
fn of_the_corpus_no_word_holds_anybody() {
    let beside = File::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("WARDGATE_CORPUS").map_or(beside, Into::into).join("fhir-r4");
    let Ok(files) = std::fs::read_dir(folder) else { return };
    let provenance = model::Provenance {
        feed: "fhir".parse().unwrap(),
        peer: String::new(),
        channel: String::new(),
        received_at: "2026-11-24T08:30:00Z".parse().unwrap(),
        format: model::Format::Fhir,
        origin: None,
    };
    let keys = DestinationKeys::derive(|_| zeroize::Zeroizing::new([7; 32]));
    let policies = LABELS.map(|label| Policy::builtin(label).unwrap());
    let (mut count, mut held) = (0, BTreeSet::new());
    for path in
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json"))
    {
        let raw = std::fs::read(&path).unwrap();
        for policy in &policies {
            let clinical = Clinical::Fhir { resource_type: "Bundle", raw: raw.clone().into() };
            let context = Context { seq: 42, provenance: &provenance, keys: Some(&keys) };
            let release = policy.release(&clinical, &context).unwrap();
            let mut release: Value = serde_json::from_slice(release.payload()).unwrap();
            // Of entries that hold the same words one is enough. Tokens and times are no words.
            let mut all = BTreeSet::new();
            release["entry"].as_array_mut().unwrap().retain(|entry| {
                let mut own = BTreeSet::new();
                strings("", entry, &mut own);
                own.retain(|(name, text)| {
                    !matches!(name.as_str(), "id" | "fullUrl" | "reference" | "value" | "city")
                        && !patterns::is_instant(text.as_bytes())
                });
                let is_new = !own.is_subset(&all);
                all.append(&mut own);
                is_new
            });
            let names: BTreeSet<String> =
                all.iter().flat_map(|(_, text)| words(text)).map(str::to_lowercase).collect();
            for name in names {
                count += 1;
                let gate = named(&name, policy.label() == Label::SafeHarbor);
                if gate.json(&release, Place::default()).is_some() {
                    held.insert(name);
                }
            }
        }
    }
    println!("{count} words, held for {held:?}");
    assert!(count > 200);
    // Units and marks that are no names.
    let may: BTreeSet<String> = ["cel", "masked", "mmol", "ombcategory"].map(str::to_owned).into();
    assert!(held.is_subset(&may), "{held:?}");
}
