//! The listener: who may connect, and the life of its connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Clock, Intake, Refusal, Slug};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::serve;
use super::reply::Replies;
use super::stats::{Counters, Stats};
use super::{Config, Error};

/// Connections that the system keeps waiting to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after the system could not give a connection, for example for want of file descriptors.
const ACCEPT_RETRY_MS: u64 = 100;
/// A connection without traffic is probed after so long, then at this interval, and dropped after so many.
const KEEPALIVE_IDLE_S: u64 = 30;
const KEEPALIVE_INTERVAL_S: u64 = 10;
const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that the peer's system does not confirm for so long end the connection.
const UNCONFIRMED_MS_MAX: u32 = 60_000;

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Server {
    name: Slug,
    config: Config,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    handle: Handle,
}

/// For others: what the listener counts and where it listens. Cheap to clone, outlives the server.
#[derive(Debug, Clone)]
pub struct Handle {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
}

impl Handle {
    /// The counters now.
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// The address in use; the port that the system chose where the configuration says 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Server {
    /// Binds the address, so that a wrong one fails at start. Must be called within a runtime.
    ///
    /// # Errors
    /// [`Error`]: the operator must act.
    pub fn bind(feed: Slug, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        config.check()?;
        let (listener, local_addr) = listen(config.listen).map_err(|source| Error::Bind {
            feed: feed.clone(),
            listen: config.listen,
            source,
        })?;
        let handle = Handle { local_addr, counters: Arc::default() };
        Ok(Self { name: feed, config: config.clone(), clock, listener, handle })
    }

    /// A handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The address in use.
    pub const fn local_addr(&self) -> SocketAddr {
        self.handle.local_addr
    }

    /// Serves until `stop`, then ends the connections in order and returns when the last has ended.
    pub async fn run<I: Intake>(self, intake: I, stop: CancellationToken) {
        let Self { name, config, clock, listener, handle } = self;
        tracing::info!(feed = %name, listen = %handle.local_addr, "listening for MLLP");
        let feed = Feed::new(name, config, clock, handle.counters, intake);
        let places = Places::default();
        let tracker = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => admit(stream, peer, &feed, &places, &stop, &tracker),
                Err(error) => {
                    tracing::warn!(feed = %feed.name, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            }
        }
        drop(listener);
        tracker.close();
        tracker.wait().await;
        tracing::info!(feed = %feed.name, "stopped listening for MLLP");
    }
}

/// Starts serving a connection, or closes it where there is no place left.
fn admit<I: Intake>(
    stream: TcpStream,
    peer: SocketAddr,
    feed: &Feed<I>,
    places: &Places,
    stop: &CancellationToken,
    tracker: &TaskTracker,
) {
    let Some(place) = places.take(peer.ip(), &feed.config) else {
        let refused = feed.counters.connections_refused.one();
        if refused.is_power_of_two() {
            tracing::warn!(feed = %feed.name, %peer, refused, "too many connections; the new one was closed");
        }
        return;
    };
    if let Err(error) = tune(&stream) {
        tracing::debug!(feed = %feed.name, %peer, %error, "the connection ended before it was served");
        return;
    }
    feed.counters.connections_total.one();
    feed.counters.connections.one();
    tracing::info!(feed = %feed.name, %peer, "connected");
    let (feed, stop) = (feed.clone(), stop.clone());
    tracker.spawn(async move {
        serve(stream, peer.to_string(), feed.clone(), stop).await;
        feed.counters.connections.down();
        drop(place);
    });
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restart does not wait for the old connections' TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let local_addr = listener.local_addr()?;
    Ok((listener, local_addr))
}

/// Nagle's algorithm and delayed acknowledgements together cost 40 ms a message; half-open connections are found
/// by keepalive.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(KEEPALIVE_IDLE_S))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(KEEPALIVE_INTERVAL_S))?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MS_MAX)?;
    Ok(())
}

/// What the connections of a listener share. Cheap to clone.
pub(crate) struct Feed<I>(Arc<Inner<I>>);

pub(crate) struct Inner<I> {
    pub(crate) name: Slug,
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) replies: Replies,
    pub(crate) intake: I,
}

impl<I> Feed<I> {
    pub(crate) fn new(
        name: Slug,
        config: Config,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        intake: I,
    ) -> Self {
        let replies = Replies::new(Arc::clone(&clock), config.frame_bytes_max);
        Self(Arc::new(Inner { name, config, clock, counters, replies, intake }))
    }
}

impl<I> Clone for Feed<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Deref for Feed<I> {
    type Target = Inner<I>;

    fn deref(&self) -> &Inner<I> {
        &self.0
    }
}

impl<I> Inner<I> {
    /// Counts and logs a frame that was not stored. A sender may repeat it for days: the log gets fewer and fewer
    /// lines of it, the counter every one.
    pub(crate) fn refuse(&self, refusal: Refusal, peer: &str, bytes: u64) {
        let refused = self.counters.refused.one();
        if !refused.is_power_of_two() {
            tracing::debug!(feed = %self.name, %peer, bytes, refused, %refusal, "a frame was not stored, and its sender told so");
            return;
        }
        tracing::warn!(feed = %self.name, %peer, bytes, refused, %refusal, "a frame was not stored, and its sender told so");
    }
}

/// Who holds how many connections.
#[derive(Debug, Clone, Default)]
struct Places(Arc<Mutex<Occupied>>);

#[derive(Debug, Default)]
struct Occupied {
    total: u32,
    by_peer: HashMap<IpAddr, u32>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    peer: IpAddr,
}

impl Places {
    fn take(&self, peer: IpAddr, config: &Config) -> Option<Place> {
        let peer = peer.to_canonical();
        let mut occupied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = occupied.by_peer.get(&peer).copied().unwrap_or(0);
        if occupied.total >= config.connections_max || of_peer >= config.connections_per_peer_max {
            return None;
        }
        occupied.total += 1;
        occupied.by_peer.insert(peer, of_peer + 1);
        Some(Place { places: self.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut occupied = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        occupied.total = occupied.total.saturating_sub(1);
        match occupied.by_peer.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                occupied.by_peer.remove(&self.peer);
            }
        }
    }
}
