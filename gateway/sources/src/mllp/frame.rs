//! One frame on its way: bytes in as they come, an answer out at the end.
//!
//! Mostly a frame is one message and one record. A frame that begins with FHS or BHS is cut into its messages
//! ([`hl7::batch::Splitter`]), each a record of its own; see [`super::batch`].

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use hl7::HeaderScan;
use hl7::batch::{Event, Splitter};
use model::{BoxFuture, Closing, Fault, FaultKind, Format, Intake, Provenance, Refusal, Timestamp, Writer};

use super::batch::Batch;
use super::server::Feed;
use super::settle::{self, Settled};

/// Resolves when the frame is decided: the bytes of the answer, or `None` where there is none. Where there are two
/// answers, the bytes that stand between two frames stand between them.
pub(crate) type Outcome = BoxFuture<'static, Option<Bytes>>;

/// The connection that a frame came by. Cheap to clone.
pub(crate) struct Origin<I> {
    pub(crate) feed: Feed<I>,
    pub(crate) peer: Arc<str>,
    /// Messages with sequence numbers are decided one after the other.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

impl<I> Clone for Origin<I> {
    fn clone(&self) -> Self {
        Self { feed: self.feed.clone(), peer: Arc::clone(&self.peer), turn: Arc::clone(&self.turn) }
    }
}

impl<I: Intake> Origin<I> {
    pub(crate) fn new(feed: Feed<I>, peer: &str) -> Self {
        Self { feed, peer: peer.into(), turn: Arc::default() }
    }

    /// A fault of this peer, now.
    pub(crate) fn fault(&self, kind: FaultKind) -> Fault {
        Fault::new(self.feed.name.clone(), &*self.peer, self.feed.clock.now(), kind)
    }

    pub(crate) fn report(&self, fault: Fault) {
        self.feed.intake.report(fault);
    }
}

/// Where a record's bytes go.
enum Sink {
    /// Nothing has come yet; an empty frame makes no record.
    Idle,
    Open(Writer),
    /// Not taken. The rest is read past, so that the answer comes in its place.
    Refused(Refusal),
}

/// A record in progress.
struct Record {
    sink: Sink,
    scan: HeaderScan,
    /// Over the message; of a batch without messages over the whole.
    digest: Context,
    bytes: u64,
    has_message: bool,
    /// Of a batch: why no more of it is taken.
    halt: Option<Halt>,
}

/// Set when a message of a batch was not taken: the later ones are not tried.
pub(crate) type Halt = Arc<OnceLock<Refusal>>;

/// The frame in progress.
pub(crate) struct Frame<I> {
    origin: Origin<I>,
    received_at: Timestamp,
    splitter: Splitter,
    record: Option<Record>,
    batch: Option<Batch>,
}

impl<I: Intake> Frame<I> {
    pub(crate) fn new(origin: &Origin<I>) -> Self {
        let received_at = origin.feed.clock.now();
        Self { origin: origin.clone(), received_at, splitter: Splitter::new(), record: None, batch: None }
    }

    /// Passes bytes on, waiting while the log has no room for them. `Some` when the frame turns out to be a batch: its
    /// outcome, which must be driven before more is passed on; then call it again with the rest.
    pub(crate) async fn push(&mut self, data: &mut &[u8]) -> Option<Outcome> {
        while let Some(event) = self.splitter.next(data) {
            if let Some(outcome) = self.act(event).await {
                return Some(outcome);
            }
        }
        None
    }

    async fn act(&mut self, event: Event<'_>) -> Option<Outcome> {
        match event {
            Event::Begin => {
                self.end_record().await;
                let halt = self.batch.as_ref().map(|batch| Arc::clone(&batch.halt));
                self.record = Some(Record::new(halt));
            }
            Event::Data { bytes, of_message } => {
                if let Some(record) = &mut self.record {
                    let begins = of_message && !record.has_message;
                    if let (true, Some(batch)) = (begins, &mut self.batch)
                        && !batch.begin_message()
                    {
                        record.sink = Sink::Refused(Refusal::TooLarge);
                    }
                    record.push(bytes, of_message, self.received_at, &self.origin).await;
                }
            }
            Event::Line(kind) => {
                let line = self.splitter.line();
                if let Some(batch) = &mut self.batch {
                    let in_message = self.record.as_ref().is_some_and(|record| record.has_message);
                    batch.line(kind, line, in_message, &self.origin).await;
                    return None;
                }
                let (mut batch, outcome) = Batch::open(&self.origin);
                if let Some(record) = &mut self.record {
                    record.halt = Some(Arc::clone(&batch.halt));
                }
                batch.line(kind, line, false, &self.origin).await;
                self.batch = Some(batch);
                return Some(outcome);
            }
        }
        None
    }

    /// The frame has passed its limit.
    pub(crate) fn too_long(&mut self) {
        let record = self.record.get_or_insert_with(|| Record::new(None));
        record.sink = Sink::Refused(Refusal::TooLarge);
    }

    /// The frame is complete. `None` where it was empty, or its outcome has been handed over already.
    pub(crate) async fn end(mut self) -> Option<Outcome> {
        self.finish_splitter().await;
        if self.batch.is_some() {
            self.end_record().await;
            if let Some(batch) = self.batch.take() {
                batch.end().await;
            }
            return None;
        }
        let settled = self.record.take()?.end(&self.origin)?;
        Some(Box::pin(async move { settled.await.answer }))
    }

