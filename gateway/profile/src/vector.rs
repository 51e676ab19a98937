//! Test vectors: bytes and what they mean, derived from the device's document by hand and not by the decoder.

use std::fmt;

use model::{Absent, Observation, Quality, Timestamp, Value};
use serde::Deserialize;
use toml::Spanned;

use crate::error::LoadError;
use crate::{CompileError, DOCUMENT_BYTES_MAX, DecodeError, Profile};

/// One `vectors/*.toml`.
///
/// ```toml
/// case = "SpO2 97 %, pulse rate 72/min"
/// derived = "Flags 0x00; SFLOAT 97 = exponent 0, mantissa 0x061; SFLOAT 72 = mantissa 0x048"
/// payload = "00 6100 4800"
///
/// [[expect]]
/// metric = "MDC_PULS_OXIM_SAT_O2"
/// loinc = "59408-5"
/// ucum = "%"
/// value = 97          # or: absent = "sensor-off"
/// quality = "good"    # the default
/// ```
///
/// In place of `[[expect]]`, `error = "truncated"` (or `trailing`, `too-long`) where the bytes are no frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    case: String,
    payload: Vec<u8>,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Observations(Vec<Observation>),
    Error(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    case: String,
    derived: Spanned<String>,
    payload: Spanned<String>,
    #[serde(default)]
    error: Option<Spanned<String>>,
    #[serde(default)]
    expect: Vec<Expect>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    metric: Spanned<String>,
    #[serde(default)]
    loinc: Option<String>,
    ucum: String,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    absent: Option<Absent>,
    #[serde(default)]
    quality: Quality,
}

/// A vector decodes to something else than it says. Displays as a diff; vectors hold no patient's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    case: String,
    lines: Vec<String>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: - expected, + decoded", self.case)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl Vector {
    /// Reads a vector document.
    ///
    /// # Errors
    /// [`CompileError`] with the place.
    pub fn parse(document: &str) -> Result<Self, CompileError> {
        let at = |span, message: &str| CompileError::at(document, span, message);
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(at(0..0, &format!("the document has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let written: Document =
            toml::from_str(document).map_err(|e| CompileError::from_toml(document, &e))?;
        if written.derived.get_ref().trim().is_empty() {
            return Err(at(written.derived.span(), "say how the bytes follow from the device's document"));
        }
        let digits: String = written.payload.get_ref().chars().filter(|c| !c.is_whitespace()).collect();
        let payload = hex::decode(digits)
            .map_err(|_| at(written.payload.span(), "not bytes in hexadecimal, two digits each"))?;
        let expected = match (written.error, written.expect) {
            (Some(error), expect) if expect.is_empty() => {
                if !["truncated", "trailing", "too-long"].contains(&error.get_ref().as_str()) {
                    return Err(at(error.span(), "not an error of the decoder")
                        .hint("`truncated`, `trailing` or `too-long`"));
                }
                Expected::Error(error.into_inner())
            }
            (Some(error), _) => {
                return Err(at(error.span(), "either an error or observations are expected, not both"));
            }
            (None, expect) => {
                let observations = expect.into_iter().map(|e| {
                    let value = match (e.value, e.absent) {
                        (Some(number), None) => Value::Number(number),
                        (None, Some(reason)) => Value::Absent(reason),
                        _ => return Err(at(e.metric.span(), "needs exactly one of `value` and `absent`")),
                    };
                    Ok(Observation {
                        device: None,
                        metric: e.metric.into_inner(),
                        loinc: e.loinc,
                        ucum: e.ucum,
                        value,
                        quality: e.quality,
                        device_time: None,
                        time: None,
                    })
                });
                Expected::Observations(observations.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { case: written.case, payload, expected })
    }

    /// What the vector shows, in one line.
    pub fn case(&self) -> &str {
        &self.case
    }

    /// The bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Decodes the bytes and compares.
    ///
    /// # Errors
    /// [`Mismatch`], a readable diff.
    pub fn check(&self, profile: &Profile) -> Result<(), Mismatch> {
        let decoded = profile.decode(&self.payload, None, Timestamp::default());
        let expected = self.expected_lines();
        let decoded = decoded_lines(decoded);
        if expected == decoded {
            return Ok(());
        }
        let rows = expected.len().max(decoded.len());
        let mut lines = Vec::new();
        for row in 0..rows {
            match (expected.get(row), decoded.get(row)) {
                (Some(same), Some(other)) if same == other => lines.push(format!("  {same}")),
                (wanted, found) => {
                    lines.extend(wanted.map(|line| format!("- {line}")));
                    lines.extend(found.map(|line| format!("+ {line}")));
                }
            }
        }
        Err(Mismatch { case: self.case.clone(), lines })
    }

    fn expected_lines(&self) -> Vec<String> {
        match &self.expected {
            Expected::Observations(observations) => observations.iter().map(line).collect(),
            Expected::Error(error) => vec![format!("error {error}")],
        }
    }
}

fn decoded_lines(decoded: Result<Vec<Observation>, DecodeError>) -> Vec<String> {
    match decoded {
        Ok(observations) => observations.iter().map(line).collect(),
        Err(error) => vec![format!("error {}", error.as_str())],
    }
}

fn line(observation: &Observation) -> String {
    let value = match &observation.value {
        Value::Number(number) => format!("{number:?}"),
        Value::Absent(reason) => format!("absent {}", reason.as_str()),
    };
    let loinc = observation.loinc.as_deref().unwrap_or("-");
    let Observation { metric, ucum, quality, .. } = observation;
    format!("{metric} {loinc} {value} {ucum} {}", quality.as_str())
}

impl Profile {
    /// Compiles a profile and checks it against its vectors, given as (file name, document).
    ///
    /// # Errors
    /// [`LoadError`], also where there is no vector.
    pub fn load<'v>(
        document: &str,
        vectors: impl IntoIterator<Item = (&'v str, &'v str)>,
    ) -> Result<Self, LoadError> {
        let profile = Self::compile(document)?;
        let mut checked = 0_usize;
        for (name, document) in vectors {
            let name = || name.to_owned();
            let vector =
                Vector::parse(document).map_err(|error| LoadError::Vector { name: name(), error })?;
            vector.check(&profile).map_err(|mismatch| LoadError::Mismatch { name: name(), mismatch })?;
            checked += 1;
        }
        if checked == 0 {
            return Err(LoadError::NoVectors { id: profile.id });
        }
        Ok(profile)
    }
}

#[cfg(test)]
mod tests;
