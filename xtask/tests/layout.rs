//! The table of DESIGN: which room may use which, and which room owns which package. A room that is not in the
//! tables fails, so that whoever adds one decides where it stands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{array, files, metadata, root, text};

/// Our rooms, lower ones first; each with the rooms it may use. An edge may only go to an earlier line.
const ROOMS: &[(&str, &[&str])] = &[
    ("wardgate-model", &[]),
    // The audit log's tree and papers: the box makes them, the landing checks them.
    ("wardgate-audit", &["wardgate-model"]),
    ("wardgate-hl7", &["wardgate-model"]),
    // The mapping reads v2 messages, so FHIR stands above HL7 v2 and not beside it.
    ("wardgate-fhir", &["wardgate-model", "wardgate-hl7"]),
    ("wardgate-profile", &["wardgate-model"]),
    ("wardgate-tls", &["wardgate-model"]),
    ("wardgate-deid", &["wardgate-model", "wardgate-hl7", "wardgate-fhir", "wardgate-profile"]),
    // Knows bytes, not what they mean.
    ("wardgate-spool", &["wardgate-model", "wardgate-audit"]),
    // Knows nothing of the log beyond `model::Intake`.
    (
        "wardgate-sources",
        &["wardgate-model", "wardgate-hl7", "wardgate-fhir", "wardgate-profile", "wardgate-tls"],
    ),
    (
        "wardgate-forward",
        &["wardgate-model", "wardgate-audit", "wardgate-deid", "wardgate-tls", "wardgate-hl7"],
    ),
    (
        "wardgate-pipeline",
        &[
            "wardgate-model",
            "wardgate-audit",
            "wardgate-hl7",
            "wardgate-fhir",
            "wardgate-profile",
            "wardgate-deid",
            "wardgate-spool",
            "wardgate-sources",
            "wardgate-forward",
        ],
    ),
    // Sees the product through one trait.
    ("wardgate-web", &["wardgate-model", "wardgate-tls"]),
    (
        // Holds the whole document, so it knows each room's `Config`, and of `web` nothing else.
        "wardgate-control",
        &[
            "wardgate-model",
            "wardgate-profile",
            "wardgate-deid",
            "wardgate-spool",
            "wardgate-tls",
            "wardgate-sources",
            "wardgate-forward",
            "wardgate-pipeline",
            "wardgate-web",
        ],
    ),
    (
        "wardgate",
        &[
            "wardgate-model",
            "wardgate-audit",
            "wardgate-hl7",
            "wardgate-fhir",
            "wardgate-profile",
            "wardgate-deid",
            "wardgate-spool",
            "wardgate-tls",
            "wardgate-sources",
            "wardgate-forward",
            "wardgate-pipeline",
            "wardgate-control",
            "wardgate-web",
        ],
    ),
    // The other side: the wire, and the pure rooms.
    (
        "wardgate-landing",
        &[
            "wardgate-model",
            "wardgate-audit",
            "wardgate-hl7",
            "wardgate-fhir",
            "wardgate-profile",
            "wardgate-tls",
        ],
    ),
    // From outside.
    ("wardgate-system-tests", &["wardgate-model", "wardgate-tls"]),
    ("wardgate-crash-tests", &["wardgate-model", "wardgate-spool"]),
    (
        // The box and the landing in a simulated world.
        "wardgate-sim",
        &[
            "wardgate-model",
            "wardgate-profile",
            "wardgate-deid",
            "wardgate-spool",
            "wardgate-forward",
            "wardgate-pipeline",
            "wardgate-landing",
        ],
    ),
    (
        "wardgate-bench",
        &["wardgate-model", "wardgate-hl7", "wardgate-fhir", "wardgate-deid", "wardgate-spool"],
    ),
    ("xtask", &[]),
];

