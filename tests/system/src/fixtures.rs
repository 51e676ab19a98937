//! `tests/fixtures/`: messages of patients who do not exist, and what must not be found of them anywhere.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::peers;

/// The folder of the HL7 fixtures.
pub fn hl7() -> PathBuf {
    peers::repository().join("tests/fixtures/hl7")
}

/// One fixture, as it is.
pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(hl7().join(name)).unwrap()
}

/// Every identifier of `tests/fixtures/identifiers.json`, as text.
pub fn identifiers() -> Vec<String> {
    let text = std::fs::read_to_string(peers::repository().join("tests/fixtures/identifiers.json")).unwrap();
    let files: Value = serde_json::from_str(&text).unwrap();
    let mut all: Vec<String> = files
        .as_object()
        .unwrap()
        .values()
        .flat_map(|list| list.as_array().unwrap())
        .map(|value| value.as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all.dedup();
    assert!(all.len() > 50, "the manifest lists only {} identifiers", all.len());
    all
}

/// Every file below `dir`, with its bytes.
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            // One that goes while we look was looked at by nobody else either.
            if let Ok(bytes) = std::fs::read(&path) {
                found.push((path, bytes));
            }
        }
    }
    found
}

/// Which of the needles stand in the bytes, in any case, as UTF-8 or UTF-16.
pub fn found<'n>(bytes: &[u8], needles: &'n [String]) -> Vec<&'n str> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let narrow: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
    let narrow = String::from_utf8_lossy(&narrow).to_lowercase();
    needles
        .iter()
        .map(String::as_str)
        .filter(|needle| {
            let needle = needle.to_lowercase();
            text.contains(&needle) || narrow.contains(&needle)
        })
        .collect()
}
