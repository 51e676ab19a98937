//! What turns a log's waiting work into durable frames: one thread a log, or a step at a time ([`Hands`]).
//!
//! Promise: an answer is given only when the frame is on the disk; numbers are contiguous; a batch is one
//! `pwrite` and one `fdatasync`; there is no timer: while one batch is being synced the next one gathers.
//!
//! **When a write or a flush fails**, nobody knows what of the batch is on the disk, and the kernel may report
//! the next flush of the same file as fine although the pages are gone. So the segment is *poisoned*: never
//! written again. Its durable end (of the last batch whose flush succeeded) is known, and the next segment's
//! header states it; from the moment that header is durable, whatever the failed batch left behind is void by
//! the format's rule, and its numbers are free again. The batch is sealed anew, under another key, in that next
//! segment, with the same numbers. If that works, nobody notices. If not, the callers get
//! [`Error::Storage`](crate::Error::Storage), and each later batch tries a fresh segment, so that a healed disk heals the log.
//!
//! Should the process die between the failed answer and the next header, recovery may find the refused records
//! whole and count them: then a peer that was told no is resent what the box has, which is recognised or a
//! second record, and never a hole in the numbers.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use model::Seq;

use crate::Error;
use crate::cipher::SegmentCipher;
use crate::format::{
    COMMIT_BYTES_MAX, ChunkRef, DATA_START, FOOTER_RESERVE_BYTES, FRAME_OVERHEAD_BYTES, FooterBody,
    FrameHeader, Kind, PAGE_BYTES, Previous, RecordBody, SegmentHeader, Stored, TAG_BYTES, TRAILER_BYTES,
    Tag, encode_trailer, flags, page_up,
};
use crate::index::push_mark;
use crate::inner::{Inner, Pin};
use crate::log::LogState;
use crate::outside::Hands;
use crate::queue::{Done, Item, Next, Work};
use crate::table::{Segment, segment_path};

/// Starts the committer of a log; says which thread it has, if it has one.
pub(crate) fn start(
    log: Arc<Inner>,
    chain: Previous,
    next_segment: u64,
) -> Result<Option<JoinHandle<()>>, Error> {
    let name = format!("spool-{}", log.name);
    let last_seq = log.table().last;
    let hands = log.hands.clone();
    let mut committer = Committer { log, chain, next_segment, last_seq, active: None, buffer: Vec::new() };
    if let Hands::Stepped(stepper) = hands {
        stepper.employ(committer);
        return Ok(None);
    }
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| committer.run()));
            if ended.is_err() {
                tracing::error!(log = committer.log.name, "the committer failed; the log takes nothing more");
                committer.log.set_health(LogState::Failing);
            }
            committer.log.queue.abandon();
        })
        .map(Some)
        .map_err(|e| Error::io("start a thread for", Path::new("the spool"), e))
}

pub(crate) struct Committer {
    log: Arc<Inner>,
    /// The end of what is durable, as the next header states it.
    chain: Previous,
    next_segment: u64,
    last_seq: Seq,
    active: Option<Active>,
    buffer: Vec<u8>,
}

/// The segment being written.
struct Active {
    number: u64,
    file: File,
    cipher: SegmentCipher,
    epoch: u64,
    key_epoch: u64,
    first_seq: Seq,
    write_at: u64,
    next_frame: u64,
    tag: Tag,
    records: u64,
    newest_at: i64,
    refs: BTreeMap<u64, Seq>,
}

/// What a batch will be when it is durable.
#[derive(Default)]
struct Draft {
    last_seq: Seq,
    marks: Vec<(Seq, u64)>,
    /// For each item: its number, or where its chunk lies.
    placed: Vec<Placed>,
    /// Segments from and to, that a record needs.
    refs: Vec<(u64, u64, Seq)>,
}

enum Placed {
    Record(Seq),
    Part(ChunkRef),
}

impl Committer {
    fn run(&mut self) {
        while self.turn(self.log.queue.next()) {}
    }

    /// Does what waits and returns. Says whether there was anything.
    pub(crate) fn work_off(&mut self) -> bool {
        let mut worked = false;
        while let Some(next) = self.log.queue.try_next() {
            worked = true;
            if !self.turn(next) {
                break;
            }
        }
        worked
    }

    /// Whether there may be another.
    fn turn(&mut self, next: Next) -> bool {
        match next {
            Next::Commit(items) => {
                self.commit(items);
                true
            }
            Next::Move(asked) => {
                drop(asked.send(self.move_on()));
                true
            }
            Next::Stop { should_seal } => {
                if should_seal {
                    self.close();
                }
                false
            }
        }
    }

