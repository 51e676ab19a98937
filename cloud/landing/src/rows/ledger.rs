//! `ledger`: one row for each batch: what it covered, what it left out and why.

use super::build;
use super::{LandedBatch, names_days};
use crate::delta::{Partition, Schema};

build::columns! {
    gateway: String ! "The box, as its certificate names it.",
    destination: String ! "The destination, as the gateway calls it.",
    lane: String ! "urgent, clinical or bulk.",
    epoch: Long ! "Incarnation of the lane's log.",
    first: Long ! "First number that the batch covers.",
    last: Long ! "Last number, inclusive; the next batch begins one after it.",
    rows: Long ! "How many of them are rows of raw.",
    skipped: Long ! "How many are not; rows + skipped = last - first + 1.",
    skipped_reasons: String ! "JSON object: reason to count.",
    skipped_ranges: String ! "JSON array of [first, last, reason].",
    bytes_raw: Long ! "Size of the batch before compression.",
    bytes_wire: Long ! "Size of the batch as sent.",
    manifest_sha256: String ! "SHA-256 of the batch before compression, hex.",
    policy: String ! "Label of the policy.",
    policy_name: String ! "The policy's name at the gateway.",
    policy_sha256: String ! "SHA-256 of the compiled policy, hex.",
    committed_at: Timestamp ? "When the batch was committed; null under safe-harbor and expert-determination.",
    raw_version: Long ! "Version of raw that holds its rows.",
}

pub(super) static SCHEMA: Schema = Schema {
    table: "ledger",
    doc: "One row for each batch: the range it covers, its rows, and what was skipped and why.",
    columns: COLUMNS,
    indexed: &["epoch", "first", "last", "raw_version"],
    partition: Partition::None,
};

impl Rows {
    pub(super) fn push(&mut self, batch: &LandedBatch, policy: &str) {
        let manifest = &batch.manifest;
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default().to_string();
        self.gateway.append_value(manifest.gateway.as_str());
        self.destination.append_value(manifest.destination.as_str());
        self.lane.append_value(manifest.lane.as_str());
        self.epoch.append_value(build::long(manifest.epoch.get()));
        self.first.append_value(build::long(manifest.first));
        self.last.append_value(build::long(manifest.last));
        self.rows.append_value(build::long(manifest.rows));
        self.skipped.append_value(build::long(manifest.skipped_count()));
        self.skipped_reasons.append_value(json(serde_json::to_value(manifest.skipped_by_reason())));
        self.skipped_ranges.append_value(json(serde_json::to_value(&manifest.skipped)));
        self.bytes_raw.append_value(build::long(manifest.bytes_raw));
        self.bytes_wire.append_value(build::long(manifest.bytes_wire));
        self.manifest_sha256.append_value(&manifest.manifest_sha256);
        self.policy.append_value(&manifest.policy.label);
        self.policy_name.append_value(&manifest.policy.name);
        self.policy_sha256.append_value(&manifest.policy.sha256);
        // With ranges beside it, the time of a commit dates every record of the batch.
        let committed_at = Some(batch.committed_at.micros()).filter(|_| names_days(policy));
        self.committed_at.append_option(committed_at);
        self.raw_version.append_value(build::long(batch.raw_version));
    }
}
