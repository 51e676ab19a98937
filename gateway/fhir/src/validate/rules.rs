//! Invariants of R4 that catch what breaks readers: each is named by its key.
//!
//! | type | keys |
//! |---|---|
//! | any resource | dom-2, dom-3, dom-4, dom-5 |
//! | AllergyIntolerance | ait-1, ait-2 |
//! | Appointment | app-1, app-2, app-3 |
//! | Attachment | att-1 |
//! | Bundle | bdl-1 to bdl-5, bdl-7 to bdl-12 (in `bundle`) |
//! | Composition.section | cmp-1 |
//! | Condition | con-4, con-5 |
//! | ContactPoint | cpt-2 |
//! | Extension | ext-1 |
//! | Observation | obs-3, obs-6, obs-7 |
//! | Organization | org-1 |
//! | Parameters | inv-1 |
//! | Patient.contact | pat-1 |
//! | Period | per-1 |
//! | Quantity and its kin | qty-3 |
//! | Ratio | rat-1 |
//! | Reference | ref-1 (in `reference`) |
//! | Timing.repeat | tim-1, tim-2, tim-4 to tim-8, tim-10 |

use super::json::{Json, Kind};
use super::outcome::Code;
use super::walk::{CONTAINED_MAX, Walk};
use crate::definitions::{Type, TypeId, ValueSet};

/// Which rules a type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rule {
    #[default]
    None,
    AllergyIntolerance,
    Appointment,
    AppointmentParticipant,
    Attachment,
    Bundle,
    Condition,
    ContactPoint,
    Extension,
    Observation,
    Organization,
    Parameter,
    PatientContact,
    Period,
    Quantity,
    Range,
    Ratio,
    Section,
    TimingRepeat,
}

impl Rule {
    /// The rules of a type by its name.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "AllergyIntolerance" => Self::AllergyIntolerance,
            "Appointment" => Self::Appointment,
            "Appointment.participant" => Self::AppointmentParticipant,
            "Attachment" => Self::Attachment,
            "Bundle" => Self::Bundle,
            "Composition.section" => Self::Section,
            "Condition" => Self::Condition,
            "ContactPoint" => Self::ContactPoint,
            "Extension" => Self::Extension,
            "Observation" => Self::Observation,
            "Observation.referenceRange" => Self::Range,
            "Organization" => Self::Organization,
            "Parameters.parameter" => Self::Parameter,
            "Patient.contact" => Self::PatientContact,
            "Period" => Self::Period,
            "Quantity" | "SimpleQuantity" | "Age" | "Count" | "Distance" | "Duration" => Self::Quantity,
            "Ratio" => Self::Ratio,
            "Timing.repeat" => Self::TimingRepeat,
            _ => Self::None,
        }
    }
}

