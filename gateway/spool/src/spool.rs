//! Opening and closing the whole: five logs, the state store, one lock.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use aws_lc_rs::digest;
use model::{AuditSink, Clock, Lane, Slug};
use rustix::fs::{FlockOperation, flock};

use crate::cipher::LogKeys;
use crate::disk::Disk;
use crate::epochs::Epochs;
use crate::format::{SegmentHeader, Suite};
use crate::identity::Identity;
use crate::inner::{Inner, Limits, Parts, make_dir};
use crate::journal::Audit;
use crate::keeper::Chores;
use crate::keys::Entropy;
use crate::keys::ring::KEYS_DIR;
use crate::outside::{Hands, LOGS, Outside};
use crate::pressure::{CRITICAL_PERCENT, Room};
use crate::recover::{Owner, Recovered, recover};
use crate::{Config, Error, Keys, Log, RootKey, State, committer, keeper};

const LOCK_FILE: &str = "lock";
const LOGS_DIR: &str = "logs";
pub(crate) const STATE_DIR: &str = "state";

/// The logs of a spool, as their directories are called; lanes first, most urgent first.
pub(crate) const LOG_NAMES: [&str; LOGS] = ["urgent", "clinical", "bulk", "held", "journal"];

/// The log whose key epoch is never erased.
pub(crate) const JOURNAL: &str = "journal";

/// What the journal may take beyond its budget while its oldest part is let go: one segment for its state said again, and
/// one for the remains of attempts that a crash ended; and where the state is large, up to a share of the budget.
const ASIDE_SEGMENTS: u64 = 2;
/// The state that is said again takes at most the budget of the journal divided by this; whoever keeps much of it sees to that.
pub const STATE_SHARE: u64 = 4;

/// The directory of a log.
pub(crate) fn log_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(LOGS_DIR).join(name)
}

/// The spool: one log per lane, the held log, the journal, and the state store. One process has it open.
#[derive(Debug)]
pub struct Spool {
    logs: [Log; LOGS],
    state: State,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    audit: Arc<Audit>,
    hands: Hands,
    chores: Chores,
    threads: Vec<JoinHandle<()>>,
    dir: PathBuf,
    /// Most that the logs may take of the disk.
    pool_bytes: u64,
    config: Config,
    /// Held until everything is closed.
    _lock: File,
}

impl Spool {
    /// Whether logs were begun in this folder, under some root key: then a key that is missing must come back, and a new
    /// one in its place would open nothing.
    pub fn is_begun(dir: &Path) -> bool {
        dir.join(LOGS_DIR).exists() || dir.join(KEYS_DIR).exists()
    }

    /// Opens a spool, or makes one in an empty or missing directory. Recovers what an earlier process left.
    /// Blocks.
    ///
    /// # Errors
    /// Before anything is changed: [`Error::Config`], [`Error::Locked`], [`Error::WrongKey`],
    /// [`Error::OtherGateway`], [`Error::Version`]. Later: [`Error::Io`], [`Error::State`].
    pub fn open(
        dir: &Path,
        config: &Config,
        root: RootKey,
        gateway: &Slug,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        config.check()?;
        Self::open_on(dir, config, root, gateway, clock, Outside::real())
    }

