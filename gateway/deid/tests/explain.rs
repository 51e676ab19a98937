//! What `Policy::explain` says is what `Policy::release` does, and every value has its place in it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use deid::{Clinical, Comparison, Explained, Outcome};
use hl7::Message;
use support::{policy, with_context};

const MESSAGE: &str = "MSH|^~\\&|LAB|HOSP|||202611030815||ORU^R01|C-77|P|2.5\r\
    PID|1||4711^^^HOSP^MR~999-12-3456^^^^SS||Doe^Jane^^^^^L||19310203|F|||1 Elm St^^Boston^MA^02115^USA\r\
    OBX|1|NM|8867-4^Heart rate^LN||72|/min^^UCUM|||||F\r\
    OBX|2|CE|29308-4^Diagnosis^LN||44054006^Diabetes^SCT||||||F\r\
    ZPI|secret\r";

fn explain(name: &str, clinical: &Clinical) -> Explained {
    let policy = policy(name);
    let explained = with_context(|context| {
        let explained = policy.explain(clinical, context);
        let released = policy.release(clinical, context);
        assert_eq!(
            explained.outcome.as_ref().map(deid::Release::payload).map_err(|held| held.why),
            released.as_ref().map(deid::Release::payload).map_err(|held| held.why),
        );
        assert_eq!(
            explained.outcome.as_ref().map(deid::Release::rules).ok(),
            released.as_ref().map(deid::Release::rules).ok()
        );
        explained
    });
    // The receipt is the sum of the steps.
    if let Ok(release) = &explained.outcome {
        let mut counted = BTreeMap::new();
        for rule in explained.steps.iter().flat_map(|step| &step.rules) {
            *counted.entry((*rule).to_owned()).or_insert(0_u32) += 1;
        }
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), release.rules());
    }
    explained
}

fn hl7(text: &str) -> Clinical {
    Clinical::Hl7(Message::parse(text.as_bytes().to_vec()).unwrap())
}

#[test]
fn every_value_of_a_message_has_its_place_and_its_rule() {
    let explained = explain("safe-harbor", &hl7(MESSAGE));
    let of = |path: &str| {
        let step = explained
            .steps
            .iter()
            .find(|step| step.path == path)
            .unwrap_or_else(|| panic!("{path} in {:?}", explained.steps));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (step.outcome(), step.rules.join(" "), text(step.before.expose()), text(step.after.expose()))
    };
    for (path, outcome, rule, before, after) in [
        ("MSH[1]-7[1]", Outcome::Changed, "year", "202611030815", "2026"),
        ("MSH[1]-10[1]", Outcome::Changed, "sequence", "C-77", "42"),
        ("PID[1]-3[1]", Outcome::Removed, "removed", "4711^^^HOSP^MR", ""),
        ("PID[1]-3[2]", Outcome::Removed, "removed", "999-12-3456^^^^SS", ""),
        ("PID[1]-7[1]", Outcome::Removed, "year-over-89", "19310203", ""),
        ("PID[1]-11[1].4", Outcome::Kept, "state", "MA", "MA"),
        ("PID[1]-11[1].5", Outcome::Changed, "zip3", "02115", "021"),
        ("OBX[1]-5[1]", Outcome::Kept, "number", "72", "72"),
        ("OBX[2]-5[1].1", Outcome::Kept, "code", "44054006", "44054006"),
        ("OBX[2]-5[1].2", Outcome::Removed, "removed", "Diabetes", ""),
        ("OBX[2]-5[1].3", Outcome::Kept, "", "SCT", "SCT"),
        ("ZPI[1]", Outcome::Removed, "segment-removed", "ZPI|secret", ""),
    ] {
        assert_eq!(of(path), (outcome, rule.into(), before.into(), after.into()), "{path}");
    }
    assert_eq!(of("envelope.control_id").0, Outcome::Removed);
}

#[test]
fn what_leaves_stands_at_the_place_that_is_named() {
    let Clinical::Hl7(message) = hl7(MESSAGE) else { return };
    let explained = explain("limited-data-set", &Clinical::Hl7(message.clone()));
    let released = Message::parse(explained.outcome.unwrap().payload().to_vec()).unwrap();
    let mut looked_at = 0;
    for step in &explained.steps {
        let Ok(path) = step.path.parse::<hl7::Path>() else { continue };
        let at = |message: &Message| message.get(&path).map(<[u8]>::to_vec).unwrap_or_default();
        assert_eq!(&at(&message), step.before.expose(), "{}", step.path);
        assert_eq!(&at(&released), step.after.expose(), "{}", step.path);
        looked_at += 1;
    }
    assert!(looked_at > 20, "{looked_at}");
}

