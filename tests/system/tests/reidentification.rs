//! Random tokens in the place of identifiers, whatever becomes of the box, and two people who look up what one is of.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::collections::BTreeSet;
use std::process::Output;

use system_tests::mllp::accepted;
use system_tests::site::{Destination, Site, filter, shown};
use system_tests::{fixtures, hl7, http, peers, readers};

const ADA: &str = "seven blue doors in a row";
const GRACE: &str = "nine green ladders at night";

/// Two destinations that may tell patients apart, and nobody who knows who they are.
fn site() -> Site {
    let linked = |name| Destination {
        label: "safe-harbor".to_owned(),
        ..Destination::new(name, "safe-harbor-linked")
    };
    Site::with(vec![linked("lake"), linked("research")])
}

/// The patient's token in each row, in the order of the numbers.
fn tokens(site: &Site, destination: &str) -> Vec<String> {
    let mut rows: Vec<(u64, u64, String)> = readers::rows(&site.root(destination), "raw")
        .iter()
        .map(|row| {
            let payload = String::from_utf8(hex::decode(row["payload"].as_str().unwrap()).unwrap()).unwrap();
            let pid = payload.split('\r').find(|line| line.starts_with("PID")).unwrap().to_owned();
            let token = pid.split('|').nth(3).unwrap().split('^').next().unwrap().to_owned();
            (row["epoch"].as_u64().unwrap(), row["seq"].as_u64().unwrap(), token)
        })
        .collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, _, token)| token).collect()
}

fn person(site: &Site, command: &[&str], name: &str, lines: &str) -> Output {
    let config = site.dir.join("gateway.toml");
    let mut arguments = command.to_vec();
    if !name.is_empty() {
        arguments.extend_from_slice(&["--as", name]);
    }
    arguments.extend_from_slice(&["--config", config.to_str().unwrap()]);
    filter(&peers::wardgate(), &arguments, lines.as_bytes())
}

