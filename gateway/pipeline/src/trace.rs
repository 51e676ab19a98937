//! What became of one record: from its arrival to its row.
//!
//! **Names.** A number of a log can have several names: the one it arrived under, and one for each epoch in which it
//! went to a destination (ADR 0001). All of them lead here, and what landed is named as its row is. A name that this
//! number never had belongs to another disk's record, and is refused: the wrong patient would be worse than no answer.

use model::{
    Envelope, Flag, Format, PolicyRef, Provenance, Reason, RecordId, Slug, StreamEpoch, Timestamp, codec,
};
use serde::Serialize;
use spool::Entry;

use crate::cursor::Settled;
use crate::routing::Verdict;
use crate::{Error, Handle, Watched};

/// The life of one record. Names what an operator may see without the right to see patients: ids, times, sizes.
#[derive(Debug, Clone, Serialize)]
pub struct Trace {
    /// The record.
    pub id: RecordId,
    /// How it came; `None` when it is no longer kept, or damaged.
    pub arrival: Option<Arrival>,
    /// What became of it, by destination.
    pub destinations: Vec<Fate>,
    /// What the routes of its feed say of it today; what was committed stays as it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Verdict>,
}

/// How a record came.
#[derive(Debug, Clone, Serialize)]
pub struct Arrival {
    /// The feed.
    pub feed: Slug,
    /// The sender, as the transport knows it.
    pub peer: String,
    /// When its first byte arrived.
    #[serde(serialize_with = "as_text")]
    pub received_at: Timestamp,
    /// What it is.
    pub format: &'static str,
    /// Size of the payload in bytes.
    pub bytes: u64,
    /// The record it is a copy of.
    pub origin: Option<RecordId>,
    /// What is unusual about it.
    pub flags: Vec<Flag>,
}

/// What became of a record at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// The destination.
    pub destination: Slug,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The states of a record at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// Not settled yet: so many numbers stand before it.
    Pending {
        /// Numbers to be settled before it.
        ahead: u64,
    },
    /// Not settled, and never will be sent: older than the limit of its lane. The destination learns of the gap when it
    /// is reached.
    GivenUp,
    /// A row of the destination's `raw` table.
    Landed {
        /// The row's `record_id`.
        record: RecordId,
        /// First number of its batch.
        first: u64,
        /// Last number of its batch.
        last: u64,
        /// The batch's committed manifest.
        manifest_sha256: String,
        /// Version of the `raw` table; `None` when learnt from a watermark.
        table_version: Option<u64>,
        /// When it was committed; `None` when learnt from a watermark.
        #[serde(serialize_with = "as_text_option")]
        committed_at: Option<Timestamp>,
        /// The policy that shaped it.
        policy: Option<PolicyRef>,
    },
    /// No row, for this reason.
    Skipped {
        /// Why.
        reason: Reason,
        /// The committed manifest that says so.
        manifest_sha256: String,
        /// It stands in the held log, waiting for a person.
        held: bool,
        /// What a person decided about it, as long as this box remembers.
        decision: Option<Decision>,
    },
    /// Arrived before the destination began.
    BeforeBeginning,
    /// Settled, but longer ago than this box remembers; the destination's ledger knows.
    Forgotten,
}

/// What was decided about a held record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The copy that is on its way instead; `None` where it was dismissed.
    pub released_as: Option<RecordId>,
    /// Who decided; `system` where a record followed an earlier one of its subject.
    pub actor: String,
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
}

impl Handle {
    /// What became of a record.
    ///
    /// # Errors
    /// [`Error::NotKept`] when this log never had it, or never under this name; storage errors.
    pub async fn trace(&self, id: RecordId) -> Result<Trace, Error> {
        let (mut arrival, mut routes) = (None, Vec::new());
        if let Some(Entry::Record(record)) = self.named(id).await?
            && let Ok(Envelope { provenance, flags, .. }) = codec::decode::<Envelope>(&record.meta)
        {
            routes = self.routes(&provenance, &record).await;
            arrival = Some(Arrival {
                feed: provenance.feed,
                peer: provenance.peer,
                received_at: provenance.received_at,
                format: provenance.format.as_str(),
                bytes: record.payload.len(),
                origin: provenance.origin,
                flags,
            });
        }
        Ok(Trace { id, arrival, destinations: self.fates(id)?, routes })
    }

