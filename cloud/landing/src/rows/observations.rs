//! `observations`: one row for each numeric of a device and for each OBX of an HL7 message.

use deltalake_core::arrow::array::{
    Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use model::{Observation, RecordId, Released, TimeValue, Value};

use super::Manifest;
use super::build::{self, Finish as _};
use super::hl7::{self, Obx};
use crate::delta::{Column, Error, Kind, Partition, Schema};

const COLUMNS: &[Column] = &[
    column("record_id", Kind::String, false, "The row of raw; with gateway and destination."),
    column("ordinal", Kind::Int, false, "Place in the record, from 0."),
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
    column("source", Kind::String, false, "device (decoded at the gateway) or hl7 (an OBX)."),
    column("device", Kind::String, true, "The device, as the feed knows it."),
    column("code", Kind::String, true, "Device: ISO/IEEE 11073-10101 reference id. HL7: OBX-3.1."),
    column("code_text", Kind::String, true, "HL7: OBX-3.2."),
    column("code_system", Kind::String, true, "Device: MDC. HL7: OBX-3.3."),
    column("loinc", Kind::String, true, "LOINC, where the profile or either half of OBX-3 gives one."),
    column("sub_id", Kind::String, true, "HL7: OBX-4."),
    column("value_type", Kind::String, true, "Device: NM. HL7: OBX-2."),
    column("value", Kind::Double, true, "The number, in `unit`; null where there is none, never 0 instead."),
    column("value_text", Kind::String, true, "HL7: OBX-5 as released, up to 64 KiB."),
    column("unit", Kind::String, true, "Device: UCUM. HL7: OBX-6.1 as released."),
    column("ucum", Kind::String, true, "The unit where it is known to be UCUM."),
    column(
        "absent_reason",
        Kind::String,
        true,
        "Why a device gives no value; too-long where OBX-5 exceeds value_text.",
    ),
    column("quality", Kind::String, true, "Device: good, questionable or test."),
    column("interpretation", Kind::String, true, "HL7: OBX-8.1, e.g. H."),
    column("status", Kind::String, true, "HL7: OBX-11, e.g. F."),
    column("device_time", Kind::Timestamp, true, "The device's own time, uncorrected."),
    column("device_year", Kind::Int, true, "Its calendar year."),
    column("time", Kind::Timestamp, true, "Device: arrival. HL7: OBX-14 where it has a UTC offset."),
    column("year", Kind::Int, true, "Its calendar year."),
    column("time_text", Kind::String, true, "HL7: OBX-14.1 as released."),
];
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
    source: StringBuilder,
    device: StringBuilder,
    code: StringBuilder,
    code_text: StringBuilder,
    code_system: StringBuilder,
    loinc: StringBuilder,
    sub_id: StringBuilder,
    value_type: StringBuilder,
    value: Float64Builder,
    value_text: StringBuilder,
    unit: StringBuilder,
    ucum: StringBuilder,
    absent_reason: StringBuilder,
    quality: StringBuilder,
    interpretation: StringBuilder,
    status: StringBuilder,
    device_time: TimestampMicrosecondBuilder,
    device_year: Int32Builder,
    time: TimestampMicrosecondBuilder,
    year: Int32Builder,
    time_text: StringBuilder,
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
            source: StringBuilder::new(),
            device: StringBuilder::new(),
            code: StringBuilder::new(),
            code_text: StringBuilder::new(),
            code_system: StringBuilder::new(),
            loinc: StringBuilder::new(),
            sub_id: StringBuilder::new(),
            value_type: StringBuilder::new(),
            value: Float64Builder::new(),
            value_text: StringBuilder::new(),
            unit: StringBuilder::new(),
            ucum: StringBuilder::new(),
            absent_reason: StringBuilder::new(),
            quality: StringBuilder::new(),
            interpretation: StringBuilder::new(),
            status: StringBuilder::new(),
            device_time: build::timestamps(),
            device_year: Int32Builder::new(),
            time: build::timestamps(),
            year: Int32Builder::new(),
            time_text: StringBuilder::new(),
        }
    }

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
        let id = RecordId { lane: manifest.lane, epoch: manifest.epoch, seq: record.seq };
        self.record_id.append_value(id.to_string());
        self.ordinal.append_value(ordinal);
        self.gateway.append_value(manifest.gateway.as_str());
        self.destination.append_value(manifest.destination.as_str());
        self.feed.append_value(record.feed.as_str());
        self.lane.append_value(manifest.lane.as_str());
        self.epoch.append_value(build::long(manifest.epoch.get()));
        self.seq.append_value(build::long(record.seq));
        self.origin.append_option(record.origin.map(|o| o.to_string()));
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
            self.source.done(),
            self.device.done(),
            self.code.done(),
            self.code_text.done(),
            self.code_system.done(),
            self.loinc.done(),
            self.sub_id.done(),
            self.value_type.done(),
            self.value.done(),
            self.value_text.done(),
            self.unit.done(),
            self.ucum.done(),
            self.absent_reason.done(),
            self.quality.done(),
            self.interpretation.done(),
            self.status.done(),
            self.device_time.done(),
            self.device_year.done(),
            self.time.done(),
            self.year.done(),
            self.time_text.done(),
        ];
        build::batch(self.schema, columns)
    }
}
