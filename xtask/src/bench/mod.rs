//! `cargo xtask bench`: figures with their spread, from release builds, in one run.
//!
//! `--flush-us` gives the gateway a disk whose flush takes as long as that of a real server.
//!
//! Durable acknowledgements are measured in pairs: a burst through the gateway, and before and after it the same
//! bytes by `pwrite` and `fdatasync` into a pre-allocated file on the same disk, so that a noisy neighbour disturbs
//! both. With
//! n connections the yardstick puts n records under one `fdatasync`, which no log can beat. Beside one connection
//! stands the plainest receiver too, one thread that writes, flushes and answers: on a disk with a fast flush the
//! way over loopback is what takes the time. Times to the row are
//! read from the tables by an independent reader. Nothing here is simulated but the hospital.
//!
//! `--only parse` measures how fast messages are read, beside three other crates; see [`parse`]. `--only
//! fhir` measures how fast they become FHIR, `--only out` how fast they go on to another receiver; see [`out`].
//! `--only spool` measures the log beside other stores, see [`spool`], and `--only recovery` how fast it opens,
//! `--only search` how fast it is searched. `--only deid` measures how fast messages and resources are de-identified, see
//! [`deid`]; `--only deid-text` counts what the scrubbing of free text misses, see
//! [`deid_text`].

mod deid;
mod deid_text;
mod fhir;
mod out;
mod parse;
mod raw;
mod spool;
mod spread;

use std::fs::{DirBuilder, create_dir_all};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::raw::Yardstick;
use self::spread::{Spread, quantile};
use crate::binaries::{self, Profile};
use crate::demo::Progress;
use crate::load::{FRAME_BYTES, Load};
use crate::site::{DESTINATIONS, Ports, Running, Site};
use crate::stop::Stop;
use crate::{setup, shell, stages};

/// Fewer pairs than this say nothing.
const PAIRS_MIN: u32 = 9;
/// Most resident memory of the gateway under load, in bytes.
const RESIDENT_MAX: u64 = 128 << 20;
/// Largest stripped gateway, in bytes.
const BINARY_MAX: u64 = 20 << 20;
/// Connections of the two loads.
const CONNECTIONS: [u32; 2] = [1, 50];
/// The steady load for times to the row: connections, and time from message to message on each.
const STEADY: (u32, Duration) = (10, Duration::from_millis(50));
/// How long the backlog may take to drain.
const DRAIN: Duration = Duration::from_secs(180);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The whole way: durable acknowledgements beside the disk's own speed, times to the row, memory
    Spine,
    /// Reading HL7 messages, beside hl7-parser, rust-hl7 and hl7-2
    Parse,
    /// HL7 v2 to FHIR R4
    Fhir,
    /// Delivering to another receiver over MLLP, beside a raw echo over loopback
    Out,
    /// The log, beside sled, redb, fjall, SQLite and JetStream, and beside the disk's own speed
    Spool,
    /// Opening the log with a large backlog
    Recovery,
    /// Searching ten million records by patient, visit, order and control id
    Search,
    /// De-identifying HL7 v2 and FHIR: the pace of one core
    Deid,
    /// Scrubbing free text: what is missed, what is taken for nothing, and the pace
    DeidText,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(long, value_enum, default_value = "spine")]
    only: Part,
    /// Interleaved pairs, at least 9
    #[arg(long, default_value_t = PAIRS_MIN)]
    pairs: u32,
    /// Length of each burst in seconds
    #[arg(long, default_value_t = 2)]
    burst: u64,
    /// Where the disk to be measured is mounted, for the gateway's data [default: the target directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure on a disk whose flush takes so many microseconds; needs root. A server's disk takes about 2,000, that of
    /// a virtual machine often a tenth, which is a promise of its host
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "dir")]
    flush_us: Option<u64>,
    /// With `--only recovery`: MiB of records in the backlog
    #[arg(long, default_value_t = 2048)]
    backlog_mib: u64,
    /// With `--only recovery`: segments of a second backlog, with a record each
    #[arg(long, default_value_t = 1000)]
    segments: u64,
    /// With `--only search`: records
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Only JSON on standard output
    #[arg(long)]
    json: bool,
    /// Debug builds, to try out the bench itself; figures mean nothing
    #[arg(long, hide = true)]
    dev: bool,
}

/// One line of the result.
struct Figure {
    name: String,
    unit: &'static str,
    value: Spread,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.pairs < PAIRS_MIN {
        bail!("--pairs is at least {PAIRS_MIN}");
    }
    if let Some(flush_us) = args.flush_us {
        return on_slow_disk(args, flush_us);
    }
    match args.only {
        Part::Spine => spine(args),
        Part::Parse => parse::run(args),
        Part::Fhir => fhir::run(args),
        Part::Out => out::run(args),
        Part::Spool => spool::run(args),
        Part::Recovery => spool::recovery(args),
        Part::Search => spool::search(args),
        Part::Deid => deid::run(args),
        Part::DeidText => deid_text::run(args),
    }
}

