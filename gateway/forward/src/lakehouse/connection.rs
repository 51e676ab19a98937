//! One HTTP/2 connection with mutual TLS, made step by step so that each step can be explained.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use tls::{Explanation, Rotating};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;

use super::config::Endpoint;
use crate::check::Step;
use crate::dial::{self, DialError, failed, within};

/// How the landing is called in explanations.
pub(super) const PEER: &str = "the landing";
/// How long a ping may take before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest header block taken from the landing, in bytes.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Everything that is needed to connect.
#[derive(Debug)]
pub(super) struct Dialler {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) rotating: Arc<Rotating>,
    pub(super) connect_timeout: Duration,
    pub(super) keep_alive: Duration,
    pub(super) tasks: TaskTracker,
}

/// A connection that has heard from the landing: its certificate and ours were accepted.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Which certificate we showed.
    pub(super) generation: u64,
    link: watch::Receiver<Link>,
}

impl Live {
    /// Whether both are handles of one connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.link.same_channel(&other.link)
    }

    /// Why the connection broke, where that is known.
    pub(super) fn fault(&self) -> Option<Explanation> {
        match &*self.link.borrow() {
            Link::Broken(explanation) => Some(explanation.clone()),
            Link::Silent | Link::Heard => None,
        }
    }
}

impl Dialler {
    /// All steps, within the configured time.
    pub(super) async fn connect(&self) -> Result<Live, DialError> {
        self.connect_telling(&mut |_, _| {}).await
    }

    /// All steps; `tell` hears of each that succeeds.
    pub(super) async fn connect_telling(
        &self,
        tell: &mut (dyn FnMut(Step, String) + Send),
    ) -> Result<Live, DialError> {
        let deadline = Instant::now() + self.connect_timeout;
        let Endpoint { host, port, .. } = &self.endpoint;
        let addresses = dial::resolve(host, *port, "the url", deadline).await?;
        tell(Step::Dns, format!("{host} is {}", dial::list(&addresses)));
        let (tcp, address) = dial::dial(&addresses, PEER, deadline).await?;
        tell(Step::Tcp, format!("connected to {address}"));
        // Before the handshake: a swap in the midst of it makes this connection count as old, never as new.
        let generation = self.rotating.generation();
        let tls = self.shake_hands(tcp, deadline).await?;
        let live = self.speak(tls, generation, deadline).await?;
        let ours = self.rotating.current();
        tell(Step::Tls, format!("mutual TLS 1.3; our certificate is valid until {}", ours.expires_at()));
        Ok(live)
    }

    async fn shake_hands(
        &self,
        tcp: TcpStream,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, DialError> {
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let name = self.endpoint.server_name.clone();
        let stream = within(deadline, connector.connect(name, tcp))
            .await
            .map_err(|e| DialError { step: Step::Tls, explanation: tls::explain_io(&e, PEER) })?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let what = format!("{PEER} does not speak HTTP/2 on this port");
            return Err(failed(Step::Tls, what, "check the port, and that no proxy stands between"));
        }
        Ok(stream)
    }

    /// In TLS 1.3 the client is done before the server has judged its certificate. The first bytes of HTTP/2 (its
    /// SETTINGS, RFC 9113 section 3.4) are the proof that it was accepted; a batch is sent only after them.
    async fn speak(
        &self,
        stream: TlsStream<TcpStream>,
        generation: u64,
        deadline: Instant,
    ) -> Result<Live, DialError> {
        let (tell, mut link) = watch::channel(Link::Silent);
        let watched = Watched { inner: stream, tell };
        let handshake = Builder::new(Tracked(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(self.keep_alive)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_header_list_size(HEADER_BYTES_MAX)
            .handshake(TokioIo::new(watched));
        let broken = |link: &watch::Receiver<Link>| match &*link.borrow() {
            Link::Broken(explanation) => explanation.clone(),
            Link::Silent | Link::Heard => Explanation {
                what: format!("{PEER} does not speak HTTP/2 on this port"),
                remedy: "check the port".to_owned(),
            },
        };
        let timed_out =
            |_| failed(Step::Tls, format!("{PEER} fell silent after the handshake"), "look in its log");
        let (sender, driver) = tokio::time::timeout_at(deadline, handshake)
            .await
            .map_err(timed_out)?
            .map_err(|_| DialError { step: Step::Tls, explanation: broken(&link) })?;
        // Ends when the last sender is dropped and its streams are done, or when the connection breaks. What broke
        // it is in `link`.
        self.tasks.spawn(async move { drop(driver.await) });
        let heard = tokio::time::timeout_at(deadline, link.wait_for(|l| !matches!(l, Link::Silent))).await;
        let accepted = matches!(heard.map_err(timed_out)?.as_deref(), Ok(Link::Heard));
        if accepted {
            Ok(Live { sender, generation, link })
        } else {
            Err(DialError { step: Step::Tls, explanation: broken(&link) })
        }
    }
}

/// Runs hyper's tasks under the tracker.
#[derive(Debug, Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// What is known of a connection.
#[derive(Debug)]
enum Link {
    /// Nothing was heard yet.
    Silent,
    /// The landing has spoken.
    Heard,
    /// It is gone, for this reason.
    Broken(Explanation),
}

/// A stream that remembers why it broke: by the time hyper reports it, only text is left of the reason.
struct Watched<S> {
    inner: S,
    tell: watch::Sender<Link>,
}

impl<S> fmt::Debug for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    fn heard(&self) {
        self.tell.send_if_modified(|link| {
            let first = matches!(link, Link::Silent);
            if first {
                *link = Link::Heard;
            }
            first
        });
    }

    /// An alert says more than the broken pipe that it leaves behind, so it replaces what was noted before.
    fn broke(&self, error: &io::Error) {
        let telling = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        self.tell.send_if_modified(|link| {
            let news = telling || !matches!(link, Link::Broken(_));
            if news {
                *link = Link::Broken(tls::explain_io(error, PEER));
            }
            news
        });
    }

    /// Writing failed; the alert that says why may be waiting to be read.
    fn look_for_alert(&mut self, cx: &mut Context<'_>) {
        let mut scratch = [0_u8; 512];
        let mut buffer = ReadBuf::new(&mut scratch);
        if let Poll::Ready(Err(e)) = Pin::new(&mut self.inner).poll_read(cx, &mut buffer) {
            self.broke(&e);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.heard(),
            Poll::Ready(Ok(())) => self.broke(&io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Err(e)) => self.broke(e),
            Poll::Pending => {}
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    fn note<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(e)) = &polled {
            self.broke(e);
            self.look_for_alert(cx);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.note(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The peer is gone; what it said last is waiting to be read.
    struct Gone;

    impl AsyncRead for Gone {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
            Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, alert)))
        }
    }

    impl AsyncWrite for Gone {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_failed_write_tells_of_the_alert_behind_it() {
        let (tell, link) = watch::channel(Link::Silent);
        let error = Watched { inner: Gone, tell }.write_all(b"PRI").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let Link::Broken(explanation) = &*link.borrow() else { panic!("nothing was noted") };
        assert!(explanation.what.contains("signed by an authority"), "{explanation}");
    }
}
