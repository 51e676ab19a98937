//! Which numbers lie in which segment: what readers look up and what decides which segment may go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Seq;

use crate::sidecar::Known;

/// A segment as the table knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) first_seq: Seq,
    /// Last durable number; `first_seq - 1` while there is none.
    pub(crate) last_seq: Seq,
    /// Nothing is read from here on.
    pub(crate) end: u64,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Number and offset, about one in 64 KiB; `None` when they stand in the segment's footer.
    pub(crate) marks: Option<Vec<(Seq, u64)>>,
    /// The last record that needs a chunk stored here, or 0.
    pub(crate) needed_through: Seq,
    /// Unfinished records with chunks here.
    pub(crate) pins: u32,
    /// Neither copy of the header could be read.
    pub(crate) is_unreadable: bool,
    /// The key epoch that its data key is wrapped in; 0 for the lasting one, or where it cannot be read.
    pub(crate) key_epoch: u64,
    /// The key of its epoch was destroyed.
    pub(crate) is_erased: bool,
    /// On the retention clock, in seconds: when every reader was past it.
    pub(crate) delivered_at_s: Option<u64>,
}

impl Segment {
    /// The last number that is gone with this segment. A later record that has a chunk here goes too, and what
    /// lies before it: all of it was delivered before that record, so nothing loses a day of its retention.
    pub(crate) fn freed_through(&self) -> Seq {
        self.last_seq.max(self.needed_through)
    }

    fn is_dead(&self) -> bool {
        self.first_seq > self.last_seq && self.needed_through == 0 && self.pins == 0 && !self.is_unreadable
    }

    /// It ends in its footer, so that its end is known without its successor.
    const fn is_closed_by_itself(&self) -> bool {
        self.marks.is_none() && self.bytes == self.end && !self.is_unreadable
    }

    /// Whether every reader is past it and past every record that has a chunk here.
    pub(crate) fn is_delivered(&self, through: Seq) -> bool {
        self.freed_through() <= through && self.pins == 0
    }
}

/// Where a number is to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Segment(Segment),
    /// In no segment, up to and including this number.
    Nowhere {
        last: Seq,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    segments: BTreeMap<u64, Segment>,
    /// The sidecars of the search index, by segment.
    sidecars: BTreeMap<u64, Known>,
    /// Last number that was freed.
    pub(crate) floor: Seq,
    /// Last durable number of the log.
    pub(crate) last: Seq,
}

impl Table {
    pub(crate) fn insert(&mut self, segment: Segment) {
        self.last = self.last.max(segment.last_seq);
        self.segments.insert(segment.number, segment);
    }

