//! What stands in the tables: from a landed batch to rows, and from rows of `raw` back to a batch.
//!
//! **Promise.** Everything that the other tables hold can be made again from `raw` and the manifests in its log.
//!
//! `docs/tables.md` says the same for those who query; a test holds the two together.

mod build;
mod hl7;
mod ledger;
mod messages;
mod observations;
mod raw;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use model::{Lane, PolicyRef, Reason, Released, Seq, Slug, StreamEpoch, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::delta::{Error, Part, Partition, Schema};

pub(crate) use self::hl7::counts;
pub(crate) use self::raw::unpack;

/// How many sequence numbers share a folder where days would say too much.
pub(crate) const SEQ_BUCKET: u64 = 1_000_000;
/// The label of the policy that lets through no time finer than a year.
pub(crate) const SAFE_HARBOR: &str = "safe-harbor";
/// The labels under which no table of ours names a day: under the second, dates may be shifted, and the day on which a row
/// came would give the shift away.
const WITHOUT_DAYS: [&str; 2] = [SAFE_HARBOR, "expert-determination"];
/// Longest `value_text` of an observation, in bytes; longer ones are in the payload alone.
pub(crate) const VALUE_TEXT_BYTES_MAX: usize = 64 << 10;

/// The tables that follow `raw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silver {
    Messages,
    Observations,
    Ledger,
}

impl Silver {
    pub(crate) const ALL: [Self; 3] = [Self::Messages, Self::Observations, Self::Ledger];
}

/// How a root's rows are cut into folders.
pub(crate) fn partition(policy: &str) -> Partition {
    if names_days(policy) { Partition::Day } else { Partition::Bucket }
}

/// Whether tables may say on which day something came.
pub(crate) fn names_days(policy: &str) -> bool {
    !WITHOUT_DAYS.contains(&policy)
}

/// The columns of `raw` under a policy.
pub(crate) fn raw_schema(policy: &str) -> &'static Schema {
    match partition(policy) {
        Partition::Bucket => &raw::BY_BUCKET,
        Partition::Day | Partition::None => &raw::BY_DAY,
    }
}

/// The columns of another table under a policy.
pub(crate) fn silver_schema(table: Silver, policy: &str) -> &'static Schema {
    match (table, partition(policy)) {
        (Silver::Ledger, _) => &ledger::SCHEMA,
        (Silver::Messages, Partition::Bucket) => &messages::BY_BUCKET,
        (Silver::Messages, _) => &messages::BY_DAY,
        (Silver::Observations, Partition::Bucket) => &observations::BY_BUCKET,
        (Silver::Observations, _) => &observations::BY_DAY,
    }
}

/// What the log of `raw` says of a batch, beside its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) gateway: Slug,
    pub(crate) destination: Slug,
    pub(crate) lane: Lane,
    pub(crate) epoch: StreamEpoch,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) rows: u64,
    /// First, last and reason of each run without rows.
    pub(crate) skipped: Vec<(Seq, Seq, Reason)>,
    pub(crate) bytes_raw: u64,
    pub(crate) bytes_wire: u64,
    pub(crate) manifest_sha256: String,
    pub(crate) policy: PolicyRef,
}

impl Manifest {
    pub(crate) fn stream(&self) -> StreamId {
        StreamId {
            gateway: self.gateway.clone(),
            destination: self.destination.clone(),
            lane: self.lane,
            epoch: self.epoch,
        }
    }

    pub(crate) fn skipped_count(&self) -> u64 {
        self.skipped.iter().map(|(first, last, _)| last.saturating_sub(*first).saturating_add(1)).sum()
    }

    fn skipped_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (first, last, reason) in &self.skipped {
            *counts.entry(reason.as_str()).or_default() += last.saturating_sub(*first).saturating_add(1);
        }
        counts
    }
}

/// A batch with its place in `raw`.
#[derive(Debug, Clone)]
pub(crate) struct LandedBatch {
    pub(crate) manifest: Manifest,
    pub(crate) records: std::sync::Arc<Vec<Released>>,
    pub(crate) committed_at: Timestamp,
    pub(crate) raw_version: u64,
}

/// Rows of `raw` for batches that are to be committed at `committed_at`. Blocking.
pub(crate) fn raw_parts<'b>(
    batches: impl Iterator<Item = (&'b Manifest, &'b [Released])>,
    policy: &str,
    committed_at: Timestamp,
) -> Result<Vec<Part>, Error> {
    let mut parts = Cut::new(policy, || raw::Rows::new(raw_schema(policy)));
    for (manifest, records) in batches {
        for record in records {
            parts.at(record.seq, committed_at).push(manifest, record)?;
        }
    }
    parts.finish(raw::Rows::finish)
}

/// Rows of another table for batches that were committed. Blocking.
pub(crate) fn silver_parts(table: Silver, batches: &[LandedBatch], policy: &str) -> Result<Vec<Part>, Error> {
    let schema = silver_schema(table, policy);
    match table {
        Silver::Ledger => {
            let mut rows = ledger::Rows::new(schema);
            for batch in batches {
                rows.push(batch, policy);
            }
            Ok(vec![Part { partition: None, rows: rows.finish()? }])
        }
        Silver::Messages => {
            let mut parts = Cut::new(policy, || messages::Rows::new(schema));
            for_each_record(batches, |batch, record| {
                parts.at(record.seq, batch.committed_at).push(&batch.manifest, record);
            });
            parts.finish(messages::Rows::finish)
        }
        Silver::Observations => {
            let mut parts = Cut::new(policy, || observations::Rows::new(schema));
            for_each_record(batches, |batch, record| {
                parts.at(record.seq, batch.committed_at).push(&batch.manifest, record);
            });
            parts.finish(observations::Rows::finish)
        }
    }
}

fn for_each_record(batches: &[LandedBatch], mut each: impl FnMut(&LandedBatch, &Released)) {
    for batch in batches {
        for record in batch.records.iter() {
            each(batch, record);
        }
    }
}

/// Rows by partition.
struct Cut<R, N: Fn() -> R> {
    by: Partition,
    new: N,
    parts: BTreeMap<String, R>,
}

impl<R, N: Fn() -> R> Cut<R, N> {
    fn new(policy: &str, new: N) -> Self {
        Self { by: partition(policy), new, parts: BTreeMap::new() }
    }

    fn at(&mut self, seq: Seq, committed_at: Timestamp) -> &mut R {
        let value = match self.by {
            Partition::Bucket => (seq / SEQ_BUCKET).to_string(),
            Partition::Day | Partition::None => day(committed_at),
        };
        self.parts.entry(value).or_insert_with(&self.new)
    }

    fn finish(
        self,
        finish: impl Fn(R) -> Result<deltalake_core::arrow::array::RecordBatch, Error>,
    ) -> Result<Vec<Part>, Error> {
        let part = |(value, rows)| Ok(Part { partition: Some(value), rows: finish(rows)? });
        self.parts.into_iter().map(part).collect()
    }
}

/// `2026-11-24`, UTC.
fn day(at: Timestamp) -> String {
    at.to_string().split('T').next().unwrap_or_default().to_owned()
}
