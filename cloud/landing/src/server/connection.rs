//! One connection: handshake, who it is, requests.

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use model::Slug;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{CONNECTION_S_MAX, HANDSHAKE_S_MAX, HEADER_S_MAX, STREAMS_MAX};

/// Largest header of a request, in bytes.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// What a client may send of one body, and of all on a connection, before it is read. In bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A peer that does not answer a ping for this long is gone. In seconds.
const PING_S: u64 = 20;

/// What a refused client may still send before the connection is closed, in bytes, and for how long.
const LINGER_BYTES_MAX: u64 = 64 << 10;
const LINGER_S_MAX: u64 = 2;

/// Who is at the other end, by the certificate alone.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// The gateway, or why the certificate names none.
    pub(super) gateway: Result<Slug, String>,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%from, %error, "TCP_NODELAY");
    }
    let handshake = acceptor.accept(stream).into_fallible();
    let handshake = tokio::time::timeout(Duration::from_secs(HANDSHAKE_S_MAX), handshake);
    let stream = tokio::select! {
        () = stop.cancelled() => return,
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                let explanation = tls::explain_io(&error, "the client");
                tracing::warn!(%from, why = %explanation, "handshake refused");
                part(stream).await;
                return;
            }
            Err(_) => {
                tracing::warn!(%from, "handshake timed out");
                return;
            }
        },
    };
    let (_, session) = stream.get_ref();
    let gateway = tls::peer_gateway(session.peer_certificates().unwrap_or_default());
    match &gateway {
        Ok(gateway) => tracing::debug!(%from, %gateway, "connected"),
        Err(error) => tracing::warn!(%from, %error, "a certificate of our authority names no gateway"),
    }
    let peer = Peer { gateway: gateway.map_err(|e| e.to_string()) };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let old = tokio::time::sleep(Duration::from_secs(CONNECTION_S_MAX));
    tokio::pin!(old);
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%from, %error, "connection broke");
                }
                return;
            }
            () = stop.cancelled(), if !ending => {}
            () = old.as_mut(), if !ending => {}
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// Closes so that the client can read the alert that says why. In TLS 1.3 it has sent its first request by the time
/// its certificate is refused; closing with that unread would answer with a reset, which discards the alert.
async fn part(mut stream: TcpStream) {
    let reading = async {
        stream.shutdown().await?;
        let mut unread = stream.take(LINGER_BYTES_MAX);
        tokio::io::copy(&mut unread, &mut tokio::io::sink()).await
    };
    // A client that is gone has read all it wanted.
    drop(tokio::time::timeout(Duration::from_secs(LINGER_S_MAX), reading).await);
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_S_MAX))
        .max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(PING_S))
        .keep_alive_timeout(Duration::from_secs(PING_S));
    builder
}
