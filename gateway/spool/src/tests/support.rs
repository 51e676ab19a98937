//! What all tests of the spool need.

use std::fs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use model::{Clock, Lane, Seq, Timestamp};
use proptest::test_runner::Config as ProptestConfig;

use crate::cipher::LogKeys;
use crate::disk::{Disk, RealDisk};
use crate::epochs::Epochs;
use crate::format::{SegmentHeader, Suite};
use crate::inner::{Limits, Parts};
use crate::recover::{Owner, recover};
use crate::{
    Config, Entry, Error, Hands, Log, Outside, RootKey, Spool, SuiteChoice, committer, keeper, spool,
};

/// A clock that only moves when told to.
#[derive(Debug, Default)]
pub(super) struct Still(AtomicI64);

impl Still {
    pub(super) fn advance_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + self.0.load(Ordering::Relaxed))
    }
}

/// In memory where that is possible: what is tested here is logic, and thousands of flushes take their time.
pub(super) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn keys() -> RootKey {
    RootKey::new(&mut [7; 32]).unwrap()
}

pub(super) fn small() -> Config {
    Config {
        segment_bytes: 1 << 20,
        urgent_bytes_max: 64 << 20,
        clinical_bytes_max: 64 << 20,
        bulk_bytes_max: 256 << 20,
        held_bytes_max: 16 << 20,
        journal_bytes_max: 16 << 20,
        retention_after_delivery_s: 3600,
        ..Config::default()
    }
}

pub(super) fn try_open(dir: &Path, config: &Config, disk: Arc<dyn Disk>) -> Result<Spool, Error> {
    let gateway = "ward-3".parse().unwrap();
    let outside = Outside { disk, ..Outside::real() };
    Spool::open_on(dir, config, keys(), &gateway, Arc::new(Still::default()), outside)
}

pub(super) fn open(dir: &Path) -> Spool {
    try_open(dir, &small(), Arc::new(RealDisk)).unwrap()
}

pub(super) fn clinical(spool: &Spool) -> Log {
    spool.lane(Lane::Clinical).clone()
}

pub(super) fn clinical_dir(dir: &Path) -> PathBuf {
    crate::spool::log_dir(dir, "clinical")
}

/// The segment files of the clinical lane, oldest first.
pub(super) fn segments(dir: &Path) -> Vec<PathBuf> {
    crate::recover::list(&clinical_dir(dir))
        .unwrap()
        .into_keys()
        .map(|number| crate::table::segment_path(&clinical_dir(dir), number))
        .collect()
}

/// The same as a crash at this moment would leave it, page cache and all.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// The clinical lane of a spool without the rest of it: quick to open, and its segments may be smaller.
pub(super) struct Alone {
    pub(super) log: Log,
    committer: Option<JoinHandle<()>>,
}

impl Alone {
    pub(super) fn open(dir: &Path) -> Self {
        Self::open_on(dir, Arc::new(RealDisk), 512 << 10).unwrap()
    }

    pub(super) fn open_on(dir: &Path, disk: Arc<dyn Disk>, segment_bytes: u64) -> Result<Self, Error> {
        let name = "clinical";
        let (spool_dir, dir) = (dir, clinical_dir(dir));
        let (epochs, _) = Epochs::open(spool_dir, &keys(), &*disk, spool_dir.join("logs").exists())?;
        epochs.settle(&keys(), &*disk)?;
        let epochs = Arc::new(epochs);
        let keys = LogKeys::of(&epochs, name);
        let gateway = spool::gateway_hash(&"ward-3".parse().unwrap());
        let owner = Owner { keys: &keys, gateway, log: SegmentHeader::log_name(name) };
        let recovered = recover(&dir, &owner, &*disk)?;
        for segment in recovered.table.iter() {
            epochs.found(segment.key_epoch);
        }
        let (chain, next_segment) = (recovered.chain, recovered.next_segment);
        let parts = Parts {
            name,
            dir,
            keys,
            suite: Suite::choose(SuiteChoice::Auto),
            limits: Limits {
                segment_bytes,
                // The smallest segments are for having many of them.
                bytes_max: if segment_bytes <= 64 << 10 { 1 << 30 } else { 16 * segment_bytes },
                record_bytes_max: 8 << 20,
                retention_s: 3600,
                aside_bytes: 0,
                reserve_bytes: 0,
            },
            disk,
            hands: Hands::Threads,
            clock: Arc::new(Still::default()),
            index: 0,
            // Nobody listens: no spares, no freeing but under pressure.
            chores: keeper::Chores::new(None).0,
        };
        let inner = Arc::new(spool::begin(parts, recovered, gateway)?);
        inner.tidy();
        let committer = committer::start(Arc::clone(&inner), chain, next_segment)?;
        Ok(Self { log: Log(inner), committer })
    }

