//! The bytes of a sidecar; the layout stands in [`super`].

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::Error;
use crate::format::{CRC_BYTES, Fields, Suite, TAG_BYTES, crc_is_right};
use crate::keys;

const MAGIC: [u8; 8] = *b"WGidx\0\0\x01";
const VERSION: u16 = 2;
pub(super) const PAGE_BYTES: usize = 4096;
/// What a page holds before it is sealed.
pub(super) const PLAIN_BYTES: usize = PAGE_BYTES - TAG_BYTES - CRC_BYTES;
pub(super) const FOOTER_BYTES: usize = 96;
const TERM_BYTES: usize = 6;
const DIRECTORY_FIXED_BYTES: usize = 35;
const RANGE_BYTES: usize = 8;
const DIRECTORY: u32 = u32::MAX;
/// Largest directory: that of a sidecar of 4 GiB.
const DIRECTORY_BYTES_MAX: usize = 8 << 20;
const CROWDED: u8 = 1;
const SEALING_FAILED: Error = Error::Internal("sealing a sidecar failed");

/// The first bits of a key's HMAC.
pub(super) type Term = u64;
/// One beyond the last term.
pub(super) const TERMS_END: Term = 1 << (8 * TERM_BYTES);

/// Which segment a sidecar is of, and the salt of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) suite: Suite,
    pub(super) key_epoch: u64,
    pub(super) segment: u64,
    /// The first half of the MAC of the segment's header: nothing else has it.
    pub(super) segment_mac: [u8; 16],
    pub(super) salt: [u8; 32],
    pub(super) pages: u32,
    pub(super) directory_len: u32,
    pub(super) directory_crc: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.suite as u16).to_le_bytes());
        out.extend_from_slice(&self.key_epoch.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.segment_mac);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.pages.to_le_bytes());
        out.extend_from_slice(&self.directory_len.to_le_bytes());
        out.extend_from_slice(&self.directory_crc.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != FOOTER_BYTES || !crc_is_right(bytes) {
            return None;
        }
        let mut f = Fields(bytes);
        if f.array::<8>()? != MAGIC || f.u16()? != VERSION {
            return None;
        }
        let suite = Suite::read(f.u16()?)?;
        let footer = Self {
            suite,
            key_epoch: f.u64()?,
            segment: f.u64()?,
            segment_mac: f.array()?,
            salt: f.array()?,
            pages: f.u32()?,
            directory_len: f.u32()?,
            directory_crc: f.u32()?,
        };
        (footer.directory_len as usize <= DIRECTORY_BYTES_MAX).then_some(footer)
    }

    /// Where the directory begins.
    pub(super) const fn directory_at(&self) -> u64 {
        self.pages as u64 * PAGE_BYTES as u64
    }

    /// Size of the file.
    pub(super) const fn total_bytes(&self) -> u64 {
        self.directory_at() + self.directory_len as u64 + FOOTER_BYTES as u64
    }
}

/// What leads to the right page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) at_first: i64,
    pub(super) at_last: i64,
    /// There are records that have more keys than were listed; they stand under the empty key.
    pub(super) is_crowded: bool,
    /// First and last number, less the segment's first, of what could not be read when the sidecar was made.
    pub(super) damaged: Vec<(u32, u32)>,
    /// The first term of each page.
    pub(super) firsts: Vec<Term>,
}

