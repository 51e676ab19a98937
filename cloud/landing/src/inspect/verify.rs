//! `wardgate-landing verify`: whether the tables agree with each other.
//!
//! | check | a finding says |
//! |---|---|
//! | `behind` | a table has not caught up with `raw` |
//! | `ledger` | batches of a stream overlap, leave a gap, or do not add up |
//! | `watermark` | the log of `raw` and the ledger disagree on how far a stream is |
//! | `raw` | a row is twice there, in no batch, misnamed, or a batch has another number of rows than it states |
//! | `messages`, `observations` | a record has other rows there than its payload makes |
//!
//! Memory: some 40 bytes for each row of `raw`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Observation, codec};
use serde::Serialize;

use super::read::{self, Batch};
use super::{Error, Stream};
use crate::delta::Snapshot;
use crate::lake::streams::watermark_stream;
use crate::lake::{RAW_VERSION, raw_version_with_batches};
use crate::rows;

/// Findings of one check that are listed; more are counted.
const LISTED_MAX: usize = 20;
/// A landing that runs may be between two commits: it is looked at this often, a second apart.
const LOOKS: u32 = 10;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// The stream, where there is one.
    pub stream: Option<String>,
    /// One sentence; ids and counts.
    pub detail: String,
}

/// The outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The root.
    pub root: PathBuf,
    /// Nothing was found.
    pub ok: bool,
    /// Rows of `raw` that were looked at.
    pub rows: u64,
    /// Batches of the ledger.
    pub batches: u64,
    /// Streams.
    pub streams: u64,
    /// How many findings, also those that are not listed.
    pub found: u64,
    /// The first of each check.
    pub findings: Vec<Finding>,
}

#[derive(Default)]
struct Findings {
    found: u64,
    listed: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, check: &'static str, stream: Option<&Stream>, detail: String) {
        self.found += 1;
        if self.listed.iter().filter(|f| f.check == check).count() < LISTED_MAX {
            self.listed.push(Finding { check, stream: stream.map(Stream::to_string), detail });
        }
    }
}

/// What the other tables must hold of a record.
#[derive(Debug, Default, Clone, Copy)]
struct Expected {
    messages: u64,
    observations: u64,
}

struct Tables {
    raw: Snapshot,
    ledger: Snapshot,
    messages: Snapshot,
    observations: Snapshot,
}

/// Checks the tables below a root.
///
/// # Errors
/// [`Error`]: no tables there, or unreadable ones.
pub async fn verify(root: &Path) -> Result<Verdict, Error> {
    verify_within(root, LOOKS).await
}

pub(super) async fn verify_within(root: &Path, looks: u32) -> Result<Verdict, Error> {
    let mut findings = Findings::default();
    let tables = settled(root, looks, &mut findings).await?;
    let batches = by_stream(read::ledger(root, &tables.ledger).await?);
    for (stream, batches) in &batches {
        check_ledger(stream, batches, &mut findings);
    }
    check_watermarks(&tables.raw, &batches, &mut findings);
    let records = check_raw(root, &tables.raw, &batches, &mut findings).await?;
    let messages = |e: &Expected| e.messages;
    let observations = |e: &Expected| e.observations;
    check_silver(root, "messages", &tables.messages, &records, messages, &mut findings).await?;
    check_silver(root, "observations", &tables.observations, &records, observations, &mut findings).await?;
    Ok(Verdict {
        root: root.to_owned(),
        ok: findings.found == 0,
        rows: records.values().map(|r| r.len() as u64).sum(),
        batches: batches.values().map(|b| b.len() as u64).sum(),
        streams: batches.len() as u64,
        found: findings.found,
        findings: findings.listed,
    })
}

