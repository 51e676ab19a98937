//! What the listeners of this room have in common: a bound socket with its handle, who gets in, places and pace, and
//! counters. Which protocol is spoken over a connection is the business of the folder beside this one.
//!
//! **Limits.** [`BACKLOG`] connections wait to be accepted. A peer that vanished without a word is found by keepalive after
//! [`KEEPALIVE_IDLE_S`] and [`KEEPALIVE_PROBES`] probes every [`KEEPALIVE_INTERVAL_S`] seconds, one that owes
//! confirmations after [`UNCONFIRMED_MS_MAX`]: about a minute.

pub(crate) mod places;
mod stats;
mod turned;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Slug;
use rustix::net::sockopt;
use tls::{Listening, PeerNames};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::listener::Acceptor;

pub use places::BURST;
pub use stats::Counts;
pub(crate) use stats::{Counter, counted};
pub(crate) use turned::Turned;

/// A connection without traffic is probed after so long, then at this interval, and dropped after so many.
pub const KEEPALIVE_IDLE_S: u64 = 30;
/// See [`KEEPALIVE_IDLE_S`].
pub const KEEPALIVE_INTERVAL_S: u64 = 10;
/// See [`KEEPALIVE_IDLE_S`].
pub const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that the peer's system does not confirm for so long end the connection.
pub const UNCONFIRMED_MS_MAX: u32 = 60_000;
/// Connections that the system keeps waiting to be accepted.
pub const BACKLOG: u32 = 1024;
/// Pause after the system could not give a connection, for example for want of file descriptors.
const ACCEPT_RETRY_MS: u64 = 100;

/// For others: what a listener counts and where it listens. Cheap to clone, outlives the server.
#[derive(Debug)]
pub struct Handle<C> {
    local_addr: SocketAddr,
    counters: Arc<C>,
    listening: Option<Arc<Listening>>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        let Self { local_addr, counters, listening } = self;
        Self { local_addr: *local_addr, counters: Arc::clone(counters), listening: listening.clone() }
    }
}

impl<C: Counts> Handle<C> {
    /// The counters now.
    pub fn stats(&self) -> C::Stats {
        self.counters.stats()
    }
}

impl<C> Handle<C> {
    /// The address in use; the port that the system chose where the configuration says 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What the listener shows over TLS, for renewal; `None` where it takes plain text.
    pub const fn listening(&self) -> Option<&Arc<Listening>> {
        self.listening.as_ref()
    }

    pub(crate) fn counters(&self) -> Arc<C> {
        Arc::clone(&self.counters)
    }
}

/// A bound socket that does not accept yet.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: TcpListener,
    local_addr: SocketAddr,
    acceptor: Option<Acceptor>,
}

impl Socket {
    /// Binds the address. Must be called within a runtime.
    pub(crate) fn bind(address: SocketAddr, acceptor: Option<Acceptor>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a restart does not wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local_addr = listener.local_addr()?;
        Ok(Self { listener, local_addr, acceptor })
    }

    /// A handle with counters that begin now.
    pub(crate) fn handle<C: Default>(&self) -> Handle<C> {
        let listening = self.acceptor.as_ref().map(|acceptor| Arc::clone(acceptor.listening()));
        Handle { local_addr: self.local_addr, counters: Arc::default(), listening }
    }

    /// What takes TLS handshakes; `None` where plain text is spoken.
    pub(crate) const fn acceptor(&self) -> Option<&Acceptor> {
        self.acceptor.as_ref()
    }

    /// Hands every connection to `admit` until `stop`, then returns when the tasks that it began have ended.
    pub(crate) async fn accept(
        self,
        feed: &Slug,
        stop: &CancellationToken,
        admit: impl Fn(TcpStream, SocketAddr, &TaskTracker),
    ) {
        let tracker = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    admit(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()), &tracker);
                }
                Err(error) => {
                    tracing::warn!(%feed, %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            }
        }
        drop(self);
        tracker.close();
        tracker.wait().await;
    }
}

/// Nagle's algorithm and delayed acknowledgements together cost 40 ms a message; half-open connections are found
/// by keepalive.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(KEEPALIVE_IDLE_S))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(KEEPALIVE_INTERVAL_S))?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MS_MAX)?;
    Ok(())
}

/// How a peer is called in records, faults and logs: by the name in its certificate, where there is one, and its
/// address.
pub(crate) fn called(peer: SocketAddr, names: Option<&PeerNames>) -> String {
    names.map_or_else(|| peer.to_string(), |names| format!("{names} ({peer})"))
}