    pub(crate) fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        self.segments.get_mut(&number)
    }

    pub(crate) fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.get(&number)
    }

    /// Those that exist of a range of numbers.
    pub(crate) fn range_mut(&mut self, from: u64, to: u64) -> impl Iterator<Item = &mut Segment> {
        // An empty range for what makes none.
        self.segments.range_mut(from.min(to)..=to).map(|(_, segment)| segment)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// All files, the sidecars too.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.values().map(|s| s.bytes).sum::<u64>() + self.sidecars().1
    }

    pub(crate) fn sidecar(&self, segment: u64) -> Option<Known> {
        self.sidecars.get(&segment).copied()
    }

    /// How many there are, and their bytes.
    pub(crate) fn sidecars(&self) -> (u64, u64) {
        (self.sidecars.len() as u64, self.sidecars.values().map(|known| known.bytes).sum())
    }

    /// Whether there is such a segment.
    pub(crate) fn set_sidecar(&mut self, segment: u64, known: Known) -> bool {
        let is_there = self.segments.contains_key(&segment);
        if is_there {
            self.sidecars.insert(segment, known);
        }
        is_there
    }

    pub(crate) fn check_sidecar(&mut self, segment: u64) {
        if let Some(known) = self.sidecars.get_mut(&segment) {
            known.is_checked = true;
        }
    }

    pub(crate) fn take_sidecar(&mut self, segment: u64) -> Option<Known> {
        self.sidecars.remove(&segment)
    }

    /// The oldest number retained; one after the last when there is none.
    pub(crate) const fn oldest(&self) -> Seq {
        self.floor + 1
    }

    /// Where a number in `oldest()..=last` is.
    pub(crate) fn find(&self, seq: Seq) -> Whereabouts {
        // Later segments have later numbers; empty ones may stand between. A search from the back is short for
        // a reader near the tail, and a look-up elsewhere is rare.
        let mut nowhere = self.last;
        for segment in self.segments.values().rev().filter(|s| s.first_seq <= s.last_seq) {
            if segment.last_seq < seq {
                break;
            }
            if segment.first_seq <= seq {
                return Whereabouts::Segment(segment.clone());
            }
            nowhere = segment.first_seq - 1;
        }
        Whereabouts::Nowhere { last: nowhere }
    }

    /// Bytes that may not go: of the closed segments, and in the newest one, which stays in any case.
    pub(crate) fn needed(&self, through: Seq) -> (u64, u64) {
        let Some(newest) = self.segments.values().next_back() else { return (0, 0) };
        let closed = self.segments.values().take_while(|s| s.number != newest.number);
        let closed = closed.skip_while(|s| s.is_delivered(through)).map(|s| s.bytes).sum();
        (closed, if newest.is_delivered(through) { 0 } else { newest.end })
    }

    /// The segments from the first that may not go on, and the newest in any case.
    pub(crate) fn needed_segments(&self, through: Seq) -> impl Iterator<Item = &Segment> {
        let newest = self.segments.keys().next_back().copied();
        self.segments.values().skip_while(move |s| Some(s.number) != newest && s.is_delivered(through))
    }

    /// Bytes of the segments that would go if room were needed.
    pub(crate) fn freeable_bytes(&self, through: Seq) -> u64 {
        let but_the_newest = self.segments.len().saturating_sub(1);
        self.segments
            .values()
            .take(but_the_newest)
            .take_while(|s| s.is_delivered(through))
            .map(|s| s.bytes)
            .sum()
    }

    /// Stamps what every reader is past.
    pub(crate) fn mark_delivered(&mut self, through: Seq, now_s: u64) -> bool {
        let mut is_changed = false;
        for segment in self.segments.values_mut() {
            if segment.last_seq > through {
                break;
            }
            if segment.delivered_at_s.is_none() && segment.is_delivered(through) {
                segment.delivered_at_s = Some(now_s);
                is_changed = true;
            }
        }
        is_changed
    }

    /// The oldest segment, when it may go: delivered, needed by nobody, and not the newest, whose header holds
    /// the chain, the incarnation and the next number.
    pub(crate) fn freeable(&self, through: Seq) -> Option<&Segment> {
        let oldest = self.segments.values().next()?;
        (self.segments.len() > 1 && oldest.is_delivered(through)).then_some(oldest)
    }

    /// A segment that holds nothing anybody will ask for: chunks of objects that were given up, or nothing at all. It
    /// may go before its turn, where its predecessor says by itself where it ends; the newest may not. Names both.
    pub(crate) fn dead(&self) -> Option<(u64, Option<u64>)> {
        let newest = *self.segments.keys().next_back()?;
        let mut before: Option<&Segment> = None;
        for segment in self.segments.values().filter(|s| s.number != newest) {
            if segment.is_dead() && before.is_none_or(Segment::is_closed_by_itself) {
                return Some((segment.number, before.map(|s| s.number)));
            }
            before = Some(segment);
        }
        None
    }

    /// Takes out a segment that [`Table::dead`] named: no number goes with it.
    pub(crate) fn remove_dead(&mut self, number: u64) -> Option<Segment> {
        self.segments.remove(&number)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Segment> {
        let segment = self.segments.remove(&number)?;
        self.floor = self.floor.max(segment.freed_through());
        Some(segment)
    }

    /// Whether the key of a segment in one of these ranges was destroyed.
    pub(crate) fn has_erased(&self, ranges: impl IntoIterator<Item = (u64, u64)>) -> bool {
        let mut ranges = ranges.into_iter();
        ranges.any(|(from, to)| self.segments.range(from.min(to)..=to).any(|(_, s)| s.is_erased))
    }

    /// The key epoch of the newest segment.
    pub(crate) fn newest_key_epoch(&self) -> Option<u64> {
        self.segments.values().next_back().map(|segment| segment.key_epoch)
    }

    /// The key of an epoch was destroyed. Returns its segments.
    pub(crate) fn erase(&mut self, key_epoch: u64) -> Vec<u64> {
        let of_epoch = self.segments.values_mut().filter(|s| s.key_epoch == key_epoch && !s.is_unreadable);
        of_epoch
            .map(|segment| {
                segment.is_erased = true;
                segment.number
            })
            .collect()
    }
}

/// The file of a segment.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

/// The number in a segment's file name.
pub(crate) fn segment_number(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, first_seq: Seq, last_seq: Seq) -> Segment {
        Segment {
            number,
            first_seq,
            last_seq,
            end: 8192,
            bytes: 8192,
            marks: None,
            needed_through: 0,
            pins: 0,
            is_unreadable: false,
            key_epoch: 0,
            is_erased: false,
            delivered_at_s: None,
        }
    }

    #[test]
    fn every_number_is_somewhere_or_known_to_be_nowhere() {
        let mut table = Table::default();
        for s in [segment(1, 1, 4), segment(2, 5, 4), segment(4, 8, 9), segment(5, 10, 9)] {
            table.insert(s);
        }
        table.last = 11;
        let at = |seq| match table.find(seq) {
            Whereabouts::Segment(s) => (s.number, s.last_seq),
            Whereabouts::Nowhere { last } => (0, last),
        };
        assert_eq!(
            (1..=11).map(at).collect::<Vec<_>>(),
            [(1, 4), (1, 4), (1, 4), (1, 4), (0, 7), (0, 7), (0, 7), (4, 9), (4, 9), (0, 11), (0, 11)]
        );
    }

    #[test]
    fn a_segment_goes_only_when_nobody_needs_it() {
        let mut table = Table::default();
        table.insert(segment(1, 1, 4));
        assert!(table.freeable(9).is_none(), "the newest stays");
        table.insert(segment(2, 5, 9));
        assert!(table.freeable(3).is_none(), "not delivered");
        table.segment_mut(1).unwrap().pins = 1;
        assert!(table.freeable(4).is_none(), "an unfinished record has chunks there");
        table.segment_mut(1).unwrap().pins = 0;
        table.segment_mut(1).unwrap().needed_through = 7;
        assert!(table.freeable(6).is_none(), "record 7 has chunks there");
        assert_eq!(table.freeable(7).unwrap().number, 1);
        table.remove(1);
        assert_eq!(table.oldest(), 8, "record 7 is not whole any more");
    }

    #[test]
    fn names_and_numbers() {
        let path = segment_path(Path::new("/x"), 42);
        assert_eq!(segment_number(path.file_name().unwrap().to_str().unwrap()), Some(42));
        for junk in [
            "spare",
            "1.seg",
            "0000000000000000000x.seg",
            "00000000000000000001.tmp",
            "99999999999999999999.seg",
        ] {
            assert_eq!(segment_number(junk), None, "{junk}");
        }
    }
}
