//! Delivery to another maker's receiver (PyPI `hl7`): nothing lost, nothing out of order, repeated only word for word,
//! whatever is killed meanwhile.
//!
//! `WARDGATE_CRASH_ROUNDS` says how many kills (14 here), `WARDGATE_CRASH_SEED` repeats a run's choices.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use system_tests::mllp::{self, Load};
use system_tests::process::Process;
use system_tests::site::{Site, free_port};
use system_tests::{hl7, peers, wait};

const ROUNDS: u64 = 14;
/// Every so many messages the receiver says AE first.
const AE_EVERY: &str = "9";

struct Ris<'s> {
    site: &'s Site,
    port: u16,
    every: &'s str,
}

/// A site with one destination, `ris`, over MLLP.
fn site(port: u16, more: &str) -> Site {
    let mut site = Site::with(vec![]);
    site.more = format!(
        "[[destination]]\nname = \"ris\"\npolicy = \"treatment\"\nstart = \"oldest\"\n[destination.mllp]\nto = \"127.0.0.1:{port}\"\nanswer_timeout_s = 5\n{more}\n"
    );
    site.write();
    site
}

impl Ris<'_> {
    fn notes(&self) -> PathBuf {
        self.site.dir.join("ris.jsonl")
    }

    fn start(&self) -> Process {
        let program = peers::repository().join("tests/readers/receiver.py");
        let (port, notes) = (self.port.to_string(), self.notes());
        let mut arguments = vec![program.to_str().unwrap(), &port, notes.to_str().unwrap()];
        if !self.every.is_empty() {
            arguments.push(self.every);
        }
        let mut process =
            Process::start("ris", &peers::python(), &arguments, &self.site.dir, &self.site.logs());
        wait::until("the receiver", || {
            process.still_runs();
            std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        process
    }

    fn read(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.notes()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

#[test]
fn nothing_is_lost_and_nothing_out_of_order_whatever_is_killed() {
    let rounds = number("WARDGATE_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("WARDGATE_CRASH_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    println!("{rounds} rounds, WARDGATE_CRASH_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let port = free_port();
    let site = site(port, "");
    let ris = Ris { site: &site, port, every: AE_EVERY };
    let mut receiver = ris.start();
    let mut gateway = site.start_gateway();
    let load = Load::start(site.ports.mllp, 3, "o", Duration::from_millis(8));
    for _ in 0..rounds {
        load.progress(10);
        std::thread::sleep(Duration::from_millis(rng.random_range(0..300)));
        if rng.random_bool(0.6) {
            gateway.kill();
            gateway = site.launch_gateway();
        } else {
            receiver.kill();
            std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
            receiver = ris.start();
        }
    }
    load.progress(10);
    let sent = load.stop();
    site.gateway_ready(&mut gateway);
    site.drained();
    gateway.stop();
    receiver.kill();

    let read = ris.read();
    let is = |line: &Value, code: &str| line["code"] == code;
    let name = |line: &Value| line["sha256"].as_str().unwrap().to_owned();
    // Lost: nothing that was acknowledged.
    let taken: HashSet<String> = read.iter().filter(|l| is(l, "AA")).map(name).collect();
    let ours: HashMap<String, &mllp::Sent> =
        sent.iter().map(|s| (system_tests::sha256(&s.message), s)).collect();
    for (sha256, sent) in &ours {
        assert!(taken.contains(sha256) || !sent.acknowledged, "an acknowledged message did not arrive");
    }
    assert!(taken.iter().all(|sha256| ours.contains_key(sha256)), "the bytes are those of the senders");
    // Order: a message comes again only while nothing else has come since, so each has one place.
    let mut order: Vec<String> = read.iter().map(name).collect();
    let attempts = order.len();
    order.dedup();
    let distinct: HashSet<&String> = order.iter().collect();
    assert_eq!(order.len(), distinct.len(), "a message came again after another one");
    // And that place is the one its sender gave it.
    let mut last: HashMap<usize, usize> = HashMap::new();
    let place: HashMap<String, usize> =
        sent.iter().enumerate().map(|(n, s)| (system_tests::sha256(&s.message), n)).collect();
    for sha256 in &order {
        let (n, sender) = (place[sha256], ours[sha256].sender);
        assert!(last.insert(sender, n).is_none_or(|before| before < n), "sender {sender} was overtaken");
    }
    let errors = read.iter().filter(|l| is(l, "AE")).count();
    println!(
        "{} messages acknowledged, {} arrived, {attempts} attempts, {errors} of them answered AE",
        sent.iter().filter(|s| s.acknowledged).count(),
        taken.len()
    );
    assert!(errors > 0 && attempts > taken.len());
}

#[test]
fn a_receiver_that_is_away_is_said_and_gets_all_when_it_is_back() {
    let port = free_port();
    let site = site(port, "");
    let ris = Ris { site: &site, port, every: "" };
    let _gateway = site.start_gateway();
    // Also while there is nothing to send.
    let why = site.in_state("ris", "unreachable");
    assert!(why.contains("nothing listens"), "{why}");
    for n in 0..5 {
        mllp::accepted(site.ports.mllp, &hl7::observation(&format!("away-{n}"), n));
    }
    let why = site.complaint("ris", "nothing listens");
    assert!(why.contains("check host and port"), "{why}");
    let status = site.destination("ris").unwrap();
    assert_eq!((&status["kind"], &status["state"]["name"]), (&"mllp".into(), &"unreachable".into()));
    assert!(status["state"]["since"].as_str().is_some_and(|at| at.starts_with("20")), "{status}");
    let out = site.wardgate(&["check", "gateway.toml", "--connect"]);
    let shown = system_tests::site::shown(&out);
    assert_eq!(out.status.code(), Some(3), "{shown}");
    assert!(shown.contains("tcp            FAILED") && shown.contains("nothing listens"), "{shown}");
    // However often it is tried in between, it is not idle.
    for _ in 0..200 {
        assert_eq!(site.destination("ris").unwrap()["state"]["name"], "unreachable");
    }
    let _receiver = ris.start();
    site.drained();
    site.in_state("ris", "idle");
    let ids: Vec<String> = ris.read().iter().map(|l| l["control_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..5).map(|n| format!("away-{n}")).collect::<Vec<_>>());
    let out = site.wardgate(&["check", "gateway.toml", "--connect"]);
    assert_eq!(out.status.code(), Some(0), "{}", system_tests::site::shown(&out));
    // No patient is named in what was logged of it all.
    let logs = std::fs::read_to_string(site.logs().join("gateway.log")).unwrap();
    for n in 0..5 {
        assert!(hl7::identifiers(n).iter().all(|i| !logs.contains(i.as_str())));
    }
}

#[test]
fn send_takes_folders_and_standard_input_and_says_what_became_of_them() {
    let port = free_port();
    let site = site(port, "");
    let ris = Ris { site: &site, port, every: "4" };
    let folder = site.dir.join("outbox");
    std::fs::create_dir(&folder).unwrap();
    // Three files of ten messages; one sender writes the same MSH-10 into all of its own.
    for (file, id) in [("a", "A-"), ("b", "B-"), ("c", "CONSTANT")] {
        let name = |n: u64| if id.ends_with('-') { format!("{id}{n}") } else { id.to_owned() };
        let text: Vec<u8> = (0..10).flat_map(|n| hl7::observation(&name(n), n)).collect();
        std::fs::write(folder.join(file), text).unwrap();
    }
    let to = format!("127.0.0.1:{port}");
    let out = site.wardgate(&["send", "--to", &to, "outbox", "--json"]);
    assert_eq!(out.status.code(), Some(3), "nobody there: {}", system_tests::site::shown(&out));

    let _receiver = ris.start();
    let arguments = ["send", "--to", &to, "outbox", "--connections", "3", "--resume", "done", "--json"];
    let out = site.wardgate(&arguments);
    let shown = system_tests::site::shown(&out);
    assert_eq!(out.status.code(), Some(1), "some are refused: {shown}");
    let summary: Value = serde_json::from_slice(&out.stdout).unwrap();
    let refused = ris.read().iter().filter(|l| l["code"] == "AE").count();
    assert!(refused > 0);
    assert_eq!(summary["refused"], refused, "{shown}");
    assert_eq!((&summary["files"], &summary["sent"]), (&3.into(), &30.into()), "{shown}");
    assert_eq!(String::from_utf8_lossy(&out.stderr).matches(": AE").count(), refused, "{shown}");
    // In the order of each file.
    let ids: Vec<String> = ris.read().iter().map(|l| l["control_id"].as_str().unwrap().to_owned()).collect();
    for prefix in ["A-", "B-"] {
        let of: Vec<&String> = ids.iter().filter(|id| id.starts_with(prefix)).collect();
        assert_eq!(
            of,
            (0..10).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
    assert_eq!(ids.iter().filter(|id| *id == "CONSTANT").count(), 10);

    let out = site.wardgate(&arguments);
    let summary: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!((&summary["sent"], &summary["resumed"]), (&0.into(), &30.into()));

    let input = [hl7::admission("S-1", 1), hl7::admission("S-2", 2)].concat();
    let arguments = ["send", "--to", &to, "-", "--rate", "1000"];
    let out = system_tests::site::filter(&peers::wardgate(), &arguments, &input);
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.starts_with("1 files: sent 2, acknowledged"), "{shown}");
    let out = system_tests::site::filter(&peers::wardgate(), &arguments, b"no message\n");
    assert_eq!(out.status.code(), Some(1), "{}", system_tests::site::shown(&out));
    assert_eq!(site.wardgate(&["send", "--to", &to]).status.code(), Some(2), "usage");
}
