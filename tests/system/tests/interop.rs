//! MLLP with clients and servers of other makers: Medplum's, HAPI's and PyPI `hl7`'s (`tests/peers/`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use system_tests::peers::Maker;
use system_tests::readers;
use system_tests::site::{self, Site};
use system_tests::{hl7, mllp};

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

/// Each maker's server behind a destination of its own, all at once.
#[test]
fn servers_of_three_makers_get_every_message_once_and_in_order() {
    let mut site = Site::with(vec![]);
    let mut servers = Vec::new();
    for maker in Maker::ALL {
        let port = site::free_port();
        let name = maker.name();
        site.more.push_str(&format!(
            "[[destination]]\nname = \"{name}\"\npolicy = \"treatment\"\nstart = \"oldest\"\n[destination.mllp]\nto = \"127.0.0.1:{port}\"\n"
        ));
        let words = maker.receiver();
        let mut command = Command::new(&words[0]);
        // They end with their standard input.
        command.args(&words[1..]).arg(port.to_string()).current_dir(&site.dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let listening = lines.next().unwrap().unwrap();
        assert!(listening.contains("listening"), "{name}: {listening}");
        let told = std::thread::spawn(move || {
            lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).collect::<Vec<_>>()
        });
        servers.push((maker, server, told));
    }
    site.write();
    let mut gateway = site.start_gateway();
    let mut ward = mllp::Connection::open(site.ports.mllp).unwrap();
    for n in 0..MESSAGES {
        let message = hl7::observation(&format!("OUT-{n}"), n as u64);
        assert_eq!(ward.exchange(&message).unwrap().code(), "AA");
    }
    site.drained();
    gateway.stop();
    let expected: Vec<String> = (0..MESSAGES).map(|n| format!("OUT-{n}")).collect();
    for (maker, mut server, told) in servers {
        drop(server.stdin.take());
        server.wait().unwrap();
        let told = told.join().unwrap();
        let ids: Vec<&str> = told.iter().map(|t| t["control_id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{}", maker.name());
        // Whether the end of the last segment begins another one is each maker's own reading.
        assert!(told.iter().all(|t| matches!(t["segments"].as_u64(), Some(4 | 5))), "{told:?}");
    }
}
