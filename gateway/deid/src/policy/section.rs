//! Reading a policy's tables: every key is looked at, and everything wrong is said.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Source, did_you_mean};
use super::{Label, TextRule, TimeRule, floor};
use crate::dates::Day;
use crate::rules::Rule;
use crate::tables::{SegmentName, TABLES};

/// Most values in one list.
pub(super) const LIST_LENGTH_MAX: usize = 10_000;
/// Longest value in such a list, in bytes.
pub(super) const LISTED_BYTES_MAX: usize = 200;

pub(super) type Key<'i> = Spanned<Cow<'i, str>>;
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// One table of the file; empty where the file does not have it.
pub(super) struct Section<'s, 'i> {
    source: &'s Source<'s>,
    /// `codes.local`; empty for the whole file.
    path: String,
    span: Range<usize>,
    table: Option<&'s DeTable<'i>>,
}

impl<'s, 'i> Section<'s, 'i> {
    pub(super) fn root(source: &'s Source<'s>, table: &'s DeTable<'i>) -> Self {
        Section { source, path: String::new(), span: 0..0, table: Some(table) }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'s Key<'i>, &'s Value<'i>)> + use<'s, 'i> {
        self.table.into_iter().flat_map(DeTable::iter)
    }

    pub(super) fn value(&self, key: &str) -> Option<&'s Value<'i>> {
        self.table?.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) const fn is_missing(&self) -> bool {
        self.table.is_none()
    }

