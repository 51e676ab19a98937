//! From the body of a `PUT` to a batch that can be believed: bounded in bytes, memory and time.
//!
//! **Limits.** `model::wire::BATCH_WIRE_BYTES_MAX` on the wire, `BATCH_RAW_BYTES_MAX` decompressed, zstd windows
//! up to 2^[`WINDOW_LOG_MAX`] bytes, one frame. A frame that declares its size is held to it.

use std::io::{BufRead as _, Read as _};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use model::wire::{BATCH_RAW_BYTES_MAX, BATCH_WIRE_BYTES_MAX, ProblemKind};
use model::{Batch, Released, codec};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zstd::zstd_safe;

use super::STILL_S_MAX;
use super::answer::Failure;

/// Bytes of bodies that are being received, all together.
pub const WIRE_BYTES_MAX: usize = 256 << 20;
/// Bytes of batches that are decoded or being committed, all together; a batch counts twice, for its bytes and
/// what is made of them.
pub const RAW_BYTES_MAX: usize = 512 << 20;
/// Largest window of a frame, as a power of two: that of zstd's ordinary levels.
pub const WINDOW_LOG_MAX: u32 = 23;

const KIB: usize = 1 << 10;

/// Memory that uploads may take.
#[derive(Debug)]
pub(super) struct Budget {
    wire: Arc<Semaphore>,
    raw: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / KIB));
        Self { wire: of(WIRE_BYTES_MAX), raw: of(RAW_BYTES_MAX) }
    }
}

/// A batch, decoded and not yet compared with anything.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) batch: Batch<Released>,
    pub(super) manifest_sha256: String,
    pub(super) bytes_raw: u64,
    pub(super) bytes_wire: u64,
    /// Given back when the batch is done with.
    pub(super) memory: OwnedSemaphorePermit,
}

impl Budget {
    /// Receives and decodes. Cancel safe: nothing remains.
    pub(super) async fn receive(&self, declared: Option<usize>, body: Body) -> Result<Decoded, Failure> {
        if declared.is_some_and(|bytes| bytes > BATCH_WIRE_BYTES_MAX) {
            return Err(too_large("on the wire", BATCH_WIRE_BYTES_MAX));
        }
        let limit = declared.unwrap_or(BATCH_WIRE_BYTES_MAX);
        let wire_permit = take(&self.wire, limit).await?;
        let wire = read(body, limit).await?;
        let size = raw_size(&wire)?;
        let memory = take(&self.raw, size.saturating_mul(2)).await?;
        let decoding = tokio::task::spawn_blocking(move || {
            let raw = decompress(&wire, size)?;
            let batch = codec::decode(&raw).map_err(|e| Failure::malformed(e.to_string()))?;
            let manifest_sha256 = hex::encode(digest(&SHA256, &raw));
            let (bytes_raw, bytes_wire) = (raw.len() as u64, wire.len() as u64);
            Ok(Decoded { batch, manifest_sha256, bytes_raw, bytes_wire, memory })
        });
        let decoded = decoding.await.map_err(|_| stopping())?;
        drop(wire_permit);
        decoded
    }
}

async fn take(budget: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let kib = u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
    Arc::clone(budget).acquire_many_owned(kib).await.map_err(|_| stopping())
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut wire = BytesMut::new();
    loop {
        let still = Duration::from_secs(STILL_S_MAX);
        let frame = tokio::time::timeout(still, body.frame())
            .await
            .map_err(|_| Failure::malformed(format!("the body stood still for {STILL_S_MAX} s")))?;
        let Some(frame) = frame else { return Ok(wire.freeze()) };
        let frame = frame.map_err(|_| Failure::malformed("the body broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        if wire.len() + data.len() > limit {
            return Err(too_large("on the wire", limit));
        }
        wire.extend_from_slice(data);
    }
}

/// The size that the frame declares, or the largest there may be.
fn raw_size(wire: &[u8]) -> Result<usize, Failure> {
    let declared = zstd_safe::get_frame_content_size(wire).map_err(|_| not_zstd())?;
    match declared {
        Some(bytes) if bytes > BATCH_RAW_BYTES_MAX as u64 => {
            Err(too_large("decompressed", BATCH_RAW_BYTES_MAX))
        }
        Some(bytes) => Ok(usize::try_from(bytes).unwrap_or(BATCH_RAW_BYTES_MAX)),
        None => Ok(BATCH_RAW_BYTES_MAX),
    }
}

fn decompress(wire: &[u8], size: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(wire).map_err(|_| not_zstd())?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(|_| not_zstd())?;
    let mut raw = Vec::new();
    (&mut decoder).take(size as u64 + 1).read_to_end(&mut raw).map_err(|_| not_zstd())?;
    if raw.len() > size {
        return Err(too_large("decompressed", size));
    }
    let mut rest = decoder.finish();
    match rest.fill_buf() {
        Ok([]) => Ok(raw),
        Ok(_) | Err(_) => Err(Failure::malformed("there are bytes after the zstd frame; send one frame")),
    }
}

fn too_large(what: &str, limit: usize) -> Failure {
    Failure::new(
        ProblemKind::TooLarge,
        format!("the batch is larger than {limit} bytes {what}; send less at once"),
    )
}

fn not_zstd() -> Failure {
    let limit = 1_u64 << WINDOW_LOG_MAX;
    Failure::malformed(format!("the body is not a whole zstd frame with a window of at most {limit} bytes"))
}

fn stopping() -> Failure {
    Failure::new(ProblemKind::Unavailable, "the landing is stopping; send it again")
}
