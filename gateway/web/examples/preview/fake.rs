//! A hospital that does not exist, as the pages see it. For the preview and the tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use model::{AuditAction, AuditError, AuditEvent, BoxFuture, Lane, StreamEpoch, Timestamp};
use tokio::time::Instant;
use web::{
    Account, AccountName, ClaimError, DestinationLane, DestinationState, DestinationStatus, Disk, FeedStatus,
    LaneStatus, NewAccount, Product, Status,
};

/// The code that claims the fake, as it is printed.
pub(crate) const CODE: &str = "7QKM-R4TX-9HWD";

/// How things are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// Nothing is configured.
    Empty,
    /// Configured, and nothing has arrived.
    Quiet,
    /// A good day.
    Well,
    /// A bad one.
    Trouble,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) scene: Mutex<Scene>,
    pub(crate) accounts: Mutex<Vec<Account>>,
    pub(crate) audited: Mutex<Vec<AuditEvent>>,
    pub(crate) audit_is_broken: AtomicBool,
    /// Put wherever free text can stand, to see that it stays text.
    pub(crate) hostile: Mutex<Option<String>>,
    now: fn() -> Timestamp,
    started: Instant,
}

impl Fake {
    pub(crate) fn new(scene: Scene, now: fn() -> Timestamp) -> Self {
        Self {
            scene: Mutex::new(scene),
            accounts: Mutex::default(),
            audited: Mutex::default(),
            audit_is_broken: AtomicBool::new(false),
            hostile: Mutex::default(),
            now,
            started: Instant::now(),
        }
    }
}

/// Numbers that move as a ward's do: steadily, with waves.
fn arrived(at_s: f64, per_s: f64, wave_s: f64) -> u64 {
    let waves = (at_s / wave_s).sin() * wave_s * 0.45 + (at_s / (wave_s * 0.23)).sin() * wave_s * 0.06;
    (per_s * (at_s + waves + wave_s)).max(0.0) as u64
}

impl Product for Fake {
    fn status(&self) -> Status {
        let scene = *self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        let (t, now) = (self.started.elapsed().as_secs_f64(), (self.now)());
        let mut status = Status {
            gateway: slug("ward-3"),
            version: "0.1.0".to_owned(),
            uptime_s: 273_600 + t as u64,
            ready: true,
            not_ready_because: Vec::new(),
            lanes: Lane::ALL.into_iter().map(|lane| lane_of(lane, scene, t)).collect(),
            feeds: Vec::new(),
            destinations: Vec::new(),
            disk: Disk { free_bytes: 181_300_000_000, total_bytes: 240_000_000_000, used_percent: 3 },
            held_log_used_percent: 0,
            journal_used_percent: 1,
            held: 0,
        };
        if scene == Scene::Empty {
            return status;
        }
        status.feeds = feeds(scene, t, now);
        status.destinations = destinations(scene, t, now);
        if scene == Scene::Trouble {
            status.held = 3;
            status.disk.free_bytes = 19_200_000_000;
            status.disk.used_percent = 91;
        }
        if let Some(text) = &*self.hostile.lock().unwrap_or_else(PoisonError::into_inner) {
            poison(&mut status, text);
        }
        status
    }

    fn claimed(&self) -> bool {
        !self.accounts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn claim<'a>(&'a self, code: &'a str, first: NewAccount) -> BoxFuture<'a, Result<(), ClaimError>> {
        Box::pin(async move {
            let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            if !accounts.is_empty() {
                return Err(ClaimError::AlreadyClaimed);
            }
            if code != CODE.replace('-', "") {
                return Err(ClaimError::WrongCode);
            }
            let event = AuditEvent {
                at: (self.now)(),
                actor: first.name.to_string(),
                action: AuditAction::Claimed,
                subject: "ward-3".to_owned(),
                detail: String::new(),
            };
            self.audited.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            accounts.push(first);
            Ok(())
        })
    }

    fn account(&self, name: &AccountName) -> Option<Account> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().find(|account| account.name == *name).cloned()
    }

    fn audit(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(async move {
            if self.audit_is_broken.load(Ordering::Relaxed) {
                return Err(AuditError);
            }
            self.audited.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            Ok(())
        })
    }
}

/// Every text that is no slug comes from outside.
fn poison(status: &mut Status, text: &str) {
    status.not_ready_because.push(text.to_owned());
    text.clone_into(&mut status.version);
    for feed in &mut status.feeds {
        text.clone_into(&mut feed.kind);
        text.clone_into(&mut feed.listen);
    }
    for destination in &mut status.destinations {
        text.clone_into(&mut destination.kind);
        text.clone_into(&mut destination.policy);
        destination.state = DestinationState::Blocked { why: text.to_owned() };
    }
}

fn slug(text: &str) -> model::Slug {
    #[allow(
        clippy::unwrap_used,
        reason = "names written in this file; the tests, which share it, may unwrap"
    )]
    text.parse().unwrap()
}

fn lane_of(lane: Lane, scene: Scene, t: f64) -> LaneStatus {
    let (last_durable, bytes, budget_bytes) = match (scene, lane) {
        (Scene::Empty | Scene::Quiet, _) => (0, 8192, 20_000_000_000),
        (_, Lane::Urgent) => (1_204, 3_400_000, 2_000_000_000),
        (Scene::Trouble, Lane::Clinical) => {
            (1_966_445 + arrived(t, 7.4, 140.0), 18_500_000_000, 20_000_000_000)
        }
        (_, Lane::Clinical) => (1_918_233 + arrived(t, 7.4, 140.0), 4_120_000_000, 20_000_000_000),
        (_, Lane::Bulk) => (88_021, 31_700_000_000, 80_000_000_000),
    };
    // All of it is needed: in these scenes nothing is kept only for later.
    let used_percent = bytes * 100 / budget_bytes;
    LaneStatus { lane, epoch: StreamEpoch::FIRST, last_durable, bytes, budget_bytes, used_percent }
}

