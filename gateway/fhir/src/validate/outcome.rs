//! What is wrong with a resource, and the OperationOutcome that says so.

use std::fmt::Write as _;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing can be done with it.
    Fatal,
    /// It is not valid.
    Error,
    /// It is valid, and doubtful.
    Warning,
    /// To know.
    Information,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// The kinds of R4's value set `issue-type` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is R4's code of that name")]
pub enum Code {
    Invalid,
    Structure,
    Required,
    Value,
    Invariant,
    CodeInvalid,
    Duplicate,
    NotFound,
    NotSupported,
    TooLong,
    TooCostly,
    Login,
    Forbidden,
    Expired,
    NoStore,
    Transient,
    Throttled,
    Timeout,
    BusinessRule,
    Informational,
}

impl Code {
    /// R4's code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::CodeInvalid => "code-invalid",
            Self::Duplicate => "duplicate",
            Self::NotFound => "not-found",
            Self::NotSupported => "not-supported",
            Self::TooLong => "too-long",
            Self::TooCostly => "too-costly",
            Self::Login => "login",
            Self::Forbidden => "forbidden",
            Self::Expired => "expired",
            Self::NoStore => "no-store",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::BusinessRule => "business-rule",
            Self::Informational => "informational",
        }
    }
}

/// One thing that is wrong. Holds names of R4 and positions, never a value of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// What to know, in words.
    pub diagnostics: String,
    /// The element, as FHIRPath; empty where there is none.
    pub expression: String,
}

impl Issue {
    /// One about no element in particular.
    pub fn new(severity: Severity, code: Code, diagnostics: impl Into<String>) -> Self {
        Self { severity, code, diagnostics: diagnostics.into(), expression: String::new() }
    }
}

/// An OperationOutcome of these, as JSON; without any, one that says that all is well.
pub fn operation_outcome(issues: &[Issue]) -> String {
    let well = [Issue::new(Severity::Information, Code::Informational, "no issues were found")];
    let issues = if issues.is_empty() { &well } else { issues };
    let mut out = String::from(r#"{"resourceType":"OperationOutcome","issue":["#);
    for (n, issue) in issues.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        // Writing to a String does not fail.
        let written = write!(
            out,
            r#"{comma}{{"severity":"{}","code":"{}","diagnostics":{}"#,
            issue.severity.as_str(),
            issue.code.as_str(),
            serde_json::Value::from(issue.diagnostics.as_str()),
        );
        debug_assert!(written.is_ok());
        if !issue.expression.is_empty() {
            let expression = serde_json::Value::from(issue.expression.as_str());
            let written = write!(out, r#","expression":[{expression}]"#);
            debug_assert!(written.is_ok());
        }
        out.push('}');
    }
    out.push_str("]}");
    out
}
