//! What could not be released: copied durably to the held log before its number is skipped in the stream, and
//! kept there until a person releases, edits or dismisses it.
//!
//! **Invariants.**
//! - Per destination a record is held once, however often its batch was rebuilt.
//! - While a subject (a patient, a device) has a held record for a destination, its later records follow it into
//!   the held log, so that order per subject survives a release. Order is by the record a copy goes back to: a
//!   copy waits for held records older than its origin, an original waits also for copies that stand behind it in
//!   the lane; the latter is copied behind them at once, without a person.
//! - Releasing appends new records to the lane, in the subject's order, before the held ones count as resolved:
//!   a crash in between repeats a release, it never forgets one.
//!
//! **Format.** The held log's envelopes are CBOR of `HeldEntry`; the payload is the record's, unchanged.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::{
    AuditAction, AuditEvent, Clock, Envelope, Format, Lane, Provenance, Reason, RecordId, Seq, Slug,
    Timestamp, codec,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use spool::{Entry, Payload, Spool};

use crate::{Decision, Error};

/// Decisions about held records that are remembered for `trace`; the audit log keeps all of them.
const DECISIONS_MAX: usize = 20_000;

/// Whose record it is: a keyed digest, the same for all records of a patient (or device) on this box.
pub(crate) type Subject = [u8; 16];

/// One held record, for lists. No content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldItem {
    /// The record.
    pub id: RecordId,
    /// The destination that does not get it.
    pub destination: Slug,
    /// The feed it came by.
    pub feed: Slug,
    /// The reason that stands in the stream.
    pub reason: Reason,
    /// For a person: what has to be mended. No content.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
    /// Size of the payload.
    pub bytes: u64,
}

/// What a person decided about a held record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Resolution {
    Released(RecordId),
    Dismissed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum HeldEntry {
    Held { item: HeldItem, subject: Option<ByteBuf>, envelope: Box<Envelope> },
    Resolved { held: Seq, how: Resolution, actor: String, at: Timestamp },
}

#[derive(Debug)]
struct Open {
    item: HeldItem,
    subject: Option<Subject>,
    /// The record this one goes back to: its place in the subject's order.
    place: RecordId,
}

/// Something that later records of a subject have to wait for.
#[derive(Debug)]
struct Blocker {
    held: Seq,
    place: RecordId,
    /// The copy that is on its way; `None` while the record is held.
    released_as: Option<RecordId>,
}

#[derive(Debug, Default)]
struct Index {
    /// By number in the held log.
    open: BTreeMap<Seq, Open>,
    by_record: HashMap<(Slug, RecordId), Seq>,
    subjects: HashMap<(Slug, Subject), Vec<Blocker>>,
    /// What was decided, and in which order, oldest first.
    decided: HashMap<(Slug, RecordId), Decision>,
    decided_in_order: VecDeque<(Slug, RecordId)>,
}

impl Index {
    fn insert(&mut self, seq: Seq, item: HeldItem, subject: Option<Subject>, origin: Option<RecordId>) {
        let place = origin.unwrap_or(item.id);
        let earlier = self.by_record.insert((item.destination.clone(), item.id), seq);
        // Written when the disk said that it was not, and then again: the later is the one that was decided about.
        if let Some(twin) = earlier.and_then(|earlier| self.open.remove(&earlier).map(|_| earlier)) {
            self.subjects.retain(|(name, _), blockers| {
                if *name == item.destination {
                    blockers.retain(|b| b.held != twin);
                }
                !blockers.is_empty()
            });
        }
        if let Some(subject) = subject {
            let blockers = self.subjects.entry((item.destination.clone(), subject)).or_default();
            blockers.push(Blocker { held: seq, place, released_as: None });
        }
        self.open.insert(seq, Open { item, subject, place });
    }

