//! Batches, cursors, epochs, resends: what lands, once and in order.

use std::path::{Path, PathBuf};

use super::support::*;
use model::{Format, Intake as _, Provenance, Reason, Timestamp};

use crate::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_lands_once_in_order_and_two_policies_run_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = vec![route("lake", "treatment", &lake), route("research", "safe-harbor", &research)];
    let feeds = vec![feed("adt", None), feed("private", Some(&["lake"]))];
    let gateway = TestBox::start(dir.path(), feeds, routes).await;
    for n in 0..40 {
        let receipt = gateway.hl7(&format!("MRN{n:04}"), &format!("C{n}")).await;
        assert_eq!(receipt.id.to_string(), format!("clinical-1-{}", n + 1));
    }
    let private = message("MRN9999", "P1");
    let receipt = gateway.take("private", Format::Hl7v2, "", private.as_bytes()).await;
    gateway.idle().await;
    lake.audit();
    research.audit();
    let expected: Vec<String> =
        (0..40).map(|n| message(&format!("MRN{n:04}"), &format!("C{n}"))).chain([private]).collect();
    assert_eq!(lake.payloads(), expected, "byte-identical, in order");
    assert_eq!(research.rows().len(), 40);
    assert!(research.payloads().iter().all(|p| !p.contains("KESTREL") && !p.contains("MRN")));
    assert_eq!(research.skips(), vec![(receipt.id.seq, Reason::NotRouted)]);

    let trace = gateway.handle.trace(receipt.id).await.unwrap();
    assert!(
        matches!(&trace.destinations[0].outcome, Outcome::Landed { first, last, .. } if *first <= 41 && *last == 41)
    );
    assert!(matches!(
        &trace.destinations[1].outcome,
        Outcome::Skipped { reason: Reason::NotRouted, held: false, .. }
    ));
    assert!(matches!(
        gateway.handle.trace("clinical-1-99".parse().unwrap()).await,
        Err(Error::NotKept { .. })
    ));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_gets_the_stored_answer_and_makes_no_record_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start = || {
        TestBox::start(
            dir.path(),
            vec![feed("adt", None), feed("lab", None)],
            vec![route("lake", "treatment", &lake)],
        )
    };
    let gateway = start().await;
    let first = gateway.hl7("MRN1", "C1").await;
    let again = gateway.hl7("MRN1", "C1").await;
    assert_eq!(first.duplicate, None);
    assert_eq!(again.id, first.id);
    let answer = Bytes::from(format!("AA for {} bytes", message("MRN1", "C1").len()));
    assert_eq!(again.duplicate, Some(answer.clone()));
    let other_feed = gateway.take("lab", Format::Hl7v2, "", message("MRN1", "C1").as_bytes()).await;
    assert_eq!(other_feed.duplicate, None, "another feed may send the same");
    gateway.idle().await;
    gateway.stop().await;
    let gateway = start().await;
    assert_eq!(gateway.hl7("MRN1", "C1").await.duplicate, Some(answer));
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(lake.rows().len(), 3);
    gateway.stop().await;
    // Without the state store the envelopes in the log tell.
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start().await;
    assert!(gateway.hl7("MRN2", "C2").await.duplicate.is_some());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_out_and_nothing_is_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    for n in 0..30 {
        if n % 3 == 0 {
            lake.fault([Fault::LoseAnswer, Fault::Away, Fault::Busy][n / 3 % 3]);
        }
        gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await;
        if n % 5 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    gateway.idle().await;
    lake.audit();
    let seqs: Vec<Seq> = lake.rows().iter().map(model::Sequenced::seq).collect();
    assert_eq!(seqs, (1..=30).collect::<Vec<_>>());
    let trace = gateway.handle.trace("clinical-1-1".parse().unwrap()).await.unwrap();
    let Outcome::Landed { policy, .. } = &trace.destinations[0].outcome else { panic!("{trace:?}") };
    assert_eq!(policy.as_ref().map(|p| p.name.as_str()), Some("treatment"), "the attempt's receipt was kept");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_changed_between_two_attempts_shapes_what_was_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    lake.fault(Fault::LoseAnswer);
    gateway.hl7("MRN1", "C1").await;
    while lake.rows().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..50 {
        lake.fault(Fault::Away);
    }
    gateway.hl7("MRN2", "C2").await;
    gateway.stop().await;
    lake.0.lock().unwrap().faults.clear();
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "safe-harbor", &lake)]).await;
    gateway.idle().await;
    lake.audit();
    let rows = lake.payloads();
    assert_eq!(rows.len(), 2);
    assert!(rows[0].contains("KESTREL"), "the first commit stands");
    assert!(!rows[1].contains("KESTREL"), "what was not committed follows today's policy");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_store_is_rebuilt_from_the_landing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let gateway = start().await;
    gateway.hl7("MRN1", "C1").await;
    gateway.idle().await;
    gateway.stop().await;
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start().await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.rows().len(), 2);
    gateway.stop().await;
}

