//! From TOML to a table. Every key is read and checked here; what is left over is a mistake, and all are said at once.
//!
//! ```toml
//! language = 1                      # version of this language
//! label = "safe-harbor"             # treatment, safe-harbor, limited-data-set, expert-determination
//! [determination]                   # see [`determination`]; of the label `expert-determination` alone
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
//! [authorities]                     # names of who gives numbers that are one; `feed NAME` where a feed names none
//! "urn:oid:1.2.3" = ["MERCY", "http://mercy.example/mrn", "feed adt"]
//! [ages]
//! over_89 = "cap"                   # or "keep"
//! [fhir]                            # see [`fhir`]; without this section FHIR is held
//! [text]                            # see [`text`]; without this section free text is removed
//! [sensitive]                       # by category of codes; see [`crate::sensitive`]
//! substance-use = "hold"            # pass, tag, hold
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

use model::Timestamp;
use toml::de::DeTable;

use super::determination::determination;
use super::error::{Source, did_you_mean};
use super::section::Section;
use super::text::{self, TextMode, TextRules};
use super::{
    CompileError, Compiled, EnvelopeRules, Field, Label, ObservationRules, POLICY_BYTES_MAX, Sensitivity,
    fhir, floor,
};
use crate::codes::System;
use crate::patient::Authorities;
use crate::rules::Rule;
use crate::sensitive::Category;
use crate::tables::{SegmentName, Slot, TABLES};

/// The version of the language that is spoken here.
pub(super) const LANGUAGE: &str = "1";
/// The sections and keys of a policy.
pub(super) const KEYS: [&str; 15] = [
    "language",
    "label",
    "determination",
    "payload",
    "types",
    "fields",
    "listed",
    "codes",
    "authorities",
    "ages",
    "fhir",
    "text",
    "sensitive",
    "envelope",
    "observations",
];

type Listed = BTreeMap<(SegmentName, usize), BTreeSet<Vec<u8>>>;

pub(super) fn compile(name: &str, text: &str, now: Timestamp) -> Result<(Label, Compiled), CompileError> {
    let source = Source::new(text);
    let compiled = table(name, text, &source, now);
    source.end(name, compiled)
}

