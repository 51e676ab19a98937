//! The encrypted logs, their keys and the state store.

pub mod config;
mod error;
pub mod format;
pub mod keys;
mod locked;
mod log;
mod reader;
mod spool;
mod state;
mod verify;

pub use config::{Config, SuiteChoice};
pub use error::Error;
pub use keys::{Keys, forbid_core_dumps};
pub use log::{Appender, Log, LogState, LogStat};
pub use reader::{Entry, Payload, Reader, Record};
pub use spool::Spool;
pub use state::{State, Table, WriteBatch};
pub use verify::{Finding, LogReport, SpoolStat, VerifyReport, stat, verify};
