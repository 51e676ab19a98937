//! The trained part of the text engine: a linear tagger over the tokens of a text, which finds what no rule thought of.
//!
//! **Promise.** The same text and the same weights give the same spans on every machine: all arithmetic is in integers.
//!
//! **How.** Each token has some hundred features ([`features`]), each a row of [`LABELS`] weights of one byte; a label costs
//! what its rows add up to, and what it costs to stand behind the label before. What a label of a token is worth is what the
//! best path through it is (Viterbi's algorithm from both ends), so that a margin says how sure it is.
//! `examples/train-text.rs` makes the weights, `data/model.md` is their recipe and their hash.
//!
//! **Form of the weights**, under zstd: `WGT1`; 8 × 8 transitions, from row to column (i16, little
//! endian); [`ROWS`] rows of 8 weights (i8). Weights that are not of this form are no weights: then nothing
//! is found here, which a test would tell.
//!
//! **Limits.** [`ROWS`] rows; a text has as many tokens as [`super::TEXT_BYTES_MAX`] allows.

mod features;

use std::sync::LazyLock;

pub use features::{Features, LEXICAL, ROW_MASK, RULED};

use super::normal::Normal;
use super::tokens::{Kind, Token, Tokens};
use super::{Category, Known, Span, numbers};

/// Labels of a token.
pub const LABELS: usize = 8;
/// Rows of weights; a power of two.
pub const ROWS: u32 = 1 << 18;

pub(super) const PACKED: &[u8] = include_bytes!("../../../data/model.zst");
const MAGIC: &[u8; 4] = b"WGT1";
/// Bytes before the rows.
const HEAD_BYTES: usize = MAGIC.len() + LABELS * LABELS * 2;
const UNPACKED_BYTES: usize = HEAD_BYTES + (ROWS as usize) * LABELS;
/// What the confidence of a span rises by: half of it for a margin of so much.
const MARGIN_SCALE: f32 = 120.0;
/// The rule that a span of the tagger has.
pub(super) const RULE: &str = "model";
/// A name so sure is one wherever it stands.
pub(super) const SURE: f32 = 0.8;

/// From this margin on a token is part of a span; from the other down a guess of the rules is plain. Found on held-out
/// documents (`data/model.md`).
const MARGIN_MIN: i32 = -150;
const MARGIN_PLAIN: i32 = -600;
/// What is written as a diagnosis or an amount is a number of somebody from this margin on.
const MARGIN_CODE: i32 = 400;
/// Rules that take a word because nothing else is known of it.
const GUESSES: [&str; 7] = [
    "capital-in-sentence",
    "named-in-sentence",
    "unlisted-capitals",
    "unlisted-word",
    "initials",
    "speaker",
    "joined-name",
];
/// Words between a facility and those who are there with somebody.
const COMPANY: [&str; 5] = ["with", "by", "for", "from", "to"];
/// Most bytes between two tokens of one span.
const GAP_BYTES_MAX: usize = 3;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::unpack(PACKED).unwrap_or_default());

/// What a token is part of. The number is its column in the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// Nothing that tells of anybody.
    Plain = 0,
    /// A name.
    Name = 1,
    /// An address, a town, a ZIP code.
    Place = 2,
    /// A hospital, an employer, a school.
    Facility = 3,
    /// A date.
    Date = 4,
    /// An age over 89.
    Age = 5,
    /// Any number or code.
    Number = 6,
    /// A page or an address of mail.
    Net = 7,
}

/// All labels by their column.
pub const ALL: [Label; LABELS] = [
    Label::Plain,
    Label::Name,
    Label::Place,
    Label::Facility,
    Label::Date,
    Label::Age,
    Label::Number,
    Label::Net,
];

/// A text as training sees it.
#[derive(Debug)]
pub struct Reading {
    /// The tokens, in bytes of the text.
    pub tokens: Vec<std::ops::Range<usize>>,
    /// Their features.
    pub features: Features,
}

/// Reads a text as [`super::spans`] does, without looking at the weights.
pub fn read(text: &str) -> Reading {
    let normal = Normal::of(text);
    let tokens = Tokens::of(&normal);
    let found = super::by_rules(&normal, &tokens, &Known::default());
    let places = (0..tokens.len()).filter_map(|n| tokens.get(n));
    Reading {
        tokens: places.map(|t| normal.origin(t.start)..normal.origin(t.end)).collect(),
        features: features::features(&tokens, &found),
    }
}

