//! From TOML to a table. Every key is read and checked here; what is left over is an error.
//!
//! ```toml
//! language = 1                      # version of this language
//! label = "safe-harbor"             # treatment, safe-harbor, limited-data-set
//! [payload]
//! hl7 = "rules"                     # or "verbatim", under treatment alone; then only [envelope] and [observations] follow
//! [types]                           # a rule for each HL7 data type; unlisted types are removed
//! CWE = "code"
//! [fields]                          # exceptions for single fields
//! "OBX-5" = "by-value-type"
//! [listed]                          # values that these fields may keep, word for word; everything else is removed
//! "MSH-3" = ["LAB"]
//! [codes]
//! systems = ["LN", "SCT"]           # coding systems whose codes pass, by their names in HL7 table 0396
//! [codes.local]                     # codes of the site's own systems that pass, by the system as it is sent
//! 99LAB = ["GLU", "NA"]
//! [ages]
//! over_89 = "cap"                   # or "keep"
//! [fhir]                            # see [`fhir`]; without this section FHIR is held
//! [text]                            # see [`text`]; without this section free text is removed
//! [envelope]
//! received_at = "year"              # remove, year, instant
//! peer = "remove"                   # remove, token (control_id alone), keep
//! channel = "remove"
//! control_id = "remove"
//! [observations]
//! device = "remove"                 # remove, token, keep
//! times = "year"
//! raw = "remove"
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{did_you_mean, line_and_column};
use super::{
    CompileError, Compiled, EnvelopeRules, Field, Label, ObservationRules, POLICY_BYTES_MAX, TextMode,
    TextRule, TimeRule, fhir, floor, text,
};
use crate::codes::System;
use crate::rules::Rule;
use crate::tables::{SegmentName, Slot, TABLES};

/// The version of the language that is spoken here.
const LANGUAGE: &str = "1";
/// Most values in one list of `[listed]` or `[codes.local]`.
const LIST_LENGTH_MAX: usize = 10_000;
/// Longest value in such a list, in bytes.
const LISTED_BYTES_MAX: usize = 200;

type Value<'i> = Spanned<DeValue<'i>>;
type Listed = BTreeMap<(SegmentName, usize), BTreeSet<Vec<u8>>>;

pub(super) fn compile(name: &str, text: &str) -> Result<(Label, Compiled), CompileError> {
    let source = Source { name, text };
    if name == "none" {
        let hint = "what goes on unchanged is the built-in policy `treatment`";
        return Err(source.error(0..0, "`none` is not a policy", Some(hint.into())));
    }
    if text.len() > POLICY_BYTES_MAX {
        return Err(source.error(0..0, format!("longer than {POLICY_BYTES_MAX} bytes"), None));
    }
    let root = DeTable::parse(text).map_err(|e| source.error(e.span().unwrap_or(0..0), e.message(), None))?;
    let root = Section { source, name: "", span: 0..0, table: Some(root.get_ref()) };
    root.only(&[
        "language",
        "label",
        "payload",
        "types",
        "fields",
        "listed",
        "codes",
        "ages",
        "fhir",
        "text",
        "envelope",
        "observations",
    ])?;
    root.language()?;
    let label = root.label()?;

    let payload = root.section("payload")?;
    payload.only(&["hl7"])?;
    let verbatim = payload.choice("hl7", &[("rules", false), ("verbatim", true)])?;
    if verbatim && label != Label::Treatment {
        let what = format!("label `{label}`: only `treatment` passes a payload on unchanged");
        return Err(payload.error_at("hl7", what, Some("write hl7 = \"rules\"".into())));
    }
    for section in ["types", "fields", "listed", "codes", "ages", "fhir", "text"] {
        if verbatim && root.table.is_some_and(|t| t.contains_key(section)) {
            let hint = "leave the section out, or write hl7 = \"rules\"";
            let what = format!("[{section}] has no effect: the payload is passed on unchanged");
            return Err(root.error_at(section, what, Some(hint.into())));
        }
    }
    let types = types(&root.section("types")?, label)?;
    let (segments, listed) = fields(&root, label, &types)?;
    let codes = root.section("codes")?;
    codes.only(&["systems", "local"])?;
    let ages = root.section("ages")?;
    ages.only(&["over_89"])?;
    let capped = ages.choice("over_89", &[("cap", true), ("keep", false)]);
    let ages_capped = if verbatim { false } else { capped? };
    if label == Label::SafeHarbor && !ages_capped {
        let what = "label `safe-harbor`: ages over 89, and years that tell one, must go (45 CFR 164.514(b)(2)(i)(C))";
        return Err(ages.error_at("over_89", what, Some("write over_89 = \"cap\"".into())));
    }
    let compiled = Compiled {
        verbatim,
        segments,
        listed,
        systems: systems(&codes)?,
        local_codes: local_codes(&codes)?,
        ages_capped,
        fhir: fhir::rules(&root.section("fhir")?, label)?,
        text: text::rules(&root.section("text")?, label)?,
        envelope: envelope(&root.section("envelope")?, label)?,
        observations: observations(&root.section("observations")?, label)?,
        types,
    };
    Ok((label, compiled))
}

