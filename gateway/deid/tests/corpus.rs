//! Every message of the public test data under `safe-harbor` and `limited-data-set`, against a checker that
//! knows nothing of the engine. Skipped with a note where the data is not there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

mod support;

use std::collections::BTreeMap;

use deid::{Clinical, Policy};
use hl7::Message;
use support::{corpus, corpus_messages, policy, release};

/// Most messages that may be held under `safe-harbor`: every one needs a person.
const HELD_SHARE_MAX: f64 = 0.02;

/// The values of persons in a message: field by field, whole and by component. Written with `split` alone.
fn personal_values(message: &str) -> Vec<(String, String)> {
    const FIELDS: [(&str, &[usize]); 3] =
        [("PID", &[3, 5, 7, 9, 11, 13, 14, 18, 19]), ("NK1", &[2, 4, 5]), ("GT1", &[3, 5])];
    // What the law lets stay, or what says nothing of a person: authorities and kinds of numbers, prefixes of names,
    // states and countries, equipment of telephones.
    let harmless = |segment: &str, field: usize, component: usize| match (segment, field) {
        ("PID", 3 | 18) => component > 1,
        ("PID", 5 | 9) | ("NK1", 2) | ("GT1", 3) => (4..=8).contains(&component),
        ("PID", 11) | ("NK1", 4) | ("GT1", 5) => matches!(component, 4 | 6 | 7),
        ("PID", 13 | 14) | ("NK1", 5) => matches!(component, 2 | 3 | 5),
        _ => false,
    };
    let mut values = Vec::new();
    let mut delimiters = ('|', '^', '~', '&');
    for line in message.split(['\r', '\n']) {
        if let Some(header) = line.strip_prefix("MSH") {
            let mut c = header.chars();
            let mut next = || c.next().unwrap_or('|');
            let (field, component, repetition, _, sub) = (next(), next(), next(), next(), next());
            delimiters = (field, component, repetition, sub);
            continue;
        }
        let fields: Vec<&str> = line.split(delimiters.0).collect();
        let Some((segment, numbers)) = FIELDS.iter().find(|(name, _)| *name == fields[0]) else { continue };
        for number in *numbers {
            let Some(value) = fields.get(*number).filter(|v| !v.is_empty() && **v != "\"\"") else {
                continue;
            };
            let place = format!("{segment}-{number}");
            if value.chars().count() >= 3 && value.contains(delimiters.1) {
                values.push((place.clone(), (*value).to_owned()));
            }
            for repetition in value.split(delimiters.2) {
                for (n, component) in (1..).zip(repetition.split(delimiters.1)) {
                    for part in component.split(delimiters.3).filter(|_| !harmless(segment, *number, n)) {
                        if part.trim().chars().count() >= 3 && part != "\"\"" {
                            values.push((format!("{place}.{n}"), part.trim().to_owned()));
                        }
                    }
                }
            }
        }
    }
    values
}

/// Whether the value stands in the text and is not part of a longer word or number.
fn stands_in(text: &str, value: &str) -> bool {
    let alone = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(value).any(|(at, _)| {
        alone(text[..at].chars().next_back()) && alone(text[at + value.len()..].chars().next())
    })
}

#[test]
fn the_checker_finds_what_it_looks_for() {
    let message = "MSH|^~\\&|A\rPID|1||12345^^^H^MR||DOE^JANE||19620210|F|||1 Main^^Town^MA^02139";
    let values = personal_values(message);
    for expected in ["12345", "DOE", "JANE", "19620210", "1 Main", "Town", "02139"] {
        assert!(values.iter().any(|(_, v)| v == expected), "{expected}");
        assert!(stands_in(message, expected));
    }
    assert!(!values.iter().any(|(_, v)| v == "MA"));
    assert!(!stands_in("ABCDEF 123456", "ABC") && !stands_in("123456", "123"));
}

