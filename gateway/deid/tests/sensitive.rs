//! Records whose codes are of a sensitive category: tagged, held, or let go, as the policy says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use deid::{Clinical, HeldWhy, Policy};
use support::{message, release};

fn policy(name: &str, section: &str) -> Policy {
    let file = format!("{}/policies/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).unwrap();
    Policy::compile("own", &format!("{text}\n{section}"), support::now())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn hl7(segment: &str) -> Clinical {
    message(format!("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rPID|1||44521^^^H^MR\r{segment}\r").as_bytes())
}

fn fhir(system: &str, code: &str) -> Clinical {
    let json = format!(
        r#"{{"resourceType":"Condition","code":{{"coding":[{{"system":"{system}","code":"{code}"}}]}},"subject":{{"reference":"Patient/7"}}}}"#
    );
    Clinical::Fhir { resource_type: "Condition", raw: Bytes::from(json) }
}

/// Records with an opioid dependence, each in another form.
fn opioids() -> Vec<Clinical> {
    vec![
        hl7("DG1|1||F11.20^Opioid dependence^I10C"),
        hl7("DG1|1||L7^Local^99LAB^F1120^Opioid dependence^I10"),
        hl7("DG1|1||F11.20"),
        hl7("OBX|1|CWE|29308-4^Diagnosis^LN||0^^L~75544000^Opioid dependence^SCT"),
        hl7("RXE||6813^Methadone^RXNORM"),
        fhir("http://hl7.org/fhir/sid/icd-10-cm", "F11.20"),
        fhir("http://snomed.info/sct", "75544000"),
    ]
}

#[test]
fn what_a_policy_holds_is_held_and_what_it_tags_is_tagged_in_every_form() {
    for name in ["treatment", "safe-harbor", "limited-data-set"] {
        let hold = policy(name, "[sensitive]\nsubstance-use = \"hold\"\nhiv = \"tag\"\n");
        let tag = policy(name, "[sensitive]\nsubstance-use = \"tag\"\nhiv = \"hold\"\n");
        for (n, record) in opioids().iter().enumerate() {
            let held = release(&hold, record).unwrap_err();
            assert_eq!(held.why, HeldWhy::Sensitive, "{name} {n}");
            assert_eq!(held.to_string(), "held: a code is of a sensitive category that the policy holds");
            let tagged = release(&tag, record).unwrap();
            assert!(tagged.rules().contains(&("sensitive-substance-use".to_owned(), 1)), "{name} {n}");
        }
        for record in [
            hl7("DG1|1||E11.9^Diabetes^I10"),
            hl7("DG1|1||F17.210^Tobacco^I10"),
            hl7("DG1|1||F11.20^x^99LAB"),
        ] {
            assert!(
                !release(&hold, &record)
                    .unwrap()
                    .rules()
                    .iter()
                    .any(|(rule, _)| rule.starts_with("sensitive"))
            );
        }
    }
}

#[test]
fn a_policy_that_says_nothing_looks_at_nothing_and_both_have_hashes_of_their_own() {
    let silent = policy("safe-harbor", "");
    let passing = policy("safe-harbor", "[sensitive]\nhiv = \"pass\"\n");
    for record in opioids() {
        assert!(
            !release(&silent, &record).unwrap().rules().iter().any(|(rule, _)| rule.starts_with("sensitive"))
        );
    }
    assert_eq!(silent.reference().sha256, passing.reference().sha256);
    assert_ne!(
        silent.reference().sha256,
        policy("safe-harbor", "[sensitive]\nhiv = \"tag\"\n").reference().sha256
    );
    let text = include_str!("../policies/safe-harbor.toml");
    let wrong = Policy::compile(
        "own",
        &format!("{text}\n[sensitive]\nhvi = \"tag\"\nviolence = \"remove\"\n"),
        support::now(),
    );
    let paths: Vec<String> = wrong.unwrap_err().mistakes.into_iter().map(|mistake| mistake.path).collect();
    assert_eq!(paths, ["sensitive.hvi", "sensitive.violence"]);
}
