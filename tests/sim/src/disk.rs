//! A disk that keeps what was synced and, when the power goes, as much of the rest as the dice say.
//!
//! Files are real ones in a folder in memory, so that readers see what the page cache would show. What was not made
//! durable is remembered, newest last, and taken back by [`Platter::cut`]: of written bytes each 512-byte sector by
//! itself, of names the newest. Operations are counted, over the files and the state store together, so that a life can
//! end at any of them; from then on the process is dead: nothing that it still does reaches the disk.
//!
//! It also looks over the shoulder of whoever writes: no nonce may seal two different frames ([`Nonces`]), and no
//! segment may be unlinked that a durable cursor has not passed (asked of the world).

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use spool::Disk;
use tokio::sync::Notify;

use crate::dice::Dice;
use crate::plant::Plant;
use crate::world::World;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const SECTOR: usize = 512;

/// A change that a power cut may undo.
#[derive(Debug)]
enum Volatile {
    Written { inode: u64, path: PathBuf, offset: u64, before: Vec<u8> },
    Cut { inode: u64, path: PathBuf, tail: Vec<u8>, at: u64 },
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
    Removed { path: PathBuf, bytes: Vec<u8> },
}

/// What the disk is doing to the process at the moment.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// So many operations fail.
    pub(crate) failing: u64,
    pub(crate) is_full: bool,
    /// Percent of the usual time that a commit takes.
    pub(crate) slowness: u64,
}

#[derive(Debug, Default)]
struct Inner {
    volatile: Vec<Volatile>,
    operations: u64,
    dies_at: Option<u64>,
    is_dead: bool,
    was_disturbed: bool,
    weather: Weather,
    nonces: Nonces,
}

/// What comes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Works,
    Fails,
    /// The process or the power ends in the middle of it.
    Dies,
    /// There is no process any more.
    Dead,
}

/// The disk under all lives of a box.
#[derive(Debug, Default)]
pub(crate) struct Platter {
    inner: Mutex<Inner>,
    died: Notify,
}

impl Platter {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// A new process; it dies at the given operation, counted from now.
    pub(crate) fn begin_life(&self, dies_in: Option<u64>) {
        let mut inner = self.lock();
        inner.is_dead = false;
        inner.was_disturbed = false;
        inner.dies_at = dies_in.map(|n| inner.operations + n);
        inner.weather = Weather { slowness: 100, ..Weather::default() };
    }

    pub(crate) fn weather(&self, change: impl FnOnce(&mut Weather)) {
        let mut inner = self.lock();
        change(&mut inner.weather);
        inner.was_disturbed |= inner.weather.failing > 0 || inner.weather.is_full;
    }

    pub(crate) fn slowness(&self) -> u64 {
        self.lock().weather.slowness
    }

    /// Nothing that the process does from now on has an effect.
    pub(crate) fn kill(&self) {
        self.lock().is_dead = true;
        self.died.notify_one();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// Operations failed in this life, or there was no room.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.lock().was_disturbed
    }

    pub(crate) async fn died(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    fn draw(&self) -> Turn {
        let mut inner = self.lock();
        let now = inner.operations;
        inner.operations += 1;
        if inner.is_dead {
            return Turn::Dead;
        }
        if inner.dies_at.is_some_and(|at| now >= at) {
            inner.is_dead = true;
            self.died.notify_one();
            return Turn::Dies;
        }
        if inner.weather.failing > 0 {
            inner.weather.failing -= 1;
            return Turn::Fails;
        }
        Turn::Works
    }

    /// Whether this operation works.
    pub(crate) fn turn(&self) -> io::Result<()> {
        match self.draw() {
            Turn::Works => Ok(()),
            _ => Err(io::Error::from_raw_os_error(EIO)),
        }
    }

    /// The power goes.
    pub(crate) fn cut(&self, dice: &mut Dice) {
        let mut inner = self.lock();
        let share = dice.within(0..=1000);
        let mut are_names_kept = false;
        while let Some(change) = inner.volatile.pop() {
            match change {
                Volatile::Written { inode, path, offset, before } => {
                    let Some(path) = find(&path, inode) else { continue };
                    let file = File::options().write(true).open(path).unwrap();
                    let mut at = 0;
                    while at < before.len() {
                        let sector = SECTOR - (offset as usize + at) % SECTOR;
                        let len = sector.min(before.len() - at);
                        if dice.permille(share) {
                            file.write_all_at(&before[at..at + len], offset + at as u64).unwrap();
                        }
                        at += len;
                    }
                }
                Volatile::Cut { inode, path, tail, at } => {
                    if dice.permille(share)
                        && let Some(path) = find(&path, inode)
                    {
                        let file = File::options().write(true).open(path).unwrap();
                        file.write_all_at(&tail, at).unwrap();
                    }
                }
                Volatile::Renamed { from, to, replaced } => {
                    are_names_kept |= !dice.permille(share);
                    if !are_names_kept && to.exists() {
                        fs::rename(&to, &from).unwrap();
                        if let Some(replaced) = replaced {
                            fs::write(&to, replaced).unwrap();
                        }
                    }
                }
                Volatile::Removed { path, bytes } => {
                    are_names_kept |= !dice.permille(share);
                    if !are_names_kept && !path.exists() {
                        fs::write(&path, bytes).unwrap();
                    }
                }
            }
        }
    }
}

/// The file may have got another name since.
fn find(path: &Path, inode: u64) -> Option<PathBuf> {
    let files = fs::read_dir(path.parent()?).ok()?;
    files.map(|e| e.unwrap().path()).find(|p| fs::metadata(p).is_ok_and(|m| m.ino() == inode))
}

fn path_of(file: &File) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

/// The disk as one process has it.
#[derive(Debug)]
pub(crate) struct ModelDisk(pub(crate) Arc<World>);

impl ModelDisk {
    fn platter(&self) -> &Platter {
        &self.0.platter
    }

