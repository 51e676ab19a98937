//! How delivery stands, for the UI, the metrics and an operator in a hurry. Ids, counts and times only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use forward::Committed;
use model::{Lane, Seq, Skip, Slug, Timestamp};
use serde::Serialize;

/// What a delivery is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum DeliveryState {
    /// Not yet in touch with the destination.
    Connecting,
    /// Everything is delivered.
    Idle,
    /// A batch is on its way.
    Delivering,
    /// The destination cannot be reached; it is tried again by itself.
    Unreachable {
        /// For a person.
        why: String,
    },
    /// It did not work and is tried again by itself.
    Retrying {
        /// For a person.
        why: String,
    },
    /// It is tried again, but will not work until a person acts.
    Blocked {
        /// For a person.
        why: String,
    },
    /// The gateway is stopping.
    Stopped,
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Idle => f.write_str("idle"),
            Self::Delivering => f.write_str("delivering"),
            // The words begin with it.
            Self::Unreachable { why } => f.write_str(why),
            Self::Retrying { why } => write!(f, "retrying: {why}"),
            Self::Blocked { why } => write!(f, "blocked: {why}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// One destination in one lane.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryStatus {
    /// The destination.
    pub destination: Slug,
    /// The lane.
    pub lane: Lane,
    /// What it is doing.
    #[serde(flatten)]
    pub state: DeliveryState,
    /// Since when.
    pub since: Timestamp,
    /// Last number settled.
    pub cursor: Seq,
    /// Numbers in the log that are not settled.
    pub backlog: u64,
    /// Arrival of the oldest record that is not settled, when it has been read already.
    pub oldest_unsent_at: Option<Timestamp>,
    /// Rows delivered since the start.
    pub delivered: u64,
    /// Numbers skipped since the start, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// Batches committed since the start.
    pub batches: u64,
    /// Bytes before compression since the start.
    pub bytes_raw: u64,
    /// Bytes on the wire since the start.
    pub bytes_wire: u64,
}

/// The live figures of one delivery.
#[derive(Debug)]
pub(crate) struct Gauge(Mutex<DeliveryStatus>);

impl Gauge {
    pub(crate) fn new(destination: Slug, lane: Lane, cursor: Seq, now: Timestamp) -> Self {
        Self(Mutex::new(DeliveryStatus {
            destination,
            lane,
            state: DeliveryState::Connecting,
            since: now,
            cursor,
            backlog: 0,
            oldest_unsent_at: None,
            delivered: 0,
            skipped: BTreeMap::new(),
            batches: 0,
            bytes_raw: 0,
            bytes_wire: 0,
        }))
    }

    fn with<T>(&self, f: impl FnOnce(&mut DeliveryStatus) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_state(&self, state: DeliveryState, now: Timestamp) {
        self.with(|s| {
            // Other words for the same trouble are no new trouble.
            if std::mem::discriminant(&s.state) != std::mem::discriminant(&state) {
                s.since = now;
            }
            s.state = state;
        });
    }

    /// A record not yet settled was read.
    pub(crate) fn saw(&self, received_at: Timestamp) {
        self.with(|s| {
            s.oldest_unsent_at = Some(s.oldest_unsent_at.map_or(received_at, |o| o.min(received_at)))
        });
    }

    pub(crate) fn delivered(&self, rows: u64, skipped: &[Skip], committed: &Committed) {
        self.with(|s| {
            s.delivered = s.delivered.saturating_add(rows);
            s.batches = s.batches.saturating_add(1);
            s.bytes_raw = s.bytes_raw.saturating_add(committed.bytes_raw);
            s.bytes_wire = s.bytes_wire.saturating_add(committed.bytes_wire);
            for skip in skipped {
                let count = skip.last.saturating_sub(skip.first).saturating_add(1);
                let sum = s.skipped.entry(skip.reason.as_str()).or_default();
                *sum = sum.saturating_add(count);
            }
        });
    }

    pub(crate) fn moved(&self, cursor: Seq, durable: Seq) {
        self.with(|s| {
            s.cursor = cursor;
            s.backlog = durable.saturating_sub(cursor);
            s.oldest_unsent_at = None;
        });
    }

    pub(crate) fn cursor(&self) -> Seq {
        self.with(|s| s.cursor)
    }

    pub(crate) fn snapshot(&self, durable: Seq) -> DeliveryStatus {
        self.with(|s| {
            s.backlog = durable.saturating_sub(s.cursor);
            s.clone()
        })
    }
}