    pub(super) fn section(&self, name: &str) -> Self {
        let empty = |span| Section { source: self.source, path: self.path_of(name), span, table: None };
        let Some(value) = self.value(name) else { return empty(self.span.clone()) };
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.say_at(
                &value.span(),
                name,
                "a table is expected here",
                format!("write [{}]", self.path_of(name)),
            );
        }
        Section { table, ..empty(value.span()) }
    }

    /// As [`Self::section`], where that was read before and its mistakes are said.
    pub(super) fn section_quietly(&self, name: &str) -> Self {
        let table = self.value(name).and_then(|value| value.get_ref().as_table());
        let span = self.value(name).map_or_else(|| self.span.clone(), Spanned::span);
        Section { source: self.source, path: self.path_of(name), span, table }
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// A mistake of a key: where it is written; where the table is, when it is missing.
    pub(super) fn say(&self, key: &str, message: impl Into<String>, remedy: impl Into<String>) {
        let written = self.entries().find(|(k, _)| k.get_ref() == key).map(|(k, _)| k.span());
        self.say_at(&written.unwrap_or_else(|| self.span.clone()), key, message, remedy);
    }

    pub(super) fn say_at(
        &self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.source.say(span, self.path_of(key), message, remedy);
    }

    /// Every other key is a mistake.
    pub(super) fn only(&self, known: &[&str]) {
        for (key, _) in self.entries().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let remedy = did_you_mean(key.get_ref(), known.iter().copied());
            let remedy = remedy.unwrap_or_else(|| format!("known are {}", known.join(", ")));
            self.say_at(&key.span(), key.get_ref(), "unknown key", remedy);
        }
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let known = || choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        let Some(value) = self.value(key) else {
            self.say(key, "missing", format!("write {key} = {}", known()));
            return None;
        };
        let written = value.get_ref().as_str();
        let found = choices.iter().find(|(name, _)| Some(*name) == written).map(|(_, choice)| *choice);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            let close = written.and_then(|written| did_you_mean(written, names));
            let remedy = close.unwrap_or_else(|| format!("write {key} = {}", known()));
            self.say_at(&value.span(), key, "not one of its values", remedy);
        }
        found
    }

    /// A rule as the value of a key.
    pub(super) fn rule(&self, key: &Key<'i>, value: &Value<'i>, label: Option<Label>) -> Option<Rule> {
        let written = value.get_ref().as_str().unwrap_or_default();
        let Some(rule) = Rule::named(written) else {
            let known = Rule::NAMED.map(|(name, _)| name);
            let remedy = did_you_mean(written, known);
            let remedy = remedy.unwrap_or_else(|| format!("rules are {}", known.join(", ")));
            self.say_at(&value.span(), key.get_ref(), format!("`{written}` is no rule"), remedy);
            return None;
        };
        let forbidden = label.and_then(|label| Some((label, floor::forbids(label, rule)?)));
        if let Some((label, law)) = forbidden {
            let message = format!("label `{label}`, rule `{rule}`: {law}");
            self.say_at(&value.span(), key.get_ref(), message, floor::instead_of(label, rule));
        }
        Some(rule)
    }

    /// A field in the form `PID-3`.
    pub(super) fn field(&self, key: &Key<'i>) -> Option<(SegmentName, usize)> {
        let fail = |what: &str, remedy: &str| {
            self.say_at(&key.span(), key.get_ref(), what, remedy);
            None
        };
        let parts = key.get_ref().split_once('-');
        let segment = parts.and_then(|(s, _)| SegmentName::try_from(s.as_bytes()).ok());
        // One spelling for each field, so that no rule is overruled unseen: not `PID-03`.
        let plain = |n: &&str| n.starts_with(|c: char| c.is_ascii_digit() && c != '0');
        let number = parts.map(|(_, n)| n).filter(plain).and_then(|n| n.parse::<usize>().ok());
        let (Some(segment), Some(number)) = (segment, number) else {
            return fail("this is no field", "write a segment and a number, such as \"PID-3\"");
        };
        match TABLES.segments.get(&segment) {
            None => fail(
                "HL7 v2 defines no such segment",
                "leave it out: segments without a definition are removed",
            ),
            Some(fields) if number > fields.len() => {
                fail("the segment has no such field", "leave it out: fields without a definition are removed")
            }
            Some(_) if matches!(&segment, b"MSH" | b"FHS" | b"BHS") && number <= 2 => {
                fail("the delimiters are no value", "leave it out: they are always kept")
            }
            Some(_) => Some((segment, number)),
        }
    }

    /// A list of texts; an empty one where it is none.
    pub(super) fn list(&self, key: &str, value: &Value<'i>) -> BTreeSet<Vec<u8>> {
        let strings = value.get_ref().as_array().filter(|a| a.len() <= LIST_LENGTH_MAX).and_then(|array| {
            let one = |v: &Value<'i>| v.get_ref().as_str().map(|s| s.as_bytes().to_vec());
            array.iter().map(one).collect::<Option<BTreeSet<_>>>()
        });
        let fits =
            |v: &Vec<u8>| (1..=LISTED_BYTES_MAX).contains(&v.len()) && !v.iter().any(u8::is_ascii_control);
        strings.filter(|list| list.iter().all(fits)).unwrap_or_else(|| {
            let remedy = format!(
                "write a list of at most {LIST_LENGTH_MAX} texts of 1 to {LISTED_BYTES_MAX} bytes without control \
                 characters"
            );
            self.say_at(&value.span(), key, "no list of texts", remedy);
            BTreeSet::new()
        })
    }

    /// A text that somebody will read, of 1 to [`LISTED_BYTES_MAX`] bytes.
    pub(super) fn words(&self, key: &str, remedy: &str) -> Option<String> {
        let Some(value) = self.value(key) else {
            self.say(key, "missing", remedy);
            return None;
        };
        let text = value.get_ref().as_str().map(str::trim).filter(|text| !text.is_empty());
        let text = text.filter(|t| t.len() <= LISTED_BYTES_MAX && !t.contains(|c: char| c.is_control()));
        if text.is_none() {
            self.say_at(&value.span(), key, "nothing is said here", remedy);
        }
        text.map(str::to_owned)
    }

    /// A day, as `2026-03-01`.
    pub(super) fn day(&self, key: &str, remedy: &str) -> Option<Day> {
        let Some(value) = self.value(key) else {
            self.say(key, "missing", remedy);
            return None;
        };
        let date = match value.get_ref() {
            DeValue::Datetime(written) if written.time.is_none() => written.date,
            _ => None,
        };
        let day = date.and_then(|date| Day::of(date.year, u16::from(date.month), u16::from(date.day)));
        if day.is_none() {
            self.say_at(&value.span(), key, "no day", remedy);
        }
        day
    }

    pub(super) fn text(&self, key: &str, label: Option<Label>, tokens: bool) -> Option<TextRule> {
        let all = [("remove", TextRule::Remove), ("keep", TextRule::Keep), ("token", TextRule::Token)];
        let rule = self.choice(key, if tokens { &all } else { all.get(..2).unwrap_or(&all) })?;
        self.allowed(key, label, |label| floor::forbids_text(label, rule), "write \"remove\"");
        Some(rule)
    }

    pub(super) fn time(&self, key: &str, label: Option<Label>) -> Option<TimeRule> {
        let all = [("remove", TimeRule::Remove), ("year", TimeRule::Year), ("instant", TimeRule::Instant)];
        let rule = self.choice(key, &all)?;
        self.allowed(key, label, |label| floor::forbids_time(label, rule), "write \"year\"");
        Some(rule)
    }

    /// Says the law that forbids what a key says, if there is one.
    pub(super) fn allowed(
        &self,
        key: &str,
        label: Option<Label>,
        law: impl FnOnce(Label) -> Option<&'static str>,
        remedy: &str,
    ) {
        if let Some((label, law)) = label.and_then(|label| Some((label, law(label)?))) {
            self.say(key, format!("label `{label}`: {law}"), remedy);
        }
    }
}
