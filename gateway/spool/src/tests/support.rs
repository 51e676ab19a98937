//! What all tests of the spool need.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::{Clock, Lane, Seq, Timestamp};

use crate::disk::{Disk, RealDisk};
use crate::{Config, Entry, Error, Keys, Log, Spool};

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

pub(super) fn keys() -> Keys {
    Keys::new(&mut [7; 32]).unwrap()
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
    Spool::open_on(dir, config, keys(), &gateway, Arc::new(Still::default()), disk)
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

/// An entry in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    Record(Seq, Vec<u8>),
    Damaged(Seq, Seq),
}

pub(super) async fn short(entry: Entry) -> Got {
    match entry {
        Entry::Damaged { first, last } => Got::Damaged(first, last),
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
            Entry::Damaged { first, last } => (*first, *last),
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