/// The same for a limited data set, where dates, cities and postal codes may stay.
#[test]
fn few_messages_are_held_as_a_limited_data_set() {
    let Some(folder) = corpus() else {
        println!("skipped: no test data (WARDGATE_CORPUS)");
        return;
    };
    let policy = policy("limited-data-set");
    let (mut read, mut held) = (0_u32, Vec::new());
    for (path, bytes) in corpus_messages(&folder) {
        let Ok(parsed) = Message::parse(bytes) else { continue };
        read += 1;
        if let Err(why) = release(&policy, &Clinical::Hl7(parsed)) {
            held.push(format!("{}: {why}", path.strip_prefix(&folder).unwrap().display()));
        }
    }
    println!("{read} messages, held {}\n{}", held.len(), held.join("\n"));
    assert!((held.len() as f64) < HELD_SHARE_MAX * f64::from(read));
}

#[test]
fn no_value_of_a_person_is_in_a_safe_harbor_release() {
    of_the_corpus_nobody_leaves(&policy("safe-harbor"));
}

/// Texts and documents of the corpus, scrubbed. What the gate stops goes without its texts.
#[test]
fn no_value_of_a_person_is_in_a_scrubbed_text() {
    let text = include_str!("../policies/safe-harbor.toml");
    let section = "[text]\nresults = \"scrub\"\nnotes = \"scrub\"\ndocuments = \"scrub\"\n\
                   acknowledged = \"scrubbed text may keep identifiers\"\n";
    of_the_corpus_nobody_leaves(
        &Policy::compile("own", &format!("{text}\n{section}"), support::now()).unwrap(),
    );
}

fn of_the_corpus_nobody_leaves(policy: &Policy) {
    let Some(folder) = corpus() else {
        println!("skipped: no test data (WARDGATE_CORPUS)");
        return;
    };
    let messages = corpus_messages(&folder);
    assert!(messages.len() > 1_000, "{}", messages.len());
    let (mut leaks, mut texts) = (Vec::new(), BTreeMap::<String, u32>::new());
    let (mut read, mut held) = (0_u32, BTreeMap::<&str, Vec<String>>::new());
    for (path, bytes) in &messages {
        let Ok(parsed) = Message::parse(bytes.clone()) else { continue };
        read += 1;
        let release = match release(policy, &Clinical::Hl7(parsed)) {
            Ok(release) => release,
            Err(why) => {
                let file = path.strip_prefix(&folder).unwrap().display();
                held.entry(why.why.as_str()).or_default().push(format!("{file}: {why}"));
                continue;
            }
        };
        for (rule, count) in release.rules().iter().filter(|(rule, _)| rule.starts_with(['t', 'd'])) {
            *texts.entry(rule.clone()).or_default() += count;
        }
        let released = String::from_utf8(release.payload().to_vec()).unwrap();
        Message::parse(release.payload().to_vec()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (place, value) in personal_values(&String::from_utf8_lossy(bytes)) {
            // The year of a birth may stay.
            if stands_in(&released, &value) && !(place.starts_with("PID-7") && value.len() == 4) {
                leaks.push(format!(
                    "{}: {place} {value} in\n{}",
                    path.display(),
                    released.replace('\r', "\n")
                ));
            }
        }
        let envelope =
            serde_json::to_string(&(&release.as_released().message_type, &release.as_released().peer))
                .unwrap();
        assert!(!envelope.contains("ZQPEER7"));
        assert_eq!(release.as_released().control_id, None);
    }
    let share = f64::from(held.values().map(|v| v.len() as u32).sum::<u32>()) / f64::from(read);
    println!("{read} messages, held {:.2} %, {texts:?}", share * 100.0);
    for (why, files) in &held {
        println!("  {why}: {}", files.len());
        files.iter().for_each(|file| println!("    {file}"));
    }
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks.join("\n"));
    assert!(share < HELD_SHARE_MAX, "held {:.2} %", share * 100.0);
}
