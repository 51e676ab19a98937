//! Policies: what a destination may have, compiled from TOML to a table.
//!
//! The language is described by the built-in policies in `policies/` and, word by word, in [`compile`]'s
//! errors. A policy is a closed thing: every key and rule is known, a type that is not listed is removed, and
//! what its label does not allow does not compile. [`Policy::reference`] names it by the SHA-256 of its
//! compiled form and of all tables.

mod compile;
mod determination;
mod error;
mod fhir;
mod floor;
mod release;
mod schema;
mod section;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use aws_lc_rs::digest;
use model::{PolicyRef, Timestamp};

pub(crate) use determination::Determination;
pub use error::{CompileError, Mistake};
pub(crate) use fhir::{FhirAddress, FhirDate, FhirRules};
pub use schema::policy_schema;
pub(crate) use text::{ScrubbedText, TextMode, TextRules};

use crate::Context;
use crate::codes::System;
use crate::fhir::{EXTENSIONS, terms};
use crate::gate;
use crate::patient::{Authorities, Namespace};
use crate::rules::{self, Rule};
use crate::sensitive::{self, Category};
use crate::tables::{SOURCES, SegmentName, Slot, TABLES, TypeId};
use crate::tokens::TokenKind;

/// Longest policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// The policies that need no file.
pub const BUILTIN_POLICIES: [&str; 4] =
    ["treatment", "safe-harbor", "safe-harbor-linked", "limited-data-set"];
/// Version of what the rules do, part of every policy's hash: raised when a rule lets through something else.
const RULES_VERSION: u32 = 10;

/// What a policy claims to be. It decides which rules the policy may use and what the gate looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Everything goes on; not a de-identification.
    Treatment,
    /// 45 CFR 164.514(b)(2).
    SafeHarbor,
    /// 45 CFR 164.514(e).
    LimitedDataSet,
    /// 45 CFR 164.514(b)(1).
    ExpertDetermination,
}

impl Label {
    /// All labels.
    pub const ALL: [Self; 4] =
        [Self::Treatment, Self::SafeHarbor, Self::LimitedDataSet, Self::ExpertDetermination];

    /// As written in a policy, a table and a [`PolicyRef`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Treatment => "treatment",
            Self::SafeHarbor => "safe-harbor",
            Self::LimitedDataSet => "limited-data-set",
            Self::ExpertDetermination => "expert-determination",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A compiled policy.
pub struct Policy {
    label: Label,
    reference: PolicyRef,
    compiled: Compiled,
    /// What the gate must know of what may stay.
    scope: gate::Scope,
}

impl Policy {
    /// A policy of [`BUILTIN_POLICIES`]. There is none called `none`: what goes on unchanged says
    /// `treatment`.
    pub fn builtin(name: &str) -> Option<Self> {
        let text = match name {
            "treatment" => include_str!("../../policies/treatment.toml"),
            "safe-harbor" => include_str!("../../policies/safe-harbor.toml"),
            "safe-harbor-linked" => include_str!("../../policies/safe-harbor-linked.toml"),
            "limited-data-set" => include_str!("../../policies/limited-data-set.toml"),
            _ => return None,
        };
        // They rest on no determination, so that no time makes a difference.
        Self::compile(name, text, Timestamp::default()).ok()
    }

    /// Compiles a policy file. `now` is the time at which a determination must hold.
    ///
    /// # Errors
    /// [`CompileError`]: everything that is not understood or that the label does not allow.
    pub fn compile(name: &str, toml: &str, now: Timestamp) -> Result<Self, CompileError> {
        let (label, compiled) = compile::compile(name, toml, now)?;
        let sha256 = hash(label, &compiled);
        let reference = PolicyRef { name: name.to_owned(), label: label.as_str().to_owned(), sha256 };
        let scope = compiled.scope(label);
        Ok(Self { label, reference, compiled, scope })
    }

    /// Its name, label and hash, as every batch carries them.
    pub const fn reference(&self) -> &PolicyRef {
        &self.reference
    }

    /// What it claims to be.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Whether it derives values with keys: then [`crate::Context::keys`] must be given, or everything is held.
    pub fn needs_keys(&self) -> bool {
        let compiled = &self.compiled;
        let of_types = compiled.types.iter().copied();
        let of_fields = compiled.segments.values().flatten().map(|field| field.rule);
        compiled.shifts_dates
            || of_types.chain(of_fields).any(|rule| matches!(rule, Rule::Token | Rule::Ff1))
            || compiled.envelope.control_id == TextRule::Token
            || compiled.text.surrogates
            || compiled.observations.device == TextRule::Token
            || compiled.fhir.is_some_and(|fhir| fhir.needs_keys())
    }

