//! Meeting the landing: which epoch is in force, and how far the stream is.

use forward::Destination;
use model::wire::{EpochGrant, EpochRequest};
use model::{AuditAction, Seq, StreamEpoch};
use spool::Log;

use super::{Delivery, OPEN_ATTEMPTS_MAX};
use crate::Error;
use crate::broken::Broken;
use crate::cursor::{Cursor, Settled};

impl<D: Destination> Delivery<D> {
    /// Presents the log to the landing and takes over what it says of epoch and watermark.
    pub(super) async fn open(&mut self, log: &Log) -> Result<(), Broken> {
        if let Some(lost) = self.is_unknown(log).await? {
            self.start_over(log, lost).await?;
        }
        if self.cursor.seq == 0 && self.cursor.lost.is_none() {
            self.learn(log).await?;
        }
        for _ in 0..OPEN_ATTEMPTS_MAX {
            if self.is_renamed(log) && !self.goes_on_as_former(log) {
                self.settle_former(log).await?;
            }
            let is_former = self.is_renamed(log);
            if !is_former
                && self
                    .journal
                    .known_as(&self.name, self.lane)
                    .is_some_and(|known| known != log.incarnation())
            {
                // From here on the destination is asked under this name, also where the cursor gets lost. It has not heard of
                // it yet, and will not where we die now: so what is settled stands beside it.
                self.journal.met(&self.name, self.lane, log.incarnation(), self.cursor.seq).await?;
            }
            if let Some(lost) = self.cursor.lost
                && let Some(next) =
                    StreamEpoch::new(lost.get().saturating_add(1)).filter(|e| *e > log.epoch())
            {
                self.audit(
                    AuditAction::EpochAdopted,
                    format!("epoch {next}, because the landing has forgotten {lost}"),
                )?;
                log.adopt_epoch(next)?;
            }
            let proposed = log.epoch();
            let incarnation = self.cursor.incarnation.clone();
            let request = EpochRequest { incarnation, proposed, resume_after: self.cursor.seq };
            let mut grant = self.destination.open(self.lane, &request).await?;
            if grant.epoch > log.epoch() {
                self.outranked(&grant, proposed)?;
                log.adopt_epoch(grant.epoch)?;
            }
            if is_former {
                self.cut_to_own(&mut grant);
            } else if request.incarnation != log.incarnation() {
                // Another destination may have renamed the log or raised the lane's epoch meanwhile: then ask again.
                continue;
            } else if grant.watermark > self.vouched {
                self.set_back(log, &request.incarnation, grant.watermark)?;
                continue;
            }
            if grant.epoch != log.epoch() {
                // What is committed is committed, and under the next epoch only we would know of it.
                if grant.watermark > self.cursor.seq {
                    self.reconcile(log, &grant).await?;
                }
                continue;
            }
            if self.is_forgotten(&grant)? {
                self.start_over(log, grant.epoch).await?;
                continue;
            }
            self.reconcile(log, &grant).await?;
            if is_former && !self.goes_on_as_former(log) {
                continue;
            }
            // Under the former name nothing beyond what the log had then is sent, however often it presents itself.
            let unmet = self.cursor.unmet.filter(|_| is_former);
            if self.cursor.unmet != unmet || self.cursor.lost.is_some() {
                // Durable before anything is sent: from now on more than that can have been.
                self.become_durably(Cursor { unmet, lost: None, ..self.cursor.clone() }).await?;
            }
            return Ok(());
        }
        Err(Broken::Ours(Error::EpochUnsettled))
    }

    /// A cursor with nothing settled may have been lost. A log that proposes a later epoch than the landing has is granted
    /// it from where it says that it is, if nothing was committed in the epoch that it leaves: so what the landing has is
    /// asked for first, in words that change nothing where this log is the one it knows.
    async fn learn(&mut self, log: &Log) -> Result<(), Broken> {
        let request = EpochRequest {
            incarnation: self.cursor.incarnation.clone(),
            proposed: StreamEpoch::FIRST,
            resume_after: self.cursor.seq,
        };
        let grant = self.destination.open(self.lane, &request).await?;
        if grant.watermark > self.cursor.seq && grant.watermark <= self.vouched {
            self.reconcile(log, &grant).await?;
        }
        Ok(())
    }

