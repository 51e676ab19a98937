//! One process of the box, from its start to its end.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deid::Policy;
use model::{Clock, Lane, Slug, Timestamp};
use pipeline::{BatchLimits, Feed, Handle, Pipeline, Route, Start};
use profile::Catalogue;
use spool::{Entropy, Hands, LOGS, Outside, RootKey, Spool, Stepper};
use std::sync::{LazyLock, Mutex};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::disk::ModelDisk;
use crate::hospital::{FEEDS, send_all};
use crate::oracle::{self, Oracle};
use crate::plant::Plant;
use crate::port::Port;
use crate::shelf::ModelShelf;
use crate::world::{RECEIVER, World};
use crate::{operator, weather};

/// How long all has to be quiet again when nothing disturbs any more.
const DRAIN: Duration = Duration::from_secs(4 * 3600);
const SEGMENT_BYTES: u64 = 128 << 10;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    Kill,
    PowerCut,
    /// When everything has been sent, delivered and accounted for.
    Drained,
}

/// A life as the dice have it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) end: End,
    pub(crate) lasts: Duration,
    /// It ends at this operation of the disk, if it comes to that.
    pub(crate) dies_in: Option<u64>,
    pub(crate) trouble: u64,
    /// The destinations, and which policy each has.
    pub(crate) destinations: Vec<(&'static str, &'static str)>,
    pub(crate) start: Start,
    /// The log is given another incarnation before anything else, as after a restore.
    pub(crate) is_renewed: bool,
    pub(crate) batch_records_max: usize,
    pub(crate) retention_s: u64,
}

/// The built-in policies, and a second version of one: a change of policy.
static POLICIES: LazyLock<Vec<(&'static str, Arc<Policy>)>> = LazyLock::new(|| {
    let harbor = include_str!("../../../gateway/deid/policies/safe-harbor.toml");
    let stricter = harbor.replace("XAD = \"state-zip3\"\n", "");
    assert_ne!(harbor, stricter, "the policy has another shape");
    vec![
        ("treatment", Arc::new(Policy::builtin("treatment").unwrap())),
        ("safe-harbor", Arc::new(Policy::builtin("safe-harbor").unwrap())),
        ("stricter", Arc::new(Policy::compile("stricter", &stricter, Timestamp::default()).unwrap())),
    ]
});
static PROFILES: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::builtin().unwrap()));

/// Randomness by seed.
#[derive(Debug)]
struct Chance(Mutex<Dice>);

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), spool::Error> {
        let mut dice = self.0.lock().unwrap();
        for part in bytes.chunks_mut(8) {
            let value = dice.next().to_le_bytes();
            part.copy_from_slice(&value[..part.len()]);
        }
        Ok(())
    }
}

pub(crate) fn feeds() -> Vec<Feed> {
    let feed = |(name, lane, only): &(&str, Lane, Option<&[&str]>)| Feed {
        name: name.parse().unwrap(),
        lane: *lane,
        destinations: only.map(|names| names.iter().map(|n| n.parse().unwrap()).collect()),
        routes: None,
        device_topics: Vec::new(),
        charset: None,
        consent: pipeline::consent::Codes::default(),
    };
    FEEDS.iter().map(feed).collect()
}

/// Lives it.
pub(crate) fn live(world: &Arc<World>, oracle: &mut Oracle, dir: &Path, plan: &Plan) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let life = world.begin_life();
        world.platter.begin_life(plan.dies_in);
        world.set_trouble(plan.trouble);
        world.say(format_args!("begins: {plan:?}"));
        run(world, oracle, dir, plan, life).await;
        world.say(format_args!("ends"));
        // From here on nothing that the process does has an effect.
        world.platter.kill();
        world.end_life();
    });
    drop(runtime);
    world.dice(|dice| {
        if plan.end == End::PowerCut {
            world.platter.cut(dice);
        }
        world.cabinet.crash(dice);
    });
}

