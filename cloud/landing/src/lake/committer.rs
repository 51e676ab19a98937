//! The task that writes a root's tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::wire::{EpochGrant, Landed};
use model::{Clock, Seq, StreamEpoch, StreamId, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::follow::{Follower, Fresh};
use super::lookup::{self, Key};
use super::note::Note;
use super::streams::{Admission, View};
use super::{
    Config, FOLLOWING, Found, GROUP_BYTES_MAX, GROUP_MAX, Hook, Incoming, Job, Refused, Reply, Status, Step,
};
use crate::delta::{Add, Committed, Draft, Error, Table};
use crate::rows::{self, LandedBatch, Manifest};

/// Most races for a version lost in a row.
const RACES_MAX: u32 = 32;
/// Most streams whose last batch is remembered; of others it is read from the log when asked.
const REMEMBERED_MAX: usize = 10_000;

/// Writes a root's tables; see [`super`].
#[derive(Debug)]
pub struct Committer {
    config: Config,
    clock: Arc<dyn Clock>,
    hook: Hook,
    queue: mpsc::Receiver<Job>,
    raw: Table,
    followers: [Follower; FOLLOWING.len()],
    /// The last batch of each stream.
    last: HashMap<StreamId, Landed>,
    /// An error left open what stands in the tables: look before the next step.
    doubt: bool,
}

/// What a job comes to, before anything is committed.
#[derive(Debug)]
enum Verdict {
    /// It is in the commit; what it became there stands here once the commit is made.
    Land(Option<Landed>),
    /// Its first number was committed before, or is being committed by a job ahead of it.
    Past {
        watermark: Seq,
    },
    /// An epoch, told once the commit is made where it is new.
    Grant {
        epoch: StreamEpoch,
        watermark: Seq,
    },
    Status {
        epoch: Option<u64>,
        current: Option<u64>,
        watermark: Seq,
    },
    Refused(Refused),
}

/// What a commit would hold.
struct Plan {
    verdicts: Vec<Verdict>,
    accepted: Vec<usize>,
    txns: BTreeMap<String, i64>,
    /// Something in it depends on having seen the newest version.
    needs_newest: bool,
}

/// What a commit came to.
struct Outcome {
    verdicts: Vec<Verdict>,
    fresh: Fresh,
}

impl Committer {
    pub(super) async fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        hook: Hook,
        queue: mpsc::Receiver<Job>,
    ) -> Result<Self, Error> {
        let Config { root, policy } = &config;
        let raw = Table::open(root, rows::raw_schema(policy), policy, Arc::clone(&clock)).await?;
        let mut followers = Vec::with_capacity(FOLLOWING.len());
        for silver in FOLLOWING {
            let table =
                Table::open(root, rows::silver_schema(silver, policy), policy, Arc::clone(&clock)).await?;
            followers.push(Follower::new(silver, policy, table));
        }
        let followers = followers.try_into().map_err(|_| Error::Stopping)?;
        let last = HashMap::new();
        let mut committer = Self { config, clock, hook, queue, raw, followers, last, doubt: false };
        let now = committer.clock.now();
        committer.follow(&Fresh::new(), now).await?;
        Ok(committer)
    }

    /// Works until the stop, then on what has queued up; new requests are refused from the stop on.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                job = self.queue.recv() => job,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(first) = first else { break };
            let jobs = self.group(first);
            self.cycle(jobs).await;
            if self.hook.struck() {
                return;
            }
        }
        self.raw.close().await;
        for follower in self.followers {
            follower.close().await;
        }
    }

    /// What goes into one commit: what has queued up, within the limits.
    fn group(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.bytes();
        let mut jobs = vec![first];
        while jobs.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes = bytes.saturating_add(job.bytes());
            jobs.push(job);
        }
        jobs
    }

    async fn cycle(&mut self, jobs: Vec<Job>) {
        match self.work(&jobs).await {
            Ok(verdicts) => {
                for (job, verdict) in jobs.into_iter().zip(verdicts) {
                    self.answer(job, verdict).await;
                }
            }
            Err(error) => {
                // Whatever was committed is found by looking; the senders ask again.
                self.doubt = true;
                tracing::error!(root = %self.config.root.display(), %error, "nothing landed");
                for job in jobs {
                    job.answer(Reply::Refused(Refused::Unavailable));
                }
            }
        }
    }

    /// Commits and lets every table catch up.
    async fn work(&mut self, jobs: &[Job]) -> Result<Vec<Verdict>, Error> {
        let begun = Instant::now();
        if self.doubt {
            self.raw.sync().await?;
            for follower in &mut self.followers {
                follower.sync().await?;
            }
            self.doubt = false;
        }
        let now = self.clock.now();
        let Outcome { verdicts, fresh } = self.commit(jobs, now).await?;
        let raw_ms = begun.elapsed().as_millis();
        self.follow(&fresh, now).await?;
        let committed: Vec<&LandedBatch> = fresh.values().flatten().collect();
        if !committed.is_empty() {
            tracing::info!(
                root = %self.config.root.display(),
                version = self.raw.version(),
                batches = committed.len(),
                rows = committed.iter().map(|b| b.manifest.rows).sum::<u64>(),
                bytes = committed.iter().map(|b| b.manifest.bytes_raw).sum::<u64>(),
                raw_ms,
                all_ms = begun.elapsed().as_millis(),
                "landed"
            );
        }
        Ok(verdicts)
    }

    /// Commits on `raw` what can be; judged anew whenever somebody else was faster.
    async fn commit(&mut self, jobs: &[Job], now: Timestamp) -> Result<Outcome, Error> {
        let mut newest = false;
        let mut races = 0;
        let mut written: Option<(Vec<usize>, Vec<Add>)> = None;
        loop {
            let version = self.raw.version() + 1;
            let mut plan = self.plan(jobs, version);
            if plan.needs_newest && !newest {
                newest = true;
                if self.raw.sync().await? {
                    continue;
                }
            }
            if plan.txns.is_empty() {
                return Ok(Outcome { verdicts: plan.verdicts, fresh: Fresh::new() });
            }
            let accepted: Vec<Arc<Incoming>> =
                plan.accepted.iter().filter_map(|at| jobs.get(*at)?.incoming()).collect();
            let adds = match &written {
                Some((of, adds)) if *of == plan.accepted => adds.clone(),
                _ => self.write(accepted.clone(), now).await?,
            };
            self.hook.reach(Step::RawWritten)?;
            let batches = accepted.iter().map(|i| i.manifest.clone()).collect();
            let draft = Draft {
                timestamp_ms: now.micros().div_euclid(1000),
                txns: plan.txns,
                adds: adds.clone(),
                metadata: None,
                note: Some(Note { committed_at: now, batches }.encode()?),
            };
            match self.raw.commit(&draft).await? {
                Committed::As(version) => {
                    self.hook.reach(Step::RawCommitted)?;
                    let batches = self.remember(&accepted, version, now);
                    for (at, batch) in plan.accepted.iter().zip(&batches) {
                        if let Some(verdict) = plan.verdicts.get_mut(*at) {
                            *verdict = Verdict::Land(Some(landed(batch)));
                        }
                    }
                    let fresh = Fresh::from([(version, batches)]);
                    return Ok(Outcome { verdicts: plan.verdicts, fresh });
                }
                Committed::Lost => {
                    races += 1;
                    if races > RACES_MAX {
                        return Err(Error::Crowded(races));
                    }
                    written = Some((plan.accepted, adds));
                    self.raw.sync().await?;
                    newest = true;
                }
            }
        }
    }

    fn plan(&self, jobs: &[Job], version: u64) -> Plan {
        let mut view = View::new(self.raw.txns());
        let mut verdicts = Vec::with_capacity(jobs.len());
        let mut accepted = Vec::new();
        let mut needs_newest = false;
        for (at, job) in jobs.iter().enumerate() {
            let (verdict, certain) = match job {
                Job::Land(incoming, _) => {
                    let manifest = &incoming.manifest;
                    let stream = manifest.stream();
                    match view.judge(&stream, manifest.first) {
                        Admission::Next => {
                            view.advance(&stream, manifest.last, version);
                            accepted.push(at);
                            (Verdict::Land(None), true)
                        }
                        Admission::Past => (Verdict::Past { watermark: view.watermark(&stream) }, false),
                        Admission::Early { expected } => {
                            (Verdict::Refused(Refused::OutOfOrder { expected }), false)
                        }
                        Admission::Fenced { current } => {
                            (Verdict::Refused(Refused::Fenced { current }), false)
                        }
                    }
                }
                Job::Grant(track, request, _) => {
                    let grant = view.grant(track, request);
                    (Verdict::Grant { epoch: grant.epoch, watermark: grant.watermark }, grant.new)
                }
                Job::Status(track, epoch, _) => {
                    let current = view.current(track);
                    let epoch = epoch.or(current);
                    let stream = epoch.and_then(StreamEpoch::new).map(|e| track.stream(e));
                    let watermark = stream.map_or(0, |s| view.watermark(&s));
                    (Verdict::Status { epoch, current, watermark }, false)
                }
            };
            needs_newest |= !certain;
            verdicts.push(verdict);
        }
        Plan { verdicts, accepted, txns: view.into_pending(), needs_newest }
    }

    async fn write(&self, accepted: Vec<Arc<Incoming>>, now: Timestamp) -> Result<Vec<Add>, Error> {
        let policy = self.config.policy.clone();
        let building = tokio::task::spawn_blocking(move || {
            let batches = accepted.iter().map(|i| (&i.manifest, i.records.as_slice()));
            rows::raw_parts(batches, &policy, now)
        });
        let parts = building.await.map_err(|_| Error::Stopping)??;
        self.raw.write(parts, now).await
    }

    fn remember(&mut self, accepted: &[Arc<Incoming>], version: u64, now: Timestamp) -> Vec<LandedBatch> {
        if self.last.len() > REMEMBERED_MAX {
            self.last.clear();
        }
        let mut batches = Vec::with_capacity(accepted.len());
        for incoming in accepted {
            let batch = LandedBatch {
                manifest: incoming.manifest.clone(),
                records: Arc::clone(&incoming.records),
                committed_at: now,
                raw_version: version,
            };
            self.last.insert(batch.manifest.stream(), landed(&batch));
            batches.push(batch);
        }
        batches
    }

    async fn follow(&mut self, fresh: &Fresh, now: Timestamp) -> Result<(), Error> {
        let (raw, hook) = (&self.raw, &self.hook);
        let all = self.followers.iter_mut().map(|follower| follower.catch_up(raw, fresh, now, hook));
        // To the end, each of them: one that fails must not leave another half way.
        futures_util::future::join_all(all).await.into_iter().collect()
    }

    async fn answer(&mut self, job: Job, verdict: Verdict) {
        let found = self.found(&job, verdict).await.unwrap_or_else(|error| {
            tracing::error!(root = %self.config.root.display(), %error, "a request could not be answered");
            Reply::Refused(Refused::Unavailable)
        });
        job.answer(found);
    }

    /// From what was decided to what is answered; after the commit.
    async fn found(&mut self, job: &Job, verdict: Verdict) -> Result<Reply, Error> {
        Ok(match (verdict, job) {
            (Verdict::Land(Some(landed)), _) => Reply::Landed(Found::Landed(landed)),
            (Verdict::Past { watermark }, Job::Land(incoming, _)) => {
                let Manifest { first, last, .. } = incoming.manifest;
                match self.last_of(&incoming.manifest.stream(), watermark).await? {
                    Some(landed) if landed.first == first && landed.last == last => {
                        Reply::Landed(Found::Landed(landed))
                    }
                    Some(landed) if landed.first == first => Reply::Refused(Refused::OtherRange(landed)),
                    _ => Reply::Landed(Found::InLedger { expected: watermark.saturating_add(1) }),
                }
            }
            (Verdict::Grant { epoch, watermark }, Job::Grant(track, ..)) => {
                let last = self.last_of(&track.stream(epoch), watermark).await?;
                let manifest_sha256 = last.map(|l| l.manifest_sha256);
                Reply::Grant(EpochGrant { epoch, watermark, manifest_sha256 })
            }
            (Verdict::Status { epoch, current, watermark }, Job::Status(track, ..)) => {
                let last = match epoch.and_then(StreamEpoch::new) {
                    Some(epoch) => self.last_of(&track.stream(epoch), watermark).await?,
                    None => None,
                };
                let manifest_sha256 = last.map(|l| l.manifest_sha256);
                Reply::Status(Status { epoch, current_epoch: current, watermark, manifest_sha256 })
            }
            (Verdict::Refused(refused), _) => Reply::Refused(refused),
            // A verdict is made from its job: no other pair occurs.
            (_, _) => Reply::Refused(Refused::Unavailable),
        })
    }

    /// The batch with which a stream came to its watermark; `None` where the epoch began there.
    async fn last_of(&mut self, stream: &StreamId, watermark: Seq) -> Result<Option<Landed>, Error> {
        if let Some(landed) = self.last.get(stream).filter(|l| l.last == watermark) {
            return Ok(Some(landed.clone()));
        }
        let Some(version) = View::new(self.raw.txns()).committed_at(stream) else { return Ok(None) };
        let note = match self.raw.entry(version).await? {
            Some(commit) => Note::of(&commit, version)?,
            None => None,
        };
        let landed = match note {
            Some(note) => note.landed(stream, watermark, version),
            // Cleaned up with the log; the ledger stays.
            None => lookup::find(&self.config.root, stream, Key::Last(watermark)).await?,
        };
        if let Some(landed) = &landed {
            self.last.insert(stream.clone(), landed.clone());
        }
        Ok(landed)
    }
}

fn landed(batch: &LandedBatch) -> Landed {
    Landed {
        first: batch.manifest.first,
        last: batch.manifest.last,
        manifest_sha256: batch.manifest.manifest_sha256.clone(),
        table_version: batch.raw_version,
        committed_at: batch.committed_at,
    }
}
