//! A compiled profile and what it does to a frame.

use model::{Absent, Observation, Quality, TimeValue, Timestamp, Value};

use crate::number::{Kind, Raw, Special};

/// A compiled device profile: see [`Profile::compile`] and [`Profile::load`].
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) family: String,
    pub(crate) title: String,
    pub(crate) source: String,
    pub(crate) layout: Layout,
    pub(crate) quantities: Vec<Quantity>,
    pub(crate) rules: Vec<Rule>,
}

/// The fields in wire order. Indices of fields are checked at compile time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(crate) parts: Vec<Part>,
    pub(crate) names: Vec<String>,
    pub(crate) bytes_max: usize,
    pub(crate) trailing_if: Option<Test>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) when: Option<Test>,
    pub(crate) repeat_max: Option<usize>,
}

/// Bits of one field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Test {
    pub(crate) field: usize,
    pub(crate) bits: Bits,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bits {
    pub(crate) mask: u32,
    /// `None`: at least one bit of the mask is set.
    pub(crate) value: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantity {
    pub(crate) field: usize,
    pub(crate) metric: String,
    pub(crate) loinc: Option<String>,
    pub(crate) ucum: String,
    pub(crate) scale: Option<(f64, f64)>,
    pub(crate) range: Option<(f64, f64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) when: Test,
    pub(crate) effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    Absent(Absent),
    Explains(Absent),
    Quality(Quality),
}

/// The bytes are not a frame of this profile. Names the place, never the content; the record stands in the
/// log as it came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("the frame ends inside field {field}: {needed} bytes are needed, {got} came")]
    Truncated {
        /// The field.
        field: String,
        /// Bytes needed so far, in all.
        needed: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The frame goes on after its last field.
    #[error("the frame goes on after its last field: {read} bytes are read, {got} came")]
    Trailing {
        /// Bytes read.
        read: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The frame is larger than the profile permits.
    #[error("a frame has at most {max} bytes, {got} came")]
    TooLong {
        /// Bytes permitted.
        max: usize,
        /// Bytes that came.
        got: usize,
    },
}

impl DecodeError {
    /// The name in vectors and tables.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::Trailing { .. } => "trailing",
            Self::TooLong { .. } => "too-long",
        }
    }
}

impl Profile {
    /// Its id, as in [`model::Format::Device`]: `bluetooth.plx`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version, counted up with every change of meaning.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What kind of device: `pulse-oximeter`.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// One line for a person.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The published document it was written from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Largest frame, in bytes.
    pub const fn frame_bytes_max(&self) -> usize {
        self.layout.bytes_max
    }

    /// What one frame says, in the order of the profile's numerics: one observation for each that was sent
    /// (for each element of a repeated field), with a value or the reason why there is none. `device` and
    /// `received_at` are copied into each.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not a frame of this profile; nothing is salvaged from them.
    pub fn decode(
        &self,
        payload: &[u8],
        device: Option<&str>,
        received_at: Timestamp,
    ) -> Result<Vec<Observation>, DecodeError> {
        let frame = self.layout.read(payload)?;
        let quality = self.quality(&frame);
        let reason = |wanted: fn(Effect) -> Option<Absent>| {
            self.rules.iter().filter(|rule| frame.holds(&rule.when)).find_map(|rule| wanted(rule.effect))
        };
        let absent = reason(|effect| match effect {
            Effect::Absent(reason) => Some(reason),
            _ => None,
        });
        let explains = reason(|effect| match effect {
            Effect::Explains(reason) => Some(reason),
            _ => None,
        });

        let mut observations = Vec::new();
        for quantity in &self.quantities {
            for raw in frame.values(quantity.field) {
                observations.push(Observation {
                    device: device.map(str::to_owned),
                    metric: quantity.metric.clone(),
                    loinc: quantity.loinc.clone(),
                    ucum: quantity.ucum.clone(),
                    value: absent.map_or_else(|| quantity.value(*raw, explains), Value::Absent),
                    quality,
                    device_time: None,
                    time: Some(TimeValue::Instant(received_at)),
                });
            }
        }
        Ok(observations)
    }

    /// The gravest thing that the frame's status says.
    fn quality(&self, frame: &Frame) -> Quality {
        let gravity = |quality: Quality| match quality {
            Quality::Good => 0,
            Quality::Questionable => 1,
            Quality::Test => 2,
        };
        self.rules
            .iter()
            .filter_map(|rule| match rule.effect {
                Effect::Quality(quality) if frame.holds(&rule.when) => Some(quality),
                _ => None,
            })
            .max_by_key(|quality| gravity(*quality))
            .unwrap_or_default()
    }
}

impl Quantity {
    fn value(&self, raw: Raw, explains: Option<Absent>) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "fields have at most 32 bits: exact")]
        let number = match raw {
            Raw::Integer(integer) => integer as f64,
            Raw::Decimal(decimal) => match decimal.value() {
                Ok(number) => number,
                Err(special) => return Value::Absent(explains.unwrap_or_else(|| why(special))),
            },
        };
        let number = match self.scale {
            Some((numerator, denominator)) => number * numerator / denominator,
            None => number,
        };
        match self.range {
            Some((low, high)) if !(low..=high).contains(&number) => Value::Absent(Absent::OutOfProfile),
            // -0.0 reads as 0: nothing was measured below zero.
            _ => Value::Number(number + 0.0),
        }
    }
}

const fn why(special: Special) -> Absent {
    match special {
        Special::NotANumber | Special::NotAtThisResolution => Absent::Invalid,
        Special::PositiveInfinity => Absent::OverRange,
        Special::NegativeInfinity => Absent::UnderRange,
        Special::Reserved => Absent::OutOfProfile,
    }
}

/// A frame read: the values of each field, none where it was not sent.
struct Frame {
    values: Vec<Vec<Raw>>,
}

impl Frame {
    fn values(&self, field: usize) -> &[Raw] {
        self.values.get(field).map_or(&[], Vec::as_slice)
    }

    fn holds(&self, test: &Test) -> bool {
        let [Raw::Integer(integer)] = self.values(test.field) else { return false };
        let selected = integer & i64::from(test.bits.mask);
        match test.bits.value {
            Some(value) => selected == i64::from(value),
            None => selected != 0,
        }
    }
}

impl Layout {
    fn read(&self, payload: &[u8]) -> Result<Frame, DecodeError> {
        let got = payload.len();
        if got > self.bytes_max {
            return Err(DecodeError::TooLong { max: self.bytes_max, got });
        }
        let mut frame = Frame { values: Vec::with_capacity(self.parts.len()) };
        let mut rest = payload;
        for (index, part) in self.parts.iter().enumerate() {
            let mut values = Vec::new();
            if part.when.as_ref().is_none_or(|test| frame.holds(test)) {
                let width = part.kind.width();
                let wanted = part.repeat_max.unwrap_or(1);
                while values.len() < wanted {
                    // A repeated field may be there no time at all; it ends with the frame.
                    if rest.is_empty() && part.repeat_max.is_some() {
                        break;
                    }
                    let Some((bytes, after)) = rest.split_at_checked(width) else {
                        let field = self.names.get(index).cloned().unwrap_or_default();
                        return Err(DecodeError::Truncated { field, needed: got - rest.len() + width, got });
                    };
                    values.push(part.kind.read(bytes));
                    rest = after;
                }
            }
            frame.values.push(values);
        }
        let trailing_permitted = self.trailing_if.as_ref().is_some_and(|test| frame.holds(test));
        if !rest.is_empty() && !trailing_permitted {
            return Err(DecodeError::Trailing { read: got - rest.len(), got });
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests;
