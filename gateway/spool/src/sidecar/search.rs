//! Finding records by their keys.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use model::{Seq, Timestamp};

use super::read::{IndexKeys, Sidecar};
use super::{Keyed, is_readable, spoiled};
use crate::inner::Inner;
use crate::reader::{Entry, Flow, Record, get, walk};
use crate::table::Segment;
use crate::{Error, Log};

/// Segments without a sidecar that one search reads from end to end; the open one is one of them.
pub const SCANNED_MAX: usize = 4;
/// Records that one search reads one by one to see whether they are meant.
pub const READ_MAX: usize = 20_000;
/// From so many records of a segment on it is quicker to read the segment from end to end.
const ONE_BY_ONE_MAX: usize = 256;

/// What a search is for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// A record must have all of them, byte for byte. The most telling first: where it is not found, the others are not
    /// looked for.
    pub keys: &'a [Vec<u8>],
    /// Written at this time or later.
    pub from: Option<Timestamp>,
    /// Written before this time.
    pub to: Option<Timestamp>,
    /// The newest so many.
    pub limit: usize,
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wanted({} keys, at most {})", self.keys.len(), self.limit)
    }
}

/// How complete an answer is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Searched {
    /// Numbers that were not looked at, newest first: not indexed yet and too many to read, or damaged.
    pub left_out: Vec<(Seq, Seq)>,
    /// The limit was reached: older ones were not looked for.
    pub is_limited: bool,
}

impl Log {
    /// Shows the records that are wanted to `found`, the newest first. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`]: a file cannot be opened now.
    pub fn search(
        &self,
        wanted: &Wanted<'_>,
        keyed: &dyn Keyed,
        found: &mut dyn FnMut(&Record),
    ) -> Result<Searched, Error> {
        let mut search = Search {
            log: &self.0,
            wanted,
            keyed,
            found,
            days: IndexKeys::default(),
            left: wanted.limit,
            scanned: 0,
            read: 0,
            out: Searched::default(),
        };
        let mut below = u64::MAX;
        while search.left > 0 {
            // One at a time: the table may change meanwhile, and is not copied.
            let segment = {
                let table = self.0.table();
                let mut older = table.iter().rev().skip_while(|s| s.number >= below);
                older.find(|s| is_readable(s) || s.is_unreadable).cloned()
            };
            let Some(segment) = segment else { return Ok(search.out) };
            below = segment.number;
            search.segment(&segment)?;
        }
        search.out.is_limited = true;
        Ok(search.out)
    }
}

struct Search<'a> {
    log: &'a Arc<Inner>,
    wanted: &'a Wanted<'a>,
    keyed: &'a dyn Keyed,
    found: &'a mut dyn FnMut(&Record),
    days: IndexKeys,
    /// Records that may still be shown.
    left: usize,
    scanned: usize,
    read: usize,
    out: Searched,
}

