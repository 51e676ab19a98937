//! What the tagger sees of each token: itself, its neighbours, the line it stands in, the cues before it, the lists, and
//! what the rules said. Each is a row of the table of weights, by hash; two that fall together share a row.

use super::ROWS;
use crate::text::lexicon::{
    CLINIC, Class, DATE_CUE, KIN, LABEL, NUMBER_CUE, ORG_CUE, PARTICLE, PERSON_VERB, PHONE_CUE, PLACE_CUE,
    ROOM, TITLE, UNIT,
};
use crate::text::tokens::{Case, Kind, Token, Tokens};
use crate::text::{Category, Span};

/// A feature that knows a word as it is written: training leaves some of them out, so that what stands around counts too.
pub const LEXICAL: u32 = 1 << 31;
/// A feature that says what the rules found: training leaves some of them out as well.
pub const RULED: u32 = 1 << 30;
/// The row of a feature, without the two marks above.
pub const ROW_MASK: u32 = RULED - 1;

/// Most tokens back that a cue is looked for in its line.
const CUE_TOKENS_MAX: usize = 7;
/// Most bytes of a stretch without blanks whose shape is told.
const CHUNK_BYTES_MAX: usize = 40;
/// Most tokens back to the label that a line begins with.
const LINE_TOKENS_MAX: usize = 24;

/// Classes whose words tell something about what stands some words behind them.
const CUES: [(Class, u64); 8] = [
    (NUMBER_CUE, 1),
    (PHONE_CUE, 2),
    (DATE_CUE, 3),
    (TITLE, 4),
    (KIN, 5),
    (LABEL, 6),
    (PLACE_CUE, 7),
    (ORG_CUE, 8),
];

/// The features of every token, one behind another.
#[derive(Debug, Default)]
pub struct Features {
    list: Vec<u32>,
    ends: Vec<usize>,
}

impl Features {
    /// Those of one token.
    pub fn of(&self, n: usize) -> &[u32] {
        let start = n.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(n).copied()).map(|(start, end)| start..end);
        range.and_then(|range| self.list.get(range)).unwrap_or_default()
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// What is computed once a token and used by its neighbours too.
#[derive(Clone, Copy, Default)]
struct Traits {
    word: u64,
    /// Kind, case, lists, grammar.
    nature: u64,
    /// The letters and digits as classes.
    shape: u64,
    /// The same, each run as one.
    brief: u64,
    classes: Class,
    rule: u64,
    gap: u64,
}

pub(super) fn features(tokens: &Tokens<'_>, found: &[Span]) -> Features {
    let said = said(tokens, found);
    let traits: Vec<Traits> = (0..tokens.len())
        .filter_map(|n| Some(of_token(tokens, n, tokens.get(n)?, said.get(n).copied().unwrap_or_default())))
        .collect();
    let mut out =
        Features { list: Vec::with_capacity(traits.len() * 72), ends: Vec::with_capacity(traits.len()) };
    let mut line = Line::default();
    for n in 0..traits.len() {
        line.step(tokens, &traits, n);
        one(tokens, &traits, &line, n, &mut out.list);
        out.ends.push(out.list.len());
    }
    out
}

/// Where a token stands in its line.
#[derive(Default)]
struct Line {
    /// The line's first token.
    start: usize,
    /// The word before the last colon of the line.
    label: u64,
}

impl Line {
    fn step(&mut self, tokens: &Tokens<'_>, traits: &[Traits], n: usize) {
        let gap = tokens.gap_before(n);
        if n == 0 || gap.contains('\n') {
            *self = Self { start: n, label: 0 };
        }
        if gap.starts_with(':') || gap.starts_with(" :") {
            self.label = n.checked_sub(1).and_then(|m| traits.get(m)).map_or(0, |t| t.word);
        } else if n - self.start > LINE_TOKENS_MAX || gap.starts_with(". ") || gap.starts_with("; ") {
            self.label = 0;
        }
    }
}

/// What the rules said of each token: of the surest span over it, its category, its rule and how sure it is.
fn said(tokens: &Tokens<'_>, found: &[Span]) -> Vec<u64> {
    let mut said = vec![(0_u64, 0.0_f32); tokens.len()];
    for span in found {
        let mut n = tokens.at(span.range.start);
        while let Some(token) = tokens.get(n)
            && token.start < span.range.end
        {
            if let Some(slot) = said.get_mut(n)
                && span.confidence > slot.1
            {
                *slot = (hash(span.rule.as_bytes()) ^ group(span.category), span.confidence);
            }
            n += 1;
        }
    }
    said.into_iter().map(|(rule, _)| rule).collect()
}

const fn group(category: Category) -> u64 {
    match category {
        Category::Name => 1,
        Category::Date => 2,
        Category::Age => 3,
        Category::Phone | Category::Ssn | Category::Id | Category::Ip => 4,
        Category::Email | Category::Url => 5,
        Category::Address | Category::Zip | Category::Location => 6,
        Category::Facility => 7,
        Category::Unread => 8,
    }
}

fn of_token(tokens: &Tokens<'_>, n: usize, token: Token, rule: u64) -> Traits {
    let word = tokens.word(n).as_bytes();
    let case = match token.case {
        Case::Lower => 0_u64,
        Case::Capital => 1,
        Case::Upper => 2,
    };
    let kind = match token.kind {
        Kind::Word => 0_u64,
        Kind::Number => 1,
        Kind::Mixed => 2,
    };
    let caseless = u64::from(tokens.caseless);
    let clinic = u64::from(token.classes & CLINIC != 0);
    let short = u64::from(token.end - token.start == 1);
    let nature = kind
        | case << 2
        | u64::from(token.kinds) << 4
        | u64::from(token.grammar) << 12
        | clinic << 13
        | caseless << 14
        | short << 15;
    let (mut shape, mut brief, mut last) = (FNV, FNV, 0_u8);
    for byte in tokens.written(n) {
        let class = class_of(*byte);
        shape = step(shape, class);
        if class != last {
            brief = step(brief, class);
            last = class;
        }
    }
    // Numbers by their length and what they may be: a day, a year, an age.
    if token.kind == Kind::Number {
        let value = match tokens.number(n) {
            Some(0) => 1,
            Some(1..=12) => 2,
            Some(13..=31) => 3,
            Some(32..=89) => 4,
            Some(90..=119) => 5,
            Some(1900..=2099) => 6,
            _ => 7,
        };
        shape = step(shape, value);
    }
    Traits {
        word: hash(word),
        nature,
        shape,
        brief,
        classes: token.classes,
        rule,
        gap: gap_of(tokens.gap_before(n)),
    }
}

/// What stands between two tokens, so far as it tells anything: long gaps by their ends and whether a line ends there.
fn gap_of(gap: &str) -> u64 {
    let bytes = gap.as_bytes();
    match bytes {
        [a, b, .., y, z] if bytes.len() > 4 => {
            let line = u8::from(gap.contains('\n'));
            hash(&[*a, *b, *y, *z, line])
        }
        short => hash(short),
    }
}

const fn class_of(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => b'0',
        b'A'..=b'Z' => b'A',
        b'a'..=b'z' => b'a',
        0x80.. => b'u',
        other => other,
    }
}

