//! Rotating the root key, erasing a key epoch, and saying how the keys stand.

use std::collections::BTreeMap;
use std::path::Path;

use model::{AuditAction, AuditEvent, Seq, Timestamp};
use serde::{Deserialize, Serialize};

use crate::epochs::{Epochs, LASTING};
use crate::keys::provider::Protection;
use crate::keys::ring::{COPIES, Copy, KEYS_DIR, Ring};
use crate::keys::{KeyFile, RootKey};
use crate::open::Copies;
use crate::spool::{JOURNAL, LOG_NAMES, log_dir};
use crate::table::segment_path;
use crate::{Error, Spool};

/// A key epoch in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStatus {
    /// Its number.
    pub epoch: u64,
    /// When it began, by the clock of that time.
    pub begun_at: Timestamp,
    /// Whether segments are begun in it.
    pub is_current: bool,
    /// Segment files in it.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What it is still needed for; empty when it may be erased. `None` where nobody knows, because no gateway runs.
    pub needed_for: Option<Vec<String>>,
}

/// How the keys of a spool stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// Id of the root key in force.
    pub root_key: String,
    /// Id of the ring.
    pub ring: String,
    /// How often the ring was written.
    pub generation: u64,
    /// Its epochs, oldest first.
    pub epochs: Vec<EpochStatus>,
    /// Epochs whose keys were destroyed so far, by retention or by hand.
    pub erased: u64,
    /// Epochs up to this one stay until they are erased by hand, because segments were missing or could not be read; 0
    /// for none.
    pub kept_through: u64,
    /// How the root key is kept; `None` where it was given by hand.
    pub kept_by: Option<Protection>,
    /// What that is worth.
    pub worth: String,
    /// What a person should do something about.
    pub findings: Vec<String>,
}

/// What was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// The epoch.
    pub epoch: u64,
    /// Segment files that nobody can read any more.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The keys of a spool that no gateway has open; beside a running one, ask the gateway. Blocks briefly.
///
/// # Errors
/// [`Error::WrongKey`]; [`Error::RingLost`]; [`Error::Version`]; [`Error::Io`].
pub fn key_status(dir: &Path, root: &RootKey) -> Result<KeyStatus, Error> {
    let lost = || Error::RingLost { path: dir.join(KEYS_DIR) };
    let epochs = Epochs::read(dir, root)?.ok_or_else(lost)?;
    let mut used = BTreeMap::<u64, (u64, u64)>::new();
    for name in LOG_NAMES {
        let dir = log_dir(dir, name);
        for (number, bytes) in crate::recover::list(&dir)? {
            let path = segment_path(&dir, number);
            let file = std::fs::File::open(&path).map_err(|e| Error::io("open", &path, e))?;
            let copies = Copies::read(&file).map_err(|e| Error::io("read", &path, e))?;
            if let Ok(header) = copies.best() {
                count(&mut used, header.key_epoch, bytes);
            }
        }
    }
    let status = status(&epochs.ring(), &used, |_| None);
    Ok(status.of(&epochs.root(), root.next().is_some(), &Ring::read(dir, Some(root))?))
}

impl KeyStatus {
    fn of(mut self, root: &RootKey, is_rotation_unfinished: bool, copies: &[Copy; 2]) -> Self {
        self.kept_by = root.protection().cloned();
        self.worth = root.file().map(KeyFile::worth).unwrap_or_default();
        if is_rotation_unfinished {
            self.findings
                .push("a rotation was interrupted; the next start of the gateway settles it".to_owned());
        }
        for (copy, name) in copies.iter().zip(COPIES) {
            let is_mended = match copy {
                Copy::Whole(ring) => ring.generation == self.generation,
                _ => false,
            };
            if !is_mended {
                let finding = "is not what it should be; the next start of the gateway writes it anew";
                self.findings.push(format!("keys/{name} {finding}"));
            }
        }
        self
    }
}

fn count(used: &mut BTreeMap<u64, (u64, u64)>, epoch: u64, bytes: u64) {
    let (segments, all) = used.entry(epoch).or_default();
    *segments += 1;
    *all += bytes;
}

fn status(
    ring: &Ring,
    used: &BTreeMap<u64, (u64, u64)>,
    needed_for: impl Fn(u64) -> Option<Vec<String>>,
) -> KeyStatus {
    let newest = ring.entries.last().map_or(0, |entry| entry.number);
    let epochs = ring.entries.iter().map(|entry| {
        let (segments, bytes) = used.get(&entry.number).copied().unwrap_or_default();
        EpochStatus {
            epoch: entry.number,
            begun_at: Timestamp::from_micros(entry.begun_at),
            is_current: entry.number == newest,
            segments,
            bytes,
            needed_for: needed_for(entry.number),
        }
    });
    KeyStatus {
        root_key: hex::encode(ring.root_id),
        ring: hex::encode(ring.id),
        generation: ring.generation,
        epochs: epochs.collect(),
        erased: (ring.next - 1).saturating_sub(ring.entries.len() as u64),
        kept_through: ring.kept_through,
        kept_by: None,
        worth: String::new(),
        findings: Vec::new(),
    }
}

/// Records of an epoch that somebody still needs.
struct Needed {
    log: &'static str,
    why: &'static str,
    first: Seq,
    last: Seq,
}

