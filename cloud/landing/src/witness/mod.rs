//! The witness of gateways' audit logs: it keeps their checkpoints and takes none that does not continue the last.
//!
//! **Promise.** A checkpoint that was answered with a receipt is on the disk and stays there. Under one origin the log
//! only grows, proven by consistency proofs (RFC 6962 section 2.1.2); and no log of the gateway goes back: what a
//! checkpoint says of the *heads* of its logs is held against the newest one. A gateway whose disk was set back has to
//! begin a new origin, which stays visible for ever beside the old one.
//!
//! **Who signs.** The first checkpoint of an origin decides its key, on the word of the gateway's certificate; from
//! then on it is that key alone.
//!
//! **Limits.** [`KEPT_WHOLE`] newest checkpoints of a gateway are kept; of older ones the first and the
//! last of each day and of each origin. Nothing is lost by that: each is proven by those that follow.
//!
//! **Format.** `<root>/_audit/<gateway>/<20 digits>.json`: one [`AuditReceipt`] as JSON. A file gets its name with a
//! hard link when it is durable, and a name is given once; so replicas that share a root agree on the order, and who
//! loses the race judges anew. Readers of tables pass folders over whose name begins with an underscore.
//! See docs/adr/0012.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use audit::checkpoint::of_origin;
use audit::note::Kind;
use audit::proof::verify_consistency;
use audit::witness::AddCheckpoint;
use audit::{Checkpoint, Hash, Note, Verifier};
use model::wire::{AuditReceipt, AuditStanding};
use model::{Clock, Slug};

use crate::delta::durable;

/// The newest checkpoints of a gateway that are kept without exception.
pub const KEPT_WHOLE: usize = 2048;
/// Older ones are looked through with every so manieth.
const THIN_EVERY: u64 = 256;
/// How often a race against other replicas is lost before the sender is asked to come again.
const RACES_MAX: usize = 16;
const FOLDER: &str = "_audit";
const DIGITS: usize = 20;
const DAY_S: i64 = 24 * 60 * 60;

