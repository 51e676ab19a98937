//! The tables that follow `raw`, version by version.
//!
//! **Promise.** A version of `raw` gets into each of them once: their commit carries `wg-raw`, the version up to
//! which they have caught up, and is made only on top of the one before. The ordinary way and the way after a
//! crash are the same; they differ in whether the rows are still in memory or are read back from `raw`.

use std::collections::HashMap;

use model::Timestamp;

use super::note::Note;
use super::{Hook, Step};
use crate::delta::{Committed, Draft, Error, Table, read_rows};
use crate::rows::{self, LandedBatch, Silver};

/// Application id of the version of `raw` that a table has caught up with.
pub(crate) const RAW_VERSION: &str = "wg-raw";
/// Most versions of `raw` that one commit follows.
const VERSIONS_MAX: u64 = 64;
/// Most bytes of payload that one commit follows, unless one version alone has more.
const BYTES_MAX: u64 = 128 << 20;
/// Most races lost in a row.
const RACES_MAX: u32 = 32;

/// Batches that are still in memory, by version of `raw`.
pub(super) type Fresh = HashMap<u64, Vec<LandedBatch>>;

/// One table that follows.
#[derive(Debug)]
pub(super) struct Follower {
    silver: Silver,
    policy: String,
    table: Table,
    /// Versions of `raw` up to here hold nothing that is not in the table.
    seen: Option<u64>,
}

impl Follower {
    pub(super) fn new(silver: Silver, policy: &str, table: Table) -> Self {
        Self { silver, policy: policy.to_owned(), table, seen: None }
    }

    pub(super) async fn close(self) {
        self.table.close().await;
    }

    /// Catches up to the version that `raw` has.
    pub(super) async fn catch_up(
        &mut self,
        raw: &Table,
        fresh: &Fresh,
        now: Timestamp,
        hook: &Hook,
    ) -> Result<(), Error> {
        let mut races = 0;
        loop {
            let done = self.done();
            let from = done.map_or(0, |v| v + 1);
            if from > raw.version() {
                return Ok(());
            }
            let (batches, to) = self.gather(raw, fresh, from).await?;
            if batches.is_empty() {
                self.seen = Some(to);
                continue;
            }
            match self.append(batches, to, now, hook).await? {
                Committed::As(version) => {
                    races = 0;
                    tracing::debug!(table = ?self.silver, version, raw = to, "followed");
                }
                Committed::Lost => {
                    races += 1;
                    if races > RACES_MAX {
                        return Err(Error::Crowded(races));
                    }
                    self.table.sync().await?;
                }
            }
        }
    }

    /// Looks at the table again, after an error left open what was committed.
    pub(super) async fn sync(&mut self) -> Result<(), Error> {
        self.table.sync().await.map(drop)
    }

    fn done(&self) -> Option<u64> {
        let committed = self.table.txns().get(RAW_VERSION).and_then(|v| u64::try_from(*v).ok());
        committed.max(self.seen)
    }

    /// The batches of the next versions, and the last of those versions.
    async fn gather(&self, raw: &Table, fresh: &Fresh, from: u64) -> Result<(Vec<LandedBatch>, u64), Error> {
        let mut gathered = Vec::new();
        let mut bytes = 0;
        let mut to = from;
        for version in from..=raw.version().min(from + VERSIONS_MAX - 1) {
            let batches = match fresh.get(&version) {
                Some(batches) => batches.clone(),
                None => self.read_back(raw, version).await?,
            };
            bytes += batches.iter().map(|b| b.manifest.bytes_raw).sum::<u64>();
            if bytes > BYTES_MAX && !gathered.is_empty() {
                break;
            }
            gathered.extend(batches);
            to = version;
        }
        Ok((gathered, to))
    }

    async fn read_back(&self, raw: &Table, version: u64) -> Result<Vec<LandedBatch>, Error> {
        let table = rows::silver_schema(self.silver, &self.policy).table;
        let commit = raw.entry(version).await?.ok_or(Error::LogGap { table, version })?;
        let Some(note) = Note::of(&commit, version)? else { return Ok(Vec::new()) };
        if note.batches.is_empty() {
            return Ok(Vec::new());
        }
        let mut read = Vec::new();
        for add in &commit.adds {
            read.extend(read_rows(raw.store(), &add.path.as_str().into(), None).await?);
        }
        tracing::info!(table, raw = version, batches = note.batches.len(), "catching up from raw");
        rows::unpack(&read, note.batches, note.committed_at, version)
    }

    async fn append(
        &mut self,
        batches: Vec<LandedBatch>,
        to: u64,
        now: Timestamp,
        hook: &Hook,
    ) -> Result<Committed, Error> {
        let mut draft = Draft { timestamp_ms: now.micros().div_euclid(1000), ..Draft::default() };
        draft.txns.insert(RAW_VERSION.to_owned(), i64::try_from(to).unwrap_or(i64::MAX));
        for batch in &batches {
            let watermark = i64::try_from(batch.manifest.last).unwrap_or(i64::MAX);
            draft.txns.insert(super::streams::watermark_id(&batch.manifest.stream()), watermark);
        }
        let (silver, policy) = (self.silver, self.policy.clone());
        let building = tokio::task::spawn_blocking(move || rows::silver_parts(silver, &batches, &policy));
        let parts = building.await.map_err(|_| Error::Stopping)??;
        draft.adds = self.table.write(parts, now).await?;
        hook.reach(Step::SilverWritten(self.silver))?;
        let committed = self.table.commit(&draft).await?;
        hook.reach(Step::SilverCommitted(self.silver))?;
        Ok(committed)
    }
}