impl Search<'_> {
    fn segment(&mut self, segment: &Segment) -> Result<(), Error> {
        if segment.is_unreadable {
            self.leave_out(segment.first_seq, segment.last_seq);
            return Ok(());
        }
        let Some(known) = self.log.table().sidecar(segment.number) else { return self.scan(segment) };
        let sidecar = match Sidecar::open(self.log, segment, &mut self.days, !known.is_checked)? {
            Ok(sidecar) => sidecar,
            Err(why) => {
                spoiled(self.log, segment.number, why);
                return self.scan(segment);
            }
        };
        if !known.is_checked {
            self.log.table_mut().check_sidecar(segment.number);
        }
        let directory = &sidecar.directory;
        let (first, last) =
            (Timestamp::from_micros(directory.at_first), Timestamp::from_micros(directory.at_last));
        if self.wanted.from.is_some_and(|from| last < from) || self.wanted.to.is_some_and(|to| first >= to) {
            return Ok(());
        }
        for (first, last) in directory.damaged.iter().rev() {
            self.leave_out(segment.first_seq + u64::from(*first), segment.first_seq + u64::from(*last));
        }
        let candidates = match self.candidates(&sidecar)? {
            Ok(candidates) => candidates,
            Err(why) => {
                spoiled(self.log, segment.number, why);
                return self.scan(segment);
            }
        };
        match candidates {
            // No key is asked for, and the segment lies within the time: its newest will do.
            None => {
                let numbers = (segment.first_seq..=segment.last_seq).rev();
                if self.is_within(first) && self.is_within(last) {
                    self.each(segment.first_seq, numbers)
                } else {
                    self.range(segment.first_seq, segment.last_seq)
                }
            }
            Some(candidates) if candidates.len() <= ONE_BY_ONE_MAX => {
                let numbers = candidates.iter().rev().map(|n| segment.first_seq + u64::from(*n));
                self.each(segment.first_seq, numbers)
            }
            Some(candidates) => {
                let first = candidates.first().map_or(0, |n| u64::from(*n));
                let last = candidates.last().map_or(0, |n| u64::from(*n));
                self.read += candidates.len();
                if self.read > READ_MAX {
                    self.leave_out(segment.first_seq, segment.last_seq);
                    return Ok(());
                }
                self.range(segment.first_seq + first, segment.first_seq + last)
            }
        }
    }

    /// The records that may have all keys; `None` where no key is asked for.
    fn candidates(&self, sidecar: &Sidecar) -> Result<Result<Option<Vec<u32>>, &'static str>, Error> {
        let mut all: Option<Vec<u32>> = None;
        for key in self.wanted.keys {
            let numbers = match sidecar.numbers(key)? {
                Ok(numbers) => numbers,
                Err(why) => return Ok(Err(why)),
            };
            let both = match all {
                None => numbers,
                Some(before) => before.into_iter().filter(|n| numbers.binary_search(n).is_ok()).collect(),
            };
            let is_empty = both.is_empty();
            all = Some(both);
            if is_empty {
                break;
            }
        }
        if let Some(listed) = all.take_if(|_| sidecar.directory.is_crowded) {
            let crowded = match sidecar.numbers(b"")? {
                Ok(crowded) => crowded,
                Err(why) => return Ok(Err(why)),
            };
            let both: BTreeSet<u32> = listed.into_iter().chain(crowded).collect();
            all = Some(both.into_iter().collect());
        }
        Ok(Ok(all))
    }

    /// Reads records of a segment one by one, the newest first.
    fn each(&mut self, first: Seq, numbers: impl Iterator<Item = Seq>) -> Result<(), Error> {
        for seq in numbers {
            if self.left == 0 {
                return Ok(());
            }
            self.read += 1;
            if self.read > READ_MAX {
                self.leave_out(first, seq);
                return Ok(());
            }
            self.one(seq)?;
        }
        Ok(())
    }

    fn one(&mut self, seq: Seq) -> Result<(), Error> {
        match get(self.log, seq) {
            Ok(Some(Entry::Record(record))) => match self.is_wanted(&record)? {
                Some(true) => {
                    (self.found)(&record);
                    self.left = self.left.saturating_sub(1);
                }
                Some(false) => {}
                None => self.leave_out(seq, seq),
            },
            Ok(Some(Entry::Damaged { .. })) => self.leave_out(seq, seq),
            // Erased or freed meanwhile: it is no more.
            Ok(_) | Err(Error::Freed { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads a segment that has no sidecar, as long as there are not too many of them.
    fn scan(&mut self, segment: &Segment) -> Result<(), Error> {
        if segment.first_seq > segment.last_seq {
            return Ok(());
        }
        self.scanned += 1;
        if self.scanned > SCANNED_MAX {
            self.leave_out(segment.first_seq, segment.last_seq);
            return Ok(());
        }
        self.range(segment.first_seq, segment.last_seq)
    }

    /// Reads a range from end to end.
    fn range(&mut self, first: Seq, last: Seq) -> Result<(), Error> {
        let mut matching = VecDeque::new();
        let mut damaged = Vec::new();
        let walked = walk(self.log, first, last, &mut |entry| {
            match entry {
                Entry::Record(record) => {
                    match self.is_wanted(&record)? {
                        Some(true) => matching.push_back(record.seq),
                        Some(false) => {}
                        None => damaged.push((record.seq, record.seq)),
                    }
                    if matching.len() > self.left {
                        matching.pop_front();
                    }
                }
                Entry::Damaged { first, last } => damaged.push((first, last)),
                Entry::Erased { .. } => {}
            }
            Ok(Flow::On)
        });
        match walked {
            Ok(()) | Err(Error::Freed { .. }) => {}
            Err(error) => return Err(error),
        }
        damaged.into_iter().rev().for_each(|(first, last)| self.leave_out(first, last));
        matching.into_iter().rev().try_for_each(|seq| self.one(seq))
    }

    fn is_within(&self, at: Timestamp) -> bool {
        self.wanted.from.is_none_or(|from| at >= from) && self.wanted.to.is_none_or(|to| at < to)
    }

    /// `None`: what it is found by cannot be read.
    fn is_wanted(&self, record: &Record) -> Result<Option<bool>, Error> {
        if !self.is_within(record.at) {
            return Ok(Some(false));
        }
        let mut has = vec![false; self.wanted.keys.len()];
        let said = self.keyed.keys(record, &mut |key| {
            for (wanted, has) in self.wanted.keys.iter().zip(&mut has) {
                *has |= wanted.as_slice() == key;
            }
        });
        match said {
            Ok(_) => Ok(Some(has.into_iter().all(|has| has))),
            Err(Error::Damaged { .. }) => Ok(None),
            // It is no more.
            Err(Error::Erased { .. } | Error::Freed { .. }) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// Numbers come from the newest to the oldest.
    fn leave_out(&mut self, first: Seq, last: Seq) {
        if self.out.left_out.iter().any(|(from, to)| *from <= first && last <= *to) {
            return;
        }
        match self.out.left_out.last_mut() {
            Some((before, _)) if last + 1 == *before => *before = first,
            _ => self.out.left_out.push((first, last)),
        }
    }
}
