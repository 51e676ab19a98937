//! How the gateway is doing: what the overview shows and what `GET /api/v1/status` answers. Names, counts and
//! times only; no message content and no sender.

use std::collections::BTreeMap;

use model::{FaultKind, Lane, Seq, Slug, StreamEpoch, Timestamp};
use serde::Serialize;

/// A snapshot. As JSON, times are RFC 3339 in UTC and absent values are `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The box's name.
    pub gateway: Slug,
    /// Version of the daemon.
    pub version: String,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Whether it takes records in and can keep them.
    pub ready: bool,
    /// What is missing where `ready` is false: one sentence each, for a person.
    pub not_ready_because: Vec<String>,
    /// The logs, most urgent first.
    pub lanes: Vec<LaneStatus>,
    /// The feeds, by name.
    pub feeds: Vec<FeedStatus>,
    /// The destinations, by name.
    pub destinations: Vec<DestinationStatus>,
    /// The file system that holds the logs.
    pub disk: Disk,
    /// How much of the held log's room is used by records that wait.
    pub held_log_used_percent: u64,
    /// How much of the journal's room is used; at 100 nothing can be audited, and nothing be changed.
    pub journal_used_percent: u64,
    /// Records in the held log that wait for a person.
    pub held: u64,
}

/// One lane's log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneStatus {
    /// Which.
    pub lane: Lane,
    /// The incarnation of its log.
    pub epoch: StreamEpoch,
    /// The last number that is on the disk; 0 for an empty log.
    pub last_durable: Seq,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes it may take before it refuses.
    pub budget_bytes: u64,
    /// How much of its room is used by what may not go yet; at 100 it refuses. Delivered records do not count.
    pub used_percent: u64,
}

/// One feed since the daemon started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeedStatus {
    /// Its name in the configuration.
    pub name: Slug,
    /// What it speaks: `mllp`, `mqtt`.
    pub kind: String,
    /// Where it listens, or the broker it reads from: `0.0.0.0:2575`.
    pub listen: String,
    /// Frames or messages that arrived.
    pub received: u64,
    /// New records made durable and acknowledged.
    pub accepted: u64,
    /// Identical resends answered from memory; no new record.
    pub duplicates: u64,
    /// Answered negatively.
    pub refused: u64,
    /// Connections open now.
    pub connections: u64,
    /// Faults between its senders and it, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// When the last one arrived.
    #[serde(with = "rfc3339")]
    pub last_received_at: Option<Timestamp>,
    /// Seconds since then, by the daemon's clock.
    pub silent_for_s: Option<u64>,
}

/// One destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DestinationStatus {
    /// Its name in the configuration.
    pub name: Slug,
    /// What it is: `lakehouse`, `mllp`.
    pub kind: String,
    /// The policy that shapes what it gets.
    pub policy: String,
    /// What it is doing.
    pub state: DestinationState,
    /// How far it has come in each lane.
    pub lanes: Vec<DestinationLane>,
    /// Records committed there since the daemon started.
    pub delivered: u64,
    /// Records skipped with a reason since the daemon started.
    pub skipped: u64,
    /// Of this destination's records, those that wait in the held log.
    pub held: u64,
    /// When the certificate ends with which the gateway presents itself there.
    #[serde(with = "rfc3339")]
    pub certificate_expires_at: Option<Timestamp>,
}

/// What a destination is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum DestinationState {
    /// Sending.
    Delivering,
    /// Nothing to send.
    Idle,
    /// It cannot be reached; it is tried again by itself.
    Unreachable {
        /// What happened and what to look at, in one or two sentences.
        why: String,
        /// Since when.
        #[serde(with = "rfc3339")]
        since: Option<Timestamp>,
    },
    /// The last attempt failed; it tries again by itself.
    Retrying {
        /// What happened, in one sentence.
        why: String,
        /// Since when nothing has gone through.
        #[serde(with = "rfc3339")]
        since: Option<Timestamp>,
    },
    /// It cannot go on until somebody acts.
    Blocked {
        /// What happened and what to do, in one or two sentences.
        why: String,
    },
}

/// How far one destination has come in one lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DestinationLane {
    /// Which lane.
    pub lane: Lane,
    /// The last number settled there.
    pub cursor: Seq,
    /// Records after it.
    pub backlog: u64,
    /// Seconds that the oldest of them has waited.
    pub oldest_unsent_age_s: Option<u64>,
}

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Bytes that the daemon may still take.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
    /// Of what the logs may take of it, how much is neither free nor could be freed.
    pub used_percent: u64,
}

impl Status {
    /// Records that some destination does not have yet, summed over destinations and lanes.
    pub fn backlog(&self) -> u64 {
        self.destinations.iter().map(DestinationStatus::backlog).sum()
    }

    /// The longest that any record has waited for any destination, in seconds.
    pub fn oldest_unsent_age_s(&self) -> Option<u64> {
        self.destinations.iter().filter_map(DestinationStatus::oldest_unsent_age_s).max()
    }

    /// The certificate that ends first.
    pub fn certificate_expires_at(&self) -> Option<Timestamp> {
        self.destinations.iter().filter_map(|d| d.certificate_expires_at).min()
    }
}

impl DestinationStatus {
    /// Records it does not have yet.
    pub fn backlog(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.backlog).sum()
    }

    /// The longest that one of them has waited, in seconds.
    pub fn oldest_unsent_age_s(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.oldest_unsent_age_s).max()
    }
}

/// Times as people and JSON libraries read them; inside the product they are microseconds.
mod rfc3339 {
    use model::Timestamp;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => to.collect_str(at),
            None => to.serialize_none(),
        }
    }
}
