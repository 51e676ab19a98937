//! FHIR under every label: nothing leaves that its policy does not name, and what stays is as it was.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

mod support;

use std::collections::BTreeMap;

use deid::{Context, DestinationKeys, Policy};
use fhir::definitions::definitions;
use serde_json::Value;
use support::fhir::{CANARY_BASE64, clinical, resource, shaped};
use support::{corpus, keys, policy, provenance, release, serialised};

/// Share of clinical numbers and codes that must come out as they went in.
const KEPT_SHARE_MIN: f64 = 0.995;
const LABELS: [&str; 2] = ["safe-harbor", "limited-data-set"];

fn deid_value(json: &str) -> String {
    let release = release(&policy("safe-harbor"), &clinical(json)).unwrap();
    String::from_utf8(release.payload().to_vec()).unwrap()
}

#[test]
fn treatment_passes_the_bytes_as_they_came() {
    let raw = " {\"resourceType\":\"Patient\",\"name\":[{\"family\":\"ZQNAME7\"}]}\n";
    let release = release(&policy("treatment"), &clinical(raw)).unwrap();
    assert_eq!(release.payload(), raw.as_bytes());
    assert_eq!(release.as_released().message_type.as_deref(), Some("Patient"));
    assert_eq!(release.rules().len(), 1, "a receipt");
}

#[test]
fn a_policy_without_rules_for_it_holds_it() {
    let text = include_str!("../policies/safe-harbor.toml");
    let (head, tail) = text.split_once("[fhir]").unwrap();
    let (_, tail) = tail.split_once("\n\n").unwrap();
    let own = Policy::compile("own", &format!("{head}{tail}"), support::now()).unwrap();
    let patient = clinical("{\"resourceType\":\"Patient\",\"name\":[{\"family\":\"ZQNAME7\"}]}");
    let held = release(&own, &patient).unwrap_err();
    assert_eq!(held.why.as_str(), "fhir-without-rules");
    assert!(!format!("{held:?} {held} {patient:?}").contains("ZQNAME7"));
}

#[test]
fn safe_harbor_derives_nothing_and_keeps_no_day() {
    let text = include_str!("../policies/safe-harbor.toml");
    for (from, to) in [
        ("dates = \"year\"", "dates = \"keep\""),
        ("addresses = \"state-zip3\"", "addresses = \"city-state-zip\""),
        ("identifiers = \"remove\"", "identifiers = \"token\""),
        ("ids = \"number\" ", "ids = \"token\" "),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let error = Policy::compile("own", &changed, support::now()).unwrap_err();
        let [mistake] = error.mistakes.as_slice() else { panic!("{to}: {error}") };
        assert!(mistake.message.contains("164.514"), "{to}: {error}");
        assert!(mistake.line > 80, "{to}: {error}");
    }
}

/// Every element of every resource type holds a canary: as text, as a code, an address, a number, a date, base64, in
/// extensions, beside primitives, in what is contained, and where R4 defines nothing.
#[test]
fn no_canary_leaves_from_any_element_of_any_resource() {
    let mut canaries = 0;
    for name in LABELS {
        let policy = policy(name);
        for kind in definitions().resources() {
            let json = resource(kind);
            serde_json::from_str::<Value>(&json).unwrap_or_else(|e| panic!("{kind}: {e}"));
            canaries += json.matches("ZQCANARY-").count();
            let release =
                release(&policy, &clinical(&json)).unwrap_or_else(|held| panic!("{name} {kind}: {held}"));
            let text = serialised(&release);
            for needle in ["ZQCANARY", "zqcanary", CANARY_BASE64, "ZQPEER7", "ZQTOPIC7", "5553125567"] {
                assert!(!text.contains(needle), "{name} {kind}: {needle} in {text}");
            }
            if name == "safe-harbor" {
                assert!(!text.contains("1987-03") && !text.contains("15:09"), "{kind}: {text}");
            }
        }
    }
    println!("{canaries} canaries in {} resource types", definitions().resources().count());
    assert!(canaries > 10_000);
}

