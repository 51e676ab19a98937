//! Where two policies part: the same records explained by both, added up place by place, without a value.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::explain::{Explained, Outcome, Step};

/// Most differing places that are listed; further ones are counted.
pub const CHANGES_MAX: usize = 1000;

/// What two policies make of the same records. `E` names a record for whoever wants to look at one.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison<E> {
    /// Records that were looked at.
    pub records: u64,
    /// Of which both make the same, to the byte.
    pub same: u64,
    /// That the first policy holds, and of which nothing goes.
    pub held_by_first: u64,
    /// The same of the second.
    pub held_by_second: u64,
    /// Where they differ.
    pub changes: Vec<Change<E>>,
    /// Differing places beyond [`CHANGES_MAX`], as often as they were met.
    pub left_out: u64,
    #[serde(skip)]
    known: HashMap<Key, usize>,
}

/// A place at which two policies differ.
#[derive(Debug, Clone, Serialize)]
pub struct Change<E> {
    /// The place, without numbers of segments and repetitions: `PID-7`.
    pub path: String,
    /// What the first policy does there.
    pub first: Fate,
    /// What the second does.
    pub second: Fate,
    /// Values of which this holds.
    pub values: u64,
    /// The first record with one.
    pub example: E,
}

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Fate {
    /// `kept`, `changed`, `removed`, or `held`: the whole record is.
    pub outcome: &'static str,
    /// By which rules.
    pub rules: Vec<&'static str>,
}

type Key = (String, Fate, Fate);

impl<E> Default for Comparison<E> {
    fn default() -> Self {
        Self {
            records: 0,
            same: 0,
            held_by_first: 0,
            held_by_second: 0,
            changes: Vec::new(),
            left_out: 0,
            known: HashMap::new(),
        }
    }
}

impl<E: Clone> Comparison<E> {
    /// Adds a record that both policies explained.
    pub fn add(&mut self, example: &E, first: &Explained, second: &Explained) {
        self.records = self.records.saturating_add(1);
        let held = [&first.outcome, &second.outcome].map(|outcome| u64::from(outcome.is_err()));
        self.held_by_first = self.held_by_first.saturating_add(held[0]);
        self.held_by_second = self.held_by_second.saturating_add(held[1]);
        let is_same = match (&first.outcome, &second.outcome) {
            (Ok(first), Ok(second)) => first == second,
            (Err(first), Err(second)) => first == second,
            _ => false,
        };
        if is_same {
            self.same = self.same.saturating_add(1);
            return;
        }
        if let [one, other] = [&first.outcome, &second.outcome].map(|o| o.as_ref().err())
            && one.is_some() != other.is_some()
        {
            let fate = |held: Option<&crate::Held>| match held {
                Some(held) => Fate { outcome: "held", rules: vec![held.why.as_str()] },
                None => Fate { outcome: "released", rules: Vec::new() },
            };
            self.count((String::new(), fate(one), fate(other)), example);
        }
        let (ones, others) = (by_path(&first.steps), by_path(&second.steps));
        for step in first.steps.iter().filter(|step| is_value(step)) {
            if let Some(other) = at(&others, &step.path) {
                self.differ(step, other, &step.path, others.contains_key(step.path.as_str()), example);
            }
        }
        // What the second looks into and the first took as a whole.
        for step in second.steps.iter().filter(|step| is_value(step)) {
            if !ones.contains_key(step.path.as_str())
                && let Some(one) = at(&ones, &step.path)
            {
                self.differ(one, step, &step.path, false, example);
            }
        }
    }

    /// The most frequent changes first, as they are reported.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.changes.sort_by(|a, b| b.values.cmp(&a.values).then_with(|| a.path.cmp(&b.path)));
        self.known.clear();
        self
    }

    fn differ(&mut self, first: &Step, second: &Step, path: &str, same_place: bool, example: &E) {
        let outcomes = (first.outcome(), second.outcome());
        // A part and its whole differ unless both go entirely or stay entirely.
        let same = if same_place {
            first.after.expose() == second.after.expose()
        } else {
            outcomes.0 == outcomes.1 && outcomes.0 != Outcome::Changed
        };
        if !same {
            self.count((place(path), fate(first), fate(second)), example);
        }
    }

    fn count(&mut self, key: Key, example: &E) {
        let known = self.known.get(&key).and_then(|at| self.changes.get_mut(*at));
        if let Some(change) = known {
            change.values = change.values.saturating_add(1);
        } else if self.changes.len() == CHANGES_MAX {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.known.insert(key.clone(), self.changes.len());
            let (path, first, second) = key;
            self.changes.push(Change { path, first, second, values: 1, example: example.clone() });
        }
    }
}

/// A place that only says what was done to all of its parts has no value of its own.
fn is_value(step: &Step) -> bool {
    !step.before.expose().is_empty()
}

fn fate(step: &Step) -> Fate {
    Fate { outcome: step.outcome().as_str(), rules: step.rules.clone() }
}

fn by_path(steps: &[Step]) -> BTreeMap<&str, &Step> {
    steps.iter().filter(|step| is_value(step)).map(|step| (step.path.as_str(), step)).collect()
}

/// The step of a place, or of what it is a part of; none where somebody looked further into it.
fn at<'s>(steps: &BTreeMap<&str, &'s Step>, path: &str) -> Option<&'s Step> {
    let mut path = path;
    loop {
        if let Some(step) = steps.get(path) {
            return Some(step);
        }
        path = path.get(..path.rfind(['.', '-', '['])?)?;
    }
}

/// A path without the numbers of segments and repetitions.
fn place(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}
