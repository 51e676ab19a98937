//! The log keeps a record until every destination has it; this is who is how far.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::{Lane, Seq, Slug, Timestamp};
use spool::{Log, Spool};

/// The durable cursors of all destinations, by lane.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    cursors: Mutex<HashMap<Lane, HashMap<Slug, Seq>>>,
}

impl Retention {
    /// A destination that must be waited for, before any cursor moves.
    pub(crate) fn expect(&self, lane: Lane, destination: &Slug, cursor: Seq) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.entry(lane).or_default().insert(destination.clone(), cursor);
    }

    /// A destination's durable cursor moved; what everybody has may go, when the log's own rules agree.
    pub(crate) fn moved(&self, lane: Lane, destination: &Slug, cursor: Seq, log: &Log, now: Timestamp) {
        let slowest = {
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            let lane = cursors.entry(lane).or_default();
            lane.insert(destination.clone(), cursor);
            lane.values().min().copied().unwrap_or(0)
        };
        if slowest > 0 {
            log.free_through(slowest, now);
        }
    }

    /// Time has passed: what everybody had long ago may go now, also where nothing moves.
    pub(crate) fn time_passed(&self, spool: &Spool, now: Timestamp) {
        for lane in Lane::ALL {
            let slowest = {
                let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
                cursors.get(&lane).and_then(|lane| lane.values().min().copied()).unwrap_or(0)
            };
            if slowest > 0 {
                spool.lane(lane).free_through(slowest, now);
            }
        }
    }
}
