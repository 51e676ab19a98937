//! The outside anchor: what a landing's receipts tell of a disk.

use std::fs;
use std::path::Path;

use model::{AuditAction, AuditEvent, Timestamp};
use spool::{AuditReader, AuditStep, check_audit};

use super::support::*;
use crate::*;

/// The same as it lies on the disk at this moment.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

async fn start(dir: &Path, landing: &Arc<Landing>) -> TestBox {
    TestBox::start(dir, vec![feed("adt", None)], vec![route("lake", "treatment", landing)]).await
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// Waits until the newest receipt covers the clinical lane up to a number.
async fn receipted(landing: &Landing, seq: Seq) {
    until("receipted", || {
        landing.checkpoints().last().and_then(|c| c.head("clinical").map(|h| h.seq)) == Some(seq)
    })
    .await;
}

/// What the audit log says of logs that were set back: subject and detail.
pub(super) async fn set_backs(gateway: &TestBox) -> Vec<(String, String)> {
    let mut reader = AuditReader::new(gateway.handle.spool().journal(), 0);
    let mut found = Vec::new();
    while let Some(step) = reader.next().await.unwrap() {
        let AuditStep::Entry(record) = step else { panic!("{step:?}") };
        let event = record.entry.unwrap().event;
        if event.action == AuditAction::LogSetBack {
            found.push((event.subject, event.detail));
        }
    }
    found
}

fn event(detail: &str) -> AuditEvent {
    AuditEvent {
        at: Timestamp::from_micros(1),
        actor: "ada".to_owned(),
        action: AuditAction::SignedIn,
        subject: "ward-3".to_owned(),
        detail: detail.to_owned(),
    }
}

#[tokio::test]
async fn what_the_landing_keeps_grows_with_the_log_and_survives_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let landing = Landing::witness();
    for round in 0..3_u64 {
        let gateway = start(dir.path(), &landing).await;
        for i in 0..4 {
            gateway.handle.spool().audit().record(&event(&format!("{round}.{i}"))).unwrap();
            gateway.hl7("MRN1", &format!("{round}.{i}")).await;
        }
        receipted(&landing, (round + 1) * 4).await;
        let tip = gateway.handle.spool().audit_log().tip().unwrap();
        until("all entries", || landing.checkpoints().last().is_some_and(|c| c.size == tip.range.size()))
            .await;
        let newest = landing.checkpoints().pop().unwrap();
        assert_eq!((newest.root, newest.heads.len()), (tip.range.root(), 5));
        until("the status says so", || {
            gateway.handle.witnessed().iter().any(|w| w.entries == newest.size && w.failing.is_none())
        })
        .await;
        assert!(set_backs(&gateway).await.is_empty());
        gateway.stop().await;
    }
    let origins: std::collections::BTreeSet<_> =
        landing.checkpoints().into_iter().map(|c| c.origin).collect();
    assert_eq!(origins.len(), 1, "one log, whatever the restarts");
}

