//! Reading a log, while it is being written, whatever has become of it.
//!
//! **Promise.** Entries tile: from the number it begins at, a reader yields every number exactly once, in
//! order, as a record or inside one [`Entry::Damaged`]. It never yields what is not durable. An error that may
//! pass (too many open files, no permission) is an error and not damage, so that nothing is skipped for it.
//!
//! **Memory.** A reader decodes ahead up to [`AHEAD_BYTES`] or [`AHEAD_ENTRIES`]; payloads in chunks stay on
//! the disk until asked for.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use model::{Seq, StreamEpoch, Timestamp};

use crate::Error;
use crate::cipher::tag_of;
use crate::config::AT_HAND_BYTES_MAX;
use crate::format::{
    BODY_BYTES_MAX, ChunkBody, ChunkRef, Chunked, DATA_START, INLINE_BYTES, Kind, Layout, RecordBody, Stored,
    TABLE_REFS, TableBody,
};
use crate::inner::Inner;
use crate::open::{Opened, frame_at};
use crate::scan::{Place, Scanner, Step};
use crate::table::{Segment, Whereabouts, segment_path};

/// Decoded ahead of the caller, in bytes.
const AHEAD_BYTES: usize = 1 << 20;
/// Decoded ahead of the caller, in entries.
const AHEAD_ENTRIES: usize = 256;

/// What a log holds at a number.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A record.
    Record(Record),
    /// These numbers were given out and their records cannot be read: quarantine them.
    Damaged {
        /// First number.
        first: Seq,
        /// Last number, inclusive.
        last: Seq,
    },
    /// The key of these records was destroyed when every reader was past them: nobody can read them.
    Erased {
        /// First number.
        first: Seq,
        /// Last number, inclusive.
        last: Seq,
    },
}

/// A record as it was appended.
#[derive(Clone)]
pub struct Record {
    /// Its number.
    pub seq: Seq,
    /// The epoch of the log when it was written.
    pub epoch: StreamEpoch,
    /// When it was written.
    pub at: Timestamp,
    /// The tag of its frame, which is bound to every frame of the log before it.
    pub tag: [u8; 16],
    /// What the writer put beside the payload. May hold PHI.
    pub meta: Bytes,
    /// The payload. May hold PHI.
    pub payload: Payload,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("seq", &self.seq)
            .field("meta_bytes", &self.meta.len())
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A payload. Up to [`crate::format::INLINE_BYTES`] it is at hand; beyond, it is read from the disk when asked
/// for, chunk by chunk, as long as its record is retained.
#[derive(Clone)]
pub struct Payload(Kept);

#[derive(Clone)]
enum Kept {
    Here(Bytes),
    OnDisk(Arc<OnDisk>),
}

struct OnDisk {
    log: Arc<Inner>,
    seq: Seq,
    chunked: Chunked,
    /// The table read last, by its place: chunks are asked for in order.
    table: Mutex<Option<(usize, Arc<Vec<ChunkRef>>)>>,
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(Kept::Here(bytes))
    }
}

impl Payload {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Kept::Here(bytes) => bytes.len() as u64,
            Kept::OnDisk(disk) => disk.chunked.total,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload when it is at hand.
    pub const fn at_hand(&self) -> Option<&Bytes> {
        match &self.0 {
            Kept::Here(bytes) => Some(bytes),
            Kept::OnDisk(_) => None,
        }
    }

    /// All of it in memory; of what is larger than [`AT_HAND_BYTES_MAX`] take one [`Payload::chunk`] after the other.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; [`Error::Damaged`]: quarantine the record; [`Error::Freed`]; [`Error::Io`].
    pub async fn bytes(&self) -> Result<Bytes, Error> {
        match &self.0 {
            Kept::Here(bytes) => Ok(bytes.clone()),
            Kept::OnDisk(disk) => {
                let (total, seq) = (disk.chunked.total, disk.seq);
                if total > AT_HAND_BYTES_MAX {
                    let what = "payload to be held in memory";
                    return Err(Error::TooLarge { what, bytes: total, bytes_max: AT_HAND_BYTES_MAX });
                }
                let total = usize::try_from(total).map_err(|_| Error::Damaged { seq })?;
                let mut all = BytesMut::with_capacity(total);
                for index in 0..self.chunks() {
                    all.extend_from_slice(&self.chunk(index).await?);
                }
                if all.len() == total { Ok(all.freeze()) } else { Err(Error::Damaged { seq }) }
            }
        }
    }