fn one(tokens: &Tokens<'_>, traits: &[Traits], line: &Line, n: usize, out: &mut Vec<u32>) {
    let at = |offset: isize| -> Traits {
        n.checked_add_signed(offset).and_then(|m| traits.get(m)).copied().unwrap_or_default()
    };
    let (t, before, after) = (at(0), at(-1), at(1));
    let (before2, after2) = (at(-2), at(2));
    let mut sink = Sink { out, template: 0 };
    // Words as they are.
    sink.lexical(t.word);
    sink.lexical(pair(t.word, t.nature));
    sink.lexical(before.word);
    sink.lexical(after.word);
    sink.lexical(before2.word);
    sink.lexical(after2.word);
    sink.lexical(pair(before.word, t.word));
    sink.lexical(pair(t.word, after.word));
    sink.plain(pair(before.word, t.nature));
    sink.plain(pair(after.word, t.nature));
    sink.plain(pair(pair(before2.word, before.word), t.nature));
    sink.plain(pair(pair(after.word, after2.word), t.nature));
    sink.plain(pair(before2.word, pair(t.nature, before.nature)));
    sink.plain(pair(pair(before.word, before.gap), t.shape));
    sink.plain(pair(pair(after.word, after.gap), t.shape));
    // How a word begins and ends.
    let word = tokens.word(n).as_bytes();
    for length in 1..=4 {
        if word.len() > length {
            sink.lexical_of(pair(hash(word.get(..length).unwrap_or_default()), length as u64));
            let tail = word.len() - length;
            sink.lexical_of(pair(hash(word.get(tail..).unwrap_or_default()), 16 + length as u64));
        }
    }
    sink.template = 40;
    sink.plain(pair(hash(word.get(word.len().saturating_sub(3)..).unwrap_or_default()), t.nature));
    // What it looks like.
    sink.plain(t.nature);
    sink.plain(t.shape);
    sink.plain(t.brief);
    sink.plain(pair(t.nature, word.len().min(12) as u64));
    sink.plain(pair(before.nature, t.nature));
    sink.plain(pair(t.nature, after.nature));
    sink.plain(pair(pair(before.nature, t.nature), after.nature));
    sink.plain(pair(pair(before2.nature, before.nature), t.nature));
    sink.plain(pair(pair(t.nature, after.nature), after2.nature));
    sink.plain(pair(before.shape, t.shape));
    sink.plain(pair(t.shape, after.shape));
    sink.plain(pair(pair(before.shape, t.shape), after.shape));
    sink.plain(pair(pair(before.brief, before.gap), pair(t.brief, after.gap)));
    sink.plain(pair(t.gap, t.nature));
    sink.plain(pair(after.gap, t.nature));
    sink.plain(pair(pair(t.gap, t.nature), after.gap));
    sink.plain(pair(pair(t.gap, before.nature), t.nature));
    sink.plain(pair(pair(t.nature, after.gap), after.nature));
    sink.plain(pair(pair(t.gap, t.shape), after.gap));
    // Classes of the words about it.
    for (offset, tag) in [(-2_isize, 1_u64), (-1, 2), (0, 3), (1, 4), (2, 5)] {
        let classes = at(offset).classes & !CLINIC;
        sink.template = 64;
        if classes != 0 {
            sink.plain(pair(u64::from(classes), tag));
            sink.plain(pair(pair(u64::from(classes), tag), t.nature));
            let mut left = classes;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                sink.template = 66;
                sink.plain(pair(u64::from(bit), tag));
                sink.plain(pair(pair(u64::from(bit), tag), t.nature));
            }
        }
    }
    // Cues before it in the line.
    sink.template = 72;
    let mut seen: Class = 0;
    for distance in 1..=CUE_TOKENS_MAX {
        let Some(m) = n.checked_sub(distance).filter(|m| *m >= line.start) else { break };
        let Some(cue) = traits.get(m) else { break };
        if tokens.gap(m).starts_with(['.', ';']) && distance > 1 && tokens.gap(m).len() > 1 {
            break;
        }
        for (class, tag) in CUES {
            if cue.classes & class != 0 && seen & class == 0 {
                seen |= class;
                let near = if distance <= 2 { distance as u64 } else { 3 };
                sink.template = 72;
                sink.plain(pair(pair(tag, near), t.nature));
                sink.plain(pair(pair(tag, near), t.brief));
                sink.plain(pair(cue.word, t.brief));
                sink.plain(pair(cue.word, t.nature));
            }
        }
    }
    // The line.
    sink.template = 80;
    sink.plain(pair(line.label, t.nature));
    sink.plain(pair(line.label, t.brief));
    sink.plain(pair((n - line.start).min(3) as u64, t.nature));
    let first = traits.get(line.start).copied().unwrap_or_default();
    sink.plain(pair(first.word, t.nature));
    sink.plain(pair(pair((n - line.start).min(3) as u64, t.nature), after.gap));
    // The stretch without blanks that it stands in.
    sink.template = 86;
    let (chunk, inside) = tokens.chunk(n, CHUNK_BYTES_MAX);
    let (mut shape, mut brief, mut last, mut digits) = (FNV, FNV, 0_u8, 0_u64);
    for byte in chunk {
        let class = class_of(*byte);
        shape = step(shape, class);
        digits += u64::from(class == b'0');
        if class != last {
            brief = step(brief, class);
            last = class;
        }
    }
    if chunk.len() > tokens.written(n).len() {
        sink.plain(shape);
        sink.plain(brief);
        sink.plain(pair(brief, t.brief));
        sink.plain(pair(pair(digits.min(12), u64::from(inside)), t.brief));
    }
    sink.template = 90;
    sink.plain(pair(digits.min(12), t.nature));
    sink.plain(pair(pair(before.nature, digits.min(12)), t.shape));
    // Words that make a person of their neighbour.
    let person = |m: Traits| u64::from(m.classes & (PERSON_VERB | PARTICLE) != 0);
    sink.plain(pair(pair(person(after), person(before)), t.nature));
    let unit = u64::from(after.classes & (UNIT | ROOM) != 0);
    sink.plain(pair(unit, t.shape));
    // What the rules said.
    sink.template = 100;
    sink.ruled(t.rule);
    sink.ruled(pair(before.rule, t.rule));
    sink.ruled(pair(t.rule, after.rule));
    sink.ruled(pair(t.rule, t.nature));
    sink.ruled(pair(t.rule, t.shape));
    sink.ruled(pair(pair(before.rule, t.nature), t.gap));
    sink.ruled(pair(pair(after.rule, t.nature), after.gap));
    sink.ruled(pair(pair(before2.rule, before.rule), pair(after.rule, after2.rule)));
}

struct Sink<'o> {
    out: &'o mut Vec<u32>,
    template: u64,
}

impl Sink<'_> {
    fn plain(&mut self, value: u64) {
        self.template += 1;
        self.push(value, 0);
    }

    fn lexical(&mut self, value: u64) {
        self.template += 1;
        self.push(value, LEXICAL);
    }

    /// With the template that the value holds itself.
    fn lexical_of(&mut self, value: u64) {
        self.push(value, LEXICAL);
    }

    fn ruled(&mut self, value: u64) {
        self.template += 1;
        self.push(value, RULED);
    }

    fn push(&mut self, value: u64, mark: u32) {
        let mixed = (value ^ self.template.wrapping_mul(MIX)).wrapping_mul(MIX);
        let row = (mixed >> 32) as u32 & (ROWS - 1);
        self.out.push(row | mark);
    }
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV, |hash, byte| step(hash, *byte))
}

const fn pair(a: u64, b: u64) -> u64 {
    (a.rotate_left(23) ^ b).wrapping_mul(MIX) ^ a
}
