//! People, places and organisations by what stands around them, and by the dictionaries.

mod again;
mod caseless;
mod places;
mod runs;

use std::ops::Range;

use crate::text::known::Known;
use crate::text::lexicon::{
    CLINIC, CODE_CUE, DEGREE, EPONYM_OF, FACILITY, KIN, LABEL, MONTH, PARTICLE, PLACE, SUFFIX, TITLE, UNIT,
    WEEKDAY,
};
use crate::text::tokens::{Case, Kind, Tokens};
use crate::text::words::{self, GIVEN, SURNAME, WORD};
use crate::text::{Category, Span};

/// Most words of a name.
const NAME_WORDS_MAX: usize = 6;
/// Most small words before a family name: `van der`, `de la`.
const PARTICLES_MAX: usize = 3;
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

/// Adds the places where a name stands again that is sure by now.
pub(super) fn again(tokens: &Tokens<'_>, known: &Known, found: Vec<Span>) -> Vec<Span> {
    let mut finder = Finder { tokens, known, out: found };
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

    fn is_eponym(&self, n: usize) -> bool {
        let joins = |m: usize| matches!(self.tokens.gap(m), " " | "'s " | "-" | "' ");
        // `Stevens-Johnson syndrome`, `Guillain-Barre`.
        let double =
            self.tokens.gap(n) == "-" && self.tokens.get(n + 1).is_some_and(|t| t.kind == Kind::Word);
        let last = if double { n + 1 } else { n };
        joins(last) && self.tokens.is(last + 1, EPONYM_OF)
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
