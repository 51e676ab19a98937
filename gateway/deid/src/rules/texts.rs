//! Free text of messages, before the walk: values that stand beneath each other as the lines of one note are read as one text,
//! and each value learns what becomes of it.

use std::collections::HashMap;

use hl7::{Delimiters, Field, Message, Segment, escape};

use super::meaning::{Meaning, Observation};
use super::{Rule, recognise};
use crate::documents::{self, Declared};
use crate::policy::{Compiled, TextMode};
use crate::tables::{SegmentName, TABLES};
use crate::tally::Touch;
use crate::text::{self, Category, Known, Replacements, Written};
use crate::token::TokenKey;

/// Most bytes of text of one message that are scrubbed. What stands beyond is removed.
pub const MESSAGE_TEXT_BYTES_MAX: usize = 2 << 20;
/// The type of documents: encapsulated data.
const DOCUMENT: &str = "ED";
/// Results that are no text of anybody's, in lower case.
pub(crate) const RESULTS: &str = include_str!("../../data/results.txt");

/// What becomes of the texts of a message, by where each value begins in it. Values that are not here are removed.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_place: HashMap<usize, Scrubbed>,
}

/// A value as it may leave.
#[derive(Debug)]
pub(super) struct Scrubbed {
    pub(super) bytes: Vec<u8>,
    /// What it was.
    pub(super) touch: Touch,
    /// What was replaced, by category and by the rule that found it.
    pub(super) found: Vec<(Category, &'static str)>,
}

impl Texts {
    /// Reads the texts that a policy scrubs.
    pub(super) fn of(message: &Message, policy: &Compiled, year: u16, tokens: Option<&TokenKey>) -> Self {
        let mut texts = Self::default();
        if !policy.text.scrubs {
            return texts;
        }
        let year = i16::try_from(year).unwrap_or(i16::MAX);
        let mut known = Known::of_message(message, year);
        // Documents first: they too tell whom texts may name.
        let documents = documents_of(message, policy, &mut known, year);
        let key = tokens.filter(|_| policy.text.surrogates).map(|key| (key, patient(message)));
        let replacements = Replacements::new(&known, key);
        let mut passage = Passage::default();
        let mut bytes = 0;
        for segment in message.segments() {
            let Ok(name) = SegmentName::try_from(segment.name()) else { continue };
            let Some(fields) = policy.segments.get(&name) else { continue };
            let observation =
                if &name == b"OBX" { Observation::of(&segment) } else { Observation::default() };
            for (number, (field, plan)) in (1..).zip(segment.fields().zip(fields)) {
                let is_document = plan.rule == Rule::ByValueType && is_document(&observation);
                if is_document || mode(policy, plan.rule, &observation) != TextMode::Scrub {
                    continue;
                }
                let place = Place { name, number, of: about(&segment) };
                if passage.place.as_ref() != Some(&place) {
                    passage.read(&known, policy, &replacements, &mut texts);
                    passage.place = Some(place);
                }
                bytes += field.raw().len();
                if bytes <= MESSAGE_TEXT_BYTES_MAX {
                    passage.field(message, field);
                }
            }
            if passage.place.as_ref().is_some_and(|place| place.name != name) {
                passage.read(&known, policy, &replacements, &mut texts);
            }
        }
        passage.read(&known, policy, &replacements, &mut texts);
        for Document { byte, delimiters, text } in documents {
            bytes += text.len();
            if bytes > MESSAGE_TEXT_BYTES_MAX {
                break;
            }
            let spans = spans(&text, &known, policy);
            let scrubbed = documents::to_base64(&replacements.in_text(&text, &spans));
            let parts = ["", "TEXT", "PLAIN", "Base64", &scrubbed];
            let parts: Vec<_> = parts.iter().map(|part| escape(part.as_bytes(), &delimiters)).collect();
            let bytes = parts.join(&delimiters.component());
            let found = spans.iter().map(|span| (span.category, span.rule)).collect();
            texts.by_place.insert(byte, Scrubbed { bytes, touch: Touch::Document, found });
        }
        texts
    }

