//! The one way through: intake → log → shape → batch → destination → cursor.
//!
//! **Promise.** Nothing acknowledged is lost: a [`model::Receipt`] is handed out after the log has synced, and a
//! number leaves the log's care only when every destination has it, as a row or as a skip with a reason.
//!
//! **Limits.** [`SEEN_MAX`] remembered identities; [`LINKS_MAX`] links; [`FAULTS_MAX`] faults; [`config::BatchLimits`] per batch; one batch in flight per
//! destination and lane; [`cursor::SETTLED_MAX`] settled ranges remembered per destination and lane.
//!
//! **Invariants of absence.** Nothing here knows a protocol of the ward, HTTP, TLS or a file: arrivals come through
//! [`model::Intake`], releases leave through [`forward::Destination`], bytes rest in [`spool`].

mod ages;
mod anchor;
mod broken;
pub mod config;
pub mod consent;
mod cursor;
mod delivery;
mod error;
mod faults;
mod gate;
mod held;
mod intake;
mod journal;
mod letting_go;
pub mod marks;
mod pressure;
mod retention;
pub mod routing;
pub mod search;
mod seen;
mod shape;
mod status;
#[cfg(test)]
mod tests;
mod trace;
mod trial;
pub mod vault;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deid::DestinationKeys;
use forward::Destination;
use model::{AuditAction, AuditEvent, Clock, Envelope, Lane, RecordId, Seq, Slug, codec};
use profile::Catalogue;
use spool::{Entry, Spool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use anchor::{Pace, Witnessed};
pub use config::{BatchLimits, Feed, Route, Start};
pub use cursor::{SETTLED_MAX, Settled};
pub use error::Error;
pub use faults::{ENTRIES_PER_KIND, ENTRIES_PER_PEER, FAULTS_MAX, FaultEntry, FaultQuery};
pub use held::HeldItem;
pub use intake::LogIntake;
pub use journal::{DOCUMENT_BYTES_MAX, Journal};
pub use seen::{LINKS_MAX, SEEN_MAX};
pub use status::{DeliveryState, DeliveryStatus};
pub use trace::{Arrival, Decision, Fate, Outcome, Trace};
pub use trial::{Explanation, TRIAL_RECORDS_MAX, Trial};

use ages::Ages;
use anchor::{Anchor, Board};
use consent::Consents;
use cursor::{Cursor, Cursors};
use delivery::Delivery;
use faults::Faults;
use gate::Gate;
use held::{Edited, Held};
use journal::Beginning;
use letting_go::LettingGo;
use marks::Marks;
use retention::Retention;
use search::{Indexer, RecordKeys};
use seen::Seen;
use shape::Shaper;
use status::Gauge;
use vault::Vaults;

/// How often the identities of new records are written to the state store.
const SEEN_FLUSH_EVERY: Duration = Duration::from_millis(500);

/// Every so many of them somebody looks how much room is left and what is too old: every five seconds.
const LOOK_EVERY_FLUSHES: u32 = 10;

/// Every so many of them the log is told that time has passed: once a minute.
const RETENTION_EVERY_FLUSHES: u32 = 120;

/// The pipeline, built and not yet running.
#[derive(Debug)]
pub struct Pipeline<D> {
    deliveries: Vec<Delivery<D>>,
    indexer: Indexer,
    anchors: Vec<Anchor<D>>,
    ages: Vec<Ages>,
    handle: Handle,
}

#[derive(Debug)]
struct Watched {
    destination: Slug,
    lane: Lane,
    began_after: Seq,
    cursors: Cursors,
    gauge: Arc<Gauge>,
}

/// What the rest of the product may ask of a running pipeline. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    intake: LogIntake,
    seen: Seen,
    faults: Faults,
    held: Held,
    journal: Journal,
    retention: Arc<Retention>,
    watched: Arc<Vec<Watched>>,
    shapers: Arc<HashMap<Slug, Arc<Shaper>>>,
    feeds: Arc<HashMap<Slug, Feed>>,
    witnessed: Board,
    consents: Consents,
    vaults: Vaults,
    searching: Arc<tokio::sync::Mutex<()>>,
}

