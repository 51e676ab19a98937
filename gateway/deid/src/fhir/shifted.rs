//! Whose dates move by how much.
//!
//! A resource is of the patient that it is itself, or that its `subject`, `patient`, `beneficiary`, `individual`, `for` or
//! `participant.actor` refers to; a Bundle of the only patient in it; what is contained of whom its container is. Of several
//! patients, or of none, it is nobody's: then its dates keep the year, and what cannot be a year goes.
//!
//! With `patients = "identifier"` a reference must lead to an identifier, in itself, in the Bundle or to what is contained;
//! with `patients = "id"` the id of the Patient on its server is enough, and no identifier counts.

use std::collections::{HashMap, HashSet};

use fhir::validate::json::{Json, Kind};

use super::Walk;
use super::ids::{server, target};
use super::values::is_date_or_time;
use crate::dates::{self, Moved, YEARS_OVER_89};
use crate::patient::{Namespace, Patient};
use crate::shift::{Shift, ShiftKey};
use crate::tally::Touch;

/// Elements that refer to whom a resource is about.
const ABOUT: [&str; 5] = ["subject", "patient", "beneficiary", "individual", "for"];

/// Looks for the patients of a resource or Bundle.
pub(super) struct Patients<'p> {
    json: &'p Json<'p>,
    namespace: Namespace<'p>,
    by_id: bool,
    /// Resources that are not contained, with the `fullUrl` of their entry.
    resources: Vec<(usize, String)>,
    /// Patients with an identifier by `fullUrl`, and by `Patient/id`; none where two have it.
    named: HashMap<String, Option<Patient>>,
    /// The `fullUrl` of each resource that is no Patient.
    others: HashSet<String>,
}

impl<'p> Patients<'p> {
    pub(super) fn of(json: &'p Json<'p>, namespace: Namespace<'p>, by_id: bool) -> Self {
        let (named, others) = (HashMap::new(), HashSet::new());
        let mut patients = Self { json, namespace, by_id, resources: Vec::new(), named, others };
        patients.look(0, String::new());
        for (at, full_url) in patients.resources.clone() {
            patients.learn(at, full_url);
        }
        patients
    }

    /// What a resource of the Bundle is called, and whether that is a patient.
    fn learn(&mut self, at: usize, full_url: String) {
        if self.json.text_of(at, "resourceType").as_deref() != Some("Patient") {
            self.others.insert(full_url);
            return;
        }
        let Some(patient) = self.own(at) else { return };
        let by_id = self.json.text_of(at, "id").map(|id| format!("Patient/{id}"));
        for name in [Some(full_url), by_id].into_iter().flatten().filter(|name| !name.is_empty()) {
            let named = self.named.entry(name).or_insert_with(|| Some(patient.clone()));
            if named.as_ref() != Some(&patient) {
                *named = None;
            }
        }
    }

    /// Depth is that of the reader of JSON.
    fn look(&mut self, at: usize, full_url: String) {
        self.resources.push((at, full_url));
        if self.json.text_of(at, "resourceType").as_deref() != Some("Bundle") {
            return;
        }
        let Some((entries, _)) = self.json.member(at, "entry") else { return };
        for (entry, node) in self.json.children(entries) {
            if let Some((resource, _)) =
                self.json.member(entry, "resource").filter(|_| node.kind == Kind::Object)
            {
                let full_url = self.json.text_of(entry, "fullUrl").unwrap_or_default().into_owned();
                self.look(resource, full_url);
            }
        }
    }

    /// By how much the dates of each resource move, by its place.
    pub(super) fn shifts(&self, key: &ShiftKey) -> HashMap<usize, Shift> {
        let about: Vec<_> = self.resources.iter().map(|(at, full_url)| self.about(*at, full_url)).collect();
        // Of Bundles within the Bundle nothing is told.
        let whole = (self.resources.len() > 1).then(|| one(about.iter().flatten())).flatten();
        let of_each =
            about.iter().zip(&self.resources).filter_map(|(about, (at, _))| Some((*at, one(about.iter())?)));
        of_each
            .chain(whole.map(|patient| (0, patient)))
            .map(|(at, patient)| (at, key.shift(patient)))
            .collect()
    }

    /// Everybody whom a resource says it is about; `None` where one of them cannot be told.
    fn about(&self, at: usize, full_url: &str) -> Vec<Option<Patient>> {
        if self.json.text_of(at, "resourceType").as_deref() == Some("Patient") {
            return vec![if self.by_id { self.by_id(at, full_url) } else { self.own(at) }];
        }
        let mut about = Vec::new();
        for name in ABOUT {
            if let Some((member, _)) = self.json.member(at, name) {
                self.each(member, |reference| about.extend(self.referred(at, reference, full_url)));
            }
        }
        if let Some((participants, _)) = self.json.member(at, "participant") {
            self.each(participants, |participant| {
                if let Some((actor, _)) = self.json.member(participant, "actor") {
                    self.each(actor, |reference| about.extend(self.referred(at, reference, full_url)));
                }
            });
        }
        about
    }

