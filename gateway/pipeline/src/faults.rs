//! Faults between peers and sources: kept, summed up where somebody repeats himself, and searched.
//!
//! **Promise.** A fault that a source reports can be found by feed, peer, kind and time, also after a restart, as
//! long as it is among the newest [`FAULTS_MAX`] entries. Nobody can push the others out by repeating a fault: of one
//! sender's faults of a kind [`ENTRIES_PER_PEER`] an hour have entries of their own, of all senders' together
//! [`ENTRIES_PER_KIND`]; what is beyond is summed up in one entry that counts.
//!
//! **Limits.** Those, and [`PEERS_MAX`] senders watched at once. What was reported in the last moment (the interval of
//! the flush, half a second) is lost with a kill. The counters begin with 0 at every start.
//!
//! **On the disk.** Table `Faults` of the state store: number (u64, big-endian) to CBOR. Lost with the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Fault, FaultKind, Mismatch, RecordId, Slug, Timestamp, codec};
use serde::{Deserialize, Serialize};
use spool::{State, Table, WriteBatch};

use crate::{Error, Handle};

/// Entries kept; the oldest go first.
pub const FAULTS_MAX: u64 = 10_000;
/// Entries of one sender and kind in an hour.
pub const ENTRIES_PER_PEER: u32 = 20;
/// Entries of one feed and kind in an hour.
pub const ENTRIES_PER_KIND: u32 = 500;
/// Senders whose repetitions are watched at once; what others do is summed up together.
const PEERS_MAX: usize = 4_096;
/// The hour.
const WINDOW_MICROS: i64 = 3_600_000_000;
/// Longest name of a peer that is kept, in characters.
const PEER_CHARS_MAX: usize = 128;
/// The peer of an entry that sums up several.
const SEVERAL: &str = "several";

/// An entry: one fault, or a sum of those that were alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    fault: Fault,
    count: u64,
    last_at: Timestamp,
}

/// A fault as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultEntry {
    /// When it happened; of a sum, the first.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// Of a sum, when the last one happened.
    #[serde(serialize_with = "as_text")]
    pub last_at: Timestamp,
    /// How many it stands for.
    pub count: u64,
    /// The feed.
    pub feed: Slug,
    /// The sender; without its port in a sum, `several` in a sum over senders.
    pub peer: String,
    /// What.
    pub kind: FaultKind,
    /// The same, for a person.
    pub text: &'static str,
    /// How many bytes it is about, in sum.
    pub bytes: u64,
    /// The record that holds the evidence; of a sum, of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordId>,
    /// The numbers that do not agree; of a sum, of the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl From<Entry> for FaultEntry {
    fn from(Entry { fault, count, last_at }: Entry) -> Self {
        let Fault { feed, peer, at, kind, bytes, record, mismatch } = fault;
        Self { at, last_at, count, feed, peer, kind, text: kind.text(), bytes, record, mismatch }
    }
}

/// What to look for; everything by default.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultQuery {
    /// Of this feed.
    pub feed: Option<Slug>,
    /// Of this sender, with or without its port.
    pub peer: Option<String>,
    /// Of this kind.
    pub kind: Option<FaultKind>,
    /// The last of it at this time or later, in microseconds since 1970.
    pub since: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl FaultQuery {
    fn takes(&self, entry: &Entry) -> bool {
        let fault = &entry.fault;
        self.feed.as_ref().is_none_or(|feed| *feed == fault.feed)
            && self.kind.is_none_or(|kind| kind == fault.kind)
            && self.since.is_none_or(|since| entry.last_at >= since)
            && self.peer.as_ref().is_none_or(|peer| *peer == fault.peer || peer == fault.host())
    }
}

/// What somebody did in this hour.
#[derive(Debug)]
struct Window {
    began: Timestamp,
    entries: u32,
    sum: Option<(u64, Entry)>,
}

impl Window {
    const fn new(began: Timestamp) -> Self {
        Self { began, entries: 0, sum: None }
    }

