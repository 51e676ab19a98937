//! Names and places where case tells nothing, or where a name is written small.

use super::{Finder, UNKNOWN_LETTERS_MIN, is_derived};
use crate::text::Category;
use crate::text::lexicon::{
    CLINIC, CODE_CUE, DEGREE, DIRECTION, FACILITY, FACILITY_PART, KIN, PERSON_VERB, PLACE, PLACE_CUE,
    PLACE_PART, SUFFIX, TITLE, UNIT,
};
use crate::text::tokens::{Case, Kind};
use crate::text::words::{self, GIVEN, SURNAME, WORD};

impl Finder<'_, '_> {
    /// Words in small letters among others: a listed name that is no word of English, two of them, or one after a cue.
    pub(super) fn small(&mut self, n: usize) -> usize {
        let Some(token) = self.tokens.get(n) else { return n };
        // `grace kowalczyk`, `maria stone`: one of the two is a word of English.
        let plain = |m: usize| {
            self.tokens.get(m).is_some_and(|t| {
                t.kind == Kind::Word
                    && t.case == Case::Lower
                    && !t.grammar
                    && t.classes == 0
                    && t.end - t.start > 2
            })
        };
        if token.kinds & GIVEN != 0
            && plain(n)
            && plain(n + 1)
            && self.tokens.gap(n) == " "
            && self.kinds(n + 1) & SURNAME != 0
            && token.kinds & self.kinds(n + 1) & WORD == 0
        {
            return self.mark(n..n + 2, Category::Name, "small-names", 0.6);
        }
        if token.kinds & WORD != 0 || !self.is_small_name(n) {
            return n;
        }
        let next = matches!(self.tokens.gap(n), " " | "-")
            && self.is_small_name(n + 1)
            && self.case(n + 1) == Case::Lower;
        let listed = |m: usize| self.kinds(m) & (GIVEN | SURNAME) != 0;
        if next && (listed(n) || listed(n + 1)) {
            return self.mark(n..n + 2, Category::Name, "small-names", 0.6);
        }
        let cue = self.tokens.is_before(n, TITLE | KIN) && matches!(self.tokens.gap_before(n), " " | ". ");
        let both = token.kinds & (GIVEN | SURNAME) == GIVEN | SURNAME && token.end - token.start > 3;
        if both || cue && listed(n) {
            // `maria brown`: a word of English may be the family name.
            let family = matches!(self.tokens.gap(n), " ")
                && self.kinds(n + 1) & SURNAME != 0
                && cue
                && !self.tokens.get(n + 1).is_some_and(|t| t.grammar || t.classes != 0);
            return self.mark(n..if family { n + 2 } else { n + 1 }, Category::Name, "small-name", 0.5);
        }
        n
    }

    fn is_small_name(&self, n: usize) -> bool {
        self.tokens.get(n).is_some_and(|t| {
            t.kind == Kind::Word && t.kinds & WORD == 0 && !t.grammar && t.classes == 0 && t.end - t.start > 2
        }) && !is_derived(self.tokens.word(n))
    }

    /// `J0hn`, as a machine reads it from paper.
    pub(super) fn misread(&mut self, start: usize, end: usize) {
        for m in start..end {
            if !self.tokens.get(m).is_some_and(|t| t.kind == Kind::Mixed && t.end - t.start > 3) {
                continue;
            }
            let read =
                self.tokens.word(m).replace('0', "o").replace('5', "s").replace('3', "e").replace('4', "a");
            let either = [read.replace('1', "i"), read.replace('1', "l")];
            if either.iter().any(|w| words::kinds(w) & (GIVEN | SURNAME) != 0) {
                self.mark(m..m + 1, Category::Name, "misread-name", 0.7);
            }
        }
    }