#[test]
fn what_stays_is_what_the_table_says() {
    let patient = r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"7","lastUpdated":"2026-11-24T08:30:00Z"},
        "text":{"status":"generated","div":"<div>KESTREL</div>"},
        "extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex","valueCode":"F"},
            {"url":"http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName","valueString":"FALCON"}],
        "identifier":[{"system":"http://hl7.org/fhir/sid/us-ssn","value":"999-52-1234"},
            {"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"urn:h","value":"7700123"}],
        "name":[{"family":"KESTREL","given":["ISADORA"]}],"telecom":[{"system":"phone","value":"555-312-5567"}],
        "gender":"female","birthDate":"1954-03-11","_birthDate":{"id":"x"},
        "address":[{"line":["7 Larch Lane"],"city":"Redmond","state":"WA","postalCode":"98052-1234","country":"US"}],
        "maritalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M","display":"Married to Hugo"}],"text":"M"},
        "contact":[{"name":{"family":"KESTREL"},"gender":"male"}],"multipleBirthInteger":2}"#;
    let marital =
        r#"{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus","code":"M"}]}"#;
    let sex =
        r#"[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex","valueCode":"F"}]"#;
    let strict: Value = serde_json::from_str(&format!(
        r#"{{"resourceType":"Patient","id":"42-1","extension":{sex},"gender":"female","birthDate":"1954",
            "address":[{{"state":"WA","postalCode":"980","country":"US"}}],"maritalStatus":{marital},"multipleBirthInteger":2}}"#
    ))
    .unwrap();
    assert_eq!(shaped("safe-harbor", patient), strict);
    let limited = shaped("limited-data-set", patient);
    assert_eq!(limited["birthDate"], "1954-03-11");
    assert_eq!(limited["address"][0]["city"], "Redmond");
    assert_eq!(limited["address"][0]["postalCode"], "98052-1234");
    assert_eq!(limited["identifier"].as_array().unwrap().len(), 1, "no number of the state");
    assert_eq!(limited["identifier"][0]["type"]["coding"][0]["code"], "MR");
    assert!(limited.get("name").is_none() && limited.get("contact").is_none());
}

