//! A box that is lost and comes back from its backup, with a landing that knows more than the backup does.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, with what it saw"
)]

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use system_tests::disk::SmallDisk;
use system_tests::mllp::{Load, Sent, accepted};
use system_tests::process::Process;
use system_tests::site::{Site, shown};
use system_tests::{fixtures, hl7, peers, readers, wait};

const BACKUP: [&str; 6] = ["backup", "--config", "gateway.toml", "--to", "box.backup", "--json"];
const RESTORE: [&str; 6] = ["restore", "--config", "gateway.toml", "--from", "box.backup", "--json"];

fn send(site: &Site, ids: std::ops::RangeInclusive<u64>) {
    for n in ids {
        accepted(site.ports.mllp, &hl7::observation(&format!("backup-{n}"), n));
    }
}

/// Epoch, number and control id of each row, in order.
fn landed(site: &Site) -> Vec<(u64, u64, String)> {
    readers::rows(&site.root("lake"), "raw")
        .iter()
        .map(|row| {
            let control_id = row["control_id"].as_str().unwrap().to_owned();
            (row["epoch"].as_u64().unwrap(), row["seq"].as_u64().unwrap(), control_id)
        })
        .collect()
}

/// The same without the epoch.
fn numbered(site: &Site) -> Vec<(u64, String)> {
    landed(site).into_iter().map(|(_, seq, id)| (seq, id)).collect()
}

/// Messages that fill the disk: letters that do not compress much.
fn send_large(site: &Site, count: u64) -> Vec<Sent> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut sent = Vec::new();
    for n in 0..count {
        let mut message = hl7::observation(&format!("large-{n}"), n);
        message.extend_from_slice(b"NTE|1||");
        message.extend((0..400_000).map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            LETTERS[(x % 64) as usize]
        }));
        message.push(b'\r');
        accepted(site.ports.mllp, &message);
        // Each over a connection of its own.
        sent.push(Sent { sender: 1_000 + n as usize, message, acknowledged: true });
    }
    sent
}

/// Runs it, expects this exit code, and gives what it said.
#[track_caller]
fn expect(site: &Site, arguments: &[&str], code: i32) -> String {
    let out: Output = site.wardgate(arguments);
    assert_eq!(out.status.code(), Some(code), "{arguments:?}: {}", shown(&out));
    shown(&out)
}

/// Everything that is in a folder, by name and content, but for what a look at it leaves behind.
fn content(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fixtures::files(dir).into_iter().filter(|(path, _)| path.is_file()).collect();
    files.sort();
    files
}

/// A message that safe-harbor cannot release: the patient's number is also a code in it.
fn ambiguous(control_id: &str) -> Vec<u8> {
    let text = String::from_utf8(hl7::observation(control_id, 4)).unwrap();
    let [_, _, mrn, ..] = hl7::identifiers(4);
    text.replace(&mrn, "8867-4").into_bytes()
}

