//! Compression before sealing, where it pays.
//!
//! **What is compressed.** A payload, or a chunk of one, of at least [`PACK_BYTES_MIN`], each by itself, and only where
//! that saves an eighth of it. A record below a page takes a page when it comes alone, compressed or not; and when
//! enough of them come together to share pages, the committer's time is what is short, not the disk (docs/adr/0015 has the
//! figures). Envelopes are left as they are.
//!
//! **What it gives away.** The length of a sealed frame then depends on its content, not only on its length. Nothing of
//! one payload is ever compressed together with anything of another (docs/adr/0015).
//!
//! **Limits.** What is unpacked is at most [`INLINE_BYTES`]. The size stands in the zstd frame, so that the tag of the
//! sealed frame covers it; it is held against the limit before any memory is taken, and what comes out must be as long as
//! it says. Between two uses at most [`KEPT_MAX`] contexts of each kind are kept, each below 1 MiB.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::{INLINE_BYTES, flags};

/// What is smaller is left as it is, in bytes.
const PACK_BYTES_MIN: usize = 4096;
/// The fastest of the ordinary levels; higher ones gain a hundredth on messages and cost double.
const LEVEL: i32 = 1;
/// Contexts kept of each kind. A context costs more to make than a page to compress.
const KEPT_MAX: usize = 4;

static COMPRESSORS: Kept<Compressor<'static>> = Kept::new();
static DECOMPRESSORS: Kept<Decompressor<'static>> = Kept::new();

/// Bytes as they are stored: as they came, or compressed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Packed {
    bytes: Bytes,
    is_zstd: bool,
}

impl Packed {
    /// Compressed where it pays.
    pub(crate) fn pack(bytes: Bytes) -> Self {
        match compress(&bytes) {
            Some(smaller) => Self { bytes: smaller.into(), is_zstd: true },
            None => Self { bytes, is_zstd: false },
        }
    }

    /// As a frame with these flags holds them.
    pub(crate) const fn stored(bytes: Bytes, bits: u8) -> Self {
        Self { bytes, is_zstd: bits & flags::ZSTD != 0 }
    }

    /// As they are stored.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the frame says of them.
    pub(crate) const fn flags(&self) -> u8 {
        if self.is_zstd { flags::ZSTD } else { 0 }
    }

    /// As they came; `None` when they cannot be unpacked, or are more than a frame may hold.
    pub(crate) fn unpack(self) -> Option<Bytes> {
        if !self.is_zstd {
            return Some(self.bytes);
        }
        let stated = zstd::zstd_safe::get_frame_content_size(&self.bytes).ok()??;
        let len = usize::try_from(stated).ok().filter(|len| *len <= INLINE_BYTES)?;
        let bytes =
            DECOMPRESSORS.with(|| Decompressor::new().ok(), |d| d.decompress(&self.bytes, len).ok())?;
        (bytes.len() == len).then(|| Bytes::from(bytes))
    }
}

/// `None` where it saves too little, or fails.
fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    if !(PACK_BYTES_MIN..=INLINE_BYTES).contains(&bytes.len()) {
        return None;
    }
    // An output that does not fit is an error, found early.
    let mut out = vec![0; bytes.len() - bytes.len() / 8];
    let len = COMPRESSORS
        .with(|| Compressor::new(LEVEL).ok(), |c| c.compress_to_buffer(bytes, out.as_mut_slice()).ok())?;
    out.truncate(len);
    out.shrink_to_fit();
    Some(out)
}

/// Contexts for whoever needs one next, on whatever thread.
struct Kept<T>(Mutex<Vec<T>>);

impl<T> Kept<T> {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Lends one, or a new one.
    fn with<R>(&self, make: impl FnOnce() -> Option<T>, work: impl FnOnce(&mut T) -> R) -> R
    where
        R: Default,
    {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = lock().pop();
        let Some(mut context) = kept.or_else(make) else { return R::default() };
        let done = work(&mut context);
        let mut kept = lock();
        if kept.len() < KEPT_MAX {
            kept.push(context);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_pays_is_compressed_and_all_comes_back() {
        let text = b"OBX|1|NM|8867-4^Heart rate^LN||72|/min|60-100|N|||F\r".repeat(INLINE_BYTES / 52);
        for (bytes, is_zstd) in [
            (Vec::new(), false),
            (text[..PACK_BYTES_MIN - 1].to_vec(), false),
            (text[..PACK_BYTES_MIN].to_vec(), true),
            (text, true),
            (noise(PACK_BYTES_MIN), false),
            (noise(INLINE_BYTES), false),
            (vec![0; INLINE_BYTES], true),
            (vec![0; INLINE_BYTES + 1], false),
        ] {
            let packed = Packed::pack(bytes.clone().into());
            assert_eq!(packed.flags() == flags::ZSTD, is_zstd, "{} bytes", bytes.len());
            assert!(packed.bytes().len() <= bytes.len());
            assert!(!is_zstd || packed.bytes().len() <= bytes.len() - bytes.len() / 8);
            let stored = Packed::stored(packed.bytes().clone(), packed.flags());
            assert_eq!(stored.unpack().unwrap(), bytes);
        }
    }

    #[test]
    fn what_claims_too_much_or_lies_is_not_unpacked() {
        let unpack = |bytes: &[u8]| Packed::stored(Bytes::copy_from_slice(bytes), flags::ZSTD).unpack();
        let bomb = zstd::bulk::compress(&vec![0; INLINE_BYTES + 1], 1).unwrap();
        assert!(bomb.len() < 100);
        assert_eq!(unpack(&bomb), None);
        let whole = zstd::bulk::compress(&vec![7; 5000], 1).unwrap();
        assert_eq!(unpack(&whole).unwrap(), vec![7; 5000]);
        for len in 0..whole.len() {
            assert_eq!(unpack(&whole[..len]), None, "{len}");
        }
        // A second frame behind the one that states its size.
        assert_eq!(unpack(&whole.repeat(2)), None);
        // One that states none.
        let mut streamed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        std::io::Write::write_all(&mut streamed, &vec![0; 1 << 20]).unwrap();
        assert_eq!(unpack(&streamed.finish().unwrap()), None);
        // One whose stated size was changed: the descriptor's field follows magic and descriptor.
        for bit in 0..16 {
            let mut lying = whole.clone();
            lying[5 + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unpack(&lying), None, "bit {bit}");
        }
        assert_eq!(unpack(&noise(100)), None);
        assert!(DECOMPRESSORS.0.lock().unwrap().len() <= KEPT_MAX);
    }
}
