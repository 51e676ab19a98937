//! HL7 v2 to FHIR R4 in the eyes of others: `tests/fhir`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

use system_tests::{peers, site};

#[track_caller]
fn judged(name: &str, arguments: &[&str]) -> String {
    let out = peers::fhir_judge(name, arguments);
    assert!(out.status.success(), "{name}: {}", site::shown(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    println!("{text}");
    text
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