fn types(section: &Section<'_, '_>, label: Label) -> Result<Vec<Rule>, CompileError> {
    let mut rules = vec![Rule::Remove; TABLES.types.len()];
    for (key, value) in section.entries() {
        let Some(id) = TABLES.type_id(key.get_ref()) else {
            let hint = did_you_mean(key.get_ref(), TABLES.types.iter().map(|t| t.name));
            let what = format!("`{}` is no data type of HL7 v2", key.get_ref());
            return Err(section.source.error(key.span(), what, hint));
        };
        let rule = section.rule(value, label)?;
        if !rule.fits_type(id) {
            let what = format!("`{rule}` is no rule for values of type {}", key.get_ref());
            return Err(section.source.error(value.span(), what, Some(rule.fits().to_owned())));
        }
        if let Some(place) = rules.get_mut(usize::from(id)) {
            *place = rule;
        }
    }
    Ok(rules)
}

fn fields(
    root: &Section<'_, '_>,
    label: Label,
    types: &[Rule],
) -> Result<(HashMap<SegmentName, Vec<Field>>, Listed), CompileError> {
    let rule_of = |slot: &Slot| {
        let by_type = slot.data_type.and_then(|t| types.get(usize::from(t)).copied());
        Field { slot: *slot, rule: by_type.unwrap_or(Rule::Remove) }
    };
    let mut segments: HashMap<SegmentName, Vec<Field>> =
        TABLES.segments.iter().map(|(name, slots)| (*name, slots.iter().map(rule_of).collect())).collect();

    let section = root.section("fields")?;
    for (key, value) in section.entries() {
        let (place, number) = section.field(key)?;
        let rule = section.rule(value, label)?;
        let slot = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1));
        let Some(field) = slot else { continue };
        if !rule.fits_field(&place, number, &field.slot) {
            let what = format!("`{rule}` is no rule for {}", key.get_ref());
            return Err(section.source.error(value.span(), what, Some(rule.fits().to_owned())));
        }
        field.rule = rule;
    }

    let mut listed = Listed::new();
    let lists = root.section("listed")?;
    for (key, value) in lists.entries() {
        let (place, number) = lists.field(key)?;
        if section.table.is_some_and(|t| t.contains_key(key.get_ref().as_ref())) {
            let what = format!("{} has a rule in [fields] already", key.get_ref());
            return Err(lists.source.error(key.span(), what, Some("keep one of the two".into())));
        }
        if let Some(field) = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1)) {
            if label != Label::Treatment && floor::is_of_persons(&place, &field.slot) {
                let what = format!(
                    "label `{label}`: {} is about a person, of whom no value is known beforehand",
                    key.get_ref()
                );
                let hint = "[listed] is for names of applications, facilities and the like";
                return Err(lists.source.error(key.span(), what, Some(hint.into())));
            }
            field.rule = Rule::Listed;
        }
        listed.insert((place, number), lists.list(value)?);
    }
    texts(root, label, &mut segments)?;
    Ok((segments, listed))
}

