//! Keyed tokens: one for each patient, and for each only one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use deid::{Clinical, Context, Policy};
use support::{keys, message, provenance};

fn released(policy: &Policy, clinical: &Clinical, feed: &str) -> String {
    let provenance = model::Provenance { feed: feed.parse().unwrap(), ..provenance() };
    let keys = keys();
    let context = Context { seq: 7, provenance: &provenance, keys: Some(&keys) };
    let release = policy.release(clinical, &context).unwrap_or_else(|held| panic!("{held}"));
    String::from_utf8(release.payload().to_vec()).unwrap()
}

/// The token of PID-3, and that of ORC-2.
fn tokens(policy: &Policy, cx: &str, ei: &str, feed: &str) -> [String; 2] {
    let text = format!("MSH|^~\\&|||||2026||ORM^O01|1|P|2.5\rPID|1||{cx}\rORC|RE|{ei}\r");
    let out = released(policy, &message(text.as_bytes()), feed);
    let field = |segment: &str, number: usize| {
        let line = out.split('\r').find(|line| line.starts_with(segment)).unwrap();
        let field = line.split('|').nth(number).unwrap();
        assert!(field.len() > 20, "no token: {out}");
        field.split('^').next().unwrap().to_owned()
    };
    [field("PID", 3), field("ORC", 2)]
}

/// A number says nothing of whose it is unless somebody is named who gave it.
#[test]
fn patients_of_two_feeds_stay_two() {
    let policy = support::policy("limited-data-set");
    let of = |cx: &str, ei: &str, feed: &str| tokens(&policy, cx, ei, feed);
    let base = of("44521^^^^MR", "P1", "adt");
    assert_eq!(base, of("44521^^^^MR", "P1", "adt"));
    assert_eq!(base, of(" 44521 ^^^^MR", "P1 ", "adt"), "blanks");
    for (n, (one, other)) in base.iter().zip(of("44521^^^^MR", "P1", "lab")).enumerate() {
        assert_ne!(*one, other, "two feeds, {n}");
    }
    // With an authority the feed does not count; and the universal id stands before the namespace.
    let named = of("44521^^^H&1.2.3&ISO^MR", "P1^LAB^4.5^ISO", "adt");
    assert_eq!(named, of("44521^^^OTHER&1.2.3&ISO^MR", "P1^^4.5^ISO", "lab"));
    for other in [
        of("44521^^^H&1.2.4&ISO^MR", "P1^LAB^4.6^ISO", "adt"),
        of("44521^^^H^MR", "P1^LAB", "adt"),
        of("44521^^^h^MR", "P1^lab", "adt"),
    ] {
        assert!(named.iter().zip(&other).all(|(one, other)| one != other));
    }
    let [small, large] = ["44521a^^^H^MR", "44521A^^^H^MR"].map(|cx| of(cx, "p1^L", "adt"));
    assert_ne!(small[0], large[0], "case may tell two patients");
    assert_ne!(of("1^^^H^MR", "p1^L", "adt")[1], of("1^^^H^MR", "P1^L", "adt")[1]);

    // FHIR: an identifier without system is its feed's as well.
    let patient = |feed: &str| {
        let json = r#"{"resourceType":"Patient","identifier":[{"value":"44521"}]}"#;
        released(&policy, &Clinical::Fhir { resource_type: "Patient", raw: Bytes::from(json) }, feed)
    };
    assert_ne!(patient("one"), patient("other"));
    assert_eq!(patient("one"), patient("one"));
}

/// What a policy declares to be one authority is one, in HL7 v2 and FHIR.
#[test]
fn authorities_that_are_one_give_one_token() {
    let text = include_str!("../policies/limited-data-set.toml");
    let text = format!(
        "{text}\n[authorities]\nMERCY = [\"urn:oid:1.2.3\", \"http://mercy.example/mrn\", \"feed adt\"]\n"
    );
    let policy = Policy::compile("site", &text, support::now()).unwrap();
    let of = |cx: &str, feed: &str| tokens(&policy, cx, "P1^X", feed)[0].clone();
    let base = of("44521^^^MERCY^MR", "lab");
    for (cx, feed) in
        [("44521^^^^MR", "adt"), ("44521^^^OTHER&1.2.3&ISO^MR", "lab"), ("44521^^^MERCY&7.7.7&ISO^MR", "lab")]
    {
        assert_eq!(of(cx, feed), base, "{cx}");
    }
    assert_ne!(of("44521^^^^MR", "lab"), base);
    let json = r#"{"resourceType":"Patient","identifier":[{"system":"http://mercy.example/mrn","value":"44521",
        "type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]}}]}"#;
    let fhir = released(&policy, &Clinical::Fhir { resource_type: "Patient", raw: Bytes::from(json) }, "ehr");
    assert!(fhir.contains(&base), "{fhir}");
}

