//! Slows down who guesses, without ever shutting the box.
//!
//! Failures are counted per address: an IPv4 address, or the /64 network of an IPv6 address, in which a host
//! may choose freely. [`FREE_FAILURES`] cost nothing; from then on each failure doubles the wait, from
//! [`WAIT_S_FIRST`] to [`WAIT_S_MAX`] seconds. So one address gets about a hundred guesses a day, and another
//! address, the operator's, is never locked because of it. Accounts are not locked at all: whoever knows a name
//! could then keep its owner out. What bounds many addresses together is the one turn at the password hash
//! (see [`crate::password`]) and the length of the passwords.
//!
//! **Limits.** [`ADDRESSES_MAX`] addresses; the one whose failures are oldest makes room. Forgotten
//! [`FORGET_S`] after the last failure. Time is the monotonic clock: setting the box's time unlocks nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures before the first wait.
pub(crate) const FREE_FAILURES: u32 = 5;
/// The first wait, in seconds.
const WAIT_S_FIRST: u64 = 5;
/// The longest wait, in seconds.
pub(crate) const WAIT_S_MAX: u64 = 15 * 60;
/// Failures are forgotten this long after the last, in seconds.
const FORGET_S: u64 = 2 * 60 * 60;
/// Most addresses remembered.
const ADDRESSES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

/// The failures of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

/// Come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) seconds: u64,
}

impl Throttle {
    /// Lets an attempt through, or says how long to wait. The attempt counts as failed until
    /// [`Throttle::succeeded`], so that many at once are counted too.
    pub(crate) fn enter(&self, from: IpAddr) -> Result<(), Wait> {
        let now = Instant::now();
        let address = network(from);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, f| now.duration_since(f.last) < Duration::from_secs(FORGET_S));
        if let Some(known) = failures.get(&address) {
            let over = known.last + Duration::from_secs(wait_s(known.count));
            if over > now {
                return Err(Wait { seconds: (over - now).as_secs_f64().ceil() as u64 });
            }
        } else if failures.len() >= ADDRESSES_MAX {
            let oldest = failures.iter().min_by_key(|(_, f)| f.last).map(|(address, _)| *address);
            if let Some(oldest) = oldest {
                failures.remove(&oldest);
            }
        }
        let entry = failures.entry(address).or_insert(Failures { count: 0, last: now });
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        Ok(())
    }

    /// The attempt was right: the address starts afresh.
    pub(crate) fn succeeded(&self, from: IpAddr) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&network(from));
    }

    /// The attempt was neither right nor wrong: it could not be looked at. It does not count.
    pub(crate) fn undecided(&self, from: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = failures.get_mut(&network(from)) {
            known.count = known.count.saturating_sub(1);
        }
    }
}

/// The wait after `count` failures, in seconds.
fn wait_s(count: u32) -> u64 {
    match count.checked_sub(FREE_FAILURES) {
        None => 0,
        Some(over) => {
            WAIT_S_FIRST.saturating_mul(1_u64.checked_shl(over).unwrap_or(u64::MAX)).min(WAIT_S_MAX)
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_bound_and_never_end() {
        let throttle = Throttle::default();
        let guesser = ip("10.0.0.9");
        for _ in 0..FREE_FAILURES {
            assert_eq!(throttle.enter(guesser), Ok(()));
        }
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = throttle.enter(guesser).unwrap_err();
            waits.push(wait.seconds);
            tokio::time::advance(Duration::from_secs(wait.seconds)).await;
            assert_eq!(throttle.enter(guesser), Ok(()));
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        // Somebody else was never locked, and the guesser is forgotten in the end.
        assert_eq!(throttle.enter(ip("10.0.0.10")), Ok(()));
        tokio::time::advance(Duration::from_secs(FORGET_S)).await;
        for _ in 0..FREE_FAILURES {
            assert_eq!(throttle.enter(guesser), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn success_forgets_and_a_burst_counts() {
        let throttle = Throttle::default();
        let person = ip("10.0.0.9");
        for _ in 0..FREE_FAILURES {
            throttle.enter(person).unwrap();
        }
        assert!(throttle.enter(person).is_err(), "five at once, none answered yet");
        throttle.succeeded(person);
        assert_eq!(throttle.enter(person), Ok(()));
        throttle.undecided(person);
        for _ in 0..FREE_FAILURES {
            assert_eq!(throttle.enter(person), Ok(()), "what was not looked at does not count");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_cannot_hide_in_its_network_nor_fill_the_table() {
        let throttle = Throttle::default();
        for host in 1..=FREE_FAILURES {
            throttle.enter(ip(&format!("2001:db8::{host:x}"))).unwrap();
        }
        assert!(throttle.enter(ip("2001:db8::ffff:1")).is_err());
        assert!(throttle.enter(ip("2001:db8:0:1::1")).is_ok());
        assert_eq!(network(ip("::ffff:10.0.0.9")), ip("10.0.0.9"));
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            throttle.enter(IpAddr::V4((0x0a00_0000 + n).into())).unwrap();
        }
        assert_eq!(throttle.failures.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