/// As after a restore: the log has another name, and nothing but the journal knows the one that the landing knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_log_whose_state_store_is_lost_delivers_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let mut sent = Vec::new();
    for round in 0..3 {
        let gateway = start().await;
        for n in 0..3 {
            gateway.hl7(&format!("MRN{n}"), &format!("C{round}{n}")).await;
            sent.push(message(&format!("MRN{n}"), &format!("C{round}{n}")));
        }
        gateway.idle().await;
        gateway.stop().await;
        assert_eq!(lake.payloads(), sent, "round {round}");
        let spool = open_spool(dir.path());
        spool.lane(Lane::Clinical).renew_incarnation().unwrap();
        drop(spool);
        std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    }
    lake.audit();
}

/// Where the log has let go of what a landing that was set back lacks, the landing is told so, and the rest goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_landing_set_back_behind_what_is_kept_gets_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let gateway = start().await;
    let large = |n: u32| large_message(&format!("C{n}"), n.into(), 700_000);
    let mut last = 0;
    while gateway.handle.spool().lane(Lane::Clinical).oldest() == 1 {
        assert!(last < 100, "the budget is reached and nothing is freed");
        last += 1;
        gateway.take("adt", Format::Hl7v2, "", large(last).as_bytes()).await;
        gateway.idle().await;
    }
    gateway.stop().await;
    {
        let mut shelf = lake.0.lock().unwrap();
        shelf.rows.clear();
        shelf.ledger.clear();
        shelf.streams.get_mut(&Lane::Clinical).unwrap().watermark = 0;
    }
    let gateway = start().await;
    gateway.hl7("MRN2", "C0").await;
    gateway.idle().await;
    lake.audit();
    // The log may let go of more while it is being read.
    let (last, gone) = (u64::from(last) + 1, lake.skips().len() as u64);
    assert!(gone > 0);
    assert_eq!(lake.skips(), (1..=gone).map(|n| (n, Reason::Expired)).collect::<Vec<_>>());
    assert_eq!(lake.rows().iter().map(|r| r.seq).collect::<Vec<_>>(), (gone + 1..=last).collect::<Vec<_>>());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landing_set_back_gets_what_is_still_kept() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let gateway = start().await;
    gateway.hl7("MRN1", "C1").await;
    gateway.idle().await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    gateway.stop().await;
    {
        let mut shelf = lake.0.lock().unwrap();
        shelf.rows.truncate(1);
        shelf.ledger.truncate(1);
        shelf.streams.get_mut(&Lane::Clinical).unwrap().watermark = 1;
    }
    let gateway = start().await;
    gateway.hl7("MRN3", "C3").await;
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.rows().iter().map(|r| r.seq).collect::<Vec<_>>(), vec![1, 2, 3]);
    gateway.stop().await;
}

/// Its tables are lost, or it was told to write to others: it has no batch of an epoch that it had confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_has_forgotten_everything_gets_what_is_still_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let start = || {
        let routes = vec![route("lake", "treatment", &lake), route("second", "treatment", &second)];
        TestBox::start(dir.path(), vec![feed("adt", None)], routes)
    };
    let gateway = start().await;
    gateway.hl7("MRN1", "C1").await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    gateway.stop().await;
    *lake.0.lock().unwrap() = Shelf::default();
    let gateway = start().await;
    gateway.hl7("MRN3", "C3").await;
    gateway.idle().await;
    let all: Vec<String> = (1..=3).map(|n| message(&format!("MRN{n}"), &format!("C{n}"))).collect();
    for landing in [&lake, &second] {
        landing.audit();
        assert_eq!(landing.payloads(), all, "everything, each once");
    }
    // And only once more: from now on it knows what it has.
    gateway.stop().await;
    let gateway = start().await;
    gateway.hl7("MRN4", "C4").await;
    gateway.idle().await;
    assert_eq!((lake.rows().len(), second.rows().len()), (4, 4));
    // The row has another name than the record arrived under; both lead to it.
    for name in ["clinical-1-1", "clinical-2-1"] {
        let trace = gateway.handle.trace(name.parse().unwrap()).await.unwrap();
        let at = |n: usize| match &trace.destinations[n].outcome {
            Outcome::Landed { record, .. } => record.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!((at(0), at(1)), ("clinical-2-1".to_owned(), "clinical-1-1".to_owned()));
    }
    gateway.stop().await;
}

