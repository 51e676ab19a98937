//! Age limits: what no destination took within the operator's limit of its lane is given up, by an audited rule.
//!
//! **Promise.** A record is given up no earlier than its limit after it was stored, measured by the time that this
//! process and those before it have run; no step of the wall clock counts, and time in which the box was off does not
//! either. It is in the audit log before it is given up, in the journal before anything acts on it, and in the
//! destination's ledger as a skip with the reason `expired`. A lane without a limit gives nothing up.
//!
//! **How.** At most every [`MARKS_MAX`]th of the limit a mark is made: at this age of the lane, its log ended there. What
//! a mark covers is older than the mark. So a record goes at most a [`MARKS_MAX`]th of the limit late, and never early.
//! Marks stand in the state store; where that is lost, records are kept longer.
//!
//! **Why it frees the disk.** What is given up counts as settled for retention also while a destination is away: a
//! landing that is gone for good must not fill the box with what nobody wants any more. When the destination is back it
//! is told of the gap.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{AuditAction, AuditEvent, Lane, Seq, codec};
use serde::{Deserialize, Serialize};
use spool::{State, Table};

use crate::{Error, Handle};

/// Most marks of a lane.
pub(crate) const MARKS_MAX: u64 = 64;
/// How often the age of a lane is stored where nothing else changes.
const STORE_EVERY_MS: u64 = 60_000;

/// How old a lane is and where it ended when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Kept {
    incarnation: String,
    lived_ms: u64,
    /// What the newest mark ever made covers.
    covered: Seq,
    /// Oldest first.
    marks: VecDeque<(u64, Seq)>,
}

/// The ages of one lane that has a limit.
#[derive(Debug)]
pub(crate) struct Ages {
    lane: Lane,
    limit_ms: u64,
    kept: Kept,
    stored_ms: u64,
}

impl Ages {
    /// What an earlier process left of this log; anything else counts for nothing.
    pub(crate) fn load(lane: Lane, limit_s: u64, incarnation: &str, state: &State) -> Result<Self, Error> {
        let kept = state.get(Table::Meta, key(lane).as_bytes())?;
        let kept = kept.and_then(|bytes| codec::decode::<Kept>(&bytes).ok());
        let kept = kept.filter(|k| k.incarnation == incarnation);
        let kept = kept.unwrap_or_else(|| Kept { incarnation: incarnation.to_owned(), ..Kept::default() });
        Ok(Self { lane, limit_ms: limit_s.saturating_mul(1000), stored_ms: kept.lived_ms, kept })
    }

    pub(crate) const fn limit_s(&self) -> u64 {
        self.limit_ms / 1000
    }

    /// So much time has passed, and the log ends at `last`. Returns what is beyond the limit, all numbers up to this,
    /// until that is [`Self::done`].
    pub(crate) fn pass(&mut self, passed_ms: u64, last: Seq) -> Option<Seq> {
        let kept = &mut self.kept;
        kept.lived_ms = kept.lived_ms.saturating_add(passed_ms);
        let step_ms = (self.limit_ms / MARKS_MAX).max(1);
        let is_time = kept.marks.back().is_none_or(|(at, _)| kept.lived_ms >= at.saturating_add(step_ms));
        if last > kept.covered && is_time {
            // Where what is beyond cannot be given up, the younger marks stand for the older ones.
            if kept.marks.len() as u64 > 2 * MARKS_MAX {
                kept.marks.pop_front();
            }
            kept.marks.push_back((kept.lived_ms, last));
            kept.covered = last;
        }
        let is_beyond = |(at, _): &&(u64, Seq)| kept.lived_ms >= at.saturating_add(self.limit_ms);
        kept.marks.iter().take_while(is_beyond).last().map(|(_, seq)| *seq)
    }

    /// Everything up to here is settled or given up.
    pub(crate) fn done(&mut self, through: Seq) {
        while self.kept.marks.front().is_some_and(|(_, seq)| *seq <= through) {
            self.kept.marks.pop_front();
        }
    }

    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    /// Writes it down, when it is time or `now`. Losing it keeps records longer.
    pub(crate) fn store(&mut self, state: &State, now: bool) -> Result<(), Error> {
        if now || self.kept.lived_ms >= self.stored_ms.saturating_add(STORE_EVERY_MS) {
            state.put(Table::Meta, key(self.lane).as_bytes(), &codec::encode(&self.kept)?)?;
            self.stored_ms = self.kept.lived_ms;
        }
        Ok(())
    }
}

