//! What a word is: name, English word, word of the clinic. See `third_party/words`, `data/clinic.txt` (drugs, eponyms,
//! abbreviations, and what else is written with a capital and is no person) and `data/grammar.txt` (never part of a
//! name). `build.rs` packs the three; they are unpacked at the first question.

use std::sync::LazyLock;

use super::kinds::GRAMMAR;
pub(super) use super::kinds::{GIVEN, SURNAME, WORD};

/// Most letters before the apostrophe of `couldn't` and its like.
const CONTRACTED_LETTERS_MAX: usize = 6;

pub(super) const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/words.zst"));
/// Most that the lists may unpack to.
const UNPACKED_MAX: usize = 4 << 20;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::unpack(PACKED));

/// What a word in lower case is; 0 where no list has it.
pub(super) fn kinds(word: &str) -> u8 {
    // `don't`, `you're`: what stands before the apostrophe, if what follows is a verb.
    if let Some((head, "m" | "re" | "ll" | "ve" | "d" | "t" | "mon")) = word.split_once('\'')
        && head.len() <= CONTRACTED_LETTERS_MAX
    {
        return WORD;
    }
    TABLE.find(word) & !GRAMMAR
}

/// Whether a word in lower case is one of grammar.
pub(super) fn is_grammar(word: &str) -> bool {
    TABLE.find(word) & GRAMMAR != 0
}

/// The words by hash: open addressing, at most half full.
#[derive(Default)]
struct Table {
    /// Of each word its kinds, its length and its bytes. The first byte belongs to none, so that 0 is no position.
    words: Vec<u8>,
    /// Positions in `words`; 0 is empty. A power of two of them.
    slots: Vec<u32>,
}

impl Table {
    /// Of what the build script packed; empty where that is not what it should be, which a test would tell.
    fn unpack(packed: &[u8]) -> Self {
        let raw = zstd::bulk::decompress(packed, UNPACKED_MAX).unwrap_or_default();
        Self::read(&raw).unwrap_or_default()
    }

    fn read(mut raw: &[u8]) -> Option<Self> {
        let (mut words, mut positions) = (vec![0_u8], Vec::new());
        let mut word = Vec::new();
        while let [head, len, rest @ ..] = raw {
            let (new, rest) = rest.split_at_checked(usize::from(*len))?;
            word.truncate(usize::from(head >> 4));
            word.extend_from_slice(new);
            positions.push(u32::try_from(words.len()).ok()?);
            words.extend([head & 0xF, u8::try_from(word.len()).ok()?]);
            words.extend_from_slice(&word);
            raw = rest;
        }
        let mut table = Self { words, slots: vec![0; (positions.len() * 2).next_power_of_two()] };
        for position in positions {
            let (word, _) = table.entry(position)?;
            let free = table.probe(word).find(|slot| table.slots.get(*slot) == Some(&0))?;
            *table.slots.get_mut(free)? = position;
        }
        Some(table)
    }

    fn entry(&self, position: u32) -> Option<(&[u8], u8)> {
        match self.words.get(usize::try_from(position).ok()?..)? {
            [kinds, len, rest @ ..] => Some((rest.get(..usize::from(*len))?, *kinds)),
            _ => None,
        }
    }

    /// The slots where a word may stand, in order.
    fn probe(&self, word: &[u8]) -> impl Iterator<Item = usize> + use<> {
        // FNV-1a: the lists are our own, so nobody can choose words that collide.
        let hash = word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let (start, count) = (usize::try_from(hash >> 32).unwrap_or(0), self.slots.len());
        (0..count).map(move |step| (start + step) & (count - 1))
    }

    fn find(&self, word: &str) -> u8 {
        let slots = self.probe(word.as_bytes()).map_while(|slot| self.slots.get(slot));
        slots
            .take_while(|position| **position != 0)
            .filter_map(|position| self.entry(*position))
            .find_map(|(entry, kinds)| (entry == word.as_bytes()).then_some(kinds))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found() {
        for line in include_str!("../../../../third_party/words/words.txt").lines() {
            let (word, digit) = line.split_once(' ').unwrap();
            let listed = digit.parse::<u8>().unwrap();
            assert!(kinds(word) & listed == listed && kinds(word) & !WORD == listed & !WORD, "{line}");
        }
        assert!(include_str!("../../data/clinic.txt").lines().all(|word| kinds(word) & WORD != 0));
        for list in [include_str!("../../data/clinic.txt"), include_str!("../../data/grammar.txt")] {
            assert!(
                list.lines().is_sorted(),
                "{:?}",
                list.lines().zip(list.lines().skip(1)).find(|(a, b)| a > b)
            );
        }
        assert!(include_str!("../../data/grammar.txt").lines().all(is_grammar));
        assert_eq!(kinds("john") & (GIVEN | WORD), GIVEN | WORD);
        assert_eq!(kinds("metformin"), WORD);
        assert_eq!((kinds("zzzz"), kinds("")), (0, 0));
        assert!(!is_grammar("metformin"));
    }

    #[test]
    fn a_spoiled_table_is_empty() {
        let cut = PACKED.get(..PACKED.len() / 2).unwrap();
        assert_eq!(Table::unpack(cut).find("john"), 0);
        assert!(Table::read(&[0, 9, b'a']).is_none());
    }
}
