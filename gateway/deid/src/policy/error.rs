//! What is wrong with a policy, where, and what to write instead.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// A policy that does not compile, with everything that is wrong with it. Its author must act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// The policy's name.
    pub policy: String,
    /// In the order of the file; at least one.
    pub mistakes: Vec<Mistake>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in that line, in characters from 1.
    pub column: usize,
    /// The key, such as `types.CWE`; empty where it is the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A line for each mistake.
impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Mistake { line, column, path, message, remedy }) in self.mistakes.iter().enumerate() {
            f.write_str(if n > 0 { "\n" } else { "" })?;
            write!(f, "{}:{line}:{column}: ", self.policy)?;
            if !path.is_empty() {
                write!(f, "{path}: ")?;
            }
            write!(f, "{message}; {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// The file, and what was found wrong with it so far.
pub(super) struct Source<'s> {
    text: &'s str,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'s> Source<'s> {
    pub(super) const fn new(text: &'s str) -> Self {
        Self { text, mistakes: RefCell::new(Vec::new()) }
    }

    pub(super) fn say(
        &self,
        span: &Range<usize>,
        path: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (line, column) = line_and_column(self.text, span.start);
        let (path, message, remedy) = (path.into(), message.into(), remedy.into());
        self.mistakes.borrow_mut().push(Mistake { line, column, path, message, remedy });
    }

    /// What was compiled, where nothing was wrong.
    pub(super) fn end<T>(self, policy: &str, compiled: Option<T>) -> Result<T, CompileError> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        match compiled {
            Some(compiled) if mistakes.is_empty() => Ok(compiled),
            Some(_) | None => Err(CompileError { policy: policy.to_owned(), mistakes }),
        }
    }
}

/// Line and column of a byte offset, both from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// `did you mean "CWE"?`, where something close is known.
pub(super) fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let close = |name: &str| strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
    let (distance, name) = known.into_iter().map(|name| (close(name), name)).min()?;
    (distance <= 2 && distance < name.len()).then(|| format!("did you mean `{name}`?"))
}
