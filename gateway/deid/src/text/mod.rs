//! The text engine: where in a free text someone could be told from, and the text without those places.
//!
//! **Promise.** [`scrub`] replaces every place that [`spans`] finds by the name of its category. What it does not find
//! stays: so the engine alone releases nothing, and texts of messages and resources are removed unless a policy says
//! otherwise and that it knows. `wardgate deid run text` shows what the engine does, so that anyone can measure it.
//!
//! **How.** The text is made plain ([`normal`]), cut into words and numbers ([`tokens`]) and read by: what its message
//! knows ([`known`]), patterns ([`dates`], [`numbers`], [`streets`], [`networks`]), what stands around a name
//! ([`lexicon`]), and lists of names and of English words ([`names`], [`words`]). Nothing is interpreted as a regular
//! expression, and every look ahead or back is over a named number of words; what is found is sorted once.
//!
//! **Surrogates.** By policy names become other names instead of tags ([`surrogate`]).
//!
//! **Limits.** A text of more than [`TEXT_BYTES_MAX`] is one span from end to end.

mod dates;
mod kinds;
mod known;
mod lexicon;
mod names;
mod networks;
mod normal;
mod numbers;
mod streets;
mod surrogate;
pub mod tagger;
mod tokens;
mod words;
mod written;

use std::ops::Range;

pub use known::Known;
pub(crate) use surrogate::Replacements;
pub(crate) use written::Written;

use crate::Label;
use normal::Normal;
use tokens::Tokens;

/// Longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// A rule that is surer than so much names the category of a place that the tagger found as well.
const NAMED_BY_TAGGER_MAX: f32 = 0.65;
/// Most bytes between two parts of a name.
const NAME_GAP_MAX: usize = 2;

/// What the engine knows beforehand: part of the hash of every policy that lets a scrubbed text through.
pub(crate) const SOURCES: [&[u8]; 5] = [
    words::PACKED,
    tagger::PACKED,
    lexicon::SOURCE.as_bytes(),
    lexicon::CLINIC_WORDS.as_bytes(),
    surrogate::SOURCE.as_bytes(),
];

/// What a place in a text tells. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// A person's name.
    Name,
    /// A date, with its time.
    Date,
    /// An age over 89.
    Age,
    /// A telephone or fax number.
    Phone,
    /// A social security number.
    Ssn,
    /// Any other number of a person or a thing.
    Id,
    /// An address of mail.
    Email,
    /// A page.
    Url,
    /// A host or a device in a network.
    Ip,
    /// A street, a post box.
    Address,
    /// A ZIP code.
    Zip,
    /// A town or another place.
    Location,
    /// A hospital, a school, an employer.
    Facility,
    /// A text that is too long to be read.
    Unread,
}

impl Category {
    /// As the tag has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Date => "date",
            Self::Age => "age",
            Self::Phone => "phone",
            Self::Ssn => "ssn",
            Self::Id => "id",
            Self::Email => "email",
            Self::Url => "url",
            Self::Ip => "ip",
            Self::Address => "address",
            Self::Zip => "zip",
            Self::Location => "location",
            Self::Facility => "facility",
            Self::Unread => "unread",
        }
    }

    /// What stands in its place.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Name => "[NAME]",
            Self::Date => "[DATE]",
            Self::Age => "[AGE]",
            Self::Phone => "[PHONE]",
            Self::Ssn => "[SSN]",
            Self::Id => "[ID]",
            Self::Email => "[EMAIL]",
            Self::Url => "[URL]",
            Self::Ip => "[IP]",
            Self::Address => "[ADDRESS]",
            Self::Zip => "[ZIP]",
            Self::Location => "[LOCATION]",
            Self::Facility => "[FACILITY]",
            Self::Unread => "[UNREAD]",
        }
    }

    /// Whether a label allows it: dates, ages and ZIP codes stay in a limited data set. Towns might too, but an unknown
    /// word after `in` may be anything, so they go.
    pub const fn stays_under(self, label: Label) -> bool {
        match label {
            Label::Treatment => true,
            Label::SafeHarbor | Label::ExpertDetermination => false,
            Label::LimitedDataSet => matches!(self, Self::Date | Self::Age | Self::Zip),
        }
    }
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// In bytes, at the ends of characters.
    pub range: Range<usize>,
    /// What it tells.
    pub category: Category,
    /// The rule that found it.
    pub rule: &'static str,
    /// From 0 to 1.
    pub confidence: f32,
}