    /// A clock that was set back begins a new hour too.
    fn is_over(&self, now: Timestamp) -> bool {
        !(0..WINDOW_MICROS).contains(&now.micros_since(self.began))
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// Number of the next entry.
    next: u64,
    peers: HashMap<(Slug, FaultKind, String), Window>,
    kinds: HashMap<(Slug, FaultKind), Window>,
    totals: BTreeMap<(Slug, FaultKind), u64>,
    /// Not yet in the state store.
    pending: BTreeMap<u64, Entry>,
}

/// The faults. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Ledger>>);

impl Faults {
    pub(crate) fn load(state: &State) -> Result<Self, Error> {
        let last = stored(state)?.last_key_value().map_or(0, |(number, _)| *number);
        Ok(Self(Arc::new(Mutex::new(Ledger { next: last.saturating_add(1), ..Ledger::default() }))))
    }

    pub(crate) fn report(&self, mut fault: Fault) {
        if let Some((at, _)) = fault.peer.char_indices().nth(PEER_CHARS_MAX) {
            fault.peer.truncate(at);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).enter(fault);
    }

    /// How many there were since the start.
    pub(crate) fn totals(&self) -> Vec<(Slug, FaultKind, u64)> {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.totals.iter().map(|((feed, kind), count)| (feed.clone(), *kind, *count)).collect()
    }

    /// The newest first.
    pub(crate) fn search(&self, state: &State, query: &FaultQuery) -> Result<Vec<FaultEntry>, Error> {
        let mut entries = stored(state)?;
        let pending = self.0.lock().unwrap_or_else(PoisonError::into_inner).pending.clone();
        entries.extend(pending);
        let limit = query.limit.unwrap_or(usize::MAX);
        Ok(entries.into_values().rev().filter(|e| query.takes(e)).take(limit).map(FaultEntry::from).collect())
    }

    /// Makes what is new durable.
    pub(crate) async fn flush(&self, state: &State) -> Result<(), Error> {
        let (pending, next) = {
            let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut ledger.pending), ledger.next)
        };
        if pending.is_empty() {
            return Ok(());
        }
        let written = write(state, &pending, next);
        if written.is_err() {
            // For the next time; what has changed meanwhile is newer.
            let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (number, entry) in pending {
                ledger.pending.entry(number).or_insert(entry);
            }
            while ledger.pending.len() as u64 > FAULTS_MAX {
                ledger.pending.pop_first();
            }
        }
        written?;
        Ok(state.sync().await?)
    }
}

fn stored(state: &State) -> Result<BTreeMap<u64, Entry>, Error> {
    let limit = usize::try_from(Table::Faults.keys_max()).unwrap_or(usize::MAX);
    let pairs = state.scan_prefix(Table::Faults, b"", None, limit)?;
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        Some((u64::from_be_bytes(key.try_into().ok()?), codec::decode(&value).ok()?))
    };
    Ok(pairs.into_iter().filter_map(entry).collect())
}

fn write(state: &State, pending: &BTreeMap<u64, Entry>, next: u64) -> Result<(), Error> {
    let oldest = next.saturating_sub(FAULTS_MAX);
    let mut batch = WriteBatch::default();
    for (number, entry) in pending {
        // Numbers are given without gaps, so each new one pushes out the one that is now too old.
        if let Some(gone) = number.checked_sub(FAULTS_MAX) {
            batch.delete(Table::Faults, &gone.to_be_bytes());
        }
        if *number >= oldest {
            batch.put(Table::Faults, &number.to_be_bytes(), &codec::encode(entry)?);
        } else {
            batch.delete(Table::Faults, &number.to_be_bytes());
        }
    }
    Ok(state.write(batch)?)
}

