//! Free text of FHIR, where the policy lets it through: results, annotations, narratives, and the strings of [`PROSE`].

use std::sync::LazyLock;

use fhir::validate::json::{Kind, Node};

use super::Walk;
use crate::documents::xhtml::Narrative;
use crate::policy::TextMode;
use crate::rules::meaning::Meaning;
use crate::rules::{is_coded, spans_of_result};
use crate::tally::Touch;
use crate::text::{self, Known, Replacements};

/// Most bytes of text of one resource or Bundle that are scrubbed. What stands beyond is removed.
const RESOURCE_TEXT_BYTES_MAX: usize = 2 << 20;
/// Elements that hold clinical prose, by the type that holds them. Other strings (names, titles, aliases, comments of
/// definitions) are removed.
const PROSE: [(&str, &str); 24] = [
    ("AllergyIntolerance.reaction", "description"),
    ("CarePlan", "description"),
    ("CarePlan.activity.detail", "description"),
    ("ClinicalImpression", "description"),
    ("ClinicalImpression", "summary"),
    ("ClinicalImpression.finding", "basis"),
    ("CodeableConcept", "text"),
    ("Communication.payload", "content"),
    ("CommunicationRequest.payload", "content"),
    ("Composition.section", "title"),
    ("DetectedIssue", "detail"),
    ("DiagnosticReport", "conclusion"),
    ("Dosage", "patientInstruction"),
    ("Dosage", "text"),
    ("DocumentReference", "description"),
    ("ImagingStudy", "description"),
    ("ImagingStudy.series", "description"),
    ("NutritionOrder.enteralFormula", "administrationInstruction"),
    ("NutritionOrder.oralDiet", "instruction"),
    ("QuestionnaireResponse.item", "text"),
    ("QuestionnaireResponse.item.answer", "value"),
    ("RiskAssessment", "mitigation"),
    ("RiskAssessment.prediction", "rationale"),
    ("ServiceRequest", "patientInstruction"),
];

impl Walk<'_> {
    /// A string or markdown.
    pub(super) fn string(&mut self, kind: &str, name: &str, node: &Node) {
        let is_result = matches!((kind, name), ("Observation" | "Observation.component", "value"));
        self.prose(self.mode_of_string(kind, name), is_result, node);
    }

    /// What becomes of a string or markdown.
    fn mode_of_string(&self, kind: &str, name: &str) -> TextMode {
        let rules = &self.policy.text;
        match (kind, name) {
            // What tells an age or a person is no prose.
            ("Observation" | "Observation.component", "value") if self.about.meaning == Meaning::Other => {
                rules.results
            }
            place if PROSE.contains(&place) => rules.strings,
            _ => TextMode::Block,
        }
    }

    fn prose(&mut self, mode: TextMode, is_result: bool, node: &Node) {
        let Some(text) = self.json.string(node) else { return self.tally.count(Touch::Removed) };
        match mode {
            TextMode::Block => self.tally.count(Touch::Removed),
            TextMode::CodedOnly if is_coded(&text) => {
                self.tally.count(Touch::TextCoded);
                self.as_written(node);
            }
            TextMode::CodedOnly => self.tally.count(Touch::Removed),
            TextMode::Scrub => match self.scrubbed(&text, is_result) {
                // Byte for byte where nothing was found.
                Some(scrubbed) if scrubbed == text => self.as_written(node),
                Some(scrubbed) => self.any_text(&scrubbed),
                None => {}
            },
        }
    }

    /// The text without what the engine found; counts. `None` where it may not be read.
    fn scrubbed(&mut self, text: &str, is_result: bool) -> Option<String> {
        let find = if is_result { spans_of_result } else { text::spans };
        let spans = self.found_by(find, text, Touch::Text)?;
        Some(self.replacements().in_text(text, &spans))
    }

    /// What stands in their place.
    pub(super) fn replacements(&self) -> Replacements<'_> {
        static NOBODY: LazyLock<Known> = LazyLock::new(Known::default);
        let key = self.tokens.key().filter(|_| self.policy.text.surrogates);
        let known = self.known.as_ref().unwrap_or(&NOBODY);
        Replacements::new(known, key.map(|key| (key, self.patient.clone().into_bytes())))
    }

    /// The places of a text that go; it counts as this.
    pub(super) fn found_in(&mut self, text: &str, touch: Touch) -> Option<Vec<text::Span>> {
        self.found_by(text::spans, text, touch)
    }

    fn found_by(
        &mut self,
        find: fn(&str, &Known) -> Vec<text::Span>,
        text: &str,
        touch: Touch,
    ) -> Option<Vec<text::Span>> {
        let Some(known) = &self.known else {
            self.tally.count(Touch::TextWithheld);
            return None;
        };
        self.text_bytes += text.len();
        if self.text_bytes > RESOURCE_TEXT_BYTES_MAX {
            self.tally.count(Touch::TextUnread);
            return None;
        }
        let mut spans = find(text, known);
        spans.retain(|span| !span.category.stays_under(self.policy.text.label));
        self.tally.count(touch);
        spans.iter().for_each(|span| self.tally.found(span.category, span.rule));
        Some(spans)
    }

    /// A string of the source, escapes and all.
    fn as_written(&mut self, node: &Node) {
        self.out.push(b'"');
        let raw = self.json.raw(node);
        self.out.extend_from_slice(raw.as_bytes());
        self.out.push(b'"');
    }

    /// Any text as a string.
    pub(super) fn any_text(&mut self, text: &str) {
        self.out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }

    /// An annotation: its text alone.
    pub(super) fn annotation(&mut self, at: usize) {
        let mode = self.policy.text.notes;
        let text = self.json.member(at, "text").filter(|(_, node)| is_string(node));
        let (Some((_, node)), false) = (text, mode == TextMode::Block) else {
            return self.tally.count(Touch::Removed);
        };
        let start = self.out.len();
        self.out.extend_from_slice(b"{\"text\":");
        let value = self.out.len();
        self.prose(mode, false, node);
        if self.out.len() == value { self.out.truncate(start) } else { self.out.push(b'}') }
    }

    /// A narrative: its form, and its text scrubbed.
    pub(super) fn narrative(&mut self, at: usize) {
        let status = self.json.text_of(at, "status").unwrap_or_default();
        let status =
            ["generated", "extensions", "additional", "empty"].into_iter().find(|known| *known == status);
        let div = self.json.text_of(at, "div").unwrap_or_default();
        let (Some(status), TextMode::Scrub) = (status, self.policy.text.narratives) else {
            return self.tally.count(Touch::Removed);
        };
        let narrative = Narrative::of(&div);
        let Some((narrative, text)) = narrative.as_ref().and_then(|n| Some((n, n.written.text()?))) else {
            return self.tally.count(Touch::TextUnread);
        };
        let Some(spans) = self.found_in(text, Touch::Text) else { return };
        let replacements = self.replacements();
        let written = |span: &text::Span| text.get(span.range.clone()).unwrap_or_default();
        let replaced: Vec<_> = spans.iter().map(|span| replacements.of(span, written(span))).collect();
        let places = spans.iter().zip(&replaced).map(|(span, by)| (span.range.clone(), by.as_bytes()));
        let markup = narrative.written.replaced(&narrative.markup, places);
        self.out.extend_from_slice(format!("{{\"status\":\"{status}\",\"div\":").as_bytes());
        self.any_text(&String::from_utf8_lossy(&markup));
        self.out.push(b'}');
    }
}

const fn is_string(node: &Node) -> bool {
    matches!(node.kind, Kind::String | Kind::Escaped)
}
