//! The walk: segments that the standard knows, fields that it defines, each value by the rule of its place.

use std::ops::Range;

use hl7::{Delimiters, Message, Segment};

use super::values::Level;
use super::{Rule, unbound};
use crate::codes;
use crate::dates;
use crate::policy::{Compiled, Field};
use crate::release::{Held, HeldWhy};
use crate::tables::{SOURCES, SegmentName, TABLES, TypeId, entries};
use crate::tally::{Tally, Touch};
use crate::{Context, TokenKey, units};

/// A message as the rules leave it.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(crate) payload: Vec<u8>,
    /// MSH-9 of the first message, from the codes that passed.
    pub(crate) message_type: Option<String>,
    pub(crate) tally: Tally,
}

/// Applies a policy's rules to a message.
pub(crate) fn shape(message: &Message, policy: &Compiled, context: &Context<'_>) -> Result<Shaped, Held> {
    let mut walk = Walk {
        policy,
        delimiters: message.delimiters(),
        tokens: context.tokens,
        seq: context.seq,
        reference_year: reference_year(message, context),
        out: Vec::with_capacity(message.bytes().len() / 2),
        tally: Tally::default(),
        observation: Observation::default(),
        message_type: None,
        token_key_missing: false,
    };
    for segment in message.segments() {
        walk.segment(&segment);
    }
    if walk.token_key_missing {
        return Err(Held::new(HeldWhy::TokenKeyMissing));
    }
    let message_type = walk.message_type.clone().and_then(|range| walk.text(range));
    Ok(Shaped { payload: walk.out, message_type, tally: walk.tally })
}

/// The year that ages are reckoned against: that of arrival, or a later one that the message names.
fn reference_year(message: &Message, context: &Context<'_>) -> u16 {
    let arrived = u16::try_from(context.provenance.received_at.year()).unwrap_or(0);
    let sent = message.msh().and_then(|msh| msh.field(7)).and_then(|f| f.component(1)).map(|c| c.raw());
    arrived.max(sent.and_then(dates::year).unwrap_or(0))
}

/// What OBX says about its own value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observation<'m> {
    value_type: Option<TypeId>,
    pub(super) meaning: Meaning,
    pub(super) unit: &'m [u8],
}

/// What a value is about, by its LOINC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Meaning {
    #[default]
    Other,
    Age,
    BirthDate,
    Identifier,
}

pub(super) struct Walk<'p, 'm> {
    pub(super) policy: &'p Compiled,
    pub(super) delimiters: Delimiters,
    pub(super) tokens: Option<&'p TokenKey>,
    seq: u64,
    pub(super) reference_year: u16,
    pub(super) out: Vec<u8>,
    pub(super) tally: Tally,
    pub(super) observation: Observation<'m>,
    message_type: Option<Range<usize>>,
    pub(super) token_key_missing: bool,
}

impl<'m> Walk<'_, 'm> {
    fn segment(&mut self, segment: &Segment<'m>) {
        let name = SegmentName::try_from(segment.name()).ok();
        let fields = name.and_then(|name| self.policy.segments.get(&name).map(|fields| (name, fields)));
        let Some((name, fields)) = fields else {
            return self.tally.count(Touch::SegmentRemoved);
        };
        if matches!(&name, b"MSH" | b"FHS" | b"BHS") != segment.is_header() {
            return self.tally.count(Touch::SegmentRemoved);
        }
        self.delimiters = segment.delimiters();
        self.observation = if &name == b"OBX" { observation(segment) } else { Observation::default() };
        let first_msh = &name == b"MSH" && self.message_type.is_none();
        self.out.extend_from_slice(&name);
        let mut end = self.out.len();
        for (number, field) in (1..).zip(segment.fields()) {
            if segment.is_header() && number <= 2 {
                if number == 2 {
                    self.out.push(self.delimiters.field());
                    self.out.extend_from_slice(&self.delimiters.encoding_characters());
                    end = self.out.len();
                }
                continue;
            }
            self.out.push(self.delimiters.field());
            let start = self.out.len();
            match fields.get(number - 1) {
                Some(plan) => self.field(&name, number, *plan, field.raw()),
                None => self.refuse(field.raw(), Touch::ExtraRemoved),
            }
            if self.out.len() > start {
                end = self.out.len();
            }
            if first_msh && number == 9 {
                self.message_type = Some(start..self.out.len());
            }
        }
        self.out.truncate(end);
        self.out.push(b'\r');
    }

    /// All repetitions of a field.
    fn field(&mut self, name: &SegmentName, number: usize, plan: Field, raw: &[u8]) {
        if raw.is_empty() {
            return;
        }
        let separator = self.delimiters.repetition();
        let mut end = self.out.len();
        for (n, repetition) in super::values::cut(raw, separator).enumerate() {
            if n > 0 {
                self.out.extend(separator);
            }
            let start = self.out.len();
            self.repetition(name, number, plan, repetition);
            if self.out.len() > start {
                end = self.out.len();
            }
        }
        self.out.truncate(end);
    }

    fn repetition(&mut self, name: &SegmentName, number: usize, plan: Field, raw: &[u8]) {
        match plan.rule {
            Rule::ByValueType => self.observed(raw),
            Rule::Sequence => {
                self.tally.count(Touch::Sequence);
                let seq = self.seq;
                self.out.extend_from_slice(seq.to_string().as_bytes());
            }
            Rule::Listed => {
                let listed =
                    self.policy.listed.get(&(*name, number)).is_some_and(|values| values.contains(raw));
                if listed { self.keep(raw, Touch::Listed) } else { self.refuse(raw, Touch::Removed) }
            }
            rule => self.value(plan.slot, rule, raw, Level::Repetition),
        }
    }

    /// OBX-5: by the type in OBX-2, and by what OBX-3 says that it is.
    fn observed(&mut self, raw: &[u8]) {
        let date = TABLES.type_id("DTM");
        let value_type = match self.observation.meaning {
            Meaning::Identifier => return self.refuse(raw, Touch::IdentifierObservation),
            Meaning::BirthDate => date,
            Meaning::Age | Meaning::Other => self.observation.value_type,
        };
        match value_type {
            Some(data_type) => {
                self.value(unbound(data_type), self.policy.rule_of(data_type), raw, Level::Repetition);
            }
            None => self.refuse(raw, Touch::Removed),
        }
    }

    /// Passes a value on.
    pub(super) fn keep(&mut self, value: &[u8], touch: Touch) {
        self.out.extend_from_slice(value);
        self.tally.count(touch);
    }

    /// Counts a value that does not pass; an empty one is none.
    pub(super) fn refuse(&mut self, value: &[u8], touch: Touch) {
        if !value.is_empty() {
            self.tally.count(touch);
        }
    }

    fn text(&self, range: Range<usize>) -> Option<String> {
        let raw = self.out.get(range).filter(|raw| !raw.is_empty())?;
        let text = String::from_utf8(raw.to_vec()).ok()?;
        let component = char::from(self.delimiters.component());
        Some(text.replace(component, "^"))
    }
}

