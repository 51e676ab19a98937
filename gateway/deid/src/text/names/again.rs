//! What the names that were found tell of the rest of the text.

use std::collections::HashSet;
use std::ops::Range;

use super::Finder;
use crate::text::lexicon::{CLINIC, MONTH, SUFFIX, TITLE};
use crate::text::tokens::{Case, Tokens};
use crate::text::words::{GIVEN, SURNAME, WORD};
use crate::text::{Category, Span, tagger};

impl Finder<'_, '_> {
    /// `Park and Mann`, `Bowman, White and Torres`: what is joined to a name may be one.
    pub(super) fn joined(&mut self) {
        if self.tokens.caseless {
            return;
        }
        let mut starts: Vec<(usize, usize)> = self
            .out
            .iter()
            .filter(|s| s.category == Category::Name)
            .map(|s| (s.range.start, s.range.end))
            .collect();
        starts.sort_unstable();
        let named = |tokens: &Tokens<'_>, m: usize| {
            tokens.get(m).is_some_and(|t| {
                starts
                    .binary_search_by(|(start, end)| {
                        if *end <= t.start {
                            std::cmp::Ordering::Less
                        } else if *start > t.start {
                            std::cmp::Ordering::Greater
                        } else {
                            std::cmp::Ordering::Equal
                        }
                    })
                    .is_ok()
            })
        };
        let mut more = Vec::new();
        for n in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(n) else { break };
            let may = token.case == Case::Capital
                && token.kinds & (GIVEN | SURNAME) != 0
                && token.kinds & WORD != 0
                && !token.grammar
                && token.classes & (CLINIC | MONTH | TITLE) == 0
                && token.end - token.start > 2;
            if !may || named(self.tokens, n) || self.is_eponym(n) {
                continue;
            }
            let and = |m: usize| {
                matches!(self.tokens.word(m), "and" | "or" | "with") || self.tokens.get(m).is_none()
            };
            let after = n >= 2 && and(n - 1) && self.tokens.gap_before(n) == " " && named(self.tokens, n - 2)
                || n >= 1
                    && matches!(self.tokens.gap_before(n), ", " | "/" | " & ")
                    && named(self.tokens, n - 1);
            let before = and(n + 1) && self.tokens.gap(n) == " " && named(self.tokens, n + 2)
                || matches!(self.tokens.gap(n), ", " | " & ") && named(self.tokens, n + 1);
            if after || before {
                more.push(n);
            }
        }
        for n in more {
            self.mark(n..n + 1, Category::Name, "joined-name", 0.6);
        }
    }

    /// Names that were found once are names wherever they stand.
    pub(super) fn again(&mut self) {
        let enough = |span: &Span| if span.rule == tagger::RULE { tagger::SURE } else { 0.9 };
        let sure = |span: &&Span| span.category == Category::Name && span.confidence >= enough(span);
        let mut spans: Vec<Range<usize>> = self.out.iter().filter(sure).map(|s| s.range.clone()).collect();
        if spans.is_empty() {
            return;
        }
        spans.sort_by_key(|range| range.start);
        let mut names = HashSet::new();
        let mut spans = spans.into_iter().peekable();
        for n in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(n) else { break };
            while spans.peek().is_some_and(|range| range.end <= token.start) {
                spans.next();
            }
            let inside = spans.peek().is_some_and(|range| range.start <= token.start);
            if inside
                && token.end - token.start > 2
                && !token.grammar
                && token.classes & (CLINIC | SUFFIX) == 0
            {
                names.insert(self.tokens.word(n));
            }
        }
        for n in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(n) else { break };
            let written = token.case == Case::Capital
                || token.kinds & WORD == 0
                || token.case == Case::Upper && !self.tokens.caseless;
            if written && names.contains(self.tokens.word(n)) && !self.is_eponym(n) {
                self.mark(n..n + 1, Category::Name, "named-before", 0.85);
            }
        }
    }
}
