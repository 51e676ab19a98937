//! The output gate: a second reading of every release, by other eyes.
//!
//! **Promise.** A release under any label but `treatment` holds none of the strings by which its own source knows the
//! patient, the family and, unless it is a limited data set, the providers; and nothing that looks like a social security
//! number, telephone number, address of mail, host or page, or, where the policy lets none through, a full date. A hit
//! holds the record.
//!
//! **What is known**: names (words of [`NAME_LETTERS_MIN`] letters and more), identifiers
//! ([`ID_CHARACTERS_MIN`] characters and more), words of streets and under `safe-harbor` of cities
//! ([`STREET_LETTERS_MIN`]), telephone numbers, birth dates in five orders, and the birth year of who is over
//! 89. They are looked for as whole words and whole values, whatever their case and punctuation; numbers also where a field's
//! delimiters cut them (`778^-^8123`).
//!
//! Documents in OBX-5, Attachment and Binary are decoded and read; one that is no text is a hit.
//!
//! **What is not**: words that are also units, codes and fillers (`/min`, `ALT`, `UNK`), where they stand alone;
//! numbers that read as a year or are one digit again and again; in a limited data set, towns named like people
//! where a town belongs. A record held for them would be held for ever, and they tell nothing.
//!
//! **Invariants.** Nothing here calls [`crate::rules`], its tables or its cutting of messages: a defect there
//! is not repeated here. Of FHIR it shares what HL7 publishes, R4's definitions and lists of codes, and not how they are applied. Nothing is trusted for where it stands. Exempt are what no sender can write: the
//! feed's and the profile's name (chosen by the operator), the names of rules in the receipt, the names of
//! segments, and the place in the stream in a header. OBX-4 of a bedside device (`1.1.2.3`) is no address of a host.

mod fhir;
mod known;
mod ordinary;
mod patterns;
mod sieve;
mod text;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hl7::Message;
use model::{Observation, Provenance, Released, TimeValue};

pub use known::{BARE_ID_DIGITS_MIN, ID_CHARACTERS_MIN, NAME_LETTERS_MIN, STREET_LETTERS_MIN};

use crate::{Clinical, Label};
use known::Known;
use text::{Cuts, Delimiters};

/// What the gate found, and where in the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// What.
    pub kind: HitKind,
    /// Where.
    pub place: Place,
}

/// What must not be in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HitKind {
    /// A word of a known name.
    Name,
    /// A known identifier.
    Identifier,
    /// A word of a known address.
    Address,
    /// A known telephone number.
    Telephone,
    /// A known birth date, or the birth year of who is over 89.
    BirthDate,
    /// What looks like a social security number.
    SsnPattern,
    /// What looks like a telephone number.
    TelephonePattern,
    /// What looks like an address of mail, of a page or of a host.
    NetworkPattern,
    /// A full date.
    DatePattern,
    /// Part of the envelope that the label does not allow.
    Envelope,
}

impl HitKind {
    /// A short name for reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "gate-name",
            Self::Identifier => "gate-identifier",
            Self::Address => "gate-address",
            Self::Telephone => "gate-telephone",
            Self::BirthDate => "gate-birth-date",
            Self::SsnPattern => "gate-ssn-pattern",
            Self::TelephonePattern => "gate-telephone-pattern",
            Self::NetworkPattern => "gate-network-pattern",
            Self::DatePattern => "gate-date-pattern",
            Self::Envelope => "gate-envelope",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Name => "a word of a name of the record",
            Self::Identifier => "an identifier of the record",
            Self::Address => "a word of an address of the record",
            Self::Telephone => "a telephone number of the record",
            Self::BirthDate => "a birth date of the record",
            Self::SsnPattern => "what looks like a social security number",
            Self::TelephonePattern => "what looks like a telephone number",
            Self::NetworkPattern => "what looks like an address of mail, page or host",
            Self::DatePattern => "a full date",
            Self::Envelope => "a part that its label does not allow",
        }
    }
}

/// Where in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the payload: the segment, from 1, and the byte of the payload, from 0.
    Payload {
        /// From 1.
        segment: usize,
        /// From 0.
        byte: usize,
    },
    /// In a resource of FHIR.
    Resource,
    /// In an observation, from 1.
    Observation(usize),
    /// Beside the payload.
    Envelope,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.what())?;
        match self.place {
            Place::Payload { segment, byte } => {
                write!(f, " in segment {segment} of the release (byte {byte})")
            }
            Place::Resource => f.write_str(" in the resource of the release"),
            Place::Observation(number) => write!(f, " in observation {number} of the release"),
            Place::Envelope => f.write_str(" in the envelope of the release"),
        }
    }
}

impl std::error::Error for Hit {}

/// What a policy lets through, as far as the gate must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// Everything: nothing is read.
    pub(crate) all: bool,
    /// Names and numbers of providers.
    pub(crate) providers: bool,
    /// Towns, where a town belongs.
    pub(crate) towns: bool,
    /// Keyed tokens in the envelope.
    pub(crate) tokens: bool,
    /// Ages over 89 and the years that tell one.
    pub(crate) ages: bool,
    pub(crate) dates: Dates,
}

