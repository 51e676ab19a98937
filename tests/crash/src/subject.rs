//! What the power is cut under: a process that works on a folder and says what it was told.
//!
//! Each record has an id; envelope and payload follow from it, so that whoever reads one can tell whether it is
//! whole. Ids begin at `first`, so that those of one life are none of another's.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use model::{AuditAction, AuditEvent, Clock, StreamEpoch, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use spool::{AuditReader, AuditStep, Config, Entry, Log, RootKey, Spool, Table};

use crate::expect::{Found, LOGS, Mark};

/// Appending at the same time.
const PRODUCERS: u64 = 6;
/// Where audit entries stand, among other records.
const JOURNAL: usize = 4;
/// Keys of the state store that are written.
const KEYS: u64 = 4;

/// What is put to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The logs and the state store.
    Spool,
    /// The logs, while every `fdatasync` is answered and not done: what acknowledging before the sync would be.
    /// Must fail.
    SpoolUnsynced,
    /// sled 0.34.7 and its own `flush`, without our barrier. Must fail.
    BareSled,
}

impl Kind {
    /// As the command line calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::SpoolUnsynced => "spool-unsynced",
            Self::BareSled => "bare-sled",
        }
    }
}

/// What it is to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Task {
    /// The folder.
    #[arg(long)]
    pub dir: std::path::PathBuf,
    /// What works there
    #[arg(long, value_enum, default_value = "spool")]
    pub kind: Kind,
    /// Decides what is done, and how large it is
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The first id
    #[arg(long, default_value_t = 1)]
    pub first: u64,
    /// How many things to do
    #[arg(long, default_value_t = 100)]
    pub steps: u64,
    /// Verify the logs, too, once they are open
    #[arg(long)]
    pub verify: bool,
    /// End in order
    #[arg(long)]
    pub stop: bool,
    /// A refusal is no failure: the disk is full or failing, and what was not acknowledged may be there or not
    #[arg(long)]
    pub refusals: bool,
    /// After a third of the steps the disk is filled, but for so many pages
    #[arg(long)]
    pub fill: Option<u64>,
}

/// What fills the disk, in the subject's folder.
pub const FILLER: &str = "filler";

/// Small segments, so that they follow each other quickly.
fn config() -> Config {
    Config {
        segment_bytes: 1 << 20,
        urgent_bytes_max: 8 << 20,
        clinical_bytes_max: 32 << 20,
        bulk_bytes_max: 32 << 20,
        held_bytes_max: 8 << 20,
        journal_bytes_max: 8 << 20,
        retention_after_delivery_s: 0,
        ..Config::default()
    }
}

fn root() -> Result<RootKey> {
    Ok(RootKey::new(&mut [7; 32])?)
}

/// Goes a millisecond a look.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + self.0.fetch_add(1000, Ordering::Relaxed))
    }
}

/// One line, in one write: lines of several threads do not mix.
fn say(line: &impl std::fmt::Display) {
    let line = format!("{line}\n");
    // Who listens has gone: then nothing matters any more.
    drop(std::io::stdout().lock().write_all(line.as_bytes()));
}

/// The bytes of a record. Quick also where nothing is optimised.
fn payload(id: u64) -> Vec<u8> {
    // SplitMix64 (Steele, Lea, Flood 2014).
    let mut state = id;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let (kind, size) = (next() % 100, next());
    let len = match kind {
        0..80 => size % 6_000,
        80..95 => 6_000 + size % 50_000,
        _ => 250_000 + size % 400_000,
    };
    // One in three repeats itself, and is stored compressed where it is long enough.
    let times = if id.is_multiple_of(3) { 64 } else { 1 };
    let mut bytes = Vec::with_capacity(len as usize + 8 * times);
    while bytes.len() < len as usize {
        bytes.extend_from_slice(&next().to_le_bytes().repeat(times));
    }
    bytes.truncate(len as usize);
    bytes
}

/// Opens, shows, works.
pub fn run(task: &Task) -> Result<()> {
    match task.kind {
        Kind::BareSled => bare_sled(task),
        Kind::Spool | Kind::SpoolUnsynced => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(spool(task)),
    }
}

async fn spool(task: &Task) -> Result<()> {
    let dir = task.dir.join("spool");
    let gateway = "ward-3".parse().context("a slug")?;
    let spool = Spool::open(&dir, &config(), root()?, &gateway, Arc::new(Ticking::default()))?;
    show(&spool, &dir, task).await?;
    say(&Mark::Opened);
    work(&spool, task).await?;
    if task.stop {
        spool.stop().await?;
        return Ok(());
    }
    // What follows is a crash; no thread gets to tidy up.
    std::mem::forget(spool);
    Ok(())
}

