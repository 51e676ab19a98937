//! The value-free receipt: how many values each rule touched, and what was found in texts, by category and by the rule of the
//! text engine that found it; and where, while somebody asks for an explanation.

use std::collections::BTreeMap;
use std::fmt;

use crate::explain::{Step, Trace};
use crate::text::Category;

/// What happened to one value. Closed, so that a receipt can hold nothing but these names and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    AgeOver89,
    City,
    Code,
    CodeRefused,
    Country,
    Date,
    DateRefused,
    DateShifted,
    DeviceRemoved,
    DeviceToken,
    Document,
    DocumentUnread,
    ExtraRemoved,
    Ff1,
    Ff1Refused,
    IdentifierObservation,
    Listed,
    Masked,
    Null,
    Number,
    NumberRefused,
    ObservationRefused,
    PostalCode,
    Range,
    RangeRefused,
    RawRemoved,
    Reference,
    Removed,
    Request,
    SegmentRemoved,
    SensitiveHiv,
    SensitiveMentalHealth,
    SensitiveReproductive,
    SensitiveSexuallyTransmitted,
    SensitiveSubstanceUse,
    SensitiveViolence,
    Sequence,
    State,
    SubId,
    Text,
    TextCoded,
    TextUnread,
    TextWithheld,
    Token,
    VaultToken,
    Verbatim,
    Year,
    YearOver89,
    YearRefused,
    Zip3,
}

impl Touch {
    const ALL: [(Self, &'static str); 50] = [
        (Self::AgeOver89, "age-over-89"),
        (Self::City, "city"),
        (Self::Code, "code"),
        (Self::CodeRefused, "code-refused"),
        (Self::Country, "country"),
        (Self::Date, "date"),
        (Self::DateRefused, "date-refused"),
        (Self::DateShifted, "date-shifted"),
        (Self::DeviceRemoved, "device-removed"),
        (Self::DeviceToken, "device-token"),
        (Self::Document, "document"),
        (Self::DocumentUnread, "document-unread"),
        (Self::ExtraRemoved, "extra-removed"),
        (Self::Ff1, "ff1"),
        (Self::Ff1Refused, "ff1-refused"),
        (Self::IdentifierObservation, "identifier-observation"),
        (Self::Listed, "listed"),
        (Self::Masked, "masked"),
        (Self::Null, "null"),
        (Self::Number, "number"),
        (Self::NumberRefused, "number-refused"),
        (Self::ObservationRefused, "observation-refused"),
        (Self::PostalCode, "postal-code"),
        (Self::Range, "range"),
        (Self::RangeRefused, "range-refused"),
        (Self::RawRemoved, "raw-removed"),
        (Self::Reference, "reference"),
        (Self::Removed, "removed"),
        (Self::Request, "request"),
        (Self::SegmentRemoved, "segment-removed"),
        (Self::SensitiveHiv, "sensitive-hiv"),
        (Self::SensitiveMentalHealth, "sensitive-mental-health"),
        (Self::SensitiveReproductive, "sensitive-reproductive"),
        (Self::SensitiveSexuallyTransmitted, "sensitive-sexually-transmitted"),
        (Self::SensitiveSubstanceUse, "sensitive-substance-use"),
        (Self::SensitiveViolence, "sensitive-violence"),
        (Self::Sequence, "sequence"),
        (Self::State, "state"),
        (Self::SubId, "sub-id"),
        (Self::Text, "text"),
        (Self::TextCoded, "text-coded"),
        (Self::TextUnread, "text-unread"),
        (Self::TextWithheld, "text-withheld"),
        (Self::Token, "token"),
        (Self::VaultToken, "vault-token"),
        (Self::Verbatim, "verbatim"),
        (Self::Year, "year"),
        (Self::YearOver89, "year-over-89"),
        (Self::YearRefused, "year-refused"),
        (Self::Zip3, "zip3"),
    ];
}

/// Counts of [`Touch`], and of places in texts.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [u32; Touch::ALL.len()],
    found: BTreeMap<(&'static str, &'static str), u32>,
    /// For [`crate::Policy::explain`] alone; a release has none.
    trace: Option<Box<Trace>>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; Touch::ALL.len()], found: BTreeMap::new(), trace: None }
    }
}

impl Tally {
    #[inline]
    pub(crate) fn count(&mut self, touch: Touch) {
        if let Some(count) = self.counts.get_mut(touch as usize) {
            *count = count.saturating_add(1);
        }
        if let (Some(trace), Some((_, name))) = (&mut self.trace, Touch::ALL.get(touch as usize)) {
            trace.note(name);
        }
    }

    /// One that notes where.
    pub(crate) fn traced(is_traced: bool) -> Self {
        Self { trace: is_traced.then(Box::default), ..Self::default() }
    }

    pub(crate) const fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Goes to a place; see [`Trace::enter`].
    #[inline]
    pub(crate) fn enter(&mut self, step: fmt::Arguments<'_>, before: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.enter(step, before);
        }
    }

    /// Leaves it.
    #[inline]
    pub(crate) fn leave(&mut self, after: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.leave(after);
        }
    }

    /// What was noted.
    pub(crate) fn take_steps(&mut self) -> Vec<Step> {
        self.trace.take().map(|trace| trace.into_steps()).unwrap_or_default()
    }

    /// A place of a text was replaced.
    pub(crate) fn found(&mut self, category: Category, rule: &'static str) {
        let count = self.found.entry((category.as_str(), rule)).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether a text or a document passed that was scrubbed.
    pub(crate) fn has_text(&self) -> bool {
        let counted = |touch: Touch| self.counts.get(touch as usize).is_some_and(|count| *count > 0);
        counted(Touch::Text) || counted(Touch::Document)
    }

    /// The receipt: what was counted at all, by name, sorted. A place of a text is `text-name-model`
    /// and the like.
    pub(crate) fn receipt(&self) -> Vec<(String, u32)> {
        let counted = |(touch, name): &(Touch, &str)| {
            let count = self.counts.get(*touch as usize).copied().unwrap_or_default();
            (count > 0).then(|| ((*name).to_owned(), count))
        };
        let found = self.found.iter().map(|((category, rule), n)| (format!("text-{category}-{rule}"), *n));
        let mut receipt: Vec<_> = Touch::ALL.iter().filter_map(counted).chain(found).collect();
        receipt.sort();
        receipt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_touch_has_its_own_name_in_order() {
        assert!(Touch::ALL.iter().enumerate().all(|(n, (touch, _))| *touch as usize == n));
        assert!(Touch::ALL.is_sorted_by_key(|(_, name)| *name));
        let mut tally = Tally::default();
        tally.count(Touch::Year);
        tally.count(Touch::Code);
        tally.count(Touch::Year);
        assert_eq!(tally.receipt(), [("code".into(), 1), ("year".into(), 2)]);
        tally.count(Touch::Text);
        tally.found(Category::Name, "model");
        let receipt = tally.receipt();
        assert_eq!(receipt.get(1..3), Some(&[("text".into(), 1), ("text-name-model".into(), 1)][..]));
    }
}
