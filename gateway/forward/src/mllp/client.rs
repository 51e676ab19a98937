//! The house's one MLLP client: sends a message and waits for what settles it.
//!
//! **Promise.** An answer is only ever taken for the message that it names in MSA-2 ([`hl7::exchange`]), and a positive
//! one only after the message's last byte was sent. After a time-out, a foreign answer or a failure the connection is
//! of no more use: a late answer would be taken for the next message's.
//!
//! **Limits.** A message may take `answer_timeout` and a second more for every [`UPLINK_BYTES_PER_S_MIN`] bytes to be
//! sent; its answer may take `answer_timeout`, however slowly it comes. Answers: [`hl7::exchange::ANSWER_BYTES_MAX`].

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hl7::exchange::{Event, Exchange, Fault, WaitFor, Wanted};
use hl7::{AckCode, mllp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout, timeout_at};

pub use hl7::exchange::Answer;

/// The slowest line that a message is given time for, in bytes per second.
pub const UPLINK_BYTES_PER_S_MIN: u64 = 16 << 10;
const READ_BYTES: usize = 8 << 10;
/// How long a refusal is looked for that was said just before the receiver closed.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Why a message is not settled.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The receiver cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No connection within the time.
    #[error("cannot connect within {0:?}")]
    ConnectTimeout(Duration),
    /// The connection broke. Whether the message was taken is not known: send it again.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The receiver closed before it answered. Whether the message was taken is not known: send it again.
    #[error("the receiver closed the connection before it answered")]
    Closed,
    /// The receiver closed, and what it said before was not MLLP.
    #[error("what answers there does not speak MLLP")]
    NotMllp,
    /// No answer within the time. Whether the message was taken is not known: connect and send it again.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// What came is not the answer to the message. Whether it was taken is not known: connect and send it again.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A positive answer came before the message was sent to its end: it can only be a mistake.
    #[error("an answer came before the message was sent to its end")]
    TooEarly,
    /// The message holds VT, or FS before CR or at its end: no receiver could find its end.
    #[error("the message holds MLLP frame bytes and cannot be framed")]
    Unframeable,
    /// An earlier failure ended the use of this connection.
    #[error("the connection is no longer usable; connect again")]
    Spent,
}

/// A connection to a receiver.
#[derive(Debug)]
pub struct Client<S = TcpStream> {
    stream: S,
    answer_timeout: Duration,
    exchange: Exchange,
    buffer: Vec<u8>,
    /// What of the buffer has been read and not yet looked at.
    unread: std::ops::Range<usize>,
    late: Vec<Answer>,
    spent: bool,
}

