//! `raw`: one row for each record, with all that is needed to make the other tables from it.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake_core::arrow::array::{Array as _, AsArray as _, BinaryArray, RecordBatch, StringArray};
use deltalake_core::arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use model::{Format, Observation, RecordId, Released, StreamId, TimeValue, Timestamp, codec};
use serde_bytes::ByteBuf;

use super::build;
use super::{LandedBatch, Manifest};
use crate::delta::{Error, Partition, Schema};

build::columns! {
    record_id: String ! "LANE-EPOCH-SEQ; unique with gateway and destination.",
    gateway: String ! "The box, as its certificate names it.",
    destination: String ! "The destination, as the gateway calls it.",
    feed: String ! "The feed that took the record in.",
    lane: String ! "urgent, clinical or bulk.",
    epoch: Long ! "Incarnation of the lane's log.",
    seq: Long ! "Place in the stream, from 1.",
    origin: String ? "record_id of the record that this is an edited or released copy of.",
    format: String ! "hl7v2, fhir, unparsed or device.",
    profile: String ? "For format device: the device profile that decoded it.",
    policy: String ! "Label of the policy: treatment, limited-data-set, expert-determination or safe-harbor.",
    policy_name: String ! "The policy's name at the gateway.",
    policy_sha256: String ! "SHA-256 of the compiled policy, hex.",
    received_at: Timestamp ? "When the first byte arrived, where the policy lets it through.",
    received_year: Int ? "Its calendar year, UTC.",
    peer: String ? "The sender, where the policy lets it through.",
    channel: String ? "Topic, file name or FHIR interaction, where the policy lets it through.",
    message_type: String ? "HL7 MSH-9 as sent, or the type of a FHIR resource.",
    control_id: String ? "HL7 MSH-10, where the policy lets it through.",
    rules: String ? "Value-free receipt: JSON object of rule to count of values touched.",
    observations: Binary ? "Decoded device values as CBOR; query the table observations.",
    manifest_sha256: String ! "The batch it came in; joins with ledger.",
    payload: Binary ! "The released bytes.",
    charset: String ? "HL7: the character set of payload, as table 0211 names it; null where an older gateway did not say it.",
}
const INDEXED: &[&str] = &["epoch", "seq"];
const DOC: &str = "One row for each record, as the policy released it.";

pub(super) static BY_DAY: Schema =
    Schema { table: "raw", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Day };
pub(super) static BY_BUCKET: Schema =
    Schema { table: "raw", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Bucket };

impl Rows {
    pub(super) fn push(&mut self, manifest: &Manifest, record: &Released) -> Result<(), Error> {
        build::place!(self, manifest, record);
        self.format.append_value(record.format.as_str());
        self.profile.append_option(match &record.format {
            Format::Device(profile) => Some(profile),
            Format::Hl7v2 | Format::Fhir | Format::Unparsed => None,
        });
        self.policy.append_value(&manifest.policy.label);
        self.policy_name.append_value(&manifest.policy.name);
        self.policy_sha256.append_value(&manifest.policy.sha256);
        build::time(record.received_at, &mut self.received_at, &mut self.received_year);
        self.peer.append_option(record.peer.as_deref());
        self.channel.append_option(record.channel.as_deref());
        self.message_type.append_option(record.message_type.as_deref());
        self.control_id.append_option(record.control_id.as_deref());
        let rules: serde_json::Map<_, _> =
            record.rules.iter().map(|(rule, count)| (rule.clone(), (*count).into())).collect();
        self.rules.append_option((!rules.is_empty()).then(|| serde_json::Value::from(rules).to_string()));
        if record.observations.is_empty() {
            self.observations.append_null();
        } else {
            let encoded = codec::encode(&record.observations)
                .map_err(|e| Error::Manifest { version: 0, why: e.to_string() })?;
            self.observations.append_value(encoded);
        }
        self.manifest_sha256.append_value(&manifest.manifest_sha256);
        self.payload.append_value(&record.payload);
        self.charset.append_option(record.charset.as_deref());
        Ok(())
    }
}

