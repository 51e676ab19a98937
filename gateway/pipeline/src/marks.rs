//! How far a destination is that remembers nothing itself: noted in the journal from time to time, so that a lost state
//! store repeats little (docs/adr/0007).
//!
//! **Promise.** A mark is never ahead of the durable cursor, so nothing that was not taken is left out by it.
//!
//! **Limits.** After the loss of the state store at most what was sent since the last mark is sent again: a mark is due
//! after [`MARK_AFTER_RECORDS`] numbers, but not more often than every [`MARK_EVERY_MIN`], and after
//! [`MARK_EVERY_MAX`] in any case; a stop writes one.

use std::time::Duration;

use model::{Lane, Seq, Slug};
use tokio::time::Instant;

use crate::Error;
use crate::cursor::Cursor;
use crate::journal::{Journal, Mark};

/// Numbers after which a mark is due.
pub const MARK_AFTER_RECORDS: u64 = 1_000;
/// The journal takes a page a mark: a busy lane adds some 6 MB to it a day.
pub const MARK_EVERY_MIN: Duration = Duration::from_secs(60);
/// A slow lane is not left without one.
pub const MARK_EVERY_MAX: Duration = Duration::from_secs(600);

/// The marks of one destination in one lane.
#[derive(Debug)]
pub(crate) struct Marks {
    journal: Journal,
    destination: Slug,
    lane: Lane,
    last: Option<Mark>,
    noted_at: Instant,
}

impl Marks {
    pub(crate) fn new(journal: Journal, destination: Slug, lane: Lane) -> Self {
        let last = journal.mark(&destination, lane);
        Self { journal, destination, lane, last, noted_at: Instant::now() }
    }

    /// The last number that was marked in this incarnation of the log.
    pub(crate) fn through(&self, incarnation: &str) -> Option<Seq> {
        self.last.as_ref().filter(|m| m.incarnation == incarnation).map(|m| m.through)
    }

    /// When a mark has to be written though nothing moves; `None` where the cursor is marked already.
    pub(crate) fn due_in(&self, cursor: &Cursor) -> Option<Duration> {
        let news = self.through(&cursor.incarnation).is_none_or(|through| cursor.seq > through);
        news.then(|| MARK_EVERY_MAX.saturating_sub(self.noted_at.elapsed()))
    }

    /// Notes a cursor that is durable, when a mark is due or it is the last occasion.
    pub(crate) async fn note(&mut self, cursor: &Cursor, last_occasion: bool) -> Result<(), Error> {
        let Some(due_in) = self.due_in(cursor) else { return Ok(()) };
        let moved = cursor.seq.saturating_sub(self.through(&cursor.incarnation).unwrap_or(0));
        let many = moved >= MARK_AFTER_RECORDS && self.noted_at.elapsed() >= MARK_EVERY_MIN;
        if !(due_in.is_zero() || many || last_occasion) {
            return Ok(());
        }
        let mark = Mark { incarnation: cursor.incarnation.clone(), through: cursor.seq };
        self.journal.put_mark(&self.destination, self.lane, mark.clone()).await?;
        self.last = Some(mark);
        self.noted_at = Instant::now();
        Ok(())
    }
}
