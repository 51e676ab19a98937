//! `cargo xtask bench --only deid` runs this: HL7 v2 messages and FHIR resources through a policy and its output gate to the
//! bytes of a release, on one core, decoding included, policies compiled before. Megabytes (10⁶ bytes) of what came in.
//!
//! FHIR is measured as whole Bundles and as their resources one by one. Where no file holds FHIR, the messages are mapped to it
//! first.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use deid::{Clinical, Context, DestinationKeys, Policy};
use fhir::v2::{Converter, Keyed};
use serde_json::{Map, Value, json};

const POLICIES: [&str; 2] = ["safe-harbor", "limited-data-set"];

/// Inputs of one kind.
struct Kind {
    name: &'static str,
    inputs: Vec<Bytes>,
}

/// Rates in megabytes a second of processor time, by kind and policy, in `rounds` rounds after one that warms up.
pub(crate) fn run(
    messages: &[Bytes],
    bundles: Vec<Bytes>,
    rounds: usize,
    run_ms: u64,
) -> Result<Value, String> {
    let bundles = if bundles.is_empty() { mapped(messages)? } else { bundles };
    let resources: Vec<Bytes> = bundles.iter().flat_map(entries).collect();
    let keys = DestinationKeys::derive(|_| zeroize::Zeroizing::new([7; 32]));
    let provenance = model::Provenance {
        feed: model::Slug::try_from("bench".to_owned()).map_err(|e| format!("{e:?}"))?,
        peer: String::new(),
        channel: String::new(),
        received_at: model::Timestamp::from_micros(1_780_000_000_000_000),
        format: model::Format::Fhir,
        origin: None,
    };
    let release = |policy: &Policy, kind: &Kind, input: &Bytes| -> Option<usize> {
        let clinical = if kind.name == "hl7" {
            Clinical::Hl7(hl7::Message::decode(input.clone(), None).ok()?)
        } else {
            Clinical::Fhir { resource_type: fhir::resource_type(input)?, raw: input.clone() }
        };
        let context = Context { seq: 7, provenance: &provenance, keys: Some(&keys) };
        Some(policy.release(&clinical, &context).ok()?.payload().len())
    };
    let mut report = Map::new();
    let kinds = [("hl7", messages.to_vec()), ("fhir-bundle", bundles), ("fhir-resource", resources)];
    for (name, inputs) in kinds {
        for policy_name in POLICIES {
            let policy = Policy::builtin(policy_name).ok_or("no such policy")?;
            // What is held is no release, and not counted.
            let mut kind = Kind { name, inputs: inputs.clone() };
            let kept: Vec<Bytes> =
                inputs.iter().filter(|i| release(&policy, &kind, i).is_some()).cloned().collect();
            kind.inputs = kept;
            if kind.inputs.is_empty() {
                return Err(format!("{policy_name} releases nothing of {name}"));
            }
            let bytes: usize = kind.inputs.iter().map(Bytes::len).sum();
            let mut rates = Vec::new();
            for round in 0..=rounds {
                let begun = crate::processor_time()?;
                let mut done = 0_usize;
                let elapsed = loop {
                    for input in &kind.inputs {
                        black_box(release(&policy, &kind, black_box(input)));
                    }
                    done += bytes;
                    let elapsed = crate::processor_time()?.saturating_sub(begun);
                    if elapsed >= Duration::from_millis(run_ms) {
                        break elapsed;
                    }
                };
                if round > 0 {
                    rates.push(json!(done as f64 / 1e6 / elapsed.as_secs_f64()));
                }
            }
            let of = json!({
                "inputs": kind.inputs.len(),
                "held": inputs.len() - kind.inputs.len(),
                "bytes_per_input": bytes / kind.inputs.len(),
                "rates": rates,
            });
            report.insert(format!("{name}, {policy_name}"), of);
        }
    }
    Ok(Value::Object(report))
}

fn mapped(messages: &[Bytes]) -> Result<Vec<Bytes>, String> {
    let maps = fhir::maps::Maps::builtin().map_err(|errors| format!("{errors:?}"))?;
    let ids = Keyed::public();
    let converter = Converter::new(&maps, &ids);
    let convert = |message: &Bytes| {
        let message = hl7::Message::parse(message.clone()).ok()?;
        Some(converter.convert(&message, &crate::to_fhir::CONTEXT).ok()?.to_json().into())
    };
    Ok(messages.iter().filter_map(convert).collect())
}

/// The resources of a Bundle, as they are written.
fn entries(bundle: &Bytes) -> Vec<Bytes> {
    let Ok(json) = fhir::validate::json::Json::parse(bundle) else { return Vec::new() };
    let Some((list, _)) = json.member(0, "entry") else { return Vec::new() };
    let resources = json.children(list).filter_map(|(entry, _)| json.member(entry, "resource"));
    resources.map(|(resource, _)| bundle.slice(json.span(resource))).collect()
}
