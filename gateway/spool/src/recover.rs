//! What a log's directory holds, found without changing anything.
//!
//! Promise: headers and footers are read, segments are not, but for those that were not closed in order; 100 GiB
//! of backlog take well under a second. Another root key or another gateway is found here, before a byte is
//! written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use model::Seq;
use rustix::fs::{Advice, fadvise};

use crate::Error;
use crate::cipher::LogKeys;
use crate::disk::Disk;
use crate::format::{Previous, SegmentHeader};
use crate::identity::{FILE_NAME, Identity, Lost};
use crate::index::{Index, walk};
use crate::open::{Opened, Opening, footer_at, open_segment};
use crate::scan::{Scanner, Tail};
use crate::table::{Segment, Table, segment_number, segment_path};

/// A log as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) table: Table,
    /// What the next segment's header says of its predecessor.
    pub(crate) chain: Previous,
    pub(crate) next_segment: u64,
    /// `None` for a log that never was.
    pub(crate) identity: Option<Identity>,
    /// The tail is gone, and nobody knows how much: the log needs a new incarnation.
    pub(crate) is_tail_lost: bool,
    /// `log.id` has to be written again.
    pub(crate) is_identity_stale: bool,
    pub(crate) is_torn: bool,
    pub(crate) damaged: u64,
}

/// Who the log must belong to.
#[derive(Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) keys: &'a LogKeys,
    pub(crate) gateway: [u8; 32],
    pub(crate) log: [u8; 16],
}

/// A file by its header. The file itself is not kept open: there may be more of them than descriptors.
struct Found {
    number: u64,
    bytes: u64,
    header: Option<SegmentHeader>,
    is_erased: bool,
}

/// Looks through a log's directory; a missing one is an empty log.
pub(crate) fn recover(dir: &Path, owner: &Owner<'_>, disk: &dyn Disk) -> Result<Recovered, Error> {
    let identity = load_identity(dir, owner)?;
    let mut found = list(dir)?
        .into_iter()
        .map(|(number, bytes)| look(dir, owner, number, bytes, identity.is_ok()))
        .collect::<Result<Vec<_>, _>>()?;
    let known = identity.as_ref().ok();
    disown(&mut found, known.map(|i| i.incarnation));
    let mut recovered = Recovered {
        table: Table::default(),
        chain: Previous::default(),
        next_segment: 1 + found.last().map_or(0, |f| f.number).max(known.map_or(0, |i| i.head_segment)),
        identity: None,
        is_tail_lost: false,
        is_identity_stale: identity.is_err(),
        is_torn: false,
        damaged: 0,
    };
    recovered.take_in(dir, &found, owner.keys, disk)?;
    recovered.settle(&found, identity.ok(), owner);
    Ok(recovered)
}

fn load_identity(dir: &Path, owner: &Owner<'_>) -> Result<Result<Identity, Lost>, Error> {
    let path = dir.join(FILE_NAME);
    let identity = Identity::load(dir, Some(owner.keys))?;
    match &identity {
        Err(Lost::Version(version)) => return Err(Error::Version { path, version: *version }),
        Err(Lost::Missing) => {}
        Err(lost) => {
            tracing::error!(file = %path.display(), ?lost, "the log's identity is read from its segments")
        }
        Ok(identity) if identity.key_id != owner.keys.key_id() => return Err(Error::WrongKey { path }),
        Ok(identity) if identity.gateway != owner.gateway => return Err(Error::OtherGateway { path }),
        Ok(identity) if identity.log != owner.log => {
            return Err(Error::Internal("log.id of another log; was a directory copied?"));
        }
        Ok(_) => {}
    }
    Ok(identity)
}

/// Segments in a directory, by number, with the size of each.
pub(crate) fn list(dir: &Path) -> Result<BTreeMap<u64, u64>, Error> {
    let failed = |e| Error::io("list", dir, e);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut numbers = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Some(number) = entry.file_name().to_str().and_then(segment_number) else { continue };
        match entry.metadata() {
            Ok(about) => numbers.insert(number, about.len()),
            // Freed meanwhile, where a running spool is looked at.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed(e)),
        };
    }
    Ok(numbers)
}

/// `is_ours`: the log's identity says that the log belongs to the ring; then a file of another ring is a stray one, and
/// otherwise the ring is the wrong one.
fn look(dir: &Path, owner: &Owner<'_>, number: u64, bytes: u64, is_ours: bool) -> Result<Found, Error> {
    let path = segment_path(dir, number);
    let opening = open_segment(&path, owner.keys)?;
    if matches!(opening, Opening::Foreign) && !is_ours {
        return Err(Error::WrongKey { path });
    }
    let is_erased = matches!(opening, Opening::Erased(_));
    let header = opening.header();
    if header.as_ref().is_some_and(|h| h.gateway != owner.gateway) {
        return Err(Error::OtherGateway { path });
    }
    let header = header.filter(|h| h.segment == number && h.log == owner.log);
    if header.is_none() {
        tracing::error!(file = %path.display(), "a segment's header cannot be read; its records are damaged");
    }
    Ok(Found { number, bytes, header, is_erased })
}

