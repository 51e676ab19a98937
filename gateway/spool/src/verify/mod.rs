//! `wardgate spool stat|verify`: looks at a spool, running or stopped, and changes nothing.
//!
//! Without the key, checksums, numbering and the chain of tags (which stand in the clear) are checked: that
//! finds rot, loss and clumsy hands. With the key, every header's MAC and every frame's tag is checked too: that
//! finds tampering. Neither reads what a power cut tore at the very end as a fault. What cannot be seen from
//! inside is the rollback of everything to an older copy; the landing's watermarks show that.

mod segment;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Seq;
use serde::Serialize;

use self::segment::Walked;
use crate::cipher::{Locked, LogKeys, SegmentCipher};
use crate::epochs::Epochs;
use crate::format::{
    BODY_BYTES_MAX, ChunkRef, Chunked, FRAME_HEADER_BYTES, FrameHeader, HeaderFault, Kind, Layout,
    SegmentHeader, TableBody,
};
use crate::identity::{FILE_NAME, Identity, Lost};
use crate::keys::ring::{COPIES, Copy, KEYS_DIR, Ring};
use crate::open::{Copies, footer_at, frame_at};
use crate::recover::list;
use crate::spool::{LOG_NAMES, log_dir};
use crate::table::segment_path;
use crate::{Error, RootKey};

/// Most findings that are listed; [`VerifyReport::faults`] counts all.
pub const FINDINGS_MAX: usize = 1000;
/// The open segment of a running spool is looked at again before something in it is a finding.
const LOOKS: u32 = 4;
/// Segments kept open while the chunks of a record are looked for.
const OPEN_FILES_MAX: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What kind of fault. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A checksum is wrong: the medium or the memory changed bits.
    Rot,
    /// Checksums are right and a MAC, a tag or the chain is wrong: somebody changed it.
    Tampering,
    /// A file ends before its end: it was cut, or what was written last never reached the disk.
    Truncation,
    /// Records are not there: a file is gone, or frames are.
    Missing,
}

/// Records that a finding costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// The first.
    pub first: Seq,
    /// The last, inclusive.
    pub last: Seq,
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "record {}", self.first)
        } else {
            write!(f, "records {} to {}", self.first, self.last)
        }
    }
}

/// One fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The log.
    pub log: &'static str,
    /// The file's name.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What kind.
    pub fault: Fault,
    /// Which records it costs, where that is known; none where a copy or padding was hit.
    pub records: Option<Numbers>,
    /// One sentence for a person. No content.
    pub detail: String,
}

/// One log in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Its name.
    pub name: &'static str,
    /// 32 hex digits; empty when unknown.
    pub incarnation: String,
    /// Its epoch; 0 when unknown.
    pub epoch: u64,
    /// Segment files.
    pub segments: u64,
    /// Segment files whose key was destroyed; known with the root key only. In them, checksums and chain are checked.
    pub erased: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Whole records found; 0 where only figures were asked for.
    pub records: u64,
    /// Oldest number retained; `last + 1` when there is none.
    pub first: Seq,
    /// Last number found.
    pub last: Seq,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Whether tags and MACs were checked.
    pub with_key: bool,
    /// The logs that exist.
    pub logs: Vec<LogReport>,
    /// All faults, also those beyond [`FINDINGS_MAX`].
    pub faults: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Nothing is wrong.
    pub const fn is_sound(&self) -> bool {
        self.faults == 0
    }
}

/// What [`stat`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpoolStat {
    /// The logs that exist.
    pub logs: Vec<LogReport>,
}

/// Reads everything and checks it; with the root key, also against tampering. Blocks; reads at the speed of the disk.
///
/// # Errors
/// [`Error::WrongKey`] when the spool was written under another key; [`Error::Version`]; [`Error::Io`].
pub fn verify(dir: &Path, root: Option<&RootKey>) -> Result<VerifyReport, Error> {
    examine(dir, root, LOOKS)
}

pub(crate) fn examine(dir: &Path, root: Option<&RootKey>, looks: u32) -> Result<VerifyReport, Error> {
    let mut report =
        VerifyReport { with_key: root.is_some(), logs: Vec::new(), faults: 0, findings: Vec::new() };
    let names = existing(dir)?;
    let lost = || Error::RingLost { path: dir.join(KEYS_DIR) };
    let epochs = root.map(|root| Epochs::read(dir, root)?.ok_or_else(lost)).transpose()?.map(Arc::new);
    check_ring(dir, root, looks, &mut report)?;
    for name in names {
        let keys = epochs.as_ref().map(|epochs| LogKeys::of(epochs, name));
        let dir = log_dir(dir, name);
        let mut check = Check { looks, ..Check::new(name, &dir, keys.as_ref()) };
        let log = check.run()?;
        report.logs.push(log);
        report.faults += check.found.count;
        let room = FINDINGS_MAX.saturating_sub(report.findings.len());
        report.findings.extend(check.found.list.into_iter().take(room));
    }
    Ok(report)
}

