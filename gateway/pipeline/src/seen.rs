//! Recognising a resend: the identities of the latest records, and where each record stands.
//!
//! **Promise.** An identical resend makes no second record, also when both are in flight at once and also
//! across a kill: the state store keeps the index, and what it had not yet written is read back from the
//! envelopes in the log.
//!
//! **Limits.** [`SEEN_MAX`] identities; the oldest are forgotten first. An identity is 16 bytes of an HMAC keyed
//! on the box, so the store says nothing about a patient.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Envelope, Lane, RecordId, Seq, codec};
use spool::{Entry, Spool, State, Table, WriteBatch};
use tokio::sync::Notify;

use crate::Error;

/// Identities remembered, over all lanes. More would cost the box more memory than a
/// resend after so many other messages is worth; sled's share grows out of proportion beyond 100,000.
pub const SEEN_MAX: usize = 50_000;
/// Identities written to the state store at a time.
const FLUSH_BATCH: usize = 512;

/// A keyed identity as it is stored.
pub(crate) type Key = [u8; 16];

#[derive(Debug, Clone)]
enum Slot {
    /// Somebody is writing it; the bell rings when that is decided.
    InFlight(Arc<Notify>),
    /// It is durable.
    At(RecordId),
}

#[derive(Debug, Default)]
struct Index {
    slots: HashMap<Key, Slot>,
    /// Oldest first; only what is durable.
    order: VecDeque<Key>,
    /// Not yet in the state store.
    dirty: Vec<(Key, RecordId)>,
    forgotten: Vec<Key>,
}

/// The index; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    index: Arc<Mutex<Index>>,
}

/// What the index says of an identity.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is new and now claimed by the caller.
    New(Claim),
    /// It is this record.
    Known(RecordId),
}

/// The right to write the record of an identity. Dropping it unsettled lets the next sender try.
#[derive(Debug)]
pub(crate) struct Claim {
    seen: Seen,
    key: Key,
    settled: bool,
}

impl Seen {
    /// Reads the index back: the state store's part, then the tail of each lane that it had not covered.
    pub(crate) async fn load(spool: &Spool) -> Result<Self, Error> {
        let seen = Self::default();
        let mut stored: Vec<(Key, RecordId)> = Vec::new();
        for (key, value) in
            spool.state().scan_prefix(Table::Seen, b"", None, SEEN_MAX.saturating_add(FLUSH_BATCH))?
        {
            if let (Ok(key), Ok(id)) = (Key::try_from(key.as_slice()), codec::decode::<RecordId>(&value)) {
                stored.push((key, id));
            }
        }
        stored.sort_by_key(|(_, id)| (id.lane, id.epoch, id.seq));
        let mut covered: HashMap<Lane, Seq> = HashMap::new();
        for (key, id) in stored {
            covered.insert(id.lane, id.seq);
            seen.remember(key, id, false);
        }
        for lane in Lane::ALL {
            let log = spool.lane(lane);
            let durable = *log.durable().borrow();
            let tail = durable.saturating_sub(SEEN_MAX as u64).saturating_add(1);
            // Writes to the store are batched in order, so everything before the newest stored is stored. A new
            // incarnation counts from 1 again: then what the store says is beyond the log, and all is read.
            let after_stored =
                covered.get(&lane).filter(|c| **c <= durable).map_or(1, |c| c.saturating_add(1));
            let mut reader = log.reader(tail.max(after_stored).max(log.oldest()));
            while let Some(entry) = reader.next().await? {
                let Entry::Record(record) = entry else { continue };
                let Ok(envelope) = codec::decode::<Envelope>(&record.meta) else { continue };
                let Some(key) = envelope.identity.and_then(|i| Key::try_from(i.as_slice()).ok()) else {
                    continue;
                };
                seen.remember(key, RecordId { lane, epoch: log.epoch(), seq: record.seq }, true);
            }
        }
        Ok(seen)
    }

