//! What became of one record: from its arrival to its row.

use model::{PolicyRef, Reason, RecordId, Slug, Timestamp};
use serde::Serialize;

/// The life of one record. Names what an operator may see without the right to see patients: ids, times, sizes.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// The record.
    pub id: RecordId,
    /// How it came; `None` when it is no longer kept, or damaged.
    pub arrival: Option<Arrival>,
    /// What became of it, by destination.
    pub destinations: Vec<Fate>,
}

/// How a record came.
#[derive(Debug, Clone, Serialize)]
pub struct Arrival {
    /// The feed.
    pub feed: Slug,
    /// The sender, as the transport knows it.
    pub peer: String,
    /// When its first byte arrived.
    #[serde(serialize_with = "as_text")]
    pub received_at: Timestamp,
    /// What it is.
    pub format: &'static str,
    /// Size of the payload in bytes.
    pub bytes: u64,
    /// The record it is a copy of.
    pub origin: Option<RecordId>,
}

/// What became of a record at one destination.
#[derive(Debug, Clone, Serialize)]
pub struct Fate {
    /// The destination.
    pub destination: Slug,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The states of a record at a destination.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Not settled yet: so many numbers stand before it.
    Pending {
        /// Numbers to be settled before it.
        ahead: u64,
    },
    /// A row of the destination's `raw` table.
    Landed {
        /// First number of its batch.
        first: u64,
        /// Last number of its batch.
        last: u64,
        /// The batch's committed manifest.
        manifest_sha256: String,
        /// Version of the `raw` table; `None` when learnt from a watermark.
        table_version: Option<u64>,
        /// When it was committed; `None` when learnt from a watermark.
        #[serde(serialize_with = "as_text_option")]
        committed_at: Option<Timestamp>,
        /// The policy that shaped it.
        policy: Option<PolicyRef>,
    },
    /// No row, for this reason.
    Skipped {
        /// Why.
        reason: Reason,
        /// The committed manifest that says so.
        manifest_sha256: String,
        /// It stands in the held log, waiting for a person.
        held: bool,
    },
    /// Arrived before the destination began.
    BeforeBeginning,
    /// Settled, but longer ago than this box remembers; the destination's ledger knows.
    Forgotten,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[expect(clippy::ref_option, reason = "the signature that serialize_with asks for")]
fn as_text_option<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