    fn commit(&mut self, mut items: VecDeque<Item>) {
        let mut is_second_try = false;
        while let Some(first) = items.front() {
            let needed = first.work.frame_bytes() as u64;
            if let Err(error) = self.make_room(needed) {
                self.log.set_health(match error {
                    Error::Full { .. } => LogState::Full,
                    _ => LogState::Failing,
                });
                fail(items, &error);
                return;
            }
            let count = self.fitting(&items);
            match self.write(&items, count) {
                Ok(draft) => {
                    let rest = items.split_off(count);
                    self.publish(items, draft);
                    items = rest;
                    is_second_try = false;
                }
                Err(error) => {
                    tracing::error!(log = self.log.name, %error, "a segment is poisoned");
                    self.active = None;
                    self.log.set_health(LogState::Failing);
                    if is_second_try {
                        fail(items, &error);
                        return;
                    }
                    is_second_try = true;
                }
            }
        }
    }

    /// How many of the items fit into the segment. At least one, after [`Self::make_room`].
    fn fitting(&self, items: &VecDeque<Item>) -> usize {
        let at = self.active.as_ref().map_or(0, |a| a.write_at);
        let mut room = self.log.capacity().saturating_sub(at);
        let mut count = 0;
        for item in items {
            let needed = item.work.frame_bytes() as u64;
            if needed > room {
                break;
            }
            room -= needed;
            count += 1;
        }
        count.max(1)
    }

    fn make_room(&mut self, needed: u64) -> Result<(), Error> {
        let epoch = self.log.epoch();
        let now = self.log.clock.now();
        let fits = |a: &Active| {
            a.epoch == epoch
                && page_up(a.write_at + needed) <= self.log.capacity()
                && self.log.keys.epochs().is_current(a.key_epoch, now)
        };
        if self.active.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.seal();
        self.roll(epoch)
    }

    /// Closes the active segment with a footer. A footer is a convenience: without one, the segment is walked
    /// when the spool is opened.
    fn seal(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        let footer = FooterBody {
            first_seq: active.first_seq,
            last_seq: self.last_seq,
            records: active.records,
            newest_at: active.newest_at,
            marks: self.log.table().segment(active.number).and_then(|s| s.marks.clone()).unwrap_or_default(),
            refs: active.refs.iter().map(|(segment, seq)| (*segment, *seq)).collect(),
        };
        if footer.encoded_len() + FRAME_OVERHEAD_BYTES + TRAILER_BYTES > FOOTER_RESERVE_BYTES as usize {
            return;
        }
        let footer_at = active.write_at;
        self.buffer.clear();
        let seq = footer.last_seq.max(1);
        let batch = active.next_frame as u32;
        let framed = active
            .frame(&mut self.buffer, batch, Kind::Footer, flags::FINAL, seq, |out| footer.encode(out))
            .and_then(|_| {
                let end = page_up((self.buffer.len() + TRAILER_BYTES) as u64) as usize;
                self.buffer.resize(end - TRAILER_BYTES, 0);
                self.buffer.extend_from_slice(&encode_trailer(footer_at));
                active.flush(&self.log, &self.buffer)
            });
        match framed {
            Ok(()) => {
                self.chain = active.chain();
                if let Some(segment) = self.log.table_mut().segment_mut(active.number) {
                    segment.end = active.write_at;
                    // They stand in the footer now.
                    segment.marks = None;
                }
            }
            Err(error) => {
                tracing::warn!(log = self.log.name, %error, "a segment was closed without its footer")
            }
        }
    }

    /// Begins a segment, unless the newest one is in the newest key epoch: so that an older one can be erased.
    fn move_on(&mut self) -> Result<(), Error> {
        let newest = self.log.table().newest_key_epoch();
        let now = self.log.clock.now();
        if newest.is_none_or(|key_epoch| self.log.keys.epochs().is_current(key_epoch, now)) {
            return Ok(());
        }
        self.seal();
        self.roll(self.log.epoch())
    }

    /// Begins the next segment; from here on its predecessor is what its header says.
    fn roll(&mut self, epoch: u64) -> Result<(), Error> {
        let log = Arc::clone(&self.log);
        let key_epoch = log.keys.begin(log.clock.now(), &*log.disk)?;
        let begun = self.begin_segment(&log, epoch, key_epoch);
        if begun.is_err() {
            log.keys.epochs().released(key_epoch);
        }
        begun
    }

