//! The unit of exactly-once: a contiguous range of one stream, every number of it accounted for.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{Format, Observation, RecordId, Seq, Slug, StreamId, TimeValue};

/// Most records and skips in one batch.
pub const BATCH_SEQS_MAX: u64 = 100_000;

/// Why a number of the range has no row. Closed: a new cause gets a name here first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No route of the feed leads to this destination.
    NotRouted,
    /// The record was released or replayed for another destination only.
    NotAddressed,
    /// The policy could not release it; it stands in the held log.
    Held,
    /// The log found it damaged, or it could not be read as what its feed promises.
    Quarantined,
    /// A copy of a record that the destination has already.
    Duplicate,
    /// An audited age rule let it go.
    Expired,
    /// The patient's consent was withdrawn.
    ConsentWithdrawn,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::NotRouted,
        Self::NotAddressed,
        Self::Held,
        Self::Quarantined,
        Self::Duplicate,
        Self::Expired,
        Self::ConsentWithdrawn,
    ];

    /// The name in tables, metrics and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRouted => "not-routed",
            Self::NotAddressed => "not-addressed",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::ConsentWithdrawn => "consent-withdrawn",
        }
    }
}

/// A run of numbers without a row, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// First number skipped.
    pub first: Seq,
    /// Last number skipped, inclusive.
    pub last: Seq,
    /// Why.
    pub reason: Reason,
}

/// Which policy shaped a batch: its name, its label and the SHA-256 of its compiled form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The policy's name in the configuration.
    pub name: String,
    /// `treatment`, `safe-harbor`, `limited-data-set`, `expert-determination`.
    pub label: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// Anything with a place in its stream.
pub trait Sequenced {
    /// The place.
    fn seq(&self) -> Seq;
}

/// One released record as it travels. On the box only `deid` makes the value that becomes this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Released {
    /// Its place in the stream.
    pub seq: Seq,
    /// The record it is an edited or released copy of.
    pub origin: Option<RecordId>,
    /// The feed.
    pub feed: Slug,
    /// What `payload` is.
    pub format: Format,
    /// When it arrived, in the precision that the policy lets through.
    pub received_at: Option<TimeValue>,
    /// The sender, where the policy lets it through.
    pub peer: Option<String>,
    /// Topic or file name, where the policy lets it through.
    pub channel: Option<String>,
    /// MSH-9 as sent, e.g. `ADT^A01^ADT_A01`.
    pub message_type: Option<String>,
    /// MSH-10, where the policy lets it through.
    pub control_id: Option<String>,
    /// Decoded device values; HL7 is decoded at the landing from `payload`.
    pub observations: Vec<Observation>,
    /// HL7 v2: the character set that `payload` is to be read in, as table 0211 names it; it stands before MSH-18.
    /// `None` from a gateway that does not say it yet.
    #[serde(default)]
    pub charset: Option<String>,
    /// The released bytes.
    pub payload: ByteBuf,
    /// Value-free receipt: how many values each rule touched, by rule name, sorted.
    pub rules: Vec<(String, u32)>,
}

impl Sequenced for Released {
    fn seq(&self) -> Seq {
        self.seq
    }
}

/// A contiguous range of one stream. Every number in `first..=last` is either the `seq` of a record or in one
/// skip. A batch may hold no record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch<R> {
    /// Which flow it belongs to.
    pub stream: StreamId,
    /// First number covered.
    pub first: Seq,
    /// Last number covered, inclusive.
    pub last: Seq,
    /// The policy that shaped the records.
    pub policy: PolicyRef,
    /// The records, in order.
    pub records: Vec<R>,
    /// What has no row, in order.
    pub skipped: Vec<Skip>,
}

/// A batch whose parts do not cover its range exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untiled {
    /// `first` is 0 or after `last`.
    #[error("the range {first}..={last} is empty or begins at 0")]
    Range {
        /// As stated.
        first: Seq,
        /// As stated.
        last: Seq,
    },
    /// The range is longer than [`BATCH_SEQS_MAX`].
    #[error("the range covers {count} numbers; at most {BATCH_SEQS_MAX} are allowed")]
    TooLong {
        /// How many.
        count: u64,
    },
    /// A number is covered twice, out of order or not at all.
    #[error("number {expected} is not covered exactly once, in order")]
    Gap {
        /// The number where the tiling breaks.
        expected: Seq,
    },
}