fn table(name: &str, written: &str, source: &Source<'_>, now: Timestamp) -> Option<(Label, Compiled)> {
    if name == "none" {
        let remedy = "take the built-in policy `treatment` for what goes on unchanged";
        source.say(&(0..0), "", "`none` is not a policy", remedy);
        return None;
    }
    if written.len() > POLICY_BYTES_MAX {
        let remedy = "list fewer values";
        source.say(&(0..0), "", format!("longer than {POLICY_BYTES_MAX} bytes"), remedy);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(written);
    for error in &errors {
        source.say(&error.span().unwrap_or(0..0), "", error.message(), "write it as TOML has it");
    }
    if !errors.is_empty() {
        return None;
    }
    let root = Section::root(source, root.get_ref());
    // Of another version nothing can be said.
    let language = root.value("language");
    if language.and_then(|v| v.get_ref().as_integer()).map(|i| i.as_str()) != Some(LANGUAGE) {
        let message = format!("this gateway reads version {LANGUAGE} of the policy language");
        root.say("language", message, format!("write language = {LANGUAGE}"));
        return None;
    }
    root.only(&KEYS);
    let label = root.choice("label", &Label::ALL.map(|label| (label.as_str(), label)));

    let payload = root.section("payload");
    payload.only(&["hl7"]);
    let verbatim = payload.choice("hl7", &[("rules", false), ("verbatim", true)]);
    let is_verbatim = verbatim == Some(true);
    let unchanged = (is_verbatim && label.is_some_and(|label| label != Label::Treatment))
        .then_some("only `treatment` passes a payload on unchanged");
    payload.allowed("hl7", label, |_| unchanged, "write \"rules\"");
    for section in ["types", "fields", "listed", "codes", "authorities", "ages", "fhir", "text"] {
        if is_verbatim && root.has(section) {
            let message = "it has no effect: the payload is passed on unchanged";
            root.say(section, message, "leave the section out, or write hl7 = \"rules\"");
        }
    }
    let determination = determination(&root.section("determination"), label, now);
    let types = types(&root.section("types"), label);
    let (mut segments, listed) = fields(&root, label, &types);
    let mut text = text::rules(&root.section("text"), label);
    texts(&root, &text, &mut segments);
    let codes = root.section("codes");
    codes.only(&["systems", "local"]);
    let (systems, local_codes) = (systems(&codes), local_codes(&codes));
    let authorities = authorities(&root.section("authorities"));
    let ages = root.section("ages");
    ages.only(&["over_89"]);
    let capped =
        if is_verbatim { Some(false) } else { ages.choice("over_89", &[("cap", true), ("keep", false)]) };
    let told = "ages over 89, and years that tell one, must go (45 CFR 164.514(b)(2)(i)(C))";
    let told = |label| (label == Label::SafeHarbor && capped == Some(false)).then_some(told);
    ages.allowed("over_89", label, told, "write \"cap\"");
    let fhir = fhir::rules(&root.section("fhir"), label);
    let sensitive = sensitive(&root.section("sensitive"));
    let envelope = envelope(&root.section("envelope"), label);
    let observations = observations(&root.section("observations"), label);
    let shifts_dates = shifts_dates(&root);
    if shifts_dates {
        // A true date in a text is one beside shifted ones.
        text.label = Label::SafeHarbor;
    }

    let compiled = Compiled {
        verbatim: verbatim?,
        determination,
        segments,
        listed,
        systems,
        local_codes,
        authorities,
        ages_capped: capped?,
        fhir: fhir?,
        text,
        sensitive,
        envelope: envelope?,
        observations: observations?,
        shifts_dates,
        types,
    };
    Some((label?, compiled))
}

fn types(section: &Section<'_, '_>, label: Option<Label>) -> Vec<Rule> {
    let mut rules = vec![Rule::Remove; TABLES.types.len()];
    for (key, value) in section.entries() {
        let Some(id) = TABLES.type_id(key.get_ref()) else {
            let remedy = did_you_mean(key.get_ref(), TABLES.types.iter().map(|t| t.name));
            let remedy = remedy.unwrap_or_else(|| "leave it out".to_owned());
            section.say_at(&key.span(), key.get_ref(), "this is no data type of HL7 v2", remedy);
            continue;
        };
        let Some(rule) = section.rule(key, value, label) else { continue };
        if !rule.fits_type(id) {
            let message = format!("`{rule}` is no rule for values of this type");
            section.say_at(&value.span(), key.get_ref(), message, rule.fits());
        }
        if let Some(place) = rules.get_mut(usize::from(id)) {
            *place = rule;
        }
    }
    rules
}

fn fields(
    root: &Section<'_, '_>,
    label: Option<Label>,
    types: &[Rule],
) -> (HashMap<SegmentName, Vec<Field>>, Listed) {
    let rule_of = |slot: &Slot| {
        let by_type = slot.data_type.and_then(|t| types.get(usize::from(t)).copied());
        Field { slot: *slot, rule: by_type.unwrap_or(Rule::Remove) }
    };
    let mut segments: HashMap<SegmentName, Vec<Field>> =
        TABLES.segments.iter().map(|(name, slots)| (*name, slots.iter().map(rule_of).collect())).collect();

    let section = root.section("fields");
    for (key, value) in section.entries() {
        let (place, rule) = (section.field(key), section.rule(key, value, label));
        let (Some((place, number)), Some(rule)) = (place, rule) else { continue };
        let slot = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1));
        let Some(field) = slot else { continue };
        if !rule.fits_field(&place, number, &field.slot) {
            section.say_at(
                &value.span(),
                key.get_ref(),
                format!("`{rule}` is no rule for this field"),
                rule.fits(),
            );
        }
        field.rule = rule;
    }

    let mut listed = Listed::new();
    let lists = root.section("listed");
    for (key, value) in lists.entries() {
        let Some((place, number)) = lists.field(key) else { continue };
        if section.has(key.get_ref()) {
            let message = "the field has a rule in [fields] already";
            lists.say_at(&key.span(), key.get_ref(), message, "keep one of the two");
        }
        if let Some(field) = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1)) {
            if let Some(label) = label.filter(|label| *label != Label::Treatment)
                && floor::is_of_persons(&place, &field.slot)
            {
                let message = format!(
                    "label `{label}`: the field is about a person, of whom no value is known beforehand"
                );
                let remedy = "list names of applications, facilities and the like alone";
                lists.say_at(&key.span(), key.get_ref(), message, remedy);
            }
            field.rule = Rule::Listed;
        }
        listed.insert((place, number), lists.list(key.get_ref(), value));
    }
    (segments, listed)
}

/// Fields whose text is not removed whole.
fn texts(root: &Section<'_, '_>, text: &TextRules, segments: &mut HashMap<SegmentName, Vec<Field>>) {
    let of_notes = segments.get_mut(b"NTE").and_then(|fields| fields.get_mut(2));
    if let Some(field) = of_notes.filter(|_| text.notes != TextMode::Block) {
        field.rule = Rule::Text(text.notes);
    }
    let further = root.section_quietly("text").section_quietly("fields");
    for (key, value) in further.entries() {
        let Some((place, number)) = further.field(key) else { continue };
        if ["fields", "listed"].iter().any(|other| root.section_quietly(other).has(key.get_ref())) {
            let message = "the field has a rule in [fields] or [listed] already";
            further.say_at(&key.span(), key.get_ref(), message, "keep one of the two");
        }
        let slot = segments.get_mut(&place).and_then(|fields| fields.get_mut(number - 1));
        let Some(field) = slot else { continue };
        let is_text = field.slot.data_type.and_then(|t| TABLES.data_type(t));
        if !is_text.is_some_and(|t| matches!(t.name, "ST" | "TX" | "FT"))
            || floor::is_of_persons(&place, &field.slot)
        {
            let message = "the field is no free text, or is about a person";
            let remedy = "list fields of type ST, TX and FT; OBX-5 is `results`, NTE-3 is `notes`";
            further.say_at(&key.span(), key.get_ref(), message, remedy);
        }
        field.rule = Rule::Text(TextMode::named(value.get_ref().as_str().unwrap_or_default()));
    }
}

