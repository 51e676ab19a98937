//! What stands in a segment that has no footer: found by walking it, once, when the spool is opened.
//!
//! In a segment that has a successor, the walk only collects marks and references. In one that has none, it
//! also decides where the log ends; the rules stand in [`crate::format`], the reasons here:
//!
//! A log has one batch in flight. If any frame of batch *b* is on the disk, batch *b - 1* was synced before it
//! was begun. So only the last batch can be torn, and what is missing before it is damage. Within the last
//! batch, a record that cannot be read was either never wholly written (nobody was told that it is durable) or
//! has rotted since (somebody may have been). A sector that was not written is still zeros, and ciphertext has
//! no 512 zeros in a row: with such a sector the frame is torn, and it ends the log; without, it is damage,
//! and keeps its number.

use model::Seq;

use crate::cipher::{SegmentCipher, tag_of};
use crate::format::{DATA_START, Kind, RecordBody, Stored, Tag, flags};
use crate::scan::{Place, Scanner, Step, Tail};
use bytes::Bytes;

/// Distance of marks, in bytes.
pub(crate) const MARK_BYTES: u64 = 64 << 10;
/// Least length of a frame: used to bound what an unauthenticated header may claim.
const FRAME_BYTES_MIN: u64 = 84;

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Behind the last frame that counts; nothing is read from here on.
    pub(crate) end: u64,
    pub(crate) last_seq: Seq,
    pub(crate) frames: u64,
    pub(crate) tag: Tag,
    /// Whether that is the tag of the last frame: it can be read.
    pub(crate) is_end_whole: bool,
    pub(crate) marks: Vec<(Seq, u64)>,
    /// Segments from and to, and a record here that needs them.
    pub(crate) refs: Vec<(u64, u64, Seq)>,
    /// The end of a batch was torn and dropped.
    pub(crate) is_torn: bool,
    /// Frames that could not be read and keep their numbers.
    pub(crate) damaged: u64,
    /// What stands behind the end.
    pub(crate) tail: Tail,
}

/// Collects marks, one in [`MARK_BYTES`].
pub(crate) fn push_mark(marks: &mut Vec<(Seq, u64)>, seq: Seq, offset: u64) {
    if marks.last().is_none_or(|(_, at)| offset >= at + MARK_BYTES) {
        marks.push((seq, offset));
    }
}

enum Item {
    /// CRC and tag are right.
    Good {
        place: Place,
        tag: Tag,
        /// Segments that it needs, from and to.
        refs: Vec<(u64, u64)>,
    },
    /// Header is whole, the rest is not, or the tag is wrong.
    Bad {
        place: Place,
        torn: bool,
    },
    Lost {
        torn: bool,
    },
}

struct Walk {
    index: Index,
}

/// Walks a segment without a footer. `is_tail`: it has no successor, so its end is to be found. Without a cipher,
/// checksums are believed and references are not collected.
pub(crate) fn walk(
    scanner: &mut Scanner,
    cipher: Option<&SegmentCipher>,
    first_seq: Seq,
    chain: Tag,
    is_tail: bool,
) -> Index {
    let index = Index {
        end: DATA_START,
        last_seq: first_seq.saturating_sub(1),
        frames: 0,
        tag: chain,
        is_end_whole: true,
        marks: Vec::new(),
        refs: Vec::new(),
        is_torn: false,
        damaged: 0,
        tail: Tail::Clean,
    };
    let mut walk = Walk { index };
    // The items of the newest batch met so far; folded in when a newer one proves it durable.
    let mut pending: Vec<Item> = Vec::new();
    let mut batch = 0;
    let mut next_frame = 0;
    while let Some(step) = scanner.step() {
        let (item, header) = match step {
            Step::Frame(place) => match read(scanner, cipher, &place, is_tail) {
                Some((tag, refs)) => (Item::Good { place, tag, refs }, Some(place.header)),
                None => (Item::Bad { place, torn: false }, Some(place.header)),
            },
            Step::Rotten { place, torn } => (Item::Bad { place, torn }, Some(place.header)),
            Step::Lost { torn, .. } => (Item::Lost { torn }, None),
            Step::Dirt { .. } => continue,
            Step::Tail { tail, .. } => {
                walk.fold_last(pending, is_tail);
                walk.tail(tail, is_tail);
                return walk.index;
            }
        };
        if let Some(header) = header.filter(|h| h.batch > batch) {
            batch = header.batch;
            // A loss right before belongs to the new batch when the older one was met to its last frame.
            let is_of_new = next_frame >= u64::from(header.batch);
            let lost = pending.pop_if(|item| is_of_new && matches!(item, Item::Lost { .. }));
            walk.fold_all(std::mem::take(&mut pending));
            pending.extend(lost);
        }
        next_frame = header.map_or(next_frame, |h| next_frame.max(h.frame + 1));
        pending.push(item);
    }
    walk.fold_last(pending, is_tail);
    walk.index
}

