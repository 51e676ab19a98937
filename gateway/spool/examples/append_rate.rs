//! Durable appends per second, beside raw `pwrite` and `fdatasync` of as many bytes on the same disk in the same
//! run: `cargo run --release -p wardgate-spool --example append_rate [DIR]`. Medians of interleaved rounds.
#![expect(clippy::print_stdout, reason = "a program for a person at a terminal")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Lane, Timestamp};
use spool::{Config, Error, Log, RootKey, Spool};
use tokio::time::Instant;

const RECORD_BYTES: usize = 1024;
const ROUND: Duration = Duration::from_millis(700);
const ROUNDS: usize = 9;
const RAW_BYTES: u64 = 32 << 20;

#[derive(Debug)]
struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Spool(#[from] Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Name(#[from] model::id::NotASlug),
}

fn main() -> Result<(), Failed> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/append-rate"), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&dir))
}

async fn run(dir: &Path) -> Result<(), Failed> {
    let spool_dir = dir.join("spool");
    if spool_dir.exists() {
        std::fs::remove_dir_all(&spool_dir)?;
    }
    let keys = RootKey::new(&mut [1; 32])?;
    let spool = Spool::open(&spool_dir, &Config::default(), keys, &"bench".parse()?, Arc::new(Fixed))?;
    let log = spool.lane(Lane::Clinical).clone();
    let raw = dir.join("raw");
    let mut rows: Vec<(&str, Vec<f64>)> =
        ["raw 4 KiB", "log, 1 producer", "raw 128 KiB", "log, 128 producers"].map(|n| (n, Vec::new())).into();
    // Once for warm caches, then for the record.
    for round in 0..=ROUNDS {
        let figures = [
            raw_rate(&raw, 4096)?,
            log_rate(&log, 1).await?,
            raw_rate(&raw, 128 * RECORD_BYTES)? * 128.0,
            log_rate(&log, 128).await?,
        ];
        for ((_, row), figure) in rows.iter_mut().zip(figures).filter(|_| round > 0) {
            row.push(figure);
        }
        log.free_through(*log.durable().borrow(), Timestamp::from_micros(0));
    }
    println!("{ROUNDS} interleaved rounds, records of {RECORD_BYTES} bytes, durable records per second");
    let mut medians = Vec::new();
    for (name, mut row) in rows {
        row.sort_by(f64::total_cmp);
        let at = |i: usize| row.get(i).copied().unwrap_or_default();
        medians.push(at(row.len() / 2));
        println!("{name:20} {:>9.0}   ({:.0} to {:.0})", at(row.len() / 2), at(0), at(row.len() - 1));
    }
    if let [raw_one, log_one, raw_many, log_many] = medians.as_slice() {
        println!(
            "log / raw            {:.2} with one producer, {:.2} with 128",
            log_one / raw_one,
            log_many / raw_many
        );
    }
    spool.stop().await?;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Writes and flushes a second on a file of zeros.
fn raw_rate(path: &Path, bytes: usize) -> Result<f64, Failed> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() < RAW_BYTES {
        file.write_all_at(&vec![0; RAW_BYTES as usize], 0)?;
        file.sync_all()?;
    }
    let buffer = vec![0xA5; bytes];
    let (begun, mut count, mut at) = (Instant::now(), 0_u32, 0);
    while begun.elapsed() < ROUND {
        file.write_all_at(&buffer, at)?;
        file.sync_data()?;
        at = (at + bytes as u64) % (RAW_BYTES - bytes as u64);
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Producers in a closed loop: each appends again when its record is durable.
async fn log_rate(log: &Log, producers: usize) -> Result<f64, Failed> {
    let (begun, before) = (Instant::now(), *log.durable().borrow());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..producers {
        let log = log.clone();
        tasks.spawn(async move {
            let payload = [0x5A; RECORD_BYTES];
            while begun.elapsed() < ROUND {
                log.append(Vec::new(), &payload).await?;
            }
            Ok::<(), Error>(())
        });
    }
    for done in tasks.join_all().await {
        done?;
    }
    let count = u32::try_from(*log.durable().borrow() - before).unwrap_or(u32::MAX);
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}
