//! The landing and a receiver without a memory, in memory.
//!
//! The landing's rules are the product's own: batches come as CBOR and are decoded as [`Released`], and
//! `landing::lake::streams` decides about epochs and next numbers over the same transactions that stand in the log of
//! `raw`. What is left out is Delta itself: a commit is rows, transactions and ledger entry at once, as there.

use std::collections::{BTreeMap, HashMap};

use forward::SendError;
use landing::lake::streams::{Admission, Track, View};
use model::wire::{EpochGrant, EpochRequest, Landed};
use model::{Batch, Lane, Reason, RecordId, Released, Seq, Slug, StreamEpoch, StreamId, codec};

use crate::plant::Plant;
use crate::world::World;

/// A record as it arrived somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) seq: Seq,
    pub(crate) origin: Option<RecordId>,
    /// The number that the hospital gave the message.
    pub(crate) message: u64,
}

/// A batch that was committed.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) destination: Slug,
    pub(crate) lane: Lane,
    pub(crate) epoch: u64,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) rows: Vec<Row>,
    pub(crate) skipped: Vec<(Seq, Seq, Reason)>,
    landed: Landed,
}

/// A request on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) destination: Slug,
    pub(crate) bytes: Vec<u8>,
    pub(crate) manifest: String,
}

#[derive(Debug, Default)]
pub(crate) struct Lake {
    txns: HashMap<String, i64>,
    version: u64,
    pub(crate) ledger: Vec<Entry>,
    /// What the receiver took, in order.
    pub(crate) taken: Vec<Taken>,
}

/// One answer of the receiver without a memory: a message, or a range of skips.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) lane: Lane,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) row: Option<Row>,
    pub(crate) skipped: Vec<(Seq, Seq, Reason)>,
}

const LANES: [Lane; 3] = Lane::ALL;

impl Lake {
    pub(crate) fn grant(
        &mut self,
        world: &World,
        destination: &Slug,
        lane: Lane,
        request: &EpochRequest,
    ) -> EpochGrant {
        let track = Track { gateway: world.gateway.clone(), destination: destination.clone(), lane };
        let mut view = View::new(&self.txns);
        let grant = view.grant(&track, request);
        let pending = view.into_pending();
        self.txns.extend(pending);
        let stream = track.stream(grant.epoch);
        let manifest_sha256 =
            self.last_of(&stream, grant.watermark).map(|e| e.landed.manifest_sha256.clone());
        EpochGrant { epoch: grant.epoch, watermark: grant.watermark, manifest_sha256 }
    }

    fn last_of(&self, stream: &StreamId, watermark: Seq) -> Option<&Entry> {
        self.of(stream).rev().find(|e| e.last == watermark)
    }

    fn of(&self, stream: &StreamId) -> impl DoubleEndedIterator<Item = &Entry> {
        let StreamId { destination, lane, epoch, .. } = stream.clone();
        self.ledger
            .iter()
            .filter(move |e| e.destination == destination && e.lane == lane && e.epoch == epoch.get())
    }

    /// The last number of a lane that a destination has, in whichever epoch.
    pub(crate) fn reached(&self, world: &World, destination: &Slug, lane: Lane) -> Seq {
        let view = View::new(&self.txns);
        let track = Track { gateway: world.gateway.clone(), destination: destination.clone(), lane };
        let current = view.current(&track).unwrap_or(0);
        let epochs = (1..=current).filter_map(StreamEpoch::new);
        epochs.map(|epoch| view.watermark(&track.stream(epoch))).max().unwrap_or(0)
    }

    pub(crate) fn land(&mut self, world: &World, upload: &Upload) -> Result<Landed, SendError> {
        let refused = |title: String| SendError::Refused { kind: None, status: 400, title };
        let batch: Batch<Released> = codec::decode(&upload.bytes).map_err(|e| refused(e.to_string()))?;
        if world.plant != Some(Plant::SkipWithoutReason) {
            batch.check().map_err(|e| refused(e.to_string()))?;
        }
        let stream = batch.stream.clone();
        let mut view = View::new(&self.txns);
        let mut admission = view.judge(&stream, batch.first);
        let current = view.current(&Track::of(&stream));
        if world.plant == Some(Plant::EpochNotFenced)
            && matches!(admission, Admission::Fenced { .. })
            && view.watermark(&stream) + 1 == batch.first
        {
            admission = Admission::Next;
        }
        match admission {
            Admission::Next => {}
            Admission::Past => {
                let Some(earlier) = self.of(&stream).find(|e| e.first == batch.first) else {
                    return Err(SendError::OutOfOrder { expected: view.watermark(&stream) + 1 });
                };
                if earlier.last == batch.last {
                    return Ok(earlier.landed.clone());
                }
                return Err(SendError::OtherRange(earlier.landed.clone()));
            }
            Admission::Early { expected } => return Err(SendError::OutOfOrder { expected }),
            Admission::Fenced { .. } => return Err(SendError::Fenced),
        }
        if current.is_some_and(|current| current > stream.epoch.get()) {
            world.violation(format!(
                "{} {}: a batch of epoch {} was committed while {current:?} was in force",
                stream.destination, stream.lane, stream.epoch
            ));
        }
        self.version += 1;
        view.advance(&stream, batch.last, self.version);
        let pending = view.into_pending();
        self.txns.extend(pending);
        let rows = batch.records.iter().map(|r| world.arrived(&stream.destination, stream.lane, r)).collect();
        let entry = Entry {
            destination: stream.destination.clone(),
            lane: stream.lane,
            epoch: stream.epoch.get(),
            first: batch.first,
            last: batch.last,
            rows,
            skipped: batch.skipped.iter().map(|s| (s.first, s.last, s.reason)).collect(),
            landed: Landed {
                first: batch.first,
                last: batch.last,
                manifest_sha256: upload.manifest.clone(),
                table_version: self.version,
                committed_at: model::Clock::now(world),
            },
        };
        world.say(format_args!(
            "{} {}-{} commits {}..={}: {} rows, skips {:?}",
            entry.destination,
            entry.lane,
            entry.epoch,
            entry.first,
            entry.last,
            entry.rows.len(),
            entry.skipped
        ));
        let landed = entry.landed.clone();
        self.ledger.push(entry);
        Ok(landed)
    }

    /// The receiver takes a message, or hears of none.
    pub(crate) fn take(&mut self, world: &World, upload: &Upload) -> Result<(), SendError> {
        let batch: Batch<Released> = codec::decode(&upload.bytes).unwrap();
        let lane = batch.stream.lane;
        let rows: Vec<Row> =
            batch.records.iter().map(|r| world.arrived(&batch.stream.destination, lane, r)).collect();
        if rows.len() > 1 {
            world.violation(format!("a receiver without a memory was sent {} records at once", rows.len()));
        }
        let row = rows.into_iter().next();
        world.say(format_args!(
            "{} {lane} takes {}..={}: {:?}",
            batch.stream.destination,
            batch.first,
            batch.last,
            row.as_ref().map(|r| r.seq)
        ));
        let skipped = batch.skipped.iter().map(|s| (s.first, s.last, s.reason)).collect();
        self.taken.push(Taken { lane, first: batch.first, last: batch.last, row, skipped });
        Ok(())
    }

    /// The last number of each lane that the receiver was told of.
    pub(crate) fn taken_through(&self) -> BTreeMap<Lane, Seq> {
        LANES
            .into_iter()
            .map(|lane| {
                (lane, self.taken.iter().filter(|t| t.lane == lane).map(|t| t.last).max().unwrap_or(0))
            })
            .collect()
    }
}
