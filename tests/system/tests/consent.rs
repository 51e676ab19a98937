//! Nothing of a patient who refuses goes to a destination that asks, whoever said so and whenever.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use std::process::Output;

use system_tests::mllp::accepted;
use system_tests::site::{Destination, Site, filter, shown};
use system_tests::{fixtures, hl7, http, peers, readers, wait};

/// `lake` asks nobody, `research` asks.
fn site(consent: &str) -> Site {
    let research =
        Destination { consent: Some(consent.to_owned()), ..Destination::new("research", "safe-harbor") };
    Site::with(vec![Destination::new("lake", "treatment"), research])
}

fn consent(site: &Site, command: &[&str], input: &str) -> Output {
    let config = site.dir.join("gateway.toml");
    let mut arguments = vec!["consent"];
    arguments.extend_from_slice(command);
    arguments.extend_from_slice(&["--config", config.to_str().unwrap()]);
    filter(&peers::wardgate(), &arguments, input.as_bytes())
}

#[track_caller]
fn done(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", shown(out));
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn seqs(site: &Site, destination: &str) -> Vec<u64> {
    let mut seqs: Vec<u64> = readers::rows(&site.root(destination), "raw")
        .iter()
        .map(|row| row["seq"].as_u64().unwrap())
        .collect();
    seqs.sort_unstable();
    seqs
}

/// An admission whose patient is protected (PD1-12).
fn protected(control_id: &str, n: u64) -> Vec<u8> {
    let mut message = hl7::admission(control_id, n);
    message.extend_from_slice(b"PD1||||||||||||Y\r");
    message
}

#[test]
fn who_refuses_is_in_no_table_of_who_asks_across_kills_and_is_named_nowhere() {
    let site = site("unknown = \"permit\"");
    let (mut gateway, mut landing) = site.start();
    let mrn = |n| hl7::identifiers(n)[2].clone();
    accepted(site.ports.mllp, &hl7::admission("one", 1));
    accepted(site.ports.mllp, &protected("two", 2));
    accepted(site.ports.mllp, &hl7::observation("three", 2));
    site.drained();
    gateway.kill();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("four", 2));
    // By list, in full, and not by a file that was cut off or holds something else.
    let list = format!("# opted out\n{},ZQHOSP\n{}\n{}\n{}\n", mrn(3), mrn(4), mrn(5), mrn(6));
    let out = consent(&site, &["import", "-"], &list);
    assert!(done(&out).contains("4 patients"));
    let out = consent(&site, &["import", "-"], &format!("{}\n", mrn(3)));
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert!(shown(&out).contains("--shrinks"), "{}", shown(&out));
    let out = consent(&site, &["import", "-"], &format!("{}\n{},A,B\n", mrn(3), mrn(4)));
    assert!(shown(&out).contains("-:2: "), "{}", shown(&out));
    assert!(!shown(&out).contains(&mrn(4)), "{}", shown(&out));
    accepted(site.ports.mllp, &hl7::observation("five", 3));
    accepted(site.ports.mllp, &hl7::observation("six", 4));
    // By a person.
    done(&consent(&site, &["deny", "--mrn", "-"], &mrn(7)));
    accepted(site.ports.mllp, &hl7::observation("seven", 7));
    let checked = consent(&site, &["check", "--mrn", &mrn(7), "--authority", "ZQHOSP"], "");
    assert_eq!((checked.status.code(), checked.stdout.as_slice()), (Some(1), &b"refused\n"[..]));
    assert_eq!(done(&consent(&site, &["check", "--mrn", &mrn(8)], "")), "unknown\n");
    site.drained();
    gateway.kill();
    let mut gateway = site.start_gateway();
    done(&consent(&site, &["forget", "--mrn", &mrn(7)], ""));
    accepted(site.ports.mllp, &hl7::observation("eight", 7));
    accepted(site.ports.mllp, &hl7::observation("nine", 3));
    site.drained();
    assert_eq!(seqs(&site, "lake"), (1..=9).collect::<Vec<_>>());
    assert_eq!(seqs(&site, "research"), [1, 8]);
    let trace = site.json(&["trace", "clinical-1-3", "--config", "gateway.toml", "--json"]);
    let fates = trace["destinations"].as_array().unwrap();
    assert!(fates.iter().any(|f| f["reason"] == "consent-withdrawn"), "{trace}");
    let standing: serde_json::Value =
        serde_json::from_str(&done(&consent(&site, &["status", "--json"], ""))).unwrap();
    assert_eq!(
        (&standing["listed"], &standing["refusals"]["indicator"]),
        (&4.into(), &1.into()),
        "{standing}"
    );
    let (_, metrics) = http::get(site.ports.operations, "/metrics").unwrap();
    let counted =
        "wardgate_skipped_total{destination=\"research\",lane=\"clinical\",reason=\"consent-withdrawn\"}";
    assert!(metrics.contains(counted), "{metrics}");
    gateway.stop();
    landing.stop();
    // Neither the audit log nor any log or file of the box names anybody.
    let audit = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    assert!(done(&audit).contains("consent-changed"));
    let needles: Vec<String> = (1..=8).map(mrn).collect();
    assert_eq!(fixtures::found(&audit.stdout, &needles), Vec::<&str>::new());
    for dir in [site.logs(), site.data()] {
        for (path, bytes) in fixtures::files(&dir) {
            assert_eq!(fixtures::found(&bytes, &needles), Vec::<&str>::new(), "{}", path.display());
        }
    }
    for destination in ["lake", "research"] {
        readers::sums(&site.root(destination));
    }
    site.nothing_to_find();
}

#[test]
fn a_list_that_is_not_there_or_too_old_holds_up_who_asks_for_it_and_nobody_else() {
    let mut site = site("unknown = \"permit\"\nlist_age_h_max = 1");
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::admission("one", 1));
    let why = site.complaint("research", "consent import");
    assert!(why.contains("no list"), "{why}");
    wait::until("the lake to have it", || (seqs(&site, "lake") == [1]).then_some(()));
    done(&consent(&site, &["import", "-"], ""));
    site.drained();
    assert_eq!(seqs(&site, "research"), [1]);
    gateway.stop();
    // What cannot be is said with its place.
    site.destinations[1].consent = Some("unknown = \"perhaps\"\nlist_age_h_max = 9000".to_owned());
    site.write();
    let out = site.wardgate(&["check", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(shown(&out).contains("perhaps"), "{}", shown(&out));
    site.destinations[1].consent = Some("list_age_h_max = 9000".to_owned());
    site.write();
    assert!(shown(&site.wardgate(&["check", "gateway.toml"])).contains("1 to 8760"));
    // Who opts in: nobody of whom nothing is known.
    site.destinations[1].consent = Some("unknown = \"deny\"".to_owned());
    site.write();
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::admission("two", 2));
    done(&consent(&site, &["permit", "--mrn", &hl7::identifiers(3)[2]], ""));
    accepted(site.ports.mllp, &hl7::admission("three", 3));
    site.drained();
    assert_eq!(seqs(&site, "research"), [1, 3]);
    gateway.stop();
    landing.stop();
    readers::sums(&site.root("research"));
}
