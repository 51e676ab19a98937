//! Key epochs: the ring while a spool is open, and when its keys come and go.
//!
//! **Promise.** Segments of one day share one random key, wrapped under the root key alone. Once it is destroyed,
//! nobody reads them, with a copy of the disk and the root key in hand either.
//!
//! **When an epoch begins.** A log asks at each batch whether its segment's epoch is still the newest and of today
//! (UTC); if not, it closes the segment and begins one in a new epoch. So no segment spans midnight by more than a
//! batch. A clock that goes back by less than two days changes nothing. Numbers only grow; days are labels. Where
//! the ring cannot be written, or holds [`EPOCHS_MAX`] epochs, today's records go on under yesterday's key: a record is
//! worth more than a boundary.
//!
//! **When an epoch ends.** Its key is destroyed when
//! - the last of its segments was freed by retention: then what the file system may still hold of them is noise;
//! - or a person erases it ([`crate::Spool::erase`]), which is refused while it covers a record that not every reader
//!   is past, and audited before it happens.
//!
//! No clock ends an epoch. Where segments are missing or cannot be read when the spool is opened, no epoch up to
//! then goes by retention any more (*kept through*): the disk that holds the rest may come back.
//!
//! The journal is never erased: its segments are in epoch 0, whose key is the base key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Timestamp;
use zeroize::Zeroizing;

use crate::Error;
use crate::disk::Disk;
use crate::inner::make_dir;
use crate::keys::provider::Protection;
use crate::keys::ring::{COPIES, Copy, EPOCHS_MAX, KEYS_DIR, Ring, path};
use crate::keys::{KeyId, Keys, RootKey, index_key, kek};
use crate::locked::SECRET_BYTES;

/// The epoch of what is never erased.
pub(crate) const LASTING: u64 = 0;
const DAY_MICROS: i64 = 86_400_000_000;
/// A running gateway may be writing one copy after the other.
const LOOKS: usize = 20;

/// The number of the day, UTC.
const fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY_MICROS)
}

/// Why the key of an epoch cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// Its key was destroyed.
    Erased,
    /// There never was such an epoch, or its key is not what was wrapped.
    Wrong,
}

/// How far a change of the ring came.
#[derive(Debug)]
enum Written {
    Both,
    /// In force, but the second copy still holds what was before.
    One(Error),
}

/// The ring of an open spool.
#[derive(Debug)]
pub(crate) struct Epochs {
    spool: PathBuf,
    id: KeyId,
    keys: Keys,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    root: RootKey,
    ring: Ring,
    /// The highest that was written to a copy, successfully or not.
    generation: u64,
    is_good: [bool; 2],
    /// Segments by epoch.
    uses: BTreeMap<u64, u64>,
    /// On this day the newest epoch is kept although it is of another.
    stay_on: Option<i64>,
}

impl Epochs {
    /// Reads the ring and writes nothing; `None` when there is none yet.
    pub(crate) fn read(spool: &Path, root: &RootKey) -> Result<Option<Self>, Error> {
        let mut copies = Ring::read(spool, Some(root))?;
        for _ in 0..LOOKS {
            if copies.iter().any(|copy| matches!(copy, Copy::Whole(_))) {
                break;
            }
            copies = Ring::read(spool, Some(root))?;
        }
        Self::of(spool, root, &copies)
    }

    fn of(spool: &Path, root: &RootKey, copies: &[Copy; 2]) -> Result<Option<Self>, Error> {
        let at = |copy: usize| path(spool, COPIES.get(copy).copied().unwrap_or_default());
        let generation_of = |copy: &Copy| match copy {
            Copy::Whole(ring) => Some(ring.generation),
            _ => None,
        };
        let best = copies.iter().filter_map(generation_of).max();
        for (i, copy) in copies.iter().enumerate() {
            match copy {
                // What is in force may be this copy: nothing is changed under another key.
                Copy::OtherRoot { generation } if best.is_none_or(|best| best < *generation) => {
                    return Err(Error::WrongKey { path: at(i) });
                }
                Copy::Version(version) => return Err(Error::Version { path: at(i), version: *version }),
                _ => {}
            }
        }
        let Some(best) = best else {
            if copies.iter().all(|copy| matches!(copy, Copy::Missing)) {
                return Ok(None);
            }
            return Err(Error::RingLost { path: spool.join(KEYS_DIR) });
        };
        let is_good = [0, 1].map(|i| copies.get(i).and_then(generation_of) == Some(best));
        let ring = copies.iter().find_map(|copy| match copy {
            Copy::Whole(ring) if ring.generation == best => Some(ring.clone()),
            _ => None,
        });
        let ring = ring.ok_or(Error::Internal("no copy of the ring"))?;
        let in_force = root.of_id(ring.root_id).ok_or(Error::Internal("no root key of the ring"))?;
        Self::with(spool, in_force, ring, is_good).map(Some)
    }