/// An expert's policy with a rule for CX and EI, and masks for names.
fn expert(rule: &str) -> Policy {
    let text = include_str!("../policies/expert-determination.toml")
        .replace("by = \"\"", "by = \"A. Statistician\"")
        .replace("#on =", "on =")
        .replace("reference = \"\"", "reference = \"ED-2026-014\"")
        .replace("#expires =", "expires =")
        .replace("EI = \"token\"", &format!("EI = \"{rule}\""))
        .replace(
            "\"PID-3\" = \"token\"",
            &format!("\"PID-3\" = \"{rule}\"\n\"PID-5\" = \"mask\"\n\"PID-13\" = \"mask\""),
        );
    Policy::compile("research", &text, support::now()).unwrap_or_else(|error| panic!("{error}"))
}

fn line(policy: &Policy, cx: &str, ei: &str, feed: &str) -> [String; 2] {
    let text = format!(
        "MSH|^~\\&|||||2026||ORM^O01|1|P|2.5\rPID|1||{cx}||Featherstone^Ottoline||||||||(617)555-0143~\rORC|RE|{ei}\r"
    );
    let out = released(policy, &message(text.as_bytes()), feed);
    ["PID", "ORC"].map(|segment| out.split('\r').find(|line| line.starts_with(segment)).unwrap().to_owned())
}

/// A number of the same form, beside a token of who gave it; what has no such form, or is not ours to tell, goes.
#[test]
fn numbers_keep_their_form_and_two_authorities_stay_two() {
    let policy = expert("ff1");
    assert!(policy.needs_keys());
    let cx = |cx: &str, feed: &str| {
        let [pid, _] = line(&policy, cx, "P1^X", feed);
        pid.split('|').nth(3).unwrap().split('^').map(str::to_owned).collect::<Vec<_>>()
    };
    let base = cx("0044521^^^MERCY^MR", "adt");
    assert_eq!((base.len(), base[4].as_str(), base[0].len()), (5, "MR", 7), "{base:?}");
    assert!(
        base[0] != "0044521" && base[0].bytes().all(|b| b.is_ascii_digit()) && base[3].len() == 27,
        "{base:?}"
    );
    assert_eq!(base, cx("0044521^^^MERCY^MR", "lab"));
    let other = cx("0044521^^^GRACE^MR", "adt");
    assert!(base[0] != other[0] && base[3] != other[3]);
    let [one, two] = ["adt", "lab"].map(|feed| cx("0044521^^^^MR", feed));
    assert!(one[0] != two[0] && one[3] != two[3], "a number without an authority is its feed's");
    for gone in ["44521^^^MERCY^MR", "19620210^^^MERCY^MR", "123-45-6789^^^SSA^SS"] {
        assert_eq!(cx(gone, "adt"), [""], "{gone}");
    }
    let [_, orc] = line(&policy, "1", "PLC-00071^EHR", "adt");
    let ei: Vec<&str> = orc.split('|').nth(2).unwrap().split('^').collect();
    assert!(
        ei.len() == 2 && ei[0].len() == 9 && ei[0].as_bytes()[3] == b'-' && ei[0] != "PLC-00071",
        "{ei:?}"
    );
}

/// A mask tells that there was something, whatever its length; of a long number its last four characters at most.
#[test]
fn masks_tell_that_there_was_something() {
    let policy = expert("mask-but-4");
    let [pid, orc] = line(
        &policy,
        "0044521^^^MERCY^MR~MRN-0044521^^^MERCY^MR~123-45-6789^^^SSA^SS",
        "PLC-00071^EHR",
        "adt",
    );
    assert_eq!(pid, "PID|1||XXXX^^^^MR~XXXX4521^^^^MR||XXXX||||||||XXXX");
    assert_eq!(orc, "ORC|RE|XXXX0071");
}
