//! Who belongs to a patient, a visit, an order, a message, a type or a time is found on the box, and nothing that was
//! searched for stands anywhere.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use system_tests::mllp::accepted;
use system_tests::site::{Site, shown};
use system_tests::{fixtures, hl7, wait};

/// Of these patients there are three messages each.
const PATIENTS: u64 = 6;

fn search(site: &Site, asked: &[&str]) -> Value {
    site.json(&[&["search", "--config", "gateway.toml", "--json"], asked].concat())
}

fn ids(site: &Site, asked: &[&str]) -> Vec<String> {
    let found = search(site, asked);
    assert_eq!(found["left_out"], Value::Array(Vec::new()), "{found}");
    let records = found["records"].as_array().unwrap();
    records.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

fn sidecars(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.data().join("spool/logs/clinical")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "idx"));
    paths.sort();
    paths
}

/// For each patient an admission, a result, and a large result, so that the log is of several segments.
fn fill(site: &Site) {
    for n in 1..=PATIENTS {
        accepted(site.ports.mllp, &hl7::admission(&format!("adm-{n}"), n));
        accepted(site.ports.mllp, &hl7::observation(&format!("obs-{n}"), n));
        accepted(site.ports.mllp, &hl7::large(&format!("doc-{n}"), n));
    }
}

fn everything_is_found(site: &Site) {
    for n in 1..=PATIENTS {
        let [_, _, mrn, ..] = hl7::identifiers(n);
        let of = |place: u64| format!("clinical-1-{}", 3 * (n - 1) + place);
        assert_eq!(ids(site, &["--mrn", &mrn]), [of(3), of(2), of(1)]);
        assert_eq!(ids(site, &["--visit", &format!("V{mrn}")]), [of(1)]);
        assert_eq!(ids(site, &["--order", &format!("doc-{n}")]), [of(3)]);
        assert_eq!(ids(site, &["--control-id", &format!("obs-{n}")]), [of(2)]);
        assert_eq!(ids(site, &["--mrn", &mrn, "--type", "ORU^R01"]), [of(3), of(2)]);
    }
    assert_eq!(ids(site, &["--type", "ADT"]).len() as u64, PATIENTS);
    assert_eq!(ids(site, &["--mrn", "7700000013", "--type", "SIU"]), [] as [&str; 0]);
    assert_eq!(ids(site, &["--from", "2026-01-01T00:00:00Z"]).len() as u64, 3 * PATIENTS);
    assert_eq!(ids(site, &["--to", "2026-01-01T00:00:00Z"]), [] as [&str; 0]);
    let newest = search(site, &["--feed", "adt", "--limit", "2"]);
    assert_eq!((newest["records"].as_array().unwrap().len(), &newest["is_limited"]), (2, &Value::Bool(true)));
}

/// Files below a folder that hold any of these.
fn naming(dir: &Path, needles: &[String]) -> Vec<PathBuf> {
    let files = fixtures::files(dir).into_iter();
    files.filter(|(_, bytes)| !fixtures::found(bytes, needles).is_empty()).map(|(path, _)| path).collect()
}

#[test]
fn records_are_found_by_patient_visit_order_message_type_and_time_whatever_becomes_of_the_index() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    site.write();
    let mut gateway = site.start_gateway();
    fill(&site);
    // Before, during and after the index is made the answer is the same.
    everything_is_found(&site);
    wait::until("the sealed segments to be indexed", || (!sidecars(&site).is_empty()).then_some(()));
    everything_is_found(&site);
    gateway.kill();
    // One is lost, one is garbled: both are made anew, and nothing is missing meanwhile.
    let found = sidecars(&site);
    std::fs::remove_file(&found[0]).unwrap();
    if let Some(other) = found.get(1) {
        let mut bytes = std::fs::read(other).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(other, bytes).unwrap();
    }
    let mut gateway = site.start_gateway();
    everything_is_found(&site);
    wait::until("the lost sidecar to be made anew", || found[0].exists().then_some(()));
    everything_is_found(&site);

    let nothing = site.wardgate(&["search", "--config", "gateway.toml"]);
    assert_eq!(nothing.status.code(), Some(2), "{}", shown(&nothing));
    let text = site.wardgate(&["search", "--config", "gateway.toml", "--control-id", "adm-1"]);
    assert!(shown(&text).contains("clinical-1-1") && shown(&text).contains("ADT^A01"), "{}", shown(&text));
    let empty = site.wardgate(&["search", "--config", "gateway.toml", "--mrn", " "]);
    assert_eq!(empty.status.code(), Some(1), "{}", shown(&empty));

    // That somebody searched, and by what kind of id, is on record; what he searched for is nowhere.
    let entries = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    assert!(shown(&entries).contains("by mrn"), "{}", shown(&entries));
    gateway.stop();
    let needles: Vec<String> =
        (1..=PATIENTS).flat_map(|n| [hl7::identifiers(n)[2].clone(), format!("obs-{n}")]).collect();
    assert_eq!(naming(&site.data(), &needles), [] as [PathBuf; 0]);
    assert!(fixtures::found(gateway.log().as_bytes(), &needles).is_empty());
    assert!(fixtures::found(&entries.stdout, &needles).is_empty());
}