#[test]
fn every_value_of_a_bundle_has_its_place_and_its_rule() {
    let raw = r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
        "resource":{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1931-02-03",
        "name":[{"family":"Doe","given":["Jane"]}],"address":[{"state":"MA","postalCode":"02115","country":"US"}]}},
        {"fullUrl":"urn:uuid:c757873d-ec9a-4326-a141-556f43239521","resource":{"resourceType":"Observation","status":"final",
        "code":{"coding":[{"system":"http://loinc.org","code":"8867-4","display":"Heart rate"}]},
        "valueQuantity":{"value":72,"unit":"beats","system":"http://unitsofmeasure.org","code":"/min"}}}]}"#;
    let clinical = Clinical::Fhir { resource_type: "Bundle", raw: raw.as_bytes().to_vec().into() };
    let explained = explain("safe-harbor", &clinical);
    let steps: Vec<_> = explained
        .steps
        .iter()
        .map(|step| (step.path.as_str(), step.rules.join(" "), step.outcome()))
        .collect();
    for (path, rule, outcome) in [
        ("Bundle.entry[0].resource.gender", "code", Outcome::Kept),
        ("Bundle.entry[0].resource.birthDate", "year-over-89", Outcome::Removed),
        ("Bundle.entry[0].resource.name[0]", "removed", Outcome::Removed),
        ("Bundle.entry[1].resource.status", "code", Outcome::Kept),
    ] {
        assert!(steps.contains(&(path, rule.into(), outcome)), "{path}: {steps:#?}");
    }
}

#[test]
fn what_goes_unchanged_is_one_step() {
    let explained = explain("treatment", &hl7(MESSAGE));
    assert_eq!(explained.steps[0].path, "payload");
    assert_eq!(explained.steps[0].outcome(), Outcome::Kept);
}

#[test]
fn a_debug_of_a_step_tells_no_value() {
    let explained = explain("safe-harbor", &hl7(MESSAGE));
    let text = format!("{:?}", explained.steps);
    assert!(text.contains("PID[1]-3[1]"));
    assert!(!text.contains("Doe") && !text.contains("4711") && !text.contains("secret"));
}

#[test]
fn two_policies_part_where_they_do_and_no_value_is_told() {
    let mut comparison = Comparison::default();
    for number in 0..3_u32 {
        let clinical = hl7(MESSAGE);
        let (first, second) = (explain("safe-harbor", &clinical), explain("limited-data-set", &clinical));
        comparison.add(&number, &first, &second);
    }
    let comparison = comparison.sorted();
    assert_eq!((comparison.records, comparison.same, comparison.left_out), (3, 0, 0));
    assert!(comparison.changes.is_sorted_by_key(|change| std::cmp::Reverse(change.values)));
    let told = serde_json::to_string(&comparison).unwrap();
    for value in ["4711", "Doe", "1931", "Boston", "02115", "secret", "C-77"] {
        assert!(!told.contains(value), "{value} in {told}");
    }
    let change = |path: &str| comparison.changes.iter().find(|change| change.path == path);
    let birth = change("PID-7").unwrap();
    assert_eq!(
        (birth.first.outcome, birth.second.outcome, birth.values, birth.example),
        ("removed", "kept", 3, 0)
    );
    assert_eq!(birth.first.rules, ["year-over-89"]);
    assert_eq!(change("PID-3.1").or(change("PID-3")).unwrap().second.rules, ["token"]);
    assert!(change("PID-5").is_none() && change("OBX-5").is_none(), "{told}");
}

#[test]
fn a_policy_is_the_same_as_itself() {
    let mut comparison = Comparison::default();
    let clinical = hl7(MESSAGE);
    comparison.add(&(), &explain("safe-harbor", &clinical), &explain("safe-harbor", &clinical));
    assert_eq!((comparison.records, comparison.same, comparison.changes.len()), (1, 1, 0));
}
