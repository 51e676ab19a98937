//! x
use crate::*;
use model::{AuditSink, Clock, Lane, Slug};
use std::path::Path;
use std::sync::Arc;
/// The spool.
#[derive(Debug)]
pub struct Spool {
    log: Log,
    state: State,
    keys: Keys,
}
impl Spool {
    /// Opens; exclusive; recovers. Blocks.
    /// # Errors
    /// x
    pub fn open(
        _dir: &Path,
        _config: &Config,
        _keys: Keys,
        _gateway: &Slug,
        _clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        Err(Error::Internal("not yet"))
    }
    /// A lane's log.
    pub fn lane(&self, _lane: Lane) -> &Log {
        &self.log
    }
    /// The held log.
    pub fn held(&self) -> &Log {
        &self.log
    }
    /// The journal.
    pub fn journal(&self) -> &Log {
        &self.log
    }
    /// State.
    pub fn state(&self) -> &State {
        &self.state
    }
    /// Keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
    /// Audit into the journal.
    /// # Panics
    /// not yet
    pub fn audit(&self) -> Arc<dyn AuditSink> {
        unreachable!()
    }
    /// Seals and joins.
    /// # Errors
    /// x
    pub async fn stop(self) -> Result<(), Error> {
        Ok(())
    }
}
