//! A landing that does as it is told: real TLS, real HTTP/2, answers by script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::wire::{Landed, MANIFEST_HEADER, Problem};
use model::{Batch, Released, Slug, Timestamp, codec};
use tls::throwaway::Authority;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lakehouse::{Client, Config};

/// Validity for most tests: rustls looks at the machine's clock.
pub(super) const PAST: &str = "2020-01-01T00:00:00Z";
pub(super) const FUTURE: &str = "2090-01-01T00:00:00Z";

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn slug(text: &str) -> Slug {
    text.parse().unwrap()
}

/// What a landing does with one request.
#[derive(Clone)]
pub(super) enum Script {
    /// Says that the batch is landed; for a POST grants an epoch, for a GET says fine.
    Land,
    /// Answers with these bytes.
    Say { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Reads all and closes the connection.
    CloseAfterReading,
    /// Closes the connection without reading the body.
    CloseAtOnce,
    /// Reads all, sends half an answer and closes.
    BreakOff,
    /// Reads all and answers when notified.
    Wait(Arc<Notify>),
}

impl Script {
    pub(super) fn problem(problem: &Problem) -> Self {
        Self::Say {
            status: problem.status,
            headers: vec![("content-type", "application/problem+json".to_owned())],
            body: serde_json::to_vec(problem).unwrap(),
        }
    }

    pub(super) fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Say { status, mut headers, body } => {
                headers.push((name, value.to_owned()));
                Self::Say { status, headers, body }
            }
            other => other,
        }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) gateway: Slug,
    /// Counts connections from 1.
    pub(super) connection: usize,
}

impl Seen {
    pub(super) fn batch(&self) -> Batch<Released> {
        codec::decode(&zstd::decode_all(self.body.as_ref()).unwrap()).unwrap()
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Script>,
    seen: Vec<Seen>,
    connections: usize,
}

/// A running landing with its authority; stops when dropped.
pub(super) struct Landing {
    pub(super) authority: Authority,
    pub(super) address: SocketAddr,
    pub(super) dir: tempfile::TempDir,
    pub(super) tasks: TaskTracker,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    /// Cancelled and exchanged to close what stands.
    open: Arc<Mutex<CancellationToken>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How the landing presents itself.
pub(super) struct Presents {
    pub(super) names: Vec<&'static str>,
    pub(super) not_after: &'static str,
    pub(super) stranger: bool,
    pub(super) alpn: &'static str,
}

impl Default for Presents {
    fn default() -> Self {
        Self { names: vec!["127.0.0.1"], not_after: FUTURE, stranger: false, alpn: "h2" }
    }
}

impl Landing {
    pub(super) async fn start() -> Self {
        Self::presenting(Presents::default()).await
    }

    pub(super) async fn presenting(presents: Presents) -> Self {
        let authority = Authority::new("hospital", at(PAST), at(FUTURE)).unwrap();
        let other = Authority::new("somebody else", at(PAST), at(FUTURE)).unwrap();
        let signer = if presents.stranger { &other } else { &authority };
        let identity =
            signer.server(&presents.names, at(PAST), at(presents.not_after)).unwrap().identity().unwrap();
        let config = tls::server_config(identity, Some(&authority.ca().unwrap()), &[presents.alpn]).unwrap();
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let landing = Self {
            address: listener.local_addr().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            tasks: TaskTracker::new(),
            state: Arc::default(),
            stop: CancellationToken::new(),
            open: Arc::default(),
            authority,
        };
        let (state, open, stop) = (landing.state.clone(), landing.open.clone(), landing.stop.clone());
        let serving = TaskTracker::new();
        let accept = async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let closed = open.lock().unwrap().child_token();
                serving.spawn(serve(tcp, acceptor.clone(), state.clone(), closed));
            }
        };
        TaskTracker::new().spawn(async move { stop.run_until_cancelled(accept).await });
        landing
    }