    /// Durable first, then in force: what is not durable is not acted upon, or the next process would do otherwise.
    async fn become_durably(&mut self, cursor: Cursor) -> Result<(), Error> {
        self.cursors.begin(&cursor).await?;
        self.cursor = cursor;
        Ok(())
    }

    /// The landing has numbers that this log never sent: the disk was set back to an older state, and these numbers
    /// will be, or are already, used for other records. So the log takes a new name, as a new disk would, and what it
    /// has beyond its own past goes out under a new epoch.
    fn set_back(&self, log: &Log, incarnation: &str, watermark: Seq) -> Result<(), Broken> {
        let vouched = self.vouched;
        self.audit(
            AuditAction::EpochAdopted,
            format!("the landing is at {watermark}, this log has sent nothing beyond {vouched}: the disk was set back"),
        )?;
        tracing::warn!(destination = %self.name, lane = %self.lane, watermark, vouched,
            "this disk was set back to an older state; what came in since is delivered under a new epoch");
        log.renew_incarnation_of(incarnation)?;
        Ok(())
    }

    /// The log has another name than the one under which the destination knows it.
    fn is_renamed(&self, log: &Log) -> bool {
        self.cursor.incarnation != log.incarnation()
    }

    /// What the log had before it took its name goes out under the former one, to a destination that remembers: so that it
    /// lands once also where another disk has it and goes on as the same log: the one that a backup was made of, or
    /// another one restored from it. From the first number on that cannot be read here that is over: the other disk, if there
    /// is one, may have it, and must not be told that it was settled.
    pub(super) fn goes_on_as_former(&self, log: &Log) -> bool {
        self.nature.remembers
            && self.is_renamed(log)
            && self.cursor.seq < self.vouched.min(self.whole_through)
    }

    /// The last number that may go out under the name that the log has for the destination.
    pub(super) fn last_of_name(&self, log: &Log) -> Seq {
        if self.is_renamed(log) { self.vouched.min(self.whole_through) } else { Seq::MAX }
    }

    /// What a former name came to beyond what this log had under it is not this log's.
    fn cut_to_own(&self, grant: &mut EpochGrant) {
        if grant.watermark > self.vouched {
            grant.watermark = self.vouched;
            grant.manifest_sha256 = None;
        }
    }

    /// The landing has granted a later epoch than was asked for: somebody else had it.
    fn outranked(&self, grant: &EpochGrant, proposed: StreamEpoch) -> Result<(), Broken> {
        let mut detail = format!("epoch {} instead of {proposed}", grant.epoch);
        // A log that has just taken its name comes after the one before it. One that was met under its name and is not the
        // last any more has company.
        if self.cursor.unmet.is_none() {
            detail.push_str(": another disk delivers as this gateway since");
            tracing::error!(destination = %self.name, lane = %self.lane, epoch = %grant.epoch,
                "another disk delivers under this gateway's name: was one backup restored on two boxes, or does the old \
                 box still run? Every record arrives once, but one of them must go");
        }
        self.audit(AuditAction::EpochAdopted, detail)?;
        Ok(())
    }

    /// The log has another name than the cursor: its end was lost, it was made anew, or the disk was set back. What
    /// was committed under the former name is settled first, as far as it is this log's.
    async fn settle_former(&mut self, log: &Log) -> Result<(), Broken> {
        let request = EpochRequest {
            incarnation: self.cursor.incarnation.clone(),
            // A later one than it had: so nothing that is still on its way can be committed after this answer.
            proposed: log.epoch(),
            resume_after: self.cursor.seq,
        };
        let mut grant = self.destination.open(self.lane, &request).await?;
        self.cut_to_own(&mut grant);
        if grant.watermark > self.cursor.seq {
            self.reconcile(log, &grant).await?;
        }
        self.whole_through = Seq::MAX;
        // Under its new name nothing was sent yet.
        let unmet = Some(self.vouched);
        Ok(self
            .become_durably(Cursor { incarnation: log.incarnation(), unmet, ..self.cursor.clone() })
            .await?)
    }

