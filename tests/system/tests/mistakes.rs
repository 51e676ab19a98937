//! Two sides that were not configured for each other, and readers that would notice: each mistake stops what it must
//! stop, says why in a sentence, and is mended without a loss.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::Path;

use system_tests::mllp::{Known, accepted};
use system_tests::site::{Destination, Site, shown};
use system_tests::{fixtures, hl7, readers, sha256};

#[test]
fn identified_data_does_not_land_where_deidentified_data_is_expected() {
    let mut site = Site::small();
    "safe-harbor".clone_into(&mut site.roots[0].label);
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::observation("policy-1", 1));
    let why = site.in_state("lake", "blocked");
    assert!(why.contains("safe-harbor"), "{why}");
    // Nothing of it stands on the landing's disk.
    let identifiers = hl7::identifiers(1).to_vec();
    for (path, bytes) in fixtures::files(&site.root("lake")) {
        assert_eq!(fixtures::found(&bytes, &identifiers), Vec::<&str>::new(), "{}", path.display());
    }
    // The gateway's side is mended: the same record lands as the root wants it.
    gateway.stop();
    "safe-harbor".clone_into(&mut site.destinations[0].policy);
    site.write();
    let mut gateway = site.start_gateway();
    site.drained();
    let rows = readers::rows(&site.root("lake"), "raw");
    assert_eq!((rows.len(), &rows[0]["policy"]), (1, &"safe-harbor".into()));
    gateway.stop();

    // A root keeps its policy, whatever the landing's configuration says later.
    landing.stop();
    "treatment".clone_into(&mut site.roots[0].label);
    site.write();
    let mut landing = site.launch_landing();
    assert_eq!(landing.exit_code(), 1, "{}", landing.tail());
    assert!(
        landing.log().contains("safe-harbor") && landing.log().contains("treatment"),
        "{}",
        landing.tail()
    );
    let out = site.landing(&["check", "landing.toml"]);
    assert_ne!(out.status.code(), Some(0), "{}", shown(&out));
}

#[test]
fn a_destination_that_the_landing_does_not_know_waits_until_it_does() {
    let mut site = Site::small();
    site.roots[0].name = "other".to_owned();
    let (mut gateway, mut landing) = site.start();
    let message = hl7::observation("unknown-1", 1);
    accepted(site.ports.mllp, &message);
    let why = site.in_state("lake", "blocked");
    assert!(why.contains("no such destination"), "{why}");
    landing.stop();
    site.roots.push(Destination::new("lake", "treatment"));
    site.write();
    let mut landing = site.start_landing();
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), [message]);
    gateway.stop();
    landing.stop();
}

#[test]
fn a_landing_says_what_is_wrong_with_its_configuration() {
    let site = Site::small();
    site.write();
    let good = std::fs::read_to_string(site.dir.join("landing.toml")).unwrap();
    let out = site.landing(&["check", "landing.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    for (right, wrong, word) in [
        ("policy = \"treatment\"", "policy = \"none\"", "spoilt.toml:8:10"),
        ("client_ca", "client-ca", "spoilt.toml:4:1"),
        ("landing.key.pem", "nowhere.pem", "nowhere.pem"),
        ("landing.key.pem", "gateway.key.pem", "gateway.key.pem"),
    ] {
        assert!(good.contains(right));
        std::fs::write(site.dir.join("spoilt.toml"), good.replacen(right, wrong, 1)).unwrap();
        for arguments in [&["check", "spoilt.toml"][..], &["run", "--config", "spoilt.toml"]] {
            let out = site.landing(arguments);
            assert!(matches!(out.status.code(), Some(1 | 2)), "{arguments:?} {wrong}: {}", shown(&out));
            assert!(shown(&out).contains(word), "{arguments:?} {wrong}: {}", shown(&out));
        }
    }
    let nowhere = site.landing(&["verify", "--root", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", shown(&nowhere));
}

fn known(message: &[u8]) -> Known {
    Known { sha256: sha256(message), connection: 0, acknowledged: true }
}

/// The programs that the other tests rely on find what is wrong.
#[test]
fn the_independent_readers_notice_what_is_missing() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let messages: Vec<Vec<u8>> = (1..=4).map(|n| hl7::observation(&format!("notice-{n}"), n)).collect();
    for message in &messages {
        accepted(site.ports.mllp, message);
        site.drained();
    }
    gateway.stop();
    landing.stop();
    let lake = site.root("lake");
    let problem = |sent: &[Known]| {
        let out = readers::account(sent, &lake, &[]);
        assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
        shown(&out)
    };
    let all: Vec<Known> = messages.iter().map(|m| known(m)).collect();
    readers::accounted_for(&all, &lake, &[]);
    let lost = [&messages[..], &[hl7::observation("never-sent", 9)]].concat();
    let lost: Vec<Known> = lost.iter().map(|m| known(m)).collect();
    assert!(problem(&lost).contains("is 0 rows"), "a lost message");
    assert!(problem(&all[1..]).contains("sent by nobody"), "a row too many");
    let swapped: Vec<Known> = [1, 0, 2, 3].iter().map(|n| known(&messages[*n])).collect();
    assert!(problem(&swapped).contains("out of order"), "another order");

    // A data file is taken away: everybody who looks says so.
    readers::sums(&lake);
    let parquet = |dir: &Path| {
        let files = fixtures::files(dir).into_iter().map(|(path, _)| path);
        files.filter(|path| path.extension().is_some_and(|e| e == "parquet")).min().unwrap()
    };
    let taken = parquet(&lake.join("raw"));
    let away = site.dir.join("away");
    std::fs::rename(&taken, &away).unwrap();
    let root = lake.to_str().unwrap();
    for program in ["tables.py", "second.py"] {
        let out = readers::reader(program, &[root]);
        assert_eq!(out.status.code(), Some(1), "{program}: {}", shown(&out));
    }
    let out = site.landing(&["verify", "--root", root]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    // A commit of the ledger is taken away.
    std::fs::rename(&away, &taken).unwrap();
    readers::sums(&lake);
    let mut commits: Vec<_> =
        fixtures::files(&lake.join("ledger/_delta_log")).into_iter().map(|f| f.0).collect();
    commits.sort();
    std::fs::remove_file(commits.pop().unwrap()).unwrap();
    for program in ["tables.py", "second.py"] {
        let out = readers::reader(program, &[root]);
        assert_eq!(out.status.code(), Some(1), "{program}: {}", shown(&out));
    }
    let out = site.landing(&["verify", "--root", root, "--json"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
}
