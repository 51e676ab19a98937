//! What a device measured: a metric with its codes, its unit and, where there is no value, the reason.

use serde::{Deserialize, Serialize};

use crate::TimeValue;

/// Why there is no value. Never a zero in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// The device says that it has no valid measurement now.
    Invalid,
    /// The sensor is off or not connected.
    SensorOff,
    /// Above what the device can measure.
    OverRange,
    /// Below what the device can measure.
    UnderRange,
    /// The device answered outside the range its profile permits.
    OutOfProfile,
    /// The device reports that it is still settling.
    NotReady,
}

impl Absent {
    /// The name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::SensorOff => "sensor-off",
            Self::OverRange => "over-range",
            Self::UnderRange => "under-range",
            Self::OutOfProfile => "out-of-profile",
            Self::NotReady => "not-ready",
        }
    }
}

/// A measured value, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A number in the observation's UCUM unit.
    Number(f64),
    /// No value, for this reason.
    Absent(Absent),
}

/// What the device itself says of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Nothing was objected to.
    #[default]
    Good,
    /// The device flags the value as doubtful (low perfusion, motion, low signal).
    Questionable,
    /// The device is in a test or demonstration mode: not a patient's value.
    Test,
}

impl Quality {
    /// The name in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Questionable => "questionable",
            Self::Test => "test",
        }
    }
}

/// One numeric of one device at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The device, as the feed knows it; `None` where the policy withholds it.
    pub device: Option<String>,
    /// The metric in ISO/IEEE 11073-10101 nomenclature: `MDC_PULS_OXIM_SAT_O2`; where it is qualified by a
    /// supplemental type, that follows after a slash: `MDC_PULS_OXIM_SAT_O2/MDC_MODALITY_FAST`.
    pub metric: String,
    /// The same in LOINC: `59408-5`.
    pub loinc: Option<String>,
    /// The unit in UCUM: `%`, `/min`.
    pub ucum: String,
    /// The value or why there is none.
    pub value: Value,
    /// What the device says of it.
    pub quality: Quality,
    /// The device's own time, uncorrected.
    pub device_time: Option<TimeValue>,
    /// The gateway's time of arrival, in the precision that the policy lets through.
    pub time: Option<TimeValue>,
}