impl Ledger {
    fn enter(&mut self, fault: Fault) {
        let (feed, kind, now) = (fault.feed.clone(), fault.kind, fault.at);
        *self.totals.entry((feed.clone(), kind)).or_default() += 1;
        let of_kind = self.kinds.entry((feed.clone(), kind)).or_insert_with(|| Window::new(now));
        if of_kind.is_over(now) {
            *of_kind = Window::new(now);
        }
        let key = (feed, kind, fault.host().to_owned());
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&key) {
            self.peers.retain(|_, window| !window.is_over(now));
        }
        let is_watched = self.peers.len() < PEERS_MAX || self.peers.contains_key(&key);
        let of_peer =
            is_watched.then(|| self.peers.entry(key).or_insert_with(|| Window::new(now))).map(|window| {
                if window.is_over(now) {
                    *window = Window::new(now);
                }
                window
            });
        let (window, peer) = match of_peer {
            Some(window) if window.entries < ENTRIES_PER_PEER && of_kind.entries < ENTRIES_PER_KIND => {
                window.entries += 1;
                of_kind.entries += 1;
                let last_at = fault.at;
                self.pending.insert(self.next, Entry { fault, count: 1, last_at });
                self.next += 1;
                return;
            }
            Some(window) if window.entries >= ENTRIES_PER_PEER => (window, fault.host().to_owned()),
            _ => (of_kind, SEVERAL.to_owned()),
        };
        let (number, sum) = match &mut window.sum {
            Some((number, sum)) => {
                sum.count += 1;
                sum.last_at = fault.at;
                sum.fault.bytes = sum.fault.bytes.saturating_add(fault.bytes);
                sum.fault.record = fault.record.or(sum.fault.record);
                sum.fault.mismatch = fault.mismatch.or(sum.fault.mismatch);
                (*number, sum.clone())
            }
            none => {
                let last_at = fault.at;
                let sum = Entry { fault: Fault { peer, ..fault }, count: 1, last_at };
                let number = self.next;
                self.next += 1;
                *none = Some((number, sum.clone()));
                (number, sum)
            }
        };
        self.pending.insert(number, sum);
    }
}

impl Handle {
    /// The faults between peers and sources that match, the newest first.
    ///
    /// # Errors
    /// Storage errors.
    pub fn faults(&self, query: &FaultQuery) -> Result<Vec<FaultEntry>, Error> {
        self.faults.search(self.spool.state(), query)
    }

    /// How many faults there were since the start, by feed and kind.
    pub fn fault_totals(&self) -> Vec<(Slug, FaultKind, u64)> {
        self.faults.totals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(peer: &str, kind: FaultKind, second: i64) -> Fault {
        let at = Timestamp::from_micros(second * 1_000_000);
        Fault::new("adt".parse().unwrap(), peer, at, kind).bytes(10)
    }

    fn spool(dir: &std::path::Path) -> spool::Spool {
        crate::tests::support::open_spool(dir)
    }

    #[tokio::test]
    async fn faults_are_found_by_feed_peer_kind_and_time_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let spool_1 = spool(dir.path());
        let faults = Faults::load(spool_1.state()).unwrap();
        let record: RecordId = "clinical-1-7".parse().unwrap();
        faults.report(fault("10.0.0.1:1000", FaultKind::CutOff, 1));
        faults.report(fault("10.0.0.10:1000", FaultKind::BrokenOff, 2).record(record));
        faults.flush(spool_1.state()).await.unwrap();
        faults.report(fault("10.0.0.1:1001", FaultKind::SequenceGap, 3).mismatch(5, 7));
        let kinds = |found: Vec<FaultEntry>| found.iter().map(|f| f.kind).collect::<Vec<_>>();
        let search =
            |faults: &Faults, state: &State, query: FaultQuery| faults.search(state, &query).unwrap();
        let all = search(&faults, spool_1.state(), FaultQuery::default());
        assert_eq!(kinds(all), [FaultKind::SequenceGap, FaultKind::BrokenOff, FaultKind::CutOff]);
        faults.flush(spool_1.state()).await.unwrap();
        spool_1.stop().await.unwrap();

        let spool_2 = spool(dir.path());
        let faults = Faults::load(spool_2.state()).unwrap();
        let state = spool_2.state();
        let peer = |peer: &str| FaultQuery { peer: Some(peer.to_owned()), ..FaultQuery::default() };
        assert_eq!(
            kinds(search(&faults, state, peer("10.0.0.1"))),
            [FaultKind::SequenceGap, FaultKind::CutOff]
        );
        assert_eq!(kinds(search(&faults, state, peer("10.0.0.1:1000"))), [FaultKind::CutOff]);
        let kind = FaultQuery { kind: Some(FaultKind::BrokenOff), ..FaultQuery::default() };
        let found = search(&faults, state, kind);
        assert_eq!((found[0].record, found[0].bytes, found[0].count), (Some(record), 10, 1));
        let since = FaultQuery { since: Some(Timestamp::from_micros(3_000_000)), ..FaultQuery::default() };
        assert_eq!(search(&faults, state, since)[0].mismatch, Some(Mismatch { expected: 5, found: 7 }));
        let nobody = FaultQuery { feed: Some("other".parse().unwrap()), ..FaultQuery::default() };
        assert!(search(&faults, state, nobody).is_empty());
        // New entries come behind the old ones.
        faults.report(fault("10.0.0.2:1", FaultKind::Junk, 4));
        faults.flush(state).await.unwrap();
        assert_eq!(search(&faults, state, FaultQuery { limit: Some(1), ..FaultQuery::default() }).len(), 1);
        assert_eq!(search(&faults, state, FaultQuery::default()).len(), 4);
    }

