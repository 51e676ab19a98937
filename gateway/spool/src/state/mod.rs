//! Small state that can be rebuilt: cursors, recent deliveries, seen identities, registries. sled 0.34 behind a
//! durability barrier; nothing else in Wardgate uses sled.
//!
//! **Promise.** What was written before [`State::sync`] returned survives a power cut. Writes of one
//! [`WriteBatch`] appear together or not at all. A store that does not open is moved aside, begun anew and
//! reported by [`State::was_lost`]; whoever owns a table then rebuilds it (cursors from the landing's
//! watermarks, identities by resending, which the landing recognises).
//!
//! **Limits.** Keys [`KEY_BYTES_MAX`], values [`VALUE_BYTES_MAX`], keys per table [`Table::keys_max`]. sled
//! holds about 107 MB of memory for a million keys, so tables are kept small and full means refused.
//!
//! **No PHI.** The store is not encrypted: values hold numbers, ids, hashes and addresses of senders, and a key that
//! is derived from what identifies a message or a person is an HMAC under [`crate::Keys::mac`].
//!
//! **Why a barrier.** sled's `flush` ends in `sync_file_range`, which neither flushes the drive's cache nor the
//! file's metadata: in 200 simulated power cuts 196 lost acknowledged writes. So [`State::sync`] flushes sled
//! and then calls `fdatasync` on a descriptor of its own for `<dir>/db`, and directories are synced when they are
//! made. After a failed `fdatasync` the pages may be gone while the next call succeeds; so a store whose barrier
//! failed once stays failed until it is opened again.
//!
//! **Knowing that it was lost.** sled may open a damaged file as an empty store. So a random id stands both under
//! a key of its own and in a file beside the store; where they differ, the store was lost.
//!
//! **Full disk.** sled writes when it opens. A ballast file beside the store is given up when opening meets a
//! full disk, and made again when there is room. While it is open, blocks behind the end of its file are reserved before
//! each flush, so that cursors still move, and by that make room, on a disk that others have filled.

mod opening;
mod shelf;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::shelf::{Shelf, Write};

use self::opening::{ID_KEY, open_or_begin_anew, read_marker};
use self::shelf::{OnSled, pairs};
use crate::disk::{self, Disk as _, RealDisk};
use crate::outside::Hands;
use crate::{Error, keys};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
const BALLAST_BYTES: u64 = 4 << 20;

/// The tables. Closed, so that a full one can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// How far each destination is in each lane.
    Cursors,
    /// Recent deliveries, for tracing.
    Deliveries,
    /// Identities of recent records, for recognising a resend; keys are HMACs.
    Seen,
    /// Feeds and devices.
    Registry,
    /// The last sequence number of links; keys are HMACs.
    Links,
    /// Faults between peers and sources, the newest.
    Faults,
    /// Everything else that is small.
    Meta,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 7] =
        [Self::Cursors, Self::Deliveries, Self::Seen, Self::Registry, Self::Links, Self::Faults, Self::Meta];

    /// Most keys.
    pub const fn keys_max(self) -> u64 {
        match self {
            // Two keys for each of 100,000 identities: by identity and by age.
            Self::Seen => 200_000,
            Self::Deliveries | Self::Registry => 100_000,
            Self::Faults | Self::Links => 20_000,
            Self::Cursors | Self::Meta => 10_000,
        }
    }

    /// The first byte of its keys; never changes.
    const fn tag(self) -> u8 {
        match self {
            Self::Cursors => b'c',
            Self::Deliveries => b'd',
            Self::Seen => b's',
            Self::Registry => b'r',
            Self::Links => b'l',
            Self::Faults => b'f',
            Self::Meta => b'm',
        }
    }

    /// The table of a key as it stands in sled.
    fn of(key: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|table| key.first() == Some(&table.tag()))
    }

    fn key(self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(1 + key.len());
        full.push(self.tag());
        full.extend_from_slice(key);
        full
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Writes that happen together or not at all, across tables. Of two writes to one key the later counts.
#[derive(Debug, Default)]
pub struct WriteBatch(BTreeMap<Vec<u8>, (Table, Option<Vec<u8>>)>);

impl WriteBatch {
    /// Sets a key.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> &mut Self {
        self.0.insert(table.key(key), (table, Some(value.to_vec())));
        self
    }

    /// Removes a key.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> &mut Self {
        self.0.insert(table.key(key), (table, None));
        self
    }
}

