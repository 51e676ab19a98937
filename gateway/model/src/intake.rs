//! The one door into the log. Sources know nothing of what is behind it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::{Fault, Flag, Provenance, RecordId, Slug};

/// A boxed future, for the traits that must be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the box does not take a record now. The source answers its peer negatively and keeps the feed open;
/// nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The lane's budget or the disk is used up. The peer should try again later.
    #[error("the lane is full; try again later")]
    Full,
    /// The box is stopping. The peer should reconnect.
    #[error("the gateway is stopping")]
    Stopping,
    /// The disk failed. An operator must act.
    #[error("storage failed")]
    Storage,
    /// The record is larger than the feed's limit. The peer must act.
    #[error("larger than the feed's limit")]
    TooLarge,
}

/// Proof that a record is on the disk, synced. Only what writes the log makes one; a source may acknowledge
/// its peer when, and only when, it holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a receipt is what permits the acknowledgement"]
pub struct Receipt {
    /// The record's name.
    pub id: RecordId,
    /// Set when these bytes were here before: what the peer was answered then (empty when that is no longer
    /// known). No new record was made.
    pub duplicate: Option<Bytes>,
}

/// What a resend has in common with the first sending: a digest over what the source's protocol identifies
/// a message by (for HL7 v2: MSH-10, MSH-7 and the body). The intake mixes in the feed and keys it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(pub [u8; 32]);

/// The last sequence number of a link, stored with the record that carried it. A link is a digest over what the
/// protocol identifies it by (for HL7 v2: both applications and facilities); the intake mixes in the feed and keys it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPosition {
    /// The link.
    pub link: Identity,
    /// The number; -1 where the link begins anew.
    pub last: i64,
}

/// What is known only when the last byte has arrived.
#[derive(Debug, Clone, Default)]
pub struct Closing {
    /// For recognising a resend; `None` switches that off for this record.
    pub identity: Option<Identity>,
    /// For noticing that another record had the same id: a digest over the id that the sender gave (for HL7 v2:
    /// MSH-10, with MSH-3 and MSH-4). Such a record is taken and flagged.
    pub control: Option<Identity>,
    /// Where the record stands on its link.
    pub sequenced: Option<LinkPosition>,
    /// What is known to be unusual about it.
    pub flags: Vec<Flag>,
    /// The positive answer that the source will give, stored so that a resend gets the same.
    pub reply: Option<Bytes>,
    /// The format, where the first bytes decide it; otherwise as in the provenance.
    pub format: Option<crate::Format>,
}

/// A record being written. Dropping it before [`Append::commit`] leaves no record.
pub trait Append: Send + Sync {
    /// Adds bytes; returns when there is room for more. Not cancel safe: after a cancelled push, drop.
    fn push<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, Result<(), Refusal>>;
    /// Makes the record durable. The future, once polled, goes on where it is dropped.
    fn commit(self: Box<Self>, closing: Closing) -> BoxFuture<'static, Result<Receipt, Refusal>>;
}

/// A record being written; see [`Append`].
pub struct Writer(Box<dyn Append>);

impl Writer {
    /// Wraps an implementation.
    pub fn new(inner: impl Append + 'static) -> Self {
        Self(Box::new(inner))
    }

    /// Adds bytes. Not cancel safe: after a cancelled push, drop the writer.
    ///
    /// # Errors
    /// [`Refusal`]; then drop the writer.
    pub async fn push(&mut self, chunk: &[u8]) -> Result<(), Refusal> {
        self.0.push(chunk).await
    }

    /// Makes the record durable and says so with a [`Receipt`]. Once begun it runs to its end, also where the caller
    /// lets go of it: then nobody hears of the receipt, and the peer that sends again is recognised.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was stored.
    pub async fn commit(self, closing: Closing) -> Result<Receipt, Refusal> {
        self.0.commit(closing).await
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

/// Takes records in.
pub trait Intake: Clone + Send + Sync + 'static {
    /// Begins a record.
    ///
    /// # Errors
    /// [`Refusal`] when the box cannot take one now.
    fn begin(&self, provenance: Provenance) -> impl Future<Output = Result<Writer, Refusal>> + Send;

    /// The last sequence number of a link that a durable record of the feed carried; `None` where nothing is known. From
    /// memory.
    fn last_number(&self, feed: &Slug, link: &Identity) -> Option<i64> {
        let _ = (feed, link);
        None
    }

    /// Takes note of a fault. Returns at once: it is kept, searchable, and counted; a peer that repeats itself is
    /// summed up, so that it may be called for every fault.
    fn report(&self, fault: Fault) {
        drop(fault);
    }
}
