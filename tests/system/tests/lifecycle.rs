//! What operators change while records are on their way: policies, destinations, held records, the disk itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use serde_json::Value;
use system_tests::mllp::accepted;
use system_tests::proxy::Proxy;
use system_tests::site::{Destination, Site, shown};
use system_tests::{hl7, mllp, peers, readers, wait};

/// A site's own policy, label safe-harbor: the built-in one, with or without a patient's sex.
fn policies(site: &mut Site) {
    let text =
        std::fs::read_to_string(peers::repository().join("gateway/deid/policies/safe-harbor.toml")).unwrap();
    let strict = text.replacen("[fields]\n", "[fields]\n\"PID-8\" = \"remove\"\n", 1);
    assert_ne!(strict, text);
    std::fs::write(site.dir.join("with-sex.toml"), text).unwrap();
    std::fs::write(site.dir.join("without-sex.toml"), strict).unwrap();
    site.more = "[[policy]]\nname = \"with-sex\"\nfile = \"with-sex.toml\"\n\
                 [[policy]]\nname = \"without-sex\"\nfile = \"without-sex.toml\"\n"
        .to_owned();
    "with-sex".clone_into(&mut site.destinations[0].policy);
}

fn research() -> Site {
    Site::with(vec![Destination::new("research", "safe-harbor")])
}

/// PID-8 of each row of `raw`, and the name of the policy that shaped it.
fn sexes(site: &Site) -> Vec<(String, String)> {
    readers::rows(&site.root("research"), "raw")
        .iter()
        .map(|row| {
            let payload = hex::decode(row["payload"].as_str().unwrap()).unwrap();
            let sex = hl7::field(&payload, "PID", 8).unwrap_or_default();
            let name = row["policy_name"].as_str().unwrap().to_owned();
            (String::from_utf8(sex.to_vec()).unwrap(), name)
        })
        .collect()
}

fn trace(site: &Site, id: &str) -> Value {
    site.json(&["trace", id, "--config", "gateway.toml", "--json"])
}

/// What became of a record at a destination.
fn fate(site: &Site, id: &str, destination: &str) -> Value {
    let trace = trace(site, id);
    let fates = trace["destinations"].as_array().unwrap();
    fates.iter().find(|fate| fate["destination"] == destination).cloned().unwrap_or(Value::Null)
}

/// The epoch of a log that goes on under another name: the second fences what may still be on its way under the former.
const RENAMED: u64 = 3;

#[test]
fn a_policy_changed_before_the_commit_shapes_the_batch() {
    let mut site = research();
    policies(&mut site);
    site.write();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("policy-1", 1));
    site.complaint("research", "not reachable");
    gateway.stop();
    "without-sex".clone_into(&mut site.destinations[0].policy);
    let (mut gateway, mut landing) = site.start();
    site.drained();
    assert_eq!(sexes(&site), [(String::new(), "without-sex".to_owned())]);
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn a_batch_whose_answer_was_lost_keeps_the_policy_that_shaped_it() {
    let mut site = research();
    policies(&mut site);
    let proxy = Proxy::start(site.ports.landing);
    site.destinations[0].port = Some(proxy.port());
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::observation("lost-1", 1));
    site.drained();
    // The landing commits the second; the gateway never hears of it.
    proxy.lose_answers();
    accepted(site.ports.mllp, &hl7::observation("lost-2", 2));
    wait::until("the landing to commit", || {
        (readers::rows(&site.root("research"), "raw").len() == 2).then_some(())
    });
    gateway.kill();
    "without-sex".clone_into(&mut site.destinations[0].policy);
    site.write();
    proxy.cut();
    proxy.mend();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("lost-3", 3));
    site.drained();
    let with = || ("F".to_owned(), "with-sex".to_owned());
    assert_eq!(sexes(&site), [with(), with(), (String::new(), "without-sex".to_owned())]);
    // The trace tells the same story as the ledger.
    let ledger = readers::rows(&site.root("research"), "ledger");
    for (seq, name) in [(1, "with-sex"), (2, "with-sex"), (3, "without-sex")] {
        let fate = fate(&site, &format!("clinical-1-{seq}"), "research");
        let batch = ledger.iter().find(|batch| batch["first"] == seq).unwrap();
        assert_eq!(fate["outcome"], "landed", "{fate}");
        assert_eq!(fate["manifest_sha256"], batch["manifest_sha256"], "{fate} {batch}");
        assert_eq!((&fate["policy"]["name"], &batch["policy_name"]), (&name.into(), &name.into()));
    }
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("research"));
    site.nothing_to_find();
}

