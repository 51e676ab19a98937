//! From a batch to what is sent: CBOR, its SHA-256, zstd.
//!
//! A batch may hold one message of 64 MB, and each destination has one under way. So the CBOR is made in pieces of
//! [`PIECE_BYTES`], each hashed, compressed and let go: beside the batch there is the CBOR at first and what is sent at
//! last, never both.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
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

/// The CBOR is made in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

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
    let mut raw = Pieces::default();
    codec::encode_to(batch, &mut raw).map_err(|_| EncodeError::Cbor)?;
    if raw.bytes > BATCH_RAW_BYTES_MAX {
        return Err(EncodeError::RawTooLarge { bytes: raw.bytes });
    }
    if raw.bytes <= INLINE_BYTES_MAX {
        return press(raw);
    }
    // The only way to fail is that the runtime is going down.
    tasks.spawn_blocking(move || press(raw)).await.unwrap_or(Err(EncodeError::Compress))
}

fn press(raw: Pieces) -> Result<Encoded, EncodeError> {
    let bytes_raw = raw.bytes as u64;
    let mut hash = Context::new(&SHA256);
    let compress = |_: io::Error| EncodeError::Compress;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(compress)?;
    encoder.set_pledged_src_size(Some(bytes_raw)).map_err(compress)?;
    encoder.include_contentsize(true).map_err(compress)?;
    for piece in raw.pieces {
        hash.update(&piece);
        encoder.write_all(&piece).map_err(compress)?;
    }
    let body = encoder.finish().map_err(compress)?;
    if body.len() > BATCH_WIRE_BYTES_MAX {
        return Err(EncodeError::WireTooLarge { bytes: body.len() });
    }
    let manifest_sha256 = hex::encode(hash.finish());
    Ok(Encoded { body: body.into(), manifest_sha256, bytes_raw })
}

/// Bytes in pieces, so that they can be let go one after the other.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.pieces.last().map_or(0, |piece| PIECE_BYTES.saturating_sub(piece.len()));
        if room == 0 {
            self.pieces.push(Vec::new());
        }
        let room = if room == 0 { PIECE_BYTES } else { room };
        let now = data.get(..room).unwrap_or(data);
        if let Some(piece) = self.pieces.last_mut() {
            piece.extend_from_slice(now);
        }
        self.bytes += now.len();
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
