//! The running feeds: one line here per kind of source.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{FaultKind, Slug, Timestamp};
use sources::{http, mllp, mqtt};
use tls::Listening;
use web::FeedStatus;

/// A running feed.
#[derive(Debug)]
pub(crate) struct FeedHandle {
    pub(crate) name: Slug,
    pub(crate) source: SourceHandle,
}

/// A running source.
#[derive(Debug)]
pub(crate) enum SourceHandle {
    Mllp(mllp::Handle),
    Mqtt { broker: String, handle: mqtt::Handle },
    Fhir(http::Handle),
}

impl FeedHandle {
    /// The counters of an MLLP listener.
    pub(crate) fn mllp(&self) -> Option<mllp::Stats> {
        match &self.source {
            SourceHandle::Mllp(handle) => Some(handle.stats()),
            SourceHandle::Mqtt { .. } | SourceHandle::Fhir(_) => None,
        }
    }

    /// What the feed's listener shows over TLS, where it has one.
    pub(crate) fn listening(&self) -> Option<&Arc<Listening>> {
        match &self.source {
            SourceHandle::Mllp(handle) => handle.listening(),
            SourceHandle::Fhir(handle) => handle.listening(),
            SourceHandle::Mqtt { .. } => None,
        }
    }

    pub(crate) fn status(
        &self,
        last_received_at: Option<Timestamp>,
        faults: BTreeMap<FaultKind, u64>,
        now: Timestamp,
    ) -> FeedStatus {
        let silent_for_s =
            last_received_at.and_then(|at| u64::try_from(now.micros_since(at) / 1_000_000).ok());
        match &self.source {
            SourceHandle::Mllp(handle) => {
                let s = handle.stats();
                FeedStatus {
                    name: self.name.clone(),
                    kind: "mllp".to_owned(),
                    listen: handle.local_addr().to_string(),
                    received: s.frames,
                    accepted: s.accepted,
                    duplicates: s.duplicates,
                    refused: s.refused,
                    connections: s.connections,
                    faults,
                    last_received_at,
                    silent_for_s,
                }
            }
            SourceHandle::Fhir(handle) => {
                let s = handle.stats();
                FeedStatus {
                    name: self.name.clone(),
                    kind: "fhir".to_owned(),
                    listen: handle.local_addr().to_string(),
                    received: s.received,
                    accepted: s.accepted,
                    duplicates: s.duplicates,
                    refused: s.refused,
                    connections: s.connections,
                    faults,
                    last_received_at,
                    silent_for_s,
                }
            }
            SourceHandle::Mqtt { broker, handle } => {
                let s = handle.stats();
                FeedStatus {
                    name: self.name.clone(),
                    kind: "mqtt".to_owned(),
                    listen: broker.clone(),
                    received: s.received,
                    accepted: s.accepted,
                    duplicates: s.redelivered,
                    refused: s.refused,
                    connections: u64::from(s.connected),
                    faults,
                    last_received_at,
                    silent_for_s,
                }
            }
        }
    }
}
