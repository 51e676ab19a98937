//! What is known of senders from their records: ids that come again with other content, and sequence numbers. Both
//! survive a restart, with the state store and without it.

use std::task::Poll;

use model::{
    BoxFuture, Closing, FaultKind, Flag, Format, Identity, Intake as _, LinkPosition, Provenance, Receipt,
    Refusal, Timestamp,
};

use super::support::{TestBox, feed, slug};
use crate::*;

fn identity(text: &str) -> Identity {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().zip(text.bytes()) {
        *at = byte;
    }
    Identity(bytes)
}

/// A record of this control id with this body; `number` on the one link.
async fn take(gateway: &TestBox, control: &str, body: &str, number: Option<i64>) -> (RecordId, bool) {
    let receipt = commit(gateway, control, body, number).await.await.unwrap();
    (receipt.id, receipt.duplicate.is_some())
}

/// As [`take`], up to the commit.
async fn commit(
    gateway: &TestBox,
    control: &str,
    body: &str,
    number: Option<i64>,
) -> BoxFuture<'static, Result<Receipt, Refusal>> {
    let provenance = Provenance {
        feed: slug("adt"),
        peer: "10.0.0.1:4711".into(),
        channel: String::new(),
        received_at: Timestamp::from_micros(1_790_000_000_000_000),
        format: Format::Hl7v2,
        origin: None,
    };
    let mut writer = gateway.handle.intake().begin(provenance).await.unwrap();
    writer.push(body.as_bytes()).await.unwrap();
    let closing = Closing {
        identity: Some(identity(&format!("{control}/{body}"))),
        control: Some(identity(control)),
        sequenced: number.map(|last| LinkPosition { link: identity("link"), last }),
        ..Closing::default()
    };
    Box::pin(writer.commit(closing))
}

async fn flags(gateway: &TestBox, id: RecordId) -> Vec<Flag> {
    gateway.handle.trace(id).await.unwrap().arrival.unwrap().flags
}

fn reuses(gateway: &TestBox) -> Vec<FaultEntry> {
    let query = FaultQuery { kind: Some(FaultKind::ReusedId), ..FaultQuery::default() };
    gateway.handle.faults(&query).unwrap()
}

#[tokio::test]
async fn an_id_with_other_content_is_taken_and_flagged_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = || vec![feed("adt", None)];
    let gateway = TestBox::start(dir.path(), feeds(), vec![]).await;
    let (first, _) = take(&gateway, "A1", "one", None).await;
    assert_eq!(take(&gateway, "A1", "one", None).await, (first, true), "a resend");
    let (second, is_duplicate) = take(&gateway, "A1", "two", None).await;
    assert!(!is_duplicate && second != first, "another message");
    assert!(flags(&gateway, first).await.is_empty());
    assert_eq!(flags(&gateway, second).await, [Flag::ReusedId]);
    let found = reuses(&gateway);
    assert_eq!((found.len(), found[0].record, found[0].bytes), (1, Some(second), 3));
    gateway.stop().await;

    for lose_state in [false, true] {
        if lose_state {
            std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
        }
        let gateway = TestBox::start(dir.path(), feeds(), vec![]).await;
        let (again, _) = take(&gateway, "A1", if lose_state { "four" } else { "three" }, None).await;
        assert_eq!(flags(&gateway, again).await, [Flag::ReusedId], "state lost: {lose_state}");
        assert_eq!(take(&gateway, "A1", "one", None).await, (first, true));
        assert!(
            flags(&gateway, take(&gateway, &format!("B{lose_state}"), "one", None).await.0).await.is_empty()
        );
        gateway.stop().await;
    }
}

/// A sender that gives every message the same id does not drown the others.
#[tokio::test]
async fn a_sender_with_one_id_for_all_is_summed_up() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], vec![]).await;
    for n in 0..100 {
        assert!(!take(&gateway, "1", &format!("body {n}"), None).await.1);
    }
    let found = reuses(&gateway);
    assert_eq!(found.len(), ENTRIES_PER_PEER as usize + 1);
    assert_eq!(found.iter().map(|f| f.count).sum::<u64>(), 99);
    assert_eq!(gateway.handle.fault_totals(), [(slug("adt"), FaultKind::ReusedId, 99)]);
    gateway.stop().await;
}

#[tokio::test]
async fn the_last_sequence_number_of_a_link_survives_with_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let feeds = || vec![feed("adt", None)];
    let last = |gateway: &TestBox| gateway.handle.intake().last_number(&slug("adt"), &identity("link"));
    let gateway = TestBox::start(dir.path(), feeds(), vec![]).await;
    assert_eq!(last(&gateway), None);
    for number in [7, 8] {
        take(&gateway, &format!("A{number}"), "x", Some(number)).await;
        assert_eq!(last(&gateway), Some(number));
    }
    assert_eq!(gateway.handle.intake().last_number(&slug("adt"), &identity("other")), None);
    // A resend moves nothing.
    assert!(take(&gateway, "A7", "x", Some(7)).await.1);
    assert_eq!(last(&gateway), Some(8));
    gateway.stop().await;
    let gateway = TestBox::start(dir.path(), feeds(), vec![]).await;
    assert_eq!(last(&gateway), Some(8));
    gateway.stop().await;
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = TestBox::start(dir.path(), feeds(), vec![]).await;
    assert_eq!(last(&gateway), Some(8), "read back from the log");
    gateway.stop().await;
}

/// Polls it once; whether it is still under way.
async fn begin<T>(commit: &mut BoxFuture<'static, T>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context).is_pending())).await
}

/// A connection breaks, a task is cancelled: whoever waits for a commit may let go of it at any time.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lets_go_of_a_commit_makes_no_second_record() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], vec![]).await;
    for n in 1..=20 {
        let body = format!("body {n}");
        let mut begun = commit(&gateway, "A", &body, Some(n)).await;
        assert!(begin(&mut begun).await, "it waits for the disk");
        drop(begun);
        let (id, duplicate) = take(&gateway, "A", &body, Some(n)).await;
        assert_eq!((id.seq, duplicate), (u64::try_from(n).unwrap(), true));
    }
    // A stop waits for it.
    let mut begun = commit(&gateway, "B", "last", None).await;
    assert!(begin(&mut begun).await);
    drop(begun);
    gateway.handle.intake().close().await;
    assert_eq!(*gateway.handle.spool().lane(Lane::Clinical).durable().borrow(), 21);
    gateway.stop().await;
}
