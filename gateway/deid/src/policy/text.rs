//! `[text]`: what becomes of free text. Without this section, and of what it does not name, nothing of a text passes.
//!
//! ```toml
//! [text]
//! results = "coded-only"            # block, coded-only, scrub: OBX-5 of ST, TX and FT; valueString of observations
//! notes = "scrub"                   # NTE-3; annotations of FHIR
//! strings = "block"                 # what FHIR calls string or markdown and holds clinical prose, see [`crate::fhir`]
//! narratives = "block"              # block, scrub: narratives of FHIR
//! documents = "scrub"               # block, scrub: OBX-5 of ED; Attachment and Binary of FHIR; see [`crate::documents`]
//! replace_by = "tag"                # tag, surrogate: see [`crate::text`]; surrogates are derived from the person's data
//! acknowledged = "scrubbed text may keep identifiers"
//! [text.fields]                     # further fields of HL7 v2, of type ST, TX or FT, that are not about persons
//! "AL1-5" = "scrub"
//! ```

use super::section::Section;
use super::{Label, floor};
use crate::rules::Rule;

/// What a policy must say when it lets text through that was scrubbed.
pub(super) const ACKNOWLEDGED: &str = "scrubbed text may keep identifiers";

/// The keys of the section.
const KEYS: [&str; 8] =
    ["results", "notes", "strings", "narratives", "documents", "fields", "replace_by", "acknowledged"];

/// What becomes of texts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum TextMode {
    /// Nothing passes.
    #[default]
    Block,
    /// A text passes that says nothing but a result of the list, or a number or range.
    CodedOnly,
    /// What the text engine finds becomes its category; the rest passes.
    Scrub,
}

impl TextMode {
    const ALL: [(&str, Self); 3] =
        [("block", Self::Block), ("coded-only", Self::CodedOnly), ("scrub", Self::Scrub)];
    /// The mode of this name; what has none is blocked.
    pub(super) fn named(name: &str) -> Self {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, mode)| *mode).unwrap_or_default()
    }

    /// Of what is never one result.
    const OF_PROSE: [(&str, Self); 2] = [("block", Self::Block), ("scrub", Self::Scrub)];
}

/// Whether scrubbed texts pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScrubbedText {
    Passes,
    /// The gate found something in one of them.
    Withheld,
}

/// The section, compiled, but for `[text.fields]`, which become rules of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextRules {
    /// Whose categories go.
    pub(crate) label: Label,
    pub(crate) results: TextMode,
    pub(crate) notes: TextMode,
    pub(crate) strings: TextMode,
    pub(crate) narratives: TextMode,
    pub(crate) documents: TextMode,
    /// Names become other names, and not tags.
    pub(crate) surrogates: bool,
    /// Any text is scrubbed.
    pub(crate) scrubs: bool,
}

/// Reads the section. What cannot be read is blocked.
pub(super) fn rules(section: &Section<'_, '_>, label: Option<Label>) -> TextRules {
    section.only(&KEYS);
    let mode = |key: &str, all: &[(&str, TextMode)]| {
        if section.has(key) { section.choice(key, all).unwrap_or_default() } else { TextMode::Block }
    };
    let (results, notes) = (mode("results", &TextMode::ALL), mode("notes", &TextMode::ALL));
    let strings = mode("strings", &TextMode::ALL);
    let narratives = mode("narratives", &TextMode::OF_PROSE);
    let documents = mode("documents", &TextMode::OF_PROSE);
    let fields = section.section("fields");
    let of_fields =
        fields.entries().map(|(key, _)| fields.choice(key.get_ref(), &TextMode::ALL).unwrap_or_default());
    let modes: Vec<TextMode> =
        [results, notes, strings, narratives, documents].into_iter().chain(of_fields).collect();
    let scrubs = modes.contains(&TextMode::Scrub);
    let acknowledged = section.value("acknowledged").and_then(|value| value.get_ref().as_str());
    let unread = (scrubs && acknowledged != Some(ACKNOWLEDGED)).then_some(
        "the text engine does not find every identifier (docs/text.md has the figures), and whoever lets text through must know",
    );
    section.allowed(
        "acknowledged",
        label.filter(|label| *label != Label::Treatment),
        |_| unread,
        &format!("write acknowledged = \"{ACKNOWLEDGED}\""),
    );
    let surrogates = section.has("replace_by")
        && section.choice("replace_by", &[("tag", false), ("surrogate", true)]) == Some(true)
        && scrubs;
    let derived = |label| floor::forbids(label, Rule::Token).filter(|_| surrogates);
    section.allowed("replace_by", label, derived, "write \"tag\"");
    // What is scrubbed for treatment is scrubbed of everything.
    let label = label.filter(|label| *label != Label::Treatment).unwrap_or(Label::SafeHarbor);
    TextRules { label, results, notes, strings, narratives, documents, surrogates, scrubs }
}
