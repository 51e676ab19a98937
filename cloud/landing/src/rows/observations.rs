//! `observations`: one row for each numeric of a device and for each OBX of an HL7 message.

use model::{Observation, Released, TimeValue, Value};

use super::Manifest;
use super::build;
use super::hl7::{self, Obx};
use crate::delta::{Partition, Schema};

build::columns! {
    record_id: String ! "The row of raw; with gateway and destination.",
    ordinal: Int ! "Place in the record, from 0.",
    gateway: String ! "The box.",
    destination: String ! "The destination, as the gateway calls it.",
    feed: String ! "The feed.",
    lane: String ! "urgent, clinical or bulk.",
    epoch: Long ! "Incarnation of the lane's log.",
    seq: Long ! "Place in the stream.",
    origin: String ? "record_id of the record that this is an edited or released copy of.",
    source: String ! "device (decoded at the gateway) or hl7 (an OBX).",
    device: String ? "The device, as the feed knows it.",
    code: String ? "Device: ISO/IEEE 11073-10101 reference id. HL7: OBX-3.1.",
    code_text: String ? "HL7: OBX-3.2.",
    code_system: String ? "Device: MDC. HL7: OBX-3.3.",
    loinc: String ? "LOINC, where the profile or either half of OBX-3 gives one.",
    sub_id: String ? "HL7: OBX-4.",
    value_type: String ? "Device: NM. HL7: OBX-2.",
    value: Double ? "The number, in `unit`; null where there is none, never 0 instead.",
    value_text: String ? "HL7: OBX-5 as released, up to 64 KiB.",
    unit: String ? "Device: UCUM. HL7: OBX-6.1 as released.",
    ucum: String ? "The unit where it is known to be UCUM.",
    absent_reason: String ? "Why a device gives no value; too-long where OBX-5 exceeds value_text.",
    quality: String ? "Device: good, questionable or test.",
    interpretation: String ? "HL7: OBX-8.1, e.g. H.",
    status: String ? "HL7: OBX-11, e.g. F.",
    device_time: Timestamp ? "The device's own time, uncorrected.",
    device_year: Int ? "Its calendar year.",
    time: Timestamp ? "Device: arrival. HL7: OBX-14 where it has a UTC offset.",
    year: Int ? "Its calendar year.",
    time_text: String ? "HL7: OBX-14.1 as released.",
}
const INDEXED: &[&str] = &["epoch", "seq"];
const DOC: &str = "One row for each numeric of a device and each OBX segment.";

pub(super) static BY_DAY: Schema =
    Schema { table: "observations", doc: DOC, columns: COLUMNS, indexed: INDEXED, partition: Partition::Day };
pub(super) static BY_BUCKET: Schema = Schema {
    table: "observations",
    doc: DOC,
    columns: COLUMNS,
    indexed: INDEXED,
    partition: Partition::Bucket,
};

impl Rows {
    /// A record's observations: the device's, or those of its HL7 message.
    pub(super) fn push(&mut self, manifest: &Manifest, record: &Released) {
        let mut ordinal = 0;
        for observation in &record.observations {
            self.place(manifest, record, ordinal);
            self.device(observation);
            ordinal += 1;
        }
        if let Some(message) = hl7::message(record) {
            for obx in hl7::observations(&message) {
                self.place(manifest, record, ordinal);
                self.obx(obx);
                ordinal += 1;
            }
        }
    }

    fn place(&mut self, manifest: &Manifest, record: &Released, ordinal: i32) {
        build::place!(self, manifest, record);
        self.ordinal.append_value(ordinal);
    }

    fn device(&mut self, observation: &Observation) {
        // A number that is none is not stored as one.
        let (value, absent) = match &observation.value {
            Value::Number(number) if number.is_finite() => (Some(*number), None),
            Value::Number(_) => (None, Some("invalid")),
            Value::Absent(reason) => (None, Some(reason.as_str())),
        };
        self.source.append_value("device");
        self.device.append_option(observation.device.as_deref());
        self.code.append_value(&observation.metric);
        self.code_text.append_null();
        self.code_system.append_value("MDC");
        self.loinc.append_option(observation.loinc.as_deref());
        self.sub_id.append_null();
        self.value_type.append_value("NM");
        self.value.append_option(value);
        self.value_text.append_null();
        self.unit.append_value(&observation.ucum);
        self.ucum.append_value(&observation.ucum);
        self.absent_reason.append_option(absent);
        self.quality.append_value(observation.quality.as_str());
        self.interpretation.append_null();
        self.status.append_null();
        build::time(observation.device_time, &mut self.device_time, &mut self.device_year);
        build::time(observation.time, &mut self.time, &mut self.year);
        self.time_text.append_null();
    }

    fn obx(&mut self, obx: Obx) {
        self.source.append_value("hl7");
        self.device.append_null();
        self.code.append_option(obx.code);
        self.code_text.append_option(obx.code_text);
        self.code_system.append_option(obx.code_system);
        self.loinc.append_option(obx.loinc);
        self.sub_id.append_option(obx.sub_id);
        self.value_type.append_option(obx.value_type);
        self.value.append_option(obx.value);
        self.value_text.append_option(obx.value_text);
        self.unit.append_option(obx.unit);
        self.ucum.append_option(obx.ucum);
        self.absent_reason.append_option(obx.too_long.then_some("too-long"));
        self.quality.append_null();
        self.interpretation.append_option(obx.interpretation);
        self.status.append_option(obx.status);
        build::time(None, &mut self.device_time, &mut self.device_year);
        build::time(obx.time.map(TimeValue::Instant), &mut self.time, &mut self.year);
        self.time_text.append_option(obx.time_text);
    }
}
