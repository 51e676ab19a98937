//! Documents in FHIR: Attachment and Binary. Where the policy scrubs documents and [`crate::documents`] reads one, it becomes
//! plain text; its address, title, size, hash and day go. Any other is removed, and so is what stands elsewhere (`url`).

use super::Walk;
use crate::documents::{self, Declared};
use crate::policy::TextMode;
use crate::tally::Touch;
use crate::text::Known;

const PLAIN: &str = "text/plain; charset=utf-8";

impl Walk<'_> {
    /// An attachment: its type and its text.
    pub(super) fn attachment(&mut self, at: usize) {
        if self.policy.text.documents == TextMode::Block {
            return self.tally.count(Touch::Removed);
        }
        let Some(text) = self.read(at) else { return self.tally.count(Touch::DocumentUnread) };
        let Some(data) = self.scrubbed_document(&text) else { return };
        self.out.extend_from_slice(format!("{{\"contentType\":\"{PLAIN}\",\"data\":\"{data}\"}}").as_bytes());
    }

    /// A member of the Binary at hand: its type is that of what becomes of its data.
    pub(super) fn binary(&mut self, name: &str) {
        let whole = self.binary.filter(|_| self.policy.text.documents != TextMode::Block);
        let Some(whole) = whole else { return self.tally.count(Touch::Removed) };
        match (name, self.read(whole)) {
            ("contentType", Some(_)) => self.text(PLAIN),
            ("data", Some(text)) => {
                if let Some(data) = self.scrubbed_document(&text) {
                    self.text(&data);
                }
            }
            ("data", None) => self.tally.count(Touch::DocumentUnread),
            _ => self.tally.count(Touch::CodeRefused),
        }
    }

    fn read(&self, at: usize) -> Option<String> {
        let declared = self.json.text_of(at, "contentType").unwrap_or_default();
        let data = self.json.text_of(at, "data")?;
        // Its people are known already.
        read(&declared, &data, &mut Known::default(), self.year)
    }

    fn scrubbed_document(&mut self, text: &str) -> Option<String> {
        let spans = self.found_in(text, Touch::Document)?;
        Some(documents::to_base64(&self.replacements().in_text(text, &spans)))
    }
}

/// The text of a document in base64.
pub(super) fn read(declared: &str, data: &str, known: &mut Known, year: i16) -> Option<String> {
    let bytes = documents::base64(data.as_bytes()).ok()?;
    documents::text(&bytes, Declared(declared), known, year).ok()
}
