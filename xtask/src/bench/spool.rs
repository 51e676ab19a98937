//! The log beside other people's stores, and beside the disk: `tests/bench`, each store in a process of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::spread::Spread;
use super::{Args, Scratch, parent};
use crate::{setup, shell};

/// How long each store runs in a round, with each batch.
const RUN_MS: u64 = 400;
const OURS: &str = "wardgate";
const RAW: &str = "raw";
/// Largest part of what was given that may be written on the way of commits, by batch.
const AMPLIFICATION_MAX: [(u64, f64); 3] = [(1, 5.0), (16, 1.5), (256, 1.10)];
/// Of the yardstick's rate, with the largest batch.
const TO_RAW_MIN: f64 = 0.9;
/// Of the yardstick's slowest commit of a hundred, with one record.
const P99_TO_RAW_MAX: f64 = 3.0;
/// Bytes of payload a second, or the other: part of what reading the bare files gives.
const DRAIN_MIN: (f64, f64) = (300e6, 0.7);
const RESIDENT_MAX: u64 = 64 << 20;
const OPEN_S_MAX: f64 = 1.0;
/// The longest that a search may take, in seconds.
const SEARCH_S_MAX: f64 = 1.0;

/// A bar and whether it is met.
struct Bar {
    what: String,
    value: f64,
    limit: String,
    met: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let bench = build()?;
    let dir = Scratch(parent(args)?.join(format!("bench-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0)?;
    let nats = setup::nats_server();
    if let Err(why) = &nats {
        eprintln!("JetStream is not measured: {why:#}");
    }
    let mut command = Command::new(bench);
    command.arg("stores").arg(args.pairs.to_string()).arg(RUN_MS.to_string()).arg(&dir.0);
    command.arg(nats.unwrap_or_default());
    let measured = shell::json(&mut command)?;
    report(args, &measured).context("the benchmark printed something else than expected")
}

/// Opening with a large backlog.
pub(super) fn recovery(args: &Args) -> Result<()> {
    let bench = build()?;
    let dir = Scratch(parent(args)?.join(format!("bench-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0)?;
    let mut command = Command::new(bench);
    command.arg("backlog").arg(&dir.0).arg(args.backlog_mib.to_string()).arg(args.segments.to_string());
    let measured = shell::json(&mut command)?;
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).unwrap_or_default();
    let mut out = Vec::new();
    for spool in measured.as_array().context("the benchmark printed something else than expected")? {
        let times = Spread::of(
            spool.get("open_s").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64),
        );
        let met = if times.median <= OPEN_S_MAX { "met" } else { "missed" };
        if args.json {
            let mut one = spool.clone();
            if let Some(object) = one.as_object_mut() {
                object.insert("open_s".to_owned(), times.json());
            }
            out.push(one);
            continue;
        }
        println!(
            "{:.0} segments, {:.2} GiB, {:.0} records; files not in memory: opened in {times} s (at most {OPEN_S_MAX}: \
             {met}); {:.1} MiB resident",
            number(spool, "segments"),
            number(spool, "bytes") / f64::from(1 << 30),
            number(spool, "records"),
            number(spool, "resident_bytes") / f64::from(1 << 20),
        );
    }
    if args.json {
        println!("{}", json!(out));
    }
    Ok(())
}

/// Searching many records.
pub(super) fn search(args: &Args) -> Result<()> {
    let bench = build()?;
    let dir = Scratch(parent(args)?.join(format!("bench-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0)?;
    let mut command = Command::new(bench);
    command.arg("search").arg(&dir.0).arg(args.records.to_string());
    let measured = shell::json(&mut command)?;
    if args.json {
        println!("{measured}");
        return Ok(());
    }
    let number = |key: &str| measured.get(key).and_then(Value::as_f64).unwrap_or_default();
    println!(
        "{:.0} records in {:.0} segments; index {:.1} bytes and {:.1} µs a record; at most {:.1} MiB resident",
        number("records"),
        number("segments"),
        number("index_bytes") / number("records"),
        number("indexing_s") * 1e6 / number("records"),
        number("peak_bytes") / f64::from(1 << 20),
    );
    for (name, times) in measured.get("times").and_then(Value::as_object).into_iter().flatten() {
        let times: Vec<f64> = times.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let slowest = times.iter().copied().fold(0.0, f64::max);
        let met = if slowest <= SEARCH_S_MAX { "met" } else { "missed" };
        let spread = Spread::of(times);
        println!("by {name:<12} {spread} s, slowest {slowest:.3} s (at most {SEARCH_S_MAX}: {met})");
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "-p", "wardgate-bench", "--features", "stores"]);
    eprintln!("$ {}", shell::shown(&build));
    if !build.status()?.success() {
        bail!("the benchmark does not build");
    }
    Ok(shell::target_dir()?.join("release/wardgate-bench"))
}

fn report(args: &Args, measured: &Value) -> Option<()> {
    let rounds = measured.get("rounds")?.as_array()?;
    let of = |round: &Value, batch: u64, name: &str, key: &str| {
        round.get(batch.to_string())?.get(name)?.get(key)?.as_f64()
    };
    let spread = |batch: u64, name: &str, key: &str| {
        Spread::of(rounds.iter().filter_map(|round| of(round, batch, name, key)))
    };
    // Ours to another's, made within a round.
    let ratio = |batch: u64, name: &str, key: &str| {
        let one = |round| Some(of(round, batch, OURS, key)? / of(round, batch, name, key)?);
        Spread::of(rounds.iter().filter_map(one))
    };
    let names: Vec<&String> = rounds.first()?.get("1")?.as_object()?.keys().collect();
    let mut bars = Vec::new();
    let mut tables = Vec::new();
    for (batch, amplification_max) in AMPLIFICATION_MAX {
        let mut rows = Vec::new();
        for name in &names {
            let to_it = ratio(batch, name, "records_per_s");
            rows.push(json!({
                "name": name,
                "records_per_s": spread(batch, name, "records_per_s").json(),
                "ours_to_it": to_it.json(),
                "p50_ms": spread(batch, name, "p50_ms").json(),
                "p99_ms": spread(batch, name, "p99_ms").json(),
                "written_to_given": spread(batch, name, "written_to_given").json(),
            }));
            if name.as_str() != OURS && name.as_str() != RAW {
                bars.push(Bar {
                    what: format!("batch {batch}: to {name}"),
                    value: to_it.median,
                    limit: "more than 1".to_owned(),
                    met: to_it.median > 1.0,
                });
            }
        }
        let by_commits = spread(batch, OURS, "written_by_commits_to_given").median;
        bars.push(Bar {
            what: format!("batch {batch}: written by commits to given"),
            value: by_commits,
            limit: format!("at most {amplification_max}"),
            met: by_commits <= amplification_max,
        });
        tables.push((batch, rows));
    }
    let to_raw = ratio(256, RAW, "records_per_s").median;
    bars.push(Bar {
        what: "batch 256: to the disk's own".to_owned(),
        value: to_raw,
        limit: format!("at least {TO_RAW_MIN}"),
        met: to_raw >= TO_RAW_MIN,
    });
    let p99 = ratio(1, RAW, "p99_ms").median;
    bars.push(Bar {
        what: "batch 1: p99 to the disk's own".to_owned(),
        value: p99,
        limit: format!("at most {P99_TO_RAW_MAX}"),
        met: p99 <= P99_TO_RAW_MAX,
    });
    let drains = measured.get("drains")?.as_array()?;
    let drain = |name: &str| Spread::of(drains.iter().filter_map(|d| d.get(name)?.get("mb_per_s")?.as_f64()));
    let (log, files) = (drain(OURS), drain(RAW));
    bars.push(Bar {
        what: "reading back, MB/s".to_owned(),
        value: log.median,
        limit: format!(
            "at least {:.0}, or {} of the files' {:.0}",
            DRAIN_MIN.0 / 1e6,
            DRAIN_MIN.1,
            files.median
        ),
        met: log.median >= (DRAIN_MIN.0 / 1e6).min(DRAIN_MIN.1 * files.median),
    });
    let memory = |name: &str, key: &str| measured.get("memory")?.get(name)?.get(key)?.as_u64();
    let peak = memory(OURS, "peak_bytes")?;
    bars.push(Bar {
        what: "peak memory, MiB".to_owned(),
        value: peak as f64 / f64::from(1 << 20),
        limit: format!("at most {}", RESIDENT_MAX >> 20),
        met: peak <= RESIDENT_MAX,
    });
    if args.json {
        let bars: Vec<Value> = bars
            .iter()
            .map(|b| json!({"what": b.what, "value": b.value, "limit": b.limit, "met": b.met}))
            .collect();
        let batches: Vec<Value> =
            tables.iter().map(|(batch, rows)| json!({"batch": batch, "stores": rows})).collect();
        println!(
            "{}",
            json!({
                "record_bytes": measured.get("record_bytes"),
                "batches": batches,
                "drain_mb_per_s": {"log": log.json(), "files": files.json()},
                "memory": measured.get("memory"),
                "bars": bars,
            })
        );
        return Some(());
    }
    println!(
        "\nrecords of {} bytes; median of {} interleaved rounds [quartiles]; written: bytes to the disk for each byte given",
        measured.get("record_bytes")?,
        rounds.len()
    );
    for (batch, _) in &tables {
        println!(
            "\nbatch {batch:<8} {:>10} records/s {:>24} {:>10} {:>10} {:>8}",
            "", "ours to it", "p50 ms", "p99 ms", "written"
        );
        for name in &names {
            println!(
                "  {name:<12} {}   {}  {:>8.2}   {:>8.2} {:>8.2}",
                spread(*batch, name, "records_per_s"),
                ratio(*batch, name, "records_per_s"),
                spread(*batch, name, "p50_ms").median,
                spread(*batch, name, "p99_ms").median,
                spread(*batch, name, "written_to_given").median,
            );
        }
    }
    println!("\npeak memory, MiB");
    for name in &names {
        let peak = memory(name, "peak_bytes").unwrap_or_default();
        println!("  {name:<12} {:>8.1}", peak as f64 / f64::from(1 << 20));
    }
    println!();
    for bar in &bars {
        let met = if bar.met { "met" } else { "MISSED" };
        println!("{:<42} {:>9.2}   {met}: {}", bar.what, bar.value, bar.limit);
    }
    Some(())
}
