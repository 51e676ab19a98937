//! `[determination]`: who found that the risk of re-identification is very small (45 CFR 164.514(b)(1)).
//!
//! ```toml
//! [determination]
//! by = "A. Statistician, PhD, Example Analytics"
//! on = 2026-03-01
//! reference = "ED-2026-014"         # where methods and results are documented
//! expires = 2028-03-01              # the last day on which it holds
//! ```
//!
//! A policy without it, or with one that is over, does not compile; and of records that arrive after it expired nothing is
//! released.

use model::Timestamp;

use super::Label;
use super::section::Section;
use crate::dates::Day;

const MICROS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// A determination by a person with appropriate knowledge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Determination {
    pub(crate) by: String,
    pub(crate) on: Day,
    pub(crate) reference: String,
    pub(crate) expires: Day,
}

impl Determination {
    /// Whether it holds at this time (UTC).
    pub(crate) const fn holds_at(&self, at: Timestamp) -> bool {
        day_of(at).0 <= self.expires.0
    }
}

const fn day_of(at: Timestamp) -> Day {
    Day(at.micros().div_euclid(MICROS_A_DAY))
}

/// Reads the section; `None` where the label needs none.
pub(super) fn determination(
    section: &Section<'_, '_>,
    label: Option<Label>,
    now: Timestamp,
) -> Option<Determination> {
    if label.is_some_and(|label| label != Label::ExpertDetermination) {
        if !section.is_missing() {
            let message = "only the label `expert-determination` rests on one";
            section.say("", message, "leave the section out, or write label = \"expert-determination\"");
        }
        return None;
    }
    if label.is_none() && section.is_missing() {
        return None;
    }
    section.only(&["by", "on", "reference", "expires"]);
    let by = section.words("by", "name the person who determined it (45 CFR 164.514(b)(1))");
    let on = section.day("on", "write the day of the determination, such as on = 2026-03-01");
    let reference =
        section.words("reference", "say where methods and results are documented (45 CFR 164.514(b)(1)(ii))");
    let expires =
        section.day("expires", "write the last day on which it holds, such as expires = 2028-03-01");
    let found = Determination { by: by?, on: on?, reference: reference?, expires: expires? };
    if found.on > day_of(now) {
        section.say(
            "on",
            "it is of a day to come",
            "write the day on which it was made, and look at this box's clock",
        );
    }
    if !found.holds_at(now) {
        section.say(
            "expires",
            "it has expired",
            "have the risk determined again; until then take `safe-harbor`",
        );
    } else if found.expires < found.on {
        section.say("expires", "it ends before it begins", "write the last day on which it holds");
    }
    Some(found)
}