/// Puts the rows of a commit back into the batches that its manifests describe.
pub(crate) fn unpack(
    rows: &[RecordBatch],
    manifests: Vec<Manifest>,
    committed_at: Timestamp,
    raw_version: u64,
) -> Result<Vec<LandedBatch>, Error> {
    let broken = |why: &str| Error::Manifest { version: raw_version, why: why.to_owned() };
    let mut by_stream: HashMap<StreamId, Vec<Released>> = HashMap::new();
    for batch in rows {
        let columns = Columns::of(batch).ok_or_else(|| broken("its rows have other columns"))?;
        for row in 0..batch.num_rows() {
            let (stream, record) = columns.record(row).ok_or_else(|| broken("a row cannot be read back"))?;
            by_stream.entry(stream).or_default().push(record);
        }
    }
    for records in by_stream.values_mut() {
        records.sort_by_key(|r| r.seq);
    }
    let mut landed = Vec::with_capacity(manifests.len());
    for manifest in manifests {
        let records = by_stream.get(&manifest.stream()).map(Vec::as_slice).unwrap_or_default();
        let from = records.partition_point(|r| r.seq < manifest.first);
        let to = records.partition_point(|r| r.seq <= manifest.last);
        let records = records.get(from..to).unwrap_or_default().to_vec();
        if records.len() as u64 != manifest.rows {
            return Err(broken("it states another number of rows than its files hold"));
        }
        landed.push(LandedBatch { manifest, records: Arc::new(records), committed_at, raw_version });
    }
    Ok(landed)
}

/// The columns of a file, typed.
struct Columns<'b> {
    batch: &'b RecordBatch,
    observations: &'b BinaryArray,
    payload: &'b BinaryArray,
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch) -> Option<Self> {
        let binary = |name| batch.column_by_name(name).and_then(|c| c.as_binary_opt::<i32>());
        Some(Self { batch, observations: binary("observations")?, payload: binary("payload")? })
    }

    fn text(&self, name: &str, row: usize) -> Option<&'b str> {
        let column: &StringArray = self.batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn owned(&self, name: &str, row: usize) -> Option<String> {
        self.text(name, row).map(str::to_owned)
    }

    fn record(&self, row: usize) -> Option<(StreamId, Released)> {
        let seq = self.batch.column_by_name("seq")?.as_primitive_opt::<Int64Type>()?.value(row);
        let id: RecordId = self.text("record_id", row)?.parse().ok()?;
        let stream = StreamId {
            gateway: self.text("gateway", row)?.parse().ok()?,
            destination: self.text("destination", row)?.parse().ok()?,
            lane: id.lane,
            epoch: id.epoch,
        };
        let at = self.batch.column_by_name("received_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
        let year = self.batch.column_by_name("received_year")?.as_primitive_opt::<Int32Type>()?;
        let received_at = if at.is_valid(row) {
            Some(TimeValue::Instant(Timestamp::from_micros(at.value(row))))
        } else if year.is_valid(row) {
            Some(TimeValue::Year(i16::try_from(year.value(row)).ok()?))
        } else {
            None
        };
        let observations: Vec<Observation> = if self.observations.is_valid(row) {
            codec::decode(self.observations.value(row)).ok()?
        } else {
            Vec::new()
        };
        let rules: HashMap<String, u32> = match self.text("rules", row) {
            Some(json) => serde_json::from_str(json).ok()?,
            None => HashMap::new(),
        };
        let mut rules: Vec<_> = rules.into_iter().collect();
        rules.sort();
        let record = Released {
            seq: u64::try_from(seq).ok()?,
            origin: self.text("origin", row).map(str::parse).transpose().ok()?,
            feed: self.text("feed", row)?.parse().ok()?,
            format: match self.text("format", row)? {
                "hl7v2" => Format::Hl7v2,
                "fhir" => Format::Fhir,
                "unparsed" => Format::Unparsed,
                "device" => Format::Device(self.owned("profile", row)?),
                _ => return None,
            },
            received_at,
            peer: self.owned("peer", row),
            channel: self.owned("channel", row),
            message_type: self.owned("message_type", row),
            control_id: self.owned("control_id", row),
            observations,
            charset: self.owned("charset", row),
            payload: ByteBuf::from(self.payload.value(row)),
            rules,
        };
        Some((stream, record))
    }
}
