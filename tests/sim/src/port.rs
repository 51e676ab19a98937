//! The way from the box to its destinations: it takes time, breaks, loses, doubles and delays.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use forward::{Committed, Destination, Nature, Release, SendError};
use model::wire::{EpochGrant, EpochRequest, Landed};
use model::{Batch, Lane, Released, Seq, Slug, codec};

use crate::lake::Upload;
use crate::plant::Plant;
use crate::world::World;

/// How long the box waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One destination as one process of the box sees it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) world: Arc<World>,
    pub(crate) life: u32,
    pub(crate) name: Slug,
    pub(crate) remembers: bool,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    Away,
    Busy,
    Declined,
    Rejected,
    /// It never arrives.
    Lost,
    /// It arrives long after the box gave up.
    Late,
    /// It is done, and nobody hears of it.
    Unanswered,
    /// It is done, answered, and arrives once more.
    Twice,
}

impl Port {
    /// The process that asked is gone: nothing of it reaches anybody.
    async fn gone(&self) {
        if self.world.platter.is_dead() || self.world.life() != self.life {
            std::future::pending::<()>().await;
        }
    }

    async fn travel(&self) {
        let micros = self
            .world
            .dice(|d| if d.permille(50) { d.within(50_000..=2_000_000) } else { d.within(200..=20_000) });
        tokio::time::sleep(Duration::from_micros(micros)).await;
        self.gone().await;
    }

    fn fate(&self) -> Fate {
        if self.world.is_cut_off(&self.name) {
            return Fate::Away;
        }
        let trouble = self.world.trouble();
        let roll = self.world.dice(|d| d.within(0..=999));
        // Per step of trouble, so many in a thousand each.
        let table: &[(u64, Fate)] = if self.remembers {
            &[
                (8, Fate::Away),
                (8, Fate::Busy),
                (10, Fate::Lost),
                (14, Fate::Late),
                (14, Fate::Unanswered),
                (8, Fate::Twice),
            ]
        } else {
            &[
                (8, Fate::Away),
                (8, Fate::Declined),
                (4, Fate::Rejected),
                (10, Fate::Lost),
                (14, Fate::Unanswered),
            ]
        };
        let mut below = 0;
        for (share, fate) in table {
            below += share * trouble;
            if roll < below {
                return *fate;
            }
        }
        Fate::Fine
    }

    async fn deliver(
        &self,
        upload: Upload,
        range: (Seq, Seq),
        first_record: Option<Seq>,
    ) -> Result<Option<Landed>, SendError> {
        let landing = self.world.landing();
        self.travel().await;
        if self.world.landing() != landing {
            return Err(SendError::Unreachable { why: "restarting".into() });
        }
        let fate = self.fate();
        if !matches!(fate, Fate::Fine) {
            self.world.say(format_args!("{} {:?}: {fate:?}", self.name, range));
        }
        let unknown = || SendError::Unknown { why: "no answer".into() };
        match fate {
            Fate::Fine => {}
            Fate::Away => return Err(SendError::Unreachable { why: "away".into() }),
            Fate::Busy => {
                let retry_after = self.world.dice(|d| d.permille(500)).then_some(Duration::from_secs(3));
                return Err(SendError::Busy { retry_after, why: "busy".into() });
            }
            Fate::Declined => return Err(SendError::Declined { why: "AE".into() }),
            Fate::Rejected => {
                if let Some(seq) = first_record {
                    return Err(SendError::Rejected { seq, why: "AR".into() });
                }
            }
            Fate::Lost => {
                tokio::time::sleep(PATIENCE).await;
                return Err(unknown());
            }
            Fate::Late => {
                self.world.post(upload);
                tokio::time::sleep(PATIENCE).await;
                return Err(unknown());
            }
            Fate::Unanswered => {
                let done = self.arrive(&upload);
                self.world.say(format_args!("{} {:?}: done, and nobody hears of it", self.name, range));
                tokio::time::sleep(PATIENCE).await;
                done?;
                return Err(unknown());
            }
            Fate::Twice => {
                self.world.post(upload.clone());
            }
        }
        let done = self.arrive(&upload)?;
        self.travel().await;
        if self.world.landing() != landing {
            self.world.say(format_args!("{} {:?}: the landing restarts before it answers", self.name, range));
            return Err(unknown());
        }
        Ok(done)
    }

    fn arrive(&self, upload: &Upload) -> Result<Option<Landed>, SendError> {
        self.world.lake(|lake| {
            if self.remembers {
                lake.land(&self.world, upload).map(Some)
            } else {
                lake.take(&self.world, upload).map(|()| None)
            }
        })
    }
}

impl Destination for Port {
    fn nature(&self) -> Nature {
        Nature { remembers: self.remembers, hl7_only: !self.remembers, stop_grace: Duration::from_secs(10) }
    }

    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        self.travel().await;
        if self.world.is_cut_off(&self.name) {
            return Err(SendError::Unreachable { why: "away".into() });
        }
        if !self.remembers {
            let (epoch, watermark) = (request.proposed, request.resume_after);
            return Ok(EpochGrant { epoch, watermark, manifest_sha256: None });
        }
        let grant = self.world.lake(|lake| lake.grant(&self.world, &self.name, lane, request));
        self.world.say(format_args!(
            "{} {lane}: epoch {} proposed after {}, {} granted at {}",
            self.name, request.proposed, request.resume_after, grant.epoch, grant.watermark
        ));
        self.travel().await;
        Ok(grant)
    }

    async fn send(&self, batch: &Batch<Release>) -> Result<Committed, SendError> {
        let bytes = codec::encode(batch).unwrap();
        let manifest = hex::encode(digest(&SHA256, &bytes));
        let bytes_raw = bytes.len() as u64;
        let mut upload = Upload { destination: self.name.clone(), bytes, manifest: manifest.clone() };
        let range = (batch.first, batch.last);
        let first_record = batch.records.first().map(|r| r.as_released().seq);
        let committed =
            |landed| Committed { landed, manifest_sha256: manifest, bytes_raw, bytes_wire: bytes_raw };
        match self.world.plant {
            Some(Plant::SkipWithoutReason) if self.remembers => leave_one_out(&mut upload),
            Some(Plant::CursorBeforeCommit) if self.remembers => {
                // The answer comes first.
                self.world.post(upload);
                let landed = Landed {
                    first: batch.first,
                    last: batch.last,
                    manifest_sha256: String::new(),
                    table_version: 1,
                    committed_at: model::Clock::now(&*self.world),
                };
                return Ok(committed(Some(landed)));
            }
            _ => {}
        }
        if self.world.plant == Some(Plant::RetryThatReorders) && !self.remembers {
            let waiting = self.world.pocket(std::mem::take);
            let sent = self.deliver(upload.clone(), range, first_record).await;
            for late in waiting {
                self.arrive(&late)?;
            }
            return match sent {
                Err(SendError::Rejected { seq, why }) => Err(SendError::Rejected { seq, why }),
                Err(_) => {
                    self.world.pocket(|pocket| pocket.push(upload));
                    Ok(committed(None))
                }
                Ok(landed) => Ok(committed(landed)),
            };
        }
        Ok(committed(self.deliver(upload, range, first_record).await?))
    }

    async fn test(&self) -> forward::check::Report {
        unreachable!("nobody asks")
    }
}

/// Takes the first record out, and gives no reason.
fn leave_one_out(upload: &mut Upload) {
    let mut batch: Batch<Released> = codec::decode(&upload.bytes).unwrap();
    if batch.records.len() > 1 {
        batch.records.remove(0);
        upload.bytes = codec::encode(&batch).unwrap();
    }
}
