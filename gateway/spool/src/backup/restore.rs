//! Reading a backup, and putting a spool in its place.
//!
//! The new spool is made whole in a folder beside the old one and takes its name at the very end, in one step of the
//! file system. Until then a restore that stops anywhere has changed nothing; the next one clears its folder away.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{AuditAction, AuditEvent, Clock, Slug};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::Serialize;
use serde_bytes::ByteBuf;

use super::stream::{DAMAGED, Head, Opener, read_head};
use super::{DOCUMENTS_BYTES_MAX, Document, ITEM_BYTES_MAX, Item, LogPart, Summary, unusable};
use crate::cipher::LogKeys;
use crate::config::SEGMENT_BYTES_MAX;
use crate::disk::{Disk, RealDisk};
use crate::epochs::Epochs;
use crate::format::SegmentHeader;
use crate::identity::Identity;
use crate::inner::make_dir;
use crate::keys::ring::{self, COPIES, Copy, KEYS_DIR, RING_BYTES, Ring};
use crate::spool::{LOG_NAMES, STATE_DIR, gateway_hash, lock, log_dir};
use crate::table::segment_path;
use crate::{Config, Error, Keys, Outside, RootKey, Spool, State, keys};

/// Read at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Stands in a folder in which a restore is under way; what is in it is nobody's yet.
const MARKER: &str = "unfinished-restore";
const STRANGE: &str = "holds something that this program does not know";

/// A backup whose head was read and whose key is right.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    /// The root key that it was made under, of no file.
    root: RootKey,
    /// What the base key gives.
    keys: Keys,
    /// The head as it was then: the file may have been exchanged since.
    head: Vec<u8>,
    /// It was read to its end, and is whole.
    is_whole: AtomicBool,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// What was in the backup.
    #[serde(flatten)]
    pub summary: Summary,
    /// Where the spool is that was there before.
    pub put_aside: Option<PathBuf>,
}