/// The two copies of the ring. One that stands behind is none of the faults: a crash leaves it so.
fn check_ring(
    dir: &Path,
    root: Option<&RootKey>,
    looks: u32,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let mut copies = Ring::read(dir, root)?;
    for _ in 1..looks {
        if copies.iter().all(|copy| matches!(copy, Copy::Whole(_))) {
            break;
        }
        // A running gateway may be writing it.
        std::thread::sleep(LOOK_AGAIN);
        copies = Ring::read(dir, root)?;
    }
    for (copy, file) in copies.iter().zip(COPIES) {
        let (fault, detail) = match copy {
            Copy::Whole(_) | Copy::OtherRoot { .. } | Copy::Version(_) => continue,
            Copy::Missing => (Fault::Missing, "a copy of the ring of keys is missing"),
            Copy::Rot => {
                (Fault::Rot, "a copy of the ring of keys has rotted or is torn; the next start mends it")
            }
            Copy::Tampered => (Fault::Tampering, "a copy of the ring of keys was changed"),
        };
        report.faults += 1;
        let (file, detail) = (file.to_owned(), detail.to_owned());
        report.findings.push(Finding { log: KEYS_DIR, file, offset: 0, fault, records: None, detail });
    }
    Ok(())
}

/// Figures of a spool, from headers and the last segments. Needs no key. Blocks briefly.
///
/// # Errors
/// [`Error::Version`]; [`Error::Io`].
pub fn stat(dir: &Path) -> Result<SpoolStat, Error> {
    let logs = existing(dir)?
        .into_iter()
        .map(|name| {
            let dir = log_dir(dir, name);
            Check { is_shallow: true, ..Check::new(name, &dir, None) }.run()
        })
        .collect::<Result<_, _>>()?;
    Ok(SpoolStat { logs })
}

fn existing(dir: &Path) -> Result<Vec<&'static str>, Error> {
    let names: Vec<_> = LOG_NAMES.into_iter().filter(|name| log_dir(dir, name).is_dir()).collect();
    if names.is_empty() {
        return Err(Error::io("find a spool in", dir, io::ErrorKind::NotFound.into()));
    }
    Ok(names)
}

#[derive(Debug, Default)]
struct Found {
    count: u64,
    list: Vec<Finding>,
}

struct Check<'a> {
    name: &'static str,
    dir: &'a Path,
    keys: Option<&'a LogKeys>,
    is_shallow: bool,
    looks: u32,
    /// The log's identity says that it belongs to the ring.
    is_ours: bool,
    erased: u64,
    found: Found,
}

/// One segment by its header. The file is opened again for the walk: there may be more of them than descriptors.
pub(super) struct Seen {
    number: u64,
    bytes: u64,
    header: Option<SegmentHeader>,
    cipher: Option<SegmentCipher>,
}

impl<'a> Check<'a> {
    fn new(name: &'static str, dir: &'a Path, keys: Option<&'a LogKeys>) -> Self {
        Self {
            name,
            dir,
            keys,
            is_shallow: false,
            looks: LOOKS,
            is_ours: false,
            erased: 0,
            found: Found::default(),
        }
    }

