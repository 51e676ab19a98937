//! Policies tried on what is in the log, and what a destination's own policy makes of one record: without a value.
//!
//! **Promise.** Nothing is sent and nothing changes; the answer names places, rules, counts and records, never what
//! stands there. A trial is in the audit log before it begins.
//!
//! Consent is not asked here: a policy says what a record looks like where it goes, not whether it goes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use deid::{Comparison, Context, Policy};
use model::wire::RECORD_WIRE_BYTES_MAX;
use model::{AuditAction, AuditEvent, Envelope, Lane, PolicyRef, Reason, RecordId, Slug, codec};
use serde::Serialize;
use spool::{Entry, Flow, Payload};

use crate::shape::Shaper;
use crate::{Error, Handle};

/// Most records of a lane that one trial looks at.
pub const TRIAL_RECORDS_MAX: u64 = 100_000;

/// Two policies on the newest records for a destination.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// Whose records.
    pub destination: Slug,
    /// The policy that it has.
    pub current: PolicyRef,
    /// The one that was tried.
    pub candidate: PolicyRef,
    /// Records in the log that are not for it.
    pub not_for_it: u64,
    /// Records that cannot be read and are held whatever the policy, damaged ones among them.
    pub unreadable: u64,
    /// Where the two part; the first is the current one.
    #[serde(flatten)]
    pub comparison: Comparison<RecordId>,
}

/// What a destination's policy makes of one record.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The record.
    pub id: RecordId,
    /// The destination.
    pub destination: Slug,
    /// Its policy today; what was committed stays as it was.
    pub policy: PolicyRef,
    /// What comes of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Every value and what the rules do with it.
    pub steps: Vec<Place>,
}

/// What comes of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Verdict {
    /// It may go.
    Released,
    /// A person has to decide.
    Held {
        /// Why. Positions only.
        why: String,
    },
    /// It never goes there.
    NotForIt {
        /// Why not.
        reason: Reason,
    },
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where it stands in the record.
    pub path: String,
    /// `kept`, `changed` or `removed`.
    pub outcome: &'static str,
    /// By which rules.
    pub rules: Vec<&'static str>,
}

impl Handle {
    /// Tries a policy on the newest `last` records of each lane that are kept, beside the destination's own.
    ///
    /// # Errors
    /// [`Error::NoDestination`]; [`Error::Audit`]: nothing was looked at; storage errors.
    pub async fn try_policy(
        &self,
        destination: &Slug,
        candidate: Policy,
        last: u64,
        actor: &str,
    ) -> Result<Trial, Error> {
        let shaper = self.shaper(destination)?;
        let last = last.min(TRIAL_RECORDS_MAX);
        let event = AuditEvent {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: AuditAction::PolicyTried,
            subject: destination.to_string(),
            detail: format!(
                "policy {} {} on the newest {last} records",
                candidate.label(),
                candidate.reference().sha256
            ),
        };
        self.spool.audit().record(&event)?;
        let _one_at_a_time = self.searching.lock().await;
        let handle = self.clone();
        tokio::task::spawn_blocking(move || handle.try_blocking(&shaper, &candidate, last))
            .await
            .unwrap_or(Err(Error::Spool(spool::Error::Internal("a trial of a policy failed"))))
    }

    fn try_blocking(&self, shaper: &Shaper, candidate: &Policy, last: u64) -> Result<Trial, Error> {
        let mut comparison = Comparison::default();
        let keys = shaper.keys_on_trial();
        let (mut not_for_it, mut unreadable) = (0, 0);
        for lane in Lane::ALL {
            let log = self.spool.lane(lane);
            let newest = *log.durable().borrow();
            for seq in newest.saturating_sub(last).saturating_add(1).max(log.oldest())..=newest {
                let record = match log.get_blocking(seq) {
                    Ok(Some(Entry::Record(record))) => record,
                    // It went while the trial ran.
                    Ok(None) | Err(spool::Error::Freed { .. }) => continue,
                    Ok(Some(_)) => {
                        unreadable += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let envelope: Envelope = codec::decode(&record.meta)?;
                let id = RecordId { lane, epoch: record.epoch, seq };
                let payload = match at_hand(&record.payload) {
                    Ok(Some(payload)) => payload,
                    // It goes nowhere: see `Shaper::shape_object`.
                    Ok(None) | Err(spool::Error::Damaged { .. }) => {
                        unreadable += 1;
                        continue;
                    }
                    Err(spool::Error::Freed { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                match shaper.read(&envelope, &payload) {
                    Err(Verdict::NotForIt { .. }) => not_for_it += 1,
                    Err(_) => unreadable += 1,
                    Ok(clinical) => {
                        let context = Context { seq, provenance: &envelope.provenance, keys: Some(&keys) };
                        let [first, second] =
                            [&*shaper.policy, candidate].map(|policy| policy.explain(&clinical, &context));
                        comparison.add(&id, &first, &second);
                    }
                }
            }
        }
        Ok(Trial {
            destination: shaper.destination.clone(),
            current: shaper.policy.reference().clone(),
            candidate: candidate.reference().clone(),
            not_for_it,
            unreadable,
            comparison: comparison.sorted(),
        })
    }

    /// What the policy of a destination makes of a record that is still kept, value by value.
    ///
    /// # Errors
    /// [`Error::NotKept`], [`Error::NoDestination`] and storage errors.
    pub async fn explain(&self, destination: &Slug, id: RecordId) -> Result<Explanation, Error> {
        let shaper = self.shaper(destination)?;
        let Some(Entry::Record(record)) = self.named(id).await? else { return Err(Error::NotKept { id }) };
        let envelope: Envelope = codec::decode(&record.meta)?;
        let payload = record.payload.bytes().await?;
        let (verdict, steps) = match shaper.read(&envelope, &payload) {
            Err(verdict) => (verdict, Vec::new()),
            Ok(clinical) => {
                let keys = shaper.keys_on_trial();
                let context = Context { seq: id.seq, provenance: &envelope.provenance, keys: Some(&keys) };
                let explained = shaper.policy.explain(&clinical, &context);
                let verdict = match explained.outcome {
                    Ok(_) => Verdict::Released,
                    Err(held) => Verdict::Held { why: held.why.to_string() },
                };
                let steps = explained.steps.into_iter().map(|step| Place {
                    outcome: step.outcome().as_str(),
                    path: step.path,
                    rules: step.rules,
                });
                (verdict, steps.collect())
            }
        };
        let policy = shaper.policy.reference().clone();
        Ok(Explanation { id, destination: destination.clone(), policy, verdict, steps })
    }

    fn shaper(&self, destination: &Slug) -> Result<Arc<Shaper>, Error> {
        let found = self.shapers.get(destination).map(Arc::clone);
        found.ok_or_else(|| Error::NoDestination { destination: destination.clone() })
    }
}

/// A payload as a whole; none where it is too large for any batch.
fn at_hand(payload: &Payload) -> Result<Option<Bytes>, spool::Error> {
    if let Some(bytes) = payload.at_hand() {
        return Ok(Some(bytes.clone()));
    }
    if payload.len() > RECORD_WIRE_BYTES_MAX {
        return Ok(None);
    }
    let mut whole = BytesMut::new();
    payload.pieces(&mut |piece| {
        whole.extend_from_slice(piece);
        Flow::On
    })?;
    Ok(Some(whole.freeze()))
}
