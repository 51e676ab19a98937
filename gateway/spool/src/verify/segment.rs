//! The walk through one segment: frames, numbers, chain.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use model::Seq;

use super::{FINDINGS_MAX, Fault, Finding, Found, Numbers, Seen, file_name};
use crate::cipher::tag_of;
use crate::format::{
    Chunked, DATA_START, FooterBody, Kind, RecordBody, SegmentHeader, Stored, TRAILER_BYTES, Tag, flags,
};
use crate::index::walk;
use crate::open::footer_at;
use crate::scan::{Place, Scanner, Step, Tail};

/// What a walk gathers.
pub(super) struct Walked {
    log: &'static str,
    number: u64,
    pub(super) found: Found,
    pub(super) records: u64,
    pub(super) last_seq: Seq,
    frames: u64,
    /// Of the frame before, when it was whole.
    tag: Option<Tag>,
    /// Record, offset of its frame, and what it needs.
    pub(super) chunked: Vec<(Seq, u64, Chunked)>,
}

impl Walked {
    /// Walks the segment to its end, or to where a power cut left it.
    pub(super) fn of(
        log: &'static str,
        this: &Seen,
        file: &Arc<File>,
        header: &SegmentHeader,
        next: Option<&SegmentHeader>,
    ) -> Self {
        let mut walked = Self {
            log,
            number: this.number,
            found: Found::default(),
            records: 0,
            last_seq: header.first_seq.saturating_sub(1),
            frames: 0,
            tag: Some(header.previous.tag),
            chunked: Vec::new(),
        };
        let end = next.map_or(this.bytes, |h| h.previous.end);
        let is_sealed = footer_at(file, end).is_some();
        let is_open = next.is_none() && !is_sealed;
        // The trailer is no frame and no padding; it has a checksum of its own. In an open segment, what a power
        // cut tore behind the end is no fault.
        let open_end = is_open.then(|| {
            let mut scanner = Scanner::new(Arc::clone(file), end);
            walk(&mut scanner, this.cipher.as_ref(), header.first_seq, header.previous.tag, true)
        });
        let limit = match &open_end {
            Some(index) => index.end,
            None if is_sealed => end - TRAILER_BYTES as u64,
            None => end,
        };
        let mut scanner = Scanner::new(Arc::clone(file), limit);
        while let Some(step) = scanner.step() {
            match step {
                Step::Frame(place) => {
                    walked.frame(this, &mut scanner, &place);
                }
                Step::Rotten { place, .. } => {
                    let is_next =
                        place.header.kind == Kind::Record && place.header.seq == walked.last_seq + 1;
                    if is_next {
                        walked.last_seq = place.header.seq;
                        let records = Numbers { first: place.header.seq, last: place.header.seq };
                        let is_cut = place.end() > this.bytes;
                        let (fault, what) = if is_cut {
                            (Fault::Truncation, "is cut off")
                        } else {
                            (Fault::Rot, "has rotted")
                        };
                        walked.cost(place.offset, fault, records, format!("{records} {what}"));
                    } else {
                        walked.note(place.offset, Fault::Rot, "a frame has rotted".to_owned());
                    }
                    walked.frames = place.header.frame + 1;
                    walked.tag = None;
                }
                Step::Lost { from, .. } => {
                    walked.note(from, Fault::Rot, "frames cannot be found".to_owned());
                    walked.tag = None;
                }
                Step::Dirt { from, .. } => {
                    walked.note(from, Fault::Rot, "padding is not zero".to_owned());
                }
                Step::Tail { from, tail } => walked.tail(from, tail),
            }
        }
        if let Some(index) = open_end {
            let tail = if index.tail == Tail::Torn || index.is_torn { Tail::Clean } else { index.tail };
            walked.tail(index.end, tail);
            walked.last_seq = walked.last_seq.max(index.last_seq);
        }
        walked.check_end(this, header, next, is_open);
        walked
    }