    /// What to do with the next requests; after the last, everything lands.
    pub(super) fn will(&self, steps: impl IntoIterator<Item = Script>) {
        self.state.lock().unwrap().script.extend(steps);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Closes all connections, as a restart does.
    pub(super) fn close_all(&self) {
        let mut open = self.open.lock().unwrap();
        open.cancel();
        *open = CancellationToken::new();
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Configuration of a gateway that this landing admits.
    pub(super) fn config(&self) -> Config {
        self.authority.write(&self.file("ca.pem")).unwrap();
        let issued = self.authority.gateway(&slug("ward-3"), at(PAST), at(FUTURE)).unwrap();
        issued.write(&self.file("gw.pem"), &self.file("gw.key")).unwrap();
        Config {
            url: format!("https://{}", self.address),
            ca: self.file("ca.pem"),
            certificate: self.file("gw.pem"),
            key: self.file("gw.key"),
            server_name: None,
            connect_timeout_s: 10,
            request_timeout_s: 10,
            keep_alive_s: 20,
        }
    }

    pub(super) fn client(&self) -> Client {
        self.config().build(&slug("lake"), &self.tasks).unwrap()
    }
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>, closed: CancellationToken) {
    let Ok(stream) = acceptor.accept(tcp).await else { return };
    let gateway = tls::peer_gateway(stream.get_ref().1.peer_certificates().unwrap()).unwrap();
    let connection = {
        let mut state = state.lock().unwrap();
        state.connections += 1;
        state.connections
    };
    let service =
        service_fn(|request| answer(request, gateway.clone(), connection, state.clone(), closed.clone()));
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    let _ended = closed.run_until_cancelled(serving).await;
}

type Answered = Result<Response<BoxBody<Bytes, Infallible>>, Infallible>;

async fn answer(
    request: Request<Incoming>,
    gateway: Slug,
    connection: usize,
    state: Arc<Mutex<State>>,
    closed: CancellationToken,
) -> Answered {
    let script = state.lock().unwrap().script.pop_front().unwrap_or(Script::Land);
    let (head, body) = request.into_parts();
    if matches!(script, Script::CloseAtOnce) {
        closed.cancel();
        return std::future::pending().await;
    }
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let seen = Seen {
        method: head.method,
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
        gateway,
        connection,
    };
    state.lock().unwrap().seen.push(seen.clone());
    match script {
        Script::Land => Ok(good(&seen)),
        Script::Wait(notify) => {
            notify.notified().await;
            Ok(good(&seen))
        }
        Script::Say { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::new(Bytes::from(body)).boxed()).unwrap())
        }
        Script::BreakOff => Ok(Response::new(Half { sent: false, closed }.boxed())),
        Script::CloseAfterReading | Script::CloseAtOnce => {
            closed.cancel();
            std::future::pending().await
        }
    }
}

/// The answer of a landing that works.
fn good(seen: &Seen) -> Response<BoxBody<Bytes, Infallible>> {
    let json = match seen.method {
        Method::PUT => {
            let batch = seen.batch();
            let sent = seen.headers.get(MANIFEST_HEADER).unwrap().to_str().unwrap();
            serde_json::to_vec(&landed(batch.first, batch.last, sent)).unwrap()
        }
        Method::POST => br#"{"epoch":2,"watermark":7,"manifest_sha256":"ab"}"#.to_vec(),
        _ => b"{}".to_vec(),
    };
    Response::new(Full::new(Bytes::from(json)).boxed())
}

pub(super) fn landed(first: u64, last: u64, manifest: &str) -> Landed {
    Landed {
        first,
        last,
        manifest_sha256: manifest.to_owned(),
        table_version: 3,
        committed_at: Timestamp::from_micros(1),
    }
}

/// Half an answer, then the connection is gone.
struct Half {
    sent: bool,
    closed: CancellationToken,
}

impl Body for Half {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent {
            self.closed.cancel();
            return Poll::Pending;
        }
        self.sent = true;
        cx.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{\"first\":")))))
    }
}
