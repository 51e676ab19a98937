//! The search index: an encrypted sidecar beside each sealed segment of a lane.
//!
//! **Promise.** [`Log::search`] shows every record that is kept and has all the keys asked for, the newest first, or names
//! the numbers that it did not look at. It shows no other: what the index says is only where to look, and each record is
//! read and asked again ([`Keyed`]) before it is shown. A sidecar that is missing, torn, rotten, foreign or tampered with
//! is as good as none: it is removed, its segment is read instead, and [`Log::index`] makes another. Nothing that takes
//! records in waits for any of this.
//!
//! **Limits.** [`KEYS_MAX`] keys of a record are listed; one with more is read whenever it may be meant. Making a sidecar
//! holds [`ENTRIES_MAX`] entries of 16 bytes, whatever the segment holds. A search holds one directory, one page and
//! one segment's list of numbers; it reads at most [`SCANNED_MAX`] segments that have no sidecar and [`READ_MAX`] records
//! beside them, and says what it left out. Sidecars count in their log's budget; where it has no room, there is no
//! sidecar.
//!
//! **On the disk.** `<segment>.idx` beside `<segment>.seg`, never changed once it has this name:
//!
//! ```text
//! pages      4096 each: groups sealed 4076, tag 16, CRC32C 4
//! directory  sealed: first and last number of the segment 8+8, first and last time 8+8, flags 1, damaged ranges (count
//!            2; first and last number less the segment's first 4+4), then the first term of each page 6; tag 16
//! footer     magic "WGidx\0\0\x01" 8, version 2, suite 2, key epoch 8, segment 8, MAC of its header 16, salt 32,
//!            pages 4, bytes of the directory 4, CRC32C of the directory 4, CRC32C of the footer 4
//! group      term 6, numbers 1..=10 (varint), then that many numbers less the segment's first (varint, the first as
//!            it is, each other less the one before); ends with the page or where the length before it says
//! ```
//! Groups stand in order of their terms, numbers in order; a group that does not fit goes on in the next page under the
//! same term. A page begins with the length of its groups, 2.
//!
//! A *term* is the first 48 bits of the HMAC-SHA-256 of a key. The keys of HMAC and AEAD (AES-256-GCM, or the log's suite)
//! are derived from the key of the segment's day and from the salt, so that each sidecar has its own: whoever
//! destroys the day's key destroys them, and no term can be compared with one of another sidecar. The nonce is the page's
//! number, u32::MAX of the directory; a salt is never used twice, so no nonce is either. docs/adr/0019.
//!
//! A sidecar is not synced: whatever a crash leaves of it is found by its sums. It goes before its segment does.

mod format;
mod read;
mod search;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inner::Inner;
use crate::reader::Record;
use crate::table::{Segment, segment_number};
use crate::{Error, Log};

pub use search::{READ_MAX, SCANNED_MAX, Searched, Wanted};
pub use write::{ENTRIES_MAX, KEYS_MAX};

/// Says under which keys a record is to be found: whoever knows what a payload means.
pub trait Keyed: Send + Sync + std::fmt::Debug {
    /// Calls `add` with each key, at least one byte each; the same record has the same keys whenever it is asked.
    /// `false`: there may be more of them than could be said.
    ///
    /// # Errors
    /// Those of [`Payload::pieces`](crate::Payload::pieces).
    fn keys(&self, record: &Record, add: &mut dyn FnMut(&[u8])) -> Result<bool, Error>;
}

/// A sidecar as the table of segments knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) bytes: u64,
    /// Its footer and directory were read in this life of the spool.
    pub(crate) is_checked: bool,
}

/// The search index of a log in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStat {
    /// Sidecars.
    pub sidecars: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sealed segments that have none yet.
    pub missing: u64,
}

impl Log {
    /// The newest sealed segment that needs a sidecar, or whose sidecar was not looked at in this life of the spool.
    pub fn unindexed(&self) -> Option<u64> {
        let table = self.0.table();
        let mut sealed = table.iter().rev().skip(1).filter(|s| is_readable(s));
        sealed.find(|s| table.sidecar(s.number).is_none_or(|known| !known.is_checked)).map(|s| s.number)
    }

    /// Makes the sidecar of a sealed segment, unless it has one that is whole. Blocks; reads the segment.
    ///
    /// # Errors
    /// [`Error::Full`]: the log's budget or the disk has no room for it; [`Error::Storage`]; [`Error::Io`].
    pub fn index(&self, segment: u64, keyed: &dyn Keyed) -> Result<(), Error> {
        write::index(&self.0, segment, keyed)
    }

    /// The same on a thread that may block.
    ///
    /// # Errors
    /// As [`Log::index`].
    pub async fn index_off_runtime(&self, segment: u64, keyed: Arc<dyn Keyed>) -> Result<(), Error> {
        let log = Arc::clone(&self.0);
        self.0.hands.off_runtime(move || write::index(&log, segment, &*keyed)).await
    }

    /// How the search index of this log stands.
    pub fn index_stat(&self) -> IndexStat {
        let table = self.0.table();
        let sealed = table.iter().rev().skip(1).filter(|s| is_readable(s));
        let (sidecars, bytes) = table.sidecars();
        IndexStat {
            sidecars,
            bytes,
            missing: sealed.filter(|s| table.sidecar(s.number).is_none()).count() as u64,
        }
    }
}

/// Whether a segment has something to be found.
fn is_readable(segment: &Segment) -> bool {
    !segment.is_unreadable && !segment.is_erased && segment.first_seq <= segment.last_seq
}

/// The file of a segment's sidecar.
pub(crate) fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}.idx"))
}

/// The segment of a sidecar's file name.
fn number(file_name: &str) -> Option<u64> {
    segment_number(&format!("{}.seg", file_name.strip_suffix(".idx")?))
}

impl Inner {
    /// Takes note of the sidecars that an earlier process left, and removes those of segments that are gone.
    pub(crate) fn find_sidecars(&self) {
        self.remove_quietly(&self.dir.join(write::TEMPORARY));
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        let mut found: Vec<_> = entries
            .flatten()
            .filter_map(|entry| {
                let segment = number(entry.file_name().to_str()?)?;
                Some((segment, entry.metadata().map_or(0, |about| about.len())))
            })
            .collect();
        found.sort_unstable();
        for (segment, bytes) in found {
            let known = Known { bytes, is_checked: false };
            if !self.table_mut().set_sidecar(segment, known) {
                self.remove_quietly(&path(&self.dir, segment));
            }
        }
    }

    /// Removes the sidecar of a segment: before its segment goes, or because it is not what it should be.
    pub(crate) fn drop_sidecar(&self, segment: u64) {
        let had = self.table_mut().take_sidecar(segment);
        if had.is_some() {
            self.remove_quietly(&path(&self.dir, segment));
        }
    }
}

/// A sidecar that is not what it should be.
fn spoiled(log: &Arc<Inner>, segment: u64, why: &'static str) {
    tracing::warn!(log = log.name, segment, why, "a sidecar of the search index is made anew");
    log.drop_sidecar(segment);
}
