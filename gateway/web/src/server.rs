//! The listener: TLS 1.3, HTTP/1.1 and HTTP/2, and the limits that a hostile neighbour meets before any page.
//!
//! **Limits.** [`CONNECTIONS_MAX`] connections, [`CONNECTIONS_PER_ADDRESS_MAX`] from one address;
//! [`HANDSHAKE_S_MAX`] for a handshake, [`HEADER_S_MAX`] for a header of at most [`HEADER_BYTES_MAX`],
//! [`crate::watched::STILL_S_MAX`] without a byte in either direction, [`CONNECTION_S_MAX`] in all;
//! [`STREAMS_MAX`] requests at once on an HTTP/2 connection. What is over a limit is closed, and nothing waits
//! in a queue for it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use model::{Clock, Timestamp};
use tls::{Identity, Reloaded, Rotating, throwaway};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::App;
use crate::guard::HostNames;
use crate::history::SAMPLE_S;
use crate::watched::Watched;
use crate::{Config, Product, router};

/// Most connections.
pub const CONNECTIONS_MAX: usize = 128;
/// Most connections from one address.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 32;
/// Longest TLS handshake, in seconds.
pub const HANDSHAKE_S_MAX: u64 = 10;
/// Longest time for the header of a request, in seconds.
pub const HEADER_S_MAX: u64 = 10;
/// Largest header of a request, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// Most fields in a header.
const HEADER_FIELDS_MAX: usize = 64;
/// Longest life of a connection, in seconds. A page's live update reconnects by itself.
pub const CONNECTION_S_MAX: u64 = 60 * 60;
/// Most requests at once on one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 32;
/// Longest time for answers under way when the server stops, in seconds.
const STOP_S_MAX: u64 = 5;
/// Pause after the system refused to accept, in seconds: out of descriptors, mostly.
const ACCEPT_PAUSE_S: u64 = 1;
/// How often certificate files are looked at, in seconds.
const CERTIFICATE_LOOK_S: u64 = 60;
/// Life of a self-signed certificate, in days: the longest that browsers take.
const SELF_SIGNED_DAYS: i64 = 825;
/// Days before its end at which a self-signed certificate is made anew.
const RENEW_DAYS: i64 = 30;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Why the pages cannot be served. All of them are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or may not be used.
    #[error("web.listen: cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Only one of certificate and key was named.
    #[error("web.certificate and web.key go together: name both or neither")]
    HalfCertificate,
    /// The certificate or its key cannot be read, used or, self-signed, made.
    #[error("web.certificate: {0}")]
    Certificate(#[from] tls::Error),
    /// The folder for the self-signed certificate cannot be made.
    #[error("{}: {source}; the web pages keep their certificate there", path.display())]
    DataDir {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A name in `host_names` is no host name.
    #[error("web.host_names: {name:?} is no host name; write it without scheme, port and path")]
    HostName {
        /// As written.
        name: String,
    },
    /// The system gives no memory or randomness for a first password hash.
    #[error("the system gives no random numbers, without which nobody could sign in")]
    Randomness,
}

/// A bound listener, not yet answering.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    acceptor: TlsAcceptor,
    identity: Arc<Rotating>,
    self_signed: Option<SelfSigned>,
    app: Arc<App>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the listener and loads the certificate, or makes a self-signed one under `data_dir/web/`.
    ///
    /// # Errors
    /// [`Error`]; nothing listens then.
    pub async fn bind(
        config: &Config,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        product: Arc<dyn Product>,
    ) -> Result<Self, Error> {
        let host_names =
            HostNames::new(&config.host_names).map_err(|name| Error::HostName { name: name.to_owned() })?;
        let (identity, self_signed) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => (Rotating::load(certificate, key)?, None),
            (None, None) => {
                let files = SelfSigned::new(data_dir, config)?;
                (files.load_or_make(clock.now())?, Some(files))
            }
            _ => return Err(Error::HalfCertificate),
        };
        let tls = tls::server_config(&identity, None, &["h2", "http/1.1"])?;
        let listen = config.listen;
        let listener = TcpListener::bind(listen).await.map_err(|source| Error::Listen { listen, source })?;
        let local_addr = listener.local_addr().map_err(|source| Error::Listen { listen, source })?;
        let trusted = self_signed.is_none();
        let app = App::new(product, clock, host_names, Some(Arc::clone(&identity)), trusted)
            .map_err(|_| Error::Randomness)?;
        Ok(Self {
            listener,
            local_addr,
            acceptor: TlsAcceptor::from(tls),
            identity,
            self_signed,
            app: Arc::new(app),
        })
    }

    /// Where it listens; tells the port where the configuration said 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// SHA-256 of the certificate, as a browser shows it: upper-case hex, pairs divided by colons.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.identity.current())
    }

    /// Serves until `stop`, then lets answers under way finish, 5 s at most.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, acceptor, identity, self_signed, app, .. } = self;
        let tasks = TaskTracker::new();
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Places::default());
        let router = router::build(&app);
        let chores = chores(Arc::clone(&app), identity, self_signed);
        tokio::pin!(chores);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                () = &mut chores => continue,
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
            let Some(place) = Places::take(&places, from.ip()) else {
                tracing::debug!(%from, "too many connections");
                continue;
            };
            let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), graceful.watcher());
            tasks.spawn(async move {
                serve(stream, from, acceptor, router, watcher).await;
                drop(place);
            });
        }
        drop(listener);
        app.stop.cancel();
        tasks.close();
        let over = async {
            graceful.shutdown().await;
            tasks.wait().await;
        };
        if tokio::time::timeout(Duration::from_secs(STOP_S_MAX), over).await.is_err() {
            tracing::info!(open = tasks.len(), "closing connections that did not end by themselves");
        }
    }
}