/// Which dates may be in a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    /// Years alone.
    Years,
    /// Moved ones. That one of them is the birth date by chance holds nothing: it is looked for where birth dates stand.
    Shifted,
    /// As they are.
    Kept,
}

impl From<Label> for Scope {
    fn from(label: Label) -> Self {
        let nothing = Self {
            all: false,
            providers: false,
            towns: false,
            tokens: false,
            ages: false,
            dates: Dates::Years,
        };
        match label {
            Label::Treatment => Self { all: true, ..nothing },
            Label::SafeHarbor => nothing,
            Label::LimitedDataSet => {
                Self { providers: true, towns: true, tokens: true, ages: true, dates: Dates::Kept, ..nothing }
            }
            Label::ExpertDetermination => Self { tokens: true, ..nothing },
        }
    }
}

/// Reads a release again, knowing its source. [`crate::Policy::release`] calls it; there is no way around.
///
/// # Errors
/// The first [`Hit`].
pub fn read(
    source: &Clinical,
    provenance: &Provenance,
    released: &Released,
    scope: impl Into<Scope>,
) -> Result<(), Hit> {
    let scope = scope.into();
    if scope.all {
        return Ok(());
    }
    let known = match source {
        Clinical::Hl7(message) => Known::of_message(message.bytes(), provenance.received_at.year(), scope),
        Clinical::Fhir { raw, .. } => fhir::known(raw, provenance.received_at.year(), scope),
        Clinical::Observations { values, .. } => {
            Known::of_devices(values.iter().filter_map(|v| v.device.as_deref()))
        }
    };
    let gate = Gate { known, scope, seq: released.seq.to_string() };
    let raw_withheld = !matches!(source, Clinical::Observations { .. }) || released.payload.is_empty();

    // Every field by name, so that a new one is a compile error here and not a leak there.
    let Released {
        seq: _,
        origin: _,
        feed: _,
        format: _,
        received_at,
        peer,
        channel,
        message_type,
        control_id,
        observations,
        charset,
        payload,
        rules: _,
    } = released;
    let exact_time = matches!(received_at, Some(TimeValue::Instant(_)));
    // What the rules make is UTF-8; another name there would be a word of the sender's.
    let foreign = charset.as_ref().is_some_and(|name| name != "UNICODE UTF-8");
    let outside = foreign
        || peer.is_some()
        || channel.is_some()
        || exact_time && scope.dates != Dates::Kept
        || control_id.is_some() && !scope.tokens;
    if outside || !raw_withheld {
        return Err(Hit { kind: HitKind::Envelope, place: Place::Envelope });
    }
    for text in [message_type, control_id].into_iter().flatten() {
        gate.text(text, Place::Envelope)?;
    }
    for (number, observation) in (1..).zip(observations) {
        gate.observation(observation, Place::Observation(number))?;
    }
    if matches!(source, Clinical::Fhir { .. }) {
        return gate.resource(payload).map_or(Ok(()), |kind| Err(Hit { kind, place: Place::Resource }));
    }
    gate.payload(payload)
}

/// Reads a text that the text engine let go, knowing the message that it belongs to, if there is one. `year` is that of
/// the day on which it is read. The place of a hit is a line and a byte of the text.
///
/// # Errors
/// The first [`Hit`].
pub fn read_text(source: Option<&Message>, year: i16, text: &str, label: Label) -> Result<(), Hit> {
    let scope = Scope::from(label);
    if scope.all {
        return Ok(());
    }
    let known = source.map(|message| Known::of_message(message.bytes(), year, scope)).unwrap_or_default();
    let gate = Gate { known, scope, seq: String::new() };
    for (segment, (byte, line)) in (1..).zip(text::lines(text.as_bytes())) {
        if let Some(kind) = gate.value(line, Stands::default(), || false) {
            return Err(Hit { kind, place: Place::Payload { segment, byte } });
        }
    }
    Ok(())
}

struct Gate {
    known: Known,
    scope: Scope,
    /// The place in the stream, as the rules may write it for a control id.
    seq: String,
}