/// What is done with a backup's items, in order.
trait Visitor {
    fn document(&mut self, document: Document) -> Result<(), Error>;
    fn state(&mut self, pairs: Vec<(ByteBuf, ByteBuf)>) -> Result<(), Error>;
    fn ring(&mut self, bytes: &[u8]) -> Result<(), Error>;
    fn segment(&mut self, log: &'static str, number: u64, file_bytes: u64) -> Result<(), Error>;
    /// Bytes of the segment named last.
    fn bytes(&mut self, bytes: &[u8], at: u64) -> Result<(), Error>;
    fn segment_ended(&mut self) -> Result<(), Error>;
    fn log(&mut self, log: &'static str, identity: Identity) -> Result<(), Error>;
}

impl Backup {
    /// Opens a backup and finds out whether this key and this gateway are the right ones. `gateway` is `None` where it
    /// is not known yet.
    ///
    /// # Errors
    /// [`Error::Backup`], [`Error::WrongKey`], [`Error::OtherGateway`], [`Error::Version`], [`Error::Io`].
    pub fn open(path: &Path, root: &RootKey, gateway: Option<&Slug>) -> Result<Self, Error> {
        let (head, raw, file) = open(path)?;
        let Some(root) = root.of_id(head.key_id).map(RootKey::of_no_file) else {
            return Err(Error::WrongKey { path: path.to_owned() });
        };
        if gateway.is_some_and(|gateway| gateway_hash(gateway) != head.gateway) {
            return Err(Error::OtherGateway { path: path.to_owned() });
        }
        // A key is right when it unwraps.
        let keys = head.keys(&root).ok_or_else(|| unusable(path, DAMAGED))?;
        Opener::begin(path, file, &raw, &keys)?;
        Ok(Self { path: path.to_owned(), root, keys, head: raw, is_whole: AtomicBool::new(false) })
    }

    /// Whether this is the root key that it was made under.
    pub fn opens_with(&self, root: &RootKey) -> bool {
        root.of_id(self.root.key_id()).is_some()
    }

    /// Reads all of it: what is in it, and its documents. Nothing is changed.
    ///
    /// # Errors
    /// [`Error::Backup`] where it is damaged or not whole; [`Error::Io`].
    pub fn check(&self) -> Result<(Summary, Vec<Document>), Error> {
        struct Look(Vec<Document>);
        impl Visitor for Look {
            fn document(&mut self, document: Document) -> Result<(), Error> {
                self.0.push(document);
                Ok(())
            }
            fn state(&mut self, _: Vec<(ByteBuf, ByteBuf)>) -> Result<(), Error> {
                Ok(())
            }
            fn ring(&mut self, _: &[u8]) -> Result<(), Error> {
                Ok(())
            }
            fn segment(&mut self, _: &'static str, _: u64, _: u64) -> Result<(), Error> {
                Ok(())
            }
            fn bytes(&mut self, _: &[u8], _: u64) -> Result<(), Error> {
                Ok(())
            }
            fn segment_ended(&mut self) -> Result<(), Error> {
                Ok(())
            }
            fn log(&mut self, _: &'static str, _: Identity) -> Result<(), Error> {
                Ok(())
            }
        }
        let mut look = Look(Vec::new());
        let summary = self.read(&mut look)?;
        self.is_whole.store(true, Ordering::Relaxed);
        Ok((summary, look.0))
    }

    /// Makes a spool in `dir` from it. A spool that is there already is put aside with `replace`, and refused without.
    /// Blocks.
    ///
    /// # Errors
    /// [`Error::Locked`] where a gateway runs on it, [`Error::SpoolThere`], [`Error::Backup`], [`Error::Io`],
    /// [`Error::State`], [`Error::Full`]. Then what was there is as it was.
    pub fn restore(
        &self,
        dir: &Path,
        config: &Config,
        clock: Arc<dyn Clock>,
        replace: bool,
    ) -> Result<Restored, Error> {
        self.restore_on(dir, config, clock, replace, Arc::new(RealDisk))
    }

    pub(crate) fn restore_on(
        &self,
        dir: &Path,
        config: &Config,
        clock: Arc<dyn Clock>,
        replace: bool,
        disk: Arc<dyn Disk>,
    ) -> Result<Restored, Error> {
        config.check()?;
        // Where it is a link, what it leads to is exchanged, on the disk that it leads to.
        let dir = &fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let home = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        make_dir(&*disk, home)?;
        let _one_restore = lock_dir(home)?;
        let is_there = dir.exists();
        if is_there && device(dir)? != device(home)? {
            let problem =
                "is a disk of its own and cannot change places with another folder; take it away first";
            return Err(Error::Backup { path: dir.to_owned(), problem });
        }
        // Whoever has it open must not lose it under his feet.
        let _old = is_there.then(|| lock(dir, &*disk)).transpose()?;
        if is_there && Spool::is_begun(dir) && !replace {
            return Err(Error::SpoolThere { path: dir.to_owned() });
        }
        // Damage that comes later still leaves everything as it was: the new spool is whole before it is anything.
        if !self.is_whole.load(Ordering::Relaxed) {
            self.check()?;
        }
        let staging = dir.with_extension("restoring");
        clear(&*disk, home, dir, &staging)?;
        let made = self.make(&staging, config, &clock, &disk);
        let summary = match made {
            Ok(summary) => summary,
            Err(error) => {
                // Best effort: the next restore does it otherwise.
                drop(fs::remove_dir_all(&staging));
                return Err(error);
            }
        };
        settle(&*disk, &staging, home)?;
        let marker = staging.join(MARKER);
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |e| Error::io(what, &path, e)
        };
        disk.remove(&marker).map_err(failed("remove", &marker))?;
        disk.sync_dir(&staging).map_err(failed("sync", &staging))?;
        let put_aside = if is_there {
            disk.exchange(&staging, dir).map_err(failed("put into place", dir))?;
            disk.sync_dir(home).map_err(failed("sync", home))?;
            let aside = aside(home, dir);
            disk.rename(&staging, &aside).map_err(failed("put aside", &staging))?;
            Some(aside)
        } else {
            disk.rename(&staging, dir).map_err(failed("put into place", dir))?;
            None
        };
        disk.sync_dir(home).map_err(failed("sync", home))?;
        Ok(Restored { summary, put_aside })
    }

    /// The whole new spool, in a folder of its own, durable.
    fn make(
        &self,
        staging: &Path,
        config: &Config,
        clock: &Arc<dyn Clock>,
        disk: &Arc<dyn Disk>,
    ) -> Result<Summary, Error> {
        make_dir(&**disk, staging)?;
        let marker = staging.join(MARKER);
        File::create(&marker).map_err(|e| Error::io("create", &marker, e))?;
        disk.sync_dir(staging).map_err(|e| Error::io("sync", staging, e))?;
        for name in LOG_NAMES {
            make_dir(&**disk, &log_dir(staging, name))?;
        }
        let state = State::open(&staging.join(STATE_DIR))?;
        let mut building =
            Building { staging, root: &self.root, disk: &**disk, state: &state, epochs: None, file: None };
        let summary = self.read(&mut building)?;
        state.sync_blocking()?;
        drop(state);
        for name in LOG_NAMES {
            let dir = log_dir(staging, name);
            disk.sync_dir(&dir).map_err(|e| Error::io("sync", &dir, e))?;
        }
        let gateway = &summary.manifest.gateway;
        let outside = Outside { disk: Arc::clone(disk), ..Outside::real() };
        let spool = Spool::open_on(staging, config, self.root.clone(), gateway, Arc::clone(clock), outside)?;
        let event = AuditEvent {
            at: clock.now(),
            actor: "console".to_owned(),
            action: AuditAction::Restored,
            subject: gateway.to_string(),
            detail: format!("from backup {} of {}", summary.id, summary.manifest.made_at),
        };
        let audited = spool.audit().record(&event);
        drop(spool);
        audited.map_err(|_| Error::io("write the audit log of", staging, io::ErrorKind::Other.into()))?;
        Ok(summary)
    }

    /// Whether this is the ring that the head tells of. Its wrappings may be others, after a rotation.
    fn is_of(&self, ring: &Ring) -> bool {
        ring.base(&self.root).is_ok_and(|keys| keys.expose() == self.keys.expose())
    }

    /// Reads from beginning to end.
    fn read(&self, visitor: &mut dyn Visitor) -> Result<Summary, Error> {
        let (head, raw, file) = open(&self.path)?;
        let strange = || unusable(&self.path, STRANGE);
        if raw != self.head {
            return Err(unusable(&self.path, "was exchanged meanwhile"));
        }
        let mut from = Opener::begin(&self.path, file, &raw, &self.keys)?;
        let Some(Item::Manifest(manifest)) = next(&mut from)? else { return Err(strange()) };
        if gateway_hash(&manifest.gateway) != head.gateway {
            return Err(strange());
        }
        let mut summary = Summary {
            id: hex::encode(head.id),
            manifest,
            documents: Vec::new(),
            state_keys: 0,
            logs: Vec::new(),
            unreadable_bytes: 0,
        };
        let (mut items, mut document_bytes) = (1, 0_u64);
        let (mut segments, mut segment_bytes) = (0, 0);
        let mut has_ring = false;
        let mut piece = Vec::new();
        loop {
            match next(&mut from)?.ok_or_else(strange)? {
                Item::Manifest(_) => return Err(strange()),
                Item::Document { path, mode, is_configuration, bytes } => {
                    document_bytes = document_bytes.saturating_add(bytes);
                    if document_bytes > DOCUMENTS_BYTES_MAX {
                        return Err(strange());
                    }
                    let mut content = vec![0; bytes as usize];
                    from.take(&mut content)?;
                    summary.documents.push(path.clone());
                    visitor.document(Document { path, mode, is_configuration, content: content.into() })?;
                }
                Item::State { pairs } => {
                    summary.state_keys += pairs.len() as u64;
                    visitor.state(pairs)?;
                }
                Item::Ring { bytes } => {
                    let len = usize::try_from(bytes).ok().filter(|len| *len == RING_BYTES && !has_ring);
                    let mut copy = vec![0; len.ok_or_else(strange)?];
                    from.take(&mut copy)?;
                    // The same base key under the same root key is what a restore relies on.
                    match Ring::decode(&copy, Some(&self.root)) {
                        Copy::Whole(ring) if self.is_of(&ring) => {}
                        Copy::Version(version) => {
                            return Err(Error::Version { path: self.path.clone(), version });
                        }
                        _ => return Err(strange()),
                    }
                    visitor.ring(&copy)?;
                    has_ring = true;
                }
                Item::Segment { log, number, bytes, file_bytes } => {
                    let is_right = has_ring && bytes <= file_bytes && file_bytes <= SEGMENT_BYTES_MAX;
                    let log = known(&log).filter(|_| is_right);
                    visitor.segment(log.ok_or_else(strange)?, number, file_bytes)?;
                    let mut at = 0;
                    while at < bytes {
                        piece.resize((bytes - at).min(PIECE_BYTES) as usize, 0);
                        from.take(&mut piece)?;
                        visitor.bytes(&piece, at)?;
                        at += piece.len() as u64;
                    }
                    visitor.segment_ended()?;
                    segments += 1;
                    segment_bytes += bytes;
                }
                Item::Log { name, incarnation, epoch, floor, head_segment, head_seq } => {
                    let log = known(&name).filter(|_| has_ring).ok_or_else(strange)?;
                    let identity = Identity {
                        key_id: head.ring,
                        gateway: head.gateway,
                        log: SegmentHeader::log_name(log),
                        incarnation: incarnation.as_slice().try_into().map_err(|_| strange())?,
                        epoch,
                        floor,
                        head_segment,
                        head_seq,
                    };
                    visitor.log(log, identity)?;
                    let part = LogPart { name, epoch, last: head_seq, segments, bytes: segment_bytes };
                    summary.logs.push(part);
                    (segments, segment_bytes) = (0, 0);
                }
                Item::End { items: said, unreadable_bytes }
                    if said == items && summary.logs.len() == LOG_NAMES.len() =>
                {
                    summary.unreadable_bytes = unreadable_bytes;
                    break;
                }
                Item::End { .. } => return Err(strange()),
            }
            items += 1;
        }
        from.finish()?;
        Ok(summary)
    }
}

fn open(path: &Path) -> Result<(Head, Vec<u8>, BufReader<File>), Error> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut file = BufReader::new(file);
    let (head, raw) = read_head(path, &mut file)?;
    Ok((head, raw, file))
}

