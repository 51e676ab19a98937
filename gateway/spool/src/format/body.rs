//! The plaintext of frames, and the trailer that leads to a footer.

use bytes::Bytes;

use super::{DIRECT_REFS_MAX, Fields, Packed, TABLE_REFS, TABLES_MAX, Tag, crc_is_right, flags};

const TRAILER_MAGIC: [u8; 4] = *b"WGtr";
/// Length of the trailer at the very end of a segment closed in order.
pub(crate) const TRAILER_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 12;
const CHUNKED_HEAD_BYTES: usize = 28;
const FROM_BYTES: usize = 8;
const CHUNK_REF_BYTES: usize = 36;
const CHUNK_HEAD_BYTES: usize = 20;
const TABLE_HEAD_BYTES: usize = 24;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) body_len: u32,
    pub(crate) tag: Tag,
}

impl ChunkRef {
    fn encode_all(refs: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(&(refs.len() as u32).to_le_bytes());
        for place in refs {
            out.extend_from_slice(&place.segment.to_le_bytes());
            out.extend_from_slice(&place.offset.to_le_bytes());
            out.extend_from_slice(&place.body_len.to_le_bytes());
            out.extend_from_slice(&place.tag);
        }
    }

    /// A count and that many references, which must be all there is.
    fn decode_all(f: &mut Fields<'_>, count_max: usize) -> Option<Vec<Self>> {
        let count = f.u32()? as usize;
        if count > count_max || count.checked_mul(CHUNK_REF_BYTES)? != f.0.len() {
            return None;
        }
        let mut refs = Vec::with_capacity(count);
        for _ in 0..count {
            refs.push(Self { segment: f.u64()?, offset: f.u64()?, body_len: f.u32()?, tag: f.array()? });
        }
        Some(refs)
    }
}

/// A payload in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunked {
    pub(crate) object: [u8; 16],
    pub(crate) total: u64,
    pub(crate) layout: Layout,
}

/// Where the chunks of a payload are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In the record itself.
    Direct(Vec<ChunkRef>),
    /// In tables; the first of the segments that hold them and their chunks.
    Indirect { from: u64, tables: Vec<ChunkRef> },
}

impl Layout {
    /// The segments that the record needs, as ranges, first to last. What was freed out of turn may lie between.
    pub(crate) fn segments(&self) -> Vec<(u64, u64)> {
        match self {
            Self::Indirect { from, tables } => {
                // A table is written when its chunks are.
                tables.iter().map(|t| t.segment).max().map_or(Vec::new(), |last| vec![(*from, last)])
            }
            Self::Direct(refs) => {
                let mut segments: Vec<(u64, u64)> = refs.iter().map(|r| (r.segment, r.segment)).collect();
                segments.sort_unstable();
                segments.dedup();
                segments
            }
        }
    }

    /// What the record's frame says of it.
    const fn flags(&self) -> u8 {
        match self {
            Self::Direct(_) => flags::CHUNKED,
            Self::Indirect { .. } => flags::CHUNKED | flags::INDIRECT,
        }
    }
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
            Self::Chunked(chunked) => chunked.layout.flags(),
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
                Stored::Chunked(Chunked { layout: Layout::Direct(refs), .. }) => {
                    CHUNKED_HEAD_BYTES + refs.len() * CHUNK_REF_BYTES
                }
                Stored::Chunked(Chunked { layout: Layout::Indirect { tables, .. }, .. }) => {
                    CHUNKED_HEAD_BYTES + FROM_BYTES + tables.len() * CHUNK_REF_BYTES
                }
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
                let refs = match &chunked.layout {
                    Layout::Direct(refs) => refs,
                    Layout::Indirect { from, tables } => {
                        out.extend_from_slice(&from.to_le_bytes());
                        tables
                    }
                };
                ChunkRef::encode_all(refs, out);
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
            Stored::Chunked(Self::decode_chunked(&payload, bits & flags::INDIRECT != 0)?)
        } else {
            Stored::Inline(Packed::stored(payload, bits))
        };
        Some(Self { at, meta, stored })
    }

    fn decode_chunked(bytes: &[u8], is_indirect: bool) -> Option<Chunked> {
        let mut f = Fields(bytes);
        let (object, total) = (f.array()?, f.u64()?);
        let layout = if is_indirect {
            Layout::Indirect { from: f.u64()?, tables: ChunkRef::decode_all(&mut f, TABLES_MAX)? }
        } else {
            Layout::Direct(ChunkRef::decode_all(&mut f, DIRECT_REFS_MAX)?)
        };
        Some(Chunked { object, total, layout })
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

/// Where the chunks of a very large payload lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableBody {
    pub(crate) object: [u8; 16],
    /// Its place among the object's tables.
    pub(crate) index: u32,
    pub(crate) refs: Vec<ChunkRef>,
}

impl TableBody {
    pub(crate) fn encoded_len(&self) -> usize {
        TABLE_HEAD_BYTES + self.refs.len() * CHUNK_REF_BYTES
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.object);
        out.extend_from_slice(&self.index.to_le_bytes());
        ChunkRef::encode_all(&self.refs, out);
    }

    pub(crate) fn decode(plain: &[u8]) -> Option<Self> {
        let mut f = Fields(plain);
        let (object, index) = (f.array()?, f.u32()?);
        Some(Self { object, index, refs: ChunkRef::decode_all(&mut f, TABLE_REFS)? })
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
        fn bodies_round_trip(at in any::<i64>(), meta in prop::collection::vec(any::<u8>(), 0..50), payload in prop::collection::vec(any::<u8>(), 0..50), refs in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u32>(), any::<[u8; 16]>()), 0..=DIRECT_REFS_MAX), pairs in prop::collection::vec(any::<(u64, u64)>(), 0..9)) {
            let refs: Vec<_> = refs.into_iter().map(|(segment, offset, body_len, tag)| ChunkRef { segment, offset, body_len, tag }).collect();
            let chunked = |layout| Stored::Chunked(Chunked { object: [1; 16], total: 5, layout });
            for stored in [
                Stored::Inline(Packed::stored(payload.clone().into(), 0)),
                Stored::Inline(Packed::stored(payload.clone().into(), flags::ZSTD)),
                chunked(Layout::Direct(refs.clone())),
                chunked(Layout::Indirect { from: 3, tables: refs.clone() }),
            ] {
                let mut plain = Vec::new();
                RecordBody::encode(at, &meta, &stored, &mut plain);
                prop_assert_eq!(plain.len(), RecordBody::encoded_len(&meta, &stored));
                let body = RecordBody::decode(&plain.into(), stored.flags()).unwrap();
                prop_assert_eq!(body, RecordBody { at, meta: meta.clone().into(), stored });
            }
            let table = TableBody { object: [2; 16], index: 7, refs };
            let mut plain = Vec::new();
            table.encode(&mut plain);
            prop_assert_eq!(plain.len(), table.encoded_len());
            prop_assert_eq!(TableBody::decode(&plain), Some(table));
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
            let _ = (FooterBody::decode(&bytes), TableBody::decode(&bytes), decode_trailer(&bytes));
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
