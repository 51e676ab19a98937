//! An intake that remembers what became durable, and that can be held, refused and limited.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use model::{
    Append, BoxFuture, Closing, Format, Intake, Lane, Provenance, Receipt, RecordId, Refusal, StreamEpoch,
    Writer,
};
use tokio::sync::watch;

/// What became durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) provenance: Provenance,
    pub(super) payload: Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct FakeIntake {
    stored: Arc<Mutex<Vec<Stored>>>,
    begun: Arc<Mutex<usize>>,
    mode: watch::Sender<Mode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// Commits do not finish.
    Held,
    /// Every begin is refused.
    Refusing(Refusal),
    /// Every commit is refused.
    RefusingCommits(Refusal),
    /// Records of more bytes are refused as too large.
    UpTo(usize),
}

impl FakeIntake {
    pub(super) fn new() -> Self {
        Self { stored: Arc::default(), begun: Arc::default(), mode: watch::Sender::new(Mode::Open) }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    pub(super) fn stored(&self) -> Vec<Stored> {
        self.stored.lock().unwrap().clone()
    }

    pub(super) fn payloads(&self) -> Vec<Bytes> {
        self.stored().into_iter().map(|stored| stored.payload).collect()
    }

    pub(super) fn begun(&self) -> usize {
        *self.begun.lock().unwrap()
    }
}

impl Intake for FakeIntake {
    async fn begin(&self, provenance: Provenance) -> Result<Writer, Refusal> {
        if let Mode::Refusing(refusal) = *self.mode.borrow() {
            return Err(refusal);
        }
        *self.begun.lock().unwrap() += 1;
        Ok(Writer::new(FakeWriter { intake: self.clone(), provenance, payload: Vec::new() }))
    }
}

struct FakeWriter {
    intake: FakeIntake,
    provenance: Provenance,
    payload: Vec<u8>,
}

impl Append for FakeWriter {
    fn push<'a>(&'a mut self, chunk: &'a [u8]) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            self.payload.extend_from_slice(chunk);
            match *self.intake.mode.borrow() {
                Mode::UpTo(bytes) if self.payload.len() > bytes => Err(Refusal::TooLarge),
                _ => Ok(()),
            }
        })
    }

    fn commit(self: Box<Self>, closing: Closing) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        Box::pin(async move {
            assert!(closing.identity.is_none(), "nothing is merged by content");
            let mut mode = self.intake.mode.subscribe();
            let mode = *mode.wait_for(|mode| *mode != Mode::Held).await.unwrap();
            if let Mode::RefusingCommits(refusal) = mode {
                return Err(refusal);
            }
            let mut stored = self.intake.stored.lock().unwrap();
            stored.push(Stored { provenance: self.provenance, payload: self.payload.into() });
            let id = RecordId { lane: Lane::Clinical, epoch: StreamEpoch::FIRST, seq: stored.len() as u64 };
            Ok(Receipt { id, duplicate: None })
        })
    }
}

pub(super) fn device(stored: &Stored) -> bool {
    stored.provenance.format == Format::Device("bluetooth.plx".into())
}
