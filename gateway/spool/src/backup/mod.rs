//! Backups: what cannot be had again, in one encrypted file that is made while the gateway runs.
//!
//! **Promise.** A backup holds the journal, the held log, the cursors and other state, the documents it is given
//! (configuration, policies, certificates), the ring of keys and, unless it is told otherwise, every record that some
//! destination does not have yet. It never holds the root key; it opens with the one that was in force when it was made,
//! whatever root key came after. A wrong key, another gateway's file, damage and a missing end are found before
//! a restore changes anything; a restore that is interrupted leaves the spool that was there, or the new one.
//!
//! **After a restore** each log has a new incarnation and the next epoch, so that no number is used twice; the cursors
//! are those of the backup and name the incarnation that went before. So each destination is asked how far that one
//! came, and what it has is not sent again. What was acknowledged after the backup and not delivered is lost with the
//! disk that held it.
//!
//! **Limits.** Memory is flat: a few megabytes, whatever the backlog. Documents are [`DOCUMENTS_BYTES_MAX`] in all.
//!
//! # The file
//! Integers are little-endian. The head is in the clear and authentic: every chunk is bound to it.
//!
//! ```text
//!   0  magic "WARDBKP\x01"        8    100  base key, wrapped           60
//!   8  version                    2    160  file key, wrapped           60
//!  10  suite: 1 AES-256-GCM       1    220  CRC of 0..220                4
//!  11  zeros                      1    then chunks:
//!  12  id of the root key        16         length of the body           4
//!  28  SHA-256 of gateway's name 32         1 in the last one, else 0    1
//!  60  id of this backup         16         body: ciphertext and tag     16 + at most 1 MiB
//!  76  made at, µs since 1970     8
//!  84  id of the ring            16
//! ```
//! The base key stands as it does in the ring, wrapped under the root key. The file key is random and used for this file
//! alone; it is wrapped under the spool's key for the purpose `backup`, with bytes 0..160 as associated data. A chunk's nonce is the last-flag, three zero bytes and its
//! number; its associated data is the SHA-256 of the head. So a chunk that is changed, moved, repeated or left out is
//! found, and so is an end that is missing; behind the last chunk nothing may follow.
//!
//! What the chunks hold in a row is items: the length of an item (u32), its CBOR ([`Item`]) and, where it says so, that
//! many bytes. First the manifest; then documents, state, the ring, and of each log its segments and then the log
//! itself; last the end.
//!
//! **Order.** How far everybody is (what may be left out of the lanes) is noted first, then the state is read, then it is
//! noted which segments there are of the held log and the lanes; the journal is walked last, to the end that it has by
//! then. So a cursor is never ahead of the log that it stands for, and a record that is released meanwhile is released
//! again rather than forgotten. The ring is read before the first segment is copied and after it was noted which there are
//! of the lanes, so that it has the key of every segment (the journal's never changes); where the root key was rotated
//! meanwhile, it is wrapped under the one that the head names.

mod make;
mod restore;
mod stream;

use std::path::Path;

use model::{Slug, Timestamp};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub use restore::{Backup, Restored, may_restore};

use crate::Error;

/// Most bytes of documents in a backup.
pub const DOCUMENTS_BYTES_MAX: u64 = 16 << 20;
/// Largest item, in bytes.
const ITEM_BYTES_MAX: u32 = 1 << 20;
/// Most bytes of state in one item, but for a last pair.
const STATE_ITEM_BYTES: usize = 128 << 10;

/// A file that belongs to the gateway and not to its spool.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Where it belongs: absolute, or from the folder of the configuration.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// It is the configuration itself.
    pub is_configuration: bool,
    /// What is in it; may be a private key.
    pub content: ByteBuf,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({}, {} bytes)", self.path, self.content.len())
    }
}

/// What goes into a backup beside the logs and the state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The gateway.
    pub gateway: Slug,
    /// Version of the program.
    pub version: String,
    /// Whether the records that are not delivered yet go in too.
    pub with_backlog: bool,
    /// Files beside the spool.
    pub documents: Vec<Document>,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The gateway.
    pub gateway: Slug,
    /// Version of the program that made it.
    pub version: String,
    /// When.
    pub made_at: Timestamp,
    /// Whether undelivered records are in it.
    pub with_backlog: bool,
}

/// One log in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogPart {
    /// Its name.
    pub name: String,
    /// Its epoch then.
    pub epoch: u64,
    /// The last number it had given out.
    pub last: u64,
    /// Segments in the backup.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// 32 lower-case hex digits, random.
    pub id: String,
    /// What it says of itself.
    #[serde(flatten, serialize_with = "for_people")]
    pub manifest: Manifest,
    /// Paths of the documents.
    pub documents: Vec<String>,
    /// Keys of the state store.
    pub state_keys: u64,
    /// The logs.
    pub logs: Vec<LogPart>,
    /// Bytes of the logs that the disk would not give when it was made; zeros stand for them.
    pub unreadable_bytes: u64,
}

/// One thing in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Item {
    Manifest(Manifest),
    /// Followed by its bytes.
    Document {
        path: String,
        mode: u32,
        is_configuration: bool,
        bytes: u64,
    },
    /// Keys with the first byte that names their table, and values.
    State {
        pairs: Vec<(ByteBuf, ByteBuf)>,
    },
    /// Followed by its bytes; the file is made this long with zeros.
    Segment {
        log: String,
        number: u64,
        bytes: u64,
        file_bytes: u64,
    },
    /// Followed by one copy of it, as it stands on the disk.
    Ring {
        bytes: u64,
    },
    /// After its segments.
    Log {
        name: String,
        incarnation: ByteBuf,
        epoch: u64,
        floor: u64,
        head_segment: u64,
        head_seq: u64,
    },
    End {
        items: u64,
        unreadable_bytes: u64,
    },
}

/// With the time as text.
fn for_people<S: serde::Serializer>(manifest: &Manifest, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        gateway: &'a Slug,
        version: &'a str,
        made_at: String,
        with_backlog: bool,
    }
    let Manifest { gateway, version, made_at, with_backlog } = manifest;
    let made_at = made_at.to_string();
    Shown { gateway, version, made_at, with_backlog: *with_backlog }.serialize(serializer)
}

fn unusable(path: &Path, problem: &'static str) -> Error {
    Error::Backup { path: path.to_owned(), problem }
}
