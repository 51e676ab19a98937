//! Stores side by side: how many records of 1 KB a second each makes durable, what it writes for them, and in how
//! much memory.
//!
//! **The work.** A *commit* makes a number of records durable together (1, 16 or 256) and returns when they are.
//! Every store is used as its own documentation would have it used for durable commits, and all but the yardstick keep
//! the records sealed with AES-256-GCM: the log by itself, JetStream by its own encryption (ChaCha20-Poly1305, its
//! default), the embedded stores by sealing each record before it is handed in. Records are random bytes, so that nobody gains by compressing them.
//! The yardstick writes the same bytes with one `pwrite` into a file that is there in full, and syncs it once.
//!
//! **The rounds.** Each store lives in a process of its own, so that its memory is its own, and is opened once. In each
//! round every store runs for the same time with each batch, in [`SLICES`] slices between which the others run, in an
//! order that rotates; ratios are made within a round, by xtask. Before each slice everything dirty is synced.
//!
//! **The processors are kept awake** by a process each that does nothing at the lowest priority. On a virtual machine
//! that is otherwise idle, the answer of the disk wakes a sleeping processor only with the next tick of the clock: a
//! flush of 0.1 ms then takes 4 ms, but not for stores whose threads happen to spin. What is measured without is the
//! hypervisor.

mod child;
mod embedded;
mod jetstream;
mod ours;
mod process;
mod raw;
mod search;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Map, Value, json};

pub(crate) use child::run as child;
pub(crate) use ours::backlog;
pub(crate) use search::run as search;

/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 1024;
/// Records made durable together.
const BATCHES: [usize; 3] = [1, 16, 256];
/// A disk's mood changes within a second: so that all meet the same, nobody runs for long.
const SLICES: usize = 4;

/// Who is measured. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Raw,
    Wardgate,
    Sled,
    Redb,
    Fjall,
    Sqlite,
    JetStream,
}

impl Engine {
    const ALL: [Self; 7] =
        [Self::Raw, Self::Wardgate, Self::Sled, Self::Redb, Self::Fjall, Self::Sqlite, Self::JetStream];

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Wardgate => "wardgate",
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            Self::Sqlite => "sqlite",
            Self::JetStream => "jetstream",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

/// Arguments: rounds, milliseconds of each run, a folder on the disk to be measured, and `nats-server` where it is to be
/// found (or nothing).
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<Value, String> {
    let mut next = |name: &str| args.next().ok_or(format!("{name} is missing"));
    let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
    let rounds = usize::try_from(number(next("ROUNDS")?)?).unwrap_or(usize::MAX);
    let run_ms = number(next("RUN_MS")?)?;
    let dir = next("DIR")?;
    let nats = next("NATS").unwrap_or_default();
    let _awake = Awake::start()?;
    let mut stores = Vec::new();
    for engine in Engine::ALL {
        if engine == Engine::JetStream && nats.is_empty() {
            continue;
        }
        stores.push(Process::start(engine, &Path::new(&dir).join(engine.name()), &nats)?);
    }
    let mut measured = Vec::new();
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let mut of_round = Map::new();
        for batch in BATCHES {
            let mut slices: Vec<Vec<Value>> = stores.iter().map(|_| Vec::new()).collect();
            for turn in 0..SLICES * stores.len() {
                let at = (round + turn) % stores.len();
                if let (Some(store), Some(slices)) = (stores.get_mut(at), slices.get_mut(at)) {
                    slices.push(store.ask(&json!({"commit": batch, "ms": run_ms / SLICES as u64}))?);
                }
            }
            let of_batch: Map<String, Value> = stores
                .iter()
                .zip(&slices)
                .map(|(store, slices)| (store.engine.name().to_owned(), together(slices, batch)))
                .collect();
            of_round.insert(batch.to_string(), Value::Object(of_batch));
        }
        if round > 0 {
            measured.push(Value::Object(of_round));
        }
    }
    // What the log holds by now is read back, by the log and as bare files, neither from memory.
    let mut drains = Vec::new();
    for _ in 0..rounds {
        let mut ask = |engine: Engine, what: &Value| {
            stores.iter_mut().find(|s| s.engine == engine).ok_or("no such store".to_owned())?.ask(what)
        };
        let log = Path::new(&dir).join(Engine::Wardgate.name());
        let files = ask(Engine::Raw, &json!({"read": log}))?;
        let log = ask(Engine::Wardgate, &json!({"drain": true}))?;
        drains.push(json!({"raw": files, "wardgate": log}));
    }
    let mut memory = Map::new();
    for store in &mut stores {
        memory.insert(store.engine.name().to_owned(), store.ask(&json!({"memory": true}))?);
    }
    for store in stores {
        store.stop()?;
    }
    Ok(json!({
        "record_bytes": RECORD_BYTES,
        "batches": BATCHES,
        "rounds": measured,
        "drains": drains,
        "memory": memory,
    }))
}

