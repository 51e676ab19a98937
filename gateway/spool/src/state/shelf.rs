//! Where the pairs stand: in sled, or on a shelf that a simulation brings.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;

use super::opening::Handle;
use super::{Pair, failed};
use crate::Error;

/// Kept reserved behind the end of sled's file.
const AHEAD_BYTES: u64 = 2 << 20;

/// A write: a key, and its value or nothing.
pub type Write = (Vec<u8>, Option<Vec<u8>>);

/// An ordered map with a barrier. What was applied and not flushed may be lost with the process, from the newest on.
pub trait Shelf: Send + Sync + std::fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Error::State`]; so in all of these.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    /// Writes together or not at all.
    ///
    /// # Errors
    /// [`Error::State`].
    fn apply(&self, writes: Vec<Write>) -> Result<(), Error>;
    /// Shows the pairs from a key on, in order, until told that it is enough.
    ///
    /// # Errors
    /// [`Error::State`].
    fn walk(&self, from: &[u8], see: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error>;
    /// The barrier: everything applied before survives a power cut.
    ///
    /// # Errors
    /// [`Error::State`]: nothing applied since the last success may be relied on.
    fn flush(&self) -> Result<(), Error>;
    /// It was begun anew because the one before was unusable.
    fn was_lost(&self) -> bool;
}

/// sled, with a descriptor of our own for its file.
pub(super) struct OnSled {
    pub(super) handle: Handle,
    pub(super) file: File,
    pub(super) was_lost: bool,
}

impl std::fmt::Debug for OnSled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnSled")
    }
}

impl OnSled {
    pub(super) fn new(dir: &Path, handle: Handle, was_lost: bool) -> Result<Self, Error> {
        let path = dir.join("db");
        // Read and write: some file systems sync only through a descriptor that may write.
        let file =
            File::options().read(true).write(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
        Ok(Self { handle, file, was_lost })
    }

    /// Best effort: where the disk is full already, what was reserved before is what there is.
    fn reserve_ahead(&self) {
        let Ok(about) = self.file.metadata() else { return };
        let (len, held) = (about.len(), about.blocks().saturating_mul(512));
        if held < len.saturating_add(AHEAD_BYTES)
            && let Err(error) =
                rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, len, 2 * AHEAD_BYTES)
        {
            tracing::debug!(%error, "no room is reserved for the state store");
        }
    }
}

impl Shelf for OnSled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let value = self.handle.db().and_then(|db| db.get(key)).map_err(|e| failed("read", &e))?;
        Ok(value.map(|v| v.to_vec()))
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.handle.db().and_then(|db| db.apply_batch(batch)).map_err(|e| failed("write", &e))
    }

    fn walk(&self, from: &[u8], see: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        let db = self.handle.db().map_err(|e| failed("read", &e))?;
        for pair in db.range(from..) {
            let (key, value) = pair.map_err(|e| failed("read", &e))?;
            if !see(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.reserve_ahead();
        self.handle.db().and_then(|db| db.flush()).map_err(|e| failed("flush", &e))?;
        self.file.sync_data().map_err(|e| failed("sync", &sled::Error::Io(e)))
    }

    fn was_lost(&self) -> bool {
        self.was_lost
    }
}

/// The pairs of a table whose keys begin with `full`, from `start` on, without the table's own byte.
pub(super) fn pairs(shelf: &dyn Shelf, full: &[u8], start: &[u8], limit: usize) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    shelf.walk(start, &mut |key, value| {
        if pairs.len() >= limit || !key.starts_with(full) {
            return false;
        }
        pairs.push((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()));
        true
    })?;
    Ok(pairs)
}
