//! A log's handle: records in, and the way to readers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::{Seq, StreamEpoch, Timestamp};
use tokio::sync::oneshot;

use crate::Error;
use crate::format::{
    ChunkBody, ChunkRef, Chunked, DATA_START, DIRECT_REFS_MAX, INLINE_BYTES, Layout, META_BYTES_MAX, Packed,
    Stored, TABLE_REFS, TABLES_MAX, TableBody, page_up,
};
use crate::inner::{Inner, Pins};
use crate::keeper::Chore;
use crate::pressure::Room;
use crate::queue::{Done, Work};
use crate::reader::{Entry, Payload, Reader};
use crate::tail::Durable;

/// An unfinished object leaves this part of what the log may hold to others.
const HEADROOM_PART: u64 = 16;
/// What frame and head add to a chunk, at most.
const CHUNK_OVERHEAD_BYTES: usize = 128;
/// An object's growth is looked at again after this many chunks.
const LOOK_EVERY: u32 = 4;

const UNEXPECTED: Error = Error::Internal("the committer answered another question");

/// How a log fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// Takes records.
    Ready,
    /// Budget or disk is used up. Heals by itself when room returns.
    Full,
    /// The last write failed. Each new record tries a fresh segment.
    Failing,
    /// Stopping or stopped.
    Stopped,
}

/// A log in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStat {
    /// Its name.
    pub name: &'static str,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Its budget.
    pub bytes_max: u64,
    /// What the budget leaves, whatever the disk leaves.
    pub bytes_free: u64,
    /// Segment files.
    pub segments: u64,
    /// Oldest number retained; `last + 1` when there is none.
    pub first: Seq,
    /// Last durable number, 0 when there is none.
    pub last: Seq,
    /// What of the budget may not go, and what is left of it.
    pub room: Room,
    /// How it fares.
    pub state: LogState,
    /// Damage found when the spool was opened and met by readers since.
    pub damaged: u64,
}

/// One encrypted log: numbered records in, in order, durable before they are acknowledged. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log(pub(crate) Arc<Inner>);

impl Log {
    /// `urgent`, `clinical`, `bulk`, `held` or `journal`.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The epoch that new records belong to.
    pub fn epoch(&self) -> StreamEpoch {
        StreamEpoch::new(self.0.epoch()).unwrap_or(StreamEpoch::FIRST)
    }

    /// 32 lower-case hex digits, made with the log: one physical log on one disk.
    pub fn incarnation(&self) -> String {
        hex::encode(self.0.identity().incarnation)
    }

    /// Takes a granted epoch, durably. The same epoch again is fine. Blocks for a few flushes.
    ///
    /// # Errors
    /// [`Error::EpochBackwards`] for an older one; [`Error::Io`].
    pub fn adopt_epoch(&self, epoch: StreamEpoch) -> Result<(), Error> {
        self.0.adopt_epoch(epoch)
    }

