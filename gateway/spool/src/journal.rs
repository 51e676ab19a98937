//! The audit log: entries in the journal, each a leaf of one Merkle tree.
//!
//! An entry's payload is the CBOR of [`audit::Entry`], its envelope [`AUDIT_META`] and the compact range of the tree
//! as it was before the entry: the hashes of at most 64 subtrees. So the last entry alone tells how the tree stands,
//! and every entry that is still kept is a place to prove what follows from, whatever of the journal was freed before
//! it. An entry cannot be taken out, put in or changed without a break, even by someone who has the keys, unless he
//! rewrites all that follow; and then the roots differ from those that the landing has ([`audit::Checkpoint`]).
//! Records of other kinds may stand between.

mod letting_go;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use audit::note::Kind;
use audit::proof::Prover;
use audit::{CompactRange, Entry as Leaf, Hash, Signer};
use bytes::Bytes;
use model::{AuditError, AuditEvent, AuditSink, Seq, Slug};

use crate::{Entry, Error, Keys, Log, Reader, Record};

pub use letting_go::{Need, Part};

/// What the envelope of an audit entry in the journal begins with.
pub const AUDIT_META: &[u8] = b"audit\x02";

/// Most findings that are listed.
pub const AUDIT_FINDINGS_MAX: usize = 1000;

/// How the audit log stood when it had some number of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTip {
    /// The tree of the entries up to here.
    pub range: CompactRange,
    /// Hash of the last of them; zeros where there is none.
    pub last: Hash,
    /// A number in the journal that all of them stand before or at, and all later ones behind.
    pub seq: Seq,
}

impl AuditTip {
    /// Before the first entry.
    pub fn nothing() -> Self {
        Self { range: CompactRange::default(), last: Hash::ZERO, seq: 0 }
    }

    fn push(&mut self, leaf: Hash, seq: Seq) {
        self.range.push(leaf);
        self.last = leaf;
        self.seq = seq;
    }
}

/// An audit entry as it stands in the journal.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// Its number in the journal.
    pub seq: Seq,
    /// The tree as it was before it, as it says itself; its size is the entry's number in the tree.
    pub before: CompactRange,
    /// Hash of the leaf.
    pub hash: Hash,
    /// The leaf.
    pub leaf: Bytes,
    /// The leaf, read; `None` where it is none.
    pub entry: Option<Leaf>,
}

impl AuditRecord {
    /// `None` where the record is no audit entry.
    fn of(record: &Record) -> Option<Self> {
        let before = audit::entry::decode_place(AUDIT_META, &record.meta)?;
        let leaf = record.payload.at_hand()?.clone();
        let (hash, entry) = (Hash::leaf(&leaf), Leaf::decode(&leaf).ok());
        Some(Self { seq: record.seq, before, hash, leaf, entry })
    }
}

/// What stands next in the audit log.
#[derive(Debug)]
pub enum AuditStep {
    /// An entry.
    Entry(Box<AuditRecord>),
    /// A record that calls itself an entry and cannot be read as one.
    Malformed(Seq),
    /// Records of the journal that cannot be read; entries may be among them.
    Damaged(Seq, Seq),
}

/// Walks over the audit log.
#[derive(Debug)]
pub struct AuditReader(Reader);

impl AuditReader {
    /// From a number of the journal on; from the oldest retained for 0.
    pub fn new(journal: &Log, from: Seq) -> Self {
        Self(journal.reader(from))
    }

    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// As [`crate::Reader::next`].
    pub async fn next(&mut self) -> Result<Option<AuditStep>, Error> {
        while let Some(entry) = self.0.next().await? {
            match entry {
                Entry::Damaged { first, last } | Entry::Erased { first, last } => {
                    return Ok(Some(AuditStep::Damaged(first, last)));
                }
                Entry::Record(record) if record.meta.starts_with(AUDIT_META) => {
                    let step = AuditRecord::of(&record)
                        .map_or(AuditStep::Malformed(record.seq), |r| AuditStep::Entry(Box::new(r)));
                    return Ok(Some(step));
                }
                Entry::Record(_) => {}
            }
        }
        Ok(None)
    }
}

/// Something that is wrong with the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFinding {
    /// The first entry that it is about, by its number in the tree, from 0.
    pub entry: u64,
    /// Where in the journal it was noticed.
    pub seq: Seq,
    /// One sentence for a person.
    pub what: String,
}

/// What a walk over the audit log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheck {
    /// The first entry that is still kept, by its number in the tree.
    pub first: u64,
    /// Entries in the tree: those that were freed too.
    pub size: u64,
    /// Entries read.
    pub entries: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Roots at the sizes that were asked for, as far as they can be told.
    pub roots: BTreeMap<u64, Hash>,
    /// All findings, also those beyond [`AUDIT_FINDINGS_MAX`].
    pub faults: u64,
    /// The first of them.
    pub findings: Vec<AuditFinding>,
}