    /// Whether nothing has come of it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.record.is_none()
    }

    /// In a batch: the record is complete.
    async fn end_record(&mut self) {
        let Some(record) = self.record.take() else { return };
        let has_message = record.has_message;
        if let (Some(settled), Some(batch)) = (record.end(&self.origin), &mut self.batch) {
            batch.message(settled, has_message).await;
        }
    }

    async fn finish_splitter(&mut self) {
        while let Some(event) = self.splitter.finish() {
            // An outcome comes with the first line of a batch, which has an end where a message follows. A batch of
            // one line is a record like any other.
            drop(self.act_last(event).await);
        }
    }

    async fn act_last(&mut self, event: Event<'_>) -> Option<Outcome> {
        match event {
            Event::Line(_) if self.batch.is_none() => None,
            event => self.act(event).await,
        }
    }

    /// The next frame began before this one ended. What came of its last record is kept as evidence, unanswered; the
    /// messages of a batch that came whole stay what they are.
    pub(crate) async fn broken_off(mut self, bytes: u64) -> Option<Outcome> {
        self.finish_splitter().await;
        let origin = self.origin;
        let fault = origin.fault(FaultKind::BrokenOff).bytes(bytes);
        let Some(Record { sink: Sink::Open(writer), digest, .. }) = self.record else {
            origin.report(fault);
            return None;
        };
        let closing = Closing {
            identity: Some(settle::unparsed_identity(&digest.finish())),
            format: Some(Format::Unparsed),
            ..Closing::default()
        };
        Some(Box::pin(async move {
            let (feed, peer) = (&origin.feed, &origin.peer);
            match writer.commit(closing).await {
                Ok(receipt) => {
                    tracing::warn!(feed = %feed.name, %peer, bytes, record = %receipt.id, "a frame lost its end; the part that came is kept");
                    origin.report(fault.record(receipt.id));
                }
                Err(refusal) => {
                    tracing::error!(feed = %feed.name, %peer, bytes, %refusal, "a frame lost its end and could not be kept");
                    origin.report(fault);
                }
            }
            None
        }))
    }
}

impl Record {
    fn new(halt: Option<Halt>) -> Self {
        Self {
            sink: Sink::Idle,
            scan: HeaderScan::new(),
            digest: Context::new(&SHA256),
            bytes: 0,
            has_message: false,
            halt,
        }
    }

    async fn push<I: Intake>(
        &mut self,
        data: &[u8],
        of_message: bool,
        received_at: Timestamp,
        origin: &Origin<I>,
    ) {
        self.bytes += data.len() as u64;
        if of_message && !self.has_message && self.halt.is_some() {
            // What identifies a message is the message, not the envelope that it came in.
            self.has_message = true;
            self.scan.clear();
            self.digest = Context::new(&SHA256);
        }
        let is_counted = of_message || !self.has_message;
        if is_counted {
            self.scan.push(data);
        }
        if matches!(self.sink, Sink::Idle) {
            self.sink = match self.halt.as_ref().and_then(|halt| halt.get()) {
                Some(refusal) => Sink::Refused(*refusal),
                None => open(received_at, origin).await,
            };
        }
        if let Sink::Open(writer) = &mut self.sink {
            if is_counted {
                self.digest.update(data);
            }
            if let Err(refusal) = writer.push(data).await {
                self.sink = Sink::Refused(refusal);
            }
        }
        if let (Sink::Refused(refusal), Some(halt)) = (&self.sink, &self.halt) {
            halt.get_or_init(|| *refusal);
        }
    }

    /// The record is complete. `None` where it was empty.
    fn end<I: Intake>(self, origin: &Origin<I>) -> Option<BoxFuture<'static, Settled>> {
        let header = self.scan.finish_in(origin.feed.charset);
        let counters = &origin.feed.counters;
        if !matches!(self.sink, Sink::Idle) {
            counters.frames.one();
            counters.bytes.add(self.bytes);
        }
        match self.sink {
            Sink::Idle => None,
            Sink::Refused(refusal) => {
                let settled = settle::refused(refusal, header.as_ref().ok(), self.bytes, origin);
                Some(Box::pin(std::future::ready(settled)))
            }
            // Dropping the writer leaves no record.
            Sink::Open(_) if header.as_ref().is_ok_and(|h| !origin.feed.takes(h)) => {
                let settled = settle::not_allowed(header.as_ref().ok(), self.bytes, origin);
                Some(Box::pin(std::future::ready(settled)))
            }
            Sink::Open(writer) => {
                let digest = self.digest.finish();
                Some(Box::pin(settle::settle(writer, digest, header, self.bytes, origin.clone(), self.halt)))
            }
        }
    }
}

/// Begins the record, if the log takes it.
async fn open<I: Intake>(received_at: Timestamp, origin: &Origin<I>) -> Sink {
    let provenance = Provenance {
        feed: origin.feed.name.clone(),
        peer: origin.peer.to_string(),
        channel: String::new(),
        received_at,
        format: Format::Hl7v2,
        origin: None,
    };
    match origin.feed.intake.begin(provenance).await {
        Ok(writer) => Sink::Open(writer),
        Err(refusal) => Sink::Refused(refusal),
    }
}
