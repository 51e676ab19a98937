//! What a log's handles, its committer, its readers and the keeper share.
//!
//! Lock order: `indexing`, `spare`, `identity`, `retention`, `table`; none is held across an await. Who holds his log's
//! `spare` may take the others of any log.

mod freeing;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use model::{Clock, Seq, StreamEpoch, Timestamp};

use crate::Error;
use crate::cipher::LogKeys;
use crate::disk::Disk;
use crate::format::{FOOTER_RESERVE_BYTES, SegmentHeader, Suite};
use crate::identity::Identity;
use crate::keeper::{Chore, Chores};
use crate::log::LogState;
use crate::open::{Opened, Opening, open_segment};
use crate::outside::Hands;
use crate::queue::Queue;
use crate::table::{Table, segment_path};
use crate::tail::Durable;

const SPARE: &str = "spare";
const NEXT: &str = "next";
/// Segments kept open for chunks and look-ups.
const OPENED_MAX: usize = 4;

/// What one log may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) segment_bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) record_bytes_max: u64,
    pub(crate) retention_s: u64,
    /// What it may take beyond its budget for that which makes room: see [`Inner::aside`].
    pub(crate) aside_bytes: u64,
    /// Left free on the disk for the logs that matter more.
    pub(crate) reserve_bytes: u64,
}

/// What readers have let go of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Freeing {
    pub(crate) through: Seq,
    pub(crate) now: Timestamp,
}

pub(crate) struct Inner {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    pub(crate) keys: LogKeys,
    pub(crate) suite: Suite,
    pub(crate) limits: Limits,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) hands: Hands,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: Queue,
    pub(crate) durable: Durable,
    pub(crate) damaged: AtomicU64,
    /// Index of this log among the keeper's.
    pub(crate) index: usize,
    pub(crate) chores: Chores,
    pub(crate) is_spare_asked: AtomicBool,
    pub(crate) is_freeing_asked: AtomicBool,
    pub(crate) freeing: Mutex<Freeing>,
    pub(crate) retention: Mutex<crate::keeper::Retention>,
    table: RwLock<Table>,
    identity: Mutex<Identity>,
    epoch: AtomicU64,
    spare: Mutex<Option<File>>,
    health: AtomicU8,
    /// How many append beyond the budget at this moment.
    aside: AtomicUsize,
    opened: Mutex<VecDeque<(u64, Arc<Opened>)>>,
    /// The logs on the same disk, in the order in which they give way.
    giving_way: OnceLock<Vec<Weak<Self>>>,
    /// Held by whoever makes a sidecar.
    indexing: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.name)
    }
}

/// What [`Inner::new`] needs beside what was found on the disk.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
    pub(crate) keys: LogKeys,
    pub(crate) suite: Suite,
    pub(crate) limits: Limits,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) hands: Hands,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: usize,
    pub(crate) chores: Chores,
}

impl Inner {
    pub(crate) fn new(parts: Parts, table: Table, identity: Identity) -> Self {
        let retention = crate::keeper::Retention::load(&parts.dir);
        let mut table = table;
        retention.stamp(&mut table);
        Self {
            name: parts.name,
            dir: parts.dir,
            keys: parts.keys,
            suite: parts.suite,
            limits: parts.limits,
            disk: parts.disk,
            clock: parts.clock,
            queue: Queue::new(parts.hands.bell(parts.index)),
            hands: parts.hands,
            durable: Durable::new(table.last),
            damaged: AtomicU64::new(0),
            index: parts.index,
            chores: parts.chores,
            is_spare_asked: AtomicBool::new(false),
            is_freeing_asked: AtomicBool::new(false),
            freeing: Mutex::default(),
            retention: Mutex::new(retention),
            table: RwLock::new(table),
            epoch: AtomicU64::new(identity.epoch),
            identity: Mutex::new(identity),
            spare: Mutex::new(None),
            health: AtomicU8::new(LogState::Ready as u8),
            aside: AtomicUsize::new(0),
            opened: Mutex::default(),
            giving_way: OnceLock::new(),
            indexing: Mutex::default(),
        }
    }

    /// Says which logs share the disk, in the order in which they give way. Once, when all are open.
    pub(crate) fn set_giving_way(&self, logs: Vec<Weak<Self>>) {
        // A second time would be a defect, and harmless.
        drop(self.giving_way.set(logs));
    }

    /// One sidecar is made at a time.
    pub(crate) fn indexing(&self) -> MutexGuard<'_, ()> {
        self.indexing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn health(&self) -> LogState {
        match self.health.load(Ordering::Relaxed) {
            h if h == LogState::Full as u8 => LogState::Full,
            h if h == LogState::Failing as u8 => LogState::Failing,
            _ => LogState::Ready,
        }
    }

    pub(crate) fn set_health(&self, state: LogState) {
        let before = self.health.swap(state as u8, Ordering::Relaxed);
        if before != state as u8 {
            tracing::info!(log = self.name, ?state, "the log's state changed");
        }
    }

