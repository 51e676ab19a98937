//! What a listener counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a listener's counters since it was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now.
    pub connections: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections closed at once, over a limit.
    pub connections_refused: u64,
    /// Connections closed because `allow` does not name the peer.
    pub connections_denied: u64,
    /// TLS handshakes that came to nothing, and peers that spoke TLS to a port of plain text.
    pub handshakes_failed: u64,
    /// Messages refused because of their sender; also counted in `refused`.
    pub senders_denied: u64,
    /// How long peers were made to wait for going faster than they may, in milliseconds.
    pub paced_ms: u64,
    /// Payload bytes of complete frames.
    pub bytes: u64,
    /// Complete frames that were not empty. Each becomes one of `accepted`, `duplicates`, `unparsed` or `refused`.
    pub frames: u64,
    /// Frames stored and answered AA.
    pub accepted: u64,
    /// Identical resends; their stored answer was repeated.
    pub duplicates: u64,
    /// Frames without a readable MSH, stored as evidence and answered AR.
    pub unparsed: u64,
    /// Frames answered AE or AR that were not stored.
    pub refused: u64,
    /// Empty frames.
    pub empty: u64,
    /// Frames broken off by the beginning of the next.
    pub broken: u64,
    /// Frames broken off by a disconnect or a time-out.
    pub cut_off: u64,
    /// Bytes outside of frames.
    pub junk_bytes: u64,
    /// Answers that could not be written.
    pub answers_lost: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    connections,
    connections_total,
    connections_refused,
    connections_denied,
    handshakes_failed,
    senders_denied,
    paced_ms,
    bytes,
    frames,
    accepted,
    duplicates,
    unparsed,
    refused,
    empty,
    broken,
    cut_off,
    junk_bytes,
    answers_lost
);

/// One counter. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one and says how many there are.
    pub(crate) fn one(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
