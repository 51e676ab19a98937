//! What a resource knows of its people, for the text engine: names, numbers, addresses and dates, by the names that R4 gives
//! them.

use fhir::validate::json::{Json, Kind};

use super::documents;
use crate::policy::{Compiled, TextMode};
use crate::text::Known;

/// Members of a resource that refer to whom it is about.
const SUBJECTS: [&str; 4] = ["subject", "patient", "beneficiary", "subscriber"];
/// Types of people, as references name them; `PractitionerRole` too.
const PEOPLE: [&str; 4] = ["Patient", "Practitioner", "RelatedPerson", "Person"];

/// Reads a whole resource or Bundle, and the headers of documents where the policy scrubs them. `year` is that in which it is read.
pub(super) fn known(json: &Json<'_>, policy: &Compiled, year: i16) -> Known {
    let mut known = Known::default();
    // Every object of the index, however deep.
    let mut at = 0;
    while let Some(node) = json.node(at) {
        if node.kind == Kind::Object {
            learn(json, at, year, &mut known);
            if policy.text.documents == TextMode::Scrub
                && let (Some(declared), Some(data)) =
                    (json.text_of(at, "contentType"), json.text_of(at, "data"))
            {
                documents::read(&declared, &data, &mut known, year);
            }
        }
        at += 1;
    }
    known
}

/// Whose record it is, for surrogates: the id of the first patient in it, or of the first that it refers to.
pub(super) fn patient(json: &Json<'_>) -> String {
    let mut at = 0;
    let mut referred = None;
    while let Some(node) = json.node(at) {
        if node.kind == Kind::Object {
            if json.text_of(at, "resourceType").is_some_and(|kind| kind == "Patient")
                && let Some(id) = json.text_of(at, "id")
            {
                return id.into_owned();
            }
            if referred.is_none() {
                let subject = SUBJECTS.iter().find_map(|name| json.member(at, name));
                let to = subject.and_then(|(subject, _)| json.text_of(subject, "reference"));
                referred = to.map(|to| to.rsplit('/').next().unwrap_or_default().to_owned());
            }
        }
        at += 1;
    }
    referred.unwrap_or_default()
}

fn learn(json: &Json<'_>, at: usize, year: i16, known: &mut Known) {
    for (child, node) in json.children(at) {
        match &*json.key(node) {
            "name" | "maiden" => objects(json, child, &mut |name| person(json, name, known)),
            "identifier" => objects(json, child, &mut |one| {
                if let Some(value) = json.text_of(one, "value") {
                    known.number(&value);
                }
            }),
            "telecom" => objects(json, child, &mut |one| {
                if let Some(value) = json.text_of(one, "value") {
                    known.telecom(&value);
                }
            }),
            "address" => objects(json, child, &mut |one| {
                strings(json, one, "line", &mut |line| known.place(line));
                strings(json, one, "city", &mut |city| known.place(city));
            }),
            "birthDate" => {
                if let Some(date) = json.string(node) {
                    known.birth_date(&date, year);
                }
            }
            // Who wrote an annotation.
            "authorString" => {
                if let Some(name) = json.string(node) {
                    known.name(&name);
                }
            }
            key => {
                let is_subject = SUBJECTS.contains(&key);
                objects(json, child, &mut |reference| {
                    let to = json.text_of(reference, "reference").unwrap_or_default();
                    if is_subject || PEOPLE.iter().any(|kind| to.contains(kind)) {
                        strings(json, reference, "display", &mut |name| known.name(name));
                    }
                });
            }
        }
    }
}

/// A HumanName: other objects called `name` have no such members.
fn person(json: &Json<'_>, at: usize, known: &mut Known) {
    let mut given = Vec::new();
    strings(json, at, "given", &mut |name| given.push(name.to_owned()));
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    strings(json, at, "family", &mut |family| known.person(family, &given));
    given.iter().for_each(|name| known.name(name));
    strings(json, at, "text", &mut |text| known.name(text));
}

/// The object, or every object of the list.
fn objects(json: &Json<'_>, at: usize, take: &mut dyn FnMut(usize)) {
    match json.node(at).map(|node| node.kind) {
        Some(Kind::Object) => take(at),
        Some(Kind::Array) => {
            let all = json.children(at).filter(|(_, node)| node.kind == Kind::Object);
            all.for_each(|(child, _)| take(child));
        }
        _ => {}
    }
}

/// The string of this name, or every string of the list.
fn strings(json: &Json<'_>, at: usize, name: &str, take: &mut dyn FnMut(&str)) {
    let Some((child, node)) = json.member(at, name) else { return };
    if let Some(text) = json.string(node) {
        return take(&text);
    }
    json.children(child).filter_map(|(_, node)| json.string(node)).for_each(|text| take(&text));
}