    fn run(&mut self) -> Result<LogReport, Error> {
        // Beside a running spool: the head as it was before the files were listed, so that they must reach it; the
        // floor as it was after, so that what was freed in between is below it.
        let head = Identity::load(self.dir, self.keys)?.ok();
        let files = list(self.dir)?;
        let identity = self.identity(!files.is_empty())?;
        self.is_ours = identity.is_some();
        let mut seen = Vec::new();
        for (number, bytes) in files {
            if let Some(file) = self.open(number)? {
                seen.push(self.look(number, bytes, &file)?);
            }
        }
        let mut report = LogReport {
            name: self.name,
            incarnation: identity.map(|i| hex::encode(i.incarnation)).unwrap_or_default(),
            epoch: identity.map_or(0, |i| i.epoch),
            segments: seen.len() as u64,
            erased: self.erased,
            bytes: seen.iter().map(|s| s.bytes).sum(),
            records: 0,
            first: 0,
            last: identity.map_or(0, |i| i.floor),
        };
        for (i, this) in seen.iter().enumerate() {
            let Some(header) = &this.header else { continue };
            if header.first_seq > report.last + 1 && !(report.first == 0 && identity.is_none()) {
                let records = Numbers { first: report.last + 1, last: header.first_seq - 1 };
                let detail = format!("{records} are in no file");
                self.push(Finding {
                    records: Some(records),
                    ..self.finding(file_name(this.number), 0, Fault::Missing, detail)
                });
            }
            let later = seen.get(i + 1..).unwrap_or_default();
            let next =
                later.iter().filter_map(|s| s.header.as_ref()).find(|h| h.previous.segment == this.number);
            if report.first == 0 {
                report.first = header.first_seq.max(identity.map_or(0, |i| i.floor + 1));
            }
            let last_seq = if self.is_shallow && next.is_some() {
                next.map_or(0, |h| h.first_seq.saturating_sub(1))
            } else {
                let Some(walked) = self.walk(this, header, next)? else { continue };
                report.records += walked.records;
                for finding in walked.found.list {
                    self.push(finding);
                }
                // Freed records may stand in a segment whose older chunks are gone.
                let floor = identity.map_or(0, |i| i.floor);
                for (seq, offset, chunked) in walked.chunked.iter().filter(|(seq, ..)| *seq > floor) {
                    self.check_parts(&seen, (this.number, *offset), *seq, chunked);
                }
                walked.last_seq
            };
            report.last = report.last.max(last_seq);
        }
        if let Some(identity) = head {
            let newest = seen.last().map_or(0, |s| s.number);
            if identity.head_seq > report.last {
                let records = Numbers { first: report.last + 1, last: identity.head_seq };
                let detail = format!("{records} at the end are missing");
                self.push(Finding {
                    records: Some(records),
                    ..self.finding(FILE_NAME.to_owned(), 0, Fault::Missing, detail)
                });
            } else if identity.head_segment > newest {
                let detail =
                    "a segment at the end is missing; how many records it held is not known".to_owned();
                self.note_in(FILE_NAME.to_owned(), 0, Fault::Missing, detail);
            }
        }
        if report.first == 0 {
            report.first = report.last + 1;
        }
        Ok(report)
    }

    fn identity(&mut self, is_used: bool) -> Result<Option<Identity>, Error> {
        let path = self.dir.join(FILE_NAME);
        match Identity::load(self.dir, self.keys)? {
            Ok(identity) => {
                if self.keys.is_some_and(|keys| keys.key_id() != identity.key_id) {
                    return Err(Error::WrongKey { path });
                }
                return Ok(Some(identity));
            }
            Err(Lost::Version(version)) => return Err(Error::Version { path, version }),
            Err(Lost::Missing) if !is_used => {}
            Err(Lost::Missing) => self.note_identity(Fault::Missing, "the log's identity is missing"),
            Err(Lost::Rot) => self.note_identity(Fault::Rot, "the log's identity has rotted"),
            Err(Lost::Tampered) => self.note_identity(Fault::Tampering, "the log's identity was changed"),
        }
        Ok(None)
    }

    fn note_identity(&mut self, fault: Fault, detail: &str) {
        self.note_in(FILE_NAME.to_owned(), 0, fault, detail.to_owned());
    }

