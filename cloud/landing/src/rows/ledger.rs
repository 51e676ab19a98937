//! `ledger`: one row for each batch: what it covered, what it left out and why.

use deltalake_core::arrow::array::{Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};

use super::build::{self, Finish as _};
use super::{LandedBatch, SAFE_HARBOR};
use crate::delta::{Column, Error, Kind, Partition, Schema};

const COLUMNS: &[Column] = &[
    column("gateway", Kind::String, false, "The box, as its certificate names it."),
    column("destination", Kind::String, false, "The destination, as the gateway calls it."),
    column("lane", Kind::String, false, "urgent, clinical or bulk."),
    column("epoch", Kind::Long, false, "Incarnation of the lane's log."),
    column("first", Kind::Long, false, "First number that the batch covers."),
    column("last", Kind::Long, false, "Last number, inclusive; the next batch begins one after it."),
    column("rows", Kind::Long, false, "How many of them are rows of raw."),
    column("skipped", Kind::Long, false, "How many are not; rows + skipped = last - first + 1."),
    column("skipped_reasons", Kind::String, false, "JSON object: reason to count."),
    column("skipped_ranges", Kind::String, false, "JSON array of [first, last, reason]."),
    column("bytes_raw", Kind::Long, false, "Size of the batch before compression."),
    column("bytes_wire", Kind::Long, false, "Size of the batch as sent."),
    column("manifest_sha256", Kind::String, false, "SHA-256 of the batch before compression, hex."),
    column("policy", Kind::String, false, "Label of the policy."),
    column("policy_name", Kind::String, false, "The policy's name at the gateway."),
    column("policy_sha256", Kind::String, false, "SHA-256 of the compiled policy, hex."),
    column("committed_at", Kind::Timestamp, true, "When the batch was committed; null under safe-harbor."),
    column("raw_version", Kind::Long, false, "Version of raw that holds its rows."),
];

pub(super) static SCHEMA: Schema = Schema {
    table: "ledger",
    doc: "One row for each batch: the range it covers, its rows, and what was skipped and why.",
    columns: COLUMNS,
    indexed: &["epoch", "first", "last", "raw_version"],
    partition: Partition::None,
};

const fn column(name: &'static str, kind: Kind, nullable: bool, doc: &'static str) -> Column {
    Column { name, kind, nullable, doc }
}

/// Rows being gathered.
pub(super) struct Rows {
    schema: &'static Schema,
    gateway: StringBuilder,
    destination: StringBuilder,
    lane: StringBuilder,
    epoch: Int64Builder,
    first: Int64Builder,
    last: Int64Builder,
    rows: Int64Builder,
    skipped: Int64Builder,
    skipped_reasons: StringBuilder,
    skipped_ranges: StringBuilder,
    bytes_raw: Int64Builder,
    bytes_wire: Int64Builder,
    manifest_sha256: StringBuilder,
    policy: StringBuilder,
    policy_name: StringBuilder,
    policy_sha256: StringBuilder,
    committed_at: TimestampMicrosecondBuilder,
    raw_version: Int64Builder,
}

impl Rows {
    pub(super) fn new(schema: &'static Schema) -> Self {
        Self {
            schema,
            gateway: StringBuilder::new(),
            destination: StringBuilder::new(),
            lane: StringBuilder::new(),
            epoch: Int64Builder::new(),
            first: Int64Builder::new(),
            last: Int64Builder::new(),
            rows: Int64Builder::new(),
            skipped: Int64Builder::new(),
            skipped_reasons: StringBuilder::new(),
            skipped_ranges: StringBuilder::new(),
            bytes_raw: Int64Builder::new(),
            bytes_wire: Int64Builder::new(),
            manifest_sha256: StringBuilder::new(),
            policy: StringBuilder::new(),
            policy_name: StringBuilder::new(),
            policy_sha256: StringBuilder::new(),
            committed_at: build::timestamps(),
            raw_version: Int64Builder::new(),
        }
    }

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
        let committed_at = Some(batch.committed_at.micros()).filter(|_| policy != SAFE_HARBOR);
        self.committed_at.append_option(committed_at);
        self.raw_version.append_value(build::long(batch.raw_version));
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, Error> {
        let columns = vec![
            self.gateway.done(),
            self.destination.done(),
            self.lane.done(),
            self.epoch.done(),
            self.first.done(),
            self.last.done(),
            self.rows.done(),
            self.skipped.done(),
            self.skipped_reasons.done(),
            self.skipped_ranges.done(),
            self.bytes_raw.done(),
            self.bytes_wire.done(),
            self.manifest_sha256.done(),
            self.policy.done(),
            self.policy_name.done(),
            self.policy_sha256.done(),
            self.committed_at.done(),
            self.raw_version.done(),
        ];
        build::batch(self.schema, columns)
    }
}
