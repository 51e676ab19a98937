//! The plaintext of frames, and the trailer that leads to a footer.

use bytes::Bytes;

use super::{Fields, Packed, Tag, crc_is_right, flags};

const TRAILER_MAGIC: [u8; 4] = *b"WGtr";
/// Length of the trailer at the very end of a segment closed in order.
pub(crate) const TRAILER_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 12;
const CHUNKED_HEAD_BYTES: usize = 28;
const CHUNK_REF_BYTES: usize = 36;
const CHUNK_HEAD_BYTES: usize = 20;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) body_len: u32,
    pub(crate) tag: Tag,
}

/// A payload in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunked {
    pub(crate) object: [u8; 16],
    pub(crate) total: u64,
    pub(crate) refs: Vec<ChunkRef>,
}

/// A payload as its record holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    Inline(Packed),
    Chunked(Chunked),
}

impl Stored {
    /// Flags of the record's frame.
    pub(crate) const fn flags(&self) -> u8 {
        match self {
            Self::Inline(packed) => packed.flags(),
            Self::Chunked(_) => flags::CHUNKED,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordBody {
    pub(crate) at: i64,
    pub(crate) meta: Bytes,
    pub(crate) stored: Stored,
}

impl RecordBody {
    /// Length of the plaintext.
    pub(crate) fn encoded_len(meta: &[u8], stored: &Stored) -> usize {
        RECORD_HEAD_BYTES
            + meta.len()
            + match stored {
                Stored::Inline(packed) => packed.bytes().len(),
                Stored::Chunked(chunked) => CHUNKED_HEAD_BYTES + chunked.refs.len() * CHUNK_REF_BYTES,
            }
    }

    /// Appends the plaintext to `out`.
    pub(crate) fn encode(at: i64, meta: &[u8], stored: &Stored, out: &mut Vec<u8>) {
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
        out.extend_from_slice(meta);
        match stored {
            Stored::Inline(packed) => out.extend_from_slice(packed.bytes()),
            Stored::Chunked(chunked) => {
                out.extend_from_slice(&chunked.object);
                out.extend_from_slice(&chunked.total.to_le_bytes());
                out.extend_from_slice(&(chunked.refs.len() as u32).to_le_bytes());
                for chunk in &chunked.refs {
                    out.extend_from_slice(&chunk.segment.to_le_bytes());
                    out.extend_from_slice(&chunk.offset.to_le_bytes());
                    out.extend_from_slice(&chunk.body_len.to_le_bytes());
                    out.extend_from_slice(&chunk.tag);
                }
            }
        }
    }

    /// Reads a plaintext under the flags of its frame; `None` when it is none. A compressed payload stays so.
    pub(crate) fn decode(plain: &Bytes, bits: u8) -> Option<Self> {
        let mut f = Fields(plain);
        let at = f.i64()?;
        let meta_len = f.u32()? as usize;
        let payload_at = RECORD_HEAD_BYTES.checked_add(meta_len).filter(|at| *at <= plain.len())?;
        let meta = plain.slice(RECORD_HEAD_BYTES..payload_at);
        let payload = plain.slice(payload_at..);
        let stored = if bits & flags::CHUNKED != 0 {
            Stored::Chunked(Self::decode_chunked(&payload)?)
        } else {
            Stored::Inline(Packed::stored(payload, bits))
        };
        Some(Self { at, meta, stored })
    }

    fn decode_chunked(bytes: &[u8]) -> Option<Chunked> {
        let mut f = Fields(bytes);
        let (object, total, count) = (f.array()?, f.u64()?, f.u32()? as usize);
        if count.checked_mul(CHUNK_REF_BYTES)? != f.0.len() {
            return None;
        }
        let mut refs = Vec::with_capacity(count);
        for _ in 0..count {
            refs.push(ChunkRef { segment: f.u64()?, offset: f.u64()?, body_len: f.u32()?, tag: f.array()? });
        }
        Some(Chunked { object, total, refs })
    }
}

/// A piece of a large payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkBody {
    pub(crate) object: [u8; 16],
    pub(crate) index: u32,
    pub(crate) packed: Packed,
}

impl ChunkBody {
    pub(crate) fn encoded_len(&self) -> usize {
        CHUNK_HEAD_BYTES + self.packed.bytes().len()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.object);
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(self.packed.bytes());
    }

    /// Reads a plaintext under the flags of its frame.
    pub(crate) fn decode(plain: &Bytes, bits: u8) -> Option<Self> {
        let mut f = Fields(plain);
        let (object, index) = (f.array()?, f.u32()?);
        Some(Self { object, index, packed: Packed::stored(plain.slice(CHUNK_HEAD_BYTES..), bits) })
    }
}

/// What a segment closed in order says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FooterBody {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) records: u64,
    pub(crate) newest_at: i64,
    /// Record number and offset of its frame, growing.
    pub(crate) marks: Vec<(u64, u64)>,
    /// Older segment, and the last record here that needs a chunk in it.
    pub(crate) refs: Vec<(u64, u64)>,
}

