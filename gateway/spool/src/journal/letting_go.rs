//! What of the audit log may go, and its going.
//!
//! **Promise.** No entry goes that somebody in [`Audit::needs`] has not got, and never the last one, which tells how the
//! tree stands. The envelope of the first entry that stays carries the tree of all that went, so roots, proofs from any
//! size that is still kept, and new checkpoints are what they would have been.
//!
//! Who decides ([`Part::is_old`], or room) audits it first; a crash in between leaves an entry of the audit log that says
//! what may go, and everything there still.

use std::sync::{Arc, MutexGuard, PoisonError};

use model::{Seq, Timestamp};

use super::Audit;
use crate::Error;

/// Somebody outside, and what he has of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Who: a destination's name, or the syslog server.
    pub who: String,
    /// He needs what stands behind this number.
    pub behind: Seq,
    /// What shows that he has the rest, for a person to read.
    pub proof: String,
}

/// The oldest part of the journal, where nobody outside needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its last number.
    pub through: Seq,
    /// How many entries of the audit log are gone when it is.
    pub entries: u64,
    /// Whether it was kept as long as is configured, since nobody needed it any more.
    pub is_old: bool,
}

impl Audit {
    /// Until further notice `who` needs what stands behind a number of the journal.
    pub fn need(&self, who: &str, behind: Seq, proof: String) {
        let need = Need { who: who.to_owned(), behind, proof };
        self.lock_needs().insert(who.to_owned(), need);
    }

    /// `who` needs nothing any more.
    pub fn need_no_more(&self, who: &str) {
        self.lock_needs().remove(who);
    }

    /// Who needs what.
    pub fn needs(&self) -> Vec<Need> {
        self.lock_needs().values().cloned().collect()
    }

    fn lock_needs(&self) -> MutexGuard<'_, std::collections::BTreeMap<String, Need>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries went: the number, in the tree, of the first that is kept. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn freed(&self) -> Result<u64, Error> {
        if self.journal.oldest() <= 1 {
            return Ok(0);
        }
        self.entries_before(self.journal.oldest())
    }

    fn entries_before(&self, seq: Seq) -> Result<u64, Error> {
        let tip = self.tip()?;
        Ok(self.from(seq, tip.seq)?.map_or_else(|| tip.range.size(), |record| record.before.size()))
    }

    /// The oldest part of the journal, where it ends at or before `limit` and nobody needs it. Its age counts from when it
    /// was first asked for and nobody did.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn oldest_part(self: &Arc<Self>, limit: Seq, now: Timestamp) -> Result<Option<Part>, Error> {
        let audit = Arc::clone(self);
        let look = move || {
            let last = audit.tip()?.seq.saturating_sub(1);
            let needed = audit.lock_needs().values().map(|need| need.behind).min().unwrap_or(Seq::MAX);
            let Some(ripe) = audit.journal.0.ripen(limit.min(last).min(needed), now) else { return Ok(None) };
            let entries = audit.entries_before(ripe.through.saturating_add(1))?;
            Ok(Some(Part { through: ripe.through, entries, is_old: ripe.is_old }))
        };
        self.journal.0.hands.off_runtime(look).await
    }

    /// Frees it, durably. Says whether it was still there.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Storage`].
    pub async fn let_go(self: &Arc<Self>, part: Part) -> Result<bool, Error> {
        let log = self.journal.clone();
        let free = move || {
            log.0.freeing.lock().unwrap_or_else(PoisonError::into_inner).through = part.through;
            log.0.free_oldest(true)
        };
        self.journal.0.hands.off_runtime(free).await
    }
}
