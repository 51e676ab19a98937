//! The walk: segments that the standard knows, fields that it defines, each value by the rule of its place.

use std::collections::BTreeMap;
use std::ops::Range;

use hl7::{Charset, Delimiters, Message, Segment};

use super::meaning::{Meaning, Observation};
use super::texts::{self, Texts};
use super::values::{Level, NULL};
use super::{Rule, unbound};
use crate::dates;
use crate::patient::Namespace;
use crate::policy::{Compiled, Field, ScrubbedText, TextMode};
use crate::release::{Held, HeldWhy};
use crate::shift::{Shift, ShiftKey};
use crate::tables::{SegmentName, TABLES};
use crate::tally::{Tally, Touch};
use crate::tokens::Tokens;
use crate::{Context, DestinationKeys};

/// MSH-18 (table 0211), and what it says of a release that was decoded from something else.
const CHARSET_FIELD: usize = 18;
const UTF8: &[u8] = b"UNICODE UTF-8";
/// How far ahead of the box a sender's year is believed.
const SENT_AHEAD_YEARS_MAX: u16 = 20;

/// A message as the rules leave it.
#[derive(Debug)]
pub(crate) struct Shaped {
    pub(crate) payload: Vec<u8>,
    /// MSH-9 of the first message, from the codes that passed.
    pub(crate) message_type: Option<String>,
    pub(crate) tally: Tally,
}

/// Applies a policy's rules to a message.
pub(crate) fn shape(
    message: &Message,
    policy: &Compiled,
    context: &Context<'_>,
    tally: Tally,
    scrubbed: ScrubbedText,
) -> Result<Shaped, Held> {
    let reference_year = reference_year(message, context);
    let namespace = policy.namespace(context);
    let shifts = match context.keys {
        _ if !policy.shifts_dates => Vec::new(),
        Some(keys) => shifts(message, namespace, &keys.shift),
        None => return Err(Held::new(HeldWhy::KeysMissing)),
    };
    let mut walk = Walk {
        policy,
        namespace,
        shift: None,
        delimiters: message.delimiters(),
        transcoded: message.charset().is_some_and(|c| !matches!(c, Charset::Ascii | Charset::Utf8)),
        keys: context.keys,
        tokens: Tokens::of(context),
        seq: context.seq,
        reference_year,
        out: Vec::with_capacity(message.bytes().len() / 2),
        tally,
        occurrences: BTreeMap::new(),
        observation: Observation::default(),
        in_value: false,
        message,
        texts: (scrubbed == ScrubbedText::Passes)
            .then(|| Texts::of(message, policy, reference_year, context.tokens())),
        message_type: None,
        keys_missing: false,
    };
    for (number, segment) in message.segments().enumerate() {
        walk.shift = shifts.get(number).copied().flatten();
        walk.at_segment(&segment);
    }
    if walk.keys_missing {
        return Err(Held::new(HeldWhy::KeysMissing));
    }
    walk.tokens.settle()?;
    Ok(Shaped { payload: walk.out, message_type: walk.message_type, tally: walk.tally })
}

/// By how much the dates of each segment move.
fn shifts(message: &Message, namespace: Namespace<'_>, key: &ShiftKey) -> Vec<Option<Shift>> {
    let whose = namespace.of_segments(message);
    let same = whose.chunk_by(|one, next| one == next);
    let shifts = same.flat_map(|segments| {
        let shift = segments.first().and_then(Option::as_ref).map(|patient| key.shift(patient));
        std::iter::repeat_n(shift, segments.len())
    });
    shifts.collect()
}

/// The year that ages are reckoned against: that of arrival, or a later one that the message names. A box whose
/// clock was lost, or a sender whose clock runs far ahead, does not decide alone.
fn reference_year(message: &Message, context: &Context<'_>) -> u16 {
    let arrived = u16::try_from(context.provenance.received_at.year()).unwrap_or(0);
    let now = arrived.max(dates::REFERENCE_YEAR_MIN);
    let sent = message.msh().and_then(|msh| msh.field(7)).and_then(|f| f.component(1)).map(|c| c.raw());
    let sent = sent.and_then(dates::year).filter(|year| *year <= now.saturating_add(SENT_AHEAD_YEARS_MAX));
    now.max(sent.unwrap_or(0))
}

