//! The decision about a record that came whole: made durable or refused, and what its sender is told.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use bytes::Bytes;
use hl7::sequence::{self, Verdict};
use hl7::{Fate, Header, ParseError};
use model::{Closing, FaultKind, Flag, Format, Identity, Intake, LinkPosition, Refusal, Writer};

use super::Sequence;
use super::frame::{Halt, Origin};

/// What became of a record.
pub(crate) struct Settled {
    /// As [`super::frame::Outcome`].
    pub(crate) answer: Option<Bytes>,
    pub(crate) fate: Fate,
}

/// A sequence number on its link.
struct Numbered {
    link: Identity,
    number: i64,
    verdict: Verdict,
}

impl Numbered {
    /// Whether it is to be refused where the order is enforced. The last number once more may be a resend whose
    /// answer was lost.
    const fn is_out_of_order(&self) -> bool {
        self.verdict.is_gap && self.number != self.verdict.expected.saturating_sub(1)
    }
}

/// Makes the record durable, then says what to answer.
pub(crate) async fn settle<I: Intake>(
    writer: Writer,
    body: Digest,
    header: Result<Header, ParseError>,
    bytes: u64,
    origin: Origin<I>,
    halt: Option<Halt>,
) -> Settled {
    let settled = match &header {
        Ok(header) => message(writer, &body, header, bytes, &origin).await,
        Err(error) => unparsed(writer, &body, error, bytes, &origin).await,
    };
    match settled {
        Ok(settled) => settled,
        Err(refusal) => {
            if let Some(halt) = halt {
                halt.get_or_init(|| refusal);
            }
            refused(refusal, header.as_ref().ok(), bytes, &origin)
        }
    }
}

async fn message<I: Intake>(
    writer: Writer,
    body: &Digest,
    header: &Header,
    bytes: u64,
    origin: &Origin<I>,
) -> Result<Settled, Refusal> {
    let (feed, peer) = (&origin.feed, &origin.peer);
    let acknowledge = &feed.config.acknowledge;
    let number = acknowledge.sequence_number(header);
    // The link's last number must not change between looking and committing.
    let _turn = match number {
        Some(_) => Some(Arc::clone(&origin.turn).lock_owned().await),
        None => None,
    };
    let numbered = number.map(|number| {
        let link = link_of(header);
        let verdict = sequence::check(feed.intake.last_number(&feed.name, &link), number);
        Numbered { link, number, verdict }
    });
    let gap = numbered.as_ref().filter(|n| n.verdict.is_gap);
    if let Some(gap) = gap.filter(|n| acknowledge.sequence == Sequence::Enforce && n.is_out_of_order()) {
        feed.counters.refused.one();
        let (expected, found) = (gap.verdict.expected, gap.number);
        tracing::warn!(feed = %feed.name, %peer, expected, found, "a message is out of sequence and was not taken");
        origin.report(origin.fault(FaultKind::SequenceGap).bytes(bytes).mismatch(expected, found));
        let answer = feed.replies.out_of_sequence(header, expected, found);
        return Ok(Settled { answer, fate: Fate::Failed });
    }
    let reply = feed.replies.accepted(header, numbered.as_ref().map(|n| n.verdict.answer));
    let closing = Closing {
        identity: Some(identity(header, body)),
        control: control(header),
        reply: reply.clone(),
        format: None,
        sequenced: numbered.as_ref().and_then(|n| Some(LinkPosition { link: n.link, last: n.verdict.last? })),
        flags: gap.map(|_| Flag::OutOfSequence).into_iter().collect(),
    };
    let receipt = writer.commit(closing).await?;
    let id = receipt.id;
    if let Some(stored) = receipt.duplicate {
        feed.counters.duplicates.one();
        tracing::info!(feed = %feed.name, %peer, bytes, record = %id, "an identical resend");
        // What was answered then, if that is still known.
        let stored = Some(stored).filter(|stored| !stored.is_empty() && reply.is_some());
        return Ok(Settled { answer: stored.or(reply), fate: Fate::Accepted });
    }
    feed.counters.accepted.one();
    tracing::debug!(feed = %feed.name, %peer, bytes, record = %id, "a message is durable");
    if let Some(gap) = gap {
        let (expected, found) = (gap.verdict.expected, gap.number);
        tracing::warn!(feed = %feed.name, %peer, expected, found, record = %id, "a sequence number is not the expected one");
        origin.report(origin.fault(FaultKind::SequenceGap).bytes(bytes).record(id).mismatch(expected, found));
    }
    Ok(Settled { answer: reply, fate: Fate::Accepted })
}

