//! x
use crate::*;
/// Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Cursors.
    Cursors,
    /// Deliveries.
    Deliveries,
    /// Seen.
    Seen,
    /// Registry.
    Registry,
    /// Meta.
    Meta,
}
/// Several writes that happen together or not at all.
#[derive(Debug, Default)]
pub struct WriteBatch {}
impl WriteBatch {
    /// Sets.
    pub fn put(&mut self, _table: Table, _key: &[u8], _value: &[u8]) -> &mut Self {
        self
    }
    /// Removes.
    pub fn delete(&mut self, _table: Table, _key: &[u8]) -> &mut Self {
        self
    }
}
/// State. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {}
/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);
impl State {
    /// Reads.
    /// # Errors
    /// x
    pub fn get(&self, _table: Table, _key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Err(Error::Internal("not yet"))
    }
    /// Sets.
    /// # Errors
    /// x
    pub fn put(&self, _table: Table, _key: &[u8], _value: &[u8]) -> Result<(), Error> {
        Err(Error::Internal("not yet"))
    }
    /// Removes.
    /// # Errors
    /// x
    pub fn delete(&self, _table: Table, _key: &[u8]) -> Result<(), Error> {
        Err(Error::Internal("not yet"))
    }
    /// Together or not at all.
    /// # Errors
    /// x
    pub fn write(&self, _batch: WriteBatch) -> Result<(), Error> {
        Err(Error::Internal("not yet"))
    }
    /// At most `limit` pairs whose keys begin with `prefix`, after `after`, in order.
    /// # Errors
    /// x
    pub fn scan_prefix(
        &self,
        _table: Table,
        _prefix: &[u8],
        _after: Option<&[u8]>,
        _limit: usize,
    ) -> Result<Vec<Pair>, Error> {
        Err(Error::Internal("not yet"))
    }
    /// How many keys a table has.
    pub fn len(&self, _table: Table) -> u64 {
        0
    }
    /// The barrier: everything written before is on the disk.
    /// # Errors
    /// x
    pub async fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
    /// The store did not open and was begun anew.
    pub fn was_lost(&self) -> bool {
        false
    }
}
