//! A disk that fails: every operation, once and for good; a full one; and what a crash leaves.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::Refusal;

use super::support::*;
use crate::disk::{Disk, RealDisk};
use crate::{Error, LogState, verify};

/// Fails the operations numbered `from..until`, counted from 0. A write that fails leaves half of its bytes. And
/// remembers what was not made durable, so that a power cut can take it back.
#[derive(Debug)]
pub(super) struct FaultyDisk {
    volatile: Mutex<Vec<Volatile>>,
    count: AtomicU64,
    from: AtomicU64,
    until: AtomicU64,
    errno: i32,
    available: AtomicU64,
}

pub(super) const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl FaultyDisk {
    pub(super) fn new(errno: i32) -> Arc<Self> {
        Arc::new(Self {
            volatile: Mutex::default(),
            count: AtomicU64::new(0),
            from: AtomicU64::new(u64::MAX),
            until: AtomicU64::new(u64::MAX),
            errno,
            available: AtomicU64::new(u64::MAX),
        })
    }

    pub(super) fn fail(&self, from: u64, count: u64) {
        self.from.store(from, Ordering::SeqCst);
        self.until.store(from.saturating_add(count), Ordering::SeqCst);
    }

    pub(super) fn heal(&self) {
        self.fail(u64::MAX, 0);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn turn(&self) -> io::Result<()> {
        let now = self.count.fetch_add(1, Ordering::SeqCst);
        if (self.from.load(Ordering::SeqCst)..self.until.load(Ordering::SeqCst)).contains(&now) {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        Ok(())
    }
}

/// A change that a power cut may undo.
#[derive(Debug)]
enum Volatile {
    Written { inode: u64, path: PathBuf, offset: u64, before: Vec<u8> },
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
}

impl FaultyDisk {
    fn remember(&self, change: Volatile) {
        self.volatile.lock().unwrap().push(change);
    }

    /// The power goes: of what was written and not synced, each sector is on the disk or not; of the names that
    /// were not synced, the newest are gone.
    pub(super) fn cut(&self, seed: u64) {
        let mut luck = bytes(seed + 1, 4096).into_iter().cycle();
        let share = luck.next().unwrap();
        let mut are_names_kept = false;
        while let Some(change) = self.volatile.lock().unwrap().pop() {
            match change {
                Volatile::Written { inode, path, offset, before } => {
                    // The file may have got another name since.
                    let dir = path.parent().unwrap();
                    let is_it = |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.ino() == inode);
                    let mut files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
                    let Some(path) = files.find(is_it) else { continue };
                    let file = File::options().write(true).open(path).unwrap();
                    let mut at = 0;
                    while at < before.len() {
                        let sector = 512 - usize::try_from((offset + at as u64) % 512).unwrap();
                        let len = sector.min(before.len() - at);
                        if luck.next().unwrap() < share {
                            file.write_all_at(&before[at..at + len], offset + at as u64).unwrap();
                        }
                        at += len;
                    }
                }
                Volatile::Renamed { from, to, replaced } => {
                    are_names_kept |= luck.next().unwrap() >= share;
                    if !are_names_kept && to.exists() {
                        std::fs::rename(&to, &from).unwrap();
                        if let Some(replaced) = replaced {
                            std::fs::write(&to, replaced).unwrap();
                            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
                        }
                    }
                }
            }
        }
    }
}

fn path_of(file: &File) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl Disk for FaultyDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turn = self.turn();
        let share = if turn.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let mut before = vec![0; share.len()];
        let held = file.read_at(&mut before, offset).unwrap_or(0);
        before.truncate(held);
        let inode = file.metadata()?.ino();
        self.remember(Volatile::Written { inode, path: path_of(file), offset, before });
        RealDisk.write_at(file, share, offset)?;
        turn
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.turn()?;
        let synced = file.metadata()?.ino();
        self.volatile
            .lock()
            .unwrap()
            .retain(|v| !matches!(v, Volatile::Written { inode, .. } if *inode == synced));
        RealDisk.sync_data(file)
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let turn = self.turn();
        RealDisk.allocate(file, if turn.is_ok() { bytes } else { bytes / 2 })?;
        turn
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn()?;
        let replaced = std::fs::read(to).ok();
        self.remember(Volatile::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.turn()?;
        let is_in = |v: &Volatile| matches!(v, Volatile::Renamed { to, .. } if to.parent() == Some(dir));
        self.volatile.lock().unwrap().retain(|v| !is_in(v));
        RealDisk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.turn()?;
        RealDisk.remove(path)
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.turn()?;
        RealDisk.truncate(file, bytes)
    }
    fn available(&self, _: &Path) -> io::Result<u64> {
        self.turn()?;
        Ok(self.available.load(Ordering::SeqCst))
    }
}

