//! What waits for a log's committer.
//!
//! Bounded by bytes: [`QUEUE_BYTES`] permits, taken before anything is put in and given back when the work is
//! answered, so that waiting happens at the source. A slot costs at least [`ITEM_BYTES_MIN`], which bounds the
//! count too. The blocking door takes no permit; it is for the few that must not wait for a runtime (audit).

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use model::Seq;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::Error;
use crate::format::{
    COMMIT_BYTES_MAX, COMMIT_RECORDS_MAX, ChunkBody, ChunkRef, FRAME_OVERHEAD_BYTES, RecordBody, Stored,
    TableBody,
};
use crate::inner::{Pin, Pins};

/// Most bytes that wait in one log's queue.
pub(crate) const QUEUE_BYTES: usize = 4 << 20;
/// Most turns the committer gives those who are still putting work in.
const GATHER_TURNS_MAX: u32 = 64;
/// What an item costs at least.
const ITEM_BYTES_MIN: usize = 512;

/// One frame to be written.
#[derive(Debug)]
pub(crate) enum Work {
    Record {
        meta: Vec<u8>,
        stored: Stored,
        /// Keeps the segments of its chunks until the record itself does.
        #[expect(dead_code, reason = "held for what dropping it does")]
        pins: Pins,
    },
    Chunk(ChunkBody),
    Table(TableBody),
}

impl Work {
    /// Length of the frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_OVERHEAD_BYTES
            + match self {
                Self::Record { meta, stored, .. } => RecordBody::encoded_len(meta, stored),
                Self::Chunk(chunk) => chunk.encoded_len(),
                Self::Table(table) => table.encoded_len(),
            }
    }
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Done {
    Record(Seq),
    /// A chunk or a table, and where it lies.
    Part(ChunkRef, Pin),
}

#[derive(Debug)]
pub(crate) enum Reply {
    Task(oneshot::Sender<Result<Done, Error>>),
    Thread(SyncSender<Result<Done, Error>>),
}

impl Reply {
    /// Whoever asked may be gone; then nobody needs the answer.
    pub(crate) fn send(self, result: Result<Done, Error>) {
        match self {
            Self::Task(sender) => drop(sender.send(result)),
            Self::Thread(sender) => drop(sender.send(result)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) work: Work,
    pub(crate) reply: Reply,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// Who waits for a segment in the newest key epoch.
    moves: Vec<SyncSender<Result<(), Error>>>,
    is_stopping: bool,
    should_seal: bool,
}

impl Waiting {
    /// What one flush should carry.
    fn take(&mut self) -> Next {
        let mut bytes = 0;
        let mut count = 0;
        for item in &self.items {
            let more = item.work.frame_bytes();
            if count > 0 && (count >= COMMIT_RECORDS_MAX || bytes + more > COMMIT_BYTES_MAX) {
                break;
            }
            bytes += more;
            count += 1;
        }
        let rest = self.items.split_off(count);
        Next::Commit(std::mem::replace(&mut self.items, rest))
    }
}

/// What the committer is to do next.
#[derive(Debug)]
pub(crate) enum Next {
    Commit(VecDeque<Item>),
    /// Close the segment, unless its key epoch is the newest.
    Move(SyncSender<Result<(), Error>>),
    Stop {
        should_seal: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    /// Rung beside, where the committer has no thread of its own.
    bell: Option<Arc<Notify>>,
    room: Arc<Semaphore>,
}

impl Queue {
    pub(crate) fn new(bell: Option<Arc<Notify>>) -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        Self { waiting: Mutex::default(), ready: Condvar::new(), bell, room }
    }

    /// Waits for room, puts the work in and waits for the answer. Cancelled after the work went in, it stays
    /// open whether the work is done.
    pub(crate) async fn run(&self, work: Work) -> Result<Done, Error> {
        self.submit(work).await?.await.unwrap_or(Err(Error::Stopping))
    }

    /// The same, without waiting for the answer.
    pub(crate) async fn submit(&self, work: Work) -> Result<oneshot::Receiver<Result<Done, Error>>, Error> {
        let cost = work.frame_bytes().clamp(ITEM_BYTES_MIN, QUEUE_BYTES) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(cost).await.map_err(|_| Error::Stopping)?;
        let (sender, receiver) = oneshot::channel();
        self.push(Item { work, reply: Reply::Task(sender), permit: Some(permit) })?;
        Ok(receiver)
    }

    /// The same for a thread that may block.
    pub(crate) fn submit_blocking(&self, work: Work) -> Result<Receiver<Result<Done, Error>>, Error> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.push(Item { work, reply: Reply::Thread(sender), permit: None })?;
        Ok(receiver)
    }

    /// Has the log begin a segment in the newest key epoch, unless it is in one.
    pub(crate) fn ask_to_move(&self) -> Result<Receiver<Result<(), Error>>, Error> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let mut waiting = self.lock();
        if waiting.is_stopping {
            return Err(Error::Stopping);
        }
        waiting.moves.push(sender);
        drop(waiting);
        self.ready.notify_one();
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
        Ok(receiver)
    }

    fn push(&self, item: Item) -> Result<(), Error> {
        let mut waiting = self.lock();
        if waiting.is_stopping {
            return Err(Error::Stopping);
        }
        waiting.items.push_back(item);
        drop(waiting);
        self.ready.notify_one();
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
        Ok(())
    }

    /// Refuses new work; what waits is still done.
    pub(crate) fn stop(&self, should_seal: bool) {
        let mut waiting = self.lock();
        waiting.is_stopping = true;
        waiting.should_seal |= should_seal;
        drop(waiting);
        self.room.close();
        self.ready.notify_all();
    }

    /// Answers what waits when the committer is gone.
    pub(crate) fn abandon(&self) {
        self.stop(false);
        let (items, moves) = {
            let mut waiting = self.lock();
            (std::mem::take(&mut waiting.items), std::mem::take(&mut waiting.moves))
        };
        drop(moves);
        for item in items {
            item.reply.send(Err(Error::Stopping));
        }
    }

    /// Waits for work; takes what one flush should carry.
    pub(crate) fn next(&self) -> Next {
        let mut waiting = self.lock();
        while waiting.items.is_empty() {
            if let Some(asked) = waiting.moves.pop() {
                return Next::Move(asked);
            }
            if waiting.is_stopping {
                return Next::Stop { should_seal: waiting.should_seal };
            }
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        // Those just answered are about to come again, and the first of them must not be synced alone: as long
        // as the queue grows, they have the processor. Microseconds, no timer.
        for _ in 0..GATHER_TURNS_MAX {
            let before = waiting.items.len();
            if before >= COMMIT_RECORDS_MAX {
                break;
            }
            drop(waiting);
            std::thread::yield_now();
            waiting = self.lock();
            if waiting.items.len() == before {
                break;
            }
        }
        waiting.take()
    }

    /// The same without waiting: `None` when there is nothing to do.
    pub(crate) fn try_next(&self) -> Option<Next> {
        let mut waiting = self.lock();
        if !waiting.items.is_empty() {
            return Some(waiting.take());
        }
        if let Some(asked) = waiting.moves.pop() {
            return Some(Next::Move(asked));
        }
        waiting.is_stopping.then_some(Next::Stop { should_seal: waiting.should_seal })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
