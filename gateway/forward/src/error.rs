//! Why a batch is not reported as landed, by who must act.

use std::time::Duration;

use model::Seq;
use model::batch::Untiled;
use model::wire::{BATCH_RAW_BYTES_MAX, BATCH_WIRE_BYTES_MAX, Landed, ProblemKind};

/// A batch or a request was not answered with success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was sent: no connection. Try again later; `why` says what an operator can do meanwhile.
    #[error("not reachable: {why}")]
    Unreachable {
        /// One sentence: what, and what to do.
        why: String,
    },
    /// The destination asks for patience (429, 503).
    #[error("the destination is busy: {why}")]
    Busy {
        /// How long it asks us to wait, at most [`crate::retry::RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
        /// One sentence.
        why: String,
    },
    /// The answer was lost or made no sense: the batch may be committed or not. Ask with
    /// [`crate::Destination::open`] before anything else is sent on the stream.
    #[error("the outcome is unknown: {why}")]
    Unknown {
        /// One sentence.
        why: String,
    },
    /// The destination could not take the record now, and said so: nothing was taken.
    #[error("not taken: {why}")]
    Declined {
        /// One sentence, without content.
        why: String,
    },
    /// The destination will never take this record, or it cannot be sent there: it is to be held for a person, and
    /// the stream goes on.
    #[error("record {seq} is rejected: {why}")]
    Rejected {
        /// Which record of the batch.
        seq: Seq,
        /// For the person: one sentence, without content.
        why: String,
    },
    /// The batch does not begin at the next number.
    #[error("out of order: the destination expects number {expected}")]
    OutOfOrder {
        /// The number it expects.
        expected: Seq,
    },
    /// A batch with the same first number was committed with another last one; it stands.
    #[error("already committed as {}..={}", .0.first, .0.last)]
    OtherRange(Landed),
    /// A newer epoch of this lane was granted to another log: this one must stop sending.
    #[error(
        "fenced: another incarnation of this log has taken the stream over; was the box restored or copied?"
    )]
    Fenced,
    /// The destination will not take it until an operator has changed something here or there.
    #[error("refused with status {status}: {title}")]
    Refused {
        /// Which problem; `None` where the answer is not the landing's own (a proxy's, say).
        kind: Option<ProblemKind>,
        /// HTTP status.
        status: u16,
        /// One sentence of the destination, shortened and cleaned.
        title: String,
    },
    /// The batch cannot be put on the wire; our own defect.
    #[error("the batch cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
}

impl SendError {
    /// Whether the batch may be committed in spite of the error: then ask before sending anything else.
    pub fn may_have_committed(&self) -> bool {
        match self {
            // A 503 may come after the first of several tables took the rows; a number expected beyond ours
            // tells of an earlier attempt.
            Self::Unknown { .. } | Self::Busy { .. } | Self::OtherRange(_) | Self::OutOfOrder { .. } => true,
            Self::Unreachable { .. }
            | Self::Declined { .. }
            | Self::Rejected { .. }
            | Self::Fenced
            | Self::Refused { .. }
            | Self::Encode(_) => false,
        }
    }

    /// Whether time alone can cure it.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Unknown { .. } | Self::Declined { .. }
        )
    }
}

/// Why a batch cannot be put on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It does not cover its range exactly once.
    #[error(transparent)]
    Untiled(#[from] Untiled),
    /// It cannot be written as CBOR.
    #[error("it cannot be written as CBOR")]
    Cbor,
    /// It is larger than the landing decompresses; split it.
    #[error("it has {bytes} bytes, and at most {BATCH_RAW_BYTES_MAX} are allowed")]
    RawTooLarge {
        /// Before compression.
        bytes: usize,
    },
    /// It is larger than the landing takes; split it.
    #[error("it has {bytes} bytes compressed, and at most {BATCH_WIRE_BYTES_MAX} are allowed")]
    WireTooLarge {
        /// After compression.
        bytes: usize,
    },
    /// It holds more records than one answer can stand for.
    #[error("it holds more than one record, and the destination answers each")]
    TooManyRecords,
    /// No request can be formed for it.
    #[error("no request can be formed for it")]
    Request,
    /// zstd failed, or the process is stopping.
    #[error("it could not be compressed")]
    Compress,
}
