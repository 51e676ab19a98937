//! What stands in the tables, from the tables alone. The landing need not run, and may.

pub mod check;
mod read;
pub mod stat;
pub mod verify;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use model::{Lane, Slug};
use serde::Serialize;

use crate::delta;

/// Tables could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are no tables.
    #[error("{}: there are no tables of a landing", .0.display())]
    Nothing(PathBuf),
    /// A table cannot be read.
    #[error("{}: {source}", root.display())]
    Table {
        /// The root.
        root: PathBuf,
        /// Why; our own words.
        source: TableError,
    },
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TableError(delta::Error);

/// What names a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Stream {
    /// The box.
    pub gateway: Slug,
    /// The destination.
    pub destination: Slug,
    /// The lane.
    pub lane: Lane,
    /// The incarnation of the lane's log.
    pub epoch: u64,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", self.gateway, self.destination, self.lane, self.epoch)
    }
}
