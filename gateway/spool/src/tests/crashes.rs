//! A crash at every call that changes the disk, on a model of a file system that keeps no more than it promised.
//!
//! A [`Recorder`] passes each call on and writes it down. [`State`] is what a disk may hold at any point of that
//! record: data that `fdatasync` covered and names that the directory's sync covered are there; of every later
//! write each sector of 512 bytes is or is not; later changes of names happened up to some point, or any of them
//! did. That is more than any journalling file system allows itself. Each state is laid out as files, opened and
//! asked for everything that was acknowledged; one in four goes on writing and crashes again.
//!
//! On real file systems the same is done in `tests/crash`, a few hundred times more slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use model::Seq;

use super::support::*;
use crate::disk::{Disk, RealDisk};
use crate::keys::ring::KEYS_DIR;
use crate::verify::examine;

const SECTOR: usize = 512;
/// A record in chunks, and one that names them by way of a table.
const LARGE: [usize; 2] = [300_000, 700_000];
/// Names and what is under them.
type Files = BTreeMap<String, Vec<u8>>;

/// A change, or what somebody was told.
#[derive(Debug, Clone)]
enum Op {
    Link { file: usize, name: String },
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    Zeros { file: usize, len: usize },
    Cut { file: usize, len: usize },
    Sync { file: usize },
    Rename { file: usize, from: String, to: String },
    Remove { name: String },
    SyncNames,
    Told { seq: Seq, id: u64 },
    Freeing { through: Seq },
    Adopted { epoch: u64 },
}

/// Numbers from a seed (SplitMix64).
#[derive(Debug)]
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A record says which one it is.
fn payload(id: u64, is_large: bool) -> Vec<u8> {
    let len = match (is_large, id % 2) {
        (true, 0) => LARGE[0],
        (true, _) => LARGE[1],
        (false, _) => 8 + id as usize * 769 % 2_500,
    };
    let mut payload = match id % 4 {
        // Stored compressed.
        1 => text(id, len.max(8_000)),
        _ => bytes(id, len),
    };
    payload[..8].copy_from_slice(&id.to_le_bytes());
    payload
}

fn id_of(payload: &[u8]) -> Option<u64> {
    let id = u64::from_le_bytes(payload.get(..8)?.try_into().ok()?);
    (self::payload(id, LARGE.contains(&payload.len())) == payload).then_some(id)
}

/// Passes on and writes down.
#[derive(Debug)]
struct Recorder {
    dir: PathBuf,
    inner: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    ops: Vec<Op>,
    names: BTreeMap<String, usize>,
    lens: Vec<usize>,
}

impl Recorder {
    /// Of a directory that holds these files, durably.
    fn new(dir: &Path, before: &Files) -> Arc<Self> {
        let names = before.keys().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        let lens = before.values().map(Vec::len).collect();
        let inner = Mutex::new(Recorded { ops: Vec::new(), names, lens });
        Arc::new(Self { dir: clinical_dir(dir), inner })
    }

    fn note(&self, op: Op) {
        self.inner.lock().unwrap().ops.push(op);
    }

    fn taken(&self) -> Vec<Op> {
        std::mem::take(&mut self.inner.lock().unwrap().ops)
    }

    /// The file's number; a new name is a new file. Opening may have cut it, which nobody told us. `None`: it has no
    /// name any more.
    fn file(&self, file: &File) -> Option<usize> {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let name = self.name(&path)?;
        if !path.exists() {
            return None;
        }
        let recorded = &mut *self.inner.lock().unwrap();
        let number = *recorded.names.entry(name.clone()).or_insert_with(|| {
            let file = recorded.lens.len();
            recorded.lens.push(0);
            recorded.ops.push(Op::Link { file, name });
            file
        });
        let len = file.metadata().unwrap().len() as usize;
        if len < recorded.lens[number] {
            recorded.lens[number] = len;
            recorded.ops.push(Op::Cut { file: number, len });
        }
        Some(number)
    }

