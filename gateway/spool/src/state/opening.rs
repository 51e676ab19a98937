//! Opening the store, and what is done when it does not open.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::disk::RealDisk;
use crate::inner::make_dir;

/// Under this key the store says which one it is; no table has this tag.
pub(super) const ID_KEY: &[u8] = b"!id";
/// Stores moved aside that are kept for a post-mortem.
pub(super) const LOST_KEPT: usize = 2;
/// What sled may keep of its pages; a box has 128 MB for all.
const CACHE_BYTES: u64 = 8 << 20;
/// sled releases its lock a moment after its last handle is dropped.
const OPEN_ATTEMPTS: u32 = 100;
const OPEN_RETRY: Duration = Duration::from_millis(20);

/// sled's handle. sled syncs its file when the last handle is dropped, and panics where the disk refuses; what was not
/// flushed before was never relied on, so that is no reason to end the process.
pub(super) struct Handle(Option<sled::Db>);

impl Handle {
    pub(super) fn db(&self) -> sled::Result<&sled::Db> {
        self.0.as_ref().ok_or_else(|| sled::Error::Unsupported("the store is closed".to_owned()))
    }
}

impl From<sled::Db> for Handle {
    fn from(db: sled::Db) -> Self {
        Self(Some(db))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let db = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::error!("the state store was closed on a disk that refuses to sync");
        }
    }
}

/// Why sled did not open.
enum Closed {
    /// The store is at fault.
    Broken(String),
    /// The disk or the system is.
    Io(io::Error),
}

pub(super) fn read_marker(marker: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(marker) {
        // Never written through; as good as none.
        Ok(id) if id.is_empty() => Ok(None),
        Ok(id) => Ok(Some(id)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", marker, e)),
    }
}

/// Opens the store; one that does not open, or is not what `id` says, is moved aside. Says whether it was.
pub(super) fn open_or_begin_anew(
    dir: &Path,
    ballast: &Path,
    id: Option<&[u8]>,
) -> Result<(Handle, bool), Error> {
    let give_up = |e| Error::State { what: "open", problem: format!("{e}").into() };
    let first = match open(dir, id) {
        Err(Closed::Io(e)) if Error::is_no_space(&e) && ballast.exists() => {
            fs::remove_file(ballast).map_err(|e| Error::io("remove", ballast, e))?;
            open(dir, id)
        }
        other => other,
    };
    match first {
        Ok(handle) => Ok((handle, false)),
        Err(Closed::Io(e)) => Err(give_up(e)),
        Err(Closed::Broken(problem)) => {
            tracing::error!(%problem, "the state store does not open: it is moved aside and rebuilt");
            move_aside(dir)?;
            match open(dir, None) {
                Ok(handle) => Ok((handle, true)),
                Err(Closed::Io(e)) => Err(give_up(e)),
                Err(Closed::Broken(problem)) => Err(Error::State { what: "open", problem: problem.into() }),
            }
        }
    }
}

/// `id`: what the store must say it is.
fn open(dir: &Path, id: Option<&[u8]>) -> Result<Handle, Closed> {
    let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let mut attempts = 0;
    loop {
        // sled panics on some kinds of damage.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let handle = Handle::from(config.open()?);
            // Damage is also found on the first walk.
            for pair in handle.db()?.iter() {
                pair?;
            }
            Ok(handle)
        }));
        attempts += 1;
        match opened {
            Ok(Ok(handle)) => {
                let held = handle.db().and_then(|db| db.get(ID_KEY));
                let is_whole = id.is_none_or(|id| matches!(held, Ok(Some(held)) if held == id));
                return if is_whole {
                    Ok(handle)
                } else {
                    Err(Closed::Broken("what it held is gone".to_owned()))
                };
            }
            Ok(Err(sled::Error::Io(e))) if is_locked(&e) && attempts < OPEN_ATTEMPTS => {
                std::thread::sleep(OPEN_RETRY)
            }
            Ok(Err(sled::Error::Io(e)))
                if e.kind() == io::ErrorKind::InvalidData || e.kind() == io::ErrorKind::UnexpectedEof =>
            {
                return Err(Closed::Broken(e.to_string()));
            }
            Ok(Err(sled::Error::Io(e))) => return Err(Closed::Io(e)),
            Ok(Err(e)) => return Err(Closed::Broken(e.to_string())),
            Err(_) => return Err(Closed::Broken("it panicked".to_owned())),
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// `state` becomes `state.lost-N`; the newest few are kept.
fn move_aside(dir: &Path) -> Result<(), Error> {
    let parent = dir.parent().unwrap_or(dir);
    let prefix = format!("{}.lost-", dir.file_name().unwrap_or_default().to_string_lossy());
    let mut numbers: Vec<u64> = fs::read_dir(parent)
        .map_err(|e| Error::io("list", parent, e))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let next = numbers.last().map_or(1, |n| n + 1);
    let to = parent.join(format!("{prefix}{next}"));
    fs::rename(dir, &to).map_err(|e| Error::io("move aside", dir, e))?;
    let surplus = (numbers.len() + 1).saturating_sub(LOST_KEPT);
    for number in numbers.into_iter().take(surplus) {
        let old = parent.join(format!("{prefix}{number}"));
        if let Err(error) = fs::remove_dir_all(&old) {
            tracing::warn!(dir = %old.display(), %error, "an old lost state store could not be removed");
        }
    }
    make_dir(&RealDisk, dir)
}
