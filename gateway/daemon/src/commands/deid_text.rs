//! `wardgate deid run text`: free text in, the text without what tells who someone is out. The output gate reads it
//! after, and what it stops is left out.

use std::io::{BufRead as _, Read as _, Write as _};

use anyhow::{Context as _, anyhow};
use deid::text::{Known, Span, TEXT_BYTES_MAX, scrub, spans};
use deid::{Label, Policy, gate};
use hl7::Message;
use model::Clock as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::TextFilter;
use crate::clock::SystemClock;
use crate::exit;

/// Longest line of JSON, in bytes: a text of which every byte is escaped, and what stands around it.
const LINE_BYTES_MAX: usize = 6 * TEXT_BYTES_MAX + 4096;

/// A line of JSON. What is called `id` comes out again.
#[derive(Deserialize)]
struct Document {
    id: Option<Value>,
    text: String,
}

struct Filter {
    label: Label,
    context: Option<Message>,
    known: Known,
    year: i16,
}

/// A text after the filter.
struct Filtered {
    /// What stays, or why it is held.
    text: Result<String, gate::Hit>,
    spans: Vec<Span>,
}

pub(super) fn run(policy: &Policy, asked: &TextFilter) -> anyhow::Result<()> {
    let context = asked.context.as_deref().map(|file| {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        Message::decode(bytes, None).map_err(|e| anyhow!("{}: {e}", file.display()))
    });
    let filter = Filter::new(policy.label(), context.transpose()?);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut held = 0;
    if asked.json_lines {
        let mut input = std::io::stdin().lock();
        for number in 1.. {
            let mut line = String::new();
            let limit = LINE_BYTES_MAX as u64;
            let read = input.by_ref().take(limit).read_line(&mut line).context("standard input")?;
            if read == 0 {
                break;
            }
            if read == LINE_BYTES_MAX {
                return Err(anyhow!("line {number}: longer than {LINE_BYTES_MAX} bytes"));
            }
            // The error of the parser may quote the text.
            let Document { id, text } = serde_json::from_str(&line)
                .map_err(|e| anyhow!("line {number}, column {}: not {{\"text\":…}}", e.column()))?;
            let filtered = filter.filter(&text);
            held += usize::from(filtered.text.is_err());
            writeln!(out, "{}", filtered.to_json(id, &text))?;
        }
    } else {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).context("standard input")?;
        let filtered = filter.filter(&text);
        if asked.spans {
            writeln!(out, "{}", Value::from(listed(&filtered.spans, &text)))?;
        } else {
            match filtered.text {
                Ok(text) => out.write_all(text.as_bytes())?,
                Err(hit) => return Err(anyhow!("held: the output gate found {hit}")),
            }
        }
    }
    out.flush()?;
    if held == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

impl Filter {
    fn new(label: Label, context: Option<Message>) -> Self {
        let year = SystemClock.now().year();
        let known = context.as_ref().map(|message| Known::of_message(message, year)).unwrap_or_default();
        Self { label, context, known, year }
    }

    fn filter(&self, text: &str) -> Filtered {
        let mut spans = spans(text, &self.known);
        spans.retain(|span| !span.category.stays_under(self.label));
        let scrubbed = scrub(text, &spans, self.label);
        let gate = gate::read_text(self.context.as_ref(), self.year, &scrubbed, self.label);
        Filtered { text: gate.map(|()| scrubbed), spans }
    }
}

impl Filtered {
    fn to_json(&self, id: Option<Value>, source: &str) -> Value {
        let mut line = serde_json::Map::new();
        line.extend(id.map(|id| ("id".to_owned(), id)));
        let text = self.text.as_deref().unwrap_or_default();
        line.insert("text".to_owned(), text.into());
        line.insert("spans".to_owned(), listed(&self.spans, source).into());
        if let Err(hit) = &self.text {
            line.insert("held".to_owned(), hit.kind.as_str().into());
        }
        line.into()
    }
}

/// Spans with their places in characters.
fn listed(spans: &[Span], text: &str) -> Vec<Value> {
    let (mut bytes, mut characters) = (0, 0);
    let mut place = |at: usize| {
        characters += text.get(bytes..at).map_or(0, |part| part.chars().count());
        bytes = at;
        characters
    };
    let one = |span: &Span| {
        let (start, end) = (place(span.range.start), place(span.range.end));
        let confidence = (f64::from(span.confidence) * 100.0).round() / 100.0;
        json!({
            "begin": start, "end": end, "category": span.category.as_str(), "rule": span.rule, "confidence": confidence,
        })
    };
    spans.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_text_scrubbed_and_its_places_in_characters() {
        let filter = Filter::new(Label::SafeHarbor, None);
        let text = "é: Dr. Alvarez";
        let line = filter.filter(text).to_json(Some(json!(7)), text);
        assert_eq!((&line["id"], &line["text"]), (&json!(7), &json!("é: Dr. [NAME]")));
        let span = &line["spans"][0];
        assert_eq!(
            (&span["begin"], &span["end"], &span["category"]),
            (&json!(7), &json!(14), &json!("name"))
        );
        let nameless = filter.filter("").to_json(None, "");
        assert_eq!(nameless, json!({ "text": "", "spans": [] }));
        let treatment = Filter::new(Label::Treatment, None).filter(text);
        assert_eq!((treatment.text.unwrap().as_str(), treatment.spans.len()), (text, 0));
    }
}