async fn show(spool: &Spool, dir: &Path, task: &Task) -> Result<()> {
    for (index, log) in spool.logs().iter().enumerate() {
        let stat = log.stat();
        say(&Found::Log(index, log.oldest(), stat.last, log.epoch().get(), stat.damaged));
        let mut reader = log.reader(0);
        let mut next = log.oldest();
        while let Some(entry) = reader.next().await? {
            match entry {
                Entry::Damaged { first, last } | Entry::Erased { first, last } => {
                    say(&Found::Hole(index, first, last));
                    next = last + 1;
                }
                Entry::Record(record) => {
                    anyhow::ensure!(record.seq == next, "{}: {} follows {next}", LOGS[index], record.seq);
                    next += 1;
                    // Audit entries are looked at below.
                    if index != JOURNAL || !record.meta.starts_with(spool::journal::AUDIT_META) {
                        say(&judge(index, &record).await?);
                    }
                }
            }
        }
        anyhow::ensure!(next == stat.last + 1, "{} ends at {next}, not behind {}", LOGS[index], stat.last);
    }
    let mut audit = AuditReader::new(spool.journal(), 0);
    while let Some(step) = audit.next().await? {
        let AuditStep::Entry(entry) = step else { continue };
        let id = entry.entry.and_then(|leaf| leaf.event.detail.parse().ok());
        say(&id.map_or(Found::Foreign(JOURNAL, entry.seq), Found::Audit));
    }
    let chain = spool::check_audit(spool.journal(), &BTreeSet::new()).await?;
    say(&Found::Chain(chain.entries, chain.faults));
    if spool.state().was_lost() {
        say(&Found::Lost);
    }
    for key in 0..KEYS {
        if let Some(value) = spool.state().get(Table::Cursors, &key.to_be_bytes())? {
            say(&Found::State(key, number(&value).context("a value that nobody wrote")?));
        }
    }
    if task.verify {
        let report = spool::verify(dir, Some(&root()?))?;
        if !report.is_sound() {
            eprintln!("{report:?}");
        }
        say(&Found::Faults(report.faults));
    }
    Ok(())
}

async fn judge(log: usize, record: &spool::Record) -> Result<Found> {
    let bytes = match record.payload.bytes().await {
        Ok(bytes) => bytes,
        Err(spool::Error::Damaged { seq }) => return Ok(Found::Hole(log, seq, seq)),
        Err(e) => return Err(e.into()),
    };
    let id = number(&record.meta).filter(|id| payload(*id) == bytes);
    Ok(id.map_or(Found::Foreign(log, record.seq), |id| Found::Record(log, record.seq, id)))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// What all producers share.
struct Shared<'a> {
    spool: &'a Spool,
    task: &'a Task,
    id: AtomicU64,
    steps: AtomicU64,
    value: AtomicU64,
}

async fn work(spool: &Spool, task: &Task) -> Result<()> {
    let shared = Shared {
        spool,
        task,
        id: AtomicU64::new(task.first),
        steps: AtomicU64::new(0),
        value: AtomicU64::new(task.first),
    };
    let producers = (0..PRODUCERS).map(|p| shared.produce(StdRng::seed_from_u64(task.seed * 100 + p)));
    futures_util::future::try_join_all(producers).await?;
    Ok(())
}