    /// What becomes of the value that begins at this byte of the message.
    pub(super) fn at(&self, byte: usize) -> Option<&Scrubbed> {
        self.by_place.get(&byte)
    }
}

/// What becomes of a text in a field with this rule. Texts of which the observation says that they tell an age or a person are
/// no prose.
pub(super) fn mode(policy: &Compiled, rule: Rule, observation: &Observation<'_>) -> TextMode {
    match rule {
        Rule::Text(mode) => mode,
        Rule::ByValueType if observation.meaning == Meaning::Other => {
            match observation.value_type.and_then(|t| TABLES.data_type(t)).map(|t| t.name) {
                Some("ST" | "TX" | "FT") => policy.text.results,
                Some(DOCUMENT) => policy.text.documents,
                _ => TextMode::Block,
            }
        }
        _ => TextMode::Block,
    }
}

/// Whether an observation's value is a document.
pub(super) fn is_document(observation: &Observation<'_>) -> bool {
    observation.value_type.and_then(|t| TABLES.data_type(t)).is_some_and(|t| t.name == DOCUMENT)
}

/// Whose record it is, for surrogates: the first number of PID-3 with its authority, or that of PID-2.
fn patient(message: &Message) -> Vec<u8> {
    let Some(pid) = message.first(b"PID") else { return Vec::new() };
    let number = |field: usize| {
        let first = pid.field(field)?.repetitions().next()?;
        let part = |n: usize| first.component(n).map(|c| c.text().into_owned()).unwrap_or_default();
        (!part(1).is_empty()).then(|| format!("{}^{}", part(1), part(4)).into_bytes())
    };
    number(3).or_else(|| number(2)).unwrap_or_default()
}

/// A document that was read.
struct Document {
    /// In the message.
    byte: usize,
    delimiters: Delimiters,
    text: String,
}

fn documents_of(message: &Message, policy: &Compiled, known: &mut Known, year: i16) -> Vec<Document> {
    let mut documents = Vec::new();
    if policy.text.documents != TextMode::Scrub {
        return documents;
    }
    for segment in message.segments().filter(|segment| segment.name() == b"OBX") {
        let (Some(field), observation) = (segment.field(5), Observation::of(&segment)) else { continue };
        if !is_document(&observation) || mode(policy, Rule::ByValueType, &observation) != TextMode::Scrub {
            continue;
        }
        let delimiters = field.delimiters();
        for raw in super::values::cut(field.raw(), delimiters.repetition()) {
            let Some(place) = message.range_of(raw) else { continue };
            if let Some(text) = encapsulated(raw, &delimiters, known, year) {
                documents.push(Document { byte: place.start, delimiters, text });
            }
        }
    }
    documents
}

/// The text of an ED: application, type, subtype, encoding, data (HL7 v2.8.2 §2A.2.24).
fn encapsulated(raw: &[u8], delimiters: &Delimiters, known: &mut Known, year: i16) -> Option<String> {
    let mut parts = raw.splitn(5, |byte| *byte == delimiters.component());
    let mut part = || Written::of_hl7(parts.next()?, delimiters).text().map(str::to_owned);
    let (_application, kind, subtype, encoding, data) = (part()?, part()?, part()?, part()?, part()?);
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "base64" => documents::base64(data.as_bytes()).ok()?,
        "hex" => documents::hex(data.as_bytes()).ok()?,
        "a" | "" => data.into_bytes(),
        _ => return None,
    };
    let declared = if subtype.is_empty() { &kind } else { &subtype };
    documents::text(&bytes, Declared(declared), known, year).ok()
}

/// The places of a text that go.
fn spans(text: &str, known: &Known, policy: &Compiled) -> Vec<text::Span> {
    let mut spans = text::spans(text, known);
    spans.retain(|span| !span.category.stays_under(policy.text.label));
    spans
}

/// What an observation's text is about: lines of one note have the same code.
fn about<'m>(segment: &Segment<'m>) -> &'m [u8] {
    if segment.name() == b"OBX" { segment.field(3).map(|f| f.raw()).unwrap_or_default() } else { b"" }
}

/// Whether a text says nothing but a result of the list, a number or a range.
pub(crate) fn is_coded(text: &str) -> bool {
    recognise::is_range(text.trim().as_bytes()) || is_result(text)
}