    /// Where case tells nothing: by the lists, and what no list has.
    pub(super) fn caseless(&mut self, n: usize) -> usize {
        let end = self.name_end(n, false).max(n + 1);
        for m in n..end {
            let pair = m + 1 < end
                && self.kinds(m) & GIVEN != 0
                && (self.kinds(m + 1) & WORD == 0
                    || self.kinds(m) & WORD == 0 && self.kinds(m + 1) & SURNAME != 0);
            if pair && !self.is_plain(m) && !self.is_eponym(m + 1) {
                self.mark(m..m + 2, Category::Name, "given-and-surname", 0.9);
            } else if self.is_strong_caseless(m) && !self.is_eponym(m) {
                let last = (m + 1..m + 4)
                    .take_while(|k| {
                        self.tokens.is(*k, FACILITY | FACILITY_PART | PLACE_PART)
                            && self.tokens.get(*k).is_none_or(|t| t.end - t.start >= 4)
                            && self.tokens.gap_before(*k) == " "
                    })
                    .last();
                self.mark(m..last.unwrap_or(m) + 1, Category::Name, "unlisted-word", 0.5);
            } else if self.kinds(m) & (GIVEN | SURNAME) != 0
                && !self.is_plain(m)
                && self.tokens.begins(m)
                && self.tokens.gap(m) == " "
                && self.tokens.is(m + 1, PERSON_VERB)
                && (self.is_spoken(m) || matches!(self.tokens.word(m + 1), "has" | "had" | "was"))
                && self.length(m) > 3
            {
                self.mark(m..m + 1, Category::Name, "speaker", 0.5);
            }
            if self.kinds(m) & WORD == 0
                && matches!(self.length(m), 2 | 3)
                && self.tokens.get(m).is_some_and(|t| t.classes == 0 && !t.grammar)
                && self.tokens.begins(m)
                && self.tokens.is(m + 1, PERSON_VERB)
                && self.is_spoken(m)
            {
                self.mark(m..m + 1, Category::Name, "initials", 0.5);
            }
            // `JR.`, `S.`
            let marked = self
                .out
                .last()
                .is_some_and(|span| self.tokens.get(m).is_some_and(|t| t.end == span.range.end));
            if marked
                && (self.tokens.is(m + 1, SUFFIX) || self.is_initial(m + 1))
                && matches!(self.tokens.gap(m), " " | ", ")
            {
                self.mark(m + 1..m + 2, Category::Name, "suffix", 0.9);
            }
        }
        end
    }

    /// `carter memorial hospital`, `in fort collins`, `to mobile`.
    pub(super) fn caseless_place(&mut self, n: usize) -> Option<usize> {
        let word = |m: usize| {
            self.tokens.get(m).is_some_and(|t| {
                t.kind == Kind::Word && (!t.grammar || t.classes & (FACILITY | FACILITY_PART) != 0)
            })
        };
        let blank = |m: usize| matches!(self.tokens.gap_before(m), " " | "'s " | ". ");
        if word(n) && !self.tokens.is(n, FACILITY | CLINIC | TITLE) {
            let last = (n + 1..n + 5)
                .take_while(|m| word(*m) && blank(*m))
                .filter(|m| {
                    self.tokens.is(*m, FACILITY)
                        && (self.tokens.is(m - 1, FACILITY_PART | PLACE) && *m > n + 1
                            || self.kinds(n) & (WORD | SURNAME) != WORD && !self.tokens.is(n, FACILITY_PART))
                })
                .last();
            if let Some(last) = last {
                return Some(self.mark(n..last + 1, Category::Facility, "facility", 0.6));
            }
        }
        // `university of tulsa health center`
        let of = (n + 1..n + 3).find(|m| self.tokens.word(*m) == "of");
        if let Some(of) = of
            && (n..of).any(|m| self.tokens.is(m, FACILITY))
            && (n..of).all(|m| self.tokens.is(m, FACILITY | FACILITY_PART))
            && self
                .tokens
                .get(of + 1)
                .is_some_and(|t| t.kind == Kind::Word && !t.grammar && t.classes & CLINIC == 0)
        {
            let end = (of + 2..of + 5)
                .find(|m| !self.tokens.is(*m, FACILITY | FACILITY_PART) || !blank(*m))
                .unwrap_or(of + 5);
            return Some(self.mark(n..end, Category::Facility, "facility", 0.6));
        }
        let cue = self.tokens.is_before(n, PLACE_CUE) && self.tokens.gap_before(n) == " ";
        if cue && self.tokens.is(n, PLACE) {
            return Some(self.mark(n..n + 1, Category::Location, "place", 0.6));
        }
        let parted = cue
            && self.tokens.is(n, PLACE_PART)
            && word(n + 1)
            && blank(n + 1)
            && !self.tokens.is(n, CLINIC | DIRECTION)
            && !self.tokens.is(n + 1, CLINIC);
        parted.then(|| self.mark(n..n + 2, Category::Location, "place", 0.6))
    }

    fn is_strong_caseless(&self, n: usize) -> bool {
        let Some(token) = self.tokens.get(n) else { return false };
        token.kind == Kind::Word
            && !token.grammar
            && token.classes & (CLINIC | UNIT | CODE_CUE | TITLE | DEGREE) == 0
            && (token.kinds & WORD == 0
                && token.end - token.start > UNKNOWN_LETTERS_MIN
                && !is_derived(self.tokens.word(n))
                || token.classes & PLACE != 0 && token.kinds & WORD == 0)
    }
}
