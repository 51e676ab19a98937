//! `cargo xtask bench --only fhir` runs this: HL7 v2 messages to the bytes of FHIR R4 Bundles, on one core, parsing
//! and writing included, maps compiled before.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use fhir::v2::{Context, Converter, Keyed};
use serde_json::{Value, json};

/// The zone and names do not matter to the work.
pub(crate) const CONTEXT: Context<'static> = Context {
    gateway: "bench",
    record: "clinical-1-1",
    recorded_at: model::Timestamp::from_micros(1_700_000_000_000_000),
    offset_minutes: 0,
    trace: false,
};

/// Rates of `rounds` rounds in messages a second of processor time, after one that warms up.
pub(crate) fn run(messages: &[Bytes], rounds: usize, run_ms: u64) -> Result<Value, String> {
    let maps = fhir::maps::Maps::builtin().map_err(|errors| format!("{errors:?}"))?;
    let ids = Keyed::public();
    let converter = Converter::new(&maps, &ids);
    let convert = |message: &Bytes| -> Option<usize> {
        let message = hl7::Message::parse(message.clone()).ok()?;
        Some(converter.convert(&message, &CONTEXT).ok()?.to_json().len())
    };
    let kept: Vec<&Bytes> = messages.iter().filter(|message| convert(message).is_some()).collect();
    if kept.is_empty() {
        return Err("there is no message that can be converted".to_owned());
    }
    let bundles: usize = kept.iter().filter_map(|message| convert(message)).sum();
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let begun = crate::processor_time()?;
        let mut done = 0_usize;
        let elapsed = loop {
            for message in &kept {
                black_box(convert(black_box(message)));
            }
            done += kept.len();
            let elapsed = crate::processor_time()?.saturating_sub(begun);
            if elapsed >= Duration::from_millis(run_ms) {
                break elapsed;
            }
        };
        if round > 0 {
            rates.push(json!(done as f64 / elapsed.as_secs_f64()));
        }
    }
    Ok(json!({
        "messages": kept.len(),
        "left_out": messages.len() - kept.len(),
        "bytes_per_message": kept.iter().map(|m| m.len()).sum::<usize>() / kept.len(),
        "bytes_per_bundle": bundles / kept.len(),
        "rates": rates,
    }))
}
