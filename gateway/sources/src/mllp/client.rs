//! A small MLLP client: sends a message and waits for its answer. For `wardgate send` and the simulated hospital.
//!
//! **Promise.** An answer is only ever taken for the message that it names in MSA-2. After a time-out, a foreign
//! answer or a failure the connection is of no more use: a late answer would be taken for the next message's.

use std::fmt;
use std::io;
use std::time::Duration;

use hl7::mllp::{self, Deframer, Event};
use hl7::{AckCode, Header, MSH_BYTES_MAX, Message, Path};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout, timeout_at};

/// Longest answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;
const READ_BYTES: usize = 8 << 10;

/// Why a message was not answered.
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
    /// No answer within the time. Whether the message was taken is not known: connect and send it again.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer names another message in MSA-2.
    #[error("the answer is for another message")]
    OtherMessage,
    /// The answer is no acknowledgement.
    #[error("the answer is no acknowledgement")]
    NotAnAck,
    /// The message holds VT, or FS before CR or at its end: no receiver could find its end.
    #[error("the message holds MLLP frame bytes and cannot be framed")]
    Unframeable,
    /// An earlier failure ended the use of this connection.
    #[error("the connection is no longer usable; connect again")]
    Spent,
}

/// What a receiver answered.
#[derive(Clone)]
pub struct Answer {
    code: AckCode,
    message: Message,
}

impl Answer {
    /// MSA-1.
    pub const fn code(&self) -> AckCode {
        self.code
    }

    /// The whole answer.
    pub const fn message(&self) -> &Message {
        &self.message
    }

    /// MSA-2.
    pub fn control_id(&self) -> &[u8] {
        self.get("MSA-2").unwrap_or_default()
    }

    /// The reason in words, MSA-3 or ERR-8, where there is one.
    pub fn text(&self) -> Option<String> {
        let raw = ["MSA-3", "ERR-8"].into_iter().find_map(|path| self.get(path).filter(|t| !t.is_empty()))?;
        Some(String::from_utf8_lossy(&hl7::unescape(raw, &self.message.delimiters())).into_owned())
    }

    fn get(&self, path: &str) -> Option<&[u8]> {
        self.message.get(&path.parse::<Path>().ok()?)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {:?})", self.code.as_str(), self.message)
    }
}

/// A connection to a receiver.
#[derive(Debug)]
pub struct Client<S = TcpStream> {
    stream: S,
    answer_timeout: Duration,
    deframer: Deframer,
    buffer: Vec<u8>,
    /// What of the buffer has been read and not yet looked at.
    unread: std::ops::Range<usize>,
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
    /// Over a stream that is connected, TLS for example.
    pub fn over(stream: S, answer_timeout: Duration) -> Self {
        Self {
            stream,
            answer_timeout,
            deframer: Deframer::new(ANSWER_BYTES_MAX),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
            spent: false,
        }
    }

    /// Sends a message and waits for its answer, negative ones included. Not cancel safe: after a cancelled call
    /// connect again.
    ///
    /// # Errors
    /// [`ClientError`]; the connection is then spent, but for [`ClientError::Unframeable`].
    pub async fn send(&mut self, message: &[u8]) -> Result<Answer, ClientError> {
        self.write(message).await?;
        self.answer(message).await
    }

    /// Sends a message without waiting, for several under way at once. Answers come in the order of the messages;
    /// a sender that never calls [`Client::answer`] will stall.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn write(&mut self, message: &[u8]) -> Result<(), ClientError> {
        if self.spent {
            return Err(ClientError::Spent);
        }
        if !mllp::can_frame(message) {
            return Err(ClientError::Unframeable);
        }
        self.spent = true;
        let frame = mllp::frame(message);
        let writing = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        timeout(self.answer_timeout, writing)
            .await
            .map_err(|_| ClientError::Timeout(self.answer_timeout))??;
        self.spent = false;
        Ok(())
    }

    /// Waits for the answer to the oldest message that has none, which is `message`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn answer(&mut self, message: &[u8]) -> Result<Answer, ClientError> {
        if std::mem::replace(&mut self.spent, true) {
            return Err(ClientError::Spent);
        }
        let payload = self.frame().await?;
        let message_is_readable =
            Header::read(message.get(..MSH_BYTES_MAX).unwrap_or(message), message.len() <= MSH_BYTES_MAX);
        let answered = Message::parse(payload).map_err(|_| ClientError::NotAnAck)?;
        let code = "MSA-1".parse::<Path>().ok().and_then(|path| AckCode::read(answered.get(&path)?));
        let answer = Answer { code: code.ok_or(ClientError::NotAnAck)?, message: answered };
        // A message without a header is answered without MSA-2.
        let expected = message_is_readable.as_ref().map(Header::control_id).unwrap_or_default();
        if answer.control_id() != expected {
            return Err(ClientError::OtherMessage);
        }
        self.spent = false;
        Ok(answer)
    }

    /// The payload of the next frame.
    async fn frame(&mut self) -> Result<Vec<u8>, ClientError> {
        let due = Instant::now() + self.answer_timeout;
        let mut payload = Vec::new();
        loop {
            let mut input = self.buffer.get(self.unread.clone()).unwrap_or_default();
            while let Some(event) = self.deframer.next(&mut input) {
                match event {
                    Event::Begin => payload.clear(),
                    Event::Data(data) => payload.extend_from_slice(data),
                    Event::End { .. } => {
                        self.unread.start = self.unread.end - input.len();
                        return Ok(payload);
                    }
                    Event::TooLong | Event::Broken { .. } => return Err(ClientError::NotAnAck),
                    Event::Junk(_) => {}
                }
            }
            let count = timeout_at(due, self.stream.read(&mut self.buffer))
                .await
                .map_err(|_| ClientError::Timeout(self.answer_timeout))??;
            if count == 0 {
                return Err(ClientError::Closed);
            }
            self.unread = 0..count;
        }
    }
}
