//! The last quarter of an hour, for the small charts: how much arrived, how much was delivered, how much waits.
//! In memory, [`SAMPLES_MAX`] samples, one every [`SAMPLE_S`] seconds; a restart begins anew.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::Status;

/// Seconds from one sample to the next.
pub(crate) const SAMPLE_S: u64 = 15;
/// Samples kept: fifteen minutes and the one before.
const SAMPLES_MAX: usize = 61;

#[derive(Debug, Clone, Copy)]
struct Sample {
    accepted: u64,
    delivered: u64,
    backlog: u64,
}

/// The samples.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: Mutex<VecDeque<Sample>>,
}

/// What the charts draw, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trend {
    /// New records per minute.
    pub(crate) accepted_per_min: Vec<u64>,
    /// Records delivered per minute, over all destinations.
    pub(crate) delivered_per_min: Vec<u64>,
    /// Records waiting, over all destinations.
    pub(crate) backlog: Vec<u64>,
}

impl History {
    /// Adds a sample; the oldest makes room.
    pub(crate) fn push(&self, status: &Status) {
        let sample = Sample {
            accepted: status.feeds.iter().map(|feed| feed.accepted).sum(),
            delivered: status.destinations.iter().map(|destination| destination.delivered).sum(),
            backlog: status.backlog(),
        };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        while samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Rates between neighbouring samples. A counter that went back (a feed was removed) gives 0.
    pub(crate) fn trend(&self) -> Trend {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |of: fn(&Sample) -> u64| {
            let later = samples.iter().skip(1);
            samples.iter().zip(later).map(|(a, b)| of(b).saturating_sub(of(a)) * 60 / SAMPLE_S).collect()
        };
        Trend {
            accepted_per_min: rate(|s| s.accepted),
            delivered_per_min: rate(|s| s.delivered),
            backlog: samples.iter().skip(1).map(|s| s.backlog).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(accepted: u64, delivered: u64, backlog: u64) -> Sample {
        Sample { accepted, delivered, backlog }
    }

    #[test]
    fn rates_are_per_minute_and_never_negative() {
        let history = History::default();
        assert_eq!(history.trend(), Trend::default());
        history.samples.lock().unwrap().extend([sample(100, 50, 7), sample(110, 50, 17), sample(4, 60, 0)]);
        let trend = history.trend();
        assert_eq!(trend.accepted_per_min, [40, 0], "a feed was removed");
        assert_eq!(trend.delivered_per_min, [0, 40]);
        assert_eq!(trend.backlog, [17, 0]);
    }
}
