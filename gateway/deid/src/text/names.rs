//! People, places and organisations by what stands around them, and by the dictionaries.

use std::collections::HashSet;
use std::ops::Range;

use super::known::Known;
use super::lexicon::{
    CLINIC, CODE_CUE, DEGREE, DIRECTION, EPONYM_OF, FACILITY, FACILITY_PART, KIN, LABEL, MONTH, ORG_CUE,
    PARTICLE, PERSON_VERB, PLACE, PLACE_CUE, PLACE_PART, SUFFIX, TITLE, UNIT, WEEKDAY,
};
use super::tokens::{Case, Kind, Tokens};
use super::words::{self, GIVEN, SURNAME, WORD};
use super::{Category, Span};
use crate::geography;

/// Most words of a name.
const NAME_WORDS_MAX: usize = 6;
/// Most words of a run of capitals that is read as one.
const RUN_WORDS_MAX: usize = 8;
/// Most words before the last one of a facility's name.
const FACILITY_WORDS_MAX: usize = 6;
/// Most small words before a family name: `van der`, `de la`.
const PARTICLES_MAX: usize = 3;
/// Most words of the name of a place of work.
const WORK_WORDS_MAX: usize = 5;
/// Fewest letters of an unknown word in capitals throughout, which is an abbreviation otherwise.
const UPPER_LETTERS_MIN: usize = 6;
/// Fewest letters of an unknown word that is read as a name.
const UNKNOWN_LETTERS_MIN: usize = 3;

struct Finder<'t, 'n> {
    tokens: &'t Tokens<'n>,
    known: &'t Known,
    out: Vec<Span>,
}

pub(super) fn find(tokens: &Tokens<'_>, known: &Known) -> Vec<Span> {
    let mut finder = Finder { tokens, known, out: Vec::new() };
    let mut n = 0;
    while n < tokens.len() {
        n = finder.at(n).max(n + 1);
    }
    finder.joined();
    finder.again();
    finder.out
}

impl Finder<'_, '_> {
    fn mark(
        &mut self,
        tokens: Range<usize>,
        category: Category,
        rule: &'static str,
        confidence: f32,
    ) -> usize {
        let mut tokens = tokens;
        let capital = self.case(tokens.start) != Case::Lower;
        // `van der Berg`, `al-Amin`
        for _ in 0..PARTICLES_MAX {
            let before = tokens.start.checked_sub(1).filter(|m| {
                self.tokens.is(*m, PARTICLE)
                    && matches!(self.tokens.gap(*m), " " | "-" | "'" | " '")
                    && capital
            });
            let Some(before) = before else { break };
            tokens.start = before;
        }
        // `Alvarez, Jr.`
        let mut end = tokens.end;
        if category == Category::Name
            && self.tokens.is(end, SUFFIX)
            && (self.case(end) != Case::Lower || self.tokens.caseless)
            && matches!(self.tokens.gap_before(end), " " | ", " | ",")
        {
            end += 1;
            tokens.end = end;
        }
        self.out.push(Span { range: self.tokens.range(tokens), category, rule, confidence });
        end
    }

    fn kinds(&self, n: usize) -> u8 {
        self.tokens.get(n).map_or(0, |t| t.kinds)
    }

    fn case(&self, n: usize) -> Case {
        self.tokens.get(n).map_or(Case::Lower, |t| t.case)
    }

    fn length(&self, n: usize) -> usize {
        self.tokens.get(n).map_or(0, |t| t.end - t.start)
    }

    /// What is written as a name is: with a capital; where case tells nothing, by the lists.
    fn is_written_as_name(&self, n: usize) -> bool {
        let Some(token) = self.tokens.get(n) else { return false };
        if token.kind == Kind::Number
            || token.grammar
            || token.classes & (DEGREE | SUFFIX | WEEKDAY) != 0
            || token.kinds == WORD && self.tokens.word(n).contains('\'')
            || token.kind == Kind::Mixed && token.digits * 2 >= token.end - token.start
        {
            return false;
        }
        if self.tokens.caseless {
            return token.kinds & (GIVEN | SURNAME) != 0
                || token.kinds & WORD == 0 && token.end - token.start > 2;
        }
        token.case != Case::Lower
    }

    fn is_initial(&self, n: usize) -> bool {
        self.tokens.get(n).is_some_and(|t| {
            t.kind == Kind::Word && t.end - t.start == 1 && (t.case == Case::Upper || self.tokens.caseless)
        })
    }

