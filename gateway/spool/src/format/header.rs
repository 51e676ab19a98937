//! The header page of a segment.

use super::{CRC_BYTES, Fields, PAGE_BYTES, Tag, VERSION, crc_is_right};
use crate::keys::KeyId;

const MAGIC: [u8; 8] = *b"WARDSPL\x01";
const MAC_AT: usize = 236;

/// The algorithm that seals frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    Aes256Gcm = 1,
    ChaCha20Poly1305 = 2,
}

impl Suite {
    /// From its number in a file.
    pub(crate) const fn read(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }
}

/// Where the predecessor ended; all zeros for the first segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Previous {
    pub(crate) segment: u64,
    pub(crate) end: u64,
    pub(crate) frames: u64,
    pub(crate) tag: Tag,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) suite: Suite,
    pub(crate) segment_bytes: u32,
    pub(crate) key_id: KeyId,
    pub(crate) gateway: [u8; 32],
    pub(crate) log: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    pub(crate) first_seq: u64,
    pub(crate) created_at: i64,
    pub(crate) previous: Previous,
    pub(crate) key_epoch: u64,
    pub(crate) wrap_nonce: [u8; 12],
    pub(crate) wrapped: [u8; 48],
    pub(crate) mac: [u8; 32],
}

/// Why a page is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Too short, or its CRC is wrong.
    Rot,
    /// Whole, but no header of a segment or with impossible values.
    Foreign,
    /// Whole, and newer than this program.
    Version(u16),
}

impl SegmentHeader {
    /// The name of a log as it stands in a header; names longer than 16 bytes do not occur.
    pub(crate) fn log_name(name: &str) -> [u8; 16] {
        let mut padded = [0; 16];
        for (to, from) in padded.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        padded
    }

    /// The page, with `self.mac` as it is.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = self.authenticated();
        page.extend_from_slice(&self.mac);
        page.resize(PAGE_BYTES as usize - CRC_BYTES, 0);
        let crc = crc32c::crc32c(&page);
        page.extend_from_slice(&crc.to_le_bytes());
        page
    }

    /// What the MAC covers: bytes 0..236.
    pub(crate) fn authenticated(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES as usize);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.push(self.suite as u8);
        page.push(0);
        page.extend_from_slice(&self.segment_bytes.to_le_bytes());
        page.extend_from_slice(&self.key_id);
        self.push_identity_tail(&mut page);
        page.extend_from_slice(&self.key_epoch.to_le_bytes());
        page.extend_from_slice(&self.wrap_nonce);
        page.extend_from_slice(&self.wrapped);
        debug_assert_eq!(page.len(), MAC_AT);
        page
    }

    /// What a frame's associated data begins with: bytes 0..16 and 32..168, to be hashed.
    pub(crate) fn identity_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(152);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.push(self.suite as u8);
        bytes.push(0);
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        self.push_identity_tail(&mut bytes);
        bytes
    }

    fn push_identity_tail(&self, page: &mut Vec<u8>) {
        page.extend_from_slice(&self.gateway);
        page.extend_from_slice(&self.log);
        page.extend_from_slice(&self.incarnation);
        page.extend_from_slice(&self.epoch.to_le_bytes());
        page.extend_from_slice(&self.segment.to_le_bytes());
        page.extend_from_slice(&self.first_seq.to_le_bytes());
        page.extend_from_slice(&self.created_at.to_le_bytes());
        page.extend_from_slice(&self.previous.segment.to_le_bytes());
        page.extend_from_slice(&self.previous.end.to_le_bytes());
        page.extend_from_slice(&self.previous.frames.to_le_bytes());
        page.extend_from_slice(&self.previous.tag);
    }

    /// Reads a page of 4096 bytes. Says nothing of the MAC.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, HeaderFault> {
        let page = page.get(..PAGE_BYTES as usize).ok_or(HeaderFault::Rot)?;
        if !crc_is_right(page) {
            return Err(HeaderFault::Rot);
        }
        Self::fields(page).unwrap_or(Err(HeaderFault::Foreign))
    }

    fn fields(page: &[u8]) -> Option<Result<Self, HeaderFault>> {
        let mut f = Fields(page);
        if f.array::<8>()? != MAGIC {
            return None;
        }
        let version = f.u16()?;
        if version != VERSION {
            return Some(Err(HeaderFault::Version(version)));
        }
        let suite = Suite::read(f.u16()?)?;
        let header = Self {
            suite,
            segment_bytes: f.u32()?,
            key_id: f.array()?,
            gateway: f.array()?,
            log: f.array()?,
            incarnation: f.array()?,
            epoch: f.u64()?,
            segment: f.u64()?,
            first_seq: f.u64()?,
            created_at: f.i64()?,
            previous: Previous { segment: f.u64()?, end: f.u64()?, frames: f.u64()?, tag: f.array()? },
            key_epoch: f.u64()?,
            wrap_nonce: f.array()?,
            wrapped: f.array()?,
            mac: f.array()?,
        };
        let sound = header.epoch > 0
            && header.first_seq > 0
            && header.segment > 0
            && header.previous.segment < header.segment
            && f.0.iter().rev().skip(CRC_BYTES).all(|b| *b == 0);
        sound.then_some(Ok(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> SegmentHeader {
        SegmentHeader {
            suite: Suite::ChaCha20Poly1305,
            segment_bytes: 1 << 20,
            key_id: [1; 16],
            gateway: [2; 32],
            log: SegmentHeader::log_name("clinical"),
            incarnation: [3; 16],
            epoch: 4,
            segment: 5,
            first_seq: 6,
            created_at: -7,
            previous: Previous { segment: 3, end: 8192, frames: 9, tag: [10; 16] },
            key_epoch: 8,
            wrap_nonce: [11; 12],
            wrapped: [12; 48],
            mac: [13; 32],
        }
    }

    #[test]
    fn a_page_reads_back_and_every_flipped_bit_is_noticed() {
        let page = sample().encode();
        assert_eq!(page.len(), 4096);
        assert_eq!(SegmentHeader::decode(&page), Ok(sample()));
        for bit in 0..page.len() * 8 {
            let mut spoilt = page.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&spoilt), Err(HeaderFault::Rot), "bit {bit}");
        }
    }

    #[test]
    fn another_version_says_so() {
        let mut page = sample().encode();
        page[8] = 2;
        let crc = crc32c::crc32c(&page[..4092]).to_le_bytes();
        page[4092..].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&page), Err(HeaderFault::Version(2)));
    }

    proptest! {
        #[test]
        fn hostile_pages_are_an_error(mut page in prop::collection::vec(any::<u8>(), 4092)) {
            let crc = crc32c::crc32c(&page).to_le_bytes();
            page.extend_from_slice(&crc);
            prop_assert_eq!(SegmentHeader::decode(&page), Err(HeaderFault::Foreign));
        }
    }
}
