//! What an MQTT feed counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts since the start. A publish that the broker sends twice is received twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Publishes received.
    pub received: u64,
    /// Records made durable.
    pub accepted: u64,
    /// Publishes that the intake refused for now; the broker keeps them.
    pub refused: u64,
    /// Publishes over a limit; see the table in the module's documentation.
    pub too_large: u64,
    /// Redeliveries recognised and acknowledged without a second record.
    pub redelivered: u64,
    /// Retained copies, acknowledged without a record.
    pub retained: u64,
    /// Publishes on topics of an earlier configuration, acknowledged without a record.
    pub unrouted: u64,
    /// Publishes at QoS 0 that were refused: nobody will send them again.
    pub lost_qos0: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// Times the broker had forgotten the session, and with it what it kept.
    pub sessions_lost: u64,
    /// Whether the broker is connected now.
    pub connected: bool,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) redelivered: AtomicU64,
    pub(super) retained: AtomicU64,
    pub(super) unrouted: AtomicU64,
    pub(super) lost_qos0: AtomicU64,
    pub(super) reconnects: AtomicU64,
    pub(super) sessions_lost: AtomicU64,
    pub(super) connected: AtomicBool,
}

/// Adds one and returns the new count.
pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

impl Counters {
    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            received: read(&self.received),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            too_large: read(&self.too_large),
            redelivered: read(&self.redelivered),
            retained: read(&self.retained),
            unrouted: read(&self.unrouted),
            lost_qos0: read(&self.lost_qos0),
            reconnects: read(&self.reconnects),
            sessions_lost: read(&self.sessions_lost),
            connected: self.connected.load(Ordering::Relaxed),
        }
    }
}
