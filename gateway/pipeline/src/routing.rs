//! Which destinations a message goes to: rules over places in it, from the configuration.
//!
//! **Promise.** A message goes to the destinations of *every* rule that fits, so a rule that is added never takes a
//! message away from somebody else and the order of rules does not matter. A rule without conditions always fits;
//! one with `otherwise = true` fits where no rule with conditions does. What no rule leads to a destination is skipped
//! there with [`model::Reason::NotRouted`], counted and traceable; the log keeps it like everything else.
//!
//! **A function of record and configuration.** Rules are compiled once and evaluated after the log. A change of them
//! holds for what is shaped from then on; what was committed stays as it was committed. They hold for replays and
//! released records too: nobody gets by hand what no rule gives him.
//!
//! **Conditions.** `when`: all must hold; `when_any`: at least one must. Each asks one question ([`Condition`]) about
//! a message type, a segment or a place. A place without numbers means *any* of them: `OBR-4.1` is component 1 of
//! OBR-4 in any OBR segment and any repetition, `OBR[1]-4[1].1` exactly one. So `not` means: none of them. Values are
//! compared as text, escapes resolved; a place that holds components is compared with `^` and `&` between them,
//! whatever the sender's delimiters, without empty ones at the end. Bytes that are no UTF-8 are read as ISO 8859-1.
//!
//! **What cannot be read.** A payload that is no message fits every rule: it is held, as quarantined, for each
//! destination that any rule names. It is never dropped.
//!
//! **Limits.** [`RULES_MAX`] a feed, [`CONDITIONS_MAX`] a rule, [`VALUES_MAX`] values a condition; patterns are of the
//! `regex` crate, linear in the value, of at most [`PATTERN_BYTES_MAX`] bytes and [`PATTERN_SIZE_MAX`] compiled.

mod condition;
mod place;
mod rule;
#[cfg(test)]
mod tests;

use hl7::Message;
use model::Slug;
use serde::Serialize;

pub use rule::{Condition, Rule, Words};

use condition::Compiled;

/// Most rules of one feed.
pub const RULES_MAX: usize = 64;
/// Most conditions of one rule, in both lists together.
pub const CONDITIONS_MAX: usize = 64;
/// Most values that one condition compares with.
pub const VALUES_MAX: usize = 1_000;
/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_000;
/// Largest compiled pattern, in bytes.
pub const PATTERN_SIZE_MAX: usize = 256 << 10;

/// The rules of one feed, compiled.
#[derive(Debug, Clone)]
pub struct Router(Vec<Route>);

#[derive(Debug, Clone)]
struct Route {
    name: String,
    destinations: Vec<Slug>,
    all: Vec<Compiled>,
    any: Vec<Compiled>,
    otherwise: bool,
}

/// What is wrong with a rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The rule, from 0.
    pub rule: usize,
    /// The list (`when`, `when_any`) and the condition in it, from 0; `None` where it is the rule itself.
    pub condition: Option<(&'static str, usize)>,
    /// The key that is wrong; empty where it is none in particular.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What one rule says of a message. Names of places and tests, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The rule: its name, or `route 2`.
    pub route: String,
    /// Where it leads.
    pub destinations: Vec<Slug>,
    /// Whether it fits.
    pub fits: bool,
    /// Why, or why not.
    pub because: String,
}

impl Router {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn compile(rules: &[Rule]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        if rules.len() > RULES_MAX {
            let message = format!("{} routes; at most {RULES_MAX}", rules.len());
            mistakes.push(Mistake { rule: RULES_MAX, condition: None, key: "", message, hint: None });
        }
        let routes = rules
            .iter()
            .take(RULES_MAX)
            .enumerate()
            .map(|(n, rule)| compile(n, rule, &mut mistakes))
            .collect();
        if mistakes.is_empty() { Ok(Self(routes)) } else { Err(mistakes) }
    }

    /// Whether any rule names the destination.
    pub fn names(&self, destination: &Slug) -> bool {
        self.0.iter().any(|r| r.destinations.contains(destination))
    }

    /// Whether every message goes somewhere.
    pub fn is_total(&self) -> bool {
        self.0.iter().any(|r| r.otherwise || !r.is_conditional())
    }

    /// Whether the message goes to the destination.
    pub fn leads(&self, message: &Message, destination: &Slug) -> bool {
        let to_it = || self.0.iter().filter(|r| r.destinations.contains(destination));
        to_it().any(|r| !r.otherwise && r.fits(message))
            || (to_it().any(|r| r.otherwise) && !self.any_condition_fits(message))
    }

    /// What each rule says of the message.
    pub fn explain(&self, message: &Message) -> Vec<Verdict> {
        let otherwise = !self.any_condition_fits(message);
        self.0
            .iter()
            .map(|r| {
                let (fits, because) = if r.otherwise {
                    let because = if otherwise { "no other route fits" } else { "another route fits" };
                    (otherwise, because.to_owned())
                } else {
                    r.explain(message)
                };
                Verdict { route: r.name.clone(), destinations: r.destinations.clone(), fits, because }
            })
            .collect()
    }

    fn any_condition_fits(&self, message: &Message) -> bool {
        self.0.iter().any(|r| r.is_conditional() && r.fits(message))
    }
}

impl Route {
    fn is_conditional(&self) -> bool {
        !(self.all.is_empty() && self.any.is_empty())
    }

    fn fits(&self, message: &Message) -> bool {
        self.all.iter().all(|c| c.holds(message))
            && (self.any.is_empty() || self.any.iter().any(|c| c.holds(message)))
    }

    fn explain(&self, message: &Message) -> (bool, String) {
        if !self.is_conditional() {
            return (true, "it has no conditions".to_owned());
        }
        if let Some(first) = self.all.iter().find(|c| !c.holds(message)) {
            return (false, format!("it does not hold that {first}"));
        }
        match self.any.iter().find(|c| c.holds(message)) {
            None if !self.any.is_empty() => (false, "none of when_any holds".to_owned()),
            Some(first) => (true, format!("{first}")),
            None => (true, "all of when holds".to_owned()),
        }
    }
}

fn compile(n: usize, rule: &Rule, mistakes: &mut Vec<Mistake>) -> Route {
    let mut wrong = |condition, key, message: &str, hint: Option<&str>| {
        let (message, hint) = (message.to_owned(), hint.map(str::to_owned));
        mistakes.push(Mistake { rule: n, condition, key, message, hint });
    };
    if rule.destinations.is_empty() {
        wrong(None, "destinations", "a route leads somewhere", Some("name at least one destination"));
    }
    let count = rule.when.len() + rule.when_any.len();
    if rule.otherwise && count > 0 {
        let hint = "it fits where no route with conditions does; leave out one of the two";
        wrong(None, "otherwise", "a route with otherwise = true has no conditions of its own", Some(hint));
    }
    if count > CONDITIONS_MAX {
        wrong(None, "", &format!("{count} conditions; at most {CONDITIONS_MAX}"), None);
    }
    let mut list = |list: &'static str, conditions: &[Condition]| -> Vec<Compiled> {
        let compiled = conditions.iter().take(CONDITIONS_MAX).enumerate().map(|(at, condition)| {
            Compiled::new(condition)
                .map_err(|(key, message, hint)| wrong(Some((list, at)), key, &message, hint.as_deref()))
        });
        compiled.filter_map(Result::ok).collect()
    };
    Route {
        name: rule.name.as_ref().map_or_else(|| format!("route {}", n + 1), ToString::to_string),
        destinations: rule.destinations.clone(),
        all: list("when", &rule.when),
        any: list("when_any", &rule.when_any),
        otherwise: rule.otherwise,
    }
}