    /// An orderly end; a drop is a disorderly one.
    pub(super) fn stop(mut self) {
        self.end(true);
    }

    fn end(&mut self, should_seal: bool) {
        self.log.0.queue.stop(should_seal);
        if let Some(committer) = self.committer.take() {
            committer.join().unwrap();
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// A disk that holds back flushes while its gate is closed, so that a test decides what is in a batch.
#[derive(Debug, Default)]
pub(super) struct GateDisk {
    /// Whether it is closed, and how many wait.
    gate: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl GateDisk {
    fn set(&self, is_closed: bool) {
        self.gate.lock().unwrap().0 = is_closed;
        self.changed.notify_all();
    }

    fn waiting(&self) -> usize {
        self.gate.lock().unwrap().1
    }
}

impl Disk for GateDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        RealDisk.write_at(file, bytes, offset)
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut gate = self.gate.lock().unwrap();
        gate.1 += 1;
        while gate.0 {
            gate = self.changed.wait(gate).unwrap();
        }
        gate.1 -= 1;
        drop(gate);
        RealDisk.sync_data(file)
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        RealDisk.allocate(file, bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        RealDisk.truncate(file, bytes)
    }
    fn available(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.available(dir)
    }
}

/// Appends `first` in a batch of its own and `then` together in the next one.
pub(super) async fn append_together(log: &Log, disk: &GateDisk, first: &[u8], then: &[Vec<u8>]) {
    disk.set(true);
    let mut tasks = tokio::task::JoinSet::new();
    let spawn = |tasks: &mut tokio::task::JoinSet<_>, payload: &[u8]| {
        let (log, payload) = (log.clone(), payload.to_vec());
        tasks.spawn(async move { log.append(b"m".to_vec(), &payload).await.unwrap() });
    };
    spawn(&mut tasks, first);
    until("the first is being synced", || disk.waiting() == 1).await;
    for payload in then {
        let before = log.0.queue.len();
        spawn(&mut tasks, payload);
        until("queued", || log.0.queue.len() > before).await;
    }
    disk.set(false);
    let seqs = tasks.join_all().await;
    assert_eq!(seqs.len(), then.len() + 1);
}

/// An entry in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    Record(Seq, Vec<u8>),
    Damaged(Seq, Seq),
    Erased(Seq, Seq),
}

pub(super) async fn short(entry: Entry) -> Got {
    match entry {
        Entry::Damaged { first, last } => Got::Damaged(first, last),
        Entry::Erased { first, last } => Got::Erased(first, last),
        Entry::Record(record) => match record.payload.bytes().await {
            Ok(bytes) => Got::Record(record.seq, bytes.to_vec()),
            Err(Error::Damaged { seq }) => Got::Damaged(seq, seq),
            Err(e) => panic!("{e}"),
        },
    }
}

/// Everything a log holds, checked to tile.
pub(super) async fn all(log: &Log) -> Vec<Got> {
    let mut reader = log.reader(0);
    let mut next = log.oldest();
    let mut got = Vec::new();
    while let Some(entry) = reader.next().await.unwrap() {
        let (first, last) = match &entry {
            Entry::Record(record) => (record.seq, record.seq),
            Entry::Damaged { first, last } | Entry::Erased { first, last } => (*first, *last),
        };
        assert_eq!(first, next, "entries tile");
        assert!(last >= first);
        next = last + 1;
        assert_eq!(reader.position(), next);
        got.push(short(entry).await);
    }
    assert_eq!(next, *log.durable().borrow() + 1, "and reach the tail");
    got
}

pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Bytes that do not compress and say where they belong.
pub(super) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        })
        .collect()
}

/// Bytes that compress, and say where they belong.
pub(super) fn text(seed: u64, len: usize) -> Vec<u8> {
    bytes(seed, 64).into_iter().cycle().take(len).collect()
}

/// How often a fault is tried: so often for every change, and so often under `cargo xtask torture`.
pub(super) fn count(every_change: u64, full: u64) -> u64 {
    if std::env::var_os("WARDGATE_FAULTS_FULL").is_some() { full } else { every_change }
}

/// So many cases of a property that costs much, and more in proportion where `PROPTEST_CASES` wants more than the usual 256.
pub(super) fn costly(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let cases = u64::from(cases) * u64::from(usual.cases) / 256;
    ProptestConfig { cases: u32::try_from(cases).unwrap(), ..usual }
}
