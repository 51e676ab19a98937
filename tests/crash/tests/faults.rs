//! The faults that need a disk of our own: power cuts on ext4, XFS and btrfs, a full disk, a failing one. And the
//! proof that the harness finds what is at fault.
//!
//! Counts are for every change; `cargo xtask torture --only faults` runs the same programs with those of a release.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use serde_json::Value;

/// Power cuts for every change; each with a second one in recovery or just after.
const CUTS: [(&str, u64); 3] = [("ext4", 120), ("xfs", 40), ("btrfs", 40)];

fn power_cuts(words: &[&str]) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_power-cuts")).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    println!("{words:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
    let last = text.lines().last().unwrap_or_else(|| panic!("{words:?} said nothing: {out:?}"));
    serde_json::from_str(last).unwrap()
}

fn cut(file_system: &str, kind: &str, trials: u64) -> Value {
    let trials = trials.to_string();
    power_cuts(&["cut", "--file-system", file_system, "--kind", kind, "--trials", &trials, "--seed", "1"])
}

#[test]
fn what_was_acknowledged_survives_power_cuts_on_three_file_systems() {
    // They wait for each other's disks less than for their own.
    let tallies: Vec<Value> = std::thread::scope(|scope| {
        let started =
            CUTS.map(|(file_system, trials)| scope.spawn(move || cut(file_system, "spool", trials)));
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for ((_, trials), tally) in CUTS.into_iter().zip(tallies) {
        assert_eq!((&tally["failed"], &tally["trials"]), (&0.into(), &trials.into()), "{tally}");
        // It did cut while something was under way, and asked for much.
        assert_eq!(tally["second_cuts"], trials, "{tally}");
        assert!(tally["second_cuts_in_recovery"].as_u64().unwrap() > trials / 4, "{tally}");
        assert!(tally["demanded"].as_u64().unwrap() > trials * 20, "{tally}");
        assert!(tally["unflushed_pages"]["lost"].as_u64().unwrap() > trials, "{tally}");
        assert!(tally["unflushed_pages"]["torn"].as_u64().unwrap() > 0, "{tally}");
    }
}

#[test]
fn the_harness_finds_what_bare_sled_loses() {
    let tally = cut("ext4", "bare-sled", 40);
    assert!(tally["failed"].as_u64().unwrap() >= 4, "{tally}");
}

#[test]
fn the_harness_finds_an_acknowledgement_before_the_sync() {
    let tally = cut("ext4", "spool-unsynced", 12);
    assert!(tally["failed"].as_u64().unwrap() >= 6, "{tally}");
}

#[test]
fn a_disk_that_gets_full_loses_nothing_and_opens_while_it_is_full() {
    let tally = power_cuts(&["full", "--cases", "20"]);
    assert_eq!((&tally["failures"], &tally["cases"]), (&Value::Array(Vec::new()), &20.into()));
    assert!(tally["refusals"].as_u64().unwrap() > 100, "{tally}");
}

#[test]
fn a_call_that_fails_loses_nothing() {
    let tally = power_cuts(&["failing", "--upto", "3"]);
    assert_eq!((&tally["failures"], &tally["cases"]), (&Value::Array(Vec::new()), &63.into()));
    // The first calls of a kind are those of opening: then it declines. Either way somebody noticed.
    let noticed = ["declined_to_open", "refusals"].map(|what| tally[what].as_u64().unwrap());
    assert!(noticed.iter().sum::<u64>() > 20, "{tally}");
    // Among them those at which sled closes its file on a disk that refuses to sync: an error, and no panic.
    let tally = power_cuts(&["failing", "--calls", "fsync", "--upto", "9", "--every"]);
    assert_eq!(tally["failures"], Value::Array(Vec::new()), "{tally}");
    assert!(tally["declined_to_open"].as_u64().unwrap() > 0, "{tally}");
}
