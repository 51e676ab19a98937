//! Whose a record is, and what it says about consent.
//!
//! | where | what it says | of whom |
//! |---|---|---|
//! | PD1-12 protection indicator (table 0136) | `Y` refuses, `N` and `""` take back | the patient |
//! | PV2-22 visit protection indicator | as PD1-12 | the visit |
//! | PV1-16 VIP indicator (table 0099, the site's own) | anything but [`NOT_VIP`] and the site's own list refuses | the visit |
//! | ARV-2/3 access restriction (tables 0206, 0717) | a restriction refuses; `D`, `NO` and `OI` take back | before PV1 the patient, after it the visit |
//! | CON-11 consent status (table 0498) | `A` permits from CON-14 up to CON-15; `R`, `X` and `L` refuse; `P` and `B` say nothing | the patient |
//! | FHIR Consent | as [`fhir::consent`] reads it | its patient |
//! | MRG-1 | who refused under the former id refuses under the new one | the patient |
//!
//! Patient ids are PID-2, PID-3 and PID-4 with their authorities, visit ids PV1-19. What is said of a visit without an id is
//! said of the patient.

use hl7::{Message, Segment};
use spool::Keys;

use super::kept::{Person, Source, Word};

/// Values of PV1-16 that are no restriction.
const NOT_VIP: [&str; 4] = ["N", "NO", "0", "\"\""];
/// Restrictions of table 0717 that are none.
const NO_RESTRICTION: [&str; 2] = ["NO", "OI"];

/// What of a site's own codes counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codes {
    /// CON-2: kinds of consent that are about handing data on. A form of no kind counts always.
    pub forms: Vec<String>,
    /// PV1-16: values that are no restriction.
    pub open_vip: Vec<String>,
}

impl Default for Codes {
    fn default() -> Self {
        Self { forms: vec!["001".to_owned()], open_vip: Vec::new() }
    }
}

/// Something that is said, before it is known by whom it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) about: Vec<Person>,
    pub(crate) source: Source,
    pub(crate) which: u64,
    pub(crate) word: Word,
    pub(crate) until: Option<u32>,
}

/// What was read of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its patients and visits, by every id.
    pub(crate) people: Vec<Person>,
    pub(crate) facts: Vec<Fact>,
    /// Former ids, and the ids that stand for them now.
    pub(crate) merged: Vec<(Vec<Person>, Vec<Person>)>,
    /// It names a patient by no id, or somebody refuses of whom no id is known.
    pub(crate) is_about_nobody_known: bool,
}

/// What an id is of: two numbers that are alike are not the same patient.
#[derive(Clone, Copy)]
enum Of {
    Patient,
    Visit,
    Form,
}

/// Makes keyed digests of ids.
#[derive(Debug, Clone)]
pub(crate) struct Digests(pub(crate) Keys);

impl Digests {
    fn digest(&self, of: Of, text: &str) -> [u8; 32] {
        let mut name = vec![of as u8];
        name.extend_from_slice(text.trim().as_bytes());
        self.0.mac("consent", &name)
    }

    fn person(&self, of: Of, id: &str, authority: &str) -> Option<Person> {
        if is_void(id) {
            return None;
        }
        let authority =
            (!is_void(authority)).then(|| self.0.mac("consent authority", authority.trim().as_bytes()));
        Some(Person::new(self.digest(of, id), authority))
    }

    /// A patient by one of his ids.
    pub(crate) fn patient(&self, id: &str, authority: &str) -> Option<Person> {
        self.person(Of::Patient, id, authority)
    }

    fn which(&self, text: &str) -> u64 {
        let digest = self.digest(Of::Form, text);
        digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }
}

fn is_void(text: &str) -> bool {
    matches!(text.trim(), "" | "\"\"")
}