    /// `None`: freed meanwhile.
    fn open(&self, number: u64) -> Result<Option<Arc<File>>, Error> {
        let path = segment_path(self.dir, number);
        match File::open(&path) {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("open", &path, e)),
        }
    }

    fn look(&mut self, number: u64, bytes: u64, file: &File) -> Result<Seen, Error> {
        let path = segment_path(self.dir, number);
        let copies = Copies::read(file).map_err(|e| Error::io("read", &path, e))?;
        let mut seen = Seen { number, bytes, header: None, cipher: None };
        for (i, copy) in copies.0.iter().enumerate() {
            let offset = i as u64 * crate::format::PAGE_BYTES;
            match copy {
                Ok(_) => {}
                Err(HeaderFault::Version(version)) => return Err(Error::Version { path, version: *version }),
                Err(HeaderFault::Rot) => {
                    self.note(number, offset, Fault::Rot, "a copy of the header has rotted".to_owned());
                }
                Err(HeaderFault::Foreign) => {
                    self.note(number, offset, Fault::Tampering, "a copy of the header is none".to_owned());
                }
            }
        }
        if let [Ok(first), Ok(second)] = &copies.0
            && first != second
        {
            self.note(number, 0, Fault::Tampering, "the copies of the header differ".to_owned());
        }
        let Ok(header) = copies.best() else { return Ok(seen) };
        if header.segment != number || header.log != SegmentHeader::log_name(self.name) {
            self.note(number, 0, Fault::Tampering, "the file of another segment or log".to_owned());
            return Ok(seen);
        }
        if let Some(keys) = self.keys {
            // A running gateway may have begun an epoch since.
            let unlocked = keys.unlock(&header).or_else(|_| {
                keys.epochs().refresh();
                keys.unlock(&header)
            });
            match unlocked {
                Ok(cipher) => seen.cipher = Some(cipher),
                Err(Locked::Erased) => self.erased += 1,
                Err(Locked::OtherKey) if self.is_ours => {
                    self.note(number, 0, Fault::Tampering, "the file of another spool".to_owned());
                    return Ok(seen);
                }
                Err(Locked::OtherKey) => return Err(Error::WrongKey { path }),
                Err(Locked::Tampered) => {
                    self.note(number, 0, Fault::Tampering, "the header was changed".to_owned());
                    return Ok(seen);
                }
            }
        }
        seen.header = Some(header);
        Ok(seen)
    }

    /// `None`: freed meanwhile.
    fn walk(
        &self,
        this: &Seen,
        header: &SegmentHeader,
        next: Option<&SegmentHeader>,
    ) -> Result<Option<Walked>, Error> {
        let Some(file) = self.open(this.number)? else { return Ok(None) };
        let of = || Walked::of(self.name, this, &file, header, next);
        if next.is_some() || footer_at(&file, this.bytes).is_some() {
            return Ok(Some(of()));
        }
        // The open segment: what is being written just now must not be a finding.
        let mut looks = 0;
        loop {
            let walked = of();
            looks += 1;
            if walked.found.count == 0 || looks >= self.looks {
                return Ok(Some(walked));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether the chunks of a record are where they should be; what is in them is checked where they lie. Memory is one
    /// table.
    fn check_parts(&mut self, seen: &[Seen], at: (u64, u64), seq: Seq, chunked: &Chunked) {
        let mut files = BTreeMap::new();
        let tables = match &chunked.layout {
            Layout::Direct(refs) => {
                self.check_refs(&mut files, at, seq, Kind::Chunk, refs);
                return;
            }
            Layout::Indirect { tables, .. } => tables,
        };
        self.check_refs(&mut files, at, seq, Kind::Table, tables);
        for (nth, place) in tables.iter().enumerate() {
            let cipher = seen.iter().find(|s| s.number == place.segment).and_then(|s| s.cipher.as_ref());
            let table = File::open(segment_path(self.dir, place.segment)).ok().zip(cipher).and_then(
                |(file, cipher)| {
                    let (header, body) = frame_at(&file, place.offset, BODY_BYTES_MAX)?;
                    TableBody::decode(&cipher.open(&header, body)?)
                },
            );
            // A table that is not there, or has rotted, is a finding already.
            let Some(table) = table else { continue };
            if table.object != chunked.object || table.index as usize != nth {
                let detail = format!("a table of record {seq} belongs to something else");
                self.note(at.0, at.1, Fault::Tampering, detail);
                continue;
            }
            self.check_refs(&mut files, at, seq, Kind::Chunk, &table.refs);
        }
    }

    fn check_refs(
        &mut self,
        files: &mut BTreeMap<u64, Option<File>>,
        (number, offset): (u64, u64),
        seq: Seq,
        kind: Kind,
        refs: &[ChunkRef],
    ) {
        for part in refs {
            if files.len() > OPEN_FILES_MAX {
                files.clear();
            }
            let file = files
                .entry(part.segment)
                .or_insert_with(|| File::open(segment_path(self.dir, part.segment)).ok());
            let mut head = [0; FRAME_HEADER_BYTES];
            let is_there = file.as_ref().is_some_and(|f| f.read_exact_at(&mut head, part.offset).is_ok())
                && FrameHeader::decode(&head).is_some_and(|h| h.kind == kind && h.body_len == part.body_len);
            // Or it was freed while this was looking.
            let is_freed =
                || matches!(Identity::load(self.dir, None), Ok(Ok(identity)) if seq <= identity.floor);
            if !is_there && !is_freed() {
                let detail = format!("a chunk of record {seq} is missing in segment {}", part.segment);
                self.note(number, offset, Fault::Missing, detail);
            }
        }
    }

    fn note(&mut self, number: u64, offset: u64, fault: Fault, detail: String) {
        self.note_in(file_name(number), offset, fault, detail);
    }

    fn note_in(&mut self, file: String, offset: u64, fault: Fault, detail: String) {
        self.push(self.finding(file, offset, fault, detail));
    }

    const fn finding(&self, file: String, offset: u64, fault: Fault, detail: String) -> Finding {
        Finding { log: self.name, file, offset, fault, records: None, detail }
    }

    fn push(&mut self, finding: Finding) {
        self.found.count += 1;
        if self.found.list.len() < FINDINGS_MAX {
            self.found.list.push(finding);
        }
    }
}

fn file_name(number: u64) -> String {
    segment_path(Path::new(""), number).display().to_string()
}