impl<D: Destination + 'static> Pipeline<D> {
    /// Folds the journal, loads cursors, adds new destinations and removes those that the configuration no longer
    /// names (both audited).
    ///
    /// # Errors
    /// [`Error`] when the spool cannot be read or written.
    pub async fn build(
        gateway: Slug,
        spool: Arc<Spool>,
        clock: Arc<dyn Clock>,
        profiles: Arc<Catalogue>,
        feeds: Vec<Feed>,
        routes: Vec<Route<D>>,
    ) -> Result<Self, Error> {
        let journal = Journal::load(Arc::clone(&spool)).await?;
        let held = Held::load(Arc::clone(&spool), Arc::clone(&clock)).await?;
        let seen = Seen::load(&spool).await?;
        let faults = Faults::load(spool.state())?;
        let lanes = feeds.iter().map(|f| (f.name.clone(), f.lane)).collect();
        let feeds = Arc::new(feeds.into_iter().map(|f| (f.name.clone(), f)).collect::<HashMap<_, _>>());
        let retention = Arc::new(Retention::default());
        let mut ages = Vec::new();
        for lane in Lane::ALL {
            let incarnation = spool.lane(lane).incarnation();
            retention.give_up(lane, journal.given_up(lane, &incarnation));
            if let Some(limit_s) = spool.config().age_s_max(lane) {
                ages.push(Ages::load(lane, limit_s, &incarnation, spool.state())?);
            }
        }
        let consents = Consents::new(journal.clone(), Arc::clone(&spool), Arc::clone(&clock));
        let vaults = Vaults::new(journal.clone(), Arc::clone(&spool));
        let builder =
            Builder { gateway, spool, clock, profiles, feeds, held, journal, consents, vaults, retention };

        if builder.spool.state().was_lost() {
            let detail = "it did not open, and is rebuilt from the logs and the landings".to_owned();
            builder.audit(AuditAction::StateRebuilt, &builder.gateway, detail)?;
        }
        builder.remove_unnamed(&routes).await?;
        for route in routes.iter().filter(|route| route.destination.nature().remembers) {
            // Until it has said what it has a receipt of.
            builder.spool.audit_log().need(route.name.as_str(), 0, String::new());
        }
        let mut deliveries = Vec::new();
        let mut watched = Vec::new();
        let witnessed = Board::default();
        let anchors = routes
            .iter()
            .filter(|route| route.destination.nature().remembers)
            .map(|route| Anchor {
                gateway: builder.gateway.clone(),
                name: route.name.clone(),
                destination: Arc::clone(&route.destination),
                spool: Arc::clone(&builder.spool),
                clock: Arc::clone(&builder.clock),
                board: witnessed.clone(),
                pace: Pace::default(),
                vouched: std::sync::Mutex::new(anchor::ends(&builder.spool)),
            })
            .collect();
        let mut shapers = HashMap::new();
        for route in routes {
            let shaper = builder.add(route, &mut deliveries, &mut watched).await?;
            shapers.insert(shaper.destination.clone(), shaper);
        }
        let Builder { spool, clock, feeds, held, journal, consents, vaults, retention, .. } = builder;
        let intake = LogIntake::new(Arc::clone(&spool), lanes, seen.clone(), faults.clone());
        let watched = Arc::new(watched);
        let indexer = Indexer::new(Arc::clone(&spool), RecordKeys::new(Arc::clone(&feeds)));
        let searching = Arc::default();
        let handle = Handle {
            spool,
            clock,
            intake,
            seen,
            faults,
            held,
            journal,
            retention,
            watched,
            shapers: Arc::new(shapers),
            feeds,
            witnessed,
            consents,
            vaults,
            searching,
        };
        Ok(Self { deliveries, indexer, anchors, ages, handle })
    }

    /// How often checkpoints of the audit log leave.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        for anchor in &mut self.anchors {
            anchor.pace = pace;
        }
        self
    }

    /// For sources, the UI and the CLI.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until stopped; returns when every batch in flight is settled or given up. Stop the sources first.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for delivery in self.deliveries {
            tasks.spawn(delivery.run(stop.clone()));
        }
        for anchor in self.anchors {
            tasks.spawn(anchor.run(stop.clone()));
        }
        tasks.spawn(self.indexer.run(stop.clone()));
        tasks.close();
        let handle = self.handle;
        let mut ages = self.ages;
        let mut ticks = 0_u32;
        let mut pressure = pressure::Watch::default();
        let mut looked_at = Instant::now();
        let mut letting_go = LettingGo::default();
        loop {
            if ticks.is_multiple_of(RETENTION_EVERY_FLUSHES) {
                handle.retention.time_passed(&handle.spool, handle.clock.now());
            }
            if ticks.is_multiple_of(LOOK_EVERY_FLUSHES) {
                pressure.look(&handle.spool, &*handle.clock);
                if let Err(error) = letting_go.look(&handle.spool, &handle.journal, &*handle.clock).await {
                    tracing::error!(%error, "the oldest part of the journal could not be let go");
                }
                let passed = looked_at.elapsed();
                looked_at += passed;
                for ages in &mut ages {
                    if let Err(error) = handle.grow_older(ages, passed).await {
                        tracing::error!(lane = %ages.lane(), %error, "what is too old could not be given up");
                    }
                }
            }
            ticks = ticks.wrapping_add(1);
            if let Err(error) = handle.seen.flush(handle.spool.state()) {
                tracing::error!(%error, "the index of resends could not be written; it is rebuilt from the log");
            }
            if let Err(error) = handle.faults.flush(handle.spool.state()).await {
                tracing::error!(%error, "the faults of senders could not be written");
            }
            tokio::select! {
                biased;
                () = tasks.wait(), if stop.is_cancelled() => break,
                () = tokio::time::sleep(SEEN_FLUSH_EVERY) => {}
            }
        }
    }
}