    pub(crate) fn storage(&self, what: &'static str, source: io::Error) -> Error {
        if Error::is_no_space(&source) {
            Error::Full { log: self.name }
        } else {
            Error::Storage { log: self.name, what, source: Arc::new(source) }
        }
    }

    /// Changes `log.id` durably; what fails is as it was.
    pub(crate) fn change_identity(&self, change: impl FnOnce(&mut Identity)) -> Result<(), Error> {
        let mut identity = self.identity();
        let mut changed = *identity;
        change(&mut changed);
        if changed != *identity {
            changed.store(&*self.disk, &self.dir, &self.keys)?;
            *identity = changed;
            self.epoch.store(changed.epoch, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn adopt_epoch(&self, epoch: StreamEpoch) -> Result<(), Error> {
        let current = StreamEpoch::new(self.epoch()).unwrap_or(StreamEpoch::FIRST);
        if epoch < current {
            return Err(Error::EpochBackwards { current, asked: epoch });
        }
        self.change_identity(|identity| identity.epoch = identity.epoch.max(epoch.get()))
    }

    /// Has the log begin a segment in the newest key epoch, unless it is in one. Blocks.
    pub(crate) fn move_on(&self) -> Result<(), Error> {
        let answer = self.queue.ask_to_move()?;
        self.hands.hurry(self.index);
        answer.recv().unwrap_or(Err(Error::Stopping))
    }

    /// Another incarnation in the next epoch: for a log that may have forgotten numbers it gave out.
    pub(crate) fn renew(&self) -> Result<(), Error> {
        let incarnation = self.keys.random()?;
        self.change_identity(|identity| {
            identity.incarnation = incarnation;
            identity.epoch = identity.epoch.saturating_add(1);
        })
    }

    /// The same, where it still has this one.
    pub(crate) fn renew_of(&self, incarnation: &str) -> Result<bool, Error> {
        let renewed = self.keys.random()?;
        let mut is_so = false;
        self.change_identity(|identity| {
            if hex::encode(identity.incarnation) == incarnation {
                is_so = true;
                identity.incarnation = renewed;
                identity.epoch = identity.epoch.saturating_add(1);
            }
        })?;
        Ok(is_so)
    }

    /// A segment's file, header and data key. `Ok(None)`: its header cannot be read, or its key
    /// was destroyed.
    pub(crate) fn opened(&self, number: u64) -> Result<Option<Arc<Opened>>, Error> {
        let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, opened)) = lock().iter().find(|(n, _)| *n == number) {
            return Ok(Some(Arc::clone(opened)));
        }
        let opened = match open_segment(&segment_path(&self.dir, number), &self.keys)? {
            Opening::Open(opened) => Some(opened),
            Opening::Erased(_) | Opening::Foreign | Opening::Unreadable => None,
        };
        let opened = opened
            .filter(|o| o.header.segment == number && o.header.log == SegmentHeader::log_name(self.name))
            .map(Arc::new);
        if let Some(opened) = &opened {
            let mut cache = lock();
            cache.push_front((number, Arc::clone(opened)));
            cache.truncate(OPENED_MAX);
        }
        Ok(opened)
    }

    /// The key of an epoch was destroyed: nothing of it is read any more, and what is next to be freed is freed.
    pub(crate) fn erased(&self, key_epoch: u64) -> Result<(), Error> {
        let erased = self.table_mut().erase(key_epoch);
        for segment in erased {
            self.drop_sidecar(segment);
        }
        self.opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(_, opened)| opened.header.key_epoch != key_epoch);
        while self.table().iter().next().is_some_and(|oldest| oldest.is_erased) {
            if !self.free_oldest(true)? {
                break;
            }
        }
        Ok(())
    }

    /// A segment leaves the table, and one user its key epoch.
    fn forget(&self, number: u64) {
        let gone = self.table_mut().remove(number);
        if let Some(segment) = gone {
            self.keys.epochs().released(segment.key_epoch);
        }
    }

