//! Finds a batch that was committed long ago, in the ledger.

use std::path::Path;

use deltalake_core::arrow::array::{Array as _, AsArray as _, RecordBatch};
use deltalake_core::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use model::wire::Landed;
use model::{Seq, StreamId, Timestamp};

use super::note::Note;
use crate::delta::{Error, Snapshot, read_rows};

const COLUMNS: &[&str] = &[
    "gateway",
    "destination",
    "lane",
    "epoch",
    "first",
    "last",
    "manifest_sha256",
    "committed_at",
    "raw_version",
];

/// By which of its ends a batch is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    First(Seq),
    Last(Seq),
}

/// The batch of a stream that begins or ends at a number.
pub(super) async fn find(root: &Path, stream: &StreamId, key: Key) -> Result<Option<Landed>, Error> {
    let Some(ledger) = Snapshot::read(root, "ledger").await? else { return Ok(None) };
    for (path, _) in &ledger.files {
        for rows in read_rows(ledger.store(), path, Some(COLUMNS)).await? {
            if let Some((mut landed, committed_at)) = in_rows(&rows, stream, key) {
                landed.committed_at = match committed_at {
                    Some(at) => at,
                    None => commit_time(root, landed.table_version).await?,
                };
                return Ok(Some(landed));
            }
        }
    }
    Ok(None)
}

/// Where the ledger does not say when, the log of `raw` does, as long as it is kept.
async fn commit_time(root: &Path, version: u64) -> Result<Timestamp, Error> {
    let Some(raw) = Snapshot::read(root, "raw").await? else { return Ok(Timestamp::default()) };
    let note = match raw.entry(version).await? {
        Some(commit) => Note::of(&commit, version)?,
        None => None,
    };
    Ok(note.map(|n| n.committed_at).unwrap_or_default())
}

fn in_rows(rows: &RecordBatch, stream: &StreamId, key: Key) -> Option<(Landed, Option<Timestamp>)> {
    let text = |name| rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let long = |name| rows.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
    let (gateway, destination, lane) = (text("gateway")?, text("destination")?, text("lane")?);
    let (epoch, firsts, lasts) = (long("epoch")?, long("first")?, long("last")?);
    let (manifest, version) = (text("manifest_sha256")?, long("raw_version")?);
    let at = rows.column_by_name("committed_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let (column, number) = match key {
        Key::First(first) => (firsts, first),
        Key::Last(last) => (lasts, last),
    };
    let row = (0..rows.num_rows()).find(|row| {
        u64::try_from(column.value(*row)) == Ok(number)
            && u64::try_from(epoch.value(*row)) == Ok(stream.epoch.get())
            && gateway.value(*row) == stream.gateway.as_str()
            && destination.value(*row) == stream.destination.as_str()
            && lane.value(*row) == stream.lane.as_str()
    })?;
    let landed = Landed {
        first: u64::try_from(firsts.value(row)).ok()?,
        last: u64::try_from(lasts.value(row)).ok()?,
        manifest_sha256: manifest.value(row).to_owned(),
        table_version: u64::try_from(version.value(row)).ok()?,
        committed_at: Timestamp::default(),
    };
    Some((landed, at.is_valid(row).then(|| Timestamp::from_micros(at.value(row)))))
}