#[test]
fn a_box_from_its_backup_sends_nothing_twice_and_goes_on_under_a_new_epoch() {
    let site = Site::new();
    let (mut gateway, mut landing) = site.start();
    send(&site, 1..=2);
    accepted(site.ports.mllp, &ambiguous("backup-3"));
    site.drained();
    // Three that nobody has when the backup is made, while the gateway runs.
    landing.stop();
    send(&site, 4..=6);
    let made = site.json(&BACKUP);
    assert_eq!(made["with_backlog"], true, "{made}");
    assert_eq!(made["unreadable_bytes"], 0, "{made}");
    let bytes = std::fs::read(site.dir.join("box.backup")).unwrap();
    let [name, ..] = hl7::identifiers(4);
    for secret in [name.as_bytes(), b"BEGIN PRIVATE KEY", b"[gateway]"] {
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "nothing of it is in the clear");
    }
    // The landing gets them after all, and two more that the backup does not know.
    let mut landing = {
        landing = site.start_landing();
        landing
    };
    site.drained();
    send(&site, 7..=8);
    site.drained();
    gateway.kill();

    // The box is gone, and so is its certificate. What is left: the backup, the root key, the configuration.
    std::fs::remove_dir_all(site.data()).unwrap();
    let key = site.certificate("gateway.key.pem");
    let lost = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let checked = site.json(&[&RESTORE[..], &["--check"]].concat());
    assert_eq!(checked["id"], made["id"]);
    assert!(!site.data().exists() && !key.exists(), "a check changes nothing");
    let restored = site.json(&RESTORE);
    assert_eq!(restored["id"], made["id"]);
    assert_eq!(restored["put_aside"], Value::Null);
    assert_eq!(restored["files"]["left"], Value::Array(Vec::new()), "{restored}");
    assert!(restored["files"]["written"].to_string().contains("gateway.key.pem"), "{restored}");
    assert_eq!(std::fs::read(&key).unwrap(), lost);
    expect(&site, &["spool", "verify", "--config", "gateway.toml"], 0);

    let mut gateway = site.start_gateway();
    send(&site, 9..=10);
    site.drained();
    let (before, since): (Vec<_>, Vec<_>) = landed(&site).into_iter().partition(|(epoch, ..)| *epoch == 1);
    let expected: Vec<(u64, u64, String)> = (1..=8).map(|n| (1, n, format!("backup-{n}"))).collect();
    assert_eq!(before, expected);
    // The numbers after the backup are used again, under a later epoch.
    let since: Vec<(u64, &str)> = since.iter().map(|(_, seq, id)| (*seq, id.as_str())).collect();
    assert_eq!(since, [(7, "backup-9"), (8, "backup-10")]);
    // What was held is still held, and a person can still decide.
    let held = site.json(&["held", "list", "--config", "gateway.toml", "--json"]);
    assert_eq!(held[0]["id"], "clinical-1-3", "{held}");
    expect(&site, &["held", "dismiss", "clinical-1-3", "--to", "research", "--config", "gateway.toml"], 0);
    let trace = site.json(&["trace", "clinical-1-2", "--config", "gateway.toml", "--json"]);
    assert_eq!(trace["destinations"][0]["outcome"], "landed", "{trace}");
    gateway.stop();
    landing.stop();
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}

#[test]
fn what_nobody_had_yet_arrives_once_from_the_backup() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    let load = Load::start(site.ports.mllp, 3, "before", Duration::from_millis(2));
    load.progress(50);
    landing.stop();
    load.progress(200);
    let sent = load.stop();
    // The gateway is stopped: the spool itself is read.
    gateway.stop();
    expect(&site, &BACKUP, 0);
    std::fs::remove_dir_all(site.data()).unwrap();
    expect(&site, &RESTORE, 0);
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    readers::sums(&site.root("lake"));
    let epochs: Vec<u64> = landed(&site).iter().map(|(epoch, ..)| *epoch).collect();
    assert!(epochs.is_sorted() && epochs.last() > Some(&1), "{epochs:?}");
    site.nothing_to_find();
}

#[test]
fn without_the_backlog_the_ledger_says_what_is_missing() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    send(&site, 1..=2);
    site.drained();
    landing.stop();
    send(&site, 3..=5);
    let made = site.json(&[&BACKUP[..], &["--without-backlog"]].concat());
    assert_eq!(made["with_backlog"], false);
    gateway.kill();
    std::fs::remove_dir_all(site.data()).unwrap();
    expect(&site, &RESTORE, 0);
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    send(&site, 6..=6);
    site.drained();
    let expected = [(1, "backup-1"), (2, "backup-2"), (6, "backup-6")];
    assert_eq!(numbered(&site), expected.map(|(seq, id)| (seq, id.to_owned())));
    let ledger = readers::rows(&site.root("lake"), "ledger");
    let skipped: u64 = ledger.iter().map(|batch| batch["skipped"].as_u64().unwrap()).sum();
    assert_eq!(skipped, 3, "{ledger:?}");
    // Under a name of its own: another disk may have them.
    let epoch = ledger.iter().find(|batch| batch["skipped"] != 0).unwrap()["epoch"].as_u64().unwrap();
    let id = format!("clinical-{epoch}-4");
    let trace = site.json(&["trace", &id, "--config", "gateway.toml", "--json"]);
    let fate = &trace["destinations"][0];
    assert_eq!((&fate["outcome"], &fate["reason"]), (&"skipped".into(), &"quarantined".into()), "{trace}");
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
}