/// Fields whose text is not removed whole.
fn texts(
    root: &Section<'_, '_>,
    label: Label,
    segments: &mut HashMap<SegmentName, Vec<Field>>,
) -> Result<(), CompileError> {
    let section = root.section("text")?;
    let notes = text::rules(&section, label)?.notes;
    let of_notes = segments.get_mut(b"NTE").and_then(|fields| fields.get_mut(2));
    if let Some(field) = of_notes.filter(|_| notes != TextMode::Block) {
        field.rule = Rule::Text(notes);
    }
    let further = section.section("fields")?;
    for (key, _) in further.entries() {
        let (place, number) = further.field(key)?;
        let others = [root.section("fields")?, root.section("listed")?];
        if others.iter().any(|other| other.has(key.get_ref())) {
            let what = format!("{} has a rule in [fields] or [listed] already", key.get_ref());
            return Err(further.source.error(key.span(), what, Some("keep one of the two".into())));
        }
        let slot = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1));
        let Some(field) = slot else { continue };
        let is_text = field.slot.data_type.and_then(|t| TABLES.data_type(t));
        if !is_text.is_some_and(|t| matches!(t.name, "ST" | "TX" | "FT"))
            || floor::is_of_persons(&place, &field.slot)
        {
            let what = format!("{} is no free text, or is about a person", key.get_ref());
            let hint = "fields of type ST, TX and FT fit; OBX-5 is `results`, NTE-3 is `notes`";
            return Err(further.source.error(key.span(), what, Some(hint.into())));
        }
        field.rule = Rule::Text(text::mode_of(&further, key.get_ref())?);
    }
    Ok(())
}

fn systems(codes: &Section<'_, '_>) -> Result<BTreeSet<System>, CompileError> {
    let Some(value) = codes.value("systems") else { return Ok(BTreeSet::new()) };
    let Some(array) = value.get_ref().as_array() else {
        return Err(codes.source.error(value.span(), "a list of coding systems is expected here", None));
    };
    array
        .iter()
        .map(|item| {
            let name = item.get_ref().as_str().unwrap_or_default();
            System::named(name).ok_or_else(|| {
                let known = System::names().collect::<Vec<_>>().join(", ");
                let hint =
                    did_you_mean(name, System::names()).unwrap_or_else(|| format!("known are {known}"));
                codes.source.error(item.span(), "this is no coding system that is known here", Some(hint))
            })
        })
        .collect()
}

fn local_codes(codes: &Section<'_, '_>) -> Result<BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>, CompileError> {
    let local = codes.section("local")?;
    let entries = local.entries().map(|(system, list)| {
        if System::of(system.get_ref().as_bytes()).is_some() {
            let what = format!("`{}` is a coding system that is known here", system.get_ref());
            return Err(local.source.error(system.span(), what, Some("name it in `systems`".into())));
        }
        Ok((system.get_ref().as_bytes().to_vec(), local.list(list)?))
    });
    entries.collect()
}

fn envelope(section: &Section<'_, '_>, label: Label) -> Result<EnvelopeRules, CompileError> {
    section.only(&["received_at", "peer", "channel", "control_id"])?;
    Ok(EnvelopeRules {
        received_at: section.time("received_at", label)?,
        peer: section.text("peer", label, false)?,
        channel: section.text("channel", label, false)?,
        control_id: section.text("control_id", label, true)?,
    })
}

fn observations(section: &Section<'_, '_>, label: Label) -> Result<ObservationRules, CompileError> {
    section.only(&["device", "times", "raw"])?;
    Ok(ObservationRules {
        device: section.text("device", label, true)?,
        times: section.time("times", label)?,
        raw: section.text("raw", label, false)?,
    })
}

/// The file.
#[derive(Clone, Copy)]
struct Source<'s> {
    name: &'s str,
    text: &'s str,
}

impl Source<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) -> CompileError {
        let (line, column) = line_and_column(self.text, span.start);
        CompileError { policy: self.name.to_owned(), line, column, message: message.into(), hint }
    }
}

