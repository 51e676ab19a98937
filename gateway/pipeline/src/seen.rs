//! Recognising a resend: the identities of the latest records, and where each record stands. Beside it, what else is
//! known of senders from their latest records: which ids are taken, and the last sequence number of each link.
//!
//! **Promise.** An identical resend makes no second record, also when both are in flight at once and also
//! across a kill: the state store keeps the index, and what it had not yet written is read back from the
//! envelopes in the log.
//!
//! **Limits.** [`SEEN_MAX`] identities; the oldest are forgotten first, and with them the ids. An identity is 16 bytes
//! of an HMAC keyed on the box, and the id of its sender 8 of another, so the store says nothing about a patient.
//! [`LINKS_MAX`] links; a link that is forgotten begins with whatever number comes next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Envelope, Lane, RecordId, Seq, codec};
use spool::{Entry, Spool, State, Table, WriteBatch};
use tokio::sync::Notify;

use crate::Error;

/// Identities remembered, over all lanes. More would cost the box more memory than a
/// resend after so many other messages is worth; sled's share grows out of proportion beyond 100,000.
pub const SEEN_MAX: usize = 50_000;
/// Identities written to the state store at a time.
const FLUSH_BATCH: usize = 512;

/// Links whose last sequence number is remembered.
pub const LINKS_MAX: usize = 10_000;

/// A keyed identity as it is stored: 8 bytes of the sender's id (zeros where there is none), 16 of the identity.
pub(crate) type Key = [u8; 24];
/// The keyed name of a link.
pub(crate) type Link = [u8; 16];
/// The part of a [`Key`] that stands for the sender's id.
type Control = [u8; 8];
/// A link and the last number of it that is durable.
pub(crate) type Numbered = (Link, i64);

/// The sender's id of a key, where it has one.
fn control_of(key: &Key) -> Option<Control> {
    key.first_chunk::<8>().copied().filter(|control| *control != [0; 8])
}

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
    /// How many records in `slots` have an id of a sender.
    controls: HashMap<Control, u32>,
    links: HashMap<Link, i64>,
    /// Not yet in the state store.
    dirty: Vec<(Key, RecordId)>,
    forgotten: Vec<Key>,
    dirty_links: HashMap<Link, Option<i64>>,
}

impl Index {
    fn took(&mut self, key: &Key) {
        if let Some(control) = control_of(key) {
            *self.controls.entry(control).or_default() += 1;
        }
    }

