//! Everything that an independent client sends is in the lake: under `treatment` byte by byte, under `safe-harbor`
//! without a name, a number or a date of anybody.
//!
//! What is sent: `tests/fixtures/hl7`, and the public samples of `../shared/corpus` where they are. Sender, splitter,
//! parser and readers are Python and share no code with us.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use system_tests::mllp::Known;
use system_tests::site::{self, Site};
use system_tests::{fixtures, peers, readers};

/// Of a hundred messages, at most so many may wait for a person.
const HELD_PERCENT_MAX: usize = 3;
/// Words of our own log lines that are somebody's name in the samples.
const OUR_WORDS: [&str; 2] = ["field", "name"];

/// What goes over one connection, each in its order: the fixtures, and two halves of the corpus.
fn shares() -> Vec<Vec<PathBuf>> {
    let mut shares = vec![vec![fixtures::hl7()]];
    if let Some(corpus) = peers::corpus() {
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(corpus.join("hl7")).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        let half = folders.split_off(folders.len() / 2);
        shares.extend([folders, half]);
    }
    shares
}

/// Sends a share with PyPI `hl7`; what it tells of each message.
fn send(port: u16, share: &[PathBuf]) -> Vec<Value> {
    let port = port.to_string();
    let mut arguments = vec!["127.0.0.1", &port];
    arguments.extend(share.iter().map(|path| path.to_str().unwrap()));
    let out = readers::reader("send_hl7.py", &arguments);
    // Exit code 1 says that some message was not accepted; which, is looked at below.
    assert!(matches!(out.status.code(), Some(0 | 1)), "send_hl7.py: {}", site::shown(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn leaks(sent: &[PathBuf], tables: &[&Path], logs: &Path) -> (bool, Value) {
    let mut arguments = vec!["--sent"];
    arguments.extend(sent.iter().map(|path| path.to_str().unwrap()));
    arguments.push("--tables");
    arguments.extend(tables.iter().map(|path| path.to_str().unwrap()));
    arguments.extend(["--text", logs.to_str().unwrap(), "--but"]);
    arguments.extend(OUR_WORDS);
    let out = readers::reader("leaks.py", &arguments);
    assert!(matches!(out.status.code(), Some(0 | 1)), "leaks.py: {}", site::shown(&out));
    (out.status.success(), serde_json::from_slice(&out.stdout).unwrap())
}

#[test]
fn every_message_is_a_row_and_no_person_is_in_the_research_tables() {
    let mut site = Site::new();
    // A name that no patient of the samples has.
    site.rename("qx-17");
    // The sender waits for one answer to each message, whatever the message asks for.
    site.mllp = "[feed.mllp.acknowledge]\nmode = \"original\"".to_owned();
    let (mut gateway, mut landing) = site.start();

    let shares = shares();
    let port = site.ports.mllp;
    let answers: Vec<Vec<Value>> = std::thread::scope(|scope| {
        let senders: Vec<_> = shares.iter().map(|share| scope.spawn(move || send(port, share))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    site.drained();

    let mut known = Vec::new();
    let mut refused = Vec::new();
    for (connection, answers) in answers.iter().enumerate() {
        assert!(!answers.is_empty(), "share {connection} has no message");
        for answer in answers {
            let acknowledged = answer["code"] == "AA";
            if !acknowledged {
                refused.push(answer.clone());
            }
            let sha256 = answer["sha256"].as_str().unwrap().to_owned();
            known.push(Known { sha256, connection, acknowledged });
        }
    }
    let distinct: BTreeSet<&str> = known.iter().map(|message| message.sha256.as_str()).collect();
    println!("{} messages, {} distinct, on {} connections", known.len(), distinct.len(), answers.len());

    // A frame that is no HL7 is kept too, answered AR, and waits for a person.
    assert!(refused.iter().all(|answer| answer["code"] == "AR"), "{refused:#?}");
    let held = site.json(&["held", "list", "--config", "gateway.toml", "--json"]);
    let held = held.as_array().unwrap();
    for item in held {
        println!("held for {}: {}, {}", item["destination"], item["id"], item["why"]);
    }
    for destination in ["lake", "research"] {
        let count = held.iter().filter(|item| item["destination"] == destination).count();
        assert!(count * 100 < distinct.len() * HELD_PERCENT_MAX, "{count} are held for {destination}");
    }
    let unparsed: BTreeSet<&str> = refused.iter().map(|answer| answer["sha256"].as_str().unwrap()).collect();
    let for_lake = held.iter().filter(|item| item["destination"] == "lake").count();
    assert_eq!(for_lake, unparsed.len(), "under treatment only what cannot be read is held");
    gateway.stop();
    landing.stop();

    let (lake, research) = (site.root("lake"), site.root("research"));
    let account = readers::accounted_for(&known, &lake, &[&research]);
    assert_eq!(account["rows"].as_u64().unwrap() as usize, distinct.len() - unparsed.len());
    let sums = readers::sums(&lake);
    assert_eq!(sums["rows"]["messages"], sums["rows"]["raw"], "each message has its row of `messages`");
    readers::sums(&research);
    site.nothing_to_find();

    let sent: Vec<PathBuf> = shares.into_iter().flatten().collect();
    let (clean, found) = leaks(&sent, &[&research], &site.logs());
    println!("{} identifiers, {} values of research looked at", found["identifiers"], found["values"]);
    assert!(clean, "{found:#}");
    // The search finds what is there: under treatment everything is.
    let (clean, found) = leaks(&sent[..1], &[&lake], &site.logs());
    assert!(!clean && found["leaks"].as_array().unwrap().len() > 10, "the search finds nothing: {found:#}");
}