#[test]
fn whatever_is_wrong_is_said_and_nothing_is_changed() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    send(&site, 1..=3);
    site.drained();
    expect(&site, &BACKUP, 0);
    let said = expect(&site, &BACKUP, 1);
    assert!(said.contains("never overwritten"), "{said}");
    let said = expect(&site, &[&RESTORE[..], &["--replace"]].concat(), 1);
    assert!(said.contains("in use by another process"), "{said}");
    gateway.stop();
    // What root would write there the gateway's user could not open.
    let place = site.data().join("spool");
    if std::os::unix::fs::chown(&place, Some(1234), None).is_ok() {
        let said = expect(&site, &["backup", "--config", "gateway.toml", "--to", "other.backup"], 1);
        assert!(said.contains("belongs to user 1234"), "{said}");
        std::os::unix::fs::chown(&place, Some(0), None).unwrap();
    }
    let before = content(&place);
    let said = expect(&site, &RESTORE, 1);
    assert!(said.contains("--replace"), "{said}");

    // Another key: a new one, as somebody would make who has lost the right one.
    let key = site.dir.join("root.key");
    let right = std::fs::read(&key).unwrap();
    let text = String::from_utf8(right.clone()).unwrap();
    let digit = if text.trim_end().ends_with('0') { "1" } else { "0" };
    let end = text.trim_end().len() - 1;
    std::fs::write(&key, format!("{}{digit}\n", &text[..end])).unwrap();
    let said = expect(&site, &[&RESTORE[..], &["--replace"]].concat(), 1);
    assert!(said.contains("another root key"), "{said}");
    std::fs::write(&key, right).unwrap();

    let whole = std::fs::read(site.dir.join("box.backup")).unwrap();
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] ^= 1;
    for (bytes, word) in [(&whole[..middle], "cut off"), (&changed[..], "damaged"), (b"text", "cut off")] {
        std::fs::write(site.dir.join("box.backup"), bytes).unwrap();
        let said = expect(&site, &[&RESTORE[..], &["--replace"]].concat(), 1);
        assert!(said.contains(word), "{said}");
    }
    assert!(content(&site.data().join("spool")) == before, "nothing was changed");

    // A box without anything: the configuration too comes from the backup, once somebody says where the key is.
    std::fs::write(site.dir.join("box.backup"), &whole).unwrap();
    let configuration = site.dir.join("gateway.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::remove_file(&configuration).unwrap();
    std::fs::remove_dir_all(site.data()).unwrap();
    let said = expect(&site, &RESTORE, 1);
    assert!(said.contains("--key-file"), "{said}");
    let restored = site.json(&[&RESTORE[..], &["--key-file", "root.key"]].concat());
    assert!(restored["files"]["written"].to_string().contains("gateway.toml"), "{restored}");
    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), text);
    let mut gateway = site.start_gateway();
    send(&site, 4..=4);
    site.drained();
    let ids: Vec<String> = landed(&site).into_iter().map(|(.., id)| id).collect();
    assert_eq!(ids, ["backup-1", "backup-2", "backup-3", "backup-4"]);
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

