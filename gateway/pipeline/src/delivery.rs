//! One destination, one lane: read on from the cursor, shape, batch, send, move the cursor.
//!
//! **Invariants.**
//! - At most one batch of a stream is in flight, so order in the lane is strict.
//! - A number is settled only when the landing says that its range is committed, or by a watermark that it reports.
//! - After an answer was lost, or any error, the stream is opened again: the watermark decides whether the range
//!   is committed; if not, the batch is built anew under today's policy.
//! - What is held stands in the held log before its number is sent as skipped; what records said of consent, and the tokens of
//!   the vault, in the journal.
//! - The log may let a range go only after the cursor over it is durable.
//! - What the destination itself rejects is held like what the policy cannot release, and the stream goes on.
//!
//! **A destination that remembers nothing** (MLLP) gets one record at a time, so that a crash between its answer and
//! the durable cursor repeats one message at most; the cursor is the truth, and marks of it go to the journal
//! (docs/adr/0007).

mod open;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use deid::{Policy, Release};
use forward::retry::{Backoff, Limits, Verdict};
use forward::{Committed, Destination, Nature, SendError};
use futures_util::future::try_join_all;
use model::wire::RECORD_WIRE_BYTES_MAX;
use model::{
    AuditAction, AuditEvent, Batch, Clock, Envelope, Lane, Reason, RecordId, Seq, Skip, Slug, StreamId,
    Timestamp, codec,
};
use spool::{Durable, Entry, Log, Payload, Reader, Spool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::broken::Broken;
use crate::config::BatchLimits;
use crate::cursor::{Cursor, Cursors, Settled};
use crate::gate::Gate;
use crate::held::{Hold, Subject};
use crate::journal::Journal;
use crate::marks::Marks;
use crate::retention::Retention;
use crate::shape::{Shaped, Shaper};
use crate::status::{DeliveryState, Gauge};

/// Most numbers in one batch, records and skips.
const BATCH_SEQS_MAX: u64 = 20_000;
/// Most runs of skips in one batch, so that what became of it fits one value of the state store.
const SKIP_RUNS_MAX: usize = 200;
/// How long a batch that is nothing but skips waits for company.
const SKIPS_LINGER: Duration = Duration::from_secs(1);
/// How often a log presents itself before a landing that names ever other epochs is given up for now.
const OPEN_ATTEMPTS_MAX: usize = 8;
/// Records shaped before other tasks get a turn.
const SHAPE_BURST: usize = 64;

/// The task of one destination in one lane.
#[derive(Debug)]
pub(crate) struct Delivery<D> {
    pub(crate) gateway: Slug,
    pub(crate) name: Slug,
    pub(crate) lane: Lane,
    pub(crate) spool: Arc<Spool>,
    pub(crate) destination: Arc<D>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) shaper: Arc<Shaper>,
    pub(crate) limits: BatchLimits,
    /// Numbers up to here came before the destination began: not addressed to it.
    pub(crate) began_after: Seq,
    /// Nothing after this number can have been sent: the log's end at the first start since it last met the
    /// destination, or the end of the last batch.
    pub(crate) vouched: Seq,
    /// Before the first number that cannot be read here: another disk of the log's former name may have it.
    pub(crate) whole_through: Seq,
    pub(crate) cursors: Cursors,
    pub(crate) cursor: Cursor,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) retention: Arc<Retention>,
    /// What the destination is like.
    pub(crate) nature: Nature,
    /// Of a destination that remembers nothing: how far it is, in the journal.
    pub(crate) marks: Marks,
    /// Under which name the destination knows the log.
    pub(crate) journal: Journal,
    /// Shared by the lanes of the destination.
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<dyn Clock>,
}

struct Built {
    batch: Batch<Release>,
    released: u64,
}

