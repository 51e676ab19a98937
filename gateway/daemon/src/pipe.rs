//! What a thread writes becomes the body of an answer, with at most a few pieces on the way.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces on the way.
const PIECES_MAX: usize = 4;

/// What goes through: a piece, or word that it was the last.
type Sent = Option<Bytes>;

/// The end that is written to, by a thread that may block. Dropped without [`Pipe::finish`], the answer breaks off.
#[derive(Debug)]
pub(crate) struct Pipe {
    sender: mpsc::Sender<Sent>,
    runtime: Handle,
    /// Nobody is waited for then, however slow he reads.
    stop: CancellationToken,
}

/// The end that is sent.
#[derive(Debug)]
struct Sending(mpsc::Receiver<Sent>);

/// Both ends. To be called on a runtime.
pub(crate) fn pipe(stop: CancellationToken) -> (Pipe, Body) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    (Pipe { sender, runtime: Handle::current(), stop }, Body::new(Sending(receiver)))
}

impl Pipe {
    /// All of it was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.send(None)
    }

    fn send(&self, piece: Sent) -> io::Result<()> {
        match self.runtime.block_on(self.stop.run_until_cancelled(self.sender.send(piece))) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            None => Err(io::Error::other("the gateway stops")),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Some(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => None,
            // Whoever reads shall know that it is not whole.
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_end_is_only_what_was_said_to_be_one() {
        let write = |stop: &CancellationToken, is_finished: bool| {
            let (mut pipe, body) = pipe(stop.clone());
            let writing = std::thread::spawn(move || {
                for _ in 0..3 * PIECES_MAX {
                    pipe.write_all(b"piece")?;
                }
                if is_finished { pipe.finish() } else { Ok(()) }
            });
            (body, writing)
        };
        let stop = CancellationToken::new();
        let (body, writing) = write(&stop, true);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 15 * PIECES_MAX);
        writing.join().unwrap().unwrap();
        let (body, writing) = write(&stop, false);
        assert!(body.collect().await.is_err());
        writing.join().unwrap().unwrap();
        let (body, writing) = write(&stop, true);
        drop(body);
        writing.join().unwrap().unwrap_err();
        // Nobody reads, and the gateway stops.
        let (body, writing) = write(&stop, true);
        stop.cancel();
        writing.join().unwrap().unwrap_err();
        assert!(body.collect().await.is_err());
    }
}