    fn name(&self, path: &Path) -> Option<String> {
        (path.parent() == Some(&self.dir)).then(|| path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    fn grow(&self, file: usize, to: usize) {
        let lens = &mut self.inner.lock().unwrap().lens;
        lens[file] = lens[file].max(to);
    }
}

impl Disk for Recorder {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let number = self.file(file);
        RealDisk.write_at(file, bytes, offset)?;
        if let Some(file) = number {
            let offset = offset as usize;
            self.grow(file, offset + bytes.len());
            self.note(Op::Write { file, offset, bytes: bytes.to_vec() });
        }
        Ok(())
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        if let Some(file) = self.file(file) {
            self.note(Op::Sync { file });
        }
        RealDisk.sync_data(file)
    }
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let number = self.file(file);
        RealDisk.allocate(file, bytes)?;
        if let Some(file) = number {
            self.grow(file, bytes as usize);
            self.note(Op::Zeros { file, len: bytes as usize });
            self.note(Op::Sync { file });
        }
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)?;
        let (Some(from), Some(to)) = (self.name(from), self.name(to)) else { return Ok(()) };
        let recorded = &mut *self.inner.lock().unwrap();
        if let Some(file) = recorded.names.remove(&from) {
            recorded.names.insert(to.clone(), file);
            recorded.ops.push(Op::Rename { file, from, to });
        }
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == self.dir {
            self.note(Op::SyncNames);
        }
        RealDisk.sync_dir(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)?;
        let Some(name) = self.name(path) else { return Ok(()) };
        let recorded = &mut *self.inner.lock().unwrap();
        if recorded.names.remove(&name).is_some() {
            recorded.ops.push(Op::Remove { name });
        }
        Ok(())
    }
    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        let number = self.file(file);
        RealDisk.truncate(file, bytes)?;
        if let Some(file) = number {
            self.inner.lock().unwrap().lens[file] = bytes as usize;
            self.note(Op::Cut { file, len: bytes as usize });
        }
        Ok(())
    }
    fn available(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.available(dir)
    }
}

/// What must be there.
#[derive(Debug, Clone, Default)]
struct Expected {
    told: BTreeMap<Seq, u64>,
    freed: Seq,
    begun: BTreeSet<u64>,
    /// The epoch is one of these; were it beyond, the log would believe that it had lost its end.
    epochs: (u64, u64),
}

/// What the disk is sure of, and what it may or may not hold besides.
#[derive(Debug, Clone)]
struct State {
    contents: Vec<(Vec<u8>, Vec<Op>)>,
    names: BTreeMap<String, usize>,
    later: Vec<Op>,
    expected: Expected,
}

impl State {
    fn new(before: &Files, expected: Expected) -> Self {
        Self {
            contents: before.values().map(|bytes| (bytes.clone(), Vec::new())).collect(),
            names: before.keys().enumerate().map(|(i, name)| (name.clone(), i)).collect(),
            later: Vec::new(),
            expected,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Link { file, .. } => {
                self.contents.resize_with(self.contents.len().max(file + 1), Default::default);
                self.later.push(op.clone());
            }
            Op::Rename { .. } | Op::Remove { .. } => self.later.push(op.clone()),
            Op::Write { file, .. } | Op::Zeros { file, .. } | Op::Cut { file, .. } => {
                self.contents[*file].1.push(op.clone());
            }
            Op::Sync { file } => {
                let (bytes, later) = &mut self.contents[*file];
                for op in std::mem::take(later) {
                    change(bytes, &op, &mut || true);
                }
            }
            Op::SyncNames => {
                for op in std::mem::take(&mut self.later) {
                    name(&mut self.names, &op);
                }
            }
            Op::Told { seq, id } => {
                self.expected.told.insert(*seq, *id);
            }
            Op::Adopted { epoch } => self.expected.epochs.0 = *epoch,
            Op::Freeing { through } => self.expected.freed = self.expected.freed.max(*through),
        }
    }

    /// What is left when the power goes now.
    fn left(&self, luck: &mut Luck) -> Files {
        let share = luck.below(5) * 25;
        let mut names = self.names.clone();
        if luck.percent(50) {
            // As far as the journal came.
            let count = luck.below(self.later.len() as u64 + 1) as usize;
            self.later[..count].iter().for_each(|op| self::name(&mut names, op));
        } else {
            let kept = self.later.iter().filter(|_| luck.percent(share)).collect::<Vec<_>>();
            kept.into_iter().for_each(|op| self::name(&mut names, op));
        }
        names
            .into_iter()
            .map(|(name, file)| {
                let (bytes, later) = &self.contents[file];
                let mut bytes = bytes.clone();
                for op in later {
                    change(&mut bytes, op, &mut || luck.percent(share));
                }
                (name, bytes)
            })
            .collect()
    }
}

fn name(names: &mut BTreeMap<String, usize>, op: &Op) {
    match op {
        Op::Link { file, name } => {
            names.insert(name.clone(), *file);
        }
        Op::Rename { file, from, to } => {
            if names.get(from) == Some(file) {
                names.remove(from);
            }
            names.insert(to.clone(), *file);
        }
        Op::Remove { name } => {
            names.remove(name);
        }
        _ => {}
    }
}

