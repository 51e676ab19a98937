//! Documents within records: what is read leaves as scrubbed plain text, what is not read does not leave.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deid::{Clinical, Policy};
use serde_json::{Value, json};
use support::{message, release, serialised};

const SCRUB: &str = "[text]\ndocuments = \"scrub\"\nacknowledged = \"scrubbed text may keep identifiers\"\n";
const RTF: &str = r"{\rtf1\ansi{\info{\author Featherstone}} Mr. {\b Quor}vane, 617-555-0143,\par is well on 3/14/2019. Potassium 4.1.}";
const PLAIN: &str = "Mr. Quorvane, 617-555-0143,\nis well on 3/14/2019. Potassium 4.1.";
const CDA: &str = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><recordTarget><patientRole><id extension="ZQ-5581"/><patient><name>
    <given>Hollis</given><family>Wrenfield</family></name></patient></patientRole></recordTarget><component><structuredBody><component>
    <section><title>Course</title><text>wrenfield, number 5581, and Quorvane are well. Potassium 4.1.</text></section></component></structuredBody>
    </component></ClinicalDocument>"#;
/// Nothing of these may be in a release, written or encoded.
const NEEDLES: [&str; 8] =
    ["quorvane", "wrenfield", "hollis", "5581", "featherstone", "0143", "3/14/2019", "7781"];

fn policy() -> Policy {
    let text =
        std::fs::read_to_string(format!("{}/policies/safe-harbor.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    Policy::compile("own", &format!("{text}\n{SCRUB}"), support::now()).unwrap()
}

fn hl7(value: &str) -> Clinical {
    message(
        format!(
            "MSH|^~\\&|LAB|W|E|M|20260301||MDM^T02|1|P|2.5\rPID|1||77812^^^W^MR||Quorvane^William||19610307\r\
             OBX|1|ED|11506-3^Note^LN||{value}||||||F\r"
        )
        .as_bytes(),
    )
}

/// OBX-5 as it left, and what was counted.
fn sent(value: &str) -> (String, Vec<(String, u32)>) {
    let release = release(&policy(), &hl7(value)).unwrap();
    let payload = String::from_utf8(release.payload().to_vec()).unwrap();
    let (_, obx) = payload.split_once("\rOBX").unwrap();
    (obx.trim_end().split('|').nth(5).unwrap_or_default().to_owned(), release.rules().to_vec())
}

fn decoded(data: &str) -> String {
    let text = String::from_utf8(STANDARD.decode(data).unwrap()).unwrap();
    let lower = text.to_lowercase();
    for needle in NEEDLES {
        assert!(!lower.contains(needle), "{needle} in {text}");
    }
    text
}

fn counted(rules: &[(String, u32)], name: &str) -> u32 {
    rules.iter().find(|(rule, _)| rule == name).map_or(0, |(_, count)| *count)
}

#[test]
fn documents_of_messages_leave_as_scrubbed_plain_text() {
    let hex: String = PLAIN.bytes().map(|b| format!("{b:02x}")).collect();
    let wrapped = STANDARD
        .encode(RTF)
        .as_bytes()
        .chunks(40)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join("\\.br\\");
    for value in [
        format!("LAB^AP^RTF^Base64^{}", STANDARD.encode(RTF)),
        format!("^TEXT^PLAIN^Base64^{}", STANDARD.encode(PLAIN)),
        format!("^TX^^Hex^{hex}"),
        format!("^application^rtf^Base64^{wrapped}"),
        format!("^TEXT^^A^{}", PLAIN.replace('\n', "\\.br\\")),
    ] {
        let (sent, rules) = sent(&value);
        let data = sent.strip_prefix("^TEXT^PLAIN^Base64^").unwrap_or_else(|| panic!("{sent} of {value}"));
        let text = decoded(data);
        assert!(text.contains("is well on [DATE]") && text.contains("Potassium 4.1."), "{text}");
        assert_eq!(counted(&rules, "document"), 1);
        assert!(counted(&rules, "text-date-date") == 1, "{rules:?}");
    }
    let (sent, _) = sent(&format!("^TEXT^x-hl7-cda-level-one^Base64^{}", STANDARD.encode(CDA)));
    let text = decoded(sent.strip_prefix("^TEXT^PLAIN^Base64^").unwrap());
    assert_eq!(text, "Course\n[NAME], number [ID], and [NAME] are well. Potassium 4.1.\n");
}

#[test]
fn what_names_nobody_is_the_same_text() {
    let text = "Potassium 4.1, pulse 72.\r\n\tStable — no fever.\r\n";
    let (sent, _) = sent(&format!("^TEXT^PLAIN^Base64^{}", STANDARD.encode(text)));
    assert_eq!(decoded(sent.strip_prefix("^TEXT^PLAIN^Base64^").unwrap()), text);
}

#[test]
fn documents_that_are_not_read_do_not_leave() {
    for value in [
        format!("^AP^PDF^Base64^{}", STANDARD.encode("%PDF-1.7 Quorvane")),
        format!("^IM^JPEG^Base64^{}", STANDARD.encode(b"\xFF\xD8\xFF\xE0\0\x10JFIF\0Quorvane")),
        format!("^TEXT^HTML^Base64^{}", STANDARD.encode("<html>Quorvane</html>")),
        format!("^TEXT^PLAIN^Base64^{}*", STANDARD.encode(PLAIN)),
        format!("^TEXT^PLAIN^uuencode^{}", STANDARD.encode(PLAIN)),
        "^TEXT^PLAIN^Hex^abc".to_owned(),
        "Quorvane".to_owned(),
        "^TEXT^PLAIN".to_owned(),
        format!("^TEXT^PLAIN^Base64^{}", STANDARD.encode("Quorvane ".repeat(130_000))),
    ] {
        let (sent, rules) = sent(&value);
        assert_eq!(sent, "", "{}", value.get(..60).unwrap_or(&value));
        assert_eq!(counted(&rules, "document-unread"), 1, "{rules:?}");
    }
    // References to documents elsewhere, and by default all of them.
    let raw = "MSH|^~\\&|LAB|W|E|M|20260301||MDM^T02|1|P|2.5\rPID|1||77812||Quorvane^William\rOBX|1|RP|11506-3^^LN||quorvane.pdf^^AP^PDF\r";
    let sent = release(&policy(), &message(raw.as_bytes())).unwrap();
    assert!(!serialised(&sent).to_lowercase().contains("quorvane"));
    let plain = release(
        &support::policy("safe-harbor"),
        &hl7(&format!("^TEXT^PLAIN^Base64^{}", STANDARD.encode("well"))),
    )
    .unwrap();
    assert!(
        String::from_utf8_lossy(plain.payload()).trim_end().ends_with("||||||||F"),
        "{}",
        support::lines(&plain)
    );
}

fn fhir(kind: &'static str, json: &Value) -> Value {
    let clinical = Clinical::Fhir { resource_type: kind, raw: json.to_string().into_bytes().into() };
    let release = release(&policy(), &clinical).unwrap_or_else(|held| panic!("{held}"));
    serde_json::from_slice(release.payload()).unwrap()
}

fn bundle(content_type: &str, bytes: &[u8]) -> Value {
    let attachment = json!({ "contentType": content_type, "data": STANDARD.encode(bytes), "url": "http://quorvane.example/",
        "title": "Quorvane", "creation": "2019-03-14", "size": 7, "hash": "cXVvcnZhbmU=" });
    json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "resource": { "resourceType": "Patient", "name": [{ "family": "Quorvane", "given": ["William"] }],
            "identifier": [{ "value": "77812" }] } },
        { "resource": { "resourceType": "DocumentReference", "status": "current", "content": [{ "attachment": attachment }] } },
        { "resource": { "resourceType": "Binary", "contentType": content_type, "data": STANDARD.encode(bytes) } },
    ] })
}