#[tokio::test]
async fn a_disk_set_back_is_noticed_at_the_next_contact_and_audited() {
    let (dir, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let landing = Landing::witness();
    let gateway = start(dir.path(), &landing).await;
    for i in 0..3 {
        gateway.hl7("MRN1", &i.to_string()).await;
    }
    gateway.idle().await;
    receipted(&landing, 3).await;
    gateway.stop().await;
    copy(dir.path(), before.path());
    // Two more come in and somebody signs in; nothing is delivered, and all of it is witnessed.
    let gateway = start(dir.path(), &landing).await;
    gateway.idle().await;
    for _ in 0..10_000 {
        landing.fault(Fault::Away);
    }
    gateway.hl7("MRN2", "3").await;
    gateway.hl7("MRN2", "4").await;
    gateway.handle.spool().audit().record(&event("somebody who wants to hide it")).unwrap();
    let tip = gateway.handle.spool().audit_log().tip().unwrap();
    receipted(&landing, 5).await;
    until("all entries", || landing.checkpoints().last().is_some_and(|c| c.size == tip.range.size())).await;
    gateway.stop().await;
    landing.0.lock().unwrap().faults.clear();
    let known = landing.checkpoints().pop().unwrap();

    // The older disk: nothing on it tells.
    let gateway = start(before.path(), &landing).await;
    until("a new origin", || landing.checkpoints().last().is_some_and(|c| c.origin != known.origin)).await;
    let found = set_backs(&gateway).await;
    let logs: Vec<&str> = found.iter().map(|(log, _)| log.as_str()).collect();
    assert_eq!(logs, ["clinical", "journal"], "{found:?}");
    assert!(found[0].1.contains("records 4 to 5 of it were vouched for"), "{found:?}");
    assert!(found[1].1.contains("were vouched for"), "{found:?}");
    let newest = landing.checkpoints().pop().unwrap();
    for log in ["clinical", "journal"] {
        assert_ne!(newest.head(log).unwrap().incarnation, known.head(log).unwrap().incarnation, "{log}");
    }
    // What comes in now has numbers of its own, and lands.
    gateway.hl7("MRN3", "5").await;
    gateway.idle().await;
    assert_eq!(landing.rows().len(), 4);
    landing.audit();
    let check = check_audit(gateway.handle.spool().journal(), &Default::default()).await.unwrap();
    assert_eq!(check.findings, []);
    gateway.stop().await;
    // And once noticed it is not noticed again.
    let gateway = start(before.path(), &landing).await;
    gateway.hl7("MRN3", "6").await;
    receipted(&landing, 5).await;
    assert_eq!(set_backs(&gateway).await.len(), 2);
    gateway.stop().await;
}

/// Someone who has the keys writes the audit log anew, longer than it was, so that it looks sound from inside.
#[tokio::test]
async fn an_audit_log_written_anew_is_noticed() {
    let (dir, before) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let landing = Landing::witness();
    let gateway = start(dir.path(), &landing).await;
    let tip = gateway.handle.spool().audit_log().tip().unwrap();
    until("met", || landing.checkpoints().last().is_some_and(|c| c.size == tip.range.size())).await;
    gateway.stop().await;
    copy(dir.path(), before.path());
    let gateway = start(dir.path(), &landing).await;
    gateway.handle.spool().audit().record(&event("what was done")).unwrap();
    let tip = gateway.handle.spool().audit_log().tip().unwrap();
    until("witnessed", || landing.checkpoints().last().is_some_and(|c| c.size == tip.range.size())).await;
    gateway.stop().await;

    let forged = open_spool(before.path());
    for _ in 0..5 {
        forged.audit().record(&event("nothing happened")).unwrap();
    }
    let check = check_audit(forged.journal(), &Default::default()).await.unwrap();
    assert_eq!(check.findings, [], "sound from inside");
    forged.stop().await.unwrap();
    let gateway = start(before.path(), &landing).await;
    let first = landing.checkpoints().remove(0).origin;
    until("a new origin", || landing.checkpoints().last().is_some_and(|c| c.origin != first)).await;
    let found = set_backs(&gateway).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].0 == "journal" && found[0].1.contains("is not the one that was vouched for"),
        "{found:?}"
    );
    gateway.stop().await;
}

/// After a restore the logs have other incarnations: the log goes on under a new origin, and what the backup did not
/// have yet is said.
#[tokio::test]
async fn a_restored_audit_log_says_what_the_landing_had_beyond_it() {
    for is_behind in [false, true] {
        let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let landing = Landing::witness();
        let gateway = start(dir.path(), &landing).await;
        gateway.hl7("MRN1", "1").await;
        gateway.idle().await;
        if is_behind {
            gateway.stop().await;
            copy(dir.path(), backup.path());
            let gateway = start(dir.path(), &landing).await;
            gateway.handle.spool().audit().record(&event("after the backup")).unwrap();
            let tip = gateway.handle.spool().audit_log().tip().unwrap();
            until("witnessed", || landing.checkpoints().last().is_some_and(|c| c.size == tip.range.size()))
                .await;
            gateway.stop().await;
        } else {
            receipted(&landing, 1).await;
            gateway.stop().await;
            copy(dir.path(), backup.path());
        }
        let spool = open_spool(backup.path());
        for log in spool.logs() {
            log.renew_incarnation().unwrap();
        }
        spool.stop().await.unwrap();
        let old = landing.checkpoints().pop().unwrap().origin;
        let gateway = start(backup.path(), &landing).await;
        until("a new origin", || landing.checkpoints().last().is_some_and(|c| c.origin != old)).await;
        let found = set_backs(&gateway).await;
        assert_eq!(found.len(), usize::from(is_behind), "{found:?}");
        assert!(found.iter().all(|(log, detail)| log == "journal" && detail.contains(&old)), "{found:?}");
        gateway.stop().await;
    }
}