fn open(world: &Arc<World>, dir: &Path, plan: &Plan, stepper: &Stepper) -> Result<Spool, spool::Error> {
    let config = spool::Config {
        segment_bytes: SEGMENT_BYTES,
        urgent_bytes_max: 6 * SEGMENT_BYTES,
        clinical_bytes_max: 8 * SEGMENT_BYTES,
        bulk_bytes_max: 6 * SEGMENT_BYTES,
        held_bytes_max: 64 * SEGMENT_BYTES,
        journal_bytes_max: 64 * SEGMENT_BYTES,
        retention_after_delivery_s: plan.retention_s,
        journal_keep_s: plan.retention_s,
        ..spool::Config::default()
    };
    let entropy = match world.plant {
        Some(Plant::NonceReuseAfterReopen) => 0,
        _ => world.dice(Dice::next),
    };
    let root = RootKey::new(&mut [7; 32])?;
    let outside = Outside {
        disk: Arc::new(ModelDisk(Arc::clone(world))),
        hands: Hands::Stepped(stepper.clone()),
        state: Some(Arc::new(ModelShelf(Arc::clone(world)))),
        entropy: Arc::new(Chance(Mutex::new(Dice::new(entropy)))),
    };
    let clock = Arc::clone(world) as Arc<dyn Clock>;
    world.set_opening(true);
    let spool = Spool::open_on(dir, &config, root, &world.gateway, clock, outside);
    world.set_opening(false);
    spool
}

async fn run(world: &Arc<World>, oracle: &mut Oracle, dir: &Path, plan: &Plan, life: u32) {
    let stepper = Stepper::new();
    let spool = match open(world, dir, plan, &stepper) {
        Ok(spool) => Arc::new(spool),
        Err(error) => return failed(world, "the spool did not open", &error),
    };
    let mut hands = JoinSet::new();
    for log in 0..LOGS {
        hands.spawn(commit(Arc::clone(world), stepper.clone(), log));
    }
    hands.spawn(keep(Arc::clone(world), stepper.clone()));
    hands.spawn(carry(Arc::clone(world)));

    if plan.is_renewed {
        for lane in Lane::ALL {
            if let Err(error) = spool.lane(lane).renew_incarnation() {
                return failed(world, "the log was not renewed", &error);
            }
        }
    }
    oracle.opened(&spool, plan);
    let names: Vec<Slug> = plan.destinations.iter().map(|(name, _)| name.parse().unwrap()).collect();
    *world.configured.lock().unwrap() = names;
    let route = |(name, policy): &(&'static str, &'static str)| Route {
        start: oracle.start(name, plan),
        ..route(world, life, name, policy, plan)
    };
    let routes = plan.destinations.iter().map(route).collect();
    let clock = Arc::clone(world) as Arc<dyn Clock>;
    let built = tokio::select! {
        biased;
        () = world.platter.died() => return,
        built = Pipeline::build(world.gateway.clone(), Arc::clone(&spool), clock, Arc::clone(&PROFILES), feeds(), routes) => built,
    };
    let pipeline = match built {
        Ok(pipeline) => pipeline,
        Err(error) => return failed(world, "the pipeline was not built", &error),
    };
    oracle.built(plan);
    let handle = pipeline.handle();
    let stop = CancellationToken::new();
    let mut delivering = JoinSet::new();
    delivering.spawn(pipeline.run(stop.clone()));
    let mut around = JoinSet::new();
    for client in 0..world.hospital(|h| h.client_count()) {
        around.spawn(send_all(Arc::clone(world), client, handle.intake()));
    }
    around.spawn(operator::decide(Arc::clone(world), handle.clone(), plan.end == End::Drained));
    if plan.end != End::Drained {
        around.spawn(weather::change(Arc::clone(world), plan.clone()));
    }
    tokio::select! {
        biased;
        () = world.violated() => return,
        () = world.platter.died() => return,
        () = drained(world, &handle), if plan.end == End::Drained => {}
        () = tokio::time::sleep(if plan.end == End::Drained { DRAIN } else { plan.lasts }) => {
            if plan.end == End::Drained {
                let status: Vec<_> = handle.status().into_iter().filter(|s| s.backlog > 0).collect();
                let is_done = world.hospital(|h| h.is_done());
                return world.violation(format!("it does not drain: all sent {is_done}, {status:?}"));
            }
        }
    }
    if plan.end == End::Drained {
        oracle::judge(world, oracle, &handle).await;
    }
    if !matches!(plan.end, End::Stop | End::Drained) {
        return;
    }
    // In order: sources, intake, delivery, logs.
    around.shutdown().await;
    let intake = handle.intake();
    tokio::select! {
        biased;
        () = world.platter.died() => return,
        () = intake.close() => {}
    }
    drop(intake);
    stop.cancel();
    tokio::select! {
        biased;
        () = world.platter.died() => return,
        _ = delivering.join_next() => {}
    }
    drop(handle);
    match Arc::try_unwrap(spool) {
        Ok(spool) => {
            if let Err(error) = spool.stop().await {
                failed(world, "the spool did not stop in order", &error);
            }
        }
        Err(_) => world.violation("the logs are still in use after the stop".to_owned()),
    }
}

