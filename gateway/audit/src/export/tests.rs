use super::*;
use model::{AuditAction, AuditEvent, Timestamp};

fn exported(action: AuditAction, detail: &str, check: impl FnOnce(&Exported<'_>)) {
    let event = AuditEvent {
        at: Timestamp::from_micros(1_795_000_000_123_456),
        actor: "ada <\"admin\"> & co".to_owned(),
        action,
        subject: "clinical-1-42".to_owned(),
        detail: detail.to_owned(),
    };
    let entry = Entry::after(&Hash::ZERO, event);
    let leaf = Hash::leaf(&entry.encode().unwrap());
    check(&Exported { gateway: &"ward-3".parse().unwrap(), index: 41, leaf, entry: &entry });
}

#[test]
fn each_form_says_all() {
    exported(AuditAction::RecordReplayed, "released to lake\u{1}", |exported| {
        insta::assert_snapshot!("json", json_line(exported, Some(&[Hash::ZERO])));
        insta::assert_snapshot!("fhir", serde_json::to_string_pretty(&audit_event(exported)).unwrap());
        insta::assert_snapshot!("atna", audit_message(exported).replace("><", ">\n<"));
        insta::assert_snapshot!("syslog", syslog::message(exported, syslog::Body::Json));
    });
}

#[test]
fn a_leaf_of_the_json_hashes_to_what_it_says() {
    exported(AuditAction::Claimed, "x", |exported| {
        use base64::Engine as _;
        let line: serde_json::Value = serde_json::from_str(&json_line(exported, None)).unwrap();
        let leaf = base64::engine::general_purpose::STANDARD.decode(line["leaf"].as_str().unwrap()).unwrap();
        assert_eq!(Hash::leaf(&leaf).to_string(), line["leaf_sha256"].as_str().unwrap());
        assert_eq!(Entry::decode(&leaf).unwrap(), *exported.entry);
    });
}

#[test]
fn a_frame_is_as_long_as_it_says() {
    exported(AuditAction::SignInFailed, "größer", |exported| {
        let frame = syslog::framed(exported, syslog::Body::Atna);
        let text = String::from_utf8(frame).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert!(message.starts_with("<108>1 2026-11-18T"), "{message}");
        assert!(message.contains(" ward-3 wardgate - IHE+RFC-3881 [audit@32473 "), "{message}");
    });
}
