//! Who may write what next. Pure: a function of the `txn` actions in the log of `raw`.
//!
//! | application id | version |
//! |---|---|
//! | `wg\|GATEWAY\|DESTINATION\|LANE\|EPOCH` | the stream's watermark: its last number committed |
//! | `wg-at\|GATEWAY\|DESTINATION\|LANE\|EPOCH` | the version of `raw` that committed it |
//! | `wg-epoch\|GATEWAY\|DESTINATION\|LANE` | the epoch granted last; older ones are fenced for ever |
//! | `wg-inc\|GATEWAY\|DESTINATION\|LANE\|INCARNATION` | the epoch that this incarnation was granted last |
//!
//! **Invariants.** A watermark moves only from `n` to the last number of a batch that begins at `n + 1`. An epoch
//! never goes down. Two incarnations never hold the same epoch.

use std::collections::{BTreeMap, HashMap};

use model::wire::EpochRequest;
use model::{Lane, Seq, Slug, StreamEpoch, StreamId};

/// Highest epoch that is granted. A gateway that lost a disk every second would reach it in nine million years;
/// one that proposes more is refused, because no epoch could follow.
pub const EPOCH_MAX: u64 = 1 << 48;
/// Highest sequence number that is accepted: Delta knows no unsigned numbers.
pub const SEQ_MAX: Seq = i64::MAX as u64;

/// A lane of a gateway on its way to a destination: what epochs are granted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Track {
    /// Which gateway.
    pub gateway: Slug,
    /// On its way where to.
    pub destination: Slug,
    /// Which lane.
    pub lane: Lane,
}

impl Track {
    /// The track of a stream.
    pub fn of(stream: &StreamId) -> Self {
        let StreamId { gateway, destination, lane, .. } = stream.clone();
        Self { gateway, destination, lane }
    }

    /// The stream of one of its epochs.
    pub fn stream(&self, epoch: StreamEpoch) -> StreamId {
        let Self { gateway, destination, lane } = self.clone();
        StreamId { gateway, destination, lane, epoch }
    }

    fn epoch_id(&self) -> String {
        format!("wg-epoch|{}|{}|{}", self.gateway, self.destination, self.lane)
    }

    fn incarnation_id(&self, incarnation: &str) -> String {
        format!("wg-inc|{}|{}|{}|{incarnation}", self.gateway, self.destination, self.lane)
    }
}

/// The application id of a stream's watermark.
pub fn watermark_id(stream: &StreamId) -> String {
    format!("wg|{}|{}|{}|{}", stream.gateway, stream.destination, stream.lane, stream.epoch)
}

fn at_id(stream: &StreamId) -> String {
    format!("wg-at|{}|{}|{}|{}", stream.gateway, stream.destination, stream.lane, stream.epoch)
}

/// Whether an application id says which version of `raw` committed a stream last.
pub fn is_at(app_id: &str) -> bool {
    app_id.starts_with("wg-at|")
}

/// The stream that a watermark's application id names.
pub fn watermark_stream(app_id: &str) -> Option<StreamId> {
    let mut parts = app_id.strip_prefix("wg|")?.split('|');
    let stream = StreamId {
        gateway: parts.next()?.parse().ok()?,
        destination: parts.next()?.parse().ok()?,
        lane: parts.next()?.parse().ok()?,
        epoch: parts.next()?.parse().ok().and_then(StreamEpoch::new)?,
    };
    parts.next().is_none().then_some(stream)
}

/// What may happen to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is the next one.
    Next,
    /// Its first number was committed already.
    Past,
    /// Something is missing before it.
    Early {
        /// The number that comes next.
        expected: Seq,
    },
    /// Another epoch is in force, or none was ever granted.
    Fenced {
        /// The one in force.
        current: Option<u64>,
    },
}

/// What a log is told that presents itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The epoch to use.
    pub epoch: StreamEpoch,
    /// How far its stream is committed.
    pub watermark: Seq,
    /// It has to be committed before it is told.
    pub new: bool,
}

/// The log's transactions and, above them, those that are about to be committed.
#[derive(Debug)]
pub struct View<'t> {
    committed: &'t HashMap<String, i64>,
    pending: BTreeMap<String, i64>,
}

impl<'t> View<'t> {
    /// Nothing is to be committed yet.
    pub const fn new(committed: &'t HashMap<String, i64>) -> Self {
        Self { committed, pending: BTreeMap::new() }
    }