    /// What became of a record at each destination.
    pub(crate) fn fates(&self, id: RecordId) -> Result<Vec<Fate>, Error> {
        let of_lane = self.watched.iter().filter(|w| w.lane == id.lane);
        of_lane
            .map(|w| Ok(Fate { destination: w.destination.clone(), outcome: self.outcome(w, id)? }))
            .collect()
    }

    /// What the routes of its feed say of a record today; nothing where the feed has none or it cannot be read.
    async fn routes(&self, provenance: &Provenance, record: &spool::Record) -> Vec<Verdict> {
        let Some(feed) = self.feeds.get(&provenance.feed) else { return Vec::new() };
        let Some(router) = &feed.routes else { return Vec::new() };
        if provenance.format != Format::Hl7v2 {
            return Vec::new();
        }
        let Ok(payload) = record.payload.bytes().await else { return Vec::new() };
        hl7::Message::decode(payload, feed.charset)
            .map(|message| router.explain(&message))
            .unwrap_or_default()
    }

    /// The entry of this name.
    pub(crate) async fn named(&self, id: RecordId) -> Result<Option<Entry>, Error> {
        let log = self.spool.lane(id.lane);
        if id.seq == 0 || id.seq > *log.durable().borrow() || id.epoch > log.epoch() {
            return Err(Error::NotKept { id });
        }
        let entry = match log.get(id.seq).await {
            // What became of it is still known.
            Err(spool::Error::Freed { .. }) => None,
            entry => entry?,
        };
        let mut names: Vec<StreamEpoch> = Vec::new();
        if let Some(Entry::Record(record)) = &entry {
            names.push(record.epoch);
        }
        for watched in self.watched.iter().filter(|w| w.lane == id.lane) {
            names.extend(watched.settled(id)?.map(|settled| settled.epoch));
        }
        // Under today's epoch it may have been held, or will be sent.
        if names.is_empty() || names.contains(&id.epoch) || id.epoch == log.epoch() {
            Ok(entry)
        } else {
            Err(Error::NotKept { id })
        }
    }

    /// The name under which a destination has the record, or will get it.
    pub(crate) fn name_at(&self, destination: &Slug, id: RecordId) -> Result<RecordId, Error> {
        let Some(watched) = self.watched.iter().find(|w| w.lane == id.lane && &w.destination == destination)
        else {
            return Ok(id);
        };
        let epoch = match watched.settled(id)? {
            Some(settled) => settled.epoch,
            None if id.seq > watched.gauge.cursor() => self.spool.lane(id.lane).epoch(),
            None => id.epoch,
        };
        Ok(RecordId { epoch, ..id })
    }

    fn outcome(&self, watched: &Watched, id: RecordId) -> Result<Outcome, Error> {
        let cursor = watched.gauge.cursor();
        if id.seq <= watched.began_after {
            return Ok(Outcome::BeforeBeginning);
        }
        if id.seq > cursor && id.seq <= self.retention.given_up(id.lane) {
            return Ok(Outcome::GivenUp);
        }
        if id.seq > cursor {
            return Ok(Outcome::Pending { ahead: id.seq.saturating_sub(cursor).saturating_sub(1) });
        }
        let Some(settled) = watched.settled(id)? else { return Ok(Outcome::Forgotten) };
        let record = RecordId { epoch: settled.epoch, ..id };
        Ok(match settled.reason(id.seq) {
            Some(reason) => Outcome::Skipped {
                reason,
                manifest_sha256: settled.manifest_sha256,
                held: self.held.holds(&watched.destination, record),
                decision: self.held.decision(&watched.destination, record),
            },
            None => Outcome::Landed {
                record,
                first: settled.first,
                last: settled.last,
                manifest_sha256: settled.manifest_sha256,
                table_version: settled.table_version,
                committed_at: settled.committed_at,
                policy: settled.policy,
            },
        })
    }
}

impl Watched {
    /// The batch in which this destination has settled the number, if it is remembered.
    fn settled(&self, id: RecordId) -> Result<Option<Settled>, Error> {
        if id.seq > self.gauge.cursor() {
            return Ok(None);
        }
        let Some(stored) = self.cursors.load()? else { return Ok(None) };
        self.cursors.find(&stored, id.seq)
    }
}

pub(crate) fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[expect(clippy::ref_option, reason = "the signature that serialize_with asks for")]
fn as_text_option<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
