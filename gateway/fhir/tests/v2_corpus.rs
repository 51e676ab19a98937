//! The public test data: every message becomes a valid Bundle, and of the values next to none is left to the rest.
//! Skipped with a note where the data is not there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use std::collections::BTreeMap;

use support::{below, convert, corpus, maps};

/// Least share of values in elements, official or of our choice. What is missing stands in the rest and is listed.
const KEPT_SHARE_MIN: f64 = 0.99;

#[test]
fn every_message_is_a_valid_bundle_with_its_values() {
    let Some(folder) = corpus() else {
        println!("note: the corpus is not there");
        return;
    };
    let maps = maps();
    let (mut all, mut types) = (0, BTreeMap::<String, [usize; 5]>::new());
    let mut paths = Vec::new();
    below(&folder, &mut paths);
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        for part in hl7::split(&bytes) {
            let Ok(message) = hl7::Message::decode(part.to_vec(), None) else { continue };
            all += 1;
            let record = format!("clinical-1-{all}");
            let converted = match convert(&maps, &record, message.bytes()) {
                Ok(converted) => converted,
                Err(error) => panic!("{}: {error}", path.display()),
            };
            let found = fhir::validate::validate(converted.to_json().as_bytes());
            assert!(found.is_valid(), "{} part {all}: {:?}", path.display(), found.issues);
            let report = converted.report;
            assert_eq!(report.official + report.ours + report.rest, report.leaves, "{}", path.display());
            assert_eq!(report.unmapped.len(), report.rest, "{}", path.display());
            let row = types.entry(report.message_type).or_default();
            for (sum, n) in row.iter_mut().zip([1, report.leaves, report.official, report.ours, report.rest])
            {
                *sum += n;
            }
        }
    }
    let mut total = [0; 5];
    println!(
        "{:<10} {:>8} {:>8} {:>8} {:>6} {:>6}  in elements",
        "type", "messages", "values", "official", "ours", "rest"
    );
    let share = |row: &[usize; 5]| (row[2] + row[3]) as f64 / row[1].max(1) as f64;
    for (name, row) in &types {
        let [messages, values, official, ours, rest] = row;
        println!(
            "{name:<10} {messages:>8} {values:>8} {official:>8} {ours:>6} {rest:>6}  {:.2} %",
            100.0 * share(row)
        );
        for (sum, n) in total.iter_mut().zip(row) {
            *sum += n;
        }
    }
    println!("all: {total:?}, {:.2} % in elements", 100.0 * share(&total));
    assert!(all > 1_400, "only {all} messages");
    assert!(share(&total) >= KEPT_SHARE_MIN, "{:.4}", share(&total));
}
