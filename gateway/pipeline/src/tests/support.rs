//! A landing in memory that follows the protocol's rules and can be told to misbehave, and a box without sources.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicI64, Ordering};

use audit::witness::AddCheckpoint;
use audit::{Checkpoint, Hash, Verifier};
use deid::{Policy, Release};
use forward::{Committed, Nature, SendError};
use model::wire::{AuditReceipt, AuditStanding, EpochGrant, EpochRequest, Landed, ProblemKind};
use model::{
    Batch, Closing, Format, Identity, Intake as _, Lane, Provenance, Reason, Released, Skip, StreamEpoch,
    Timestamp,
};
use spool::RootKey;

use crate::*;

#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the landing does with the next batch instead of the ordinary.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Commits and loses the answer.
    LoseAnswer,
    /// Is away.
    Away,
    /// Is busy, and has not committed.
    Busy,
    /// Could not take the record now (AE).
    Decline,
    /// Will never take the record (AR).
    Reject,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Stream {
    epoch: u64,
    incarnation: String,
    pub(super) watermark: Seq,
    manifest: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) streams: BTreeMap<Lane, Stream>,
    pub(super) rows: Vec<Released>,
    pub(super) ledger: Vec<(Lane, u64, Seq, Seq, Vec<Skip>, String)>,
    pub(super) faults: VecDeque<Fault>,
    /// How far it had come in a lane under the name of a log that it knew before.
    reached: BTreeMap<(Lane, String), Seq>,
    /// Remembers nothing, as an MLLP receiver, and takes HL7 alone.
    forgetful: bool,
    /// Does not hear a log that presents itself by a name it does not know.
    pub(super) is_deaf_to_strangers: bool,
    /// How often it was reached.
    pub(super) opened: usize,
    /// The checkpoints that it has a receipt of, where it is a witness.
    pub(super) witnessed: Option<Vec<AuditReceipt>>,
}

/// A landing for one destination.
#[derive(Debug, Default)]
pub(super) struct Landing(pub(super) StdMutex<Shelf>);

impl Landing {
    pub(super) fn forgetful() -> Arc<Self> {
        let landing = Self::default();
        landing.0.lock().unwrap().forgetful = true;
        Arc::new(landing)
    }

    pub(super) fn witness() -> Arc<Self> {
        let landing = Self::default();
        landing.0.lock().unwrap().witnessed = Some(Vec::new());
        Arc::new(landing)
    }

    /// The checkpoints it has a receipt of, oldest first.
    pub(super) fn checkpoints(&self) -> Vec<Checkpoint> {
        let receipts = self.0.lock().unwrap().witnessed.clone().unwrap_or_default();
        receipts.iter().map(|r| checkpoint_of(&r.checkpoint)).collect()
    }

    pub(super) fn rows(&self) -> Vec<Released> {
        self.0.lock().unwrap().rows.clone()
    }

    pub(super) fn payloads(&self) -> Vec<String> {
        self.rows().iter().map(|r| String::from_utf8_lossy(&r.payload).into_owned()).collect()
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.0.lock().unwrap().faults.push_back(fault);
    }

    /// Ranges are contiguous, and every number is a row or a skip: the ledger's arithmetic.
    pub(super) fn audit(&self) {
        let shelf = self.0.lock().unwrap();
        let mut next: BTreeMap<(Lane, u64), Seq> = BTreeMap::new();
        for (lane, epoch, first, last, _, _) in &shelf.ledger {
            let expected = next.entry((*lane, *epoch)).or_insert(*first);
            assert_eq!(expected, first, "contiguous");
            *expected = last + 1;
        }
    }

