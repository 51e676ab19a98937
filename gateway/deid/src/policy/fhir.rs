//! `[fhir]`: what becomes of FHIR R4. The rules themselves stand in [`crate::fhir`]; coding systems and ages are those of the
//! rest of the policy.
//!
//! ```toml
//! [fhir]                            # without this section FHIR is held
//! dates = "year"                    # remove, year, date-shift, keep
//! patients = "identifier"           # with date-shift alone: whose dates move alike, see [`FhirRules::patients_by_id`]
//! addresses = "state-zip3"          # remove, state-zip3, city-state-zip
//! identifiers = "remove"            # remove, token, vault
//! ids = "number"                    # number: within the release; token, vault: the same in every release of this destination
//! ```

use super::section::Section;
use super::{Label, floor};
use crate::rules::Rule;
use crate::tokens::TokenKind;

/// What becomes of dates and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FhirDate {
    Remove,
    Year,
    Shift,
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
    /// Nothing, or a token.
    pub(crate) identifiers: Option<TokenKind>,
    /// Numbers, or tokens.
    pub(crate) ids: Option<TokenKind>,
    /// Where dates are shifted, a patient is who has the id of a Patient on its server, and the same nowhere else; not who has
    /// an identifier, as in HL7 v2.
    pub(crate) patients_by_id: bool,
}

impl FhirRules {
    /// Whether it derives values with keys.
    pub(crate) fn needs_keys(&self) -> bool {
        self.needs(TokenKind::Keyed) || self.dates == FhirDate::Shift
    }

    /// Whether it makes tokens of this kind.
    pub(crate) fn needs(&self, kind: TokenKind) -> bool {
        [self.identifiers, self.ids].contains(&Some(kind))
    }
}

/// Reads the section. `Some(None)` where there is none, `None` where it cannot be read.
pub(super) fn rules(section: &Section<'_, '_>, label: Option<Label>) -> Option<Option<FhirRules>> {
    if section.is_missing() {
        return Some(None);
    }
    section.only(&["dates", "patients", "addresses", "identifiers", "ids"]);
    let allowed = |key: &str, like: Option<Rule>| {
        let law = |label| like.and_then(|rule| floor::forbids(label, rule));
        let remedy = label.zip(like).map_or("", |(label, rule)| floor::instead_of(label, rule));
        section.allowed(key, label, law, if key == "ids" { "write \"number\"" } else { remedy });
    };
    let dates = section.choice(
        "dates",
        &[
            ("remove", FhirDate::Remove),
            ("year", FhirDate::Year),
            ("date-shift", FhirDate::Shift),
            ("keep", FhirDate::Keep),
        ],
    );
    allowed(
        "dates",
        match dates {
            Some(FhirDate::Keep) => Some(Rule::Date),
            Some(FhirDate::Shift) => Some(Rule::DateShift),
            Some(FhirDate::Remove | FhirDate::Year) | None => None,
        },
    );
    let patients_by_id = if dates == Some(FhirDate::Shift) {
        section.choice("patients", &[("identifier", false), ("id", true)])
    } else {
        if section.has("patients") {
            section.say("patients", "it has no effect: no date of FHIR is shifted", "leave it out");
        }
        Some(false)
    };
    let addresses = section.choice(
        "addresses",
        &[
            ("remove", FhirAddress::Remove),
            ("state-zip3", FhirAddress::StateZip3),
            ("city-state-zip", FhirAddress::CityStateZip),
        ],
    );
    allowed("addresses", (addresses == Some(FhirAddress::CityStateZip)).then_some(Rule::CityStateZip));
    let tokens = |key: &str, none: &str| {
        let kinds = [(none, None), ("token", Some(TokenKind::Keyed)), ("vault", Some(TokenKind::Vault))];
        let kind = section.choice(key, &kinds);
        allowed(key, (kind == Some(Some(TokenKind::Keyed))).then_some(Rule::Token));
        kind
    };
    let identifiers = tokens("identifiers", "remove");
    let ids = tokens("ids", "number");
    Some(Some(FhirRules {
        dates: dates?,
        addresses: addresses?,
        identifiers: identifiers?,
        ids: ids?,
        patients_by_id: patients_by_id?,
    }))
}
