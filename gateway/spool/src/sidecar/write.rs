//! Making a sidecar.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use super::format::{
    Directory, FOOTER_BYTES, Footer, GROUP_HEAD_BYTES, PAGE_BYTES, PLAIN_BYTES, SidecarKeys, TERMS_END, Term,
    push_term, push_varint, varint_len,
};
use super::{Keyed, Known, is_readable, path, read, spoiled};
use crate::Error;
use crate::inner::Inner;
use crate::reader::{Entry, Flow, walk};
use crate::table::Segment;

/// Keys listed of one record.
pub const KEYS_MAX: usize = 1024;
/// Entries in memory while a sidecar is made.
pub const ENTRIES_MAX: usize = 1 << 20;
/// Damaged ranges that are told apart; what is beyond counts as one.
const DAMAGED_MAX: usize = 1000;
/// The file that becomes a sidecar; one is made at a time in a log.
pub(super) const TEMPORARY: &str = "index.tmp";
/// What a sidecar is taken to need, before it is made, of its segment's size: ten times the ordinary at most.
const SHARE: u64 = 8;
/// Pages written at once.
const WRITE_BYTES: usize = 16 * PAGE_BYTES;

pub(super) fn index(log: &Arc<Inner>, number: u64, keyed: &dyn Keyed) -> Result<(), Error> {
    let _one_at_a_time = log.indexing();
    let (segment, known) = {
        let table = log.table();
        let is_sealed = table.iter().next_back().is_some_and(|newest| newest.number != number);
        match table.segment(number).filter(|s| is_sealed && is_readable(s)) {
            Some(segment) => (segment.clone(), table.sidecar(number)),
            None => return Ok(()),
        }
    };
    if known.is_some() {
        match read::Sidecar::open(log, &segment, &mut read::IndexKeys::default(), true)? {
            Ok(_) => {
                log.table_mut().check_sidecar(number);
                return Ok(());
            }
            Err(why) => spoiled(log, number, why),
        }
    }
    make_room(log, segment.bytes / SHARE)?;
    let temporary = log.dir.join(TEMPORARY);
    let made = make(log, &segment, keyed).and_then(|bytes| {
        make_room(log, bytes)?;
        install(log, number, bytes)
    });
    if made.is_err() {
        log.remove_quietly(&temporary);
    }
    made
}

/// Frees what every reader is past where a sidecar would take the room of the next segment. What is not delivered is worth
/// more than an index.
fn make_room(log: &Inner, bytes: u64) -> Result<(), Error> {
    let next = log.limits.segment_bytes;
    loop {
        let is_in_budget =
            log.table().bytes().saturating_add(bytes).saturating_add(next) <= log.limits.bytes_max;
        let available = log.disk.available(&log.dir).map_err(|e| log.storage("asking for room", e))?;
        let reserve = log.limits.reserve_bytes.saturating_add(next);
        if is_in_budget && available >= bytes.saturating_add(reserve) {
            return Ok(());
        }
        if !log.free_oldest(true)? {
            return Err(Error::Full { log: log.name });
        }
    }
}

/// Gives it its name, where its segment is still there.
fn install(log: &Inner, number: u64, bytes: u64) -> Result<(), Error> {
    // Whoever frees a segment holds this.
    let _identity = log.identity();
    let is_wanted = log.table().segment(number).is_some_and(is_readable);
    if !is_wanted {
        log.remove_quietly(&log.dir.join(TEMPORARY));
        return Ok(());
    }
    log.disk
        .rename(&log.dir.join(TEMPORARY), &path(&log.dir, number))
        .map_err(|e| log.storage("naming a sidecar", e))?;
    log.table_mut().set_sidecar(number, Known { bytes, is_checked: true });
    Ok(())
}

