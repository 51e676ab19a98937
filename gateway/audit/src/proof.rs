//! Proofs: that an entry is in a tree, that a tree continues another. RFC 6962 section 2.1.1 and 2.1.2; the checks
//! are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.
//!
//! A proof is a list of hashes of subtrees. Which ones follows from two numbers alone; every one of them lies either
//! wholly before the first number, where a [`CompactRange`] has it, or behind, where it is made of leaves. So a
//! [`Prover`] needs the range and the leaves from there on, one after the other, and no tree.

use crate::{CompactRange, Hash};

/// Most hashes of one proof: two for each level of a tree of 2^63 leaves.
pub const PROOF_HASHES_MAX: usize = 126;

/// Leaves `begin..end`.
pub(crate) type Span = (u64, u64);

/// The largest power of two below `width`: where RFC 6962 divides a tree of so many leaves.
pub(crate) fn split(width: u64) -> u64 {
    width.saturating_sub(1).checked_ilog2().map_or(0, |log| 1 << log)
}

/// The subtrees of PATH(`index`, D\[`size`\]), from the leaf up.
pub(crate) fn inclusion_spans(index: u64, size: u64) -> Vec<Span> {
    let (mut begin, mut end) = (0, size);
    let mut spans = Vec::new();
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            spans.push((middle, end));
            end = middle;
        } else {
            spans.push((begin, middle));
            begin = middle;
        }
    }
    spans.reverse();
    spans
}

/// The subtrees of PROOF(`first`, D\[`second`\]).
pub(crate) fn consistency_spans(first: u64, second: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    if first == 0 || first >= second {
        return spans;
    }
    let (mut begin, mut end) = (0, second);
    while end != first {
        let middle = begin + split(end - begin);
        if first <= middle {
            spans.push((middle, end));
            end = middle;
        } else {
            spans.push((begin, middle));
            begin = middle;
        }
    }
    if begin > 0 {
        spans.push((begin, end));
    }
    spans.reverse();
    spans
}

/// Makes one proof of a compact range and the leaves behind it.
#[derive(Debug)]
pub struct Prover {
    /// Of each subtree in the proof: what is known of it.
    parts: Vec<Part>,
    at: u64,
    size: u64,
}

#[derive(Debug)]
enum Part {
    Known(Hash),
    /// Of leaves that are still to come.
    Gathering(Span, CompactRange),
    Unknown,
}

impl Prover {
    /// That a tree of `size` leaves continues the one that `range` stands for.
    pub fn consistency(range: &CompactRange, size: u64) -> Self {
        Self::new(consistency_spans(range.size(), size), range, size)
    }

    /// That the leaf behind `range` is in a tree of `size` leaves.
    pub fn inclusion(range: &CompactRange, size: u64) -> Self {
        let spans = if range.size() < size { inclusion_spans(range.size(), size) } else { Vec::new() };
        Self::new(spans, range, size)
    }

    fn new(spans: Vec<Span>, range: &CompactRange, size: u64) -> Self {
        let part = |(begin, end): Span| {
            if begin >= range.size() {
                Part::Gathering((begin, end), CompactRange::default())
            } else {
                range.peak(begin, end).map_or(Part::Unknown, Part::Known)
            }
        };
        Self { parts: spans.into_iter().map(part).collect(), at: range.size(), size }
    }

    /// Whether the leaves that were given are enough.
    pub const fn is_complete(&self) -> bool {
        self.at >= self.size
    }

    /// The next leaf, the one behind the range first. Leaves beyond the tree are of no account.
    pub fn push(&mut self, leaf: Hash) {
        for part in &mut self.parts {
            if let Part::Gathering((begin, end), gathered) = part
                && (*begin..*end).contains(&self.at)
            {
                gathered.push(leaf);
            }
        }
        self.at = self.at.saturating_add(1);
    }

    /// The proof; `None` before it is complete.
    pub fn finish(self) -> Option<Vec<Hash>> {
        if !self.is_complete() {
            return None;
        }
        self.parts
            .into_iter()
            .map(|part| match part {
                Part::Known(hash) => Some(hash),
                Part::Gathering(_, gathered) => Some(gathered.root()),
                Part::Unknown => None,
            })
            .collect()
    }
}

/// Whether the leaf with this hash is number `index` (from 0) in the tree of `size` leaves with this root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = Hash::node(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = Hash::node(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether the tree of `second` leaves begins with the tree of `first` leaves. Everything continues nothing.
pub fn verify_consistency(
    first: u64,
    second: u64,
    proof: &[Hash],
    first_root: &Hash,
    second_root: &Hash,
) -> bool {
    if first > second {
        return false;
    }
    if first == second {
        return proof.is_empty() && first_root == second_root;
    }
    if first == 0 {
        return proof.is_empty() && *first_root == Hash::empty();
    }
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // Of a full tree the proof need not begin with its root: whoever checks has it.
    let mut hashes = first.is_power_of_two().then_some(first_root).into_iter().chain(proof);
    let Some(seed) = hashes.next() else { return false };
    let (mut old, mut new) = (*seed, *seed);
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = Hash::node(hash, &old);
            new = Hash::node(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = Hash::node(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == *first_root && new == *second_root
}

#[cfg(test)]
mod tests;