/// Packages that belong to some rooms, and why. The end of a name may be `*`.
const OWNERS: &[(&str, &[&str], &str)] = &[
    (
        "sled",
        &["wardgate-spool", "wardgate-bench", "wardgate-crash-tests"],
        "its flush is not durable; the barrier is in `spool`, and the power-cut tests show what it is without",
    ),
    ("fuser", &["wardgate-crash-tests"], "the disk whose power is cut"),
    ("serde_cbor", &["wardgate-model"], "decoded under limits, in `codec`"),
    ("rumqttc", &["wardgate-sources"], "MQTT is a source"),
    ("tokio-serial", &["wardgate-sources"], "serial lines are a source"),
    ("deltalake*", &["wardgate-landing"], "table crates stay out of the box's binary"),
    ("arrow*", &["wardgate-landing"], "table crates stay out of the box's binary"),
    ("parquet", &["wardgate-landing"], "table crates stay out of the box's binary"),
    ("axum", &["wardgate-web", "wardgate-landing", "wardgate"], "servers: UI, landing, operations"),
    (
        "hyper",
        &["wardgate-forward", "wardgate-web", "wardgate-sources", "wardgate-landing", "wardgate"],
        "the client is in `forward`; the others serve",
    ),
    ("maud", &["wardgate-web"], "HTML is made in one place"),
    ("rcgen", &["wardgate-tls"], "certificates are made in one place"),
    ("clap", &["wardgate", "wardgate-landing", "xtask", "wardgate-crash-tests"], "command lines"),
    (
        "anyhow",
        &["wardgate", "wardgate-landing", "xtask", "wardgate-system-tests", "wardgate-crash-tests"],
        "rooms have error enums",
    ),
    ("tracing-subscriber", &["wardgate", "wardgate-landing"], "who decides where logs go"),
    ("signal-hook", &["xtask"], "the daemons have tokio's"),
    ("async-nats", &["wardgate-bench"], "measured against, never shipped"),
    ("fjall", &["wardgate-bench"], "measured against, never shipped"),
    ("redb", &["wardgate-bench"], "measured against, never shipped"),
    ("rusqlite", &["wardgate-bench"], "measured against, never shipped"),
    ("hl7-2", &["wardgate-bench"], "measured against, never shipped"),
    ("hl7-parser", &["wardgate-bench"], "measured against, never shipped"),
    ("rust-hl7", &["wardgate-bench"], "measured against, never shipped"),
];

/// Rooms without I/O: no runtime, no sockets, no TLS.
const PURE: &[&str] = &[
    "wardgate-model",
    "wardgate-audit",
    "wardgate-hl7",
    "wardgate-fhir",
    "wardgate-profile",
    "wardgate-deid",
];
const IMPURE: &[&str] =
    &["tokio", "tokio-util", "tokio-rustls", "rustls", "hyper", "hyper-util", "axum", "rustix", "tempfile"];

/// What each room depends on, tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    array(&metadata(&["--no-deps"]), "packages")
        .iter()
        .map(|package| {
            let used = array(package, "dependencies")
                .iter()
                .filter(|dependency| text(dependency, "kind") != "dev")
                .map(|dependency| text(dependency, "name").to_owned())
                .collect();
            (text(package, "name").to_owned(), used)
        })
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let ours: BTreeSet<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    let mut below = BTreeSet::new();
    for (room, may_use) in ROOMS {
        for used in *may_use {
            assert!(below.contains(used), "the table itself lets {room} use {used}, which is not below it");
        }
        below.insert(*room);
    }
    for (package, used) in dependencies() {
        let Some((_, may_use)) = ROOMS.iter().find(|(room, _)| *room == package) else {
            panic!("{package} has no line in ROOMS: decide what it may use, and who may use it");
        };
        for other in used.iter().filter(|name| ours.contains(name.as_str())) {
            assert!(may_use.contains(&other.as_str()), "{package} may not use {other}");
        }
    }
}

