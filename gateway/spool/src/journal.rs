//! The audit log: entries in the journal, each bound to the one before.
//!
//! An entry is the CBOR of [`AuditEntry`]; its `previous` is the SHA-256 of the whole entry before, 32 zero bytes
//! in the first. So an entry cannot be taken out, put in or changed without a break, even by someone who has
//! the keys, unless he rewrites all that follow. Records of other kinds may stand between; entries carry
//! [`AUDIT_META`] as their envelope.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use model::{AuditError, AuditEvent, AuditSink, Seq, codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{Entry, Error, Log};

/// The envelope of an audit entry in the journal.
pub const AUDIT_META: &[u8] = b"audit";

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// SHA-256 of the entry before; 32 zero bytes in the first.
    pub previous: ByteBuf,
    /// What happened.
    pub event: AuditEvent,
}

impl AuditEntry {
    /// Reads an entry from a record's payload.
    ///
    /// # Errors
    /// [`codec::DecodeError`].
    pub fn decode(payload: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(payload)
    }
}

/// What a walk over the audit log found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuditCheck {
    /// Entries read.
    pub entries: u64,
    /// Numbers of entries that are not bound to the one before, of entries that cannot be read, and first
    /// numbers of damaged ranges.
    pub breaks: Vec<Seq>,
    /// SHA-256 of the last entry, lower-case hex: what an outside witness should keep.
    pub head: String,
}

/// Most breaks that are listed.
const BREAKS_MAX: usize = 1000;

/// Walks the audit log from the oldest entry retained.
///
/// # Errors
/// As [`crate::Reader::next`].
pub async fn check_audit(journal: &Log) -> Result<AuditCheck, Error> {
    let mut reader = journal.reader(0);
    let mut check = AuditCheck::default();
    let mut head: Option<[u8; 32]> = (reader.position() == 1).then_some([0; 32]);
    while let Some(entry) = reader.next().await? {
        let record = match entry {
            Entry::Record(record) => record,
            Entry::Damaged { first, .. } => {
                note(&mut check.breaks, first);
                continue;
            }
        };
        if *record.meta != *AUDIT_META {
            continue;
        }
        let payload = record.payload.bytes().await?;
        check.entries += 1;
        let is_bound = AuditEntry::decode(&payload)
            .is_ok_and(|entry| head.is_none_or(|head| entry.previous.as_slice() == head.as_slice()));
        if !is_bound {
            note(&mut check.breaks, record.seq);
        }
        head = Some(sha256(&payload));
    }
    check.head = hex::encode(head.unwrap_or_default());
    Ok(check)
}

fn note(breaks: &mut Vec<Seq>, seq: Seq) {
    if breaks.len() < BREAKS_MAX {
        breaks.push(seq);
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Appends audit events to the journal, one flush each.
#[derive(Debug)]
pub(crate) struct Audit {
    journal: Log,
    /// Hash of the last entry; found in the journal at the first event.
    head: Mutex<Option<[u8; 32]>>,
}

impl Audit {
    pub(crate) fn new(journal: Log) -> Arc<Self> {
        Arc::new(Self { journal, head: Mutex::new(None) })
    }

    /// The last entry that can be read, from the back.
    fn find_head(&self) -> Result<[u8; 32], Error> {
        let mut seq = *self.journal.durable().borrow();
        while seq >= self.journal.oldest() && seq > 0 {
            if let Some(Entry::Record(record)) = self.journal.get_blocking(seq)?
                && *record.meta == *AUDIT_META
                && let Some(payload) = record.payload.at_hand()
            {
                return Ok(sha256(payload));
            }
            seq -= 1;
        }
        Ok([0; 32])
    }

    fn append(&self, event: &AuditEvent) -> Result<(), Error> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = match *head {
            Some(head) => head,
            None => self.find_head()?,
        };
        let entry = AuditEntry { previous: ByteBuf::from(previous), event: event.clone() };
        let bytes = codec::encode(&entry).map_err(|_| Error::Internal("an audit entry cannot be encoded"))?;
        // After a failure the journal is asked again what it really holds.
        *head = None;
        self.journal.append_blocking(AUDIT_META.to_vec(), &bytes)?;
        *head = Some(sha256(&bytes));
        Ok(())
    }
}

impl AuditSink for Audit {
    fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        self.append(event).map_err(|error| {
            tracing::error!(%error, action = ?event.action, "the audit log was not written");
            AuditError
        })
    }
}
