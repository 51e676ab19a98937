//! `cargo xtask torture`: what takes too long for every change. A release has passed it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::stages::Seeds;
use crate::{faults, fuzz, shell, stages};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of `kill -9` on gateway, landing or both
    #[arg(long, default_value_t = 1_000)]
    crash_rounds: u32,
    /// Cases of each property test
    #[arg(long, default_value_t = 20_000)]
    property_cases: u32,
    /// Seeds of the simulation
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// This seed of the simulation alone, with its event log
    #[arg(long)]
    seed: Option<u64>,
    /// Size of the object that goes through the log, in MiB
    #[arg(long, default_value_t = 5 * 1024)]
    object_mib: u64,
    /// Only this programme
    #[arg(long, value_enum)]
    only: Option<Programme>,
    #[command(flatten)]
    fuzz: fuzz::Settings,
    #[command(flatten)]
    faults: faults::Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Programme {
    /// cargo-deny with today's advisories; needs the internet
    Advisories,
    /// The property tests, with many more cases
    Properties,
    /// The simulated box, with many more seeds
    Simulation,
    /// The crash tests, with many more rounds
    Crash,
    /// The fault table of the logs: power cuts on real file systems, full and failing disks, damage
    Faults,
    /// Coverage-guided fuzzing of everything that reads what others wrote
    Fuzz,
    /// Every FHIR Bundle of the corpus before every validator
    Fhir,
    /// A very large object through the log, in flat memory
    Object,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let all = [
        Programme::Advisories,
        Programme::Properties,
        Programme::Simulation,
        Programme::Crash,
        Programme::Faults,
        Programme::Fuzz,
        Programme::Fhir,
        Programme::Object,
    ];
    let mut failed = Vec::new();
    // As `cargo xtask test` does, also for one programme on a fresh machine.
    stages::set_up()?;
    for programme in all.into_iter().filter(|p| args.only.is_none_or(|only| only == *p)) {
        let begun = Instant::now();
        println!("\n=== {programme:?} ===");
        let result = match programme {
            Programme::Advisories => advisories(),
            Programme::Properties => properties(args.property_cases),
            Programme::Simulation => {
                stages::simulate(args.seed.map_or(Seeds::FromZero(args.seeds), Seeds::One))
            }
            Programme::Crash => stages::crash(args.crash_rounds),
            Programme::Faults => faults::run(&args.faults),
            Programme::Fuzz => fuzz::run(&args.fuzz),
            Programme::Fhir => stages::fhir(),
            Programme::Object => object(args.object_mib),
        };
        if let Err(error) = result {
            println!("{programme:?} failed: {error:#}");
            failed.push(format!("{programme:?}"));
        }
        println!("=== {programme:?}: {:.0} s ===", begun.elapsed().as_secs_f64());
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The whole of `deny.toml`. Its offline part is also a test of xtask, without cargo-deny's own build.
fn advisories() -> Result<()> {
    if !shell::has("cargo-deny") {
        shell::run(shell::cargo().args(["install", "--locked", "cargo-deny"]))?;
    }
    shell::run(Command::new("cargo-deny").current_dir(shell::root()).arg("check"))
}

fn properties(cases: u32) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast", "--workspace", "--lib", "--bins"]);
    for test in stages::with_properties()? {
        cargo.args(["--test", &test]);
    }
    shell::run(cargo.env("PROPTEST_CASES", cases.to_string()))
}

fn object(mib: u64) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args([
        "test",
        "--locked",
        "--release",
        "-p",
        "wardgate-spool",
        "--test",
        "objects",
        "--",
        "--nocapture",
    ]);
    shell::run(cargo.env("WARDGATE_OBJECT_MIB", mib.to_string()))
}