/// Adds what the tagger finds in a text to what the rules found there, and takes from that what was only guessed and what
/// the tagger is sure to be plain.
pub(super) fn find(tokens: &Tokens<'_>, found: Vec<Span>) -> Vec<Span> {
    if MODEL.rows.is_empty() {
        return found;
    }
    let scores = MODEL.scores(&features::features(tokens, &found));
    let margins = margins(&scores, &MODEL.transitions);
    let mut out: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        if GUESSES.contains(&span.rule) {
            kept(tokens, &margins, &span, &mut out);
        } else {
            out.push(span);
        }
    }
    let named = named(&out);
    let (mut last, mut is_of_names) = (None, false);
    for (n, (label, margin)) in margins.iter().copied().enumerate() {
        let clinical =
            || label == Label::Number && margin < MARGIN_CODE && numbers::is_clinical_code(tokens, n);
        let Some(token) = tokens.get(n).filter(|_| margin >= MARGIN_MIN && !clinical()) else {
            last = None;
            continue;
        };
        let confidence = confidence(margin);
        let gap = tokens.gap_before(n);
        let goes_on = last == Some(label) && gap.len() <= GAP_BYTES_MAX && !gap.contains(['\n', ';']);
        // `Acme Roofing with Park and Mann`: what follows are the names that the rules found.
        is_of_names = label == Label::Facility
            && if is_of_names {
                is_named(&named, &token) || leads_to_name(tokens, n, &named)
            } else {
                goes_on && COMPANY.contains(&tokens.word(n)) && leads_to_name(tokens, n, &named)
            };
        if is_of_names {
            last = None;
            continue;
        }
        last = Some(label);
        if goes_on && let Some(span) = out.last_mut() {
            span.range.end = token.end;
            span.confidence = span.confidence.max(confidence);
            continue;
        }
        let category = category(label, token.kind);
        out.push(Span { range: token.start..token.end, category, rule: RULE, confidence });
    }
    out
}

/// The names that the rules found, in order and apart.
fn named(found: &[Span]) -> Vec<std::ops::Range<usize>> {
    let names = found.iter().filter(|span| span.category == Category::Name);
    let mut names: Vec<_> = names.map(|span| span.range.clone()).collect();
    names.sort_unstable_by_key(|range| range.start);
    names.dedup_by(|next, kept| {
        let touches = next.start <= kept.end;
        kept.end = if touches { kept.end.max(next.end) } else { kept.end };
        touches
    });
    names
}

fn is_named(named: &[std::ops::Range<usize>], token: &Token) -> bool {
    let at = named.partition_point(|range| range.end <= token.start);
    named.get(at).is_some_and(|range| range.start < token.end)
}

/// Whether a small word of grammar stands before such a name.
fn leads_to_name(tokens: &Tokens<'_>, n: usize, named: &[std::ops::Range<usize>]) -> bool {
    let is_small = tokens.written(n).first().is_some_and(u8::is_ascii_lowercase);
    let is_joint = is_small && tokens.get(n).is_some_and(|token| token.grammar);
    is_joint && tokens.get(n + 1).is_some_and(|next| is_named(named, &next))
}

/// Those parts of a guess that the tagger is not sure to be plain.
fn kept(tokens: &Tokens<'_>, margins: &[(Label, i32)], span: &Span, out: &mut Vec<Span>) {
    let mut n = tokens.at(span.range.start);
    let mut part: Option<std::ops::Range<usize>> = None;
    let mut give = |range| out.push(Span { range, ..span.clone() });
    while let Some(token) = tokens.get(n).filter(|t| t.start < span.range.end) {
        let plain = margins.get(n).is_some_and(|(_, margin)| *margin < MARGIN_PLAIN);
        match (&mut part, plain) {
            (Some(part), false) => part.end = token.end,
            (None, false) => part = Some(token.start..token.end),
            (_, true) => part.take().into_iter().for_each(&mut give),
        }
        n += 1;
    }
    part.into_iter().for_each(give);
}

/// For each token the label that it has if it has any, and by how much the best path through that label is better than the
/// best on which the token is plain.
fn margins(scores: &[[i32; LABELS]], transitions: &[[i32; LABELS]; LABELS]) -> Vec<(Label, i32)> {
    let top = |best: &[i32; LABELS], step: &dyn Fn(usize, usize) -> i32, to: usize| {
        let sums = best.iter().enumerate().map(|(from, path)| path + step(from, to));
        sums.max().unwrap_or_default()
    };
    let step = |from: usize, to: usize| {
        transitions.get(from).and_then(|row| row.get(to)).copied().unwrap_or_default()
    };
    // What the best path behind each token is worth, by the token's label.
    let mut behind = vec![[0_i32; LABELS]; scores.len()];
    let mut best = [0_i32; LABELS];
    for (n, slot) in behind.iter_mut().enumerate().rev() {
        *slot = best;
        let Some(here) = scores.get(n) else { break };
        let mut sums = *here;
        for (sum, best) in sums.iter_mut().zip(best) {
            *sum += best;
        }
        for (label, value) in best.iter_mut().enumerate() {
            *value = top(&sums, &|from, to| step(to, from), label);
        }
    }
    let mut best = [0_i32; LABELS];
    let mut out = Vec::with_capacity(scores.len());
    for (n, (here, behind)) in scores.iter().zip(&behind).enumerate() {
        let mut next = *here;
        if n > 0 {
            for (label, value) in next.iter_mut().enumerate() {
                *value += top(&best, &step, label);
            }
        }
        best = next;
        let whole = best.iter().zip(behind).map(|(before, behind)| before + behind);
        let (mut plain, mut label, mut most) = (0, Label::Name, i32::MIN);
        for (value, this) in whole.zip(ALL) {
            if this == Label::Plain {
                plain = value;
            } else if value > most {
                (label, most) = (this, value);
            }
        }
        out.push((label, most.saturating_sub(plain)));
    }
    out
}

