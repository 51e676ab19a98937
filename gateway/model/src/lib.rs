//! The nouns every room of Wardgate shares, and the format they travel in.
//!
//! **Promise.** A value of these types means the same on the box, on the wire and at the landing.
//! There is no I/O here, no runtime and no clock: what needs one takes [`Clock`].
//!
//! **Invariants.**
//! - A [`RecordId`] is never reused: a sequence number belongs to one incarnation of one lane's log.
//! - A [`Batch`] tiles its range: every sequence number in `first..=last` is a record or a skip, never both.
//! - [`Reason`] is closed: nothing is skipped for a cause that has no name.
//! - What may identify a person travels as [`Phi`], which neither prints nor serialises.
//! - CBOR is spoken in [`codec`] alone.

pub mod audit;
pub mod batch;
pub mod clock;
pub mod codec;
pub mod fault;
pub mod id;
pub mod intake;
pub mod observation;
pub mod phi;
pub mod provenance;
mod told;
pub mod wire;

pub use audit::{AuditAction, AuditError, AuditEvent, AuditSink};
pub use batch::{Batch, PolicyRef, Reason, Released, Sequenced, Skip};
pub use clock::{Clock, Timestamp};
pub use fault::{Fault, FaultKind, Mismatch, NotAFaultKind};
pub use id::{Lane, RecordId, Seq, Slug, StreamEpoch, StreamId};
pub use intake::{Append, BoxFuture, Closing, Identity, Intake, LinkPosition, Receipt, Refusal, Writer};
pub use observation::{Absent, Observation, Quality, Value};
pub use phi::Phi;
pub use provenance::{Envelope, Flag, Format, LinkNumber, Provenance};
pub use told::told;
pub use wire::TimeValue;
