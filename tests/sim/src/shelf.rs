//! The state store of a simulated box: pairs in memory, a barrier, and what a crash leaves of what came after it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use spool::{Error, Shelf, Write};

use crate::dice::Dice;
use crate::plant::Plant;
use crate::world::{World, cursor};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
struct Inner {
    durable: Pairs,
    now: Pairs,
    /// Batches applied since the barrier, oldest first.
    since: Vec<Vec<Write>>,
    was_lost: bool,
    /// The furthest that each cursor ever was, durably.
    passed: BTreeMap<Vec<u8>, u64>,
}

/// What stands under all lives of a box.
#[derive(Debug, Default)]
pub(crate) struct Cabinet(Mutex<Inner>);

impl Cabinet {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The process ends: of what came after the barrier some of the oldest is there.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let mut inner = self.lock();
        let kept = dice.within(0..=inner.since.len() as u64) as usize;
        for batch in std::mem::take(&mut inner.since).into_iter().take(kept) {
            apply(&mut inner.durable, batch);
        }
        inner.now = inner.durable.clone();
        inner.was_lost = false;
    }

    /// The store does not open and is begun anew.
    pub(crate) fn lose(&self) {
        let mut inner = self.lock();
        let passed = std::mem::take(&mut inner.passed);
        *inner = Inner { was_lost: true, passed, ..Inner::default() };
    }

    /// What the process sees.
    pub(crate) fn now(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.lock().now.get(key).cloned()
    }

    /// How far a cursor was at the most, when a power cut would have left it there.
    pub(crate) fn passed(&self, key: &[u8]) -> u64 {
        self.lock().passed.get(key).copied().unwrap_or(0)
    }
}

fn apply(pairs: &mut Pairs, batch: Vec<Write>) {
    for (key, value) in batch {
        match value {
            Some(value) => drop(pairs.insert(key, value)),
            None => drop(pairs.remove(&key)),
        }
    }
}

/// The store as one process has it.
#[derive(Debug)]
pub(crate) struct ModelShelf(pub(crate) Arc<World>);

impl ModelShelf {
    fn turn(&self, what: &'static str) -> Result<(), Error> {
        self.0.platter.turn().map_err(|e| Error::State { what, problem: e.to_string().into() })
    }
}

impl Shelf for ModelShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.cabinet.lock().now.get(key).cloned())
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), Error> {
        if self.0.platter.is_dead() {
            return self.turn("write");
        }
        for (key, value) in &writes {
            if let Some(value) = value {
                self.0.cursor_written(key, value);
            }
        }
        let mut inner = self.0.cabinet.lock();
        apply(&mut inner.now, writes.clone());
        inner.since.push(writes);
        Ok(())
    }

    fn walk(&self, from: &[u8], see: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Error> {
        // Seen as it was at the beginning: whoever looks may write.
        let from: Bound<Vec<u8>> = Bound::Included(from.to_vec());
        let pairs: Vec<_> = self.0.cabinet.lock().now.range((from, Bound::Unbounded)).map(clone).collect();
        for (key, value) in pairs {
            if !see(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.turn("flush")?;
        if self.0.plant == Some(Plant::DeleteBeforeCursorIsDurable) {
            return Ok(());
        }
        let mut inner = self.0.cabinet.lock();
        inner.since.clear();
        inner.durable = inner.now.clone();
        let cursors = inner.durable.iter().filter_map(|(k, v)| Some((k.clone(), cursor(k, v)?.2)));
        for (key, seq) in cursors.collect::<Vec<_>>() {
            let passed = inner.passed.entry(key).or_default();
            *passed = seq.max(*passed);
        }
        Ok(())
    }

    fn was_lost(&self) -> bool {
        self.0.cabinet.lock().was_lost
    }
}

fn clone((key, value): (&Vec<u8>, &Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    (key.clone(), value.clone())
}