    /// Gives it piece by piece to `take`, with flat memory, until it says enough. Blocks.
    ///
    /// # Errors
    /// As [`Payload::bytes`].
    pub fn pieces(&self, take: &mut dyn FnMut(&Bytes) -> Flow) -> Result<(), Error> {
        for index in 0..self.chunks() {
            if take(&self.piece(index)?) == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    /// As [`Payload::chunk`]. Blocks.
    ///
    /// # Errors
    /// As [`Payload::bytes`].
    pub fn piece(&self, index: usize) -> Result<Bytes, Error> {
        match &self.0 {
            Kept::Here(bytes) => Ok(if index == 0 { bytes.clone() } else { Bytes::new() }),
            Kept::OnDisk(_) if index >= self.chunks() => Ok(Bytes::new()),
            Kept::OnDisk(disk) => disk.chunk(index),
        }
    }

    /// How many chunks it is in; 1 when it is at hand.
    pub fn chunks(&self) -> usize {
        match &self.0 {
            Kept::Here(_) => 1,
            // All but the last are full.
            Kept::OnDisk(disk) => {
                usize::try_from(disk.chunked.total.div_ceil(INLINE_BYTES as u64)).unwrap_or(usize::MAX)
            }
        }
    }

    /// One chunk, for passing a large payload on with flat memory. Empty beyond the last.
    ///
    /// # Errors
    /// [`Error::Damaged`]: quarantine the record; [`Error::Freed`]; [`Error::Io`].
    pub async fn chunk(&self, index: usize) -> Result<Bytes, Error> {
        match &self.0 {
            Kept::Here(bytes) => Ok(if index == 0 { bytes.clone() } else { Bytes::new() }),
            Kept::OnDisk(_) if index >= self.chunks() => Ok(Bytes::new()),
            Kept::OnDisk(disk) => {
                let (hands, disk) = (disk.log.hands.clone(), Arc::clone(disk));
                hands.off_runtime(move || disk.chunk(index)).await
            }
        }
    }
}

impl OnDisk {
    fn chunk(&self, index: usize) -> Result<Bytes, Error> {
        let place = match &self.chunked.layout {
            Layout::Direct(refs) => refs.get(index).copied(),
            Layout::Indirect { tables, .. } => {
                let nth = index / TABLE_REFS;
                let Some(table) = tables.get(nth) else { return Err(self.damaged(None)) };
                self.table(nth, table)?.get(index % TABLE_REFS).copied()
            }
        };
        let Some(place) = place else { return Err(self.damaged(None)) };
        let (bits, plain) = self.part(&place, Kind::Chunk)?;
        let before = INLINE_BYTES as u64 * index as u64;
        let len = self.chunked.total.saturating_sub(before).min(INLINE_BYTES as u64);
        ChunkBody::decode(&plain, bits)
            .filter(|chunk| chunk.object == self.chunked.object && chunk.index as usize == index)
            .and_then(|chunk| chunk.packed.unpack())
            .filter(|bytes| bytes.len() as u64 == len)
            .ok_or_else(|| self.damaged(Some(&place)))
    }

    /// The chunks that a table names.
    fn table(&self, nth: usize, place: &ChunkRef) -> Result<Arc<Vec<ChunkRef>>, Error> {
        let mut kept = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, refs)) = &*kept
            && *at == nth
        {
            return Ok(Arc::clone(refs));
        }
        let (_, plain) = self.part(place, Kind::Table)?;
        let table = TableBody::decode(&plain)
            .filter(|table| table.object == self.chunked.object && table.index as usize == nth)
            .ok_or_else(|| self.damaged(Some(place)))?;
        let refs = Arc::new(table.refs);
        *kept = Some((nth, Arc::clone(&refs)));
        Ok(refs)
    }