/// The state store. Cheap to clone. Reads and writes take microseconds; only [`State::sync`] waits for the disk.
#[derive(Clone)]
pub struct State(Arc<Store>);

struct Store {
    shelf: Arc<dyn Shelf>,
    hands: Hands,
    counts: Mutex<Counts>,
    written: AtomicU64,
    synced: AtomicU64,
    has_failed: AtomicBool,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts([u64; Table::ALL.len()]);

impl Counts {
    fn of(&mut self, table: Table) -> &mut u64 {
        let Self([cursors, deliveries, seen, registry, links, faults, meta]) = self;
        match table {
            Table::Cursors => cursors,
            Table::Deliveries => deliveries,
            Table::Seen => seen,
            Table::Registry => registry,
            Table::Links => links,
            Table::Faults => faults,
            Table::Meta => meta,
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("was_lost", &self.was_lost()).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the store or makes it. Blocks.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let ballast = dir.with_extension("ballast");
        let marker = dir.with_extension("id");
        let id = read_marker(&marker)?;
        let (handle, was_lost) = open_or_begin_anew(dir, &ballast, id.as_deref())?;
        let shelf = OnSled::new(dir, handle, was_lost)?;
        for made in [dir, dir.parent().unwrap_or(dir)] {
            RealDisk.sync_dir(made).map_err(|e| Error::io("sync", made, e))?;
        }
        let state = Self::on(Arc::new(shelf), Hands::Threads)?;
        state.0.mark(&marker, id)?;
        keep_ballast(&ballast);
        Ok(state)
    }

    /// On a shelf of the caller's.
    pub(crate) fn on(shelf: Arc<dyn Shelf>, hands: Hands) -> Result<Self, Error> {
        let counts = count(&*shelf)?;
        Ok(Self(Arc::new(Store {
            shelf,
            hands,
            counts: Mutex::new(counts),
            written: AtomicU64::new(1),
            synced: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            gate: tokio::sync::Mutex::new(()),
        })))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.0.shelf.get(&table.key(key))
    }

    /// Sets a key. Durable after the next [`State::sync`].
    ///
    /// # Errors
    /// [`Error::StateFull`], [`Error::TooLarge`], [`Error::State`].
    pub fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put(table, key, value);
        self.write(batch)
    }

    /// Removes a key; a missing one is fine. Durable after the next [`State::sync`].
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.delete(table, key);
        self.write(batch)
    }

