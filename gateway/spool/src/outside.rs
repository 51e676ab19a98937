//! What a spool takes from outside, so that a simulation can own it: the disk, the hands that work on it, and where
//! the small state stands, and the randomness. The clock comes in as [`model::Clock`].
//!
//! **Promise.** [`Outside::real`] is what the product uses: the disk of the machine, a thread a log, sled. With
//! [`Hands::Stepped`] nothing happens by itself and nothing runs beside the caller: the same calls in the same order
//! lead to the same bytes on the disk (docs/adr/0014).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Error;
use crate::committer::Committer;
use crate::disk::{Disk, RealDisk};
use crate::keeper::Keeper;
use crate::keys::{Entropy, System};
use crate::state::Shelf;

/// What a spool is opened on.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Everything that changes the disk goes through here.
    pub disk: Arc<dyn Disk>,
    /// Who does the work that must not hold up a caller.
    pub hands: Hands,
    /// Where the state store stands; `None` for sled, in the spool's folder.
    pub state: Option<Arc<dyn Shelf>>,
    /// Where the names of logs and the data keys of segments come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Outside {
    /// The machine.
    pub fn real() -> Self {
        Self { disk: Arc::new(RealDisk), hands: Hands::Threads, state: None, entropy: Arc::new(System) }
    }
}

/// Who commits, frees and reads.
#[derive(Debug, Clone)]
pub enum Hands {
    /// A thread for each log, one for chores, and the runtime's threads for what blocks.
    Threads,
    /// Whoever holds the stepper; what blocks is done where it is asked for.
    Stepped(Stepper),
}

impl Hands {
    /// The bell of a worker; `None` where a thread waits by itself.
    pub(crate) fn bell(&self, worker: usize) -> Option<Arc<Notify>> {
        match self {
            Self::Threads => None,
            Self::Stepped(stepper) => stepper.0.bells.get(worker).cloned(),
        }
    }

    /// Does what waits for a log, where nobody else will.
    pub(crate) fn hurry(&self, log: usize) {
        if let Self::Stepped(stepper) = self {
            stepper.step(log);
        }
    }

    /// Runs what blocks on a thread that may.
    pub(crate) async fn off_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .unwrap_or(Err(Error::Internal("a reading thread failed"))),
            Self::Stepped(_) => work(),
        }
    }
}

/// The logs of a spool, in the order of [`crate::Spool::logs`].
pub const LOGS: usize = 5;

/// Moves the workers of one spool. Cheap to clone.
#[derive(Clone)]
pub struct Stepper(Arc<Workers>);

struct Workers {
    /// One a log, and the keeper's.
    bells: [Arc<Notify>; LOGS + 1],
    committers: Mutex<Vec<Arc<Mutex<Committer>>>>,
    keeper: Mutex<Option<Keeper>>,
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stepper")
    }
}

impl Default for Stepper {
    fn default() -> Self {
        Self::new()
    }
}

impl Stepper {
    /// For a spool that is about to be opened.
    pub fn new() -> Self {
        Self(Arc::new(Workers {
            bells: std::array::from_fn(|_| Arc::new(Notify::new())),
            committers: Mutex::default(),
            keeper: Mutex::default(),
        }))
    }

    /// Returns when something was put into a log's queue since the last time.
    pub async fn rung(&self, log: usize) {
        match self.0.bells.get(log) {
            Some(bell) => bell.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Returns when there is a chore: a spare to be made, segments to be freed.
    pub async fn chore(&self) {
        self.rung(LOGS).await;
    }

    /// Commits what waits for a log, batch after batch, on the caller's thread. Says whether there was anything.
    pub fn step(&self, log: usize) -> bool {
        let committer = lock(&self.0.committers).get(log).cloned();
        committer.is_some_and(|committer| lock(&committer).work_off())
    }

    /// Does the chores that wait. Says whether there were any.
    pub fn keep(&self) -> bool {
        lock(&self.0.keeper).as_ref().is_some_and(Keeper::work_off)
    }

    pub(crate) fn employ(&self, committer: Committer) {
        lock(&self.0.committers).push(Arc::new(Mutex::new(committer)));
    }

    pub(crate) fn entrust(&self, keeper: Keeper) {
        *lock(&self.0.keeper) = Some(keeper);
    }

    /// The end: what waits is done, and everybody is let go.
    pub(crate) fn dismiss(&self) {
        for log in 0..LOGS {
            self.step(log);
        }
        lock(&self.0.committers).clear();
        *lock(&self.0.keeper) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