#[track_caller]
fn done(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", shown(out));
    String::from_utf8(out.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(out: &Output, word: &str) {
    assert_eq!(out.status.code(), Some(1), "{}", shown(out));
    assert!(shown(out).contains(word), "{}", shown(out));
}

#[test]
fn a_patient_has_one_token_at_a_destination_whatever_becomes_of_the_box() {
    let site = site();
    let (mut gateway, mut landing) = site.start();
    for (n, patient) in [(1, 1), (2, 2), (3, 1)] {
        accepted(site.ports.mllp, &hl7::observation(&format!("vault-{n}"), patient));
    }
    site.drained();
    gateway.kill();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("vault-4", 1));
    site.drained();
    gateway.kill();
    // The state store is lost.
    std::fs::remove_dir_all(site.data().join("spool/state")).unwrap();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("vault-5", 1));
    site.drained();
    // The box is lost, and comes back from its backup.
    site.json(&["backup", "--config", "gateway.toml", "--to", "box.backup", "--json"]);
    gateway.kill();
    std::fs::remove_dir_all(site.data()).unwrap();
    site.json(&["restore", "--config", "gateway.toml", "--from", "box.backup", "--json"]);
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("vault-6", 1));
    accepted(site.ports.mllp, &hl7::observation("vault-7", 2));
    site.drained();
    let mut seen = BTreeSet::new();
    for destination in ["lake", "research"] {
        let tokens = tokens(&site, destination);
        let [first, second, ..] = &tokens[..] else { panic!("{tokens:?}") };
        let expected = [first, second, first, first, first, first, second];
        assert!(tokens.iter().eq(expected), "{destination}: {tokens:?}");
        assert!(tokens.iter().all(|token| token.starts_with('V') && token.len() == 27), "{tokens:?}");
        seen.extend(tokens);
    }
    assert_eq!(seen.len(), 4, "no destination has a token of another's");
    let status = site.json(&["vault", "status", "--config", "gateway.toml", "--json"]);
    assert_eq!(status["by_destination"]["lake"], status["by_destination"]["research"], "{status}");
    let (_, metrics) = http::get(site.ports.operations, "/metrics").unwrap();
    assert!(metrics.contains("wardgate_vault_identifiers{destination=\"lake\"}"), "{metrics}");
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn two_people_look_up_what_a_token_is_of_and_it_is_written_nowhere() {
    let mut site = site();
    site.log_level = Some("debug".to_owned());
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::observation("vault-1", 1));
    site.drained();
    let [_, _, mrn, ..] = hl7::identifiers(1);
    let token = tokens(&site, "lake")[0].clone();
    // Two people with accounts of their own, and one who may only look.
    refused(&person(&site, &["account", "first", "grace"], "", "too short\n"), "15 characters");
    done(&person(&site, &["account", "first", "grace"], "", &format!("{GRACE}\n")));
    refused(&person(&site, &["account", "first", "eve"], "", &format!("{GRACE}\n")), "claimed already");
    let add =
        |name, role, lines: &str| person(&site, &["account", "add", name, "--role", role], "grace", lines);
    done(&add("ada", "operator", &format!("{GRACE}\n{ADA}\n")));
    done(&add("joan", "viewer", &format!("{GRACE}\n{ADA} too\n")));
    refused(&add("ada", "security", &format!("{GRACE}\n{ADA}\n")), "account of this name");

    let request = |name, lines: &str| {
        person(&site, &["vault", "request", &token, "--reason", "incidental finding, study 12"], name, lines)
    };
    refused(&request("joan", &format!("{ADA} too\n")), "role operator");
    refused(&request("ada", &format!("{GRACE}\n")), "not right");
    refused(&request("nobody", &format!("{ADA}\n")), "not right");
    assert!(done(&request("ada", &format!("{ADA}\n"))).starts_with("request 1:"));
    let show = |name, lines: &str| person(&site, &["vault", "show", "1"], name, lines);
    let approve = |name, lines: &str| person(&site, &["vault", "approve", "1"], name, lines);
    refused(&show("ada", &format!("{ADA}\n")), "nobody has approved");
    refused(&approve("ada", &format!("{ADA}\n")), "role security");
    // Neither may somebody with that role approve what he asked for himself.
    let own =
        person(&site, &["vault", "request", &token, "--reason", "mine"], "grace", &format!("{GRACE}\n"));
    done(&own);
    let own = person(&site, &["vault", "approve", "2"], "grace", &format!("{GRACE}\n"));
    refused(&own, "needs another person");
    done(&approve("grace", &format!("{GRACE}\n")));
    refused(&show("grace", &format!("{GRACE}\n")), "another person asked");
    gateway.kill();
    let mut gateway = site.start_gateway();
    let answer = done(&show("ada", &format!("{ADA}\n")));
    assert!(answer.contains(&mrn), "{answer}");
    refused(&show("ada", &format!("{ADA}\n")), "no request 1");
    let status = site.json(&["vault", "status", "--config", "gateway.toml", "--json"]);
    assert_eq!(
        (&status["requests"][0]["id"], &status["requests"][1]),
        (&2.into(), &serde_json::Value::Null),
        "{status}"
    );
    done(&person(&site, &["vault", "refuse", "2"], "grace", &format!("{GRACE}\n")));
    done(&person(&site, &["account", "remove", "joan"], "grace", &format!("{GRACE}\n")));
    refused(&person(&site, &["account", "remove", "grace"], "grace", &format!("{GRACE}\n")), "stays");
    let accounts = site.json(&["account", "list", "--config", "gateway.toml", "--json"]);
    assert_eq!(accounts.as_array().unwrap().len(), 2, "{accounts}");
    let (_, metrics) = http::get(site.ports.operations, "/metrics").unwrap();
    let (_, said) = http::get(site.ports.operations, "/status").unwrap();
    gateway.stop();
    landing.stop();

    let audit = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    let exported = done(&audit);
    let entries: Vec<serde_json::Value> =
        exported.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let steps: Vec<(&str, &str)> = entries
        .iter()
        .filter_map(|entry| Some((entry["action"].as_str()?, entry["actor"].as_str()?)))
        .filter(|(action, _)| {
            action.starts_with("reident") || action.starts_with("account") || *action == "sign-in-failed"
        })
        .collect();
    let expected = [
        ("account-added", "grace"),
        ("account-added", "grace"),
        ("sign-in-failed", "ada"),
        ("sign-in-failed", "console"),
        ("reidentification-requested", "ada"),
        ("reidentification-requested", "grace"),
        ("reidentification-approved", "grace"),
        ("reidentified", "ada"),
        ("reidentification-refused", "grace"),
        ("account-removed", "grace"),
    ];
    assert_eq!(steps, expected, "{exported}");
    assert!(exported.contains(&token) && exported.contains("incidental finding, study 12"));
    // The number that was shown, and what people typed, are in no log, metric, file or entry.
    let needles = vec![mrn, ADA.to_owned(), GRACE.to_owned()];
    for text in [&exported, &metrics, &said] {
        assert_eq!(fixtures::found(text.as_bytes(), &needles), Vec::<&str>::new());
    }
    for dir in [site.logs(), site.data()] {
        for (path, bytes) in fixtures::files(&dir) {
            assert_eq!(fixtures::found(&bytes, &needles), Vec::<&str>::new(), "{}", path.display());
        }
    }
    site.nothing_to_find();
}

#[test]
fn a_filter_has_a_vault_for_its_run() {
    let message = |n, patient| String::from_utf8(hl7::observation(&format!("run-{n}"), patient)).unwrap();
    let input = [message(1, 1), message(2, 2), message(3, 1)].concat();
    let run = || {
        let arguments = ["deid", "run", "--policy", "safe-harbor-linked", "--format", "hl7"];
        let out = filter(&peers::wardgate(), &arguments, input.as_bytes());
        let out = done(&out);
        let of = |line: &str| line.split('|').nth(3).unwrap().split('^').next().unwrap().to_owned();
        out.split('\r').filter(|line| line.starts_with("PID")).map(of).collect::<Vec<String>>()
    };
    let (first, second) = (run(), run());
    assert_eq!(first.len(), 3);
    assert_eq!(first[0], first[2]);
    assert_ne!(first[0], first[1]);
    assert!(first.iter().all(|token| !second.contains(token)), "another run, another vault");
}