#[test]
fn documents_of_fhir_leave_as_scrubbed_plain_text_or_not_at_all() {
    for (content_type, bytes) in
        [("text/plain", PLAIN), ("text/rtf", RTF), ("application/rtf; charset=x", RTF), ("text/xml", CDA)]
    {
        let sent = fhir("Bundle", &bundle(content_type, bytes.as_bytes()));
        let attachment = &sent["entry"][1]["resource"]["content"][0]["attachment"];
        let binary = &sent["entry"][2]["resource"];
        for document in [attachment, binary] {
            assert_eq!(document["contentType"], "text/plain; charset=utf-8");
            let text = decoded(document["data"].as_str().unwrap());
            assert!(text.contains("Potassium 4.1."), "{text}");
        }
        assert_eq!(attachment.as_object().unwrap().len(), 2, "{attachment}");
        for needle in NEEDLES {
            assert!(!sent.to_string().to_lowercase().contains(needle), "{needle}");
        }
    }
    for (content_type, bytes) in [
        ("application/pdf", &b"%PDF-1.7 Quorvane"[..]),
        ("image/png", b"\x89PNG Quorvane"),
        ("text/html", b"<html>Quorvane</html>"),
    ] {
        let sent = fhir("Bundle", &bundle(content_type, bytes));
        let text = sent.to_string();
        assert!(!text.contains("\"data\":") && !text.to_lowercase().contains("quorvane"), "{text}");
        assert!(text.contains("masked"), "what R4 requires is masked: {text}");
    }
    let shapeless = json!({ "resourceType": "Binary", "contentType": "text/plain", "data": "***" });
    assert!(fhir("Binary", &shapeless).get("data").is_none());
}