/// The same again, by a process of ours that finds the disk in its own mount namespace.
fn on_slow_disk(args: &Args, flush_us: u64) -> Result<()> {
    let Part::Spine = args.only else { bail!("--flush-us is for the whole way") };
    setup::tools(&setup::FOR_FAULTS)?;
    let mut again = Command::new(binaries::power_cuts()?);
    again.args(["slow", "--flush-us", &flush_us.to_string(), "--"]).arg(std::env::current_exe()?);
    again.args(["bench", "--dir", "{}", "--pairs", &args.pairs.to_string()]);
    again.args(["--burst", &args.burst.to_string()]).args(args.json.then_some("--json"));
    again.args(args.dev.then_some("--dev"));
    shell::run(&mut again)
}

fn spine(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    let python = stages::readers()?;
    let programs = binaries::build(profile(args))?;
    let binary_bytes = std::fs::metadata(&programs.wardgate)?.len();
    let dir = Scratch(shell::target_dir()?.join(format!("bench-{}", std::process::id())));
    if let Some(disk) = &args.dir {
        // The landing has a disk of its own, as it has in life.
        create_dir_all(&dir.0)?;
        DirBuilder::new().recursive(true).mode(0o700).create(disk.join("gateway"))?;
        symlink(disk.join("gateway"), dir.0.join("gateway"))?;
    }
    let site = Site::prepare(&dir.0, Ports::choose(None)?, programs)?;
    let mut running = site.start()?;

    let mut figures = Vec::new();
    bursts(args, &site, &mut running, &stop, &mut figures)?;
    let resident = peak_resident_bytes(running.gateway_id())?;
    let steady = times_to_row(args, &site, &mut running, &python)?;
    running.stop()?;
    for (name, key) in [("wire to committed row, p50", "p50_ms"), ("wire to committed row, p99", "p99_ms")] {
        let values = steady.iter().filter_map(|run| run.get(key)?.as_f64());
        figures.push(Figure { name: name.to_owned(), unit: "ms", value: Spread::of(values) });
    }
    report(args, &figures, resident, binary_bytes)
}

const fn profile(args: &Args) -> Profile {
    if args.dev { Profile::Dev } else { Profile::Release }
}

/// Where the data lies meanwhile.
fn parent(args: &Args) -> Result<PathBuf> {
    match &args.dir {
        Some(dir) => Ok(dir.clone()),
        None => shell::target_dir(),
    }
}

/// One burst and its yardsticks.
#[derive(Debug)]
struct Burst {
    /// Positive acknowledgements a second.
    acknowledged: f64,
    /// From a message's first byte to its acknowledgement's last, the slowest of a hundred, in ms.
    answer_p99: f64,
    /// Records a second that the disk takes, as many in a flush as there are connections.
    grouped: f64,
    /// The same with one record a flush.
    single: f64,
    /// Acknowledgements a second by the plainest receiver, over one connection.
    plainest: f64,
    /// A flush of one record, the slowest of a hundred, in ms.
    flush_p99: f64,
    /// Rows a second, until the last is in the tables of both destinations.
    rows: f64,
}

/// Bursts over 1 and 50 connections, each beside its yardsticks; then the time until every record is a row.
fn bursts(
    args: &Args,
    site: &Site,
    running: &mut Running<'_>,
    stop: &Stop,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let mut yardstick = Yardstick::new(&site.gateway_data())?;
    let mut all = CONNECTIONS.map(|connections| (connections, Vec::new()));
    // The first round warms up and does not count.
    for pair in 0..=args.pairs {
        for (connections, bursts) in &mut all {
            if stop.asked() {
                bail!("interrupted");
            }
            let burst = burst(args, site, running, &mut yardstick, *connections, pair)?;
            if pair == 0 {
                continue;
            }
            eprintln!(
                "pair {pair}/{}: {connections} connections: {:.0} acknowledgements/s, disk {:.0}/s, rows {:.0}/s",
                args.pairs, burst.acknowledged, burst.grouped, burst.rows
            );
            bursts.push(burst);
        }
    }
    for (connections, bursts) in &all {
        let mut add = |name: String, unit, value: fn(&Burst) -> f64| {
            figures.push(Figure { name, unit, value: Spread::of(bursts.iter().map(value)) });
        };
        let n = *connections;
        add(format!("durable acknowledgements, {n} conn."), "1/s", |b| b.acknowledged);
        add(format!("pwrite + fdatasync, {n} a flush"), "1/s", |b| b.grouped);
        add(format!("… as part of the disk's, {n} conn."), "1", |b| b.acknowledged / b.grouped);
        if n == 1 {
            add("the plainest receiver, 1 conn.".to_owned(), "1/s", |b| b.plainest);
            add("… as part of the plainest receiver's, 1 conn.".to_owned(), "1", |b| {
                b.acknowledged / b.plainest
            });
        } else {
            add(format!("… times the disk's with one a flush, {n} conn."), "1", |b| {
                b.acknowledged / b.single
            });
        }
        add(format!("wire to acknowledgement p99, {n} conn."), "ms", |b| b.answer_p99);
        add(format!("… times the disk's p99 with one a flush, {n} conn."), "1", |b| {
            b.answer_p99 / b.flush_p99
        });
    }
    let rows = all.last().into_iter().flat_map(|(_, bursts)| bursts).map(|b| b.rows);
    figures.push(Figure {
        name: "end to end, wire to rows of both".to_owned(),
        unit: "1/s",
        value: Spread::of(rows),
    });
    Ok(())
}

