//! What is held, and what a person does about it.

use super::support::*;
use model::{Format, Reason};

use crate::*;

/// What the feed's configuration would not let be read is told at once, and not held again under a new name.
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_is_read_as_its_feed_is() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let latin = Feed { charset: Some("8859/1".parse().unwrap()), ..feed("adt", None) };
    let routes = vec![route("lake", "treatment", &lake)];
    let gateway = TestBox::start(dir.path(), vec![latin], routes).await;
    let broken = gateway.take("adt", Format::Unparsed, "", b"PID|1||MRN1\r").await;
    gateway.idle().await;
    // A message of ISO 2022-JP, and none at all in ISO 8859-1: it begins with an escape sequence.
    let foreign = Bytes::from(["\x1b$B\x1b(B", &message("MRN1", "C1")].concat());
    assert!(hl7::Message::decode(foreign.clone(), None).is_ok());
    let refused = gateway.handle.release(&slug("lake"), broken.id, Some(foreign), "somebody").await;
    assert!(matches!(refused, Err(Error::EditUnreadable { .. })), "{refused:?}");
    let mended = Bytes::from([message("MRN1", "C1").as_bytes(), b"NTE|1||\xfc\r"].concat());
    gateway.handle.release(&slug("lake"), broken.id, Some(mended), "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(lake.rows().pop().unwrap().charset.as_deref(), Some("8859/1"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_held_and_lands_when_a_person_has_mended_it() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let gateway = start().await;
    let broken = gateway.take("adt", Format::Unparsed, "", b"PID|1||MRN1\r").await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(lake.payloads(), vec![message("MRN2", "C2")]);
    assert_eq!(lake.skips(), vec![(1, Reason::Quarantined)]);
    gateway.stop().await;
    // The list survives a restart, and a rebuilt batch would not list it twice.
    let gateway = start().await;
    let held = gateway.handle.held();
    assert_eq!(held.iter().map(|h| h.id).collect::<Vec<_>>(), vec![broken.id]);
    assert_eq!(
        gateway.handle.held_payload(&slug("lake"), broken.id, "ada").await.unwrap(),
        &b"PID|1||MRN1\r"[..]
    );
    let trace = gateway.handle.trace(broken.id).await.unwrap();
    assert!(matches!(
        trace.destinations[0].outcome,
        Outcome::Skipped { reason: Reason::Quarantined, held: true, .. }
    ));

    // A slip of the person's hand is told, and changes nothing.
    let slip = Bytes::from_static(b"PID|1||MRN1\r");
    let refused = gateway.handle.release(&slug("lake"), broken.id, Some(slip), "somebody").await;
    assert!(matches!(refused, Err(Error::EditUnreadable { .. })), "{refused:?}");
    assert_eq!(gateway.handle.held().len(), 1);

    let mended = Bytes::from(message("MRN1", "C1"));
    let new = gateway.handle.release(&slug("lake"), broken.id, Some(mended), "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(gateway.handle.held().len(), 0, "{:?}", gateway.handle.held());
    let last = lake.rows().pop().unwrap();
    assert_eq!((last.seq, last.origin), (new[0].seq, Some(broken.id)));
    assert!(matches!(
        gateway.handle.release(&slug("lake"), broken.id, None, "somebody").await,
        Err(Error::NotHeld { .. })
    ));
    // What was decided about it, and by whom, is told; also after a restart.
    let decided = async |gateway: &TestBox| {
        let trace = gateway.handle.trace(broken.id).await.unwrap();
        let Outcome::Skipped { held: false, decision: Some(decision), .. } = &trace.destinations[0].outcome
        else {
            panic!("{:?}", trace.destinations)
        };
        assert_eq!((decision.released_as, decision.actor.as_str()), (Some(new[0]), "somebody"));
    };
    decided(&gateway).await;
    gateway.stop().await;
    let gateway = start().await;
    decided(&gateway).await;
    gateway.stop().await;
}

/// A medical record number that is also a code of the message: the gate holds such a message under safe-harbor.
const AMBIGUOUS: &str = "24323-8";

fn ambiguous(control_id: &str) -> String {
    format!(
        "MSH|^~\\&|LAB|LARKHAVEN|B|EDGE|20261124083000||ORU^R01^ORU_R01|{control_id}|P|2.5.1\rPID|1||{AMBIGUOUS}^^^LARKHAVEN^MR||KESTREL^ISADORA||19540311|F\rOBR|1|||{AMBIGUOUS}^Comprehensive metabolic panel^LN\rOBX|1|NM|2345-7^Glucose^LN||95|mg/dL|||||F\r"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn later_records_of_a_held_subject_follow_and_order_survives_a_release() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "safe-harbor", &lake)]).await;
    let send = |text: String| {
        let gateway = &gateway;
        async move { gateway.take("adt", Format::Hl7v2, "", text.as_bytes()).await.id }
    };
    let first = send(ambiguous("H1")).await;
    let other = send(message("MRN5", "O1")).await;
    let follower = send(message(AMBIGUOUS, "H2")).await;
    gateway.idle().await;
    let held: Vec<RecordId> = gateway.handle.held().iter().map(|h| h.id).collect();
    assert_eq!(held, vec![first, follower], "the other patient is not held up");
    assert_eq!(lake.rows().iter().map(|r| r.seq).collect::<Vec<_>>(), vec![other.seq]);

    // Mended by a person: the edited record and its follower go on, in order.
    let mended = Bytes::from(message(AMBIGUOUS, "H1"));
    let new = gateway.handle.release(&slug("lake"), first, Some(mended), "somebody").await.unwrap();
    assert_eq!(new.len(), 2);
    let after = send(message(AMBIGUOUS, "H3")).await;
    gateway.idle().await;
    lake.audit();
    assert_eq!(gateway.handle.held_total(), 0, "{:?}", gateway.handle.held());
    let origins: Vec<(Seq, Option<RecordId>)> = lake.rows().iter().map(|r| (r.seq, r.origin)).collect();
    assert_eq!(
        origins,
        vec![(other.seq, None), (new[0].seq, Some(first)), (new[1].seq, Some(follower)), (after.seq, None)]
    );

    // Dismissed: the subject is free again.
    let refused = send(ambiguous("H4")).await;
    gateway.idle().await;
    gateway.handle.dismiss(&slug("lake"), refused, "somebody").await.unwrap();
    let trace = gateway.handle.trace(refused).await.unwrap();
    assert!(matches!(
        &trace.destinations[0].outcome,
        Outcome::Skipped { decision: Some(Decision { released_as: None, .. }), .. }
    ));
    send(message(AMBIGUOUS, "H5")).await;
    gateway.idle().await;
    assert_eq!(gateway.handle.held_total(), 0);
    assert_eq!(lake.rows().len(), 5);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_gone_from_the_configuration_leaks_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    for _ in 0..200 {
        lake.fault(Fault::Away);
    }
    let routes = || vec![route("lake", "treatment", &lake), route("second", "treatment", &second)];
    let gateway = TestBox::start(dir.path(), vec![feed("private", Some(&["lake"]))], routes()).await;
    gateway.take("private", Format::Hl7v2, "", message("MRN1", "C1").as_bytes()).await;
    gateway.stop().await;
    lake.0.lock().unwrap().faults.clear();
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes()).await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(lake.payloads(), vec![message("MRN2", "C2")]);
    assert!(second.payloads().iter().all(|p| !p.contains("MRN1")));
    assert!(gateway.handle.held().iter().any(|h| h.feed == slug("private")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_too_large_for_the_wire_is_held_with_its_reason_and_the_lane_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let config = spool::Config {
        clinical_bytes_max: 256 << 20,
        held_bytes_max: 256 << 20,
        record_bytes_max: 100 << 20,
        ..small()
    };
    let start = || {
        let routes = vec![route("lake", "treatment", &lake)];
        TestBox::start_on(dir.path(), config.clone(), vec![feed("adt", None)], routes, spool::Outside::real())
    };
    let gateway = start().await;
    let largest = usize::try_from(model::wire::RECORD_WIRE_BYTES_MAX).unwrap();
    let object = gateway.take("adt", Format::Hl7v2, "", &vec![b'x'; largest + 1]).await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(lake.payloads(), vec![message("MRN2", "C2")]);
    assert_eq!(lake.skips(), vec![(1, Reason::Held)]);
    lake.audit();
    gateway.stop().await;

    let gateway = start().await;
    let held = gateway.handle.held();
    assert_eq!((held.len(), held[0].id, held[0].bytes), (1, object.id, largest as u64 + 1));
    assert!(held[0].why.starts_with("too large for the wire: it has 67108865 bytes"), "{}", held[0].why);
    // It cannot be sent again as it is, and saying so changes nothing.
    let refused = gateway.handle.release(&slug("lake"), object.id, None, "somebody").await;
    assert!(matches!(refused, Err(Error::Spool(spool::Error::TooLarge { .. }))), "{refused:?}");
    assert_eq!(gateway.handle.held().len(), 1);
    gateway.handle.dismiss(&slug("lake"), object.id, "somebody").await.unwrap();
    assert_eq!(gateway.handle.held().len(), 0);
    gateway.stop().await;
}
