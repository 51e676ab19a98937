//! x
use crate::*;
use bytes::Bytes;
use model::{Seq, Timestamp};

/// What stands in a log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// Numbers whose records cannot be read, first to last, inclusive.
    Damaged {
        /// First.
        first: Seq,
        /// Last.
        last: Seq,
    },
}
/// A record.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its number.
    pub seq: Seq,
    /// When it was committed.
    pub at: Timestamp,
    /// What its writer put beside the payload.
    pub meta: Bytes,
    /// The payload.
    pub payload: Payload,
}
/// The payload; large ones stay on the disk until asked for.
#[derive(Debug, Clone)]
pub struct Payload {}
impl Payload {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        0
    }
    /// No bytes.
    pub fn is_empty(&self) -> bool {
        true
    }
    /// All bytes at once.
    /// # Errors
    /// [`Error::Damaged`]
    pub async fn bytes(&self) -> Result<Bytes, Error> {
        Err(Error::Internal("not yet"))
    }
    /// How many chunks.
    pub fn chunks(&self) -> usize {
        0
    }
    /// One chunk.
    /// # Errors
    /// [`Error::Damaged`]
    pub async fn chunk(&self, _index: usize) -> Result<Bytes, Error> {
        Err(Error::Internal("not yet"))
    }
}
/// Reads.
#[derive(Debug)]
pub struct Reader {}
impl Reader {
    /// The next; `None` at the durable tail.
    /// # Errors
    /// x
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        Err(Error::Internal("not yet"))
    }
    /// Number of the next entry.
    pub fn position(&self) -> Seq {
        1
    }
}