/// Half of each yardstick before, half after: a disk that slows down meanwhile slows down both.
fn burst(
    args: &Args,
    site: &Site,
    running: &mut Running<'_>,
    yardstick: &mut Yardstick,
    connections: u32,
    pair: u32,
) -> Result<Burst> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, site.ports.mllp));
    let lasting = Duration::from_secs(args.burst.max(1));
    let before = (
        yardstick.run(FRAME_BYTES, connections, lasting / 2)?,
        yardstick.run(FRAME_BYTES, 1, lasting / 2)?,
        yardstick.receive("plain", lasting / 2)?.rate(),
    );
    let begun = Instant::now();
    let outcome = Load { to, connections, lasting, pace: Duration::ZERO, run: format!("b{pair}") }.run()?;
    drained(running)?;
    let rows = outcome.acknowledged as f64 / begun.elapsed().as_secs_f64();
    let grouped = before.0.and(yardstick.run(FRAME_BYTES, connections, lasting / 2)?);
    let single = before.1.and(yardstick.run(FRAME_BYTES, 1, lasting / 2)?);
    let plainest = f64::midpoint(before.2, yardstick.receive("plain", lasting / 2)?.rate());
    Ok(Burst {
        plainest,
        acknowledged: outcome.rate(),
        answer_p99: p99_ms(&outcome.latencies),
        grouped: grouped.rate(),
        single: single.rate(),
        flush_p99: p99_ms(&single.flushes),
        rows,
    })
}

fn p99_ms(times: &[Duration]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.99)
}

/// A steady load, and for each run what the independent reader says of it.
fn times_to_row(args: &Args, site: &Site, running: &mut Running<'_>, python: &Path) -> Result<Vec<Value>> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, site.ports.mllp));
    let (connections, pace) = STEADY;
    let mut runs = Vec::new();
    let [(lake, _), _] = DESTINATIONS;
    for round in 1..=args.pairs {
        let lasting = Duration::from_secs(args.burst.max(1));
        let outcome = Load { to, connections, lasting, pace, run: format!("s{round}") }.run()?;
        drained(running)?;
        let sent = site.dir.join("sent.tsv");
        let lines: String = outcome.sent_at.iter().map(|(id, at)| format!("{id}\t{at}\n")).collect();
        std::fs::write(&sent, lines)?;
        let mut reader = Command::new(python);
        reader.arg(shell::root().join("tests/readers/latency.py")).arg(site.tables(lake)).arg(&sent);
        runs.push(shell::json(&mut reader).context("the independent reader")?);
    }
    Ok(runs)
}

/// Waits until every destination has everything.
fn drained(running: &mut Running<'_>) -> Result<()> {
    let until = Instant::now() + DRAIN;
    loop {
        running.still_runs()?;
        let backlog = Progress::read(&running.status()?).backlog();
        if backlog == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("{backlog} records are still on the box after {} s", DRAIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The most memory it ever had resident (`VmHWM`, proc(5)).
fn peak_resident_bytes(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path)?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no VmHWM"))? << 10)
}

fn report(args: &Args, figures: &[Figure], resident: u64, binary: u64) -> Result<()> {
    let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    if args.json {
        println!(
            "{}",
            json!({
                "frame_bytes": FRAME_BYTES,
                "figures": listed(figures),
                "gateway_peak_resident_bytes": {"value": resident, "max": RESIDENT_MAX},
                "gateway_binary_bytes": {"value": binary, "max": BINARY_MAX},
            })
        );
    } else {
        print(args, figures);
        println!(
            "{:<52} {:>10.1}   MiB, at most {}",
            "gateway's peak memory",
            megabytes(resident),
            RESIDENT_MAX >> 20
        );
        println!(
            "{:<52} {:>10.1}   MiB, at most {}",
            "gateway's binary",
            megabytes(binary),
            BINARY_MAX >> 20
        );
    }
    if !args.dev && (resident > RESIDENT_MAX || binary > BINARY_MAX) {
        bail!("over a limit: memory or binary");
    }
    Ok(())
}

/// Figures alone.
fn show(args: &Args, figures: &[Figure]) {
    if args.json {
        println!("{}", json!({"frame_bytes": FRAME_BYTES, "figures": listed(figures)}));
    } else {
        print(args, figures);
    }
}

fn listed(figures: &[Figure]) -> Vec<Value> {
    let one =
        |figure: &Figure| json!({"name": figure.name, "unit": figure.unit, "value": figure.value.json()});
    figures.iter().map(one).collect()
}

fn print(args: &Args, figures: &[Figure]) {
    println!("\nframes of {FRAME_BYTES} bytes; median of {} runs [quartiles]\n", args.pairs);
    for Figure { name, unit, value } in figures {
        println!("{name:<52} {value}   {unit}");
    }
}

/// A folder that goes away with its owner.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