/// Reads the segment and writes the file; as often as its entries do not fit into memory. Returns its size.
fn make(log: &Arc<Inner>, segment: &Segment, keyed: &dyn Keyed) -> Result<u64, Error> {
    let epochs = log.keys.epochs();
    let gone = |()| Error::Freed { oldest: log.table().oldest() };
    let index_key = epochs.index_key(segment.key_epoch, log.name).map_err(|_| gone(()))?;
    let Some(segment_mac) = read::segment_mac(log, segment.number)? else { return Err(gone(())) };
    let salt = log.keys.random()?;
    let keys = SidecarKeys::new(&index_key, log.suite, &segment_mac, &salt)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(log.dir.join(TEMPORARY))
        .map_err(|e| log.storage("creating a sidecar", e))?;
    let mut out = Pages {
        keys: &keys,
        plain: Vec::with_capacity(PLAIN_BYTES),
        firsts: Vec::new(),
        pending: Vec::with_capacity(WRITE_BYTES),
        written: 0,
        write: &|bytes, at| {
            log.disk.write_at(&file, bytes, at).map_err(|e| log.storage("writing a sidecar", e))
        },
    };
    let mut times = (i64::MAX, i64::MIN);
    let mut is_crowded = false;
    let mut unread = Vec::new();
    let mut low = 0;
    while low < TERMS_END {
        let mut kept = Kept { low, high: TERMS_END, entries: Vec::new() };
        // Each pass meets the same damage; the first one tells it.
        let mut damaged = |first: u64, last: u64| {
            if low == 0 {
                add_damaged(&mut unread, first - segment.first_seq, last - segment.first_seq);
            }
        };
        walk(log, segment.first_seq, segment.last_seq, &mut |entry| {
            let record = match entry {
                Entry::Record(record) => record,
                Entry::Damaged { first, last } => {
                    damaged(first, last);
                    return Ok(Flow::On);
                }
                Entry::Erased { .. } => return Ok(Flow::On),
            };
            let Ok(ordinal) = u32::try_from(record.seq - segment.first_seq) else { return Ok(Flow::On) };
            times = (times.0.min(record.at.micros()), times.1.max(record.at.micros()));
            let mut listed = 0;
            let mut add = |key: &[u8]| {
                listed += 1;
                if listed <= KEYS_MAX {
                    kept.push(keys.term(key), ordinal);
                }
            };
            let said_all = match keyed.keys(&record, &mut add) {
                Ok(said_all) => said_all,
                // A part of it cannot be read: the others are not to go without an index for that.
                Err(Error::Damaged { .. }) => {
                    damaged(record.seq, record.seq);
                    return Ok(Flow::On);
                }
                Err(Error::Erased { .. }) => return Ok(Flow::On),
                Err(error) => return Err(error),
            };
            if !said_all || listed > KEYS_MAX {
                is_crowded = true;
                kept.push(keys.term(b""), ordinal);
            }
            Ok(Flow::On)
        })?;
        kept.settle();
        for group in kept.entries.chunk_by(|a, b| a.0 == b.0) {
            out.group(group)?;
        }
        low = kept.high;
    }
    let directory = Directory {
        first_seq: segment.first_seq,
        last_seq: segment.last_seq,
        at_first: times.0,
        at_last: times.1,
        is_crowded,
        damaged: unread,
        firsts: Vec::new(),
    };
    let footer = Footer {
        suite: log.suite,
        key_epoch: segment.key_epoch,
        segment: segment.number,
        segment_mac,
        salt,
        pages: 0,
        directory_len: 0,
        directory_crc: 0,
    };
    out.finish(directory, footer)
}

/// Ranges come in order.
fn add_damaged(ranges: &mut Vec<(u32, u32)>, first: u64, last: u64) {
    let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let (first, last) = (short(first), short(last));
    let is_full = ranges.len() >= DAMAGED_MAX;
    match ranges.last_mut() {
        Some((_, before)) if is_full || first <= before.saturating_add(1) => *before = last.max(*before),
        _ => ranges.push((first, last)),
    }
}

/// The entries of a range of terms, as many as fit.
struct Kept {
    low: Term,
    /// Exclusive; comes down when there are too many.
    high: Term,
    entries: Vec<(Term, u32)>,
}

impl Kept {
    fn push(&mut self, term: Term, ordinal: u32) {
        if term < self.low || term >= self.high {
            return;
        }
        self.entries.push((term, ordinal));
        if self.entries.len() > ENTRIES_MAX {
            self.settle();
            if self.entries.len() > ENTRIES_MAX {
                self.halve();
            }
        }
    }

    /// In order, once each.
    fn settle(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
    }

    /// Leaves the greater half to another pass. A single term stays whole: no segment has more records than fit.
    fn halve(&mut self) {
        let Some(&(first, _)) = self.entries.first() else { return };
        let half = self.entries.get(self.entries.len() / 2).map_or(first, |entry| entry.0);
        let pivot =
            if half > first { Some(half) } else { self.entries.iter().map(|e| e.0).find(|t| *t > first) };
        if let Some(pivot) = pivot {
            self.high = pivot;
            self.entries.truncate(self.entries.partition_point(|entry| entry.0 < pivot));
        }
    }
}

/// Writes where it is told to.
type WriteAt<'a> = &'a dyn Fn(&[u8], u64) -> Result<(), Error>;

/// Pages on their way to the file.
struct Pages<'a> {
    keys: &'a SidecarKeys,
    /// Groups of the page that is being filled.
    plain: Vec<u8>,
    firsts: Vec<Term>,
    pending: Vec<u8>,
    written: u64,
    write: WriteAt<'a>,
}