/// The tables at a moment when all have caught up; with a finding where that moment does not come.
async fn settled(root: &Path, looks: u32, findings: &mut Findings) -> Result<Tables, Error> {
    let mut look = 1;
    loop {
        // `raw` last: what it has beyond the others is then seen.
        let ledger = read::open(root, "ledger").await?;
        let messages = read::open(root, "messages").await?;
        let observations = read::open(root, "observations").await?;
        let raw = read::open(root, "raw").await?;
        let newest = raw_version_with_batches(&raw);
        let behind: Vec<_> = [("ledger", &ledger), ("messages", &messages), ("observations", &observations)]
            .into_iter()
            .filter_map(|(name, table)| {
                let at = table.txns.get(RAW_VERSION).and_then(|v| u64::try_from(*v).ok());
                (at < newest).then_some((name, at))
            })
            .collect();
        if !behind.is_empty() && look < looks {
            look += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        for (name, at) in behind {
            let at = at.map_or("nothing".to_owned(), |v| format!("version {v}"));
            let newest = newest.unwrap_or_default();
            findings.add("behind", None, format!("{name} has {at} of raw, which has batches up to {newest}"));
        }
        return Ok(Tables { raw, ledger, messages, observations });
    }
}

fn by_stream(ledger: Vec<Batch>) -> BTreeMap<Stream, Vec<Batch>> {
    let mut streams: BTreeMap<Stream, Vec<Batch>> = BTreeMap::new();
    for batch in ledger {
        streams.entry(batch.stream.clone()).or_default().push(batch);
    }
    for batches in streams.values_mut() {
        batches.sort_by_key(|b| (b.first, b.last));
    }
    streams
}

fn check_ledger(stream: &Stream, batches: &[Batch], findings: &mut Findings) {
    let mut expected = batches.first().map(|b| b.first);
    for batch in batches {
        let Batch { first, last, rows, skipped, .. } = batch;
        let span = last.checked_sub(*first).and_then(|n| n.checked_add(1));
        if span != rows.checked_add(*skipped) {
            let detail = format!("batch {first} to {last} states {rows} rows and {skipped} skipped");
            findings.add("ledger", Some(stream), detail);
        }
        if let Some(expected) = expected.filter(|e| e != first) {
            let detail = format!("batch {first} to {last} stands where {expected} should begin");
            findings.add("ledger", Some(stream), detail);
        }
        expected = last.checked_add(1);
    }
}

fn check_watermarks(raw: &Snapshot, batches: &BTreeMap<Stream, Vec<Batch>>, findings: &mut Findings) {
    let mut watermarks: HashMap<Stream, u64> = HashMap::new();
    for (app, version) in &raw.txns {
        if let (Some(id), Ok(watermark)) = (watermark_stream(app), u64::try_from(*version)) {
            let (gateway, destination, lane) = (id.gateway, id.destination, id.lane);
            let stream = Stream { gateway, destination, lane, epoch: id.epoch.get() };
            watermarks.insert(stream, watermark);
        }
    }
    for (stream, batches) in batches {
        let last = batches.last().map_or(0, |b| b.last);
        let watermark = watermarks.get(stream).copied();
        if watermark != Some(last) {
            let watermark = watermark.map_or("nothing".to_owned(), |w| w.to_string());
            let detail = format!("the log says {watermark}, the ledger ends at {last}");
            findings.add("watermark", Some(stream), detail);
        }
    }
}

type Records = HashMap<Stream, HashMap<u64, Expected>>;

async fn check_raw(
    root: &Path,
    raw: &Snapshot,
    batches: &BTreeMap<Stream, Vec<Batch>>,
    findings: &mut Findings,
) -> Result<Records, Error> {
    let mut records = Records::new();
    let mut counted: HashMap<(&Stream, u64), u64> = HashMap::new();
    read::rows(root, "raw", raw, read::RAW, |row| {
        let read::Row { stream, seq, .. } = &row;
        if row.record_id != format!("{}-{}-{seq}", stream.lane, stream.epoch) {
            findings.add("raw", Some(stream), format!("the row of number {seq} has another record_id"));
        }
        let batch = batches.get_key_value(stream).and_then(|(stream, batches)| {
            let at = batches.partition_point(|b| b.last < *seq);
            batches.get(at).filter(|b| b.first <= *seq).map(|b| (stream, b))
        });
        match batch {
            Some((stream, batch)) => {
                *counted.entry((stream, batch.first)).or_default() += 1;
                if row.manifest_sha256 != Some(batch.manifest_sha256.as_str()) {
                    let detail = format!("the row of number {seq} is of another batch than {}", batch.first);
                    findings.add("raw", Some(stream), detail);
                }
            }
            None => findings.add("raw", Some(stream), format!("number {seq} is in no batch of the ledger")),
        }
        let expected = expected(&row);
        if records.entry(row.stream.clone()).or_default().insert(*seq, expected).is_some() {
            findings.add("raw", Some(stream), format!("number {seq} is there more than once"));
        }
    })
    .await?;
    for (stream, batches) in batches {
        for batch in batches {
            let rows = counted.get(&(stream, batch.first)).copied().unwrap_or(0);
            if rows != batch.rows {
                let Batch { first, last, rows: stated, .. } = batch;
                let detail = format!("batch {first} to {last} states {stated} rows, raw has {rows}");
                findings.add("raw", Some(stream), detail);
            }
        }
    }
    Ok(records)
}

fn expected(row: &read::Row<'_>) -> Expected {
    let device = row
        .observations
        .and_then(|bytes| codec::decode::<Vec<Observation>>(bytes).ok())
        .map_or(0, |o| o.len() as u64);
    let (messages, obx) = match (row.format, row.payload) {
        (Some("hl7v2"), Some(payload)) => rows::counts(payload, row.charset),
        _ => (0, 0),
    };
    Expected { messages, observations: device + obx }
}

async fn check_silver(
    root: &Path,
    name: &'static str,
    table: &Snapshot,
    records: &Records,
    of: impl Fn(&Expected) -> u64,
    findings: &mut Findings,
) -> Result<(), Error> {
    let columns = read::SILVER;
    let mut seen: HashMap<Stream, HashMap<u64, Vec<u64>>> = HashMap::new();
    read::rows(root, name, table, columns, |row| {
        seen.entry(row.stream).or_default().entry(row.seq).or_default().push(row.ordinal);
    })
    .await?;
    for (stream, seqs) in &mut seen {
        let there = records.get(stream);
        for (seq, ordinals) in seqs {
            ordinals.sort_unstable();
            let Some(expected) = there.and_then(|r| r.get(seq)) else {
                findings.add(name, Some(stream), format!("number {seq} has rows and is not in raw"));
                continue;
            };
            if !ordinals.iter().copied().eq(0..of(expected)) {
                let (is, should) = (ordinals.len(), of(expected));
                let detail = format!("number {seq} has {is} rows and should have {should}, numbered from 0");
                findings.add(name, Some(stream), detail);
            }
        }
    }
    for (stream, expected) in records {
        let there = seen.get(stream);
        for (seq, expected) in expected.iter().filter(|(_, e)| of(e) > 0) {
            if there.and_then(|s| s.get(seq)).is_none() {
                let detail = format!("number {seq} has no rows and should have {}", of(expected));
                findings.add(name, Some(stream), detail);
            }
        }
    }
    Ok(())
}