/// From a margin between a label and none: one half where there is none, and never as sure as a rule that counts digits.
fn confidence(margin: i32) -> f32 {
    let margin = f32::from(i16::try_from(margin.clamp(-2_000, 2_000)).unwrap_or_default());
    (0.5 + 0.4 * margin / (margin.abs() + MARGIN_SCALE)).clamp(0.05, 0.9)
}

const fn category(label: Label, first: Kind) -> Category {
    match (label, first) {
        (Label::Plain | Label::Name, _) => Category::Name,
        (Label::Place, Kind::Word) => Category::Location,
        (Label::Place, _) => Category::Address,
        (Label::Facility, _) => Category::Facility,
        (Label::Date, _) => Category::Date,
        (Label::Age, _) => Category::Age,
        (Label::Number, _) => Category::Id,
        (Label::Net, _) => Category::Url,
    }
}

#[derive(Debug, Default)]
struct Model {
    transitions: [[i32; LABELS]; LABELS],
    rows: Vec<[i8; LABELS]>,
}

impl Model {
    fn unpack(packed: &[u8]) -> Option<Self> {
        let raw = zstd::bulk::decompress(packed, UNPACKED_BYTES).ok()?;
        let rest = raw.strip_prefix(MAGIC).filter(|_| raw.len() == UNPACKED_BYTES)?;
        let (head, rows) = rest.split_at_checked(HEAD_BYTES - MAGIC.len())?;
        let mut numbers = head.as_chunks::<2>().0.iter().map(|pair| i32::from(i16::from_le_bytes(*pair)));
        let mut transitions = [[0; LABELS]; LABELS];
        for row in &mut transitions {
            for value in row {
                *value = numbers.next()?;
            }
        }
        let rows = rows.as_chunks::<LABELS>().0.iter().map(|row| row.map(u8::cast_signed)).collect();
        Some(Self { transitions, rows })
    }

    fn scores(&self, features: &Features) -> Vec<[i32; LABELS]> {
        let one = |n: usize| {
            let mut sum = [0_i32; LABELS];
            for feature in features.of(n) {
                let row = usize::try_from(feature & ROW_MASK).unwrap_or_default();
                let Some(row) = self.rows.get(row) else { continue };
                for (sum, weight) in sum.iter_mut().zip(row) {
                    *sum += i32::from(*weight);
                }
            }
            sum
        };
        (0..features.len()).map(one).collect()
    }
}

/// The labels of the best path. Of two that are as good, the one of the smaller number.
pub fn viterbi<T>(scores: &[[T; LABELS]], transitions: &[[T; LABELS]; LABELS]) -> Vec<u8>
where
    T: Copy + Default + PartialOrd + std::ops::Add<Output = T>,
{
    let mut back: Vec<[u8; LABELS]> = Vec::with_capacity(scores.len());
    let mut best = [T::default(); LABELS];
    for (n, here) in scores.iter().enumerate() {
        let mut next = *here;
        let mut from = [0_u8; LABELS];
        if n > 0 {
            for (to, (value, from)) in next.iter_mut().zip(&mut from).enumerate() {
                let mut top: Option<T> = None;
                for (number, (path, row)) in (0_u8..).zip(best.iter().zip(transitions)) {
                    let Some(step) = row.get(to) else { continue };
                    let sum = *path + *step;
                    if top.is_none_or(|top| sum > top) {
                        (top, *from) = (Some(sum), number);
                    }
                }
                *value = *value + top.unwrap_or_default();
            }
        }
        best = next;
        back.push(from);
    }
    let mut last = 0_u8;
    let mut top = best.first().copied().unwrap_or_default();
    for (number, value) in (0_u8..).zip(best) {
        if value > top {
            (last, top) = (number, value);
        }
    }
    let mut path = vec![0_u8; scores.len()];
    for (slot, from) in path.iter_mut().zip(&back).rev() {
        *slot = last;
        last = from.get(usize::from(last)).copied().unwrap_or_default();
    }
    path
}