/// Walks the audit log from the oldest entry retained, and tells its root at each of `sizes`.
///
/// # Errors
/// As [`crate::Reader::next`].
pub async fn check_audit(journal: &Log, sizes: &BTreeSet<u64>) -> Result<AuditCheck, Error> {
    let mut reader = AuditReader::new(journal, 0);
    // A journal of which nothing was freed begins with the first entry ever.
    let tip = (journal.oldest() <= 1).then(AuditTip::nothing);
    let mut walk = Walk { sizes, tip, lost_at: None, check: AuditCheck::nothing() };
    while let Some(step) = reader.next().await? {
        match step {
            AuditStep::Entry(record) => walk.entry(&record),
            AuditStep::Malformed(seq) => walk.lost(seq, "an entry cannot be read".to_owned()),
            AuditStep::Damaged(first, last) => {
                walk.lost(first, format!("records {first} to {last} of the journal cannot be read"));
            }
        }
    }
    Ok(walk.end())
}

impl AuditCheck {
    fn nothing() -> Self {
        Self {
            first: 0,
            size: 0,
            entries: 0,
            root: Hash::empty(),
            roots: BTreeMap::new(),
            faults: 0,
            findings: Vec::new(),
        }
    }
}

struct Walk<'a> {
    sizes: &'a BTreeSet<u64>,
    /// The tree of what was read.
    tip: Option<AuditTip>,
    /// Where something could not be read since the last entry, and what.
    lost_at: Option<(Seq, String)>,
    check: AuditCheck,
}

impl Walk<'_> {
    fn lost(&mut self, seq: Seq, what: String) {
        self.lost_at.get_or_insert((seq, what));
    }

    fn entry(&mut self, record: &AuditRecord) {
        let index = record.before.size();
        let is_first = self.check.entries == 0;
        // What came before is not known where it was freed.
        let is_known = self.tip.is_some();
        let mut tip = self.tip.take().unwrap_or_else(|| AuditTip {
            range: record.before.clone(),
            last: Hash::ZERO,
            seq: record.seq,
        });
        if is_first {
            self.check.first = index;
            self.reached(&tip.range);
        }
        let here = tip.range.size();
        let mut is_bound = true;
        if let Some((seq, what)) = self.lost_at.take() {
            // What was lost may have been of another kind; then the tree has not grown.
            if !is_known {
                self.note(index, seq, format!("{what}: entries before {index} may be lost"));
            } else if tip.range != record.before {
                is_bound = false;
                let through = index.saturating_sub(1);
                self.note(here.min(index), seq, format!("{what}: entries {here} to {through} are lost"));
            }
        } else if here != index {
            is_bound = false;
            let what =
                format!("entry {index} stands where entry {here} should be: some were taken out or put in");
            self.note(here.min(index), record.seq, what);
        } else if tip.range != record.before {
            is_bound = false;
            let at = index.saturating_sub(1);
            let what =
                format!("entry {at}, or one before it, is not the one that entry {index} was written after");
            self.note(at, record.seq, what);
        }
        if !is_bound {
            tip.range = record.before.clone();
        }
        match &record.entry {
            None => self.note(index, record.seq, format!("entry {index} is none: it cannot be read")),
            Some(entry) => {
                if is_bound && is_known && entry.previous() != Some(tip.last) {
                    self.note(index, record.seq, format!("entry {index} names another entry before it"));
                }
            }
        }
        self.check.entries += 1;
        tip.push(record.hash, record.seq);
        self.reached(&tip.range);
        self.tip = Some(tip);
    }

    /// A size that may be asked for.
    fn reached(&mut self, range: &CompactRange) {
        if self.sizes.contains(&range.size()) {
            self.check.roots.entry(range.size()).or_insert_with(|| range.root());
        }
    }

    fn note(&mut self, entry: u64, seq: Seq, what: String) {
        self.check.faults += 1;
        if self.check.findings.len() < AUDIT_FINDINGS_MAX {
            self.check.findings.push(AuditFinding { entry, seq, what });
        }
    }

    fn end(mut self) -> AuditCheck {
        let tip = self.tip.take().unwrap_or_else(AuditTip::nothing);
        if let Some((seq, what)) = self.lost_at.take() {
            let size = tip.range.size();
            self.note(size, seq, format!("{what}: entries from {size} on may be lost"));
        }
        AuditCheck { size: tip.range.size(), root: tip.range.root(), ..self.check }
    }
}

/// The key with which a gateway signs the checkpoints of its audit log. It follows from the base key, so that a
/// restore brings it back, and is nowhere on the disk.
///
/// # Errors
/// [`Error::Internal`].
pub fn audit_signer(keys: &Keys, gateway: &Slug, incarnation: &str) -> Result<Signer, Error> {
    let seed = keys.derive("audit/checkpoints");
    let name = audit::checkpoint::origin(gateway, incarnation);
    Signer::new(&name, Kind::Log, &seed).map_err(|_| Error::Internal("no key for checkpoints"))
}

type AppendBlocking = fn(&Log, Vec<u8>, &[u8]) -> Result<Seq, Error>;

