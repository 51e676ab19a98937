//! One log of a spool that belongs to another process, or to none: for reading alone.

use std::path::Path;
use std::sync::Arc;

use model::{Clock, Slug};

use crate::cipher::LogKeys;
use crate::disk::RealDisk;
use crate::epochs::Epochs;
use crate::format::{SegmentHeader, Suite};
use crate::inner::{Inner, Parts};
use crate::keeper::Chores;
use crate::keys::ring::KEYS_DIR;
use crate::outside::Hands;
use crate::recover::{Owner, recover};
use crate::spool::{LOG_NAMES, gateway_hash, limits, log_dir};
use crate::{Config, Error, Keys, Log, RootKey};

/// What the base key of a spool gives, for one who only looks at it.
///
/// # Errors
/// [`Error::WrongKey`], [`Error::RingLost`], [`Error::Version`], [`Error::Io`].
pub fn keys_for_reading(dir: &Path, root: &RootKey) -> Result<Keys, Error> {
    Ok(epochs(dir, root)?.keys().clone())
}

fn epochs(dir: &Path, root: &RootKey) -> Result<Epochs, Error> {
    Epochs::read(dir, root)?.ok_or_else(|| Error::RingLost { path: dir.join(KEYS_DIR) })
}

/// Opens one log as it stands on the disk, for reading. Takes no lock, so it works beside a running gateway, and
/// then shows what was durable when it was opened. Appending to it never ends: do not. Blocks.
///
/// # Errors
/// [`Error::WrongKey`], [`Error::OtherGateway`], [`Error::Version`], [`Error::Io`].
pub fn open_for_reading(
    dir: &Path,
    name: &str,
    root: &RootKey,
    gateway: &Slug,
    clock: Arc<dyn Clock>,
) -> Result<Log, Error> {
    let name = LOG_NAMES.into_iter().find(|known| *known == name).ok_or(Error::Internal("no such log"))?;
    let keys = LogKeys::of(&Arc::new(epochs(dir, root)?), name);
    let owner = Owner { keys: &keys, gateway: gateway_hash(gateway), log: SegmentHeader::log_name(name) };
    let dir = log_dir(dir, name);
    let recovered = recover(&dir, &owner, &RealDisk)?;
    let identity = recovered.identity.ok_or_else(|| {
        Error::io("find a log in", &dir, std::io::Error::from(std::io::ErrorKind::NotFound))
    })?;
    let config = Config::default();
    let (chores, _nobody_asks) = Chores::new(None);
    let parts = Parts {
        name,
        dir,
        keys,
        suite: Suite::choose(config.suite),
        limits: limits(&config, name, 0),
        disk: Arc::new(RealDisk),
        hands: Hands::Threads,
        clock,
        index: 0,
        chores,
    };
    let log = Log(Arc::new(Inner::new(parts, recovered.table, identity)));
    log.0.queue.stop(false);
    Ok(log)
}
