//! Who holds how many connections of a listener, and how fast each peer may send.
//!
//! A peer is an address; all its connections share its pace. Pacing never refuses and never drops: a peer that sends
//! faster than it may is read more slowly, which its own system turns into a full window. It may run ahead of its
//! pace by [`BURST`], so that an ordinary sender never waits. Its debt outlives its connections: who reconnects
//! starts no new account.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How far ahead of its pace a peer may run.
pub const BURST: Duration = Duration::from_secs(1);
/// Most peers without a connection that are remembered for what they owe. Beyond that all of these are forgiven.
const DEBTORS_MAX: usize = 10_000;

/// Connections that are let in at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    /// In all.
    pub(crate) all: u32,
    /// Of one peer.
    pub(crate) of_peer: u32,
}

/// Who holds how many connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<Occupied>>);

#[derive(Debug, Default)]
struct Occupied {
    total: u32,
    by_peer: HashMap<IpAddr, Account>,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct Account {
    connections: u32,
    messages: Bucket,
    bytes: Bucket,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    peer: IpAddr,
}

impl Places {
    /// A place, if both the listener and the peer have one left.
    pub(crate) fn take(&self, peer: IpAddr, caps: Caps) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut occupied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = occupied.by_peer.get(&peer).map_or(0, |a| a.connections);
        if occupied.total >= caps.all || of_peer >= caps.of_peer {
            return None;
        }
        occupied.total += 1;
        occupied.by_peer.entry(peer).or_default().connections += 1;
        Some(Place { places: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut occupied = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        occupied.total = occupied.total.saturating_sub(1);
        let Some(account) = occupied.by_peer.get_mut(&self.peer) else { return };
        account.connections = account.connections.saturating_sub(1);
        let now = Instant::now();
        if account.connections == 0 && !account.owes(now) {
            occupied.by_peer.remove(&self.peer);
        }
        if occupied.by_peer.len() > DEBTORS_MAX {
            occupied.by_peer.retain(|_, a| a.connections > 0 || a.owes(now));
        }
        if occupied.by_peer.len() > DEBTORS_MAX {
            occupied.by_peer.retain(|_, a| a.connections > 0);
        }
    }
}

impl Account {
    fn owes(&self, now: Instant) -> bool {
        [&self.messages, &self.bytes].into_iter().any(|b| b.paid_at.is_some_and(|at| at > now))
    }
}

/// The pace of one connection's peer: as many messages and bytes a second as the feed permits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    place: Option<Arc<Place>>,
    messages_per_s: u64,
    bytes_per_s: u64,
}

impl Pace {
    /// The pace of this peer; holds its place. 0 is no limit.
    pub(crate) fn of(place: Place, messages_per_s: u64, bytes_per_s: u64) -> Self {
        Self { place: Some(Arc::new(place)), messages_per_s, bytes_per_s }
    }

    /// How long the peer must wait now that so many bytes of it were read.
    pub(crate) fn bytes(&self, count: u64) -> Duration {
        self.wait(self.bytes_per_s, count, |account| &mut account.bytes)
    }

    /// How long the peer must wait now that a frame of it has begun.
    pub(crate) fn message(&self) -> Duration {
        self.wait(self.messages_per_s, 1, |account| &mut account.messages)
    }

    fn wait(&self, per_s: u64, count: u64, bucket: impl Fn(&mut Account) -> &mut Bucket) -> Duration {
        let Some(place) = self.place.as_ref().filter(|_| per_s > 0) else { return Duration::ZERO };
        let mut occupied = place.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(account) = occupied.by_peer.get_mut(&place.peer) else { return Duration::ZERO };
        bucket(account).take(count, per_s, Instant::now())
    }
}

/// A token bucket, kept as the moment at which all that was taken is paid for.
#[derive(Debug, Default)]
struct Bucket {
    paid_at: Option<Instant>,
}

impl Bucket {
    /// Takes tokens and says how long to wait before going on.
    fn take(&mut self, count: u64, per_s: u64, now: Instant) -> Duration {
        let nanos = u128::from(count) * 1_000_000_000 / u128::from(per_s.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let paid_at = self.paid_at.map_or(now, |at| at.max(now)) + cost;
        self.paid_at = Some(paid_at);
        paid_at.saturating_duration_since(now + BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: Caps = Caps { all: u32::MAX, of_peer: u32::MAX };

    fn pace(places: &Places, peer: &str, messages: u64, bytes: u64) -> Pace {
        Pace::of(places.take(peer.parse().unwrap(), MANY).unwrap(), messages, bytes)
    }

    #[test]
    fn places_are_given_back() {
        let (places, caps) = (Places::default(), Caps { all: 2, of_peer: 1 });
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = places.take(ip("10.0.0.1"), caps).unwrap();
        assert!(places.take(ip("::ffff:10.0.0.1"), caps).is_none());
        let _second = places.take(ip("10.0.0.2"), caps).unwrap();
        assert!(places.take(ip("10.0.0.3"), caps).is_none());
        drop(first);
        places.take(ip("10.0.0.3"), caps).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_gets_its_pace_over_all_its_connections_and_others_get_theirs() {
        let places = Places::default();
        let [first, second] = ["10.0.0.1", "::ffff:10.0.0.1"].map(|peer| pace(&places, peer, 10, 0));
        let begun = Instant::now();
        for _ in 0..50 {
            tokio::time::sleep(first.message()).await;
            tokio::time::sleep(second.message()).await;
        }
        // 100 messages at 10 a second, of which the first second's worth came at once.
        assert_eq!(begun.elapsed().as_secs(), 9);
        assert_eq!(pace(&places, "10.0.0.2", 10, 0).message(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn reconnecting_pays_no_debt() {
        let places = Places::default();
        let before = pace(&places, "10.0.0.1", 0, 1_000);
        assert_eq!(before.bytes(5_000), Duration::from_secs(4));
        drop(before);
        let again = pace(&places, "10.0.0.1", 0, 1_000);
        assert_eq!(again.bytes(1_000), Duration::from_secs(5));
        drop(again);
        tokio::time::sleep(Duration::from_secs(7)).await;
        drop(pace(&places, "10.0.0.1", 0, 1_000));
        assert!(places.0.lock().unwrap().by_peer.is_empty(), "an account that owes nothing is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn debtors_are_bounded() {
        let places = Places::default();
        for n in 0..=u32::try_from(DEBTORS_MAX).unwrap() {
            let peer = std::net::Ipv4Addr::from_bits(n);
            let pace = pace(&places, &peer.to_string(), 1, 0);
            pace.message();
            pace.message();
        }
        assert!(places.0.lock().unwrap().by_peer.len() <= DEBTORS_MAX);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pace = Pace::default();
        assert_eq!((pace.message(), pace.bytes(u64::MAX)), (Duration::ZERO, Duration::ZERO));
    }
}
