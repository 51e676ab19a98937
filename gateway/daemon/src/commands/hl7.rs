//! `wardgate hl7 parse|ack|fhir|route`: filters over HL7 v2 files.

use std::io::Read as _;

use anyhow::Context as _;
use hl7::{Ack, AckCode, Fault, Header, Message};
use model::Clock as _;
use serde_json::{Map, Value, json};

use super::{nothing_to_read, print};
use crate::cli::Hl7;
use crate::clock::SystemClock;
use crate::exit;

pub(crate) fn hl7(command: Hl7) -> anyhow::Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).context("standard input")?;
    match command {
        Hl7::Parse => parse(&input),
        Hl7::Ack => ack(&input),
        Hl7::Fhir { report, trace, zone, key_file } => {
            super::hl7_fhir::convert(&input, report.as_deref(), trace, &zone, key_file.as_deref())
        }
        Hl7::Route { config, feed } => super::hl7_route::route(&input, &config.config, feed.as_ref()),
    }
}

/// One JSON object a message: its header and its segments as arrays of fields, repetitions, components and
/// subcomponents, each flattened where there is only one.
fn parse(input: &[u8]) -> anyhow::Result<()> {
    let (mut messages, mut faults) = (0, 0);
    for (index, bytes) in ::hl7::split(input).enumerate() {
        messages += 1;
        let line = match Message::parse(bytes.to_vec()) {
            Ok(message) => {
                let text = |part: Option<&[u8]>| part.map(|p| String::from_utf8_lossy(p).into_owned());
                let segments: Vec<Value> = message.segments().map(|s| segment(&s)).collect();
                json!({
                    "index": index,
                    "message_type": text(message.message_type()),
                    "control_id": text(message.control_id()),
                    "version": text(message.version()),
                    "segments": segments,
                })
            }
            Err(error) => {
                faults += 1;
                json!({ "index": index, "error": error.to_string() })
            }
        };
        print(&format!("{line}\n"))?;
    }
    nothing_to_read(input, messages)?;
    if faults == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

fn segment(segment: &::hl7::Segment<'_>) -> Value {
    let mut object = Map::new();
    let name = String::from_utf8_lossy(segment.name()).into_owned();
    let fields: Vec<Value> = segment
        .fields()
        .map(|field| {
            // MSH-1 and MSH-2 are the delimiters themselves.
            flat(
                field
                    .repetitions()
                    .map(|repetition| {
                        flat(
                            repetition
                                .components()
                                .map(|component| {
                                    flat(
                                        component
                                            .subcomponents()
                                            .map(|sub| {
                                                Value::String(
                                                    String::from_utf8_lossy(&sub.unescaped()).into_owned(),
                                                )
                                            })
                                            .collect(),
                                    )
                                })
                                .collect(),
                        )
                    })
                    .collect(),
            )
        })
        .collect();
    object.insert(name, Value::Array(fields));
    Value::Object(object)
}

fn flat(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// The acknowledgement that each message would get, in MLLP's inner form: CR-terminated segments.
fn ack(input: &[u8]) -> anyhow::Result<()> {
    let (mut messages, mut faults) = (0, 0);
    let now = SystemClock.now();
    let sent_at = now.to_hl7();
    for (index, bytes) in ::hl7::split(input).enumerate() {
        messages += 1;
        let control_id = format!("{:X}-{index}", now.micros());
        let header = Header::read(bytes, true);
        let fault_text;
        let ack = match &header {
            Ok(_) => Ack {
                code: AckCode::Accept,
                fault: None,
                control_id: &control_id,
                sent_at: &sent_at,
                expected_sequence: None,
            },
            Err(error) => {
                faults += 1;
                fault_text = error.to_string();
                let fault = Fault { code: ::hl7::ack::fault_of(error), location: None, text: &fault_text };
                Ack {
                    code: AckCode::Reject,
                    fault: Some(fault),
                    control_id: &control_id,
                    sent_at: &sent_at,
                    expected_sequence: None,
                }
            }
        };
        print(&String::from_utf8_lossy(&ack.to_bytes(header.as_ref().ok())))?;
    }
    nothing_to_read(input, messages)?;
    if faults == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}
