//! What a label does not allow, and the law that says so.

use super::{Label, TextRule, TimeRule};
use crate::rules::Rule;
use crate::tables::{SegmentName, Slot, TABLES};

/// Why a rule may not stand under a label; `None` where it may.
pub(super) const fn forbids(label: Label, rule: Rule) -> Option<&'static str> {
    match (label, rule) {
        (Label::SafeHarbor, Rule::Token | Rule::Ff1) => Some(DERIVED),
        (Label::SafeHarbor | Label::LimitedDataSet, Rule::MaskBut4) => Some(
            "the last characters of a number are part of an identifier that must go (45 CFR 164.514(b)(2)(i), (e)(2))",
        ),
        (Label::Treatment, Rule::Ff1) => {
            Some("a number of the same form may be another patient's, and nobody may be treated by it")
        }
        (Label::SafeHarbor, Rule::Date) => {
            Some("safe-harbor keeps no element of a date but the year (45 CFR 164.514(b)(2)(i)(C))")
        }
        (Label::SafeHarbor, Rule::CityStateZip) => Some(
            "safe-harbor keeps no area smaller than a state but three digits of a ZIP code (45 CFR 164.514(b)(2)(i)(B))",
        ),
        (Label::SafeHarbor, Rule::DateShift) => Some(
            "safe-harbor keeps no element of a date but the year, shifted or not (45 CFR 164.514(b)(2)(i)(C)), and a shift by \
             the person is a code derived from the person (45 CFR 164.514(c)(1))",
        ),
        (Label::Treatment, Rule::DateShift) => {
            Some("a shifted date is a wrong date, and nobody may be treated by it")
        }
        (Label::Treatment | Label::SafeHarbor | Label::LimitedDataSet | Label::ExpertDetermination, _) => {
            None
        }
    }
}

/// What to write in the place of a rule that its label forbids.
pub(super) const fn instead_of(label: Label, rule: Rule) -> &'static str {
    match (label, rule) {
        (Label::SafeHarbor, Rule::DateShift) => {
            "write \"year\"; a shift is for the label `expert-determination`, or for `limited-data-set`, which stays \
             protected health information and needs a data use agreement"
        }
        (Label::SafeHarbor, Rule::Token | Rule::Ff1) => {
            "write \"remove\"; keyed tokens are for the label `expert-determination`, or for `limited-data-set`, which \
             stays protected health information and needs a data use agreement"
        }
        (_, Rule::DateShift) => "write \"date\"",
        (_, Rule::MaskBut4) => "write \"mask\", or take the label `expert-determination`",
        (_, Rule::Date) => "write \"year\"",
        (_, Rule::CityStateZip) => "write \"state-zip3\"",
        _ => "write \"remove\"",
    }
}

/// A code derived from information about the individual is no re-identification code under Safe Harbor.
const DERIVED: &str = "safe-harbor allows no code derived from information about the person, such as a keyed token (45 CFR 164.514(c)(1))";

/// Why a text beside the payload may not be treated so.
pub(super) const fn forbids_text(label: Label, rule: TextRule) -> Option<&'static str> {
    match (label, rule) {
        (Label::SafeHarbor, TextRule::Token) => Some(DERIVED),
        (Label::SafeHarbor | Label::LimitedDataSet | Label::ExpertDetermination, TextRule::Keep) => Some(
            "only `treatment` passes on what stands beside the payload: names of peers, topics, files and numbers",
        ),
        (Label::Treatment | Label::SafeHarbor | Label::LimitedDataSet | Label::ExpertDetermination, _) => {
            None
        }
    }
}

/// Why a time beside the payload may not be treated so.
pub(super) const fn forbids_time(label: Label, rule: TimeRule) -> Option<&'static str> {
    match (label, rule) {
        (Label::SafeHarbor, TimeRule::Instant) => forbids(Label::SafeHarbor, Rule::Date),
        (Label::Treatment | Label::SafeHarbor | Label::LimitedDataSet | Label::ExpertDetermination, _) => {
            None
        }
    }
}

/// Whether a field is about persons: by its segment, or by a type that only they have.
pub(super) fn is_of_persons(segment: &SegmentName, slot: &Slot) -> bool {
    let personal_segment = matches!(
        segment,
        b"PID" | b"PD1" | b"NK1" | b"MRG" | b"GT1" | b"IN1" | b"IN2" | b"IN3" | b"ARV" | b"ACC" | b"NTE"
    );
    let name = slot.data_type.and_then(|t| TABLES.data_type(t)).map_or("", |t| t.name);
    personal_segment
        || matches!(
            name,
            "XPN"
                | "XCN"
                | "PPN"
                | "PN"
                | "CN"
                | "CNN"
                | "FN"
                | "NDL"
                | "XAD"
                | "AD"
                | "SAD"
                | "XTN"
                | "CX"
                | "CK"
                | "DLN"
                | "PLN"
        )
}