impl FooterBody {
    pub(crate) fn encoded_len(&self) -> usize {
        32 + 4 + self.marks.len() * 16 + 4 + self.refs.len() * 16
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.first_seq, self.last_seq, self.records] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.newest_at.to_le_bytes());
        for pairs in [&self.marks, &self.refs] {
            out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
            for (a, b) in pairs {
                out.extend_from_slice(&a.to_le_bytes());
                out.extend_from_slice(&b.to_le_bytes());
            }
        }
    }

    pub(crate) fn decode(plain: &[u8]) -> Option<Self> {
        let mut f = Fields(plain);
        let (first_seq, last_seq, records, newest_at) = (f.u64()?, f.u64()?, f.u64()?, f.i64()?);
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            let count = f.u32()? as usize;
            if count.checked_mul(16)? > f.0.len() {
                return None;
            }
            for _ in 0..count {
                list.push((f.u64()?, f.u64()?));
            }
        }
        let [marks, refs] = lists;
        f.0.is_empty().then_some(Self { first_seq, last_seq, records, newest_at, marks, refs })
    }
}

/// The last bytes of a segment closed in order.
pub(crate) fn encode_trailer(footer_at: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER_BYTES);
    bytes.extend_from_slice(&TRAILER_MAGIC);
    bytes.extend_from_slice(&footer_at.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The offset of the footer frame; `None` when these bytes are no trailer.
pub(crate) fn decode_trailer(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(&TRAILER_MAGIC)?;
    (bytes.len() == TRAILER_BYTES && crc_is_right(bytes)).then_some(())?;
    Fields(rest).u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bodies_round_trip(at in any::<i64>(), meta in prop::collection::vec(any::<u8>(), 0..50), payload in prop::collection::vec(any::<u8>(), 0..50), refs in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<[u8; 16]>()), 0..5), pairs in prop::collection::vec(any::<(u64, u64)>(), 0..9)) {
            let refs = refs.into_iter().map(|(segment, offset, body_len, tag)| ChunkRef { segment, offset, body_len, tag }).collect();
            for stored in [Stored::Inline(Packed::stored(payload.clone().into(), 0)), Stored::Inline(Packed::stored(payload.clone().into(), flags::ZSTD)), Stored::Chunked(Chunked { object: [1; 16], total: 5, refs })] {
                let mut plain = Vec::new();
                RecordBody::encode(at, &meta, &stored, &mut plain);
                prop_assert_eq!(plain.len(), RecordBody::encoded_len(&meta, &stored));
                let body = RecordBody::decode(&plain.into(), stored.flags()).unwrap();
                prop_assert_eq!(body, RecordBody { at, meta: meta.clone().into(), stored });
            }
            let footer = FooterBody { first_seq: 1, last_seq: 2, records: 2, newest_at: at, marks: pairs.clone(), refs: pairs };
            let mut plain = Vec::new();
            footer.encode(&mut plain);
            prop_assert_eq!(plain.len(), footer.encoded_len());
            prop_assert_eq!(FooterBody::decode(&plain), Some(footer));
        }

        #[test]
        fn hostile_plaintexts_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let shared = Bytes::from(bytes.clone());
            for bits in 0..=u8::MAX {
                if let Some(RecordBody { stored: Stored::Inline(packed), .. }) = RecordBody::decode(&shared, bits) {
                    let _ = packed.unpack();
                }
                let _ = ChunkBody::decode(&shared, bits).map(|chunk| chunk.packed.unpack());
            }
            let _ = (FooterBody::decode(&bytes), decode_trailer(&bytes));
        }
    }

    #[test]
    fn a_trailer_is_whole_or_none() {
        let bytes = encode_trailer(8192);
        assert_eq!(bytes.len(), TRAILER_BYTES);
        assert_eq!(decode_trailer(&bytes), Some(8192));
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_trailer(&spoilt), None, "bit {bit}");
        }
    }
}
