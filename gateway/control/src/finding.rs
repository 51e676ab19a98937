//! What is wrong with a document, where, and what to do about it.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

/// One thing that must be mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
    /// The line itself and how many characters of it are meant.
    #[serde(skip)]
    excerpt: (String, usize),
}

impl Finding {
    /// A finding at a span of the text.
    pub(crate) fn at(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        let start = floor(text, span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        let line_text = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let end = floor(text, span.end.clamp(start, line_start + line_text.len().max(start - line_start)));
        let width = text.get(start..end).map_or(1, |s| s.chars().count().max(1));
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            message: message.into(),
            hint,
            excerpt: (line_text.to_owned(), width),
        }
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// All findings for a person: `file:line:column: message`, the line, a caret and the hint.
pub fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    for f in findings {
        let (line, width) = &f.excerpt;
        let gutter = f.line.to_string();
        let pad = " ".repeat(gutter.len());
        let indent: String =
            line.chars().take(f.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        // Writing to a String does not fail.
        let written = writeln!(
            out,
            "{}:{}:{}: {}\n {pad} |\n {gutter} | {line}\n {pad} | {indent}{}",
            f.file,
            f.line,
            f.column,
            f.message,
            "^".repeat(*width)
        );
        debug_assert!(written.is_ok());
        if let Some(hint) = &f.hint {
            out.push_str(&format!(" {pad} = {hint}\n"));
        }
    }
    out
}
