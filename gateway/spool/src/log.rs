//! x
use crate::*;
use model::{Seq, StreamEpoch, Timestamp};
use tokio::sync::watch;
const NOT_YET: Error = Error::Internal("not built yet");

/// How a log fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// Takes records.
    Ready,
    /// Budget or disk is used up; heals by itself.
    Full,
    /// The last write failed; each new record tries a fresh segment.
    Failing,
    /// Stopping or stopped.
    Stopped,
}

/// A log in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStat {
    /// Name.
    pub name: &'static str,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Budget.
    pub bytes_max: u64,
    /// Segment files.
    pub segments: u64,
    /// Oldest retained (durable + 1 when empty).
    pub first: Seq,
    /// Last durable, 0 when none.
    pub last: Seq,
    /// State.
    pub state: LogState,
    /// Damage met by readers since start.
    pub damaged: u64,
}

/// One log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    tx: watch::Sender<Seq>,
}

impl Log {
    /// Name.
    pub fn name(&self) -> &'static str {
        ""
    }
    /// Epoch.
    pub fn epoch(&self) -> StreamEpoch {
        StreamEpoch::FIRST
    }
    /// 32 hex digits.
    pub fn incarnation(&self) -> String {
        String::new()
    }
    /// Durable; only grows. Blocks for a few flushes.
    /// # Errors
    /// x
    pub fn adopt_epoch(&self, _epoch: StreamEpoch) -> Result<(), Error> {
        Err(NOT_YET)
    }
    /// Begins a record that streams in.
    /// # Errors
    /// x
    pub async fn begin(&self) -> Result<Appender, Error> {
        Err(NOT_YET)
    }
    /// Appends a record.
    /// # Errors
    /// x
    pub async fn append(&self, _meta: Vec<u8>, _payload: &[u8]) -> Result<Seq, Error> {
        Err(NOT_YET)
    }
    /// The same for a thread that may block.
    /// # Errors
    /// x
    pub fn append_blocking(&self, _meta: Vec<u8>, _payload: &[u8]) -> Result<Seq, Error> {
        Err(NOT_YET)
    }
    /// Last durable seq.
    pub fn durable(&self) -> watch::Receiver<Seq> {
        self.tx.subscribe()
    }
    /// Oldest retained.
    pub fn oldest(&self) -> Seq {
        1
    }
    /// Reads from `from`.
    pub fn reader(&self, _from: Seq) -> Reader {
        Reader {}
    }
    /// Random access.
    /// # Errors
    /// x
    pub async fn get(&self, _seq: Seq) -> Result<Option<Entry>, Error> {
        Err(NOT_YET)
    }
    /// Every reader is past `seq`.
    pub fn free_through(&self, _seq: Seq, _now: Timestamp) {}
    /// In figures.
    pub fn stat(&self) -> LogStat {
        LogStat {
            name: "",
            bytes: 0,
            bytes_max: 0,
            segments: 0,
            first: 1,
            last: 0,
            state: LogState::Ready,
            damaged: 0,
        }
    }
}

/// A record streaming in.
#[derive(Debug)]
pub struct Appender {}
impl Appender {
    /// Adds bytes.
    /// # Errors
    /// x
    pub async fn push(&mut self, _chunk: &[u8]) -> Result<(), Error> {
        Err(NOT_YET)
    }
    /// Commits.
    /// # Errors
    /// x
    pub async fn commit(self, _meta: Vec<u8>) -> Result<Seq, Error> {
        Err(NOT_YET)
    }
}
