//! What gateway and landing say to each other, beside the batch itself. JSON, so that a person can read it.
//! The protocol is described in `docs/wire-protocol.md`. Requests:
//! - `POST /v1/{destination}/{lane}/epoch`: [`EpochRequest`] → [`EpochGrant`]
//! - `PUT /v1/{destination}/{lane}/{epoch}/{first}`: a batch → [`Landed`]
//! - `POST /v1/{destination}/audit`: a checkpoint of the gateway's audit log → [`AuditReceipt`]
//! - `GET /v1/{destination}/audit?origin={origin}`: what the landing has of it → [`AuditStanding`]
//! - `GET /v1/{destination}/{lane}`: where the stream stands, as a JSON object. It changes nothing, and only an
//!   admitted gateway gets it, for a destination that exists: the last step of a connection test.
//!
//! Everything but success is a [`Problem`].

use serde::{Deserialize, Serialize};

use crate::{Seq, StreamEpoch, Timestamp};

/// Media type of a batch: CBOR of [`crate::Batch`]`<`[`crate::Released`]`>`, compressed with zstd.
pub const BATCH_MEDIA_TYPE: &str = "application/vnd.wardgate.batch+cbor";
/// Request header that carries the lower-case hex SHA-256 of the uncompressed batch: its manifest hash.
pub const MANIFEST_HEADER: &str = "wardgate-manifest-sha256";
/// Largest batch on the wire, compressed, in bytes: one frame of 64 MB with its envelope, incompressible.
pub const BATCH_WIRE_BYTES_MAX: usize = 80 << 20;
/// Largest batch after decompression, in bytes. The landing stops a bomb there.
pub const BATCH_RAW_BYTES_MAX: usize = 96 << 20;

/// Largest payload of a record that a batch carries, in bytes. What is larger is no row of a table: it is held.
pub const RECORD_WIRE_BYTES_MAX: u64 = 64 << 20;

/// A time as far as a policy lets it through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeValue {
    /// To the microsecond.
    Instant(Timestamp),
    /// The calendar year alone (45 CFR 164.514(b)(2)(i)(C)).
    Year(i16),
}

/// `POST /v1/{destination}/{lane}/epoch`: a log presents itself and proposes its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRequest {
    /// 128 random bits made with the log, as lower-case hex: one physical log on one disk.
    pub incarnation: String,
    /// The epoch it would like to have.
    pub proposed: StreamEpoch,
    /// The last number that is settled for this destination in this incarnation; the stream of a newly granted
    /// epoch begins one after it. 0 for a log of which nothing was delivered.
    pub resume_after: Seq,
}

/// The answer: the epoch to use and how far its stream is committed. The landing grants the proposed epoch,
/// or a higher one when another incarnation has had it; older epochs of the stream are fenced from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochGrant {
    /// The epoch to use.
    pub epoch: StreamEpoch,
    /// The last number committed in it.
    pub watermark: Seq,
    /// Manifest hash of the last batch committed; `None` when there is none yet.
    pub manifest_sha256: Option<String>,
}

/// `PUT /v1/{destination}/{lane}/{epoch}/{first}` succeeded, now or earlier: the rows are in every table that
/// the destination's contract names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// First number of the committed batch.
    pub first: Seq,
    /// Last number of the committed batch.
    pub last: Seq,
    /// Manifest hash of the committed batch. Where it differs from what was sent, an earlier attempt was
    /// committed and stands.
    pub manifest_sha256: String,
    /// Version of the `raw` table that holds it.
    pub table_version: u64,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// Request header of a checkpoint: the key it is signed with, as a verifier key of `c2sp.org/signed-note`.
pub const AUDIT_KEY_HEADER: &str = "wardgate-audit-key";
/// Media type of a checkpoint with its proof: the body of `add-checkpoint` of `c2sp.org/tlog-witness`.
pub const AUDIT_MEDIA_TYPE: &str = "text/plain; charset=utf-8";

/// A checkpoint of a gateway's audit log that the landing has stored durably, after it was shown that it continues
/// the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReceipt {
    /// When.
    pub received_at: Timestamp,
    /// The key it was signed with, as a verifier key.
    pub key: String,
    /// The signed note.
    pub checkpoint: String,
}

/// What the landing has of a gateway's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditStanding {
    /// The newest checkpoint under the origin asked for.
    pub origin: Option<AuditReceipt>,
    /// The newest checkpoint of the gateway under any origin.
    pub newest: Option<AuditReceipt>,
}

/// Why the landing does not take a batch; closed, so that the gateway can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// 400: cannot be decoded, or does not tile, or disagrees with its URL or its manifest hash.
    Malformed,
    /// 403: the certificate names another gateway, or one that is not admitted.
    Forbidden,
    /// 404: no such destination here.
    UnknownDestination,
    /// 409: `first` is not the next number; `expected` says which is.
    OutOfOrder,
    /// 409: a batch with this `first` was committed with another `last`; `landed` says which.
    OtherRange,
    /// 409: the checkpoint does not continue what the landing has; `expected` says how many entries that has.
    Inconsistent,
    /// 410: a newer epoch has been granted.
    Fenced,
    /// 413: larger than the landing takes.
    TooLarge,
    /// 422: the destination takes another policy.
    PolicyRefused,
    /// 503: storage failed or is full; try again after `Retry-After` seconds.
    Unavailable,
}

/// An error as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:wardgate:problem:` and the kind.
    #[serde(rename = "type")]
    pub uri: String,
    /// Which.
    pub kind: ProblemKind,
    /// One sentence for a person: what, and what to do next. No PHI.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// For [`ProblemKind::OutOfOrder`]: the number that the landing expects. For [`ProblemKind::Inconsistent`]: how
    /// many entries the checkpoint has that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Seq>,
    /// For [`ProblemKind::OtherRange`]: what was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed: Option<Landed>,
}

impl Problem {
    /// A problem with the HTTP status that belongs to its kind.
    pub fn new(kind: ProblemKind, title: impl Into<String>) -> Self {
        let (status, slug) = match kind {
            ProblemKind::Malformed => (400, "malformed"),
            ProblemKind::Forbidden => (403, "forbidden"),
            ProblemKind::UnknownDestination => (404, "unknown-destination"),
            ProblemKind::OutOfOrder => (409, "out-of-order"),
            ProblemKind::OtherRange => (409, "other-range"),
            ProblemKind::Inconsistent => (409, "inconsistent"),
            ProblemKind::Fenced => (410, "fenced"),
            ProblemKind::TooLarge => (413, "too-large"),
            ProblemKind::PolicyRefused => (422, "policy-refused"),
            ProblemKind::Unavailable => (503, "unavailable"),
        };
        Self {
            uri: format!("urn:wardgate:problem:{slug}"),
            kind,
            title: title.into(),
            status,
            expected: None,
            landed: None,
        }
    }
}