    fn begin_segment(&mut self, log: &Arc<Inner>, epoch: u64, key_epoch: u64) -> Result<(), Error> {
        let number = self.next_segment;
        let identity = *log.identity();
        let first_seq = self.last_seq + 1;
        let (header, cipher) = log.keys.create(SegmentHeader {
            suite: log.suite,
            segment_bytes: log.limits.segment_bytes as u32,
            key_id: identity.key_id,
            gateway: identity.gateway,
            log: identity.log,
            incarnation: identity.incarnation,
            epoch,
            segment: number,
            first_seq,
            created_at: log.clock.now().micros(),
            previous: self.chain,
            key_epoch,
            wrap_nonce: [0; 12],
            wrapped: [0; 48],
            mac: [0; 32],
        })?;
        let (file, spare) = log.take_spare()?;
        // From here on the number is used up, whatever happens.
        self.next_segment += 1;
        let path = segment_path(&log.dir, number);
        let mut pages = header.encode();
        pages.extend_from_within(..);
        let made = log
            .disk
            .write_at(&file, &pages, 0)
            .and_then(|()| log.disk.sync_data(&file))
            .and_then(|()| log.disk.rename(&spare, &path))
            .and_then(|()| log.disk.sync_dir(&log.dir));
        if let Err(e) = made {
            log.remove_quietly(&spare);
            log.remove_quietly(&path);
            return Err(log.storage("beginning a segment", e));
        }
        let closed = self.chain;
        log.table_mut().insert(Segment {
            number,
            first_seq,
            last_seq: self.last_seq,
            end: DATA_START,
            bytes: log.limits.segment_bytes,
            marks: Some(Vec::new()),
            needed_through: 0,
            pins: 0,
            is_unreadable: false,
            key_epoch,
            is_erased: false,
            delivered_at_s: None,
        });
        self.chain = Previous { segment: number, end: DATA_START, frames: 0, tag: closed.tag };
        self.active = Some(Active {
            number,
            file,
            cipher,
            epoch,
            key_epoch,
            first_seq,
            write_at: DATA_START,
            next_frame: 0,
            tag: closed.tag,
            records: 0,
            newest_at: 0,
            refs: BTreeMap::new(),
        });
        if closed.segment != 0 {
            log.cut(closed.segment, closed.end);
        }
        let head_seq = self.last_seq;
        let noted = log.change_identity(|identity| {
            identity.head_segment = number;
            identity.head_seq = head_seq;
        });
        if let Err(error) = noted {
            // An older head proves less when files go missing; it is never wrong.
            tracing::warn!(log = log.name, %error, "the head of the log was not noted");
        }
        Ok(())
    }

    fn write(&mut self, items: &VecDeque<Item>, count: usize) -> Result<Draft, Error> {
        let Some(active) = &mut self.active else { return Err(Error::Internal("no segment to write to")) };
        let at = self.log.clock.now().micros();
        let batch = u32::try_from(active.next_frame).map_err(|_| Error::Internal("too many frames"))?;
        let base = active.write_at;
        let buffer = &mut self.buffer;
        buffer.clear();
        let mut draft = Draft { last_seq: self.last_seq, ..Draft::default() };
        for (i, item) in items.iter().take(count).enumerate() {
            let offset = base + buffer.len() as u64;
            let more = if i + 1 < count { flags::MORE } else { 0 };
            match &item.work {
                Work::Record { meta, stored, .. } => {
                    let seq = draft.last_seq + 1;
                    if let Stored::Chunked(chunked) = stored {
                        let needed = chunked.layout.segments();
                        draft.refs.extend(needed.into_iter().map(|(from, to)| (from, to, seq)));
                    }
                    let bits = more | stored.flags();
                    active.frame(buffer, batch, Kind::Record, bits, seq, |out| {
                        RecordBody::encode(at, meta, stored, out);
                    })?;
                    draft.last_seq = seq;
                    draft.marks.push((seq, offset));
                    draft.placed.push(Placed::Record(seq));
                    active.records += 1;
                    active.newest_at = active.newest_at.max(at);
                }
                Work::Chunk(chunk) => {
                    let bits = more | chunk.packed.flags();
                    let (body_len, tag) =
                        active.frame(buffer, batch, Kind::Chunk, bits, 0, |out| chunk.encode(out))?;
                    let segment = active.number;
                    draft.placed.push(Placed::Part(ChunkRef { segment, offset, body_len, tag }));
                }
                Work::Table(table) => {
                    let (body_len, tag) =
                        active.frame(buffer, batch, Kind::Table, more, 0, |out| table.encode(out))?;
                    let segment = active.number;
                    draft.placed.push(Placed::Part(ChunkRef { segment, offset, body_len, tag }));
                }
            }
        }
        buffer.resize(page_up(buffer.len() as u64) as usize, 0);
        active.flush(&self.log, buffer)?;
        if buffer.capacity() > 2 * COMMIT_BYTES_MAX {
            *buffer = Vec::new();
        }
        Ok(draft)
    }