#[test]
fn a_destination_that_is_added_begins_now_and_one_that_is_removed_gets_no_more() {
    let mut site = Site::small();
    site.roots.push(Destination::new("research", "safe-harbor"));
    let (mut gateway, mut landing) = site.start();
    let send = |site: &Site, ids: std::ops::RangeInclusive<u64>| {
        for n in ids {
            accepted(site.ports.mllp, &hl7::observation(&format!("dest-{n}"), n));
        }
        site.drained();
    };
    let seqs = |site: &Site, destination: &str| -> Vec<u64> {
        let rows = readers::rows(&site.root(destination), "raw");
        rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
    };
    send(&site, 1..=5);

    // Added: from now on.
    let mut research = Destination::new("research", "safe-harbor");
    research.start = "now".to_owned();
    site.destinations.push(research);
    site.write();
    gateway.stop();
    gateway = site.start_gateway();
    send(&site, 6..=8);
    assert_eq!(seqs(&site, "research"), [6, 7, 8]);
    assert_eq!(seqs(&site, "lake"), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(fate(&site, "clinical-1-3", "research")["outcome"], "before-beginning");
    assert_eq!(fate(&site, "clinical-1-3", "lake")["outcome"], "landed");

    // Removed: no more.
    let lake = site.destinations.remove(0);
    site.write();
    gateway.stop();
    gateway = site.start_gateway();
    send(&site, 9..=10);
    assert_eq!(seqs(&site, "research"), [6, 7, 8, 9, 10]);
    assert_eq!(seqs(&site, "lake").len(), 8);
    assert_eq!(fate(&site, "clinical-1-9", "lake"), Value::Null);

    // Named again, from the oldest on: it gets what it missed, and nothing twice.
    site.destinations.push(lake);
    site.write();
    gateway.stop();
    gateway = site.start_gateway();
    send(&site, 11..=12);
    assert_eq!(seqs(&site, "lake"), (1..=12).collect::<Vec<u64>>());
    assert_eq!(seqs(&site, "research"), [6, 7, 8, 9, 10, 11, 12]);
    gateway.stop();
    landing.stop();
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}

/// A message whose patient's number is also a code in it: safe-harbor cannot tell them apart and holds it.
fn ambiguous(control_id: &str) -> Vec<u8> {
    let text = String::from_utf8(hl7::observation(control_id, 4)).unwrap();
    let [_, _, mrn, ..] = hl7::identifiers(4);
    text.replace(&mrn, "8867-4").into_bytes()
}

#[test]
fn a_held_record_that_a_person_mends_lands_with_its_story() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    // Something that is no message, and something that one policy cannot release.
    let answer = mllp::send(site.ports.mllp, b"PID|1||4711\r");
    assert_eq!(answer.code(), "AR", "{answer:?}");
    let doubtful = ambiguous("held-2");
    accepted(site.ports.mllp, &doubtful);
    accepted(site.ports.mllp, &hl7::observation("held-3", 3));
    site.drained();
    let held = || site.json(&["held", "list", "--config", "gateway.toml", "--json"]);
    let ids: Vec<(String, String)> = held()
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (item["id"].as_str().unwrap().to_owned(), item["destination"].as_str().unwrap().to_owned())
        })
        .collect();
    let expect = |id: &str, destination: &str| (id.to_owned(), destination.to_owned());
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            expect("clinical-1-1", "lake"),
            expect("clinical-1-1", "research"),
            expect("clinical-1-2", "research")
        ]
    );
    let fate_of = |id: &str, destination: &str| fate(&site, id, destination);
    let waiting = fate_of("clinical-1-2", "research");
    assert_eq!((&waiting["outcome"], &waiting["held"]), (&"skipped".into(), &true.into()), "{waiting}");
    let text = site.wardgate(&["trace", "clinical-1-2", "--config", "gateway.toml"]);
    assert!(shown(&text).contains("waits in the held log"), "{}", shown(&text));

    // Somebody mends the doubtful one, and lets the patient's next follow.
    std::fs::write(site.dir.join("mended.hl7"), hl7::observation("held-2", 4)).unwrap();
    let release = |id: &str, to: &str, edited: &[&str]| {
        let mut arguments = vec!["held", "release", id, "--to", to, "--config", "gateway.toml"];
        arguments.extend(edited);
        site.wardgate(&arguments)
    };
    let out = release("clinical-1-2", "research", &["--edited", "mended.hl7"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    assert!(shown(&out).contains("on its way to research as clinical-1-4"), "{}", shown(&out));
    // The other is given to the lake as it is: under treatment it still is no message, so it is held again.
    let out = release("clinical-1-1", "lake", &[]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    let out =
        site.wardgate(&["held", "dismiss", "clinical-1-1", "--to", "research", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    site.drained();

    let still: Vec<Value> = held().as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(still, ["clinical-1-5"], "the copy of what is no message");
    let copy = trace(&site, "clinical-1-4");
    assert_eq!(copy["arrival"]["origin"], "clinical-1-2", "{copy}");
    assert_eq!(fate_of("clinical-1-4", "research")["outcome"], "landed");
    assert_eq!(fate_of("clinical-1-4", "lake")["reason"], "not-addressed");
    let rows = readers::rows(&site.root("research"), "raw");
    let named: Vec<(&str, Option<&str>)> =
        rows.iter().map(|row| (row["record_id"].as_str().unwrap(), row["origin"].as_str())).collect();
    assert_eq!(named, [("clinical-1-3", None), ("clinical-1-4", Some("clinical-1-2"))]);
    let lake: Vec<Vec<u8>> = readers::payloads(&site.root("lake"));
    assert_eq!(lake, [doubtful, hl7::observation("held-3", 3)]);

    // A record that is not held, or not there: a clear word and exit code 1.
    let out = release("clinical-1-3", "research", &[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(shown(&out).contains("not held"), "{}", shown(&out));
    let out = site.wardgate(&["trace", "clinical-1-99", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));

    // A replay of what landed long ago goes to one destination.
    let out = site.wardgate(&["replay", "clinical-1-3", "--to", "lake", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    site.drained();
    let rows = readers::rows(&site.root("lake"), "raw");
    assert_eq!(rows.last().unwrap()["origin"], "clinical-1-3");
    assert_eq!(rows.len(), 3);
    gateway.stop();
    // Nobody to talk to: exit code 3.
    let out = site.wardgate(&["held", "list", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(3), "{}", shown(&out));
    landing.stop();
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}

/// Sends observations, each once; returns them.
fn observed(site: &Site, name: &str, ids: std::ops::RangeInclusive<u64>) -> Vec<Vec<u8>> {
    let send = |n| {
        let message = hl7::observation(&format!("{name}-{n}"), n);
        accepted(site.ports.mllp, &message);
        message
    };
    ids.map(send).collect()
}

#[test]
fn a_new_disk_gets_a_new_epoch_and_an_old_disk_put_back_delivers_what_it_had() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let send = |ids| observed(&site, "disk", ids);
    let mut sent = send(1..=4);
    site.drained();
    // Two more that the landing does not get before the disk is taken out.
    landing.stop();
    let late = send(5..=6);
    gateway.kill();
    let (data, shelf) = (site.data(), site.dir.join("shelf"));
    std::fs::rename(&data, &shelf).unwrap();

    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    sent.extend(send(7..=9));
    site.drained();
    assert_eq!(site.status().unwrap()["lanes"][1]["epoch"], 2);
    gateway.stop();

    // The old disk, in the box again: what it still had arrives, under an epoch of its own.
    std::fs::rename(&data, site.dir.join("second")).unwrap();
    std::fs::rename(&shelf, &data).unwrap();
    let mut gateway = site.start_gateway();
    site.drained();
    sent.extend(late);
    let rows = readers::rows(&site.root("lake"), "raw");
    let places: Vec<(u64, u64)> =
        rows.iter().map(|row| (row["epoch"].as_u64().unwrap(), row["seq"].as_u64().unwrap())).collect();
    assert_eq!(places, [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3), (3, 5), (3, 6)]);
    assert_eq!(readers::payloads(&site.root("lake")), sent);
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn tables_that_are_lost_are_filled_again_from_what_the_box_keeps() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let send = |ids| observed(&site, "lost", ids);
    let mut sent = send(1..=4);
    site.drained();
    landing.stop();
    std::fs::rename(site.root("lake"), site.dir.join("lost")).unwrap();
    let mut landing = site.start_landing();
    sent.extend(send(5..=6));
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), sent);
    readers::sums(&site.root("lake"));
    // The name that the sender's log knows leads to the row, whatever that is called.
    let fate = fate(&site, "clinical-1-2", "lake");
    assert_eq!((&fate["outcome"], &fate["record"]), (&"landed".into(), &"clinical-2-2".into()), "{fate}");
    // Once is enough: a restart of either sends nothing again.
    gateway.stop();
    landing.stop();
    let (mut gateway, mut landing) = site.start();
    sent.extend(send(7..=7));
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), sent);
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

/// Control ids of the rows in the lake, in order, each with its epoch.
fn landed(site: &Site) -> Vec<(u64, String)> {
    readers::rows(&site.root("lake"), "raw")
        .iter()
        .map(|row| (row["epoch"].as_u64().unwrap(), row["control_id"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn a_disk_that_was_set_back_delivers_what_came_in_since_and_nothing_twice() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let send = |ids: std::ops::RangeInclusive<u64>| {
        for n in ids {
            accepted(site.ports.mllp, &hl7::observation(&format!("back-{n}"), n));
        }
    };
    send(1..=3);
    site.drained();
    gateway.stop();
    let backup = site.dir.join("backup");
    copy(&site.data(), &backup);
    let mut gateway = site.start_gateway();
    send(4..=6);
    site.drained();
    gateway.stop();
    // Yesterday's copy of the disk: its next numbers, from 4 on, were given to other records. Until it meets the
    // landing it takes in more than it ever missed, and is restarted.
    std::fs::remove_dir_all(site.data()).unwrap();
    std::fs::rename(&backup, site.data()).unwrap();
    landing.stop();
    let mut gateway = site.start_gateway();
    send(7..=9);
    gateway.kill();
    let mut gateway = site.start_gateway();
    send(10..=12);
    let mut landing = site.start_landing();
    site.drained();
    send(13..=13);
    site.drained();
    let expected: Vec<(u64, String)> =
        (1..=13).map(|n| (if n <= 6 { 1 } else { RENAMED }, format!("back-{n}"))).collect();
    assert_eq!(landed(&site), expected);
    // Delivery notices it, or the receipts of the audit log do: whichever meets the landing first.
    assert!(gateway.log().contains("disk was set back"), "it says so: {}", gateway.tail());
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

#[test]
fn a_log_that_lost_its_end_goes_on_under_a_new_epoch_and_sends_nothing_twice() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576".to_owned();
    let (mut gateway, mut landing) = site.start();
    // Five of them fill a segment.
    let send = |ids: std::ops::RangeInclusive<u64>| {
        for n in ids {
            accepted(site.ports.mllp, &hl7::large(&format!("end-{n}"), n));
        }
    };
    send(1..=12);
    site.drained();
    gateway.stop();
    let segments = || {
        let entries = std::fs::read_dir(site.data().join("spool/logs/clinical")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.extension().is_some_and(|e| e == "seg"));
        names.sort();
        names
    };
    assert!(segments().len() > 2);
    std::fs::remove_file(segments().pop().unwrap()).unwrap();
    let out = site.wardgate(&["spool", "verify", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    let mut gateway = site.start_gateway();
    send(13..=15);
    site.drained();
    let expected: Vec<(u64, String)> =
        (1..=15).map(|n| (if n <= 12 { 1 } else { RENAMED }, format!("end-{n}"))).collect();
    assert_eq!(landed(&site), expected);
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
