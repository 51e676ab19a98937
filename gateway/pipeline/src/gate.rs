//! The circuit breaker of a destination, shared by its lanes: while it does not answer, one lane finds out for all,
//! and when that one gets through, the others go on at once, whatever they were waiting for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use forward::retry::{Breaker, BreakerLimits, State, Verdict};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    breaker: Mutex<Breaker>,
    opened: Notify,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { breaker: Mutex::new(Breaker::new(BreakerLimits::default())), opened: Notify::new() }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request may go now.
    pub(crate) fn ask(&self) -> Verdict {
        self.breaker().ask(Instant::now().into_std())
    }

    /// A request did not get through.
    pub(crate) fn failed(&self) {
        self.breaker().failed(Instant::now().into_std());
    }

    /// A request got through. Wakes the other lanes if the door was shut until now; not every time, or two lanes
    /// that fail behind an open door would drive each other without a pause.
    pub(crate) fn succeeded(&self) {
        let mut breaker = self.breaker();
        let was_shut = breaker.state() != State::Closed;
        breaker.succeeded();
        drop(breaker);
        if was_shut {
            self.opened.notify_waiters();
        }
    }

    /// Ready when the door opens, from the moment of this call on.
    pub(crate) fn opens(&self) -> Notified<'_> {
        self.opened.notified()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn when_one_lane_gets_through_the_others_go_on_at_once() {
        let gate = Gate::new();
        while gate.ask() == Verdict::Go {
            gate.failed();
        }
        let Verdict::Wait(open) = gate.ask() else { panic!("it is open") };
        tokio::time::advance(open).await;
        // One lane probes, the other would wait for as long as a probe may take.
        let opens = gate.opens();
        assert_eq!(gate.ask(), Verdict::Go);
        let Verdict::Wait(probing) = gate.ask() else { panic!("two probes at once") };
        assert!(probing > Duration::from_secs(60));
        gate.succeeded();
        tokio::time::timeout(Duration::from_millis(1), opens).await.expect("woken");
        assert_eq!(gate.ask(), Verdict::Go);
        // A success behind an open door wakes nobody.
        let opens = gate.opens();
        gate.succeeded();
        assert!(tokio::time::timeout(Duration::from_secs(5), opens).await.is_err());
    }
}