/// Reads a FHIR resource; `None` where it cannot be told whose it is.
pub(crate) fn fhir(json: &[u8], digests: &Digests) -> Option<Said> {
    let read = fhir::consent::read(json)?;
    let people = |ids: &[String]| ids.iter().filter_map(|id| digests.patient(id, "")).collect::<Vec<_>>();
    let facts = read.consents.iter().map(|consent| Fact {
        about: people(&consent.patients),
        source: Source::Resource,
        which: digests.which(&consent.id),
        word: match consent.word {
            fhir::consent::Word::Permits => Word::Permit,
            fhir::consent::Word::Refuses => Word::Deny,
            fhir::consent::Word::TakesBack => Word::Nothing,
        },
        until: consent.until,
    });
    let facts: Vec<Fact> = facts.collect();
    let is_about_nobody_known = facts.iter().any(|f| f.about.is_empty() && f.word == Word::Deny);
    Some(Said { people: people(&read.patients), facts, is_about_nobody_known, merged: Vec::new() })
}

/// Reads an HL7 v2 message that came in `today`.
pub(crate) fn hl7(message: &Message, codes: &Codes, digests: &Digests, today: u32) -> Said {
    let mut said = Said::default();
    // A message may be about several patients (ORU with many PID, A40): each group by itself.
    let mut group = Group::default();
    for segment in message.segments() {
        match segment.name() {
            b"PID" => {
                std::mem::take(&mut group).close(&mut said);
                group.is_patient = true;
                for number in [2, 3, 4] {
                    ids(&segment, number, Of::Patient, digests, &mut group.patient);
                }
            }
            b"PV1" => {
                group.has_visit = true;
                ids(&segment, 19, Of::Visit, digests, &mut group.visit);
                let vip = first(&segment, 16);
                let is_open = is_open_vip(&vip, codes);
                if !vip.is_empty() {
                    group.of_visit.push((
                        Source::Indicator,
                        16,
                        if is_open { Word::Nothing } else { Word::Deny },
                    ));
                }
            }
            b"PD1" => {
                group.of_patient.extend(indicator(&first(&segment, 12)).map(|w| (Source::Indicator, 12, w)))
            }
            b"PV2" => {
                group.of_visit.extend(indicator(&first(&segment, 22)).map(|w| (Source::Indicator, 22, w)))
            }
            b"ARV" => {
                let restrictions =
                    if group.has_visit { &mut group.visit_arv } else { &mut group.patient_arv };
                restrictions.extend(restriction(&segment));
            }
            b"CON" => group.forms.extend(form(&segment, codes, digests, today)),
            b"MRG" => ids(&segment, 1, Of::Patient, digests, &mut group.former),
            _ => {}
        }
    }
    group.close(&mut said);
    said
}

/// A patient of a message, and what stands behind his PID.
#[derive(Default)]
struct Group {
    is_patient: bool,
    has_visit: bool,
    patient: Vec<Person>,
    visit: Vec<Person>,
    former: Vec<Person>,
    of_patient: Vec<(Source, u64, Word)>,
    of_visit: Vec<(Source, u64, Word)>,
    patient_arv: Vec<Word>,
    visit_arv: Vec<Word>,
    forms: Vec<Fact>,
}

impl Group {
    fn close(mut self, said: &mut Said) {
        // Of several restrictions one that holds is enough.
        let together = |all: &[Word]| all.iter().copied().reduce(|a, b| if a == Word::Deny { a } else { b });
        self.of_patient.extend(together(&self.patient_arv).map(|w| (Source::Restriction, 0, w)));
        self.of_visit.extend(together(&self.visit_arv).map(|w| (Source::Restriction, 1, w)));
        let visit = if self.visit.is_empty() { &self.patient } else { &self.visit };
        let of_patient = self.of_patient.iter().map(|fact| (&self.patient, fact));
        let of_visit = self.of_visit.iter().map(|fact| (visit, fact));
        let mut facts: Vec<Fact> = of_patient
            .chain(of_visit)
            .map(|(about, (source, which, word))| Fact {
                about: about.clone(),
                source: *source,
                which: *which,
                word: *word,
                until: None,
            })
            .collect();
        facts.extend(self.forms.into_iter().map(|fact| Fact { about: self.patient.clone(), ..fact }));
        let is_unknown = facts.iter().any(|fact| fact.about.is_empty() && fact.word == Word::Deny);
        said.is_about_nobody_known |= is_unknown || self.is_patient && self.patient.is_empty();
        said.facts.append(&mut facts);
        said.people.extend_from_slice(&self.patient);
        said.people.extend_from_slice(&self.visit);
        // The record names the former id too.
        said.people.extend_from_slice(&self.former);
        if !self.former.is_empty() {
            said.merged.push((self.former, self.patient));
        }
    }
}