    /// The same on a world of the caller's. The ranges of the configuration are not checked: a simulation needs
    /// segments smaller than a disk wants.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_on(
        dir: &Path,
        config: &Config,
        root: RootKey,
        gateway: &Slug,
        clock: Arc<dyn Clock>,
        outside: Outside,
    ) -> Result<Self, Error> {
        let Outside { disk, hands, state, entropy } = outside;
        let lock = lock(dir, &*disk)?;
        let gateway = gateway_hash(gateway);
        // First look at everything, then change anything.
        let (epochs, is_new) = Epochs::open(dir, &root, &*disk, dir.join(LOGS_DIR).exists())?;
        let epochs = Arc::new(epochs);
        let mut found = Vec::new();
        for name in LOG_NAMES {
            let log_keys = LogKeys::of(&epochs, name).with_entropy(Arc::clone(&entropy));
            let owner = Owner { keys: &log_keys, gateway, log: SegmentHeader::log_name(name) };
            let recovered = recover(&log_dir(dir, name), &owner, &*disk)?;
            found.push((name, log_keys, recovered));
        }
        epochs.settle(&root, &*disk)?;
        let is_complete = is_new || found.iter().all(|(_, _, recovered)| recovered.is_complete());
        for segment in found.iter().flat_map(|(_, _, recovered)| recovered.table.iter()) {
            epochs.found(segment.key_epoch);
        }
        if !is_complete {
            epochs.keep(&*disk)?;
        }
        let state = match state {
            Some(shelf) => State::on(shelf, hands.clone())?,
            None => State::open(&dir.join(STATE_DIR))?,
        };
        let (chores, asked) = Chores::new(hands.bell(LOGS));
        let pool_bytes = pool(config, disk.capacity(dir).unwrap_or(0));
        let low_bytes = pool_bytes / 100 * (100 - CRITICAL_PERCENT);
        let mut logs = Vec::new();
        let mut threads = Vec::new();
        for (index, (name, log_keys, recovered)) in found.into_iter().enumerate() {
            let parts = Parts {
                name,
                dir: log_dir(dir, name),
                keys: log_keys,
                suite: Suite::choose(config.suite),
                limits: limits(config, name, low_bytes),
                disk: Arc::clone(&disk),
                hands: hands.clone(),
                clock: Arc::clone(&clock),
                index,
                chores: chores.clone(),
            };
            let (chain, next_segment) = (recovered.chain, recovered.next_segment);
            let inner = Arc::new(begin(parts, recovered, gateway)?);
            inner.tidy();
            threads.extend(committer::start(Arc::clone(&inner), chain, next_segment)?);
            logs.push(Log(inner));
        }
        let inners: Vec<Arc<Inner>> = logs.iter().map(|log| Arc::clone(&log.0)).collect();
        for log in &inners {
            // Of the lanes the least urgent first, then what was held and decided; what goes of the journal is settled by
            // whoever lets it go.
            let lanes_and_held = inners.iter().take(3).rev().chain(inners.iter().skip(3).take(1));
            log.set_giving_way(lanes_and_held.map(Arc::downgrade).collect());
        }
        threads.extend(keeper::start(&hands, inners, asked, low_bytes)?);
        let logs: [Log; LOGS] = logs.try_into().map_err(|_| Error::Internal("five logs"))?;
        let audit = Audit::new(logs[4].clone());
        if let Err(error) = epochs.retire(&*disk) {
            tracing::warn!(%error, "keys of epochs whose records were freed are not destroyed yet");
        }
        Ok(Self {
            logs,
            state,
            epochs,
            disk,
            clock,
            entropy,
            audit,
            hands,
            chores,
            threads,
            dir: dir.to_owned(),
            pool_bytes,
            config: config.clone(),
            _lock: lock,
        })
    }

    /// The log of a lane.
    pub const fn lane(&self, lane: Lane) -> &Log {
        let [urgent, clinical, bulk, ..] = &self.logs;
        match lane {
            Lane::Urgent => urgent,
            Lane::Clinical => clinical,
            Lane::Bulk => bulk,
        }
    }

    /// What could not be released, until somebody decides.
    pub const fn held(&self) -> &Log {
        let [_, _, _, held, _] = &self.logs;
        held
    }

    /// What cannot be rebuilt from anything else; the audit log among it.
    pub const fn journal(&self) -> &Log {
        let [_, _, _, _, journal] = &self.logs;
        journal
    }

    /// All logs, lanes first.
    pub const fn logs(&self) -> &[Log; LOGS] {
        &self.logs
    }

    /// As it was opened.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The disk as all logs see it: how much of what they may take of it is neither free nor could be freed.
    pub fn disk(&self) -> Room {
        let freeable = self.logs.iter().map(|log| log.0.freeable_bytes()).fold(0, u64::saturating_add);
        // A disk that does not say is not full.
        let available = self.disk.available(&self.dir).unwrap_or(self.pool_bytes);
        let left_bytes = available.saturating_add(freeable).min(self.pool_bytes);
        Room { needed_bytes: self.pool_bytes - left_bytes, left_bytes }
    }

    /// Cursors and other state that can be rebuilt.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What the base key of its ring gives.
    pub fn keys(&self) -> &Keys {
        self.epochs.keys()
    }

    /// Random bytes that are fit for keys and tokens.
    ///
    /// # Errors
    /// [`Error::Internal`]: there are none.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The audit log. Its `record` waits for a flush of the disk, typically a millisecond or two.
    pub fn audit(&self) -> Arc<dyn AuditSink> {
        Arc::clone(&self.audit) as Arc<dyn AuditSink>
    }

    /// The audit log's tree, for checkpoints and proofs.
    pub const fn audit_log(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Refuses new records, makes durable what waits, closes the segments in order and joins the threads.
    /// Clones of its logs stay readable.
    ///
    /// # Errors
    /// [`Error::State`] when the state store could not be synced.
    pub async fn stop(mut self) -> Result<(), Error> {
        for log in &self.logs {
            log.0.queue.stop(true);
        }
        let synced = self.state.sync().await;
        let hands = self.hands.clone();
        hands
            .off_runtime(move || {
                self.join();
                Ok(())
            })
            .await?;
        synced
    }

    fn join(&mut self) {
        for log in &self.logs {
            log.0.queue.stop(false);
        }
        match &self.hands {
            Hands::Threads => self.chores.stop(),
            Hands::Stepped(stepper) => stepper.dismiss(),
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the spool failed");
            }
        }
    }
}

