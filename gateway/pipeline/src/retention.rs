//! The log keeps a record until every destination has it, or until it is given up; this is who is how far.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::{Lane, Seq, Slug, Timestamp};
use spool::{Log, Spool};

use crate::ages::GivenUp;

/// The durable cursors of all destinations, by lane, and what was given up.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    cursors: Mutex<HashMap<Lane, HashMap<Slug, Seq>>>,
    given_up: GivenUp,
}

impl Retention {
    /// A destination that must be waited for, before any cursor moves.
    pub(crate) fn expect(&self, lane: Lane, destination: &Slug, cursor: Seq) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.entry(lane).or_default().insert(destination.clone(), cursor);
    }

    /// A destination's durable cursor moved; what everybody has may go, when the log's own rules agree.
    pub(crate) fn moved(&self, lane: Lane, destination: &Slug, cursor: Seq, log: &Log, now: Timestamp) {
        self.expect(lane, destination, cursor);
        self.free(lane, log, now);
    }

    /// Time has passed: what everybody had long ago may go now, also where nothing moves.
    pub(crate) fn time_passed(&self, spool: &Spool, now: Timestamp) {
        for lane in Lane::ALL {
            self.free(lane, spool.lane(lane), now);
        }
    }

    /// The destinations that have not settled everything up to here, and how far they are.
    pub(crate) fn behind(&self, lane: Lane, through: Seq) -> Vec<(Slug, Seq)> {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let of_lane = cursors.get(&lane).into_iter().flatten();
        let mut behind: Vec<_> =
            of_lane.filter(|(_, at)| **at < through).map(|(name, at)| (name.clone(), *at)).collect();
        behind.sort_unstable();
        behind
    }

    /// Nobody waits any more for what is not settled up to here: that is in the audit log and in the journal.
    pub(crate) fn give_up(&self, lane: Lane, through: Seq) {
        self.given_up.raise(lane, through);
    }

    /// Up to which number the lane is given up.
    pub(crate) fn given_up(&self, lane: Lane) -> Seq {
        self.given_up.through(lane)
    }

    fn free(&self, lane: Lane, log: &Log, now: Timestamp) {
        let slowest = {
            let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            cursors.get(&lane).and_then(|lane| lane.values().min().copied()).unwrap_or(0)
        };
        let through = slowest.max(self.given_up(lane));
        if through > 0 {
            log.free_through(through, now);
        }
    }
}
