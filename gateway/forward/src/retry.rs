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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { base: Duration::from_millis(100), max: Duration::from_secs(2) };

    #[test]
    fn waits_double_up_to_the_limit_with_full_jitter() {
        let mut longest = Backoff::new(LIMITS);
        let mut middle = Backoff::new(LIMITS);
        let mut shortest = Backoff::new(LIMITS);
        for ms in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            let ceiling = Duration::from_millis(ms);
            let wait = longest.failed(u64::MAX, None);
            assert!(wait < ceiling && wait + Duration::from_nanos(1) >= ceiling, "{wait:?} of {ceiling:?}");
            assert_eq!(middle.failed(1 << 63, None), ceiling / 2);
            assert_eq!(shortest.failed(0, None), Duration::ZERO);
        }
        assert_eq!(longest.failures(), 8);
        longest.succeeded();
        assert!(longest.failed(u64::MAX, None) < LIMITS.base);
    }

    #[test]
    fn what_the_destination_asks_for_is_a_floor_and_bounded() {
        let mut backoff = Backoff::new(LIMITS);
        let asked = Some(Duration::from_secs(7));
        assert_eq!(backoff.failed(0, asked), Duration::from_secs(7));
        assert_eq!(backoff.failed(1 << 63, asked), Duration::from_millis(7100));
        assert_eq!(backoff.failed(0, Some(Duration::MAX)), RETRY_AFTER_MAX);
    }

    proptest! {
        #[test]
        fn no_history_makes_a_wait_without_end(failures in 0_u32..200, random: u64, asked in prop::option::of(any::<u64>())) {
            let mut backoff = Backoff::new(Limits { base: Duration::from_secs(1), max: Duration::from_secs(60) });
            for _ in 0..failures {
                backoff.failed(random, None);
            }
            let wait = backoff.failed(random, asked.map(Duration::from_secs));
            prop_assert!(wait <= RETRY_AFTER_MAX + Duration::from_secs(60));
            prop_assert!(wait >= asked.map(Duration::from_secs).unwrap_or_default().min(RETRY_AFTER_MAX));
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Do {
        Go,
        Wait(u64),
        Fail,
        Succeed,
    }

    /// Steps at seconds from the start, and the state after each.
    fn run(steps: &[(u64, Do, &str)]) {
        let limits =
            BreakerLimits { failures: 3, open: Duration::from_secs(10), probe: Duration::from_secs(30) };
        let mut breaker = Breaker::new(limits);
        let start = tokio::time::Instant::now().into_std();
        for (index, (second, step, state)) in steps.iter().enumerate() {
            let now = start + Duration::from_secs(*second);
            match step {
                Do::Go => assert_eq!(breaker.ask(now), Verdict::Go, "step {index}"),
                Do::Wait(s) => {
                    assert_eq!(breaker.ask(now), Verdict::Wait(Duration::from_secs(*s)), "step {index}");
                }
                Do::Fail => breaker.failed(now),
                Do::Succeed => breaker.succeeded(),
            }
            assert_eq!(breaker.state().as_str(), *state, "step {index}");
        }
    }

    #[test]
    fn a_breaker_opens_probes_and_closes() {
        use Do::*;
        run(&[
            (0, Go, "closed"),
            (0, Fail, "closed"),
            (1, Fail, "closed"),
            (1, Go, "closed"),
            (2, Fail, "open"),
            (2, Wait(10), "open"),
            (11, Wait(1), "open"),
            (12, Go, "half-open"),
            (12, Wait(30), "half-open"),
            (13, Succeed, "closed"),
            (13, Go, "closed"),
        ]);
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        use Do::*;
        run(&[
            (0, Fail, "closed"),
            (0, Fail, "closed"),
            (0, Fail, "open"),
            (10, Go, "half-open"),
            (11, Fail, "open"),
            (12, Wait(9), "open"),
            (21, Go, "half-open"),
            (22, Succeed, "closed"),
            (22, Fail, "closed"),
        ]);
    }

    #[test]
    fn success_forgets_failures_and_late_failures_do_not_prolong() {
        use Do::*;
        run(&[
            (0, Fail, "closed"),
            (0, Fail, "closed"),
            (0, Succeed, "closed"),
            (0, Fail, "closed"),
            (0, Fail, "closed"),
            (0, Fail, "open"),
            // A request that was under way when it opened.
            (9, Fail, "open"),
            (10, Go, "half-open"),
        ]);
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_door_for_ever() {
        use Do::*;
        run(&[
            (0, Fail, "closed"),
            (0, Fail, "closed"),
            (0, Fail, "open"),
            (10, Go, "half-open"),
            (39, Wait(1), "half-open"),
            (40, Go, "half-open"),
            (41, Wait(29), "half-open"),
        ]);
    }
}
