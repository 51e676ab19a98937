//! One table root: the only place where its tables are written.
//!
//! **Promise.** A batch that was answered with [`Landed`] is in `raw` and in every table that follows it, once,
//! and survives a power cut. A batch that was not answered is there whole or not at all, and asking again tells.
//!
//! **How.** One task a root takes what has queued up, of all streams, and makes one commit on `raw` of it: rows,
//! each stream's `txn` and the manifests. Then the other tables catch up from there, each with a commit of its
//! own that says up to which version of `raw` it goes. Only then are the senders answered. Nothing is kept
//! outside the tables: any number of replicas may serve one root, and whoever loses the race for a version reads
//! what won and judges its batches anew ([`streams`]).
//!
//! **Limits.** [`QUEUE_MAX`] requests wait; [`GROUP_MAX`] of them or [`GROUP_BYTES_MAX`] go into one commit.

mod committer;
mod follow;
mod hook;
mod lookup;
mod note;
pub mod streams;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use model::wire::{EpochGrant, EpochRequest, Landed};
use model::{Batch, Clock, Released, Seq, StreamId};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::lookup::Key;
use crate::delta;
use crate::rows::{Manifest, Silver};

pub(crate) use self::follow::RAW_VERSION;
pub(crate) use self::hook::{Hook, Step};
pub(crate) use self::streams::Track;
pub use committer::Committer;

/// Most requests that wait for one root; the next is told to come back.
pub const QUEUE_MAX: usize = 512;
/// Most requests in one commit.
pub const GROUP_MAX: usize = 128;
/// Most bytes of batches, uncompressed, in one commit, unless one batch alone has more.
pub const GROUP_BYTES_MAX: u64 = 128 << 20;

/// A root as configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds the tables; made if need be.
    pub root: PathBuf,
    /// Label of the policy whose releases it takes. Written into the tables; it cannot change later.
    pub policy: String,
}

/// A root could not be opened. The operator acts.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", root.display())]
pub struct Error {
    root: PathBuf,
    source: delta::Error,
}

/// Why a request was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another number comes next.
    OutOfOrder {
        /// Which.
        expected: Seq,
    },
    /// A batch with this first number was committed with another last.
    OtherRange(Landed),
    /// Another epoch is in force, or none.
    Fenced {
        /// The one in force.
        current: Option<u64>,
    },
    /// Too many requests wait.
    Busy,
    /// The storage failed; the log says how.
    Unavailable,
}

/// A batch that was checked, on its way into the tables.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) manifest: Manifest,
    pub(crate) records: Arc<Vec<Released>>,
    /// Memory that is given back when the last holder lets go, also where the sender went away meanwhile.
    _memory: Option<OwnedSemaphorePermit>,
}

impl Incoming {
    /// From a batch that [`Batch::check`] has passed.
    pub(crate) fn new(
        batch: Batch<Released>,
        manifest_sha256: String,
        bytes_raw: u64,
        bytes_wire: u64,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let StreamId { gateway, destination, lane, epoch } = batch.stream;
        let manifest = Manifest {
            gateway,
            destination,
            lane,
            epoch,
            first: batch.first,
            last: batch.last,
            rows: batch.records.len() as u64,
            skipped: batch.skipped.iter().map(|s| (s.first, s.last, s.reason)).collect(),
            bytes_raw,
            bytes_wire,
            manifest_sha256,
            policy: batch.policy,
        };
        Self { manifest, records: Arc::new(batch.records), _memory: memory }
    }
}

/// How far a stream is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// The epoch asked for, or the one in force.
    pub(crate) epoch: Option<u64>,
    /// The epoch in force; older ones are fenced.
    pub(crate) current_epoch: Option<u64>,
    /// The last number committed in the epoch asked for.
    pub(crate) watermark: Seq,
    /// Manifest hash of the last batch committed in it.
    pub(crate) manifest_sha256: Option<String>,
}

type Answer<T> = oneshot::Sender<Result<T, Refused>>;

/// What the committer is asked.
enum Job {
    Land(Arc<Incoming>, Answer<Found>),
    Grant(Track, EpochRequest, Answer<EpochGrant>),
    Status(Track, Option<u64>, Answer<Status>),
}

impl Job {
    fn bytes(&self) -> u64 {
        self.incoming().map_or(0, |incoming| incoming.manifest.bytes_raw)
    }

    fn incoming(&self) -> Option<Arc<Incoming>> {
        match self {
            Self::Land(incoming, _) => Some(Arc::clone(incoming)),
            Self::Grant(..) | Self::Status(..) => None,
        }
    }

