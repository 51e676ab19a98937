//! Tokens of the vault: the lawful kind under Safe Harbor, in HL7 and in FHIR.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

mod support;

use std::sync::Arc;

use deid::{Clinical, Context, DestinationKeys, HeldWhy, Policy, Release};
use serde_json::Value;
use support::{TestVault, keys, lines, message, policy, provenance};

const ADMITTED: &str = concat!(
    "MSH|^~\\&|REGADT|MERCY|||20261103081500||ADT^A01|MSG00017|P|2.5.1\r",
    "PID|1|OLD-77|44521^^^MERCY&1.2.3&ISO^MR~123-45-6789^^^SSA^SS||Featherstone^Ottoline||19620210|F||||||||||ACC-9981^^^MERCY^AN\r",
    "PV1|1|I|2NORTH^214^B||||||||||||||||V-55120^^^MERCY^VN\r",
);
const RESULT: &str = concat!(
    "MSH|^~\\&|LAB|MERCY|||20261104081500||ORU^R01|L-1|P|2.5.1\r",
    "PID|1||44521^^^MERCY&1.2.3&ISO^MR||Featherstone^Ottoline||19620210|F\r",
    "OBX|1|NM|718-7^Hemoglobin^LN||12.5|g/dL|||||F\r",
);
const STRANGER: &str = "MSH|^~\\&|LAB|MERCY|||20261104081500||ORU^R01|L-2|P|2.5.1\rPID|1||44521^^^ELSEWHERE^MR||Larch^Ada||19620210|F\r";

fn release_with(vault: &DestinationKeys, clinical: &Clinical) -> Result<Release, deid::Held> {
    let provenance = provenance();
    let context = Context { seq: 7, provenance: &provenance, keys: Some(vault) };
    policy("safe-harbor-linked").release(clinical, &context)
}

fn field(release: &Release, segment: &str, number: usize) -> String {
    let out = lines(release);
    let line = out.lines().find(|line| line.starts_with(segment)).unwrap();
    line.split('|').nth(number).unwrap_or_default().to_owned()
}

#[test]
fn a_patient_is_the_same_token_in_every_message_and_a_stranger_is_another() {
    let vault = keys();
    let admitted = release_with(&vault, &message(ADMITTED.as_bytes())).unwrap();
    insta::assert_snapshot!(lines(&admitted));
    let of = |text: &str| field(&release_with(&vault, &message(text.as_bytes())).unwrap(), "PID", 3);
    let patient = of(RESULT);
    assert_eq!(field(&admitted, "PID", 3).trim_end_matches('~'), patient, "whoever sends it");
    assert!(patient.starts_with('V') && patient.ends_with("^^^^MR"), "{patient}");
    assert_ne!(of(STRANGER), patient);
    // Of a record that says the same of the patient, nothing else is left: not the social security number.
    assert!(!lines(&admitted).contains("123-45-6789") && !lines(&admitted).contains("44521"));
    let counts = admitted.rules().iter().find(|(name, _)| name == "vault-token").unwrap();
    assert_eq!(counts.1, 4, "chart number, account, visit and the number of an earlier HL7");
}

#[test]
fn without_room_or_without_a_vault_the_record_is_held_and_what_has_a_token_goes_on() {
    let vault = keys().with_vault(Arc::new(TestVault::of_at_most(1)));
    release_with(&vault, &message(RESULT.as_bytes())).unwrap();
    let held = release_with(&vault, &message(STRANGER.as_bytes())).unwrap_err();
    assert_eq!((held.reason, held.why), (model::Reason::Held, HeldWhy::VaultFull));
    assert!(held.to_string().contains("the vault is full"), "{held}");
    release_with(&vault, &message(RESULT.as_bytes())).unwrap();
    let provenance = provenance();
    let context = Context { seq: 7, provenance: &provenance, keys: None };
    for clinical in [message(RESULT.as_bytes()), patient("p1")] {
        let held = policy("safe-harbor-linked").release(&clinical, &context).unwrap_err();
        assert_eq!(held.why, HeldWhy::VaultMissing);
    }
}