impl Client<TcpStream> {
    /// Connects, taking at most `connect_timeout`; each answer may then take `answer_timeout`.
    ///
    /// # Errors
    /// [`ClientError::Connect`] and [`ClientError::ConnectTimeout`].
    pub async fn connect(
        address: impl ToSocketAddrs,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let stream = timeout(connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| ClientError::ConnectTimeout(connect_timeout))?
            .map_err(ClientError::Connect)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, answer_timeout))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over a stream that is connected, TLS for example. Waits for what MSH-15 and MSH-16 ask for.
    pub fn over(stream: S, answer_timeout: Duration) -> Self {
        Self::waiting_for(WaitFor::AsAsked, stream, answer_timeout)
    }

    /// As [`Client::over`], waiting as told.
    pub fn waiting_for(wait: WaitFor, stream: S, answer_timeout: Duration) -> Self {
        Self {
            stream,
            answer_timeout,
            exchange: Exchange::new(wait),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            late: Vec::new(),
            spent: false,
        }
    }

    /// Whether the next message may go on this connection: it works, the receiver has neither closed it nor said
    /// anything unasked, and the answer to `message` can be told from all that may still come.
    pub fn can_send(&mut self, message: &[u8]) -> bool {
        !self.spent && self.exchange.can_tell_apart(message) && self.look_around().is_ok()
    }

    /// Application answers that came for messages that a CA had settled before; taken out.
    pub fn take_late(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.late)
    }

    /// Sends a message and waits for what settles it: an answer, negative ones included, or, where the message asks
    /// for none when all is well, the receiver's orderly end of the connection, which says that it has read to the
    /// end; then `None`, and the connection is spent. Not cancel safe: after a cancelled call connect again.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is then spent, but for [`ClientError::Unframeable`].
    pub async fn deliver(&mut self, message: &[u8]) -> Result<Option<Answer>, ClientError> {
        match self.begin(message).await? {
            Begun::Refused(answer) => Ok(Some(answer)),
            Begun::Sent(Wanted::Nothing) => {
                self.spent = true;
                self.stream.shutdown().await?;
                match self.settle().await {
                    Ok(answer) => Ok(Some(answer)),
                    Err(ClientError::Closed) => Ok(None),
                    Err(e) => Err(e),
                }
            }
            Begun::Sent(_) => self.answer().await.map(Some),
        }
    }

    /// Sends a message and waits for its answer, negative ones included, whatever it asks for. Not cancel safe: after
    /// a cancelled call connect again.
    ///
    /// # Errors
    /// As [`Client::deliver`].
    pub async fn send(&mut self, message: &[u8]) -> Result<Answer, ClientError> {
        match self.begin(message).await? {
            Begun::Refused(answer) => Ok(answer),
            Begun::Sent(_) => self.answer().await,
        }
    }

    /// Sends a message without waiting, for several under way at once. Answers come in the order of the messages;
    /// a sender that never calls [`Client::answer`] will stall.
    ///
    /// # Errors
    /// As [`Client::deliver`].
    pub async fn write(&mut self, message: &[u8]) -> Result<(), ClientError> {
        if self.spent {
            return Err(ClientError::Spent);
        }
        if !mllp::can_frame(message) {
            return Err(ClientError::Unframeable);
        }
        self.spent = true;
        self.exchange.sent(message);
        let frame = mllp::frame(message);
        let writing = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        let patience = patience(self.answer_timeout, message);
        timeout(patience, writing).await.map_err(|_| ClientError::Timeout(patience))??;
        self.spent = false;
        Ok(())
    }

    /// Waits for the answer to the oldest message that has none.
    ///
    /// # Errors
    /// As [`Client::deliver`].
    pub async fn answer(&mut self) -> Result<Answer, ClientError> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(ClientError::Spent);
        }
        let answer = self.settle().await?;
        self.spent = false;
        Ok(answer)
    }

    /// Sends one message while nothing else is under way.
    async fn begin(&mut self, message: &[u8]) -> Result<Begun, ClientError> {
        if self.spent {
            return Err(ClientError::Spent);
        }
        if !mllp::can_frame(message) {
            return Err(ClientError::Unframeable);
        }
        self.look_around()?;
        self.spent = true;
        let wanted = self.exchange.sent(message);
        let patience = patience(self.answer_timeout, message);
        let written = timeout(patience, self.write_listening(&mllp::frame(message)))
            .await
            .map_err(|_| ClientError::Timeout(patience))?;
        match written {
            Ok(None) => {
                self.spent = false;
                Ok(Begun::Sent(wanted))
            }
            // Half a message is on the line: nothing can follow it.
            Ok(Some(answer)) if !answer.code().is_positive() => Ok(Begun::Refused(answer)),
            Ok(Some(_)) => Err(ClientError::TooEarly),
            Err(ClientError::Io(e)) => match timeout(LAST_WORDS, self.settle()).await {
                Ok(Ok(answer)) if !answer.code().is_positive() => Ok(Begun::Refused(answer)),
                _ => Err(ClientError::Io(e)),
            },
            Err(e) => Err(e),
        }
    }

    /// Writes all of a frame, and listens meanwhile: a receiver that refuses early may read no further.
    async fn write_listening(&mut self, frame: &[u8]) -> Result<Option<Answer>, ClientError> {
        let mut rest = frame;
        while !rest.is_empty() {
            let Self { stream, buffer, .. } = self;
            let read = poll_fn(|cx| {
                if let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, rest) {
                    return Poll::Ready(match written {
                        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                        Ok(count) => {
                            rest = rest.get(count..).unwrap_or_default();
                            Ok(None)
                        }
                        Err(e) => Err(e),
                    });
                }
                let mut into = ReadBuf::new(buffer);
                match Pin::new(&mut *stream).poll_read(cx, &mut into) {
                    Poll::Ready(Ok(())) => Poll::Ready(Ok(Some(into.filled().len()))),
                    Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await?;
            match read {
                None => {}
                Some(0) => return Err(self.ended()),
                Some(count) => {
                    self.unread = 0..count;
                    if let Some(answer) = self.heard()? {
                        return Ok(Some(answer));
                    }
                }
            }
        }
        self.stream.flush().await?;
        Ok(None)
    }

    /// What has come without being asked for: while nothing waits, any answer but a late one is a fault, and the end
    /// of the stream ends the use of the connection. Never waits.
    fn look_around(&mut self) -> Result<(), ClientError> {
        if self.exchange.waiting() > 0 {
            return Ok(());
        }
        let looked = self.look();
        self.spent |= looked.is_err();
        looked
    }

    fn look(&mut self) -> Result<(), ClientError> {
        loop {
            if self.heard()?.is_some() {
                return Err(Fault::Unasked.into());
            }
            let mut into = ReadBuf::new(&mut self.buffer);
            let waker = std::task::Waker::noop();
            let mut cx = std::task::Context::from_waker(waker);
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut into) {
                Poll::Ready(Ok(())) if into.filled().is_empty() => return Err(self.ended()),
                Poll::Ready(Ok(())) => self.unread = 0..into.filled().len(),
                Poll::Ready(Err(e)) => return Err(e.into()),
                Poll::Pending if self.exchange.is_clear() => return Ok(()),
                // Something unasked has begun.
                Poll::Pending => return Err(Fault::Unasked.into()),
            }
        }
    }

    /// Reads until the oldest message that waits is settled.
    async fn settle(&mut self) -> Result<Answer, ClientError> {
        let due = Instant::now() + self.answer_timeout;
        loop {
            if let Some(answer) = self.heard()? {
                return Ok(answer);
            }
            let count = timeout_at(due, self.stream.read(&mut self.buffer))
                .await
                .map_err(|_| ClientError::Timeout(self.answer_timeout))??;
            if count == 0 {
                if let Some(Event::Settled(answer)) = self.exchange.finish()? {
                    return Ok(answer);
                }
                return Err(self.ended());
            }
            self.unread = 0..count;
        }
    }

    /// Looks at what was read.
    fn heard(&mut self) -> Result<Option<Answer>, ClientError> {
        loop {
            let mut input = self.buffer.get(self.unread.clone()).unwrap_or_default();
            let heard = self.exchange.next(&mut input);
            self.unread.start = self.unread.end.saturating_sub(input.len());
            match heard? {
                Some(Event::Settled(answer)) => return Ok(Some(answer)),
                Some(Event::Late(answer)) => self.late.push(answer),
                None => return Ok(None),
            }
        }
    }

    const fn ended(&self) -> ClientError {
        if self.exchange.heard_junk() { ClientError::NotMllp } else { ClientError::Closed }
    }
}

enum Begun {
    Sent(Wanted),
    /// Refused before it was sent to its end; the connection is spent.
    Refused(Answer),
}

fn patience(answer_timeout: Duration, message: &[u8]) -> Duration {
    answer_timeout + Duration::from_secs(message.len() as u64 / UPLINK_BYTES_PER_S_MIN)
}

/// Whether a refusal may be taken back by the receiver: AE and CE say "not now", AR and CR "never".
pub const fn is_passing(code: AckCode) -> bool {
    matches!(code, AckCode::Error | AckCode::CommitError)
}