pub(super) struct Walk<'p, 'm> {
    pub(super) policy: &'p Compiled,
    pub(super) namespace: Namespace<'p>,
    /// Of the segment at hand; none where it is nobody's.
    pub(super) shift: Option<Shift>,
    pub(super) delimiters: Delimiters,
    /// What goes out is UTF-8 and what came in was not: MSH-18 says so.
    transcoded: bool,
    pub(super) keys: Option<&'p DestinationKeys>,
    pub(super) tokens: Tokens<'p>,
    seq: u64,
    pub(super) reference_year: u16,
    pub(super) out: Vec<u8>,
    pub(super) tally: Tally,
    /// How often each segment was met, while it is noted where.
    occurrences: BTreeMap<Vec<u8>, u32>,
    pub(super) observation: Observation<'m>,
    /// In OBX-5: what the observation says about its value holds for nothing else.
    pub(super) in_value: bool,
    message: &'m Message,
    /// None where scrubbed texts are withheld.
    texts: Option<Texts>,
    message_type: Option<String>,
    pub(super) keys_missing: bool,
}

impl<'m> Walk<'_, 'm> {
    fn at_segment(&mut self, segment: &Segment<'m>) {
        let start = self.out.len();
        if self.tally.is_traced() {
            let occurrence = self.occurrences.entry(segment.name().to_vec()).or_insert(0);
            *occurrence = occurrence.saturating_add(1);
            let name = String::from_utf8_lossy(segment.name());
            self.tally.enter(format_args!("{name}[{occurrence}]"), segment.raw());
        }
        self.segment(segment);
        self.leave(start);
    }

    /// Leaves a place whose value was written from `start` on.
    pub(super) fn leave(&mut self, start: usize) {
        self.tally.leave(self.out.get(start..).unwrap_or_default());
    }

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
        self.observation = if &name == b"OBX" { Observation::of(segment) } else { Observation::default() };
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
            self.tally.enter(format_args!("-{number}"), field.raw());
            match fields.get(number - 1) {
                Some(_) if self.transcoded && &name == b"MSH" && number == CHARSET_FIELD => {
                    if !field.is_empty() {
                        self.keep(UTF8, Touch::Code);
                    }
                }
                Some(plan) => self.field(&name, number, *plan, field.raw()),
                None => self.refuse(field.raw(), Touch::ExtraRemoved),
            }
            self.leave(start);
            if self.out.len() > start {
                end = self.out.len();
            }
            if first_msh && number == 9 {
                self.message_type = self.text(start..self.out.len());
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
            self.tally.enter(format_args!("[{}]", n + 1), repetition);
            self.repetition(name, number, plan, repetition);
            self.leave(start);
            if self.out.len() > start {
                end = self.out.len();
            }
        }
        self.out.truncate(end);
    }

    fn repetition(&mut self, name: &SegmentName, number: usize, plan: Field, raw: &[u8]) {
        match plan.rule {
            Rule::ByValueType => {
                self.in_value = true;
                self.observed(raw);
                self.in_value = false;
            }
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
            Rule::Text(mode) => self.prose(mode, raw),
            rule => self.value(plan.slot, rule, raw, Level::Repetition),
        }
    }

    /// OBX-5: by the type in OBX-2, and by what OBX-3 says that it is.
    fn observed(&mut self, raw: &[u8]) {
        let date = TABLES.type_id("DTM");
        let value_type = match self.observation.meaning {
            Meaning::Identifier => return self.refuse(raw, Touch::IdentifierObservation),
            Meaning::BirthDate => date,
            Meaning::Age | Meaning::PerhapsAge | Meaning::Other => self.observation.value_type,
        };
        let mode = texts::mode(self.policy, Rule::ByValueType, &self.observation);
        match value_type {
            Some(_) if mode != TextMode::Block => self.prose(mode, raw),
            Some(data_type) => {
                self.value(unbound(data_type), self.policy.rule_of(data_type), raw, Level::Repetition);
            }
            None => self.refuse(raw, Touch::Removed),
        }
    }

    /// Free text.
    fn prose(&mut self, mode: TextMode, raw: &[u8]) {
        if raw == NULL {
            return self.keep(NULL, Touch::Null);
        }
        match mode {
            TextMode::Block => self.refuse(raw, Touch::Removed),
            TextMode::CodedOnly => {
                let is_coded = texts::is_coded(&hl7::text(raw, &self.delimiters));
                if is_coded { self.keep(raw, Touch::TextCoded) } else { self.refuse(raw, Touch::Removed) }
            }
            TextMode::Scrub => {
                let Some(texts) = &self.texts else { return self.refuse(raw, Touch::TextWithheld) };
                let place = self.message.range_of(raw);
                match place.and_then(|place| texts.at(place.start)) {
                    Some(scrubbed) => {
                        self.out.extend_from_slice(&scrubbed.bytes);
                        self.tally.count(scrubbed.touch);
                        scrubbed.found.iter().for_each(|(category, rule)| self.tally.found(*category, rule));
                    }
                    None if self.in_value && texts::is_document(&self.observation) => {
                        self.refuse(raw, Touch::DocumentUnread);
                    }
                    None => self.refuse(raw, Touch::TextUnread),
                }
            }
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