struct Builder {
    gateway: Slug,
    spool: Arc<Spool>,
    clock: Arc<dyn Clock>,
    profiles: Arc<Catalogue>,
    feeds: Arc<HashMap<Slug, Feed>>,
    held: Held,
    journal: Journal,
    consents: Consents,
    vaults: Vaults,
    retention: Arc<Retention>,
}

impl Builder {
    fn audit(&self, action: AuditAction, subject: &Slug, detail: String) -> Result<(), Error> {
        let event = AuditEvent {
            at: self.clock.now(),
            actor: "system".to_owned(),
            action,
            subject: subject.to_string(),
            detail,
        };
        Ok(self.spool.audit().record(&event)?)
    }

    async fn remove_unnamed<D>(&self, routes: &[Route<D>]) -> Result<(), Error> {
        for name in self.journal.destinations().into_keys() {
            if routes.iter().any(|r| r.name == name) {
                continue;
            }
            self.audit(AuditAction::DestinationRemoved, &name, "its cursors are dropped".to_owned())?;
            for lane in Lane::ALL {
                Cursors::new(self.spool.state().clone(), &name, lane).remove().await?;
            }
            self.journal.remove_destination(&name).await?;
        }
        Ok(())
    }

    async fn add<D: Destination>(
        &self,
        route: Route<D>,
        deliveries: &mut Vec<Delivery<D>>,
        watched: &mut Vec<Watched>,
    ) -> Result<Arc<Shaper>, Error> {
        let name = route.name;
        let nature = route.destination.nature();
        let beginnings = self.beginnings(&name, route.start).await?;
        let desk = vault::Desk { destination: name.clone(), vaults: self.vaults.clone() };
        let shaper = Arc::new(Shaper {
            destination: name.clone(),
            policy: Arc::clone(&route.policy),
            feeds: Arc::clone(&self.feeds),
            profiles: Arc::clone(&self.profiles),
            derived: DestinationKeys::derive(|purpose| {
                self.spool.keys().derive(&format!("{purpose}/{name}"))
            })
            .with_vault(Arc::new(desk.clone())),
            vault: desk,
            keys: self.spool.keys().clone(),
            held: self.held.clone(),
            consent: route.consent.map(|asked| consent::Gate { asked, consents: self.consents.clone() }),
            hl7_only: nature.hl7_only,
        });
        let gate = Arc::new(Gate::new());
        for lane in Lane::ALL {
            let log = self.spool.lane(lane);
            let cursors = Cursors::new(self.spool.state().clone(), &name, lane);
            let began = beginnings.iter().find(|b| b.lane == lane);
            let began_after = began.map_or(0, |b| b.after);
            let durable = *log.durable().borrow();
            // Without one: new, or the state store was lost; then the landing's watermark moves it on.
            let mut cursor = cursors.load()?.unwrap_or_else(|| {
                // It knows this log by its former name, and what it has under that one has to be asked for first.
                let former = began.filter(|b| nature.remembers && b.ended.is_some());
                Cursor {
                    incarnation: former.map_or_else(|| log.incarnation(), |b| b.incarnation.clone()),
                    seq: began.map_or(0, |b| b.after.max(b.settled)),
                    batches: 0,
                    unmet: former.and_then(|b| b.ended),
                    lost: None,
                }
            });
            if cursor.incarnation != log.incarnation() {
                // The log took another name: what is beyond its end is not in it any more.
                cursor.seq = cursor.seq.min(durable);
                cursor.unmet = cursor.unmet.map(|unmet| unmet.min(durable));
            }
            let marks = Marks::new(self.journal.clone(), name.clone(), lane);
            if let (false, Some(through)) = (nature.remembers, marks.through(&cursor.incarnation)) {
                // Nobody else knows: what is marked was taken, also where the state store is lost or an older one.
                cursor.seq = cursor.seq.max(through.min(durable));
            }
            let vouched = *cursor.unmet.get_or_insert(durable);
            cursors.begin(&cursor).await?;
            let gauge = Arc::new(Gauge::new(name.clone(), lane, cursor.seq, self.clock.now()));
            self.retention.expect(lane, &name, cursor.seq);
            watched.push(Watched {
                destination: name.clone(),
                lane,
                began_after,
                cursors: cursors.clone(),
                gauge: Arc::clone(&gauge),
            });
            deliveries.push(Delivery {
                gateway: self.gateway.clone(),
                name: name.clone(),
                lane,
                spool: Arc::clone(&self.spool),
                destination: Arc::clone(&route.destination),
                policy: Arc::clone(&route.policy),
                shaper: Arc::clone(&shaper),
                limits: route.batch,
                began_after,
                vouched,
                whole_through: model::Seq::MAX,
                cursors,
                cursor,
                gauge,
                retention: Arc::clone(&self.retention),
                nature,
                marks,
                journal: self.journal.clone(),
                gate: Arc::clone(&gate),
                clock: Arc::clone(&self.clock),
            });
        }
        Ok(shaper)
    }

