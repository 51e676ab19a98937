//! The whole box in a simulated world: intake, logs, delivery and landing, with everything around them decided by a seed.
//!
//! **What is real**: `pipeline`, `spool`, `deid`, and of the landing its rules for epochs and next numbers. **What is
//! not**: the disk ([`disk`]), the state store ([`shelf`]), time, threads, randomness, the network ([`port`]), the tables
//! ([`lake`]), and the people ([`hospital`], [`operator`]).
//!
//! A seed is several lives of one box. Each ends in order, by a kill or by a power cut, at a time or at an operation of the
//! disk that the dice choose; the next begins on what is left. In between the disk fails, fills and slows down, the clock
//! steps, destinations are away, answers get lost, requests arrive late or twice, policies change, destinations come and
//! go. The last life is left in peace until everything is delivered; then [`oracle`] judges.
//!
//! - `cargo xtask test --stage simulation`: 1,000 seeds or two minutes, and each of the planted faults.
//! - `cargo xtask torture --only simulation --seeds N`, and `--seed S` for one, with its event log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it did"
)]

mod dice;
mod disk;
mod hospital;
mod lake;
mod life;
mod operator;
mod oracle;
mod plant;
mod port;
mod shelf;
mod voice;
mod weather;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pipeline::Start;

use dice::Dice;
use hospital::Hospital;
use life::{End, Plan};
use oracle::Oracle;
use plant::Plant;
use world::{RECEIVER, RESEARCH, World};

/// What came of a seed.
struct Outcome {
    log: String,
    violation: Option<String>,
}

fn run(seed: u64, plant: Option<Plant>) -> Outcome {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let world = World::new(seed, plant, dir.path());
    let mut oracle = Oracle::default();
    let lives = world.dice(|d| d.within(1..=5));
    let mut plan = world.dice(first);
    for life in 0..=lives {
        if life > 0 {
            plan = world.dice(|d| next(d, &plan));
        }
        if life == lives {
            plan = Plan { end: End::Drained, dies_in: None, trouble: 0, ..plan };
            world.reconnect();
        }
        if life > 0 && world.dice(|d| d.permille(50)) {
            world.say(format_args!("the state store is lost"));
            world.cabinet.lose();
            world.hospital(Hospital::lose_index);
            oracle.was_state_lost = true;
        }
        life::live(&world, &mut oracle, dir.path(), &plan);
        if world.verdict().is_some() {
            break;
        }
    }
    Outcome { violation: world.verdict(), log: world.take_log() }
}

fn first(dice: &mut Dice) -> Plan {
    let mut destinations = vec![("lake", "treatment")];
    if dice.permille(700) {
        destinations.push((RESEARCH, "safe-harbor"));
    }
    if dice.permille(600) {
        destinations.push((RECEIVER, "treatment"));
    }
    let plan = Plan {
        end: End::Stop,
        lasts: Duration::ZERO,
        dies_in: None,
        trouble: dice.within(0..=4),
        destinations,
        start: Start::Now,
        is_renewed: false,
        batch_records_max: *dice.pick(&[1, 3, 50]),
        retention_s: *dice.pick(&[1, 20, 3600]),
    };
    next(dice, &plan)
}

fn next(dice: &mut Dice, before: &Plan) -> Plan {
    let mut plan = before.clone();
    plan.end = *dice.pick(&[End::Stop, End::Kill, End::Kill, End::PowerCut, End::PowerCut, End::PowerCut]);
    plan.lasts = Duration::from_millis(dice.within(100..=40_000));
    plan.dies_in = (plan.end != End::Stop && dice.permille(700)).then(|| dice.within(1..=500));
    plan.start = if dice.permille(500) { Start::Oldest } else { Start::Now };
    plan.is_renewed = dice.permille(100);
    for (name, policy) in [(RESEARCH, "safe-harbor"), (RECEIVER, "treatment")] {
        if dice.permille(100) {
            match plan.destinations.iter().position(|(n, _)| *n == name) {
                Some(at) => drop(plan.destinations.remove(at)),
                None => plan.destinations.push((name, policy)),
            }
        }
    }
    if dice.permille(150) {
        for (name, policy) in &mut plan.destinations {
            if *name == RESEARCH {
                *policy = if *policy == "stricter" { "safe-harbor" } else { "stricter" };
            }
        }
    }
    plan
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}: {value}")))
}

/// Runs seeds on all processors until one fails, there are enough of them, or time is up. Says how many, and which failed
/// first.
fn search(from: u64, count: u64, seconds: u64, plant: Option<Plant>) -> (u64, Option<(u64, Outcome)>) {
    #[expect(clippy::disallowed_methods, reason = "how long a test may take is told by a real clock")]
    let now = std::time::Instant::now;
    let begun = now();
    let budget = Duration::from_secs(seconds);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let found: Mutex<Option<(u64, Outcome)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while now() - begun < budget && found.lock().unwrap().is_none() {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    let outcome = run(from + n, plant);
                    done.fetch_add(1, Ordering::Relaxed);
                    if outcome.violation.is_some() {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(seed, _)| *seed > from + n) {
                            *found = Some((from + n, outcome));
                        }
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    println!(
        "{} seeds from {from} on in {:.1} s",
        done.load(Ordering::Relaxed),
        (now() - begun).as_secs_f64()
    );
    (done.into_inner(), found)
}

#[test]
fn nothing_is_lost_doubled_or_let_out_whatever_happens() {
    if let Ok(seed) = std::env::var("WARDGATE_SIM_SEED") {
        voice::listen();
        let outcome = run(seed.parse().unwrap(), None);
        println!("{}", outcome.log);
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    let from = setting("WARDGATE_SIM_FROM", 0);
    let (count, seconds) = (setting("WARDGATE_SIM_SEEDS", 1000), setting("WARDGATE_SIM_SECONDS", 120));
    let (done, found) = search(from, count, seconds, None);
    assert!(done > 0, "no time for a single seed");
    if let Some((seed, outcome)) = found {
        println!("{}", outcome.log);
        panic!("seed {seed}: {}", outcome.violation.unwrap_or_default());
    }
}

#[test]
fn a_seed_leads_to_the_same_events_byte_for_byte() {
    for seed in 0..20 {
        let (once, again) = (run(seed, None).log, run(seed, None).log);
        assert!(once.lines().count() > 20, "seed {seed} is an empty story:\n{once}");
        if once != again {
            let differs = once.lines().zip(again.lines()).find(|(a, b)| a != b);
            panic!("seed {seed} has two stories: {differs:?}");
        }
    }
}

#[test]
fn each_planted_fault_is_found() {
    let mut missed = Vec::new();
    for plant in Plant::ALL {
        let (_, found) = search(0, 1000, 120, Some(plant));
        match found {
            Some((seed, outcome)) => {
                println!("{plant:?}: seed {seed}: {}", outcome.violation.unwrap_or_default());
            }
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
