//! A very large object goes through the log in flat memory: in as a stream, out as a stream, through `verify`, into a
//! backup and back. In a process of its own, because what is measured is the process. `cargo xtask torture` does it with 5 GB.
#![expect(clippy::unwrap_used, reason = "a test's helpers are tests, too")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Clock, Lane, Timestamp};
use spool::backup::{Backup, Plan};
use spool::{Config, Entry, RootKey, Spool};

/// More than one table of chunks.
const MIB: u64 = 300;
const MIB_VARIABLE: &str = "WARDGATE_OBJECT_MIB";
/// What the object may add to the resident memory at its peak, whatever its size.
const GROWTH_MAX: u64 = 24 << 20;
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

/// Most memory ever resident, in bytes (`VmHWM`, proc(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Pieces that do not compress, each another one.
struct Pieces(Vec<u8>);

impl Pieces {
    fn new() -> Self {
        let mut x = 0x9E37_79B9_7F4A_7C15_u64;
        let words = (0..PIECE_BYTES / 8).flat_map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()
        });
        Self(words.collect())
    }

    fn piece(&mut self, i: u64) -> &[u8] {
        let (number, _) = self.0.split_first_chunk_mut::<8>().unwrap();
        *number = i.to_le_bytes();
        &self.0
    }
}

/// What the same bytes cost without anything: a copy of each file, synced.
fn copied(from: &Path, to: &Path) -> Duration {
    fs::create_dir_all(to).unwrap();
    let files: Vec<PathBuf> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    timed(|| {
        for file in files {
            let copy = to.join(file.file_name().unwrap());
            fs::copy(&file, &copy).unwrap();
            File::open(copy).unwrap().sync_all().unwrap();
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch: what is measured is the disk")]
fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

#[tokio::test]
async fn a_very_large_object_goes_through_in_flat_memory() {
    let mib = std::env::var(MIB_VARIABLE).map_or(MIB, |text| text.parse().unwrap());
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = Config {
        bulk_bytes_max: 32 << 30,
        held_bytes_max: 32 << 30,
        record_bytes_max: mib << 20,
        ..Config::default()
    };
    let keys = || RootKey::new(&mut [3; 32]).unwrap();
    let open =
        |dir: &Path| Spool::open(dir, &config, keys(), &"ward-3".parse().unwrap(), Arc::new(Fixed)).unwrap();
    let spool = open(dir.path());
    let log = spool.lane(Lane::Bulk).clone();
    log.append(Vec::new(), b"warm").await.unwrap();
    let mut pieces = Pieces::new();
    let before = peak();

    let mut appender = log.begin_sized(mib << 20).await.unwrap();
    for i in 0..mib {
        appender.push(pieces.piece(i)).await.unwrap();
    }
    let seq = appender.commit(b"genome".to_vec()).await.unwrap();
    let written = peak();
    spool.stop().await.unwrap();

    let spool = open(dir.path());
    let Some(Entry::Record(record)) = spool.lane(Lane::Bulk).get(seq).await.unwrap() else { panic!() };
    assert_eq!((record.payload.len(), record.meta), (mib << 20, "genome".into()));
    let chunks_of_a_piece = record.payload.chunks() / usize::try_from(mib).unwrap();
    for i in 0..mib {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        for j in 0..chunks_of_a_piece {
            let index = usize::try_from(i).unwrap() * chunks_of_a_piece + j;
            piece.extend_from_slice(&record.payload.chunk(index).await.unwrap());
        }
        assert!(piece == pieces.piece(i), "MiB {i}");
    }
    let read = peak();
    spool.stop().await.unwrap();
    let report = spool::verify(dir.path(), Some(&keys())).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let verified = peak();

    let spool = open(dir.path());
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (file, restored) = (elsewhere.path().join("b.backup"), elsewhere.path().join("box/spool"));
    let plan = Plan {
        gateway: "ward-3".parse().unwrap(),
        version: "0.0.0".to_owned(),
        with_backlog: true,
        documents: Vec::new(),
    };
    let backing_up = timed(|| {
        let mut out = File::create(&file).unwrap();
        spool.backup(&plan, Timestamp::from_micros(0), &mut out).unwrap();
        out.sync_all().unwrap();
    });
    spool.stop().await.unwrap();
    let backup = Backup::open(&file, &keys(), None).unwrap();
    let checking = timed(|| drop(backup.check().unwrap()));
    let restoring = timed(|| drop(backup.restore(&restored, &config, Arc::new(Fixed), false).unwrap()));
    let came_back = peak();
    let copying = copied(&dir.path().join("logs/bulk"), &elsewhere.path().join("copy"));
    let report = spool::verify(&restored, Some(&keys())).unwrap();
    assert!(report.is_sound(), "{report:?}");

    let growth = |now: u64| now - before;
    println!(
        "{mib} MiB: resident memory grew by {} KiB while writing, {} while reading, {} while verifying, {} with a backup and \
         its restore",
        growth(written) >> 10,
        growth(read) >> 10,
        growth(verified) >> 10,
        growth(came_back) >> 10
    );
    println!(
        "copied and synced in {copying:?}; backed up in {backing_up:?} ({:.2} of that), checked in {checking:?} ({:.2}), \
         restored in {restoring:?} ({:.2})",
        backing_up.as_secs_f64() / copying.as_secs_f64(),
        checking.as_secs_f64() / copying.as_secs_f64(),
        restoring.as_secs_f64() / copying.as_secs_f64()
    );
    assert!(growth(came_back) < GROWTH_MAX, "{} bytes", growth(came_back));
}