/// Keeps every processor from sleeping.
struct Awake(Vec<Child>);

impl Awake {
    fn start() -> Result<Self, String> {
        let mut this = Self(Vec::new());
        let failed = |e: std::io::Error| e.to_string();
        for _ in 0..std::thread::available_parallelism().map_err(failed)?.get() {
            let mut command = Command::new(std::env::current_exe().map_err(failed)?);
            // It ends with its standard input, should this process be killed.
            let child = command.arg("spin").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
            this.0.push(child.map_err(failed)?);
        }
        Ok(this)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// What keeps a processor awake.
pub(crate) fn spin() -> Result<Value, String> {
    rustix::process::setpriority_process(None, 19).map_err(|e| e.to_string())?;
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&over);
    let waiting = std::thread::spawn(move || {
        std::io::stdin().lines().for_each(drop);
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    while !over.load(std::sync::atomic::Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    waiting.join().map_err(|_| "the waiting thread failed")?;
    Ok(Value::Null)
}

/// The slices of a store in a round, as one.
fn together(slices: &[Value], batch: usize) -> Value {
    let sum = |key: &str| slices.iter().map(|s| s.get(key)?.as_f64()).sum::<Option<f64>>();
    let mut times: Vec<f64> = slices
        .iter()
        .filter_map(|s| s.get("commit_ms")?.as_array())
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    times.sort_by(f64::total_cmp);
    let commits = times.len() as f64;
    let at = |part: f64| times.get((commits * part) as usize).copied().unwrap_or_default();
    let given = commits * (batch * RECORD_BYTES) as f64;
    json!({
        "commits": commits,
        "records_per_s": sum("seconds").map(|seconds| commits * batch as f64 / seconds),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "written_to_given": sum("disk_bytes").map(|bytes| bytes / given),
        "flushes_per_commit": sum("disk_flushes").map(|flushes| flushes / commits),
        "written_by_commits_to_given": sum("bytes_by_commits").map(|bytes| bytes / given),
    })
}

/// A store in its own process, which answers a line of JSON with a line of JSON.
struct Process {
    engine: Engine,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    fn start(engine: Engine, dir: &Path, nats: &str) -> Result<Self, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", engine.name());
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["store", engine.name()]).arg(dir).arg(nats);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let to = child.stdin.take().ok_or("no way in")?;
        let from = BufReader::new(child.stdout.take().ok_or("no way out")?);
        Ok(Self { engine, child, to, from })
    }

    fn ask(&mut self, what: &Value) -> Result<Value, String> {
        let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", self.engine.name());
        writeln!(self.to, "{what}").map_err(|e| failed(&e))?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|e| failed(&e))?;
        serde_json::from_str(&line).map_err(|_| failed(&"it ended; see above"))
    }

    /// Its input ends, and with it the process.
    fn stop(mut self) -> Result<(), String> {
        drop(self.to);
        let status = self.child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.engine.name())) }
    }
}
