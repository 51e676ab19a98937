//! A tree whose leaves are at hand, from some number on: for looking at a whole log.

use std::collections::HashMap;

use crate::proof::{Span, consistency_spans, inclusion_spans, split};
use crate::{CompactRange, Hash};

/// The leaves of a log from `base.size()` on; what came before is as good as its range. 100 bytes a leaf at most.
#[derive(Debug, Default)]
pub struct Tree {
    base: CompactRange,
    leaves: Vec<Hash>,
    /// Subtrees that were asked for.
    nodes: HashMap<Span, Hash>,
}

impl Tree {
    /// A tree of which the leaves before `base.size()` are not at hand.
    pub fn new(base: CompactRange) -> Self {
        Self { base, ..Self::default() }
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.leaves.push(leaf);
    }

    /// How many leaves there are in all.
    pub fn size(&self) -> u64 {
        self.base.size() + self.leaves.len() as u64
    }

    /// The root of the tree as it was at some size; `None` where that was before the first leaf at hand, or never.
    pub fn root_at(&mut self, size: u64) -> Option<Hash> {
        match size {
            size if size == self.base.size() => Some(self.base.root()),
            size if size > self.base.size() && size <= self.size() => self.node((0, size)),
            _ => None,
        }
    }

    /// That leaf `index` is in the tree of `size` leaves.
    pub fn inclusion(&mut self, index: u64, size: u64) -> Option<Vec<Hash>> {
        if index < self.base.size() || index >= size || size > self.size() {
            return None;
        }
        inclusion_spans(index, size).into_iter().map(|span| self.node(span)).collect()
    }

    /// That the tree of `second` leaves continues that of `first`.
    pub fn consistency(&mut self, first: u64, second: u64) -> Option<Vec<Hash>> {
        if first < self.base.size() || first > second || second > self.size() {
            return None;
        }
        consistency_spans(first, second).into_iter().map(|span| self.node(span)).collect()
    }

    /// As deep as a tree is high: 64 at most.
    fn node(&mut self, (begin, end): Span) -> Option<Hash> {
        if let Some(known) = self.nodes.get(&(begin, end)) {
            return Some(*known);
        }
        let hash = if end <= self.base.size() {
            self.base.peak(begin, end)?
        } else if end - begin == 1 {
            let place = usize::try_from(begin.checked_sub(self.base.size())?).ok()?;
            return self.leaves.get(place).copied();
        } else {
            let middle = begin + split(end - begin);
            Hash::node(&self.node((begin, middle))?, &self.node((middle, end))?)
        };
        self.nodes.insert((begin, end), hash);
        Some(hash)
    }
}