    /// Flags and plaintext of a frame that belongs to the payload.
    fn part(&self, place: &ChunkRef, kind: Kind) -> Result<(u8, Bytes), Error> {
        let opened = match self.log.opened(place.segment) {
            Ok(Some(opened)) => opened,
            Ok(None) if self.log.table().has_erased([(place.segment, place.segment)]) => {
                return Err(Error::Erased { seq: self.seq });
            }
            Ok(None) => return Err(self.damaged(Some(place))),
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && is_mounted(&self.log) =>
            {
                let oldest = self.log.table().oldest();
                return Err(if self.seq < oldest {
                    Error::Freed { oldest }
                } else {
                    self.damaged(Some(place))
                });
            }
            Err(error) => return Err(error),
        };
        frame_at(&opened.file, place.offset, BODY_BYTES_MAX)
            .filter(|(header, body)| {
                header.kind == kind && header.body_len == place.body_len && tag_of(body) == place.tag
            })
            .and_then(|(header, body)| Some((header.flags, opened.cipher.open(&header, body)?.into())))
            .ok_or_else(|| self.damaged(Some(place)))
    }

    fn damaged(&self, place: Option<&ChunkRef>) -> Error {
        self.log.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            log = self.log.name,
            seq = self.seq,
            segment = place.map(|p| p.segment),
            offset = place.map(|p| p.offset),
            "a part of a payload is damaged"
        );
        Error::Damaged { seq: self.seq }
    }
}

/// Whether the log's directory is there at all: where a disk went away, nothing is damaged yet.
fn is_mounted(log: &Inner) -> bool {
    log.dir.join(crate::identity::FILE_NAME).exists()
}

/// Reads a log in order. Cancel safe: a cancelled [`Reader::next`] loses nothing.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Inner>,
    next: Seq,
    ahead: VecDeque<Entry>,
    cursor: Option<Cursor>,
}

/// Where a reader stands in a segment.
#[derive(Debug)]
struct Cursor {
    number: u64,
    opened: Arc<Opened>,
    scanner: Scanner,
}

impl Reader {
    pub(crate) const fn new(log: Arc<Inner>, from: Seq) -> Self {
        Self { log, next: from, ahead: VecDeque::new(), cursor: None }
    }

    /// The number of the next entry.
    pub const fn position(&self) -> Seq {
        self.next
    }

    /// What it holds decoded.
    #[cfg(test)]
    pub(crate) fn ahead_bytes(&self) -> u64 {
        let bytes = |entry: &Entry| if let Entry::Record(record) = entry { record.payload.len() } else { 0 };
        self.ahead.iter().map(bytes).sum()
    }

    /// The next entry. `None` at the durable tail: wait on [`crate::Log::durable`], then ask again.
    ///
    /// # Errors
    /// [`Error::Freed`] when the position is not retained any more (a reader whose cursor counts never meets
    /// this); [`Error::Io`] when a file cannot be opened now: ask again later.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.ahead.is_empty() {
            if self.next > *self.log.durable.borrow() {
                return Ok(None);
            }
            let (log, next, cursor) = (Arc::clone(&self.log), self.next, self.cursor.take());
            let (ahead, cursor) = self.log.hands.off_runtime(move || read_ahead(&log, next, cursor)).await?;
            self.ahead = ahead;
            self.cursor = cursor;
        }
        let entry = self.ahead.pop_front();
        match &entry {
            Some(Entry::Record(record)) => self.next = record.seq + 1,
            Some(Entry::Damaged { last, .. } | Entry::Erased { last, .. }) => self.next = last + 1,
            None => {}
        }
        Ok(entry)
    }
}

/// One record by its number.
pub(crate) fn get(log: &Arc<Inner>, seq: Seq) -> Result<Option<Entry>, Error> {
    if seq == 0 || seq > *log.durable.borrow() {
        return Ok(None);
    }
    let mut walk = Walk { log, next: seq, through: seq, cursor: None, entries: VecDeque::new(), bytes: 0 };
    walk.run()?;
    Ok(walk.entries.pop_front().map(|entry| match entry {
        Entry::Damaged { .. } => Entry::Damaged { first: seq, last: seq },
        Entry::Erased { .. } => Entry::Erased { first: seq, last: seq },
        record => record,
    }))
}