/// Tag and references of a frame; `None` when its tag is wrong. Bodies without references are only opened
/// where it matters.
fn read(
    scanner: &mut Scanner,
    cipher: Option<&SegmentCipher>,
    place: &Place,
    is_tail: bool,
) -> Option<(Tag, Vec<(u64, u64)>)> {
    let has_refs = place.header.kind == Kind::Record && place.header.flags & flags::CHUNKED != 0;
    let body = scanner.body(place);
    let tag = tag_of(&body);
    let Some(cipher) = cipher.filter(|_| is_tail || has_refs) else { return Some((tag, Vec::new())) };
    let plain = cipher.open(&place.header, body)?;
    if !has_refs {
        return Some((tag, Vec::new()));
    }
    match RecordBody::decode(&Bytes::from(plain), place.header.flags)?.stored {
        Stored::Chunked(chunked) => Some((tag, chunked.layout.segments())),
        Stored::Inline(_) => None,
    }
}

impl Walk {
    fn fold_all(&mut self, items: Vec<Item>) {
        for item in items {
            self.fold(item);
        }
    }

    /// The last batch: it ends where it is torn.
    fn fold_last(&mut self, items: Vec<Item>, is_tail: bool) {
        for item in items {
            if is_tail && matches!(item, Item::Bad { torn: true, .. } | Item::Lost { torn: true }) {
                self.index.is_torn = true;
                return;
            }
            self.fold(item);
        }
    }

    fn fold(&mut self, item: Item) {
        self.index.is_end_whole = matches!(item, Item::Good { .. });
        match item {
            Item::Good { place, tag, refs } => {
                let seq = place.header.seq;
                if place.header.kind == Kind::Record {
                    push_mark(&mut self.index.marks, seq, place.offset);
                    self.index.last_seq = self.index.last_seq.max(seq);
                    self.index.refs.extend(refs.into_iter().map(|(from, to)| (from, to, seq)));
                }
                self.index.tag = tag;
                self.passed(&place);
            }
            Item::Bad { place, .. } => {
                self.index.damaged += 1;
                // The header is whole but not authenticated: it may claim no more records than fit in between.
                let room = place.offset.saturating_sub(self.index.end) / FRAME_BYTES_MIN + 1;
                let claimed = place.header.seq.saturating_sub(self.index.last_seq);
                if place.header.kind == Kind::Record && claimed > 0 && claimed <= room {
                    self.index.last_seq = place.header.seq;
                }
                self.passed(&place);
            }
            Item::Lost { .. } => self.index.damaged += 1,
        }
    }

    fn passed(&mut self, place: &Place) {
        self.index.end = place.end();
        self.index.frames = self.index.frames.max(place.header.frame + 1);
    }

    fn tail(&mut self, tail: Tail, is_tail: bool) {
        self.index.tail = tail;
        self.index.is_end_whole &= matches!(tail, Tail::Clean | Tail::Dirt);
        match tail {
            Tail::Clean | Tail::Dirt => {}
            Tail::Torn if is_tail => self.index.is_torn = true,
            // Behind a tear, what looks like a rotten frame belongs to the same torn batch.
            Tail::Rot if is_tail && self.index.is_torn => {}
            Tail::Rot if is_tail => {
                self.index.damaged += 1;
                self.index.last_seq += 1;
            }
            Tail::Torn | Tail::Rot => self.index.damaged += 1,
        }
    }
}
