//! `wardgate-landing stat`: how much there is.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Error, Stream, read};

/// The tables of a root.
#[derive(Debug, Clone, Serialize)]
pub struct Stat {
    /// The root.
    pub root: PathBuf,
    /// Label of the policy that it is kept under.
    pub policy: String,
    /// Rows of `raw`.
    pub rows: u64,
    /// Record names among them.
    pub distinct: u64,
    /// Rows of `raw` that the ledger states.
    pub ledger_rows: u64,
    /// Records that the ledger skips.
    pub skipped: u64,
    /// By name.
    pub tables: BTreeMap<&'static str, TableStat>,
    /// In order.
    pub streams: Vec<StreamStat>,
}

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TableStat {
    /// The latest version.
    pub version: u64,
    /// Active data files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
}

/// One stream, as the ledger states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamStat {
    /// Which.
    #[serde(flatten)]
    pub stream: Stream,
    /// First number covered.
    pub first: u64,
    /// Last number covered.
    pub last: u64,
    /// Batches.
    pub batches: u64,
    /// Rows of `raw`.
    pub rows: u64,
    /// Records skipped.
    pub skipped: u64,
}

/// Reads the tables below a root.
///
/// # Errors
/// [`Error`]: no tables there, or unreadable ones.
pub async fn stat(root: &Path) -> Result<Stat, Error> {
    let mut tables = BTreeMap::new();
    let raw = read::open(root, "raw").await?;
    let mut distinct: HashSet<(Stream, u64)> = HashSet::new();
    let mut rows = 0;
    read::rows(root, "raw", &raw, read::RAW_NAMES, |row| {
        rows += 1;
        distinct.insert((row.stream, row.seq));
    })
    .await?;
    tables.insert("raw", TableStat { version: raw.version, files: raw.files.len() as u64, rows });
    for name in ["messages", "observations", "ledger"] {
        let table = read::open(root, name).await?;
        let mut rows = 0;
        for (_, stated) in &table.files {
            rows += stated.unwrap_or(0);
        }
        tables.insert(name, TableStat { version: table.version, files: table.files.len() as u64, rows });
    }
    let ledger = read::ledger(root, &read::open(root, "ledger").await?).await?;
    let mut streams: BTreeMap<Stream, StreamStat> = BTreeMap::new();
    for batch in &ledger {
        let stream = streams.entry(batch.stream.clone()).or_insert_with(|| StreamStat {
            stream: batch.stream.clone(),
            first: batch.first,
            last: batch.last,
            batches: 0,
            rows: 0,
            skipped: 0,
        });
        stream.first = stream.first.min(batch.first);
        stream.last = stream.last.max(batch.last);
        stream.batches += 1;
        stream.rows += batch.rows;
        stream.skipped += batch.skipped;
    }
    Ok(Stat {
        root: root.to_owned(),
        policy: raw.policy,
        rows,
        distinct: distinct.len() as u64,
        ledger_rows: ledger.iter().map(|b| b.rows).sum(),
        skipped: ledger.iter().map(|b| b.skipped).sum(),
        tables,
        streams: streams.into_values().collect(),
    })
}
