//! Messages of every family, with where each value went, and two Bundles whole. `INSTA_UPDATE=always` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;

use support::{convert, families, fixtures, maps};

/// Everything of a report but its paths' order, which is the message's.
fn account(report: &fhir::v2::Report) -> String {
    let mut out = format!(
        "{}: {} values, {} official, {} ours, {} rest\n",
        report.message_type, report.leaves, report.official, report.ours, report.rest
    );
    for kept in &report.kept {
        writeln!(out, "{} -> {} {}", kept.from, kept.to, kept.way.as_str()).unwrap();
    }
    for unmapped in &report.unmapped {
        writeln!(out, "{} -- {}", unmapped.from, unmapped.reason).unwrap();
    }
    out
}

#[test]
fn every_family_goes_where_its_golden_file_says() {
    let maps = maps();
    let families = families();
    assert!(families.len() >= 8);
    for (name, bytes) in families {
        let converted = convert(&maps, "clinical-1-1", &bytes).unwrap();
        insta::assert_snapshot!(format!("account-{name}"), account(&converted.report));
    }
}

#[test]
fn two_bundles_whole() {
    let maps = maps();
    for (name, bytes) in fixtures() {
        if matches!(name.as_str(), "adt-a01" | "oru-r01") {
            let json = convert(&maps, "clinical-1-1", &bytes).unwrap().to_json();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            insta::assert_snapshot!(
                format!("bundle-{name}"),
                serde_json::to_string_pretty(&sorted(value)).unwrap()
            );
        }
    }
}

/// Members by name, whichever way `serde_json` keeps them in this build.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(members) => {
            let mut members: Vec<_> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            serde_json::Value::Object(members.into_iter().collect())
        }
        serde_json::Value::Array(elements) => elements.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn every_fixture_is_a_valid_bundle_and_comes_out_the_same_again() {
    let maps = maps();
    for (name, bytes) in fixtures().into_iter().chain(families()) {
        for part in hl7::split(&bytes) {
            let once = convert(&maps, "clinical-1-7", part).unwrap().to_json();
            let found = fhir::validate::validate(once.as_bytes());
            assert!(found.is_valid(), "{name}: {:?}", found.issues);
            assert_eq!(once, convert(&maps, "clinical-1-7", part).unwrap().to_json(), "{name}");
        }
    }
}
