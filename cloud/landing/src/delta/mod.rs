//! Delta Lake tables, as far as an appender needs them.
//!
//! **Promise.** A commit is made only on top of the state that was seen: version `n + 1` is created, never
//! replaced, after every version up to `n` was read. Whoever loses that race reads what won and decides again.
//! That, and not conflict detection after the fact, is what makes rows arrive once.
//!
//! **Division of labour.** `deltalake-core` makes tables, reads snapshots and writes checkpoints; the commits
//! themselves are written here, because they carry `txn` actions and a manifest that depend on the version they
//! get. Nothing here knows what the rows mean.

pub(crate) mod durable;
mod log;
mod parquet;
mod replay;
mod schema;
mod table;

pub(crate) use log::{Add, Commit, Draft};
pub(crate) use parquet::{Part, read_rows};
pub(crate) use schema::{Column, Kind, Partition, Schema};
pub(crate) use table::{Committed, Error, Snapshot, Table};