fn fhir(json: &str) -> Clinical {
    Clinical::Fhir {
        resource_type: ::fhir::resource_type(json.as_bytes()).unwrap(),
        raw: json.as_bytes().to_vec().into(),
    }
}

fn patient(id: &str) -> Clinical {
    fhir(&format!(
        "{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"identifier\":[{{\"type\":{{\"coding\":[{{\"system\":\
         \"http://terminology.hl7.org/CodeSystem/v2-0203\",\"code\":\"MR\"}}]}},\"system\":\"urn:oid:1.2.3\",\"value\":\"Z44521\"}}],\
         \"gender\":\"female\"}}"
    ))
}

#[test]
fn ids_and_references_of_fhir_lead_to_each_other_across_releases_and_to_nothing_else() {
    let vault = keys();
    let json = |clinical: &Clinical| -> Value {
        serde_json::from_slice(release_with(&vault, clinical).unwrap().payload()).unwrap()
    };
    let known = json(&patient("pKESTREL"));
    let observation = json(&fhir(
        r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},
            "subject":{"reference":"Patient/pKESTREL"},"encounter":{"reference":"Encounter/eHERON"}}"#,
    ));
    let id = known["id"].as_str().unwrap();
    assert!(id.starts_with('V') && id.len() == 27, "{id}");
    assert_eq!(observation["subject"]["reference"], format!("Patient/{id}"));
    assert!(observation["encounter"]["reference"].as_str().unwrap().starts_with("Encounter/V"));
    assert_ne!(
        known["identifier"][0]["value"], known["id"],
        "a number of the chart is not the id on the server"
    );
    assert_eq!(known["identifier"][0]["type"]["coding"][0]["code"], "MR");
    assert_eq!(json(&patient("pKESTREL")), known);
    let bundle = fhir(
        r#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"http://a/fhir/Patient/p2","resource":{"resourceType":"Patient","id":"p2"}},
        {"fullUrl":"http://a/fhir/Condition/c2","resource":{"resourceType":"Condition","id":"c2","subject":{"reference":"Patient/p2"}}}]}"#,
    );
    let bundle = json(&bundle);
    let inside = bundle["entry"][0]["resource"]["id"].as_str().unwrap();
    assert_eq!(bundle["entry"][1]["resource"]["subject"]["reference"], format!("Patient/{inside}"));
    assert_eq!(bundle["entry"][0]["fullUrl"], format!("https://deidentified.invalid/Patient/{inside}"));
}

#[test]
fn what_is_too_long_to_be_an_identifier_goes() {
    let long = "9".repeat(deid::IDENTIFIER_BYTES_MAX);
    let text = RESULT.replace("44521", &long);
    let release = release_with(&keys(), &message(text.as_bytes())).unwrap();
    assert_eq!(field(&release, "PID", 3), "");
}

#[test]
fn orders_and_results_may_have_tokens_by_a_policy_of_the_site() {
    let text =
        include_str!("../policies/safe-harbor-linked.toml").replace("[types]\n", "[types]\nEI = \"vault\"\n");
    let policy = Policy::compile("site", &text, support::now()).unwrap();
    let (vault, provenance) = (keys(), provenance());
    let context = Context { seq: 7, provenance: &provenance, keys: Some(&vault) };
    let order = format!("{RESULT}ORC|RE|PLC-1^EHR|FIL-2^LAB\rOBR|1|PLC-1^EHR\r");
    let release = policy.release(&message(order.as_bytes()), &context).unwrap();
    assert_eq!(field(&release, "ORC", 2), field(&release, "OBR", 2));
    assert_ne!(field(&release, "ORC", 2), field(&release, "ORC", 3));
    assert!(field(&release, "ORC", 2).starts_with('V'));
}