fn systems(codes: &Section<'_, '_>) -> BTreeSet<System> {
    let Some(value) = codes.value("systems") else { return BTreeSet::new() };
    let known = || System::names().collect::<Vec<_>>().join(", ");
    let Some(array) = value.get_ref().as_array() else {
        codes.say_at(&value.span(), "systems", "no list of coding systems", format!("known are {}", known()));
        return BTreeSet::new();
    };
    let mut systems = BTreeSet::new();
    for item in array {
        let name = item.get_ref().as_str().unwrap_or_default();
        if let Some(system) = System::named(name) {
            systems.insert(system);
            continue;
        }
        let remedy = did_you_mean(name, System::names()).unwrap_or_else(|| format!("known are {}", known()));
        codes.say_at(
            &item.span(),
            "systems",
            format!("`{name}` is no coding system that is known here"),
            remedy,
        );
    }
    systems
}

fn local_codes(codes: &Section<'_, '_>) -> BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> {
    let local = codes.section("local");
    let entries = local.entries().map(|(system, list)| {
        if System::of(system.get_ref().as_bytes()).is_some() {
            let message = "this is a coding system that is known here";
            local.say_at(&system.span(), system.get_ref(), message, "name it in [codes] `systems`");
        }
        (system.get_ref().as_bytes().to_vec(), local.list(system.get_ref(), list))
    });
    entries.collect()
}

fn authorities(section: &Section<'_, '_>) -> Authorities {
    let mut authorities = Authorities::new();
    for (one, names) in section.entries() {
        let name = one.get_ref().as_bytes().to_vec();
        for other in section.list(one.get_ref(), names).into_iter().chain([name.clone()]) {
            if authorities.insert(other, name.clone()).is_some_and(|former| former != name) {
                let message = "one of these names stands for another authority as well";
                section.say_at(&names.span(), one.get_ref(), message, "list each name once");
            }
        }
    }
    authorities
}

/// What becomes of records whose codes are of a sensitive category.
fn sensitive(section: &Section<'_, '_>) -> BTreeMap<Category, Sensitivity> {
    section.only(&Category::ALL.map(|(name, ..)| name));
    let all = [("pass", None), ("tag", Some(Sensitivity::Tag)), ("hold", Some(Sensitivity::Hold))];
    let said = Category::ALL.iter().filter(|(name, ..)| section.has(name));
    said.filter_map(|(name, category, _)| Some((*category, section.choice(name, &all)??))).collect()
}

fn envelope(section: &Section<'_, '_>, label: Option<Label>) -> Option<EnvelopeRules> {
    section.only(&["received_at", "peer", "channel", "control_id"]);
    let received_at = section.time("received_at", label);
    let [peer, channel] = ["peer", "channel"].map(|key| section.text(key, label, false));
    let control_id = section.text("control_id", label, true);
    Some(EnvelopeRules { received_at: received_at?, peer: peer?, channel: channel?, control_id: control_id? })
}

fn observations(section: &Section<'_, '_>, label: Option<Label>) -> Option<ObservationRules> {
    section.only(&["device", "times", "raw"]);
    let device = section.text("device", label, true);
    let times = section.time("times", label);
    let raw = section.text("raw", label, false);
    Some(ObservationRules { device: device?, times: times?, raw: raw? })
}

/// Whether any date is shifted. Then no true one may stand beside it: the difference of the two gives every other away.
fn shifts_dates(root: &Section<'_, '_>) -> bool {
    let is = |value: &super::section::Value<'_>, rule: &str| value.get_ref().as_str() == Some(rule);
    let sections = ["types", "fields", "fhir"].map(|name| root.section_quietly(name));
    let all = || {
        sections.iter().flat_map(|section| section.entries().map(move |(key, value)| (section, key, value)))
    };
    if !all().any(|(_, _, value)| is(value, "date-shift")) {
        return false;
    }
    let message = "a true date beside shifted ones gives the shift away";
    for (section, key, value) in all() {
        // A time of day is none.
        let is_time = key.get_ref() == "TM";
        if is(value, "date") && !is_time || key.get_ref() == "dates" && is(value, "keep") {
            section.say_at(&value.span(), key.get_ref(), message, "write \"date-shift\" or \"year\"");
        }
    }
    for (name, key) in [("envelope", "received_at"), ("observations", "times")] {
        let section = root.section_quietly(name);
        if section.value(key).is_some_and(|value| is(value, "instant")) {
            section.say(key, message, "write \"year\" or \"remove\"");
        }
    }
    true
}