impl<D: Destination> Delivery<D> {
    /// Delivers until stopped. A batch in flight is waited for; a backlog is not.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Limits::default());
        loop {
            let gate = Arc::clone(&self.gate);
            let mut opens = gate.opens();
            let wait = match gate.ask() {
                Verdict::Wait(wait) => wait,
                Verdict::Go => {
                    let Some(wait) = self.attempt(&mut backoff, &stop).await else { break };
                    opens = gate.opens();
                    wait
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = opens => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        if let Err(error) = self.mark(true).await {
            tracing::warn!(destination = %self.name, lane = %self.lane, %error, "how far delivery is could not be noted");
        }
        self.gauge.set_state(DeliveryState::Stopped, self.clock.now());
    }

    /// Notes in the journal how far the destination is, when it is due or `now`.
    async fn mark(&mut self, now: bool) -> Result<(), Error> {
        if self.nature.remembers { Ok(()) } else { self.marks.note(&self.cursor, now).await }
    }

    /// One session; says how long to wait before the next, or nothing when told to stop.
    async fn attempt(&mut self, backoff: &mut Backoff, stop: &CancellationToken) -> Option<Duration> {
        let before = self.cursor.seq;
        self.look_at_oldest().await;
        let ended = self.deliver(stop).await;
        if self.cursor.seq > before {
            backoff.succeeded();
        }
        let broken = match ended {
            Ok(()) => return None,
            Err(broken) => broken,
        };
        let retry_after = broken.retry_after();
        let state = match broken {
            Broken::Send(error) => {
                if matches!(error, SendError::Unreachable { .. }) {
                    self.gate.failed();
                } else {
                    self.gate.succeeded();
                }
                let why = error.to_string();
                let transient = error.is_transient() || error.may_have_committed();
                match error {
                    SendError::Unreachable { .. } => DeliveryState::Unreachable { why },
                    _ if transient => DeliveryState::Retrying { why },
                    _ => DeliveryState::Blocked { why },
                }
            }
            Broken::Ours(error) => {
                self.gate.succeeded();
                DeliveryState::Blocked { why: error.to_string() }
            }
        };
        let wait = backoff.failed(self.jitter(), retry_after);
        tracing::warn!(destination = %self.name, lane = %self.lane, cursor = self.cursor.seq, %state,
            retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "delivery is interrupted");
        self.gauge.set_state(state, self.clock.now());
        Some(wait)
    }

    /// Spreads the retries of gateways, destinations and lanes that failed at one moment: decided by who we are and the
    /// microsecond it is, so that a simulation decides it too.
    fn jitter(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.gateway, &self.name, self.lane, self.clock.now().micros()).hash(&mut hasher);
        hasher.finish()
    }

    /// So that the status can say how long the oldest record has waited, also while nothing can be sent.
    async fn look_at_oldest(&self) {
        let oldest = self.spool.lane(self.lane).get(self.cursor.seq.saturating_add(1)).await;
        if let Ok(Some(Entry::Record(record))) = oldest
            && let Ok(envelope) = codec::decode::<Envelope>(&record.meta)
        {
            self.gauge.saw(envelope.provenance.received_at);
        }
    }

    async fn deliver(&mut self, stop: &CancellationToken) -> Result<(), Broken> {
        let log = self.spool.lane(self.lane).clone();
        let durable = log.durable();
        if !self.nature.remembers && !self.something_to_send(&durable, stop).await? {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            opened = self.open(&log) => opened?,
        }
        self.gate.succeeded();
        let mut reader = log.reader(self.cursor.seq.saturating_add(1));
        while !stop.is_cancelled() {
            let end = self.last_of_name(&log);
            if self.cursor.seq >= end {
                // What it had under its former name is there; the rest goes out under its own.
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    opened = self.open(&log) => opened?,
                }
                reader = log.reader(self.cursor.seq.saturating_add(1));
                continue;
            }
            if !self.something_to_send(&durable, stop).await? {
                return Ok(());
            }
            // Told to stop, or to go on under its own name.
            let Some(built) = self.build(&log, &mut reader, end, stop).await? else { continue };
            self.gauge.set_state(DeliveryState::Delivering, self.clock.now());
            let attempt = settled_of(&built.batch, None);
            let mut earlier = None;
            // Noted for the answer to a question that only a destination with a memory can be asked.
            if self.nature.remembers {
                earlier =
                    self.cursors.intended()?.filter(|a| (a.first, a.last) == (attempt.first, attempt.last));
                self.cursors.intend(&attempt).await?;
            } else {
                // The cursor alone knows that it was taken: nothing goes that the cursor could not move over.
                self.cursors.check().await?;
            }
            self.vouched = self.vouched.max(built.batch.last);
            let committed = tokio::select! {
                biased;
                sent = self.destination.send(&built.batch) => match sent {
                    Err(SendError::Rejected { seq, why }) => {
                        self.hold_rejected(&log, seq, why).await?;
                        reader = log.reader(self.cursor.seq.saturating_add(1));
                        continue;
                    }
                    sent => sent?,
                },
                // A landing that hangs must not hold up a stop: the next start asks what became of the batch.
                () = async { stop.cancelled().await; tokio::time::sleep(self.nature.stop_grace).await } => return Ok(()),
            };
            self.settle(&log, &built, earlier, &committed).await?;
        }
        Ok(())
    }

