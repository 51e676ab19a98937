//! `[fhir]`: what becomes of FHIR R4. The rules themselves stand in [`crate::fhir`]; coding systems and ages are those of the
//! rest of the policy.
//!
//! ```toml
//! [fhir]                            # without this section FHIR is held
//! dates = "year"                    # remove, year, keep
//! addresses = "state-zip3"          # remove, state-zip3, city-state-zip
//! identifiers = "remove"            # remove, token
//! ids = "number"                    # number: within the release; token: the same in every release of this destination
//! ```

use super::compile::Section;
use super::{CompileError, Label, floor};
use crate::rules::Rule;

/// What becomes of dates and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FhirDate {
    Remove,
    Year,
    Keep,
}

/// What becomes of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FhirAddress {
    Remove,
    StateZip3,
    CityStateZip,
}

/// The section, compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FhirRules {
    pub(crate) dates: FhirDate,
    pub(crate) addresses: FhirAddress,
    pub(crate) identifiers_are_tokens: bool,
    pub(crate) ids_are_tokens: bool,
}

impl FhirRules {
    /// Whether it makes keyed tokens.
    pub(crate) const fn needs_token_key(&self) -> bool {
        self.identifiers_are_tokens || self.ids_are_tokens
    }
}

/// Reads the section; `None` where there is none.
pub(super) fn rules(section: &Section<'_, '_>, label: Label) -> Result<Option<FhirRules>, CompileError> {
    if section.is_missing() {
        return Ok(None);
    }
    section.only(&["dates", "addresses", "identifiers", "ids"])?;
    let allowed = |key: &str, like: Option<Rule>| {
        let law = like.and_then(|rule| floor::forbids(label, rule));
        law.map_or(Ok(()), |law| Err(section.error_at(key, format!("label `{label}`: {law}"), None)))
    };
    let dates = section.choice(
        "dates",
        &[("remove", FhirDate::Remove), ("year", FhirDate::Year), ("keep", FhirDate::Keep)],
    )?;
    allowed("dates", (dates == FhirDate::Keep).then_some(Rule::Date))?;
    let addresses = section.choice(
        "addresses",
        &[
            ("remove", FhirAddress::Remove),
            ("state-zip3", FhirAddress::StateZip3),
            ("city-state-zip", FhirAddress::CityStateZip),
        ],
    )?;
    allowed("addresses", (addresses == FhirAddress::CityStateZip).then_some(Rule::CityStateZip))?;
    let identifiers_are_tokens = section.choice("identifiers", &[("remove", false), ("token", true)])?;
    allowed("identifiers", identifiers_are_tokens.then_some(Rule::Token))?;
    let ids_are_tokens = section.choice("ids", &[("number", false), ("token", true)])?;
    allowed("ids", ids_are_tokens.then_some(Rule::Token))?;
    Ok(Some(FhirRules { dates, addresses, identifiers_are_tokens, ids_are_tokens }))
}
