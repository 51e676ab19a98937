//! All that is wrong with one section, though serde stops at the first.
//!
//! What serde complains of is taken out, and the rest is read again, until nothing is left to complain of. A key that
//! was taken out is not missed afterwards.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

/// Most mistakes told of one section.
const MISTAKES_MAX: usize = 32;

/// One mistake in serde's words.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
}

/// Reads a section, or says all that is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(value: &Spanned<DeValue<'_>>) -> Result<T, Vec<Mistake>> {
    let mut rest = value.clone();
    let mut mistakes = Vec::new();
    let mut taken: Vec<Taken> = Vec::new();
    while mistakes.len() < MISTAKES_MAX {
        let error = match T::deserialize(ValueDeserializer::from(rest.clone())) {
            Ok(value) if mistakes.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| value.span());
        let missing = error.message().strip_prefix("missing field `").and_then(|m| m.strip_suffix('`'));
        if !missing.is_some_and(|key| taken.iter().any(|t| t.table == span && t.key == key)) {
            mistakes.push(Mistake { span: span.clone(), message: error.message().to_owned() });
        }
        match take_out(&mut rest, &span) {
            Some(entry) => taken.push(entry),
            // The section itself lacks something: everything else in it was read before.
            None => break,
        }
    }
    Err(mistakes)
}

/// What was taken out, and from which table.
#[derive(Debug)]
struct Taken {
    table: Range<usize>,
    key: String,
}

/// Takes out the entry that stands there: key or value.
fn take_out(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<Taken> {
    let table_span = value.span();
    match value.get_mut() {
        DeValue::Table(table) => {
            for (_, inner) in table.iter_mut() {
                if let Some(taken) = take_out(inner, span) {
                    return Some(taken);
                }
            }
            let at = |s: Range<usize>| s.start <= span.start && span.end <= s.end;
            let found = table.iter().find(|(key, inner)| &key.span() == span || at(inner.span()));
            let key = found.map(|(key, _)| key.get_ref().to_string())?;
            table.remove(key.as_str());
            Some(Taken { table: table_span, key })
        }
        DeValue::Array(array) => array.iter_mut().find_map(|inner| take_out(inner, span)),
        _ => None,
    }
}
