//! What an endpoint counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of an endpoint's counters since it was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now.
    pub connections: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections closed at once, over a limit, from elsewhere, or without a handshake.
    pub connections_refused: u64,
    /// Requests to store something; of a batch each entry. Each becomes one of the next three.
    pub received: u64,
    /// Records made durable and answered so.
    pub accepted: u64,
    /// Identical resends; they were answered again.
    pub duplicates: u64,
    /// Requests and entries that were refused.
    pub refused: u64,
    /// Requests of nobody who is known, with a token that is none, or beyond what a token permits.
    pub unauthorised: u64,
    /// Requests beyond their client's quota.
    pub throttled: u64,
    /// Tokens given out.
    pub tokens: u64,
    /// Bytes of bodies that came in whole.
    pub bytes: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        /// The counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    connections,
    connections_total,
    connections_refused,
    received,
    accepted,
    duplicates,
    refused,
    unauthorised,
    throttled,
    tokens,
    bytes
);

/// One counter. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Counts one and says how many there are.
    pub(super) fn one(&self) -> u64 {
        self.add(1)
    }

    pub(super) fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }

    pub(super) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