    /// Waits until the log has more than the cursor; not so when told to stop.
    async fn something_to_send(
        &mut self,
        durable: &Durable,
        stop: &CancellationToken,
    ) -> Result<bool, Broken> {
        while *durable.borrow() <= self.cursor.seq {
            // Not before that is known: who has something to send and does not reach anybody is not idle.
            self.gauge.set_state(DeliveryState::Idle, self.clock.now());
            let due = self.marks.due_in(&self.cursor).filter(|_| !self.nature.remembers);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                _ = durable.beyond(self.cursor.seq) => {}
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.mark(false).await?,
            }
        }
        Ok(true)
    }

    /// The destination will not have this record: a person decides. The next attempt at its range skips it.
    async fn hold_rejected(&self, log: &Log, seq: Seq, why: String) -> Result<(), Broken> {
        let id = RecordId { lane: self.lane, epoch: log.epoch(), seq };
        tracing::warn!(destination = %self.name, record = %id, %why, "a record is rejected and held");
        let Some(Entry::Record(record)) = log.get(seq).await? else {
            return Err(Error::NotKept { id }.into());
        };
        let envelope = codec::decode::<Envelope>(&record.meta)?;
        let hold = self.shaper.rejected(id, envelope, record.payload.bytes().await?, &why);
        self.shaper.held.hold(&self.name, hold).await?;
        Ok(())
    }

    /// Reads and shapes up to a full batch, nothing beyond `end`. `None` when told to stop with nothing begun, and where the
    /// first that is to go out under the log's former name cannot be read.
    async fn build(
        &mut self,
        log: &Log,
        reader: &mut Reader,
        end: Seq,
        stop: &CancellationToken,
    ) -> Result<Option<Built>, Broken> {
        if let Some(gate) = &self.shaper.consent {
            gate.consents.check_age(&gate.asked)?;
        }
        let first = self.cursor.seq.saturating_add(1);
        let most = first.saturating_add(BATCH_SEQS_MAX - 1).min(end);
        let mut next = first;
        let mut releases: Vec<Release> = Vec::new();
        let mut skipped: Vec<Skip> = Vec::new();
        let mut holds: Vec<Hold> = Vec::new();
        let mut held_now = HashSet::new();
        let mut bytes = 0_usize;
        let began = Instant::now();
        let mut burst = 0;
        let given_up = self.retention.given_up(self.lane);
        loop {
            let records_max = if self.nature.remembers { self.limits.records_max } else { 1 };
            let full = releases.len() >= records_max
                || bytes >= self.limits.bytes_max
                || skipped.len() >= SKIP_RUNS_MAX
                || next > most;
            if full {
                break;
            }
            let entry = match reader.next().await {
                // Given up and freed; or sent again after the landing went back, and no longer kept.
                Err(spool::Error::Freed { oldest }) => {
                    let last = oldest.saturating_sub(1).min(most);
                    if last > given_up {
                        let from = next.max(given_up.saturating_add(1));
                        self.audit(
                            AuditAction::RecordExpired,
                            format!("{from}..={last} are no longer kept"),
                        )?;
                    }
                    skip(&mut skipped, next, last, Reason::Expired);
                    next = last.saturating_add(1);
                    *reader = log.reader(next);
                    continue;
                }
                entry => entry?,
            };
            let Some(entry) = entry else {
                let linger = if releases.is_empty() { SKIPS_LINGER } else { self.limits.linger };
                let over = self.lane == Lane::Urgent || began.elapsed() >= linger || stop.is_cancelled();
                if next > first && over {
                    break;
                }
                let durable = log.durable();
                let left = linger.saturating_sub(began.elapsed());
                tokio::select! {
                    biased;
                    () = stop.cancelled() => if next == first { return Ok(None) },
                    _ = durable.beyond(next.saturating_sub(1)) => {}
                    () = tokio::time::sleep(left), if next > first => {}
                }
                continue;
            };
            match entry {
                Entry::Damaged { first: from, last } => {
                    let from = from.max(next);
                    if last.min(most) < from {
                        continue;
                    }
                    if end != Seq::MAX {
                        self.whole_through = from.saturating_sub(1);
                        break;
                    }
                    if last > most {
                        // The rest of it is met again by the next batch.
                        *reader = log.reader(most.saturating_add(1));
                    }
                    let last = last.min(most);
                    self.audit(AuditAction::RecordDamaged, format!("{from}..={last} cannot be read"))?;
                    skip(&mut skipped, from, last, Reason::Quarantined);
                    next = last.saturating_add(1);
                }
                Entry::Erased { first: from, last } => {
                    // A landing that went back asks for what was erased when everybody had it.
                    let from = from.max(next);
                    if last.min(most) < from {
                        continue;
                    }
                    if last > most {
                        *reader = log.reader(most.saturating_add(1));
                    }
                    let last = last.min(most);
                    self.audit(AuditAction::RecordDamaged, format!("{from}..={last} were erased"))?;
                    skip(&mut skipped, from, last, Reason::Expired);
                    next = last.saturating_add(1);
                }
                Entry::Record(record) => {
                    if record.seq < next {
                        continue;
                    }
                    if record.seq <= self.began_after {
                        skip(&mut skipped, record.seq, record.seq, Reason::NotAddressed);
                        next = record.seq.saturating_add(1);
                        continue;
                    }
                    if record.seq <= given_up {
                        skip(&mut skipped, record.seq, record.seq, Reason::Expired);
                        next = record.seq.saturating_add(1);
                        continue;
                    }
                    let id = RecordId { lane: self.lane, epoch: log.epoch(), seq: record.seq };
                    let shaped = match codec::decode::<Envelope>(&record.meta) {
                        Ok(envelope) => {
                            self.gauge.saw(envelope.provenance.received_at);
                            self.shape(id, envelope, record.payload, &mut bytes, &mut held_now).await?
                        }
                        Err(error) => {
                            tracing::error!(record = %id, %error, "an envelope of our own cannot be read");
                            self.audit(
                                AuditAction::RecordDamaged,
                                format!("the envelope of {id} cannot be read"),
                            )?;
                            Shaped::Skip(Reason::Quarantined)
                        }
                    };
                    match shaped {
                        Shaped::Skip(Reason::Quarantined) if end != Seq::MAX => {
                            self.whole_through = record.seq.saturating_sub(1);
                            break;
                        }
                        Shaped::Release(release) => releases.push(release),
                        Shaped::Skip(reason) => skip(&mut skipped, record.seq, record.seq, reason),
                        Shaped::Hold(hold) => {
                            skip(&mut skipped, record.seq, record.seq, hold.reason);
                            held_now.extend(hold.subject);
                            holds.push(hold);
                        }
                    }
                    next = record.seq.saturating_add(1);
                }
            }
            burst += 1;
            if burst % SHAPE_BURST == 0 {
                tokio::task::yield_now().await;
            }
        }
        if next == first {
            return Ok(None);
        }
        self.finish(first, next, releases, skipped, holds).await.map(Some)
    }

    /// Reads a record and shapes it; `bytes` grows by what was read.
    async fn shape(
        &self,
        id: RecordId,
        envelope: Envelope,
        payload: Payload,
        bytes: &mut usize,
        held_now: &mut HashSet<Subject>,
    ) -> Result<Shaped, Broken> {
        if payload.len() > RECORD_WIRE_BYTES_MAX {
            return Ok(self.shaper.shape_object(id, envelope, payload));
        }
        let read = match payload.bytes().await {
            Ok(read) => read,
            Err(spool::Error::Damaged { .. }) => {
                self.audit(AuditAction::RecordDamaged, format!("the payload of {id} cannot be read"))?;
                return Ok(Shaped::Skip(Reason::Quarantined));
            }
            Err(error) => return Err(error.into()),
        };
        *bytes = bytes.saturating_add(read.len());
        Ok(self.shaper.shape(id, envelope, read, held_now))
    }

    async fn finish(
        &self,
        first: Seq,
        next: Seq,
        records: Vec<Release>,
        skipped: Vec<Skip>,
        holds: Vec<Hold>,
    ) -> Result<Built, Broken> {
        if let Some(gate) = &self.shaper.consent {
            gate.consents.settle().await?;
        }
        self.shaper.vault.vaults.settle().await?;
        // Together, so that the held log syncs once; polled in order, so that they stand there in order.
        try_join_all(holds.into_iter().map(|hold| self.shaper.held.hold(&self.name, hold))).await?;
        let stream = StreamId {
            gateway: self.gateway.clone(),
            destination: self.name.clone(),
            lane: self.lane,
            epoch: self.spool.lane(self.lane).epoch(),
        };
        let released = records.len() as u64;
        let batch = Batch {
            stream,
            first,
            last: next.saturating_sub(1),
            policy: self.policy.reference().clone(),
            records,
            skipped,
        };
        batch.check().map_err(Error::Untiled)?;
        Ok(Built { batch, released })
    }

    /// `earlier` is the attempt at the same range whose answer was lost, if there was one.
    async fn settle(
        &mut self,
        log: &Log,
        built: &Built,
        earlier: Option<Settled>,
        committed: &Committed,
    ) -> Result<(), Broken> {
        let mut settled = settled_of(&built.batch, Some((committed, self.clock.now())));
        if !committed.is_ours() {
            self.audit(
                AuditAction::ManifestMismatch,
                format!("{}..={}: an earlier attempt stands", built.batch.first, built.batch.last),
            )?;
            // It arrived after all, between our question and the second attempt: its receipts are the true ones.
            settled.policy = earlier.as_ref().and_then(|e| e.policy.clone());
            settled.skipped = earlier.map(|e| e.skipped).unwrap_or_default();
        }
        self.cursors.settle(&mut self.cursor, &settled).await?;
        self.mark(false).await?;
        self.gauge.delivered(built.released, &built.batch.skipped, committed);
        self.moved(log);
        Ok(())
    }

    /// The cursor is durable where it stands now.
    fn moved(&self, log: &Log) {
        self.shaper.held.settled(&self.name, self.lane, self.cursor.seq);
        self.gauge.moved(self.cursor.seq, *log.durable().borrow());
        self.retention.moved(self.lane, &self.name, self.cursor.seq, log, self.clock.now());
    }

    fn audit(&self, action: AuditAction, detail: String) -> Result<(), Error> {
        let subject = format!("{}/{}", self.name, self.lane);
        let event = AuditEvent { at: self.clock.now(), actor: "system".to_owned(), action, subject, detail };
        Ok(self.spool.audit().record(&event)?)
    }
}

/// `committed` with the time at which we heard of it, for a destination that does not say when.
fn settled_of(batch: &Batch<Release>, committed: Option<(&Committed, Timestamp)>) -> Settled {
    let landed = committed.and_then(|(c, _)| c.landed.as_ref());
    Settled {
        epoch: batch.stream.epoch,
        first: batch.first,
        last: batch.last,
        manifest_sha256: landed
            .map(|l| &l.manifest_sha256)
            .or(committed.map(|(c, _)| &c.manifest_sha256))
            .cloned()
            .unwrap_or_default(),
        policy: Some(batch.policy.clone()),
        skipped: batch.skipped.clone(),
        table_version: landed.map(|l| l.table_version),
        committed_at: landed.map(|l| l.committed_at).or(committed.map(|(_, at)| at)),
    }
}

/// Adds a run of skips, joining it to the one before where the reason is the same.
fn skip(skipped: &mut Vec<Skip>, first: Seq, last: Seq, reason: Reason) {
    match skipped.last_mut() {
        Some(run) if run.reason == reason && run.last.saturating_add(1) == first => run.last = last,
        _ => skipped.push(Skip { first, last, reason }),
    }
}
