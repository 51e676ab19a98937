//! Counters, and the snapshots that others see of them.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a listener.
pub trait Counts: Debug + Default + Send + Sync + 'static {
    /// What others see of them.
    type Stats;

    /// All of them now.
    fn stats(&self) -> Self::Stats;
}

/// Declares a snapshot `Stats` and, with the same names, the `Counters` behind it.
macro_rules! counted {
    ($(#[$about:meta])* { $($(#[doc = $doc:literal])+ $name:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// The counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(crate) $name: $crate::socket::Counter,)+
        }

        impl $crate::socket::Counts for Counters {
            type Stats = Stats;

            fn stats(&self) -> Stats {
                Stats { $($name: self.$name.now(),)+ }
            }
        }
    };
}
pub(crate) use counted;

/// One counter. Relaxed: nothing is ordered by it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one and says how many there are.
    pub(crate) fn one(&self) -> u64 {
        self.add(1)
    }

    /// Counts so many and says how many there are.
    pub(crate) fn add(&self, count: u64) -> u64 {
        self.0.fetch_add(count, Ordering::Relaxed) + count
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
