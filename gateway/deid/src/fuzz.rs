//! What a fuzz target calls: a function for what reads what others wrote. A panic is a finding.

use std::sync::LazyLock;

use model::{Format, Provenance, Slug, Timestamp};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::envelope::Shape;
use crate::policy::ScrubbedText;
use crate::tally::Tally;
use crate::{Clinical, Context, DestinationKeys, Policy};

/// What seeds have in the place of everything that is of somebody. No rule knows these words.
const CANARIES: [&str; 2] = ["zqcanary", "kestrel"];
/// Identifiers of IEEE 11073 pass by their syntax, whatever their words are.
const BY_SYNTAX: &str = "mdc_";

static POLICIES: LazyLock<Vec<Policy>> =
    LazyLock::new(|| ["safe-harbor", "limited-data-set"].into_iter().filter_map(Policy::builtin).collect());

/// A resource. Whatever the bytes are, the rules make JSON of them that is valid R4 where they were, without a canary; and the
/// gate reads it.
///
/// # Panics
/// Where one of that does not hold: a fault of this crate.
pub fn fhir(input: &[u8]) {
    let Some(resource_type) = ::fhir::resource_type(input) else { return };
    let Ok(feed) = Slug::try_from("fuzz".to_owned()) else { return };
    let provenance = Provenance {
        feed,
        peer: String::new(),
        channel: String::new(),
        received_at: Timestamp::from_micros(1_780_000_000_000_000),
        format: Format::Fhir,
        origin: None,
    };
    let keys = DestinationKeys::derive(|_| Zeroizing::new([7; 32]));
    let context = Context { seq: 7, provenance: &provenance, keys: Some(&keys) };
    let was_valid = ::fhir::validate::validate(input).is_valid();
    for policy in POLICIES.iter() {
        let clinical = Clinical::Fhir { resource_type, raw: input.to_vec().into() };
        // Before the gate: what it would catch, a fuzzer is to find.
        let shaped = policy.shape(&clinical, &context, Tally::default(), ScrubbedText::Passes);
        let Ok((Shape { payload: shaped, .. }, _)) = shaped else { continue };
        let json = serde_json::from_slice::<Value>(&shaped);
        assert!(json.is_ok(), "no JSON: {}", String::from_utf8_lossy(&shaped));
        let Ok(mut json) = json else { continue };
        without_towns(&mut json);
        let text = json.to_string().to_lowercase();
        let canary = CANARIES.iter().find(|canary| text.contains(**canary));
        assert!(
            canary.is_none() || text.contains(BY_SYNTAX),
            "{canary:?} leaves under {}: {text}",
            policy.label()
        );
        if was_valid {
            let report = ::fhir::validate::validate(&shaped);
            assert!(report.is_valid(), "{} makes it invalid: {:?}: {text}", policy.label(), report.issues);
        }
        if let Ok(release) = policy.release(&clinical, &context) {
            assert!(release.payload() == shaped, "the gate changes nothing");
        }
    }
}

/// A town may be called like anything, and a limited data set keeps it.
fn without_towns(json: &mut Value) {
    match json {
        Value::Object(object) => {
            object.remove("city");
            object.values_mut().for_each(without_towns);
        }
        Value::Array(values) => values.iter_mut().for_each(without_towns),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    /// What a fuzzer learned, kept beside its targets.
    #[test]
    fn what_was_learned_is_not_forgotten() {
        let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/deid_fhir");
        let mut count = 0;
        for entry in std::fs::read_dir(kept).unwrap() {
            super::fhir(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 100);
    }
}
