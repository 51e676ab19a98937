//! `kill -9` under load, again and again on one spool: every record that was acknowledged is there, once, as it
//! was; the numbers have no holes; nothing is damaged.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers are tests, too")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Lane, Timestamp};
use spool::{Config, Entry, RootKey, Spool, Table};

const DIR: &str = "WARDGATE_SPOOL_KILL_DIR";
const ROUND: &str = "WARDGATE_SPOOL_KILL_ROUND";
const ROUNDS: u64 = 12;

#[derive(Debug)]
struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

fn open(dir: &Path) -> Spool {
    let config = Config { segment_bytes: 1 << 20, ..Config::default() };
    let keys = RootKey::from_file(&dir.join("root.key"), true).unwrap();
    Spool::open(&dir.join("spool"), &config, keys, &"ward-3".parse().unwrap(), Arc::new(Fixed)).unwrap()
}

/// A payload that can be made again from its seed.
fn payload(seed: u64) -> Vec<u8> {
    let len = match seed % 10 {
        0 => 300_000 + usize::try_from(seed % 1000).unwrap(),
        1 | 2 => 40_000,
        _ => 900,
    };
    seed.to_le_bytes().iter().copied().cycle().take(len).collect()
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let spool = open(Path::new(&dir));
        let mut tasks = tokio::task::JoinSet::new();
        for producer in 0..8_u64 {
            let log = spool.lane(Lane::Clinical).clone();
            let state = spool.state().clone();
            tasks.spawn(async move {
                for i in 0.. {
                    let seed = round * 1_000_000 + producer * 100_000 + i;
                    let seq = log.append(seed.to_string().into_bytes(), &payload(seed)).await.unwrap();
                    let line = format!("\nack {seq} {seed}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                    if producer == 0 {
                        state.put(Table::Cursors, b"destination", &seq.to_be_bytes()).unwrap();
                        state.sync().await.unwrap();
                        std::io::stdout().write_all(format!("\ncursor {seq} 0\n").as_bytes()).unwrap();
                    }
                }
            });
        }
        tasks.join_all().await;
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    let mut cursor = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let target = 20 + 37 * (round % 5);
        let mut count = 0;
        for line in lines {
            let Ok(line) = line else { break };
            let mut words = line.split(' ');
            let (Some(what), Some(seq), Some(seed)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let (Ok(seq), Ok(seed)) = (seq.parse::<u64>(), seed.parse::<u64>()) else { continue };
            match what {
                "ack" => {
                    count += 1;
                    assert!(acknowledged.insert(seq, seed).is_none(), "number {seq} was given out twice");
                }
                "cursor" => cursor = seq,
                _ => {}
            }
            if count == target {
                // In the middle of whatever it does now.
                std::thread::sleep(Duration::from_micros(700 * round));
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        assert!(count >= target, "the child wrote {count} of {target}");
        check(dir.path(), &acknowledged, cursor);
    }
    let report = spool::verify(&dir.path().join("spool"), None).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

fn check(dir: &Path, acknowledged: &BTreeMap<u64, u64>, cursor: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let spool = open(dir);
        assert!(!spool.state().was_lost());
        let held = spool.state().get(Table::Cursors, b"destination").unwrap().unwrap_or_default();
        let held = held.try_into().map_or(0, u64::from_be_bytes);
        assert!(held >= cursor, "cursor {held} is behind {cursor}, which was synced");
        let log = spool.lane(Lane::Clinical);
        assert_eq!(log.stat().damaged, 0);
        let mut reader = log.reader(1);
        let mut next = 1;
        let mut seeds = std::collections::BTreeSet::new();
        while let Some(entry) = reader.next().await.unwrap() {
            let Entry::Record(record) = entry else { panic!("{entry:?}") };
            assert_eq!(record.seq, next);
            let seed: u64 = std::str::from_utf8(&record.meta).unwrap().parse().unwrap();
            assert!(record.payload.bytes().await.unwrap() == payload(seed), "record {next}");
            assert!(seeds.insert(seed), "record {next} is there twice");
            if let Some(acknowledged) = acknowledged.get(&next) {
                assert_eq!(*acknowledged, seed, "record {next}");
            }
            next += 1;
        }
        assert!(acknowledged.keys().next_back().is_none_or(|last| *last < next), "the tail is missing");
    });
}