    fn resolve(&mut self, seq: Seq, how: &Resolution, actor: &str, at: Timestamp) {
        let Some(open) = self.open.remove(&seq) else { return };
        self.by_record.remove(&(open.item.destination.clone(), open.item.id));
        let released_as = if let Resolution::Released(copy) = how { Some(*copy) } else { None };
        self.decide(
            (open.item.destination.clone(), open.item.id),
            Decision { released_as, actor: actor.to_owned(), at },
        );
        let Some(subject) = open.subject else { return };
        let key = (open.item.destination, subject);
        let Some(blockers) = self.subjects.get_mut(&key) else { return };
        match how {
            Resolution::Released(copy) => {
                for blocker in blockers.iter_mut().filter(|b| b.held == seq) {
                    blocker.released_as = Some(*copy);
                }
            }
            Resolution::Dismissed => blockers.retain(|b| b.held != seq),
        }
        if blockers.is_empty() {
            self.subjects.remove(&key);
        }
    }

    fn decide(&mut self, about: (Slug, RecordId), decision: Decision) {
        if self.decided.insert(about.clone(), decision).is_some() {
            self.decided_in_order.retain(|earlier| *earlier != about);
        }
        self.decided_in_order.push_back(about);
        if self.decided_in_order.len() > DECISIONS_MAX
            && let Some(oldest) = self.decided_in_order.pop_front()
        {
            self.decided.remove(&oldest);
        }
    }

    fn blocks(&self, destination: &Slug, subject: Subject, id: RecordId, origin: Option<RecordId>) -> bool {
        let Some(blockers) = self.subjects.get(&(destination.clone(), subject)) else { return false };
        blockers.iter().any(|b| match origin {
            Some(origin) => b.released_as.is_none() && b.place < origin,
            None => b.released_as.is_none_or(|copy| copy > id),
        })
    }

    /// Is everything that the subject's record waits for on its way already?
    fn only_copies_before(&self, destination: &Slug, subject: Subject, held: Seq) -> bool {
        let Some(blockers) = self.subjects.get(&(destination.clone(), subject)) else { return false };
        blockers.iter().all(|b| b.held == held || b.released_as.is_some())
    }
}

/// A record to be held.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) id: RecordId,
    pub(crate) reason: Reason,
    pub(crate) why: String,
    pub(crate) subject: Option<Subject>,
    /// Held only because an earlier record of its subject is.
    pub(crate) follows: bool,
    pub(crate) envelope: Envelope,
    /// Copied as a stream where it is no record of the wire.
    pub(crate) payload: Payload,
}

/// What a person made of a held record.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) bytes: Bytes,
    /// What the record's feed is configured to be in: the copy is read as the feed's messages are.
    pub(crate) charset: Option<hl7::Charset>,
}

/// The held log and its index; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    index: Arc<Mutex<Index>>,
}

