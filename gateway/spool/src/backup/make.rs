//! Making a backup, beside everything else that goes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use model::{Seq, Timestamp};
use serde_bytes::ByteBuf;

use super::stream::{Head, Sealer};
use super::{DOCUMENTS_BYTES_MAX, ITEM_BYTES_MAX, Item, LogPart, Manifest, Plan, STATE_ITEM_BYTES, Summary};
use crate::format::PAGE_BYTES;
use crate::identity::Identity;
use crate::inner::Inner;
use crate::spool::gateway_hash;
use crate::table::{Segment, segment_path};
use crate::{Error, RootKey, Spool, keys};

/// Read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// A segment to be copied.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    number: u64,
    /// Up to here it is durable.
    end: u64,
    file_bytes: u64,
}

impl Wanted {
    fn of(segment: &Segment) -> Self {
        Self {
            number: segment.number,
            end: if segment.is_unreadable { segment.bytes } else { segment.end.min(segment.bytes) },
            file_bytes: segment.bytes,
        }
    }
}

impl Spool {
    /// Writes a backup, while records come in and go out. Blocks, for as long as the disk and `out` take.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where the documents are; [`Error::Io`]; [`Error::State`]. Then what was written is no backup.
    pub fn backup(&self, plan: &Plan, now: Timestamp, out: &mut dyn Write) -> Result<Summary, Error> {
        let bytes = plan.documents.iter().map(|d| d.content.len() as u64).fold(0, u64::saturating_add);
        if bytes > DOCUMENTS_BYTES_MAX {
            return Err(Error::TooLarge { what: "documents", bytes, bytes_max: DOCUMENTS_BYTES_MAX });
        }
        // A backup opens with the root key that is in force at its beginning.
        let (root, ring) = self.epochs.root_and_ring();
        let head = Head {
            key_id: root.key_id(),
            gateway: gateway_hash(&plan.gateway),
            id: keys::random()?,
            made_at: now,
            ring: ring.id,
            base: *ring.wrapped_base(),
        };
        let manifest = Manifest {
            gateway: plan.gateway.clone(),
            version: plan.version.clone(),
            made_at: now,
            with_backlog: plan.with_backlog,
        };
        let sealer = Sealer::begin(out, &head, self.keys())?;
        let summary = Summary {
            id: hex::encode(head.id),
            manifest: manifest.clone(),
            documents: plan.documents.iter().map(|d| d.path.clone()).collect(),
            state_keys: 0,
            logs: Vec::new(),
            unreadable_bytes: 0,
        };
        let mut making = Making { sealer, summary, items: 0, piece: Vec::new() };
        making.item(&Item::Manifest(manifest))?;
        for document in &plan.documents {
            making.item(&Item::Document {
                path: document.path.clone(),
                mode: document.mode,
                is_configuration: document.is_configuration,
                bytes: document.content.len() as u64,
            })?;
            making.sealer.put(&document.content)?;
        }
        // What everybody has by now is in every cursor that is read later.
        let through = self.logs().each_ref().map(|log| log.0.freeing().through);
        making.state(self)?;
        let [urgent, clinical, bulk, held, journal] = self.logs();
        let [through_urgent, through_clinical, through_bulk, ..] = through;
        // Seen at once, in this order; copied one after the other.
        let lane = |through| plan.with_backlog.then_some(through);
        let seen = [
            (held, Some(0)),
            (urgent, lane(through_urgent)),
            (clinical, lane(through_clinical)),
            (bulk, lane(through_bulk)),
        ]
        .map(|(log, through)| (log, Seen::of(&log.0, through)));
        making.ring(self, &root)?;
        making.journal(&journal.0)?;
        for (log, seen) in seen {
            making.log(&log.0, &seen)?;
        }
        making.finish()
    }
}

/// A log as it was when it was looked at.
#[derive(Debug)]
struct Seen {
    wanted: Vec<Wanted>,
    incarnation: [u8; 16],
    epoch: u64,
    /// What is left out goes up to here: the chunks of a record may lie before the segment that it stands in.
    floor: Seq,
    last: Seq,
}

impl Seen {
    /// Everything that is needed by who is not past `through`; nothing without it.
    fn of(log: &Inner, through: Option<Seq>) -> Self {
        let identity = *log.identity();
        let table = log.table();
        let wanted: Vec<Wanted> = through
            .map(|through| table.needed_segments(through).map(Wanted::of).collect())
            .unwrap_or_default();
        let left_out =
            table.iter().take_while(|s| wanted.first().is_some_and(|first| s.number < first.number));
        let floor = left_out.map(Segment::freed_through).fold(table.floor, Seq::max);
        Self { wanted, incarnation: identity.incarnation, epoch: identity.epoch, floor, last: table.last }
    }
}

/// What is said of a log behind its segments.
#[derive(Debug, Clone, Copy)]
struct Ended {
    incarnation: [u8; 16],
    floor: Seq,
    newest: u64,
    last: Seq,
}

fn begun(log: &Inner, epoch: u64) -> LogPart {
    LogPart { name: log.name.to_owned(), epoch, last: 0, segments: 0, bytes: 0 }
}

struct Making<'o> {
    sealer: Sealer<&'o mut dyn Write>,
    summary: Summary,
    items: u64,
    piece: Vec<u8>,
}