impl Directory {
    pub(super) fn encode(&self) -> Vec<u8> {
        let lists = self.damaged.len() * RANGE_BYTES + self.firsts.len() * TERM_BYTES;
        let mut out = Vec::with_capacity(DIRECTORY_FIXED_BYTES + lists + TAG_BYTES);
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.last_seq.to_le_bytes());
        out.extend_from_slice(&self.at_first.to_le_bytes());
        out.extend_from_slice(&self.at_last.to_le_bytes());
        out.push(if self.is_crowded { CROWDED } else { 0 });
        out.extend_from_slice(&u16::try_from(self.damaged.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (first, last) in &self.damaged {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
        for term in &self.firsts {
            push_term(&mut out, *term);
        }
        out
    }

    fn decode(bytes: &[u8], pages: u32) -> Option<Self> {
        let mut f = Fields(bytes);
        let (first_seq, last_seq, at_first, at_last) = (f.u64()?, f.u64()?, f.i64()?, f.i64()?);
        let [flags] = f.array()?;
        let damaged = (0..f.u16()?).map(|_| Some((f.u32()?, f.u32()?))).collect::<Option<Vec<_>>>()?;
        let mut firsts = Vec::with_capacity((pages as usize).min(bytes.len() / TERM_BYTES));
        while !f.0.is_empty() {
            firsts.push(term(&mut f)?);
        }
        let is_crowded = flags & CROWDED != 0;
        (firsts.len() == pages as usize).then_some(Self {
            first_seq,
            last_seq,
            at_first,
            at_last,
            is_crowded,
            damaged,
            firsts,
        })
    }
}

/// The keys of one sidecar, from the index key of its day.
pub(super) struct SidecarKeys {
    terms: hmac::Key,
    pages: LessSafeKey,
}

impl SidecarKeys {
    pub(super) fn new(
        index_key: &[u8; 32],
        suite: Suite,
        segment_mac: &[u8; 16],
        salt: &[u8; 32],
    ) -> Result<Self, Error> {
        let derive = |what: &[u8]| Zeroizing::new(keys::mac(index_key, &[what, salt, segment_mac]));
        let pages = UnboundKey::new(suite.algorithm(), derive(b"pages").as_slice());
        Ok(Self {
            terms: hmac::Key::new(hmac::HMAC_SHA256, derive(b"terms").as_slice()),
            pages: LessSafeKey::new(pages.map_err(|_| SEALING_FAILED)?),
        })
    }

    /// What stands for a key in this sidecar.
    pub(super) fn term(&self, key: &[u8]) -> Term {
        let tag = hmac::sign(&self.terms, key);
        term(&mut Fields(tag.as_ref())).unwrap_or_default()
    }

    /// Seals the groups of a page.
    pub(super) fn seal_page(&self, number: u32, plain: &mut Vec<u8>) -> Result<(), Error> {
        self.seal(number, plain)?;
        plain.extend_from_slice(&crc32c::crc32c(plain).to_le_bytes());
        Ok(())
    }

    pub(super) fn seal_directory(&self, plain: &mut Vec<u8>) -> Result<(), Error> {
        self.seal(DIRECTORY, plain)
    }

    fn seal(&self, number: u32, plain: &mut Vec<u8>) -> Result<(), Error> {
        self.pages.seal_in_place_append_tag(nonce(number), Aad::empty(), plain).map_err(|_| SEALING_FAILED)
    }

    /// The groups of a page; `None` where it is not what was written.
    pub(super) fn open_page<'p>(&self, number: u32, page: &'p mut [u8]) -> Option<&'p [u8]> {
        if !crc_is_right(page) {
            return None;
        }
        let sealed = page.len().checked_sub(CRC_BYTES)?;
        let plain = self.pages.open_in_place(nonce(number), Aad::empty(), page.get_mut(..sealed)?).ok()?;
        let (length, groups) = plain.split_first_chunk::<2>()?;
        groups.get(..usize::from(u16::from_le_bytes(*length)))
    }

    pub(super) fn open_directory(&self, footer: &Footer, bytes: &mut [u8]) -> Option<Directory> {
        if crc32c::crc32c(bytes) != footer.directory_crc {
            return None;
        }
        let plain = self.pages.open_in_place(nonce(DIRECTORY), Aad::empty(), bytes).ok()?;
        Directory::decode(plain, footer.pages)
    }
}

fn nonce(number: u32) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    for (to, from) in bytes.iter_mut().skip(8).zip(number.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

pub(super) fn push_term(out: &mut Vec<u8>, term: Term) {
    out.extend(term.to_be_bytes().into_iter().skip(8 - TERM_BYTES));
}

fn term(f: &mut Fields<'_>) -> Option<Term> {
    let bytes = f.array::<TERM_BYTES>()?;
    Some(bytes.iter().fold(0, |term, byte| term << 8 | u64::from(*byte)))
}

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(f: &mut Fields<'_>) -> Option<u32> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let [byte] = f.array()?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Bytes of a number as a varint.
pub(super) const fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    }
}

/// Bytes of a group's head, at most.
pub(super) const GROUP_HEAD_BYTES: usize = TERM_BYTES + 3;

/// Adds the numbers of a term in a page to `into`. `None` where the groups are not what the format says.
pub(super) fn find(groups: &[u8], wanted: Term, into: &mut Vec<u32>) -> Option<()> {
    let mut f = Fields(groups);
    while !f.0.is_empty() {
        let here = term(&mut f)?;
        if here > wanted {
            break;
        }
        let count = varint(&mut f)?;
        let mut ordinal = 0_u32;
        for n in 0..count {
            let step = varint(&mut f)?;
            ordinal = if n == 0 { step } else { ordinal.checked_add(step)? };
            if here == wanted {
                into.push(ordinal);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_that_are_no_groups_end(bytes in prop::collection::vec(any::<u8>(), 0..200), wanted: u64) {
            let mut numbers = Vec::new();
            let _ = find(&bytes, wanted >> 16, &mut numbers);
            prop_assert!(numbers.len() <= bytes.len());
        }

        #[test]
        fn a_group_is_read_as_it_was_written(
            numbers in prop::collection::btree_set(any::<u32>(), 1..50),
            wanted: u64,
        ) {
            let numbers: Vec<u32> = numbers.into_iter().collect();
            let mut out = Vec::new();
            push_term(&mut out, wanted >> 16);
            push_varint(&mut out, numbers.len() as u32);
            let mut before = 0;
            for number in &numbers {
                push_varint(&mut out, number - before);
                before = *number;
            }
            let mut read = Vec::new();
            prop_assert_eq!(find(&out, wanted >> 16, &mut read), Some(()));
            prop_assert_eq!(read, numbers);
        }
    }
}