async fn unparsed<I: Intake>(
    writer: Writer,
    body: &Digest,
    error: &ParseError,
    bytes: u64,
    origin: &Origin<I>,
) -> Result<Settled, Refusal> {
    let (feed, peer) = (&origin.feed, &origin.peer);
    let reply = feed.replies.unparsed(error);
    let closing = Closing {
        identity: Some(unparsed_identity(body)),
        reply: reply.clone(),
        format: Some(Format::Unparsed),
        ..Closing::default()
    };
    let receipt = writer.commit(closing).await?;
    let answer = match receipt.duplicate {
        Some(stored) => {
            feed.counters.duplicates.one();
            Some(stored).filter(|stored| !stored.is_empty() && reply.is_some()).or(reply)
        }
        None => {
            feed.counters.unparsed.one();
            tracing::warn!(feed = %feed.name, %peer, bytes, record = %receipt.id, %error, "a frame is no message; it is kept and was rejected");
            reply
        }
    };
    origin.report(origin.fault(FaultKind::NoHeader).bytes(bytes).record(receipt.id));
    Ok(Settled { answer, fate: Fate::Rejected })
}

/// Nothing was stored: counted, noted, and said to whom wants to know.
pub(crate) fn refused<I: Intake>(
    refusal: Refusal,
    header: Option<&Header>,
    bytes: u64,
    origin: &Origin<I>,
) -> Settled {
    let feed = &origin.feed;
    feed.refuse(refusal, &origin.peer, bytes);
    let answer = feed.replies.refused(refusal, header);
    let kind = match (refusal, &answer) {
        (Refusal::TooLarge, _) => FaultKind::TooLong,
        (_, Some(_)) => FaultKind::NotStored,
        (_, None) => FaultKind::LostUnanswered,
    };
    origin.report(origin.fault(kind).bytes(bytes));
    let fate = if refusal == Refusal::TooLarge { Fate::Rejected } else { Fate::Failed };
    Settled { answer, fate }
}

/// The feed does not take messages of this sender.
pub(crate) fn not_allowed<I: Intake>(header: Option<&Header>, bytes: u64, origin: &Origin<I>) -> Settled {
    let feed = &origin.feed;
    feed.refuse_sender(&origin.peer, bytes);
    origin.report(origin.fault(FaultKind::NotAllowed).bytes(bytes));
    Settled { answer: header.and_then(|header| feed.replies.sender_refused(header)), fate: Fate::Rejected }
}

/// What a resend has in common with the first sending: MSH-10, MSH-7 and the body.
fn identity(header: &Header, body: &Digest) -> Identity {
    digest_of(&[header.control_id(), header.sent_at(), body.as_ref()])
}

/// By what a message should differ from every other of its sender: MSH-3, MSH-4 and MSH-10. A sender that leaves
/// MSH-10 empty makes no such promise.
fn control(header: &Header) -> Option<Identity> {
    let id = header.control_id();
    (!id.is_empty()).then(|| digest_of(&[b"control", header.field(3), header.field(4), id]))
}

/// A link of the sequence number protocol: both applications and facilities.
fn link_of(header: &Header) -> Identity {
    digest_of(&[b"link", header.field(3), header.field(4), header.field(5), header.field(6)])
}

/// The same for what has no header to go by.
pub(crate) fn unparsed_identity(body: &Digest) -> Identity {
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
