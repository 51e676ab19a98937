//! Walks the frames of a segment, whatever has become of it.
//!
//! Promise: every byte between the first frame and the end is accounted for in one [`Step`]; nothing valid is
//! skipped; memory is one window of [`WINDOW_BYTES`] or one frame. Nothing here needs a key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use memchr::memmem;

use crate::format::{
    DATA_START, FRAME_HEADER_BYTES, FRAME_MAGIC, FrameHeader, PAGE_BYTES, SECTOR_BYTES, crc_is_right,
    crc_misses_its_last_byte, flags, page_up,
};

/// Read at once.
pub(crate) const WINDOW_BYTES: usize = 512 << 10;
/// A frame is at least 84 bytes and more than half of it is random: with fewer bytes than this that are not
/// zero, what stands where a frame could begin is dirt in the padding.
const FRAME_NONZERO_MIN: usize = 24;
const FRAME_BYTES_MIN: u64 = 84;
const READ_ATTEMPTS: u32 = 3;
/// Stands for what a bad sector does not give back; not zero, so that it never looks like padding or a tear.
const UNREADABLE: u8 = 0xFF;

/// A frame's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
}

impl Place {
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.header.total_bytes()
    }
}

/// What stands next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A frame with a right CRC.
    Frame(Place),
    /// A frame whose header is right and whose body is not. `torn`: a whole sector of it is zeros or missing.
    Rotten { place: Place, torn: bool },
    /// Where frames should be are other bytes; a valid header stands at `to`.
    Lost { from: u64, to: u64, torn: bool },
    /// Padding that is not zero; no frame was lost.
    Dirt { from: u64, to: u64 },
    /// No further frame. Once, at the end of the walk.
    Tail { from: u64, tail: Tail },
}

/// What stands behind the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros, or nothing.
    Clean,
    /// A few flipped bits in zeros.
    Dirt,
    /// The beginning of a frame whose header misses a sector.
    Torn,
    /// A frame whose header has rotted.
    Rot,
}

