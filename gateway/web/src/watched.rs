//! A connection that may not stand still: without a byte in either direction for [`STILL_S_MAX`] it ends with
//! an error. This covers peers that stop reading, that send a byte now and then never mind which layer, and
//! those that are simply gone.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Longest time without a byte, in seconds. Live pages send a sign of life more often.
pub(crate) const STILL_S_MAX: u64 = 60;

/// A connection with that limit.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    end: Pin<Box<Sleep>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, end: Box::pin(sleep(Duration::from_secs(STILL_S_MAX))) }
    }

    /// Something moved: the time begins anew. Nothing did: the time runs.
    fn after<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.end.as_mut().reset(Instant::now() + Duration::from_secs(STILL_S_MAX));
            return result;
        }
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.after(cx, result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.after(cx, result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing moves by being flushed, so this does not begin the time anew.
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_still_peer_is_cut_off_and_a_slow_one_is_not() {
        let (ours, mut theirs) = duplex(1);
        let mut ours = Watched::new(ours);
        let slow = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(STILL_S_MAX - 1)).await;
                theirs.write_all(b"x").await.unwrap();
            }
        };
        let mut read = [0; 3];
        let (read, ()) = tokio::join!(ours.read_exact(&mut read), slow);
        assert_eq!(read.unwrap(), 3);
        assert_eq!(ours.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // The same for a peer that no longer reads.
        let (ours, _theirs) = duplex(1);
        let mut ours = Watched::new(ours);
        assert_eq!(ours.write_all(b"xy").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
