//! What can go wrong, by who must act.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Refusal, Seq, StreamEpoch};

use crate::Table;

/// Errors of the log, its keys and its state store. Cloneable, because one failed flush answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer should come again: the log's budget or the disk is used up. Nothing was stored.
    #[error("the {log} log is full")]
    Full {
        /// Which log.
        log: &'static str,
    },
    /// The peer should reconnect: the spool is stopping or has stopped. Nothing was stored.
    #[error("the spool is stopping")]
    Stopping,
    /// The peer must act: larger than the limit.
    #[error("a {what} of {bytes} bytes or more is larger than the limit of {bytes_max}")]
    TooLarge {
        /// `record`, `envelope`, `key` or `value`.
        what: &'static str,
        /// How large it was when it was refused.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The operator must act: writing or syncing failed. The record does not exist, or does no harm (see the
    /// crate's documentation on failed flushes).
    #[error("{what} failed in the {log} log")]
    Storage {
        /// Which log.
        log: &'static str,
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The operator must act: a file of the spool could not be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The operator must act: another process has this spool open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The spool.
        path: PathBuf,
    },
    /// The operator must act: the spool was written under another root key. Nothing was changed.
    #[error("{} was written under another root key", path.display())]
    WrongKey {
        /// The file that says so.
        path: PathBuf,
    },
    /// The operator must act: neither copy of the ring of keys can be read. Nothing was changed.
    #[error("{} holds no ring of keys that can be read: restore it from a backup", path.display())]
    RingLost {
        /// Where it should be.
        path: PathBuf,
    },
    /// The operator must act: what keeps the root key does not give it.
    #[error("{provider}: {problem}")]
    Provider {
        /// Its name.
        provider: &'static str,
        /// What is wrong and what to do. No secret.
        problem: Arc<str>,
    },
    /// The operator must act: the root key did not come from a file that can be written.
    #[error(
        "the root key was handed over and not read from a file that can be written, so that it cannot be rotated from here"
    )]
    NoKeyFile,
    /// The operator must act: there is no such key epoch.
    #[error("there is no key epoch {epoch}")]
    NoKeyEpoch {
        /// The one asked for.
        epoch: u64,
    },
    /// The operator must wait or decide: the epoch covers records that not every destination has, or that are held.
    #[error("key epoch {epoch} covers records of the {log} log that are {why}: {first} to {last}")]
    KeyEpochInUse {
        /// The epoch.
        epoch: u64,
        /// The log.
        log: &'static str,
        /// Why they are needed.
        why: &'static str,
        /// First number of those in the epoch.
        first: Seq,
        /// Last number of those in the epoch.
        last: Seq,
    },
    /// The operator must act: what was to be done must be audited first, and the audit log was not written.
    #[error("the audit log could not be written: nothing was done")]
    NotAudited,
    /// The key of this record was destroyed.
    #[error("record {seq} was erased")]
    Erased {
        /// Which.
        seq: Seq,
    },
    /// The operator must act: the spool belongs to a gateway of another name. Nothing was changed.
    #[error("{} belongs to another gateway: drain it under its old name first", path.display())]
    OtherGateway {
        /// The file that says so.
        path: PathBuf,
    },
    /// The operator must act: written by a newer version.
    #[error("{} has format version {version}; this program reads up to {}", path.display(), crate::format::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        version: u16,
    },
    /// The operator must act: the key file is missing, readable by others or no key file.
    #[error("key file {}: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The operator must act: a setting is out of range.
    #[error("{setting} needs {needs}")]
    Config {
        /// The setting.
        setting: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// The operator must act: this is no backup or not a whole one, or nothing can be restored there. Nothing was changed.
    #[error("{} {problem}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The operator must act: there is a spool where one was to be restored. Nothing was changed.
    #[error("there is a spool in {} already; say --replace to put it aside", path.display())]
    SpoolThere {
        /// The spool.
        path: PathBuf,
    },
    /// The payload of this record is damaged on the disk; quarantine the record.
    #[error("record {seq} is damaged")]
    Damaged {
        /// Which.
        seq: Seq,
    },
    /// The records asked for are not retained any more.
    #[error("records before {oldest} are not retained")]
    Freed {
        /// The oldest that is.
        oldest: Seq,
    },
    /// An epoch only grows.
    #[error("the log is in epoch {current}; {asked} is older")]
    EpochBackwards {
        /// The log's epoch.
        current: StreamEpoch,
        /// The epoch asked for.
        asked: StreamEpoch,
    },
    /// A table of the state store has its most keys; drop old ones first.
    #[error("table {table:?} of the state store is full")]
    StateFull {
        /// Which.
        table: Table,
    },
    /// The operator must act: the state store failed.
    #[error("the state store cannot {what}: {problem}")]
    State {
        /// What was being done.
        what: &'static str,
        /// What sled said; it speaks of files and offsets, never of values.
        problem: Arc<str>,
    },
    /// A defect of ours: something that cannot happen did.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Whether the disk (or a quota) has no room.
    pub(crate) fn is_no_space(error: &io::Error) -> bool {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        match error {
            Error::Full { .. } | Error::StateFull { .. } => Self::Full,
            Error::Stopping => Self::Stopping,
            Error::TooLarge { .. } => Self::TooLarge,
            _ => Self::Storage,
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}
