//! FHIR, read a second time: by another reader of JSON, and by where R4 puts people. Shares nothing with the rules but what HL7
//! publishes: the definitions of R4 and the lists of codes beside them.
//!
//! A patient may be called Final or Vital, and every observation is `final`. So a word of a name is none where the whole of a
//! string is the type of a resource, a code that R4 lists for the very element, or one that HL7 lists for the system beside it,
//! letter by letter. In any other company, and anywhere else, it is a hit.

use std::sync::LazyLock;

use fhir::definitions::{Content, Property, Type, definitions};
use fhir::validate::Primitive;
use serde_json::{Map, Value};

use super::known::Known;
use super::{Dates, Gate, HitKind, Scope, Stands, patterns};
use crate::fhir::terms;
use crate::fnv::Set;

/// Resources whose names, numbers and addresses are those of people whom a release must not name, and whether also of
/// providers, whom a limited data set may name.
const PEOPLE: [(&str, bool); 4] =
    [("Patient", false), ("RelatedPerson", false), ("Person", false), ("Practitioner", true)];
/// Of every narrative.
const XHTML: &str = " xmlns=\"http://www.w3.org/1999/xhtml\"";
/// Hosts of the coding systems and definitions that every release names.
const PUBLIC: [&str; 13] = [
    "loinc.org",
    "snomed.info",
    "unitsofmeasure.org",
    "hl7.org",
    "terminology.hl7.org",
    "www.nlm.nih.gov",
    "www.ama-assn.org",
    "www.cms.gov",
    "www.whocc.no",
    "dicom.nema.org",
    "www.nubc.org",
    "bluebutton.cms.gov",
    "deidentified.invalid",
];

/// Longest code of a public system that is taken for one whatever it reads like.
const SHORT_CODE_BYTES_MAX: usize = 4;

/// Codes that HL7 and CMS list beyond R4, with their systems: those that are written out, no shapes.
static LISTED: LazyLock<Set<(&str, &str)>> = LazyLock::new(|| {
    let lines = terms::SOURCE.lines().filter(|line| !line.starts_with('#'));
    let systems = lines.filter_map(|line| line.split_once(' '));
    let codes = systems.flat_map(|(system, codes)| codes.split(' ').map(move |code| (system, code)));
    codes.filter(|(_, code)| !code.contains('9')).collect()
});

/// What a resource knows of its people. Nothing where it is no JSON: then there is no release of it either.
pub(super) fn known(raw: &[u8], year: i16, scope: Scope) -> Known {
    let mut known = Known::default();
    if let Ok(value) = serde_json::from_slice::<Value>(raw) {
        learn(&value, year, scope, &mut known);
    }
    known.settle(scope);
    known
}

fn learn(value: &Value, year: i16, scope: Scope, known: &mut Known) {
    match value {
        Value::Object(object) => {
            let kind = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
            let person = PEOPLE.iter().find(|(name, _)| *name == kind);
            if person.is_some_and(|(_, is_provider)| !(scope.providers && *is_provider)) {
                of_person(object, year, scope, known);
                if let Some(contacts) = object.get("contact") {
                    each(contacts, &mut |contact| of_person(contact, year, scope, known));
                }
            }
            // The name and number that stand beside a reference to a person.
            for (name, member) in object {
                if matches!(name.as_str(), "subject" | "patient" | "beneficiary" | "subscriber") {
                    each(member, &mut |reference| {
                        string(reference, "display", &mut |text| known.name(text.as_bytes()));
                        identifiers(reference, known);
                    });
                }
                learn(member, year, scope, known);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| learn(value, year, scope, known)),
        _ => {}
    }
}

/// The object, or every object of the array.
fn each(value: &Value, take: &mut dyn FnMut(&Map<String, Value>)) {
    match value {
        Value::Object(object) => take(object),
        Value::Array(values) => values.iter().for_each(|value| each(value, take)),
        _ => {}
    }
}

/// Every string under a name, alone or in a list.
fn string(object: &Map<String, Value>, name: &str, take: &mut dyn FnMut(&str)) {
    match object.get(name) {
        Some(Value::String(text)) => take(text),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).for_each(take),
        _ => {}
    }
}

fn identifiers(object: &Map<String, Value>, known: &mut Known) {
    if let Some(all) = object.get("identifier") {
        each(all, &mut |one| string(one, "value", &mut |text| known.id(text.as_bytes())));
    }
}

fn of_person(object: &Map<String, Value>, year: i16, scope: Scope, known: &mut Known) {
    identifiers(object, known);
    if let Some(names) = object.get("name") {
        each(names, &mut |name| {
            for part in ["family", "given", "text"] {
                string(name, part, &mut |text| known.name(text.as_bytes()));
            }
        });
    }
    if let Some(telecoms) = object.get("telecom") {
        each(telecoms, &mut |telecom| string(telecom, "value", &mut |text| known.telecom(text.as_bytes())));
    }
    if let Some(addresses) = object.get("address") {
        each(addresses, &mut |address| {
            string(address, "line", &mut |text| known.street(text.as_bytes()));
            string(address, "city", &mut |text| known.city(text.as_bytes()));
        });
    }
    if scope.dates != Dates::Kept {
        string(object, "birthDate", &mut |text| {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            known.birth_date(digits.as_bytes(), year, scope);
        });
    }
}

