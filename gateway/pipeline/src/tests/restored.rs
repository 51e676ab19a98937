//! Boxes that come back from a backup, and the destinations that know more than the backup does.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{AuditAction, Clock, Reason, Timestamp};
use spool::RootKey;
use spool::backup::{Backup, Plan};
use spool::{AuditReader, AuditStep};

use super::support::*;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }
}

fn back_up(gateway: &TestBox, to: &Path, with_backlog: bool) {
    let plan =
        Plan { gateway: slug("ward-3"), version: "0.0.0".to_owned(), with_backlog, documents: Vec::new() };
    let mut file = fs::File::create(to).unwrap();
    gateway.handle.spool().backup(&plan, Still.now(), &mut file).unwrap();
}

/// Another box from the backup, with the root key of the first.
fn restore(backup: &Path, key: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("root.key");
    fs::copy(key, &place).unwrap();
    let root = RootKey::from_file(&place, false).unwrap();
    let backup = Backup::open(backup, &root, Some(&slug("ward-3"))).unwrap();
    backup.restore(&dir.path().join("spool"), &small(), Arc::new(Still), false).unwrap();
    dir
}

async fn start(dir: &Path, lake: &Arc<Landing>, second: &Arc<Landing>) -> TestBox {
    let routes = vec![route("lake", "treatment", lake), route("second", "treatment", second)];
    TestBox::start(dir, vec![feed("adt", None)], routes).await
}

/// How often the audit log says that somebody else delivers under this name.
async fn company(gateway: &TestBox) -> usize {
    let mut reader = AuditReader::new(gateway.handle.spool().journal(), 0);
    let mut count = 0;
    while let Some(step) = reader.next().await.unwrap() {
        let AuditStep::Entry(record) = step else { panic!("the audit log is whole") };
        let event = record.entry.unwrap().event;
        let is_it = event.detail.contains("another disk delivers as this gateway");
        count += usize::from(event.action == AuditAction::EpochAdopted && is_it);
    }
    count
}

/// The one that was backed up, and two that were restored from it, one after the other and at once.
#[tokio::test(flavor = "multi_thread")]
async fn one_backup_on_two_boxes_and_the_old_box_deliver_each_record_once() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let old = start(dir.path(), &lake, &second).await;
    old.hl7("MRN1", "C1").await;
    old.hl7("MRN1", "C2").await;
    old.idle().await;
    // What nobody has when the backup is made.
    for _ in 0..10_000 {
        lake.fault(Fault::Away);
        second.fault(Fault::Away);
    }
    for n in 3..=6 {
        old.hl7("MRN1", &format!("C{n}")).await;
    }
    let backup = elsewhere.path().join("box.backup");
    back_up(&old, &backup, true);
    old.stop().await;
    for landing in [&lake, &second] {
        landing.0.lock().unwrap().faults.clear();
    }

    let key = dir.path().join("root.key");
    let (one, other) = (restore(&backup, &key), restore(&backup, &key));
    let one = start(one.path(), &lake, &second).await;
    one.hl7("MRN2", "C7").await;
    one.idle().await;
    assert_eq!(company(&one).await, 0, "it has taken its name, and nobody was there since");
    let other = start(other.path(), &lake, &second).await;
    other.idle().await;
    other.hl7("MRN3", "C8").await;
    other.idle().await;
    one.hl7("MRN2", "C9").await;
    one.idle().await;
    assert!(company(&one).await > 0, "the first one notices the second");
    one.stop().await;
    other.stop().await;
    // The box that was taken for dead is switched on again.
    let old = start(dir.path(), &lake, &second).await;
    old.idle().await;
    old.hl7("MRN4", "C10").await;
    old.idle().await;
    old.stop().await;
    for landing in [&lake, &second] {
        landing.audit();
        let sent: Vec<String> = [1, 1, 1, 1, 1, 1, 2, 3, 2, 4]
            .iter()
            .zip(1..)
            .map(|(mrn, n)| message(&format!("MRN{mrn}"), &format!("C{n}")))
            .collect();
        assert_eq!(landing.payloads(), sent, "each once");
    }
}

/// Both at work on what the backup has, at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_boxes_at_once_on_one_backlog_deliver_it_once() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let old = start(dir.path(), &lake, &second).await;
    old.hl7("MRN1", "C0").await;
    old.idle().await;
    for _ in 0..10_000 {
        lake.fault(Fault::Away);
        second.fault(Fault::Away);
    }
    for n in 1..=300 {
        old.hl7("MRN1", &format!("C{n}")).await;
    }
    let backup = elsewhere.path().join("box.backup");
    back_up(&old, &backup, true);
    old.stop().await;
    for landing in [&lake, &second] {
        let mut shelf = landing.0.lock().unwrap();
        shelf.faults.clear();
        for n in 0..12 {
            shelf.faults.push_back(if n % 3 == 0 { Fault::LoseAnswer } else { Fault::Away });
        }
    }
    let key = dir.path().join("root.key");
    let (one, other) = (restore(&backup, &key), restore(&backup, &key));
    let one = start(one.path(), &lake, &second).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let other = start(other.path(), &lake, &second).await;
    for gateway in [&one, &other] {
        gateway.idle().await;
    }
    for landing in [&lake, &second] {
        landing.audit();
        let mut ids = landing.payloads();
        assert_eq!(ids.len(), 301);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 301, "each once");
    }
    one.stop().await;
    other.stop().await;
}

/// What the restored box cannot read is a skip of its own; the old one, switched on again, delivers it after all.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_box_has_not_is_not_settled_for_the_box_that_has_it() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let old = start(dir.path(), &lake, &second).await;
    old.hl7("MRN1", "C1").await;
    old.idle().await;
    for _ in 0..10_000 {
        lake.fault(Fault::Away);
        second.fault(Fault::Away);
    }
    for n in 2..=4 {
        old.hl7("MRN1", &format!("C{n}")).await;
    }
    let backup = elsewhere.path().join("box.backup");
    back_up(&old, &backup, false);
    old.stop().await;
    for landing in [&lake, &second] {
        landing.0.lock().unwrap().faults.clear();
    }
    let one = restore(&backup, &dir.path().join("root.key"));
    let one = start(one.path(), &lake, &second).await;
    one.hl7("MRN2", "C5").await;
    one.idle().await;
    one.stop().await;
    for landing in [&lake, &second] {
        assert_eq!(landing.skips(), [2, 3, 4].map(|n| (n, Reason::Quarantined)));
    }
    let old = start(dir.path(), &lake, &second).await;
    old.idle().await;
    old.stop().await;
    for landing in [&lake, &second] {
        landing.audit();
        let sent = [(1, 1), (2, 5), (1, 2), (1, 3), (1, 4)];
        let sent = sent.map(|(mrn, n)| message(&format!("MRN{mrn}"), &format!("C{n}")));
        assert_eq!(landing.payloads(), sent, "each once");
    }
}
