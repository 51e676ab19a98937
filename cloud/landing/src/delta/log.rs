//! Entries of the transaction log, one JSON action a line (Delta Transaction Log Protocol, "Actions").

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::table::Error;

/// A file that becomes part of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Add {
    /// Relative to the table; ours need no percent-encoding.
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: u64,
    /// Milliseconds since the Unix epoch.
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_updated: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(default)]
    timestamp: i64,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    operation_parameters: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    is_blind_append: bool,
    #[serde(default)]
    engine_info: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_metadata: Option<String>,
}

/// One line. What is not named here is somebody else's and does not matter to an appender.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit_info: Option<Info>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    txn: Option<Txn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    add: Option<Add>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta_data: Option<serde_json::Value>,
    #[serde(default, skip_serializing)]
    protocol: Option<IgnoredAny>,
}

/// What is to be committed.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Milliseconds since the Unix epoch.
    pub(crate) timestamp_ms: i64,
    /// `txn` actions by application id.
    pub(crate) txns: BTreeMap<String, i64>,
    pub(crate) adds: Vec<Add>,
    /// The table's metadata from this version on, where that changes: more columns.
    pub(crate) metadata: Option<serde_json::Value>,
    /// Goes into `userMetadata`, which every engine shows in a table's history.
    pub(crate) note: Option<String>,
}

impl Draft {
    /// The entry as bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let appends = self.metadata.is_none();
        let (operation, parameter) =
            if appends { ("WRITE", ("mode", "Append")) } else { ("ADD COLUMNS", ("mode", "Add")) };
        let info = Info {
            timestamp: self.timestamp_ms,
            operation: operation.to_owned(),
            operation_parameters: BTreeMap::from([(parameter.0.to_owned(), parameter.1.into())]),
            is_blind_append: appends,
            engine_info: concat!("wardgate-landing/", env!("CARGO_PKG_VERSION")).to_owned(),
            user_metadata: self.note.clone(),
        };
        let mut out = Vec::new();
        let mut line = |line: Line| -> Result<(), serde_json::Error> {
            serde_json::to_writer(&mut out, &line)?;
            out.push(b'\n');
            Ok(())
        };
        line(Line { commit_info: Some(info), ..Line::default() })?;
        if let Some(metadata) = &self.metadata {
            line(Line { meta_data: Some(metadata.clone()), ..Line::default() })?;
        }
        for (app_id, version) in &self.txns {
            let txn =
                Txn { app_id: app_id.clone(), version: *version, last_updated: Some(self.timestamp_ms) };
            line(Line { txn: Some(txn), ..Line::default() })?;
        }
        for add in &self.adds {
            line(Line { add: Some(add.clone()), ..Line::default() })?;
        }
        Ok(out)
    }
}

/// An entry, read back.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) txns: Vec<(String, i64)>,
    pub(crate) adds: Vec<Add>,
    pub(crate) note: Option<String>,
    /// It changes the schema, the table's properties or its protocol.
    pub(crate) structural: bool,
}

impl Commit {
    /// Reads an entry, of whatever writer.
    pub(crate) fn decode(bytes: &[u8], version: u64) -> Result<Self, Error> {
        let mut commit = Self::default();
        for line in serde_json::Deserializer::from_slice(bytes).into_iter::<Line>() {
            let line = line.map_err(|e| Error::Entry { version, line: e.line() })?;
            if let Some(info) = line.commit_info {
                commit.note = info.user_metadata;
            }
            if let Some(txn) = line.txn {
                commit.txns.push((txn.app_id, txn.version));
            }
            commit.adds.extend(line.add);
            commit.structural |= line.meta_data.is_some() || line.protocol.is_some();
        }
        Ok(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let add = Add {
            path: "ingest_date=2026-11-24/part-1.parquet".into(),
            partition_values: BTreeMap::from([("ingest_date".into(), Some("2026-11-24".into()))]),
            size: 7,
            modification_time: 5,
            data_change: true,
            stats: Some(r#"{"numRecords":1}"#.into()),
        };
        let draft = Draft {
            timestamp_ms: 5,
            txns: BTreeMap::from([("wg|a|b".into(), 9)]),
            adds: vec![add.clone()],
            metadata: None,
            note: Some(r#"{"a":"\n"}"#.into()),
        };
        let bytes = draft.encode().unwrap();
        assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 3);
        let commit = Commit::decode(&bytes, 1).unwrap();
        assert_eq!(commit.txns, [("wg|a|b".to_owned(), 9)]);
        assert_eq!((commit.adds, commit.note, commit.structural), (vec![add], draft.note, false));
        let wider = Draft { metadata: Some(serde_json::json!({ "id": "x" })), ..Draft::default() };
        assert!(Commit::decode(&wider.encode().unwrap(), 1).unwrap().structural);
    }

    #[test]
    fn entries_of_others_are_read_as_far_as_they_matter() {
        let entry = concat!(
            r#"{"commitInfo":{"timestamp":1,"operation":"OPTIMIZE","operationMetrics":{"n":"1"},"txnId":"x"}}"#,
            "\n",
            r#"{"remove":{"path":"a","dataChange":false}}"#,
            "\n",
            r#"{"add":{"path":"b","partitionValues":{},"size":1,"modificationTime":1,"dataChange":false,"stats":null,"tags":{}}}"#,
            "\n",
            r#"{"metaData":{"id":"x"}}"#,
        );
        let commit = Commit::decode(entry.as_bytes(), 3).unwrap();
        assert!(commit.structural && commit.note.is_none() && commit.adds.len() == 1);
        assert!(matches!(Commit::decode(b"{\"txn\":", 3), Err(Error::Entry { version: 3, line: 1 })));
    }
}
