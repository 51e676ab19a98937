//! What each format is found by.

use std::sync::Arc;

use model::{Format, RecordId};

use super::support::*;
use crate::Error;
use crate::search::{Found, Query};

fn by(key: &str, value: &str) -> Query {
    let mut query = Query::default();
    let value = Some(value.to_owned());
    match key {
        "mrn" => query.mrn = value,
        "visit" => query.visit = value,
        "order" => query.order = value,
        "control id" => query.control_id = value,
        "device" => query.device = value,
        "type" => query.kind = value,
        "feed" => query.feed = value.map(|name| slug(&name)),
        _ => panic!("{key}"),
    }
    query
}

async fn search(gateway: &TestBox, query: Query) -> Found {
    let found = gateway.handle.search(query, "a test").await.unwrap();
    assert_eq!(found.left_out, []);
    found
}

async fn ids(gateway: &TestBox, key: &str, value: &str) -> Vec<RecordId> {
    search(gateway, by(key, value)).await.records.iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn each_format_is_found_by_what_identifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let landing = Arc::<Landing>::default();
    let mut latin = feed("latin", None);
    latin.charset = Some("8859/1".parse().unwrap());
    let feeds = vec![feed("adt", None), feed("oxi", None), feed("fhir", None), latin];
    let gateway = TestBox::start(dir.path(), feeds, vec![route("lake", "treatment", &landing)]).await;
    let repeated = "MSH|^~\\&|A|B|C|D|20261124||ORM^O01|C-2|P|2.3\rPID|1||700^^^H^MR~X\\T\\1^^^H^PI\rPV1|1|I|||||||||||||||||V-9\r\
                    ORC|NW|P-1^HIS|F-1^LAB\rOBR|1|P-1|F-2|8867-4\r";
    let hl7 = gateway.take("adt", Format::Hl7v2, "", repeated.as_bytes()).await.id;
    let plain = gateway.hl7("700", "C-1").await.id;
    let umlaut = gateway
        .take("latin", Format::Hl7v2, "", b"MSH|^~\\&|A|B|C|D|20261124||ADT^A01|C-3|P|2.3\rPID|1||M\xfc7\r")
        .await
        .id;
    let patient = r#"{"resourceType":"Patient","id":"p-1","identifier":[{"value":"700"}]}"#;
    let fhir = gateway.take("fhir", Format::Fhir, "", patient.as_bytes()).await.id;
    let device = gateway.take("oxi", Format::Device("test-oximeter".into()), "ward/dev-4/plx", b"x").await.id;
    let mut document = message("701", "C-5");
    document.push_str(&format!("OBX|1|ED|||{}\rOBR|1|P-7|F-7\r", "QUJD".repeat(120_000)));
    let large = gateway.take("adt", Format::Hl7v2, "", document.as_bytes()).await.id;

    // In this order they came, and the newest is shown first.
    assert_eq!(ids(&gateway, "mrn", "700").await, [fhir, plain, hl7]);
    assert_eq!(ids(&gateway, "mrn", "X&1").await, [hl7], "escapes are resolved");
    assert_eq!(ids(&gateway, "mrn", "Mü7").await, [umlaut], "letters, not bytes");
    assert_eq!(ids(&gateway, "mrn", "p-1").await, [fhir]);
    assert_eq!(ids(&gateway, "mrn", "70").await, [] as [RecordId; 0], "no part of an id");
    assert_eq!(ids(&gateway, "visit", "V-9").await, [hl7]);
    for order in ["P-1", "F-1", "F-2"] {
        assert_eq!(ids(&gateway, "order", order).await, [hl7], "{order}");
    }
    assert_eq!(ids(&gateway, "order", "F-7").await, [large], "behind a document of half a megabyte");
    assert_eq!(ids(&gateway, "control id", "C-5").await, [large]);
    assert_eq!(ids(&gateway, "type", "ORM^O01").await, [hl7]);
    assert_eq!(ids(&gateway, "type", "ADT").await, [large, umlaut, plain]);
    assert_eq!(ids(&gateway, "type", "Patient").await, [fhir]);
    assert_eq!(ids(&gateway, "type", "test-oximeter").await, [device]);
    assert_eq!(ids(&gateway, "device", "dev-4").await, [device]);
    assert_eq!(ids(&gateway, "feed", "oxi").await, [device]);
    let both = Query { mrn: Some("700".to_owned()), kind: Some("ADT^A08".to_owned()), ..Query::default() };
    let found = search(&gateway, both).await;
    assert_eq!(found.records.iter().map(|r| r.id).collect::<Vec<_>>(), [plain]);
    assert_eq!(found.records[0].kind.as_deref(), Some("ADT^A08"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_refused_and_no_value_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let landing = Arc::<Landing>::default();
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &landing)]).await;
    let long = "1".repeat(257);
    for query in
        [Query::default(), by("mrn", " "), by("mrn", &long), Query { limit: Some(0), ..by("mrn", "1") }]
    {
        let refused = gateway.handle.search(query, "a test").await;
        assert!(matches!(refused, Err(Error::NotSearchable { .. })), "{refused:?}");
    }
    let shown = format!("{:?}", by("mrn", "ZQ700"));
    assert!(shown.contains("mrn") && !shown.contains("ZQ700"), "{shown}");
    gateway.stop().await;
}