/// An incarnation that was left never returns. So a segment of one between, or behind, segments of another was brought
/// here from another disk under the same root key: it is no part of this log, whatever its number.
fn disown(found: &mut [Found], newest: Option<[u8; 16]>) {
    let incarnations: Vec<_> = found.iter().map(|f| f.header.as_ref().map(|h| h.incarnation)).collect();
    for (i, this) in found.iter_mut().enumerate() {
        let Some(own) = this.header.as_ref().map(|h| h.incarnation) else { continue };
        let (before, behind) = incarnations.split_at_checked(i).unwrap_or_default();
        let returns = |other: &&[u8; 16]| {
            **other != own && (newest == Some(**other) || behind.contains(&Some(**other)))
        };
        if newest != Some(own) && before.iter().flatten().any(|other| returns(&other)) {
            tracing::error!(
                segment = this.number,
                "a segment is of another incarnation; its records are damaged"
            );
            this.header = None;
        }
    }
}

impl Recovered {
    fn take_in(&mut self, dir: &Path, found: &[Found], keys: &LogKeys, disk: &dyn Disk) -> Result<(), Error> {
        for (i, this) in found.iter().enumerate() {
            let later = found.get(i + 1..).unwrap_or_default();
            let next_first = later.iter().find_map(|f| f.header.as_ref()).map(|h| h.first_seq);
            if let Some(erased) = this.erased(later) {
                self.table.insert(erased);
                continue;
            }
            let opened = match this.header {
                Some(_) => open_segment(&segment_path(dir, this.number), keys)?,
                None => Opening::Unreadable,
            };
            let Opening::Open(opened) = &opened else {
                self.unreadable(this, next_first);
                continue;
            };
            let header = &opened.header;
            let closed_by =
                later.iter().filter_map(|f| f.header.as_ref()).find(|h| h.previous.segment == header.segment);
            let (segment, index) = match closed_by {
                Some(next) => closed(this, opened, next),
                None => last(this, opened, dir, next_first, disk)?,
            };
            // The first that is of another incarnation than the next: is it the one that the next was begun after?
            let is_foreign =
                closed_by.filter(|next| next.incarnation != header.incarnation).is_some_and(|next| {
                    index.as_ref().is_some_and(|index| index.is_end_whole && index.tag != next.previous.tag)
                });
            if is_foreign {
                tracing::error!(segment = this.number, "a segment is not what its successor was begun after");
                self.unreadable(this, next_first);
                continue;
            }
            self.table.insert(segment);
            if let Some(index) = index {
                self.is_torn |= index.is_torn;
                self.damaged += index.damaged;
                // A record's chunks lie in its own segment and in older ones.
                for (from, to, seq) in index.refs {
                    for segment in self.table.range_mut(from, to) {
                        segment.needed_through = segment.needed_through.max(seq);
                    }
                }
                self.chain = Previous {
                    segment: header.segment,
                    end: index.end,
                    frames: index.frames,
                    tag: index.tag,
                };
            }
        }
        Ok(())
    }

    /// Whether everything that the log should hold is there: nothing is missing, damaged or unknown.
    pub(crate) fn is_complete(&self) -> bool {
        let is_tiled = self.table.iter().try_fold(self.table.floor + 1, |next, segment| {
            (segment.first_seq <= next).then_some(next.max(segment.last_seq + 1))
        });
        !self.is_tail_lost
            && !self.is_identity_stale
            && self.damaged == 0
            && is_tiled.is_some_and(|next| next > self.table.last)
    }

    /// Its numbers are known from its neighbours alone.
    fn unreadable(&mut self, this: &Found, next_first: Option<Seq>) {
        let first_seq = self.table.last + 1;
        // Without a successor its length is unknown; `settle` looks at the head.
        let last_seq = next_first.map_or(first_seq - 1, |first| first.saturating_sub(1));
        self.damaged += 1;
        self.table.insert(Segment { is_unreadable: true, ..plain(this, first_seq, last_seq, 0) });
    }

    /// Compares what was found with what `log.id` knows.
    fn settle(&mut self, found: &[Found], identity: Option<Identity>, owner: &Owner<'_>) {
        let newest = found.iter().rev().find_map(|f| f.header.as_ref());
        let first = self.table.iter().next().map(|s| s.first_seq);
        let Some(mut identity) = identity.or_else(|| {
            newest.map(|header| Identity {
                key_id: owner.keys.key_id(),
                gateway: owner.gateway,
                log: owner.log,
                incarnation: header.incarnation,
                epoch: header.epoch,
                floor: first.map_or(0, |first| first - 1),
                head_segment: header.segment,
                head_seq: self.table.last,
            })
        }) else {
            return;
        };
        let newest_number = found.last().map_or(0, |f| f.number);
        let is_newest_unreadable = found.last().is_some_and(|f| f.header.is_none());
        // A segment that was begun is gone, or its header is, and it was not the last one of an orderly stop.
        self.is_tail_lost = identity.head_segment > newest_number
            || (is_newest_unreadable
                && !(identity.head_segment == newest_number && identity.head_seq > self.table.last));
        if identity.head_seq > self.table.last {
            tracing::error!(
                known = identity.head_seq,
                found = self.table.last,
                "records at the end of the log are missing"
            );
            self.damaged += 1;
            self.table.last = identity.head_seq;
            if let Some(segment) = self.table.segment_mut(newest_number).filter(|s| s.is_unreadable) {
                segment.last_seq = identity.head_seq;
            }
        }
        // Freed segments whose floor was not written yet leave the floor behind; missing ones do not.
        self.table.floor = identity.floor.min(self.table.last);
        identity.head_seq = self.table.last;
        self.identity = Some(identity);
    }
}