    /// Who asked may have gone: then nobody hears it.
    fn answer(self, reply: Reply) {
        match (self, reply) {
            (Self::Land(_, answer), Reply::Landed(found)) => drop(answer.send(Ok(found))),
            (Self::Grant(_, _, answer), Reply::Grant(grant)) => drop(answer.send(Ok(grant))),
            (Self::Status(_, _, answer), Reply::Status(status)) => drop(answer.send(Ok(status))),
            (Self::Land(_, answer), reply) => drop(answer.send(Err(reply.refused()))),
            (Self::Grant(_, _, answer), reply) => drop(answer.send(Err(reply.refused()))),
            (Self::Status(_, _, answer), reply) => drop(answer.send(Err(reply.refused()))),
        }
    }
}

/// The answer to a job.
#[derive(Debug)]
enum Reply {
    Landed(Found),
    Grant(EpochGrant),
    Status(Status),
    Refused(Refused),
}

impl Reply {
    fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            // An answer to another question: does not occur.
            Self::Landed(_) | Self::Grant(_) | Self::Status(_) => Refused::Unavailable,
        }
    }
}

/// What became of a batch.
#[derive(Debug)]
enum Found {
    Landed(Landed),
    /// It was committed before the last one of its stream: the ledger knows.
    InLedger {
        expected: Seq,
    },
}

/// Asks a root's committer; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    root: PathBuf,
    jobs: mpsc::Sender<Job>,
    lookups: Arc<Semaphore>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Config {
    /// Opens the root, or makes it, and lets every table catch up with `raw`. Run the committer; ask the handle.
    ///
    /// # Errors
    /// [`Error`], naming the root and what to do.
    pub async fn build(self, clock: Arc<dyn Clock>) -> Result<(Handle, Committer), Error> {
        self.build_with(clock, Hook::default()).await
    }

    pub(crate) async fn build_with(
        self,
        clock: Arc<dyn Clock>,
        hook: Hook,
    ) -> Result<(Handle, Committer), Error> {
        let root = self.root.clone();
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        match Committer::open(self, clock, hook, queue).await {
            Ok(committer) => Ok((Handle { root, jobs, lookups: Arc::new(Semaphore::new(1)) }, committer)),
            Err(source) => Err(Error { root, source }),
        }
    }
}

impl Handle {
    /// Lands a batch. Cancelling leaves open whether it lands.
    pub(crate) async fn land(&self, incoming: Arc<Incoming>) -> Result<Landed, Refused> {
        let asked = Arc::clone(&incoming);
        match self.ask(|answer| Job::Land(asked, answer)).await? {
            Found::Landed(landed) => Ok(landed),
            Found::InLedger { expected } => self.look_up(&incoming.manifest, expected).await,
        }
    }

    /// Grants an epoch.
    pub(crate) async fn grant(&self, track: Track, request: EpochRequest) -> Result<EpochGrant, Refused> {
        self.ask(|answer| Job::Grant(track, request, answer)).await
    }

    /// Tells how far a stream is committed.
    pub(crate) async fn status(&self, track: Track, epoch: Option<u64>) -> Result<Status, Refused> {
        self.ask(|answer| Job::Status(track, epoch, answer)).await
    }

    /// Whether the committer still runs.
    pub(crate) fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, Refused> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(job(answer)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => Refused::Unavailable,
        })?;
        answered.await.unwrap_or(Err(Refused::Unavailable))
    }

    /// One at a time: it reads the ledger's files.
    async fn look_up(&self, manifest: &Manifest, expected: Seq) -> Result<Landed, Refused> {
        let _one = self.lookups.acquire().await.map_err(|_| Refused::Unavailable)?;
        match lookup::find(&self.root, &manifest.stream(), Key::First(manifest.first)).await {
            Ok(Some(landed)) if landed.last == manifest.last => Ok(landed),
            Ok(Some(landed)) => Err(Refused::OtherRange(landed)),
            Ok(None) => Err(Refused::OutOfOrder { expected }),
            Err(error) => {
                tracing::error!(root = %self.root.display(), %error, "the ledger cannot be read");
                Err(Refused::Unavailable)
            }
        }
    }
}

/// The newest version of `raw` that holds batches: what the other tables must have caught up with.
pub(crate) fn raw_version_with_batches(raw: &delta::Snapshot) -> Option<u64> {
    let newest = raw.txns.iter().filter(|(app, _)| streams::is_at(app)).map(|(_, version)| *version).max();
    newest.and_then(|version| u64::try_from(version).ok())
}

/// The tables that follow, in the order in which they are named everywhere.
const FOLLOWING: [Silver; 3] = Silver::ALL;