/// Weights in the form that is read here, packed.
///
/// # Errors
/// Where there are not [`ROWS`] rows, or zstd fails.
pub fn pack(transitions: &[[i16; LABELS]; LABELS], rows: &[[i8; LABELS]]) -> std::io::Result<Vec<u8>> {
    if u32::try_from(rows.len()) != Ok(ROWS) {
        return Err(std::io::Error::other(format!("{} rows instead of {ROWS}", rows.len())));
    }
    let mut raw = Vec::with_capacity(UNPACKED_BYTES);
    raw.extend_from_slice(MAGIC);
    raw.extend(transitions.iter().flatten().flat_map(|weight| weight.to_le_bytes()));
    raw.extend(rows.iter().flatten().map(|weight| weight.cast_unsigned()));
    zstd::bulk::compress(&raw, LEVEL)
}

const LEVEL: i32 = 19;

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(&str, Category)> {
        let normal = Normal::of(text);
        let tokens = Tokens::of(&normal);
        find(&tokens, Vec::new())
            .into_iter()
            .map(|span| (text.get(span.range).unwrap(), span.category))
            .collect()
    }

    #[test]
    fn the_weights_are_those_of_the_recipe() {
        assert_eq!(MODEL.rows.len(), ROWS as usize);
        let hash = digest::digest(&digest::SHA256, PACKED);
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(include_str!("../../../data/model.md").contains(&hash), "data/model.md should say {hash}");
        assert!(PACKED.len() <= 3 << 19, "{} bytes of weights", PACKED.len());
    }

    #[test]
    fn what_no_list_knows_is_found_by_what_stands_about_it() {
        assert_eq!(found("Dictated by Xavuchi Brembolanti, MD"), [("Xavuchi Brembolanti", Category::Name)]);
        assert_eq!(
            found("Discharged to Ghulvane Care Center."),
            [("Ghulvane Care Center", Category::Facility)]
        );
        assert_eq!(found("Metformin 500 mg twice daily, sodium 138, strength 5/5."), []);
    }

    #[test]
    fn weights_of_another_form_are_none() {
        assert!(Model::unpack(&PACKED[..PACKED.len() / 2]).is_none());
        assert!(Model::unpack(&zstd::bulk::compress(b"WGT2", 1).unwrap()).is_none());
        assert!(Model::unpack(b"").is_none());
        let rows = vec![[-3_i8; LABELS]; ROWS as usize];
        let packed = pack(&[[-7; LABELS]; LABELS], &rows).unwrap();
        let model = Model::unpack(&packed).unwrap();
        assert_eq!((model.transitions, &model.rows), ([[-7; LABELS]; LABELS], &rows));
        assert!(pack(&[[0; LABELS]; LABELS], &rows[1..]).is_err());
    }

    fn worth(path: &[usize], scores: &[[i32; LABELS]], transitions: &[[i32; LABELS]; LABELS]) -> i32 {
        let steps: i32 = path.windows(2).map(|pair| transitions[pair[0]][pair[1]]).sum();
        steps + path.iter().zip(scores).map(|(label, scores)| scores[*label]).sum::<i32>()
    }

    fn weights() -> impl Strategy<Value = [[i32; LABELS]; LABELS]> {
        prop::array::uniform8(prop::array::uniform8(-50_i32..50))
    }

    proptest! {
        #[test]
        fn margins_and_paths_are_those_of_all_paths(scores in prop::collection::vec(prop::array::uniform8(-50_i32..50), 1..5), transitions in weights()) {
            let mut paths: Vec<Vec<usize>> = vec![Vec::new()];
            for _ in &scores {
                paths = paths.iter().flat_map(|path| (0..LABELS).map(|label| [path.as_slice(), &[label]].concat())).collect();
            }
            let best = |keep: &dyn Fn(&[usize]) -> bool| {
                paths.iter().filter(|path| keep(path)).map(|path| worth(path, &scores, &transitions)).max().unwrap()
            };
            let path: Vec<usize> = viterbi(&scores, &transitions).into_iter().map(usize::from).collect();
            prop_assert_eq!(worth(&path, &scores, &transitions), best(&|_| true));
            for (n, (label, margin)) in margins(&scores, &transitions).into_iter().enumerate() {
                let through = best(&|path| path[n] == label as usize);
                prop_assert_eq!(through, best(&|path| path[n] != 0));
                prop_assert_eq!(margin, through - best(&|path| path[n] == 0));
            }
        }
    }
}
