//! Reading messages beside other people's crates: `tests/bench`, in one process on one core.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Args;
use super::spread::Spread;
use crate::{setup, shell};

/// Ours, as the benchmark names it.
const OURS: &str = "wardgate-hl7";
/// How long each library runs in a round.
const RUN_MS: u64 = 500;
/// Public messages beside the repository, of 1.1 KB on average; elsewhere with `WARDGATE_CORPUS`.
const CORPUS: &str = "hl7/google+simhospital";

pub(super) fn run(args: &Args) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--locked", "--release", "-p", "wardgate-bench", "--features", "peers"]);
    eprintln!("$ {}", shell::shown(&build));
    if !build.status()?.success() {
        bail!("the benchmark does not build");
    }
    let mut bench = std::process::Command::new(shell::target_dir()?.join("release/wardgate-bench"));
    bench.arg(args.pairs.to_string()).arg(RUN_MS.to_string()).args(files()?);
    let measured = shell::json(&mut bench)?;
    report(args, &measured).context("the benchmark printed something else than expected")
}

/// The messages: those of the corpus where it is there, otherwise our own.
pub(super) fn files() -> Result<Vec<PathBuf>> {
    let corpus = setup::corpus().join(CORPUS);
    let mut found = Vec::new();
    if corpus.is_dir() {
        below(&corpus, &mut found)?;
    } else {
        eprintln!("no {CORPUS} at WARDGATE_CORPUS or ../shared/corpus: measured with tests/fixtures");
        below(&shell::root().join("tests/fixtures/hl7"), &mut found)?;
    }
    found.sort();
    Ok(found)
}

pub(super) fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { below(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

fn report(args: &Args, measured: &Value) -> Option<()> {
    let rounds = measured.get("rounds")?.as_array()?;
    let of = |round: &Value, name: &str| round.get(name).and_then(Value::as_f64);
    let mut names: Vec<&String> = rounds.first()?.as_object()?.keys().collect();
    names.sort_by_key(|name| *name != OURS);
    let mut listed = Vec::new();
    for name in names {
        let rates = Spread::of(rounds.iter().filter_map(|round| of(round, name)));
        let ratios = rounds.iter().filter_map(|round| Some(of(round, OURS)? / of(round, name)?));
        listed.push((name, rates, Spread::of(ratios)));
    }
    let peers = || listed.iter().filter(|(name, ..)| *name != OURS);
    let (best, _, ratio) = peers().max_by(|(_, a, _), (_, b, _)| a.median.total_cmp(&b.median))?;
    if args.json {
        let libraries: Vec<Value> = listed
            .iter()
            .map(|(name, rate, ratio)| json!({"name": name, "messages_per_s": rate.json(), "ours_to_it": ratio.json()}))
            .collect();
        let mut out = measured.clone();
        let object = out.as_object_mut()?;
        object.remove("rounds");
        object.insert("libraries".to_owned(), json!(libraries));
        object.insert("best_peer".to_owned(), json!(best));
        println!("{out}");
        return Some(());
    }
    let count = |key: &str| measured.get(key).and_then(Value::as_u64).unwrap_or_default();
    println!(
        "\n{} messages of {} bytes on average ({} left out), {} leaves taken of each; by processor time of one core;",
        count("messages"),
        count("bytes_per_message"),
        count("left_out"),
        count("leaves_per_message"),
    );
    println!("median of {} interleaved rounds [quartiles]\n", rounds.len());
    for (name, rate, ratio) in &listed {
        println!("{name:<14} {rate} messages/s   ours is {ratio} times that");
    }
    let (low, _) = ratio.quartiles;
    let verdict = if low > 1.0 { "outside of the spread" } else { "a tie: within the spread" };
    println!("\nours to the best of the others ({best}): {ratio}, {verdict}");
    Some(())
}
