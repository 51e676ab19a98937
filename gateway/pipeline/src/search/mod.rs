//! Search: which records belong to a patient, a visit, an order, a control id, a type, a device, a feed or a time.
//!
//! **Promise.** An answer holds every kept record that has all that is asked for, the newest first up to the limit, and no
//! other; what was not looked at is named ([`Found::left_out`]). The values asked for go nowhere: they are compared
//! here, and no log, audit entry, metric or error has them. That somebody searched, and by what, is audited first.
//!
//! **Limits.** [`RECORDS_MAX`] records of an answer; [`VALUE_BYTES_MAX`] bytes of a value; one search at a time.

mod indexer;
mod keys;

use std::fmt;
use std::sync::Arc;

use model::{AuditAction, AuditEvent, Envelope, Lane, RecordId, Slug, Timestamp, codec};
use serde::{Deserialize, Serialize};
use spool::{Searched, Wanted};

use crate::trace::{Fate, as_text};
use crate::{Error, Handle};
use keys::{Kind, key, shown_type};

pub(crate) use indexer::Indexer;
pub(crate) use keys::RecordKeys;

/// Most records of one answer.
pub const RECORDS_MAX: usize = 1_000;
/// Longest value that is asked for.
pub const VALUE_BYTES_MAX: usize = 256;
/// Records of an answer where nothing else is asked for.
const RECORDS: usize = 100;

/// What to look for: all that is given must fit. Values are compared byte for byte.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// An identifier of the patient: PID-3.1, Patient.identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mrn: Option<String>,
    /// The visit: PV1-19.1, Encounter.identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<String>,
    /// The order, by its placer's or filler's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The message's own id: MSH-10, Bundle.id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_id: Option<String>,
    /// The device, as its topic names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The type: `ADT^A08`, `ADT`, `Observation`, the id of a device profile.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<Slug>,
    /// Stored at this time or later, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Stored before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// At most so many, the newest; 100 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query(by {})", self.by())
    }
}

impl Query {
    /// What is asked for with its key, the most telling first.
    fn values(&self) -> impl Iterator<Item = (&'static str, Kind, &str)> {
        [
            ("control id", Kind::ControlId, self.control_id.as_deref()),
            ("order", Kind::Order, self.order.as_deref()),
            ("visit", Kind::Visit, self.visit.as_deref()),
            ("mrn", Kind::Mrn, self.mrn.as_deref()),
            ("device", Kind::Device, self.device.as_deref()),
            ("type", Kind::Type, self.kind.as_deref()),
            ("feed", Kind::Feed, self.feed.as_ref().map(Slug::as_str)),
        ]
        .into_iter()
        .filter_map(|(name, kind, value)| Some((name, kind, value?)))
    }

    /// By what is searched, without any value.
    fn by(&self) -> String {
        let names = self.values().map(|(name, _, _)| name);
        let times = [("from", self.from.is_some()), ("to", self.to.is_some())];
        let all: Vec<&str> =
            names.chain(times.into_iter().filter_map(|(name, is_given)| is_given.then_some(name))).collect();
        all.join(", ")
    }

    fn check(&self) -> Result<(), Error> {
        let bad = |why| Err(Error::NotSearchable { why });
        if self.by().is_empty() {
            return bad("nothing is asked for");
        }
        if self.values().any(|(_, _, value)| value.trim().is_empty()) {
            return bad("a value that is asked for is empty");
        }
        if self.values().any(|(_, _, value)| value.len() > VALUE_BYTES_MAX) {
            return bad("a value that is asked for is longer than 256 bytes");
        }
        if self.limit.is_some_and(|limit| !(1..=RECORDS_MAX).contains(&limit)) {
            return bad("the limit is from 1 to 1000");
        }
        Ok(())
    }
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundRecord {
    /// Its name.
    pub id: RecordId,
    /// When it was stored.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// When its first byte arrived.
    #[serde(serialize_with = "as_text")]
    pub received_at: Timestamp,
    /// Its feed.
    pub feed: Slug,
    /// What it is.
    pub format: &'static str,
    /// Its type, as far as it has one.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Size of the payload in bytes.
    pub bytes: u64,
    /// What became of it, by destination.
    pub destinations: Vec<Fate>,
}

/// Numbers of a lane that were not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The lane.
    pub lane: Lane,
    /// First number.
    pub first: u64,
    /// Last number, inclusive.
    pub last: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The newest first.
    pub records: Vec<FoundRecord>,
    /// There may be older ones: the limit was reached.
    pub is_limited: bool,
    /// Not looked at: not indexed yet, or damaged.
    pub left_out: Vec<LeftOut>,
}

impl Handle {
    /// Searches, audited first.
    ///
    /// # Errors
    /// [`Error::NotSearchable`]; [`Error::Audit`]: nothing was searched; storage errors.
    pub async fn search(&self, query: Query, actor: &str) -> Result<Found, Error> {
        query.check()?;
        let _one_at_a_time = self.searching.lock().await;
        let (handle, actor) = (self.clone(), actor.to_owned());
        tokio::task::spawn_blocking(move || handle.search_blocking(&query, actor))
            .await
            .unwrap_or(Err(Error::Spool(spool::Error::Internal("a search failed"))))
    }

    fn search_blocking(&self, query: &Query, actor: String) -> Result<Found, Error> {
        let event = AuditEvent {
            at: self.clock.now(),
            actor,
            action: AuditAction::Searched,
            subject: "records".to_owned(),
            detail: format!("by {}", query.by()),
        };
        self.spool.audit().record(&event)?;
        let keys: Vec<Vec<u8>> = query.values().map(|(_, kind, value)| key(kind, value)).collect();
        let limit = query.limit.unwrap_or(RECORDS);
        let wanted = Wanted { keys: &keys, from: query.from, to: query.to, limit };
        let keyed = RecordKeys::new(Arc::clone(&self.feeds));
        let mut out = Found { records: Vec::new(), is_limited: false, left_out: Vec::new() };
        for lane in Lane::ALL {
            let records = &mut out.records;
            let Searched { left_out, is_limited } =
                self.spool.lane(lane).search(&wanted, &keyed, &mut |record| {
                    if let Ok(envelope) = codec::decode::<Envelope>(&record.meta) {
                        let provenance = envelope.provenance;
                        records.push(FoundRecord {
                            id: RecordId { lane, epoch: record.epoch, seq: record.seq },
                            at: record.at,
                            received_at: provenance.received_at,
                            feed: provenance.feed,
                            format: provenance.format.as_str(),
                            kind: shown_type(&keyed, record),
                            bytes: record.payload.len(),
                            destinations: Vec::new(),
                        });
                    }
                })?;
            out.is_limited |= is_limited;
            out.left_out.extend(left_out.into_iter().map(|(first, last)| LeftOut { lane, first, last }));
        }
        out.records.sort_by_key(|record| std::cmp::Reverse((record.at, record.id.seq)));
        out.is_limited |= out.records.len() > limit;
        out.records.truncate(limit);
        for record in &mut out.records {
            record.destinations = self.fates(record.id)?;
        }
        Ok(out)
    }
}