/// Whether there should be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    On,
    /// That was enough.
    Enough,
}

/// Gives the entries of a range to `take`, in order. Blocks.
pub(crate) fn walk(
    log: &Arc<Inner>,
    first: Seq,
    through: Seq,
    take: &mut dyn FnMut(Entry) -> Result<Flow, Error>,
) -> Result<(), Error> {
    let (mut next, mut cursor) = (first, None);
    while next <= through {
        let mut walk = Walk { log, next, through, cursor, entries: VecDeque::new(), bytes: 0 };
        let met = walk.run();
        if walk.entries.is_empty() {
            // Nothing, and no error, would be asked for for ever.
            return met;
        }
        for entry in walk.entries {
            if take(entry)? == Flow::Enough {
                return Ok(());
            }
        }
        (next, cursor) = (walk.next, walk.cursor);
    }
    Ok(())
}

type Ahead = (VecDeque<Entry>, Option<Cursor>);

fn read_ahead(log: &Arc<Inner>, next: Seq, cursor: Option<Cursor>) -> Result<Ahead, Error> {
    let through = log.table().last;
    let mut walk = Walk { log, next, through, cursor, entries: VecDeque::new(), bytes: 0 };
    match walk.run() {
        // What was read before the error is handed out first; the error comes again.
        Err(error) if walk.entries.is_empty() => Err(error),
        _ => Ok((walk.entries, walk.cursor)),
    }
}

