//! FHIR, read a second time: by another reader of JSON, and by where R4 puts people. Shares nothing with the rules.

use serde_json::{Map, Value};

use super::known::Known;
use super::{Gate, HitKind, patterns};

/// Resources whose names, numbers and addresses are those of people whom a release must not name, and whether also of
/// providers, whom a limited data set may name.
const PEOPLE: [(&str, bool); 4] =
    [("Patient", false), ("RelatedPerson", false), ("Person", false), ("Practitioner", true)];
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

/// What a resource knows of its people. Nothing where it is no JSON: then there is no release of it either.
pub(super) fn known(raw: &[u8], year: i16, strict: bool) -> Known {
    let mut known = Known::default();
    if let Ok(value) = serde_json::from_slice::<Value>(raw) {
        learn(&value, year, strict, &mut known);
    }
    known.settle(strict);
    known
}

fn learn(value: &Value, year: i16, strict: bool, known: &mut Known) {
    match value {
        Value::Object(object) => {
            let kind = object.get("resourceType").and_then(Value::as_str).unwrap_or_default();
            let person = PEOPLE.iter().find(|(name, _)| *name == kind);
            if person.is_some_and(|(_, is_provider)| strict || !is_provider) {
                of_person(object, year, strict, known);
                if let Some(contacts) = object.get("contact") {
                    each(contacts, &mut |contact| of_person(contact, year, strict, known));
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
                learn(member, year, strict, known);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| learn(value, year, strict, known)),
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

fn of_person(object: &Map<String, Value>, year: i16, strict: bool, known: &mut Known) {
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
    if strict {
        string(object, "birthDate", &mut |text| {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            known.birth_date(digits.as_bytes(), year);
        });
    }
}

impl Gate {
    /// Every string and number of a release, and the names of what they stand under.
    pub(super) fn resource(&self, payload: &[u8]) -> Option<HitKind> {
        match serde_json::from_slice::<Value>(payload) {
            Ok(value) => self.json(&value, ""),
            // What the rules wrote is JSON; what is none was not looked at.
            Err(_) => Some(HitKind::Envelope),
        }
    }

    fn json(&self, value: &Value, system: &str) -> Option<HitKind> {
        match value {
            Value::Object(object) => {
                let system = object.get("system").and_then(Value::as_str).unwrap_or_default();
                object.iter().find_map(|(name, value)| {
                    let is_of_stream = matches!(name.as_str(), "id" | "fullUrl" | "reference");
                    match value {
                        // Ours: the place in the stream, or a token.
                        Value::String(text) if is_of_stream && !self.is_known(text) => None,
                        value => self.json(value, system),
                    }
                })
            }
            Value::Array(values) => values.iter().find_map(|value| self.json(value, system)),
            Value::String(text) => self.string(text, system),
            Value::Number(number) => self.known.find(number.to_string().as_bytes(), false),
            Value::Bool(_) | Value::Null => None,
        }
    }

    fn is_known(&self, text: &str) -> bool {
        text.split(['/', '-', ':'])
            .any(|part| part.len() >= 6 && self.known.find(part.as_bytes(), false).is_some())
    }

    fn string(&self, text: &str, system: &str) -> Option<HitKind> {
        if is_public(text) {
            return None;
        }
        let is_concept = || matches!(system, "http://snomed.info/sct" | "http://hl7.org/fhir/sid/ndc");
        let hit = self.value(text.as_bytes(), !self.strict, is_concept);
        // A code of a public system is no word of a name, however it is spelt.
        hit.filter(|kind| !(*kind == HitKind::Name && is_public(system) && text.len() <= 4))
    }
}

/// An address of a public system, or a number of the registry of objects.
fn is_public(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(rest) => PUBLIC.contains(&rest.split('/').next().unwrap_or_default()) && !has_number(rest),
        None => text.starts_with("urn:iso:std:iso:") || text.starts_with("urn:oid:2.16.840.1.113883."),
    }
}

/// A number that somebody may be known by, in an address.
fn has_number(rest: &str) -> bool {
    patterns::find(rest.split_once('/').map_or("", |(_, path)| path).as_bytes())
        .is_some_and(|kind| kind != HitKind::NetworkPattern)
}
