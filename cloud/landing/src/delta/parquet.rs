//! Rows to files and back.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltalake_core::arrow::array::{Array as _, AsArray as _, RecordBatch};
use deltalake_core::arrow::compute::{max, min};
use deltalake_core::arrow::datatypes::Int64Type;
use deltalake_core::logstore::object_store::path::Path;
use deltalake_core::logstore::object_store::{ObjectStore, ObjectStoreExt as _};
use deltalake_core::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use deltalake_core::parquet::arrow::{ArrowWriter, ProjectionMask};
use deltalake_core::parquet::basic::{Compression, ZstdLevel};
use deltalake_core::parquet::errors::ParquetError;
use deltalake_core::parquet::file::properties::{EnabledStatistics, WriterProperties};
use deltalake_core::parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use super::log::Add;
use super::schema::{Kind, Schema};
use super::table::Error;

/// Rows that go into one file of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The partition's value as Delta writes it; `None` for a table without partitions.
    pub(crate) partition: Option<String>,
    pub(crate) rows: RecordBatch,
}

/// A file, ready to be put.
#[derive(Debug)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) add: Add,
}

/// Encodes rows: zstd, statistics on the indexed columns alone. Blocking.
pub(super) fn encode(schema: &Schema, part: &Part, name: &str, now_ms: i64) -> Result<File, Error> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, part.rows.schema(), Some(properties(schema)?))?;
    writer.write(&part.rows)?;
    writer.close()?;
    let mut path = name.to_owned();
    let mut partition_values = BTreeMap::new();
    if let (Some(column), Some(value)) = (schema.partition.column(), &part.partition) {
        path = format!("{}={value}/{name}", column.name);
        partition_values.insert(column.name.to_owned(), Some(value.clone()));
    }
    let add = Add {
        path,
        partition_values,
        size: bytes.len() as u64,
        modification_time: now_ms,
        data_change: true,
        stats: Some(statistics(schema, &part.rows)),
    };
    Ok(File { bytes, add })
}

fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(concat!("wardgate-landing ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    for column in schema.indexed {
        properties =
            properties.set_column_statistics_enabled(ColumnPath::from(*column), EnabledStatistics::Chunk);
    }
    for column in schema.columns.iter().filter(|c| c.kind == Kind::Binary || c.name == "record_id") {
        // Never the same twice: a dictionary would only cost.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column.name), false);
    }
    Ok(properties.build())
}

/// Delta's per-file statistics. Values of indexed columns alone: the log is read by more people than the rows.
fn statistics(schema: &Schema, rows: &RecordBatch) -> String {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    for name in schema.indexed {
        let column = rows.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let Some(column) = column else { continue };
        if let (Some(low), Some(high)) = (min(column), max(column)) {
            least.insert((*name).to_owned(), low.into());
            most.insert((*name).to_owned(), high.into());
        }
        nulls.insert((*name).to_owned(), column.null_count().into());
    }
    let statistics: Value = json!({
        "numRecords": rows.num_rows(),
        "minValues": least,
        "maxValues": most,
        "nullCount": nulls,
    });
    statistics.to_string()
}

/// Reads a file's rows, some columns of them where `columns` says so.
pub(crate) async fn read_rows(
    store: &dyn ObjectStore,
    path: &Path,
    columns: Option<&'static [&'static str]>,
) -> Result<Vec<RecordBatch>, Error> {
    let bytes = store.get(path).await?.bytes().await?;
    let decoded = tokio::task::spawn_blocking(move || decode(bytes, columns)).await;
    Ok(decoded.map_err(|_| Error::Stopping)??)
}

fn decode(bytes: Bytes, columns: Option<&[&str]>) -> Result<Vec<RecordBatch>, ParquetError> {
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied());
        reader = reader.with_projection(mask);
    }
    reader.build()?.map(|batch| batch.map_err(ParquetError::from)).collect()
}
