//! What became of each value of a record, place by place.
//!
//! A place is a path: of HL7 v2 as in [`hl7::Path`] (`PID-3[2].4`), of FHIR as in FHIRPath
//! (`Bundle.entry[0].resource.birthDate`), of what stands beside the payload `envelope.peer`. A value that a rule
//! took as a whole has one step, however many parts it has.

use std::fmt;

use model::{Phi, Released, TimeValue};

use crate::Context;
use crate::release::{Held, Release};

/// One value, and what became of it.
#[derive(Debug)]
pub struct Step {
    /// Where it stands in what came.
    pub path: String,
    /// What the rules did, in their order, by the names of the receipt. Empty for what shares the fate of its
    /// neighbour, as a coding system that of its code.
    pub rules: Vec<&'static str>,
    /// As it came.
    pub before: Phi<Vec<u8>>,
    /// As it goes; empty where nothing goes.
    pub after: Phi<Vec<u8>>,
}

impl Step {
    /// What happened, in a word.
    pub fn outcome(&self) -> Outcome {
        let (before, after) = (self.before.expose(), self.after.expose());
        match (after.is_empty(), before == after) {
            (true, _) => Outcome::Removed,
            (false, true) => Outcome::Kept,
            (false, false) => Outcome::Changed,
        }
    }
}

/// What happened to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It goes as it came.
    Kept,
    /// Something else goes in its place.
    Changed,
    /// Nothing goes.
    Removed,
}

impl Outcome {
    /// As in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What [`crate::Policy::explain`] tells.
#[derive(Debug)]
pub struct Explained {
    /// Every value, in the order of the record; also of one that is held.
    pub steps: Vec<Step>,
    /// What [`crate::Policy::release`] makes of the same record.
    pub outcome: Result<Release, Held>,
}

/// Takes notes while the rules walk through a record.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    path: String,
    open: Vec<Open>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Open {
    /// Length of the path outside of it.
    outer: usize,
    /// How many steps there were when it was entered.
    steps: usize,
    before: Vec<u8>,
    rules: Vec<&'static str>,
}

impl Trace {
    /// Goes to a place; `step` is what it adds to the path.
    pub(crate) fn enter(&mut self, step: fmt::Arguments<'_>, before: &[u8]) {
        let outer = self.path.len();
        self.path.push_str(&step.to_string());
        let open = Open { outer, steps: self.steps.len(), before: before.to_vec(), rules: Vec::new() };
        self.open.push(open);
    }

    /// A rule did something here.
    pub(crate) fn note(&mut self, rule: &'static str) {
        if let Some(open) = self.open.last_mut() {
            open.rules.push(rule);
        }
    }

    /// Leaves the place, where this stands now.
    pub(crate) fn leave(&mut self, after: &[u8]) {
        let Some(Open { outer, steps, before, rules }) = self.open.pop() else { return };
        let has_inner = self.steps.len() > steps;
        let worth_saying = if has_inner { !rules.is_empty() } else { !before.is_empty() };
        if worth_saying {
            // What its parts were and became is said by them.
            let (before, after) = if has_inner { (Vec::new(), Vec::new()) } else { (before, after.to_vec()) };
            let step =
                Step { path: self.path.clone(), rules, before: Phi::new(before), after: Phi::new(after) };
            self.steps.insert(steps, step);
        }
        self.path.truncate(outer);
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

/// What became of the texts and times beside the payload.
pub(crate) fn envelope(control_id: Option<&str>, context: &Context<'_>, released: &Released) -> Vec<Step> {
    let provenance = context.provenance;
    let time = |time| match time {
        TimeValue::Instant(at) => at.to_string(),
        TimeValue::Year(year) => year.to_string(),
    };
    [
        ("received_at", provenance.received_at.to_string(), released.received_at.map(time)),
        ("peer", provenance.peer.clone(), released.peer.clone()),
        ("channel", provenance.channel.clone(), released.channel.clone()),
        ("control_id", control_id.unwrap_or_default().to_owned(), released.control_id.clone()),
    ]
    .into_iter()
    .filter(|(_, before, _)| !before.is_empty())
    .map(|(name, before, after)| Step {
        path: format!("envelope.{name}"),
        rules: Vec::new(),
        before: Phi::new(before.into_bytes()),
        after: Phi::new(after.unwrap_or_default().into_bytes()),
    })
    .collect()
}
