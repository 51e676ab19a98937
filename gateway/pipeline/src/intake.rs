//! The door: from a source's bytes to a receipt.
//!
//! **Invariant.** A commit that has begun runs to its end, whatever becomes of the source that waits for it: its claim on
//! the identity is settled by the record or by the log's refusal, never by a source that let go while the log was
//! writing. Otherwise the resend that follows would be a second record.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use model::{
    Append, BoxFuture, Closing, Envelope, Fault, FaultKind, Flag, Identity, Intake, Lane, LinkNumber,
    Provenance, Receipt, RecordId, Refusal, Slug, Timestamp, Writer, codec,
};
use serde_bytes::ByteBuf;
use spool::{Appender, Entry, Keys, Log, Spool};
use tokio::runtime::Handle as Runtime;
use tokio_util::task::TaskTracker;

use crate::faults::Faults;
use crate::seen::{Claim, Key, Link, Seen, Verdict};

/// Takes records of the configured feeds into the lanes' logs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogIntake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: Arc<Spool>,
    feeds: HashMap<Slug, Taken>,
    seen: Seen,
    faults: Faults,
    stopping: AtomicBool,
    /// Commits that nobody waits for any more.
    left: TaskTracker,
}

/// A feed: where its records go, and when the last one began, in microseconds; 0 for never.
#[derive(Debug)]
struct Taken {
    lane: Lane,
    last_at: AtomicI64,
}

impl LogIntake {
    pub(crate) fn new(spool: Arc<Spool>, lanes: HashMap<Slug, Lane>, seen: Seen, faults: Faults) -> Self {
        let feeds = lanes
            .into_iter()
            .map(|(name, lane)| (name, Taken { lane, last_at: AtomicI64::new(0) }))
            .collect();
        let (stopping, left) = (AtomicBool::new(false), TaskTracker::new());
        Self(Arc::new(Inner { spool, feeds, seen, faults, stopping, left }))
    }

    /// When the feed's last record began to arrive, since the start.
    pub fn last_received_at(&self, feed: &Slug) -> Option<Timestamp> {
        let micros = self.0.feeds.get(feed)?.last_at.load(Ordering::Relaxed);
        (micros != 0).then(|| Timestamp::from_micros(micros))
    }

    /// From now on every record is refused with [`Refusal::Stopping`]; what is being committed still is. Returns when
    /// also the commits that their sources let go of have come to their end.
    pub async fn close(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.left.close();
        self.0.left.wait().await;
    }
}

impl Intake for LogIntake {
    async fn begin(&self, provenance: Provenance) -> Result<Writer, Refusal> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Stopping);
        }
        let Some(feed) = self.0.feeds.get(&provenance.feed) else {
            // A source that runs has a feed that was configured; anything else is our own mistake.
            tracing::error!(feed = %provenance.feed, "a record of a feed that is not configured was refused");
            return Err(Refusal::Storage);
        };
        // What would have to be audited of it could not be.
        self.0.spool.journal().admit().map_err(|e| refuse(&e))?;
        feed.last_at.store(provenance.received_at.micros(), Ordering::Relaxed);
        let lane = feed.lane;
        let log = self.0.spool.lane(lane).clone();
        let appender = log.begin().await.map_err(|e| refuse(&e))?;
        Ok(Writer::new(RecordWriter { inner: Arc::clone(&self.0), lane, log, appender, provenance }))
    }

    fn last_number(&self, feed: &Slug, name: &Identity) -> Option<i64> {
        self.0.seen.last_number(&link(self.0.spool.keys(), feed, name))
    }

    fn report(&self, fault: Fault) {
        self.0.faults.report(fault);
    }
}

#[derive(Debug)]
struct RecordWriter {
    inner: Arc<Inner>,
    lane: Lane,
    log: Log,
    appender: Appender,
    provenance: Provenance,
}

impl Append for RecordWriter {
    fn push<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move { self.appender.push(chunk).await.map_err(|e| refuse(&e)) })
    }

    fn commit(self: Box<Self>, closing: Closing) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let (left, runtime) = (self.inner.left.clone(), Runtime::try_current().ok());
        Box::pin(ToTheEnd { running: Some(Box::pin(self.into_record(closing))), left, runtime })
    }
}

/// A commit. Dropped before its end, it goes on as a task.
struct ToTheEnd {
    running: Option<BoxFuture<'static, Result<Receipt, Refusal>>>,
    left: TaskTracker,
    runtime: Option<Runtime>,
}