/// One table of the file; empty where the file does not have it.
pub(super) struct Section<'s, 'i> {
    source: Source<'s>,
    name: &'s str,
    span: Range<usize>,
    table: Option<&'s DeTable<'i>>,
}

impl<'s, 'i> Section<'s, 'i> {
    fn entries(&self) -> impl Iterator<Item = (&'s Spanned<std::borrow::Cow<'i, str>>, &'s Value<'i>)> {
        self.table.into_iter().flat_map(DeTable::iter)
    }

    fn value(&self, key: &str) -> Option<&'s Value<'i>> {
        self.table?.get(key)
    }

    pub(super) fn section(&self, name: &'s str) -> Result<Self, CompileError> {
        let Some(value) = self.value(name) else {
            return Ok(Section { source: self.source, name, span: self.span.clone(), table: None });
        };
        let table = value.get_ref().as_table();
        if table.is_none() {
            return Err(self.source.error(
                value.span(),
                format!("`{name}` is a table"),
                Some(format!("write [{name}]")),
            ));
        }
        Ok(Section { source: self.source, name, span: value.span(), table })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'s str> {
        self.entries().map(|(key, _)| key.get_ref().as_ref())
    }

    /// Whether a key says this text.
    pub(super) fn says(&self, key: &str, text: &str) -> bool {
        self.value(key).and_then(|value| value.get_ref().as_str()) == Some(text)
    }

    pub(super) const fn is_missing(&self) -> bool {
        self.table.is_none()
    }