impl Pages<'_> {
    /// One term with its numbers, over as many pages as it needs.
    fn group(&mut self, mut group: &[(Term, u32)]) -> Result<(), Error> {
        while let Some(&(term, first)) = group.first() {
            let room = (PLAIN_BYTES - 2).saturating_sub(self.plain.len() + GROUP_HEAD_BYTES);
            let (mut taken, mut bytes, mut before) = (0_usize, 0, 0);
            for (_, ordinal) in group {
                let step = ordinal.saturating_sub(before);
                bytes += varint_len(step);
                if bytes > room {
                    break;
                }
                (taken, before) = (taken + 1, *ordinal);
            }
            let Some((now, later)) = group.split_at_checked(taken).filter(|_| taken > 0) else {
                self.page()?;
                continue;
            };
            if self.plain.is_empty() {
                self.firsts.push(term);
            }
            push_term(&mut self.plain, term);
            push_varint(&mut self.plain, u32::try_from(taken).unwrap_or(u32::MAX));
            push_varint(&mut self.plain, first);
            let mut before = first;
            for (_, ordinal) in now.iter().skip(1) {
                push_varint(&mut self.plain, ordinal.saturating_sub(before));
                before = *ordinal;
            }
            group = later;
            if !group.is_empty() {
                self.page()?;
            }
        }
        Ok(())
    }

    fn page(&mut self) -> Result<(), Error> {
        if self.plain.is_empty() {
            return Ok(());
        }
        let number =
            u32::try_from(self.firsts.len() - 1).map_err(|_| Error::Internal("a sidecar of 16 TiB"))?;
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&u16::try_from(self.plain.len()).unwrap_or(u16::MAX).to_le_bytes());
        page.append(&mut self.plain);
        page.resize(PLAIN_BYTES, 0);
        self.keys.seal_page(number, &mut page)?;
        self.pending.extend_from_slice(&page);
        if self.pending.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        (self.write)(&self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// The directory and the footer. Returns the size of the file.
    fn finish(mut self, mut directory: Directory, mut footer: Footer) -> Result<u64, Error> {
        self.page()?;
        footer.pages = u32::try_from(self.firsts.len()).unwrap_or(u32::MAX);
        directory.firsts = std::mem::take(&mut self.firsts);
        let mut sealed = directory.encode();
        self.keys.seal_directory(&mut sealed)?;
        footer.directory_len = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
        footer.directory_crc = crc32c::crc32c(&sealed);
        self.pending.extend_from_slice(&sealed);
        self.pending.extend_from_slice(&footer.encode());
        self.flush()?;
        debug_assert_eq!(footer.encode().len(), FOOTER_BYTES);
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_entries_than_fit_into_memory_come_in_several_passes() {
        let all = || (0..3_000_000_u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16, n as u32));
        let (mut low, mut passes, mut entries) = (0, 0, Vec::new());
        while low < TERMS_END {
            let mut kept = Kept { low, high: TERMS_END, entries: Vec::new() };
            all().for_each(|(term, ordinal)| kept.push(term, ordinal));
            kept.settle();
            assert!(kept.entries.len() <= ENTRIES_MAX);
            entries.extend(kept.entries);
            (low, passes) = (kept.high, passes + 1);
        }
        assert!(passes > 2, "{passes}");
        let mut expected: Vec<_> = all().collect();
        expected.sort_unstable();
        assert!(entries == expected);
    }

    #[test]
    fn damage_beyond_the_limit_counts_as_one_range() {
        let mut ranges = Vec::new();
        add_damaged(&mut ranges, 3, 4);
        add_damaged(&mut ranges, 5, 5);
        add_damaged(&mut ranges, 7, 9);
        assert_eq!(ranges, [(3, 5), (7, 9)]);
        (10..10_000).for_each(|n| add_damaged(&mut ranges, 2 * n, 2 * n));
        assert_eq!((ranges.len(), ranges.last().unwrap().1), (DAMAGED_MAX, 19_998));
    }

    #[test]
    fn one_term_that_fills_the_memory_stays_whole() {
        let mut kept = Kept { low: 0, high: TERMS_END, entries: Vec::new() };
        (0..ENTRIES_MAX as u32).for_each(|ordinal| kept.push(5, ordinal));
        assert_eq!((kept.entries.len(), kept.high), (ENTRIES_MAX, TERMS_END));
        kept.push(3, 0);
        assert_eq!((kept.entries.len(), kept.high), (1, 5), "and goes to the next pass whole");
    }
}