    /// Shows the batch to readers, then answers.
    fn publish(&mut self, items: VecDeque<Item>, draft: Draft) {
        let Some(active) = &mut self.active else { return };
        self.chain = active.chain();
        let is_half_full = active.write_at > self.log.limits.segment_bytes / 2;
        {
            let mut table = self.log.table_mut();
            if let Some(segment) = table.segment_mut(active.number) {
                segment.end = active.write_at;
                segment.last_seq = draft.last_seq;
                if let Some(marks) = &mut segment.marks {
                    for (seq, offset) in draft.marks {
                        push_mark(marks, seq, offset);
                    }
                }
            }
            for (from, to, seq) in draft.refs {
                for segment in table.range_mut(from, to) {
                    segment.needed_through = segment.needed_through.max(seq);
                    if segment.number != active.number {
                        let needed = active.refs.entry(segment.number).or_default();
                        *needed = seq.max(*needed);
                    }
                }
            }
            table.last = draft.last_seq;
        }
        let number = active.number;
        if draft.last_seq != self.last_seq {
            self.last_seq = draft.last_seq;
            self.log.durable.set(draft.last_seq);
        }
        self.log.set_health(LogState::Ready);
        for (item, placed) in items.into_iter().zip(draft.placed) {
            let Item { work, reply, permit } = item;
            // The permit goes back and the pins come off before the caller wakes.
            drop(permit);
            reply.send(Ok(match placed {
                Placed::Record(seq) => Done::Record(seq),
                Placed::Part(part) => Done::Part(part, Pin::new(&self.log, number)),
            }));
            drop(work);
        }
        if is_half_full {
            self.log.ask_for_spare();
        }
    }

    /// An orderly end: footer, cut, head.
    fn close(&mut self) {
        let Some(number) = self.active.as_ref().map(|a| a.number) else { return };
        self.seal();
        if self.chain.segment == number && self.chain.end > DATA_START {
            self.log.cut(number, self.chain.end);
        }
        let head_seq = self.last_seq;
        let noted = self.log.change_identity(|identity| {
            identity.head_segment = number;
            identity.head_seq = head_seq;
        });
        if let Err(error) = noted {
            tracing::warn!(log = self.log.name, %error, "the head of the log was not noted");
        }
    }
}

impl Active {
    /// Seals one frame onto the buffer. Counts the frame number up also where sealing fails: a nonce is never
    /// used twice.
    fn frame(
        &mut self,
        buffer: &mut Vec<u8>,
        batch: u32,
        kind: Kind,
        flags: u8,
        seq: Seq,
        plain: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u32, Tag), Error> {
        const UNSEALED: Error = Error::Internal("a frame was not sealed");
        let start = buffer.len();
        let body_at = start + crate::format::FRAME_HEADER_BYTES;
        buffer.resize(body_at, 0);
        plain(buffer);
        let body_len = u32::try_from(buffer.len() - body_at + TAG_BYTES).map_err(|_| UNSEALED)?;
        let header =
            FrameHeader { body_len, frame: self.next_frame, seq, batch, kind, flags, previous_tag: self.tag };
        self.next_frame += 1;
        let tag = self.cipher.seal(&header, buffer.get_mut(body_at..).ok_or(UNSEALED)?)?;
        buffer.extend_from_slice(&tag);
        buffer.get_mut(start..body_at).ok_or(UNSEALED)?.copy_from_slice(&header.encode());
        let crc = crc32c::crc32c(buffer.get(start..).ok_or(UNSEALED)?);
        buffer.extend_from_slice(&crc.to_le_bytes());
        self.tag = tag;
        Ok((body_len, tag))
    }

    /// Writes and syncs the buffer, a whole number of pages.
    fn flush(&mut self, log: &Inner, buffer: &[u8]) -> Result<(), Error> {
        debug_assert!((buffer.len() as u64).is_multiple_of(PAGE_BYTES));
        log.disk.write_at(&self.file, buffer, self.write_at).map_err(|e| log.storage("writing", e))?;
        log.disk.sync_data(&self.file).map_err(|e| log.storage("syncing", e))?;
        self.write_at += buffer.len() as u64;
        Ok(())
    }

    const fn chain(&self) -> Previous {
        Previous { segment: self.number, end: self.write_at, frames: self.next_frame, tag: self.tag }
    }
}

fn fail(items: VecDeque<Item>, error: &Error) {
    for item in items {
        item.reply.send(Err(error.clone()));
    }
}
