//! FHIR has no rules yet, and unlisted means denied.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use deid::{BUILTIN_POLICIES, Clinical, Policy};
use support::{policy, release};

fn patient() -> Clinical {
    let raw = Bytes::from_static(b" {\"resourceType\":\"Patient\",\"name\":[{\"family\":\"ZQNAME7\"}]}\n");
    Clinical::Fhir { resource_type: "Patient", raw }
}

#[test]
fn treatment_passes_the_bytes_as_they_came() {
    let Clinical::Fhir { raw, .. } = patient() else { unreachable!() };
    let release = release(&policy("treatment"), &patient()).unwrap();
    assert_eq!(release.payload(), raw);
    assert_eq!(release.as_released().message_type.as_deref(), Some("Patient"));
    assert_eq!(release.rules().len(), 1, "a receipt");
}

#[test]
fn every_other_label_holds_it() {
    for name in BUILTIN_POLICIES.into_iter().filter(|name| *name != "treatment") {
        let held = release(&policy(name), &patient()).unwrap_err();
        assert_eq!(held.why.as_str(), "fhir-without-rules", "{name}");
        assert!(!format!("{held:?} {held} {:?}", patient()).contains("ZQNAME7"));
    }
    let own = "label = \"safe-harbor\"\n";
    if let Ok(own) = Policy::compile("own", own) {
        assert!(release(&own, &patient()).is_err());
    }
}