struct Walk<'a> {
    log: &'a Arc<Inner>,
    next: Seq,
    /// Reads no further than this number.
    through: Seq,
    cursor: Option<Cursor>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Walk<'_> {
    fn is_done(&self) -> bool {
        self.next > self.through || self.bytes >= AHEAD_BYTES || self.entries.len() >= AHEAD_ENTRIES
    }

    fn run(&mut self) -> Result<(), Error> {
        while !self.is_done() {
            let whereabouts = {
                let table = self.log.table();
                let oldest = table.oldest();
                if self.next < oldest {
                    return Err(Error::Freed { oldest });
                }
                table.find(self.next)
            };
            match whereabouts {
                Whereabouts::Nowhere { last } => self.damaged(last),
                Whereabouts::Segment(segment) if segment.is_erased => self.erased(segment.last_seq),
                Whereabouts::Segment(segment) if segment.is_unreadable => self.damaged(segment.last_seq),
                Whereabouts::Segment(segment) => self.segment(&segment)?,
            }
        }
        Ok(())
    }

    fn damaged(&mut self, last: Seq) {
        let first = self.next;
        tracing::error!(log = self.log.name, first, last, "records are damaged");
        self.log.damaged.fetch_add(1, Ordering::Relaxed);
        self.next = last + 1;
        self.bytes += std::mem::size_of::<Entry>();
        match self.entries.back_mut() {
            Some(Entry::Damaged { last: before, .. }) => *before = last,
            _ => self.entries.push_back(Entry::Damaged { first, last }),
        }
    }

    fn erased(&mut self, last: Seq) {
        let first = self.next;
        let last = last.min(self.through);
        self.next = last + 1;
        self.bytes += std::mem::size_of::<Entry>();
        match self.entries.back_mut() {
            Some(Entry::Erased { last: before, .. }) => *before = last,
            _ => self.entries.push_back(Entry::Erased { first, last }),
        }
    }

    /// Reads on in one segment, to its end or until there is enough.
    fn segment(&mut self, segment: &Segment) -> Result<(), Error> {
        let is_there = self.cursor.as_ref().is_some_and(|c| c.number == segment.number);
        if !is_there && !self.enter(segment)? {
            return Ok(());
        }
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        cursor.scanner.grow(segment.end);
        loop {
            if self.is_done() {
                return Ok(());
            }
            let Some(cursor) = &mut self.cursor else { return Ok(()) };
            match cursor.scanner.step() {
                Some(Step::Frame(place)) if place.header.kind == Kind::Record => self.record(&place),
                Some(_) => {}
                // The end, and what the segment holds was not all met.
                None => {
                    if self.next <= segment.last_seq {
                        self.damaged(segment.last_seq);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Opens a segment near the number wanted. `false`: it was freed meanwhile, or counted as damaged.
    fn enter(&mut self, segment: &Segment) -> Result<bool, Error> {
        self.cursor = None;
        let opened = match self.log.opened(segment.number) {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.damaged(segment.last_seq);
                return Ok(false);
            }
            Err(Error::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && is_mounted(self.log) =>
            {
                // Freed between look-up and opening, or gone.
                if self.log.table().segment(segment.number).is_some() {
                    tracing::error!(file = %segment_path(&self.log.dir, segment.number).display(), "a segment is missing");
                    self.damaged(segment.last_seq);
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let from = if self.next == segment.first_seq { DATA_START } else { self.mark(segment, &opened) };
        let scanner = Scanner::new(Arc::clone(&opened.file), segment.end).starting_at(from);
        self.cursor = Some(Cursor { number: segment.number, opened, scanner });
        Ok(true)
    }

    /// The frame nearest before the number wanted.
    fn mark(&self, segment: &Segment, opened: &Opened) -> u64 {
        let from_footer;
        let marks = match &segment.marks {
            Some(marks) => marks,
            None => {
                from_footer =
                    opened.footer(segment.end).map(|(_, footer, _)| footer.marks).unwrap_or_default();
                &from_footer
            }
        };
        let at = marks.partition_point(|(seq, _)| *seq <= self.next);
        at.checked_sub(1).and_then(|i| marks.get(i)).map_or(DATA_START, |(_, offset)| *offset)
    }

    fn record(&mut self, place: &Place) {
        let seq = place.header.seq;
        // Earlier: on the way from a mark, or a frame that somebody copied. Later than the segment may hold: a
        // frame that does not belong here.
        if seq < self.next || seq > self.through {
            return;
        }
        let Some(cursor) = &mut self.cursor else { return };
        let body = cursor.scanner.body(place);
        let tag = tag_of(&body);
        let decoded = cursor
            .opened
            .cipher
            .open(&place.header, body)
            .and_then(|plain| RecordBody::decode(&plain.into(), place.header.flags));
        let epoch = StreamEpoch::new(cursor.opened.header.epoch).unwrap_or(StreamEpoch::FIRST);
        let Some(body) = decoded else {
            // The checksum is right and the tag is wrong: not an accident. The number in the header is not
            // authentic either; the gap before the next authentic record says what is missing.
            tracing::error!(
                log = self.log.name,
                segment = cursor.number,
                offset = place.offset,
                "a record was tampered with"
            );
            return;
        };
        if seq > self.next {
            self.damaged(seq - 1);
        }
        // What arrived on the day before may be erased when the rest is not.
        if let Stored::Chunked(chunked) = &body.stored
            && self.log.table().has_erased(chunked.layout.segments())
        {
            return self.erased(seq);
        }
        let payload = match body.stored {
            Stored::Inline(packed) => packed.unpack().map(Kept::Here),
            Stored::Chunked(chunked) => {
                let log = Arc::clone(self.log);
                Some(Kept::OnDisk(Arc::new(OnDisk { log, seq, chunked, table: Mutex::default() })))
            }
        };
        let Some(payload) = payload else {
            // Authentic, and yet not to be unpacked: a fault of the program that wrote it.
            return self.damaged(seq);
        };
        let unpacked = if let Kept::Here(bytes) = &payload { bytes.len() } else { 0 };
        self.bytes += unpacked.max(place.header.body_len as usize);
        self.next = seq + 1;
        self.entries.push_back(Entry::Record(Record {
            seq,
            epoch,
            at: Timestamp::from_micros(body.at),
            tag,
            meta: body.meta,
            payload: Payload(payload),
        }));
    }
}
