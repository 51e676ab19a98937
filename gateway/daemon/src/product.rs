//! The running gateway as its pages, its metrics and its CLI see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use forward::check::Outcome;
use forward::{AnyDestination, Destination as _};
use model::{AuditAction, AuditError, AuditEvent, BoxFuture, Clock, Lane, Slug, Timestamp};
use pipeline::{DeliveryState, DeliveryStatus};
use tokio::sync::Mutex;
use web::{
    Account, AccountName, ClaimError, DestinationLane, DestinationState, DestinationStatus, Disk, FeedStatus,
    LaneStatus, NewAccount, Product, Status,
};

use crate::claim::Claim;
use crate::feeds::FeedHandle;
use crate::syslog;

/// Connecting for longer than this is worth a word.
const CONNECTING_MICROS: i64 = 10_000_000;

/// A destination as configured, for display.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: Slug,
    pub(crate) kind: &'static str,
    pub(crate) policy: String,
    pub(crate) destination: Arc<AnyDestination>,
    /// Of one that is connected to only when there is something to send: that it was not reached when it was tried.
    pub(crate) away: std::sync::Mutex<Option<Away>>,
}

/// A destination that was not reached while there was nothing to send.
#[derive(Debug, Clone)]
pub(crate) struct Away {
    since: Timestamp,
    why: String,
    /// How many batches it had been given: one more, and it is there.
    batches: u64,
}

impl Target {
    fn away(&self) -> std::sync::MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Everything that can be asked of a running gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) id: Slug,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) started: Timestamp,
    pub(crate) pipeline: pipeline::Handle,
    pub(crate) feeds: Vec<FeedHandle>,
    pub(crate) targets: Vec<Target>,
    pub(crate) claim: Claim,
    /// Held by whoever changes the accounts.
    pub(crate) claiming: Mutex<()>,
    /// Where passwords are compared that come over the control socket.
    pub(crate) door: web::Hasher,
    /// How the syslog server of the audit log stands, where there is one.
    pub(crate) syslog: Option<syslog::Board>,
}

impl Gateway {
    pub(crate) fn deliveries(&self) -> Vec<DeliveryStatus> {
        self.pipeline.status()
    }

    /// Appends to the audit log off the runtime's threads, because it waits for the disk.
    pub(crate) async fn audited(&self, event: AuditEvent) -> Result<(), AuditError> {
        let sink = self.pipeline.spool().audit();
        tokio::task::spawn_blocking(move || sink.record(&event)).await.map_err(|_| AuditError)?
    }

    /// Whether the journal refuses for want of room: what must be audited cannot be done then.
    pub(crate) fn is_journal_full(&self) -> bool {
        matches!(self.pipeline.spool().journal().admit(), Err(spool::Error::Full { .. }))
    }

    /// Tries whether the destination can be reached, and says so where that is new. `true` where it was not, and is
    /// not tried by whoever delivers to it.
    pub(crate) async fn try_target(&self, target: &Target, is_first: bool) -> bool {
        let report = target.destination.test().await;
        let failed = report.steps.into_iter().find_map(|s| match s.outcome {
            Outcome::Failed { why, remedy } => Some((s.step.as_str(), why, remedy)),
            _ => None,
        });
        let Some((step, why, remedy)) = failed else {
            if target.away().take().is_some() || is_first {
                tracing::info!(destination = %target.name, "reachable");
            }
            return false;
        };
        if is_first {
            tracing::warn!(destination = %target.name, step, %why, %remedy, "not reachable");
        }
        if target.destination.nature().remembers {
            return false;
        }
        let batches = batches(target, &self.deliveries());
        let now = self.clock.now();
        let mut away = target.away();
        let since = away.as_ref().map_or(now, |earlier| earlier.since);
        *away = Some(Away { since, why: format!("not reachable: {why}; {remedy}"), batches });
        true
    }

    fn disk(&self) -> Disk {
        let used_percent = self.pipeline.spool().disk().percent();
        let about = rustix::fs::statvfs(&self.data_dir).ok();
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        Disk {
            free_bytes: about.as_ref().map_or(0, |s| bytes(s.f_bavail, s.f_frsize)),
            total_bytes: about.as_ref().map_or(0, |s| bytes(s.f_blocks, s.f_frsize)),
            used_percent,
        }
    }

    fn target(&self, target: &Target, deliveries: &[DeliveryStatus], now: Timestamp) -> DestinationStatus {
        let mine: Vec<&DeliveryStatus> = deliveries.iter().filter(|d| d.destination == target.name).collect();
        DestinationStatus {
            name: target.name.clone(),
            kind: target.kind.to_owned(),
            policy: target.policy.clone(),
            state: match (worst(&mine, now), target.away().clone()) {
                (DestinationState::Idle, Some(away)) if away.batches == batches(target, deliveries) => {
                    DestinationState::Unreachable { why: away.why, since: Some(away.since) }
                }
                (state, _) => state,
            },
            lanes: mine
                .iter()
                .map(|d| DestinationLane {
                    lane: d.lane,
                    cursor: d.cursor,
                    backlog: d.backlog,
                    oldest_unsent_age_s: d.oldest_unsent_at.map(|at| seconds(now.micros_since(at))),
                })
                .collect(),
            delivered: mine.iter().map(|d| d.delivered).sum(),
            skipped: mine.iter().flat_map(|d| d.skipped.values()).sum(),
            held: self.pipeline.held_for(&target.name),
            certificate_expires_at: target.destination.rotating().map(|r| r.current().expires_at()),
        }
    }
}

