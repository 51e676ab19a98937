//! A log that takes another name, as after a restore or where it lost its end, and what may happen before a destination has
//! heard of it.

use std::path::Path;

use super::support::*;

use crate::*;

async fn start(dir: &Path, lake: &Arc<Landing>) -> TestBox {
    TestBox::start(dir, vec![feed("adt", None)], vec![route("lake", "treatment", lake)]).await
}

/// A box that has delivered three records.
async fn begun(dir: &Path, lake: &Arc<Landing>) -> Vec<String> {
    let mut sent = Vec::new();
    let gateway = start(dir, lake).await;
    take(&gateway, &mut sent, 1..=3).await;
    gateway.idle().await;
    gateway.stop().await;
    sent
}

fn rename(dir: &Path) {
    let spool = open_spool(dir);
    spool.lane(Lane::Clinical).renew_incarnation().unwrap();
}

fn lose_state(dir: &Path) {
    std::fs::remove_dir_all(dir.join("spool/state")).unwrap();
}

async fn take(gateway: &TestBox, sent: &mut Vec<String>, ids: std::ops::RangeInclusive<u32>) {
    for id in ids {
        gateway.hl7("MRN1", &format!("C{id}")).await;
        sent.push(message("MRN1", &format!("C{id}")));
    }
}

/// Until the journal says that the destination is asked under the log's name from now on.
async fn met(gateway: &TestBox) {
    let log = gateway.handle.spool().lane(Lane::Clinical).incarnation();
    for _ in 0..2_000 {
        if gateway.handle.journal().known_as(&slug("lake"), Lane::Clinical).as_ref() == Some(&log) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the lake is never asked under the new name");
}

/// The former name is settled, the new one is in the journal, and the landing is away before it hears of it: if the state
/// store is lost then, nobody but the journal knows what was delivered. Again and again, by another name each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_landing_never_heard_doubles_nothing_when_the_state_store_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let mut sent = begun(dir.path(), &lake).await;
    for round in 1..=3 {
        rename(dir.path());
        lake.0.lock().unwrap().is_deaf_to_strangers = true;
        let gateway = start(dir.path(), &lake).await;
        met(&gateway).await;
        gateway.stop().await;
        lose_state(dir.path());
        lake.0.lock().unwrap().is_deaf_to_strangers = false;
        let gateway = start(dir.path(), &lake).await;
        take(&gateway, &mut sent, 10 * round..=10 * round + 1).await;
        gateway.idle().await;
        gateway.stop().await;
        assert_eq!(lake.payloads(), sent, "round {round}");
    }
    lake.audit();
}

/// The journal says what was settled; where the tables are lost as well, it is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_calls_settled_is_sent_again_to_a_landing_that_knows_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let mut sent = begun(dir.path(), &lake).await;
    rename(dir.path());
    let gateway = start(dir.path(), &lake).await;
    take(&gateway, &mut sent, 4..=4).await;
    gateway.idle().await;
    gateway.stop().await;
    assert_eq!(lake.payloads(), sent);
    lose_state(dir.path());
    {
        let mut shelf = lake.0.lock().unwrap();
        shelf.streams.clear();
        shelf.rows.clear();
        shelf.ledger.clear();
    }
    let gateway = start(dir.path(), &lake).await;
    take(&gateway, &mut sent, 5..=5).await;
    gateway.idle().await;
    gateway.stop().await;
    assert_eq!(lake.payloads(), sent, "all that is still kept");
    lake.audit();
}
