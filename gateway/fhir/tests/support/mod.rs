//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses its own part of it")]

use std::path::{Path, PathBuf};

use fhir::maps::Maps;
use fhir::v2::{Context, Converted, Converter, Error, Keyed};
use hl7::Message;

pub(crate) fn maps() -> Maps {
    Maps::builtin().unwrap()
}

pub(crate) fn context(record: &str) -> Context<'_> {
    Context {
        gateway: "ward-3",
        record,
        recorded_at: "2026-11-24T08:30:00Z".parse().unwrap(),
        offset_minutes: 60,
        trace: true,
    }
}

pub(crate) fn convert(maps: &Maps, record: &str, bytes: &[u8]) -> Result<Converted, Error> {
    let ids = Keyed::public();
    let message = Message::parse(bytes.to_vec()).unwrap();
    Converter::new(maps, &ids).convert(&message, &context(record))
}

/// The files of a folder with HL7 in them, by name.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "hl7"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

/// Messages of every family, written here.
pub(crate) fn families() -> Vec<(String, Vec<u8>)> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages"))
}

/// The fixtures of the whole product.
pub(crate) fn fixtures() -> Vec<(String, Vec<u8>)> {
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hl7"))
}

/// The public test data, where there is any.
pub(crate) fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("WARDGATE_CORPUS").map_or(beside, PathBuf::from);
    folder.join("hl7").is_dir().then(|| folder.join("hl7"))
}

/// Every file below a folder.
pub(crate) fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { below(&path, found) } else { found.push(path) }
    }
    found.sort();
}
