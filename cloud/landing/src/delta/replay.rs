//! The state that an appender needs: the latest version and every `txn`, from the newest checkpoint and the
//! entries after it.

use std::collections::HashMap;

use bytes::Bytes;
use deltalake_core::arrow::array::{Array as _, AsArray as _};
use deltalake_core::arrow::datatypes::Int64Type;
use deltalake_core::logstore::object_store::path::Path;
use deltalake_core::logstore::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};
use deltalake_core::parquet::arrow::ProjectionMask;
use deltalake_core::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::log::Commit;
use super::table::Error;

/// Versions and transactions.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) txns: HashMap<String, i64>,
}

/// The path of a log entry.
pub(super) fn entry_path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// An entry, or `None` where the log does not reach there (or no longer does).
pub(super) async fn read_entry(store: &dyn ObjectStore, version: u64) -> Result<Option<Commit>, Error> {
    match store.get(&entry_path(version)).await {
        Ok(found) => Commit::decode(&found.bytes().await?, version).map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Reads the whole state.
pub(super) async fn replay(store: &dyn ObjectStore) -> Result<State, Error> {
    let listed = store.list_with_delimiter(Some(&Path::from("_delta_log"))).await?;
    let names: Vec<&str> = listed.objects.iter().filter_map(|o| o.location.filename()).collect();
    let mut state = State::default();
    let mut next = 0;
    if let Some((version, parts)) = newest_checkpoint(&names) {
        for part in parts {
            let bytes = store.get(&Path::from(format!("_delta_log/{part}"))).await?.bytes().await?;
            let read = if part.ends_with(".json") {
                Commit::decode(&bytes, version)?.txns
            } else {
                checkpoint_txns(bytes).map_err(|source| Error::Checkpoint { version, source })?
            };
            state.txns.extend(read);
        }
        state.version = version;
        next = version + 1;
    }
    while let Some(commit) = read_entry(store, next).await? {
        state.txns.extend(commit.txns);
        state.version = next;
        next += 1;
    }
    Ok(state)
}

/// The newest complete checkpoint: `N.checkpoint.parquet`, `N.checkpoint.PART.PARTS.parquet` or
/// `N.checkpoint.UUID.(parquet|json)`.
fn newest_checkpoint<'n>(names: &[&'n str]) -> Option<(u64, Vec<&'n str>)> {
    let mut found: HashMap<(u64, usize), Vec<&'n str>> = HashMap::new();
    let mut newest: Option<(u64, Vec<&'n str>)> = None;
    for name in names {
        let pieces: Vec<&str> = name.split('.').collect();
        let (version, parts) = match pieces.as_slice() {
            [version, "checkpoint", "parquet"] | [version, "checkpoint", _, "parquet" | "json"] => {
                (version.parse(), Ok(1))
            }
            [version, "checkpoint", _, parts, "parquet"] => (version.parse(), parts.parse()),
            _ => continue,
        };
        let (Ok(version), Ok(parts)) = (version, parts) else { continue };
        let complete = found.entry((version, parts)).or_default();
        if parts == 1 {
            // Any one of several whole checkpoints of a version will do.
            complete.clear();
        }
        complete.push(name);
        if complete.len() == parts && newest.as_ref().is_none_or(|(v, _)| *v <= version) {
            newest = Some((version, complete.clone()));
        }
    }
    newest
}

/// The `txn` actions of a checkpoint's Parquet file.
fn checkpoint_txns(
    bytes: Bytes,
) -> Result<Vec<(String, i64)>, deltalake_core::parquet::errors::ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let mask = ProjectionMask::columns(reader.parquet_schema(), ["txn.appId", "txn.version"]);
    let mut txns = Vec::new();
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let Some(txn) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else { continue };
        let ids = txn.column_by_name("appId").and_then(|c| c.as_string_opt::<i32>());
        let versions = txn.column_by_name("version").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let (Some(ids), Some(versions)) = (ids, versions) else { continue };
        let present = (0..txn.len()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row));
        txns.extend(present.map(|row| (ids.value(row).to_owned(), versions.value(row))));
    }
    Ok(txns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_checkpoint_is_taken() {
        let of = |names: &[&str]| newest_checkpoint(names).map(|(v, parts)| (v, parts.len()));
        assert_eq!(of(&["00.json", "_last_checkpoint", "9.checkpoint.x"]), None);
        assert_eq!(
            of(&["1.checkpoint.parquet", "12.checkpoint.parquet", "3.checkpoint.parquet"]),
            Some((12, 1))
        );
        assert_eq!(of(&["1.checkpoint.parquet", "7.checkpoint.01.02.parquet"]), Some((1, 1)));
        let whole = ["7.checkpoint.01.02.parquet", "1.checkpoint.parquet", "7.checkpoint.02.02.parquet"];
        assert_eq!(of(&whole), Some((7, 2)));
        assert_eq!(of(&["5.checkpoint.80a083e8-7026.json", "4.checkpoint.parquet"]), Some((5, 1)));
        assert_eq!(of(&["5.checkpoint.80a083e8-7026.parquet", "5.checkpoint.parquet"]), Some((5, 1)));
    }
}
