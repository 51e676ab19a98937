//! Words and numbers of a plain text, and what stands between them.

use std::ops::Range;

use super::lexicon::{self, Class};
use super::normal::Normal;
use super::words;

/// A line of so many bytes that ends without a full stop goes on in the next: the text is wrapped.
const WRAPPED_BYTES_MIN: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    /// Letters and digits.
    Mixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Lower,
    /// The first letter is a capital, and not all are.
    Capital,
    Upper,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) case: Case,
    pub(super) digits: usize,
    /// What [`words::kinds`] says of it.
    pub(super) kinds: u8,
    /// What [`lexicon::classes`] says of it.
    pub(super) classes: Class,
    /// Never part of a name.
    pub(super) grammar: bool,
}

/// A text cut into tokens.
#[derive(Debug)]
pub(super) struct Tokens<'n> {
    normal: &'n Normal,
    list: Vec<Token>,
    /// The text is in capitals throughout, or has none: then case tells nothing.
    pub(super) caseless: bool,
}

impl<'n> Tokens<'n> {
    pub(super) fn of(normal: &'n Normal) -> Self {
        let text = normal.text().as_bytes();
        let mut list = Vec::with_capacity(text.len() / 5);
        let (mut upper, mut lower, mut capital) = (0_usize, 0_usize, 0_usize);
        let mut at = 0;
        while let Some(first) = text.get(at) {
            if !belongs(*first) {
                at += 1;
                continue;
            }
            let start = at;
            let (mut digits, mut capitals, mut letters) = (0, 0, 0);
            while let Some(byte) = text.get(at) {
                if byte.is_ascii_digit() {
                    digits += 1;
                } else if byte.is_ascii_uppercase() {
                    capitals += 1;
                    letters += 1;
                } else if belongs(*byte) {
                    letters += 1;
                } else if *byte != b'\''
                    || !text.get(at + 1).is_some_and(u8::is_ascii_alphabetic)
                    || letters == 0
                {
                    break;
                }
                at += 1;
            }
            // A possessive is not part of the name.
            let mut end = at;
            let tail = end.checked_sub(2).and_then(|from| text.get(from..end));
            if matches!(tail, Some(b"'s" | b"'S")) && end > start + 2 {
                end -= 2;
            }
            let kind = match (digits, letters) {
                (0, _) => Kind::Word,
                (_, 0) => Kind::Number,
                _ => Kind::Mixed,
            };
            let case = if capitals > 1 && capitals == letters || capitals == 1 && end - start == 1 {
                Case::Upper
            } else if first.is_ascii_uppercase() || !first.is_ascii() {
                Case::Capital
            } else {
                Case::Lower
            };
            if kind == Kind::Word && end - start > 1 {
                match case {
                    Case::Upper => upper += 1,
                    Case::Lower => lower += 1,
                    Case::Capital => capital += 1,
                }
            }
            let word = normal.lower().get(start..end).unwrap_or_default();
            let is_word = kind == Kind::Word;
            let kinds = if is_word { words::kinds(word) } else { 0 };
            let classes = if is_word { lexicon::classes(word) } else { 0 };
            let grammar = is_word && words::is_grammar(word);
            list.push(Token { start, end, kind, case, digits, kinds, classes, grammar });
        }
        let caseless = upper > 3 * (lower + capital) || upper + capital == 0;
        Self { normal, list, caseless }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn get(&self, n: usize) -> Option<Token> {
        self.list.get(n).copied()
    }

    pub(super) fn before(&self, n: usize) -> Option<Token> {
        self.get(n.checked_sub(1)?)
    }

    /// In lower case; empty where there is none.
    pub(super) fn word(&self, n: usize) -> &'n str {
        self.get(n).and_then(|t| self.normal.lower().get(t.start..t.end)).unwrap_or_default()
    }

    pub(super) fn word_before(&self, n: usize) -> &'n str {
        n.checked_sub(1).map_or("", |n| self.word(n))
    }

    /// As it is written.
    pub(super) fn written(&self, n: usize) -> &'n [u8] {
        self.get(n).and_then(|t| self.normal.text().as_bytes().get(t.start..t.end)).unwrap_or_default()
    }

    /// The stretch without blanks that a token stands in, up to so many bytes to either side; and whether other letters or
    /// digits stand before it there.
    pub(super) fn chunk(&self, n: usize, bytes_max: usize) -> (&'n [u8], bool) {
        let text = self.normal.text().as_bytes();
        let Some(token) = self.get(n) else { return (&[], false) };
        let (mut start, mut end) = (token.start, token.end);
        while start > 0
            && token.start - start < bytes_max
            && text.get(start - 1).is_some_and(|b| !b.is_ascii_whitespace())
        {
            start -= 1;
        }
        while end - token.end < bytes_max && text.get(end).is_some_and(|b| !b.is_ascii_whitespace()) {
            end += 1;
        }
        let inside = text.get(start..token.start).unwrap_or_default().iter().any(|b| belongs(*b));
        (text.get(start..end).unwrap_or_default(), inside)
    }

    /// The first token that ends behind a place of the text.
    pub(super) fn at(&self, place: usize) -> usize {
        self.list.partition_point(|token| token.end <= place)
    }

    /// Whether a token is of one of these classes.
    pub(super) fn is(&self, n: usize, classes: Class) -> bool {
        self.get(n).is_some_and(|t| t.classes & classes != 0)
    }

    pub(super) fn is_before(&self, n: usize, classes: Class) -> bool {
        self.before(n).is_some_and(|t| t.classes & classes != 0)
    }

    /// What stands between this token and the next; empty at the end. The end of a line that was wrapped is a blank.
    pub(super) fn gap(&self, n: usize) -> &'n str {
        let (Some(this), Some(next)) = (self.get(n), self.get(n + 1)) else { return "" };
        let gap = self.normal.lower().get(this.end..next.start).unwrap_or_default();
        if !gap.ends_with('\n') || gap.len() > 3 {
            return gap;
        }
        let line = this.end.checked_sub(WRAPPED_BYTES_MIN).and_then(|from| {
            let line = self.normal.lower().as_bytes().get(from..this.end)?;
            (!line.contains(&b'\n')).then_some(())
        });
        match gap {
            "\n" if line.is_some() => " ",
            ",\n" if line.is_some() => ", ",
            ")\n" if line.is_some() => ") ",
            ".\n" if line.is_some() && this.end - this.start <= 3 => ". ",
            gap => gap,
        }
    }

    /// What stands before this token, all of it at the start.
    pub(super) fn gap_before(&self, n: usize) -> &'n str {
        match n.checked_sub(1) {
            Some(before) => self.gap(before),
            None => self.normal.lower().get(..self.get(n).map_or(0, |t| t.start)).unwrap_or_default(),
        }
    }

    /// A number of at most nine digits.
    pub(super) fn number(&self, n: usize) -> Option<u32> {
        let token = self.get(n)?;
        (token.kind == Kind::Number && token.digits <= 9).then(|| self.word(n).parse().ok())?
    }

    /// Whether a sentence or a line may begin here.
    pub(super) fn begins(&self, n: usize) -> bool {
        let gap = self.gap_before(n);
        n == 0
            || gap.contains(['.', '\n', '\r', ':', '?', '!', ';', '*', '"', '[', '(', '|', '-', '\u{2022}'])
    }

    pub(super) fn range(&self, tokens: Range<usize>) -> Range<usize> {
        let start = self.get(tokens.start).map_or(0, |t| t.start);
        let end = tokens.end.checked_sub(1).and_then(|n| self.get(n)).map_or(start, |t| t.end);
        start..end.max(start)
    }
}

const fn belongs(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}
