//! What a policy does is seen before it does it: explained, previewed, compared, and tried on what is in the log.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::process::Output;

use serde_json::Value;
use system_tests::mllp;
use system_tests::site::{Destination, Site, filter, shown};
use system_tests::{fixtures, hl7, peers};

fn wardgate(arguments: &[&str], input: &[u8]) -> Output {
    filter(&peers::wardgate(), arguments, input)
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_filters_say_what_becomes_of_each_value() {
    let message = hl7::admission("C-1", 7);
    let named = hl7::identifiers(7);
    let out = wardgate(&["deid", "explain", "--policy", "safe-harbor"], &message);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    let told = stdout(&out);
    assert!(told.contains("PID[1]-5[1]") && told.contains("removed"), "{told}");
    assert_eq!(fixtures::found(told.as_bytes(), &named), Vec::<&str>::new(), "an explanation names nobody");

    // As JSON it is the receipt, place by place.
    let out = wardgate(&["deid", "explain", "--policy", "safe-harbor", "--json"], &message);
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((told["outcome"].as_str(), told["index"].as_u64()), (Some("released"), Some(0)));
    assert!(told["steps"].as_array().unwrap().iter().all(|step| step.get("before").is_none()));

    // A preview shows what it is about, and what it shows is what is sent.
    let out = wardgate(&["deid", "preview", "--policy", "safe-harbor", "--json"], &message);
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(!fixtures::found(&out.stdout, &named).is_empty());
    let after: String =
        told["steps"].as_array().unwrap().iter().filter_map(|step| step["after"].as_str()).collect();
    assert_eq!(fixtures::found(after.as_bytes(), &named), Vec::<&str>::new());

    let diff = |with| wardgate(&["deid", "diff", "--policy", "safe-harbor", "--with", with], &message);
    assert_eq!(diff("safe-harbor").status.code(), Some(0));
    let out = diff("limited-data-set");
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(stdout(&out).contains("PID-7") && stdout(&out).contains("kept (date)"), "{}", shown(&out));
    assert_eq!(fixtures::found(&out.stdout, &named), Vec::<&str>::new());

    let patient = br#"{"resourceType":"Patient","id":"p1","name":[{"family":"Kestrel"}],"gender":"female"}"#;
    let out = wardgate(&["deid", "explain", "--policy", "safe-harbor", "--format", "fhir"], patient);
    assert!(stdout(&out).contains("Patient.name[0]") && !stdout(&out).contains("Kestrel"), "{}", shown(&out));
    // What is no message is said to be held, and is a finding.
    let out = wardgate(&["deid", "explain", "--policy", "safe-harbor", "--format", "fhir"], b"{}");
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(wardgate(&["deid", "explain", "--policy", "safe-harbor"], b"nothing").status.code() == Some(1));
    assert_eq!(wardgate(&["deid", "explain"], b"").status.code(), Some(2));
    assert_eq!(wardgate(&["deid", "diff", "--with", "treatment"], b"").status.code(), Some(2));
}

#[test]
fn a_policy_is_tried_on_the_log_of_a_running_box_and_nothing_is_sent() {
    let site = Site::with(vec![Destination::new("lake", "safe-harbor")]);
    site.write();
    let (_gateway, _landing) = site.start();
    for n in 0..3 {
        mllp::accepted(site.ports.mllp, &hl7::admission(&format!("C-{n}"), n));
    }
    std::fs::write(site.dir.join("candidate.toml"), POLICY).unwrap();
    let out = site.wardgate(&[
        "deid",
        "diff",
        "--config",
        "gateway.toml",
        "--to",
        "lake",
        "--with",
        "candidate.toml",
        "--json",
    ]);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    let trial: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(trial["records"], 3, "{trial:#}");
    assert_eq!(trial["candidate"]["name"], "candidate");
    let changes = trial["changes"].as_array().unwrap();
    let of_sex = changes.iter().find(|change| change["path"] == "PID-8.1");
    let of_sex = of_sex.unwrap_or_else(|| panic!("{trial:#}"));
    assert_eq!(
        (&of_sex["first"]["outcome"], &of_sex["second"]["outcome"]),
        (&"kept".into(), &"removed".into())
    );
    assert_eq!(of_sex["values"], 3);

    // The example leads to a record, and the record to its explanation.
    let id = of_sex["example"].as_str().unwrap();
    let out = site.wardgate(&["deid", "explain", id, "--to", "lake", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    assert!(stdout(&out).contains("PID[1]-8[1]") && stdout(&out).contains("released"), "{}", shown(&out));
    for n in 0..3 {
        assert_eq!(fixtures::found(&out.stdout, &hl7::identifiers(n)), Vec::<&str>::new());
    }
    let log =
        std::fs::read_dir(site.logs()).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let log: Vec<u8> = log.flatten().collect();
    assert_eq!(fixtures::found(&log, &hl7::identifiers(1)), Vec::<&str>::new());

    // The same policy says so, an unknown destination and a policy that does not compile too.
    let diff =
        |to, with| site.wardgate(&["deid", "diff", "--config", "gateway.toml", "--to", to, "--with", with]);
    assert_eq!(diff("lake", "safe-harbor").status.code(), Some(0));
    let nobody = diff("nobody", "safe-harbor");
    assert!(nobody.status.code() == Some(1) && shown(&nobody).contains("nobody"), "{}", shown(&nobody));
    std::fs::write(site.dir.join("broken.toml"), POLICY.replace("parts", "prats")).unwrap();
    let broken = diff("lake", "broken.toml");
    assert!(broken.status.code() == Some(1) && shown(&broken).contains("prats"), "{}", shown(&broken));
    // A trial is in the audit log.
    let out = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    assert_eq!(stdout(&out).matches("policy-tried").count(), 2, "{}", shown(&out));
}

/// Nothing but the kinds of message.
const POLICY: &str = r#"language = 1
label = "safe-harbor"
[payload]
hl7 = "rules"
[types]
ID = "code"
MSG = "parts"
[ages]
over_89 = "cap"
[envelope]
received_at = "year"
peer = "remove"
channel = "remove"
control_id = "remove"
[observations]
device = "remove"
times = "year"
raw = "remove"
"#;