    fn forget_opened(&self, number: u64) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).retain(|(n, _)| *n != number);
    }

    /// Makes the next segment's file ahead of need, so that no record waits for its zeros.
    pub(crate) fn prepare_spare(&self) -> Result<(), Error> {
        let mut spare = self.lock_spare();
        if spare.is_none() {
            *spare = Some(self.allocate()?);
        }
        Ok(())
    }

    /// The next segment's file, under a name that the keeper does not touch.
    pub(crate) fn take_spare(&self) -> Result<(File, PathBuf), Error> {
        let mut spare = self.lock_spare();
        // One that was made for what goes aside is nobody else's.
        if self.limits.aside_bytes > 0 && !self.fits_another() && !self.free_under_pressure()? {
            return Err(Error::Full { log: self.name });
        }
        let file = match spare.take() {
            Some(file) => file,
            None => self.allocate()?,
        };
        let next = self.dir.join(NEXT);
        self.disk.rename(&self.dir.join(SPARE), &next).map_err(|e| self.storage("beginning a segment", e))?;
        Ok((file, next))
    }

    fn lock_spare(&self) -> MutexGuard<'_, Option<File>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self) -> Result<File, Error> {
        let bytes = self.limits.segment_bytes;
        while !self.fits_another() {
            if !self.free_under_pressure()? {
                return Err(Error::Full { log: self.name });
            }
        }
        loop {
            let available = self.disk.available(&self.dir).map_err(|e| self.storage("asking for room", e))?;
            if available >= bytes.saturating_add(self.limits.reserve_bytes) {
                break;
            }
            if self.free_dead()? == 0 && !self.free_somewhere() {
                return Err(Error::Full { log: self.name });
            }
        }
        let path = self.dir.join(SPARE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| self.storage("creating a segment", e))?;
        if let Err(e) = self.disk.allocate(&file, bytes) {
            drop(file);
            self.remove_quietly(&path);
            return Err(self.storage("allocating a segment", e));
        }
        Ok(file)
    }

    /// Asks the keeper for a spare.
    pub(crate) fn ask_for_spare(&self) {
        if !self.is_spare_asked.swap(true, Ordering::AcqRel) && !self.chores.ask(Chore::Spare(self.index)) {
            self.is_spare_asked.store(false, Ordering::Release);
        }
    }

    pub(crate) fn remove_quietly(&self, path: &Path) {
        match self.disk.remove(path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %path.display(), %error, "could not be removed"),
        }
    }

    /// Tidies up after an earlier process: temporary files, segments freed but not yet unlinked, and void ends
    /// of closed segments.
    pub(crate) fn tidy(&self) {
        self.remove_quietly(&self.dir.join(SPARE));
        self.remove_quietly(&self.dir.join(NEXT));
        self.remove_quietly(&self.dir.join("log.tmp"));
        let floor = self.table().floor;
        let newest = self.table().iter().last().map(|s| s.number);
        let segments: Vec<_> = self.table().iter().cloned().collect();
        // What was freed is the oldest. Behind what stays, a segment without records may be what says where another one
        // ends.
        let mut is_oldest = true;
        for segment in segments {
            let path = segment_path(&self.dir, segment.number);
            is_oldest &= segment.last_seq <= floor && segment.needed_through <= floor;
            if is_oldest && Some(segment.number) != newest {
                self.forget(segment.number);
                self.remove_quietly(&path);
            } else if Some(segment.number) != newest && !segment.is_unreadable && segment.bytes > segment.end
            {
                self.cut(segment.number, segment.end);
            }
        }
        self.find_sidecars();
        // Of objects that the earlier process did not finish.
        if let Err(error) = self.free_dead() {
            tracing::warn!(log = self.name, %error, "a segment that holds nothing could not be freed");
        }
    }

    /// Cuts a closed segment to its end. Gives back room; nothing depends on it.
    pub(crate) fn cut(&self, number: u64, end: u64) {
        let path = segment_path(&self.dir, number);
        let done = OpenOptions::new().write(true).open(&path).and_then(|file| self.disk.truncate(&file, end));
        match done {
            Ok(()) => {
                if let Some(segment) = self.table_mut().segment_mut(number) {
                    segment.bytes = end;
                }
            }
            // Freed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(log = self.name, segment = number, %error, "a closed segment could not be cut")
            }
        }
    }

    /// Where frames must end in a segment.
    pub(crate) const fn capacity(&self) -> u64 {
        self.limits.segment_bytes - FOOTER_RESERVE_BYTES
    }
}

/// Makes a directory, for its owner alone, and its name durable.
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| Error::io("create", dir, e))?;
    for parent in dir.ancestors().skip(1).take(3).filter(|p| !p.as_os_str().is_empty()) {
        disk.sync_dir(parent).map_err(|e| Error::io("sync", parent, e))?;
    }
    Ok(())
}

/// Keeps a segment from being freed while an unfinished record has a chunk in it.
#[derive(Debug)]
pub(crate) struct Pin {
    log: Arc<Inner>,
    segment: u64,
}

impl Pin {
    pub(crate) fn new(log: &Arc<Inner>, segment: u64) -> Self {
        if let Some(segment) = log.table_mut().segment_mut(segment) {
            segment.pins += 1;
        }
        Self { log: Arc::clone(log), segment }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(segment) = self.log.table_mut().segment_mut(self.segment) {
            segment.pins = segment.pins.saturating_sub(1);
        }
    }
}

/// Keeps the segments of an unfinished object, each once.
#[derive(Debug, Default)]
pub(crate) struct Pins(Vec<Pin>);

impl Pins {
    pub(crate) fn push(&mut self, pin: Pin) {
        // Parts come in the order of their segments.
        if self.0.last().is_none_or(|last| last.segment != pin.segment) {
            self.0.push(pin);
        }
    }

    /// The first segment that holds a part.
    pub(crate) fn first_segment(&self) -> Option<u64> {
        self.0.first().map(|pin| pin.segment)
    }
}

impl Drop for Pins {
    /// Should the object have been given up, its segments are free to go.
    fn drop(&mut self) {
        let log = self.0.first().map(|pin| Arc::clone(&pin.log));
        self.0.clear();
        if let Some(log) = log.filter(|log| log.table().dead().is_some()) {
            log.ask_to_tidy();
        }
    }
}