    /// Takes a new incarnation and the next epoch, durably: after a restore, where the log may have forgotten
    /// numbers it gave out. Records and numbering stay. Blocks for a few flushes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn renew_incarnation(&self) -> Result<(), Error> {
        self.0.renew()
    }

    /// The same, where the log still has this incarnation: of several that notice one mishap, the first acts. Says
    /// whether it did.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn renew_incarnation_of(&self, incarnation: &str) -> Result<bool, Error> {
        self.0.renew_of(incarnation)
    }

    /// Begins a record that arrives in pieces.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Stopping`], before the first byte is taken.
    #[expect(clippy::unused_async, reason = "a later admission may wait for room; callers are async anyway")]
    pub async fn begin(&self) -> Result<Appender, Error> {
        self.admit()?;
        Ok(Appender { log: self.clone(), buffer: Vec::new(), total: 0, large: None })
    }

    /// Begins a record whose length is known: what would not fit is refused before its first byte. Pushing more than
    /// was declared is not an error.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `record_bytes_max`; [`Error::Full`] when the log has not that much room, or as
    /// much as it keeps for others (see [`Appender::push`]); as [`Log::begin`].
    pub async fn begin_sized(&self, bytes: u64) -> Result<Appender, Error> {
        self.check_payload(bytes)?;
        if bytes > INLINE_BYTES as u64 {
            self.check_room(bytes)?;
        }
        self.begin().await
    }

    /// An object leaves a part of what the log may hold to records that come meanwhile.
    fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let (room, bytes_max) = self.0.room_for_object();
        // Each chunk in pages of its own, and as many in a segment as fit.
        let chunk = page_up((INLINE_BYTES + CHUNK_OVERHEAD_BYTES) as u64);
        let in_a_segment = (self.0.capacity().saturating_sub(DATA_START) / chunk).max(1);
        let segments = bytes.div_ceil(INLINE_BYTES as u64).div_ceil(in_a_segment);
        let headroom = bytes_max / HEADROOM_PART;
        let needed = segments.saturating_mul(self.0.limits.segment_bytes).saturating_add(headroom);
        if needed > room { Err(Error::Full { log: self.0.name }) } else { Ok(()) }
    }

    /// Whether a record would be refused before its first byte.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Stopping`].
    pub fn admit(&self) -> Result<(), Error> {
        if self.0.queue.is_stopping() {
            return Err(Error::Stopping);
        }
        if self.0.is_beyond_budget() || (self.0.health() == LogState::Full && !self.0.has_room()) {
            return Err(Error::Full { log: self.0.name });
        }
        Ok(())
    }

    /// Appends a record that is at hand and returns its number when it is durable. `meta` is at most
    /// [`META_BYTES_MAX`]. Cancelled, it stays open whether the record exists.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Stopping`], [`Error::TooLarge`], [`Error::Storage`].
    pub async fn append(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Seq, Error> {
        if payload.len() > INLINE_BYTES {
            let mut appender = self.begin().await?;
            appender.push(payload).await?;
            return appender.commit(meta).await;
        }
        self.admit()?;
        recorded(self.0.queue.run(self.inline(meta, payload)?).await?)
    }

    /// [`Log::append`] for what makes room: it may go beyond the budget, into what is set aside for that.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn append_aside(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Seq, Error> {
        let _aside = self.0.aside();
        recorded(self.0.queue.run(self.inline(meta, payload)?).await?)
    }

    /// Appends a payload that this or another log holds, chunk by chunk, with flat memory.
    ///
    /// # Errors
    /// As [`Log::begin_sized`], [`Log::append`] and [`crate::Payload::chunk`].
    pub async fn append_payload(&self, meta: Vec<u8>, payload: &Payload) -> Result<Seq, Error> {
        if let Some(bytes) = payload.at_hand() {
            return self.append(meta, bytes).await;
        }
        let mut appender = self.begin_sized(payload.len()).await?;
        for index in 0..payload.chunks() {
            appender.push(&payload.chunk(index).await?).await?;
        }
        appender.commit(meta).await
    }

    /// [`Log::append`] for a thread that may block, and for payloads up to [`INLINE_BYTES`]. It does not wait for room
    /// in the queue; keep the number of such threads small.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_blocking(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Seq, Error> {
        if payload.len() > INLINE_BYTES {
            return Err(too_large("record", payload.len() as u64, INLINE_BYTES as u64));
        }
        self.admit()?;
        self.submit_blocking(meta, payload)
    }

    /// [`Log::append_aside`] for a thread that may block.
    pub(crate) fn append_aside_blocking(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Seq, Error> {
        let _aside = self.0.aside();
        self.submit_blocking(meta, payload)
    }

    fn submit_blocking(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Seq, Error> {
        let answer = self.0.queue.submit_blocking(self.inline(meta, payload)?)?;
        self.0.hands.hurry(self.0.index);
        recorded(answer.recv().unwrap_or(Err(Error::Stopping))?)
    }

    fn inline(&self, meta: Vec<u8>, payload: &[u8]) -> Result<Work, Error> {
        check_meta(&meta)?;
        self.check_payload(payload.len() as u64)?;
        let stored = Stored::Inline(Packed::pack(Bytes::copy_from_slice(payload)));
        Ok(Work::Record { meta, stored, pins: Pins::default() })
    }

    fn check_payload(&self, bytes: u64) -> Result<(), Error> {
        let bytes_max = self.0.limits.record_bytes_max;
        if bytes > bytes_max { Err(too_large("record", bytes, bytes_max)) } else { Ok(()) }
    }

    /// Follows the last durable number; 0 while there is none.
    pub fn durable(&self) -> Durable {
        self.0.durable.clone()
    }

    /// The oldest number that is retained; one after the last durable when there is none.
    pub fn oldest(&self) -> Seq {
        self.0.table().oldest()
    }

    /// Reads from a number on; from the oldest retained for 0.
    pub fn reader(&self, from: Seq) -> Reader {
        Reader::new(Arc::clone(&self.0), if from == 0 { self.oldest() } else { from })
    }

    /// One record by its number; `None` when it does not exist yet.
    ///
    /// # Errors
    /// [`Error::Freed`] when it is not retained any more; [`Error::Io`].
    pub async fn get(&self, seq: Seq) -> Result<Option<Entry>, Error> {
        let log = Arc::clone(&self.0);
        self.0.hands.off_runtime(move || crate::reader::get(&log, seq)).await
    }

    /// The same for a thread that may block.
    ///
    /// # Errors
    /// As [`Log::get`].
    pub fn get_blocking(&self, seq: Seq) -> Result<Option<Entry>, Error> {
        crate::reader::get(&self.0, seq)
    }

    /// How far the log goes: what an outside witness should know. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn head(&self) -> Result<audit::Head, Error> {
        let identity = *self.0.identity();
        let seq = *self.0.durable.borrow();
        Ok(audit::Head {
            log: self.0.name.to_owned(),
            incarnation: hex::encode(identity.incarnation),
            epoch: identity.epoch,
            seq,
            tag: self.tag(seq)?,
        })
    }

    /// The tag of a record's frame; `None` where the record is not retained any more, or cannot be read. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tag(&self, seq: Seq) -> Result<Option<[u8; 16]>, Error> {
        match crate::reader::get(&self.0, seq) {
            Ok(Some(Entry::Record(record))) => Ok(Some(record.tag)),
            Ok(_) | Err(Error::Freed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Says that every reader is durably past `seq`: its cursor is synced. Whole segments up to there go when
    /// they have been delivered for `retention_after_delivery_s`, or earlier when the budget needs the room.
    /// Does not block; the work is done by the keeper. A smaller number than before changes nothing.
    pub fn free_through(&self, seq: Seq, now: Timestamp) {
        {
            let mut freeing = self.0.freeing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            freeing.through = freeing.through.max(seq.min(*self.0.durable.borrow()));
            freeing.now = now;
        }
        if !self.0.is_freeing_asked.swap(true, Ordering::AcqRel)
            && !self.0.chores.ask(Chore::Free(self.0.index))
        {
            self.0.is_freeing_asked.store(false, Ordering::Release);
        }
    }

    /// The log in figures.
    pub fn stat(&self) -> LogStat {
        let room = self.0.room();
        let table = self.0.table();
        let bytes = table.bytes();
        LogStat {
            name: self.0.name,
            bytes,
            bytes_max: self.0.limits.bytes_max,
            bytes_free: self.0.limits.bytes_max.saturating_sub(bytes),
            segments: table.len() as u64,
            first: table.oldest(),
            last: table.last,
            room,
            state: if self.0.queue.is_stopping() {
                LogState::Stopped
            } else if self.0.is_beyond_budget() {
                LogState::Full
            } else {
                self.0.health()
            },
            damaged: self.0.damaged.load(Ordering::Relaxed),
        }
    }
}

fn recorded(done: Done) -> Result<Seq, Error> {
    match done {
        Done::Record(seq) => Ok(seq),
        Done::Part(..) => Err(UNEXPECTED),
    }
}

const fn too_large(what: &'static str, bytes: u64, bytes_max: u64) -> Error {
    Error::TooLarge { what, bytes, bytes_max }
}

fn check_meta(meta: &[u8]) -> Result<(), Error> {
    if meta.len() > META_BYTES_MAX {
        return Err(too_large("envelope", meta.len() as u64, META_BYTES_MAX as u64));
    }
    Ok(())
}

/// A record that arrives in pieces. Holds at most two pieces of [`INLINE_BYTES`] in memory, and the places of
/// [`TABLE_REFS`] chunks: what is larger goes to the disk as chunks and tables on the way. Dropped before
/// [`Appender::commit`], it leaves no record; segments that hold nothing else are freed at once, the rest of its chunks
/// go with theirs.
#[derive(Debug)]
pub struct Appender {
    log: Log,
    buffer: Vec<u8>,
    total: u64,
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    object: [u8; 16],
    /// Chunks sent on their way.
    sent: u32,
    /// Chunks that stand in no table yet.
    refs: Vec<ChunkRef>,
    tables: Vec<ChunkRef>,
    pins: Pins,
    /// The chunk being made durable while the next one gathers.
    on_its_way: Option<oneshot::Receiver<Result<Done, Error>>>,
}

impl Appender {
    /// Adds bytes; waits while the disk is behind. Not cancel safe: after a cancelled push, drop it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `record_bytes_max`; [`Error::Full`] when an object has grown so far that less than a
    /// sixteenth of what the log may hold is left for others; otherwise as [`Log::append`]. Then drop it.
    pub async fn push(&mut self, mut chunk: &[u8]) -> Result<(), Error> {
        self.log.check_payload(self.total.saturating_add(chunk.len() as u64))?;
        while !chunk.is_empty() {
            // A chunk leaves only when more is known to follow, so that INLINE_BYTES exactly stay inline.
            if self.buffer.len() == INLINE_BYTES {
                self.flush().await?;
            }
            let room = INLINE_BYTES.saturating_sub(self.buffer.len()).min(chunk.len());
            let (now, later) = chunk.split_at_checked(room).unwrap_or((chunk, &[]));
            if self.buffer.capacity() < self.buffer.len() + now.len() {
                // Double, but never beyond a chunk.
                let wanted = (self.buffer.len() + now.len()).next_power_of_two().min(INLINE_BYTES);
                self.buffer.reserve_exact(wanted - self.buffer.len());
            }
            self.buffer.extend_from_slice(now);
            self.total += now.len() as u64;
            chunk = later;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let large = match &mut self.large {
            Some(large) => large,
            none => none.insert(Large {
                object: self.log.0.keys.random()?,
                sent: 0,
                refs: Vec::new(),
                tables: Vec::new(),
                pins: Pins::default(),
                on_its_way: None,
            }),
        };
        large.arrived().await?;
        if large.refs.len() == TABLE_REFS {
            large.write_table(&self.log.0).await?;
        }
        if large.sent % LOOK_EVERY == LOOK_EVERY - 1 {
            self.log.check_room(0)?;
        }
        let packed = Packed::pack(std::mem::take(&mut self.buffer).into());
        let chunk = ChunkBody { object: large.object, index: large.sent, packed };
        large.on_its_way = Some(self.log.0.queue.submit(Work::Chunk(chunk)).await?);
        large.sent += 1;
        Ok(())
    }

    /// Bytes pushed so far.
    pub const fn len(&self) -> u64 {
        self.total
    }

    /// Nothing was pushed yet.
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Makes the record durable and returns its number. Cancelled, it stays open whether the record exists.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn commit(mut self, meta: Vec<u8>) -> Result<Seq, Error> {
        check_meta(&meta)?;
        if self.large.is_some() && !self.buffer.is_empty() {
            self.flush().await?;
        }
        let work = match self.large {
            None => {
                let stored = Stored::Inline(Packed::pack(self.buffer.into()));
                Work::Record { meta, stored, pins: Pins::default() }
            }
            Some(mut large) => {
                large.arrived().await?;
                let is_direct = large.tables.is_empty() && large.refs.len() <= DIRECT_REFS_MAX;
                if !is_direct && !large.refs.is_empty() {
                    large.write_table(&self.log.0).await?;
                }
                let Large { object, refs, tables, pins, .. } = large;
                let layout = if is_direct {
                    Layout::Direct(refs)
                } else {
                    Layout::Indirect { from: pins.first_segment().ok_or(UNEXPECTED)?, tables }
                };
                let stored = Stored::Chunked(Chunked { object, total: self.total, layout });
                Work::Record { meta, stored, pins }
            }
        };
        recorded(self.log.0.queue.run(work).await?)
    }
}

impl Large {
    async fn arrived(&mut self) -> Result<(), Error> {
        let Some(receiver) = self.on_its_way.take() else { return Ok(()) };
        let done = receiver.await.unwrap_or(Err(Error::Stopping))?;
        let place = self.placed(done)?;
        self.refs.push(place);
        Ok(())
    }

    /// Writes the chunks' places down as a table.
    async fn write_table(&mut self, log: &Inner) -> Result<(), Error> {
        if self.tables.len() == TABLES_MAX {
            return Err(UNEXPECTED);
        }
        let index = u32::try_from(self.tables.len()).map_err(|_| UNEXPECTED)?;
        let table = TableBody { object: self.object, index, refs: std::mem::take(&mut self.refs) };
        let done = log.queue.run(Work::Table(table)).await?;
        let place = self.placed(done)?;
        self.tables.push(place);
        Ok(())
    }

    fn placed(&mut self, done: Done) -> Result<ChunkRef, Error> {
        match done {
            Done::Part(place, pin) => {
                self.pins.push(pin);
                Ok(place)
            }
            Done::Record(_) => Err(UNEXPECTED),
        }
    }
}
