//! Whose data a resource is, and what its Consents say: read for the consent gate, which fails closed.
//!
//! **Patients.** Every `id` and every `identifier.value` of a Patient, and the id behind every `reference` to a `Patient/…`,
//! wherever in the resource it stands. Systems are left out: HL7 v2 names the same authority in other words, and one id too
//! many withholds a record, one too few lets it go.
//!
//! **Consent** (FHIR R4, <http://hl7.org/fhir/R4/consent.html>). Consents for privacy and research count, those for treatment
//! and advance directives do not. `active` is what its provision says; a permission with a refusal nested in it is a refusal,
//! as no machine here can tell what the exception is about. `rejected` refuses, `inactive` and `entered-in-error` take back,
//! `draft` and `proposed` say nothing.

use serde_json::{Map, Value};

/// Longest resource that is read, in bytes; of a longer one it is not known whose it is.
pub const BYTES_MAX: usize = 16 << 20;
/// How deep provisions may be nested; beyond, it is a refusal.
const PROVISIONS_DEEP_MAX: usize = 8;
/// `Consent.scope` that is not about handing data on (<http://terminology.hl7.org/CodeSystem/consentscope>).
const OTHER_SCOPES: [&str; 2] = ["treatment", "adr"];

/// What a Consent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Data may be handed on.
    Permits,
    /// It may not.
    Refuses,
    /// What it said before holds no longer.
    TakesBack,
}

/// One Consent.
#[derive(Clone, PartialEq, Eq)]
pub struct Consent {
    /// Which: its id, or its first identifier; empty where it has neither.
    pub id: String,
    /// The ids of its patient.
    pub patients: Vec<String>,
    /// What it says.
    pub word: Word,
    /// The last day it holds, as `YYYYMMDD` with zeros for what is not said.
    pub until: Option<u32>,
}

/// Ids of patients are not printed.
impl std::fmt::Debug for Consent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consent")
            .field("word", &self.word)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// What was read of a resource.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The ids of every patient it names, each once.
    pub patients: Vec<String>,
    /// Its Consents, in order.
    pub consents: Vec<Consent>,
}

/// Numbers alone.
impl std::fmt::Debug for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Read({} ids, {} consents)", self.patients.len(), self.consents.len())
    }
}

/// Reads a resource or a Bundle; nothing where it is too long or no JSON.
pub fn read(json: &[u8]) -> Option<Read> {
    if json.len() > BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(json).ok()?;
    let mut read = Read::default();
    walk(&value, &mut read);
    read.patients.sort_unstable();
    read.patients.dedup();
    Some(read)
}

fn walk(value: &Value, read: &mut Read) {
    match value {
        Value::Object(object) => {
            match text(object, "resourceType") {
                Some("Patient") => read.patients.extend(own_ids(object)),
                Some("Consent") => read.consents.extend(consent(object)),
                _ => {}
            }
            read.patients.extend(text(object, "reference").and_then(patient_id));
            if text(object, "type") == Some("Patient") {
                // A Reference by identifier alone.
                let by = object.get("identifier").and_then(Value::as_object);
                read.patients.extend(by.and_then(|by| text(by, "value")).and_then(id));
            }
            object.values().for_each(|value| walk(value, read));
        }
        Value::Array(values) => values.iter().for_each(|value| walk(value, read)),
        _ => {}
    }
}

fn text<'v>(object: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    object.get(name).and_then(Value::as_str)
}

fn id(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn own_ids(object: &Map<String, Value>) -> impl Iterator<Item = String> + '_ {
    text(object, "id").and_then(id).into_iter().chain(identifiers(object))
}

fn identifiers(object: &Map<String, Value>) -> impl Iterator<Item = String> + '_ {
    let all = object.get("identifier").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|identifier| text(identifier.as_object()?, "value").and_then(id))
}

/// `Patient/7`, `https://server/fhir/Patient/7/_history/2`.
fn patient_id(reference: &str) -> Option<String> {
    let (_, rest) = reference.rsplit_once("Patient/")?;
    id(rest.split(['/', '#', '?']).next()?)
}