    /// Where the destination began, from the journal; a new one is entered there.
    async fn beginnings(&self, name: &Slug, start: Start) -> Result<Vec<Beginning>, Error> {
        if let Some(mut known) = self.journal.destinations().remove(name) {
            let mut changed = false;
            for beginning in &mut known {
                let log = self.spool.lane(beginning.lane);
                let durable = *log.durable().borrow();
                // The log was made anew, or lost its end: what is beyond its end is of the former log.
                let within = (beginning.after.min(durable), beginning.settled.min(durable));
                if (beginning.after, beginning.settled) != within {
                    (beginning.after, beginning.settled) = within;
                    changed = true;
                }
                if beginning.incarnation != log.incarnation() && beginning.ended.is_none() {
                    beginning.ended = Some(durable);
                    changed = true;
                }
            }
            if changed {
                self.journal.add_destination(name, known.clone()).await?;
            }
            return Ok(known);
        }
        let began: Vec<Beginning> = Lane::ALL
            .into_iter()
            .map(|lane| {
                let log = self.spool.lane(lane);
                let now = *log.durable().borrow();
                let after = match start {
                    Start::Now => now,
                    Start::Oldest => log.oldest().saturating_sub(1),
                    Start::At(id) if id.lane == lane => id.seq.saturating_sub(1).min(now),
                    Start::At(_) => now,
                };
                Beginning { lane, incarnation: log.incarnation(), after, ended: None, settled: 0 }
            })
            .collect();
        let detail =
            began.iter().map(|b| format!("{} after {}", b.lane, b.after)).collect::<Vec<_>>().join(", ");
        self.audit(AuditAction::DestinationAdded, name, detail)?;
        self.journal.add_destination(name, began.clone()).await?;
        Ok(began)
    }
}