    fn with(spool: &Path, root: RootKey, ring: Ring, is_good: [bool; 2]) -> Result<Self, Error> {
        let keys = ring.base(&root)?;
        let state =
            State { root, generation: ring.generation, is_good, uses: BTreeMap::new(), stay_on: None, ring };
        Ok(Self { spool: spool.to_owned(), id: state.ring.id, keys, state: Mutex::new(state) })
    }

    /// Reads the ring for a spool that is being opened and writes nothing, unless the spool is new: then it is made. A
    /// spool that has logs and no ring is not opened.
    pub(crate) fn open(
        spool: &Path,
        root: &RootKey,
        disk: &dyn Disk,
        is_begun: bool,
    ) -> Result<(Self, bool), Error> {
        let copies = Ring::read(spool, Some(root))?;
        match Self::of(spool, root, &copies) {
            Ok(Some(epochs)) => return Ok((epochs, false)),
            // Begun and cut off: no log was made yet.
            Ok(None) | Err(Error::RingLost { .. }) if !is_begun => {}
            Ok(None) => return Err(Error::RingLost { path: spool.join(KEYS_DIR) }),
            Err(error) => return Err(error),
        }
        make_dir(disk, &spool.join(KEYS_DIR))?;
        let epochs = Self::with(spool, root.clone(), Ring::random(root)?, [false, false])?;
        epochs.repair(disk)?;
        Ok((epochs, true))
    }

    /// Makes both copies hold what is in force, and finishes a rotation. For a spool that was opened in full.
    pub(crate) fn settle(&self, given: &RootKey, disk: &dyn Disk) -> Result<(), Error> {
        self.repair(disk)?;
        let mut state = self.state();
        let Some(file) = given.file().filter(|file| file.next_path().exists()) else { return Ok(()) };
        match given.next().filter(|_| state.root.key_id() != given.key_id()) {
            Some(next) => {
                tracing::info!("an interrupted rotation of the root key is finished");
                file.promote(disk)?;
                state.root = next.clone();
            }
            None => {
                tracing::warn!(
                    "a rotation of the root key was interrupted before it began: it is what it was"
                );
                file.discard(disk)?;
                state.root = given.clone().settled(file.clone());
            }
        }
        Ok(())
    }