impl Spool {
    /// How the keys stand.
    pub fn key_status(&self) -> KeyStatus {
        let mut used = BTreeMap::new();
        for log in self.logs() {
            for segment in log.0.table().iter() {
                count(&mut used, segment.key_epoch, segment.bytes);
            }
        }
        let status = status(&self.epochs.ring(), &used, |epoch| {
            let needed = self.needed(epoch).into_iter();
            Some(needed.map(|n| format!("{}: {}, {} to {}", n.log, n.why, n.first, n.last)).collect())
        });
        let root = self.epochs.root();
        let copies = self.epochs.copies().unwrap_or([Copy::Missing, Copy::Missing]);
        status.of(&root, false, &copies)
    }

    /// The root key in force.
    pub fn root_key(&self) -> RootKey {
        self.epochs.root()
    }

    /// Makes a new root key, kept as the former one or in another way, rewraps the ring under it and puts it in the place of the former one. Records, tokens
    /// and identities stay as they are. Blocks for a few flushes. Returns the new key's id.
    ///
    /// # Errors
    /// [`Error::NoKeyFile`]; [`Error::NotAudited`]; [`Error::Provider`]; [`Error::Io`]: then the former key is in force, or, after a crash
    /// at this moment, either of the two, and the next opening finds out which.
    pub fn rotate_root_key(&self, protection: Option<Protection>, actor: &str) -> Result<String, Error> {
        let former = self.epochs.root().id();
        let how = protection.as_ref().map_or("as it was", Protection::name);
        let detail = format!("from {former}; kept by: {how}");
        self.audited(actor, AuditAction::RootKeyRotated, "root key", detail)?;
        Ok(self.epochs.rotate(protection, &*self.disk)?.id())
    }

    /// Crypto-erase: destroys the key of an epoch, so that nobody can read its segments, with a copy of the disk and
    /// the root key in hand either. Where it is the epoch of today, another one is begun first. Blocks.
    ///
    /// # Errors
    /// [`Error::NoKeyEpoch`]; [`Error::KeyEpochInUse`] while a reader has not durably passed one of its records, or
    /// one is held; [`Error::NotAudited`]; [`Error::Io`].
    pub fn erase(&self, epoch: u64, actor: &str) -> Result<Erasure, Error> {
        if self.epochs.ring().entry(epoch).is_none() {
            // An erasure that came as far as one copy is finished by asking again.
            self.epochs.repair(&*self.disk)?;
            return Err(Error::NoKeyEpoch { epoch });
        }
        self.refuse_needed(epoch)?;
        self.epochs.leave(epoch, self.clock.now(), &*self.disk)?;
        for log in self.logs().iter().filter(|log| log.name() != JOURNAL) {
            if log.0.table().newest_key_epoch() == Some(epoch) {
                log.0.move_on()?;
            }
        }
        // Nothing is added to it any more. What came in meanwhile counts.
        self.refuse_needed(epoch)?;
        let mut used = BTreeMap::new();
        for log in self.logs() {
            for segment in log.0.table().iter() {
                count(&mut used, segment.key_epoch, segment.bytes);
            }
        }
        let (segments, bytes) = used.get(&epoch).copied().unwrap_or_default();
        let detail = format!("{segments} segments, {bytes} bytes");
        self.audited(actor, AuditAction::KeyEpochErased, &format!("key epoch {epoch}"), detail)?;
        let destroyed = self.epochs.destroy(epoch, &*self.disk);
        if self.epochs.ring().entry(epoch).is_none() {
            for log in self.logs() {
                if let Err(error) = log.0.erased(epoch) {
                    tracing::warn!(log = log.name(), %error, "an erased segment could not be removed yet");
                }
            }
        }
        destroyed?;
        tracing::info!(epoch, segments, bytes, "a key epoch was erased");
        Ok(Erasure { epoch, segments, bytes })
    }

    fn refuse_needed(&self, epoch: u64) -> Result<(), Error> {
        match self.needed(epoch).first() {
            None => Ok(()),
            Some(&Needed { log, why, first, last }) => {
                Err(Error::KeyEpochInUse { epoch, log, why, first, last })
            }
        }
    }

    fn needed(&self, epoch: u64) -> Vec<Needed> {
        let in_logs = self.logs().iter().filter_map(|log| {
            let through = log.0.freeing().through;
            let table = log.0.table();
            let mut needed = table
                .iter()
                .filter(|s| s.key_epoch == epoch && epoch != LASTING && !s.is_erased)
                .filter(|s| s.first_seq <= s.last_seq || s.needed_through > 0 || s.pins > 0)
                .filter(|s| !s.is_delivered(through));
            let first = needed.next()?;
            let last = needed.next_back().unwrap_or(first);
            let why = match log.name() {
                "held" => "held",
                _ if first.pins > 0 => "still arriving",
                _ => "not delivered",
            };
            let first_seq = first.first_seq.max(through + 1).min(first.freed_through().max(first.first_seq));
            Some(Needed { log: log.name(), why, first: first_seq, last: last.freed_through() })
        });
        in_logs.collect()
    }

    fn audited(&self, actor: &str, action: AuditAction, subject: &str, detail: String) -> Result<(), Error> {
        let (actor, subject) = (actor.to_owned(), subject.to_owned());
        let event = AuditEvent { at: self.clock.now(), actor, action, subject, detail };
        self.audit().record(&event).map_err(|_| Error::NotAudited)
    }
}