/// Every place of a text that tells who someone is, in order; none touches another.
pub fn spans(text: &str, known: &Known) -> Vec<Span> {
    if text.len() > TEXT_BYTES_MAX {
        return vec![Span {
            range: 0..text.len(),
            category: Category::Unread,
            rule: "too-long",
            confidence: 1.0,
        }];
    }
    let normal = Normal::of(text);
    let tokens = Tokens::of(&normal);
    let found = by_rules(&normal, &tokens, known);
    let mut found = names::again(&tokens, known, tagger::find(&tokens, found));
    found.extend(known.find(&normal));
    let mut spans = apart(found, normal.lower());
    for span in &mut spans {
        span.range = normal.origin(span.range.start)..normal.origin(span.range.end);
    }
    spans
}

/// What rules and lists find, in no order; places may overlap.
fn by_rules(normal: &Normal, tokens: &Tokens<'_>, known: &Known) -> Vec<Span> {
    let mut found = networks::find(normal.lower());
    found.extend(numbers::find(tokens, known));
    found.extend(names::find(tokens, known));
    found
}

/// The text without what its label does not allow: each place becomes its category in brackets.
pub fn scrub(text: &str, spans: &[Span], label: Label) -> String {
    let gone = spans.iter().filter(|span| !span.category.stays_under(label));
    replaced(text, gone.map(|span| (span, span.category.tag().into())))
}

/// The text with these places replaced.
pub(crate) fn replaced<'s>(
    text: &str,
    places: impl Iterator<Item = (&'s Span, std::borrow::Cow<'static, str>)>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (span, replacement) in places {
        out.push_str(text.get(at..span.range.start).unwrap_or_default());
        out.push_str(&replacement);
        at = span.range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Checks what holds for any text: places are apart, in order and end at characters, and nothing else goes.
///
/// # Panics
/// Where one of that does not hold: a fault of this module.
pub fn fuzz(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let spans = spans(&text, &Known::default());
    let mut end = 0;
    for span in &spans {
        assert!(
            span.range.start >= end && span.range.end > span.range.start,
            "{:?} behind {end}",
            span.range
        );
        assert!(text.get(span.range.clone()).is_some(), "{:?} cuts a character", span.range);
        end = span.range.end;
    }
    let scrubbed = scrub(&text, &spans, Label::SafeHarbor);
    let kept = text.len() - spans.iter().map(|span| span.range.len()).sum::<usize>();
    let tags: usize = spans.iter().map(|span| span.category.tag().len()).sum();
    assert_eq!(scrubbed.len(), kept + tags, "something was left or lost");
}

/// Checks what holds for any value of HL7 v2 as text: where nothing is replaced every byte stays, and a replacement brings in no
/// delimiter.
///
/// # Panics
/// Where one of that does not hold: a fault of this module.
pub fn fuzz_written(input: &[u8]) {
    let delimiters = hl7::Delimiters::STANDARD;
    let written = Written::of_hl7(input, &delimiters);
    assert_eq!(written.replaced(input, []), input, "something changed");
    let Some(text) = written.text() else { return };
    let spans = spans(text, &Known::default());
    let places = spans.iter().map(|span| (span.range.clone(), span.category.tag().as_bytes()));
    let replaced = written.replaced(input, places);
    let count = |bytes: &[u8], b: u8| bytes.iter().filter(|byte| **byte == b).count();
    for delimiter in *b"|^~&\r" {
        assert!(count(&replaced, delimiter) <= count(input, delimiter), "a delimiter came in");
    }
}

/// Sorts, and makes one of those that overlap; the surer one names it. Parts of a name become one name.
fn apart(mut found: Vec<Span>, text: &str) -> Vec<Span> {
    found.sort_by_key(|span| (span.range.start, span.range.end));
    let mut out: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        let Some(last) = out.last_mut() else {
            out.push(span);
            continue;
        };
        let between = text.get(last.range.end..span.range.start);
        let parts = last.category == Category::Name
            && span.category == Category::Name
            && between.is_some_and(|gap| {
                gap.len() <= NAME_GAP_MAX && gap.chars().all(|c| matches!(c, ' ' | ',' | '.' | '-'))
            });
        if span.range.start >= last.range.end && !parts {
            out.push(span);
            continue;
        }
        last.range.end = last.range.end.max(span.range.end);
        // What may stay under one label must not take along what may not.
        let strict = |category: Category| !category.stays_under(Label::LimitedDataSet);
        let stricter = strict(span.category) && !strict(last.category);
        let looser = !strict(span.category) && strict(last.category);
        // The tagger knows less of categories than a rule that counts digits.
        let sure = |span: &Span| {
            if span.rule == tagger::RULE { span.confidence.min(NAMED_BY_TAGGER_MAX) } else { span.confidence }
        };
        if stricter || !looser && sure(&span) > sure(last) {
            (last.category, last.rule, last.confidence) = (span.category, span.rule, span.confidence);
        }
    }
    out
}

#[cfg(test)]
mod tests;
