//! From a batch to what is sent: CBOR, its SHA-256, zstd.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use model::wire::{BATCH_RAW_BYTES_MAX, BATCH_WIRE_BYTES_MAX};
use model::{Batch, Sequenced, codec};
use serde::Serialize;
use tokio_util::task::TaskTracker;

use crate::EncodeError;

/// Level 1: on batches of HL7 higher levels cost CPU and win little.
const ZSTD_LEVEL: i32 = 1;
/// Up to this size hashing and compressing takes under a millisecond and is done in place.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// A batch on the wire.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    /// zstd of the CBOR.
    pub(super) body: Bytes,
    /// Lower-case hex SHA-256 of the CBOR.
    pub(super) manifest_sha256: String,
    /// Bytes of the CBOR.
    pub(super) bytes_raw: u64,
}

/// Encodes once per attempt. What is large is hashed and compressed off the runtime's threads.
pub(super) async fn encode<R: Serialize + Sequenced>(
    batch: &Batch<R>,
    tasks: &TaskTracker,
) -> Result<Encoded, EncodeError> {
    batch.check()?;
    let raw = codec::encode(batch).map_err(|_| EncodeError::Cbor)?;
    if raw.len() > BATCH_RAW_BYTES_MAX {
        return Err(EncodeError::RawTooLarge { bytes: raw.len() });
    }
    if raw.len() <= INLINE_BYTES_MAX {
        return press(&raw);
    }
    // The only way to fail is that the runtime is going down.
    tasks.spawn_blocking(move || press(&raw)).await.unwrap_or(Err(EncodeError::Compress))
}

fn press(raw: &[u8]) -> Result<Encoded, EncodeError> {
    let manifest_sha256 = hex::encode(digest(&SHA256, raw));
    let body = zstd::bulk::compress(raw, ZSTD_LEVEL).map_err(|_| EncodeError::Compress)?;
    if body.len() > BATCH_WIRE_BYTES_MAX {
        return Err(EncodeError::WireTooLarge { bytes: body.len() });
    }
    Ok(Encoded { body: body.into(), manifest_sha256, bytes_raw: raw.len() as u64 })
}
