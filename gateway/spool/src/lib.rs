//! The encrypted store-and-forward logs, their keys, the state store and the audit log.
//!
//! **Promise.** A number that [`Log::append`] or [`Appender::commit`] returned stands for a record that is on the
//! disk, encrypted, and stays there until every reader is past it. Numbers have no holes: whatever happens to
//! the disk, a [`Reader`] accounts for each of them, as a record, as [`Entry::Damaged`] or as [`Entry::Erased`].
//!
//! **Limits.** Five logs: three lanes, `held`, `journal`. Records up to 64 GiB where the configuration admits them,
//! envelopes up to 64 KiB; payloads beyond 256 KiB go to the disk as chunks while they arrive. One log's queue holds
//! 4 MiB, a writer of a large record 600 KiB whatever its size, a reader 1 MiB, whatever the backlog. A
//! batch is at most 1,024 frames or 1 MiB. A log takes its budget of disk and no more, in segments of 1 to 64 MiB; on
//! a full disk the bulk lane stops first and the journal last.
//!
//! **Invariants.**
//! - One `pwrite` and one `fdatasync` come before any number is returned ([`mod@format`] has the bytes, the module
//!   `committer` the order).
//! - A segment found on the disk is never written to again, so no nonce is used twice under a key.
//! - After a failed write or flush its file is never written again. What the failed batch left is void as soon
//!   as the next segment begins; its numbers are used again for the same records.
//! - Only the last batch of a log can be torn, and only it is ever dropped; all else that cannot be read is
//!   reported.
//! - A segment is freed only when every reader is past its records and past every record that has a chunk in it; one
//!   that holds nothing but chunks of objects that were never finished, at once.
//!   First the floor is durable, then the file is unlinked, then the directory is synced. No step of the clock
//!   frees anything.
//! - A segment's data key is wrapped under the key of its day (module `epochs`), that under the root key in the ring (module
//!   [`keys`]). Destroying the key of a day makes its records unreadable for good; it is refused while a reader is not
//!   past them. What is derived for the rest of the gateway does not change when the root key does.
//! - A wrong key, another gateway's spool and a second process are found before anything is changed.
//! - Nothing here knows what a payload means: no HL7, no HTTP, no policy. sled is used in `state` alone.
//!
//! **Numbers after a mishap.** Where the end of a log is lost and nobody knows how far it went (its newest file is
//! missing, or neither copy of its header can be read), the log takes a new incarnation and the next epoch, so
//! that no number of the old one is given out twice. What is known to be missing is reported as damaged. A
//! restore from a backup looks sound from inside: call [`Log::renew_incarnation`] after one.
//!
//! **Reading order**: [`mod@format`], then `committer`, `index` and `recover` (what a crash leaves), `reader`,
//! `keeper` (spares, freeing), [`keys`], `epochs`, `erase`, `state`, `sidecar` (the search index), `verify`.

pub mod backup;
mod cipher;
mod committer;
pub mod config;
mod disk;
mod epochs;
mod erase;
mod error;
pub mod format;
mod identity;
mod index;
mod inner;
pub mod journal;
mod keeper;
pub mod keys;
mod locked;
mod log;
mod offline;
mod open;
mod outside;
pub mod pressure;
mod queue;
mod reader;
mod recover;
mod scan;
mod sidecar;
mod spool;
mod state;
mod table;
mod tail;
mod verify;

pub use config::{Config, SuiteChoice};
pub use disk::{Disk, RealDisk};
pub use erase::{EpochStatus, Erasure, KeyStatus, key_status};
pub use error::Error;
pub use journal::{
    AUDIT_META, Audit, AuditCheck, AuditFinding, AuditReader, AuditRecord, AuditStep, AuditTip, Need, Part,
    audit_signer, check_audit,
};
pub use keys::provider::{Protection, SecretSource};
pub use keys::{Entropy, Keys, RootKey, forbid_core_dumps, write_private};
pub use log::{Appender, Log, LogStat, LogState};
pub use offline::{keys_for_reading, open_for_reading};
pub use outside::{Hands, LOGS, Outside, Stepper};
pub use reader::{Entry, Flow, Payload, Reader, Record};
pub use sidecar::{ENTRIES_MAX, IndexStat, KEYS_MAX, Keyed, READ_MAX, SCANNED_MAX, Searched, Wanted};
pub use spool::{STATE_SHARE, Spool};
pub use state::{KEY_BYTES_MAX, Pair, Shelf, State, Table, VALUE_BYTES_MAX, Write, WriteBatch};
pub use tail::{Durable, Seen};
pub use verify::{FINDINGS_MAX, Fault, Finding, LogReport, Numbers, SpoolStat, VerifyReport, stat, verify};

#[cfg(test)]
mod tests;
