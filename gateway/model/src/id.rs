//! Who and which: slugs, lanes, sequence numbers and record ids.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest [`Slug`], in bytes.
pub const SLUG_BYTES_MAX: usize = 63;

/// A name chosen by the operator that may appear in metrics, paths and URLs: `a-z`, `0-9` and `-`, beginning
/// with a letter, at most [`SLUG_BYTES_MAX`] bytes. Names of gateways, feeds and destinations are slugs, so
/// that no free text (and no patient) gets into a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z][a-z0-9-]{0,62}$"))]
pub struct Slug(String);

/// The text is no [`Slug`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a name has 1 to 63 characters of a-z, 0-9 and '-' and begins with a letter")]
pub struct NotASlug;

impl Slug {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Slug {
    type Error = NotASlug;
    fn try_from(text: String) -> Result<Self, NotASlug> {
        let bytes = text.as_bytes();
        let first_is_letter = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let rest_fits = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if first_is_letter && rest_fits && bytes.len() <= SLUG_BYTES_MAX {
            Ok(Self(text))
        } else {
            Err(NotASlug)
        }
    }
}

impl FromStr for Slug {
    type Err = NotASlug;
    fn from_str(text: &str) -> Result<Self, NotASlug> {
        Self::try_from(text.to_owned())
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which log a record stands in. Order is strict within a lane; an urgent record never waits behind bulk.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Alarms and alerts.
    Urgent,
    /// Messages and numerics: the ordinary work of a ward.
    #[default]
    Clinical,
    /// Files, images, waveforms.
    Bulk,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Clinical, Self::Bulk];

    /// The lane's name, as in a [`RecordId`], a path or a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Clinical => "clinical",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lane {
    type Err = NotARecordId;
    fn from_str(text: &str) -> Result<Self, NotARecordId> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == text).ok_or(NotARecordId)
    }
}

/// One incarnation of a lane's log, granted by the landing, which then fences the older one. Starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamEpoch(pub NonZeroU64);

impl StreamEpoch {
    /// The epoch a virgin log proposes.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// From a number; `None` for 0.
    pub const fn new(epoch: u64) -> Option<Self> {
        match NonZeroU64::new(epoch) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }

    /// As a number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for StreamEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A record's place in its lane, counted from 1 without gaps within an incarnation of the log.
pub type Seq = u64;

/// A record's name everywhere a person or a program names one: `clinical-1-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId {
    /// The log it stands in.
    pub lane: Lane,
    /// The incarnation of that log.
    pub epoch: StreamEpoch,
    /// Its place there.
    pub seq: Seq,
}

/// The text is no [`RecordId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a record id is LANE-EPOCH-SEQ, such as clinical-1-42; lanes are urgent, clinical and bulk")]
pub struct NotARecordId;

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.lane, self.epoch, self.seq)
    }
}

impl FromStr for RecordId {
    type Err = NotARecordId;
    fn from_str(text: &str) -> Result<Self, NotARecordId> {
        let mut parts = text.splitn(3, '-');
        let (Some(lane), Some(epoch), Some(seq)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotARecordId);
        };
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(epoch) || !digits(seq) {
            return Err(NotARecordId);
        }
        let epoch = epoch.parse().ok().and_then(StreamEpoch::new).ok_or(NotARecordId)?;
        let seq = seq.parse().map_err(|_| NotARecordId)?;
        Ok(Self { lane: lane.parse()?, epoch, seq })
    }
}

impl TryFrom<String> for RecordId {
    type Error = NotARecordId;
    fn try_from(text: String) -> Result<Self, NotARecordId> {
        text.parse()
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.to_string()
    }
}

/// One ordered flow of batches: what a watermark at the landing belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamId {
    /// The box, as its certificate names it.
    pub gateway: Slug,
    /// The destination, as the gateway's configuration names it.
    pub destination: Slug,
    /// The lane.
    pub lane: Lane,
    /// The incarnation of the lane's log.
    pub epoch: StreamEpoch,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.gateway, self.destination, self.lane, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_round_trip_and_reject_junk() {
        let id: RecordId = "clinical-1-42".parse().unwrap();
        assert_eq!((id.lane, id.epoch.get(), id.seq), (Lane::Clinical, 1, 42));
        assert_eq!(id.to_string(), "clinical-1-42");
        for junk in [
            "",
            "clinical",
            "clinical-0-1",
            "clinical-1",
            "ward-1-1",
            "clinical-1-x",
            "clinical--1-1",
            "clinical-+1-1",
        ] {
            assert_eq!(junk.parse::<RecordId>(), Err(NotARecordId), "{junk}");
        }
    }

    #[test]
    fn slugs_keep_free_text_out() {
        for good in ["a", "ward-3", "adt2"] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "Ward", "3west", "a b", "../x", "é", "-a", &"a".repeat(64)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }
}