    pub(super) fn skips(&self) -> Vec<(Seq, Reason)> {
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
    fn nature(&self) -> Nature {
        let forgetful = self.0.lock().unwrap().forgetful;
        Nature { remembers: !forgetful, hl7_only: forgetful, stop_grace: Duration::from_secs(10) }
    }

    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        let mut shelf = self.0.lock().unwrap();
        shelf.opened += 1;
        if shelf.forgetful {
            let (epoch, watermark) = (request.proposed, request.resume_after);
            return Ok(EpochGrant { epoch, watermark, manifest_sha256: None });
        }
        let known = shelf.streams.get(&lane).is_some_and(|s| s.incarnation == request.incarnation);
        if shelf.is_deaf_to_strangers && !known {
            return Err(SendError::Unreachable { why: "away".into() });
        }
        let shelf = &mut *shelf;
        let stream = shelf.streams.entry(lane).or_default();
        let same = stream.incarnation == request.incarnation;
        let proposed = request.proposed.get();
        let granted = if same { proposed.max(stream.epoch) } else { proposed.max(stream.epoch + 1) };
        if !same || granted > stream.epoch {
            // What this log has had committed, whoever has held the lane since.
            if stream.manifest.is_some() {
                shelf.reached.insert((lane, stream.incarnation.clone()), stream.watermark);
            }
            let left = shelf.reached.get(&(lane, request.incarnation.clone())).copied().unwrap_or(0);
            *stream = Stream {
                epoch: granted,
                incarnation: request.incarnation.clone(),
                watermark: request.resume_after.max(left),
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
            Some(Fault::Decline) => return Err(SendError::Declined { why: "AE".into() }),
            Some(Fault::Reject) => {
                let seq = batch.records[0].as_released().seq;
                return Err(SendError::Rejected { seq, why: "AR, condition 103 at PID-3".into() });
            }
            Some(Fault::LoseAnswer) | None => {}
        }
        if shelf.forgetful {
            assert!(batch.records.len() <= 1, "one answer for each");
            shelf.rows.extend(batch.records.iter().map(|r| r.as_released().clone()));
            let entry = (batch.stream.lane, 1, batch.first, batch.last, batch.skipped.clone(), String::new());
            shelf.ledger.push(entry);
            if matches!(fault, Some(Fault::LoseAnswer)) {
                return Err(SendError::Unknown { why: "no answer".into() });
            }
            return Ok(Committed { landed: None, manifest_sha256: "m".into(), bytes_raw: 1, bytes_wire: 1 });
        }
        let stream = shelf.streams.get_mut(&batch.stream.lane).unwrap();
        if batch.stream.epoch.get() != stream.epoch {
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
        Ok(Committed { landed: Some(landed), manifest_sha256: manifest, bytes_raw: 1, bytes_wire: 1 })
    }

    async fn knows(&self, lane: Lane) -> Result<Option<bool>, SendError> {
        let shelf = self.0.lock().unwrap();
        Ok((!shelf.forgetful).then(|| shelf.streams.contains_key(&lane)))
    }

    async fn standing(&self, origin: &str) -> Result<Option<AuditStanding>, SendError> {
        let shelf = self.0.lock().unwrap();
        Ok(shelf.witnessed.as_ref().map(|all| AuditStanding {
            origin: all.iter().rev().find(|r| checkpoint_of(&r.checkpoint).origin == origin).cloned(),
            newest: all.last().cloned(),
        }))
    }

    async fn witness(&self, key: &str, body: String) -> Result<Option<AuditReceipt>, SendError> {
        let mut shelf = self.0.lock().unwrap();
        let Some(all) = &mut shelf.witnessed else { return Ok(None) };
        let request = AddCheckpoint::parse(&body).unwrap();
        request.note.verify(&Verifier::parse(key).unwrap()).unwrap();
        let new = checkpoint_of(&request.note.to_string());
        let kept: Vec<_> = all.iter().map(|r| checkpoint_of(&r.checkpoint)).collect();
        let (size, root) = kept
            .iter()
            .rev()
            .find(|c| c.origin == new.origin)
            .map_or((0, Hash::empty()), |c| (c.size, c.root));
        let continues = size == request.old_size
            && audit::proof::verify_consistency(size, new.size, &request.proof, &root, &new.root)
            && kept.last().is_none_or(|c| c.heads.iter().all(|h| new.heads.iter().any(|n| h.may_become(n))));
        if !continues {
            let kind = Some(ProblemKind::Inconsistent);
            return Err(SendError::Refused { kind, status: 409, title: "no continuation".into() });
        }
        let receipt = AuditReceipt {
            received_at: Timestamp::from_micros(1_790_000_000_000_000),
            key: key.to_owned(),
            checkpoint: request.note.to_string(),
        };
        all.push(receipt.clone());
        Ok(Some(receipt))
    }

    async fn test(&self) -> forward::check::Report {
        unreachable!("not asked for in these tests")
    }
}

fn checkpoint_of(note: &str) -> Checkpoint {
    Checkpoint::parse(audit::Note::parse(note).unwrap().text()).unwrap()
}

pub(crate) fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

pub(super) fn feed(name: &str, destinations: Option<&[&str]>) -> Feed {
    let destinations = destinations.map(|d| d.iter().map(|n| slug(n)).collect());
    Feed {
        name: slug(name),
        lane: Lane::Clinical,
        destinations,
        routes: None,
        device_topics: vec!["ward/+/plx".into()],
        charset: None,
        consent: consent::Codes::default(),
    }
}

pub(super) fn route(name: &str, policy: &str, landing: &Arc<Landing>) -> Route<Landing> {
    Route {
        name: slug(name),
        policy: Arc::new(Policy::builtin(policy).unwrap()),
        destination: Arc::clone(landing),
        start: Start::Now,
        consent: None,
        batch: BatchLimits { linger: Duration::from_millis(5), ..BatchLimits::default() },
    }
}

pub(super) fn small() -> spool::Config {
    spool::Config {
        segment_bytes: 1 << 20,
        urgent_bytes_max: 8 << 20,
        clinical_bytes_max: 16 << 20,
        bulk_bytes_max: 8 << 20,
        held_bytes_max: 8 << 20,
        journal_bytes_max: 8 << 20,
        ..spool::Config::default()
    }
}

fn open(dir: &Path, config: &spool::Config, outside: spool::Outside) -> (Spool, Arc<dyn Clock>) {
    let keys = RootKey::from_file(&dir.join("root.key"), true).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
    let dir = dir.join("spool");
    let spool = Spool::open_on(&dir, config, keys, &slug("ward-3"), Arc::clone(&clock), outside).unwrap();
    (spool, clock)
}

/// The logs and the state store alone.
pub(crate) fn open_spool(dir: &Path) -> Spool {
    open(dir, &small(), spool::Outside::real()).0
}

/// What the intake said; a test need not look at it.
#[derive(Debug)]
pub(super) struct Took {
    pub(super) id: RecordId,
    pub(super) duplicate: Option<Bytes>,
}

/// A gateway without sources on a directory of its own.
pub(super) struct TestBox {
    pub(super) handle: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl TestBox {
    pub(super) async fn start(dir: &Path, feeds: Vec<Feed>, routes: Vec<Route<Landing>>) -> Self {
        Self::start_on(dir, small(), feeds, routes, spool::Outside::real()).await
    }

    pub(super) async fn start_on(
        dir: &Path,
        config: spool::Config,
        feeds: Vec<Feed>,
        routes: Vec<Route<Landing>>,
        outside: spool::Outside,
    ) -> Self {
        let (spool, clock) = open(dir, &config, outside);
        let profiles = Arc::new(Catalogue::builtin().unwrap());
        let pipeline =
            Pipeline::build(slug("ward-3"), Arc::new(spool), clock, profiles, feeds, routes).await.unwrap();
        let pipeline = pipeline.paced(Pace { entries: 1, every: Duration::from_millis(20) });
        let (handle, stop, tasks) = (pipeline.handle(), CancellationToken::new(), TaskTracker::new());
        drop(tasks.spawn(pipeline.run(stop.clone())));
        tasks.close();
        Self { handle, stop, tasks }
    }

    /// As a kill: nothing is flushed that the promises do not flush.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        drop(self.handle);
    }

    pub(super) async fn take(&self, feed: &str, format: Format, channel: &str, body: &[u8]) -> Took {
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
            ..Closing::default()
        };
        let receipt = writer.commit(closing).await.unwrap();
        Took { id: receipt.id, duplicate: receipt.duplicate }
    }

    pub(super) async fn hl7(&self, mrn: &str, control_id: &str) -> Took {
        self.take("adt", Format::Hl7v2, "", message(mrn, control_id).as_bytes()).await
    }

    pub(super) async fn idle(&self) {
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

pub(super) fn message(mrn: &str, control_id: &str) -> String {
    format!(
        "MSH|^~\\&|A|LARKHAVEN|B|EDGE|20261124083000||ADT^A08^ADT_A01|{control_id}|P|2.5.1\rPID|1||{mrn}^^^LARKHAVEN^MR||KESTREL^ISADORA||19540311|F\r"
    )
}

/// A message with a note of so many letters, of which compression saves no more than a quarter: logs are filled with them.
pub(super) fn large_message(control_id: &str, seed: u64, letters: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut message = message("MRN1", control_id);
    message.push_str("NTE|1||");
    let mut x = seed;
    message.extend((0..letters).map(|_| {
        x = x.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        char::from(LETTERS[(x >> 58) as usize])
    }));
    message.push('\r');
    message
}
