//! Releases out: one folder a destination.
//!
//! **Promise.** What a destination is given is a [`Release`], which only the de-identification policy makes;
//! what it answers is reported as exactly one of: committed, not taken (and who must act), or *unknown*. No
//! error of the network is ever reported as a commit, and nothing that may have been committed is ever
//! reported as not taken.
//!
//! **Invariants.**
//! - A batch is checked to tile its range before a byte of it leaves.
//! - A destination does no retry of its own beyond a request that provably never left: when to try again, and
//!   with which policy, is the pipeline's to say. [`retry`] gives it the arithmetic.
//! - Errors and explanations name hosts, files, numbers and reasons; never content. Text of a peer is cut short
//!   and cleaned of control characters before anyone logs it.
//!
//! The hyper client is used here and nowhere else.

pub mod check;
mod destination;
mod dial;
mod error;
pub mod lakehouse;
pub mod mllp;
pub mod retry;

use std::future::Future;
use std::time::Duration;

use model::wire::{AuditReceipt, AuditStanding, EpochGrant, EpochRequest, Landed};
use model::{Batch, Lane};

pub use deid::Release;
pub use destination::{AnyDestination, BuildError, Config};
pub use error::{EncodeError, SendError};

/// What a destination is like, as far as the pipeline has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// It knows how far each stream is committed, and answers [`Destination::open`] with that. Where not, the
    /// cursor on this box is the only truth, a batch holds one record at most, and nothing is opened before there is
    /// something to send.
    pub remembers: bool,
    /// It takes HL7 v2 messages and nothing else.
    pub hl7_only: bool,
    /// How long a stop waits for the answer to what is under way, at most [`STOP_GRACE_MAX`]. A destination that
    /// remembers tells afterwards what became of it; of another it would be sent again.
    pub stop_grace: Duration,
}

/// Longest wait for an answer at a stop: within it the gateway ends before its service manager loses patience.
pub const STOP_GRACE_MAX: Duration = Duration::from_secs(30);

/// A place that releases go to.
pub trait Destination: Send + Sync {
    /// What it is like.
    fn nature(&self) -> Nature;

    /// Presents a lane's log: asks for its epoch and how far its stream is committed. Also the way to learn the
    /// outcome after [`SendError::Unknown`]. Repeating it changes nothing. Cancel safe.
    ///
    /// # Errors
    /// [`SendError`].
    fn open(
        &self,
        lane: Lane,
        request: &EpochRequest,
    ) -> impl Future<Output = Result<EpochGrant, SendError>> + Send;

    /// Sends one batch and waits until its rows are in every table that the contract names. Cancelling leaves
    /// the outcome unknown.
    ///
    /// # Errors
    /// [`SendError`]; see [`SendError::may_have_committed`].
    fn send(&self, batch: &Batch<Release>) -> impl Future<Output = Result<Committed, SendError>> + Send;

    /// Whether the destination knows this gateway's lane at all: has ever granted it an epoch. `None` of one that
    /// remembers nothing. Cancel safe.
    ///
    /// # Errors
    /// [`SendError`].
    fn knows(&self, _lane: Lane) -> impl Future<Output = Result<Option<bool>, SendError>> + Send {
        async { Ok(None) }
    }

    /// What the destination has of this gateway's audit log: its newest checkpoint under `origin`, and under any.
    /// `None` of one that keeps none. Cancel safe.
    ///
    /// # Errors
    /// [`SendError`].
    fn standing(
        &self,
        _origin: &str,
    ) -> impl Future<Output = Result<Option<AuditStanding>, SendError>> + Send {
        async { Ok(None) }
    }

    /// Has a checkpoint of the audit log witnessed: `body` is that of `add-checkpoint` of `c2sp.org/tlog-witness`,
    /// `key` the verifier key of its signature. Repeating it changes nothing. `None` of one that keeps none.
    ///
    /// # Errors
    /// [`SendError`]; refused as [`model::wire::ProblemKind::Inconsistent`] where the destination has another past.
    fn witness(
        &self,
        _key: &str,
        _body: String,
    ) -> impl Future<Output = Result<Option<AuditReceipt>, SendError>> + Send {
        async { Ok(None) }
    }

    /// Tries the way there step by step, on a connection of its own, and says at the first failing step what to
    /// do. Sends no record.
    fn test(&self) -> impl Future<Output = check::Report> + Send;
}

/// A batch has landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What the destination says it committed. Where its manifest hash differs from ours, an earlier attempt was
    /// committed and stands: to be audited. `None` of one that says no more than yes; it took what was sent.
    pub landed: Option<Landed>,
    /// Manifest hash of what was sent: lower-case hex SHA-256 of the uncompressed batch; over MLLP of the message,
    /// and empty where there was none.
    pub manifest_sha256: String,
    /// Size of the batch before compression, in bytes.
    pub bytes_raw: u64,
    /// Size of the batch as sent, in bytes, without HTTP and TLS.
    pub bytes_wire: u64,
}

impl Committed {
    /// Whether what was committed is what was sent this time.
    pub fn is_ours(&self) -> bool {
        self.landed.as_ref().is_none_or(|landed| landed.manifest_sha256 == self.manifest_sha256)
    }
}