impl Making<'_> {
    fn item(&mut self, item: &Item) -> Result<(), Error> {
        const NOT_ENCODED: Error = Error::Internal("an item of a backup cannot be encoded");
        let bytes = model::codec::encode(item).map_err(|_| NOT_ENCODED)?;
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= ITEM_BYTES_MAX).ok_or(NOT_ENCODED)?;
        self.items += 1;
        self.sealer.put(&len.to_le_bytes())?;
        self.sealer.put(&bytes)
    }

    fn state(&mut self, spool: &Spool) -> Result<(), Error> {
        let mut pairs = Vec::new();
        let mut bytes = 0;
        spool.state().every_pair(|key, value| {
            bytes += key.len() + value.len();
            pairs.push((ByteBuf::from(key), ByteBuf::from(value)));
            self.summary.state_keys += 1;
            if bytes >= STATE_ITEM_BYTES {
                self.item(&Item::State { pairs: std::mem::take(&mut pairs) })?;
                bytes = 0;
            }
            Ok(())
        })?;
        if pairs.is_empty() { Ok(()) } else { self.item(&Item::State { pairs }) }
    }

    /// The ring as it is now, wrapped under the root key that the backup opens with.
    fn ring(&mut self, spool: &Spool, root: &RootKey) -> Result<(), Error> {
        let (now, mut ring) = spool.epochs.root_and_ring();
        if now.key_id() != root.key_id() {
            ring = ring.rewrapped(&now, root)?;
        }
        let bytes = ring.encode(root);
        self.item(&Item::Ring { bytes: bytes.len() as u64 })?;
        self.sealer.put(&bytes)
    }

    /// A lane or the held log, as it was seen.
    fn log(&mut self, log: &Inner, seen: &Seen) -> Result<(), Error> {
        let mut part = begun(log, seen.epoch);
        let mut newest = 0;
        for wanted in &seen.wanted {
            // Freed meanwhile: everybody has it.
            if self.segment(log, wanted, &mut part)? {
                newest = wanted.number;
            }
        }
        // What was freed up to now is missed by nobody. Where no segment is in the backup, what is not delivered is
        // reported as missing to who asks for it.
        let floor = if seen.wanted.is_empty() { log.freeing().through } else { log.table().floor };
        let floor = floor.max(seen.floor).min(seen.last);
        self.ended(Ended { incarnation: seen.incarnation, floor, newest, last: seen.last }, part)
    }

    /// The journal, which may let its oldest part go at any time once its state was said again at its end
    /// (docs/adr/0020). So it is walked to the end that it has then: what goes before it was copied is said again in what
    /// is still to come, and what was copied counts as long as it was there when the last segment was looked at.
    fn journal(&mut self, log: &Inner) -> Result<(), Error> {
        let Identity { incarnation, epoch, .. } = *log.identity();
        let mut part = begun(log, epoch);
        let mut newest = 0;
        let (mut floor, mut last) = (0, 0);
        loop {
            let (next, is_last) = {
                let table = log.table();
                let Some(next) = table.iter().find(|s| s.number > newest) else { break };
                let is_last = table.iter().next_back().is_some_and(|s| s.number == next.number);
                (floor, last) = (table.floor, table.last);
                (Wanted::of(next), is_last)
            };
            newest = next.number;
            if !self.segment(log, &next, &mut part)? && is_last {
                return Err(Error::Internal("the newest segment of the journal was freed"));
            }
            if is_last {
                break;
            }
        }
        self.ended(Ended { incarnation, floor: floor.min(last), newest, last }, part)
    }

    /// One segment. Says whether it was still there.
    fn segment(&mut self, log: &Inner, wanted: &Wanted, part: &mut LogPart) -> Result<bool, Error> {
        let path = segment_path(&log.dir, wanted.number);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && log.table().segment(wanted.number).is_none() => {
                return Ok(false);
            }
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        self.item(&Item::Segment {
            log: log.name.to_owned(),
            number: wanted.number,
            bytes: wanted.end,
            file_bytes: wanted.file_bytes,
        })?;
        self.copy(&file, wanted.end)?;
        part.segments += 1;
        part.bytes += wanted.end;
        Ok(true)
    }

    fn ended(&mut self, ended: Ended, part: LogPart) -> Result<(), Error> {
        self.item(&Item::Log {
            name: part.name.clone(),
            incarnation: ByteBuf::from(ended.incarnation),
            epoch: part.epoch,
            floor: ended.floor,
            head_segment: ended.newest,
            head_seq: ended.last,
        })?;
        self.summary.logs.push(LogPart { last: ended.last, ..part });
        Ok(())
    }

    fn copy(&mut self, file: &File, bytes: u64) -> Result<(), Error> {
        let mut piece = std::mem::take(&mut self.piece);
        let mut at = 0;
        while at < bytes {
            let len = (bytes - at).min(PIECE_BYTES);
            piece.clear();
            piece.resize(len as usize, 0);
            if file.read_exact_at(&mut piece, at).is_err() {
                self.summary.unreadable_bytes += page_by_page(file, &mut piece, at);
            }
            self.sealer.put(&piece)?;
            at += len;
        }
        self.piece = piece;
        Ok(())
    }

    fn finish(mut self) -> Result<Summary, Error> {
        let items = self.items;
        let unreadable_bytes = self.summary.unreadable_bytes;
        self.item(&Item::End { items, unreadable_bytes })?;
        self.sealer.finish()?;
        Ok(self.summary)
    }
}

/// A disk that is dying gives what it can: pages that cannot be read are zeros, which the log will report as damaged.
/// Returns how many bytes that were.
fn page_by_page(file: &File, piece: &mut [u8], at: u64) -> u64 {
    let mut lost = 0;
    for (n, page) in piece.chunks_mut(PAGE_BYTES as usize).enumerate() {
        if let Err(error) = file.read_exact_at(page, at + n as u64 * PAGE_BYTES) {
            tracing::error!(offset = at + n as u64 * PAGE_BYTES, %error, "a page cannot be read for the backup");
            page.fill(0);
            lost += page.len() as u64;
        }
    }
    lost
}
