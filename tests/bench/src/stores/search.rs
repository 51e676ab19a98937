//! Searching a log of millions of records by their keys.

use std::path::PathBuf;
use std::time::Instant;

use futures_util::future::try_join_all;
use model::Lane;
use serde_json::{Value, json};
use spool::{Config, Error, Keyed, Record, Wanted};

use super::ours::{open, runtime};
use super::process;
use super::raw::{forget, segments};

/// Records of one patient, one visit, one order.
const OF_A_PATIENT: u64 = 50;
const OF_A_VISIT: u64 = 10;
const OF_AN_ORDER: u64 = 2;
/// Records that are appended side by side.
const BATCH: u64 = 1024;
/// Searches of each kind.
const SEARCHES: u64 = 25;
/// As many records as a person is shown.
const LIMIT: usize = 100;

/// A record is its number, and says by what it is found: seven keys, as many as an ordinary message has. What reading a
/// message costs is not measured here; `--only parse` does.
#[derive(Debug)]
struct Numbered;

impl Keyed for Numbered {
    fn keys(&self, record: &Record, add: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let payload = record.payload.piece(0)?;
        let number = payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        for (kind, value) in keys(number) {
            add(&key(kind, value));
        }
        Ok(true)
    }
}

fn keys(number: u64) -> [(u8, u64); 7] {
    [
        (1, number / OF_A_PATIENT),
        (2, number / OF_A_VISIT),
        (3, number / OF_AN_ORDER),
        (4, number),
        (5, number % 20),
        (6, number % 5),
        (7, number % 3),
    ]
}

fn key(kind: u8, value: u64) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&value.to_le_bytes());
    key
}

/// So there are as many sidecars as segments of the ordinary size hold messages of two kilobytes.
const SEGMENT_BYTES: u64 = 1 << 20;

/// Arguments: a folder, and how many records. Records are small, because the time of a search depends on their number and
/// on that of their segments, which are smaller by as much: patients come back in each twentieth of the log.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<Value, String> {
    let dir = PathBuf::from(args.next().ok_or("DIR is missing")?);
    let records = args.next().and_then(|a| a.parse::<u64>().ok()).ok_or("RECORDS is a number")?;
    let failed = |e: spool::Error| e.to_string();
    let config = Config { clinical_bytes_max: 1 << 40, segment_bytes: SEGMENT_BYTES, ..Config::default() };
    let spool = open(&dir, &config)?;
    let log = spool.lane(Lane::Clinical);
    let runtime = runtime()?;
    // A patient comes back all over the log.
    let spread = |n: u64| n % 20 * (records / 20) + n / 20;
    for first in (0..records).step_by(BATCH as usize) {
        let payloads: Vec<Vec<u8>> = (first..(first + BATCH).min(records))
            .map(|n| {
                let mut payload = spread(n).to_le_bytes().to_vec();
                payload.resize(64, 0);
                payload
            })
            .collect();
        let appends = payloads.iter().map(|payload| log.append(Vec::new(), payload));
        runtime.block_on(try_join_all(appends)).map_err(failed)?;
    }
    let begun = Instant::now();
    while let Some(segment) = log.unindexed() {
        log.index(segment, &Numbered).map_err(failed)?;
    }
    let indexing = begun.elapsed();
    let stat = log.index_stat();
    forget(&segments(&dir).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let mut times = serde_json::Map::new();
    let mut found = 0_u64;
    for (name, kind, group) in [
        ("mrn", 1, OF_A_PATIENT),
        ("visit", 2, OF_A_VISIT),
        ("order", 3, OF_AN_ORDER),
        ("control id", 4, 1),
        ("nobody", 9, 1),
    ] {
        let mut all = Vec::new();
        for n in 0..SEARCHES {
            let value = (n * 0x9E37_79B9 + 7) % (records / group);
            let asked = [key(kind, value)];
            let wanted = Wanted { keys: &asked, from: None, to: None, limit: LIMIT };
            let begun = Instant::now();
            let mut shown = 0;
            let searched = log.search(&wanted, &Numbered, &mut |_| shown += 1).map_err(failed)?;
            all.push(begun.elapsed().as_secs_f64());
            let expected = if kind == 9 { 0 } else { group };
            if shown != expected || !searched.left_out.is_empty() {
                return Err(format!(
                    "{name}: {shown} records instead of {expected}, {:?}",
                    searched.left_out
                ));
            }
            found += shown;
        }
        times.insert(name.to_owned(), json!(all));
    }
    let (resident, peak) = process::resident("self")?;
    Ok(json!({
        "records": records,
        "log_bytes": log.stat().bytes - stat.bytes,
        "segments": log.stat().segments,
        "index_bytes": stat.bytes,
        "indexing_s": indexing.as_secs_f64(),
        "found": found,
        "times": times,
        "resident_bytes": resident,
        "peak_bytes": peak,
    }))
}
