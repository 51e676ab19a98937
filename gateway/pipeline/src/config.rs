//! What the pipeline needs of the configuration, resolved.

use std::sync::Arc;

use deid::Policy;
use model::{Lane, RecordId, Slug};

use crate::consent::{Asked, Codes};
use crate::routing::Router;

/// One feed.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Its name.
    pub name: Slug,
    /// The lane its records go to.
    pub lane: Lane,
    /// The destinations it is routed to; `None` for all.
    pub destinations: Option<Vec<Slug>>,
    /// Which message goes where; it takes the place of `destinations`. HL7 feeds alone.
    pub routes: Option<Arc<Router>>,
    /// Topic filters by which a device is named (MQTT feeds).
    pub device_topics: Vec<String>,
    /// What its HL7 messages are configured to be in; `None` for what each message says or shows.
    pub charset: Option<hl7::Charset>,
    /// Its codes that are about consent.
    pub consent: Codes,
}

impl Feed {
    /// Whether any of its records may go to the destination.
    pub(crate) fn may_lead_to(&self, destination: &Slug) -> bool {
        match (&self.routes, &self.destinations) {
            (Some(routes), _) => routes.names(destination),
            (None, Some(listed)) => listed.contains(destination),
            (None, None) => true,
        }
    }
}

/// Where a new destination begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next record that arrives.
    #[default]
    Now,
    /// With the oldest record that is still kept.
    Oldest,
    /// With this record; the other lanes as [`Start::Now`].
    At(RecordId),
}

/// One destination with the policy that shapes what it gets.
#[derive(Debug)]
pub struct Route<D> {
    /// Its name.
    pub name: Slug,
    /// What it may have.
    pub policy: Arc<Policy>,
    /// How it is reached.
    pub destination: Arc<D>,
    /// Where it begins when it is new.
    pub start: Start,
    /// Whether consent is asked for, and how.
    pub consent: Option<Asked>,
    /// The limits of a batch.
    pub batch: BatchLimits,
}

/// When a batch is full. A batch that is not full goes out when the log has nothing more and `linger` is over.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most records.
    pub records_max: usize,
    /// Most payload bytes, uncompressed; a single larger record goes alone.
    pub bytes_max: usize,
    /// How long a batch that is not full waits for more. The urgent lane never waits.
    pub linger: std::time::Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records_max: 5_000, bytes_max: 4 << 20, linger: std::time::Duration::from_millis(100) }
    }
}
