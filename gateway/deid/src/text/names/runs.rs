//! Words with a capital, one behind another: what of them is a name.

use std::ops::Range;

use super::Finder;
use crate::text::Category;
use crate::text::lexicon::{
    CLINIC, CODE_CUE, DEGREE, KIN, LABEL, MONTH, ORG_CUE, PARTICLE, PERSON_VERB, PLACE, PLACE_CUE,
    PLACE_PART, SUFFIX, TITLE, UNIT,
};
use crate::text::tokens::{Case, Kind};
use crate::text::words::{GIVEN, SURNAME, WORD};

/// Most words of a run of capitals that is read as one.
const RUN_WORDS_MAX: usize = 8;

impl Finder<'_, '_> {
    /// A run of words with capitals: what is no word of the clinic in it is a name if anything in it is one, or if nothing
    /// but a name stands so in the middle of a sentence.
    pub(super) fn run(&mut self, n: usize) -> usize {
        let mut end = n;
        while end < n + RUN_WORDS_MAX && self.is_run_part(n, end) {
            end += 1;
        }
        if end == n {
            return n + 1;
        }
        let mut at = n;
        while at < end {
            if self.is_kept(n..end, at) {
                at += 1;
                continue;
            }
            let start = at;
            while at < end && !self.is_kept(n..end, at) {
                at += 1;
            }
            self.part(n, start, at);
        }
        end
    }

    /// Whether a word of a run stays: one of the clinic, unless it stands beside a name and may be another.
    fn is_kept(&self, run: Range<usize>, m: usize) -> bool {
        if self.is_eponym(m) {
            return true;
        }
        if !self.is_plain(m) {
            return false;
        }
        if self.kinds(m) & (GIVEN | SURNAME) == 0 && self.kinds(m) & WORD != 0 || self.tokens.is(m, TITLE) {
            return true;
        }
        let named = |k: usize| {
            self.is_initial(k) || !self.is_plain(k) && (self.kinds(k) & GIVEN != 0 || self.is_strong(k))
        };
        let before = m > run.start && named(m - 1);
        let after = m + 1 < run.end && named(m + 1) && self.kinds(m) & (GIVEN | WORD) != WORD;
        !(before || after)
    }

    fn is_run_part(&self, n: usize, m: usize) -> bool {
        let gap = if m == n { " " } else { self.tokens.gap_before(m) };
        let dotted = matches!(gap, ". " | ".") && self.length(m.saturating_sub(1)) <= 2;
        let joins = matches!(gap, " " | "-" | "  " | "'" | " & " | "^" | "/")
            || dotted
            || matches!(gap, " (" | ") " | " \"" | "\" ") && m > n && self.is_nickname(n, m);
        if !joins {
            return false;
        }
        let written = self.is_written_as_name(m) || self.is_initial(m);
        // `de la`, if a capital follows.
        let particle = || {
            self.tokens.is(m, PARTICLE)
                && (m + 1..m + 3).any(|next| {
                    matches!(self.tokens.gap_before(next), " " | "-" | ". " | "'")
                        && self.case(next) == Case::Capital
                        && !self.tokens.get(next).is_some_and(|t| t.grammar)
                })
        };
        let suffix = || m > n && self.tokens.is(m, SUFFIX) && self.case(m) != Case::Lower;
        // `Ji-woo`
        let second = || {
            m > n
                && gap == "-"
                && (self.kinds(m) & WORD == 0 || self.kinds(m - 1) & WORD == 0)
                && self.tokens.get(m).is_some_and(|t| t.kind == Kind::Word)
        };
        written || m > n && (particle() || suffix() || second())
    }

    /// A word that is never taken for being written with a capital.
    pub(super) fn is_plain(&self, n: usize) -> bool {
        let Some(token) = self.tokens.get(n) else { return true };
        token.grammar && token.classes & PARTICLE == 0
            || token.classes & CLINIC != 0 && token.classes & PLACE == 0
            || token.classes & (TITLE | MONTH) != 0
            || token.kinds == 0 && token.classes == 0 && token.kind == Kind::Word && self.is_derived(n)
    }

