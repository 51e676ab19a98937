//! What no record should wait for, done by one thread or a step at a time ([`Hands`]): it fills spare segments with zeros and frees delivered
//! ones. And the clock by which delivered segments age.
//!
//! **The retention clock** only runs while the spool is open, and no step of the wall clock moves it by more
//! than [`STEP_S_MAX`]: a clock that jumps ten years ahead deletes nothing. It and the stamps stand in the file
//! `retention`, one line each. Losing that file keeps records longer, never shorter; it is not synced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use model::Timestamp;
use tokio::sync::Notify;

use crate::Error;
use crate::inner::Inner;
use crate::outside::Hands;
use crate::table::Table;

/// Most the retention clock moves between two looks at the wall clock.
const STEP_S_MAX: u64 = 60 * 60;
/// The file is written again when the clock has moved this far.
const STORE_EVERY_S: u64 = 15 * 60;
const CHORES_MAX: usize = 64;
const FILE_NAME: &str = "retention";

/// What the keeper is asked to do, with the log's index.
#[derive(Debug)]
pub(crate) enum Chore {
    Spare(usize),
    Free(usize),
    /// Free what was given up.
    Tidy(usize),
    Stop,
}

/// The way to the keeper. Never blocks; a chore that finds no room is asked for again later.
#[derive(Debug, Clone)]
pub(crate) struct Chores {
    sender: SyncSender<Chore>,
    /// Rung beside, where the keeper has no thread of its own.
    bell: Option<Arc<Notify>>,
}

impl Chores {
    pub(crate) fn new(bell: Option<Arc<Notify>>) -> (Self, Receiver<Chore>) {
        let (sender, receiver) = sync_channel(CHORES_MAX);
        (Self { sender, bell }, receiver)
    }

    /// Whether it was taken.
    pub(crate) fn ask(&self, chore: Chore) -> bool {
        let taken = self.sender.try_send(chore).is_ok();
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
        taken
    }

    /// Waits until the keeper takes note.
    pub(crate) fn stop(&self) {
        // An error means that it is gone already.
        drop(self.sender.send(Chore::Stop));
    }
}

/// Starts the keeper of these logs; says which thread it has, if it has one. With less than `low_bytes` left on the disk,
/// what was delivered goes.
pub(crate) fn start(
    hands: &Hands,
    logs: Vec<Arc<Inner>>,
    chores: Receiver<Chore>,
    low_bytes: u64,
) -> Result<Option<JoinHandle<()>>, Error> {
    let keeper = Keeper { logs, chores, low_bytes };
    if let Hands::Stepped(stepper) = hands {
        stepper.entrust(keeper);
        return Ok(None);
    }
    std::thread::Builder::new()
        .name("spool-keeper".to_owned())
        .spawn(move || {
            while let Ok(chore) = keeper.chores.recv() {
                if !keeper.turn(&chore) {
                    break;
                }
            }
        })
        .map(Some)
        .map_err(|e| Error::io("start a thread for", Path::new("the spool"), e))
}

/// See the module.
pub(crate) struct Keeper {
    logs: Vec<Arc<Inner>>,
    chores: Receiver<Chore>,
    low_bytes: u64,
}

impl Keeper {
    /// Does the chores that wait and returns. Says whether there were any.
    pub(crate) fn work_off(&self) -> bool {
        let mut worked = false;
        while let Ok(chore) = self.chores.try_recv() {
            worked = true;
            if !self.turn(&chore) {
                break;
            }
        }
        worked
    }

    /// Whether there may be another.
    fn turn(&self, chore: &Chore) -> bool {
        match chore {
            Chore::Stop => return false,
            Chore::Spare(log) => {
                if let Some(log) = self.logs.get(*log) {
                    prepare(log);
                }
            }
            Chore::Free(log) => {
                if let Some(log) = self.logs.get(*log) {
                    free(log);
                    relieve(log, self.low_bytes);
                }
            }
            Chore::Tidy(log) => {
                if let Some(log) = self.logs.get(*log) {
                    tidy(log);
                }
            }
        }
        true
    }
}

fn prepare(log: &Inner) {
    if let Err(error) = log.prepare_spare() {
        // The committer will meet the same and answer those who wait.
        tracing::debug!(log = log.name, %error, "no spare segment yet");
    }
    log.is_spare_asked.store(false, Ordering::Release);
}

fn tidy(log: &Inner) {
    match log.free_dead() {
        Ok(0) => {}
        Ok(_) => retire(log),
        Err(error) => {
            tracing::warn!(log = log.name, %error, "a segment that holds nothing could not be freed");
        }
    }
}

