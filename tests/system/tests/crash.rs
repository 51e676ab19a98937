//! Promise 1 under `kill -9`: what was acknowledged is in the tables exactly once, whatever was killed and when.
//!
//! `WARDGATE_CRASH_ROUNDS` says how many kills (50), `WARDGATE_CRASH_SEED` repeats a run's choices.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use system_tests::mllp::Load;
use system_tests::process::Process;
use system_tests::site::{Site, backlog};
use system_tests::{readers, wait};

const ROUNDS: u64 = 50;
const SENDERS: usize = 4;
/// From one message to the next of a sender.
const PACE: Duration = Duration::from_millis(8);
/// Messages that must go through between two kills, so that no round is idle.
const PROGRESS: u64 = 12;
/// How often a kill of the gateway takes its state store with it.
const STATE_LOST: f64 = 0.1;
/// Every so many rounds the landing gets the time to catch up.
const BREATHER: u64 = 10;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

struct Under<'s> {
    site: &'s Site,
    gateway: Process,
    landing: Process,
    rng: StdRng,
    kills: [u64; 3],
    states_lost: u64,
}

impl Under<'_> {
    fn wait(&mut self, at_most_ms: u64) {
        let ms = self.rng.random_range(0..=at_most_ms);
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn round(&mut self) {
        self.wait(400);
        let victim = self.rng.random_range(0..3_usize);
        self.kills[victim] += 1;
        if victim != 1 {
            self.gateway.kill();
        }
        if victim != 0 {
            self.landing.kill();
        }
        self.wait(150);
        if victim != 0 {
            self.landing = self.site.launch_landing();
        }
        if victim != 1 {
            // The state store may be lost at any moment.
            if self.rng.random_bool(STATE_LOST) {
                std::fs::remove_dir_all(self.site.data().join("spool/state")).unwrap();
                self.states_lost += 1;
            }
            self.gateway = self.site.launch_gateway();
            // Recovery itself may be interrupted.
            if self.rng.random_bool(0.25) {
                self.wait(250);
                self.gateway.kill();
                self.gateway = self.site.launch_gateway();
            }
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_once_after_any_number_of_kills() {
    let rounds = number("WARDGATE_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("WARDGATE_CRASH_SEED").unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    println!("{rounds} rounds, WARDGATE_CRASH_SEED={seed}");
    let mut site = Site::new();
    site.spool = "segment_bytes = 1048576".to_owned();
    let (gateway, landing) = site.start();
    let mut under = Under {
        site: &site,
        gateway,
        landing,
        rng: StdRng::seed_from_u64(seed),
        kills: [0; 3],
        states_lost: 0,
    };

    let begun = Instant::now();
    let load = Load::start(site.ports.mllp, SENDERS, "c", PACE);
    for round in 1..=rounds {
        load.progress(PROGRESS);
        under.round();
        if round % BREATHER == 0 {
            site.gateway_ready(&mut under.gateway);
            let goal = site.status().unwrap()["lanes"][1]["last_durable"].as_u64().unwrap();
            wait::until("both destinations to catch up", || {
                let status = site.status()?;
                let lanes = status["destinations"].as_array()?.iter().map(|d| &d["lanes"][1]["cursor"]);
                lanes.map(|cursor| cursor.as_u64().unwrap()).all(|cursor| cursor >= goal).then_some(())
            });
        }
    }
    load.progress(PROGRESS);
    let refused = load.refused();
    let sent = load.stop();
    let took = begun.elapsed();
    site.drained();
    assert_eq!(backlog(&site.status().unwrap()), 0);
    under.gateway.stop();
    under.landing.stop();

    let (lake, research) = (site.root("lake"), site.root("research"));
    let account = readers::accounted(&sent, &lake, &[&research]);
    let sums = readers::sums(&lake);
    readers::sums(&research);
    site.nothing_to_find();
    println!(
        "{rounds} rounds in {:.0} s, kills of gateway, landing, both: {:?}, state lost {} times; refused {refused}; {account}; ledger {}",
        took.as_secs_f64(),
        under.kills,
        under.states_lost,
        sums["rows"]["ledger"]
    );
    assert!(account["acknowledged"].as_u64().unwrap() > rounds * PROGRESS);
}