    fn gave_back(&mut self, key: &Key) {
        let Some(control) = control_of(key) else { return };
        match self.controls.get_mut(&control) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.controls.remove(&control);
            }
        }
    }

    fn number(&mut self, (link, last): Numbered, dirty: bool) {
        if self.links.len() >= LINKS_MAX
            && !self.links.contains_key(&link)
            && let Some(other) = self.links.keys().next().copied()
        {
            self.links.remove(&other);
            self.dirty_links.insert(other, None);
        }
        self.links.insert(link, last);
        if dirty {
            self.dirty_links.insert(link, Some(last));
        }
    }
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
    /// Another record has the same sender's id.
    pub(crate) is_id_reused: bool,
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
            seen.remember(key, id, None, false);
        }
        for (link, last) in spool.state().scan_prefix(Table::Links, b"", None, LINKS_MAX)? {
            if let (Ok(link), Ok(last)) = (Link::try_from(link.as_slice()), codec::decode::<i64>(&last)) {
                seen.lock().number((link, last), false);
            }
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
                let numbered =
                    envelope.sequenced.and_then(|s| Some((Link::try_from(s.link.as_slice()).ok()?, s.last)));
                let Some(key) = envelope.identity.and_then(|i| Key::try_from(i.as_slice()).ok()) else {
                    continue;
                };
                let id = RecordId { lane, epoch: log.epoch(), seq: record.seq };
                seen.remember(key, id, numbered, true);
            }
        }
        Ok(seen)
    }

    /// Claims an identity, waiting while somebody else is writing its record.
    pub(crate) async fn claim(&self, key: Key) -> Verdict {
        loop {
            let bell = {
                let mut index = self.lock();
                match index.slots.get(&key) {
                    Some(Slot::At(id)) => return Verdict::Known(*id),
                    Some(Slot::InFlight(bell)) => Arc::clone(bell),
                    None => {
                        index.slots.insert(key, Slot::InFlight(Arc::new(Notify::new())));
                        let is_id_reused = control_of(&key).is_some_and(|c| index.controls.contains_key(&c));
                        index.took(&key);
                        return Verdict::New(Claim { seen: self.clone(), key, settled: false, is_id_reused });
                    }
                }
            };
            let rung = bell.notified();
            tokio::pin!(rung);
            // Register before looking again, so that a bell rung in between is heard.
            rung.as_mut().enable();
            let still = {
                let index = self.lock();
                matches!(index.slots.get(&key), Some(Slot::InFlight(b)) if Arc::ptr_eq(b, &bell))
            };
            if still {
                rung.await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last number of a link.
    pub(crate) fn last_number(&self, link: &Link) -> Option<i64> {
        self.lock().links.get(link).copied()
    }

    fn remember(&self, key: Key, id: RecordId, numbered: Option<Numbered>, dirty: bool) {
        let mut index = self.lock();
        if let Some(numbered) = numbered {
            index.number(numbered, dirty);
        }
        let before = index.slots.insert(key, Slot::At(id));
        if before.is_none() {
            index.took(&key);
        }
        if !matches!(before, Some(Slot::At(_))) {
            index.order.push_back(key);
        }
        if dirty {
            index.dirty.push((key, id));
        }
        while index.order.len() > SEEN_MAX {
            if let Some(oldest) = index.order.pop_front() {
                index.slots.remove(&oldest);
                index.gave_back(&oldest);
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
            let (dirty, forgotten, links) = {
                let mut index = self.lock();
                let take = index.dirty.len().min(FLUSH_BATCH);
                let dirty: Vec<_> = index.dirty.drain(..take).collect();
                // A number ahead of its record is set again when the record is read back.
                (dirty, std::mem::take(&mut index.forgotten), std::mem::take(&mut index.dirty_links))
            };
            if dirty.is_empty() && forgotten.is_empty() && links.is_empty() {
                return Ok(());
            }
            let mut write = WriteBatch::default();
            for (key, id) in dirty {
                write.put(Table::Seen, &key, &codec::encode(&id)?);
            }
            for key in forgotten {
                write.delete(Table::Seen, &key);
            }
            for (link, last) in links {
                match last {
                    Some(last) => write.put(Table::Links, &link, &codec::encode(&last)?),
                    None => write.delete(Table::Links, &link),
                };
            }
            state.write(write)?;
        }
    }
}

impl Claim {
    /// The record is durable.
    pub(crate) fn settle(mut self, id: RecordId, numbered: Option<Numbered>) {
        self.settled = true;
        self.seen.remember(self.key, id, numbered, true);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let mut index = self.seen.lock();
            if let Some(Slot::InFlight(bell)) = index.slots.remove(&self.key) {
                index.gave_back(&self.key);
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
        let Verdict::New(first) = seen.claim([1; 24]).await else { panic!("new") };
        let second = tokio::join!(seen.claim([1; 24]), async {
            tokio::task::yield_now().await;
            first.settle(id(7), None);
        })
        .0;
        assert!(matches!(second, Verdict::Known(known) if known == id(7)));
    }

    #[tokio::test]
    async fn a_failed_write_lets_the_next_sender_try() {
        let seen = Seen::default();
        let first = seen.claim([1; 24]).await;
        let second = tokio::join!(seen.claim([1; 24]), async {
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
            let mut key = [0; 24];
            key[16..].copy_from_slice(&n.to_be_bytes());
            seen.remember(key, id(n + 1), None, false);
        }
        assert_eq!(seen.index.lock().unwrap().slots.len(), SEEN_MAX);
        assert!(matches!(seen.claim([0; 24]).await, Verdict::New(_)));
        let mut newest = [0; 24];
        newest[16..].copy_from_slice(&(SEEN_MAX as u64 + 9).to_be_bytes());
        assert!(matches!(seen.claim(newest).await, Verdict::Known(_)));
    }

    /// A key of this sender's id with this body.
    fn key(control: u8, body: u8) -> Key {
        let mut key = [body; 24];
        key[..8].copy_from_slice(&[control; 8]);
        key
    }

    #[tokio::test]
    async fn an_id_is_reused_while_a_record_has_it_and_free_when_that_is_forgotten() {
        let seen = Seen::default();
        let reused = async |key| match seen.claim(key).await {
            Verdict::New(claim) => (claim.is_id_reused, claim),
            Verdict::Known(_) => panic!("known"),
        };
        let (is_reused, first) = reused(key(1, 1)).await;
        assert!(!is_reused);
        // Also while the first is still being written; a failed write frees the id.
        assert!(reused(key(1, 2)).await.0);
        drop(first);
        let (is_reused, first) = reused(key(1, 1)).await;
        assert!(!is_reused);
        first.settle(id(1), None);
        assert!(reused(key(1, 2)).await.0);
        assert!(!reused(key(2, 1)).await.0, "another id");
        assert!(matches!(seen.claim(key(1, 1)).await, Verdict::Known(_)), "a resend is no reuse");
        assert!(!reused(key(0, 1)).await.0);
        assert!(!reused(key(0, 2)).await.0, "no id at all");
        for n in 0..SEEN_MAX as u64 {
            let mut other = [0; 24];
            other[..8].copy_from_slice(&(n + 1_000).to_be_bytes());
            seen.remember(other, id(n + 2), None, false);
        }
        assert!(!reused(key(1, 2)).await.0, "forgotten");
        assert_eq!(seen.lock().controls.len(), SEEN_MAX);
    }

    #[tokio::test]
    async fn links_are_bounded_and_remembered() {
        let seen = Seen::default();
        for n in 0..LINKS_MAX as u64 + 5 {
            let mut link = [0; 16];
            link[..8].copy_from_slice(&n.to_be_bytes());
            let Verdict::New(claim) = seen.claim(key(0, 9)).await else { panic!("new") };
            drop(claim);
            seen.lock().number((link, 7), true);
            assert_eq!(seen.last_number(&link), Some(7));
        }
        assert_eq!(seen.lock().links.len(), LINKS_MAX);
    }
}
