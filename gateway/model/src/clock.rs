//! Time comes in from outside, so that a simulation decides what time it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Displays as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The calendar year in UTC.
    pub fn year(self) -> i16 {
        self.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).year()
    }

    /// Microseconds from `earlier` to `self`; negative when the clock went back.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// HL7 DTM with seconds and a UTC offset: `20261124083000+0000` (HL7 v2.8.2 chapter 2A.22).
    pub fn to_hl7(self) -> String {
        self.to_jiff().strftime("%Y%m%d%H%M%S+0000").to_string()
    }

    fn to_jiff(self) -> jiff::Timestamp {
        // Out of range (beyond the year 9999) clamps: a timestamp is shown, never trusted for arithmetic.
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

/// The text was not an RFC 3339 date-time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an RFC 3339 date-time such as 2026-11-24T08:30:00Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;
    fn from_str(text: &str) -> Result<Self, NotATimestamp> {
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_microsecond())).map_err(|_| NotATimestamp)
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_and_parses_rfc3339() {
        let t: Timestamp = "2026-11-24T08:30:00.25Z".parse().unwrap();
        assert_eq!(t.to_string(), "2026-11-24T08:30:00.250000Z");
        assert_eq!(t.to_hl7(), "20261124083000+0000");
        assert_eq!(t.year(), 2026);
        assert_eq!("yesterday".parse::<Timestamp>(), Err(NotATimestamp));
    }

    #[test]
    fn survives_absurd_values() {
        for micros in [i64::MIN, i64::MAX, -1, 0] {
            assert!(!Timestamp::from_micros(micros).to_string().is_empty());
        }
    }
}