#[test]
fn ages_over_89_and_identifying_observations_are_told_from_their_codes_and_units() {
    let of = |code: &str, value: &str| {
        let json = format!(r#"{{"resourceType":"Observation","status":"final","code":{code},{value}}}"#);
        shaped("safe-harbor", &json)
    };
    let loinc = |code: &str| format!(r#"{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}}"#);
    let years = |n: &str| {
        format!(
            r#""valueQuantity":{{"value":{n},"unit":"a","system":"http://unitsofmeasure.org","code":"a"}}"#
        )
    };
    let capped = of(&loinc("30525-0"), &years("93"));
    assert_eq!(capped["valueQuantity"]["value"], 90);
    assert_eq!(capped["valueQuantity"]["comparator"], ">=");
    assert_eq!(of(&loinc("30525-0"), &years("71"))["valueQuantity"]["value"], 71);
    assert!(of(&loinc("30525-0"), r#""valueInteger":93"#).get("valueInteger").is_none());
    assert_eq!(of(&loinc("8867-4"), r#""valueInteger":93"#)["valueInteger"], 93);
    // A birth date keeps its year, whatever it is called; a number of somebody goes.
    assert_eq!(of(r#"{"text":"Date of birth"}"#, r#""valueDateTime":"1954-03-11""#)["valueDateTime"], "1954");
    assert!(of(r#"{"text":"Patient phone"}"#, r#""valueInteger":5551"#).get("valueInteger").is_none());
    let born = shaped("safe-harbor", r#"{"resourceType":"Patient","birthDate":"1931-02-03"}"#);
    assert!(born.get("birthDate").is_none(), "it tells an age over 89");
    // What R4 requires is there, and says that it was removed.
    let masked = of(r#"{"text":"A note about Hugo"}"#, r#""valueString":"KESTREL""#);
    assert_eq!(masked["code"]["extension"][0]["valueCode"], "masked");
    // To the digit.
    let digits = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},"valueQuantity":{"value":7.50,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}}"#;
    let release = release(&policy("safe-harbor"), &clinical(digits)).unwrap();
    assert!(String::from_utf8_lossy(release.payload()).contains("\"value\":7.50,"));
    let exponent = deid_value(&digits.replace("7.50", "1.1E+2"));
    assert!(exponent.contains("\"value\":1.1E+2,"), "{exponent}");
    let number = deid_value(&digits.replace("7.50", "5.553125567E+9"));
    assert!(!number.contains("5.553"), "{number}");
}

const BUNDLE: &str = r##"{"resourceType":"Bundle","type":"transaction","link":[{"relation":"self","url":"http://h/KESTREL"}],"entry":[
    {"fullUrl":"urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a","resource":{"resourceType":"Patient","id":"pKESTREL"},
        "request":{"method":"PUT","url":"Patient?identifier=7700123"}},
    {"fullUrl":"http://h/fhir/Encounter/e9","resource":{"resourceType":"Encounter","id":"e9","status":"finished",
        "class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},
        "subject":{"reference":"urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a","display":"Isadora Kestrel"}}},
    {"resource":{"resourceType":"Observation","id":"o3","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8867-4"}]},
        "contained":[{"resourceType":"Practitioner","id":"dr","name":[{"family":"FALCON"}]}],
        "performer":[{"reference":"#dr"},{"reference":"Practitioner/outside-7"},{"reference":"Practitioner?identifier=9"}],
        "subject":{"reference":"Patient/pKESTREL"},"encounter":{"reference":"Encounter/e9/_history/2"}}}]}"##;

#[test]
fn references_lead_where_they_led_and_to_nobody_outside() {
    let bundle = shaped("safe-harbor", BUNDLE);
    assert_eq!(bundle["type"], "collection");
    let urls: Vec<&str> =
        bundle["entry"].as_array().unwrap().iter().filter_map(|e| e["fullUrl"].as_str()).collect();
    assert_eq!(urls.len(), 2);
    let (encounter, observation) = (&bundle["entry"][1]["resource"], &bundle["entry"][2]["resource"]);
    assert_eq!(encounter["subject"]["reference"], urls[0]);
    assert_eq!(observation["subject"]["reference"], urls[0], "the same patient, by another name");
    assert_eq!(observation["encounter"]["reference"], urls[1]);
    assert_eq!(observation["performer"][0]["reference"], "#1");
    assert_eq!(observation["contained"][0]["id"], "1");
    for n in [1, 2] {
        let outside = &observation["performer"][n];
        assert_eq!(outside, &serde_json::json!({ "type": "Practitioner" }));
    }
    assert_eq!(observation["id"], "42-4");

    // Tokens are the same in every release of a destination, and nowhere else.
    let limited = |json: &str, keys: &DestinationKeys| {
        let provenance = provenance();
        let context = Context { seq: 7, provenance: &provenance, keys: Some(keys) };
        let release = policy("limited-data-set").release(&clinical(json), &context).unwrap();
        serde_json::from_slice::<Value>(release.payload()).unwrap()
    };
    let alone = r#"{"resourceType":"Condition","subject":{"reference":"Patient/pKESTREL"}}"#;
    let token = limited(BUNDLE, &keys())["entry"][0]["resource"]["id"].as_str().unwrap().to_owned();
    assert_eq!(limited(alone, &keys())["subject"]["reference"], format!("Patient/{token}"));
    let other = limited(alone, &support::keys_of(8));
    assert_ne!(other["subject"]["reference"], format!("Patient/{token}"));
    // Without a key there is no token, and so no release.
    let provenance = provenance();
    let context = Context { seq: 7, provenance: &provenance, keys: None };
    let held = policy("limited-data-set").release(&clinical(alone), &context).unwrap_err();
    assert_eq!(held.why.as_str(), "keys-missing");
}

/// Two servers number their patients alike: these are two people, in whatever they are called in a release.
#[test]
fn patients_of_two_servers_stay_two() {
    let bundle = r#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"http://a/fhir/Patient/1","resource":{"resourceType":"Patient","id":"1","gender":"male"}},
        {"fullUrl":"http://b/fhir/Patient/1","resource":{"resourceType":"Patient","id":"1","gender":"female"}},
        {"fullUrl":"http://b/fhir/Condition/2","resource":{"resourceType":"Condition","id":"2","subject":{"reference":"Patient/1"}}},
        {"fullUrl":"http://a/fhir/Condition/2","resource":{"resourceType":"Condition","id":"2","subject":{"reference":"http://a/fhir/Patient/1/_history/3"}}},
        {"resource":{"resourceType":"Condition","id":"3","subject":{"reference":"Patient/1"}}}]}"#;
    let strict = shaped("safe-harbor", bundle);
    let url = |n: usize| strict["entry"][n]["fullUrl"].as_str().unwrap();
    let subject = |value: &Value, n: usize| value["entry"][n]["resource"]["subject"]["reference"].clone();
    assert_ne!(url(0), url(1));
    assert_eq!((subject(&strict, 2), subject(&strict, 3)), (url(1).into(), url(0).into()));
    assert_eq!(subject(&strict, 4), Value::Null, "which of the two nobody can tell");
    let ids: std::collections::BTreeSet<_> =
        (0..5).map(|n| strict["entry"][n]["resource"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5, "{ids:?}");

    let limited = shaped("limited-data-set", bundle);
    let id = |n: usize| format!("Patient/{}", limited["entry"][n]["resource"]["id"].as_str().unwrap());
    assert_ne!(id(0), id(1));
    assert_ne!(limited["entry"][0]["fullUrl"], limited["entry"][1]["fullUrl"]);
    assert_eq!((subject(&limited, 2), subject(&limited, 3)), (id(1).into(), id(0).into()));

    // Two feeds that say no server are two servers.
    let of_feed = |feed: &str| {
        let provenance = model::Provenance { feed: feed.parse().unwrap(), ..provenance() };
        let keys = keys();
        let context = Context { seq: 7, provenance: &provenance, keys: Some(&keys) };
        let patient = clinical(r#"{"resourceType":"Patient","id":"1"}"#);
        policy("limited-data-set").release(&patient, &context).unwrap().payload().to_vec()
    };
    assert_ne!(of_feed("one"), of_feed("other"));
    assert_eq!(of_feed("one"), of_feed("one"));
}

#[test]
fn a_receipt_holds_names_of_rules_and_counts_alone() {
    let release = release(&policy("safe-harbor"), &clinical(BUNDLE)).unwrap();
    let rules: BTreeMap<_, _> = release.rules().iter().cloned().collect();
    assert_eq!(rules.get("reference"), Some(&4), "{rules:?}");
    assert_eq!(rules.get("code"), Some(&4), "{rules:?}");
    assert!(!format!("{rules:?}").contains("KESTREL"));
}

/// Strings by which the people of a resource are known.
fn personal(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if matches!(object.get("resourceType").and_then(Value::as_str), Some("Patient" | "Practitioner"))
            {
                for (name, part) in [
                    ("name", "family"),
                    ("name", "given"),
                    ("identifier", "value"),
                    ("telecom", "value"),
                    ("address", "line"),
                ] {
                    for item in value[name].as_array().into_iter().flatten() {
                        match &item[part] {
                            Value::String(text) => into.push(text.clone()),
                            Value::Array(all) => {
                                into.extend(all.iter().filter_map(Value::as_str).map(str::to_owned))
                            }
                            _ => {}
                        }
                    }
                }
                into.extend(value["id"].as_str().map(str::to_owned));
            }
            object.values().for_each(|value| personal(value, into));
        }
        Value::Array(all) => all.iter().for_each(|value| personal(value, into)),
        _ => {}
    }
}

/// Codes and numbers of clinical resources, counted, each as it is written.
fn clinical_values(value: &Value, within: bool, into: &mut BTreeMap<String, i64>) {
    match value {
        Value::Object(object) => {
            let kind = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
            let within = within && kind.is_empty()
                || matches!(
                    kind,
                    "Observation"
                        | "Condition"
                        | "Procedure"
                        | "Immunization"
                        | "MedicationRequest"
                        | "DiagnosticReport"
                        | "Encounter"
                        | "Goal"
                        | "CarePlan"
                );
            if let (true, Some(Value::String(system)), Some(Value::String(code))) =
                (within, object.get("system"), object.get("code"))
            {
                *into.entry(format!("{system} {code}")).or_default() += 1;
            }
            if let (true, Some(Value::Number(number))) = (within, object.get("value")) {
                *into.entry(number.to_string()).or_default() += 1;
            }
            for (name, value) in object {
                // Kinds of numbers of people go with them.
                if name != "identifier" {
                    clinical_values(value, within, into);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| clinical_values(value, within, into)),
        _ => {}
    }
}

#[test]
fn of_the_corpus_nobody_leaves_and_numbers_and_codes_stay() {
    let Some(folder) = corpus() else {
        println!("skipped: no corpus");
        return;
    };
    for name in LABELS {
        let (mut all, mut kept) = (0, 0);
        for entry in std::fs::read_dir(folder.join("fhir-r4")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let source: Value = serde_json::from_str(&text).unwrap();
            let release = release(&policy(name), &clinical(&text)).unwrap();
            let out = serialised(&release);
            let mut people = Vec::new();
            personal(&source, &mut people);
            for person in
                people.iter().filter(|p| p.len() > 4 && !p.bytes().all(|b| b.is_ascii_digit()) || p.len() > 8)
            {
                assert!(!out.contains(person.as_str()), "{name}: {person} of {}", path.display());
            }
            let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
            clinical_values(&source, false, &mut before);
            clinical_values(&serde_json::from_slice(release.payload()).unwrap(), false, &mut after);
            for (value, count) in &before {
                all += count;
                kept += count.min(after.get(value).unwrap_or(&0));
            }
            let report = fhir::validate::validate(release.payload());
            let was_valid = fhir::validate::validate(text.as_bytes()).is_valid();
            assert!(
                report.is_valid() || !was_valid,
                "{name} {}: {:?}",
                path.display(),
                report.issues.first()
            );
        }
        let share = kept as f64 / all as f64;
        println!("{name}: {kept} of {all} clinical numbers and codes as they were ({:.2} %)", share * 100.0);
        assert!(share >= KEPT_SHARE_MIN, "{share}");
    }
}