impl<R: Sequenced> Batch<R> {
    /// Checks that records and skips tile the range.
    ///
    /// # Errors
    /// [`Untiled`] names the first number where they do not.
    pub fn check(&self) -> Result<(), Untiled> {
        let (first, last) = (self.first, self.last);
        if first == 0 || first > last || last == Seq::MAX {
            return Err(Untiled::Range { first, last });
        }
        if last - first >= BATCH_SEQS_MAX {
            return Err(Untiled::TooLong { count: (last - first).saturating_add(1) });
        }
        let mut records = self.records.iter().map(Sequenced::seq).peekable();
        let mut skips = self.skipped.iter().peekable();
        let mut expected = first;
        while expected <= last {
            if records.next_if_eq(&expected).is_some() {
                expected += 1;
            } else if let Some(skip) =
                skips.next_if(|s| s.first == expected && s.last >= s.first && s.last <= last)
            {
                expected = skip.last + 1;
            } else {
                return Err(Untiled::Gap { expected });
            }
        }
        if records.peek().is_some() || skips.peek().is_some() {
            return Err(Untiled::Gap { expected });
        }
        Ok(())
    }

    /// How many numbers were skipped.
    pub fn skipped_count(&self) -> u64 {
        self.skipped.iter().map(|s| s.last.saturating_sub(s.first).saturating_add(1)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, StreamEpoch};
    use proptest::prelude::*;

    impl Sequenced for Seq {
        fn seq(&self) -> Seq {
            *self
        }
    }

    fn batch(first: Seq, last: Seq, records: Vec<Seq>, skipped: Vec<Skip>) -> Batch<Seq> {
        let slug = |s: &str| s.parse().unwrap();
        let stream = StreamId {
            gateway: slug("g"),
            destination: slug("d"),
            lane: Lane::Clinical,
            epoch: StreamEpoch::FIRST,
        };
        let policy = PolicyRef { name: "p".into(), label: "treatment".into(), sha256: String::new() };
        Batch { stream, first, last, policy, records, skipped }
    }

    fn skip(first: Seq, last: Seq) -> Skip {
        Skip { first, last, reason: Reason::NotRouted }
    }

    #[test]
    fn tiling_is_exact() {
        assert_eq!(batch(5, 9, vec![5, 8], vec![skip(6, 7), skip(9, 9)]).check(), Ok(()));
        assert_eq!(batch(1, 1, vec![], vec![skip(1, 1)]).check(), Ok(()));
        for (bad, at) in [
            (batch(1, 3, vec![1, 3], vec![]), 2),
            (batch(1, 2, vec![1, 2], vec![skip(2, 2)]), 3),
            (batch(1, 2, vec![2, 1], vec![]), 1),
            (batch(1, 2, vec![1, 2, 2], vec![]), 3),
            (batch(1, 2, vec![1], vec![skip(2, 3)]), 2),
            (batch(1, 2, vec![1, 2, 3], vec![]), 3),
        ] {
            assert_eq!(bad.check(), Err(Untiled::Gap { expected: at }));
        }
        assert!(matches!(batch(0, 1, vec![], vec![]).check(), Err(Untiled::Range { .. })));
        assert!(matches!(batch(2, 1, vec![], vec![]).check(), Err(Untiled::Range { .. })));
        assert!(matches!(batch(1, Seq::MAX, vec![], vec![]).check(), Err(Untiled::Range { .. })));
        let long = batch(1, BATCH_SEQS_MAX + 1, vec![], vec![skip(1, BATCH_SEQS_MAX + 1)]);
        assert!(matches!(long.check(), Err(Untiled::TooLong { .. })));
    }

    proptest! {
        /// Any assignment of numbers to records and skips tiles; taking any one record away does not.
        #[test]
        fn taking_a_record_away_is_noticed(kinds in prop::collection::vec(any::<bool>(), 1..200), start in 1u64..1000) {
            let numbered = || kinds.iter().zip(start..);
            let records: Vec<Seq> = numbered().filter(|(k, _)| **k).map(|(_, s)| s).collect();
            let skips: Vec<Skip> = numbered().filter(|(k, _)| !**k).map(|(_, s)| skip(s, s)).collect();
            let whole = batch(start, start + kinds.len() as u64 - 1, records.clone(), skips);
            prop_assert_eq!(whole.check(), Ok(()));
            prop_assert_eq!(whole.skipped_count() + records.len() as u64, kinds.len() as u64);
            if let Some(expected) = records.first() {
                let mut torn = whole;
                torn.records.remove(0);
                prop_assert_eq!(torn.check(), Err(Untiled::Gap { expected: *expected }));
            }
        }
    }
}
