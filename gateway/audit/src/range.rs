//! All that a growing tree has to remember.

use crate::Hash;
use crate::hash::HASH_BYTES;

/// The leaves `0..size` of a tree as the hashes of their largest full subtrees, from left to right: one for each bit
/// that is set in `size`, so at most 64, whatever the log's length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// From its parts; `None` where they cannot belong together.
    pub fn new(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves it stands for.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, of the largest subtree first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // As many full subtrees are joined as there are ones at the end of the size: a carry.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = Hash::node(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root: MTH(D\[size\]) of RFC 6962.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Hash::empty() };
        peaks.fold(*last, |right, left| Hash::node(left, &right))
    }

    /// The subtree over the leaves `begin..end`, where that is one of those it keeps.
    pub fn peak(&self, begin: u64, end: u64) -> Option<Hash> {
        let mut at = 0;
        let mut left = self.size;
        for peak in &self.peaks {
            let width = 1_u64.checked_shl(left.checked_ilog2()?)?;
            if (at, at + width) == (begin, end) {
                return Some(*peak);
            }
            at += width;
            left -= width;
        }
        None
    }

    /// The hashes in a row.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|peak| peak.0).collect()
    }

    /// From [`CompactRange::to_bytes`].
    pub fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let chunks = bytes.chunks_exact(HASH_BYTES);
        if !chunks.remainder().is_empty() {
            return None;
        }
        Self::new(size, chunks.filter_map(Hash::from_slice).collect())
    }
}