    /// No word of English or of the clinic: a listed name, a place, or what no list knows.
    fn is_strong(&self, n: usize) -> bool {
        let Some(token) = self.tokens.get(n) else { return false };
        let length = token.end - token.start;
        if token.kind != Kind::Word || token.grammar || token.classes & CLINIC != 0 {
            return false;
        }
        if token.classes & PLACE != 0 && (token.kinds & WORD == 0 || token.case == Case::Capital) {
            return true;
        }
        if token.kinds & WORD != 0 || token.classes & (TITLE | UNIT | CODE_CUE | MONTH) != 0 {
            return false;
        }
        if token.kinds & (GIVEN | SURNAME) != 0 {
            return length > 2 && (token.case == Case::Capital || length > 3);
        }
        let long = match token.case {
            Case::Capital => length >= UNKNOWN_LETTERS_MIN,
            Case::Upper | Case::Lower => length >= UPPER_LETTERS_MIN,
        };
        long && !self.is_derived(n)
    }

    /// An unknown word that is made as those of the clinic are. Within a sentence they are written small.
    fn is_derived(&self, n: usize) -> bool {
        let small = || {
            n.checked_sub(1)
                .is_some_and(|m| self.case(m) == Case::Lower || self.tokens.get(m).is_some_and(|t| t.grammar))
        };
        (self.tokens.caseless || self.tokens.begins(n) || self.case(n) != Case::Capital || !small())
            && is_derived(self.tokens.word(n))
    }

    /// The end of the name that begins here; here where there is none. With `comma` a family name may stand first.
    fn name_end(&self, start: usize, comma: bool) -> usize {
        let (mut n, mut end) = (start, start);
        while n < start + NAME_WORDS_MAX {
            let gap = if n == start { " " } else { self.tokens.gap_before(n) };
            let nickname = matches!(gap, " (" | ") " | " \"" | "\" " | " '" | "' ");
            let joins = matches!(gap, " " | "-" | "  " | "'" | "^")
                || nickname && self.is_nickname(start, n)
                || matches!(gap, ". " | ".")
                    && n > start
                    && self.tokens.before(n).is_some_and(|t| t.end - t.start <= 2)
                || comma && n <= start + 2 && n > start && matches!(gap, ", " | ",") && self.is_given_part(n);
            if !joins {
                break;
            }
            // `Ji-woo`
            let second = gap == "-"
                && (self.kinds(n) & WORD == 0 || self.kinds(n - 1) & WORD == 0)
                && self.tokens.get(n).is_some_and(|t| t.kind == Kind::Word);
            if self.is_written_as_name(n) || self.is_initial(n) || second {
                n += 1;
                end = n;
            } else if self.tokens.is(n, PARTICLE) {
                n += 1;
            } else {
                break;
            }
        }
        // `Jr.`, `III`
        let suffix = self.tokens.is(end, SUFFIX)
            && self.case(end) != Case::Lower
            && matches!(self.tokens.gap_before(end), " " | ", " | ",");
        if suffix && end > start { end + 1 } else { end }
    }

    /// After the comma of `Alvarez, Maria T.`: nothing that a sentence would go on with.
    fn is_given_part(&self, n: usize) -> bool {
        self.is_initial(n)
            || self.kinds(n) & GIVEN != 0 && !self.tokens.is(n, CLINIC)
            || self.case(n) == Case::Upper
                && self.length(n) > 2
                && self.kinds(n) & WORD == 0
                && !self.tokens.caseless
                && !self.tokens.is(n, CLINIC | DEGREE)
                && n > 0
                && self.case(n - 1) == Case::Upper
                && self.length(n - 1) > 2
            || self.case(n) == Case::Capital
                && !self.tokens.is(n, CLINIC | FACILITY)
                && self.tokens.gap(n) == " "
                && self.is_initial(n + 1)
            || self.kinds(n) & WORD == 0
                && self.case(n) == Case::Capital
                && !self.tokens.is(n, CLINIC | FACILITY)
    }

