//! When to try again: exponential backoff with full jitter, and a circuit breaker. Pure: time and randomness
//! come from outside.
//!
//! **Limits.** Every wait ends: at most [`Limits::max`], or [`RETRY_AFTER_MAX`] where a destination asks for
//! longer.

use std::time::{Duration, Instant};

/// The longest that a destination can make us wait.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The shape of a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Ceiling of the first wait.
    pub base: Duration,
    /// Ceiling of all waits.
    pub max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { base: Duration::from_millis(200), max: Duration::from_secs(30) }
    }
}

/// Exponential backoff with full jitter: the n-th wait is uniform between 0 and `min(max, base · 2ⁿ)`, so that a
/// fleet that lost its landing at one moment does not come back at one moment.
#[derive(Debug, Clone)]
pub struct Backoff {
    limits: Limits,
    failures: u32,
}

impl Backoff {
    /// Begins without a failure.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, failures: 0 }
    }

    /// Counts a failure and says how long to wait. `random` is uniform over all of `u64`. What the destination
    /// asked for (`retry_after`) is a floor, with the jitter on top.
    pub fn failed(&mut self, random: u64, retry_after: Option<Duration>) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let ceiling = self.limits.base.saturating_mul(factor).min(self.limits.max);
        self.failures = self.failures.saturating_add(1);
        let scaled = (ceiling.as_nanos().saturating_mul(u128::from(random))) >> 64;
        let jitter = Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX));
        retry_after.unwrap_or_default().min(RETRY_AFTER_MAX).saturating_add(jitter)
    }

    /// Forgets the failures.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
    /// How long a probe may take before another is let through (its task may have been cancelled).
    pub probe: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(15), probe: Duration::from_secs(90) }
    }
}

/// What a breaker is doing, for pages and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything goes through.
    Closed,
    /// Nothing goes through until the moment given.
    Open {
        /// When the first probe is let through.
        until: Instant,
    },
    /// One probe is on its way, since the moment given; nothing else goes through.
    HalfOpen {
        /// When the probe was let through.
        since: Instant,
    },
}

impl State {
    /// The name on pages and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }
}

/// Whether to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try, and report how it went.
    Go,
    /// Ask again after this long.
    Wait(Duration),
}

/// A circuit breaker, shared by the lanes of one destination: when it does not answer, one request at a time
/// finds out, instead of every lane running into the same timeout.
#[derive(Debug, Clone)]
pub struct Breaker {
    limits: BreakerLimits,
    state: State,
    failures: u32,
}

impl Breaker {
    /// Begins closed.
    pub const fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: State::Closed, failures: 0 }
    }

    /// Whether a request may go now. [`Verdict::Go`] from an open breaker makes that request the probe.
    pub fn ask(&mut self, now: Instant) -> Verdict {
        let ready = match self.state {
            State::Closed => return Verdict::Go,
            State::Open { until } => until,
            State::HalfOpen { since } => since + self.limits.probe,
        };
        match ready.checked_duration_since(now) {
            Some(wait) if !wait.is_zero() => Verdict::Wait(wait),
            _ => {
                self.state = State::HalfOpen { since: now };
                Verdict::Go
            }
        }
    }

    /// A request got through: the destination works, whatever it answered.
    pub const fn succeeded(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
    }

    /// A request did not get through.
    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= self.limits.failures,
            State::HalfOpen { .. } => true,
            // A request that was on its way when it opened: nothing new.
            State::Open { .. } => false,
        };
        if opens {
            self.state = State::Open { until: now + self.limits.open };
        }
    }

    /// What it is doing.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}
