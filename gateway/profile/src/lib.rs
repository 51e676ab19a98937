//! The device profile language: what the bytes of a device mean, as data.
//!
//! **Promise.** A profile is a TOML document. Compiled, it turns one unit of a device's protocol into
//! [`model::Observation`]s, or into an error that names the place; it never panics, never loops, never
//! invents a value: what the device marks as invalid is [`model::Value::Absent`] with its reason, and a field
//! that the device did not send yields nothing. The same bytes always give the same observations.
//!
//! **Limits.** A document has at most [`DOCUMENT_BYTES_MAX`] bytes, [`FIELDS_MAX`] fields, [`NUMERICS_MAX`]
//! numerics and [`STATUSES_MAX`] status rules; a frame at most [`FRAME_BYTES_MAX`] bytes; a repeated field at
//! most [`REPEAT_MAX`] elements. Decoding is linear in the frame.
//!
//! **The language** has five tables, each with one question to answer, so that it grows by new `kind`s and
//! new tables, not by expressions:
//!
//! | table | question |
//! |---|---|
//! | `[profile]` | which device, by which published source |
//! | `[frame]` | where a unit begins and ends (`kind`: today `message`, delimited by the transport) |
//! | `[[field]]` | which bytes are which number, in wire order, and when they are there |
//! | `[[numeric]]` | which field is which metric: MDC, LOINC, UCUM, scale, permitted range |
//! | `[[status]]` | which bit makes a value absent or doubtful |
//!
//! Conditions test bits of one earlier integer field (`{ field, bit }` or `{ field, mask, value }`); there is
//! nothing else to compute with. Unknown keys are errors, with the place and the nearest known key.
//!
//! **Vectors are mandatory.** A device folder holds `profile.toml`, `README.md` and `vectors/*.toml`: bytes and
//! what they mean, derived from the cited source by hand. [`Profile::load`] refuses a profile without vectors
//! and one that fails them. The folders under `firmware-profiles/devices` are built in ([`Catalogue::builtin`]).
//!
//! Nothing here does I/O or knows a clock, a topic's broker or a log.

mod catalogue;
mod compile;
mod decode;
mod error;
mod language;
mod number;
mod topic;
mod vector;

pub use catalogue::Catalogue;
pub use decode::{DecodeError, Profile};
pub use error::{CompileError, LoadError};
pub use number::{Sfloat, Special};
pub use topic::{device_from_topic, device_from_topics, topic_matches};
pub use vector::{Mismatch, Vector};

/// Largest profile or vector document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Most `[[field]]` tables of a profile.
pub const FIELDS_MAX: usize = 64;
/// Most `[[numeric]]` tables of a profile.
pub const NUMERICS_MAX: usize = 64;
/// Most `[[status]]` tables of a profile.
pub const STATUSES_MAX: usize = 128;
/// Largest frame that a profile may permit, in bytes.
pub const FRAME_BYTES_MAX: usize = 4096;
/// Most elements of a repeated field.
pub const REPEAT_MAX: usize = 256;
/// The version of the language this crate compiles.
pub const LANGUAGE: u32 = 1;