    /// `Elizabeth (Liz) Porter`: one word in brackets or quotes, which close.
    fn is_nickname(&self, start: usize, n: usize) -> bool {
        let opens = |gap: &str| matches!(gap, " (" | " \"" | " '");
        let closes = |gap: &str| gap.starts_with([')', '"', '\'']);
        if opens(self.tokens.gap_before(n)) {
            // Of one word or two.
            return n > start
                && (self.case(n) == Case::Capital || self.tokens.caseless)
                && (closes(self.tokens.gap(n))
                    || self.tokens.gap(n) == " " && closes(self.tokens.gap(n + 1)));
        }
        let opened = |back: usize| n > start + back && opens(self.tokens.gap_before(n - back));
        opened(1) || opened(2)
    }

    fn at(&mut self, n: usize) -> usize {
        let Some(token) = self.tokens.get(n) else { return n };
        if !self.known.is_empty() && token.kind != Kind::Number && token.end - token.start > 1 {
            let word = self.tokens.word(n);
            let written = self.tokens.caseless || token.case != Case::Lower || token.kinds & WORD == 0;
            if written && !token.grammar && self.known.is_name(word, token.kinds) {
                return self.mark(n..n + 1, Category::Name, "context-name", 0.99);
            }
            if written && self.known.is_place(word) {
                return self.mark(n..n + 1, Category::Location, "context-place", 0.97);
            }
        }
        if token.kind == Kind::Number {
            return n;
        }
        // `Flagstaff, AZ`
        if token.end - token.start == 2 && matches!(self.tokens.gap_before(n), ", " | ",") {
            self.before_state(n);
        }
        if matches!(self.tokens.word(n), "united")
            && matches!(self.tokens.word(n + 1), "states" | "kingdom" | "arab")
            && token.case != Case::Lower
        {
            return self.mark(n..n + 2, Category::Location, "country", 0.9);
        }
        if matches!(self.tokens.word(n), "works" | "worked" | "work" | "working" | "employed" | "retired")
            && let Some(end) = self.work(n)
        {
            return end;
        }
        if token.classes & (TITLE | LABEL | KIN) != 0
            && let Some(end) = self.after_cue(n)
        {
            return end;
        }
        if token.case == Case::Lower && !self.tokens.caseless {
            return self.small(n);
        }
        if let Some(end) = self.facility(n) {
            return self.mark(n..end, Category::Facility, "facility", 0.85);
        }
        self.by_list(n)
    }

