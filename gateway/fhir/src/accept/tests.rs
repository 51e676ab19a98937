use serde_json::{Value, json};

use super::*;

const PATIENT: &str = r#" {"resourceType":"Patient","id":"p1","active":true}
"#;

fn said(request: Request<'_>, body: &str) -> String {
    match accept(request, body.as_bytes()) {
        Ok(Accepted::One(entry)) => format!("{entry:?}"),
        Ok(Accepted::Transaction(entries)) => format!("transaction {entries:?}"),
        Ok(Accepted::Batch(entries)) => {
            let one = |e: &Result<Entry, Refused>| match e {
                Ok(entry) => format!("{entry:?}"),
                Err(refused) => format!("{}: {}", refused.status, refused.issues[0].diagnostics),
            };
            format!("batch\n  {}", entries.iter().map(one).collect::<Vec<_>>().join("\n  "))
        }
        Err(refused) => {
            let first = &refused.issues[0];
            format!("{}: {} {} {}", refused.status, first.code.as_str(), first.expression, first.diagnostics)
        }
    }
}

fn bundle(kind: &str, entries: Value) -> String {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries}).to_string()
}

fn entries() -> Value {
    let patient: Value = serde_json::from_str(PATIENT).unwrap();
    json!([
        {"resource": patient, "request": {"method": "PUT", "url": "Patient/p1"}},
        {"resource": {"resourceType": "Basic", "code": {"text": "x"}}, "request": {"method": "POST", "url": "Basic"}},
    ])
}

#[test]
fn requests_and_what_becomes_of_them() {
    let with = |kind: &str, pointer: &str, value: Value| {
        let mut all = entries();
        *all.pointer_mut(pointer).unwrap() = value;
        bundle(kind, all)
    };
    let bad = json!({"method": "POST", "url": "Basic", "ifNoneExist": "identifier=1"});
    let cases = [
        ("create", Request::Create { kind: "Patient" }, PATIENT.to_owned()),
        ("create of another type", Request::Create { kind: "Group" }, PATIENT.to_owned()),
        (
            "create, not valid",
            Request::Create { kind: "Patient" },
            r#"{"resourceType":"Patient","active":1}"#.into(),
        ),
        ("create, no JSON", Request::Create { kind: "Patient" }, "<Patient/>".into()),
        ("create, empty", Request::Create { kind: "Patient" }, String::new()),
        ("update", Request::Update { kind: "Patient", id: "p1" }, PATIENT.to_owned()),
        ("update of another id", Request::Update { kind: "Patient", id: "p2" }, PATIENT.to_owned()),
        (
            "update without id",
            Request::Update { kind: "Patient", id: "p2" },
            r#"{"resourceType":"Patient"}"#.into(),
        ),
        ("transaction", Request::Bundle, bundle("transaction", entries())),
        ("empty transaction", Request::Bundle, r#"{"resourceType":"Bundle","type":"transaction"}"#.into()),
        ("no bundle", Request::Bundle, PATIENT.to_owned()),
        ("a document", Request::Bundle, r#"{"resourceType":"Bundle","type":"collection"}"#.into()),
        (
            "one of a transaction not valid",
            Request::Bundle,
            with("transaction", "/0/resource/active", json!(1)),
        ),
        ("one of a batch not valid", Request::Bundle, with("batch", "/0/resource/active", json!(1))),
        ("condition in a transaction", Request::Bundle, with("transaction", "/1/request", bad.clone())),
        ("condition in a batch", Request::Bundle, with("batch", "/1/request", bad)),
        (
            "delete in a batch",
            Request::Bundle,
            with("batch", "/1", json!({"request": {"method": "DELETE", "url": "Basic/1"}})),
        ),
        (
            "conditional update",
            Request::Bundle,
            with("batch", "/0/request/url", json!("Patient?identifier=1")),
        ),
        ("post to an instance", Request::Bundle, with("batch", "/1/request/url", json!("Basic/1"))),
        ("unknown type", Request::Bundle, with("batch", "/1/request/url", json!("Basics"))),
        ("a batch whose type is wrong", Request::Bundle, with("batch", "/0/resource", json!("x"))),
    ];
    let text: String =
        cases.iter().map(|(name, request, body)| format!("{name}: {}\n", said(*request, body))).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn the_bytes_of_an_entry_are_those_of_its_resource() {
    let body = bundle("batch", entries());
    let Ok(Accepted::Batch(all)) = accept(Request::Bundle, body.as_bytes()) else { panic!("a batch") };
    for (n, entry) in all.iter().enumerate() {
        let bytes = body.get(entry.as_ref().unwrap().bytes.clone()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(bytes).unwrap(), entries()[n]["resource"]);
    }
}

/// More issues than can be listed leave it open which entries are good.
#[test]
fn a_batch_of_countless_faults_is_refused_as_a_whole() {
    let faulty = json!({"resource": {"resourceType": "Patient", "active": 1}, "request": {"method": "POST", "url": "Patient"}});
    let mut all = vec![faulty; ISSUES_MAX + 1];
    all.push(entries()[1].clone());
    let refused = accept(Request::Bundle, bundle("batch", all.into()).as_bytes()).unwrap_err();
    assert_eq!((refused.status, refused.issues.len()), (422, ISSUES_MAX + 1));
    let faulty = vec![json!({"request": {"method": "GET", "url": "Patient"}}); ENTRIES_MAX + 1];
    assert_eq!(accept(Request::Bundle, bundle("batch", faulty.into()).as_bytes()).unwrap_err().status, 413);
}

#[test]
fn a_created_resource_gets_its_id() {
    for (body, expected) in [
        (PATIENT, r#"{"resourceType":"Patient","id":"new-1","active":true}"#),
        (r#"{"resourceType":"Patient"}"#, r#"{"id":"new-1","resourceType":"Patient"}"#),
        ("{}", r#"{"id":"new-1"}"#),
    ] {
        assert_eq!(String::from_utf8(with_id(body.as_bytes(), "new-1").unwrap()).unwrap(), expected);
    }
    assert_eq!(with_id(b"[", "new-1"), None);
}

#[test]
fn validation_judges_and_stores_nothing() {
    assert!(judge(Some("Patient"), None, PATIENT.as_bytes()).is_valid());
    assert!(judge(None, None, PATIENT.as_bytes()).is_valid());
    assert!(!judge(Some("Group"), None, PATIENT.as_bytes()).is_valid());
    assert!(judge(Some("Patient"), Some("p1"), PATIENT.as_bytes()).is_valid());
    assert!(!judge(Some("Patient"), Some("p2"), PATIENT.as_bytes()).is_valid());
    assert!(!judge(None, None, b"{").is_valid());
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "resource", "resource": serde_json::from_str::<Value>(PATIENT).unwrap()},
        {"name": "profile", "valueUri": "http://example.org/p"},
    ]});
    let report = judge(Some("Patient"), None, parameters.to_string().as_bytes());
    assert!(report.is_valid() && report.issues.len() == 1, "{report:?}");
}