/// How many batches a destination was given since the start.
fn batches(target: &Target, deliveries: &[DeliveryStatus]) -> u64 {
    deliveries.iter().filter(|d| d.destination == target.name).map(|d| d.batches).sum()
}

fn condition(state: spool::LogState) -> &'static str {
    match state {
        spool::LogState::Ready => "it is ready",
        spool::LogState::Full => "its budget or the disk is used up; it goes on by itself when there is room",
        spool::LogState::Failing => "writing failed; look at the disk",
        spool::LogState::Stopped => "it is stopped",
    }
}

fn seconds(micros: i64) -> u64 {
    u64::try_from(micros / 1_000_000).unwrap_or(0)
}

/// What a person has to know of a destination is what its worst lane says.
fn worst(lanes: &[&DeliveryStatus], now: Timestamp) -> DestinationState {
    let mut by_weight: BTreeMap<u8, DestinationState> = BTreeMap::new();
    for d in lanes {
        let (weight, state) = match &d.state {
            DeliveryState::Blocked { why } => (0, DestinationState::Blocked { why: why.clone() }),
            DeliveryState::Unreachable { why } => {
                (1, DestinationState::Unreachable { why: why.clone(), since: Some(d.since) })
            }
            DeliveryState::Retrying { why } => {
                (2, DestinationState::Retrying { why: why.clone(), since: Some(d.since) })
            }
            DeliveryState::Connecting if now.micros_since(d.since) > CONNECTING_MICROS => {
                (3, DestinationState::Retrying { why: "connecting".to_owned(), since: Some(d.since) })
            }
            DeliveryState::Delivering => (4, DestinationState::Delivering),
            DeliveryState::Connecting | DeliveryState::Idle | DeliveryState::Stopped => {
                (5, DestinationState::Idle)
            }
        };
        by_weight.entry(weight).or_insert(state);
    }
    by_weight.into_values().next().unwrap_or(DestinationState::Idle)
}

impl Product for Gateway {
    fn status(&self) -> Status {
        let now = self.clock.now();
        let deliveries = self.deliveries();
        let spool = self.pipeline.spool();
        let mut not_ready_because = Vec::new();
        let lanes = Lane::ALL
            .into_iter()
            .map(|lane| {
                let log = spool.lane(lane);
                let stat = log.stat();
                if stat.state != spool::LogState::Ready {
                    not_ready_because
                        .push(format!("the {lane} lane takes nothing in: {}", condition(stat.state)));
                }
                LaneStatus {
                    lane,
                    epoch: log.epoch(),
                    last_durable: *log.durable().borrow(),
                    bytes: stat.bytes,
                    budget_bytes: stat.bytes_max,
                    used_percent: stat.room.percent(),
                }
            })
            .collect();
        let journal = spool.journal().stat();
        if journal.state != spool::LogState::Ready {
            not_ready_because.push(format!("the journal takes nothing in: {}", condition(journal.state)));
            for need in spool.audit_log().needs() {
                not_ready_because.push(format!(
                    "{} has the audit log up to record {} of the journal",
                    need.who, need.behind
                ));
            }
        }
        let faults = self.pipeline.fault_totals();
        let feeds: Vec<FeedStatus> = self
            .feeds
            .iter()
            .map(|f| {
                let of_feed = faults.iter().filter(|(feed, ..)| *feed == f.name);
                let by_kind = of_feed.map(|(_, kind, count)| (*kind, *count)).collect();
                f.status(self.pipeline.intake().last_received_at(&f.name), by_kind, now)
            })
            .collect();
        Status {
            gateway: self.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: seconds(now.micros_since(self.started)),
            ready: not_ready_because.is_empty(),
            not_ready_because,
            lanes,
            feeds,
            destinations: self.targets.iter().map(|t| self.target(t, &deliveries, now)).collect(),
            disk: self.disk(),
            held_log_used_percent: spool.held().stat().room.percent(),
            journal_used_percent: spool.journal().stat().room.percent(),
            held: self.pipeline.held_total(),
        }
    }

    fn claimed(&self) -> bool {
        self.claim.claimed()
    }

    fn claim<'a>(&'a self, code: &'a str, first: NewAccount) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            let _one_at_a_time = self.claiming.lock().await;
            self.claim.check(code)?;
            // In the audit log first: an account that nobody can see being made must not exist.
            let event = AuditEvent {
                at: self.clock.now(),
                actor: first.name.to_string(),
                action: AuditAction::Claimed,
                subject: self.id.to_string(),
                detail: "the claim code was right; the first account is made".to_owned(),
            };
            self.audited(event).await.map_err(|_| ClaimError::Storage)?;
            self.claim.claim(first).await
        })
    }

    fn account(&self, name: &AccountName) -> Option<Account> {
        self.claim.accounts().into_iter().find(|account| &account.name == name)
    }

    fn audit(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(self.audited(event))
    }
}
