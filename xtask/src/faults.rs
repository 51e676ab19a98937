//! The fault table (`docs/faults.md`) in the counts of a release.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{binaries, setup, shell};

/// Tells the tests of `gateway/spool` to take the counts of a release.
const FULL: &str = "WARDGATE_FAULTS_FULL";
/// File systems, and their share of the power cuts in percent.
const FILE_SYSTEMS: [(&str, u64); 3] = [("ext4", 50), ("xfs", 25), ("btrfs", 25)];
/// Power cuts under what must lose something.
const CONTROLS: [(&str, u64); 2] = [("bare-sled", 200), ("spool-unsynced", 100)];
/// Every number of free pages, and every nth call of each kind.
const OTHERS: [(&str, &[&str]); 2] =
    [("full", &["full", "--cases", "500"]), ("failing", &["failing", "--upto", "40", "--every"])];

#[derive(Debug, clap::Args)]
#[group(id = "faults")]
pub(crate) struct Settings {
    /// Power cuts on real file systems
    #[arg(long, default_value_t = 10_000)]
    power_cuts: u64,
    /// Ends the power cuts of each file system after so many seconds; the report says how many there were
    #[arg(long)]
    power_cut_seconds: Option<u64>,
    /// The tests of the logs on a model disk are left out
    #[arg(long)]
    real_disks_only: bool,
}

/// Runs all of it; prints one JSON line a part, which the report is made of.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    setup::tools(&setup::FOR_FAULTS)?;
    let mut wrong = Vec::new();
    if !settings.real_disks_only {
        let mut cargo = shell::cargo();
        cargo.args([
            "test",
            "--locked",
            "--no-fail-fast",
            "-p",
            "wardgate-spool",
            "--lib",
            "--",
            "--nocapture",
        ]);
        if let Err(error) = shell::run(cargo.env(FULL, "1")) {
            wrong.push(format!("{error:#}"));
        }
    }
    let program = binaries::power_cuts()?;
    for (kind, trials) in CONTROLS {
        let words = ["cut", "--file-system", "ext4", "--kind", kind, "--trials", &trials.to_string()];
        let tally = tallies(&program, &[words.map(str::to_owned).to_vec()])?;
        println!("{tally}");
        if number(&tally, "failed") < trials / 10 {
            wrong.push(format!("the harness finds no fault with {kind}"));
        }
    }
    for (name, words) in OTHERS {
        let tally = tallies(&program, &[words.iter().map(|word| (*word).to_owned()).collect()])?;
        println!("{tally}");
        if tally.get("failures") != Some(&json!([])) {
            wrong.push(format!("{name}: {tally}"));
        }
    }
    for (file_system, percent) in FILE_SYSTEMS {
        let jobs = available_parallelism().map_or(1, usize::from) as u64;
        let trials = (settings.power_cuts * percent).div_ceil(100 * jobs);
        let words = |job: u64| {
            let mut words: Vec<String> =
                ["cut", "--file-system", file_system, "--seed"].map(str::to_owned).to_vec();
            words.extend([(100 + job).to_string(), "--trials".to_owned(), trials.to_string()]);
            if let Some(seconds) = settings.power_cut_seconds {
                words.extend(["--seconds".to_owned(), seconds.to_string()]);
            }
            words
        };
        let tally = tallies(&program, &(0..jobs).map(words).collect::<Vec<_>>())?;
        println!("{tally}");
        if number(&tally, "failed") > 0 {
            wrong.push(format!("{file_system}: {tally}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Runs them at the same time; what they counted is added up.
fn tallies(program: &PathBuf, jobs: &[Vec<String>]) -> Result<Value> {
    let start = |words: &Vec<String>| {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        println!("$ {}", shell::shown(&command));
        command.spawn().context("power-cuts does not start")
    };
    let children = jobs.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut sum = Value::Null;
    for child in children {
        let out = child.wait_with_output()?;
        let text = String::from_utf8(out.stdout)?;
        let last = text.lines().last().context("power-cuts said nothing; its complaint stands above")?;
        add(&mut sum, serde_json::from_str(last)?);
    }
    Ok(sum)
}

/// Numbers are added, lists joined; of anything else the first stays.
fn add(sum: &mut Value, more: Value) {
    match (sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            for (key, value) in more {
                if key != "seed" {
                    add(sum.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(sum), Value::Array(more)) => sum.extend(more),
        (Value::Number(sum), Value::Number(more)) => {
            if let (Some(a), Some(b)) = (sum.as_u64(), more.as_u64()) {
                *sum = (a + b).into();
            } else if let (Some(a), Some(b)) = (sum.as_f64(), more.as_f64()) {
                // Times: they ran beside each other.
                *sum = serde_json::Number::from_f64(a.max(b)).unwrap_or_else(|| 0.into());
            }
        }
        (sum @ Value::Null, more) => *sum = more,
        _ => {}
    }
}

fn number(tally: &Value, key: &str) -> u64 {
    tally.get(key).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ran_beside_each_other_is_added_up() {
        let mut sum = Value::Null;
        for trials in [2, 3] {
            let one = json!({"kind": "spool", "trials": trials, "seconds": f64::from(trials) + 0.5,
                "pages": {"lost": 1}, "failures": ["x"]});
            add(&mut sum, one);
        }
        let expected = json!({"kind": "spool", "trials": 5, "seconds": 3.5, "pages": {"lost": 2},
            "failures": ["x", "x"]});
        assert_eq!(sum, expected);
        assert_eq!((number(&sum, "trials"), number(&sum, "nothing")), (5, 0));
    }
}
