//! One store in its process: reads what to do from standard input, line by line.

use std::io::BufRead as _;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Engine, RECORD_BYTES, embedded, jetstream, ours, process, raw};

/// A store under measurement.
pub(super) trait Store {
    /// Makes the records durable, together or in order; returns when all of them are.
    fn commit(&mut self, records: &[Vec<u8>]) -> Result<(), String>;

    /// The process that writes; our own unless a server does.
    fn process(&self) -> String {
        "self".to_owned()
    }

    /// Of the bytes written, those on the way of a commit, where that can be told from work ahead.
    fn written_by_commits(&self) -> Result<Option<u64>, String> {
        Ok(None)
    }

    /// Anything else it is asked.
    fn other(&mut self, what: &Value) -> Result<Value, String> {
        Err(format!("not understood: {what}"))
    }
}

/// Arguments: the store's name, its folder, and `nats-server` or nothing.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<Value, String> {
    let name = args.next().unwrap_or_default();
    let engine = Engine::named(&name).ok_or(format!("no store is called {name}"))?;
    let dir = args.next().ok_or("DIR is missing")?;
    let dir = Path::new(&dir);
    let mut store: Box<dyn Store> = match engine {
        Engine::Raw => Box::new(raw::Raw::open(dir)?),
        Engine::Wardgate => Box::new(ours::Ours::open(dir)?),
        Engine::Sled => Box::new(embedded::Sled::open(dir)?),
        Engine::Redb => Box::new(embedded::Redb::open(dir)?),
        Engine::Fjall => Box::new(embedded::Fjall::open(dir)?),
        Engine::Sqlite => Box::new(embedded::Sqlite::open(dir)?),
        Engine::JetStream => Box::new(jetstream::JetStream::open(dir, &args.next().unwrap_or_default())?),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let what: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
        let number = |key: &str| what.get(key).and_then(Value::as_u64);
        let answer = if let (Some(batch), Some(ms)) = (number("commit"), number("ms")) {
            commits(&mut *store, dir, batch, Duration::from_millis(ms))?
        } else if what.get("memory").is_some() {
            let (resident, peak) = process::resident(&store.process())?;
            json!({"resident_bytes": resident, "peak_bytes": peak})
        } else {
            store.other(&what)?
        };
        println!("{answer}");
    }
    Ok(Value::Null)
}

/// Commits of this many records, one after the other, for a while.
fn commits(store: &mut dyn Store, dir: &Path, batch: u64, lasting: Duration) -> Result<Value, String> {
    let mut records = vec![vec![0; RECORD_BYTES]; usize::try_from(batch).unwrap_or(1)];
    for record in &mut records {
        rand::fill(record).map_err(|_| "no randomness")?;
    }
    // What is left of the work of the store before is not ours.
    let file = std::fs::File::open(dir).map_err(|e| e.to_string())?;
    rustix::fs::syncfs(&file).map_err(|e| e.to_string())?;
    let before = (process::disk(dir)?, store.written_by_commits()?);
    let mut times: Vec<f64> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < lasting {
        let commit = Instant::now();
        store.commit(&records)?;
        times.push(commit.elapsed().as_secs_f64() * 1e3);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = (process::disk(dir)?, store.written_by_commits()?);
    let disk = before.0.zip(after.0).map(|(before, after)| (after.0 - before.0, after.1 - before.1));
    Ok(json!({
        "seconds": seconds,
        "commit_ms": times,
        "disk_bytes": disk.map(|d| d.0),
        "disk_flushes": disk.map(|d| d.1),
        "bytes_by_commits": before.1.zip(after.1).map(|(before, after)| after - before),
    }))
}