/// Changes bytes; `is_kept` is asked for each sector.
fn change(bytes: &mut Vec<u8>, op: &Op, is_kept: &mut impl FnMut() -> bool) {
    let mut put = |bytes: &mut Vec<u8>, at: usize, sector: &[u8]| {
        if is_kept() {
            bytes.resize(bytes.len().max(at + sector.len()), 0);
            bytes[at..at + sector.len()].copy_from_slice(sector);
        }
    };
    match op {
        Op::Write { offset, bytes: written, .. } => {
            let mut at = 0;
            while at < written.len() {
                let len = (SECTOR - (offset + at) % SECTOR).min(written.len() - at);
                put(bytes, offset + at, &written[at..at + len]);
                at += len;
            }
        }
        Op::Zeros { len, .. } => {
            // As zeros over zeros cannot be told apart, how far they came is all that counts.
            let end = (0..*len).step_by(64 << 10).take_while(|_| is_kept()).last();
            let end = end.map_or(0, |at| (at + (64 << 10)).min(*len));
            bytes.resize(bytes.len().max(end), 0);
            bytes[..end].fill(0);
        }
        Op::Cut { len, .. } if is_kept() => bytes.truncate(*len),
        _ => {}
    }
}

/// With the ring of keys of another folder: how that survives is tested beside it.
fn lay_out(files: &Files, ring: &Path, dir: &Path) {
    copy(&ring.join(KEYS_DIR), &dir.join(KEYS_DIR));
    let dir = clinical_dir(dir);
    fs::create_dir_all(&dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// One after the other, so that ids and what is left of them are the same each time.
struct Life {
    luck: Luck,
    next_id: u64,
    segment_bytes: u64,
}

impl Life {
    /// Appends one record or several at the same time, and notes what was told.
    async fn append(&mut self, alone: &Alone, recorder: &Recorder, begun: &mut BTreeSet<u64>) {
        let count = if self.luck.percent(40) { 2 + self.luck.below(4) } else { 1 };
        let is_large = self.segment_bytes > 400_000 && self.luck.percent(15);
        let first = self.next_id;
        self.next_id += count;
        begun.extend(first..first + count);
        let appends = (first..first + count).map(|id| {
            let (log, payload) = (alone.log.clone(), payload(id, is_large && id == first));
            async move {
                let seq = log.append(b"m".to_vec(), &payload).await.unwrap();
                recorder.note(Op::Told { seq, id });
            }
        });
        together(appends).await;
    }
}

/// Polls all of them until all are done.
async fn together(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(|f| Some(Box::pin(f))).collect();
    std::future::poll_fn(|context| {
        for slot in &mut futures {
            if slot.as_mut().is_some_and(|f| f.as_mut().poll(context).is_ready()) {
                *slot = None;
            }
        }
        if futures.iter().all(Option::is_none) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Opens what is left and holds it against what must be there; what it shows must stay from then on.
async fn check(alone: &Alone, expected: &mut Expected, what: &str) {
    let log = &alone.log;
    let mut ids = BTreeSet::new();
    let (oldest, got) = (log.oldest(), all(log).await);
    for (seq, id) in &expected.told {
        match got.get((*seq).wrapping_sub(oldest) as usize) {
            Some(Got::Record(_, payload)) => {
                assert_eq!(id_of(payload), Some(*id), "{what}: {seq} is another record");
            }
            Some(Got::Damaged(..) | Got::Erased(..)) => panic!("{what}: {seq} cannot be read"),
            None => {
                assert!(*seq < oldest && *seq <= expected.freed, "{what}: {seq} is lost, from {oldest} on")
            }
        }
    }
    for entry in &got {
        let Got::Record(seq, payload) = entry else { panic!("{what}: {entry:?}") };
        let id = id_of(payload).unwrap_or_else(|| panic!("{what}: {seq} is garbled"));
        assert!(expected.begun.contains(&id), "{what}: {seq} is nobody's");
        assert!(ids.insert(id), "{what}: {seq} is there twice");
        expected.told.insert(*seq, id);
    }
    assert_eq!(log.stat().damaged, 0, "{what}");
    let (from, to) = expected.epochs;
    assert!((from..=to).contains(&log.epoch().get()), "{what}: epoch {}, not of {from} to {to}", log.epoch());
}

/// One recorded life, and a crash at each of its operations. Says how many crashes that were.
async fn crash_everywhere(seed: u64, seeds_per_op: u64, crashes_max: u64) -> u64 {
    let dir = tempdir();
    let segment_bytes = if seed.is_multiple_of(16) { 512 << 10 } else { 64 << 10 };
    let mut life = Life { luck: Luck(seed), next_id: 1, segment_bytes };
    let recorder = Recorder::new(dir.path(), &Files::new());
    let mut begun = BTreeSet::new();
    let mut epoch = 1;
    let mut alone = Alone::open_on(dir.path(), Arc::clone(&recorder) as Arc<_>, segment_bytes).unwrap();
    for _ in 0..4 + life.luck.below(8) {
        match life.luck.below(13) {
            0 => {
                epoch += 1;
                alone.log.adopt_epoch(model::StreamEpoch::new(epoch).unwrap()).unwrap();
                recorder.note(Op::Adopted { epoch });
            }
            1 => {
                let through = *alone.log.durable().borrow() * 3 / 4;
                recorder.note(Op::Freeing { through });
                alone.log.free_through(through, model::Timestamp::from_micros(0));
                while alone.log.0.free_oldest(true).unwrap() {}
            }
            2 | 3 => {
                // The process ends, one way or the other; what the kernel holds stays.
                if life.luck.percent(50) {
                    alone.stop()
                } else {
                    drop(alone)
                }
                alone = Alone::open_on(dir.path(), Arc::clone(&recorder) as Arc<_>, segment_bytes).unwrap();
            }
            4 => {
                // An object that is given up, and goes before its turn.
                let mut appender = alone.log.begin().await.unwrap();
                if segment_bytes > 400_000 {
                    appender.push(&bytes(life.next_id, 900_000)).await.unwrap();
                }
                drop(appender);
                alone.log.0.free_dead().unwrap();
            }
            _ => life.append(&alone, &recorder, &mut begun).await,
        }
    }
    if life.luck.percent(50) {
        alone.stop()
    } else {
        drop(alone)
    }
    let ops = recorder.taken();
    let expected = Expected { begun, epochs: (1, epoch), ..Expected::default() };
    let mut state = State::new(&Files::new(), expected);
    let mut crashes = 0;
    for (at, op) in ops.iter().enumerate() {
        state.apply(op);
        for _ in 0..seeds_per_op {
            if crashes >= crashes_max {
                return crashes;
            }
            crashes += 1;
            let what = format!("seed {seed}, crash after {at} of {}", ops.len());
            let goes_on = life.luck.percent(25);
            crashes += crash(&state, dir.path(), &mut life, goes_on, &what).await;
        }
    }
    crashes
}

/// Says how many further crashes there were.
async fn crash(state: &State, ring: &Path, life: &mut Life, goes_on: bool, what: &str) -> u64 {
    let before = state.left(&mut life.luck);
    let mut expected = state.expected.clone();
    let dir = tempdir();
    lay_out(&before, ring, dir.path());
    let recorder = Recorder::new(dir.path(), &before);
    let alone = Alone::open_on(dir.path(), Arc::clone(&recorder) as Arc<_>, life.segment_bytes)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let opened = recorder.inner.lock().unwrap().ops.len();
    let mut shown = expected.clone();
    check(&alone, &mut shown, what).await;
    if !goes_on {
        return 0;
    }
    life.append(&alone, &recorder, &mut shown.begun).await;
    life.append(&alone, &recorder, &mut shown.begun).await;
    check(&alone, &mut shown.clone(), &format!("{what}, going on")).await;
    if life.luck.percent(50) {
        alone.stop()
    } else {
        drop(alone)
    }
    let report = examine(dir.path(), Some(&keys()), 1).unwrap();
    assert!(report.is_sound(), "{what}: {report:?}");
    // The second crash, anywhere in that.
    let ops = recorder.taken();
    let at = life.luck.below(ops.len() as u64 + 1) as usize;
    // Had nothing been shown yet, nobody can miss it.
    if at >= opened {
        expected.told = shown.told;
    }
    expected.begun = shown.begun;
    let mut state = State::new(&before, expected);
    ops[..at].iter().for_each(|op| state.apply(op));
    let left = state.left(&mut life.luck);
    let again = tempdir();
    lay_out(&left, ring, again.path());
    let what = format!("{what}, and again after {at} of {}", ops.len());
    let alone = Alone::open_on(again.path(), Arc::new(RealDisk), life.segment_bytes)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    check(&alone, &mut state.expected, &what).await;
    1
}

#[test]
fn a_crash_at_any_call_of_any_life_loses_nothing_acknowledged() {
    let crashes = count(20_000, 1_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let (mut done, mut seed) = (0, thread);
                while done < crashes.div_ceil(threads) {
                    done += runtime.block_on(crash_everywhere(seed, 2, crashes.div_ceil(threads) - done));
                    seed += threads;
                }
            });
        }
    });
}
