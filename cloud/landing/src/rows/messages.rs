//! `messages`: one row for each HL7 message, from its MSH.

use deltalake_core::arrow::array::{
    Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use model::{RecordId, Released};

use super::Manifest;
use super::build::{self, Finish as _};
use super::hl7;
use crate::delta::{Column, Error, Kind, Partition, Schema};

const COLUMNS: &[Column] = &[
    column("record_id", Kind::String, false, "The row of raw; with gateway and destination."),
    column("ordinal", Kind::Int, false, "Place in the record, from 0; above 0 in batches of messages alone."),
    column("gateway", Kind::String, false, "The box."),
    column("destination", Kind::String, false, "The destination, as the gateway calls it."),
    column("feed", Kind::String, false, "The feed."),
    column("lane", Kind::String, false, "urgent, clinical or bulk."),
    column("epoch", Kind::Long, false, "Incarnation of the lane's log."),
    column("seq", Kind::Long, false, "Place in the stream."),
    column(
        "origin",
        Kind::String,
        true,
        "record_id of the record that this is an edited or released copy of.",
    ),
    column("received_at", Kind::Timestamp, true, "When it arrived, where the policy lets it through."),
    column("received_year", Kind::Int, true, "Its calendar year, UTC."),
    column("message_type", Kind::String, true, "MSH-9.1, e.g. ADT."),
    column("trigger_event", Kind::String, true, "MSH-9.2, e.g. A01."),
    column("structure", Kind::String, true, "MSH-9.3, e.g. ADT_A01."),
    column("version", Kind::String, true, "MSH-12.1, e.g. 2.5.1."),
    column("control_id", Kind::String, true, "MSH-10 as released."),
    column("sending_application", Kind::String, true, "MSH-3.1 as released."),
    column("sending_facility", Kind::String, true, "MSH-4.1 as released."),
    column("receiving_application", Kind::String, true, "MSH-5.1 as released."),
    column("receiving_facility", Kind::String, true, "MSH-6.1 as released."),
    column("message_time", Kind::String, true, "MSH-7.1 as released, HL7 DTM."),
    column("segments", Kind::Int, false, "How many segments, MSH included."),
];
const INDEXED: &[&str] = &["epoch", "seq"];
const DOC: &str = "One row for each HL7 v2 message, from its header.";

pub(super) static BY_DAY: Schema =
    Schema { table: "messages", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Day };
pub(super) static BY_BUCKET: Schema =
    Schema { table: "messages", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Bucket };

const fn column(name: &'static str, kind: Kind, nullable: bool, doc: &'static str) -> Column {
    Column { name, kind, nullable, doc }
}

/// Rows being gathered.
pub(super) struct Rows {
    schema: &'static Schema,
    record_id: StringBuilder,
    ordinal: Int32Builder,
    gateway: StringBuilder,
    destination: StringBuilder,
    feed: StringBuilder,
    lane: StringBuilder,
    epoch: Int64Builder,
    seq: Int64Builder,
    origin: StringBuilder,
    received_at: TimestampMicrosecondBuilder,
    received_year: Int32Builder,
    message_type: StringBuilder,
    trigger_event: StringBuilder,
    structure: StringBuilder,
    version: StringBuilder,
    control_id: StringBuilder,
    sending_application: StringBuilder,
    sending_facility: StringBuilder,
    receiving_application: StringBuilder,
    receiving_facility: StringBuilder,
    message_time: StringBuilder,
    segments: Int32Builder,
}

impl Rows {
    pub(super) fn new(schema: &'static Schema) -> Self {
        Self {
            schema,
            record_id: StringBuilder::new(),
            ordinal: Int32Builder::new(),
            gateway: StringBuilder::new(),
            destination: StringBuilder::new(),
            feed: StringBuilder::new(),
            lane: StringBuilder::new(),
            epoch: Int64Builder::new(),
            seq: Int64Builder::new(),
            origin: StringBuilder::new(),
            received_at: build::timestamps(),
            received_year: Int32Builder::new(),
            message_type: StringBuilder::new(),
            trigger_event: StringBuilder::new(),
            structure: StringBuilder::new(),
            version: StringBuilder::new(),
            control_id: StringBuilder::new(),
            sending_application: StringBuilder::new(),
            sending_facility: StringBuilder::new(),
            receiving_application: StringBuilder::new(),
            receiving_facility: StringBuilder::new(),
            message_time: StringBuilder::new(),
            segments: Int32Builder::new(),
        }
    }

    /// A record's messages; none where it is not HL7.
    pub(super) fn push(&mut self, manifest: &Manifest, record: &Released) {
        let Some(message) = hl7::message(record) else { return };
        let id = RecordId { lane: manifest.lane, epoch: manifest.epoch, seq: record.seq };
        for (header, ordinal) in hl7::headers(&message).into_iter().zip(0..) {
            self.record_id.append_value(id.to_string());
            self.ordinal.append_value(ordinal);
            self.gateway.append_value(manifest.gateway.as_str());
            self.destination.append_value(manifest.destination.as_str());
            self.feed.append_value(record.feed.as_str());
            self.lane.append_value(manifest.lane.as_str());
            self.epoch.append_value(build::long(manifest.epoch.get()));
            self.seq.append_value(build::long(record.seq));
            self.origin.append_option(record.origin.map(|o| o.to_string()));
            build::time(record.received_at, &mut self.received_at, &mut self.received_year);
            self.message_type.append_option(header.message_type);
            self.trigger_event.append_option(header.trigger_event);
            self.structure.append_option(header.structure);
            self.version.append_option(header.version);
            self.control_id.append_option(header.control_id);
            self.sending_application.append_option(header.sending_application);
            self.sending_facility.append_option(header.sending_facility);
            self.receiving_application.append_option(header.receiving_application);
            self.receiving_facility.append_option(header.receiving_facility);
            self.message_time.append_option(header.message_time);
            self.segments.append_value(header.segments);
        }
    }

    pub(super) fn finish(mut self) -> Result<RecordBatch, Error> {
        let columns = vec![
            self.record_id.done(),
            self.ordinal.done(),
            self.gateway.done(),
            self.destination.done(),
            self.feed.done(),
            self.lane.done(),
            self.epoch.done(),
            self.seq.done(),
            self.origin.done(),
            self.received_at.done(),
            self.received_year.done(),
            self.message_type.done(),
            self.trigger_event.done(),
            self.structure.done(),
            self.version.done(),
            self.control_id.done(),
            self.sending_application.done(),
            self.sending_facility.done(),
            self.receiving_application.done(),
            self.receiving_facility.done(),
            self.message_time.done(),
            self.segments.done(),
        ];
        build::batch(self.schema, columns)
    }
}