/// A process that does not come up ends and is started again; when nothing disturbs it, it has to come up.
fn failed(world: &World, what: &str, error: &dyn std::fmt::Display) {
    world.say(format_args!("{what}: {error}"));
    if !world.platter.is_dead() && !world.platter.was_disturbed() {
        world.violation(format!("{what}: {error}"));
    }
}

fn route(world: &Arc<World>, life: u32, name: &str, policy: &str, plan: &Plan) -> Route<Port> {
    let policy = POLICIES.iter().find(|(n, _)| *n == policy).map(|(_, p)| Arc::clone(p)).unwrap();
    let name: Slug = name.parse().unwrap();
    let remembers = name.as_str() != RECEIVER;
    Route {
        name: name.clone(),
        policy,
        destination: Arc::new(Port { world: Arc::clone(world), life, name, remembers }),
        start: plan.start,
        consent: None,
        batch: BatchLimits {
            records_max: plan.batch_records_max,
            linger: Duration::from_millis(50),
            ..BatchLimits::default()
        },
    }
}

/// The committer's thread: work that comes together while the disk is busy is committed together.
async fn commit(world: Arc<World>, stepper: Stepper, log: usize) {
    loop {
        stepper.rung(log).await;
        let micros =
            world.dice(|d| if d.permille(30) { d.within(20_000..=900_000) } else { d.within(100..=4_000) });
        let micros = micros * world.platter.slowness() / 100;
        tokio::time::sleep(Duration::from_micros(micros)).await;
        if world.platter.is_dead() {
            pending::<()>().await;
        }
        stepper.step(log);
    }
}

async fn keep(world: Arc<World>, stepper: Stepper) {
    loop {
        stepper.chore().await;
        let micros = world.dice(|d| d.within(100..=50_000));
        tokio::time::sleep(Duration::from_micros(micros)).await;
        if world.platter.is_dead() {
            pending::<()>().await;
        }
        stepper.keep();
    }
}

/// Brings what is under way to the landing.
async fn carry(world: Arc<World>) {
    loop {
        let wait = match world.next_mail() {
            Some(due) => Duration::from_micros((due - world.now_micros()).max(0) as u64),
            None => DRAIN,
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => world.collect_mail(),
            () = world.mailbox.notified() => {}
        }
    }
}

async fn drained(world: &World, handle: &Handle) {
    let mut quiet = 0;
    while quiet < 4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let is_quiet = world.hospital(|h| h.is_done())
            && world.next_mail().is_none()
            && handle.status().iter().all(|s| s.backlog == 0);
        quiet = if is_quiet { quiet + 1 } else { 0 };
    }
}
