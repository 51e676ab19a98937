//! HL7 v2 to FHIR R4 in the eyes of others: `tests/fhir`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::path::Path;

use serde_json::Value;
use system_tests::{fixtures, peers, site};

/// Of a hundred leaf values of the corpus, at least so many stand where the official map puts them, or in some element
/// where it names none.
const KEPT_PERCENT_MIN: &str = "98";
/// Texts of the corpus that begin with MSH and are no message.
const REFUSED_MAX: &str = "1";
/// The slowest validator sees one in so many Bundles of the corpus; with `WARDGATE_FHIR_EVERY=1` it sees all, as in
/// `cargo xtask torture`. Of the fixtures it always sees all.
const HAPI_EVERY: &str = "4";

/// The same of releases, of which there are two for each resource.
const HAPI_EVERY_RELEASE: &str = "16";

#[track_caller]
fn judged(name: &str, arguments: &[&str]) -> String {
    let out = peers::fhir_judge(name, arguments);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    println!("{text}");
    assert!(out.status.success(), "{name}: {}", site::shown(&out));
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Each sown fault is found by one of the validators at least, and none of them has gone blind.
#[test]
fn validators_find_what_is_wrong() {
    let found = judged("faults.py", &[]);
    assert!(found.contains("found of 51"), "{found}");
}

/// The counter of coverage finds planted losses and moves.
#[test]
fn the_counter_finds_what_is_lost() {
    judged("selftest.py", &[]);
}

#[test]
fn every_bundle_of_a_fixture_is_valid() {
    let mut bundles = Vec::new();
    for entry in std::fs::read_dir(fixtures::hl7()).unwrap() {
        let path = entry.unwrap().path();
        let out = site::filter(&peers::wardgate(), &["hl7", "fhir"], &std::fs::read(&path).unwrap());
        assert!(!out.stdout.is_empty(), "{}: {}", path.display(), site::shown(&out));
        bundles.extend(out.stdout);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bundles.ndjson");
    std::fs::write(&file, bundles).unwrap();
    judged("validate.py", &[text(&file)]);
}

#[test]
fn of_the_corpus_values_are_kept_and_every_bundle_is_valid() {
    let Some(corpus) = peers::corpus() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (file, maps, messages) =
        (dir.path().join("bundles.ndjson"), corpus.join("v2-to-fhir/mappings"), corpus.join("hl7"));
    let wardgate = peers::wardgate();
    let mut arguments = vec!["--maps", text(&maps), "--wardgate", text(&wardgate), "--keep", text(&file)];
    arguments.extend(["--least", KEPT_PERCENT_MIN, "--refused-max", REFUSED_MAX, text(&messages)]);
    judged("coverage.py", &arguments);
    let every = std::env::var("WARDGATE_FHIR_EVERY").unwrap_or_else(|_| HAPI_EVERY.to_owned());
    judged("validate.py", &["--hapi-every", &every, text(&file)]);
}

/// What the built-in policies leave of FHIR is still FHIR: of Bundles made of the fixtures, and of the public Bundles whole
/// and resource by resource. `links` has no say: a release leads to what was sent before.
#[test]
fn every_release_is_valid() {
    let mut resources = Vec::new();
    for entry in std::fs::read_dir(fixtures::hl7()).unwrap() {
        let path = entry.unwrap().path();
        let out = site::filter(&peers::wardgate(), &["hl7", "fhir"], &std::fs::read(&path).unwrap());
        resources.extend(out.stdout);
    }
    if let Some(corpus) = peers::corpus() {
        for entry in std::fs::read_dir(corpus.join("fhir-r4")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "json") {
                continue;
            }
            let bundle: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let entries = bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]);
            for resource in std::iter::once(&bundle).chain(entries) {
                resources.extend(resource.to_string().into_bytes());
                resources.push(b'\n');
            }
        }
    }
    let count = resources.iter().filter(|byte| **byte == b'\n').count();
    let mut releases = Vec::new();
    for policy in ["safe-harbor", "limited-data-set"] {
        let arguments = ["deid", "run", "--policy", policy, "--format", "fhir"];
        let out = site::filter(&peers::wardgate(), &arguments, &resources);
        assert!(out.status.success(), "{policy}: {}", site::shown(&out));
        assert_eq!(out.stdout.iter().filter(|byte| **byte == b'\n').count(), count, "{policy} releases all");
        releases.extend(out.stdout);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("releases.ndjson");
    std::fs::write(&file, releases).unwrap();
    let every = std::env::var("WARDGATE_FHIR_EVERY").unwrap_or_else(|_| HAPI_EVERY_RELEASE.to_owned());
    judged("validate.py", &["--only", "hapi,schema,medplum,fhir", "--hapi-every", &every, text(&file)]);
}

/// What `wardgate audit export` makes of a gateway's own entries.
#[test]
fn every_audit_event_is_valid() {
    let site = site::Site::small();
    let (mut gateway, mut landing) = site.start();
    gateway.stop();
    landing.stop();
    let out = site.wardgate(&["audit", "export", "--config", "gateway.toml", "--format", "fhir"]);
    assert!(out.status.success() && !out.stdout.is_empty(), "{}", site::shown(&out));
    let file = site.dir.join("events.ndjson");
    std::fs::write(&file, out.stdout).unwrap();
    judged("validate.py", &[text(&file)]);
}
