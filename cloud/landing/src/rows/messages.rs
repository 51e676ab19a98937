//! `messages`: one row for each HL7 message, from its MSH.

use model::Released;

use super::Manifest;
use super::build;
use super::hl7;
use crate::delta::{Partition, Schema};

build::columns! {
    record_id: String ! "The row of raw; with gateway and destination.",
    ordinal: Int ! "Place in the record, from 0; above 0 in batches of messages alone.",
    gateway: String ! "The box.",
    destination: String ! "The destination, as the gateway calls it.",
    feed: String ! "The feed.",
    lane: String ! "urgent, clinical or bulk.",
    epoch: Long ! "Incarnation of the lane's log.",
    seq: Long ! "Place in the stream.",
    origin: String ? "record_id of the record that this is an edited or released copy of.",
    received_at: Timestamp ? "When it arrived, where the policy lets it through.",
    received_year: Int ? "Its calendar year, UTC.",
    message_type: String ? "MSH-9.1, e.g. ADT.",
    trigger_event: String ? "MSH-9.2, e.g. A01.",
    structure: String ? "MSH-9.3, e.g. ADT_A01.",
    version: String ? "MSH-12.1, e.g. 2.5.1.",
    control_id: String ? "MSH-10 as released.",
    sending_application: String ? "MSH-3.1 as released.",
    sending_facility: String ? "MSH-4.1 as released.",
    receiving_application: String ? "MSH-5.1 as released.",
    receiving_facility: String ? "MSH-6.1 as released.",
    message_time: String ? "MSH-7.1 as released, HL7 DTM.",
    segments: Int ! "How many segments, MSH included.",
}
const INDEXED: &[&str] = &["epoch", "seq"];
const DOC: &str = "One row for each HL7 v2 message, from its header.";

pub(super) static BY_DAY: Schema =
    Schema { table: "messages", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Day };
pub(super) static BY_BUCKET: Schema =
    Schema { table: "messages", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Bucket };

impl Rows {
    /// A record's messages; none where it is not HL7.
    pub(super) fn push(&mut self, manifest: &Manifest, record: &Released) {
        let Some(message) = hl7::message(record) else { return };
        for (header, ordinal) in hl7::headers(&message).into_iter().zip(0..) {
            build::place!(self, manifest, record);
            self.ordinal.append_value(ordinal);
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
}
