//! MQTT: wearables and radio bridges, by way of a hospital's broker.
//!
//! **Promise.** A publish at QoS 1 is acknowledged to the broker (PUBACK) only after its record is on the disk:
//! after [`model::Writer::commit`] gave a [`model::Receipt`]. Records are begun and acknowledged in the order in
//! which the broker sent them (MQTT 3.1.1, 4.6). What is not acknowledged stays with the broker: the session is
//! persistent (clean session off, a fixed client id), so after a crash, a refusal or a broken line the broker
//! sends it again. A record is the payload as it came; what it means is decided after the log, by the feed's
//! profile, so a payload that no profile understands is stored like any other.
//!
//! **Limits.** [`Config::inflight_max`] publishes and [`INFLIGHT_BYTES_MAX`] bytes taken and not yet
//! acknowledged; beyond that the socket is not read. [`PACKET_BYTES_MAX`] for a packet. Reconnecting waits
//! between [`RECONNECT_MS_MIN`] and [`RECONNECT_MS_MAX`] ms, doubling, the upper half by chance.
//!
//! # What is recorded, and what is not
//!
//! | a publish | record | to the broker |
//! |---|---|---|
//! | that fits | as [`model::Format::Device`] | PUBACK after the receipt |
//! | larger than [`Config::payload_bytes_max`] | whole, as [`model::Format::Unparsed`], counted `too_large` | PUBACK after the receipt |
//! | larger than the intake takes, or than [`PACKET_BYTES_MAX`] | none; counted `too_large`, warned of | PUBACK |
//! | retained (a broker's copy, of unknown age) | none; counted `retained` | PUBACK |
//! | on a topic that no filter names | none; counted `unrouted` | PUBACK |
//! | refused by the intake | none yet; counted `refused` | nothing; the session ends, the broker sends it again |
//! | at QoS 0 | as above | nothing to acknowledge; if refused it is lost, counted `lost_qos0` |
//!
//! *Too large.* A payload over the feed's limit is no frame of its device, but it is kept while it can be: it is in
//! memory already. Only what can never be kept is acknowledged without a record: the broker would send it again at
//! every reconnection, before everything else, and one wrong publish would stop a ward. A packet larger than
//! [`PACKET_BYTES_MAX`] is not read into memory at all; a short connection of its own passes over it.
//!
//! *Retained.* A broker sends its retained copy at every subscription, that is at every reconnection. Nobody knows
//! when it was measured, and a measurement must not be repeated under a new time. A live publish reaches a
//! subscriber without the retain flag, also where its sender set it (MQTT 3.1.1, 3.3.1.3).
//!
//! *Unrouted.* A persistent session keeps the filters of an earlier configuration. What they still bring is what
//! the operator has removed.
//!
//! # A redelivery is recognised only where that is certain
//!
//! QoS 1 is at-least-once, and a packet id says nothing by itself: ids are used again after their PUBACK, by some
//! brokers at once. Two equal measurements, a second apart, under one id are two measurements. Therefore the
//! intake gets no [`model::Identity`] for a publish, and nothing is ever merged by content. One case is certain: a
//! record became durable, and its PUBACK was never written to a socket (the line broke during the commit). Then the
//! broker cannot have seen a PUBACK, so it cannot have given the id to another publish; a publish with the same id,
//! topic and payload and the DUP flag in the *same* session is the same one. It is acknowledged without a second
//! record and counted `redelivered`. What remains: if this process dies (or the line breaks) between the durable
//! write and the broker's reading of the PUBACK, the publishes in flight, at most the broker's window (20 with
//! mosquitto), are stored twice. A second copy is visible and harmless beside a measurement that is missing.
//!
//! # What the broker must be told
//!
//! While the gateway is away the broker keeps what it is configured to keep: mosquitto by default 1,000 messages
//! (`max_queued_messages`), in memory only unless `persistence true`. The client id must be the gateway's own: two
//! clients with one id throw each other out. `inflight_max` should not be smaller than the broker's window.

mod client;
mod config;
mod error;
mod recorder;
mod session;
mod skip;
mod stats;

#[cfg(test)]
mod tests;

pub use client::{Client, Handle};
pub use config::Config;
pub use error::Error;
pub use stats::Stats;

/// Largest MQTT packet read into memory, in bytes.
pub const PACKET_BYTES_MAX: usize = 1 << 20;
/// Largest [`Config::payload_bytes_max`]: leaves room for the longest topic.
pub const PAYLOAD_BYTES_MAX: usize = 512 << 10;
/// Most payload bytes taken and not yet acknowledged.
pub const INFLIGHT_BYTES_MAX: usize = 4 << 20;
/// Most topic filters of a feed.
pub const TOPICS_MAX: usize = 64;
/// Shortest bound of the wait before reconnecting, in milliseconds.
pub const RECONNECT_MS_MIN: u64 = 500;
/// Longest wait before reconnecting, in milliseconds.
pub const RECONNECT_MS_MAX: u64 = 30_000;
