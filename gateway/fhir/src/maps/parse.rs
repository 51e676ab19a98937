//! From text to [`Maps`]. Two passes: names first, so that maps may use each other in any order.

use std::collections::HashMap;
use std::sync::Arc;

use super::line::{Coded, How, Line, Native, Primitive, Source, Step};
use super::raw::{Raw, cond, source};
use super::table::{Row, Table};
use super::token::words;
use super::{FILE_BYTES_MAX, FILES_MAX, MapError, Maps, Mode, Section, SegmentMap, TypeMap};
use crate::json::{self, Json, Name};

/// Resource types that a map may make.
const RESOURCES: &str = "Bundle Account AllergyIntolerance Appointment AppointmentResponse Basic CarePlan CareTeam ChargeItem Claim \
     Communication CommunicationRequest Condition Consent Contract Coverage Device DeviceRequest DiagnosticReport \
     DocumentReference Encounter EpisodeOfCare FamilyMemberHistory Flag Goal Group HealthcareService Immunization \
     ImmunizationEvaluation ImmunizationRecommendation InsurancePlan List Location Medication MedicationAdministration \
     MedicationDispense MedicationRequest MedicationStatement MessageHeader NutritionOrder Observation \
     OperationOutcome Organization Patient Practitioner PractitionerRole Procedure Provenance \
     QuestionnaireResponse RelatedPerson RiskAssessment Schedule ServiceRequest Slot Specimen Substance SupplyDelivery \
     SupplyRequest Task";

/// v2 types that carry coded values, read by code instead of a type map.
const CODED: [&str; 7] = ["CWE", "CE", "CNE", "CF", "IS", "ID", "ST"];

pub(crate) fn is_resource(name: &str) -> bool {
    RESOURCES.split_whitespace().any(|r| r == name)
}

/// A line at the margin and those below it.
struct Block<'a> {
    head: Raw<'a>,
    body: Vec<Raw<'a>>,
}

pub(super) fn compile(files: Vec<(&str, &str)>) -> Result<Maps, Vec<MapError>> {
    let mut errors = Vec::new();
    if files.len() > FILES_MAX {
        return Err(vec![MapError {
            file: String::new(),
            line: 0,
            message: format!("more than {FILES_MAX} files"),
        }]);
    }
    let mut blocks = Vec::new();
    for (file, text) in files {
        cut(file, text, &mut blocks, &mut errors);
    }
    let mut maps = Maps {
        segments: HashMap::new(),
        types: Vec::new(),
        tables: Vec::new(),
        type_ids: HashMap::new(),
        table_ids: HashMap::new(),
        literals: HashMap::new(),
        defaults: HashMap::new(),
        systems: HashMap::new(),
        known: HashMap::new(),
    };
    names(&blocks, &mut maps, &mut errors);
    let mut labels = Labels::default();
    for block in &blocks {
        if let Err(error) = fill(block, &mut maps, &mut labels, &mut errors) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(maps) } else { Err(errors) }
}

fn cut<'a>(file: &'a str, text: &'a str, blocks: &mut Vec<Block<'a>>, errors: &mut Vec<MapError>) {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("longer than {FILE_BYTES_MAX} bytes");
        errors.push(MapError { file: file.to_owned(), line: 0, message });
        return;
    }
    let mut first = true;
    for (n, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match words(line) {
            Err(message) => errors.push(MapError { file: file.to_owned(), line: n + 1, message }),
            Ok(words) if words.is_empty() => {}
            Ok(words) => {
                let raw = Raw { file, number: n + 1, indent, words };
                if indent == 0 {
                    first = false;
                    blocks.push(Block { head: raw, body: Vec::new() });
                } else if first {
                    errors.push(raw.error("a file begins with a line at the margin, such as `segment PID`"));
                    first = false;
                } else if let Some(block) = blocks.last_mut() {
                    block.body.push(raw);
                }
            }
        }
    }
}

