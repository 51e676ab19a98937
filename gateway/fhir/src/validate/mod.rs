//! Whether bytes are a valid resource of FHIR R4 (4.0.1), and if not, everything that is wrong with them.
//!
//! **Promise.** What passes can be read by anyone who knows R4's base definitions: it is JSON without ambiguity (no
//! name twice, no half characters), of a known type, of known elements in their cardinality and form, with codes of
//! the required value sets, contained resources that are there, references of a known form, narrative that runs
//! nothing, and the invariants of [`rules`]. All problems are said at once, each with its FHIRPath, its line and
//! column, and without any value of the resource.
//!
//! **Not judged**: profiles of implementation guides, extensions' own definitions, value sets that do not bind, and
//! codes of systems that are not R4's own.
//!
//! **Limits.** [`ISSUES_MAX`] issues are listed, [`json::DEPTH_MAX`] levels, [`json::NODES_MAX`] values,
//! [`BYTES_MAX`] bytes. Time is linear in the bytes but for contained resources, of which
//! [`CONTAINED_MAX`] are taken.
//!
//! **How.** The text is indexed once ([`json`]) and then walked along the table of [`crate::definitions`]; nothing is
//! copied but what has escapes.

mod bundle;
pub mod json;
mod outcome;
mod primitive;
mod reference;
mod rules;
#[cfg(test)]
mod tests;
mod walk;
mod xhtml;

pub use json::BYTES_MAX;
pub(crate) use json::Json;
pub use outcome::{Code, Issue, Severity, operation_outcome};
pub use primitive::{Primitive, id};
pub use reference::Target;
pub(crate) use rules::{Rule, after};
pub use walk::{CONTAINED_MAX, ISSUES_MAX};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The type of the resource, where it is a known one.
    pub resource_type: Option<&'static str>,
    /// What is wrong, in the order of the text. Without errors among them the resource is valid.
    pub issues: Vec<Issue>,
}

impl Report {
    /// Whether nothing worse than a warning was found.
    pub fn is_valid(&self) -> bool {
        self.issues.iter().all(|issue| issue.severity > Severity::Error)
    }

    /// An OperationOutcome that says it, as JSON.
    pub fn operation_outcome(&self) -> String {
        operation_outcome(&self.issues)
    }
}

/// The type of a resource as its text says, where it is JSON and the type one of R4's. Judges nothing else.
pub fn resource_type(bytes: &[u8]) -> Option<&'static str> {
    let json = Json::parse(bytes).ok()?;
    let name = json.text_of(0, "resourceType")?;
    crate::definitions::definitions().resource(&name).map(|(_, kind)| kind.name)
}

/// Validates one resource, which may be a Bundle.
pub fn validate(bytes: &[u8]) -> Report {
    checked(bytes).1
}

/// The index beside the report, for those who go on with it; none where the bytes are no JSON.
pub(crate) fn checked(bytes: &[u8]) -> (Option<Json<'_>>, Report) {
    match Json::parse(bytes) {
        Ok(json) => {
            let report = walk::walk(&json);
            (Some(json), report)
        }
        Err(fault) => {
            let (line, column) = json::Places::new(bytes).at(fault.at);
            let code = match fault.why {
                json::Why::TooLong | json::Why::TooMany | json::Why::TooDeep => Code::TooLong,
                _ => Code::Structure,
            };
            let said = format!("{} (line {line}, column {column})", fault.why.text());
            let issue = Issue::new(Severity::Fatal, code, said);
            (None, Report { resource_type: None, issues: vec![issue] })
        }
    }
}