/// Why a checkpoint is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is of another gateway than its sender.
    #[error("the checkpoint is of another gateway's log, or signed with a key of another name")]
    Foreign,
    /// It is not signed, or no checkpoint.
    #[error("the checkpoint cannot be believed: {0}")]
    Note(#[from] audit::note::Error),
    /// It does not continue what is kept.
    #[error("{why}; this landing has a receipt of {size} entries")]
    Inconsistent {
        /// How many entries the kept one has.
        size: u64,
        /// What contradicts.
        why: String,
    },
    /// The disk.
    #[error("{0}")]
    Storage(#[from] io::Error),
}

/// Checkpoints of all gateways that deliver to one root.
#[derive(Debug)]
pub struct Witness {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    /// One at a time: it is a matter of milliseconds, once a minute and gateway.
    adding: Mutex<()>,
}

/// A checkpoint as it is kept.
struct Kept {
    receipt: AuditReceipt,
    checkpoint: Checkpoint,
}

impl Kept {
    fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        let bad =
            |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        let receipt: AuditReceipt = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let note = Note::parse(&receipt.checkpoint).map_err(|e| bad(e.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|e| bad(e.to_string()))?;
        Ok(Self { receipt, checkpoint })
    }
}

/// What is kept of one gateway.
struct Shelf {
    dir: PathBuf,
    numbers: BTreeSet<u64>,
}

impl Shelf {
    fn open(dir: PathBuf) -> io::Result<Self> {
        let mut numbers = BTreeSet::new();
        match fs::read_dir(&dir) {
            Ok(entries) => {
                for entry in entries {
                    numbers.extend(entry?.file_name().to_str().and_then(number));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(Self { dir, numbers })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:0DIGITS$}.json"))
    }

    fn newest(&self) -> io::Result<Option<Kept>> {
        self.numbers.last().map(|number| Kept::read(&self.path(*number))).transpose()
    }

    /// The newest of an origin. Nearly always the newest of all.
    fn of_origin(&self, origin: &str) -> io::Result<Option<Kept>> {
        for number in self.numbers.iter().rev() {
            let kept = Kept::read(&self.path(*number))?;
            if kept.checkpoint.origin == origin {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// Stores one under the next number; `false` where another was faster.
    fn put(&self, receipt: &AuditReceipt) -> io::Result<bool> {
        let next = self.numbers.last().map_or(1, |last| last + 1);
        match durable::place(&self.path(next), [serde_json::to_vec(receipt)?.as_slice()], false) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes what stands between: of older ones all but the first and the last of each day and origin.
    fn thin(&self) -> io::Result<()> {
        let older = self.numbers.len().saturating_sub(KEPT_WHOLE);
        if older == 0 || !self.numbers.last().is_some_and(|last| last.is_multiple_of(THIN_EVERY)) {
            return Ok(());
        }
        let mut last: Option<(u64, String, i64)> = None;
        for number in self.numbers.iter().take(older) {
            let kept = Kept::read(&self.path(*number))?;
            let day = kept.receipt.received_at.seconds().div_euclid(DAY_S);
            let origin = kept.checkpoint.origin;
            match &last {
                Some((_, before, on)) if *before == origin && *on == day => {
                    // Whether it was the last of its origin shows with the next one.
                    let between = last.replace((*number, origin, day));
                    if let Some((between, ..)) = between
                        && !self.is_first_of_its_day(between)?
                    {
                        fs::remove_file(self.path(between))?;
                    }
                }
                _ => last = Some((*number, origin, day)),
            }
        }
        Ok(())
    }

    /// Whether no earlier one of the same origin and day is kept.
    fn is_first_of_its_day(&self, number: u64) -> io::Result<bool> {
        let of = |number: u64| -> io::Result<(String, i64)> {
            let kept = Kept::read(&self.path(number))?;
            Ok((kept.checkpoint.origin, kept.receipt.received_at.seconds().div_euclid(DAY_S)))
        };
        let this = of(number)?;
        for before in self.numbers.range(..number).rev() {
            match of(*before) {
                Ok(other) => return Ok(other != this),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    (digits.len() == DIGITS).then(|| digits.parse().ok())?
}

impl Witness {
    /// Of a table root. Nothing is made before there is something to keep.
    pub fn new(root: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { folder: root.join(FOLDER), clock, adding: Mutex::new(()) }
    }

    fn shelf(&self, gateway: &Slug) -> io::Result<Shelf> {
        Shelf::open(self.folder.join(gateway.as_str()))
    }

    /// All that is kept of a gateway, oldest first. Blocks.
    ///
    /// # Errors
    /// What the disk says, and a file that is none.
    pub fn all(&self, gateway: &Slug) -> io::Result<Vec<AuditReceipt>> {
        let shelf = self.shelf(gateway)?;
        shelf.numbers.iter().map(|number| Ok(Kept::read(&shelf.path(*number))?.receipt)).collect()
    }

    /// What is kept of a gateway's log. Blocks.
    ///
    /// # Errors
    /// [`Refused::Storage`].
    pub fn standing(&self, gateway: &Slug, origin: &str) -> Result<AuditStanding, Refused> {
        let shelf = self.shelf(gateway)?;
        let receipt = |kept: Option<Kept>| kept.map(|kept| kept.receipt);
        Ok(AuditStanding { origin: receipt(shelf.of_origin(origin)?), newest: receipt(shelf.newest()?) })
    }

    /// Takes a checkpoint, or says why not. Blocks.
    ///
    /// # Errors
    /// [`Refused`]; then nothing was stored.
    pub fn add(
        &self,
        gateway: &Slug,
        key: &Verifier,
        request: &AddCheckpoint,
    ) -> Result<AuditReceipt, Refused> {
        let checkpoint = Checkpoint::parse(request.note.text())?;
        let is_theirs = of_origin(&checkpoint.origin).is_some_and(|(of, _)| of == *gateway);
        if !is_theirs || key.name() != checkpoint.origin || key.kind() != Kind::Log {
            return Err(Refused::Foreign);
        }
        request.note.verify(key)?;
        let _one = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..RACES_MAX {
            let shelf = self.shelf(gateway)?;
            let (of_origin, newest) = (shelf.of_origin(&checkpoint.origin)?, shelf.newest()?);
            if let Some(kept) = &of_origin
                && kept.receipt.key == key.to_string()
                && kept.checkpoint == checkpoint
            {
                // It comes again: its answer was lost.
                return Ok(kept.receipt.clone());
            }
            judge(&checkpoint, key, request, of_origin.as_ref(), newest.as_ref())?;
            let receipt = AuditReceipt {
                received_at: self.clock.now(),
                key: key.to_string(),
                checkpoint: request.note.to_string(),
            };
            if shelf.put(&receipt)? {
                if let Err(error) = shelf.thin() {
                    tracing::warn!(%gateway, %error, "older checkpoints could not be thinned out");
                }
                return Ok(receipt);
            }
        }
        Err(io::Error::other("other replicas were faster each time").into())
    }
}

/// Whether a checkpoint may follow what is kept of its origin, and of the gateway.
fn judge(
    checkpoint: &Checkpoint,
    key: &Verifier,
    request: &AddCheckpoint,
    of_origin: Option<&Kept>,
    newest: Option<&Kept>,
) -> Result<(), Refused> {
    let (size, root) = of_origin.map_or((0, Hash::empty()), |k| (k.checkpoint.size, k.checkpoint.root));
    let refuse = |why: String| Err(Refused::Inconsistent { size, why });
    if of_origin.is_some_and(|kept| kept.receipt.key != key.to_string()) {
        return refuse("the log was signed with another key before".to_owned());
    }
    if request.old_size != size {
        return refuse(format!("the proof begins at {} entries", request.old_size));
    }
    if !verify_consistency(size, checkpoint.size, &request.proof, &root, &checkpoint.root) {
        return refuse(format!("the {} entries are not shown to continue what is kept", checkpoint.size));
    }
    for kept in newest.map(|k| k.checkpoint.heads.as_slice()).unwrap_or_default() {
        match checkpoint.head(&kept.log) {
            Some(head) if kept.may_become(head) => {}
            Some(head) => {
                return refuse(format!(
                    "log {} was at {} and is said to be at {} now, in the same incarnation",
                    kept.log, kept.seq, head.seq
                ));
            }
            None => return refuse(format!("nothing is said of log {}", kept.log)),
        }
    }
    Ok(())
}