fn free(log: &Inner) {
    log.is_freeing_asked.store(false, Ordering::Release);
    let freeing = log.freeing();
    let stored = {
        let mut retention = log.retention.lock().unwrap_or_else(PoisonError::into_inner);
        retention.advance(freeing.now);
        let now_s = retention.now_s();
        let is_changed = log.table_mut().mark_delivered(freeing.through, now_s);
        retention.store_if_due(&log.dir, &log.table(), is_changed)
    };
    if let Err(error) = stored {
        tracing::debug!(log = log.name, %error, "retention stamps were not written; records are kept longer");
    }
    loop {
        match log.free_oldest(false) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(log = log.name, %error, "a delivered segment could not be freed");
                break;
            }
        }
    }
    retire(log);
}

/// The keys of epochs that have no records any more are destroyed.
fn retire(log: &Inner) {
    if let Err(error) = log.keys.epochs().retire(&*log.disk) {
        tracing::warn!(%error, "keys of epochs whose records were freed are not destroyed yet");
    }
}

/// What was kept only for later goes before somebody needs the room.
fn relieve(log: &Inner, low_bytes: u64) {
    let mut freed = 0_u64;
    while log.disk.available(&log.dir).is_ok_and(|available| available < low_bytes) && log.free_somewhere() {
        freed += 1;
    }
    if freed > 0 {
        tracing::info!(segments = freed, "the disk is nearly full: delivered records were freed early");
        retire(log);
    }
}

/// The retention clock and what was read with it.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    now_s: u64,
    stored_s: u64,
    wall: Option<Timestamp>,
    stamps: BTreeMap<u64, u64>,
}

impl Retention {
    pub(crate) const fn now_s(&self) -> u64 {
        self.now_s
    }

    pub(crate) fn advance(&mut self, wall: Timestamp) {
        if let Some(before) = self.wall {
            let passed_s = u64::try_from(wall.micros_since(before) / 1_000_000).unwrap_or(0);
            if passed_s == 0 && wall >= before {
                // Let fractions add up.
                return;
            }
            self.now_s = self.now_s.saturating_add(passed_s.min(STEP_S_MAX));
        }
        self.wall = Some(wall);
    }

    /// Reads what an earlier process left; anything odd is as good as nothing.
    pub(crate) fn load(dir: &Path) -> Self {
        Self::parse(&fs::read_to_string(path(dir)).unwrap_or_default()).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let now_s = lines.next()?.strip_prefix("now ")?.parse().ok()?;
        let mut stamps = BTreeMap::new();
        for line in lines {
            let (number, at) = line.split_once(' ')?;
            stamps.insert(number.parse().ok()?, at.parse::<u64>().ok().filter(|at| *at <= now_s)?);
        }
        Some(Self { now_s, stored_s: now_s, wall: None, stamps })
    }

    pub(crate) fn stamp(&self, table: &mut Table) {
        for (number, at) in &self.stamps {
            if let Some(segment) = table.segment_mut(*number) {
                segment.delivered_at_s = Some(*at);
            }
        }
    }

    pub(crate) fn store_if_due(
        &mut self,
        dir: &Path,
        table: &Table,
        is_changed: bool,
    ) -> std::io::Result<()> {
        if !is_changed && self.now_s < self.stored_s.saturating_add(STORE_EVERY_S) {
            return Ok(());
        }
        let mut text = format!("now {}\n", self.now_s);
        for segment in table.iter() {
            if let Some(at) = segment.delivered_at_s {
                text.push_str(&format!("{} {at}\n", segment.number));
            }
        }
        let temporary = dir.join("retention.tmp");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, path(dir))?;
        self.stored_s = self.now_s;
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_clock_ages_nothing_by_more_than_an_hour() {
        let mut retention = Retention::default();
        let at = |s: i64| Timestamp::from_micros(s * 1_000_000);
        retention.advance(at(1000));
        assert_eq!(retention.now_s(), 0, "the first look only sets the mark");
        retention.advance(at(1010));
        assert_eq!(retention.now_s(), 10);
        retention.advance(at(10_000_000_000));
        assert_eq!(retention.now_s(), 10 + STEP_S_MAX);
        retention.advance(at(0));
        assert_eq!(retention.now_s(), 10 + STEP_S_MAX, "it never goes back");
        for tenth in 0..=20 {
            retention.advance(Timestamp::from_micros(tenth * 100_000));
        }
        assert_eq!(retention.now_s(), 12 + STEP_S_MAX, "fractions add up");
    }

    #[test]
    fn what_is_odd_in_the_file_counts_for_nothing() {
        assert_eq!(Retention::parse("now 7\n1 3\n2 7\n").unwrap().stamps.len(), 2);
        for junk in ["", "now", "now x", "now 7\n1", "now 7\n1 8\n", "now 7\nx 1"] {
            assert!(Retention::parse(junk).is_none(), "{junk}");
        }
    }
}