/// Appends audit events to the journal, one flush each, and tells how the tree stands.
#[derive(Debug)]
pub struct Audit {
    journal: Log,
    /// Found in the journal at the first event.
    tip: Mutex<Option<AuditTip>>,
    /// Who is still to vouch for entries, or to have them.
    needs: Mutex<BTreeMap<String, Need>>,
}

impl Audit {
    pub(crate) fn new(journal: Log) -> Arc<Self> {
        Arc::new(Self { journal, tip: Mutex::new(None), needs: Mutex::default() })
    }

    /// How the audit log stands. Reads the disk where nothing was appended yet: blocks.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tip(&self) -> Result<AuditTip, Error> {
        let mut tip = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        match &*tip {
            Some(tip) => Ok(tip.clone()),
            None => Ok(tip.insert(self.find_tip()?).clone()),
        }
    }

    /// The tree as the last entry that can be read leaves it.
    fn find_tip(&self) -> Result<AuditTip, Error> {
        let mut seq = *self.journal.durable().borrow();
        while seq >= self.journal.oldest() && seq > 0 {
            if let Some(record) = self.at(seq)? {
                let mut tip = AuditTip { range: record.before, last: Hash::ZERO, seq };
                tip.push(record.hash, seq);
                return Ok(tip);
            }
            seq -= 1;
        }
        Ok(AuditTip::nothing())
    }

    fn at(&self, seq: Seq) -> Result<Option<AuditRecord>, Error> {
        Ok(match self.journal.get_blocking(seq)? {
            Some(Entry::Record(record)) => AuditRecord::of(&record),
            _ => None,
        })
    }

    /// The first entry at a number of the journal or behind it, up to `last`.
    fn from(&self, mut seq: Seq, last: Seq) -> Result<Option<AuditRecord>, Error> {
        while seq <= last {
            if let Some(record) = self.at(seq)? {
                return Ok(Some(record));
            }
            seq += 1;
        }
        Ok(None)
    }

    /// How the audit log stood when it had `size` entries. `None` where it never had, where what followed is not
    /// retained any more or cannot be read. Blocks; looks at a few dozen records, however long the log is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tip_at(&self, size: u64) -> Result<Option<AuditTip>, Error> {
        if size == 0 {
            return Ok(Some(AuditTip::nothing()));
        }
        let tip = self.tip()?;
        if size >= tip.range.size() {
            return Ok((size == tip.range.size()).then_some(tip));
        }
        let (mut low, mut high) = (self.journal.oldest().max(1), tip.seq);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.from(middle, high)? {
                Some(record) if record.before.size() < size => low = record.seq + 1,
                _ => high = middle,
            }
        }
        let found = self.from(low, tip.seq)?.filter(|record| record.before.size() == size);
        Ok(found.and_then(|record| {
            let last = record.entry.as_ref().and_then(Leaf::previous)?;
            Some(AuditTip { range: record.before, last, seq: record.seq - 1 })
        }))
    }

    /// Proof that the log as it stands at `to` continues what it was at `from`. `None` where an entry in between
    /// cannot be read.
    ///
    /// # Errors
    /// As [`crate::Reader::next`].
    pub async fn prove(&self, from: &AuditTip, to: &AuditTip) -> Result<Option<Vec<Hash>>, Error> {
        if from.range.size() == 0 {
            // Everything continues nothing; the first entries need not be there for that.
            return Ok(Some(Vec::new()));
        }
        let mut prover = Prover::consistency(&from.range, to.range.size());
        let mut reader = AuditReader::new(&self.journal, from.seq + 1);
        let mut range = from.range.clone();
        while !prover.is_complete() {
            let Some(AuditStep::Entry(record)) = reader.next().await? else { break };
            prover.push(record.hash);
            range.push(record.hash);
        }
        Ok(prover.finish().filter(|_| range == to.range))
    }

    /// Records what makes room, or must be said while there is none: the journal may go beyond its budget for it, into
    /// what is set aside. Blocks.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn record_aside(&self, event: &AuditEvent) -> Result<(), AuditError> {
        self.said(event, Log::append_aside_blocking)
    }

    fn said(&self, event: &AuditEvent, append: AppendBlocking) -> Result<(), AuditError> {
        self.append(event, append).map_err(|error| {
            tracing::error!(%error, action = ?event.action, "the audit log was not written");
            AuditError
        })
    }

    fn append(&self, event: &AuditEvent, append: AppendBlocking) -> Result<(), Error> {
        const UNENCODED: Error = Error::Internal("an audit entry cannot be encoded");
        let mut held = self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failure the journal is asked again what it really holds.
        let mut tip = match held.take() {
            Some(tip) => tip,
            None => self.find_tip()?,
        };
        let leaf = Leaf::after(&tip.last, event.clone()).encode().map_err(|_| UNENCODED)?;
        let meta = audit::entry::encode_place(AUDIT_META, &tip.range).map_err(|_| UNENCODED)?;
        let seq = append(&self.journal, meta, &leaf)?;
        tip.push(Hash::leaf(&leaf), seq);
        *held = Some(tip);
        Ok(())
    }
}

impl AuditSink for Audit {
    fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        self.said(event, Log::append_blocking)
    }
}
