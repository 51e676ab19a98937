//! The listener: connections, TLS, and hyper.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use model::{Clock, FaultKind, Intake, Slug};
use tls::PeerNames;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Authority;
use super::service::{Caller, Endpoint};
use super::stats::Counters;
use super::{Config, Error};
use crate::listener::{Acceptor, Handshake};
use crate::socket::places::Places;
use crate::socket::{Socket, Turned, called, tune};

/// Protocols in order of preference.
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];
/// Largest header of a request, in bytes: a token and what proxies add.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// Most fields in a header.
const HEADER_FIELDS_MAX: usize = 64;
/// Longest time for a header, and between requests on HTTP/1.1, in seconds.
pub const HEADER_S_MAX: u64 = 60;
/// Most requests at once on one HTTP/2 connection.
pub const STREAMS_MAX: u32 = 64;
/// Longest life of a connection, in seconds; then it is ended in order, and a new one reads new certificates.
pub const CONNECTION_S_MAX: u64 = 60 * 60;
/// Longest time for requests in progress when a connection is ended, in seconds.
pub const STOP_GRACE_S: u64 = 10;
/// How often the files of clients' keys are looked at, in seconds.
const KEYS_LOOK_S: u64 = 10;
/// An HTTP/2 connection is probed so often, and dropped when no answer comes within half of it.
const PING_S: u64 = 30;
/// A bound endpoint that does not accept yet.
#[derive(Debug)]
pub struct Server {
    name: Slug,
    config: Config,
    clock: Arc<dyn Clock>,
    socket: Socket,
    authority: Authority,
    started: [u8; 16],
    handle: Handle,
}

/// For others: what the endpoint counts and where it listens.
pub type Handle = crate::socket::Handle<Counters>;

impl Server {
    /// Reads certificates and keys and binds the address, so that a wrong one fails at start. Must be called within a
    /// runtime.
    ///
    /// # Errors
    /// [`Error`]: the operator must act.
    pub fn bind(feed: Slug, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        config.check()?;
        let acceptor = config.tls.as_ref().map(|tls| tls.acceptor(PROTOCOLS)).transpose()?;
        let audience = format!("{}/token", config.url.as_deref().unwrap_or_default());
        let authority = Authority::load(&config.clients, audience)?;
        let bind = |source| Error::Bind { feed: feed.clone(), listen: config.listen, source };
        let socket = Socket::bind(config.listen, acceptor).map_err(bind)?;
        let mut started = [0; 16];
        rand::fill(&mut started).map_err(|_| bind(io::Error::other("the system gives no random numbers")))?;
        let handle = socket.handle();
        Ok(Self { name: feed, config: config.clone(), clock, socket, authority, started, handle })
    }

    /// A handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The address in use.
    pub const fn local_addr(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    /// Serves until `stop`, then ends the connections in order and returns when the last has ended.
    pub async fn run<I: Intake>(self, intake: I, stop: CancellationToken) {
        let Self { name, config, clock, socket, authority, started, handle } = self;
        let acceptor = socket.acceptor().cloned();
        tracing::info!(feed = %name, listen = %handle.local_addr(), tls = acceptor.is_some(), "listening for FHIR");
        if acceptor.is_none() {
            tracing::warn!(feed = %name, "plain text on a loopback address: for development alone");
        }
        let endpoint = Endpoint::new(name, config, clock, handle.counters(), authority, started, intake);
        let endpoint = Arc::new(endpoint);
        let door = Door {
            endpoint: Arc::clone(&endpoint),
            places: Places::default(),
            turned: Arc::default(),
            acceptor,
            stop: stop.clone(),
        };
        let looking = async {
            let mut looks = tokio::time::interval(Duration::from_secs(KEYS_LOOK_S));
            loop {
                looks.tick().await;
                endpoint.authority.reload_keys();
            }
        };
        tokio::select! {
            () = socket.accept(&endpoint.name, &stop, |stream, peer, tracker| door.admit(stream, peer, tracker)) => {}
            () = looking => {}
        }
        endpoint.tasks.close();
        endpoint.tasks.wait().await;
        tracing::info!(feed = %endpoint.name, "stopped listening for FHIR");
    }
}

/// Lets connections in.
struct Door<I> {
    endpoint: Arc<Endpoint<I>>,
    places: Places,
    turned: Arc<Turned>,
    acceptor: Option<Acceptor>,
    stop: CancellationToken,
}

impl<I> Clone for Door<I> {
    fn clone(&self) -> Self {
        let Self { endpoint, places, turned, acceptor, stop } = self;
        Self {
            endpoint: Arc::clone(endpoint),
            places: places.clone(),
            turned: Arc::clone(turned),
            acceptor: acceptor.clone(),
            stop: stop.clone(),
        }
    }
}

impl<I: Intake> Door<I> {
    fn admit(&self, stream: TcpStream, peer: SocketAddr, tracker: &TaskTracker) {
        let config = &self.endpoint.config;
        if let Err(denied) = config.allow.address(peer.ip()) {
            return self.turn_away(peer, None, FaultKind::NotAllowed, &denied.to_string());
        }
        let Some(place) = self.places.take(peer.ip(), config.caps()) else {
            return self.turn_away(peer, None, FaultKind::NoPlace, "too many connections");
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(feed = %self.endpoint.name, %peer, %error, "the connection ended before it was served");
            return;
        }
        let door = self.clone();
        tracker.spawn(async move {
            match door.acceptor.clone() {
                None => door.serve(stream, Caller { address: peer, certificate: None }).await,
                Some(acceptor) => {
                    let shaken = tokio::select! {
                        () = door.stop.cancelled() => return,
                        shaken = acceptor.accept(stream) => shaken,
                    };
                    match shaken {
                        Ok((stream, names)) => door.welcome(stream, names, peer).await,
                        Err(Handshake::Nothing) => {}
                        Err(why) => door.turn_away(peer, None, FaultKind::TlsFailed, &why.to_string()),
                    }
                }
            }
            drop(place);
        });
    }