fn known(name: &str) -> Option<&'static str> {
    LOG_NAMES.into_iter().find(|known| *known == name)
}

/// The next item; `None` where it is none.
fn next(from: &mut Opener<'_, BufReader<File>>) -> Result<Option<Item>, Error> {
    let mut len = [0; 4];
    from.take(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > ITEM_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    from.take(&mut bytes)?;
    Ok(model::codec::decode(&bytes).ok())
}

/// Whether a restore may put a spool there: nobody runs on it, and there is none, or it may be put aside.
///
/// # Errors
/// [`Error::Locked`], [`Error::SpoolThere`], [`Error::Io`].
pub fn may_restore(dir: &Path, replace: bool) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    lock(dir, &RealDisk)?;
    if Spool::is_begun(dir) && !replace {
        return Err(Error::SpoolThere { path: dir.to_owned() });
    }
    Ok(())
}

/// One restore at a time in a folder.
fn lock_dir(dir: &Path) -> Result<File, Error> {
    let file = File::open(dir).map_err(|e| Error::io("open", dir, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked { path: dir.to_owned() }),
        Err(e) => Err(Error::io("lock", dir, e.into())),
    }
}

/// Clears away what an interrupted restore left. A whole spool is never removed: it may be the one that was there
/// before.
fn clear(disk: &dyn Disk, home: &Path, dir: &Path, staging: &Path) -> Result<(), Error> {
    if !staging.exists() {
        return Ok(());
    }
    if staging.join(MARKER).exists() || !Spool::is_begun(staging) {
        return fs::remove_dir_all(staging).map_err(|e| Error::io("remove", staging, e));
    }
    let aside = aside(home, dir);
    disk.rename(staging, &aside).map_err(|e| Error::io("put aside", staging, e))?;
    disk.sync_dir(home).map_err(|e| Error::io("sync", home, e))
}