/// The rules of the object at `n`, which is of this type.
pub(super) fn check(walk: &mut Walk<'_, '_>, n: usize, kind: &Type) {
    let json = walk.json;
    let has = |name: &str| json.member(n, name).is_some();
    let mut rule = |broken: bool, text: &str| {
        if broken {
            walk.error(Code::Invariant, n, text);
        }
    };
    match kind.rule {
        Rule::None | Rule::Bundle => {}
        Rule::Extension => {
            let value = json.children(n).any(|(_, c)| {
                let key = json.key(c);
                key.strip_prefix('_').unwrap_or(&key).starts_with("value")
            });
            rule(
                value == has("extension"),
                "an extension has either a value or extensions of its own (ext-1)",
            );
        }
        Rule::Quantity => {
            rule(has("code") && !has("system"), "a unit's code needs its system (qty-3)");
        }
        Rule::Attachment => {
            rule(has("data") && !has("contentType"), "data needs its contentType (att-1)");
        }
        Rule::ContactPoint => {
            rule(has("value") && !has("system"), "a value needs its system, such as phone or email (cpt-2)");
        }
        Rule::Period => {
            let (start, end) = (json.text_of(n, "start"), json.text_of(n, "end"));
            let backwards = start.zip(end).is_some_and(|(start, end)| after(&start, &end));
            rule(backwards, "a period must not end before it starts (per-1)");
        }
        Rule::Ratio => {
            let (numerator, denominator) = (has("numerator"), has("denominator"));
            rule(
                numerator != denominator || (!numerator && !has("extension")),
                "a ratio has numerator and denominator, or neither and an extension (rat-1)",
            );
        }
        Rule::TimingRepeat => {
            let negative =
                |name: &str| json.member(n, name).is_some_and(|(_, node)| json.raw(node).starts_with('-'));
            rule(has("duration") && !has("durationUnit"), "a duration needs its unit (tim-1)");
            rule(has("period") && !has("periodUnit"), "a period needs its unit (tim-2)");
            rule(negative("duration"), "a duration is not negative (tim-4)");
            rule(negative("period"), "a period is not negative (tim-5)");
            rule(has("periodMax") && !has("period"), "a longest period needs a period (tim-6)");
            rule(has("durationMax") && !has("duration"), "a longest duration needs a duration (tim-7)");
            rule(has("countMax") && !has("count"), "a highest count needs a count (tim-8)");
            rule(has("timeOfDay") && has("when"), "a time of day or an event, not both (tim-10)");
        }
        Rule::Range => {
            rule(
                !(has("low") || has("high") || has("text")),
                "a reference range has low, high or text (obs-3)",
            );
        }
        Rule::PatientContact => {
            let known = has("name") || has("telecom") || has("address") || has("organization");
            rule(!known, "a contact has at least a name, telecom, address or organization (pat-1)");
        }
        Rule::Section => {
            let known = has("text") || has("entry") || has("section");
            rule(!known, "a section has text, entries or sections (cmp-1)");
        }
        Rule::Organization => {
            let named = has("name") || has("_name") || has("identifier");
            rule(!named, "an organization has a name or an identifier (org-1)");
        }
        Rule::Parameter => {
            let value = json.children(n).any(|(_, c)| json.key(c).starts_with("value"));
            let count = [value, has("resource"), has("part")].into_iter().filter(|b| *b).count();
            rule(count > 1, "a parameter has a value, a resource or parts (inv-1)");
        }
        Rule::Observation => {
            let values: Vec<_> = json.children(n).filter(|(_, c)| json.key(c).starts_with("value")).collect();
            rule(
                !values.is_empty() && has("dataAbsentReason"),
                "a reason for an absent value beside a value (obs-6)",
            );
            let doubled = !values.is_empty() && component_of_same_code(json, n);
            rule(doubled, "a component has the code of the observation, which has a value itself (obs-7)");
        }
        Rule::Condition => {
            let abated = json.children(n).any(|(_, c)| json.key(c).starts_with("abatement"));
            let over = codes(json, n, "clinicalStatus")
                .iter()
                .any(|code| matches!(code.as_str(), "inactive" | "resolved" | "remission"));
            rule(abated && !over, "what is abated is inactive, resolved or in remission (con-4)");
            let mistaken = codes(json, n, "verificationStatus").iter().any(|code| code == "entered-in-error");
            rule(
                mistaken && has("clinicalStatus"),
                "what was entered in error has no clinical status (con-5)",
            );
        }
        Rule::AllergyIntolerance => {
            let mistaken = codes(json, n, "verificationStatus").iter().any(|code| code == "entered-in-error");
            let status = has("clinicalStatus");
            rule(!mistaken && !status, "a clinical status must be there (ait-1)");
            rule(mistaken && status, "what was entered in error has no clinical status (ait-2)");
        }
        Rule::Appointment => {
            rule(has("start") != has("end"), "start and end are both there or both not (app-2)");
            let status = json.text_of(n, "status");
            let open = matches!(status.as_deref(), Some("proposed" | "cancelled" | "waitlist"));
            let timeless = !(has("start") && has("end"));
            rule(
                timeless && !open,
                "only what is proposed, cancelled or waiting has no start and end (app-3)",
            );
        }
        Rule::AppointmentParticipant => {
            rule(!(has("type") || has("actor")), "a participant has a type or an actor (app-1)");
        }
    }
}

/// Contained resources must be referred to, or refer to their container (dom-3), and have ids of their own.
pub(super) fn contained_are_used(walk: &mut Walk<'_, '_>, n: usize) {
    let json = walk.json;
    let Some((list, node)) = json.member(n, "contained") else { return };
    if node.kind != Kind::Array {
        return;
    }
    let mut ids = std::collections::HashSet::new();
    for (index, (item, _)) in json.children(list).enumerate() {
        walk.within("contained", Some(index), |walk| {
            if index >= CONTAINED_MAX {
                if index == CONTAINED_MAX {
                    walk.error(Code::TooLong, item, "too many contained resources: at most 1000 are taken");
                }
                return;
            }
            let Some(id) = json.text_of(item, "id") else {
                walk.error(
                    Code::Required,
                    item,
                    "a contained resource needs an id, so that it can be referred to",
                );
                return;
            };
            let used = walk.home.used.contains(&id) || walk.home.used.contains("");
            if !ids.insert(id) {
                walk.error(Code::Duplicate, item, "two contained resources have the same id");
            } else if !used {
                walk.error(Code::Invariant, item, "nothing refers to this contained resource (dom-3)");
            }
        });
    }
}