/// The first pass: what there is.
fn names(blocks: &[Block<'_>], maps: &mut Maps, errors: &mut Vec<MapError>) {
    for Block { head, .. } in blocks {
        match head.words.as_slice() {
            ["type", from, ">", to] => {
                let key = format!("{from}>{to}");
                if !maps.type_ids.contains_key(key.as_str()) {
                    maps.type_ids.insert(key.into(), maps.types.len());
                    let (target, variant) = to.split_once(':').unwrap_or((to, ""));
                    maps.types.push(TypeMap {
                        target: Name::shared(target),
                        variant: variant.into(),
                        is_resource: is_resource(target),
                        key: Vec::new(),
                        lines: Vec::new(),
                    });
                }
            }
            ["table", name] => {
                if !maps.table_ids.contains_key(*name) {
                    maps.table_ids.insert((*name).into(), maps.tables.len());
                    maps.tables.push(Table::default());
                }
            }
            ["literal", name, value] => match json::parse(value) {
                Some(value) => drop(maps.literals.insert((*name).into(), value)),
                None => errors.push(head.error(format!("the value of {name} is no JSON"))),
            },
            ["system", uri, names @ ..] => {
                let uri: Arc<str> = Arc::from(*uri);
                for name in names {
                    maps.systems.insert(name.to_uppercase().into(), Arc::clone(&uri));
                }
            }
            ["known", table, codes @ ..] => {
                let codes = codes.iter().map(|code| Box::from(code.trim_matches('"'))).collect();
                maps.known.insert((*table).into(), codes);
            }
            ["segment", _] | ["resource", _] => {}
            _ => errors.push(head.error(
                "expected `segment NAME`, `type FROM > TO`, `table NAME`, `resource NAME`, `literal NAME JSON`, `system URI NAME…` or `known TABLE CODE…`",
            )),
        }
    }
}

fn fill(
    block: &Block<'_>,
    maps: &mut Maps,
    labels: &mut Labels,
    errors: &mut Vec<MapError>,
) -> Result<(), MapError> {
    match block.head.words.as_slice() {
        ["segment", name] => {
            let map = segment(block, maps, labels, errors)?;
            maps.segments.insert((*name).into(), map);
        }
        ["type", from, ">", to] => {
            let (mut key, mut lines) = (Vec::new(), Vec::new());
            for raw in &block.body {
                if raw.words.first() == Some(&"key") {
                    key = keys(raw)?;
                } else {
                    collect(line(raw, maps, labels), &mut lines, errors);
                }
            }
            let id = maps.type_ids.get(format!("{from}>{to}").as_str()).copied();
            if let Some(map) = id.and_then(|id| maps.types.get_mut(id)) {
                map.key = key;
                map.lines = lines;
            }
        }
        ["table", name] => {
            let table = table(block)?;
            let id = maps.table_ids.get(*name).copied();
            if let Some(slot) = id.and_then(|id| maps.tables.get_mut(id)) {
                *slot = table;
            }
        }
        ["resource", name] => {
            if !is_resource(name) {
                return Err(block.head.error(format!("{name} is no resource type that maps make")));
            }
            let mut members = Vec::new();
            for raw in &block.body {
                let [member, value] = raw.words.as_slice() else {
                    errors.push(raw.error("expected `member value`"));
                    continue;
                };
                let value = literal(raw, value, maps)?;
                members.push((Name::shared(member), value));
            }
            maps.defaults.insert((*name).into(), members);
        }
        _ => {}
    }
    Ok(())
}

fn collect<T>(result: Result<T, MapError>, into: &mut Vec<T>, errors: &mut Vec<MapError>) {
    match result {
        Ok(value) => into.push(value),
        Err(error) => errors.push(error),
    }
}

fn segment(
    block: &Block<'_>,
    maps: &Maps,
    labels: &mut Labels,
    errors: &mut Vec<MapError>,
) -> Result<SegmentMap, MapError> {
    let mut map = SegmentMap::default();
    for raw in &block.body {
        if raw.words.first() == Some(&"clears") {
            map.clears.extend(raw.words.iter().skip(1).map(|w| Name::shared(w)));
            continue;
        }
        if raw.indent == 2 {
            collect(section(raw), &mut map.sections, errors);
            continue;
        }
        let Some(section) = map.sections.last_mut() else {
            return Err(
                raw.error("a line stands before the first section; sections are indented by two blanks")
            );
        };
        if raw.words.first() == Some(&"key") {
            section.key = keys(raw)?;
        } else {
            collect(line(raw, maps, labels), &mut section.lines, errors);
        }
    }
    Ok(map)
}

fn section(raw: &Raw<'_>) -> Result<Section, MapError> {
    let [resource, mode, rest @ ..] = raw.words.as_slice() else {
        return Err(raw.error("expected `Resource new|beside|open|current|join|parent`"));
    };
    let mode = match *mode {
        "new" => Mode::New,
        "beside" => Mode::Beside,
        "open" => Mode::Open,
        "current" => Mode::Current,
        "join" => Mode::Join,
        "parent" => Mode::Parent,
        other => {
            return Err(raw.error(format!("{other} is none of new, beside, open, current, join, parent")));
        }
    };
    let any = mode == Mode::Parent && *resource == "*";
    if !any && !is_resource(resource) {
        return Err(raw.error(format!("{resource} is no resource type that maps make")));
    }
    let when = match rest {
        [] => None,
        ["if", condition @ ..] => Some(cond(raw, condition)?),
        _ => return Err(raw.error("expected `if …`")),
    };
    Ok(Section { resource: Name::shared(resource), mode, when, key: Vec::new(), lines: Vec::new() })
}

fn keys(raw: &Raw<'_>) -> Result<Vec<Vec<Source>>, MapError> {
    let alternatives = raw.words.iter().skip(1).filter(|w| **w != "|");
    alternatives.map(|word| word.split('+').map(|part| source(raw, part)).collect()).collect()
}

/// Numbers for `[label]`s; one for each path up to the label and block.
#[derive(Default)]
struct Labels(HashMap<String, u16>);

impl Labels {
    fn id(&mut self, path: &str) -> u16 {
        let next = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        *self.0.entry(path.to_owned()).or_insert(next)
    }
}

fn line(raw: &Raw<'_>, maps: &Maps, labels: &mut Labels) -> Result<Line, MapError> {
    let [from, target, rest @ ..] = raw.words.as_slice() else {
        return Err(raw.error("expected `source target how`"));
    };
    let source = if *from == "=" { None } else { Some(source(raw, from)?) };
    let target = steps(raw, target, labels)?;
    let mut official = true;
    let rest = match rest {
        [rest @ .., "ours"] => {
            official = false;
            rest
        }
        rest => rest,
    };
    let (rest, when) = match rest.iter().position(|w| *w == "if") {
        None => (rest, None),
        Some(at) => {
            let (how, condition) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            (how, Some(cond(raw, condition.get(1..).unwrap_or_default())?))
        }
    };
    let (rest, with) = match rest.iter().position(|w| *w == "with") {
        None => (rest, Vec::new()),
        Some(at) => {
            let (how, constants) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            let constants = constants.iter().skip(1).map(|word| {
                let (path, value) = word
                    .split_once('=')
                    .ok_or_else(|| raw.error(format!("{word} is no constant: path=value")))?;
                Ok((steps(raw, path, labels)?, literal(raw, value, maps)?))
            });
            (how, constants.collect::<Result<_, MapError>>()?)
        }
    };
    let how = if source.is_none() { constant(raw, rest, maps)? } else { how(raw, rest, maps)? };
    Ok(Line { source, target, how, with, when, official })
}

fn constant(raw: &Raw<'_>, words: &[&str], maps: &Maps) -> Result<How, MapError> {
    match words {
        ["ref", name] => Ok(How::Current(Name::shared(name))),
        [value] => Ok(How::Constant(literal(raw, value, maps)?)),
        _ => Err(raw.error("a constant is one word, a quoted text, JSON, @name, or `ref Resource`")),
    }
}

fn literal(raw: &Raw<'_>, word: &str, maps: &Maps) -> Result<Json, MapError> {
    if let Some(name) = word.strip_prefix('@') {
        return maps
            .literals
            .get(name)
            .cloned()
            .ok_or_else(|| raw.error(format!("there is no literal {name}")));
    }
    let is_json = word.starts_with(['"', '{', '-']) || word.starts_with(|c: char| c.is_ascii_digit());
    if is_json || matches!(word, "true" | "false") {
        return json::parse(word).ok_or_else(|| raw.error(format!("{word} is no JSON")));
    }
    Ok(Json::text(word))
}

fn how(raw: &Raw<'_>, words: &[&str], maps: &Maps) -> Result<How, MapError> {
    let type_id = |name: &str| {
        let found = maps.type_ids.get(name).copied();
        found.ok_or_else(|| raw.error(format!("there is no type map {name}")))
    };
    let table_id = |name: &str| {
        let found = maps.table_ids.get(name).copied();
        found.ok_or_else(|| raw.error(format!("there is no table {name}")))
    };
    match words {
        ["fn", name] => Native::named(name)
            .map(How::Native)
            .ok_or_else(|| raw.error(format!("there is no function {name}"))),
        ["left", name] => Ok(How::Left(Name::shared(name.trim_matches('"')))),
        ["coding", table] => Ok(How::TableCoding((*table).into())),
        ["closed", table] => Ok(How::Closed(table_id(table)?)),
        ["code", table] => Ok(How::Code(table_id(table)?)),
        ["into", name] => Ok(How::Into(type_id(name)?)),
        [name] if Primitive::named(name).is_some() => {
            Primitive::named(name).map(How::Primitive).ok_or_else(|| raw.error("no primitive"))
        }
        [name, table @ ..] if name.contains('>') => {
            if let Some(id) = maps.type_ids.get(*name) {
                return if table.is_empty() {
                    Ok(How::Type(*id))
                } else {
                    Err(raw.error("only coded values take a vocabulary"))
                };
            }
            let (from, to) = name.split_once('>').unwrap_or((name, ""));
            let coded = match to {
                "CodeableConcept" if from == "ST" => Coded::Text,
                "CodeableConcept" => Coded::CodeableConcept,
                "Coding" => Coded::Coding,
                _ => return Err(raw.error(format!("there is no type map {name}"))),
            };
            if !CODED.contains(&from) {
                return Err(raw.error(format!("{from} carries no coded value")));
            }
            match table {
                [] => Ok(How::Coded(coded, None)),
                [table] => Ok(How::Coded(coded, Some(table_id(table)?))),
                _ => Err(raw.error("one vocabulary at most")),
            }
        }
        _ => Err(raw.error(format!("`{}` is no way to make a value", words.join(" ")))),
    }
}

fn steps(raw: &Raw<'_>, text: &str, labels: &mut Labels) -> Result<Vec<Step>, MapError> {
    if text == "." {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    let mut path = String::new();
    for part in text.split('.') {
        path.push('.');
        path.push_str(part);
        if let Some(name) = part.strip_prefix("ext(").and_then(|p| p.strip_suffix(')')) {
            let url = format!("http://hl7.org/fhir/StructureDefinition/{name}");
            steps.push(Step::Extension(Name::from(url)));
            continue;
        }
        let (name, bracket) = match part.strip_suffix(']').and_then(|p| p.split_once('[')) {
            Some((name, label)) => (name, Some(label)),
            None => (part, None),
        };
        let word = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !word {
            return Err(
                raw.error(format!("{text} is no target: members joined by dots, such as name[].family"))
            );
        }
        let name = Name::shared(name);
        steps.push(match bracket {
            None => Step::Member(name),
            Some("") => Step::Append(name),
            Some("=") => Step::Last(name),
            Some(label) if label.ends_with('*') => Step::SharedEach(name, labels.id(&path)),
            Some(_) => Step::Shared(name, labels.id(&path)),
        });
    }
    Ok(steps)
}

fn table(block: &Block<'_>) -> Result<Table, MapError> {
    let mut table = Table::default();
    let mut to: Option<Arc<str>> = None;
    for raw in &block.body {
        match raw.words.as_slice() {
            ["from", uri] => table.from = Some(Arc::from(*uri)),
            ["to", uri] => to = Some(Arc::from(*uri)),
            [code, target, rest @ ..] => {
                let (display, system) = match rest {
                    [] => (None, None),
                    [display] => (Some(*display), None),
                    [display, system] => (Some(*display), Some(Arc::from(*system))),
                    _ => return Err(raw.error("expected `code code [\"display\" [system]]`")),
                };
                let unquoted = |text: &str| text.trim_matches('"').to_owned();
                let row = Row {
                    code: Arc::from(unquoted(target)),
                    system: system.or_else(|| to.clone()),
                    display: display.map(|d| Arc::from(unquoted(d))).filter(|d: &Arc<str>| !d.is_empty()),
                };
                table.rows.entry(unquoted(code).into()).or_insert(row);
            }
            _ => return Err(raw.error("expected `from URI`, `to URI` or `code code [\"display\" [system]]`")),
        }
    }
    Ok(table)
}