/// What came of a fixed piece of work: which payloads were acknowledged, under which number.
#[derive(Default)]
struct Work {
    acknowledged: Vec<(u64, Vec<u8>)>,
    refused: Vec<Vec<u8>>,
}

impl Work {
    /// Small records, a large one, enough to fill a segment and a half.
    async fn run(&mut self, alone: &Alone, round: u64) {
        for i in 0..8 {
            let len = if i == 4 { 300_000 } else { 20_000 };
            let payload = bytes(round * 100 + i, len);
            match alone.log.append(b"m".to_vec(), &payload).await {
                Ok(seq) => self.acknowledged.push((seq, payload)),
                Err(Error::Storage { .. } | Error::Full { .. } | Error::Stopping | Error::Io { .. }) => {
                    self.refused.push(payload);
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Everything acknowledged is there, once, in order, under its number; the rest is what was refused. The
    /// numbers tile ([`all`] checks that), and none is damaged.
    async fn check(&self, log: &crate::Log, what: &str) {
        let got = all(log).await;
        let mut seqs = std::collections::BTreeSet::new();
        for (seq, payload) in &self.acknowledged {
            assert!(seqs.insert(*seq), "{what}: number {seq} was given out twice");
            let index = usize::try_from(seq - log.oldest()).unwrap();
            assert!(got[index] == Got::Record(*seq, payload.clone()), "{what}: record {seq}");
        }
        for entry in &got {
            match entry {
                Got::Record(seq, payload) => {
                    assert!(
                        seqs.contains(seq) || self.refused.contains(payload),
                        "{what}: record {seq} is nobody's"
                    );
                }
                Got::Damaged(first, last) | Got::Erased(first, last) => {
                    panic!("{what}: {first} to {last} cannot be read")
                }
            }
        }
    }
}

#[tokio::test]
async fn an_error_at_any_operation_loses_nothing_and_heals() {
    // How many operations there are when nothing fails.
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    let begun = disk.count();
    let mut work = Work::default();
    work.run(&alone, 0).await;
    assert!(work.refused.is_empty());
    alone.stop();
    let total = disk.count();
    assert!(total > begun + 25, "{begun} {total}");
    for errno in [EIO, ENOSPC] {
        for count in [1, 2, 5] {
            for at in 0..total {
                let what = format!("errno {errno}, {count} from {at} on");
                let dir = tempdir();
                let disk = FaultyDisk::new(errno);
                disk.fail(at, count);
                let mut work = Work::default();
                let opened = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10);
                let Ok(alone) = opened else {
                    assert!(at < begun, "{what}");
                    continue;
                };
                work.run(&alone, 0).await;
                work.check(&alone.log, &what).await;
                if at >= begun && count == 1 && errno == EIO {
                    assert!(work.refused.len() <= 1, "{what}: {} were refused", work.refused.len());
                }
                disk.heal();
                let refused = work.refused.len();
                work.run(&alone, 1).await;
                assert_eq!(work.refused.len(), refused, "{what}: a healed disk heals the log");
                assert_eq!(alone.log.stat().state, LogState::Ready, "{what}");
                work.check(&alone.log, &what).await;
                // A crash now, or an orderly end.
                if at % 2 == 0 {
                    drop(alone)
                } else {
                    alone.stop()
                }
                let alone = Alone::open_on(dir.path(), disk, 512 << 10).unwrap();
                work.check(&alone.log, &format!("{what}, reopened")).await;
                assert_eq!(alone.log.stat().damaged, 0, "{what}");
                let report = verify(dir.path(), Some(&keys())).unwrap();
                assert!(report.is_sound(), "{what}: {report:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_disk_that_dies_under_a_record_may_keep_it_but_never_lose_another() {
    // The disk fails for good; the process dies; the disk comes back with what reached it.
    for at in 0..60 {
        let what = format!("dead from {at} on");
        let dir = tempdir();
        let disk = FaultyDisk::new(EIO);
        let Ok(alone) = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10) else { continue };
        disk.fail(disk.count() + at, u64::MAX);
        let mut work = Work::default();
        work.run(&alone, 0).await;
        work.check(&alone.log, &what).await;
        if !work.refused.is_empty() {
            assert_eq!(alone.log.stat().state, LogState::Failing, "{what}");
        }
        drop(alone);
        let alone = Alone::open(dir.path());
        work.check(&alone.log, &format!("{what}, reopened")).await;
        work.run(&alone, 1).await;
        work.check(&alone.log, &format!("{what}, going on")).await;
    }
}

#[tokio::test]
async fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    Work::default().run(&alone, 0).await;
    drop(alone);
    let total = disk.count();
    for at in 0..total {
        for seed in 0..6 {
            let what = format!("cut at {at}, seed {seed}");
            let dir = tempdir();
            let disk = FaultyDisk::new(EIO);
            disk.fail(at, u64::MAX);
            let mut work = Work::default();
            if let Ok(alone) = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10) {
                work.run(&alone, 0).await;
                drop(alone);
            }
            disk.cut(seed);
            // The power goes again while what the first cut left is being recovered and written on.
            let disk = FaultyDisk::new(EIO);
            disk.fail(1 + seed * 7, u64::MAX);
            if let Ok(alone) = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10) {
                work.check(&alone.log, &what).await;
                work.run(&alone, 1).await;
                drop(alone);
            }
            disk.cut(seed + 1000);
            let alone = Alone::open(dir.path());
            work.check(&alone.log, &format!("{what}, twice")).await;
            work.run(&alone, 2).await;
            work.check(&alone.log, &format!("{what}, going on")).await;
            assert_eq!(alone.log.stat().damaged, 0, "{what}");
            let report = verify(dir.path(), Some(&keys())).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
        }
    }
}

#[tokio::test]
async fn a_failed_flush_is_never_repeated_on_the_same_file() {
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    alone.log.append(vec![], b"one").await.unwrap();
    let poisoned = segments(dir.path())[0].clone();
    let before = std::fs::read(&poisoned).unwrap();
    // The write succeeds, the flush does not.
    disk.fail(disk.count() + 1, 1);
    assert_eq!(alone.log.append(vec![], b"two").await.unwrap(), 2, "written anew elsewhere, nobody noticed");
    assert_eq!(segments(dir.path()).len(), 2);
    alone.log.append(vec![], b"three").await.unwrap();
    let after = std::fs::read(&poisoned).unwrap();
    assert!(after.len() < before.len(), "cut to what is durable");
    assert!(before.starts_with(&after), "and not written again");
    let payloads = ["one", "two", "three"];
    let expected: Vec<_> =
        payloads.iter().zip(1..).map(|(p, seq)| Got::Record(seq, p.as_bytes().to_vec())).collect();
    assert_eq!(all(&alone.log).await, expected);
}

#[tokio::test]
async fn a_full_budget_refuses_and_recovers_when_readers_move_on() {
    let dir = tempdir();
    let alone = Alone::open(dir.path());
    let log = alone.log.clone();
    let mut last = 0;
    let refused = loop {
        match log.append(vec![], &bytes(1, 200_000)).await {
            Ok(seq) => last = seq,
            Err(e) => break e,
        }
    };
    assert_eq!(Refusal::from(&refused), Refusal::Full);
    let stat = log.stat();
    assert_eq!((stat.state, stat.last), (LogState::Full, last));
    assert!(stat.bytes <= stat.bytes_max && stat.bytes_free < 512 << 10, "{stat:?}");
    assert!(matches!(log.begin().await, Err(Error::Full { .. })), "before the first byte is taken");
    assert!(matches!(log.append_blocking(vec![], b"x"), Err(Error::Full { .. })));
    assert_eq!(all(&log).await.len() as u64, last, "what is there is untouched");
    // Not delivered: never given up.
    log.free_through(0, model::Timestamp::from_micros(0));
    assert!(log.append(vec![], b"x").await.is_err());
    // Delivered, not old: given up for room.
    log.free_through(2, model::Timestamp::from_micros(0));
    for seq in last + 1..=last + 2 {
        assert_eq!(log.append(vec![], &bytes(2, 200_000)).await.unwrap(), seq);
    }
    assert_eq!(log.stat().state, LogState::Ready);
    assert_eq!(log.oldest(), 3);
    assert!(matches!(log.append(vec![], &bytes(3, 200_000)).await, Err(Error::Full { .. })));
    drop(alone);
    let alone = Alone::open(dir.path());
    assert_eq!((alone.log.oldest(), all(&alone.log).await.len() as u64), (3, last));
}

#[tokio::test]
async fn a_full_disk_refuses_before_anything_is_half_written() {
    let dir = tempdir();
    let disk = FaultyDisk::new(ENOSPC);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    alone.log.append(vec![], b"one").await.unwrap();
    disk.available.store(100_000, Ordering::SeqCst);
    let mut refused = 0;
    for _ in 0..4 {
        match alone.log.append(vec![], &bytes(1, 200_000)).await {
            Ok(_) => assert_eq!(refused, 0, "the segment made before is filled first"),
            Err(e) => {
                assert!(matches!(e, Error::Full { .. }), "{e}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 2);
    // Reopening needs no room.
    let count = all(&alone.log).await.len();
    drop(alone);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    assert_eq!(all(&alone.log).await.len(), count);
    assert!(matches!(alone.log.append(vec![], b"x").await, Err(Error::Full { .. })));
    disk.available.store(u64::MAX, Ordering::SeqCst);
    alone.log.append(vec![], b"x").await.unwrap();
    assert_eq!(alone.log.stat().state, LogState::Ready);
}

#[tokio::test]
async fn a_floor_that_a_full_disk_had_no_room_for_is_written_when_there_is_room() {
    let dir = tempdir();
    let disk = FaultyDisk::new(ENOSPC);
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    for i in 1..=4 {
        alone.log.append(vec![], &bytes(i, 200_000)).await.unwrap();
    }
    alone.log.free_through(2, model::Timestamp::from_micros(0));
    disk.fail(disk.count(), 1);
    assert!(alone.log.0.free_oldest(true).unwrap());
    disk.heal();
    // As a kill leaves it.
    drop(alone);
    let alone = Alone::open(dir.path());
    let expected = [3, 4].map(|seq| Got::Record(seq, bytes(seq, 200_000)));
    assert!(all(&alone.log).await == expected, "what was freed is not missing");
}

#[tokio::test]
async fn many_large_records_in_flight_hold_little_memory() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = spool.lane(model::Lane::Bulk).clone();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = resident();
    let piece = bytes(1, 100_000);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (log, piece) = (log.clone(), piece.clone());
        tasks.spawn(async move {
            let mut appender = log.begin().await.unwrap();
            for _ in 0..80 {
                appender.push(&piece).await.unwrap();
            }
            appender.commit(vec![]).await.unwrap()
        });
    }
    let mut peak = 0;
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
        peak = peak.max(resident());
    }
    let grown = peak.saturating_sub(before);
    // 160 MB went through; other tests run beside this one.
    assert!(grown < 96 << 20, "{grown}");
    assert_eq!(*log.durable().borrow(), 20);
}
