//! What becomes of a Bundle that asks its receiver to delete.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::fhir::{clinical, shaped};
use support::{policy, release};

fn bundle(kind: &str, entries: &[Value]) -> String {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string()
}

fn asks(method: &str, url: &str) -> Value {
    json!({"request": {"method": method, "url": url}})
}

fn why_held(name: &str, bundle: &str) -> &'static str {
    match release(&policy(name), &clinical(bundle)) {
        Ok(_) => panic!("{name} releases {bundle}"),
        Err(held) => held.why.as_str(),
    }
}

/// The receiver finds what is meant under the name by which it got it.
#[test]
fn with_tokens_a_deletion_names_what_was_released_before() {
    let patient = r#"{"resourceType":"Patient","id":"7","gender":"male"}"#;
    let known = shaped("limited-data-set", patient)["id"].as_str().unwrap().to_owned();
    let put = json!({"fullUrl": "http://a/fhir/Observation/o1",
        "resource": {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}},
        "request": {"method": "PUT", "url": "Observation/o1"}});
    let post = json!({"resource": {"resourceType": "Patient", "gender": "male"}, "request": {"method": "POST", "url": "Patient"}});
    for kind in ["transaction", "batch"] {
        let alone = shaped("limited-data-set", &bundle(kind, &[asks("DELETE", "Patient/7")]));
        assert_eq!(
            alone,
            json!({"resourceType": "Bundle", "type": kind,
                "entry": [{"request": {"method": "DELETE", "url": format!("Patient/{known}")}}]})
        );
        let entries = [put.clone(), asks("DELETE", "Patient/7"), post.clone(), asks("GET", "Patient/7")];
        let more = shaped("limited-data-set", &bundle(kind, &entries));
        let entry = more["entry"].as_array().unwrap();
        assert_eq!(entry.len(), 3, "what only reads is nothing to be told");
        let observation = format!("Observation/{}", entry[0]["resource"]["id"].as_str().unwrap());
        assert_eq!(entry[0]["request"], json!({"method": "PUT", "url": observation}));
        assert_eq!(entry[1]["request"]["url"], format!("Patient/{known}"));
        assert_eq!(entry[2]["request"], json!({"method": "POST", "url": "Patient"}));
        let report = fhir::validate::validate(more.to_string().as_bytes());
        assert!(report.is_valid(), "{:?}", report.issues);
    }
    // On a server that its entry names it is another patient.
    let of_a =
        json!({"fullUrl": "http://a/fhir/Patient/7", "request": {"method": "DELETE", "url": "Patient/7"}});
    let of_a = shaped("limited-data-set", &bundle("batch", &[of_a]));
    assert_ne!(of_a["entry"][0]["request"]["url"], format!("Patient/{known}"));
}

/// A number is of one release: nobody would know what to delete. So somebody looks at it.
#[test]
fn what_cannot_be_told_is_held_and_never_left_out() {
    assert_eq!(
        why_held("safe-harbor", &bundle("transaction", &[asks("DELETE", "Patient/7")])),
        "request-untold"
    );
    let conditional = json!({"request": {"method": "DELETE", "url": "Patient/7", "ifMatch": "W/\"3\""}});
    let create = json!({"resource": {"resourceType": "Patient"},
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=7700123"}});
    for (kind, entries) in [
        ("transaction", vec![asks("DELETE", "Patient?identifier=7700123")]),
        ("transaction", vec![asks("DELETE", "Nothing/7")]),
        ("transaction", vec![asks("DELETE", "KESTREL")]),
        ("batch", vec![asks("DELETE", "Patient/7/_history/2")]),
        ("transaction", vec![conditional]),
        ("transaction", vec![asks("DELETE", "Patient/7"), create]),
        ("transaction", vec![asks("PATCH", "Patient/7")]),
        ("history", vec![asks("DELETE", "Patient/7")]),
        ("collection", vec![asks("DELETE", "Patient/7")]),
    ] {
        assert_eq!(
            why_held("limited-data-set", &bundle(kind, &entries)),
            "request-untold",
            "{kind} {entries:?}"
        );
    }
    // In a Bundle within a Bundle too.
    let inner: Value = serde_json::from_str(&bundle("transaction", &[asks("DELETE", "Patient/7")])).unwrap();
    let outer = bundle("collection", &[json!({"resource": inner})]);
    assert_eq!(why_held("safe-harbor", &outer), "request-untold");
    let carried = shaped("limited-data-set", &outer);
    assert_eq!(carried["type"], "collection");
    assert_eq!(carried["entry"][0]["resource"]["type"], "transaction");
}

/// Without a deletion nothing is asked of the receiver.
#[test]
fn creates_and_updates_become_what_is() {
    let put = json!({"resource": {"resourceType": "Patient", "id": "7"}, "request": {"method": "PUT", "url": "Patient/7"}});
    let read =
        json!({"fullUrl": "http://a/fhir/Patient/8", "request": {"method": "GET", "url": "Patient/8"}});
    for name in ["safe-harbor", "limited-data-set"] {
        let release = shaped(name, &bundle("transaction", &[put.clone(), read.clone()]));
        assert_eq!(release["type"], "collection");
        let entries = release["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{release}");
        assert!(entries[0].get("request").is_none(), "{release}");
    }
}
