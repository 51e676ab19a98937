//! Surrogates: what a text says in the place of a name, so that it still reads as one.
//!
//! | category | surrogate |
//! |---|---|
//! | name | word for word a given name or a surname, in the case in which the word is written; of an initial another letter |
//! | location, facility, address | a made-up town, facility, number and street |
//! | every other | none: its tag. A made-up number may be somebody's |
//!
//! A surrogate is drawn by the destination's key from the word and the patient: the same word of the same patient's records is the same
//! surrogate at one destination, and another one at the next. It is derived from the person's data, and so never allowed under `safe-harbor`
//! (45 CFR 164.514(c)).
//!
//! **Never** is it the word itself, nor a word of a name or an address that the record knows: then the next of the list is drawn, and where
//! [`DRAWS_MAX`] are none, the place becomes its tag. A nickname has a surrogate of its own.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::words::{self, GIVEN, SURNAME};
use super::{Category, Known, Span};
use crate::token::TokenKey;

/// Most words that are drawn for a place.
const DRAWS_MAX: usize = 16;
/// Part of the hash of a policy that replaces by surrogates.
pub(super) const SOURCE: &str = include_str!("../../data/surrogates.txt");
/// House numbers are below.
const HOUSES: u64 = 990;

/// The lists by kind.
static LISTS: LazyLock<[Vec<String>; 5]> = LazyLock::new(|| {
    ["given", "surname", "town", "street", "facility"].map(|kind| {
        let lines = SOURCE.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
        lines.flat_map(|line| line.split(' ')).map(|word| word.replace('_', " ")).collect()
    })
});

/// What stands in the place of what was found in a record.
#[derive(Debug)]
pub(crate) struct Replacements<'r> {
    known: &'r Known,
    /// The destination's key and the patient; none where tags are written.
    key: Option<(&'r TokenKey, Vec<u8>)>,
}

impl<'r> Replacements<'r> {
    /// Tags, or surrogates under this key for the records of this patient.
    pub(crate) const fn new(known: &'r Known, key: Option<(&'r TokenKey, Vec<u8>)>) -> Self {
        Self { known, key }
    }

    /// A text with these places replaced.
    pub(crate) fn in_text(&self, text: &str, spans: &[Span]) -> String {
        let written = |span: &Span| text.get(span.range.clone()).unwrap_or_default();
        super::replaced(text, spans.iter().map(|span| (span, self.of(span, written(span)))))
    }

    /// For a place, of which this is written.
    pub(crate) fn of(&self, span: &Span, written: &str) -> Cow<'static, str> {
        let surrogate = self.key.as_ref().and_then(|(key, patient)| {
            Draw { key, patient, known: self.known }.surrogate(span.category, written)
        });
        surrogate.map_or(Cow::Borrowed(span.category.tag()), Cow::Owned)
    }
}

struct Draw<'d> {
    key: &'d TokenKey,
    patient: &'d [u8],
    known: &'d Known,
}

