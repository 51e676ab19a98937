//! What is refused is found by feed, peer and kind, and says nothing of what was sent.

use model::FaultKind;
use tokio::io::AsyncWriteExt as _;

use super::support::*;

const BASIC: &str = r#"{"resourceType":"Basic","code":{"text":"ZQNAME7"}}"#;
const WRONG: &str = r#"{"resourceType":"Basic","code":{"text":"ZQNAME7"},"ZQNAME7":"ZQNAME7"}"#;

#[tokio::test]
async fn what_is_refused_is_a_fault_of_its_peer_without_content() {
    let bed = bed("body_bytes_max = 4096").await;
    let json = "Content-Type: application/fhir+json\r\n";
    let long = format!("{{\"resourceType\":\"Basic\",\"code\":{{\"text\":\"{}\"}}}}", "ZQNAME7".repeat(1000));
    let batch = bundle("batch", &[("POST", "Basic", BASIC), ("POST", "Basic", WRONG)]);
    let with = |more: &str| format!("{json}{more}\r\n");
    for (line, headers, body, kind) in [
        ("POST /fhir/Basic", with("Authorization: Bearer ZQNAME7"), BASIC, FaultKind::Unauthorised),
        ("POST /fhir/Basic", json.to_owned(), "{ZQNAME7", FaultKind::BadRequest),
        ("POST /fhir/Basic", json.to_owned(), WRONG, FaultKind::BadRequest),
        (
            "POST /fhir/Basic",
            "Content-Type: application/fhir+xml\r\n".into(),
            "<Basic/>",
            FaultKind::BadRequest,
        ),
        ("POST /fhir/$validate", with("Accept: text/html"), BASIC, FaultKind::BadRequest),
        ("POST /fhir/Basic", json.to_owned(), &long, FaultKind::TooLong),
        ("GET /fhir/Patient?name=ZQNAME7", String::new(), "", FaultKind::BadRequest),
        ("GET /ZQNAME7", String::new(), "", FaultKind::BadRequest),
        ("POST /fhir/Basic", with("If-None-Exist: name=ZQNAME7"), BASIC, FaultKind::BadRequest),
        ("POST /fhir", json.to_owned(), &batch, FaultKind::BadRequest),
    ] {
        bed.send(line, &headers, body).await;
        let faults = bed.memory.faults();
        let [fault] = faults.as_slice() else { panic!("{line}: {faults:?}") };
        assert_eq!((fault.kind, fault.feed.as_str(), fault.host()), (kind, "ehr", "127.0.0.1"), "{line}");
        assert!(!format!("{fault:?}").contains("ZQNAME7"), "{fault:?}");
        if kind == FaultKind::TooLong {
            assert_eq!(fault.bytes, long.len() as u64);
        }
    }
    bed.memory.refuse(0, Some(model::Refusal::Full));
    bed.post("POST /fhir/Basic", BASIC).await;
    assert_eq!(kinds(&bed), [FaultKind::NotStored]);
    bed.memory.refuse(0, None);
    assert_eq!(bed.post("POST /fhir/Basic", BASIC).await.status, 201);
    assert!(kinds(&bed).is_empty(), "what is taken is no fault");
}

#[tokio::test]
async fn a_body_that_ends_early_and_bytes_that_are_no_request_are_faults() {
    let bed = bed("").await;
    let mut stream = bed.connect().await;
    let head = "POST /fhir/Basic HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    until(&bed, FaultKind::CutOff).await;
    let mut stream = bed.connect().await;
    stream.write_all(b"\x0bMSH|^~\\&|ZQNAME7\x1c\r\n\r\n").await.unwrap();
    until(&bed, FaultKind::BadRequest).await;
}

#[tokio::test]
async fn over_quota_and_turned_away_are_faults() {
    let rest = "requests_per_minute_max = 1\n[allow]\nnetworks = [\"127.0.0.1/32\"]\n";
    let bed = bed(rest).await;
    while bed.post("POST /fhir/Basic", BASIC).await.status != 429 {}
    assert_eq!(kinds(&bed), [FaultKind::OverQuota]);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let _stranger = socket.connect(bed.address()).await.unwrap();
    until(&bed, FaultKind::NotAllowed).await;
}

/// Conditions are refused by name, before anything is stored: to ignore one would do what its client did not want.
#[tokio::test]
async fn conditions_are_refused_whatever_they_are() {
    let bed = bed("").await;
    for (name, line, value) in [
        ("If-None-Exist", "POST /fhir/Basic", "identifier=ZQNAME7"),
        ("If-Match", "PUT /fhir/Patient/p1", "W/\"ZQNAME7\""),
        ("If-None-Match", "PUT /fhir/Patient/p1", "*"),
        ("If-Modified-Since", "PUT /fhir/Patient/p1", "Sat, 01 Aug 2026 10:00:00 GMT"),
        ("If-Unmodified-Since", "PUT /fhir/Patient/p1", "Sat, 01 Aug 2026 10:00:00 GMT"),
    ] {
        let headers = format!("Content-Type: application/fhir+json\r\n{}: {value}\r\n", name.to_lowercase());
        let answer = bed.send(line, &headers, PATIENT).await;
        let issue = &answer.json()["issue"][0];
        assert_eq!((answer.status, issue["code"].as_str()), (501, Some("not-supported")), "{name}");
        assert!(issue["diagnostics"].as_str().unwrap().starts_with(name), "{issue}");
        assert!(!answer.body.contains("ZQNAME7"));
        assert!(fhir::validate::validate(answer.body.as_bytes()).issues.is_empty());
    }
    assert!(bed.memory.stored().is_empty());
    // Where nothing is changed, a condition has nothing to prevent.
    let answer = bed.send("GET /fhir/metadata", "If-None-Match: W/\"1\"\r\n", "").await;
    assert_eq!(answer.status, 200);
    let resource = &answer.json()["rest"][0]["resource"][0];
    for (member, value) in [("conditionalCreate", false), ("conditionalUpdate", false)] {
        assert_eq!(resource[member], value);
    }
    assert_eq!(resource["versioning"], "no-version");
}

/// The kinds since the last look.
fn kinds(bed: &Bed) -> Vec<FaultKind> {
    bed.memory.faults().into_iter().map(|fault| fault.kind).collect()
}

async fn until(bed: &Bed, kind: FaultKind) {
    let waiting = async {
        while kinds(bed) != [kind] {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the fault");
}