    /// A part of a run that begins at `run`, between words of the clinic.
    fn part(&mut self, run: usize, start: usize, end: usize) {
        let strong = (start..end).any(|m| self.is_strong(m));
        let given = |m: usize| self.kinds(m) & GIVEN != 0;
        let surname = |m: usize| self.kinds(m) & SURNAME != 0 || self.kinds(m) & WORD == 0;
        let pair = (start..end.saturating_sub(1)).any(|m| {
            (given(m) || self.is_initial(m) && self.tokens.gap(m).starts_with('.'))
                && surname(m + 1)
                && self.length(m + 1) > 1
                || given(m) && self.is_initial(m + 1) && m + 2 < end
        });
        let begins = self.tokens.begins(start);
        let before = run.checked_sub(1).filter(|_| !begins);
        let place = start == run && before.is_some_and(|m| self.tokens.is(m, PLACE_CUE));
        let category = if place { Category::Location } else { Category::Name };
        if strong || pair && !(begins && self.all_words(start, end)) {
            let mut from = start;
            // The first word of a sentence has a capital whatever it is.
            while begins
                && from + 1 < end
                && self.kinds(from) & WORD != 0
                && !self.is_strong(from)
                && self.kinds(from) & (GIVEN | SURNAME) == 0
                && !self.tokens.is(from, PLACE_PART)
            {
                from += 1;
            }
            // `JR Alvarez`
            let letters = from.checked_sub(1).filter(|m| {
                self.case(*m) == Case::Upper
                    && self.length(*m) == 2
                    && self.tokens.gap(*m) == " "
                    && self.tokens.get(*m).is_some_and(|t| {
                        !t.grammar
                            && t.kind == Kind::Word
                            && t.classes & (TITLE | DEGREE | UNIT | CODE_CUE | KIN | LABEL) == 0
                    })
            });
            from = letters.unwrap_or(from);
            let confidence = if pair { 0.95 } else { 0.8 };
            let rule = if pair { "given-and-surname" } else { "unlisted-capitals" };
            self.mark(from..end, category, rule, confidence);
            return;
        }
        let upper = (start..end).all(|m| self.case(m) == Case::Upper);
        // `JRM tolerated the procedure`
        if upper
            && end == start + 1
            && matches!(self.length(start), 2 | 3)
            && self.kinds(start) & WORD == 0
            && self.tokens.get(start).is_some_and(|t| t.classes == 0)
            && self.tokens.is(end, PERSON_VERB)
            && matches!(self.tokens.gap(start), " " | "\n")
            && (self.is_spoken(start) || begins)
        {
            self.mark(start..end, Category::Name, "initials", 0.6);
            return;
        }
        if upper || self.length(start) < 2 && end == start + 1 {
            self.misread(start, end);
            return;
        }
        if begins {
            let person = end == start + 1
                && self.kinds(start) & (GIVEN | SURNAME) != 0
                && !self.tokens.is(start, CLINIC)
                && (self.tokens.gap(start) == " "
                    && self.tokens.is(end, PERSON_VERB)
                    && self.case(end) == Case::Lower
                    || self.tokens.gap(start) == "'s ");
            // `John:`, who speaks.
            let speaker = end == start + 1
                && self.kinds(start) & GIVEN != 0
                && self.kinds(start) & WORD == 0
                && self.tokens.gap(start).starts_with(':');
            if person || speaker {
                self.mark(start..end, Category::Name, "speaker", 0.7);
            }
            return;
        }
        // In the middle of a sentence.
        let heading = self.tokens.gap_before(end).starts_with(':') || self.in_title_case(run, end);
        let named =
            (start..end).any(|m| self.kinds(m) & (GIVEN | SURNAME) != 0 && self.case(m) == Case::Capital);
        let org = start == run && before.is_some_and(|m| self.tokens.is(m, ORG_CUE | PLACE_CUE));
        let small_before = before.is_some_and(|m| {
            self.case(m) == Case::Lower
                || self.tokens.get(m).is_some_and(|t| t.grammar) && self.tokens.begins(m)
        });
        if !heading && small_before && (named || org || end > start + 1 || self.length(start) > 2) {
            self.mark(start..end, category, "capital-in-sentence", 0.5);
        } else if named && !heading && !self.in_title_case(run, end) {
            self.mark(start..end, category, "named-in-sentence", 0.5);
        } else {
            self.misread(start, end);
        }
    }

    /// Whether every word is one of English and no given name stands alone.
    fn all_words(&self, start: usize, end: usize) -> bool {
        (start..end).all(|m| self.kinds(m) & WORD != 0 && !self.is_initial(m))
    }

    /// Verbs that only people do.
    pub(super) fn is_spoken(&self, n: usize) -> bool {
        !matches!(
            self.tokens.word(n + 1),
            "was"
                | "is"
                | "has"
                | "had"
                | "does"
                | "will"
                | "takes"
                | "continues"
                | "remains"
                | "presents"
                | "presented"
                | "returns"
                | "returned"
                | "reports"
                | "noted"
                | "notes"
                | "plans"
                | "denies"
        )
    }

    /// A heading or a list in title case: the words around have capitals too.
    fn in_title_case(&self, start: usize, end: usize) -> bool {
        let capital = |m: Option<usize>| {
            m.is_some_and(|m| {
                self.case(m) != Case::Lower && self.tokens.get(m).is_some_and(|t| t.kind == Kind::Word)
            })
        };
        let before = start.checked_sub(1);
        capital(before) && (capital(Some(end)) || end > start + 1)
    }
}
