//! What can be wrong with a profile: always with the place, and where possible with what to do.

use std::fmt;
use std::ops::Range;

use crate::vector::Mismatch;

/// A profile or vector document that cannot be used; the author must act. Displays as
/// `line 4, column 7: message (hint)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode code points.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be told.
    pub hint: Option<String>,
}

impl CompileError {
    /// An error at a byte range of the document.
    pub(crate) fn at(document: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let before = document.get(..span.start).unwrap_or(document);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to write instead.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From the TOML reader; an unknown key gets the nearest known one as its hint.
    pub(crate) fn from_toml(document: &str, error: &toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        let found = Self::at(document, error.span().unwrap_or(0..0), message);
        let hint = found.message.strip_prefix("unknown ").and_then(nearest_of);
        match hint {
            Some(hint) => found.hint(hint),
            None => found,
        }
    }
}

/// `… `bite`, expected one of `bit`, `mask`` gives ``did you mean `bit`?``.
fn nearest_of(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted)
}

/// The nearest of the known words, as a hint; `None` when none is near.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const NEAR: f64 = 0.6;
    known
        .map(|word| (strsim::normalized_damerau_levenshtein(unknown, word), word))
        .filter(|(nearness, _)| *nearness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| format!("did you mean `{word}`?"))
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CompileError {}

/// Why a device folder does not load; its author must act.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// The profile does not compile.
    #[error("profile.toml: {0}")]
    Profile(#[from] CompileError),
    /// There is no vector: nobody has shown that the profile means what its author thinks.
    #[error("profile {id} has no vectors; add one under vectors/")]
    NoVectors {
        /// The profile.
        id: String,
    },
    /// A vector cannot be read.
    #[error("vectors/{name}: {error}")]
    Vector {
        /// The vector's file.
        name: String,
        /// Where and why.
        error: CompileError,
    },
    /// A vector decodes to something else than it says.
    #[error("vectors/{name}: {mismatch}")]
    Mismatch {
        /// The vector's file.
        name: String,
        /// Expected against decoded.
        mismatch: Mismatch,
    },
    /// Two folders have the same profile id.
    #[error("profile id {id} is taken already")]
    Taken {
        /// The id.
        id: String,
    },
}