    /// `works at Acme Roofing`: up to the next word of grammar.
    fn work(&mut self, n: usize) -> Option<usize> {
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

    fn before_state(&mut self, n: usize) {
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

    /// A name after a title, a label or a word for a person.
    fn after_cue(&mut self, n: usize) -> Option<usize> {
        let token = self.tokens.get(n)?;
        let gap = self.tokens.gap(n);
        let next = self.tokens.get(n + 1)?;
        if token.classes & TITLE != 0 && matches!(gap, " " | ". " | "." | "  ") {
            let small = next.kinds & (GIVEN | SURNAME) != 0 || next.kinds & WORD == 0;
            let mut end = self.name_end(n + 1, true);
            // `Dr. Alvarez, Mercy Hospital`
            if self.case(end) != Case::Lower && matches!(self.tokens.gap_before(end), " " | "-")
                || self.facility(end.saturating_sub(1)).is_some()
            {
                end = self.name_end(n + 1, false);
            }
            // `Dr. More`: after so short a title a word of grammar may be a name too.
            if end == n + 1
                && token.end - token.start < 4
                && next.case == Case::Capital
                && next.grammar
                && next.end - next.start >= 4
                && !matches!(
                    self.tokens.word(n + 1),
                    "this"
                        | "that"
                        | "they"
                        | "there"
                        | "then"
                        | "when"
                        | "with"
                        | "patient"
                        | "were"
                        | "their"
                )
            {
                end = n + 2;
            }
            if end == n + 1
                && small
                && next.kind == Kind::Word
                && next.end - next.start > 2
                && !next.grammar
                && token.end - token.start < 4
            {
                end = n + 2;
            }
            // `sister Pain` in a heading; after `Dr.` everything is a name.
            let sure = token.end - token.start < 5
                || (n + 1..end).any(|m| self.is_strong(m) || self.kinds(m) & GIVEN != 0);
            if end > n + 1 && sure && !(token.end - token.start > 3 && self.is_eponym(end - 1)) {
                return Some(self.mark(n + 1..end, Category::Name, "title", 0.97));
            }
        }
        if token.classes & LABEL != 0 && is_label_gap(gap) {
            let end = self.name_end(n + 1, true);
            let only_words =
                (n + 1..end).all(|m| self.kinds(m) & (GIVEN | SURNAME) == 0 && self.kinds(m) & WORD != 0);
            if end > n + 1 && !only_words && (n + 1..end).any(|m| !self.tokens.is(m, CLINIC)) {
                return Some(self.mark(n + 1..end, Category::Name, "label", 0.95));
            }
        }
        if token.classes & KIN != 0 && matches!(gap, " " | ", " | " (" | " is ") && !self.tokens.caseless {
            let end = self.name_end(n + 1, true);
            let tells = (n + 1..end).any(|m| {
                (self.kinds(m) & WORD == 0 || self.kinds(m) & (GIVEN | SURNAME) != 0)
                    && !self.tokens.is(m, CLINIC)
            });
            let long = next.end - next.start > 2 && next.case == Case::Capital
                || self.is_initial(n + 1) && end > n + 2;
            let derived = next.kinds == 0 && is_derived(self.tokens.word(n + 1));
            if end > n + 1 && tells && long && !derived && !self.is_eponym(end - 1) {
                return Some(self.mark(n + 1..end, Category::Name, "relation", 0.9));
            }
        }
        None
    }

    /// Words in small letters among others: a listed name that is no word of English, two of them, or one after a cue.
    fn small(&mut self, n: usize) -> usize {
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

    fn is_eponym(&self, n: usize) -> bool {
        let joins = |m: usize| matches!(self.tokens.gap(m), " " | "'s " | "-" | "' ");
        // `Stevens-Johnson syndrome`, `Guillain-Barre`.
        let double =
            self.tokens.gap(n) == "-" && self.tokens.get(n + 1).is_some_and(|t| t.kind == Kind::Word);
        let last = if double { n + 1 } else { n };
        joins(last) && self.tokens.is(last + 1, EPONYM_OF)
    }

    /// `Springfield General Hospital`, `Veterans Hospital of Springfield`.
    fn facility(&self, n: usize) -> Option<usize> {
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

    fn by_list(&mut self, n: usize) -> usize {
        if self.tokens.caseless
            && let Some(end) = self.caseless_place(n)
        {
            return end;
        }
        if !self.is_written_as_name(n) && !self.is_initial(n) {
            return n;
        }
        // `J. R.`, who tolerated the procedure well.
        if self.is_initial(n)
            && self.is_initial(n + 1)
            && self.tokens.gap(n).trim() == "."
            && self.tokens.gap(n + 1).starts_with('.')
            && !matches!(
                (self.tokens.word(n), self.tokens.word(n + 1)),
                ("p", "o")
                    | ("u", "s")
                    | ("i", "v" | "m" | "e")
                    | ("m", "d")
                    | ("d", "o")
                    | ("e", "r" | "d" | "g")
                    | ("r", "n")
            )
        {
            let third = self.is_initial(n + 2) && self.tokens.gap(n + 1).trim() == ".";
            let end = self.name_end(n, false).max(if third { n + 3 } else { n + 2 });
            return self.mark(n..end, Category::Name, "initials", 0.8);
        }
        let comma_end = self.name_end(n, true);
        let before_degree = matches!(self.tokens.gap_before(comma_end), ", " | " " | ",")
            && self.tokens.is(comma_end, DEGREE)
            && self.case(comma_end) != Case::Lower;
        if before_degree
            && comma_end > n
            && (n..comma_end).any(|m| {
                !self.is_initial(m)
                    && !self.tokens.is(m, CLINIC)
                    && (self.kinds(m) & (GIVEN | SURNAME) != 0 || self.kinds(m) == 0)
            })
        {
            return self.mark(n..comma_end, Category::Name, "degree", 0.95);
        }
        // `West^Mason`
        if self.tokens.gap(n) == "^" && comma_end > n + 1 {
            return self.mark(n..comma_end, Category::Name, "surname-and-given", 0.93);
        }
        if self.tokens.caseless {
            // `alvarez, maria t.`
            let given = self.kinds(n + 1) & GIVEN != 0
                && (self.kinds(n + 1) & WORD == 0 || self.is_initial(n + 2) || self.kinds(n) & WORD == 0);
            if matches!(self.tokens.gap(n), ", " | ",")
                && comma_end > n + 1
                && given
                && self.kinds(n) & (SURNAME | WORD) != WORD
                && !self.is_plain(n)
            {
                return self.mark(n..comma_end, Category::Name, "surname-and-given", 0.9);
            }
            return self.caseless(n);
        }
        // `Alvarez, Maria T.`
        let end = self.name_end(n, false);
        if comma_end > end
            && (n + 1..end).all(|m| self.tokens.gap_before(m) == "-")
            && !self.tokens.is(n, MONTH)
            && {
                let sure = (end..comma_end).any(|m| self.is_strong(m) || self.is_initial(m) && m > end);
                let given = self.kinds(end) & GIVEN != 0;
                let clinic = self.tokens.is(n, CLINIC);
                self.is_strong(n)
                    || self.kinds(n) & SURNAME != 0
                        && (given && sure || !clinic && (sure || given && !self.tokens.begins(n)))
            }
        {
            return self.mark(n..comma_end, Category::Name, "surname-and-given", 0.93);
        }
        self.run(n)
    }

    /// A run of words with capitals: what is no word of the clinic in it is a name if anything in it is one, or if nothing
    /// but a name stands so in the middle of a sentence.
    fn run(&mut self, n: usize) -> usize {
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
    fn is_plain(&self, n: usize) -> bool {
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
    fn is_spoken(&self, n: usize) -> bool {
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

    /// `J0hn`, as a machine reads it from paper.
    fn misread(&mut self, start: usize, end: usize) {
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
    fn caseless(&mut self, n: usize) -> usize {
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
    fn caseless_place(&mut self, n: usize) -> Option<usize> {
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

    /// `Park and Mann`, `Bowman, White and Torres`: what is joined to a name may be one.
    fn joined(&mut self) {
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
    fn again(&mut self) {
        let sure = |span: &&Span| span.category == Category::Name && span.confidence >= 0.9;
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

/// `Name:`, `Name ........`, `Name |`.
fn is_label_gap(gap: &str) -> bool {
    let trimmed = gap.trim_matches([' ', '\t']);
    gap == "(s): "
        || trimmed == ":"
        || trimmed == "="
        || trimmed == ":\n"
        || trimmed.len() > 2 && trimmed.bytes().all(|b| matches!(b, b'.' | b'_' | b':'))
}

/// Forms that the English list lacks: of a listed word, or with an ending of the clinic's own language.
fn is_derived(word: &str) -> bool {
    const ENDINGS: [&str; 72] = [
        "itis",
        "osis",
        "emia",
        "oma",
        "ectomy",
        "otomy",
        "ostomy",
        "opathy",
        "ology",
        "ologist",
        "ography",
        "oscopy",
        "algia",
        "plasty",
        "pril",
        "olol",
        "statin",
        "azole",
        "cillin",
        "mycin",
        "sartan",
        "pine",
        "prazole",
        "idone",
        "lukast",
        "gliptin",
        "mab",
        "nib",
        "uria",
        "pnea",
        "plegia",
        "megaly",
        "cardia",
        "trophy",
        "omas",
        "emic",
        "otic",
        "itic",
        "ular",
        "aline",
        "amine",
        "azepam",
        "caine",
        "cycline",
        "dronate",
        "fenac",
        "floxacin",
        "gliflozin",
        "glutide",
        "oxetine",
        "profen",
        "setron",
        "thiazide",
        "triptan",
        "vir",
        "zosin",
        "barbital",
        "phylline",
        "terol",
        "sone",
        "solone",
        "onide",
        "afil",
        "parin",
        "xaban",
        "osteal",
        "ostium",
        "genic",
        "ectasis",
        "stasis",
        "rrhea",
        "rrhage",
    ];
    const STARTS: [&str; 24] = [
        "non", "pre", "post", "hyper", "hypo", "peri", "anti", "neuro", "cardio", "gastro", "endo", "intra",
        "inter", "sub", "supra", "trans", "micro", "macro", "hemi", "poly", "ortho", "osteo", "thrombo",
        "hepato",
    ];
    let stem = ["s", "es", "ed", "ly", "ing", "al", "er", "ic", "ous"]
        .iter()
        .filter_map(|end| word.strip_suffix(end));
    word.len() > 5 && ENDINGS.iter().any(|ending| word.ends_with(ending))
        || word.len() > 4 && stem.into_iter().any(|stem| words::kinds(stem) & WORD != 0)
        || STARTS.iter().any(|start| {
            word.len() > start.len() + 3
                && word.strip_prefix(start).is_some_and(|rest| {
                    words::kinds(rest.trim_start_matches('-')) & WORD != 0 || rest.len() > 5
                })
        })
}