impl Gate {
    /// Every string and number of a release, and the names of what they stand under.
    pub(super) fn resource(&self, payload: &[u8]) -> Option<HitKind> {
        match serde_json::from_slice::<Value>(payload) {
            Ok(value) => self.json(&value, Place::default()),
            // What the rules wrote is JSON; what is none was not looked at.
            Err(_) => Some(HitKind::Envelope),
        }
    }

    fn json(&self, value: &Value, place: Place<'_>) -> Option<HitKind> {
        match value {
            Value::Object(object) => {
                let text = |name| object.get(name).and_then(Value::as_str);
                let resource = text("resourceType").and_then(|name| definitions().resource(name));
                let kind = resource.map(|(_, kind)| kind).or(place.kind());
                let system = text("system").unwrap_or_default();
                // An attachment, a Binary.
                if let (Some(_), Some(Value::String(data))) = (object.get("contentType"), object.get("data"))
                    && let Some(kind) = self.encoded(data.as_bytes())
                {
                    return Some(kind);
                }
                object.iter().find_map(|(name, value)| {
                    let is_of_stream = matches!(name.as_str(), "id" | "fullUrl" | "reference")
                        || name == "url" && object.contains_key("method");
                    match value {
                        Value::String(div) if name == "div" => self.narrative(div),
                        // Ours: the place in the stream, or a token.
                        Value::String(text) if is_of_stream && !self.is_known(text) => None,
                        value => {
                            let property = kind.and_then(|kind| kind.property(name));
                            self.json(value, Place { name, property, system })
                        }
                    }
                })
            }
            Value::Array(values) => values.iter().find_map(|value| self.json(value, place)),
            Value::String(text) => self.string(text, place),
            Value::Number(number) => {
                let found = self.known.find(number.to_string().as_bytes(), false);
                found.filter(|kind| *kind != HitKind::BirthDate || self.scope.dates != Dates::Shifted)
            }
            Value::Bool(_) | Value::Null => None,
        }
    }

    /// A narrative with its markup and without it, so that a word in parts of bold type is one. The name of XHTML is public.
    fn narrative(&self, div: &str) -> Option<HitKind> {
        let marked = div.replacen(XHTML, "", 1);
        let mut is_text = true;
        let bare: String = marked
            .chars()
            .filter(|c| {
                let stays = is_text && *c != '<';
                is_text = if is_text { *c != '<' } else { *c == '>' };
                stays
            })
            .collect();
        [marked, bare].iter().find_map(|text| self.value(text.as_bytes(), Stands::TEXT, || false))
    }

    fn is_known(&self, text: &str) -> bool {
        text.split(['/', '-', ':'])
            .any(|part| part.len() >= 6 && self.known.find(part.as_bytes(), false).is_some())
    }

    fn string(&self, text: &str, place: Place<'_>) -> Option<HitKind> {
        if is_public(text) {
            return None;
        }
        let is_concept = || matches!(place.system, "http://snomed.info/sct" | "http://hl7.org/fhir/sid/ndc");
        let stands = Stands { town: true, birth_date: place.name == "birthDate" };
        let hit = self.value(text.as_bytes(), stands, is_concept);
        hit.filter(|kind| match kind {
            HitKind::Name | HitKind::Address => !place.lists(text),
            // Fourteen digits and those of the zone hold any seven sooner or later.
            HitKind::Telephone => !patterns::is_instant(text.as_bytes()),
            _ => true,
        })
    }
}

/// Where a value stands.
#[derive(Clone, Copy, Default)]
struct Place<'p> {
    name: &'p str,
    /// What R4 puts there, if anything.
    property: Option<&'static Property>,
    /// The coding system that stands beside it.
    system: &'p str,
}

impl Place<'_> {
    fn kind(&self) -> Option<&'static Type> {
        match self.property?.content {
            Content::Complex(id) | Content::Reference(id, _) => definitions().get(id),
            Content::Primitive(_) | Content::Resource => None,
        }
    }

    /// Whether HL7 wrote this word, and for this place.
    fn lists(&self, text: &str) -> bool {
        match (self.name, self.property) {
            ("resourceType", _) => definitions().resource(text).is_some(),
            // Of a reference.
            ("type", Some(Property { content: Content::Primitive(Primitive::Uri), .. })) => {
                definitions().resource(text).is_some()
            }
            ("code", _) if !self.system.is_empty() => {
                // A code of a public system is no word of a name, where it is short.
                is_public(self.system) && text.len() <= SHORT_CODE_BYTES_MAX
                    || definitions().knows(self.system, text)
                    || LISTED.contains(&(self.system, text))
            }
            (_, Some(Property { content: Content::Primitive(Primitive::Code), binding: Some(set), .. })) => {
                definitions().set(*set).is_some_and(|set| set.closed() && set.contains(None, text))
            }
            _ => false,
        }
    }
}

/// An address of a public system, or a number of the registry of objects.
fn is_public(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(rest) => PUBLIC.contains(&rest.split('/').next().unwrap_or_default()) && !has_number(rest),
        None => {
            text == "urn:ietf:bcp:47"
                || text.starts_with("urn:iso:std:iso:")
                || text.starts_with("urn:oid:2.16.840.1.113883.")
        }
    }
}

/// A number that somebody may be known by, in an address.
fn has_number(rest: &str) -> bool {
    patterns::find(rest.split_once('/').map_or("", |(_, path)| path).as_bytes())
        .is_some_and(|kind| kind != HitKind::NetworkPattern)
}

#[cfg(test)]
mod tests;