    /// What is to be committed.
    pub fn into_pending(self) -> BTreeMap<String, i64> {
        self.pending
    }

    fn read(&self, app_id: &str) -> Option<u64> {
        let version = self.pending.get(app_id).or_else(|| self.committed.get(app_id))?;
        u64::try_from(*version).ok()
    }

    fn set(&mut self, app_id: String, version: u64) {
        self.pending.insert(app_id, i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// The epoch in force.
    pub fn current(&self, track: &Track) -> Option<u64> {
        self.read(&track.epoch_id())
    }

    /// The last number committed in a stream; 0 where none is.
    pub fn watermark(&self, stream: &StreamId) -> Seq {
        self.read(&watermark_id(stream)).unwrap_or(0)
    }

    /// The version of `raw` that committed it last.
    pub fn committed_at(&self, stream: &StreamId) -> Option<u64> {
        self.read(&at_id(stream))
    }

    /// Judges a batch.
    pub fn judge(&self, stream: &StreamId, first: Seq) -> Admission {
        let current = self.current(&Track::of(stream));
        if current != Some(stream.epoch.get()) {
            return Admission::Fenced { current };
        }
        let expected = self.watermark(stream).saturating_add(1);
        match first.cmp(&expected) {
            std::cmp::Ordering::Equal => Admission::Next,
            std::cmp::Ordering::Less => Admission::Past,
            std::cmp::Ordering::Greater => Admission::Early { expected },
        }
    }

    /// Takes a batch that was judged [`Admission::Next`] into the commit that will be `version`.
    pub fn advance(&mut self, stream: &StreamId, last: Seq, version: u64) {
        self.set(watermark_id(stream), last);
        self.set(at_id(stream), version);
    }

    /// Decides on an epoch; a new one is taken into the commit.
    pub fn grant(&mut self, track: &Track, request: &EpochRequest) -> Grant {
        let proposed = request.proposed.get();
        let incarnation = track.incarnation_id(&request.incarnation);
        let current = self.current(track);
        let former = self.read(&incarnation);
        let holds = current.is_some() && former == current;
        if let (true, Some(epoch)) = (holds && Some(proposed) <= current, current.and_then(StreamEpoch::new))
        {
            return Grant { epoch, watermark: self.watermark(&track.stream(epoch)), new: false };
        }
        let least = match current {
            // The holder moves on to the epoch that it proposes; anybody else gets one that nobody had.
            Some(current) if !holds => proposed.max(current.saturating_add(1)),
            _ => proposed,
        };
        let epoch = StreamEpoch::new(least).unwrap_or(StreamEpoch::FIRST);
        let stream = track.stream(epoch);
        // The same log under a later epoch: what was committed in the one it had last counts, also where the log has not
        // heard of it, and where others have held the lane since.
        let left = former.and_then(StreamEpoch::new).map(|e| track.stream(e));
        let carried = left.and_then(|left| Some((self.watermark(&left), self.committed_at(&left)?)));
        let watermark = request.resume_after.max(carried.map_or(0, |(watermark, _)| watermark));
        self.set(track.epoch_id(), epoch.get());
        self.set(incarnation, epoch.get());
        self.set(watermark_id(&stream), watermark);
        if let Some((_, at)) = carried {
            self.set(at_id(&stream), at);
        }
        Grant { epoch, watermark, new: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn track() -> Track {
        Track { gateway: "g".parse().unwrap(), destination: "d".parse().unwrap(), lane: Lane::Clinical }
    }

    fn request(incarnation: &str, proposed: u64, resume_after: Seq) -> EpochRequest {
        let proposed = StreamEpoch::new(proposed).unwrap();
        EpochRequest { incarnation: incarnation.to_owned(), proposed, resume_after }
    }

    fn epoch(n: u64) -> StreamId {
        track().stream(StreamEpoch::new(n).unwrap())
    }

    #[test]
    fn a_log_keeps_its_epoch_and_another_fences_it() {
        let none = HashMap::new();
        let mut view = View::new(&none);
        assert_eq!(view.judge(&epoch(1), 1), Admission::Fenced { current: None });
        let mut ask = |inc: &str, proposed, resume| {
            let g = view.grant(&track(), &request(inc, proposed, resume));
            (g.epoch.get(), g.watermark, g.new)
        };
        assert_eq!(ask("a", 1, 0), (1, 0, true));
        assert_eq!(
            ask("a", 1, 7),
            (1, 0, false),
            "its own word on what is settled does not move a watermark"
        );
        assert_eq!(ask("b", 1, 0), (2, 0, true), "a new disk");
        assert_eq!(ask("a", 1, 5), (3, 5, true), "the old disk comes back");
        assert_eq!(ask("b", 9, 3), (9, 3, true));
        assert_eq!(ask("b", 12, 4), (12, 4, true), "the holder asks for a later one");
        assert_eq!(ask("b", 9, 0), (12, 4, false));
        assert_eq!(view.judge(&epoch(9), 4), Admission::Fenced { current: Some(12) });
        assert_eq!(view.judge(&epoch(13), 1), Admission::Fenced { current: Some(12) });
        assert_eq!(view.judge(&epoch(12), 5), Admission::Next);
    }

    #[test]
    fn only_the_next_number_is_next() {
        let committed =
            HashMap::from([("wg-epoch|g|d|clinical".into(), 1), ("wg|g|d|clinical|1".into(), 10)]);
        let mut view = View::new(&committed);
        assert_eq!(view.judge(&epoch(1), 10), Admission::Past);
        assert_eq!(view.judge(&epoch(1), 12), Admission::Early { expected: 11 });
        view.advance(&epoch(1), 20, 4);
        assert_eq!(view.judge(&epoch(1), 21), Admission::Next);
        assert_eq!(view.committed_at(&epoch(1)), Some(4));
        let pending = view.into_pending();
        assert_eq!(pending.get("wg|g|d|clinical|1"), Some(&20));
        assert_eq!(pending.len(), 2);
    }

    /// A batch that was under way when its log took another name, or a later epoch, is not sent again.
    #[test]
    fn what_was_committed_in_the_epoch_that_a_log_leaves_counts_in_the_next() {
        let none = HashMap::new();
        let mut view = View::new(&none);
        let ask = |view: &mut View<'_>, name, proposed, resume| {
            view.grant(&track(), &request(name, proposed, resume)).watermark
        };
        assert_eq!(ask(&mut view, "a", 1, 2), 2);
        assert_eq!(ask(&mut view, "a", 2, 1), 1, "nothing was committed in the first");
        view.advance(&epoch(2), 7, 1);
        assert_eq!(ask(&mut view, "a", 3, 4), 7);
        assert_eq!(ask(&mut view, "a", 5, 4), 7, "and once more");
        assert_eq!(view.judge(&epoch(2), 8), Admission::Fenced { current: Some(5) });
        assert_eq!(view.judge(&epoch(5), 8), Admission::Next);
        assert_eq!(ask(&mut view, "b", 1, 4), 4, "of another log nobody knows");
        view.advance(&epoch(6), 9, 2);
        assert_eq!(ask(&mut view, "a", 5, 4), 7, "a log that comes back finds what it had");
        assert_eq!(view.committed_at(&epoch(7)), Some(1), "and the batch with which it came there");
        assert_eq!(ask(&mut view, "b", 1, 11), 11, "unless it knows better");
    }

    #[test]
    fn application_ids_name_their_stream() {
        assert_eq!(watermark_stream(&watermark_id(&epoch(3))), Some(epoch(3)));
        for other in ["wg-at|g|d|clinical|3", "wg|g|d|clinical", "wg|g|d|ward|3", "wg|g|d|clinical|0", "x"] {
            assert_eq!(watermark_stream(other), None, "{other}");
        }
    }

    proptest! {
        /// Whatever logs ask for, in whatever order: an epoch belongs to one incarnation, and never goes down.
        #[test]
        fn epochs_are_never_shared(asks in prop::collection::vec((0..4_usize, 1..20_u64, 0..9_u64), 1..60)) {
            let none = HashMap::new();
            let mut view = View::new(&none);
            let mut holder: HashMap<u64, usize> = HashMap::new();
            let mut highest = 0;
            for (incarnation, proposed, resume) in asks {
                let grant = view.grant(&track(), &request(&incarnation.to_string(), proposed, resume));
                let epoch = grant.epoch.get();
                prop_assert!(epoch >= highest && epoch >= proposed.min(epoch));
                highest = epoch;
                prop_assert_eq!(*holder.entry(epoch).or_insert(incarnation), incarnation);
                prop_assert_eq!(view.current(&track()), Some(epoch));
            }
        }
    }
}