fn feeds(scene: Scene, t: f64, now: Timestamp) -> Vec<FeedStatus> {
    let feed = |name: &str, kind: &str, listen: &str, counts: [u64; 4], connections, silent: Option<u64>| {
        let [received, accepted, duplicates, refused] = counts;
        let ago = |s: u64| Timestamp::from_micros(now.micros() - i64::try_from(s).unwrap_or(0) * 1_000_000);
        FeedStatus {
            name: slug(name),
            kind: kind.to_owned(),
            listen: listen.to_owned(),
            received,
            accepted,
            duplicates,
            refused,
            connections,
            faults: if refused > 0 {
                [(model::FaultKind::NotStored, refused), (model::FaultKind::CutOff, 3)].into()
            } else {
                [].into()
            },
            last_received_at: silent.map(ago),
            silent_for_s: silent,
        }
    };
    if scene == Scene::Quiet {
        return vec![feed("adt", "mllp", "0.0.0.0:2575", [0; 4], 0, None)];
    }
    let adt = 412_806 + arrived(t, 2.1, 140.0);
    let laboratory = 1_093_440 + arrived(t, 5.3, 90.0);
    let oximeters = 402_117 + arrived(t, 1.9, 60.0);
    let refused = if scene == Scene::Trouble { 318 } else { 0 };
    vec![
        feed("adt", "mllp", "0.0.0.0:2575", [adt + 12, adt, 12, 0], 2, Some(3)),
        feed(
            "icu-oximeters",
            "mqtt",
            "mqtts://broker.ward-3.internal:8883",
            [oximeters, oximeters, 0, 0],
            1,
            Some(0),
        ),
        feed(
            "laboratory",
            "mllp",
            "0.0.0.0:2576 (TLS)",
            [laboratory + refused + 4, laboratory, 4, refused],
            6,
            Some(1),
        ),
        feed("pathology", "mllp", "10.20.3.4:2577", [9_870, 9_870, 0, 0], 1, Some(11_700)),
    ]
}

fn destinations(scene: Scene, t: f64, now: Timestamp) -> Vec<DestinationStatus> {
    let lane = |lane, cursor, backlog, oldest_unsent_age_s| DestinationLane {
        lane,
        cursor,
        backlog,
        oldest_unsent_age_s,
    };
    let in_days = |days: i64| Some(Timestamp::from_micros(now.micros() + days * 86_400_000_000));
    if scene == Scene::Quiet {
        return vec![DestinationStatus {
            name: slug("lake"),
            kind: "lakehouse".to_owned(),
            policy: "treatment".to_owned(),
            state: DestinationState::Idle,
            lanes: Lane::ALL.into_iter().map(|l| lane(l, 0, 0, None)).collect(),
            delivered: 0,
            skipped: 0,
            held: 0,
            certificate_expires_at: in_days(412),
        }];
    }
    let trouble = scene == Scene::Trouble;
    let last = if trouble { 1_966_445 } else { 1_918_233 } + arrived(t, 7.4, 140.0);
    let cursor = if trouble { 1_918_233 } else { last - 42 };
    // In trouble, the last delivery was a while before the preview began.
    let behind = last - cursor;
    let since = Timestamp::from_micros(now.micros() - 4_980 * 1_000_000);
    vec![
        DestinationStatus {
            name: slug("lake"),
            kind: "lakehouse".to_owned(),
            policy: "treatment".to_owned(),
            state: if trouble {
                DestinationState::Retrying {
                    why: "landing.example:9443 did not accept a connection (timed out after 10 s)".to_owned(),
                    since: Some(since),
                }
            } else {
                DestinationState::Delivering
            },
            lanes: vec![
                lane(Lane::Urgent, 1_204, 0, None),
                lane(Lane::Clinical, cursor, behind, Some(if trouble { 4_980 } else { 1 })),
                lane(Lane::Bulk, 88_021, 0, None),
            ],
            delivered: cursor + 89_225,
            skipped: 12,
            held: 0,
            certificate_expires_at: in_days(if trouble { 19 } else { 412 }),
        },
        DestinationStatus {
            name: slug("research"),
            kind: "lakehouse".to_owned(),
            policy: "safe-harbor".to_owned(),
            state: if trouble {
                DestinationState::Blocked {
                    why: "The landing takes another policy for this destination (limited-data-set). Set the same \
                          policy on both sides."
                        .to_owned(),
                }
            } else {
                DestinationState::Idle
            },
            lanes: vec![
                lane(Lane::Urgent, 1_204, 0, None),
                lane(
                    Lane::Clinical,
                    if trouble { 1_964_310 } else { last },
                    if trouble { last - 1_964_310 } else { 0 },
                    trouble.then_some(610),
                ),
                lane(Lane::Bulk, 88_021, 0, None),
            ],
            delivered: 1_916_020 + if trouble { 0 } else { arrived(t, 7.2, 140.0) },
            skipped: 4_310,
            held: if trouble { 3 } else { 0 },
            certificate_expires_at: in_days(412),
        },
    ]
}
