//! A disk that all logs share, and how it is shared when it ends.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Timestamp;

use super::support::*;
use crate::disk::{Disk, RealDisk};
use crate::pressure::Pressure;
use crate::{Config, Error, Log, Spool};

const SEGMENT: u64 = 1 << 20;

/// A disk of a given size: what is allocated is taken from it, what is removed or cut comes back.
#[derive(Debug)]
struct SmallDisk {
    bytes: u64,
    left: AtomicU64,
}

impl SmallDisk {
    fn of(segments: u64) -> Arc<Self> {
        let bytes = segments * SEGMENT;
        Arc::new(Self { bytes, left: AtomicU64::new(bytes) })
    }

    fn left(&self) -> u64 {
        self.left.load(Ordering::SeqCst)
    }
}

impl Disk for SmallDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        RealDisk.write_at(file, bytes, offset)
    }
    fn sync_data(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        taken.map_err(|_| io::ErrorKind::StorageFull)?;
        RealDisk.allocate(file, bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let bytes = path.metadata().map_or(0, |about| about.len());
        RealDisk.remove(path)?;
        self.left.fetch_add(bytes, Ordering::SeqCst);
        Ok(())
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let before = file.metadata()?.len();
        RealDisk.truncate(file, bytes)?;
        self.left.fetch_add(before - bytes, Ordering::SeqCst);
        Ok(())
    }
    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(self.left())
    }
    fn capacity(&self, _: &Path) -> io::Result<u64> {
        Ok(self.bytes)
    }
}

fn open_small(dir: &Path, disk: &Arc<SmallDisk>) -> Spool {
    let config = Config { held_bytes_max: 64 << 20, journal_bytes_max: 64 << 20, ..small() };
    try_open(dir, &config, Arc::clone(disk) as Arc<_>).unwrap()
}

/// Appends until it is refused; how many were taken.
async fn fill(log: &Log) -> u64 {
    let payload = bytes(1, 200_000);
    for taken in 0.. {
        match log.append(Vec::new(), &payload).await {
            Ok(_) => {}
            Err(Error::Full { .. }) => return taken,
            Err(error) => panic!("{}: {error}", log.name()),
        }
    }
    unreachable!()
}

/// The logs in the order in which they stop: bulk, clinical, urgent, held, journal.
fn in_order(spool: &Spool) -> [Log; 5] {
    let [urgent, clinical, bulk, held, journal] = spool.logs().clone();
    [bulk, clinical, urgent, held, journal]
}

#[tokio::test]
async fn a_full_disk_stops_the_logs_one_after_the_other_and_opens_them_again() {
    let dir = tempdir();
    let disk = SmallDisk::of(40);
    let spool = open_small(dir.path(), &disk);
    let logs = in_order(&spool);
    // One open segment each, so that it is only the disk that decides.
    for log in &logs {
        log.append(Vec::new(), b"first").await.unwrap();
    }
    assert_eq!(spool.disk().pressure(), Pressure::Easy);
    let mut taken = Vec::new();
    for (i, log) in logs.iter().enumerate() {
        taken.push(fill(log).await);
        assert!(taken[i] > 0, "{} is not stopped by those before it", log.name());
        for earlier in &logs[..i] {
            assert!(matches!(earlier.begin().await, Err(Error::Full { .. })), "{}", earlier.name());
        }
        assert_eq!(log.stat().room.percent(), 100, "{}", log.name());
    }
    assert_eq!(spool.disk().pressure(), Pressure::Critical);
    assert!(disk.left() >= SEGMENT, "the state store and the small files have their room: {}", disk.left());

    // The bulk lane's records are delivered: everybody has room again, and nothing else is gone.
    let through = *logs[0].durable().borrow();
    logs[0].free_through(through, Timestamp::from_micros(0));
    for log in logs.iter().rev() {
        log.append(Vec::new(), b"again").await.unwrap();
    }
    for (log, taken) in logs.iter().zip(taken).skip(1) {
        assert_eq!(log.oldest(), 1, "{}", log.name());
        assert_eq!(all(log).await.len() as u64, taken + 2, "{}", log.name());
    }
    spool.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_kept_only_for_later_gives_way_whichever_lane_it_is_in() {
    let dir = tempdir();
    let disk = SmallDisk::of(40);
    let spool = open_small(dir.path(), &disk);
    let [bulk, clinical, urgent, ..] = in_order(&spool);
    for log in [&clinical, &bulk] {
        for n in 0..50 {
            log.append(Vec::new(), &bytes(n, 200_000)).await.unwrap();
        }
    }
    // Of the bulk lane everything is delivered, of the clinical lane half; all of it is young.
    bulk.free_through(50, Timestamp::from_micros(0));
    clinical.free_through(25, Timestamp::from_micros(0));
    assert_eq!((bulk.oldest(), clinical.oldest()), (1, 1));
    assert!(bulk.stat().room.percent() < 5, "a lane full of delivered records is empty");
    let mut clinical_when_bulk_was_gone = 0;
    for n in 0.. {
        match urgent.append(Vec::new(), &bytes(n, 200_000)).await {
            Ok(_) if bulk.stat().segments > 1 => clinical_when_bulk_was_gone = clinical.oldest(),
            Ok(_) => {}
            Err(Error::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(clinical_when_bulk_was_gone, 1, "the bulk lane's go first");
    assert_eq!(bulk.stat().segments, 1);
    assert!((2..=26).contains(&clinical.oldest()), "then the clinical lane's: {}", clinical.oldest());
    // What was not delivered is there to the last.
    let mut reader = clinical.reader(26);
    for seq in 26..=50 {
        let entry = short(reader.next().await.unwrap().unwrap()).await;
        assert_eq!(entry, Got::Record(seq, bytes(seq - 1, 200_000)));
    }
    spool.stop().await.unwrap();
}

#[tokio::test]
async fn a_nearly_full_disk_keeps_nothing_for_later() {
    let dir = tempdir();
    // Nearly full by others: 4 % are left of it, far more than the reserves.
    let disk = Arc::new(SmallDisk { bytes: 400 * SEGMENT, left: AtomicU64::new(15 * SEGMENT) });
    let spool = open_small(dir.path(), &disk);
    let [bulk, clinical, ..] = in_order(&spool);
    assert_eq!(spool.disk().pressure(), Pressure::Critical);
    assert!(
        matches!(bulk.append(Vec::new(), b"x").await, Err(Error::Full { .. })),
        "the bulk lane stands back"
    );
    for n in 0..20 {
        clinical.append(Vec::new(), &bytes(n, 200_000)).await.unwrap();
    }
    clinical.free_through(20, Timestamp::from_micros(0));
    until("the delivered ones are gone", || clinical.stat().segments == 1).await;
    spool.stop().await.unwrap();
}