impl Gate {
    fn payload(&self, payload: &[u8]) -> Result<(), Hit> {
        let delimiters = Delimiters::of(payload);
        let cuts = Cuts::of(delimiters);
        for (segment, (start, line)) in (1..).zip(text::lines(payload)) {
            let header = line.starts_with(b"MSH") || line.starts_with(b"FHS") || line.starts_with(b"BHS");
            let mut column = Column::default();
            for (begin, value) in cuts.values(line) {
                let before = begin.checked_sub(1).and_then(|at| line.get(at)).copied();
                column.step(before, delimiters);
                let name = begin == 0;
                if name || header && value == self.seq.as_bytes() {
                    continue;
                }
                let rest = line.get(begin + value.len()..).unwrap_or_default();
                let stands = Stands {
                    town: column.component == 3,
                    birth_date: known::is_birth_date(line, column.field),
                };
                let found = self.value(value, stands, || text::is_snomed(rest, delimiters));
                let sub_id = found == Some(HitKind::NetworkPattern)
                    && (line.starts_with(b"OBX") && column.field == 4)
                    && patterns::is_containment(value);
                if let Some(kind) = found.filter(|_| !sub_id) {
                    return Err(Hit { kind, place: Place::Payload { segment, byte: start + begin } });
                }
            }
            if let Some(kind) = self.documents(line, delimiters) {
                return Err(Hit { kind, place: Place::Payload { segment, byte: start } });
            }
            for (begin, field) in text::fields(line, delimiters).filter(|_| !header) {
                let any_date = self.scope.dates != Dates::Shifted;
                if let Some(kind) = self.known.find_cut(field, delimiters, any_date) {
                    return Err(Hit { kind, place: Place::Payload { segment, byte: start + begin } });
                }
            }
        }
        Ok(())
    }

    /// What stands in the documents of OBX-5: whatever says that it is encoded is decoded and read, line by line.
    fn documents(&self, line: &[u8], delimiters: Delimiters) -> Option<HitKind> {
        let (_, values) = text::fields(line, delimiters).nth(5).filter(|_| line.starts_with(b"OBX"))?;
        let is_document = text::fields(line, delimiters).nth(2).is_some_and(|(_, kind)| kind == b"ED");
        values.split(|b| *b == delimiters.repetition).find_map(|value| {
            let mut parts = value.split(|b| *b == delimiters.component).skip(3);
            let encoding = parts.next()?;
            if encoding.eq_ignore_ascii_case(b"base64") {
                return self.encoded(parts.next().unwrap_or_default());
            }
            // The rules write no other encoding.
            (is_document && !encoding.is_empty()).then_some(HitKind::Envelope)
        })
    }

    /// A text in base64. What is none was not made by the rules.
    fn encoded(&self, data: &[u8]) -> Option<HitKind> {
        let Some(text) = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return Some(HitKind::Envelope);
        };
        text::lines(text.as_bytes()).find_map(|(_, line)| self.value(line, Stands::TEXT, || false))
    }

    fn observation(&self, observation: &Observation, place: Place) -> Result<(), Hit> {
        let Observation { device, metric, loinc, ucum, value: _, quality: _, device_time, time } =
            observation;
        let exact = |t: &Option<TimeValue>| matches!(t, Some(TimeValue::Instant(_)));
        let is_exact = exact(device_time) || exact(time);
        if device.is_some() && !self.scope.tokens || is_exact && self.scope.dates != Dates::Kept {
            return Err(Hit { kind: HitKind::Envelope, place });
        }
        for text in [device.as_deref(), Some(metric.as_str()), loinc.as_deref(), Some(ucum.as_str())]
            .into_iter()
            .flatten()
        {
            self.text(text, place)?;
        }
        Ok(())
    }

    fn text(&self, text: &str, place: Place) -> Result<(), Hit> {
        for value in text.as_bytes().split(|b| *b == b'^') {
            if let Some(kind) = self.value(value, Stands::default(), || false) {
                return Err(Hit { kind, place });
            }
        }
        Ok(())
    }

    /// One value: what stands between two delimiters. Towns may stay, in the third component of an address, and many are
    /// named like people.
    fn value(&self, value: &[u8], stands: Stands, is_concept: impl FnOnce() -> bool) -> Option<HitKind> {
        if value.len() < NAME_LETTERS_MIN {
            return None;
        }
        let is_date = self.scope.dates != Dates::Shifted || stands.birth_date;
        let known = self.known.find(value, stands.town && self.scope.towns);
        if let Some(kind) = known.filter(|kind| *kind != HitKind::BirthDate || is_date) {
            return Some(kind);
        }
        match patterns::find(value) {
            Some(HitKind::DatePattern) if self.scope.dates != Dates::Years || is_concept() => None,
            found => found,
        }
    }
}

/// What may stand in a value's place.
#[derive(Debug, Clone, Copy, Default)]
struct Stands {
    town: bool,
    birth_date: bool,
}

impl Stands {
    /// Of a text: a date in it was not moved, so it may be the birth date.
    const TEXT: Self = Self { town: false, birth_date: true };
}

/// Where a value stands in its line.
#[derive(Default)]
struct Column {
    /// From 0, the segment's name.
    field: usize,
    /// From 1.
    component: usize,
}

impl Column {
    /// Goes on to the value after this delimiter; to the first one after none.
    const fn step(&mut self, delimiter: Option<u8>, delimiters: Delimiters) {
        match delimiter {
            Some(d) if d == delimiters.field => {
                self.field += 1;
                self.component = 1;
            }
            Some(d) if d == delimiters.component => self.component += 1,
            Some(d) if d == delimiters.subcomponent => {}
            Some(_) | None => self.component = 1,
        }
    }
}

#[cfg(test)]
mod tests;
