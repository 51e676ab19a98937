//! The result of a stepwise connection test, as the CLI, `doctor` and the UI show it.

use std::fmt;

use serde::Serialize;

/// The steps, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The host's name is resolved.
    Dns,
    /// A TCP connection is opened.
    Tcp,
    /// Both sides accept each other's certificates.
    Tls,
    /// The destination answers in its protocol and admits this gateway.
    Authorisation,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 4] = [Self::Dns, Self::Tcp, Self::Tls, Self::Authorisation];

    /// The name on pages and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Authorisation => "authorisation",
        }
    }
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// It works.
    Passed {
        /// What was found: an address, a protocol, a date.
        detail: String,
    },
    /// It does not.
    Failed {
        /// What happened.
        why: String,
        /// What to do next.
        remedy: String,
    },
    /// An earlier step failed.
    Skipped,
}

/// All steps of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One entry for each of [`Step::ALL`], in that order.
    pub steps: Vec<StepReport>,
}

/// One step and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Report {
    /// Completes what was tried with a skip for every step that was not.
    pub fn complete(tried: Vec<(Step, Outcome)>) -> Self {
        let mut tried = tried.into_iter().peekable();
        let outcome_of = |step| tried.next_if(|(s, _)| *s == step).map_or(Outcome::Skipped, |(_, o)| o);
        let mut outcome_of = outcome_of;
        Self { steps: Step::ALL.map(|step| StepReport { step, outcome: outcome_of(step) }).into() }
    }

    /// Whether every step passed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|s| matches!(s.outcome, Outcome::Passed { .. }))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for StepReport { step, outcome } in &self.steps {
            match outcome {
                Outcome::Passed { detail } => writeln!(f, "{:<14} ok       {detail}", step.as_str())?,
                Outcome::Failed { why, remedy } => {
                    writeln!(f, "{:<14} FAILED   {why}\n{:<24}{remedy}", step.as_str(), "")?;
                }
                Outcome::Skipped => writeln!(f, "{:<14} skipped", step.as_str())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_is_skipped() {
        let report = Report::complete(vec![
            (Step::Dns, Outcome::Passed { detail: "10.0.0.5".into() }),
            (Step::Tcp, Outcome::Failed { why: "nothing listens".into(), remedy: "start it".into() }),
        ]);
        assert!(!report.passed());
        assert_eq!(report.steps.len(), Step::ALL.len());
        let text = report.to_string();
        assert_eq!(text.matches("skipped").count(), 2, "{text}");
        assert!(text.contains("nothing listens") && text.contains("start it"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["steps"][1]["outcome"], "failed");
        assert_eq!(json["steps"][1]["step"], "tcp");
    }
}
