//! Who was turned away how often, so that a fault that repeats for days does not fill the log and hides no other one
//! either.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Most pairs of peer and reason that are remembered; then all are forgotten.
const TURNED_MAX: usize = 1_024;

/// Counts by peer and reason.
#[derive(Debug, Default)]
pub(crate) struct Turned(Mutex<HashMap<(IpAddr, String), u64>>);

impl Turned {
    /// Counts; how often it was, where that is worth a line: at 1, 2, 4, 8 and so on.
    pub(crate) fn again(&self, peer: IpAddr, reason: &str) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= TURNED_MAX {
            seen.clear();
        }
        let times = seen.entry((peer, reason.to_owned())).or_default();
        *times += 1;
        times.is_power_of_two().then_some(*times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_repeats_hides_no_other() {
        let turned = Turned::default();
        let [one, two] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let lines = |peer, reason| (0..100).filter(|_| turned.again(peer, reason).is_some()).count();
        assert_eq!([lines(one, "tls"), lines(one, "network"), lines(two, "tls")], [7, 7, 7]);
        for n in 0..10_000_u32 {
            turned.again(std::net::Ipv4Addr::from_bits(n).into(), "tls");
        }
        assert!(turned.0.lock().unwrap().len() <= TURNED_MAX);
    }
}