    /// Reads the ring again, for one who looks at a spool that others have open. What cannot be read is as it was.
    pub(crate) fn refresh(&self) {
        let mut state = self.state();
        if let Ok(Some(now)) = Self::read(&self.spool, &state.root)
            && let Ok(now) = now.state.into_inner()
            && now.ring.id == self.id
        {
            *state = now;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn id(&self) -> KeyId {
        self.id
    }

    /// What the base key gives.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn root(&self) -> RootKey {
        self.state().root.clone()
    }

    /// The ring as it is.
    pub(crate) fn ring(&self) -> Ring {
        self.state().ring.clone()
    }

    /// The ring as it is, and the root key that it is wrapped under.
    pub(crate) fn root_and_ring(&self) -> (RootKey, Ring) {
        let state = self.state();
        (state.root.clone(), state.ring.clone())
    }

    /// Both copies, as they stand on the disk now; none is being written meanwhile.
    pub(crate) fn copies(&self) -> Result<[Copy; 2], Error> {
        let state = self.state();
        Ring::read(&self.spool, Some(&state.root))
    }

    /// The key that wraps a log's data keys in an epoch.
    pub(crate) fn kek(&self, epoch: u64, log: &str) -> Result<Zeroizing<[u8; 32]>, NoKey> {
        if epoch == LASTING {
            return Ok(self.keys.kek(log));
        }
        Ok(kek(&*self.epoch_key(epoch)?, log))
    }

    /// The key of what makes a log's records of an epoch searchable. The lasting epoch has none: what is never erased is
    /// not indexed.
    pub(crate) fn index_key(&self, epoch: u64, log: &str) -> Result<Zeroizing<[u8; 32]>, NoKey> {
        Ok(index_key(&*self.epoch_key(epoch)?, log))
    }

    fn epoch_key(&self, epoch: u64) -> Result<Zeroizing<[u8; SECRET_BYTES]>, NoKey> {
        let state = self.state();
        if state.ring.entry(epoch).is_none() {
            return Err(if epoch < state.ring.next { NoKey::Erased } else { NoKey::Wrong });
        }
        state.ring.epoch_key(&state.root, epoch).ok_or(NoKey::Wrong)
    }

    /// Whether a segment of this epoch may take records now.
    pub(crate) fn is_current(&self, epoch: u64, now: Timestamp) -> bool {
        epoch == LASTING || self.state().current(now) == Some(epoch)
    }

    /// The epoch in which a segment is begun now, counted as one of its users.
    pub(crate) fn begin(&self, now: Timestamp, disk: &dyn Disk) -> Result<u64, Error> {
        let mut state = self.state();
        let number = match state.current(now) {
            Some(number) => number,
            None => self.advance(&mut state, now, disk)?,
        };
        *state.uses.entry(number).or_default() += 1;
        Ok(number)
    }

    fn advance(&self, state: &mut State, now: Timestamp, disk: &dyn Disk) -> Result<u64, Error> {
        let newest = state.ring.entries.last().map(|entry| entry.number);
        let begun = if state.ring.entries.len() >= EPOCHS_MAX {
            Err(Error::Internal("the ring is full"))
        } else {
            let next = state.ring.with_epoch(&state.root, now.micros())?;
            self.commit(state, next, disk)
        };
        match begun {
            Ok(written) => {
                warn_of(written);
                state.stay_on = None;
                tracing::info!(epoch = state.ring.next - 1, "a key epoch begins");
                Ok(state.ring.next - 1)
            }
            Err(error) => {
                let newest = newest.ok_or_else(|| error.clone())?;
                tracing::warn!(%error, epoch = newest, "no new key epoch could be begun: the last one goes on");
                state.stay_on = Some(day_of(now.micros()));
                Ok(newest)
            }
        }
    }

    /// Begins another epoch where this one is the newest, so that it can be erased.
    pub(crate) fn leave(&self, epoch: u64, now: Timestamp, disk: &dyn Disk) -> Result<(), Error> {
        let mut state = self.state();
        if state.ring.entries.last().is_none_or(|entry| entry.number != epoch) {
            return Ok(());
        }
        if state.ring.entries.len() >= EPOCHS_MAX {
            return Err(Error::Internal("the ring is full: erase another epoch first"));
        }
        let next = state.ring.with_epoch(&state.root, now.micros())?;
        state.stay_on = None;
        self.commit(&mut state, next, disk).map(warn_of)
    }

    /// A segment of this epoch was found.
    pub(crate) fn found(&self, epoch: u64) {
        *self.state().uses.entry(epoch).or_default() += 1;
    }

    /// A segment of this epoch is gone, or was not begun after all.
    pub(crate) fn released(&self, epoch: u64) {
        let mut state = self.state();
        let left = state.uses.entry(epoch).or_default();
        *left = left.saturating_sub(1);
    }

    /// What is missing today may come back: no epoch up to now is retired.
    pub(crate) fn keep(&self, disk: &dyn Disk) -> Result<(), Error> {
        let mut state = self.state();
        let Some(newest) = state.ring.entries.last().map(|entry| entry.number) else { return Ok(()) };
        if state.ring.kept_through >= newest {
            return Ok(());
        }
        tracing::warn!("segments are missing or cannot be read: the keys of their epochs are kept");
        let mut kept = state.ring.clone();
        kept.kept_through = newest;
        self.commit(&mut state, kept, disk).map(warn_of)
    }

    /// Destroys the keys of epochs whose segments were all freed.
    pub(crate) fn retire(&self, disk: &dyn Disk) -> Result<(), Error> {
        let mut state = self.state();
        let newest = state.ring.entries.last().map_or(0, |entry| entry.number);
        let kept = state.ring.kept_through;
        let uses = state.uses.clone();
        let is_unused = |number: u64| {
            number > kept && number != newest && uses.get(&number).is_none_or(|count| *count == 0)
        };
        let left = state.ring.without(|entry| is_unused(entry.number));
        if left.entries.len() == state.ring.entries.len() {
            return Ok(());
        }
        let gone = state.ring.entries.len() - left.entries.len();
        tracing::info!(epochs = gone, "keys of epochs whose records were freed are destroyed");
        self.commit(&mut state, left, disk).map(warn_of)
    }

    /// Destroys the key of an epoch, in both copies.
    pub(crate) fn destroy(&self, epoch: u64, disk: &dyn Disk) -> Result<(), Error> {
        let mut state = self.state();
        let left = state.ring.without(|entry| entry.number == epoch);
        match self.commit(&mut state, left, disk)? {
            Written::Both => Ok(()),
            Written::One(error) => Err(error),
        }
    }

    /// Rewraps everything under a new root key, kept as the former one or in another way, and puts it in the place of the former one. In this order: the new
    /// key is durable beside the old one; both copies of the ring, one after the other; the new key takes the old
    /// one's name. Cut off anywhere, the next opening goes back or on to the end.
    pub(crate) fn rotate(&self, protection: Option<Protection>, disk: &dyn Disk) -> Result<RootKey, Error> {
        self.repair(disk)?;
        let mut state = self.state();
        let file = state.root.file().filter(|file| !file.is_credential()).ok_or(Error::NoKeyFile)?;
        let file = file.kept_by(protection.unwrap_or_else(|| file.protection().clone()));
        let new = RootKey::generate()?;
        file.stage(disk, &new)?;
        let ring = state.ring.rewrapped(&state.root, &new)?;
        let old = std::mem::replace(&mut state.root, new.settled(file.clone()));
        match self.commit(&mut state, ring, disk) {
            Ok(Written::Both) => {}
            // The new root key is in force and must get its place; the copy that stands behind is useless without
            // the former one, and written anew when the spool is opened.
            Ok(Written::One(error)) => {
                file.promote(disk)?;
                return Err(error);
            }
            Err(error) => {
                state.root = old;
                return Err(error);
            }
        }
        file.promote(disk)?;
        Ok(state.root.clone())
    }

    /// Makes both copies hold what is in force.
    pub(crate) fn repair(&self, disk: &dyn Disk) -> Result<(), Error> {
        let mut state = self.state();
        if state.is_good == [true, true] {
            return Ok(());
        }
        let ring = state.ring.clone();
        match self.commit(&mut state, ring, disk)? {
            Written::Both => Ok(()),
            Written::One(error) => Err(error),
        }
    }

    /// Writes the copy that is not good first, so that one is whole at any time. An error: nothing is in force that
    /// was not before, but for what a crash right now may make of it.
    fn commit(&self, state: &mut State, mut ring: Ring, disk: &dyn Disk) -> Result<Written, Error> {
        state.generation += 1;
        ring.generation = state.generation;
        let first = usize::from(state.is_good == [true, false]);
        self.write(state, &ring, first, disk)?;
        let second = self.write(state, &ring, 1 - first, disk);
        state.ring = ring;
        Ok(second.map_or_else(Written::One, |()| Written::Both))
    }

    fn write(&self, state: &mut State, ring: &Ring, copy: usize, disk: &dyn Disk) -> Result<(), Error> {
        let mut mark = |is_good| state.is_good.iter_mut().skip(copy).take(1).for_each(|good| *good = is_good);
        mark(false);
        ring.write(disk, &self.spool, copy, &state.root)?;
        mark(true);
        Ok(())
    }
}

fn warn_of(written: Written) {
    if let Written::One(error) = written {
        tracing::warn!(%error, "one copy of the ring of keys could not be written");
    }
}

impl State {
    /// The epoch for segments begun now; `None` when it is time for another.
    fn current(&self, now: Timestamp) -> Option<u64> {
        let newest = self.ring.entries.last()?;
        let (today, begun_on) = (day_of(now.micros()), day_of(newest.begun_at));
        let is_of_today = today == begun_on || today == begun_on - 1 || self.stay_on == Some(today);
        is_of_today.then_some(newest.number)
    }
}