    /// Whether it takes tokens from the vault: then the keys must come [with one](crate::DestinationKeys::with_vault), or
    /// everything is held.
    pub fn needs_vault(&self) -> bool {
        let compiled = &self.compiled;
        compiled.types.contains(&Rule::Vault)
            || compiled.segments.values().flatten().any(|f| f.rule == Rule::Vault)
            || compiled.fhir.is_some_and(|fhir| fhir.needs(TokenKind::Vault))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// A policy as the rules read it.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The payload goes on unchanged; `treatment` alone.
    pub(crate) verbatim: bool,
    /// The rule of each type, by [`TypeId`].
    pub(crate) types: Vec<Rule>,
    /// The fields of every segment that may stay.
    pub(crate) segments: HashMap<SegmentName, Vec<Field>>,
    /// Values that fields with [`Rule::Listed`] may keep.
    pub(crate) listed: BTreeMap<(SegmentName, usize), BTreeSet<Vec<u8>>>,
    /// Coding systems whose codes pass.
    pub(crate) systems: BTreeSet<System>,
    /// Codes of the site's own systems that pass, by the system's name as it is sent.
    pub(crate) local_codes: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Names of who gives numbers, by their other names.
    pub(crate) authorities: Authorities,
    /// Ages above 89 become `90+`, and years that tell one are removed.
    pub(crate) ages_capped: bool,
    /// What becomes of FHIR; without it, it is held.
    pub(crate) fhir: Option<FhirRules>,
    /// What becomes of records with sensitive codes; what is not in it passes.
    pub(crate) sensitive: BTreeMap<Category, Sensitivity>,
    /// What becomes of free text.
    pub(crate) text: TextRules,
    pub(crate) envelope: EnvelopeRules,
    pub(crate) observations: ObservationRules,
    /// Dates move by their patient's days, and none stays as it is.
    pub(crate) shifts_dates: bool,
    /// What the label `expert-determination` rests on.
    pub(crate) determination: Option<Determination>,
}

/// A field: what the standard says it holds, and the rule of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) slot: Slot,
    pub(crate) rule: Rule,
}

/// What becomes of a text beside the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextRule {
    Remove,
    Token,
    Keep,
}

/// What becomes of a record with a sensitive code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sensitivity {
    /// It goes, and its receipt says so.
    Tag,
    Hold,
}

/// What becomes of a time beside the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeRule {
    Remove,
    Year,
    Instant,
}

#[derive(Debug)]
pub(crate) struct EnvelopeRules {
    pub(crate) received_at: TimeRule,
    pub(crate) peer: TextRule,
    pub(crate) channel: TextRule,
    pub(crate) control_id: TextRule,
}

#[derive(Debug)]
pub(crate) struct ObservationRules {
    pub(crate) device: TextRule,
    pub(crate) times: TimeRule,
    pub(crate) raw: TextRule,
}

impl Compiled {
    /// Who gives numbers, in the record at hand.
    pub(crate) fn namespace<'a>(&'a self, context: &Context<'a>) -> Namespace<'a> {
        Namespace { known: &self.authorities, feed: context.provenance.feed.as_str() }
    }

    /// What the gate must know of what may stay.
    fn scope(&self, label: Label) -> gate::Scope {
        let rules =
            || self.types.iter().copied().chain(self.segments.values().flatten().map(|field| field.rule));
        let of_label = gate::Scope::from(label);
        let is_expert = label == Label::ExpertDetermination;
        let time_of_day = TABLES.type_id("TM");
        let keeps_a_date = || {
            let by_type =
                (0..).zip(&self.types).any(|(id, rule)| *rule == Rule::Date && Some(id) != time_of_day);
            let by_field = |f: &Field| f.rule == Rule::Date && f.slot.data_type != time_of_day;
            by_type
                || self.segments.values().flatten().any(by_field)
                || self.fhir.is_some_and(|fhir| fhir.dates == FhirDate::Keep)
                || [self.envelope.received_at, self.observations.times].contains(&TimeRule::Instant)
        };
        let dates = match of_label.dates {
            _ if self.shifts_dates => gate::Dates::Shifted,
            gate::Dates::Years if is_expert && keeps_a_date() => gate::Dates::Kept,
            as_label => as_label,
        };
        let keeps_towns = || {
            rules().any(|rule| rule == Rule::CityStateZip)
                || self.fhir.is_some_and(|fhir| fhir.addresses == FhirAddress::CityStateZip)
        };
        gate::Scope {
            dates,
            towns: of_label.towns || is_expert && keeps_towns(),
            ages: !self.ages_capped,
            ..of_label
        }
    }

    /// The rule of a type; what has no rule is removed.
    pub(crate) fn rule_of(&self, data_type: TypeId) -> Rule {
        self.types.get(usize::from(data_type)).copied().unwrap_or(Rule::Remove)
    }
}

/// SHA-256 over the compiled form in a fixed order and over every table, as lower-case hex.
fn hash(label: Label, compiled: &Compiled) -> String {
    let mut sha = digest::Context::new(&digest::SHA256);
    let Compiled {
        verbatim,
        types,
        segments,
        listed,
        systems,
        local_codes,
        authorities,
        ages_capped,
        fhir,
        text,
        sensitive,
        envelope,
        observations,
        shifts_dates: _,
        determination,
    } = compiled;
    let segments: BTreeMap<_, _> = segments.iter().collect();
    let form = format!(
        "{RULES_VERSION} {label} {verbatim} {types:?} {segments:?} {listed:?} {systems:?} {local_codes:?} \
         {authorities:?} {ages_capped} {fhir:?} {text:?} {sensitive:?} {envelope:?} {observations:?} {determination:?}"
    );
    let extensions = EXTENSIONS.join(" ");
    let further = [terms::SOURCE, extensions.as_str(), rules::RESULTS, sensitive::SOURCE];
    for part in std::iter::once(form.as_str()).chain(SOURCES).chain(further) {
        sha.update(&(part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    for part in crate::text::SOURCES.iter().filter(|_| text.scrubs) {
        sha.update(&(part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    sha.finish().as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