/// Whether a text says nothing but a result of the list.
fn is_result(text: &str) -> bool {
    let text = text.trim();
    RESULTS.lines().filter(|line| !line.starts_with('#')).any(|line| line.eq_ignore_ascii_case(text))
}

/// The places that go of a text that is the whole value of an observation: none, where it is a result of the list and no
/// word of anybody's whom the record knows. `Axillary` in a note may be a name; where a temperature was taken it is none.
pub(crate) fn spans_of_result(text: &str, known: &Known) -> Vec<text::Span> {
    if is_result(text) && !known.holds_any(text) { Vec::new() } else { text::spans(text, known) }
}

/// Where texts that belong together stand.
#[derive(Debug, PartialEq, Eq)]
struct Place<'m> {
    name: SegmentName,
    number: usize,
    of: &'m [u8],
}

/// Values that are read as one text, each on a line of its own.
#[derive(Debug, Default)]
struct Passage<'m> {
    place: Option<Place<'m>>,
    text: String,
    values: Vec<Value<'m>>,
}

#[derive(Debug)]
struct Value<'m> {
    /// In the message.
    byte: usize,
    raw: &'m [u8],
    delimiters: Delimiters,
    written: Written,
    /// In the passage.
    start: usize,
}

impl<'m> Passage<'m> {
    fn field(&mut self, message: &Message, field: Field<'m>) {
        let delimiters = field.delimiters();
        for raw in super::values::cut(field.raw(), delimiters.repetition()).filter(|raw| !raw.is_empty()) {
            let written = Written::of_hl7(raw, &delimiters);
            // What is no text is not read, and so removed.
            let (Some(text), Some(place)) = (written.text(), message.range_of(raw)) else { continue };
            if !self.text.is_empty() {
                self.text.push('\n');
            }
            let start = self.text.len();
            self.text.push_str(text);
            self.values.push(Value { byte: place.start, raw, delimiters, written, start });
        }
    }

    fn read(&mut self, known: &Known, policy: &Compiled, replacements: &Replacements<'_>, texts: &mut Texts) {
        let Self { place, text, values } = std::mem::take(self);
        if values.is_empty() {
            return;
        }
        let is_result =
            place.is_some_and(|place| (&place.name, place.number) == (b"OBX", 5)) && values.len() == 1;
        let mut spans = if is_result { spans_of_result(&text, known) } else { text::spans(&text, known) };
        spans.retain(|span| !span.category.stays_under(policy.text.label));
        for value in values {
            let end = value.start + value.written.text().unwrap_or_default().len();
            let first = spans.partition_point(|span| span.range.end <= value.start);
            let within = || spans.iter().skip(first).take_while(|span| span.range.start < end);
            let within: Vec<_> = within()
                .map(|span| {
                    let range = span.range.start.max(value.start)..span.range.end.min(end);
                    let written = text.get(range.clone()).unwrap_or_default();
                    let replacement = replacements.of(span, written);
                    let escaped = escape(replacement.as_bytes(), &value.delimiters).into_owned();
                    (span, range.start - value.start..range.end - value.start, escaped)
                })
                .collect();
            let places = within.iter().map(|(_, range, escaped)| (range.clone(), escaped.as_slice()));
            let bytes = value.written.replaced(value.raw, places);
            let found = within.iter().map(|(span, ..)| (span.category, span.rule)).collect();
            texts.by_place.insert(value.byte, Scrubbed { bytes, touch: Touch::Text, found });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coded_texts_say_a_result_and_nothing_else() {
        assert!(spans_of_result("Axillary", &Known::default()).is_empty());
        let mut known = Known::default();
        known.person("Axillary", &["Rosa"]);
        assert_eq!(spans_of_result("Axillary", &known).len(), 1);
        for text in ["Positive", "NOT DETECTED", " 1+ ", "<0.5", "3.5-5.0", "no growth"] {
            assert!(is_coded(text), "{text}");
        }
        for text in ["", "Positive Smith", "# results", "555-123-4567", "SMITH", "see note of Dr. Smith"] {
            assert!(!is_coded(text), "{text}");
        }
        let listed: Vec<_> = RESULTS.lines().filter(|l| !l.starts_with('#')).collect();
        assert!(listed.is_sorted() && listed.iter().all(|l| !l.is_empty() && *l == l.to_lowercase()));
    }
}