    async fn welcome<S>(&self, stream: S, names: Option<PeerNames>, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.endpoint.config.allow.certificate(names.as_ref()) {
            Err(denied) if names.is_some() => {
                return self.turn_away(peer, names.as_ref(), FaultKind::NotAllowed, &denied.to_string());
            }
            // Without a certificate a request needs a token, whatever `allow` says of certificates.
            _ => {}
        }
        let certificate = names.map(|names| names.to_string().into());
        self.serve(stream, Caller { address: peer, certificate }).await;
    }

    /// A peer may repeat it for days: the log gets fewer and fewer lines of it, the faults sum it up, the counter has
    /// every one.
    fn turn_away(&self, peer: SocketAddr, names: Option<&PeerNames>, kind: FaultKind, why: &str) {
        let endpoint = &self.endpoint;
        endpoint.counters.connections_refused.one();
        let shown = called(peer, names);
        endpoint.report(&shown, kind, 0);
        if let Some(times) = self.turned.again(peer.ip(), why) {
            tracing::warn!(feed = %endpoint.name, peer = %shown, times, why, "a connection was not let in");
        }
    }

    /// One connection, from its first request to its last.
    async fn serve<S>(&self, stream: S, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (endpoint, stop) = (&self.endpoint, &self.stop);
        endpoint.counters.connections_total.one();
        endpoint.counters.connections.one();
        let (peer, shown) = (caller.address, caller.called());
        let service = {
            let endpoint = Arc::clone(endpoint);
            service_fn(move |request: hyper::Request<Incoming>| {
                let (endpoint, caller) = (Arc::clone(&endpoint), caller.clone());
                async move {
                    let answer = endpoint.answer(request, &caller).await;
                    Ok::<_, Infallible>(answer.map(Full::new))
                }
            })
        };
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
            .keep_alive_interval(Duration::from_secs(PING_S))
            .keep_alive_timeout(Duration::from_secs(PING_S / 2));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::pin!(connection);
        let old = sleep(Duration::from_secs(CONNECTION_S_MAX));
        tokio::pin!(old);
        let mut until: Option<Instant> = None;
        loop {
            let last = until.unwrap_or_else(Instant::now);
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        if not_http(&*error) {
                            endpoint.report(&shown, FaultKind::BadRequest, 0);
                        }
                        tracing::debug!(feed = %endpoint.name, %peer, %error, "the connection ended");
                    }
                    break;
                }
                () = stop.cancelled(), if until.is_none() => {}
                () = old.as_mut(), if until.is_none() => {}
                () = sleep_until(last), if until.is_some() => {
                    tracing::debug!(feed = %endpoint.name, %peer, "the connection was closed with a request in progress");
                    break;
                }
            }
            connection.as_mut().graceful_shutdown();
            until = Some(Instant::now() + Duration::from_secs(STOP_GRACE_S));
        }
        endpoint.counters.connections.down();
    }
}

/// Whether a connection ended because what came on it was no request, or one with too large a header; hyper has told the
/// client, where it could.
fn not_http(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<hyper::Error>().is_some_and(|error| error.is_parse() || error.is_parse_too_large())
}