impl Drop for Spool {
    /// What waits is made durable; segments are left as a crash would leave them.
    fn drop(&mut self) {
        self.join();
    }
}

pub(crate) fn lock(dir: &Path, disk: &dyn Disk) -> Result<File, Error> {
    make_dir(disk, dir)?;
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: dir.to_owned() }),
        Err(e) => Err(Error::io("lock", &path, e.into())),
    }
}

pub(crate) fn gateway_hash(gateway: &Slug) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"wardgate gateway ");
    context.update(gateway.as_str().as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What the logs together may take of a disk; one that does not tell its size counts for nothing.
fn pool(config: &Config, capacity: u64) -> u64 {
    let lanes = Lane::ALL.into_iter().map(|lane| config.lane_bytes_max(lane));
    let budgets = lanes.chain([config.held_bytes_max, config.journal_bytes_max]).fold(0, u64::saturating_add);
    if capacity == 0 { budgets } else { budgets.min(capacity) }
}

/// With what each log leaves to those behind it: see [`crate::pressure`].
pub(crate) fn limits(config: &Config, name: &str, low_bytes: u64) -> Limits {
    let (bytes_max, reserve_segments) = match name {
        "urgent" => (config.urgent_bytes_max, 3),
        "clinical" => (config.clinical_bytes_max, 4),
        "bulk" => (config.bulk_bytes_max, 8),
        "held" => (config.held_bytes_max, 2),
        _ => (config.journal_bytes_max, 1),
    };
    let reserve_bytes = config.segment_bytes.saturating_mul(reserve_segments);
    Limits {
        segment_bytes: config.segment_bytes,
        bytes_max,
        record_bytes_max: config.record_bytes_max,
        retention_s: if name == JOURNAL { config.journal_keep_s } else { config.retention_after_delivery_s },
        aside_bytes: if name == JOURNAL { aside_bytes(config) } else { 0 },
        reserve_bytes: if name == "bulk" { reserve_bytes.max(low_bytes) } else { reserve_bytes },
    }
}

fn aside_bytes(config: &Config) -> u64 {
    let state = config.journal_bytes_max / STATE_SHARE;
    config.segment_bytes.saturating_mul(ASIDE_SEGMENTS).saturating_add(state)
}

/// Settles who the log is, on the disk too, before it takes anything.
pub(crate) fn begin(parts: Parts, recovered: Recovered, gateway: [u8; 32]) -> Result<Inner, Error> {
    let is_new = recovered.identity.is_none();
    let mut identity = match recovered.identity {
        Some(identity) => identity,
        None => Identity {
            key_id: parts.keys.key_id(),
            gateway,
            log: SegmentHeader::log_name(parts.name),
            incarnation: parts.keys.random()?,
            epoch: 1,
            floor: 0,
            head_segment: 0,
            head_seq: 0,
        },
    };
    if recovered.is_tail_lost {
        tracing::error!(
            log = parts.name,
            "the end of the log is lost: it takes a new incarnation and the next epoch"
        );
        identity.incarnation = parts.keys.random()?;
        identity.epoch = identity.epoch.saturating_add(1);
        identity.head_segment = recovered.table.iter().last().map_or(0, |s| s.number);
    }
    if is_new {
        make_dir(&*parts.disk, &parts.dir)?;
    }
    if is_new || recovered.is_tail_lost || recovered.is_identity_stale {
        identity.store(&*parts.disk, &parts.dir, &parts.keys)?;
    }
    if recovered.is_torn {
        tracing::info!(log = parts.name, "a torn batch at the end was dropped; it was never acknowledged");
    }
    if recovered.damaged > 0 {
        tracing::error!(log = parts.name, damaged = recovered.damaged, "damage was found");
    }
    let inner = Inner::new(parts, recovered.table, identity);
    inner.damaged.store(recovered.damaged, Ordering::Relaxed);
    Ok(inner)
}
