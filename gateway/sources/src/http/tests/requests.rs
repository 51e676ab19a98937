//! Requests and answers, one after the other.

use super::support::*;

const BASIC: &str = r#"{"resourceType":"Basic","code":{"text":"x"}}"#;
const WRONG: &str = r#"{"resourceType":"Basic","code":{"text":"ZQNAME7"},"ZQNAME7":"ZQNAME7"}"#;

#[tokio::test]
async fn what_is_asked_and_what_is_answered() {
    let bed = bed("body_bytes_max = 65536").await;
    let json = "Content-Type: application/fhir+json; charset=UTF-8\r\n";
    let long = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"{}\"}}}}", "x".repeat(70_000));
    let transaction = bundle("transaction", &[("PUT", "Patient/p1", PATIENT), ("POST", "Basic", BASIC)]);
    let half = bundle("transaction", &[("PUT", "Patient/p1", PATIENT), ("POST", "Basic", WRONG)]);
    let batch = bundle(
        "batch",
        &[
            ("POST", "Basic", BASIC),
            ("POST", "Basic", WRONG),
            ("DELETE", "Basic/1", ""),
            ("PUT", "Patient/p1", PATIENT),
        ],
    );
    let wish = |wish: &str| format!("{json}Prefer: return={wish}\r\n");
    let cases = [
        ("create", "POST /fhir/Patient", json.to_owned(), PATIENT),
        ("create, minimal", "POST /fhir/Basic", wish("minimal"), BASIC),
        (
            "create, outcome",
            "POST /fhir/Basic?_format=json",
            wish("OperationOutcome"),
            r#"{"resourceType":"Basic","code":{"text":"y"}}"#,
        ),
        ("update", "PUT /fhir/Patient/p1", json.to_owned(), PATIENT),
        (
            "update, application/json",
            "PUT /fhir/Patient/p1",
            "Content-Type: application/json\r\n".into(),
            PATIENT,
        ),
        ("transaction", "POST /fhir", json.to_owned(), &transaction),
        ("transaction, half of it wrong", "POST /fhir/", json.to_owned(), &half),
        ("batch", "POST /fhir", json.to_owned(), &batch),
        ("validate", "POST /fhir/Patient/$validate", json.to_owned(), PATIENT),
        ("validate, encoded", "POST /fhir/%24validate", json.to_owned(), WRONG),
        ("validate, instance", "POST /fhir/Patient/p1/$validate", json.to_owned(), PATIENT),
        ("validate, another instance", "POST /fhir/Patient/p2/$validate", json.to_owned(), PATIENT),
        ("validate what is stored", "GET /fhir/Patient/p1/$validate", String::new(), ""),
        ("validate, no JSON", "POST /fhir/$validate", json.to_owned(), "{"),
        ("wrong", "POST /fhir/Basic", json.to_owned(), WRONG),
        ("no JSON", "POST /fhir/Basic", json.to_owned(), "{"),
        ("another type", "POST /fhir/Patient", json.to_owned(), BASIC),
        ("another id", "PUT /fhir/Patient/p2", json.to_owned(), PATIENT),
        ("unknown type", "POST /fhir/Patience", json.to_owned(), PATIENT),
        ("XML", "POST /fhir/Patient", "Content-Type: application/fhir+xml\r\n".into(), "<Patient/>"),
        ("no type", "POST /fhir/Patient", String::new(), PATIENT),
        (
            "Latin-1",
            "POST /fhir/Patient",
            "Content-Type: application/json; charset=iso-8859-1\r\n".into(),
            PATIENT,
        ),
        ("compressed", "POST /fhir/Patient", format!("{json}Content-Encoding: gzip\r\n"), PATIENT),
        (
            "R5",
            "POST /fhir/Patient",
            "Content-Type: application/fhir+json; fhirVersion=5.0\r\n".into(),
            PATIENT,
        ),
        ("answer as XML", "POST /fhir/Patient", format!("{json}Accept: application/fhir+xml\r\n"), PATIENT),
        ("if none exist", "POST /fhir/Patient", format!("{json}If-None-Exist: identifier=1\r\n"), PATIENT),
        ("conditional update", "PUT /fhir/Patient?identifier=1", json.to_owned(), PATIENT),
        ("too long", "POST /fhir/Basic", json.to_owned(), &long),
        ("read", "GET /fhir/Patient/p1", String::new(), ""),
        ("search", "GET /fhir/Patient?name=ZQNAME7", String::new(), ""),
        ("delete", "DELETE /fhir/Patient/p1", String::new(), ""),
        ("another operation", "POST /fhir/Patient/p1/$everything", json.to_owned(), "{}"),
        ("another method", "POST /fhir/Patient/p1", json.to_owned(), PATIENT),
        ("a page", "GET /", String::new(), ""),
        ("up and out", "GET /fhir/../token", String::new(), ""),
        ("tokens where there are none", "POST /token", String::new(), "a=b"),
        ("metadata, head", "HEAD /fhir/metadata", "X-Request-Id: abc-1\r\n".into(), ""),
        ("metadata as XML", "GET /fhir/metadata?_format=xml", String::new(), ""),
        ("a token of nobody", "POST /fhir/Patient", format!("{json}Authorization: Bearer x\r\n"), PATIENT),
        ("a password", "POST /fhir/Patient", format!("{json}Authorization: Basic eDp5\r\n"), PATIENT),
    ];
    let mut out = String::new();
    for (name, line, headers, body) in cases {
        let answer = bed.send(line, &headers, body).await;
        if answer.status >= 400 && answer.header("content-type").unwrap().starts_with("application/fhir+json")
        {
            assert!(
                fhir::validate::validate(answer.body.as_bytes()).issues.is_empty()
                    || line.starts_with("HEAD")
            );
        }
        assert!(!answer.body.contains("ZQNAME7"), "{name}: {}", answer.body);
        out.push_str(&format!("## {name}\n{line}\n{}\n", answer.status));
        for (header, value) in answer.headers {
            if !matches!(
                &*header,
                "date" | "connection" | "content-length" | "cache-control" | "x-content-type-options"
            ) {
                out.push_str(&format!("{header}: {value}\n"));
            }
        }
        out.push_str(&format!("{}\n", answer.body.trim_end()));
    }
    insta::assert_snapshot!(out);
    let stored: Vec<String> = bed.memory.stored().into_iter().map(|(c, b)| format!("{c}: {b:?}\n")).collect();
    insta::assert_snapshot!("what_was_stored", stored.concat());
    let stats = bed.stats();
    assert_eq!(stats.received, stats.accepted + stats.duplicates + stats.refused, "{stats:?}");
    assert_eq!(stats.accepted, stored.len() as u64);
    // "update, application/json" is the same request as the one before it.
    assert_eq!(stats.duplicates, 1);
}

#[tokio::test]
async fn the_statement_can_be_read_by_anybody() {
    let bed = bed("").await;
    let answer = bed.send("GET /fhir/metadata", "Accept: application/json, */*;q=0.1\r\n", "").await;
    assert_eq!((answer.status, answer.json()["fhirVersion"].as_str()), (200, Some("4.0.1")));
    assert!(fhir::validate::validate(answer.body.as_bytes()).issues.is_empty());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
