//! A batch on its way: its messages are settled while the rest of the frame still arrives, and answered in one frame
//! at its end.
//!
//! Every message is a record of its own, with its own acknowledgement. Once one could not be stored, the later ones are
//! not tried. A batch whose frame is cut off gets no answer; its messages that came whole are kept, and a resend
//! recognises them.

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use hl7::batch::{BatchAnswer, Line, stated_count};
use hl7::{Fate, Header};
use model::{BoxFuture, FaultKind, Intake};
use tokio::sync::mpsc;

use super::BatchReply;
use super::frame::{Halt, Origin, Outcome};
use super::reply::split_frames;
use super::settle::Settled;

/// Most messages of a batch; those beyond are rejected.
pub const BATCH_MESSAGES_MAX: u64 = 20_000;
/// Most lines of the envelope that the answer mirrors; those beyond are stored and not answered.
const LINES_MAX: usize = 1_000;
/// Messages of a batch that are settled at once.
const IN_FLIGHT: usize = 32;

/// What happened in the batch.
enum Part {
    /// A message; or, where there is none, the record that holds the envelope alone.
    Message(BoxFuture<'static, Settled>, bool),
    Line(Line, Vec<u8>),
    /// The frame is complete.
    End,
}

/// The reading end.
pub(crate) struct Batch {
    parts: mpsc::Sender<Part>,
    pub(crate) halt: Halt,
    messages: u64,
    lines: usize,
    /// Lines that came behind the message in progress: its answer goes before theirs.
    after: Vec<(Line, Vec<u8>)>,
    /// Since the last BHS, or the beginning.
    messages_of_batch: i64,
    batches: i64,
}

impl Batch {
    /// A batch has begun. The outcome is to be driven from now on.
    pub(crate) fn open<I: Intake>(origin: &Origin<I>) -> (Self, Outcome) {
        let (parts, receiver) = mpsc::channel(IN_FLIGHT);
        let batch = Self {
            parts,
            halt: Halt::default(),
            messages: 0,
            lines: 0,
            after: Vec::new(),
            messages_of_batch: 0,
            batches: 0,
        };
        (batch, Box::pin(settle(receiver, origin.clone())))
    }

    /// A message begins. `false` where there are too many.
    pub(crate) fn begin_message(&mut self) -> bool {
        self.messages += 1;
        self.messages_of_batch += 1;
        self.messages <= BATCH_MESSAGES_MAX
    }

    /// A line of the envelope; `in_message` where it stands behind a message whose record is in progress. Trailers are
    /// held against what came.
    pub(crate) async fn line<I: Intake>(
        &mut self,
        kind: Line,
        line: &[u8],
        in_message: bool,
        origin: &Origin<I>,
    ) {
        let counted = match kind {
            Line::FileHeader => {
                self.batches = 0;
                None
            }
            Line::BatchHeader => {
                self.batches += 1;
                self.messages_of_batch = 0;
                None
            }
            Line::BatchTrailer => Some(std::mem::take(&mut self.messages_of_batch)),
            Line::FileTrailer => Some(self.batches),
        };
        if let (Some(found), Some(expected)) = (counted, stated_count(line))
            && found != expected
        {
            tracing::warn!(feed = %origin.feed.name, peer = %origin.peer, expected, found, "a batch does not hold what its trailer says; all that came is kept");
            origin.report(origin.fault(FaultKind::BatchCount).mismatch(expected, found));
        }
        self.lines += 1;
        if self.lines > LINES_MAX {
            return;
        }
        if in_message {
            self.after.push((kind, line.to_vec()));
        } else {
            self.send(Part::Line(kind, line.to_vec())).await;
        }
    }

    /// A record is complete.
    pub(crate) async fn message(&mut self, settled: BoxFuture<'static, Settled>, has_message: bool) {
        // Of those beyond the limit the first is answered for all.
        if self.messages <= BATCH_MESSAGES_MAX + 1 {
            self.send(Part::Message(settled, has_message)).await;
        }
        for (kind, line) in std::mem::take(&mut self.after) {
            self.send(Part::Line(kind, line)).await;
        }
    }

    /// The frame is complete.
    pub(crate) async fn end(self) {
        self.send(Part::End).await;
    }

    /// Whoever settles is gone only with the connection.
    async fn send(&self, part: Part) {
        drop(self.parts.send(part).await);
    }
}

/// What came, in order, as far as the answer goes.
enum Item {
    Line(Line, Vec<u8>),
    Settled(Settled, bool),
}

/// Drives the messages, and answers when the frame is complete.
async fn settle<I: Intake>(mut parts: mpsc::Receiver<Part>, origin: Origin<I>) -> Option<Bytes> {
    let mut pending: FuturesOrdered<BoxFuture<'static, Item>> = FuturesOrdered::new();
    let mut items = Vec::new();
    let mut is_complete = false;
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            part = parts.recv(), if open && pending.len() < IN_FLIGHT => match part {
                Some(Part::Message(settled, has_message)) => {
                    pending.push_back(Box::pin(async move { Item::Settled(settled.await, has_message) }));
                }
                Some(Part::Line(kind, line)) => {
                    pending.push_back(Box::pin(std::future::ready(Item::Line(kind, line))));
                }
                Some(Part::End) => (is_complete, open) = (true, false),
                None => open = false,
            },
            Some(item) = pending.next(), if !pending.is_empty() => items.push(item),
            else => break,
        }
    }
    if is_complete { compose(items, &origin) } else { None }
}

fn compose<I: Intake>(items: Vec<Item>, origin: &Origin<I>) -> Option<Bytes> {
    let feed = &origin.feed;
    let messages = || {
        items.iter().filter_map(|item| match item {
            Item::Settled(settled, true) => Some(settled),
            _ => None,
        })
    };
    if messages().next().is_none() {
        // An empty batch is answered as a message is.
        return items.into_iter().find_map(|item| match item {
            Item::Settled(settled, _) => settled.answer,
            Item::Line(..) => None,
        });
    }
    if feed.config.acknowledge.batch == BatchReply::One {
        let answered = || messages().filter(|settled| settled.answer.is_some());
        let negative = answered().find(|settled| settled.fate != Fate::Accepted);
        return negative.or_else(|| answered().next()).and_then(|settled| settled.answer.clone());
    }
    if messages().all(|settled| settled.answer.is_none()) {
        return None;
    }
    let mut answer = BatchAnswer::new();
    for item in items {
        match item {
            Item::Line(Line::FileHeader | Line::BatchHeader, line) => {
                if let Ok(header) = Header::read_in(&line, true, feed.charset) {
                    let (control_id, sent_at) = feed.replies.stamp();
                    answer.header(&header, &control_id, &sent_at);
                }
            }
            Item::Line(trailer, _) => answer.trailer(trailer),
            Item::Settled(settled, _) => {
                for frame in settled.answer.iter().flat_map(|answer| split_frames(answer)) {
                    answer.acknowledgement(frame);
                }
            }
        }
    }
    Some(answer.finish().into())
}