fn consent(object: &Map<String, Value>) -> Option<Consent> {
    let scopes = object.get("scope").and_then(|scope| scope.get("coding")).and_then(Value::as_array);
    let mut scopes =
        scopes.into_iter().flatten().filter_map(|coding| coding.get("code")?.as_str()).peekable();
    if scopes.peek().is_some() && scopes.all(|scope| OTHER_SCOPES.contains(&scope)) {
        return None;
    }
    let provision = object.get("provision");
    let word = match text(object, "status")? {
        "active" if refuses(provision, 0) => Word::Refuses,
        "active" => Word::Permits,
        "rejected" => Word::Refuses,
        "inactive" | "entered-in-error" => Word::TakesBack,
        _ => return None,
    };
    let mut patients: Vec<String> = Vec::new();
    if let Some(patient) = object.get("patient").and_then(Value::as_object) {
        patients.extend(text(patient, "reference").and_then(patient_id));
        let by = patient.get("identifier").and_then(Value::as_object);
        patients.extend(by.and_then(|by| text(by, "value")).and_then(id));
    }
    let end = provision.and_then(|p| p.get("period")?.get("end")?.as_str());
    let name = text(object, "id").and_then(id).or_else(|| identifiers(object).next()).unwrap_or_default();
    Some(Consent { id: name, patients, word, until: end.map(day) })
}

fn refuses(provision: Option<&Value>, deep: usize) -> bool {
    let Some(provision) = provision else { return false };
    let nested = provision.get("provision").and_then(Value::as_array);
    deep >= PROVISIONS_DEEP_MAX
        || provision.get("type").and_then(Value::as_str) == Some("deny")
        || nested.into_iter().flatten().any(|inner| refuses(Some(inner), deep + 1))
}

/// `2026`, `2026-11`, `2026-11-24T…` as a number that sorts.
fn day(date: &str) -> u32 {
    let digits = date.split('T').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).take(8);
    let (day, count) =
        digits.fold((0, 0), |(day, count), digit| (day * 10 + u32::from(digit - b'0'), count + 1));
    (count..8).fold(day, |day, _| day * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Read {
        read(json.as_bytes()).unwrap()
    }

    fn word(consent: &str) -> Option<(Word, Option<u32>)> {
        let json = format!(
            r#"{{"resourceType":"Consent","id":"c","patient":{{"reference":"Patient/7"}},{consent}}}"#
        );
        let read = of(&json);
        assert_eq!(read.patients, ["7"]);
        read.consents.first().map(|c| {
            assert_eq!((c.id.as_str(), c.patients.as_slice()), ("c", &["7".to_owned()][..]));
            (c.word, c.until)
        })
    }

    #[test]
    fn every_patient_is_found_wherever_he_is_named() {
        let json = r#"{"resourceType":"Bundle","entry":[
            {"resource":{"resourceType":"Patient","id":"p1","identifier":[{"system":"s","value":" 700 "}]}},
            {"resource":{"resourceType":"Coverage","beneficiary":{"reference":"https://h/fhir/Patient/p2/_history/3"},
                "payor":[{"reference":"Patient/p3"}]}},
            {"resource":{"resourceType":"Task","for":{"type":"Patient","identifier":{"value":"p4"}},
                "extension":[{"valueReference":{"reference":"Patient/p5#x"}}],
                "contained":[{"resourceType":"Patient","id":"p6"}]}}]}"#;
        assert_eq!(of(json).patients, ["700", "p1", "p2", "p3", "p4", "p5", "p6"]);
        assert_eq!(read(b"{"), None);
    }

    #[test]
    fn a_consent_is_read_closed() {
        let permit = r#""status":"active","scope":{"coding":[{"code":"patient-privacy"}]},"#;
        assert_eq!(
            word(&format!(r#"{permit}"provision":{{"type":"permit","period":{{"end":"2027-03"}}}}"#)),
            Some((Word::Permits, Some(20_270_300)))
        );
        assert_eq!(word(&format!(r#"{permit}"provision":{{"type":"deny"}}"#)), Some((Word::Refuses, None)));
        // A permission with an exception is a refusal, however deep it stands.
        let nested =
            r#""provision":{"type":"permit","provision":[{"type":"permit","provision":[{"type":"deny"}]}]}"#;
        assert_eq!(word(&format!("{permit}{nested}")), Some((Word::Refuses, None)));
        assert_eq!(word(r#""status":"rejected""#), Some((Word::Refuses, None)));
        assert_eq!(word(r#""status":"inactive""#), Some((Word::TakesBack, None)));
        assert_eq!(word(r#""status":"draft","provision":{"type":"permit"}"#), None);
        let treatment =
            r#""status":"active","scope":{"coding":[{"code":"treatment"}]},"provision":{"type":"deny"}"#;
        assert_eq!(word(treatment), None);
    }

    #[test]
    fn nothing_of_a_patient_is_printed() {
        let read =
            of(r#"{"resourceType":"Consent","status":"rejected","patient":{"reference":"Patient/7700"}}"#);
        assert!(!format!("{read:?}{:?}", read.consents).contains("7700"));
    }
}