impl Held {
    /// Reads the held log.
    pub(crate) async fn load(spool: Arc<Spool>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut index = Index::default();
        let log = spool.held();
        let mut reader = log.reader(log.oldest());
        while let Some(entry) = reader.next().await? {
            let Entry::Record(record) = entry else { continue };
            match codec::decode::<HeldEntry>(&record.meta)? {
                HeldEntry::Held { item, subject, envelope } => {
                    let subject = subject.and_then(|s| Subject::try_from(s.as_slice()).ok());
                    index.insert(record.seq, item, subject, envelope.provenance.origin);
                }
                HeldEntry::Resolved { held, how, actor, at } => index.resolve(held, &how, &actor, at),
            }
        }
        let held = Self { spool, clock, index: Arc::new(Mutex::new(index)) };
        held.let_go();
        Ok(held)
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the record have to wait for an earlier one of its subject?
    pub(crate) fn blocks(
        &self,
        destination: &Slug,
        subject: Subject,
        id: RecordId,
        origin: Option<RecordId>,
    ) -> bool {
        self.index().blocks(destination, subject, id, origin)
    }

    /// The destination has everything of the lane up to `seq`: copies up to there block nobody any more.
    pub(crate) fn settled(&self, destination: &Slug, lane: Lane, seq: Seq) {
        let mut index = self.index();
        index.subjects.retain(|(name, _), blockers| {
            if name == destination {
                blockers.retain(|b| b.released_as.is_none_or(|copy| copy.lane != lane || copy.seq > seq));
            }
            !blockers.is_empty()
        });
    }

    /// Copies a record to the held log, unless it stands there for this destination already. Durable on return.
    pub(crate) async fn hold(&self, destination: &Slug, hold: Hold) -> Result<(), Error> {
        if self.index().by_record.contains_key(&(destination.clone(), hold.id)) {
            return Ok(());
        }
        let mut item = HeldItem {
            id: hold.id,
            destination: destination.clone(),
            feed: hold.envelope.provenance.feed.clone(),
            reason: hold.reason,
            why: hold.why,
            at: self.clock.now(),
            bytes: hold.payload.len(),
        };
        let origin = hold.envelope.provenance.origin;
        let (subject, envelope) = (hold.subject.map(|s| ByteBuf::from(s.to_vec())), Box::new(hold.envelope));
        let entry = |item: &HeldItem| {
            let (item, subject, envelope) = (item.clone(), subject.clone(), envelope.clone());
            codec::encode(&HeldEntry::Held { item, subject, envelope })
        };
        let log = self.spool.held();
        let seq = match log.append_payload(entry(&item)?, &hold.payload).await {
            // An object is read only now. What is left of it is that it was here: that must not stop the lane.
            Err(spool::Error::Damaged { .. }) => {
                item.why = "its bytes are damaged on the disk, so that there is nothing to hold".to_owned();
                item.bytes = 0;
                let detail = format!("the payload of {} cannot be read", hold.id);
                self.audit("system", AuditAction::RecordDamaged, hold.id, detail)?;
                log.append(entry(&item)?, &[]).await?
            }
            done => done?,
        };
        let on_its_way = {
            let mut index = self.index();
            index.insert(seq, item, hold.subject, origin);
            hold.follows && hold.subject.is_some_and(|s| index.only_copies_before(destination, s, seq))
        };
        if on_its_way {
            self.release(destination, hold.id, None, "system").await?;
        }
        Ok(())
    }

    /// The reason for which the record is held for this destination.
    pub(crate) fn reason(&self, destination: &Slug, id: RecordId) -> Option<Reason> {
        let index = self.index();
        let seq = index.by_record.get(&(destination.clone(), id))?;
        index.open.get(seq).map(|open| open.item.reason)
    }

    /// Is the record held for this destination?
    pub(crate) fn holds(&self, destination: &Slug, id: RecordId) -> bool {
        self.index().by_record.contains_key(&(destination.clone(), id))
    }

    /// What was decided about the record, if it was held for this destination and that is remembered.
    pub(crate) fn decision(&self, destination: &Slug, id: RecordId) -> Option<Decision> {
        self.index().decided.get(&(destination.clone(), id)).cloned()
    }

    /// All held records, oldest first.
    pub(crate) fn list(&self) -> Vec<HeldItem> {
        self.index().open.values().map(|open| open.item.clone()).collect()
    }

    /// How many are held for a destination.
    pub(crate) fn count(&self, destination: &Slug) -> u64 {
        self.index().open.values().filter(|open| &open.item.destination == destination).count() as u64
    }

    /// How many are held in all.
    pub(crate) fn total(&self) -> u64 {
        self.index().open.len() as u64
    }

    /// The bytes of a held record, for a person.
    pub(crate) async fn payload(
        &self,
        destination: &Slug,
        id: RecordId,
        actor: &str,
    ) -> Result<Bytes, Error> {
        let seq = self.find(destination, id)?;
        self.audit(actor, AuditAction::RecordRead, id, format!("held for {destination}"))?;
        Ok(self.read(seq).await?.2)
    }

    fn find(&self, destination: &Slug, id: RecordId) -> Result<Seq, Error> {
        self.index()
            .by_record
            .get(&(destination.clone(), id))
            .copied()
            .ok_or_else(|| Error::NotHeld { id, destination: destination.clone() })
    }

    async fn read(&self, seq: Seq) -> Result<(HeldItem, Envelope, Bytes), Error> {
        if let Some(Entry::Record(record)) = self.spool.held().get(seq).await?
            && let HeldEntry::Held { item, envelope, .. } = codec::decode(&record.meta)?
        {
            return Ok((item, *envelope, record.payload.bytes().await?));
        }
        Err(Error::HeldDamaged)
    }

    /// The feed of a held record.
    pub(crate) fn feed(&self, destination: &Slug, id: RecordId) -> Result<Slug, Error> {
        let seq = self.find(destination, id)?;
        let index = self.index();
        index.open.get(&seq).map(|open| open.item.feed.clone()).ok_or(Error::HeldDamaged)
    }

    /// Sends a held record on its way again: a new record with the same (or the edited) bytes, for this
    /// destination alone. The subject's later held records follow in their order. Today's policy decides again;
    /// what it still cannot release is held again under its new name. An edited copy that cannot be read as what it
    /// is to be is refused, and nothing changes.
    pub(crate) async fn release(
        &self,
        destination: &Slug,
        id: RecordId,
        edited: Option<Edited>,
        actor: &str,
    ) -> Result<Vec<RecordId>, Error> {
        let first = self.find(destination, id)?;
        let mut edited = match edited {
            None => None,
            Some(edited) => {
                let (_, envelope, _) = self.read(first).await?;
                Some((edited.readable_as(envelope.provenance.format)?, edited.bytes))
            }
        };
        let followers: Vec<Seq> = {
            let index = self.index();
            let subject = index.open.get(&first).and_then(|open| open.subject);
            let place = index.open.get(&first).map_or(id, |open| open.place);
            let mut followers: Vec<(RecordId, Seq)> = index
                .open
                .iter()
                .filter(|(seq, open)| {
                    **seq != first
                        && subject.is_some()
                        && open.subject == subject
                        && &open.item.destination == destination
                        && open.item.id.lane == id.lane
                        && open.place > place
                })
                .map(|(seq, open)| (open.place, *seq))
                .collect();
            followers.sort_unstable();
            followers.into_iter().map(|(_, seq)| seq).collect()
        };
        let mut new = Vec::with_capacity(followers.len() + 1);
        for seq in std::iter::once(first).chain(followers) {
            let (item, envelope, payload) = self.read(seq).await?;
            let mut provenance = envelope.provenance;
            let (payload, what) = match edited.take() {
                Some((format, mended)) => {
                    provenance.format = format;
                    (mended, "edited and released")
                }
                None => (payload, "released"),
            };
            // In the audit log first: what cannot be audited must not happen.
            self.audit(actor, AuditAction::RecordReplayed, item.id, format!("{what} to {destination}"))?;
            let record = append_copy(&self.spool, item.id, &provenance, destination, &payload).await?;
            self.resolve(seq, Resolution::Released(record), actor).await?;
            new.push(record);
        }
        Ok(new)
    }

    /// A person decided that the destination shall not have the record.
    pub(crate) async fn dismiss(&self, destination: &Slug, id: RecordId, actor: &str) -> Result<(), Error> {
        let seq = self.find(destination, id)?;
        self.audit(actor, AuditAction::RecordDismissed, id, format!("dismissed for {destination}"))?;
        self.resolve(seq, Resolution::Dismissed, actor).await
    }

    async fn resolve(&self, held: Seq, how: Resolution, actor: &str) -> Result<(), Error> {
        let entry = HeldEntry::Resolved { held, how, actor: actor.to_owned(), at: self.clock.now() };
        self.spool.held().append(codec::encode(&entry)?, &[]).await?;
        let HeldEntry::Resolved { how, at, .. } = entry else { return Ok(()) };
        self.index().resolve(held, &how, actor, at);
        self.let_go();
        Ok(())
    }

    /// What stands before the oldest record that is still held may leave the log.
    fn let_go(&self) {
        let oldest_open = self.index().open.keys().next().copied();
        let durable = *self.spool.held().durable().borrow();
        let settled = oldest_open.map_or(durable, |oldest| oldest.saturating_sub(1));
        self.spool.held().free_through(settled, self.clock.now());
    }

    fn audit(&self, actor: &str, action: AuditAction, id: RecordId, detail: String) -> Result<(), Error> {
        let event = AuditEvent {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action,
            subject: id.to_string(),
            detail,
        };
        Ok(self.spool.audit().record(&event)?)
    }
}

impl Edited {
    /// What an edited copy is. What was no message must be one now that a person has mended it.
    fn readable_as(&self, format: Format) -> Result<Format, Error> {
        let unreadable = |why: String| Error::EditUnreadable { why };
        match format {
            Format::Hl7v2 | Format::Unparsed => hl7::Message::decode(self.bytes.clone(), self.charset)
                .map(|_| Format::Hl7v2)
                .map_err(|error| unreadable(error.to_string())),
            Format::Fhir if fhir::resource_type(&self.bytes).is_none() => {
                Err(unreadable("not a resource of FHIR R4 as JSON".to_owned()))
            }
            Format::Fhir | Format::Device(_) => Ok(format),
        }
    }
}

/// Appends a copy of a record for one destination, with the original as its origin.
pub(crate) async fn append_copy(
    spool: &Spool,
    original: RecordId,
    provenance: &Provenance,
    destination: &Slug,
    payload: &[u8],
) -> Result<RecordId, Error> {
    let lane: Lane = original.lane;
    // The origin of a copy of a copy is the first: `newest per origin` must find them all.
    let origin = provenance.origin.unwrap_or(original);
    let envelope = Envelope {
        provenance: Provenance { origin: Some(origin), ..provenance.clone() },
        only: Some(vec![destination.clone()]),
        identity: None,
        reply: None,
        sequenced: None,
        flags: Vec::new(),
    };
    let log = spool.lane(lane);
    let seq = log.append(codec::encode(&envelope)?, payload).await?;
    Ok(RecordId { lane, epoch: log.epoch(), seq })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::support::{TestClock, open_spool, slug};

    fn hold(seq: Seq, subject: Subject) -> Hold {
        let provenance = Provenance {
            feed: slug("adt"),
            peer: String::new(),
            channel: String::new(),
            received_at: Timestamp::from_micros(1),
            format: Format::Hl7v2,
            origin: None,
        };
        let (only, identity, reply, sequenced, flags) = (None, None, None, None, Vec::new());
        let envelope = Envelope { provenance, only, identity, reply, sequenced, flags };
        Hold {
            id: RecordId { lane: Lane::Clinical, epoch: model::StreamEpoch::FIRST, seq },
            reason: Reason::Held,
            why: "a test".to_owned(),
            subject: Some(subject),
            follows: false,
            envelope,
            payload: Bytes::from_static(b"x").into(),
        }
    }

    /// A write that failed may have reached the disk all the same; the record is held again then, and stands there twice.
    #[tokio::test]
    async fn a_record_that_stands_there_twice_is_held_once_and_a_decision_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Arc::new(open_spool(dir.path()));
        let load = || Held::load(Arc::clone(&spool), Arc::new(TestClock::default()));
        let (lake, id, subject) = (slug("lake"), hold(7, [1; 16]).id, [1; 16]);
        let (one, other) = (load().await.unwrap(), load().await.unwrap());
        one.hold(&lake, hold(7, subject)).await.unwrap();
        other.hold(&lake, hold(7, subject)).await.unwrap();
        let held = load().await.unwrap();
        assert_eq!((held.total(), held.list().len()), (1, 1));
        assert_eq!(held.payload(&lake, id, "ida").await.unwrap(), &b"x"[..]);
        held.dismiss(&lake, id, "ida").await.unwrap();
        let later = RecordId { seq: 8, ..id };
        for held in [held, load().await.unwrap()] {
            assert_eq!(held.total(), 0);
            assert!(
                !held.holds(&lake, id) && !held.blocks(&lake, subject, later, None),
                "nobody waits for it"
            );
        }
    }
}
