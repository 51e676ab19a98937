//! What an operator sees and types: `check`, the filters, metrics and health, a second gateway by mistake; and that
//! nowhere in all of it a patient is named.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, with what it saw"
)]

use std::collections::BTreeMap;
use std::process::Output;

use serde_json::Value;
use system_tests::mllp::{self, Connection};
use system_tests::site::{Site, filter, shown};
use system_tests::{fixtures, hl7, http, peers, readers};

fn wardgate(arguments: &[&str], input: &[u8]) -> Output {
    filter(&peers::wardgate(), arguments, input)
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_configuration_is_checked_with_the_place_of_every_mistake() {
    let site = Site::new();
    site.write();
    let fine = site.wardgate(&["check", "gateway.toml"]);
    assert_eq!(fine.status.code(), Some(0), "{}", shown(&fine));
    assert!(stdout(&fine).contains("gateway.toml: fine"));

    let text = site.gateway_toml();
    // What is right, what somebody writes instead, the line where it is noticed, a word of the finding.
    let mistakes: [(&str, &str, &str, &str); 6] = [
        ("policy = \"treatment\"", "policy = \"treatmant\"", "policy = \"treatmant\"", "did you mean"),
        ("[spool]", "[spol]", "[spol]", "did you mean `spool`"),
        ("[feed.mllp]\nlisten", "[feed.mllp]\nlisen", "lisen", "listen"),
        ("id = \"ward-3\"", "id = \"ward-4\"", "certificate =", "ward-3"),
        ("url = \"https://127.0.0.1", "url = \"http://127.0.0.1", "url = \"http://", "not https"),
        ("ca = \"certificates/ca.pem\"", "ca = \"certificates/none.pem\"", "ca = ", "none.pem"),
    ];
    for (right, wrong, noticed, word) in mistakes {
        assert!(text.contains(right), "{right}");
        let spoilt = text.replacen(right, wrong, 1);
        let line = spoilt.lines().position(|l| l.starts_with(noticed)).unwrap() + 1;
        std::fs::write(site.dir.join("spoilt.toml"), &spoilt).unwrap();
        let out = site.wardgate(&["check", "spoilt.toml"]);
        assert_eq!(out.status.code(), Some(1), "{wrong}: {}", shown(&out));
        let said = stdout(&out);
        assert!(said.contains(&format!("spoilt.toml:{line}:")), "{wrong} shows in line {line}: {said}");
        assert!(said.contains(word), "{wrong}: {said}");
        // The gateway itself says the same and does not start.
        let out = site.wardgate(&["run", "--config", "spoilt.toml"]);
        assert_eq!(out.status.code(), Some(1), "{wrong}: {}", shown(&out));
        assert!(shown(&out).contains(&format!("spoilt.toml:{line}:")), "{}", shown(&out));
    }
    // All of them at once.
    let mut worst = text;
    for (right, wrong, ..) in mistakes {
        worst = worst.replacen(right, wrong, 1);
    }
    std::fs::write(site.dir.join("worst.toml"), worst).unwrap();
    let out = site.wardgate(&["check", "worst.toml", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let findings: Value = serde_json::from_slice(&out.stdout).unwrap();
    let lines: std::collections::BTreeSet<u64> =
        findings["findings"].as_array().unwrap().iter().map(|f| f["line"].as_u64().unwrap()).collect();
    assert!(lines.len() >= 5, "{findings:#}");

    assert_eq!(site.wardgate(&["check", "nowhere.toml"]).status.code(), Some(1));
    assert_eq!(site.wardgate(&["chek"]).status.code(), Some(2));
    assert_eq!(site.wardgate(&["check", "--verbose", "gateway.toml"]).status.code(), Some(2));
    assert!(!site.data().exists(), "checking makes nothing");
}

#[test]
fn two_gateways_cannot_share_a_data_directory() {
    let site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    mllp::accepted(site.ports.mllp, &hl7::observation("two-1", 1));
    // The second has ports of its own, so that only the directory is in dispute.
    let mut other = Site::small();
    other.dir.clone_from(&site.dir);
    let config = other.gateway_toml();
    std::fs::write(site.dir.join("second.toml"), config).unwrap();
    let out = site.wardgate(&["run", "--config", "second.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(shown(&out).contains("another") && shown(&out).contains("spool"), "{}", shown(&out));
    gateway.still_runs();
    mllp::accepted(site.ports.mllp, &hl7::observation("two-2", 2));
    // Nor a port.
    let taken = Site::small();
    let config = taken.gateway_toml().replace(&taken.ports.mllp.to_string(), &site.ports.mllp.to_string());
    std::fs::write(taken.dir.join("gateway.toml"), config).unwrap();
    let out = taken.wardgate(&["run", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(shown(&out).contains(&site.ports.mllp.to_string()), "{}", shown(&out));
    gateway.stop();
}

#[test]
fn metrics_health_and_status_tell_the_same_story() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    for n in 0..10 {
        connection.exchange(&hl7::observation(&format!("m-{n}"), n)).unwrap();
    }
    connection.exchange(&hl7::observation("m-0", 0)).unwrap();
    connection.exchange(b"no message").unwrap();
    site.drained();
    assert_eq!(http::get(site.ports.operations, "/healthz"), Some((200, "ok\n".to_owned())));
    assert_eq!(http::get(site.ports.operations, "/readyz"), Some((200, "ready\n".to_owned())));
    assert_eq!(http::get(site.ports.operations, "/nothing").unwrap().0, 404);
    let (_, text) = http::get(site.ports.operations, "/metrics").unwrap();
    let program = peers::repository().join("tests/readers/metrics.py");
    let parsed = filter(&peers::python(), &[program.to_str().unwrap()], text.as_bytes());
    assert!(parsed.status.success(), "{}\n{text}", shown(&parsed));
    let samples: BTreeMap<String, f64> = stdout(&parsed)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|sample| {
            let labels = sample["labels"].as_object().unwrap();
            let labels: Vec<&str> = labels.values().map(|value| value.as_str().unwrap()).collect();
            (
                format!("{} {}", sample["name"].as_str().unwrap(), labels.join(" ")),
                sample["value"].as_f64().unwrap(),
            )
        })
        .collect();
    let is = |name: &str, value: f64| {
        assert_eq!(samples.get(name), Some(&value), "{name}: {samples:#?}");
    };
    is("wardgate_received_total adt mllp", 12.0);
    is("wardgate_duplicates_total adt mllp", 1.0);
    is("wardgate_delivered_total lake clinical", 10.0);
    is("wardgate_delivered_total research clinical", 10.0);
    is("wardgate_skipped_total lake clinical quarantined", 1.0);
    is("wardgate_held_records lake", 1.0);
    is("wardgate_backlog_records lake clinical", 0.0);
    is("wardgate_destination_up research", 1.0);
    is("wardgate_log_last_seq clinical", 11.0);
    is("wardgate_ready ", 1.0);
    let status = site.status().unwrap();
    assert_eq!(status["feeds"][0]["received"], 12);
    assert_eq!(status["lanes"][1]["last_durable"], 11);
    assert_eq!(status["held"], 2);
    // Beside the running gateway.
    let stat = site.json(&["spool", "stat", "--config", "gateway.toml", "--json"]);
    let logs = stat["logs"].as_array().unwrap();
    let clinical = logs.iter().find(|log| log["name"] == "clinical").unwrap();
    assert_eq!((&clinical["records"], &clinical["last"]), (&11.into(), &11.into()), "{stat:#}");
    site.nothing_to_find();
    let tables = site.landing(&["stat", "--root", site.root("lake").to_str().unwrap(), "--json"]);
    assert_eq!(tables.status.code(), Some(0), "{}", shown(&tables));
    let tables: Value = serde_json::from_slice(&tables.stdout).unwrap();
    assert_eq!(
        (&tables["rows"], &tables["distinct"], &tables["skipped"]),
        (&10.into(), &10.into(), &1.into())
    );
    let code = site.wardgate(&["claim-code", "--config", "gateway.toml"]);
    assert_eq!(stdout(&code).trim().len(), 14, "{}", shown(&code));
    gateway.stop();
    landing.stop();
}

#[test]
fn no_patient_is_named_outside_of_what_the_policy_lets_through() {
    let mut site = Site::new();
    site.rename("qx-17");
    // Small segments, so that there is little to search; and everything that can be logged.
    site.spool = "segment_bytes = 1048576".to_owned();
    site.mllp = "frame_bytes_max = 65536".to_owned();
    site.log_level = Some("debug".to_owned());
    let needles = fixtures::identifiers();
    let (mut gateway, mut landing) = site.start();
    let mut said = String::new();
    let mut connection = Connection::open(site.ports.mllp).unwrap();
    for (path, content) in fixtures::files(&fixtures::hl7()) {
        let text = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
        connection.exchange(text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // Beginnings that break off, frames that are no message, one that is too long.
        for faulty in [&text[9..], &[text, &[b'x'; 70_000]].concat(), &text[..text.len() / 2]] {
            let answer = connection.exchange(faulty).unwrap();
            if answer.code() != "AA" {
                said.push_str(&answer.to_string());
            }
        }
    }
    // A landing that is away, and comes back.
    landing.stop();
    connection.exchange(&fixtures::read("adt-a01.hl7").repeat(2)).unwrap();
    site.complaint("research", "not reachable");
    let mut landing = site.start_landing();
    site.drained();

    for path in ["/status", "/metrics", "/readyz"] {
        said.push_str(&http::get(site.ports.operations, path).unwrap().1);
    }
    let held = site.json(&["held", "list", "--config", "gateway.toml", "--json"]);
    said.push_str(&held.to_string());
    let first = held[0]["id"].as_str().unwrap().to_owned();
    let to = held[0]["destination"].as_str().unwrap().to_owned();
    for arguments in [
        &["trace", "clinical-1-1"][..],
        &["trace", "clinical-1-2", "--json"],
        &["held", "list"],
        &["held", "release", &first, "--to", &to],
        &["held", "release", &first, "--to", &to],
        &["replay", "clinical-1-3", "--to", "research"],
        &["spool", "stat"],
        &["spool", "verify", "--json"],
    ] {
        let out = site.wardgate(&[arguments, &["--config", "gateway.toml"]].concat());
        said.push_str(&shown(&out));
    }
    site.drained();
    gateway.stop();
    for command in ["stat", "verify"] {
        said.push_str(&shown(&site.landing(&[command, "--root", site.root("research").to_str().unwrap()])));
    }
    landing.stop();

    assert!(said.len() > 10_000, "only {} bytes were said", said.len());
    assert_eq!(
        fixtures::found(said.as_bytes(), &needles),
        Vec::<&str>::new(),
        "in what is answered and printed"
    );
    let logs = fixtures::files(&site.logs());
    assert!(logs.iter().any(|(_, log)| String::from_utf8_lossy(log).contains("\"DEBUG\"")), "debug was on");
    for (path, bytes) in logs.iter().chain(&fixtures::files(&site.data())) {
        assert_eq!(fixtures::found(bytes, &needles), Vec::<&str>::new(), "in {}", path.display());
        assert_eq!(fixtures::found(path.to_string_lossy().as_bytes(), &needles), Vec::<&str>::new());
    }
    let rows = format!(
        "{:?}{:?}{:?}",
        readers::payloads(&site.root("research"))
            .iter()
            .map(|p| String::from_utf8_lossy(p).into_owned())
            .collect::<Vec<_>>(),
        readers::rows(&site.root("research"), "messages"),
        readers::rows(&site.root("research"), "observations"),
    );
    assert_eq!(fixtures::found(rows.as_bytes(), &needles), Vec::<&str>::new(), "in the research tables");
    // The search would find them: under treatment they are there.
    let rows: Vec<u8> = readers::payloads(&site.root("lake")).concat();
    assert!(fixtures::found(&rows, &needles).len() > needles.len() * 9 / 10, "the search finds nothing");
}

#[test]
fn the_filters_read_files_and_say_what_they_left_out() {
    let batch = fixtures::read("batch.hl7");
    let out = wardgate(&["hl7", "parse"], &batch);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    let parsed: Vec<Value> = stdout(&out).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = parsed.iter().map(|message| message["control_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["FX-BATCH-1", "FX-BATCH-2", "FX-BATCH-3"]);
    assert_eq!(parsed[0]["segments"][1]["name"], "EVN");
    assert_eq!(parsed[0]["segments"][1]["fields"]["1"][0], "A01");
    assert_eq!(parsed[1]["index"], 1);

    let out = wardgate(&["hl7", "ack"], &batch);
    assert_eq!(out.status.code(), Some(0));
    // As a batch, and each message as it asks: MSH-15 is AL, MSH-16 is NE.
    assert!(stdout(&out).starts_with("FHS|") && stdout(&out).ends_with("BTS|3\rFTS|1\r"), "{}", shown(&out));
    let acks: Vec<String> = stdout(&out).split("MSH|").skip(1).map(|ack| format!("MSH|{ack}")).collect();
    assert_eq!(acks.len(), 3);
    for (ack, id) in acks.iter().zip(ids) {
        assert!(ack.contains(&format!("\rMSA|CA|{id}\r")), "{ack:?}");
        assert_eq!(hl7::field(ack.as_bytes(), "MSH", 12), Some(&b"2.4"[..]), "in the sender's version");
        assert_eq!(hl7::field(ack.as_bytes(), "MSH", 5), Some(&b"ADTPRIME"[..]), "to the sender");
    }
    let odd = fixtures::read("odd-delimiters.hl7");
    let ack = wardgate(&["hl7", "ack"], &odd).stdout;
    assert!(ack.starts_with(b"MSH!@%?*!"), "in the sender's delimiters");

    // What is held is left out, and listed.
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.jsonl");
    let [_, _, mrn, ..] = hl7::identifiers(4);
    let doubtful = String::from_utf8(hl7::observation("f-2", 4)).unwrap().replace(&mrn, "8867-4");
    let input = [hl7::observation("f-1", 1), doubtful.into_bytes(), hl7::admission("f-3", 3)].concat();
    let policy = ["deid", "run", "--policy", "safe-harbor", "--format", "hl7", "--report"];
    let out = wardgate(&[&policy[..], &[report.to_str().unwrap()]].concat(), &input);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    let released = stdout(&out);
    assert_eq!(released.matches("MSH|").count(), 2);
    for identifier in [1, 3, 4].iter().flat_map(|n| hl7::identifiers(*n)) {
        assert!(!released.contains(&identifier), "{identifier}");
    }
    let listed: Vec<Value> = std::fs::read_to_string(&report)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcomes: Vec<&str> = listed.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["released", "held", "released"]);
    assert!(listed[1]["reason"].as_str().unwrap().len() > 20, "{}", listed[1]);

    // Under treatment every byte comes back.
    let out = wardgate(&["deid", "run", "--policy", "treatment", "--format", "hl7"], &input);
    assert_eq!((out.status.code(), &out.stdout), (Some(0), &input));

    // Nothing in is nothing out; something that holds no message is a mistake.
    for filter in
        [&["hl7", "parse"][..], &["hl7", "ack"], &["deid", "run", "--policy", "treatment", "--format", "hl7"]]
    {
        let out = wardgate(filter, b"");
        assert_eq!((out.status.code(), stdout(&out)), (Some(0), String::new()), "{filter:?}");
        let out = wardgate(filter, b"PID|1||4711\r");
        assert_eq!((out.status.code(), stdout(&out)), (Some(1), String::new()), "{filter:?}");
        assert!(shown(&out).contains("begins with MSH"), "{}", shown(&out));
        assert!(!shown(&out).contains("4711"), "{}", shown(&out));
    }
    let out = wardgate(&["deid", "run", "--policy", "none", "--format", "hl7"], b"");
    assert!(!out.status.success() && shown(&out).contains("safe-harbor"), "{}", shown(&out));
}

/// A new key in its place would open nothing, and would stand in the way of the right one.
#[test]
fn a_root_key_that_is_gone_must_come_back() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    mllp::accepted(site.ports.mllp, &hl7::observation("key-1", 1));
    site.drained();
    gateway.stop();
    let (key, safe) = (site.dir.join("root.key"), site.dir.join("safe.key"));
    std::fs::rename(&key, &safe).unwrap();
    let out = site.wardgate(&["run", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(shown(&out).contains("restore it from where it is kept safe"), "{}", shown(&out));
    assert!(!key.exists(), "no other key was made");
    std::fs::rename(&safe, &key).unwrap();
    let mut gateway = site.start_gateway();

    // And a port that is taken is said once.
    let busy = site.gateway_toml().replace("data_dir = \"gateway\"", "data_dir = \"other\"");
    std::fs::write(site.dir.join("busy.toml"), busy).unwrap();
    let out = site.wardgate(&["run", "--config", "busy.toml"]);
    assert_eq!(shown(&out).matches("in use").count(), 1, "{}", shown(&out));
    gateway.stop();
    landing.stop();
}

#[test]
fn the_machine_proves_itself() {
    let out = wardgate(&["self-test"], b"");
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    for part in ["log:", "tls:", "deid:"] {
        assert!(stdout(&out).contains(part), "{}", shown(&out));
    }
    let schema: Value = serde_json::from_slice(&wardgate(&["check", "--schema"], b"").stdout).unwrap();
    assert!(schema["properties"].as_object().unwrap().contains_key("destination"), "{schema}");
}