impl Shared<'_> {
    async fn produce(&self, mut luck: StdRng) -> Result<()> {
        loop {
            let step = self.steps.fetch_add(1, Ordering::Relaxed);
            if step >= self.task.steps {
                return Ok(());
            }
            if let Some(pages) = self.task.fill.filter(|_| step == self.task.steps / 3) {
                fill(&self.task.dir, pages * 4096)?;
            }
            let done = match luck.random_range(0..100) {
                0..80 => self.append(luck.random_range(0..LOGS.len())).await,
                80..87 => self.put(luck.random_range(0..KEYS)).await,
                87..92 => self.audit(),
                92..97 => self.free(luck.random_range(0..4)),
                _ => self.adopt(luck.random_range(0..LOGS.len())),
            };
            match done {
                Err(error) if self.task.refusals => eprintln!("refused: {error}"),
                done => done?,
            }
        }
    }

    fn next_id(&self) -> u64 {
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        say(&Mark::Begun(id));
        id
    }

    async fn append(&self, log: usize) -> Result<(), spool::Error> {
        let id = self.next_id();
        let seq = self.spool.logs()[log].append(id.to_be_bytes().to_vec(), &payload(id)).await?;
        say(&Mark::Acknowledged(log, seq, id));
        Ok(())
    }

    async fn put(&self, key: u64) -> Result<(), spool::Error> {
        let value = self.value.fetch_add(1, Ordering::Relaxed);
        say(&Mark::Putting(key, value));
        self.spool.state().put(Table::Cursors, &key.to_be_bytes(), &value.to_be_bytes())?;
        self.spool.state().sync().await?;
        say(&Mark::Synced(key, value));
        Ok(())
    }

    fn audit(&self) -> Result<(), spool::Error> {
        let id = self.next_id();
        let event = AuditEvent {
            at: Timestamp::from_micros(1),
            actor: "system".to_owned(),
            action: AuditAction::Started,
            subject: String::new(),
            detail: id.to_string(),
        };
        // It waits for the disk, as it does in the gateway.
        tokio::task::block_in_place(|| self.spool.audit().record(&event))
            .map_err(|_| spool::Error::Stopping)?;
        say(&Mark::Audited(id));
        Ok(())
    }

    fn free(&self, log: usize) -> Result<(), spool::Error> {
        let log_handle: &Log = &self.spool.logs()[log];
        let through = *log_handle.durable().borrow() * 2 / 3;
        say(&Mark::Freeing(log, through));
        // Whoever writes it down says when it is written.
        let mut line = String::new();
        tokio::task::block_in_place(|| drop(std::io::stdin().lock().read_line(&mut line)));
        log_handle.free_through(through, Timestamp::from_micros(1_700_000_000_000_000));
        Ok(())
    }

    fn adopt(&self, log: usize) -> Result<(), spool::Error> {
        let log_handle = &self.spool.logs()[log];
        let Some(next) = StreamEpoch::new(log_handle.epoch().get() + 1) else { return Ok(()) };
        say(&Mark::Adopting(log, next.get()));
        match tokio::task::block_in_place(|| log_handle.adopt_epoch(next)) {
            // Another producer was quicker.
            Err(spool::Error::EpochBackwards { .. }) => Ok(()),
            Err(e) => Err(e),
            Ok(()) => {
                say(&Mark::Adopted(log, next.get()));
                Ok(())
            }
        }
    }
}

/// Takes all room but this.
fn fill(dir: &Path, leaving: u64) -> Result<()> {
    let file = std::fs::File::create(dir.join(FILLER))?;
    let mut len = 0;
    loop {
        let about = rustix::fs::fstatvfs(&file)?;
        let more = (about.f_bavail * about.f_frsize).saturating_sub(leaving);
        if more < about.f_frsize {
            return Ok(());
        }
        // What describes the blocks takes blocks, too: ask for less, and again.
        let more = if more > 1 << 20 { more / 2 } else { about.f_frsize };
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), len, more) {
            Err(rustix::io::Errno::NOSPC) => return Ok(()),
            done => done?,
        }
        len += more;
    }
}

/// As the state store is opened, and without what it adds.
fn bare_sled(task: &Task) -> Result<()> {
    let db = sled::Config::new().path(task.dir.join("db")).flush_every_ms(None).open()?;
    for key in 0..KEYS {
        if let Some(value) = db.get(key.to_be_bytes())? {
            say(&Found::State(key, number(&value).context("a value that nobody wrote")?));
        }
    }
    say(&Mark::Opened);
    for step in 0..task.steps {
        let (key, value) = (step % KEYS, task.first + step);
        say(&Mark::Putting(key, value));
        db.insert(key.to_be_bytes(), &value.to_be_bytes())?;
        db.flush()?;
        say(&Mark::Synced(key, value));
    }
    std::mem::forget(db);
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::Lane;

    use super::*;

    #[tokio::test]
    async fn the_logs_are_in_the_order_of_their_names() {
        let dir = crate::disk::scratch().unwrap();
        let gateway = "ward-3".parse().unwrap();
        let spool =
            Spool::open(dir.path(), &config(), root().unwrap(), &gateway, Arc::new(Ticking::default()))
                .unwrap();
        assert_eq!(spool.logs().iter().map(Log::name).collect::<Vec<_>>(), LOGS);
        assert_eq!(spool.lane(Lane::Bulk).name(), LOGS[2]);
    }
}