#[test]
fn a_restore_that_is_killed_anywhere_leaves_the_old_box_or_the_new_one() {
    let site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    send_large(&site, 40);
    expect(&site, &BACKUP, 0);
    send(&site, 100..=100);
    gateway.stop();
    let last = |site: &Site| {
        let stat = site.json(&["spool", "stat", "--config", "gateway.toml", "--json"]);
        let logs = stat["logs"].as_array().unwrap().clone();
        let clinical = logs.iter().find(|log| log["name"] == "clinical").unwrap().clone();
        (clinical["epoch"].as_u64().unwrap(), clinical["last"].as_u64().unwrap())
    };
    assert_eq!(last(&site), (1, 41));
    let arguments = [&RESTORE[..], &["--replace"]].concat();
    let mut was_killed = 0;
    for round in 0..12 {
        let mut restore = Process::start("restore", &peers::wardgate(), &arguments, &site.dir, &site.logs());
        std::thread::sleep(Duration::from_millis(10 + round * 12));
        was_killed += u32::from(restore.runs());
        restore.kill();
        expect(&site, &["spool", "verify", "--config", "gateway.toml"], 0);
        let now = last(&site);
        assert!(now == (1, 41) || now == (2, 40), "round {round}: {now:?}");
    }
    assert!(was_killed > 2, "{was_killed}");
    // And in the end it is what was asked for.
    expect(&site, &arguments, 0);
    assert_eq!(last(&site), (2, 40));
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    site.drained();
    wait::until("every row", || (landed(&site).len() == 40).then_some(()));
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("lake"));
    site.nothing_to_find();
}

/// As the operator has it who restored a box that was not dead, and another one by mistake.
#[test]
fn one_backup_on_two_boxes_and_the_old_box_land_every_record_once() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    send(&site, 1..=2);
    site.drained();
    landing.stop();
    send(&site, 3..=6);
    expect(&site, &BACKUP, 0);
    gateway.kill();
    let (data, place) = (site.data(), |name: &str| site.dir.join(name));
    std::fs::rename(&data, place("old")).unwrap();
    let mut landing = site.start_landing();
    let turn = |name: &str, id: u64| {
        std::fs::rename(place(name), &data).unwrap();
        let mut gateway = site.start_gateway();
        site.drained();
        send(&site, id..=id);
        site.drained();
        gateway.stop();
        site.nothing_to_find();
        std::fs::rename(&data, place(name)).unwrap();
    };
    for (name, id) in [("one", 7), ("other", 8)] {
        expect(&site, &RESTORE, 0);
        std::fs::rename(&data, place(name)).unwrap();
        turn(name, id);
    }
    for (name, id) in [("one", 9), ("old", 10), ("other", 11)] {
        turn(name, id);
    }
    landing.stop();
    let rows = landed(&site);
    let mut numbers: Vec<(u64, u64)> = rows.iter().map(|(epoch, seq, _)| (*epoch, *seq)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), rows.len(), "no number stands for two records: {rows:?}");
    let mut ids: Vec<String> = rows.into_iter().map(|(.., id)| id).collect();
    ids.sort_unstable();
    let mut expected: Vec<String> = (1..=11).map(|n| format!("backup-{n}")).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected, "each once");
    readers::sums(&site.root("lake"));
}

