//! A line of a map as it is written, and the parts that segments and types share: sources and conditions.

use super::MapError;
use super::line::{Cond, Source};
use crate::json::Name;

/// One line with what stands on it.
pub(crate) struct Raw<'a> {
    pub(crate) file: &'a str,
    pub(crate) number: usize,
    pub(crate) indent: usize,
    pub(crate) words: Vec<&'a str>,
}

impl Raw<'_> {
    pub(crate) fn error(&self, message: impl Into<String>) -> MapError {
        MapError { file: self.file.to_owned(), line: self.number, message: message.into() }
    }
}

pub(crate) fn source(raw: &Raw<'_>, text: &str) -> Result<Source, MapError> {
    if text == "." {
        return Ok(Source::default());
    }
    let mut path = [0_u16; 3];
    let mut parts = text.split('.');
    for slot in &mut path {
        let Some(part) = parts.next() else { break };
        *slot = part.parse().ok().filter(|n| *n > 0).ok_or_else(|| bad_source(raw, text))?;
    }
    if parts.next().is_some() { Err(bad_source(raw, text)) } else { Ok(Source(path)) }
}

fn bad_source(raw: &Raw<'_>, text: &str) -> MapError {
    raw.error(format!("{text} is no source: a number such as 5, 5.1 or 5.1.2, or `=` for a constant"))
}

pub(crate) fn cond(raw: &Raw<'_>, words: &[&str]) -> Result<Cond, MapError> {
    let mut all = Vec::new();
    for part in words.split(|w| *w == "and") {
        let texts = |words: &[&str]| words.iter().map(|w| Box::from(w.trim_matches('"'))).collect::<Vec<_>>();
        let names = |words: &[&str]| words.iter().map(|w| Name::shared(w)).collect::<Vec<_>>();
        all.push(match part {
            ["message", types @ ..] if !types.is_empty() => Cond::Message(texts(types)),
            ["next", segments @ ..] if !segments.is_empty() => Cond::Next(texts(segments)),
            ["have", types @ ..] if !types.is_empty() => Cond::Have(names(types)),
            ["lack", types @ ..] if !types.is_empty() => Cond::Lack(names(types)),
            ["parent", types @ ..] if !types.is_empty() => Cond::Parent(names(types)),
            [from @ .., "valued"] if !from.is_empty() => {
                Cond::Valued(from.iter().map(|f| source(raw, f)).collect::<Result<_, _>>()?)
            }
            [from, "empty"] => Cond::Empty(source(raw, from)?),
            [from, "=", values @ ..] if !values.is_empty() => Cond::In(source(raw, from)?, texts(values)),
            [from, "!=", values @ ..] if !values.is_empty() => Cond::NotIn(source(raw, from)?, texts(values)),
            _ => {
                return Err(raw.error(format!(
                    "`{}` is no condition: `5 valued`, `5 empty`, `5.1 = A B`, `5.1 != A`, `message ADT`, `next OBR`, `have Encounter`, `lack Encounter`, `parent Observation`, joined by `and`",
                    part.join(" ")
                )));
            }
        });
    }
    Ok(if all.len() == 1 { all.pop().unwrap_or(Cond::All(Vec::new())) } else { Cond::All(all) })
}
