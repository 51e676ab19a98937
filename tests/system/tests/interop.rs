//! MLLP with clients and servers of other makers: Medplum's, HAPI's and PyPI `hl7`'s (`tests/peers/`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use system_tests::hl7;
use system_tests::peers::Maker;
use system_tests::readers;
use system_tests::site::{self, Site};

/// Messages of each maker.
const MESSAGES: usize = 200;

/// Messages whose control ids say who sends them.
fn messages(maker: Maker) -> Vec<(String, Vec<u8>)> {
    (0..MESSAGES)
        .map(|n| {
            let control_id = format!("{}-{n}", maker.name());
            let message = hl7::observation(&control_id, n as u64);
            (control_id, message)
        })
        .collect()
}

/// What a maker's client tells of each message.
fn send(maker: Maker, dir: &Path, port: u16) -> Vec<Value> {
    let file = dir.join(format!("{}.jsonl", maker.name()));
    let lines: String = messages(maker)
        .iter()
        .map(|(_, message)| serde_json::to_string(std::str::from_utf8(message).unwrap()).unwrap() + "\n")
        .collect();
    std::fs::write(&file, lines).unwrap();
    let words = maker.sender();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["127.0.0.1", &port.to_string()]).arg(&file).current_dir(dir);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}: {}", maker.name(), site::shown(&out));
    String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn clients_of_three_makers_are_answered_and_their_messages_are_rows() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let port = site.ports.mllp;
    std::thread::scope(|scope| {
        for maker in Maker::ALL {
            let dir = &site.dir;
            scope.spawn(move || {
                let told = send(maker, dir, port);
                let wanted: Vec<Value> = messages(maker)
                    .into_iter()
                    .map(|(id, _)| serde_json::json!({"control_id": id, "code": "AA", "answers": id}))
                    .collect();
                assert_eq!(told, wanted, "{}", maker.name());
            });
        }
    });
    site.drained();
    let rows = readers::rows(&site.root("lake"), "messages");
    for maker in Maker::ALL {
        let prefix = format!("{}-", maker.name());
        let landed: Vec<&str> = rows
            .iter()
            .map(|row| row["control_id"].as_str().unwrap())
            .filter(|control_id| control_id.starts_with(&prefix))
            .collect();
        let sent: Vec<String> = messages(maker).into_iter().map(|(id, _)| id).collect();
        assert_eq!(landed, sent, "{}: each once, in the order of its connection", maker.name());
    }
    assert_eq!(rows.len(), Maker::ALL.len() * MESSAGES);
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
}