/// What is due now and then: samples for the charts, and looking after the certificate. Never ends.
async fn chores(app: Arc<App>, identity: Arc<Rotating>, self_signed: Option<SelfSigned>) {
    let mut samples = tokio::time::interval(Duration::from_secs(SAMPLE_S));
    let mut looks = tokio::time::interval(Duration::from_secs(CERTIFICATE_LOOK_S));
    loop {
        tokio::select! {
            _ = samples.tick() => app.sample(),
            _ = looks.tick() => {
                if let Some(files) = &self_signed {
                    files.renew_if_due(&identity, app.clock.now());
                }
                match identity.reload_if_changed() {
                    Ok(Reloaded::Unchanged) => {}
                    Ok(Reloaded::Swapped) => {
                        tracing::info!(fingerprint = fingerprint(&identity.current()), "web certificate replaced");
                    }
                    Err(error) => tracing::warn!(%error, "the web certificate was not replaced"),
                }
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    router: axum::Router,
    watcher: Watcher,
) {
    let handshake = async {
        let mut stream = stream;
        stream.set_nodelay(true)?;
        let mut first = [0_u8; 1];
        // A TLS connection begins with a handshake record (RFC 8446 section 5.1). Whoever speaks HTTP gets told.
        if stream.peek(&mut first).await? == 1 && first != [22] {
            stream.write_all(SPEAK_HTTPS).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        acceptor.accept(Watched::new(stream)).await.map(Some)
    };
    let io = match tokio::time::timeout(Duration::from_secs(HANDSHAKE_S_MAX), handshake).await {
        Ok(Ok(Some(io))) => io,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::debug!(%from, %error, "no TLS connection");
            return;
        }
    };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            request.extensions_mut().insert(ConnectInfo(from));
            let Ok(answer) = router.oneshot(request.map(axum::body::Body::new)).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_S_MAX))
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(crate::watched::STILL_S_MAX / 3))
        .keep_alive_timeout(Duration::from_secs(HEADER_S_MAX));
    let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
    let served = tokio::time::timeout(Duration::from_secs(CONNECTION_S_MAX), watcher.watch(connection)).await;
    if let Ok(Err(error)) = served {
        tracing::debug!(%from, %error, "connection ended");
    }
}

/// For whoever speaks HTTP to the HTTPS port. No redirect: it would have to trust the `Host` it was sent.
const SPEAK_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 62\r\n\
    Connection: close\r\n\r\n\
    This port speaks HTTPS. Begin the address with \"https://\".\r\n\r\n";

/// Counts connections by address.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; dropping it frees it.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(places: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or(0);
        if all >= CONNECTIONS_MAX || own >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place { places: Arc::clone(places), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                taken.remove(&self.address);
            }
        }
    }
}

/// The certificate that the box makes for itself.
#[derive(Debug)]
struct SelfSigned {
    certificate: PathBuf,
    key: PathBuf,
    names: Vec<String>,
}

impl SelfSigned {
    fn new(data_dir: &Path, config: &Config) -> Result<Self, Error> {
        let folder = data_dir.join("web");
        std::fs::create_dir_all(&folder).map_err(|source| Error::DataDir { path: folder.clone(), source })?;
        let mut names = config.host_names.clone();
        names.push("localhost".to_owned());
        names.push("127.0.0.1".to_owned());
        if !config.listen.ip().is_unspecified() && !config.listen.ip().is_loopback() {
            names.push(config.listen.ip().to_string());
        }
        Ok(Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem"), names })
    }

    /// The one from last time while it is good, so that people see the same fingerprint.
    fn load_or_make(&self, now: Timestamp) -> Result<Arc<Rotating>, tls::Error> {
        match Identity::load(&self.certificate, &self.key) {
            Ok(identity) if !is_due(&identity, now) => {}
            _ => self.make(now)?,
        }
        Rotating::load(&self.certificate, &self.key)
    }

    fn renew_if_due(&self, identity: &Rotating, now: Timestamp) {
        if !is_due(&identity.current(), now) {
            return;
        }
        if let Err(error) = self.make(now) {
            tracing::warn!(%error, "the self-signed web certificate was not renewed");
        }
    }

    fn make(&self, now: Timestamp) -> Result<(), tls::Error> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        // A day of grace for browsers whose clock is behind.
        let from = Timestamp::from_micros(now.micros().saturating_sub(MICROS_PER_DAY));
        let until = Timestamp::from_micros(now.micros().saturating_add(SELF_SIGNED_DAYS * MICROS_PER_DAY));
        throwaway::self_signed(&names, from, until)?.write(&self.certificate, &self.key)
    }
}

/// Whether a self-signed certificate should be made anew: near its end, over, or, after the box learnt the
/// time, from the future.
fn is_due(identity: &Identity, now: Timestamp) -> bool {
    let left = identity.expires_at().micros().saturating_sub(now.micros());
    left < RENEW_DAYS * MICROS_PER_DAY || identity.valid_from() > now
}

fn fingerprint(identity: &Identity) -> String {
    let hex = identity.fingerprint_sha256().to_ascii_uppercase();
    let pairs: Vec<String> =
        hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    pairs.join(":")
}
