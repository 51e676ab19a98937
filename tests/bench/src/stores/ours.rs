//! The log itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::try_join_all;
use model::{Clock, Lane, StreamEpoch, Timestamp};
use serde_json::{Value, json};
use spool::{Config, Entry, Log, RootKey, Spool};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::child::Store;
use super::process;
use super::raw::{forget, segments};

/// Bytes of the records of a large backlog.
const BACKLOG_RECORD_BYTES: usize = 200 << 10;

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

pub(super) fn open(dir: &Path, config: &Config) -> Result<Spool, String> {
    let gateway = "bench".parse().map_err(|_| "no name")?;
    let keys = RootKey::new(&mut [1; 32]).map_err(|e| e.to_string())?;
    Spool::open(dir, config, keys, &gateway, Arc::new(Fixed)).map_err(|e| e.to_string())
}

pub(super) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
}

pub(super) struct Ours {
    runtime: Runtime,
    log: Log,
    dir: PathBuf,
    _spool: Spool,
}

impl Ours {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        let spool = open(dir, &Config::default())?;
        let log = spool.lane(Lane::Clinical).clone();
        Ok(Self { runtime: runtime()?, log, dir: dir.to_owned(), _spool: spool })
    }
}

impl Store for Ours {
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String> {
        let appends = records.iter().map(|record| self.log.append(Vec::new(), record));
        self.runtime.block_on(try_join_all(appends)).map(drop).map_err(|e| e.to_string())
    }

    /// The committer's own; the keeper fills spare segments with zeros ahead of need.
    fn written_by_commits(&self) -> Result<Option<u64>, String> {
        process::written_by_threads("spool-clinical").map(Some)
    }

    /// Reads everything back, from the disk.
    fn other(&mut self, what: &Value) -> Result<Value, String> {
        what.get("drain").ok_or("not understood")?;
        forget(&segments(&self.dir).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        self.runtime.block_on(drain(&self.log))
    }
}

/// Payload bytes of all records, and how fast they came.
async fn drain(log: &Log) -> Result<Value, String> {
    let mut reader = log.reader(0);
    let (begun, mut bytes, mut records) = (Instant::now(), 0, 0_u64);
    while let Some(entry) = reader.next().await.map_err(|e| e.to_string())? {
        let Entry::Record(record) = entry else { return Err("the log is damaged".to_owned()) };
        bytes += record.payload.len();
        records += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({
        "bytes": bytes,
        "records": records,
        "mb_per_s": bytes as f64 / 1e6 / seconds,
        "resident_bytes": process::resident("self")?.0,
    }))
}

/// Opens a spool with a large backlog. Arguments: a folder, and MiB of records; then the number of segments of a second
/// spool, whose segments hold a record each, so that there are as many files as a large backlog has.
pub(crate) fn backlog(mut args: impl Iterator<Item = String>) -> Result<Value, String> {
    let dir = PathBuf::from(args.next().ok_or("DIR is missing")?);
    let mut number =
        |name| args.next().and_then(|a| a.parse::<u64>().ok()).ok_or(format!("{name} is a number"));
    let (mebibytes, files) = (number("MIB")?, number("SEGMENTS")?);
    let runtime = runtime()?;
    let full = Config { clinical_bytes_max: 1 << 40, ..Config::default() };
    let small = Config { segment_bytes: 1 << 20, ..full.clone() };
    let mut measured = Vec::new();
    for (name, config) in [("full", &full), ("many", &small)] {
        let dir = dir.join(name);
        let spool = open(&dir, config)?;
        let log = spool.lane(Lane::Clinical);
        let failed = |e: spool::Error| e.to_string();
        if name == "full" {
            let record = vec![0x5A; BACKLOG_RECORD_BYTES];
            for _ in 0..(mebibytes << 20) / (8 * BACKLOG_RECORD_BYTES as u64) {
                let appends = (0..8).map(|_| log.append(Vec::new(), &record));
                runtime.block_on(try_join_all(appends)).map_err(failed)?;
            }
        } else {
            for epoch in 1..=files {
                log.adopt_epoch(StreamEpoch::new(epoch).unwrap_or(StreamEpoch::FIRST)).map_err(failed)?;
                log.append_blocking(Vec::new(), &[0; 1024]).map_err(failed)?;
            }
        }
        let stat = log.stat();
        // As a kill would leave it: the newest segment has no footer.
        drop(spool);
        let mut times = Vec::new();
        for _ in 0..5 {
            forget(&segments(&dir).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
            let begun = Instant::now();
            let spool = open(&dir, config)?;
            times.push(begun.elapsed().as_secs_f64());
            drop(spool);
        }
        let (resident, _) = process::resident("self")?;
        measured.push(json!({
            "bytes": stat.bytes,
            "segments": stat.segments,
            "records": stat.last,
            "open_s": times,
            "resident_bytes": resident,
        }));
    }
    Ok(json!(measured))
}
