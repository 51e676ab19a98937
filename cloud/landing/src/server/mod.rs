//! The protocol of `docs/wire-protocol.md` over mutual TLS 1.3.
//!
//! **Limits.** [`CONNECTIONS_MAX`] connections of at most [`CONNECTION_S_MAX`]; [`HANDSHAKE_S_MAX`] for a
//! handshake, [`HEADER_S_MAX`] for a header, [`STILL_S_MAX`] without a byte of a body; [`STREAMS_MAX`] requests
//! at once on a connection. Bodies under way take at most [`upload::WIRE_BYTES_MAX`], batches that are decoded
//! or being committed at most [`upload::RAW_BYTES_MAX`]; who would exceed that waits, unread, so that HTTP/2
//! holds the sender back.
//!
//! **Invariants.** A connection lives no longer than [`CONNECTION_S_MAX`], so that an expired or revoked
//! certificate does not live on in one. On a stop nothing new is accepted, what is under way is answered within
//! [`DRAIN_S_MAX`], and the tables are closed last.

mod answer;
mod connection;
mod operations;
mod routes;
pub mod upload;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Slug};
use tls::{Ca, Reloaded, Rotating};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Destination};
use crate::lake;
use crate::witness::Witness;

/// Most connections.
pub const CONNECTIONS_MAX: usize = 512;
/// Longest life of a connection, in seconds; then the client is asked to connect anew.
pub const CONNECTION_S_MAX: u64 = 15 * 60;
/// Longest TLS handshake, in seconds.
pub const HANDSHAKE_S_MAX: u64 = 10;
/// Longest time for the header of a request, in seconds.
pub const HEADER_S_MAX: u64 = 10;
/// Longest time without a byte of a body, in seconds.
pub const STILL_S_MAX: u64 = 30;
/// Most requests at once on one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 32;
/// Longest time for what is under way when the landing stops, in seconds.
pub const DRAIN_S_MAX: u64 = 20;
/// Pause after the system refused to accept, in seconds: out of descriptors, mostly.
const ACCEPT_PAUSE_S: u64 = 1;
/// How often certificate files are looked at, in seconds.
const CERTIFICATE_LOOK_S: u64 = 10;
/// An expired certificate is mentioned again after so many looks.
const CERTIFICATE_REMIND_LOOKS: u32 = 60;

/// Why the landing cannot start. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or may not be used.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate, its key or the authorities cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A root cannot be opened.
    #[error(transparent)]
    Lake(#[from] lake::Error),
}

/// A destination, open.
#[derive(Debug)]
struct Open {
    config: Destination,
    lake: lake::Handle,
    witness: Arc<Witness>,
}

/// What every request sees.
#[derive(Debug)]
struct App {
    destinations: HashMap<Slug, Open>,
    budget: upload::Budget,
}

impl App {
    fn is_ready(&self) -> bool {
        self.destinations.values().all(|open| open.lake.is_alive())
    }
}

/// A landing that listens and does not yet answer.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    operations: Option<TcpListener>,
    acceptor: TlsAcceptor,
    identity: Arc<Rotating>,
    app: Arc<App>,
    committers: Vec<lake::Committer>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Loads the certificates, binds the listeners and opens the roots, which catch up first.
    ///
    /// # Errors
    /// [`Error`]; nothing is listened on then.
    pub async fn bind(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let identity = Rotating::load(&config.certificate, &config.key)?;
        identity.current().check_validity(clock.now())?;
        let mut authorities = Ca::load(&config.client_ca)?;
        if let Some(lists) = &config.client_crl {
            authorities = authorities.with_revocations(lists)?;
        }
        let tls = tls::server_config(&identity, Some(&authorities), &["h2", "http/1.1"])?;
        let (listener, local_addr) = listen(config.listen).await?;
        let operations = match config.operations {
            Some(address) => Some(listen(address).await?.0),
            None => None,
        };
        let mut destinations = HashMap::new();
        let mut committers = Vec::new();
        for destination in &config.destinations {
            let Destination { name, root, policy, .. } = destination.clone();
            let witness = Arc::new(Witness::new(&root, Arc::clone(&clock)));
            let (lake, committer) = lake::Config { root, policy }.build(Arc::clone(&clock)).await?;
            destinations.insert(name, Open { config: destination.clone(), lake, witness });
            committers.push(committer);
        }
        let app = Arc::new(App { destinations, budget: upload::Budget::default() });
        let acceptor = TlsAcceptor::from(tls);
        Ok(Self { listener, local_addr, operations, acceptor, identity, app, committers, clock })
    }

    /// Where it listens; tells the port where the configuration said 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where health is answered, if anywhere.
    pub fn operations_addr(&self) -> Option<SocketAddr> {
        self.operations.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`, then drains and closes the tables.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, operations, acceptor, identity, app, committers, clock, .. } = self;
        let (connections, tables) = (TaskTracker::new(), TaskTracker::new());
        let close_tables = CancellationToken::new();
        for committer in committers {
            tables.spawn(committer.run(close_tables.clone()));
        }
        if let Some(operations) = operations {
            connections.spawn(operations::serve(operations, Arc::clone(&app), stop.clone()));
        }
        connections.spawn(look_after_certificate(identity, clock, stop.clone()));
        let router = routes::router(Arc::clone(&app));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_secs(ACCEPT_PAUSE_S)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%from, "too many connections");
                continue;
            };
            let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
            connections.spawn(async move {
                connection::serve(stream, from, acceptor, router, stop).await;
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(Duration::from_secs(DRAIN_S_MAX), connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "some requests took too long to drain");
        }
        close_tables.cancel();
        tables.close();
        tables.wait().await;
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { listen: address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Takes a renewed certificate into use, and warns of one that was not renewed.
async fn look_after_certificate(identity: Arc<Rotating>, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut looks_since_said = CERTIFICATE_REMIND_LOOKS;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(CERTIFICATE_LOOK_S)) => {}
        }
        match identity.reload_if_changed() {
            Ok(Reloaded::Swapped) => tracing::info!("new certificate in use"),
            Ok(Reloaded::Unchanged) => {}
            Err(error) => tracing::warn!(%error, "the certificate cannot be reloaded; the old one stays"),
        }
        match identity.current().check_validity(clock.now()) {
            Ok(()) => looks_since_said = CERTIFICATE_REMIND_LOOKS,
            Err(error) if looks_since_said >= CERTIFICATE_REMIND_LOOKS => {
                tracing::error!(%error, "gateways will not connect");
                looks_since_said = 1;
            }
            Err(_) => looks_since_said += 1,
        }
    }
}