#[test]
fn a_backup_that_is_killed_costs_nothing_and_the_next_one_is_made() {
    let site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    let large = send_large(&site, 60);
    let load = Load::start(site.ports.mllp, 2, "during", Duration::from_millis(5));
    let start = |to: &str| {
        let arguments = ["backup", "--config", "gateway.toml", "--to", to];
        Process::start("backup", &peers::wardgate(), &arguments, &site.dir, &site.logs())
    };
    let is_whole = |name: &str| {
        let check = ["restore", "--config", "gateway.toml", "--from", name, "--check"];
        expect(&site, &check, 0);
    };
    let mut was_killed = 0;
    for round in 0..8 {
        let name = format!("{round}.backup");
        let mut backup = start(&name);
        std::thread::sleep(Duration::from_millis(20 + round * 40));
        was_killed += u32::from(backup.runs());
        backup.kill();
        // A file that has its name is whole.
        if site.dir.join(&name).exists() {
            is_whole(&name);
        }
    }
    assert!(was_killed > 2, "{was_killed}");
    // Under the same name, in spite of what the killed one left.
    expect(&site, &["backup", "--config", "gateway.toml", "--to", "next.backup"], 0);
    is_whole("next.backup");
    // The gateway goes in the middle of one.
    let mut backup = start("broken.backup");
    let partial = site.dir.join("broken.backup.partial");
    wait::until("the first of it", || partial.metadata().ok().filter(|m| m.len() > 1 << 20).map(drop));
    gateway.kill();
    assert_eq!(backup.exit_code(), 1, "{}", backup.tail());
    assert!(!partial.exists() && !site.dir.join("broken.backup").exists(), "half a backup is none");
    let mut gateway = site.start_gateway();
    let mut landing = site.start_landing();
    load.progress(20);
    let sent = large.into_iter().chain(load.stop()).collect::<Vec<_>>();
    site.drained();
    gateway.stop();
    landing.stop();
    readers::accounted(&sent, &site.root("lake"), &[]);
    site.nothing_to_find();
}

#[test]
fn a_full_disk_leaves_no_backup_and_no_spool() {
    let site = Site::small();
    site.write();
    let mut gateway = site.start_gateway();
    send_large(&site, 40);
    let small = site.dir.join("small");
    let Some(disk) = SmallDisk::mount(&small, 8) else { return };
    let said = expect(&site, &["backup", "--config", "gateway.toml", "--to", "small/box.backup"], 1);
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0, "half a backup is none");
    drop(disk);
    expect(&site, &BACKUP, 0);
    gateway.stop();
    std::fs::rename(site.data(), site.dir.join("before")).unwrap();
    let Some(disk) = SmallDisk::mount(&site.data(), 8) else { return };
    let said = expect(&site, &RESTORE, 1);
    assert!(said.contains("No space left"), "{said}");
    assert_eq!(std::fs::read_dir(site.data()).unwrap().count(), 0, "nothing that could be taken for a spool");
    drop(disk);
    expect(&site, &RESTORE, 0);
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    site.drained();
    assert_eq!(landed(&site).len(), 40);
    gateway.stop();
    landing.stop();
}

/// Over a line to another machine, where the recovery copy opens it.
#[test]
fn a_backup_goes_to_standard_output_and_opens_with_the_recovery_copy() {
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    send(&site, 1..=3);
    site.drained();
    let words = site.dir.join("words");
    std::fs::write(&words, "words that lie in a safe\n").unwrap();
    std::fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let escrow =
        ["keys", "escrow", "--out", "safe.key", "--passphrase", "file:words", "--config", "gateway.toml"];
    expect(&site, &escrow, 0);
    let out = site.wardgate(&["backup", "--config", "gateway.toml", "--to", "-", "--json"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    let made: Value = serde_json::from_slice(&out.stderr).unwrap();
    assert_eq!(made["bytes"], out.stdout.len());
    assert_eq!(made["sha256"], system_tests::sha256(&out.stdout));
    std::fs::write(site.dir.join("box.backup"), &out.stdout).unwrap();
    gateway.kill();

    // The box is lost with its root key.
    std::fs::remove_dir_all(site.data()).unwrap();
    std::fs::remove_file(site.dir.join("root.key")).unwrap();
    let said = expect(&site, &RESTORE, 1);
    assert!(said.contains("root.key"), "{said}");
    let restored = site.json(&[&RESTORE[..], &["--key-file", "safe.key"]].concat());
    assert!(restored["key_belongs_in"].as_str().unwrap().ends_with("root.key"), "{restored}");
    expect(&site, &["keys", "recover", "--from", "safe.key", "--config", "gateway.toml"], 0);
    let mut gateway = site.start_gateway();
    send(&site, 4..=4);
    site.drained();
    assert_eq!(numbered(&site), [1, 2, 3, 4].map(|n| (n, format!("backup-{n}"))));
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}