/// A part of a file, read through a window.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<File>,
    /// Nothing is read from here on.
    limit: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(crate) const fn new(file: Arc<File>, limit: u64) -> Self {
        Self { file, limit, at: 0, bytes: Vec::new() }
    }

    /// Up to `len` bytes at `offset`, fewer only at the limit or the end of the file.
    pub(crate) fn view(&mut self, offset: u64, len: usize) -> &[u8] {
        let len = len.min(usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        let start = offset.checked_sub(self.at).and_then(|s| usize::try_from(s).ok());
        let is_held = start.is_some_and(|s| s + len <= self.bytes.len());
        if !is_held {
            self.load(offset, len.max(WINDOW_BYTES));
        }
        let start = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        let end = start.saturating_add(len).min(self.bytes.len());
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn load(&mut self, offset: u64, len: usize) {
        let len = len.min(usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        self.at = offset;
        self.bytes.resize(len, 0);
        let mut held = 0;
        let mut attempts = 0;
        while let Some(rest) = self.bytes.get_mut(held..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + held as u64) {
                Ok(0) => break,
                Ok(n) => held += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if attempts < READ_ATTEMPTS => attempts += 1,
                Err(error) => {
                    // A bad page: leave it out, go on behind it.
                    attempts = 0;
                    let here = offset + held as u64;
                    let next = page_up(here + 1).min(offset + len as u64);
                    tracing::error!(%error, offset = here, "a page of a segment cannot be read");
                    let bad = usize::try_from(next - here).unwrap_or(0);
                    rest.iter_mut().take(bad).for_each(|b| *b = UNREADABLE);
                    held += bad;
                }
            }
        }
        self.bytes.truncate(held);
    }
}

/// Walks frames.
#[derive(Debug)]
pub(crate) struct Scanner {
    window: Window,
    at: u64,
    /// Number of the frame before, where it is known.
    last_frame: Option<u64>,
    /// The frame before says that another one of its batch begins here.
    goes_on: bool,
    is_done: bool,
}

impl Scanner {
    /// Walks a whole segment up to `limit`.
    pub(crate) const fn new(file: Arc<File>, limit: u64) -> Self {
        Self {
            window: Window::new(file, limit),
            at: DATA_START,
            last_frame: None,
            goes_on: false,
            is_done: false,
        }
    }

    /// Begins at a frame known from a mark.
    pub(crate) const fn starting_at(mut self, offset: u64) -> Self {
        self.at = offset;
        self
    }

    /// Goes on behind an earlier limit: the segment has grown.
    pub(crate) fn grow(&mut self, limit: u64) {
        if limit > self.window.limit {
            self.window.limit = limit;
            self.is_done = false;
        }
    }

    /// The body (ciphertext and tag) of a frame.
    pub(crate) fn body(&mut self, place: &Place) -> Vec<u8> {
        self.window.view(place.offset + FRAME_HEADER_BYTES as u64, place.header.body_len as usize).to_vec()
    }

    /// What comes next; `None` after [`Step::Tail`].
    pub(crate) fn step(&mut self) -> Option<Step> {
        if self.is_done {
            return None;
        }
        if let Some(header) = self.header_at(self.at) {
            return Some(self.frame(Place { offset: self.at, header }));
        }
        // Not a frame: padding, damage or the end. Where the batch goes on, zeros are no padding.
        let goes_on = std::mem::take(&mut self.goes_on);
        let boundary = page_up(self.at).min(self.window.limit);
        if !goes_on && boundary > self.at && self.is_zero(self.at, boundary) {
            self.at = boundary;
            if let Some(header) = self.header_at(boundary) {
                return Some(self.frame(Place { offset: boundary, header }));
            }
        }
        let from = self.at;
        let Some(to) = self.find(from) else {
            self.is_done = true;
            // The walk may be resumed here after growth; pages are never half written.
            self.at = page_up(from).min(self.window.limit).max(from);
            return Some(Step::Tail { from, tail: self.judge_tail(from) });
        };
        self.at = to;
        let next = self.header_at(to).map_or(0, |h| h.frame);
        let expected = self.last_frame.map_or(0, |last| last + 1);
        if next > expected {
            // Where a frame must begin, zeros to the end of the sector are a sector that was not written.
            let misses_its_front = goes_on && self.is_zero(from, (from + 1).next_multiple_of(SECTOR_BYTES));
            Some(Step::Lost { from, to, torn: misses_its_front || self.has_zero_sector(from, to) })
        } else if self.is_zero(from, to) {
            self.step()
        } else {
            Some(Step::Dirt { from, to })
        }
    }

    fn frame(&mut self, place: Place) -> Step {
        self.at = place.end();
        self.last_frame =
            Some(self.last_frame.map_or(place.header.frame, |last| last.max(place.header.frame)));
        self.goes_on = place.header.flags & flags::MORE != 0;
        let len = place.header.total_bytes() as usize;
        let bytes = self.window.view(place.offset, len);
        let is_cut = bytes.len() < len;
        if !is_cut && crc_is_right(bytes) {
            return Step::Frame(place);
        }
        let last = place.end() - 1;
        let is_whole = !is_cut && last.is_multiple_of(SECTOR_BYTES) && crc_misses_its_last_byte(bytes);
        if is_whole && self.is_zero(last, last + SECTOR_BYTES) {
            return Step::Frame(place);
        }
        let torn = is_cut || self.has_zero_sector(place.offset, place.end());
        Step::Rotten { place, torn }
    }

    fn header_at(&mut self, offset: u64) -> Option<FrameHeader> {
        FrameHeader::decode(self.window.view(offset, FRAME_HEADER_BYTES))
    }

    /// The next valid header at or behind `from`.
    fn find(&mut self, from: u64) -> Option<u64> {
        let mut at = from;
        loop {
            let bytes = self.window.view(at, WINDOW_BYTES);
            if bytes.len() < FRAME_HEADER_BYTES {
                return None;
            }
            let len = bytes.len();
            let hits: Vec<u64> = memmem::find_iter(bytes, &FRAME_MAGIC).map(|i| at + i as u64).collect();
            for hit in hits {
                if self.header_at(hit).is_some() {
                    return Some(hit);
                }
            }
            if len < WINDOW_BYTES {
                return None;
            }
            // The magic may straddle two windows.
            at += (len - FRAME_MAGIC.len() + 1) as u64;
        }
    }

    fn judge_tail(&mut self, from: u64) -> Tail {
        if self.is_zero(from, self.window.limit) {
            return Tail::Clean;
        }
        let nonzero = self.window.view(from, FRAME_BYTES_MIN as usize).iter().filter(|b| **b != 0).count();
        let header_end = from + FRAME_HEADER_BYTES as u64;
        let is_short = self.window.view(from, FRAME_HEADER_BYTES).len() < FRAME_HEADER_BYTES;
        if is_short || self.overlaps_zero_sector(from, header_end) {
            Tail::Torn
        } else if nonzero < FRAME_NONZERO_MIN {
            Tail::Dirt
        } else {
            Tail::Rot
        }
    }

    fn is_zero(&mut self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let len = usize::try_from(to - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            let bytes = self.window.view(at, len);
            if bytes.is_empty() {
                return true;
            }
            if !is_all_zero(bytes) {
                return false;
            }
            at += bytes.len() as u64;
        }
        true
    }

    /// Whether a whole sector inside `from..to` is zeros.
    fn has_zero_sector(&mut self, from: u64, to: u64) -> bool {
        let mut at = from.next_multiple_of(SECTOR_BYTES);
        while at + SECTOR_BYTES <= to {
            if self.is_zero(at, at + SECTOR_BYTES) {
                return true;
            }
            at += SECTOR_BYTES;
        }
        // The last sector also holds what follows: zeros or the next frame of the batch, torn with it. One byte
        // of zeros alone may be the frame's own.
        to.saturating_sub(at.max(from)) >= 2 && self.is_zero(at.max(from), at + SECTOR_BYTES)
    }

    /// Whether a sector that has a part of `from..to` is zeros.
    fn overlaps_zero_sector(&mut self, from: u64, to: u64) -> bool {
        let mut at = from - from % SECTOR_BYTES;
        while at < to {
            if self.is_zero(at.max(from), at + SECTOR_BYTES) {
                return true;
            }
            at += SECTOR_BYTES;
        }
        false
    }
}

fn is_all_zero(bytes: &[u8]) -> bool {
    // Comparing slices is one memcmp a page, also in a build without optimisation.
    const ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];
    bytes.chunks(ZEROS.len()).all(|part| ZEROS.get(..part.len()) == Some(part))
}

const _: () = assert!(PAGE_BYTES.is_multiple_of(SECTOR_BYTES));
