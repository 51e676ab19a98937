//! Facilities, places of work and towns, by what stands around them.

use super::Finder;
use crate::geography;
use crate::text::Category;
use crate::text::lexicon::{CLINIC, DEGREE, FACILITY, FACILITY_PART, PARTICLE, PLACE_PART, SUFFIX};
use crate::text::tokens::{Case, Kind};

/// Most words before the last one of a facility's name.
const FACILITY_WORDS_MAX: usize = 6;
/// Most words of the name of a place of work.
const WORK_WORDS_MAX: usize = 5;

impl Finder<'_, '_> {
    /// `works at Acme Roofing`: up to the next word of grammar.
    pub(super) fn work(&mut self, n: usize) -> Option<usize> {
        if !matches!(self.tokens.word(n + 1), "at" | "for" | "by" | "from" | "with")
            || self.tokens.gap(n + 1) != " "
        {
            return None;
        }
        let start = if self.tokens.word(n + 2) == "the" { n + 3 } else { n + 2 };
        let part = |m: usize| {
            self.tokens.get(m).is_some_and(|t| {
                t.kind != Kind::Number
                    && (!t.grammar || t.classes & (FACILITY | FACILITY_PART) != 0)
                    && (self.tokens.caseless || t.case != Case::Lower || t.classes & PARTICLE != 0)
                    && !matches!(self.tokens.word(m), "since" | "as" | "but" | "where" | "home")
            })
        };
        let end = (start..start + WORK_WORDS_MAX)
            .find(|m| {
                !part(*m)
                    || *m > start && !matches!(self.tokens.gap_before(*m), " " | "-" | "'s " | " & " | "'")
            })
            .unwrap_or(start + WORK_WORDS_MAX);
        (end > start).then(|| self.mark(start..end, Category::Facility, "work", 0.7))
    }

    pub(super) fn before_state(&mut self, n: usize) {
        let (Some(state), Some(town)) =
            (self.tokens.get(n), n.checked_sub(1).and_then(|m| self.tokens.get(m)))
        else {
            return;
        };
        let written = state.case == Case::Upper && town.case == Case::Capital
            || self.tokens.caseless
                && !matches!(
                    self.tokens.word(n),
                    "in" | "or" | "me" | "hi" | "ok" | "oh" | "md" | "pa" | "id" | "de" | "al" | "mi"
                );
        if written
            && town.kind == Kind::Word
            && !town.grammar
            && town.classes & (CLINIC | DEGREE | SUFFIX) == 0
            && geography::is_state(self.tokens.word(n).to_ascii_uppercase().as_bytes())
        {
            let start = if n >= 2 && self.tokens.is(n - 2, PLACE_PART) && self.tokens.gap(n - 2).len() <= 2 {
                n - 2
            } else {
                n - 1
            };
            self.mark(start..n, Category::Location, "before-state", 0.7);
        }
    }

    /// `Springfield General Hospital`, `Veterans Hospital of Springfield`.
    pub(super) fn facility(&self, n: usize) -> Option<usize> {
        if self.tokens.caseless {
            return None;
        }
        let (mut telling, mut end) = (false, None);
        for m in n..n + FACILITY_WORDS_MAX {
            let Some(token) = self.tokens.get(m) else { break };
            if m > n && !matches!(self.tokens.gap_before(m), " " | "'s " | " & " | "-" | ". " | ", ") {
                break;
            }
            let comma = m > n && self.tokens.gap_before(m) == ", ";
            let capital = token.case != Case::Lower && token.kind == Kind::Word;
            if m > n && capital && token.classes & FACILITY != 0 && telling {
                end = Some(m + 1);
                continue;
            }
            if comma {
                break;
            }
            let part =
                token.classes & FACILITY_PART != 0 || m > n && token.classes & (PARTICLE | FACILITY) != 0;
            if !capital && !part {
                break;
            }
            let medical = matches!(
                self.tokens.word(m),
                "medical" | "health" | "nursing" | "care" | "surgical" | "primary" | "emergency" | "urgent"
            );
            telling |= capital && !token.grammar && !medical;
        }
        let mut end = end?;
        // `… of Springfield`
        if matches!(self.tokens.word(end), "of") && self.tokens.gap_before(end) == " " {
            let of = self.name_end(end + 1, false);
            if of > end + 1 {
                end = of;
            }
        }
        Some(end)
    }
}