    fn frame(&mut self, this: &Seen, scanner: &mut Scanner, place: &Place) {
        let header = &place.header;
        let body = scanner.body(place);
        let tag = tag_of(&body);
        if header.frame != self.frames && self.tag.is_some() {
            let detail = format!("frame {} stands where frame {} should", header.frame, self.frames);
            self.note(place.offset, Fault::Tampering, detail);
        } else if self.tag.is_some_and(|before| before != header.previous_tag) {
            self.note(place.offset, Fault::Tampering, "the chain is broken here".to_owned());
        }
        self.frames = header.frame + 1;
        self.tag = Some(tag);
        let plain = match &this.cipher {
            None => None,
            Some(cipher) => {
                let plain = cipher.open(header, body);
                if plain.is_none() {
                    // The number is not authentic either; what is missing shows at the next frame that is.
                    self.note(place.offset, Fault::Tampering, "a frame was changed".to_owned());
                    return;
                }
                plain
            }
        };
        if header.kind == Kind::Footer {
            let is_odd = plain
                .as_ref()
                .is_some_and(|p| FooterBody::decode(p).is_none_or(|f| f.last_seq != self.last_seq));
            if is_odd {
                self.note(place.offset, Fault::Tampering, "the footer tells another story".to_owned());
            }
        }
        if header.kind != Kind::Record {
            return;
        }
        if header.seq > self.last_seq + 1 {
            let records = Numbers { first: self.last_seq + 1, last: header.seq - 1 };
            self.cost(place.offset, Fault::Missing, records, format!("{records} cannot be read"));
        } else if header.seq <= self.last_seq {
            let detail = format!("record {} stands behind record {}", header.seq, self.last_seq);
            self.note(place.offset, Fault::Tampering, detail);
        }
        self.last_seq = self.last_seq.max(header.seq);
        self.records += 1;
        if header.flags & flags::CHUNKED != 0
            && let Some(plain) = plain
            && let Some(RecordBody { stored: Stored::Chunked(chunked), .. }) =
                RecordBody::decode(&Bytes::from(plain), header.flags)
        {
            self.chunked.push((header.seq, place.offset, chunked));
        }
    }

    fn tail(&mut self, from: u64, tail: Tail) {
        match tail {
            Tail::Clean => {}
            Tail::Dirt => self.note(from, Fault::Rot, "zeros are not zero".to_owned()),
            Tail::Torn | Tail::Rot => {
                self.note(from, Fault::Rot, "a frame has rotted".to_owned());
                self.tag = None;
            }
        }
    }

    fn check_end(
        &mut self,
        this: &Seen,
        header: &SegmentHeader,
        next: Option<&SegmentHeader>,
        is_open: bool,
    ) {
        if is_open && this.bytes < u64::from(header.segment_bytes) {
            let detail = "the file is shorter than it was made, and was not closed".to_owned();
            self.note(this.bytes, Fault::Truncation, detail);
        }
        let Some(next) = next else { return };
        let previous = &next.previous;
        if this.bytes < previous.end {
            self.note(this.bytes, Fault::Truncation, "the end of the file is missing".to_owned());
        }
        if self.last_seq + 1 < next.first_seq {
            let records = Numbers { first: self.last_seq + 1, last: next.first_seq - 1 };
            self.cost(previous.end, Fault::Missing, records, format!("{records} cannot be read"));
        }
        let is_bound = previous.end == DATA_START
            || self.tag.is_none_or(|tag| tag == previous.tag && self.frames == previous.frames);
        if !is_bound {
            let detail = "the chain to the next segment is broken".to_owned();
            self.note(previous.end, Fault::Tampering, detail);
        }
        self.last_seq = next.first_seq.saturating_sub(1);
    }

    fn note(&mut self, offset: u64, fault: Fault, detail: String) {
        self.push(offset, fault, None, detail);
    }

    /// A finding that costs these records.
    fn cost(&mut self, offset: u64, fault: Fault, records: Numbers, detail: String) {
        self.push(offset, fault, Some(records), detail);
    }

    fn push(&mut self, offset: u64, fault: Fault, records: Option<Numbers>, detail: String) {
        self.found.count += 1;
        if self.found.list.len() < FINDINGS_MAX {
            let file = file_name(self.number);
            self.found.list.push(Finding { log: self.log, file, offset, fault, records, detail });
        }
    }
}