/// The last look at a spool before it takes its place. All of it is durable, whoever wrote it and when; and who restores
/// as root leaves a spool that the gateway's user can open: it belongs to whom its folder belongs to.
fn settle(disk: &dyn Disk, spool: &Path, home: &Path) -> Result<(), Error> {
    let about = |path: &Path| fs::metadata(path).map_err(|e| Error::io("inspect", path, e));
    let (of, by) = (about(home)?, about(spool)?);
    let is_given = of.uid() != by.uid() || of.gid() != by.gid();
    let owner = (is_given && rustix::process::geteuid().is_root()).then(|| (of.uid(), of.gid()));
    let folder = rustix::fs::open(spool, OFlags::DIRECTORY | OPENED, Mode::empty());
    settle_folder(disk, folder.map_err(|e| Error::io("open", spool, e.into()))?, spool, owner)
}

const OPENED: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Never through a link, and the folder last: until then nobody but us can put anything into it, and nothing of others is
/// given away by mistake.
fn settle_folder(
    disk: &dyn Disk,
    folder: OwnedFd,
    path: &Path,
    owner: Option<(u32, u32)>,
) -> Result<(), Error> {
    let failed = |what, path: &Path, e| Error::io(what, path, e);
    for entry in rustix::fs::Dir::read_from(&folder).map_err(|e| failed("list", path, e.into()))? {
        let entry = entry.map_err(|e| failed("list", path, e.into()))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let path = path.join(name);
        let opened = rustix::fs::openat(&folder, name, OPENED, Mode::empty());
        let file = File::from(opened.map_err(|e| failed("open", &path, e.into()))?);
        if file.metadata().map_err(|e| failed("inspect", &path, e))?.is_dir() {
            settle_folder(disk, file.into(), &path, owner)?;
            continue;
        }
        give(&file, &path, owner)?;
        disk.sync_data(&file).map_err(|e| failed("sync", &path, e))?;
    }
    disk.sync_dir(path).map_err(|e| failed("sync", path, e))?;
    give(&folder, path, owner)
}

