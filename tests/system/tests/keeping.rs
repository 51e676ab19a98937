//! How long records are kept, and what becomes of those that nobody takes in time or that the disk has damaged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::PathBuf;

use serde_json::Value;
use system_tests::mllp::accepted;
use system_tests::site::{Destination, Site, shown};
use system_tests::{hl7, readers, wait};

fn segments(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.data().join("spool/logs/clinical")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    paths.sort();
    paths
}

fn trace(site: &Site, id: &str) -> Value {
    site.json(&["trace", id, "--config", "gateway.toml", "--json"])
}

/// What became of a record at the lake, and why.
fn fate(site: &Site, id: &str) -> (String, Option<String>) {
    let trace = trace(site, id);
    let fate = &trace["destinations"][0];
    let text = |key: &str| fate[key].as_str().map(str::to_owned);
    (text("outcome").unwrap(), text("reason"))
}

fn seqs(site: &Site, destination: &str) -> Vec<u64> {
    readers::rows(&site.root(destination), "raw").iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

fn skipped(site: &Site) -> u64 {
    readers::rows(&site.root("lake"), "ledger").iter().map(|batch| batch["skipped"].as_u64().unwrap()).sum()
}

#[test]
fn what_nobody_takes_in_time_is_given_up_and_said_so_everywhere() {
    let mut site = Site::small();
    site.spool = "clinical_age_s_max = 3".to_owned();
    site.write();
    let mut gateway = site.start_gateway();
    for n in 1..=3 {
        accepted(site.ports.mllp, &hl7::observation(&format!("age-{n}"), n));
    }
    assert_eq!(fate(&site, "clinical-1-2").0, "pending");
    wait::until("the first three to be given up", || {
        (fate(&site, "clinical-1-3").0 == "given-up").then_some(())
    });
    assert!(gateway.log().contains("are given up"), "{}", gateway.tail());
    let text = site.wardgate(&["trace", "clinical-1-1", "--config", "gateway.toml"]);
    assert!(shown(&text).contains("within the age limit"), "{}", shown(&text));
    // Decided is decided, also after a kill; what comes later has its own time.
    gateway.kill();
    let mut gateway = site.start_gateway();
    assert_eq!(fate(&site, "clinical-1-3").0, "given-up");
    let mut landing = site.start_landing();
    // When it has been told of the gap, and not before: what comes in while nobody is there grows old as well.
    site.drained();
    accepted(site.ports.mllp, &hl7::observation("age-4", 4));
    site.drained();
    assert_eq!(seqs(&site, "lake"), [4]);
    assert_eq!(skipped(&site), 3);
    assert_eq!(fate(&site, "clinical-1-2"), ("skipped".to_owned(), Some("expired".to_owned())));
    let (_, metrics) = system_tests::http::get(site.ports.operations, "/metrics").unwrap();
    let counted = "wardgate_skipped_total{destination=\"lake\",lane=\"clinical\",reason=\"expired\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn what_everybody_has_goes_after_its_time_and_not_before() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576\nretention_after_delivery_s = 2".to_owned();
    site.roots.push(Destination::new("late", "treatment"));
    let (mut gateway, mut landing) = site.start();
    for n in 1..=10 {
        accepted(site.ports.mllp, &hl7::large(&format!("keep-{n}"), n));
    }
    site.drained();
    // Something has to happen for the log to look at its clock; that is once a minute, or when a cursor moves.
    let mut n = 10;
    let first = segments(&site).remove(0);
    wait::until("the first segment to go", || {
        n += 1;
        accepted(site.ports.mllp, &hl7::observation(&format!("keep-{n}"), n));
        site.drained();
        (!first.exists()).then_some(())
    });
    let gone = trace(&site, "clinical-1-1");
    assert_eq!((&gone["arrival"], &gone["destinations"][0]["outcome"]), (&Value::Null, &"landed".into()));
    let out = site.wardgate(&["trace", "clinical-1-1", "--config", "gateway.toml"]);
    assert!(shown(&out).contains("no longer kept on this box"), "{}", shown(&out));
    let out = site.wardgate(&["replay", "clinical-1-1", "--to", "lake", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    // A destination that begins with the oldest gets what is still there, and the account is whole.
    site.destinations.push(Destination::new("late", "treatment"));
    site.write();
    gateway.stop();
    let mut gateway = site.start_gateway();
    site.drained();
    let late = seqs(&site, "late");
    assert!(late[0] > 1 && late.last() == Some(&n), "{late:?}");
    assert_eq!(late, (late[0]..=n).collect::<Vec<_>>());
    assert_eq!(seqs(&site, "lake"), (1..=n).collect::<Vec<_>>());
    gateway.stop();
    landing.stop();
    for destination in ["lake", "late"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}

#[test]
fn a_damaged_record_is_named_skipped_and_delivery_goes_on() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    site.write();
    let mut gateway = site.start_gateway();
    for n in 1..=12 {
        accepted(site.ports.mllp, &hl7::large(&format!("rot-{n}"), n));
    }
    gateway.stop();
    // A bit rots in the middle of the first segment's second record, and the second segment is gone.
    let paths = segments(&site);
    let mut bytes = std::fs::read(&paths[0]).unwrap();
    let at = 8192 + 204_800 + 100_000;
    bytes[at] ^= 1;
    std::fs::write(&paths[0], bytes).unwrap();
    std::fs::remove_file(&paths[1]).unwrap();
    let verify =
        |more: &[&str]| site.wardgate(&[&["spool", "verify", "--config", "gateway.toml"], more].concat());
    let out = verify(&[]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    let text = shown(&out);
    assert!(text.contains("rot") && text.contains("record 2"), "{text}");
    assert!(text.contains("missing") && text.contains("records 6 to 10"), "{text}");
    for more in [&["--json"][..], &["--json", "--without-key"]] {
        let out = verify(more);
        assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        let found: Vec<(String, u64, u64)> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| {
                let kind = f["fault"].as_str().unwrap().to_owned();
                (kind, f["records"]["first"].as_u64().unwrap(), f["records"]["last"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(found, [("rot".to_owned(), 2, 2), ("missing".to_owned(), 6, 10)], "{report}");
    }
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("rot-13", 13));
    site.drained();
    assert_eq!(seqs(&site, "lake"), [1, 3, 4, 5, 11, 12, 13]);
    assert_eq!(skipped(&site), 6);
    for id in ["clinical-1-2", "clinical-1-6", "clinical-1-10"] {
        assert_eq!(fate(&site, id), ("skipped".to_owned(), Some("quarantined".to_owned())), "{id}");
    }
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
}