/// What a contained resource must not have.
pub(super) fn contained(walk: &mut Walk<'_, '_>, n: usize) {
    let json = walk.json;
    let Some((meta, _)) = json.member(n, "meta") else { return };
    for (name, key) in [("versionId", "dom-4"), ("lastUpdated", "dom-4"), ("security", "dom-5")] {
        if json.member(meta, name).is_some() {
            let text = format!("a contained resource has no {name} of its own ({key})");
            walk.error_below("meta", Code::Invariant, meta, &text);
        }
    }
}

/// A Coding or CodeableConcept that must be of a value set.
pub(super) fn bound(walk: &mut Walk<'_, '_>, n: usize, of: TypeId, set: &ValueSet) {
    let json = walk.json;
    let coding = |n: usize| {
        let code = json.text_of(n, "code");
        let system = json.text_of(n, "system");
        code.is_some_and(|code| set.contains(Some(system.as_deref().unwrap_or_default()), &code))
    };
    let name = walk.table.get(of).map_or("", |t| t.name);
    let good = match name {
        _ if !set.closed() => true,
        "Coding" => coding(n),
        "CodeableConcept" => json
            .member(n, "coding")
            .is_some_and(|(list, _)| json.children(list).any(|(item, _)| coding(item))),
        _ => true,
    };
    if !good {
        let text = format!("no code of the value set `{}`, which is required here", set.name);
        walk.error(Code::CodeInvalid, n, &text);
    }
}

/// The codes of a CodeableConcept.
fn codes(json: &Json<'_>, n: usize, name: &str) -> Vec<String> {
    let Some((concept, _)) = json.member(n, name) else { return Vec::new() };
    let Some((list, _)) = json.member(concept, "coding") else { return Vec::new() };
    json.children(list).filter_map(|(item, _)| json.text_of(item, "code")).map(Into::into).collect()
}

/// System and code of each coding of the CodeableConcept `code` of an object.
fn code_pairs(json: &Json<'_>, n: usize) -> Vec<(String, String)> {
    let Some((concept, _)) = json.member(n, "code") else { return Vec::new() };
    let Some((list, _)) = json.member(concept, "coding") else { return Vec::new() };
    let pair = |item| {
        let code = json.text_of(item, "code")?.into_owned();
        Some((json.text_of(item, "system").unwrap_or_default().into_owned(), code))
    };
    json.children(list).filter_map(|(item, _)| pair(item)).collect()
}

/// Whether a component has the very code of its observation.
fn component_of_same_code(json: &Json<'_>, n: usize) -> bool {
    let Some((list, _)) = json.member(n, "component") else { return false };
    let own = code_pairs(json, n);
    json.children(list).any(|(item, _)| code_pairs(json, item).iter().any(|pair| own.contains(pair)))
}

/// Whether one moment is after another, where R4 lets them be compared: both of the same precision.
pub(crate) fn after(start: &str, end: &str) -> bool {
    match (start.split_once('T'), end.split_once('T')) {
        (None, None) => start.len() == end.len() && start > end,
        (Some(start), Some(end)) => matches!((moment(start), moment(end)), (Some(a), Some(b)) if a > b),
        _ => false,
    }
}

/// Minutes since an epoch in UTC, and the seconds as they are written.
fn moment((day, rest): (&str, &str)) -> Option<(i64, String)> {
    let mut parts = day.splitn(3, '-').map(|p| p.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let at = rest.find(['Z', '+', '-'])?;
    let (clock, zone) = (rest.get(..at)?, rest.get(at..)?);
    let two = |text: &str, from: usize| text.get(from..from + 2).and_then(|t| t.parse::<i64>().ok());
    let offset = match zone.strip_prefix(['+', '-']) {
        None => 0,
        Some(by) => {
            let minutes = two(by, 0)? * 60 + two(by, 3)?;
            if zone.starts_with('-') { -minutes } else { minutes }
        }
    };
    // Days of the proleptic Gregorian calendar, the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let minutes = days * 1440 + two(clock, 0)? * 60 + two(clock, 3)? - offset;
    Some((minutes, clock.get(6..)?.trim_end_matches('0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_compared_where_they_can_be() {
        for (start, end, expected) in [
            ("2024", "2023", true),
            ("2024", "2024", false),
            ("2024-02", "2023", false),
            ("2024-03-01", "2024-02-29", true),
            ("2024-03-01T00:30:00+02:00", "2024-02-29T23:00:00Z", false),
            ("2024-03-01T00:30:00-02:00", "2024-03-01T01:00:00Z", true),
            ("2024-03-01T00:00:01.5Z", "2024-03-01T00:00:01.25Z", true),
            ("2024-03-01T00:00:00.50Z", "2024-03-01T00:00:00.5Z", false),
            ("2024-03-01T00:00:00Z", "2024-03-01", false),
        ] {
            assert_eq!(after(start, end), expected, "{start} {end}");
        }
    }
}
