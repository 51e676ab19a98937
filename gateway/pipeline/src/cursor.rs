//! How far each destination is, and what became of each range: kept in the state store.

use model::{Lane, PolicyRef, Reason, Seq, Skip, Slug, StreamEpoch, Timestamp, codec};
use serde::{Deserialize, Serialize};
use spool::{State, Table, WriteBatch};

use crate::Error;

/// Settled batches remembered per destination and lane, for `trace`. Beyond that the landing's ledger knows.
pub const SETTLED_MAX: u64 = 20_000;

/// Everything of this incarnation up to and including `seq` is settled for the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub(crate) incarnation: String,
    pub(crate) seq: Seq,
    /// How many batches were settled: the key of the next [`Settled`].
    pub(crate) batches: u64,
    /// Where the log ended at the first start since it last met the destination: nothing after it can have been
    /// sent. `None` from the meeting on.
    #[serde(default)]
    pub(crate) unmet: Option<Seq>,
    /// The landing has forgotten the stream of this epoch: what is kept goes to it under a later one.
    #[serde(default)]
    pub(crate) lost: Option<StreamEpoch>,
}

/// What became of one range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The epoch it was sent under.
    pub epoch: StreamEpoch,
    /// First number.
    pub first: Seq,
    /// Last number.
    pub last: Seq,
    /// The committed manifest.
    pub manifest_sha256: String,
    /// The policy that shaped it; `None` when the answer was lost with the process that sent it.
    pub policy: Option<PolicyRef>,
    /// What was skipped and why; empty as well when `policy` is `None`.
    pub skipped: Vec<Skip>,
    /// Version of the landing's `raw` table; `None` when learnt from a watermark.
    pub table_version: Option<u64>,
    /// When the landing committed it; `None` when learnt from a watermark.
    pub committed_at: Option<Timestamp>,
}

impl Settled {
    /// Why `seq` was skipped, if it was.
    pub fn reason(&self, seq: Seq) -> Option<Reason> {
        self.skipped.iter().find(|s| (s.first..=s.last).contains(&seq)).map(|s| s.reason)
    }
}

/// The state of one destination in one lane.
#[derive(Debug, Clone)]
pub(crate) struct Cursors {
    state: State,
    prefix: String,
}

impl Cursors {
    pub(crate) fn new(state: State, destination: &Slug, lane: Lane) -> Self {
        Self { state, prefix: format!("{destination}/{lane}") }
    }

    pub(crate) fn load(&self) -> Result<Option<Cursor>, Error> {
        let Some(bytes) = self.state.get(Table::Cursors, self.prefix.as_bytes())? else { return Ok(None) };
        Ok(Some(codec::decode(&bytes)?))
    }

    /// Where a destination begins. Durable on return.
    pub(crate) async fn begin(&self, cursor: &Cursor) -> Result<(), Error> {
        let mut write = WriteBatch::default();
        write.put(Table::Cursors, self.prefix.as_bytes(), &codec::encode(cursor)?);
        self.state.write(write)?;
        self.state.sync().await?;
        Ok(())
    }

    /// Notes what is about to be sent. Durable on return: should the answer be lost, and this process with it, the
    /// note tells what the landing's watermark means, and under which policy the range went.
    pub(crate) async fn intend(&self, attempt: &Settled) -> Result<(), Error> {
        let mut write = WriteBatch::default();
        write.put(Table::Deliveries, self.attempt_key().as_bytes(), &codec::encode(attempt)?);
        self.state.write(write)?;
        self.state.sync().await?;
        Ok(())
    }

    pub(crate) fn intended(&self) -> Result<Option<Settled>, Error> {
        let Some(bytes) = self.state.get(Table::Deliveries, self.attempt_key().as_bytes())? else {
            return Ok(None);
        };
        Ok(Some(codec::decode(&bytes)?))
    }

    /// Moves the cursor over a settled range. Durable on return: only then may the log let the range go. Where that
    /// fails it stays where it was.
    pub(crate) async fn settle(&self, cursor: &mut Cursor, settled: &Settled) -> Result<(), Error> {
        let moved = Cursor { seq: settled.last, batches: cursor.batches.saturating_add(1), ..cursor.clone() };
        let mut write = WriteBatch::default();
        write.put(Table::Deliveries, self.settled_key(moved.batches).as_bytes(), &codec::encode(settled)?);
        if let Some(old) = moved.batches.checked_sub(SETTLED_MAX) {
            write.delete(Table::Deliveries, self.settled_key(old).as_bytes());
        }
        write.delete(Table::Deliveries, self.attempt_key().as_bytes());
        write.put(Table::Cursors, self.prefix.as_bytes(), &codec::encode(&moved)?);
        self.state.write(write)?;
        self.state.sync().await?;
        *cursor = moved;
        Ok(())
    }

    /// Whether what is settled next will be durable: a store whose barrier failed stays failed.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        Ok(self.state.sync().await?)
    }

    /// The newest settled range.
    pub(crate) fn last(&self, cursor: &Cursor) -> Result<Option<Settled>, Error> {
        let newest = self.state.get(Table::Deliveries, self.settled_key(cursor.batches).as_bytes())?;
        Ok(newest.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// The settled range that covers `seq`, newest first (a range may have been sent again).
    pub(crate) fn find(&self, cursor: &Cursor, seq: Seq) -> Result<Option<Settled>, Error> {
        for n in (cursor.batches.saturating_sub(SETTLED_MAX)..=cursor.batches).rev() {
            let Some(bytes) = self.state.get(Table::Deliveries, self.settled_key(n).as_bytes())? else {
                if n == 0 { break } else { continue }
            };
            let settled: Settled = codec::decode(&bytes)?;
            if (settled.first..=settled.last).contains(&seq) {
                return Ok(Some(settled));
            }
        }
        Ok(None)
    }

    /// Forgets the destination in this lane.
    pub(crate) async fn remove(&self) -> Result<(), Error> {
        let mut write = WriteBatch::default();
        write.delete(Table::Cursors, self.prefix.as_bytes());
        // Keys only grow to SETTLED_MAX and the attempt.
        let prefix = format!("{}/", self.prefix);
        let limit = usize::try_from(SETTLED_MAX).unwrap_or(usize::MAX).saturating_add(1);
        for (key, _) in self.state.scan_prefix(Table::Deliveries, prefix.as_bytes(), None, limit)? {
            write.delete(Table::Deliveries, &key);
        }
        self.state.write(write)?;
        self.state.sync().await?;
        Ok(())
    }

    fn attempt_key(&self) -> String {
        format!("{}/attempt", self.prefix)
    }

    fn settled_key(&self, n: u64) -> String {
        format!("{}/settled/{n:020}", self.prefix)
    }
}