    /// Claims an identity, waiting while somebody else is writing its record.
    pub(crate) async fn claim(&self, key: Key) -> Verdict {
        loop {
            let bell = {
                let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
                match index.slots.get(&key) {
                    Some(Slot::At(id)) => return Verdict::Known(*id),
                    Some(Slot::InFlight(bell)) => Arc::clone(bell),
                    None => {
                        index.slots.insert(key, Slot::InFlight(Arc::new(Notify::new())));
                        return Verdict::New(Claim { seen: self.clone(), key, settled: false });
                    }
                }
            };
            let rung = bell.notified();
            tokio::pin!(rung);
            // Register before looking again, so that a bell rung in between is heard.
            rung.as_mut().enable();
            let still = {
                let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
                matches!(index.slots.get(&key), Some(Slot::InFlight(b)) if Arc::ptr_eq(b, &bell))
            };
            if still {
                rung.await;
            }
        }
    }

    fn remember(&self, key: Key, id: RecordId, dirty: bool) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let before = index.slots.insert(key, Slot::At(id));
        if !matches!(before, Some(Slot::At(_))) {
            index.order.push_back(key);
        }
        if dirty {
            index.dirty.push((key, id));
        }
        while index.order.len() > SEEN_MAX {
            if let Some(oldest) = index.order.pop_front() {
                index.slots.remove(&oldest);
                index.forgotten.push(oldest);
            }
        }
        if let Some(Slot::InFlight(bell)) = before {
            bell.notify_waiters();
        }
    }

    /// Writes what is new to the state store, in order, without waiting for the disk: what a crash loses here is
    /// read back from the log.
    pub(crate) fn flush(&self, state: &State) -> Result<(), Error> {
        loop {
            let (dirty, forgotten) = {
                let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
                let take = index.dirty.len().min(FLUSH_BATCH);
                let dirty: Vec<_> = index.dirty.drain(..take).collect();
                (dirty, std::mem::take(&mut index.forgotten))
            };
            if dirty.is_empty() && forgotten.is_empty() {
                return Ok(());
            }
            let mut write = WriteBatch::default();
            for (key, id) in dirty {
                write.put(Table::Seen, &key, &codec::encode(&id)?);
            }
            for key in forgotten {
                write.delete(Table::Seen, &key);
            }
            state.write(write)?;
        }
    }
}

impl Claim {
    /// The record is durable.
    pub(crate) fn settle(mut self, id: RecordId) {
        self.settled = true;
        self.seen.remember(self.key, id, true);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let mut index = self.seen.index.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Slot::InFlight(bell)) = index.slots.remove(&self.key) {
                bell.notify_waiters();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: Seq) -> RecordId {
        format!("clinical-1-{seq}").parse().unwrap()
    }

    #[tokio::test]
    async fn two_at_once_make_one_record() {
        let seen = Seen::default();
        let Verdict::New(first) = seen.claim([1; 16]).await else { panic!("new") };
        let second = tokio::join!(seen.claim([1; 16]), async {
            tokio::task::yield_now().await;
            first.settle(id(7));
        })
        .0;
        assert!(matches!(second, Verdict::Known(known) if known == id(7)));
    }

    #[tokio::test]
    async fn a_failed_write_lets_the_next_sender_try() {
        let seen = Seen::default();
        let first = seen.claim([1; 16]).await;
        let second = tokio::join!(seen.claim([1; 16]), async {
            tokio::task::yield_now().await;
            drop(first);
        })
        .0;
        assert!(matches!(second, Verdict::New(_)));
    }

    #[tokio::test]
    async fn memory_is_bounded_and_the_oldest_go_first() {
        let seen = Seen::default();
        for n in 0..(SEEN_MAX as u64 + 10) {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&n.to_be_bytes());
            seen.remember(key, id(n + 1), false);
        }
        assert_eq!(seen.index.lock().unwrap().slots.len(), SEEN_MAX);
        assert!(matches!(seen.claim([0; 16]).await, Verdict::New(_)));
        let mut newest = [0; 16];
        newest[..8].copy_from_slice(&(SEEN_MAX as u64 + 9).to_be_bytes());
        assert!(matches!(seen.claim(newest).await, Verdict::Known(_)));
    }
}