fn observation<'m>(segment: &Segment<'m>) -> Observation<'m> {
    let mut observation = Observation::default();
    for (number, field) in (1..=6).zip(segment.fields()) {
        match number {
            2 => {
                observation.value_type = std::str::from_utf8(field.raw()).ok().and_then(|t| TABLES.type_id(t))
            }
            3 => {
                let meanings = field.repetitions().flat_map(|r| r.components()).map(|c| meaning(c.raw()));
                observation.meaning = meanings.fold(Meaning::Other, strictest);
            }
            6 => observation.unit = field.component(1).map(|c| c.raw()).unwrap_or_default(),
            _ => {}
        }
    }
    observation
}

/// An observation that names itself twice is judged by the stricter name.
const fn strictest(a: Meaning, b: Meaning) -> Meaning {
    match (a, b) {
        (Meaning::Identifier, _) | (_, Meaning::Identifier) => Meaning::Identifier,
        (Meaning::BirthDate, _) | (_, Meaning::BirthDate) => Meaning::BirthDate,
        (Meaning::Age, _) | (_, Meaning::Age) => Meaning::Age,
        (Meaning::Other, Meaning::Other) => Meaning::Other,
    }
}

fn meaning(code: &[u8]) -> Meaning {
    use std::collections::HashMap;
    use std::sync::LazyLock;
    static MEANINGS: LazyLock<HashMap<&'static [u8], Meaning>> = LazyLock::new(|| {
        let [.., loinc] = SOURCES;
        let of = |name: &str| match name {
            "age" => Meaning::Age,
            "birth-date" => Meaning::BirthDate,
            _ => Meaning::Identifier,
        };
        let all = entries(loinc).into_iter();
        all.flat_map(|(name, codes)| codes.into_iter().map(move |c| (c.as_bytes(), of(name)))).collect()
    });
    if codes::is_loinc(code) { MEANINGS.get(code).copied().unwrap_or_default() } else { Meaning::Other }
}

impl Observation<'_> {
    /// Whether a number here is an age, and from where on it is over 89.
    pub(super) fn age_limit(&self) -> AgeLimit {
        match self.meaning {
            _ if units::is_year(self.unit) => AgeLimit::Years,
            Meaning::Age if self.unit.is_empty() => AgeLimit::Years,
            Meaning::Age => units::ninety_years(self.unit).map_or(AgeLimit::Unknown, AgeLimit::Other),
            Meaning::BirthDate | Meaning::Identifier | Meaning::Other => AgeLimit::NoAge,
        }
    }
}

/// From where on a number tells an age over 89.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AgeLimit {
    /// It is no age.
    NoAge,
    /// An age, or an unnamed number, of years.
    Years,
    /// An age in another unit, of which so many are 90 years.
    Other(f64),
    /// An age in a unit that is not known: it cannot be judged.
    Unknown,
}
