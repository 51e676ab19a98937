//! MLLP framing, HL7 v2 messages, paths and acknowledgements: bytes to values, sans I/O.
//!
//! **Promise.** The bytes are the truth: everything here is a view into them, or into the text that they were decoded
//! to ([`charset`]), or is made for an answer. Nothing is normalised or repaired, and `prefix + segments + gaps` is
//! what was indexed, byte for byte.
//!
//! **Limits.** [`MESSAGE_BYTES_MAX`] and [`SEGMENTS_MAX`] for a parsed message; [`MSH_BYTES_MAX`] for a header
//! read from the start of a stream; the frame limit is the caller's ([`mllp::Deframer::new`]).
//!
//! **Invariants.**
//! - No function panics or loops on any input; time is linear in the input, memory in the number of segments.
//! - Delimiters come from MSH-1 and MSH-2; there are no defaults for reading.
//! - `Debug` of anything that holds a message prints sizes and positions, never content.
//! - Nothing here knows a socket, a clock or a file.
//!
//! Source: HL7 v2.8.2 chapter 2 (control), HL7 "Transport Specification: MLLP, Release 1".

pub mod ack;
mod asked;
pub mod batch;
pub mod charset;
mod delimiters;
mod escape;
pub mod exchange;
pub mod fuzz;
mod header;
mod message;
pub mod mllp;
mod parts;
mod path;
mod scan;
pub mod sequence;
pub mod split;

pub use ack::{Ack, AckCode, ErrorCode, Fault, Location};
pub use asked::{Condition, Fate, Mode};
pub use charset::Charset;
pub use delimiters::Delimiters;
pub use escape::{escape, text, unescape};
pub use header::{Header, HeaderKind, HeaderScan, MSH_BYTES_MAX, Version};
pub use message::{MESSAGE_BYTES_MAX, Message, ParseError, SEGMENTS_MAX, Segments};
pub use parts::{
    Component, Components, Field, Fields, Repetition, Repetitions, Segment, Subcomponent, Subcomponents,
};
pub use path::{NotAPath, Path};
pub use split::split;