impl Handle {
    /// The door for sources.
    pub fn intake(&self) -> LogIntake {
        self.intake.clone()
    }

    /// The journal's documents.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The logs.
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// How every delivery stands.
    pub fn status(&self) -> Vec<DeliveryStatus> {
        self.watched
            .iter()
            .map(|w| {
                let durable = *self.spool.lane(w.lane).durable().borrow();
                w.gauge.snapshot(durable)
            })
            .collect()
    }

    /// All held records, oldest first.
    pub fn held(&self) -> Vec<HeldItem> {
        self.held.list()
    }

    /// How many records are held in all.
    pub fn held_total(&self) -> u64 {
        self.held.total()
    }

    /// How many records are held for a destination.
    pub fn held_for(&self, destination: &Slug) -> u64 {
        self.held.count(destination)
    }

    /// The bytes of a held record, for a person with the right to see patients. Audited first.
    ///
    /// # Errors
    /// [`Error::NotHeld`] and storage errors.
    pub async fn held_payload(&self, destination: &Slug, id: RecordId, actor: &str) -> Result<Bytes, Error> {
        self.held.payload(destination, id, actor).await
    }

    /// Releases a held record, as it is or edited; the subject's later held records follow.
    ///
    /// # Errors
    /// [`Error::NotHeld`], [`Error::EditUnreadable`] and storage errors.
    pub async fn release(
        &self,
        destination: &Slug,
        id: RecordId,
        edited: Option<Bytes>,
        actor: &str,
    ) -> Result<Vec<RecordId>, Error> {
        let edited = match edited {
            None => None,
            Some(bytes) => {
                let feed = self.held.feed(destination, id)?;
                Some(Edited { bytes, charset: self.feeds.get(&feed).and_then(|feed| feed.charset) })
            }
        };
        self.held.release(destination, id, edited, actor).await
    }

    /// Decides that the destination shall not have a held record.
    ///
    /// # Errors
    /// [`Error::NotHeld`] and storage errors.
    pub async fn dismiss(&self, destination: &Slug, id: RecordId, actor: &str) -> Result<(), Error> {
        self.held.dismiss(destination, id, actor).await
    }

    /// Sends a record that is still kept once more, to one destination, as a new record with this one as origin.
    ///
    /// # Errors
    /// [`Error::NotKept`], [`Error::NoDestination`] and storage errors.
    pub async fn replay(&self, destination: &Slug, id: RecordId, actor: &str) -> Result<RecordId, Error> {
        if !self.watched.iter().any(|w| &w.destination == destination) {
            return Err(Error::NoDestination { destination: destination.clone() });
        }
        let Some(Entry::Record(record)) = self.named(id).await? else { return Err(Error::NotKept { id }) };
        let envelope: Envelope = codec::decode(&record.meta)?;
        let payload = record.payload.bytes().await?;
        // The row that the copy stands for has the name under which this destination got it.
        let id = self.name_at(destination, id)?;
        let event = AuditEvent {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: AuditAction::RecordReplayed,
            subject: id.to_string(),
            detail: format!("replayed to {destination}"),
        };
        self.spool.audit().record(&event)?;
        held::append_copy(&self.spool, id, &envelope.provenance, destination, &payload).await
    }
}
