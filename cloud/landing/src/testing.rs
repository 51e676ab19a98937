//! What the tests of several rooms here make their batches of. All of it is made up.

use std::sync::Arc;

use model::{
    Absent, Batch, Clock, Format, Lane, Observation, PolicyRef, Quality, Reason, Released, Seq, Skip, Slug,
    StreamEpoch, StreamId, TimeValue, Timestamp, Value, codec,
};
use serde_bytes::ByteBuf;

/// 2026-11-24T08:30:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(1_795_509_000_000_000);

/// A clock that stands.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Stopped(NOW))
}

pub(crate) fn slug(name: &str) -> Slug {
    name.parse().unwrap()
}

pub(crate) fn stream(gateway: &str, epoch: u64) -> StreamId {
    StreamId {
        gateway: slug(gateway),
        destination: slug("lake"),
        lane: Lane::Clinical,
        epoch: StreamEpoch::new(epoch).unwrap(),
    }
}

pub(crate) fn policy(label: &str) -> PolicyRef {
    PolicyRef { name: format!("{label}-of-ward"), label: label.to_owned(), sha256: "ab".repeat(32) }
}

/// An HL7 message with one OBX, a device's unit or junk, by its number.
pub(crate) fn record(seq: Seq) -> Released {
    let mut record = Released {
        seq,
        origin: None,
        feed: slug("adt"),
        format: Format::Hl7v2,
        received_at: Some(TimeValue::Instant(NOW)),
        peer: Some("10.0.0.1:5000".into()),
        channel: None,
        message_type: Some("ORU^R01".into()),
        control_id: Some(format!("C{seq}")),
        observations: Vec::new(),
        charset: seq.is_multiple_of(2).then(|| "8859/1".into()),
        payload: ByteBuf::from(format!(
            "MSH|^~\\&|LAB|H|EHR|H|20261124083000||ORU^R01^ORU_R01|C{seq}|P|2.5.1\rPID|1||{seq}\r\
             OBX|1|NM|8867-4^Heart rate^LN||{seq}|/min^^UCUM|||||F\r"
        )),
        rules: vec![("date".into(), 2), ("name".into(), 1)],
    };
    match seq % 5 {
        3 => {
            record.format = Format::Device("nonin-onyx".into());
            record.payload = ByteBuf::from(vec![0xff, 0, 1]);
            record.observations =
                vec![observation(Value::Number(0.1 + 0.2)), observation(Value::Absent(Absent::SensorOff))];
            record.message_type = None;
            record.control_id = None;
        }
        4 => {
            record.format = Format::Unparsed;
            record.payload = ByteBuf::from("no message");
            record.received_at = Some(TimeValue::Year(2026));
            record.origin = "clinical-1-2".parse().ok();
            record.rules = Vec::new();
            record.peer = None;
        }
        _ => {}
    }
    record
}

pub(crate) fn observation(value: Value) -> Observation {
    Observation {
        device: Some("nonin-1".into()),
        metric: "MDC_PULS_OXIM_SAT_O2".into(),
        loinc: Some("59408-5".into()),
        ucum: "%".into(),
        value,
        quality: Quality::Questionable,
        device_time: None,
        time: Some(TimeValue::Instant(NOW)),
    }
}

/// A batch in which every seventh number is skipped.
pub(crate) fn batch(stream: &StreamId, first: Seq, last: Seq, label: &str) -> Batch<Released> {
    let (mut records, mut skipped) = (Vec::new(), Vec::new());
    for seq in first..=last {
        if seq % 7 == 0 {
            skipped.push(Skip { first: seq, last: seq, reason: Reason::Held });
        } else {
            records.push(record(seq));
        }
    }
    let batch = Batch { stream: stream.clone(), first, last, policy: policy(label), records, skipped };
    batch.check().unwrap();
    batch
}

/// The manifest hash of a batch.
pub(crate) fn manifest(batch: &Batch<Released>) -> String {
    let raw = codec::encode(batch).unwrap();
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw))
}