impl Handle {
    /// Time has passed for a lane with an age limit: what is beyond it and not settled everywhere is given up.
    pub(crate) async fn grow_older(&self, ages: &mut Ages, passed: Duration) -> Result<(), Error> {
        let lane = ages.lane();
        let log = self.spool.lane(lane);
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let beyond = ages.pass(passed_ms, *log.durable().borrow());
        if let Some(through) = beyond {
            let behind = self.retention.behind(lane, through);
            for (destination, cursor) in &behind {
                let event = AuditEvent {
                    at: self.clock.now(),
                    actor: "system".to_owned(),
                    action: AuditAction::RecordExpired,
                    subject: format!("{destination}/{lane}"),
                    detail: format!(
                        "{}..={through} as far as they are not under way: not taken within {} s",
                        cursor.saturating_add(1),
                        ages.limit_s()
                    ),
                };
                self.spool.audit().record(&event)?;
            }
            if let Some((_, slowest)) = behind.iter().min_by_key(|(_, at)| *at) {
                self.journal.give_up(lane, log.incarnation(), through).await?;
                tracing::warn!(%lane, first = slowest.saturating_add(1), last = through, limit_s = ages.limit_s(),
                    "records that not every destination took in time are given up");
                self.retention.give_up(lane, through);
                self.retention.time_passed(&self.spool, self.clock.now());
            }
            ages.done(through);
        }
        ages.store(self.spool.state(), beyond.is_some())
    }
}

fn key(lane: Lane) -> String {
    format!("ages/{lane}")
}

/// Up to which number each lane is given up: decided, audited and in the journal.
#[derive(Debug, Default)]
pub(crate) struct GivenUp([AtomicU64; 3]);

impl GivenUp {
    const fn of(&self, lane: Lane) -> &AtomicU64 {
        let [urgent, clinical, bulk] = &self.0;
        match lane {
            Lane::Urgent => urgent,
            Lane::Clinical => clinical,
            Lane::Bulk => bulk,
        }
    }

    pub(crate) fn through(&self, lane: Lane) -> Seq {
        self.of(lane).load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self, lane: Lane, through: Seq) {
        self.of(lane).fetch_max(through, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ages(limit_s: u64) -> Ages {
        Ages { lane: Lane::Bulk, limit_ms: limit_s * 1000, kept: Kept::default(), stored_ms: 0 }
    }

    proptest! {
        /// Whatever the steps of time and the arrivals: never early, and at most a step and a tick late.
        #[test]
        fn never_early_and_a_little_late(ticks in prop::collection::vec((1_u64..2_000, 0_u64..4), 1..400)) {
            let mut ages = ages(60);
            let (mut now, mut last, mut gone) = (0, 0, 0);
            let mut stored_at = vec![0];
            for (passed, arrived) in ticks {
                // They arrive at the beginning of the tick, so their age at its end is at least what passed.
                for _ in 0..arrived {
                    last += 1;
                    stored_at.push(now);
                }
                now += passed;
                if let Some(through) = ages.pass(passed, last) {
                    prop_assert!(through > gone && through <= last);
                    prop_assert_eq!(ages.pass(0, last), Some(through), "until it is done");
                    ages.done(through);
                    gone = through;
                }
                let (step, tick) = (60_000 / MARKS_MAX, 2_000);
                for (seq, at) in stored_at.iter().enumerate().skip(1) {
                    let age = now - at;
                    if seq as u64 <= gone {
                        prop_assert!(age >= 60_000, "record {} went at the age of {}", seq, age);
                    } else {
                        prop_assert!(age <= 60_000 + step + 2 * tick, "record {} is {} old", seq, age);
                    }
                }
                prop_assert!(ages.kept.marks.len() as u64 <= MARKS_MAX + 2);
            }
        }
    }

    #[test]
    fn time_in_which_nothing_ran_does_not_count() {
        let mut before = ages(60);
        assert_eq!(before.pass(1000, 5), None);
        assert_eq!(before.pass(50_000, 5), None);
        // Another process takes it from there, whatever the clock on the wall says.
        let mut after = Ages { kept: before.kept.clone(), ..ages(60) };
        assert_eq!(after.pass(9_000, 7), None);
        assert_eq!(after.pass(1_000, 7), Some(5));
        after.done(5);
        assert_eq!(after.pass(58_000, 7), None);
        assert_eq!(after.pass(1_000, 7), Some(7));
        after.done(7);
        assert_eq!(after.pass(1_000_000, 7), None, "once is enough");
    }
}
