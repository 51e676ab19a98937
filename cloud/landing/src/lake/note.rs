//! What a commit on `raw` says of its batches: JSON in `userMetadata`.

use model::wire::Landed;
use model::{Seq, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::delta::{Commit, Error};
use crate::rows::Manifest;

/// The format of [`Note`]; another number is somebody else's note.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    wardgate_landing: u32,
    committed_at: Timestamp,
    batches: Vec<Manifest>,
}

/// The batches of a commit.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) committed_at: Timestamp,
    pub(super) batches: Vec<Manifest>,
}

impl Note {
    pub(super) fn encode(&self) -> Result<String, Error> {
        let batches = self.batches.clone();
        let written = Written { wardgate_landing: FORMAT, committed_at: self.committed_at, batches };
        Ok(serde_json::to_string(&written)?)
    }

    /// The note of a commit; `None` where it is not one of ours (compaction, a change of the schema).
    pub(super) fn of(commit: &Commit, version: u64) -> Result<Option<Self>, Error> {
        let Some(text) = commit.note.as_deref().filter(|n| n.contains("\"wardgate_landing\"")) else {
            return Ok(None);
        };
        let written: Written = serde_json::from_str(text)
            .map_err(|e| Error::Manifest { version, why: format!("column {}", e.column()) })?;
        if written.wardgate_landing != FORMAT {
            let why = format!("format {}, and this landing knows {FORMAT}", written.wardgate_landing);
            return Err(Error::Manifest { version, why });
        }
        Ok(Some(Self { committed_at: written.committed_at, batches: written.batches }))
    }

    /// What a sender is told of the batch with which a stream came to `last`.
    pub(super) fn landed(&self, stream: &StreamId, last: Seq, version: u64) -> Option<Landed> {
        let batch = self.batches.iter().find(|b| b.last == last && b.stream() == *stream)?;
        Some(Landed {
            first: batch.first,
            last,
            manifest_sha256: batch.manifest_sha256.clone(),
            table_version: version,
            committed_at: self.committed_at,
        })
    }
}