impl Draw<'_> {
    fn surrogate(&self, category: Category, written: &str) -> Option<String> {
        let [given, surname, town, street, facility] = &*LISTS;
        match category {
            Category::Name => {
                let mut out = String::with_capacity(written.len() + 8);
                let mut word = String::new();
                // The last word has an end too.
                for c in written.chars().chain(['\0']) {
                    if c.is_alphanumeric() || matches!(c, '\'' | '\u{2019}') {
                        word.push(c);
                        continue;
                    }
                    if !word.is_empty() {
                        let kinds = words::kinds(&word.to_lowercase());
                        let list = if kinds & GIVEN != 0 && kinds & SURNAME == 0 { given } else { surname };
                        out.push_str(&self.name(&std::mem::take(&mut word), list)?);
                    }
                    if c != '\0' {
                        // Only what stands between the words of a name.
                        out.push(if matches!(c, ' ' | ',' | '.' | '-' | '\n') { c } else { ' ' });
                    }
                }
                Some(out)
            }
            Category::Location => self.drawn(b"location", written, town),
            Category::Facility => self.drawn(b"facility", written, facility),
            Category::Address => {
                let house = 1 + self.number(b"house", written) % HOUSES;
                Some(format!("{house} {} St", self.drawn(b"street", written, street)?))
            }
            _ => None,
        }
    }

    /// In the case of the word.
    fn name(&self, word: &str, list: &[String]) -> Option<String> {
        let mut letters = word.chars().filter(|c| c.is_alphabetic());
        let (first, second) = (letters.next(), letters.next());
        if word.chars().count() == 1 {
            // Another letter of the alphabet.
            let own = first.map_or(0, |c| u64::from(u32::from(c.to_ascii_uppercase())).wrapping_sub(65) % 26);
            let other = (own + 1 + self.number(b"initial", word) % 25) % 26;
            return Some(char::from(b'A' + u8::try_from(other).ok()?).to_string());
        }
        let drawn = self.drawn(b"name", word, list)?;
        Some(match (first, second) {
            (Some(first), Some(second)) if first.is_uppercase() && second.is_uppercase() => {
                drawn.to_uppercase()
            }
            (Some(first), _) if first.is_lowercase() => drawn.to_lowercase(),
            _ => drawn,
        })
    }

    /// One of a list that is not what is written, and nothing that the record knows.
    fn drawn(&self, kind: &[u8], written: &str, list: &[String]) -> Option<String> {
        let first = usize::try_from(self.number(kind, written) % (list.len().max(1) as u64)).ok()?;
        let fits = |candidate: &&String| {
            let mut words = candidate.split(' ');
            !words.any(|word| {
                self.known.holds(&word.to_lowercase())
                    || written.to_lowercase().contains(&word.to_lowercase())
            })
        };
        list.iter().cycle().skip(first).take(DRAWS_MAX.min(list.len())).find(fits).cloned()
    }

    fn number(&self, kind: &[u8], written: &str) -> u64 {
        let canonical = written.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let kind = [b"surrogate ", kind].concat();
        let token = self.key.token(canonical.as_bytes(), self.patient, &kind);
        // Five bits a character; the last of a token has fewer.
        let digit =
            |b: &u8| u64::from(if b.is_ascii_digit() { b - b'2' + 26 } else { b.wrapping_sub(b'A') } & 31);
        token.iter().rev().skip(1).take(12).fold(0, |number, b| number << 5 | digit(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: u8, patient: &str, category: Category, written: &str) -> String {
        let (key, known) = (TokenKey::new([key; 32], 1), Known::default());
        let span = Span { range: 0..written.len(), category, rule: "", confidence: 1.0 };
        Replacements::new(&known, Some((&key, patient.as_bytes().to_vec()))).of(&span, written).into_owned()
    }

    #[test]
    fn a_name_has_one_surrogate_per_patient_and_destination() {
        let name = |key, patient, written| of(key, patient, Category::Name, written);
        let quorvane = name(1, "a", "Quorvane");
        assert_eq!(name(1, "a", "QUORVANE"), quorvane.to_uppercase());
        assert_eq!(name(1, "a", "quorvane"), quorvane.to_lowercase());
        assert_eq!(name(1, "a", "Quorvane, W."), format!("{quorvane}, {}", name(1, "a", "W.")));
        let others = ["b", "c", "d", "e"].map(|patient| name(1, patient, "Quorvane"));
        assert!(others.iter().any(|other| *other != quorvane), "{others:?}");
        let others = [2, 3, 4, 5].map(|key| name(key, "a", "Quorvane"));
        assert!(others.iter().any(|other| *other != quorvane), "{others:?}");
    }

    #[test]
    fn a_surrogate_is_never_what_was_written() {
        for list in &*LISTS {
            assert!(list.len() >= DRAWS_MAX, "{}", list.len());
        }
        let [given, surname, town, _, facility] = &*LISTS;
        for (category, list) in [
            (Category::Name, given),
            (Category::Name, surname),
            (Category::Location, town),
            (Category::Facility, facility),
        ] {
            for word in list {
                for key in 0..8 {
                    let surrogate = of(key, "a", category, word);
                    assert!(!surrogate.eq_ignore_ascii_case(word), "{word}");
                    assert!(!surrogate.contains('['), "{surrogate}");
                }
            }
        }
        for letter in 'A'..='Z' {
            assert_ne!(of(1, "a", Category::Name, &letter.to_string()), letter.to_string());
        }
        for category in
            [Category::Id, Category::Phone, Category::Ssn, Category::Date, Category::Email, Category::Age]
        {
            assert_eq!(of(1, "a", category, "12345"), category.tag());
        }
    }

    #[test]
    fn a_surrogate_is_nobody_whom_the_record_knows() {
        let [_, surname, ..] = &*LISTS;
        let mut known = Known::default();
        surname.iter().step_by(2).for_each(|name| known.name(name));
        let key = TokenKey::new([1; 32], 1);
        let span = Span { range: 0..8, category: Category::Name, rule: "", confidence: 1.0 };
        for n in 0..100 {
            let written = format!("Quorvane{}", char::from(b'a' + n % 26));
            let of = Replacements::new(&known, Some((&key, vec![n]))).of(&span, &written);
            assert!(!known.holds(&of.to_lowercase()), "{of}");
        }
    }
}
