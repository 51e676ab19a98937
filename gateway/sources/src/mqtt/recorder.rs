//! Publishes on their way to the disk: begun one after the other, committed side by side, settled in order.
//!
//! Commits overlap, so that a group commit of the log serves many publishes with one sync; but each commit is
//! started before the next record is begun, so that the log has them in the order of arrival. After the first
//! refusal nothing further is begun: the session is about to end, and order is kept by waiting.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use model::{BoxFuture, Closing, Format, Intake, Provenance, Receipt, Refusal, Slug, Timestamp, Writer};

/// A publish as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// 0 at QoS 0.
    pub(super) packet_id: u16,
    pub(super) received_at: Timestamp,
    /// What to record it as; `None` for what is acknowledged without a record.
    pub(super) record_as: Option<Format>,
}

/// What became of an arrival, in the order of arrival.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is on the disk.
    Recorded(Receipt),
    /// There was nothing to record.
    Passed,
    /// The intake did not take it.
    Refused(Refusal),
}

/// See the module.
pub(super) struct Recorder<I> {
    intake: I,
    feed: Slug,
    peer: String,
    /// Not begun.
    waiting: VecDeque<Arrival>,
    /// Being begun and pushed: at most one.
    opening: Option<(Arrival, BoxFuture<'static, Result<Writer, Refusal>>)>,
    /// Committing, oldest first.
    committing: VecDeque<(Arrival, Commit)>,
    bytes: usize,
    refused: bool,
}

enum Commit {
    Running(BoxFuture<'static, Result<Receipt, Refusal>>),
    Done(Outcome),
}

impl<I: Intake> Recorder<I> {
    pub(super) fn new(intake: I, feed: Slug, peer: String) -> Self {
        Self {
            intake,
            feed,
            peer,
            waiting: VecDeque::new(),
            opening: None,
            committing: VecDeque::new(),
            bytes: 0,
            refused: false,
        }
    }

    /// Takes an arrival. The caller heeds [`Recorder::len`] and [`Recorder::bytes`].
    pub(super) fn push(&mut self, arrival: Arrival) {
        self.bytes = self.bytes.saturating_add(arrival.payload.len());
        self.waiting.push_back(arrival);
    }

    /// Arrivals whose outcome has not been returned.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.opening.is_some()) + self.committing.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Payload bytes held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets go of what is not being committed: the broker has it still. What is being committed must be seen
    /// to its end, as nobody else will know that it is on the disk.
    pub(super) fn abandon_uncommitted(&mut self) {
        self.waiting.clear();
        self.opening = None;
        self.bytes = self.committing.iter().map(|(arrival, _)| arrival.payload.len()).sum();
    }

    /// The next outcome, in order; pending while there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> (Arrival, Outcome) {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// An outcome that is there already.
    pub(super) fn try_next(&mut self) -> Option<(Arrival, Outcome)> {
        let done = matches!(self.committing.front(), Some((_, Commit::Done(_))));
        if !done {
            return None;
        }
        match self.committing.pop_front()? {
            (arrival, Commit::Done(outcome)) => {
                self.bytes = self.bytes.saturating_sub(arrival.payload.len());
                Some((arrival, outcome))
            }
            (arrival, running) => {
                self.committing.push_front((arrival, running));
                None
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Arrival, Outcome)> {
        loop {
            let opened = self.poll_opening(cx);
            self.poll_committing(cx);
            if let Some(outcome) = self.try_next() {
                return Poll::Ready(outcome);
            }
            if !opened {
                return Poll::Pending;
            }
        }
    }

    /// Begins the next record; true when one more is committing.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        if self.opening.is_none() && !self.refused {
            let Some(arrival) = self.waiting.pop_front() else { return false };
            let Some(format) = arrival.record_as.clone() else {
                self.committing.push_back((arrival, Commit::Done(Outcome::Passed)));
                return true;
            };
            let provenance = Provenance {
                feed: self.feed.clone(),
                peer: self.peer.clone(),
                channel: arrival.topic.clone(),
                received_at: arrival.received_at,
                format,
                origin: None,
            };
            let opening = Box::pin(open(self.intake.clone(), provenance, arrival.payload.clone()));
            self.opening = Some((arrival, opening));
        }
        let Some((_, opening)) = &mut self.opening else { return false };
        let Poll::Ready(opened) = Pin::new(opening).poll(cx) else { return false };
        let Some((arrival, _)) = self.opening.take() else { return false };
        let commit = match opened {
            Ok(writer) => Commit::Running(Box::pin(writer.commit(Closing::default()))),
            Err(refusal) => self.refusal(refusal),
        };
        self.committing.push_back((arrival, commit));
        true
    }

    /// Polls all commits, oldest first: that starts them in order.
    fn poll_committing(&mut self, cx: &mut Context<'_>) {
        let mut refused = self.refused;
        for (_, commit) in &mut self.committing {
            let Commit::Running(running) = commit else { continue };
            if let Poll::Ready(result) = running.as_mut().poll(cx) {
                let outcome = match result {
                    Ok(receipt) => Outcome::Recorded(receipt),
                    Err(refusal) => {
                        refused |= refusal != Refusal::TooLarge;
                        Outcome::Refused(refusal)
                    }
                };
                *commit = Commit::Done(outcome);
            }
        }
        self.refused = refused;
    }

    fn refusal(&mut self, refusal: Refusal) -> Commit {
        self.refused |= refusal != Refusal::TooLarge;
        Commit::Done(Outcome::Refused(refusal))
    }
}

async fn open<I: Intake>(intake: I, provenance: Provenance, payload: Bytes) -> Result<Writer, Refusal> {
    let mut writer = intake.begin(provenance).await?;
    if !payload.is_empty() {
        writer.push(&payload).await?;
    }
    Ok(writer)
}
