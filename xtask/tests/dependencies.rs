//! `deny.toml`, as far as it can be held without the internet and without cargo-deny's own build: licences,
//! sources, banned packages, and a reason for each direct dependency. `cargo xtask torture` runs the whole of it.
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

use common::{array, metadata, root, text};
use toml::{Table, Value};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn deny() -> Table {
    read("deny.toml").parse().unwrap()
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Everything that is built for the box or the landing, dependencies of dependencies included.
fn all_packages() -> serde_json::Value {
    metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"])
}

/// SPDX expressions: `OR`, `AND`, parentheses, and the older `/` for `OR`. `WITH` belongs to its licence.
fn allowed(expression: &str, licences: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<String> = Vec::new();
    for word in spaced.split_whitespace() {
        match words.last_mut() {
            Some(last) if word == "WITH" || last.ends_with(" WITH") => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    let mut at = 0;
    let result = either(&words, &mut at, licences);
    result && at == words.len()
}

fn either(words: &[String], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut result = both(words, at, licences);
    while words.get(*at).is_some_and(|word| word == "OR") {
        *at += 1;
        result |= both(words, at, licences);
    }
    result
}

fn both(words: &[String], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let mut result = one(words, at, licences);
    while words.get(*at).is_some_and(|word| word == "AND") {
        *at += 1;
        result &= one(words, at, licences);
    }
    result
}

fn one(words: &[String], at: &mut usize, licences: &BTreeSet<String>) -> bool {
    let word = words.get(*at);
    *at += 1;
    if word.is_some_and(|word| word == "(") {
        let result = either(words, at, licences);
        *at += 1;
        return result;
    }
    word.is_some_and(|word| licences.contains(word))
}

#[test]
fn licences_are_among_the_allowed() {
    let deny = deny();
    let licences = strings(&deny["licenses"]["allow"]);
    let exceptions = deny["licenses"]["exceptions"].as_array().unwrap();
    for package in array(&all_packages(), "packages") {
        let licence = text(package, "license");
        let mut licences = licences.clone();
        for exception in exceptions.iter().filter(|e| e["crate"].as_str() == Some(text(package, "name"))) {
            licences.extend(strings(&exception["allow"]));
        }
        assert!(allowed(licence, &licences), "{} is under `{licence}`", text(package, "name"));
    }
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let licences = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned));
    for good in
        ["MIT", "GPL-3.0 OR MIT", "ISC AND (MIT OR GPL-3.0)", "GPL-2.0/MIT", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(allowed(good, &licences), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "ISC AND (GPL-2.0 OR GPL-3.0)", "Apache-2.0", "MIT ISC"] {
        assert!(!allowed(bad, &licences), "{bad}");
    }
}

#[test]
fn packages_come_from_one_registry() {
    let lock: Table = read("Cargo.lock").parse().unwrap();
    for package in lock["package"].as_array().unwrap() {
        if let Some(source) = package.get("source") {
            assert_eq!(source.as_str(), Some(CRATES_IO), "{} comes from elsewhere", package["name"]);
        }
    }
    let sources = &deny()["sources"];
    assert_eq!(sources["unknown-registry"].as_str(), Some("deny"));
    assert_eq!(sources["unknown-git"].as_str(), Some("deny"));
}

#[test]
fn banned_packages_come_only_through_their_wrappers() {
    let deny = deny();
    let metadata = all_packages();
    let names: BTreeMap<&str, &str> =
        array(&metadata, "packages").iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    for ban in deny["bans"]["deny"].as_array().unwrap() {
        let name = ban["crate"].as_str().unwrap();
        assert!(ban["reason"].as_str().is_some_and(|why| !why.is_empty()), "the ban of {name} has no reason");
        let wrappers = ban.get("wrappers").map(strings).unwrap_or_default();
        for node in array(&metadata["resolve"], "nodes") {
            let user = names[text(node, "id")];
            let uses = array(node, "dependencies").iter().any(|d| names[d.as_str().unwrap()] == name);
            assert!(!uses || wrappers.contains(user), "{user} uses {name}: {}", ban["reason"]);
        }
    }
}

#[test]
fn advisories_are_ignored_for_a_reason_and_about_what_we_use() {
    let lock = read("Cargo.lock");
    for ignored in deny()["advisories"]["ignore"].as_array().unwrap() {
        let reason = ignored["reason"].as_str().unwrap_or_default();
        let package = reason.split(' ').next().unwrap_or_default();
        assert!(reason.len() > 30, "{} is ignored without a reason", ignored["id"]);
        let used = lock.contains(&format!("name = \"{package}\""));
        assert!(used, "{} is about {package}, which we no longer use: take it out", ignored["id"]);
    }
}

#[test]
fn each_direct_dependency_has_a_reason() {
    let cargo: Table = read("Cargo.toml").parse().unwrap();
    let named: BTreeSet<String> = cargo["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .filter(|(_, value)| value.get("path").is_none())
        .map(|(name, _)| name.clone())
        .collect();
    let deny = read("deny.toml");
    let explained: BTreeSet<String> = deny
        .lines()
        .filter_map(|line| line.strip_prefix("# - ")?.split_once(": "))
        .filter(|(_, reason)| reason.len() > 3)
        .map(|(name, _)| name.to_owned())
        .collect();
    let without: Vec<_> = named.difference(&explained).collect();
    assert!(without.is_empty(), "without a line in deny.toml that says what for: {without:?}");
    let gone: Vec<_> = explained.difference(&named).collect();
    assert!(gone.is_empty(), "explained in deny.toml but not in Cargo.toml: {gone:?}");
}

#[test]
fn versions_stand_once() {
    for package in array(&metadata(&["--no-deps"]), "packages") {
        let manifest = std::fs::read_to_string(text(package, "manifest_path")).unwrap();
        let manifest: Table = manifest.parse().unwrap();
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(kind).and_then(Value::as_table) else { continue };
            for (name, value) in dependencies {
                let inherits = value.get("workspace").and_then(Value::as_bool) == Some(true);
                assert!(inherits, "{}: {name} states a version of its own", text(package, "name"));
            }
        }
    }
}
