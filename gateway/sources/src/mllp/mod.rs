//! HL7 v2 over MLLP.
//!
//! **Promise.** A positive acknowledgement leaves when, and only when, the message is durable; a negative one
//! says what to do; silence means that the connection broke. Answers leave in the order of the frames.
//!
//! **Way of a frame.** Its bytes stream from the socket into [`model::Writer`] as they come, while the header is
//! read from the first of them and a SHA-256 runs over all. At its end the acknowledgement is built and committed
//! together with the record, so that an identical resend (MSH-10, MSH-7 and body) is answered word for word the
//! same and makes no second record. The next frame is read while the commit is pending: one sync of the disk
//! serves all frames that wait for it.
//!
//! | what came | what is stored | answer, in original mode | fault |
//! |---|---|---|---|
//! | a message | it | AA | |
//! | a batch (FHS, BHS) | each of its messages, a record each | a batch of their answers | where its count is wrong |
//! | an identical resend | nothing new | the stored answer | |
//! | a frame without a readable MSH | it, as [`model::Format::Unparsed`] | AR, and why | no-header |
//! | any frame while the lane is full, storage fails, or the box stops | nothing | AE, and what to do | not-stored |
//! | a frame beyond the limit | nothing | AR, at its end | too-long |
//! | a message of a sender (MSH-3, MSH-4) that is none of `senders` | nothing | AR, and why | not-allowed |
//! | a frame broken off by the next VT | what came of it, as `Unparsed` | none | broken-off |
//! | a frame broken off by a disconnect or a time-out | nothing: the sender has it and will resend | none | cut-off |
//! | an empty frame | nothing | none | |
//! | bytes between frames | nothing; counted | none | junk, unless they are line ends and NULs |
//!
//! **Answers.** MSH-15 and MSH-16 ask for them ([`hl7::Mode`]), or [`Acknowledge`] says otherwise: accept
//! acknowledgements (CA, CE, CR), application acknowledgements (AA, AE, AR), both in this order, each in a frame, or
//! none. A message that could not be stored and whose sender wants no answer is the fault `lost-unanswered`. MSH-13 is
//! answered in MSA-4 ([`hl7::sequence`]); messages with numbers are decided one after the other on each connection.
//!
//! **Batches** are cut while they stream ([`hl7::batch`], ADR 0009), at most [`BATCH_MESSAGES_MAX`] messages each.
//!
//! **Faults** are reported through [`model::Intake::report`] and found by `wardgate faults`.
//!
//! **Limits** (beside those of [`Config`]). A connection has [`PIPELINE_MAX`] frames waiting for their answers, a
//! read buffer of [`READ_BYTES`], and no more than [`hl7::MSH_BYTES_MAX`] of each frame in memory. A peer that does
//! not take its answers for [`ANSWER_WRITE_S_MAX`] seconds, or sends [`JUNK_BYTES_MAX`] bytes outside of frames, is
//! disconnected. A peer that vanished without a word is found within about a minute ([`crate::socket`]).
//!
//! **Who gets in.** With `[feed.mllp.tls]` the listener takes TLS alone ([`crate::listener`]; port 2576 unless
//! written). `allow` names networks and certificates ([`crate::access`]), `senders` whose messages are taken. A peer
//! may be held to a pace (`peer_messages_per_s_max`, `peer_bytes_per_s_max`, with [`crate::socket::BURST`] in hand): it is read
//! more slowly, nothing is refused or lost. There is no pace unless written, because an interface engine sends a
//! whole hospital from one address, and after an outage as fast as it can.
//!
//! **Stop.** No new connections; each connection finishes the frame in progress within [`STOP_GRACE_S`] seconds and
//! answers what it has taken. What was not answered, the sender still has.
//!
//! **Invariants.** Nothing here parses beyond MSH, knows the log, or logs content: feed, peer, ids, sizes, counts.

mod acknowledge;
mod batch;
mod config;
mod connection;
mod door;
mod frame;
mod reply;
mod senders;
mod server;
mod settle;
mod stats;

pub use acknowledge::{AckMode, Acknowledge, BatchReply, Sequence, When};
pub use batch::BATCH_MESSAGES_MAX;
pub use config::{Config, Error, FRAME_BYTES_MAX};
pub use connection::{ANSWER_WRITE_S_MAX, JUNK_BYTES_MAX, PIPELINE_MAX, READ_BYTES, STOP_GRACE_S};
pub use senders::Sender;
pub use server::{Handle, Server};
pub use stats::{Counters, Stats};

#[cfg(test)]
mod tests;