    /// The landing's watermark is the truth about what is committed.
    async fn reconcile(&mut self, log: &Log, grant: &EpochGrant) -> Result<(), Broken> {
        if grant.watermark > self.cursor.seq {
            let attempt = self.cursors.intended()?.filter(|a| {
                a.epoch == grant.epoch
                    && a.last == grant.watermark
                    && a.first == self.cursor.seq.saturating_add(1)
            });
            let manifest = grant.manifest_sha256.clone().unwrap_or_default();
            let settled = attempt.unwrap_or_else(|| Settled {
                epoch: grant.epoch,
                first: self.cursor.seq.saturating_add(1),
                last: grant.watermark,
                manifest_sha256: manifest.clone(),
                policy: None,
                skipped: Vec::new(),
                table_version: None,
                committed_at: None,
            });
            let settled = Settled { manifest_sha256: manifest, ..settled };
            tracing::info!(destination = %self.name, lane = %self.lane, first = settled.first, last = settled.last,
                "the landing had committed a batch whose answer was lost");
            self.cursors.settle(&mut self.cursor, &settled).await?;
            self.moved(log);
        } else if grant.watermark < self.cursor.seq {
            // The landing knows less than it once confirmed: restored from a backup, or another table root. What is
            // still kept is sent again.
            self.audit(
                AuditAction::ManifestMismatch,
                format!("the landing is at {}, this box had settled {}", grant.watermark, self.cursor.seq),
            )?;
            self.become_durably(Cursor { seq: grant.watermark, ..self.cursor.clone() }).await?;
            self.moved(log);
        }
        Ok(())
    }

    /// The landing has confirmed a batch of this epoch and now grants it as one that has none: its tables are lost, or
    /// it writes to others.
    fn is_forgotten(&self, grant: &EpochGrant) -> Result<bool, Broken> {
        if !self.nature.remembers {
            return Ok(false);
        }
        let last = self.cursors.last(&self.cursor)?;
        let confirmed = last.is_some_and(|s| s.epoch == grant.epoch && !s.manifest_sha256.is_empty());
        Ok(confirmed && grant.manifest_sha256.is_none() && grant.watermark == self.cursor.seq)
    }

    /// The landing has confirmed a batch, and now knows nothing of this lane: its tables are lost. Where the epoch is
    /// the one of that batch, its grant shows that; where the log has gone on to a later one meanwhile, a grant would
    /// look like any other first one. Says in which epoch the batch was.
    async fn is_unknown(&self, log: &Log) -> Result<Option<StreamEpoch>, Broken> {
        if !self.nature.remembers {
            return Ok(None);
        }
        let left = match self.cursors.last(&self.cursor)? {
            Some(last) if last.manifest_sha256.is_empty() || last.epoch >= log.epoch() => return Ok(None),
            Some(last) => last.epoch,
            // The cursor was lost, and the journal says that something was settled when the log took its name.
            None if self.cursor.seq > self.began_after && self.cursor.lost.is_none() => log.epoch(),
            None => return Ok(None),
        };
        let is_known = self.destination.knows(self.lane).await?.unwrap_or(true);
        Ok((!is_known).then_some(left))
    }

    /// What is still kept goes out again, under the next epoch: the landing has granted this one from where it believed
    /// us to be. Durably noted first; the epoch is raised when the log presents itself again.
    async fn start_over(&mut self, log: &Log, lost: StreamEpoch) -> Result<(), Broken> {
        let kept_from = log.oldest();
        self.audit(
            AuditAction::ManifestMismatch,
            format!(
                "the landing has no batch of epoch {lost}, this box had settled {}; sent again from {kept_from}",
                self.cursor.seq
            ),
        )?;
        tracing::warn!(destination = %self.name, lane = %self.lane, settled = self.cursor.seq, kept_from,
            "the landing has forgotten all that it had confirmed: what is still kept is sent again under a new epoch");
        let seq = kept_from.saturating_sub(1).min(self.cursor.seq);
        self.become_durably(Cursor { seq, lost: Some(lost), ..self.cursor.clone() }).await?;
        self.moved(log);
        Ok(())
    }
}