/// Every repetition of a field, as ids with their authority: CX.1 and CX.4, by name or by universal id.
fn ids(segment: &Segment<'_>, number: usize, of: Of, digests: &Digests, into: &mut Vec<Person>) {
    let Some(field) = segment.field(number) else { return };
    for repetition in field.repetitions() {
        let id = repetition.component(1).map(|c| c.text().into_owned()).unwrap_or_default();
        let authority = repetition.component(4);
        let part =
            |n| authority.and_then(|a| a.subcomponent(n)).map(|s| s.text().into_owned()).unwrap_or_default();
        let name = if is_void(&part(1)) { part(2) } else { part(1) };
        into.extend(digests.person(of, &id, &name));
    }
}

/// The first component of a field, without blanks around it, in capitals; empty where there is none.
fn first(segment: &Segment<'_>, number: usize) -> String {
    let component = segment.field(number).and_then(|f| f.repetitions().next()?.component(1));
    component.map(|c| c.text().trim().to_uppercase()).unwrap_or_default()
}

fn is_open_vip(vip: &str, codes: &Codes) -> bool {
    NOT_VIP.contains(&vip) || codes.open_vip.iter().any(|open| open.trim().eq_ignore_ascii_case(vip))
}

/// A yes/no indicator of table 0136; whatever is neither refuses.
fn indicator(value: &str) -> Option<Word> {
    match value {
        "" => None,
        "N" | "\"\"" => Some(Word::Nothing),
        _ => Some(Word::Deny),
    }
}

fn restriction(segment: &Segment<'_>) -> Option<Word> {
    match (first(segment, 2).as_str(), first(segment, 3).as_str()) {
        ("X", _) | ("", "") => None,
        ("D", _) => Some(Word::Nothing),
        (_, value) if NO_RESTRICTION.contains(&value) => Some(Word::Nothing),
        _ => Some(Word::Deny),
    }
}

fn form(segment: &Segment<'_>, codes: &Codes, digests: &Digests, today: u32) -> Option<Fact> {
    let kind = first(segment, 2);
    let counts = kind.is_empty() || codes.forms.iter().any(|form| form.trim().eq_ignore_ascii_case(&kind));
    if !counts {
        return None;
    }
    let word = match first(segment, 11).as_str() {
        // One that begins later is not in force yet, and nobody looks again.
        "A" if day(&first(segment, 14)).is_some_and(|begins| begins > today) => return None,
        "A" => Word::Permit,
        "R" | "X" | "L" => Word::Deny,
        _ => return None,
    };
    let which = format!("{kind}\0{}\0{}", first(segment, 3), first(segment, 4));
    let until = day(&first(segment, 15));
    let which = digests.which(&which);
    Some(Fact { about: Vec::new(), source: Source::Form, which, word, until })
}

/// The day of a DTM as a number, with zeros for what is not said; none where nothing is.
fn day(dtm: &str) -> Option<u32> {
    let digits: String = dtm.chars().take_while(char::is_ascii_digit).take(8).collect();
    (!digits.is_empty()).then(|| format!("{digits:0<8}").parse().ok()).flatten()
}
