//! People and places by what stands around them, and by the dictionaries.

use std::collections::HashSet;
use std::ops::Range;

use super::known::Known;
use super::tokens::{Case, Kind, Tokens};
use super::words::{self, GIVEN, SURNAME, WORD};
use super::{Category, Span};

/// Most words of a name.
const NAME_WORDS_MAX: usize = 5;
/// Most words before the last one of a facility's name.
const FACILITY_WORDS_MAX: usize = 5;

const TITLES: &[&str] = &[
    "dr",
    "mr",
    "mrs",
    "ms",
    "miss",
    "prof",
    "professor",
    "doctor",
    "nurse",
    "sir",
    "madam",
    "mister",
    "missus",
    "rev",
    "reverend",
    "pastor",
    "father",
    "sister",
    "officer",
    "sgt",
    "capt",
    "lt",
    "judge",
    "drs",
    "mx",
    "señor",
    "señora",
];
/// Before a name, without a colon: `his wife Anna`.
const KIN: &[&str] = &[
    "wife",
    "husband",
    "son",
    "daughter",
    "mother",
    "father",
    "brother",
    "sister",
    "mom",
    "dad",
    "uncle",
    "aunt",
    "nephew",
    "niece",
    "cousin",
    "friend",
    "neighbor",
    "partner",
    "fiance",
    "fiancee",
    "grandson",
    "granddaughter",
    "grandmother",
    "grandfather",
    "stepson",
    "stepdaughter",
    "girlfriend",
    "boyfriend",
    "spouse",
    "named",
    "called",
    "by",
    "physician",
    "surgeon",
    "attending",
    "caregiver",
    "pcp",
    "cardiologist",
    "oncologist",
    "therapist",
    "colleague",
    "patient",
    "pt",
    "client",
    "employer",
    "signed",
    "with",
    "contact",
];
/// Before a colon and a name.
const LABELS: &[&str] = &[
    "name",
    "patient",
    "pt",
    "attending",
    "physician",
    "provider",
    "by",
    "cc",
    "surgeon",
    "nurse",
    "contact",
    "mother",
    "father",
    "wife",
    "husband",
    "spouse",
    "guardian",
    "pcp",
    "doctor",
    "author",
    "dictated",
    "signed",
    "signature",
    "resident",
    "consultant",
    "referring",
    "to",
    "from",
    "kin",
    "assistant",
    "anesthesiologist",
    "interpreter",
    "witness",
    "employer",
    "daughter",
    "son",
    "sister",
    "brother",
    "guarantor",
    "subscriber",
    "insured",
    "alias",
    "maiden",
    "first",
    "last",
    "middle",
    "surname",
];
/// After a name.
const DEGREES: &[&str] = &[
    "md", "do", "rn", "np", "pa", "phd", "lpn", "facs", "dds", "dmd", "dpm", "crna", "pharmd", "lcsw",
    "aprn", "fnp", "jr", "sr", "esq", "bsn", "msn", "dnp", "cnm", "ii", "iii", "mbbs", "facc", "pt", "ot",
];
/// Between parts of a name, small.
const PARTICLES: &[&str] = &[
    "van", "de", "la", "von", "der", "den", "bin", "al", "el", "del", "da", "di", "dos", "du", "le", "st",
    "ibn",
];
/// After an eponym: `Crohn's disease`.
const EPONYM_OF: &[&str] = &[
    "disease",
    "syndrome",
    "sign",
    "test",
    "catheter",
    "maneuver",
    "score",
    "scale",
    "criteria",
    "palsy",
    "fracture",
    "tumor",
    "esophagus",
    "thyroiditis",
    "lymphoma",
    "sarcoma",
    "reflex",
    "contracture",
    "phenomenon",
    "node",
    "nodes",
    "monitor",
    "classification",
    "position",
    "procedure",
    "operation",
    "stain",
    "index",
    "formula",
    "point",
    "ataxia",
];
const FACILITIES: &[&str] = &[
    "hospital",
    "clinic",
    "center",
    "centre",
    "university",
    "school",
    "pharmacy",
    "church",
    "college",
    "hospice",
    "infirmary",
    "inc",
    "llc",
    "ltd",
    "corp",
    "corporation",
    "company",
    "institute",
    "foundation",
    "laboratories",
    "associates",
    "manor",
    "academy",
    "prison",
    "jail",
    "bank",
    "rehab",
    "group",
    "plc",
    "gmbh",
];
const FACILITY_PARTS: &[&str] = &[
    "memorial",
    "general",
    "regional",
    "medical",
    "health",
    "county",
    "community",
    "nursing",
    "of",
    "st",
    "saint",
    "children",
    "and",
    "the",
    "care",
    "surgical",
    "cancer",
    "high",
    "state",
    "city",
    "veterans",
    "university",
];
/// Before a place: `lives in Springfield`.
const PLACE_CUES: &[&str] = &["in", "from", "near", "at", "to", "of", "outside", "around"];

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
        let end = tokens.end;
        self.out.push(Span { range: self.tokens.range(tokens), category, rule, confidence });
        end
    }

    fn kinds(&self, n: usize) -> u8 {
        self.tokens.get(n).map_or(0, |t| t.kinds)
    }

    /// A name in one of the lists and no word of English.
    fn is_listed(&self, n: usize) -> bool {
        let kinds = self.kinds(n);
        kinds & (GIVEN | SURNAME) != 0 && kinds & WORD == 0
    }

    /// What is written as a name is: with a capital; where case tells nothing, by the lists.
    fn is_written_as_name(&self, n: usize) -> bool {
        let Some(token) = self.tokens.get(n) else { return false };
        let word = self.tokens.word(n);
        if token.kind == Kind::Number
            || words::is_grammar(word)
            || word.contains('\'') && token.kinds == WORD
            || DEGREES.contains(&word)
        {
            return false;
        }
        if token.kind == Kind::Mixed && token.digits * 2 >= token.end - token.start {
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

    /// The end of the name that begins here; here where there is none.
    fn name_end(&self, start: usize, comma: bool) -> usize {
        let (mut n, mut end) = (start, start);
        while n < start + NAME_WORDS_MAX {
            let gap = if n == start { " " } else { self.tokens.gap_before(n) };
            let joins = matches!(gap, " " | "-" | "  " | "'")
                || matches!(gap, ". " | ".")
                    && n > start
                    && self.tokens.before(n).is_some_and(|t| t.end - t.start <= 2)
                || comma && n == start + 1 && matches!(gap, ", " | ",");
            if !joins {
                break;
            }
            let written = self.is_written_as_name(n);
            if written || self.is_initial(n) {
                n += 1;
                end = n;
            } else if PARTICLES.contains(&self.tokens.word(n)) {
                n += 1;
            } else {
                break;
            }
        }
        end
    }

    fn at(&mut self, n: usize) -> usize {
        let Some(token) = self.tokens.get(n) else { return n };
        let word = self.tokens.word(n);
        if !self.known.is_empty() && token.kind != Kind::Number && token.end - token.start > 1 {
            let written = self.tokens.caseless || token.case != Case::Lower || token.kinds & WORD == 0;
            if written && !words::is_grammar(word) && self.known.is_name(word, token.kinds) {
                return self.mark(n..n + 1, Category::Name, "context-name", 0.99);
            }
            if written && self.known.is_place(word) {
                return self.mark(n..n + 1, Category::Location, "context-place", 0.97);
            }
        }
        if token.kind == Kind::Number {
            return n;
        }
        let gap = self.tokens.gap(n);
        if TITLES.contains(&word) && matches!(gap, " " | ". " | "." | "  ") {
            let small = self.kinds(n + 1) & (GIVEN | SURNAME) != 0 || self.kinds(n + 1) & WORD == 0;
            let end = match self.name_end(n + 1, false) {
                end if end > n + 1 => end,
                _ if small
                    && self
                        .tokens
                        .get(n + 1)
                        .is_some_and(|t| t.kind == Kind::Word && t.end - t.start > 2)
                    && !words::is_grammar(self.tokens.word(n + 1))
                    && token.end - token.start < 4 =>
                {
                    n + 2
                }
                _ => n + 1,
            };
            if end > n + 1 {
                return self.mark(n + 1..end, Category::Name, "title", 0.97);
            }
        }
        if LABELS.contains(&word) && (gap.trim_end_matches([' ', '\t']) == ":" || gap == "(s): ") {
            let end = self.name_end(n + 1, true);
            let only_words =
                (n + 1..end).all(|m| self.kinds(m) & (GIVEN | SURNAME) == 0 && self.kinds(m) & WORD != 0);
            if end > n + 1 && !only_words {
                return self.mark(n + 1..end, Category::Name, "label", 0.95);
            }
        }
        if KIN.contains(&word) && matches!(gap, " " | ", ") && !self.tokens.caseless {
            let end = self.name_end(n + 1, false);
            let tells = (n + 1..end).any(|m| self.kinds(m) & WORD == 0 || self.kinds(m) & GIVEN != 0);
            let long = self.tokens.get(n + 1).is_some_and(|t| t.end - t.start > 2 && t.case == Case::Capital);
            if end > n + 1 && tells && long && !self.is_eponym(end - 1) {
                return self.mark(n + 1..end, Category::Name, "relation", 0.9);
            }
        }
        if let Some(end) = self.facility(n) {
            return self.mark(n..end, Category::Facility, "facility", 0.85);
        }
        self.by_list(n)
    }

    fn is_eponym(&self, n: usize) -> bool {
        matches!(self.tokens.gap(n), " " | "'s " | "-") && EPONYM_OF.contains(&self.tokens.word(n + 1))
    }

    fn facility(&self, n: usize) -> Option<usize> {
        if self.tokens.caseless || !self.tokens.get(n).is_some_and(|t| t.case != Case::Lower) {
            return None;
        }
        let mut telling = false;
        for m in n..n + FACILITY_WORDS_MAX {
            let word = self.tokens.word(m);
            if m > n && !matches!(self.tokens.gap_before(m), " " | "'s " | " & " | "-" | ". ") {
                return None;
            }
            let capital = self.tokens.get(m).is_some_and(|t| t.case != Case::Lower && t.kind == Kind::Word);
            if m > n && FACILITIES.contains(&word) && capital && telling {
                return Some(m + 1);
            }
            let part = FACILITY_PARTS.contains(&word);
            if !capital && !part {
                return None;
            }
            telling |= capital
                && (m > n || self.kinds(m) & WORD == 0 || !words::is_grammar(word))
                && !words::is_grammar(word)
                && !matches!(word, "medical" | "health" | "nursing" | "care");
        }
        None
    }

    fn by_list(&mut self, n: usize) -> usize {
        if !self.is_written_as_name(n) && !self.is_initial(n) {
            return n;
        }
        let end = self.name_end(n, true);
        let before_degree = matches!(self.tokens.gap_before(end), ", " | " " | ",")
            && DEGREES.contains(&self.tokens.word(end))
            && self.tokens.get(end).is_some_and(|t| t.case != Case::Lower);
        if before_degree
            && end > n
            && (n..end)
                .any(|m| !self.is_initial(m) && self.kinds(m) & (GIVEN | SURNAME) != 0 || self.kinds(m) == 0)
        {
            return self.mark(n..end, Category::Name, "degree", 0.95);
        }
        let end = self.name_end(n, false);
        if end == n || self.is_eponym(end - 1) {
            return end;
        }
        // A given name, or an initial, and a surname beside it.
        for m in n..end {
            let given =
                self.kinds(m) & GIVEN != 0 || self.is_initial(m) && self.tokens.gap(m).starts_with('.');
            let next = m + 1 < end
                && !self.is_initial(m + 1)
                && (self.kinds(m + 1) & SURNAME != 0 || self.kinds(m + 1) & WORD == 0);
            let plain = self.kinds(m) & WORD != 0
                && self.kinds(m + 1) & WORD != 0
                && (self.tokens.begins(m) || self.tokens.caseless);
            if given && next && !plain {
                return self.mark(m..end, Category::Name, "given-and-surname", 0.95);
            }
            if given && m + 2 < end && self.is_initial(m + 1) {
                return self.mark(m..end, Category::Name, "given-initial-surname", 0.95);
            }
        }
        // `John:`, who speaks.
        if self.kinds(n) & GIVEN != 0
            && end == n + 1
            && self.tokens.begins(n)
            && self.tokens.gap(n).starts_with(':')
        {
            return self.mark(n..end, Category::Name, "speaker", 0.7);
        }
        // `Smith, John`
        let comma = self.name_end(n, true);
        if comma > end
            && self.kinds(n) & SURNAME != 0
            && self.kinds(n + 1) & GIVEN != 0
            && self.kinds(n) & self.kinds(n + 1) & WORD == 0
        {
            return self.mark(n..comma, Category::Name, "surname-and-given", 0.93);
        }
        for m in n..end {
            let Some(token) = self.tokens.get(m) else { break };
            let length = token.end - token.start;
            let place = PLACE_CUES.contains(&self.tokens.word_before(m)) && self.tokens.gap_before(m) == " ";
            let category = if place { Category::Location } else { Category::Name };
            if self.is_listed(m) && length > 2 && (token.case == Case::Capital || length > 3) {
                self.mark(m..m + 1, category, "listed-name", 0.8);
            } else if token.kinds & GIVEN != 0
                && token.case == Case::Capital
                && !self.tokens.begins(m)
                && !self.tokens.caseless
            {
                self.mark(m..m + 1, category, "given-name", 0.6);
            } else if token.kinds == 0
                && token.kind == Kind::Word
                && length > 2
                && token.case == Case::Capital
                && !self.tokens.caseless
                && !is_derived(self.tokens.word(m))
            {
                self.mark(m..m + 1, category, "unknown-capital", 0.5);
            } else if token.kind == Kind::Mixed && length > 3 {
                let read = self
                    .tokens
                    .word(m)
                    .replace('0', "o")
                    .replace('5', "s")
                    .replace('3', "e")
                    .replace('4', "a");
                let either = [read.replace('1', "i"), read.replace('1', "l")];
                if either.iter().any(|w| words::kinds(w) & (GIVEN | SURNAME) != 0) {
                    self.mark(m..m + 1, Category::Name, "misread-name", 0.7);
                }
            }
        }
        end
    }

    /// Names that were found once are names wherever they stand.
    fn again(&mut self) {
        let sure = |span: &&Span| span.category == Category::Name && span.confidence >= 0.9;
        let spans: Vec<Range<usize>> = self.out.iter().filter(sure).map(|s| s.range.clone()).collect();
        let mut names = HashSet::new();
        let mut spans = spans.into_iter().peekable();
        for n in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(n) else { break };
            while spans.peek().is_some_and(|range| range.end <= token.start) {
                spans.next();
            }
            let inside = spans.peek().is_some_and(|range| range.start <= token.start);
            if inside && token.end - token.start > 2 && !words::is_grammar(self.tokens.word(n)) {
                names.insert(self.tokens.word(n));
            }
        }
        if names.is_empty() {
            return;
        }
        for n in 0..self.tokens.len() {
            let Some(token) = self.tokens.get(n) else { break };
            let written = token.case != Case::Lower || token.kinds & WORD == 0;
            if written && names.contains(self.tokens.word(n)) && !self.is_eponym(n) {
                self.mark(n..n + 1, Category::Name, "named-before", 0.85);
            }
        }
    }
}

/// Forms that the English list lacks: of a listed word, or with an ending of the clinic's own language.
fn is_derived(word: &str) -> bool {
    const ENDINGS: [&str; 34] = [
        "itis", "osis", "emia", "oma", "ectomy", "otomy", "ostomy", "opathy", "ology", "ologist", "ography",
        "oscopy", "algia", "plasty", "pril", "olol", "statin", "azole", "cillin", "mycin", "sartan", "pine",
        "prazole", "idone", "lukast", "gliptin", "mab", "nib", "uria", "pnea", "plegia", "megaly", "cardia",
        "trophy",
    ];
    let stem = ["s", "es", "ed", "ly", "ing", "al", "er"].iter().filter_map(|end| word.strip_suffix(end));
    ENDINGS.iter().any(|ending| word.ends_with(ending))
        || stem.into_iter().any(|stem| words::kinds(stem) & WORD != 0)
        || ["non", "pre", "post", "hyper", "hypo", "peri", "anti", "neuro", "cardio", "gastro"]
            .iter()
            .any(|start| word.len() > start.len() + 3 && word.starts_with(start))
}
