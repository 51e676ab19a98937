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
use model::{Clock, Intake, Slug};
use rustix::net::sockopt;
use tls::{Listening, PeerNames};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Authority;
use super::limits::Places;
use super::service::{Caller, Endpoint};
use super::stats::{Counters, Stats};
use super::{Config, Error};
use crate::listener::{Acceptor, Handshake};

/// Protocols in order of preference.
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];
/// Connections that the system keeps waiting to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after the system could not give a connection, for example for want of file descriptors.
const ACCEPT_RETRY_MS: u64 = 100;
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
/// A connection without traffic is probed after so long, then at this interval, and dropped after so many.
const KEEPALIVE_IDLE_S: u64 = 30;
const KEEPALIVE_INTERVAL_S: u64 = 10;
const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that the peer's system does not confirm for so long end the connection.
const UNCONFIRMED_MS_MAX: u32 = 60_000;

/// A bound endpoint that does not accept yet.
#[derive(Debug)]
pub struct Server {
    name: Slug,
    config: Config,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    acceptor: Option<Acceptor>,
    authority: Authority,
    started: [u8; 16],
    handle: Handle,
}

/// For others: what the endpoint counts and where it listens. Cheap to clone, outlives the server.
#[derive(Debug, Clone)]
pub struct Handle {
    local_addr: SocketAddr,
    counters: Arc<Counters>,
    listening: Option<Arc<Listening>>,
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

    /// What the listener shows over TLS, for renewal; `None` where it takes plain text.
    pub const fn listening(&self) -> Option<&Arc<Listening>> {
        self.listening.as_ref()
    }
}

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
        let (listener, local_addr) = listen(config.listen).map_err(bind)?;
        let mut started = [0; 16];
        rand::fill(&mut started).map_err(|_| bind(io::Error::other("the system gives no random numbers")))?;
        let listening = acceptor.as_ref().map(|a| Arc::clone(a.listening()));
        let handle = Handle { local_addr, counters: Arc::default(), listening };
        Ok(Self { name: feed, config: config.clone(), clock, listener, acceptor, authority, started, handle })
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
        let Self { name, config, clock, listener, acceptor, authority, started, handle } = self;
        tracing::info!(feed = %name, listen = %handle.local_addr, tls = acceptor.is_some(), "listening for FHIR");
        if acceptor.is_none() {
            tracing::warn!(feed = %name, "plain text on a loopback address: for development alone");
        }
        let endpoint = Endpoint::new(name, config, clock, handle.counters, authority, started, intake);
        let door =
            Door { endpoint: Arc::new(endpoint), places: Places::default(), acceptor, stop: stop.clone() };
        let tracker = TaskTracker::new();
        let mut looks = tokio::time::interval(Duration::from_secs(KEYS_LOOK_S));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = looks.tick() => {
                    door.endpoint.authority.reload_keys();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => door.admit(stream, peer, &tracker),
                Err(error) => {
                    tracing::warn!(feed = %door.endpoint.name, %error, "a connection could not be accepted");
                    sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            }
        }
        drop(listener);
        tracker.close();
        tracker.wait().await;
        door.endpoint.tasks.close();
        door.endpoint.tasks.wait().await;
        tracing::info!(feed = %door.endpoint.name, "stopped listening for FHIR");
    }
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

/// A dead peer is found by keepalive within about a minute.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(KEEPALIVE_IDLE_S))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(KEEPALIVE_INTERVAL_S))?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MS_MAX)?;
    Ok(())
}

/// Lets connections in.
struct Door<I> {
    endpoint: Arc<Endpoint<I>>,
    places: Places,
    acceptor: Option<Acceptor>,
    stop: CancellationToken,
}

impl<I: Intake> Door<I> {
    fn admit(&self, stream: TcpStream, peer: SocketAddr, tracker: &TaskTracker) {
        let endpoint = Arc::clone(&self.endpoint);
        let allowed = endpoint.config.allow.address(peer.ip());
        let place = allowed.is_ok().then(|| self.places.take(peer.ip(), &endpoint.config)).flatten();
        let Some(place) = place else {
            let why =
                allowed.err().map_or_else(|| "too many connections".to_owned(), |denied| denied.to_string());
            turn_away(&endpoint, peer, &why);
            return;
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(feed = %endpoint.name, %peer, %error, "the connection ended before it was served");
            return;
        }
        let (acceptor, stop) = (self.acceptor.clone(), self.stop.clone());
        tracker.spawn(async move {
            match acceptor {
                None => serve(stream, Caller { address: peer, certificate: None }, &endpoint, &stop).await,
                Some(acceptor) => {
                    let shaken = tokio::select! {
                        () = stop.cancelled() => return,
                        shaken = acceptor.accept(stream) => shaken,
                    };
                    match shaken {
                        Ok((stream, names)) => welcome(stream, names, peer, &endpoint, &stop).await,
                        Err(Handshake::Nothing) => {}
                        Err(why) => turn_away(&endpoint, peer, &why.to_string()),
                    }
                }
            }
            drop(place);
        });
    }
}

/// A peer may repeat it for days: the log gets fewer and fewer lines of it, the counter every one.
fn turn_away<I>(endpoint: &Endpoint<I>, peer: SocketAddr, why: &str) {
    let refused = endpoint.counters.connections_refused.one();
    if refused.is_power_of_two() {
        tracing::warn!(feed = %endpoint.name, %peer, refused, why, "a connection was not let in");
    }
}

async fn welcome<I: Intake, S>(
    stream: S,
    names: Option<PeerNames>,
    peer: SocketAddr,
    endpoint: &Arc<Endpoint<I>>,
    stop: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match endpoint.config.allow.certificate(names.as_ref()) {
        Err(denied) if names.is_some() => return turn_away(endpoint, peer, &denied.to_string()),
        // Without a certificate a request needs a token, whatever `allow` says of certificates.
        _ => {}
    }
    let certificate = names.map(|names| names.to_string().into());
    serve(stream, Caller { address: peer, certificate }, endpoint, stop).await;
}

/// One connection, from its first request to its last.
async fn serve<I: Intake, S>(stream: S, caller: Caller, endpoint: &Arc<Endpoint<I>>, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    endpoint.counters.connections_total.one();
    endpoint.counters.connections.one();
    let peer = caller.address;
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
