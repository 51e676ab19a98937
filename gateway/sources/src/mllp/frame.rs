//! One frame on its way: bytes in as they come, an answer out at the end.

use aws_lc_rs::digest::{Context, Digest, SHA256};
use bytes::Bytes;
use hl7::{Header, HeaderScan, ParseError};
use model::{BoxFuture, Closing, Format, Identity, Intake, Provenance, Refusal, Timestamp, Writer};

use super::server::Feed;

/// Resolves when the frame is decided: the bytes of the answer, or `None` where there is none.
pub(crate) type Outcome = BoxFuture<'static, Option<Bytes>>;

/// Where the frame's bytes go.
enum Sink {
    /// Nothing has come yet; an empty frame makes no record.
    Idle,
    Open(Writer),
    /// Not taken. The rest is read past, so that the answer comes in its place.
    Refused(Refusal),
}

/// The frame in progress.
pub(crate) struct Frame {
    received_at: Timestamp,
    sink: Sink,
    scan: HeaderScan,
    digest: Context,
}

impl Frame {
    pub(crate) fn new(received_at: Timestamp) -> Self {
        Self { received_at, sink: Sink::Idle, scan: HeaderScan::new(), digest: Context::new(&SHA256) }
    }

    /// Passes bytes on, waiting while the log has no room for them.
    pub(crate) async fn push<I: Intake>(&mut self, data: &[u8], feed: &Feed<I>, peer: &str) {
        self.scan.push(data);
        if matches!(self.sink, Sink::Idle) {
            self.sink = open(self.received_at, feed, peer).await;
        }
        if let Sink::Open(writer) = &mut self.sink {
            self.digest.update(data);
            if let Err(refusal) = writer.push(data).await {
                self.sink = Sink::Refused(refusal);
            }
        }
    }

    /// The frame has passed its limit.
    pub(crate) fn too_long(&mut self) {
        self.sink = Sink::Refused(Refusal::TooLarge);
    }

    /// The frame is complete. `None` where it was empty.
    pub(crate) fn end<I: Intake>(self, bytes: u64, feed: &Feed<I>, peer: &str) -> Option<Outcome> {
        let header = self.scan.finish();
        match self.sink {
            Sink::Idle => None,
            Sink::Refused(refusal) => {
                feed.refuse(refusal, peer, bytes);
                let answer = feed.replies.refused(refusal, header.as_ref().ok());
                Some(Box::pin(std::future::ready(Some(answer))))
            }
            // Dropping the writer leaves no record.
            Sink::Open(_) if header.as_ref().is_ok_and(|h| !feed.takes(h)) => {
                feed.refuse_sender(peer, bytes);
                let answer = header.as_ref().ok().map(|h| feed.replies.sender_refused(h));
                Some(Box::pin(std::future::ready(answer)))
            }
            Sink::Open(writer) => Some(Box::pin(settle(
                writer,
                self.digest.finish(),
                header,
                bytes,
                feed.clone(),
                peer.to_owned(),
            ))),
        }
    }

    /// The next frame began before this one ended. What came of it is kept as evidence, unanswered.
    pub(crate) fn broken_off<I: Intake>(self, bytes: u64, feed: &Feed<I>, peer: &str) -> Option<Outcome> {
        let Sink::Open(writer) = self.sink else { return None };
        let closing = Closing {
            identity: Some(unparsed_identity(&self.digest.finish())),
            reply: None,
            format: Some(Format::Unparsed),
        };
        let (feed, peer) = (feed.clone(), peer.to_owned());
        Some(Box::pin(async move {
            match writer.commit(closing).await {
                Ok(receipt) => {
                    tracing::warn!(feed = %feed.name, %peer, bytes, record = %receipt.id, "a frame lost its end; the part that came is kept");
                }
                Err(refusal) => {
                    tracing::error!(feed = %feed.name, %peer, bytes, %refusal, "a frame lost its end and could not be kept");
                }
            }
            None
        }))
    }
}

/// Begins the record, if the log takes it.
async fn open<I: Intake>(received_at: Timestamp, feed: &Feed<I>, peer: &str) -> Sink {
    let provenance = Provenance {
        feed: feed.name.clone(),
        peer: peer.to_owned(),
        channel: String::new(),
        received_at,
        format: Format::Hl7v2,
        origin: None,
    };
    match feed.intake.begin(provenance).await {
        Ok(writer) => Sink::Open(writer),
        Err(refusal) => Sink::Refused(refusal),
    }
}

/// Makes the record durable, then says what to answer.
async fn settle<I: Intake>(
    writer: Writer,
    body: Digest,
    header: Result<Header, ParseError>,
    bytes: u64,
    feed: Feed<I>,
    peer: String,
) -> Option<Bytes> {
    let (reply, closing) = match &header {
        Ok(header) => {
            let reply = feed.replies.accepted(header);
            let identity = Some(identity(header, &body));
            (reply.clone(), Closing { identity, reply: Some(reply), format: None })
        }
        Err(error) => {
            let reply = feed.replies.unparsed(error);
            let identity = Some(unparsed_identity(&body));
            (reply.clone(), Closing { identity, reply: Some(reply), format: Some(Format::Unparsed) })
        }
    };
    let receipt = match writer.commit(closing).await {
        Ok(receipt) => receipt,
        Err(refusal) => {
            feed.refuse(refusal, &peer, bytes);
            return Some(feed.replies.refused(refusal, header.as_ref().ok()));
        }
    };
    let counters = &feed.counters;
    match (&receipt.duplicate, &header) {
        (Some(_), _) => {
            counters.duplicates.one();
            tracing::info!(feed = %feed.name, %peer, bytes, record = %receipt.id, "an identical resend");
        }
        (None, Ok(_)) => {
            counters.accepted.one();
            tracing::debug!(feed = %feed.name, %peer, bytes, record = %receipt.id, "a message is durable");
        }
        (None, Err(error)) => {
            counters.unparsed.one();
            tracing::warn!(feed = %feed.name, %peer, bytes, record = %receipt.id, %error, "a frame is no message; it is kept and was rejected");
        }
    }
    // What was answered then, if that is still known.
    Some(receipt.duplicate.filter(|stored| !stored.is_empty()).unwrap_or(reply))
}

/// What a resend has in common with the first sending: MSH-10, MSH-7 and the body.
fn identity(header: &Header, body: &Digest) -> Identity {
    digest_of(&[header.control_id(), header.sent_at(), body.as_ref()])
}

/// The same for what has no header to go by.
fn unparsed_identity(body: &Digest) -> Identity {
    digest_of(&[b"unparsed", body.as_ref()])
}

/// SHA-256 over the parts, each after its length (64 bits, big-endian).
fn digest_of(parts: &[&[u8]]) -> Identity {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut identity = [0; 32];
    identity.copy_from_slice(context.finish().as_ref().first_chunk::<32>().unwrap_or(&[0; 32]));
    Identity(identity)
}