fn give(file: impl AsFd, path: &Path, owner: Option<(u32, u32)>) -> Result<(), Error> {
    let Some((user, group)) = owner else { return Ok(()) };
    fchown(file, Some(user), Some(group)).map_err(|e| Error::io("give away", path, e))
}

fn device(path: &Path) -> Result<u64, Error> {
    Ok(fs::metadata(path).map_err(|e| Error::io("inspect", path, e))?.dev())
}

/// A name for the spool that was there before.
fn aside(home: &Path, dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1_u64..).map(|n| home.join(format!("{name}.before-restore-{n}"))).find(|path| !path.exists());
    free.unwrap_or_else(|| home.join(format!("{name}.before-restore")))
}

/// Puts a backup's items where they belong.
struct Building<'a> {
    staging: &'a Path,
    root: &'a RootKey,
    disk: &'a dyn Disk,
    state: &'a State,
    /// From the ring on.
    epochs: Option<Arc<Epochs>>,
    file: Option<(File, PathBuf, u64)>,
}

impl Visitor for Building<'_> {
    fn document(&mut self, _: Document) -> Result<(), Error> {
        // They do not belong to the spool.
        Ok(())
    }

    fn state(&mut self, pairs: Vec<(ByteBuf, ByteBuf)>) -> Result<(), Error> {
        self.state.put_back(pairs.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())))
    }

    fn ring(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let dir = self.staging.join(KEYS_DIR);
        make_dir(self.disk, &dir)?;
        for name in COPIES {
            ring::write(self.disk, &dir.join(name), bytes).map_err(|e| Error::io("write", &dir, e))?;
        }
        let epochs = Epochs::read(self.staging, self.root)?;
        self.epochs = epochs.map(Arc::new);
        Ok(())
    }

    fn segment(&mut self, log: &'static str, number: u64, file_bytes: u64) -> Result<(), Error> {
        let path = segment_path(&log_dir(self.staging, log), number);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        self.file = Some((file.map_err(|e| Error::io("create", &path, e))?, path, file_bytes));
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let Some((file, path, _)) = &self.file else { return Ok(()) };
        self.disk.write_at(file, bytes, at).map_err(|e| Error::io("write", path, e))
    }

    fn segment_ended(&mut self) -> Result<(), Error> {
        let Some((file, path, file_bytes)) = self.file.take() else { return Ok(()) };
        file.set_len(file_bytes).map_err(|e| Error::io("write", &path, e))?;
        self.disk.sync_data(&file).map_err(|e| Error::io("sync", &path, e))
    }

    fn log(&mut self, log: &'static str, identity: Identity) -> Result<(), Error> {
        let epochs = self.epochs.as_ref().ok_or(Error::Internal("a log before the ring"))?;
        // Another log than the one that was backed up: that one may have gone on.
        let identity =
            Identity { incarnation: keys::random()?, epoch: identity.epoch.saturating_add(1), ..identity };
        identity.store(self.disk, &log_dir(self.staging, log), &LogKeys::of(epochs, log))
    }
}
