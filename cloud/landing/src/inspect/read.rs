//! Reads all of a table, file by file.

use std::path::Path;

use deltalake_core::arrow::array::{
    Array as _, ArrowPrimitiveType, AsArray as _, BinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use deltalake_core::arrow::datatypes::{Int32Type, Int64Type};

use super::{Error, Stream, TableError};
use crate::delta::{self, Snapshot, read_rows};

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) stream: Stream,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) rows: u64,
    pub(super) skipped: u64,
    pub(super) manifest_sha256: String,
}

/// A row of another table.
#[derive(Debug)]
pub(super) struct Row<'b> {
    pub(super) stream: Stream,
    pub(super) seq: u64,
    pub(super) record_id: &'b str,
    pub(super) ordinal: u64,
    pub(super) manifest_sha256: Option<&'b str>,
    pub(super) format: Option<&'b str>,
    pub(super) payload: Option<&'b [u8]>,
    pub(super) charset: Option<&'b str>,
    pub(super) observations: Option<&'b [u8]>,
}

const LEDGER: &[&str] =
    &["gateway", "destination", "lane", "epoch", "first", "last", "rows", "skipped", "manifest_sha256"];
pub(super) const RAW: &[&str] = &[
    "gateway",
    "destination",
    "lane",
    "epoch",
    "seq",
    "record_id",
    "manifest_sha256",
    "format",
    "payload",
    "charset",
    "observations",
];
pub(super) const RAW_NAMES: &[&str] = &["gateway", "destination", "lane", "epoch", "seq", "record_id"];
pub(super) const SILVER: &[&str] =
    &["gateway", "destination", "lane", "epoch", "seq", "record_id", "ordinal"];

pub(super) fn failed(root: &Path, source: delta::Error) -> Error {
    Error::Table { root: root.to_owned(), source: TableError(source) }
}

/// A table as it stands.
pub(super) async fn open(root: &Path, table: &'static str) -> Result<Snapshot, Error> {
    let snapshot = Snapshot::read(root, table).await.map_err(|e| failed(root, e))?;
    snapshot.ok_or_else(|| Error::Nothing(root.to_owned()))
}

/// The whole ledger.
pub(super) async fn ledger(root: &Path, ledger: &Snapshot) -> Result<Vec<Batch>, Error> {
    let mut batches = Vec::new();
    for (path, _) in &ledger.files {
        for rows in read_rows(ledger.store(), path, Some(LEDGER)).await.map_err(|e| failed(root, e))? {
            let columns = Columns(&rows);
            for row in 0..rows.num_rows() {
                let batch = columns.batch(row);
                batches.push(batch.ok_or_else(|| failed(root, unreadable("ledger")))?);
            }
        }
    }
    Ok(batches)
}

/// Calls `each` with every row of a table.
pub(super) async fn rows(
    root: &Path,
    table: &'static str,
    snapshot: &Snapshot,
    columns: &'static [&'static str],
    mut each: impl FnMut(Row<'_>),
) -> Result<(), Error> {
    for (path, _) in &snapshot.files {
        for batch in read_rows(snapshot.store(), path, Some(columns)).await.map_err(|e| failed(root, e))? {
            let columns = Columns(&batch);
            for at in 0..batch.num_rows() {
                each(columns.row(at).ok_or_else(|| failed(root, unreadable(table)))?);
            }
        }
    }
    Ok(())
}

fn unreadable(table: &'static str) -> delta::Error {
    delta::Error::Unfit { table, why: "a row cannot be read".to_owned() }
}

struct Columns<'b>(&'b RecordBatch);

impl<'b> Columns<'b> {
    fn text(&self, name: &str) -> Option<&'b StringArray> {
        self.0.column_by_name(name)?.as_string_opt::<i32>()
    }

    fn binary(&self, name: &str, row: usize) -> Option<&'b [u8]> {
        let column: &BinaryArray = self.0.column_by_name(name)?.as_binary_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn primitive<T: ArrowPrimitiveType>(&self, name: &str) -> Option<&'b PrimitiveArray<T>> {
        self.0.column_by_name(name)?.as_primitive_opt::<T>()
    }

    fn long(&self, name: &str, row: usize) -> Option<u64> {
        u64::try_from(self.primitive::<Int64Type>(name)?.value(row)).ok()
    }

    fn stream(&self, row: usize) -> Option<Stream> {
        Some(Stream {
            gateway: self.text("gateway")?.value(row).parse().ok()?,
            destination: self.text("destination")?.value(row).parse().ok()?,
            lane: self.text("lane")?.value(row).parse().ok()?,
            epoch: self.long("epoch", row)?,
        })
    }

    fn batch(&self, row: usize) -> Option<Batch> {
        Some(Batch {
            stream: self.stream(row)?,
            first: self.long("first", row)?,
            last: self.long("last", row)?,
            rows: self.long("rows", row)?,
            skipped: self.long("skipped", row)?,
            manifest_sha256: self.text("manifest_sha256")?.value(row).to_owned(),
        })
    }

    fn row(&self, row: usize) -> Option<Row<'b>> {
        let ordinal = match self.primitive::<Int32Type>("ordinal") {
            Some(column) => u64::try_from(column.value(row)).ok()?,
            None => 0,
        };
        Some(Row {
            stream: self.stream(row)?,
            seq: self.long("seq", row)?,
            record_id: self.text("record_id")?.value(row),
            ordinal,
            manifest_sha256: self.text("manifest_sha256").map(|c| c.value(row)),
            format: self.text("format").map(|c| c.value(row)),
            payload: self.binary("payload", row),
            charset: self.text("charset").filter(|c| c.is_valid(row)).map(|c| c.value(row)),
            observations: self.binary("observations", row),
        })
    }
}
