//! Who gets in: the way of a connection from the accepted socket to the first frame.
//!
//! In this order, the cheapest first: the address against `allow.networks`, a place, the TLS handshake within its
//! time, the certificate against `allow.certificates`. Who is refused is closed, counted, reported as a fault and
//! logged: of the same peer and the same reason fewer and fewer lines ([`crate::socket::Turned`]), while the counters have every one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use model::{Fault, FaultKind, Intake};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::serve;
use super::server::Feed;
use crate::listener::{Acceptor, Handshake, TLS_FIRST_BYTE};
use crate::socket::places::{Pace, Places};
use crate::socket::{called, tune};

/// What stands between the socket and a feed's frames.
pub(crate) struct Door<I> {
    pub(crate) feed: Feed<I>,
    pub(crate) places: Places,
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) stop: CancellationToken,
}

impl<I: Intake> Door<I> {
    /// Starts serving a connection, or closes it.
    pub(crate) fn admit(&self, stream: TcpStream, peer: SocketAddr, tracker: &TaskTracker) {
        let feed = &self.feed;
        if let Err(denied) = feed.config.allow.address(peer.ip()) {
            feed.counters.connections_denied.one();
            report(feed, &peer.to_string(), FaultKind::NotAllowed);
            if let Some(times) = feed.turned.again(peer.ip(), "network") {
                tracing::warn!(feed = %feed.name, %peer, times, reason = %denied, "a peer was not let in");
            }
            return;
        }
        let Some(place) = self.places.take(peer.ip(), feed.config.caps()) else {
            feed.counters.connections_refused.one();
            report(feed, &peer.to_string(), FaultKind::NoPlace);
            if let Some(times) = feed.turned.again(peer.ip(), "place") {
                tracing::warn!(feed = %feed.name, %peer, times, "too many connections; the new one was closed");
            }
            return;
        };
        if let Err(error) = tune(&stream) {
            tracing::debug!(feed = %feed.name, %peer, %error, "the connection ended before it was served");
            return;
        }
        feed.counters.connections_total.one();
        feed.counters.connections.one();
        let config = &feed.config;
        let pace = Pace::of(place, config.peer_messages_per_s_max.into(), config.peer_bytes_per_s_max);
        let (feed, acceptor, stop) = (feed.clone(), self.acceptor.clone(), self.stop.clone());
        tracker.spawn(async move {
            match acceptor {
                None => plain(stream, peer, pace.clone(), &feed, stop).await,
                Some(acceptor) => over_tls(acceptor, stream, peer, pace.clone(), &feed, stop).await,
            }
            feed.counters.connections.down();
            // The place is given back now.
            drop(pace);
        });
    }
}

async fn plain<I: Intake>(
    stream: TcpStream,
    peer: SocketAddr,
    pace: Pace,
    feed: &Feed<I>,
    stop: CancellationToken,
) {
    tracing::info!(feed = %feed.name, %peer, "connected");
    let spoke_tls = Arc::new(AtomicBool::new(false));
    let stream = PlainText { stream, fresh: true, spoke_tls: Arc::clone(&spoke_tls) };
    serve(stream, peer.to_string(), pace, feed.clone(), stop).await;
    if spoke_tls.load(Ordering::Relaxed) {
        feed.counters.handshakes_failed.one();
        report(feed, &peer.to_string(), FaultKind::TlsFailed);
        if let Some(times) = feed.turned.again(peer.ip(), "tls") {
            tracing::warn!(feed = %feed.name, %peer, times, "the peer speaks TLS, and this port takes plain text; give the feed a table [feed.mllp.tls], or switch TLS off at the peer");
        }
    }
}

async fn over_tls<I: Intake>(
    acceptor: Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
    pace: Pace,
    feed: &Feed<I>,
    stop: CancellationToken,
) {
    let accepted = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        accepted = acceptor.accept(stream) => accepted,
    };
    let (stream, names) = match accepted {
        Ok(accepted) => accepted,
        Err(Handshake::Nothing) => {
            tracing::debug!(feed = %feed.name, %peer, "a peer left without a word");
            return;
        }
        Err(error) => {
            feed.counters.handshakes_failed.one();
            report(feed, &peer.to_string(), FaultKind::TlsFailed);
            let reason = error.to_string();
            if let Some(times) = feed.turned.again(peer.ip(), &reason) {
                tracing::warn!(feed = %feed.name, %peer, times, reason, "a TLS handshake failed");
            }
            return;
        }
    };
    let shown = called(peer, names.as_ref());
    if let Err(denied) = feed.config.allow.certificate(names.as_ref()) {
        feed.counters.connections_denied.one();
        report(feed, &shown, FaultKind::NotAllowed);
        if let Some(times) = feed.turned.again(peer.ip(), "certificate") {
            let fingerprint = names.as_ref().map_or("-", |n| n.fingerprint_sha256());
            tracing::warn!(feed = %feed.name, peer = %shown, fingerprint, times, reason = %denied, "a peer was not let in");
        }
        return;
    }
    tracing::info!(feed = %feed.name, peer = %shown, "connected");
    serve(stream, shown, pace, feed.clone(), stop).await;
}

/// So that it can be searched for.
fn report<I: Intake>(feed: &Feed<I>, peer: &str, kind: FaultKind) {
    feed.intake.report(Fault::new(feed.name.clone(), peer, feed.clock.now(), kind));
}

/// A plain-text stream that ends where the peer turns out to speak TLS: a ClientHello may hold a VT, and would then
/// sit there as a frame that never ends.
struct PlainText<S> {
    stream: S,
    fresh: bool,
    spoke_tls: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for PlainText<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if self.fresh
            && let Some(first) = buffer.filled().get(before)
        {
            self.fresh = false;
            if *first == TLS_FIRST_BYTE {
                self.spoke_tls.store(true, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PlainText<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