impl Found {
    /// A segment whose key was destroyed: its successors say what it held. It has some: nobody erases the newest.
    fn erased(&self, later: &[Self]) -> Option<Segment> {
        let header = self.header.as_ref().filter(|_| self.is_erased)?;
        let next = later.iter().find_map(|found| found.header.as_ref())?;
        let end = if next.previous.segment == self.number { next.previous.end } else { self.bytes };
        let last_seq = next.first_seq.saturating_sub(1);
        Some(Segment { is_erased: true, ..plain(self, header.first_seq, last_seq, end) })
    }
}

fn plain(this: &Found, first_seq: Seq, last_seq: Seq, end: u64) -> Segment {
    Segment {
        number: this.number,
        first_seq,
        last_seq,
        end,
        bytes: this.bytes,
        marks: None,
        needed_through: 0,
        pins: 0,
        is_unreadable: false,
        key_epoch: this.header.as_ref().map_or(0, |header| header.key_epoch),
        is_erased: false,
        delivered_at_s: None,
    }
}

/// A segment that a successor closed.
fn closed(this: &Found, opened: &Opened, next: &SegmentHeader) -> (Segment, Option<Index>) {
    let header = &opened.header;
    let segment = plain(this, header.first_seq, next.first_seq.saturating_sub(1), next.previous.end);
    if let Some((_, footer, tag)) = opened.footer(next.previous.end) {
        let index = Index {
            end: next.previous.end,
            last_seq: footer.last_seq,
            frames: next.previous.frames,
            tag,
            is_end_whole: true,
            marks: Vec::new(),
            refs: footer.refs.into_iter().map(|(number, seq)| (number, number, seq)).collect(),
            is_torn: false,
            damaged: 0,
            tail: Tail::Clean,
        };
        return (segment, Some(index));
    }
    let mut scanner = Scanner::new(Arc::clone(&opened.file), next.previous.end);
    let mut index = walk(&mut scanner, Some(&opened.cipher), header.first_seq, header.previous.tag, false);
    index.end = next.previous.end;
    (Segment { marks: Some(std::mem::take(&mut index.marks)), ..segment }, Some(index))
}

/// A segment without a successor: closed in order, or cut off.
fn last(
    this: &Found,
    opened: &Opened,
    dir: &Path,
    next_first: Option<Seq>,
    disk: &dyn Disk,
) -> Result<(Segment, Option<Index>), Error> {
    let header = &opened.header;
    let cap = next_first.map_or(Seq::MAX, |first| first.saturating_sub(1));
    if let Some((frame, footer, tag)) = opened.footer(this.bytes) {
        let index = Index {
            end: this.bytes,
            last_seq: footer.last_seq.min(cap),
            frames: frame.frame + 1,
            tag,
            is_end_whole: true,
            marks: Vec::new(),
            refs: footer.refs.into_iter().map(|(number, seq)| (number, number, seq)).collect(),
            is_torn: false,
            damaged: 0,
            tail: Tail::Clean,
        };
        return Ok((plain(this, header.first_seq, index.last_seq, index.end), Some(index)));
    }
    // What a killed process wrote is in the page cache only: sync it before it counts as durable. What a failed
    // flush left there may be nowhere else: drop it and read what the disk has.
    let path = segment_path(dir, this.number);
    let writable = fs::OpenOptions::new().write(true).open(&path).map_err(|e| Error::io("open", &path, e))?;
    disk.sync_data(&writable).map_err(|e| Error::io("sync", &path, e))?;
    if let Err(error) = fadvise(&*opened.file, 0, None, Advice::DontNeed) {
        tracing::debug!(%error, "the page cache of a segment could not be dropped");
    }
    // A footer that has rotted is no record.
    let limit = footer_at(&opened.file, this.bytes).unwrap_or(this.bytes);
    let mut scanner = Scanner::new(Arc::clone(&opened.file), limit);
    let mut index = walk(&mut scanner, Some(&opened.cipher), header.first_seq, header.previous.tag, true);
    index.last_seq = index.last_seq.min(cap);
    let mut segment = plain(this, header.first_seq, index.last_seq, index.end);
    segment.marks = Some(std::mem::take(&mut index.marks));
    Ok((segment, Some(index)))
}
