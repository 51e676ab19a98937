//! What a word is: name, English word, word of the clinic. See `third_party/words`.

/// A given name.
pub(super) const GIVEN: u8 = 1;
/// A surname.
pub(super) const SURNAME: u8 = 2;
/// A word of English or of the clinic.
pub(super) const WORD: u8 = 4;

/// Most letters before the apostrophe of `couldn't` and its like.
const CONTRACTED_LETTERS_MAX: usize = 6;

/// Sorted lines of a word, a blank and a digit.
const TABLE: &str = include_str!("../../../../third_party/words/words.txt");
/// Words of the clinic that the English list lacks: drugs, eponyms, abbreviations; and what else is written with a
/// capital and is no person. Sorted.
const CLINIC: &str = include_str!("../../data/clinic.txt");
/// Words that are never part of a name, however they are written. Sorted.
const GRAMMAR: &str = include_str!("../../data/grammar.txt");

/// What a word in lower case is; 0 where no list has it.
pub(super) fn kinds(word: &str) -> u8 {
    // `don't`, `you're`: what stands before the apostrophe, if what follows is a verb.
    if let Some((head, "m" | "re" | "ll" | "ve" | "d" | "t" | "mon")) = word.split_once('\'')
        && head.len() <= CONTRACTED_LETTERS_MAX
    {
        return WORD;
    }
    let listed = find(TABLE, word).and_then(|rest| rest.as_bytes().get(1)).map_or(0, |digit| digit & 7);
    if listed & WORD == 0 && find(CLINIC, word).is_some() { listed | WORD } else { listed }
}

/// Whether a word in lower case is one of grammar.
pub(super) fn is_grammar(word: &str) -> bool {
    find(GRAMMAR, word).is_some()
}

/// What follows the word in its line.
fn find<'t>(table: &'t str, word: &str) -> Option<&'t str> {
    let bytes = table.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = bytes.get(low..middle)?;
        let start = memchr::memrchr(b'\n', before).map_or(low, |at| low + at + 1);
        let end = memchr::memchr(b'\n', bytes.get(middle..)?).map_or(bytes.len(), |at| middle + at);
        let line = table.get(start..end)?;
        let entry = line.split(' ').next()?;
        match entry.cmp(word) {
            std::cmp::Ordering::Equal => return line.get(entry.len()..),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found() {
        for table in [TABLE, CLINIC, GRAMMAR] {
            let words = || table.lines().map(|line| line.split(' ').next().unwrap());
            assert!(words().is_sorted(), "{:?}", words().zip(words().skip(1)).find(|(a, b)| a > b));
            assert!(words().all(|word| find(table, word).is_some()));
        }
        assert_eq!(kinds("john") & (GIVEN | WORD), GIVEN | WORD);
        assert_eq!(kinds("metformin"), WORD);
        assert_eq!((kinds("zzzz"), kinds("")), (0, 0));
    }
}
