//! Sensitive categories: which of them a record's codes tell of (`data/sensitive.txt`).
//!
//! **Promise.** Where a policy asks, every coded value of a record is looked at: in HL7 v2 each repetition of each field that
//! has the form of a coded element, and DG1-3 also without a system; in FHIR every object with `system` and `code`. What is
//! found is tagged by its category in the receipt of the release, or the record is held.
//!
//! **Limits.** A code that is not listed, a text, or a code of the site's own says nothing here. Whether a record is one of a
//! Part 2 program (42 CFR 2.11) is decided by who made it, not by its codes: a code is an indication.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use fhir::validate::json::{Json, Kind};
use hl7::Message;

use crate::Clinical;
use crate::codes::System;
use crate::fhir::terms;
use crate::policy::{Compiled, Sensitivity};
use crate::release::{Held, HeldWhy};
use crate::tables::entries;
use crate::tally::{Tally, Touch};

/// Part of every policy's hash.
pub(crate) const SOURCE: &str = include_str!("../data/sensitive.txt");

/// A category. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Category {
    Hiv,
    MentalHealth,
    Reproductive,
    SexuallyTransmitted,
    /// 42 CFR Part 2.
    SubstanceUse,
    Violence,
}

impl Category {
    pub(crate) const ALL: [(&'static str, Self, Touch); 6] = [
        ("hiv", Self::Hiv, Touch::SensitiveHiv),
        ("mental-health", Self::MentalHealth, Touch::SensitiveMentalHealth),
        ("reproductive", Self::Reproductive, Touch::SensitiveReproductive),
        ("sexually-transmitted", Self::SexuallyTransmitted, Touch::SensitiveSexuallyTransmitted),
        ("substance-use", Self::SubstanceUse, Touch::SensitiveSubstanceUse),
        ("violence", Self::Violence, Touch::SensitiveViolence),
    ];
}

type Listed = HashMap<System, HashMap<&'static [u8], Category>>;

static LISTED: LazyLock<Listed> = LazyLock::new(|| {
    let mut listed = Listed::new();
    for (category, words) in entries(SOURCE) {
        let category =
            Category::ALL.iter().find(|(name, ..)| *name == category).map(|(_, category, _)| *category);
        let Some((system, codes)) = words.split_first() else { continue };
        let (Some(category), Some(system)) = (category, System::named(system)) else { continue };
        listed.entry(system).or_default().extend(codes.iter().map(|code| (code.as_bytes(), category)));
    }
    listed
});

/// The category of a code.
fn of_code(system: System, code: &[u8]) -> Option<Category> {
    let codes = LISTED.get(&system)?;
    if !matches!(system, System::Icd9 | System::Icd10) {
        return codes.get(code).copied();
    }
    let plain: Vec<u8> = code.iter().filter(|b| **b != b'.').map(u8::to_ascii_uppercase).collect();
    (2..=plain.len()).rev().find_map(|end| codes.get(plain.get(..end)?).copied())
}

/// Tags a record's categories.
///
/// # Errors
/// [`HeldWhy::Sensitive`] where the policy holds one of them.
pub(crate) fn look(clinical: &Clinical, policy: &Compiled, tally: &mut Tally) -> Result<(), Held> {
    if policy.sensitive.is_empty() {
        return Ok(());
    }
    let mut found = HashSet::new();
    match clinical {
        Clinical::Hl7(message) => of_message(message, &mut found),
        Clinical::Fhir { raw, .. } => {
            let json = Json::parse(raw).map_err(|_| Held::new(HeldWhy::NotAResource))?;
            of_resource(&json, &mut found);
        }
        Clinical::Observations { values, .. } => {
            let codes = values.iter().filter_map(|value| value.loinc.as_deref());
            found.extend(codes.filter_map(|code| of_code(System::Loinc, code.as_bytes())));
        }
    }
    for (_, category, touch) in Category::ALL.iter().filter(|(_, category, _)| found.contains(category)) {
        match policy.sensitive.get(category) {
            Some(Sensitivity::Hold) => return Err(Held::new(HeldWhy::Sensitive)),
            Some(Sensitivity::Tag) => tally.count(*touch),
            None => {}
        }
    }
    Ok(())
}

fn of_message(message: &Message, found: &mut HashSet<Category>) {
    for segment in message.segments() {
        let is_diagnosis = segment.name() == b"DG1";
        for (number, field) in (1..).zip(segment.fields()) {
            for repetition in field.repetitions() {
                let part =
                    |n: usize| repetition.component(n).map(|c| c.raw().trim_ascii()).unwrap_or_default();
                for (code, system) in [(1, 3), (4, 6), (10, 12)] {
                    let (code, named) = (part(code), part(system));
                    match System::of(named) {
                        Some(system) => found.extend(of_code(system, code)),
                        None if is_diagnosis && number == 3 && named.is_empty() => {
                            found.extend(of_code(System::Icd10, code));
                        }
                        None => {}
                    }
                }
            }
        }
    }
}

fn of_resource(json: &Json<'_>, found: &mut HashSet<Category>) {
    let mut at = 0;
    while let Some(node) = json.node(at) {
        if node.kind == Kind::Object
            && let Some(system) = json.text_of(at, "system").and_then(|system| terms::system(&system))
            && let Some(code) = json.text_of(at, "code")
        {
            found.extend(of_code(system, code.as_bytes()));
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let codes: usize = LISTED.values().map(HashMap::len).sum();
        let lines = SOURCE.lines().filter(|line| !line.starts_with('#'));
        let written: usize = lines.map(|line| line.split(' ').count() - 2).sum();
        assert_eq!(codes, written, "a code is there twice, or a system or category is misspelt");
    }

    #[test]
    fn codes_are_told_by_their_beginning_or_as_a_whole() {
        for (system, code, category) in [
            (System::Icd10, "F11.20", Some(Category::SubstanceUse)),
            (System::Icd10, "f1120", Some(Category::SubstanceUse)),
            (System::Icd10, "F17.210", None),
            (System::Icd10, "B20", Some(Category::Hiv)),
            (System::Icd10, "F32.9", Some(Category::MentalHealth)),
            (System::Icd10, "E11.9", None),
            (System::Icd9, "305.1", None),
            (System::Icd9, "305.00", Some(Category::SubstanceUse)),
            (System::Loinc, "25836-8", Some(Category::Hiv)),
            (System::Loinc, "718-7", None),
            (System::RxNorm, "6813", Some(Category::SubstanceUse)),
            (System::RxNorm, "68130", None),
        ] {
            assert_eq!(of_code(system, code.as_bytes()), category, "{code}");
        }
    }
}
