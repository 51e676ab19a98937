//! The encrypted logs, their keys and the state store.

mod cipher;
mod committer;
pub mod config;
mod disk;
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
mod open;
mod queue;
mod reader;
mod recover;
mod scan;
mod spool;
mod state;
mod table;
mod verify;

pub use config::{Config, SuiteChoice};
pub use error::Error;
pub use journal::{AuditCheck, AuditEntry, check_audit};
pub use keys::{Keys, forbid_core_dumps};
pub use log::{Appender, Log, LogStat, LogState};
pub use reader::{Entry, Payload, Reader, Record};
pub use spool::Spool;
pub use state::{Pair, State, Table, WriteBatch};
pub use verify::{Fault, Finding, LogReport, SpoolStat, VerifyReport, stat, verify};

#[cfg(test)]
mod tests;