    /// Writes a batch. Durable after the next [`State::sync`].
    ///
    /// # Errors
    /// As [`State::put`]; then none of it was written.
    pub fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut counts = self.0.counts();
        let mut after = *counts;
        let mut writes: Vec<Write> = Vec::with_capacity(batch.0.len());
        for (key, (table, value)) in batch.0 {
            let is_there = self.0.shelf.get(&key)?.is_some();
            let count = after.of(table);
            match value {
                Some(value) => {
                    check_size("key", key.len() - 1, KEY_BYTES_MAX)?;
                    check_size("value", value.len(), VALUE_BYTES_MAX)?;
                    *count += u64::from(!is_there);
                    if !is_there && *count > table.keys_max() {
                        return Err(Error::StateFull { table });
                    }
                    writes.push((key, Some(value)));
                }
                None => {
                    *count = count.saturating_sub(u64::from(is_there));
                    writes.push((key, None));
                }
            }
        }
        self.0.shelf.apply(writes)?;
        *counts = after;
        drop(counts);
        self.0.written.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// At most `limit` pairs whose keys begin with `prefix`, in the order of their keys, behind the key `after`
    /// where one is given.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn scan_prefix(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, Error> {
        let full = table.key(prefix);
        let mut start = after.map_or_else(|| full.clone(), |after| table.key(after));
        if after.is_some() {
            // The least key behind it.
            start.push(0);
        }
        let start = start.max(full.clone());
        pairs(&*self.0.shelf, &full, &start, limit)
    }

    /// Shows every key, with the byte that names its table, and its value, until the first error: for a backup.
    pub(crate) fn every_pair(
        &self,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut seen = Ok(());
        self.0.shelf.walk(&[], &mut |key, value| {
            if Table::of(key).is_some() {
                seen = see(key, value);
            }
            seen.is_ok()
        })?;
        seen
    }

    /// Puts back what [`Self::every_pair`] showed; keys of no table are left out.
    pub(crate) fn put_back(&self, pairs: impl IntoIterator<Item = Pair>) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            if let (Some(table), Some(rest)) = (Table::of(&key), key.get(1..)) {
                batch.put(table, rest, &value);
            }
        }
        self.write(batch)
    }

    /// [`Self::sync`] for a thread that may block and has the store to itself.
    pub(crate) fn sync_blocking(&self) -> Result<(), Error> {
        self.0.barrier()
    }

    /// How many keys a table has.
    pub fn len(&self, table: Table) -> u64 {
        *self.0.counts().of(table)
    }

    /// Whether a table has no keys.
    pub fn is_empty(&self, table: Table) -> bool {
        self.len(table) == 0
    }

    /// The barrier: returns when everything written before the call is on the disk. Callers at the same time
    /// share one flush.
    ///
    /// # Errors
    /// [`Error::State`]: nothing written since the last success may be relied on, now or later.
    pub async fn sync(&self) -> Result<(), Error> {
        let wanted = self.0.written.load(Ordering::Acquire);
        let _turn = self.0.gate.lock().await;
        if self.0.synced.load(Ordering::Acquire) >= wanted && !self.0.has_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let store = Arc::clone(&self.0);
        self.0.hands.off_runtime(move || store.barrier()).await
    }

    /// The store did not open, was moved aside and begun anew: rebuild what it held.
    pub fn was_lost(&self) -> bool {
        self.0.shelf.was_lost()
    }
}

impl Store {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn barrier(&self) -> Result<(), Error> {
        const FAILED: &str = "an earlier sync failed; restart when the disk is well";
        if self.has_failed.load(Ordering::Acquire) {
            return Err(Error::State { what: "sync", problem: FAILED.into() });
        }
        let reached = self.written.load(Ordering::Acquire);
        let done = self.shelf.flush();
        match &done {
            Ok(()) => self.synced.store(reached, Ordering::Release),
            Err(_) => self.has_failed.store(true, Ordering::Release),
        }
        done
    }

    /// Gives a store begun anew the id by which it is known to be whole.
    fn mark(&self, marker: &Path, id: Option<Vec<u8>>) -> Result<(), Error> {
        let is_new = id.is_none();
        let id = match id {
            Some(id) => id,
            None => hex::encode(keys::random::<16>()?).into_bytes(),
        };
        self.shelf.apply(vec![(ID_KEY.to_vec(), Some(id.clone()))])?;
        self.barrier()?;
        if is_new {
            disk::replace(&RealDisk, marker, &id).map_err(|e| Error::io("create", marker, e))?;
        }
        Ok(())
    }
}

/// Best effort: without ballast the store works as well, until the disk is full.
fn keep_ballast(ballast: &Path) {
    if ballast.exists() {
        return;
    }
    let made = File::create(ballast).and_then(|file| RealDisk.allocate(&file, BALLAST_BYTES));
    if let Err(error) = made {
        tracing::warn!(%error, "no room for the state store's ballast");
        drop(fs::remove_file(ballast));
    }
}

fn check_size(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), Error> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 });
    }
    Ok(())
}

fn failed(what: &'static str, error: &sled::Error) -> Error {
    Error::State { what, problem: error.to_string().into() }
}

fn count(shelf: &dyn Shelf) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    shelf.walk(&[], &mut |key, _| {
        if let Some(table) = Table::of(key) {
            *counts.of(table) += 1;
        }
        true
    })?;
    Ok(counts)
}

#[cfg(test)]
mod tests;
