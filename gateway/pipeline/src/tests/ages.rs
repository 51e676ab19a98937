//! What is not taken in time, and what is no longer kept: skips with a reason, and delivery goes on.

use std::path::Path;

use model::{AuditEvent, Reason};
use spool::{AuditReader, AuditStep};

use super::support::*;
use crate::*;

const LIMIT: Duration = Duration::from_secs(3600);

async fn start(dir: &Path, lake: &Arc<Landing>) -> TestBox {
    TestBox::start(dir, vec![feed("adt", None)], vec![route("lake", "treatment", lake)]).await
}

fn ages(gateway: &TestBox) -> Ages {
    let spool = &gateway.handle.spool;
    let incarnation = spool.lane(Lane::Clinical).incarnation();
    Ages::load(Lane::Clinical, LIMIT.as_secs(), &incarnation, spool.state()).unwrap()
}

/// Away for as long as a test may take.
fn goes_away(lake: &Landing) {
    for _ in 0..10_000 {
        lake.fault(Fault::Away);
    }
}

fn comes_back(lake: &Landing) {
    lake.0.lock().unwrap().faults.clear();
}

/// What the audit log says of an action, in order.
async fn audited(gateway: &TestBox, action: AuditAction) -> Vec<AuditEvent> {
    let mut reader = AuditReader::new(gateway.handle.spool.journal(), 0);
    let mut events = Vec::new();
    while let Some(step) = reader.next().await.unwrap() {
        let AuditStep::Entry(record) = step else { panic!("{step:?}") };
        events.push(record.entry.unwrap().event);
    }
    events.retain(|event| event.action == action);
    events
}

async fn outcome(gateway: &TestBox, id: &str) -> Outcome {
    gateway.handle.trace(id.parse().unwrap()).await.unwrap().destinations[0].outcome.clone()
}

/// A message that fills a fifth of a segment, also when it is compressed.
async fn large(gateway: &TestBox, n: u64) {
    let body = large_message(&format!("L{n}"), n, 255_000);
    gateway.take("adt", model::Format::Hl7v2, "", body.as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_took_in_time_is_given_up_audited_and_a_skip_in_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    goes_away(&lake);
    let gateway = start(dir.path(), &lake).await;
    for n in 1..=3 {
        gateway.hl7("MRN1", &format!("C{n}")).await;
    }
    let mut growing = ages(&gateway);
    let minute = Duration::from_secs(60);
    gateway.handle.grow_older(&mut growing, minute).await.unwrap();
    gateway.hl7("MRN1", "C4").await;
    gateway.handle.grow_older(&mut growing, LIMIT - minute).await.unwrap();
    assert!(
        matches!(outcome(&gateway, "clinical-1-1").await, Outcome::Pending { .. }),
        "it is not old enough"
    );
    assert_eq!(audited(&gateway, AuditAction::RecordExpired).await, []);
    gateway.handle.grow_older(&mut growing, minute).await.unwrap();
    let events = audited(&gateway, AuditAction::RecordExpired).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].subject, "lake/clinical");
    assert!(events[0].detail.starts_with("1..=3 "), "{events:?}");
    assert!(matches!(outcome(&gateway, "clinical-1-3").await, Outcome::GivenUp));
    assert!(matches!(outcome(&gateway, "clinical-1-4").await, Outcome::Pending { .. }));
    gateway.stop().await;

    // Decided is decided, also by another process, and whether or not the state store is there.
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start(dir.path(), &lake).await;
    assert!(matches!(outcome(&gateway, "clinical-1-3").await, Outcome::GivenUp));
    comes_back(&lake);
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.payloads(), [message("MRN1", "C4")]);
    assert_eq!(lake.skips(), [(1, Reason::Expired), (2, Reason::Expired), (3, Reason::Expired)]);
    assert!(matches!(
        outcome(&gateway, "clinical-1-2").await,
        Outcome::Skipped { reason: Reason::Expired, held: false, .. }
    ));
    // What was taken grows old without anybody's noticing.
    let mut growing = ages(&gateway);
    for _ in 0..3 {
        gateway.handle.grow_older(&mut growing, LIMIT).await.unwrap();
    }
    assert_eq!(audited(&gateway, AuditAction::RecordExpired).await.len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_makes_room_while_the_destination_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    goes_away(&lake);
    let gateway = start(dir.path(), &lake).await;
    let log = gateway.handle.spool.lane(Lane::Clinical).clone();
    let mut growing = ages(&gateway);
    for n in 1..=40 {
        large(&gateway, n).await;
    }
    gateway.handle.grow_older(&mut growing, Duration::from_secs(1)).await.unwrap();
    gateway.handle.grow_older(&mut growing, LIMIT).await.unwrap();
    // Twice what the lane may hold: it is never full, because the first forty give way.
    for n in 41..=100 {
        large(&gateway, n).await;
    }
    let oldest = log.oldest();
    assert!((2..=41).contains(&oldest), "{oldest}");
    comes_back(&lake);
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.rows().iter().map(|row| row.seq).collect::<Vec<_>>(), (41..=100).collect::<Vec<_>>());
    assert_eq!(lake.skips(), (1..=40).map(|n| (n, Reason::Expired)).collect::<Vec<_>>());
    assert_eq!(audited(&gateway, AuditAction::RecordExpired).await.len(), 1);
    gateway.stop().await;
}