    /// Where a key is written; where the table is, when it is missing.
    pub(super) fn error_at(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> CompileError {
        let key = self.entries().find(|(k, _)| k.get_ref() == key).map(|(k, _)| k.span());
        self.source.error(key.unwrap_or_else(|| self.span.clone()), message, hint)
    }

    pub(super) fn only(&self, known: &[&str]) -> Result<(), CompileError> {
        match self.entries().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some((key, _)) => {
                let hint = did_you_mean(key.get_ref(), known.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("known are {}", known.join(", ")));
                Err(self.source.error(key.span(), format!("unknown key `{}`", key.get_ref()), Some(hint)))
            }
        }
    }

    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, CompileError> {
        let known = || choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
        let Some(value) = self.value(key) else {
            let place = if self.name.is_empty() { String::new() } else { format!("[{}] ", self.name) };
            let hint = format!("write {key} = {}", known());
            return Err(self.source.error(
                self.span.clone(),
                format!("{place}`{key}` is missing"),
                Some(hint),
            ));
        };
        let written = value.get_ref().as_str();
        let found = choices.iter().find(|(name, _)| Some(*name) == written);
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.source.error(value.span(), format!("`{key}` must be {}", known()), None))
    }

    fn language(&self) -> Result<(), CompileError> {
        let value = self.value("language");
        let written = value.and_then(|v| v.get_ref().as_integer()).map(|i| i.as_str());
        if written == Some(LANGUAGE) {
            return Ok(());
        }
        let span = value.map_or(0..0, Spanned::span);
        let hint = format!("write language = {LANGUAGE}");
        Err(self.source.error(
            span,
            format!("this gateway reads version {LANGUAGE} of the policy language"),
            Some(hint),
        ))
    }

    fn label(&self) -> Result<Label, CompileError> {
        self.choice("label", &Label::ALL.map(|label| (label.as_str(), label)))
    }

    fn rule(&self, value: &Value<'i>, label: Label) -> Result<Rule, CompileError> {
        let written = value.get_ref().as_str().unwrap_or_default();
        let fail = |what: String, hint| Err(self.source.error(value.span(), what, hint));
        if written == "date-shift" {
            return match label {
                Label::SafeHarbor => fail(
                    format!("label `{label}`: {}", floor::SHIFTED),
                    Some("write \"year\", or take the label `limited-data-set`".into()),
                ),
                Label::Treatment | Label::LimitedDataSet => {
                    fail("`date-shift` is not built yet".into(), Some("write \"date\" or \"year\"".into()))
                }
            };
        }
        let Some(rule) = Rule::named(written) else {
            let known = Rule::NAMED.map(|(name, _)| name);
            let hint =
                did_you_mean(written, known).unwrap_or_else(|| format!("rules are {}", known.join(", ")));
            return fail(format!("`{written}` is no rule"), Some(hint));
        };
        match floor::forbids(label, rule) {
            Some(law) => {
                fail(format!("label `{label}`, rule `{rule}`: {law}"), Some(instead_of(rule).into()))
            }
            None => Ok(rule),
        }
    }

    /// A field in the form `PID-3`.
    fn field(&self, key: &Spanned<std::borrow::Cow<'i, str>>) -> Result<(SegmentName, usize), CompileError> {
        let fail = |what: &str, hint: &str| Err(self.source.error(key.span(), what, Some(hint.to_owned())));
        let parts = key.get_ref().split_once('-');
        let segment = parts.and_then(|(s, _)| SegmentName::try_from(s.as_bytes()).ok());
        // One spelling for each field, so that no rule is overruled unseen: not `PID-03`.
        let plain = |n: &&str| n.starts_with(|c: char| c.is_ascii_digit() && c != '0');
        let number = parts.map(|(_, n)| n).filter(plain).and_then(|n| n.parse::<usize>().ok());
        let (Some(segment), Some(number)) = (segment, number) else {
            return fail("this is no field", "write a segment and a number, such as \"PID-3\"");
        };
        match TABLES.segments.get(&segment) {
            None => {
                fail("HL7 v2 defines no such segment", "segments that it does not define are always removed")
            }
            Some(fields) if number > fields.len() => {
                fail("the segment has no such field", "fields that HL7 v2 does not define are always removed")
            }
            Some(_) if matches!(&segment, b"MSH" | b"FHS" | b"BHS") && number <= 2 => {
                fail("the delimiters are no value", "they are always kept")
            }
            Some(_) => Ok((segment, number)),
        }
    }

    fn list(&self, value: &Value<'i>) -> Result<BTreeSet<Vec<u8>>, CompileError> {
        let strings = value.get_ref().as_array().filter(|a| a.len() <= LIST_LENGTH_MAX).and_then(|array| {
            let one = |v: &Value<'i>| v.get_ref().as_str().map(|s| s.as_bytes().to_vec());
            array.iter().map(one).collect::<Option<BTreeSet<_>>>()
        });
        let fits =
            |v: &Vec<u8>| (1..=LISTED_BYTES_MAX).contains(&v.len()) && !v.iter().any(u8::is_ascii_control);
        strings.filter(|list| list.iter().all(fits)).ok_or_else(|| {
            let what = format!(
                "a list of at most {LIST_LENGTH_MAX} texts of 1 to {LISTED_BYTES_MAX} bytes without control characters \
                 is expected here"
            );
            self.source.error(value.span(), what, None)
        })
    }

    fn text(&self, key: &str, label: Label, tokens: bool) -> Result<TextRule, CompileError> {
        let all = [("remove", TextRule::Remove), ("keep", TextRule::Keep), ("token", TextRule::Token)];
        let rule = self.choice(key, if tokens { &all } else { all.get(..2).unwrap_or(&all) })?;
        self.allowed(key, label, floor::forbids_text(label, rule)).map(|()| rule)
    }

    fn time(&self, key: &str, label: Label) -> Result<TimeRule, CompileError> {
        let all = [("remove", TimeRule::Remove), ("year", TimeRule::Year), ("instant", TimeRule::Instant)];
        let rule = self.choice(key, &all)?;
        self.allowed(key, label, floor::forbids_time(label, rule)).map(|()| rule)
    }

    fn allowed(&self, key: &str, label: Label, law: Option<&str>) -> Result<(), CompileError> {
        law.map_or(Ok(()), |law| Err(self.error_at(key, format!("label `{label}`: {law}"), None)))
    }
}

const fn instead_of(rule: Rule) -> &'static str {
    match rule {
        Rule::Token => "write \"remove\", or take the label `limited-data-set`",
        Rule::Date => "write \"year\"",
        Rule::CityStateZip => "write \"state-zip3\"",
        _ => "write \"remove\"",
    }
}
