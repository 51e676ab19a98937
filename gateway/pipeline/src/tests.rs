//! The pipeline against a landing in memory that follows the protocol's rules and can be told to misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicI64, Ordering};

use deid::{Policy, Release};
use forward::{Committed, SendError};
use model::wire::{EpochGrant, EpochRequest, Landed};
use model::{
    Batch, Closing, Format, Identity, Intake as _, Lane, Provenance, Reason, Released, Skip, StreamEpoch,
    Timestamp,
};
use spool::Keys;

use super::*;

#[derive(Debug, Default)]
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the landing does with the next batch instead of the ordinary.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Commits and loses the answer.
    LoseAnswer,
    /// Is away.
    Away,
    /// Is busy, and has not committed.
    Busy,
}

#[derive(Debug, Default, Clone)]
struct Stream {
    epoch: u64,
    incarnation: String,
    watermark: Seq,
    manifest: Option<String>,
}

#[derive(Debug, Default)]
struct Shelf {
    streams: BTreeMap<Lane, Stream>,
    rows: Vec<Released>,
    ledger: Vec<(Lane, u64, Seq, Seq, Vec<Skip>, String)>,
    faults: VecDeque<Fault>,
}

/// A landing for one destination.
#[derive(Debug, Default)]
struct Landing(StdMutex<Shelf>);

impl Landing {
    fn rows(&self) -> Vec<Released> {
        self.0.lock().unwrap().rows.clone()
    }

    fn payloads(&self) -> Vec<String> {
        self.rows().iter().map(|r| String::from_utf8_lossy(&r.payload).into_owned()).collect()
    }

    fn fault(&self, fault: Fault) {
        self.0.lock().unwrap().faults.push_back(fault);
    }

    /// Ranges are contiguous, and every number is a row or a skip: the ledger's arithmetic.
    fn audit(&self) {
        let shelf = self.0.lock().unwrap();
        let mut next: BTreeMap<(Lane, u64), Seq> = BTreeMap::new();
        for (lane, epoch, first, last, _, _) in &shelf.ledger {
            let expected = next.entry((*lane, *epoch)).or_insert(*first);
            assert_eq!(expected, first, "contiguous");
            *expected = last + 1;
        }
    }

    fn skips(&self) -> Vec<(Seq, Reason)> {
        let shelf = self.0.lock().unwrap();
        shelf
            .ledger
            .iter()
            .flat_map(|l| &l.4)
            .flat_map(|s| (s.first..=s.last).map(|n| (n, s.reason)))
            .collect()
    }
}

impl Destination for Landing {
    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        let mut shelf = self.0.lock().unwrap();
        let stream = shelf.streams.entry(lane).or_default();
        let same = stream.incarnation == request.incarnation;
        let proposed = request.proposed.get();
        let granted = if same { proposed.max(stream.epoch) } else { proposed.max(stream.epoch + 1) };
        if !same || granted > stream.epoch {
            *stream = Stream {
                epoch: granted,
                incarnation: request.incarnation.clone(),
                watermark: request.resume_after,
                manifest: None,
            };
        }
        Ok(EpochGrant {
            epoch: StreamEpoch::new(stream.epoch).unwrap(),
            watermark: stream.watermark,
            manifest_sha256: stream.manifest.clone(),
        })
    }

    async fn send(&self, batch: &Batch<Release>) -> Result<Committed, SendError> {
        batch.check().unwrap();
        let mut shelf = self.0.lock().unwrap();
        let fault = shelf.faults.pop_front();
        match fault {
            Some(Fault::Away) => return Err(SendError::Unreachable { why: "away".into() }),
            Some(Fault::Busy) => return Err(SendError::Busy { retry_after: None, why: "busy".into() }),
            Some(Fault::LoseAnswer) | None => {}
        }
        let stream = shelf.streams.get_mut(&batch.stream.lane).unwrap();
        if batch.stream.epoch.get() < stream.epoch {
            return Err(SendError::Fenced);
        }
        if batch.first != stream.watermark + 1 {
            return Err(SendError::OutOfOrder { expected: stream.watermark + 1 });
        }
        let manifest = format!("{}..{}", batch.first, batch.last);
        stream.watermark = batch.last;
        stream.manifest = Some(manifest.clone());
        let (lane, epoch) = (batch.stream.lane, batch.stream.epoch.get());
        shelf.rows.extend(batch.records.iter().map(|r| r.as_released().clone()));
        let policy = batch.policy.name.clone();
        shelf.ledger.push((lane, epoch, batch.first, batch.last, batch.skipped.clone(), policy));
        if matches!(fault, Some(Fault::LoseAnswer)) {
            return Err(SendError::Unknown { why: "the line broke".into() });
        }
        let landed = Landed {
            first: batch.first,
            last: batch.last,
            manifest_sha256: manifest.clone(),
            table_version: 1,
            committed_at: Timestamp::from_micros(1),
        };
        Ok(Committed { landed, manifest_sha256: manifest, bytes_raw: 1, bytes_wire: 1 })
    }

    async fn test(&self) -> forward::check::Report {
        unreachable!("not asked for in these tests")
    }
}

fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

fn feed(name: &str, destinations: Option<&[&str]>) -> Feed {
    let destinations = destinations.map(|d| d.iter().map(|n| slug(n)).collect());
    Feed { name: slug(name), lane: Lane::Clinical, destinations, device_topics: vec!["ward/+/plx".into()] }
}

fn route(name: &str, policy: &str, landing: &Arc<Landing>) -> Route<Landing> {
    Route {
        name: slug(name),
        policy: Arc::new(Policy::builtin(policy).unwrap()),
        destination: Arc::clone(landing),
        start: Start::Now,
        batch: BatchLimits { linger: Duration::from_millis(5), ..BatchLimits::default() },
    }
}

/// What the intake said; a test need not look at it.
#[derive(Debug)]
struct Took {
    id: RecordId,
    duplicate: Option<Bytes>,
}

/// A gateway without sources on a directory of its own.
struct TestBox {
    handle: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl TestBox {
    async fn start(dir: &Path, feeds: Vec<Feed>, routes: Vec<Route<Landing>>) -> Self {
        let keys = Keys::from_file(&dir.join("root.key"), true).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let config = spool::Config {
            segment_bytes: 1 << 20,
            urgent_bytes_max: 8 << 20,
            clinical_bytes_max: 16 << 20,
            bulk_bytes_max: 8 << 20,
            held_bytes_max: 8 << 20,
            journal_bytes_max: 8 << 20,
            ..spool::Config::default()
        };
        let spool =
            Spool::open(&dir.join("spool"), &config, keys, &slug("ward-3"), Arc::clone(&clock)).unwrap();
        let profiles = Arc::new(Catalogue::builtin().unwrap());
        let pipeline =
            Pipeline::build(slug("ward-3"), Arc::new(spool), clock, profiles, feeds, routes).await.unwrap();
        let (handle, stop, tasks) = (pipeline.handle(), CancellationToken::new(), TaskTracker::new());
        drop(tasks.spawn(pipeline.run(stop.clone())));
        tasks.close();
        Self { handle, stop, tasks }
    }

    /// As a kill: nothing is flushed that the promises do not flush.
    async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        drop(self.handle);
    }

    async fn take(&self, feed: &str, format: Format, channel: &str, body: &[u8]) -> Took {
        let provenance = Provenance {
            feed: slug(feed),
            peer: "10.0.0.1:4711".into(),
            channel: channel.into(),
            received_at: Timestamp::from_micros(1_790_000_000_000_000),
            format,
            origin: None,
        };
        let mut writer = self.handle.intake().begin(provenance).await.unwrap();
        writer.push(body).await.unwrap();
        let mut identity = [0; 32];
        for (n, byte) in body.iter().enumerate() {
            identity[n % 32] ^= byte.rotate_left((n / 32) as u32 % 8);
        }
        let closing = Closing {
            identity: Some(Identity(identity)),
            reply: Some(Bytes::from(format!("AA for {} bytes", body.len()))),
            format: None,
        };
        let receipt = writer.commit(closing).await.unwrap();
        Took { id: receipt.id, duplicate: receipt.duplicate }
    }

    async fn hl7(&self, mrn: &str, control_id: &str) -> Took {
        self.take("adt", Format::Hl7v2, "", message(mrn, control_id).as_bytes()).await
    }

    async fn idle(&self) {
        for _ in 0..2_000 {
            let status = self.handle.status();
            if status.iter().all(|d| d.backlog == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the backlog does not drain: {:?}", self.handle.status());
    }
}

fn message(mrn: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|A|LARKHAVEN|B|EDGE|20261124083000||ADT^A08^ADT_A01|{control_id}|P|2.5.1\rPID|1||{mrn}^^^LARKHAVEN^MR||KESTREL^ISADORA||19540311|F\r"
    )
}

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
    assert_eq!(gateway.handle.held_payload(&slug("lake"), broken.id).await.unwrap(), &b"PID|1||MRN1\r"[..]);
    let trace = gateway.handle.trace(broken.id).await.unwrap();
    assert!(matches!(
        trace.destinations[0].outcome,
        Outcome::Skipped { reason: Reason::Quarantined, held: true, .. }
    ));

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
    send(message(AMBIGUOUS, "H5")).await;
    gateway.idle().await;
    assert_eq!(gateway.handle.held_total(), 0);
    assert_eq!(lake.rows().len(), 5);
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
async fn a_closed_door_refuses_and_documents_survive() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], vec![]).await;
    gateway.handle.journal().put_document("accounts", b"one".to_vec()).await.unwrap();
    gateway.handle.journal().put_document("accounts", b"two".to_vec()).await.unwrap();
    gateway.handle.intake().close();
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
