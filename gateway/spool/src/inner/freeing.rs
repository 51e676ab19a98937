//! What goes, and what there is room for.

use std::fs::OpenOptions;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, Weak};

use model::{Seq, Timestamp};

use super::{Freeing, Inner};
use crate::Error;
use crate::keeper::Chore;
use crate::log::LogState;
use crate::pressure::Room;
use crate::table::segment_path;

/// The oldest segment, where everyone who is waited for is past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ripe {
    /// The last number that goes with it.
    pub(crate) through: Seq,
    /// Whether it was kept for as long as it must be.
    pub(crate) is_old: bool,
}

/// See [`Inner::aside`].
#[derive(Debug)]
pub(crate) struct Aside<'a>(&'a Inner);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.aside.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    /// Makes room on the disk: delivered records go, whichever log they are in, those of the bulk lane first.
    pub(crate) fn free_somewhere(&self) -> bool {
        let mut others = self.giving_way.get().into_iter().flatten().filter_map(Weak::upgrade);
        others.any(|log| log.free_oldest_or_tell()) || self.free_oldest_or_tell()
    }

    pub(super) fn free_oldest_or_tell(&self) -> bool {
        self.free_oldest(true).unwrap_or_else(|error| {
            tracing::warn!(log = self.name, %error, "a delivered segment could not be freed");
            false
        })
    }

    /// Whether [`Self::free_somewhere`] would find something.
    pub(super) fn is_something_freeable(&self) -> bool {
        let mut others = self.giving_way.get().into_iter().flatten().filter_map(Weak::upgrade);
        self.is_freeable() || others.any(|log| log.is_freeable())
    }

    /// Bytes of delivered records that would go if room were needed.
    pub(crate) fn freeable_bytes(&self) -> u64 {
        let through = self.freeing().through;
        self.table().freeable_bytes(through)
    }

    pub(super) fn is_freeable(&self) -> bool {
        let through = self.freeing().through;
        self.table().freeable(through).is_some()
    }

    /// How much of its budget is used by what may not go, and what is left.
    pub(crate) fn room(&self) -> Room {
        let through = self.freeing().through;
        let bytes = self.limits.segment_bytes;
        let table = self.table();
        let (closed, newest) = table.needed(through);
        let end = table.iter().last().map_or(0, |s| s.end);
        drop(table);
        // The open segment takes its whole size of the budget; what is behind its end is room.
        let open = if end == 0 { 0 } else { bytes };
        let behind = if end == 0 { 0 } else { self.capacity().saturating_sub(end) };
        let more = self.limits.bytes_max.saturating_sub(closed + open) / bytes * bytes;
        let is_full = self.is_beyond_budget() || (self.health() == LogState::Full && !self.has_room());
        let left = if is_full { 0 } else { behind + more };
        Room { needed_bytes: closed + newest, left_bytes: left }
    }

    /// Whether a segment could be had, without making one: for refusing a record before its first byte.
    pub(crate) fn has_room(&self) -> bool {
        match self.spare.try_lock() {
            Ok(spare) if spare.is_none() => {}
            // There is one, or it is being made.
            _ => return true,
        }
        let bytes = self.limits.segment_bytes;
        if self.is_freeable() {
            return true;
        }
        let fits = self.fits_another();
        let is_there = |available| available >= bytes.saturating_add(self.limits.reserve_bytes);
        fits && (self.disk.available(&self.dir).is_ok_and(is_there) || self.is_something_freeable())
    }

    /// Whether another segment is within what may be taken at this moment.
    pub(super) fn fits_another(&self) -> bool {
        let bytes = self.limits.segment_bytes;
        let table = self.table();
        if self.aside.load(Ordering::Acquire) == 0 {
            return table.bytes().saturating_add(bytes) <= self.limits.bytes_max;
        }
        // The newest is cut when the next one begins.
        let void = table.iter().last().map_or(0, |newest| newest.bytes.saturating_sub(newest.end));
        table.bytes().saturating_sub(void).saturating_add(bytes)
            <= self.limits.bytes_max.saturating_add(self.limits.aside_bytes)
    }

    /// Whether what is set aside is in use: then it is for nobody else.
    pub(crate) fn is_beyond_budget(&self) -> bool {
        self.limits.aside_bytes > 0 && self.table().bytes() > self.limits.bytes_max
    }

    /// While the guard lives, the log may grow into what is set aside.
    pub(crate) fn aside(&self) -> Aside<'_> {
        self.aside.fetch_add(1, Ordering::AcqRel);
        Aside(self)
    }

    /// Stamps the segments up to a number as delivered, and tells of the oldest, where it may go then. What is old is told
    /// by the retention clock, which no step of the wall clock moves far.
    pub(crate) fn ripen(&self, through: Seq, now: Timestamp) -> Option<Ripe> {
        let now_s = {
            let mut retention = self.retention.lock().unwrap_or_else(PoisonError::into_inner);
            retention.advance(now);
            let now_s = retention.now_s();
            let is_changed = self.table_mut().mark_delivered(through, now_s);
            if let Err(error) = retention.store_if_due(&self.dir, &self.table(), is_changed) {
                tracing::debug!(log = self.name, %error, "retention stamps were not written; records are kept longer");
            }
            now_s
        };
        let table = self.table();
        let oldest = table.freeable(through)?;
        let kept_s = oldest.delivered_at_s.map_or(0, |at| now_s.saturating_sub(at));
        Some(Ripe { through: oldest.freed_through(), is_old: kept_s >= self.limits.retention_s })
    }

    pub(crate) fn freeing(&self) -> Freeing {
        *self.freeing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the oldest segment when every reader is past it and it is old enough, or `under_pressure`. Says
    /// whether it did. Order: floor durable, unlink, directory synced. Where a full disk has no room for the floor, it is
    /// written when the room is there.
    pub(crate) fn free_oldest(&self, under_pressure: bool) -> Result<bool, Error> {
        let freeing = self.freeing();
        let now_s = self.retention.lock().unwrap_or_else(PoisonError::into_inner).now_s();
        let mut identity = self.identity();
        let (number, freed_through) = {
            let table = self.table();
            let Some(oldest) = table.freeable(freeing.through) else { return Ok(false) };
            let is_old =
                oldest.delivered_at_s.is_some_and(|at| now_s.saturating_sub(at) >= self.limits.retention_s);
            if !is_old && !under_pressure {
                return Ok(false);
            }
            (oldest.number, oldest.freed_through())
        };
        let mut changed = *identity;
        changed.floor = changed.floor.max(freed_through);
        let mut store_floor =
            || changed.store(&*self.disk, &self.dir, &self.keys).map(|()| *identity = changed);
        // On a full disk the room comes first. Should the box die in between, the records freed are reported as
        // missing to a reader that asks for them; every reader is past them.
        let before = store_floor();
        self.drop_sidecar(number);
        self.forget(number);
        self.forget_opened(number);
        let path = segment_path(&self.dir, number);
        self.disk.remove(&path).map_err(|e| self.storage("removing a segment", e))?;
        self.disk.sync_dir(&self.dir).map_err(|e| self.storage("syncing the directory", e))?;
        if before.is_err()
            && let Err(error) = store_floor()
        {
            tracing::warn!(log = self.name, %error, "the floor could not be written");
        }
        tracing::debug!(log = self.name, segment = number, freed_through, "freed");
        Ok(true)
    }

    /// Frees, before their turn, segments that hold nothing but what was given up. Says how many. In a log with damage
    /// none: a record that needs them may be there, and only hidden.
    pub(crate) fn free_dead(&self) -> Result<u64, Error> {
        let mut freed = 0;
        while self.damaged.load(Ordering::Relaxed) == 0 {
            // Chosen and taken out under one lock, so that nothing comes to need it in between.
            let (segment, before) = {
                let mut table = self.table_mut();
                let Some((number, before)) = table.dead() else { break };
                let Some(segment) = table.remove_dead(number) else { break };
                (segment, before)
            };
            // That it was cut to its footer must be durable before nothing else says so.
            if let Some(before) = before {
                self.sync_segment(before).map_err(|e| self.storage("syncing a segment", e))?;
            }
            self.keys.epochs().released(segment.key_epoch);
            self.forget_opened(segment.number);
            self.drop_sidecar(segment.number);
            let path = segment_path(&self.dir, segment.number);
            self.disk.remove(&path).map_err(|e| self.storage("removing a segment", e))?;
            tracing::debug!(
                log = self.name,
                segment = segment.number,
                "freed: it held nothing that was finished"
            );
            freed += 1;
        }
        if freed > 0 {
            self.disk.sync_dir(&self.dir).map_err(|e| self.storage("syncing the directory", e))?;
        }
        Ok(freed)
    }

    fn sync_segment(&self, number: u64) -> io::Result<()> {
        match OpenOptions::new().write(true).open(segment_path(&self.dir, number)) {
            Ok(file) => self.disk.sync_data(&file),
            // Freed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes room for a segment by freeing one before its time. Says whether there was one.
    pub(super) fn free_under_pressure(&self) -> Result<bool, Error> {
        Ok(self.free_dead()? > 0 || self.free_oldest(true)?)
    }

    /// How many bytes an object may still take, what would be freed for it included, and how many the log may hold at all
    /// on this disk.
    pub(crate) fn room_for_object(&self) -> (u64, u64) {
        let used = self.table().bytes();
        let disk = self.disk.available(&self.dir).unwrap_or(0).saturating_sub(self.limits.reserve_bytes);
        let bytes_max = self.limits.bytes_max.min(used.saturating_add(disk));
        (bytes_max.saturating_sub(used).saturating_add(self.freeable_bytes()), bytes_max)
    }

    /// Asks the keeper to free what was given up.
    pub(super) fn ask_to_tidy(&self) {
        if !self.chores.ask(Chore::Tidy(self.index)) {
            tracing::debug!(log = self.name, "what was given up is freed when room is needed");
        }
    }
}