    /// The object, or every object of the array.
    fn each(&self, at: usize, mut take: impl FnMut(usize)) {
        match self.json.node(at).map(|node| node.kind) {
            Some(Kind::Object) => take(at),
            Some(Kind::Array) => {
                self.json.children(at).filter(|(_, n)| n.kind == Kind::Object).for_each(|(n, _)| take(n));
            }
            _ => {}
        }
    }

    /// A patient by the identifiers of an object.
    fn own(&self, at: usize) -> Option<Patient> {
        let mut numbers = Vec::new();
        if let Some((identifiers, _)) = self.json.member(at, "identifier") {
            self.each(identifiers, |identifier| {
                let part = |name| self.json.text_of(identifier, name).unwrap_or_default();
                let kind = super::values::kind_of_id(self.json, identifier).unwrap_or_default();
                let authority = self.namespace.authority(&[part("system").as_bytes()]);
                numbers.push((kind.into_bytes(), authority, part("value").as_bytes().to_vec()));
            });
        }
        self.namespace.patient(numbers.into_iter())
    }

    /// A patient by the id on its server, or the feed's.
    fn by_id(&self, at: usize, full_url: &str) -> Option<Patient> {
        let id = self.json.text_of(at, "id")?;
        Some(self.of_server(server(full_url), &id))
    }

    fn of_server(&self, server: &str, id: &str) -> Patient {
        let authority = self.namespace.authority(&[server.as_bytes()]);
        Patient::of_server(authority, id)
    }

    /// Whom a reference leads to; nobody where it leads to no patient, `None` in it where he cannot be told.
    fn referred(&self, at: usize, reference: usize, full_url: &str) -> Option<Option<Patient>> {
        let part = |name| self.json.text_of(reference, name).unwrap_or_default();
        let (written, said) = (part("reference"), part("type"));
        if let Some(id) = written.strip_prefix('#') {
            let (list, _) = self.json.member(at, "contained")?;
            let is_it = |n: &usize| self.json.text_of(*n, "id").as_deref() == Some(id);
            let contained = self.json.children(list).map(|(n, _)| n).find(is_it)?;
            let is_patient = self.json.text_of(contained, "resourceType").as_deref() == Some("Patient");
            return is_patient.then(|| self.own(contained).filter(|_| !self.by_id));
        }
        let target = target(&written);
        if target.is_some_and(|(_, kind, _)| kind != "Patient") || !matches!(&*said, "" | "Patient") {
            return None;
        }
        if self.by_id {
            let (named, _, id) = target?;
            let server = if named.is_empty() { server(full_url) } else { named };
            return Some(Some(self.of_server(server, id)));
        }
        let own = self.json.member(reference, "identifier").and_then(|_| self.own(reference));
        let resolved = own.or_else(|| {
            let whole = match target {
                Some(("", kind, id)) => format!("{}{kind}/{id}", server(full_url)),
                _ => written.clone().into_owned(),
            };
            self.named.get(&whole).cloned().flatten()
        });
        (resolved.is_some() || !self.others.contains(&*written)).then_some(resolved)
    }
}

/// The one that all are.
fn one<'p>(mut patients: impl Iterator<Item = &'p Option<Patient>>) -> Option<&'p Patient> {
    let first = patients.next()?.as_ref()?;
    patients.all(|patient| patient.as_ref() == Some(first)).then_some(first)
}

impl Walk<'_> {
    /// A date moved by the patient's days; its year where it names no day or is nobody's. Of an instant nothing stays then.
    pub(super) fn shifted(&mut self, raw: &str, is_instant: bool) {
        if !is_date_or_time(raw) {
            return self.tally.count(Touch::DateRefused);
        }
        let moved = self.shift.and_then(|shift| dates::moved_iso(raw, shift.days()));
        match (moved, self.shift) {
            (Some(Moved::Whole(moved)), _) => {
                let moved = String::from_utf8(moved).unwrap_or_default();
                if [raw, &moved].iter().any(|date| self.tells_age(date)) {
                    return self.tally.count(Touch::YearOver89);
                }
                self.keep(&moved, Touch::DateShifted);
            }
            (None, Some(_)) => self.tally.count(Touch::DateRefused),
            _ if is_instant => self.tally.count(Touch::Removed),
            _ => self.year(raw),
        }
    }

    /// Whether the year of a date tells an age over 89 that the policy caps.
    pub(super) fn tells_age(&self, date: &str) -> bool {
        let year = date.get(..4).and_then(|year| dates::year(year.as_bytes()));
        let years = year.map(|year| self.reference_year.saturating_sub(year));
        self.policy.ages_capped && years.is_some_and(|years| years >= YEARS_OVER_89)
    }
}