    #[tokio::test]
    async fn nobody_pushes_the_others_out_by_repeating_himself() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        let faults = Faults::load(spool.state()).unwrap();
        faults.report(fault("10.0.0.1:1", FaultKind::CutOff, 0));
        for n in 0..50_000 {
            faults.report(fault(&format!("10.0.0.66:{n}"), FaultKind::Junk, n / 50));
            if n % 10_000 == 0 {
                faults.flush(spool.state()).await.unwrap();
            }
        }
        faults.flush(spool.state()).await.unwrap();
        let found = faults.search(spool.state(), &FaultQuery::default()).unwrap();
        assert_eq!(found.len(), 1 + ENTRIES_PER_PEER as usize + 1);
        let sum = &found[0];
        assert_eq!((sum.peer.as_str(), sum.count), ("10.0.0.66", 50_000 - u64::from(ENTRIES_PER_PEER)));
        assert_eq!((sum.at.seconds(), sum.last_at.seconds()), (0, 999));
        assert_eq!(found.last().unwrap().kind, FaultKind::CutOff);
        assert_eq!(faults.totals().iter().map(|t| t.2).collect::<Vec<_>>(), [50_000, 1]);
        // Many senders at once are summed up together.
        for n in 0..20_000 {
            faults.report(fault(&format!("10.1.{}.{}:1", n / 256, n % 256), FaultKind::NoPlace, 1_000));
        }
        let found = faults.search(spool.state(), &FaultQuery::default()).unwrap();
        assert_eq!(found.len(), 1 + ENTRIES_PER_PEER as usize + 1 + ENTRIES_PER_KIND as usize + 1);
        assert!(faults.0.lock().unwrap().peers.len() <= PEERS_MAX);
        // An hour later there is room again.
        faults.report(fault("10.0.0.66:9", FaultKind::Junk, 9_000));
        let found = faults.search(spool.state(), &FaultQuery::default()).unwrap();
        assert_eq!((found[0].peer.as_str(), found[0].count), ("10.0.0.66:9", 1));
    }

    #[tokio::test]
    async fn the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        let faults = Faults::load(spool.state()).unwrap();
        for n in 0..i64::try_from(FAULTS_MAX).unwrap() + 500 {
            // Each in an hour of its own.
            faults.report(fault("10.0.0.1:1", FaultKind::CutOff, n * 3_601));
        }
        faults.flush(spool.state()).await.unwrap();
        assert_eq!(spool.state().len(Table::Faults), FAULTS_MAX);
        let found = faults.search(spool.state(), &FaultQuery::default()).unwrap();
        assert_eq!(found.len() as u64, FAULTS_MAX);
        assert_eq!(found.last().unwrap().at.seconds(), 500 * 3_601);
    }
}
