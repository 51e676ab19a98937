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

use super::compile::Section;
use super::{CompileError, Label, floor};
use crate::rules::Rule;

/// What a policy must say when it lets text through that was scrubbed.
pub(super) const ACKNOWLEDGED: &str = "scrubbed text may keep identifiers";

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

/// Reads the section.
pub(super) fn rules(section: &Section<'_, '_>, label: Label) -> Result<TextRules, CompileError> {
    section.only(&[
        "results",
        "notes",
        "strings",
        "narratives",
        "documents",
        "fields",
        "replace_by",
        "acknowledged",
    ])?;
    let mode = |key: &str, all: &[(&str, TextMode)]| {
        if section.has(key) { section.choice(key, all) } else { Ok(TextMode::Block) }
    };
    let (results, notes) = (mode("results", &TextMode::ALL)?, mode("notes", &TextMode::ALL)?);
    let strings = mode("strings", &TextMode::ALL)?;
    let narratives = mode("narratives", &TextMode::OF_PROSE)?;
    let documents = mode("documents", &TextMode::OF_PROSE)?;
    let fields = section.section("fields")?;
    let mut modes = vec![results, notes, strings, narratives, documents];
    for key in fields.keys() {
        modes.push(fields.choice(key, &TextMode::ALL)?);
    }
    let scrubs = modes.contains(&TextMode::Scrub);
    if scrubs && label != Label::Treatment && !section.says("acknowledged", ACKNOWLEDGED) {
        let what = format!(
            "label `{label}`: the text engine does not find every identifier (docs/text.md has the figures), and whoever \
             lets text through must know"
        );
        return Err(section.error_at(
            "acknowledged",
            what,
            Some(format!("write acknowledged = \"{ACKNOWLEDGED}\"")),
        ));
    }
    let surrogates = scrubs
        && section.has("replace_by")
        && section.choice("replace_by", &[("tag", false), ("surrogate", true)])?;
    if let Some(law) = floor::forbids(label, Rule::Token).filter(|_| surrogates) {
        return Err(section.error_at(
            "replace_by",
            format!("label `{label}`: {law}"),
            Some("write \"tag\"".into()),
        ));
    }
    // What is scrubbed for treatment is scrubbed of everything.
    let label = if label == Label::Treatment { Label::SafeHarbor } else { label };
    Ok(TextRules { label, results, notes, strings, narratives, documents, surrogates, scrubs })
}

/// The mode of a field of `[text.fields]`.
pub(super) fn mode_of(section: &Section<'_, '_>, key: &str) -> Result<TextMode, CompileError> {
    section.choice(key, &TextMode::ALL)
}