impl Future for ToTheEnd {
    type Output = Result<Receipt, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = &mut self.running else { return Poll::Pending };
        let outcome = std::task::ready!(running.as_mut().poll(context));
        self.running = None;
        Poll::Ready(outcome)
    }
}

impl Drop for ToTheEnd {
    fn drop(&mut self) {
        if let (Some(running), Some(runtime)) = (self.running.take(), &self.runtime) {
            drop(self.left.spawn_on(running, runtime));
        }
    }
}

impl RecordWriter {
    async fn into_record(self, closing: Closing) -> Result<Receipt, Refusal> {
        let mut provenance = self.provenance;
        if let Some(format) = closing.format {
            provenance.format = format;
        }
        let keys = self.inner.spool.keys();
        let feed = provenance.feed.clone();
        let key = closing.identity.map(|identity| keyed(keys, &feed, identity, closing.control));
        let claim: Option<Claim> = match key {
            None => None,
            Some(key) => match self.inner.seen.claim(key).await {
                Verdict::New(claim) => Some(claim),
                Verdict::Known(id) => {
                    let reply = stored_reply(&self.inner.spool, id).await;
                    return Ok(Receipt { id, duplicate: Some(reply) });
                }
            },
        };
        let mut flags = closing.flags;
        let is_id_reused = claim.as_ref().is_some_and(|claim| claim.is_id_reused);
        flags.extend(is_id_reused.then_some(Flag::ReusedId));
        let numbered = closing.sequenced.map(|s| (link(keys, &feed, &s.link), s.last));
        let (peer, at, bytes) = (provenance.peer.clone(), provenance.received_at, self.appender.len());
        let envelope = Envelope {
            provenance,
            only: None,
            identity: key.map(|k| ByteBuf::from(k.to_vec())),
            reply: closing.reply.map(|r| ByteBuf::from(r.to_vec())),
            sequenced: numbered.map(|(link, last)| LinkNumber { link: ByteBuf::from(link.to_vec()), last }),
            flags,
        };
        let meta = codec::encode(&envelope).map_err(|_| Refusal::Storage)?;
        let seq = self.appender.commit(meta).await.map_err(|e| refuse(&e))?;
        let id = RecordId { lane: self.lane, epoch: self.log.epoch(), seq };
        if let Some(claim) = claim {
            claim.settle(id, numbered);
        }
        if is_id_reused {
            let fault = Fault::new(feed, peer, at, FaultKind::ReusedId).bytes(bytes).record(id);
            self.inner.faults.report(fault);
        }
        Ok(Receipt { id, duplicate: None })
    }
}

/// What was answered then; empty when the record is no longer there, and the source makes a new answer.
async fn stored_reply(spool: &Spool, id: RecordId) -> Bytes {
    match spool.lane(id.lane).get(id.seq).await {
        Ok(Some(Entry::Record(record))) => codec::decode::<Envelope>(&record.meta)
            .ok()
            .and_then(|e| e.reply)
            .map_or_else(Bytes::new, |reply| Bytes::from(reply.into_vec())),
        _ => Bytes::new(),
    }
}

/// The feed is mixed in, because two feeds may number their messages alike; keyed, because an index of plain
/// digests would confirm a guessed message.
fn keyed(keys: &Keys, feed: &Slug, identity: Identity, control: Option<Identity>) -> Key {
    let mut key = Key::default();
    let (id, whole) = key.split_at_mut(8);
    if let Some(control) = control {
        let mac = keys.mac("record-control", &of_feed(feed, &control));
        id.copy_from_slice(mac.first_chunk::<8>().unwrap_or(&[0; 8]));
    }
    let mac = keys.mac("record-identity", &of_feed(feed, &identity));
    whole.copy_from_slice(mac.first_chunk::<16>().unwrap_or(&[0; 16]));
    key
}

/// The same for a link of numbered messages.
fn link(keys: &Keys, feed: &Slug, link: &Identity) -> Link {
    let mac = keys.mac("link", &of_feed(feed, link));
    mac.first_chunk::<16>().copied().unwrap_or_default()
}

fn of_feed(feed: &Slug, identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(feed.as_str().len() + 33);
    bytes.extend_from_slice(feed.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&identity.0);
    bytes
}

fn refuse(error: &spool::Error) -> Refusal {
    let refusal = Refusal::from(error);
    if refusal == Refusal::Storage {
        tracing::error!(%error, "the log could not take a record");
    }
    refusal
}
