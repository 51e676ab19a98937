//! The header of a frame.

use super::{
    BODY_BYTES_MAX, CRC_BYTES, FRAME_AAD_BYTES, FRAME_HEADER_BYTES, Fields, TAG_BYTES, Tag, crc_is_right,
};

pub(crate) const MAGIC: [u8; 4] = *b"WGf1";

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Record = 1,
    Chunk = 2,
    Footer = 3,
    Table = 4,
}

/// Bits of [`FrameHeader::flags`].
pub(crate) mod flags {
    /// The record's payload lies in chunks.
    pub(crate) const CHUNKED: u8 = 1;
    /// The segment ends here.
    pub(crate) const FINAL: u8 = 2;
    /// The payload of the record, or the bytes of the chunk, are compressed.
    pub(crate) const ZSTD: u8 = 4;
    /// Another frame of the same batch follows without a gap.
    pub(crate) const MORE: u8 = 8;
    /// The record's chunks stand in tables.
    pub(crate) const INDIRECT: u8 = 16;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Ciphertext and tag.
    pub(crate) body_len: u32,
    pub(crate) frame: u64,
    pub(crate) seq: u64,
    /// Number of the first frame of the batch.
    pub(crate) batch: u32,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) previous_tag: Tag,
}

impl FrameHeader {
    /// The associated data's share of the header: all but the CRC.
    pub(crate) fn aad(&self) -> [u8; FRAME_AAD_BYTES] {
        let mut bytes = [0; FRAME_AAD_BYTES];
        let parts: [&[u8]; 8] = [
            &MAGIC,
            &self.body_len.to_le_bytes(),
            &self.frame.to_le_bytes(),
            &self.seq.to_le_bytes(),
            &self.batch.to_le_bytes(),
            &[self.kind as u8, self.flags],
            &[0, 0],
            &self.previous_tag,
        ];
        for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }

    /// The header as it stands on the disk.
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let aad = self.aad();
        let crc = crc32c::crc32c(&aad).to_le_bytes();
        let mut bytes = [0; FRAME_HEADER_BYTES];
        for (to, from) in bytes.iter_mut().zip(aad.iter().chain(&crc)) {
            *to = *from;
        }
        bytes
    }

    /// Reads a header off the front of `bytes`; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        if !crc_is_right(bytes) {
            return None;
        }
        let mut f = Fields(bytes.get(MAGIC.len()..)?);
        let (body_len, frame, seq, batch) = (f.u32()?, f.u64()?, f.u64()?, f.u32()?);
        let [kind, flags, 0, 0] = f.array()? else { return None };
        let kind = match kind {
            1 => Kind::Record,
            2 => Kind::Chunk,
            3 => Kind::Footer,
            4 => Kind::Table,
            _ => return None,
        };
        let header = Self { body_len, frame, seq, batch, kind, flags, previous_tag: f.array()? };
        let sound = (TAG_BYTES..=BODY_BYTES_MAX + TAG_BYTES).contains(&(body_len as usize))
            && u64::from(batch) <= frame
            && (seq == 0) == matches!(kind, Kind::Chunk | Kind::Table);
        sound.then_some(header)
    }

    /// Length of the whole frame.
    pub(crate) const fn total_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + self.body_len as u64 + CRC_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_every_flipped_bit_is_noticed() {
        let header = FrameHeader {
            body_len: 100,
            frame: 7,
            seq: 9,
            batch: 3,
            kind: Kind::Record,
            flags: flags::CHUNKED,
            previous_tag: [5; 16],
        };
        let bytes = header.encode();
        assert_eq!(FrameHeader::decode(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes;
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&spoilt), None, "bit {bit}");
        }
        assert_eq!(FrameHeader::decode(&bytes[..51]), None);
    }
}
