//! What a fuzz target calls: one line over each function that reads what others wrote. A panic is a finding.

use crate::v2::{Context, Converter, Keyed};
use crate::{maps, validate};

/// A message of HL7 v2: whatever can be read as one makes a valid Bundle, and every value is accounted for.
pub fn v2(input: &[u8]) {
    let Ok(message) = hl7::Message::parse(input.to_vec()) else { return };
    let Ok(maps) = maps::Maps::builtin() else { return };
    convert(&maps, &message);
}

/// The same with maps that are compiled already.
pub fn convert(maps: &maps::Maps, message: &hl7::Message) {
    let ids = Keyed::public();
    let context = Context {
        gateway: "fuzz",
        record: "clinical-1-1",
        recorded_at: model::Timestamp::from_micros(1_700_000_000_000_000),
        offset_minutes: 0,
        trace: true,
    };
    let Ok(converted) = Converter::new(maps, &ids).convert(message, &context) else { return };
    let json = converted.to_json();
    let problems = validate::validate(json.as_bytes());
    assert!(problems.is_valid(), "not valid: {:?}", problems.issues);
    let report = converted.report;
    assert!(report.official + report.ours + report.rest == report.leaves, "a value is not accounted for");
    assert!(report.unmapped.len() == report.rest, "the list of the rest is not complete");
}