#[test]
fn packages_stay_with_their_owners() {
    for (package, used) in dependencies() {
        for name in used {
            for (pattern, owners, why) in OWNERS.iter().filter(|(pattern, ..)| matches(pattern, &name)) {
                assert!(
                    owners.contains(&package.as_str()),
                    "{package} may not use {name} ({pattern}): {why}"
                );
            }
        }
    }
}

#[test]
fn pure_rooms_have_no_input_or_output() {
    for (package, used) in dependencies() {
        if PURE.contains(&package.as_str()) {
            for name in used {
                assert!(!IMPURE.contains(&name.as_str()), "{package} is pure and may not use {name}");
            }
        }
    }
}

/// What the box runs: one TLS implementation, no table crates.
#[test]
fn the_box_carries_only_what_it_needs() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = std::process::Command::new(cargo);
    tree.current_dir(root()).args(["tree", "--locked", "-p", "wardgate", "-e", "normal"]);
    let out = tree.args(["--prefix", "none", "-f", "{p}"]).output().unwrap();
    assert!(out.status.success(), "cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    let listed = String::from_utf8(out.stdout).unwrap();
    let carried: BTreeSet<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(carried.contains("rustls"), "cargo tree lists something else: {carried:?}");
    for (pattern, why) in [
        // `ring` is there, uncalled: rumqttc names an error type of rustls-webpki 0.102, which brings it.
        ("openssl-sys", "rustls is the one TLS implementation"),
        ("native-tls", "rustls is the one TLS implementation"),
        ("arrow*", "tables are written at the landing"),
        ("parquet*", "tables are written at the landing"),
        ("deltalake*", "tables are written at the landing"),
        ("reqwest", "hyper is the client"),
    ] {
        let found: Vec<_> = carried.iter().filter(|name| matches(pattern, name)).collect();
        assert!(found.is_empty(), "the gateway carries {found:?}: {why}");
    }
}

/// Within a room, what one file or folder owns.
#[test]
fn modules_keep_what_is_theirs() {
    for (needle, room, owner) in [
        ("serde_cbor", "gateway/model/src/", "gateway/model/src/codec"),
        ("rumqttc", "gateway/sources/src/", "gateway/sources/src/mqtt/"),
        ("hyper", "gateway/sources/src/", "gateway/sources/src/http/"),
        ("hl7::", "gateway/forward/src/", "gateway/forward/src/mllp/"),
    ] {
        for name in files() {
            if !name.starts_with(room) || !name.ends_with(".rs") || name.starts_with(owner) {
                continue;
            }
            let source = std::fs::read_to_string(root().join(&name)).unwrap();
            for (number, line) in source.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                assert!(!code.contains(needle), "{name}:{}: {needle} belongs in {owner}", number + 1);
            }
        }
    }
}

/// The simulation and its planted faults are a test and nothing else; no product has a switch for them.
#[test]
fn the_simulation_and_its_faults_are_in_no_product() {
    let all = metadata(&["--no-deps"]);
    for package in array(&all, "packages") {
        let name = text(package, "name");
        if name == "wardgate-sim" {
            for target in array(package, "targets") {
                let kinds: Vec<_> = array(target, "kind").iter().filter_map(|kind| kind.as_str()).collect();
                assert_eq!(kinds, ["test"], "a target of {name} that could be used or shipped");
            }
            for dependency in array(package, "dependencies") {
                assert_eq!(text(dependency, "kind"), "dev", "{name} and {}", text(dependency, "name"));
            }
        } else if !name.contains("bench") {
            let features: Vec<_> = package["features"].as_object().unwrap().keys().collect();
            assert!(features.is_empty(), "{name} is built in several ways: {features:?}");
        }
    }
    // What a simulation steps, a product never does.
    for name in files() {
        let is_product = name.starts_with("gateway/") || name.starts_with("cloud/");
        if !is_product || !name.ends_with(".rs") || name.starts_with("gateway/spool/src/") {
            continue;
        }
        let source = std::fs::read_to_string(root().join(&name)).unwrap();
        assert!(!source.contains("Stepper"), "{name} steps what a product leaves to its threads");
    }
}
