//! No nonce is used twice under a key, whatever happens in between.
//!
//! A nonce is a frame's number, so it is used once if every sealing under a data key has a higher number than the
//! one before. [`note`] stands in the cipher itself and sees all of them: also frames that are sealed and never
//! reach the disk, and batches sealed anew after a failed flush. A key is known by a keyed hash of it, so that one
//! that came back from the disk, or was made twice, is recognised.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::support::*;
use crate::disk::{Disk, RealDisk};
use crate::format::{Packed, Stored};
use crate::inner::Pins;
use crate::queue::Work;

/// Sealings since the ledger was opened.
#[derive(Debug, Default)]
struct Ledger {
    /// The last number under each key.
    keys: HashMap<[u8; 32], u64>,
    sealed: u64,
    /// Numbers that were not higher than the last one.
    reused: Vec<(u64, u64)>,
}

static LEDGER: Mutex<Option<Ledger>> = Mutex::new(None);

/// Called for each sealing, by any test.
pub(crate) fn note(key: [u8; 32], frame: u64) {
    let mut ledger = LEDGER.lock().unwrap();
    let Some(ledger) = &mut *ledger else { return };
    ledger.sealed += 1;
    if let Some(last) = ledger.keys.insert(key, frame)
        && frame <= last
    {
        ledger.reused.push((last, frame));
    }
}

/// Fails one call in some hundred; a write that fails leaves half of its bytes.
#[derive(Debug, Default)]
struct ShakyDisk {
    calls: AtomicU64,
    errors: AtomicU64,
}

impl ShakyDisk {
    fn turn(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if bytes(call, 1)[0] == 0 {
            self.errors.fetch_add(1, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
}

impl Disk for ShakyDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turn = self.turn();
        RealDisk.write_at(file, if turn.is_ok() { bytes } else { &bytes[..bytes.len() / 2] }, offset)?;
        turn
    }
    fn sync_data(&self, _: &File) -> io::Result<()> {
        self.turn()
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.turn()?;
        file.set_len(bytes)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn()?;
        RealDisk.rename(from, to)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.turn()
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.turn()?;
        RealDisk.remove(path)
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.turn()?;
        RealDisk.truncate(file, bytes)
    }
    fn available(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.available(dir)
    }
}

/// Records of no length, as many as are asked for, in one life of a log that may end in any way.
async fn live(dir: &Path, disk: &Arc<ShakyDisk>, life: u64, records: u64) -> u64 {
    let segment_bytes = [64 << 10, 256 << 10, 1 << 20][life as usize % 3];
    let Ok(alone) = Alone::open_on(dir, Arc::clone(disk) as Arc<_>, segment_bytes) else { return 0 };
    let mut stored = 0;
    let mut left = records;
    while left > 0 {
        let mut waiting = Vec::new();
        let together = left.min(1 + u64::from(bytes(life + left, 1)[0]) * 4);
        for _ in 0..together {
            let work = Work::Record {
                meta: Vec::new(),
                stored: Stored::Inline(Packed::default()),
                pins: Pins::default(),
            };
            waiting.push(alone.log.0.queue.submit(work).await.unwrap());
        }
        left -= together;
        for answer in waiting {
            stored += u64::from(answer.await.unwrap().is_ok());
        }
        alone.log.free_through(u64::MAX, model::Timestamp::from_micros(0));
        while matches!(alone.log.0.free_oldest(true), Ok(true)) {}
    }
    if life.is_multiple_of(2) {
        alone.stop();
    }
    stored
}

#[test]
fn no_nonce_is_used_twice_under_a_key() {
    *LEDGER.lock().unwrap() = Some(Ledger::default());
    let wanted = count(1_000_000, 100_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let lives = AtomicU64::new(0);
    let stored: u64 = std::thread::scope(|scope| {
        let one = |thread: u64| {
            let lives = &lives;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let (dir, disk) = (tempdir(), Arc::new(ShakyDisk::default()));
                let mut stored = 0;
                while stored < wanted.div_ceil(threads) {
                    let life = lives.fetch_add(1, Ordering::Relaxed);
                    let records = 1 + u64::from(bytes(life + 7 * thread, 1)[0]) * 100;
                    stored += runtime.block_on(live(dir.path(), &disk, life, records));
                }
                assert!(disk.errors.load(Ordering::Relaxed) > 10, "and all that on a failing disk");
                stored
            })
        };
        (0..threads).map(one).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum()
    });
    let ledger = LEDGER.lock().unwrap().take().unwrap();
    assert!(ledger.sealed >= stored && stored >= wanted, "{} {stored}", ledger.sealed);
    assert!(ledger.keys.len() as u64 >= lives.load(Ordering::Relaxed) / 2);
    assert_eq!(ledger.reused, [], "of {} under {} keys", ledger.sealed, ledger.keys.len());
    println!(
        "{} sealings under {} keys in {} lives: no nonce twice",
        ledger.sealed,
        ledger.keys.len(),
        lives.load(Ordering::Relaxed)
    );
}
