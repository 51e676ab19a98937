//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses its own part of it")]

pub(crate) mod fhir;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use deid::{Clinical, Context, DestinationKeys, Held, Identifier, Policy, Release, Vault, VaultToken};
use hl7::Message;
use model::{Format, Provenance, Timestamp};
use zeroize::Zeroizing;

/// A provenance whose every text is a canary of its own.
pub(crate) fn provenance() -> Provenance {
    Provenance {
        feed: "adt".parse().unwrap(),
        peer: "ZQPEER7.ward.example:50211".into(),
        channel: "wards/ZQTOPIC7/file.hl7".into(),
        received_at: "2026-11-24T08:30:00Z".parse().unwrap(),
        format: Format::Hl7v2,
        origin: None,
    }
}

/// With a vault of its own.
pub(crate) fn keys() -> DestinationKeys {
    keys_of(7).with_vault(Arc::new(TestVault::default()))
}

/// Gives the numbers 1, 2, … as tokens, whatever is asked for.
#[derive(Debug, Default)]
pub(crate) struct TestVault {
    given: Mutex<HashMap<Vec<u8>, VaultToken>>,
    /// No more than so many, where it has an end.
    most: Option<usize>,
}

impl TestVault {
    pub(crate) fn of_at_most(most: usize) -> Self {
        Self { most: Some(most), ..Self::default() }
    }
}

impl Vault for TestVault {
    fn token(&self, identifier: &Identifier<'_>) -> Option<VaultToken> {
        let mut given = self.given.lock().unwrap();
        let count = given.len();
        let canonical = identifier.canonical().to_vec();
        if !given.contains_key(&canonical) && self.most.is_some_and(|most| count >= most) {
            return None;
        }
        let next = VaultToken::new((count as u128 + 1).to_be_bytes());
        Some(*given.entry(canonical).or_insert(next))
    }
}

/// The keys of another destination for each number.
pub(crate) fn keys_of(destination: u8) -> DestinationKeys {
    DestinationKeys::derive(|purpose| Zeroizing::new([destination ^ purpose.len() as u8; 32]))
}

/// The time at which policies of tests are compiled.
pub(crate) fn now() -> Timestamp {
    provenance().received_at
}

pub(crate) fn policy(name: &str) -> Policy {
    Policy::builtin(name).unwrap()
}

pub(crate) fn message(bytes: &[u8]) -> Clinical {
    Clinical::Hl7(Message::decode(bytes.to_vec(), None).unwrap())
}

pub(crate) fn release(policy: &Policy, clinical: &Clinical) -> Result<Release, Held> {
    with_context(|context| policy.release(clinical, context))
}

/// With everything that a policy may ask for.
pub(crate) fn with_context<T>(action: impl FnOnce(&Context<'_>) -> T) -> T {
    let provenance = provenance();
    let keys = keys();
    action(&Context { seq: 42, provenance: &provenance, keys: Some(&keys) })
}

/// The payload, one segment a line.
pub(crate) fn lines(release: &Release) -> String {
    String::from_utf8_lossy(release.payload()).replace('\r', "\n")
}

/// The whole release as it travels, as text to search in.
pub(crate) fn serialised(release: &Release) -> String {
    let mut text = serde_json::to_string(release).unwrap();
    text.push_str(&String::from_utf8_lossy(release.payload()));
    text
}

/// The public test data, where there is any.
pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("WARDGATE_CORPUS").map_or(beside, PathBuf::from);
    folder.join("hl7").is_dir().then_some(folder)
}

/// Every message of the corpus with the file it stands in, split at lines that begin with `MSH`.
pub(crate) fn corpus_messages(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut folders = vec![folder.join("hl7")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e != "json") {
                let bytes = std::fs::read(&path).unwrap();
                messages.extend(hl7::split(&bytes).map(|m| (path.clone(), m.to_vec())));
            }
        }
    }
    messages
}