    /// Whether this disk says that it has synced, and has not.
    fn lies(&self, path: &Path) -> bool {
        match self.0.plant {
            Some(Plant::AcknowledgeBeforeSync) => true,
            Some(Plant::HeldRecordForgotten) => path.components().any(|c| c.as_os_str() == "held"),
            _ => false,
        }
    }
}

impl Disk for ModelDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let turn = self.platter().draw();
        let share = match turn {
            Turn::Works => bytes,
            Turn::Fails | Turn::Dies => &bytes[..bytes.len() / 2],
            Turn::Dead => &[],
        };
        let about = file.metadata()?;
        let path = path_of(file);
        let mut before = vec![0; share.len()];
        let held = file.read_at(&mut before, offset).unwrap_or(0);
        before.truncate(held);
        if let Some(problem) = self.platter().lock().nonces.see(about.ino(), share, offset) {
            self.0.violation(problem);
        }
        self.platter().lock().volatile.push(Volatile::Written { inode: about.ino(), path, offset, before });
        file.write_all_at(share, offset)?;
        if turn == Turn::Works { Ok(()) } else { Err(io::Error::from_raw_os_error(EIO)) }
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.platter().turn()?;
        let path = path_of(file);
        if self.lies(&path) {
            return Ok(());
        }
        let synced = file.metadata()?.ino();
        self.platter().lock().volatile.retain(|v| {
            !matches!(v, Volatile::Written { inode, .. } | Volatile::Cut { inode, .. } if *inode == synced)
        });
        Ok(())
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.platter().turn()?;
        if self.platter().lock().weather.is_full {
            file.set_len(bytes / 2)?;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        // Zeros, without writing them.
        file.set_len(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.platter().turn()?;
        let replaced = fs::read(to).ok();
        let change = Volatile::Renamed { from: from.to_owned(), to: to.to_owned(), replaced };
        fs::rename(from, to)?;
        self.platter().lock().volatile.push(change);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.platter().turn()?;
        if self.lies(dir) {
            return Ok(());
        }
        self.platter().lock().volatile.retain(|v| {
            !matches!(v, Volatile::Renamed { to: path, .. } | Volatile::Removed { path, .. }
                if path.parent() == Some(dir))
        });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.platter().turn()?;
        let bytes = fs::read(path)?;
        let gone = fs::metadata(path)?.ino();
        self.0.unlinked(path, &bytes);
        fs::remove_file(path)?;
        let mut inner = self.platter().lock();
        // Should the name come back, so does what was in it.
        inner.volatile.retain(
            |v| !matches!(v, Volatile::Written { inode, .. } | Volatile::Cut { inode, .. } if *inode == gone),
        );
        inner.volatile.push(Volatile::Removed { path: path.to_owned(), bytes });
        Ok(())
    }

    fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.platter().turn()?;
        let about = file.metadata()?;
        let mut tail = vec![0; about.len().saturating_sub(bytes) as usize];
        // Opened for writing alone: read through its name.
        let path = path_of(file);
        File::open(&path)?.read_exact_at(&mut tail, bytes.min(about.len()))?;
        file.set_len(bytes)?;
        self.platter().lock().volatile.push(Volatile::Cut { inode: about.ino(), path, tail, at: bytes });
        Ok(())
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        self.platter().turn()?;
        Ok(if self.platter().lock().weather.is_full { 0 } else { 1 << 40 })
    }
}

/// Which frame was sealed under which number of which data key: a second one under the same number would tell both.
#[derive(Debug, Default)]
struct Nonces {
    /// The data key of a file, named by the nonce under which it is wrapped.
    keys: HashMap<u64, [u8; 12]>,
    /// The header that a wrapping nonce was used for.
    wrapped: HashMap<[u8; 12], Vec<u8>>,
    frames: HashMap<([u8; 12], u64), Vec<u8>>,
}

impl Nonces {
    /// Sees what is written; says what is wrong with it.
    fn see(&mut self, inode: u64, bytes: &[u8], offset: u64) -> Option<String> {
        if offset == 0 && bytes.starts_with(b"WARDSPL\x01") && bytes.len() >= 236 {
            let nonce: [u8; 12] = bytes[176..188].try_into().unwrap();
            self.keys.insert(inode, nonce);
            let header = bytes[..236].to_vec();
            let before = self.wrapped.entry(nonce).or_insert_with(|| header.clone());
            return (*before != header)
                .then(|| "a data key's wrapping nonce is used for two segments".to_owned());
        }
        if offset < 8192 {
            return None;
        }
        let key = *self.keys.get(&inode)?;
        let mut at = 0;
        while let Some(frame) = bytes.get(at..) {
            if !frame.starts_with(b"WGf1") || frame.len() < 52 {
                break;
            }
            let body = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
            let number = u64::from_le_bytes(frame[8..16].try_into().unwrap());
            let sealed = frame.get(..52 + body).unwrap_or(frame).to_vec();
            match self.frames.get(&(key, number)) {
                Some(before) if !sealed.starts_with(before) && !before.starts_with(&sealed) => {
                    return Some(format!("frame number {number} sealed two different frames under one key"));
                }
                _ => drop(self.frames.insert((key, number), sealed)),
            }
            at += 52 + body + 4;
        }
        None
    }
}