/// Another destination has raised the lane's epoch meanwhile: then the first grant of the new epoch looks like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_landing_that_has_forgotten_everything_is_noticed_also_under_a_later_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start =
        || TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]);
    let gateway = start().await;
    gateway.hl7("MRN1", "C1").await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    gateway.stop().await;
    for is_lost in [false, true] {
        let spool = open_spool(dir.path());
        let log = spool.lane(Lane::Clinical);
        log.adopt_epoch(model::StreamEpoch::new(log.epoch().get() + 5).unwrap()).unwrap();
        spool.stop().await.unwrap();
        if is_lost {
            *lake.0.lock().unwrap() = Shelf::default();
        }
        let gateway = start().await;
        let n = if is_lost { 4 } else { 3 };
        gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await;
        gateway.idle().await;
        lake.audit();
        let all: Vec<String> = (1..=n).map(|n| message(&format!("MRN{n}"), &format!("C{n}"))).collect();
        assert_eq!(lake.payloads(), all, "everything, each once");
        gateway.stop().await;
    }
}

/// On a new disk the numbers begin again: another disk's name must not lead to another patient's record.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_this_log_never_gave_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let open = |request: &model::wire::EpochRequest| {
        let (lake, request) = (Arc::clone(&lake), request.clone());
        async move { forward::Destination::open(&*lake, Lane::Clinical, &request).await.unwrap() }
    };
    // Two disks were there before this one.
    for n in 1..=2 {
        let incarnation = format!("{n:032x}");
        let request =
            model::wire::EpochRequest { incarnation, proposed: model::StreamEpoch::FIRST, resume_after: 0 };
        open(&request).await;
    }
    let gateway =
        TestBox::start(dir.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    let early = gateway.hl7("MRN1", "C1").await;
    gateway.idle().await;
    let later = gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(later.id.to_string(), "clinical-3-2");
    let landed = |trace: &Trace| match &trace.destinations[0].outcome {
        Outcome::Landed { record, .. } => record.to_string(),
        other => panic!("{other:?}"),
    };
    let trace = gateway.handle.trace(early.id).await.unwrap();
    assert_eq!(landed(&trace), "clinical-3-1", "where it is in the lake");
    for stranger in ["clinical-2-1", "clinical-1-2", "clinical-2-2", "clinical-4-1", "clinical-3-3"] {
        let id: RecordId = stranger.parse().unwrap();
        assert!(matches!(gateway.handle.trace(id).await, Err(Error::NotKept { .. })), "{stranger}");
        let replayed = gateway.handle.replay(&slug("lake"), id, "somebody").await;
        assert!(matches!(replayed, Err(Error::NotKept { .. })), "{stranger}");
    }
    // A copy goes back to the row as the lake names it.
    gateway.handle.replay(&slug("lake"), early.id, "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(lake.rows().last().unwrap().origin.unwrap().to_string(), "clinical-3-1");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_disk_gets_a_new_epoch_and_the_old_one_is_fenced() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lake = Arc::<Landing>::default();
    let gateway =
        TestBox::start(old.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    gateway.hl7("MRN1", "C1").await;
    gateway.idle().await;
    gateway.stop().await;
    let gateway =
        TestBox::start(new.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    let receipt = gateway.hl7("MRN3", "C3").await;
    assert_eq!(receipt.id.to_string(), "clinical-2-2");
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.rows().len(), 3);
    gateway.stop().await;
    // The old disk is put back: another incarnation again, another epoch, nothing lost.
    let gateway =
        TestBox::start(old.path(), vec![feed("adt", None)], vec![route("lake", "treatment", &lake)]).await;
    gateway.hl7("MRN4", "C4").await;
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.payloads().last().unwrap(), &message("MRN4", "C4"));
    assert_eq!(lake.rows().len(), 4);
    gateway.stop().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            drop(std::fs::copy(entry.path(), target))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_set_back_delivers_what_came_in_since_under_a_new_epoch() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let start = |dir: PathBuf| {
        let routes = vec![route("lake", "treatment", &lake), route("second", "treatment", &second)];
        async move { TestBox::start(&dir, vec![feed("adt", None)], routes).await }
    };
    let gateway = start(dir.path().to_owned()).await;
    gateway.hl7("MRN1", "C1").await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    gateway.stop().await;
    copy(dir.path(), backup.path());
    let gateway = start(dir.path().to_owned()).await;
    for n in 3..=5 {
        gateway.hl7("MRN3", &format!("C{n}")).await;
    }
    gateway.idle().await;
    gateway.stop().await;

    // From here on the copy: its next numbers are 3, 4, 5 and more, for other messages.
    let gateway = start(backup.path().to_owned()).await;
    for n in 6..=10 {
        gateway.hl7("MRN4", &format!("C{n}")).await;
    }
    gateway.idle().await;
    for landing in [&lake, &second] {
        landing.audit();
        let sent: Vec<String> = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
            .iter()
            .map(|n| message(&format!("MRN{}", [1, 2, 3, 3, 3, 4, 4, 4, 4, 4][n - 1]), &format!("C{n}")))
            .collect();
        assert_eq!(landing.payloads(), sent, "each once");
    }
    gateway.stop().await;
    // And it stays so.
    let gateway = start(backup.path().to_owned()).await;
    gateway.hl7("MRN5", "C11").await;
    gateway.idle().await;
    assert_eq!((lake.rows().len(), second.rows().len()), (11, 11));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_added_later_begins_now_and_a_removed_one_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let feeds = || vec![feed("adt", None)];
    let gateway = TestBox::start(dir.path(), feeds(), vec![route("lake", "treatment", &lake)]).await;
    gateway.hl7("MRN1", "C1").await;
    gateway.idle().await;
    gateway.stop().await;
    let both = || vec![route("lake", "treatment", &lake), route("second", "treatment", &second)];
    let gateway = TestBox::start(dir.path(), feeds(), both()).await;
    gateway.hl7("MRN2", "C2").await;
    gateway.idle().await;
    assert_eq!(second.payloads(), vec![message("MRN2", "C2")]);
    let trace = gateway.handle.trace("clinical-1-1".parse().unwrap()).await.unwrap();
    assert!(matches!(trace.destinations[1].outcome, Outcome::BeforeBeginning));
    gateway.stop().await;
    let gateway = TestBox::start(dir.path(), feeds(), vec![route("lake", "treatment", &lake)]).await;
    gateway.hl7("MRN3", "C3").await;
    gateway.idle().await;
    gateway.stop().await;
    // Added again: it begins now, and the number it missed has a reason in its ledger.
    let gateway = TestBox::start(dir.path(), feeds(), both()).await;
    gateway.hl7("MRN4", "C4").await;
    gateway.idle().await;
    second.audit();
    assert_eq!(second.payloads(), vec![message("MRN2", "C2"), message("MRN4", "C4")]);
    assert_eq!(second.skips(), vec![(3, Reason::NotAddressed)]);
    assert_eq!(lake.rows().len(), 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_to_one_destination_with_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, second) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = vec![route("lake", "treatment", &lake), route("second", "treatment", &second)];
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes).await;
    let first = gateway.hl7("MRN1", "C1").await.id;
    gateway.idle().await;
    let copy = gateway.handle.replay(&slug("second"), first, "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(lake.rows().len(), 1);
    assert_eq!(lake.skips(), vec![(copy.seq, Reason::NotAddressed)]);
    assert_eq!(second.rows().last().map(|r| (r.seq, r.origin)), Some((copy.seq, Some(first))));
    assert!(matches!(
        gateway.handle.replay(&slug("nowhere"), first, "somebody").await,
        Err(Error::NoDestination { .. })
    ));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_door_refuses_and_documents_survive() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], vec![]).await;
    gateway.handle.journal().put_document("accounts", b"one".to_vec()).await.unwrap();
    gateway.handle.journal().put_document("accounts", b"two".to_vec()).await.unwrap();
    gateway.handle.intake().close().await;
    let provenance = Provenance {
        feed: slug("adt"),
        peer: String::new(),
        channel: String::new(),
        received_at: Timestamp::default(),
        format: Format::Hl7v2,
        origin: None,
    };
    assert_eq!(gateway.handle.intake().begin(provenance).await.unwrap_err(), model::Refusal::Stopping);
    gateway.stop().await;
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], vec![]).await;
    assert_eq!(gateway.handle.journal().document("accounts").as_deref(), Some(&b"two"[..]));
    gateway.stop().await;
}
