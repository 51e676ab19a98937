//! Requests by client.
//!
//! **Limit.** [`CLIENTS_REMEMBERED_MAX`] clients have a quota of their own at a time; the others share one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Most clients whose requests are counted one by one.
const CLIENTS_REMEMBERED_MAX: usize = 10_000;
/// A client may send so much of its quota of a minute at once: a sixth.
const BURST_OF_MINUTE: u32 = 6;
/// Requests a minute of those who are not known yet, from one address: for tokens and the capability statement.
pub(super) const STRANGERS_PER_MINUTE_MAX: u32 = 600;

/// How fast each client sends: the moment at which it will have used what it may (GCRA).
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Instant>>);

impl Quotas {
    /// Takes one request of so many a minute.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn take(&self, client: &str, per_minute: u32) -> Result<(), Duration> {
        let now = Instant::now();
        let each = Duration::from_secs(60) / per_minute.max(1);
        let burst = each * (per_minute / BURST_OF_MINUTE).max(10);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= CLIENTS_REMEMBERED_MAX && !used.contains_key(client) {
            used.retain(|_, until| *until > now);
        }
        let crowd = used.len() >= CLIENTS_REMEMBERED_MAX && !used.contains_key(client);
        let until = used.entry(if crowd { String::new() } else { client.to_owned() }).or_insert(now);
        let next = (*until).max(now) + each;
        if next > now + burst {
            return Err(next - now - burst);
        }
        *until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quota_lets_bursts_through_and_no_more() {
        let quotas = Quotas::default();
        for _ in 0..100 {
            quotas.take("a", 600).unwrap();
        }
        let wait = quotas.take("a", 600).unwrap_err();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        quotas.take("b", 600).unwrap();
        tokio::time::advance(wait).await;
        quotas.take("a", 600).unwrap();
        quotas.take("a", 600).unwrap_err();
        tokio::time::advance(Duration::from_secs(60)).await;
        for _ in 0..100 {
            quotas.take("a", 600).unwrap();
        }
    }
}
