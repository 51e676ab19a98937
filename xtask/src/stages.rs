//! `cargo xtask test`: everything that a change must pass, in stages, each with its time.
//!
//! A failed stage does not stop those after it: the end lists all that failed. From a cold cache on two cores
//! the whole takes at most [`BUDGET`]; what is longer belongs under `cargo xtask torture`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::binaries::{self, Profile};
use crate::{setup, shell};

/// From a cold cache on two cores.
const BUDGET: Duration = Duration::from_secs(25 * 60);
/// Rounds of `kill -9` under load.
const CRASH_ROUNDS: u32 = 50;
/// The pages' tests.
const BROWSER_TESTS: &str = "tests/browser";
/// MLLP peers by Medplum.
const NODE_PEERS: &str = "tests/peers/node";
/// FHIR validators.
const NODE_FHIR: &str = "tests/fhir/node";
/// The package with the simulation.
const SIM_PACKAGE: &str = "wardgate-sim";
/// Its seeds, and how long they may take; whichever is first.
const SIM_SEEDS: u64 = 1_000;
const SIM_SECONDS: u64 = 120;
/// The package with the tests of the whole product.
const SYSTEM_PACKAGE: &str = "wardgate-system-tests";
/// The package with the tests that need disks of their own.
const FAULTS_PACKAGE: &str = "wardgate-crash-tests";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this stage; may be given more than once
    #[arg(long, value_name = "STAGE")]
    stage: Vec<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// Installs what the tests need
    Setup,
    /// rustfmt, unchanged
    Fmt,
    /// clippy, without a warning
    Clippy,
    /// Builds all tests and the binaries that they start
    Build,
    /// Each room's own tests, the layout, the dependencies, the unit file
    Rooms,
    /// The whole box in a simulated world, by seeds
    Simulation,
    /// The documentation's examples
    Docs,
    /// The whole product, from outside
    System,
    /// Kills under load
    Crash,
    /// Power cuts, full and failing disks, on real file systems
    Faults,
    /// The pages, in a real browser
    Browser,
    /// The demo, as a newcomer runs it
    Demo,
}

impl Stage {
    const ALL: [Self; 12] = [
        Self::Setup,
        Self::Fmt,
        Self::Clippy,
        Self::Build,
        Self::Rooms,
        Self::Simulation,
        Self::Docs,
        Self::System,
        Self::Crash,
        Self::Faults,
        Self::Browser,
        Self::Demo,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Build => "build",
            Self::Rooms => "rooms",
            Self::Simulation => "simulation",
            Self::Docs => "docs",
            Self::System => "system",
            Self::Crash => "crash",
            Self::Faults => "faults",
            Self::Browser => "browser",
            Self::Demo => "demo",
        }
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Setup => set_up(),
            Self::Fmt => shell::run(shell::cargo().args(["fmt", "--all", "--check"])),
            Self::Clippy => {
                let mut cargo = shell::cargo();
                cargo.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]);
                shell::run(&mut cargo)
            }
            Self::Build => binaries::build(Profile::Tests).map(drop),
            Self::Rooms => {
                let names = Names::find()?;
                let mut cargo = shell::cargo();
                cargo.args(["test", "--locked", "--no-fail-fast", "--workspace", "--lib", "--bins"]);
                run_tests(&mut cargo, names.rooms)
            }
            Self::Simulation => {
                let names = Names::find()?;
                let mut cargo = shell::cargo();
                cargo.args(["test", "--locked", "--workspace"]);
                simulation(&mut cargo, names.simulation, Seeds::FromZero(SIM_SEEDS), SIM_SECONDS)
            }
            Self::Docs => shell::run(shell::cargo().args([
                "test",
                "--locked",
                "--no-fail-fast",
                "--workspace",
                "--doc",
            ])),
            Self::System => {
                let names = Names::find()?;
                run_tests(workspace_tests(&names.system)?.arg("--no-fail-fast"), names.system)
            }
            Self::Crash => crash(CRASH_ROUNDS),
            Self::Faults => {
                let names = Names::find()?;
                let mut cargo = shell::cargo();
                cargo.args(["test", "--locked", "--no-fail-fast", "--workspace"]);
                run_tests(&mut cargo, names.faults)
            }
            Self::Browser => browser(),
            Self::Demo => {
                let mut demo = shell::cargo();
                binaries::build(Profile::Tests)?.tell(&mut demo);
                shell::run(demo.args(["xtask", "demo", "--seconds", "10", "--json"]))
            }
        }
    }
}

/// Runs the stages and prints their times.
pub(crate) fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let stages = if args.stage.is_empty() { Stage::ALL.to_vec() } else { args.stage.clone() };
    let mut results = Vec::new();
    for stage in stages {
        println!("\n=== {} ===", stage.name());
        let stage_begun = Instant::now();
        let result = stage.run();
        if let Err(error) = &result {
            println!("stage {} failed: {error:#}", stage.name());
        }
        results.push((stage, stage_begun.elapsed(), result.is_ok()));
        println!("=== {}: {:.1} s ===", stage.name(), stage_begun.elapsed().as_secs_f64());
    }
    println!("\nstage      seconds");
    for (stage, time, passed) in &results {
        let mark = if *passed { "" } else { "   FAILED" };
        println!("{:<10} {:>7.1}{mark}", stage.name(), time.as_secs_f64());
    }
    println!("{:<10} {:>7.1}", "total", begun.elapsed().as_secs_f64());
    if begun.elapsed() > BUDGET {
        println!("note: over the budget of {} min on this machine", BUDGET.as_secs() / 60);
    }
    let failed: Vec<&str> =
        results.iter().filter(|(_, _, ok)| !ok).map(|(stage, _, _)| stage.name()).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The crash tests, with so many rounds.
pub(crate) fn crash(rounds: u32) -> Result<()> {
    let names = Names::find()?;
    let mut cargo = workspace_tests(&names.crash)?;
    cargo.env("WARDGATE_CRASH_ROUNDS", rounds.to_string());
    run_tests(&mut cargo, names.crash)
}

/// What the simulation runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seeds {
    /// So many.
    FromZero(u64),
    /// This one, with its event log.
    One(u64),
}

/// The simulation in an optimised build, for as long as it takes.
pub(crate) fn simulate(seeds: Seeds) -> Result<()> {
    const FOREVER: u64 = 365 * 24 * 3600;
    let names = Names::find()?;
    let mut cargo = shell::cargo();
    cargo.args(["test", "--locked", "--release", "--package", SIM_PACKAGE]);
    simulation(&mut cargo, names.simulation, seeds, FOREVER)
}

fn simulation(cargo: &mut Command, names: BTreeSet<String>, seeds: Seeds, seconds: u64) -> Result<()> {
    for name in names {
        cargo.args(["--test", &name]);
    }
    match seeds {
        Seeds::FromZero(count) => cargo.env("WARDGATE_SIM_SEEDS", count.to_string()),
        Seeds::One(seed) => cargo.env("WARDGATE_SIM_SEED", seed.to_string()),
    };
    cargo.env("WARDGATE_SIM_SECONDS", seconds.to_string());
    // One after the other: each test has its own use for all processors.
    shell::run(cargo.args(["--", "--nocapture", "--test-threads=1"]))
}

/// Installs what the tests need.
pub(crate) fn set_up() -> Result<()> {
    setup::tools(&setup::FOR_TESTS)?;
    setup::tools(&setup::FOR_PEERS)?;
    setup::tools(&setup::FOR_FAULTS)?;
    setup::node(NODE_PEERS)?;
    setup::node(NODE_FHIR)?;
    hapi_peers()?;
    hapi_fhir()?;
    readers().map(drop)
}

/// The judges of our FHIR, the slowest of them before all of the corpus.
pub(crate) fn fhir() -> Result<()> {
    let names = BTreeSet::from(["fhir_judges".to_owned()]);
    let mut cargo = workspace_tests(&names)?;
    run_tests(cargo.env("WARDGATE_FHIR_EVERY", "1"), names)
}

/// The rooms' integration tests that state properties.
pub(crate) fn with_properties() -> Result<BTreeSet<String>> {
    let metadata =
        shell::json(shell::cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))?;
    let rooms = Names::find()?.rooms;
    let targets = metadata.pointer("/packages").and_then(Value::as_array).into_iter().flatten();
    let targets = targets.filter_map(|package| package.get("targets")?.as_array()).flatten();
    let mut found = BTreeSet::new();
    for target in targets {
        let text = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        if rooms.contains(text("name")) && std::fs::read_to_string(text("src_path"))?.contains("proptest!") {
            found.insert(text("name").to_owned());
        }
    }
    if found.is_empty() {
        bail!("no integration test states a property any more: have they moved?");
    }
    Ok(found)
}

/// The pages against the preview with made-up data.
fn browser() -> Result<()> {
    setup::tools(&setup::FOR_BROWSER)?;
    binaries::build(Profile::Tests)?;
    setup::node(BROWSER_TESTS)?;
    let preview = shell::target_dir()?.join("debug/examples/preview");
    let mut npm = Command::new("npm");
    npm.current_dir(shell::root().join(BROWSER_TESTS));
    shell::run(npm.arg("test").env("PREVIEW", preview))
}

/// The interpreter that the independent readers run in.
pub(crate) fn readers() -> Result<PathBuf> {
    setup::python("readers-venv", "tests/readers/requirements.txt")
}

/// The FHIR validator by HAPI, built.
fn hapi_fhir() -> Result<PathBuf> {
    setup::maven("fhir-hapi", "tests/fhir/hapi")
}

/// MLLP peers by HAPI, built.
fn hapi_peers() -> Result<PathBuf> {
    setup::maven("hapi-peers", "tests/peers/hapi")
}

/// `cargo test` over the whole workspace, so that features unify as in the other stages and nothing is built
/// twice, told where the built programs and the readers are.
fn workspace_tests(names: &BTreeSet<String>) -> Result<Command> {
    if names.is_empty() {
        bail!("there is no such test yet");
    }
    let mut cargo = shell::cargo();
    binaries::build(Profile::Tests)?.tell(&mut cargo);
    cargo.args(["test", "--locked", "--workspace"]);
    cargo.env("WARDGATE_PYTHON", readers()?);
    cargo.env("WARDGATE_HAPI_PEERS", hapi_peers()?);
    cargo.env("WARDGATE_FHIR_HAPI", hapi_fhir()?);
    Ok(cargo)
}

fn run_tests(cargo: &mut Command, names: BTreeSet<String>) -> Result<()> {
    for name in names {
        cargo.args(["--test", &name]);
    }
    if let Some(python) = python_if_there() {
        cargo.env("WARDGATE_PYTHON", python);
    }
    shell::run(cargo)
}

/// A room's own test may use the readers too; it skips with a note where they are not installed.
fn python_if_there() -> Option<PathBuf> {
    let python = shell::target_dir().ok()?.join("readers-venv/bin/python");
    python.exists().then_some(python)
}

/// The names of the integration tests, by stage.
#[derive(Debug, Default)]
struct Names {
    rooms: BTreeSet<String>,
    simulation: BTreeSet<String>,
    system: BTreeSet<String>,
    crash: BTreeSet<String>,
    faults: BTreeSet<String>,
}

impl Names {
    fn find() -> Result<Self> {
        let metadata =
            shell::json(shell::cargo().args(["metadata", "--format-version=1", "--no-deps", "--offline"]))?;
        let names = Self::of(&metadata).context("cargo metadata has another shape than expected")?;
        match names.shared() {
            Some(shared) => bail!("two packages of different stages have a test named {shared}; rename one"),
            None => Ok(names),
        }
    }

    /// A name in two stages. `cargo test --test NAME` takes all packages' tests of that name, so one of them would
    /// run where nothing that it needs is there.
    fn shared(&self) -> Option<&String> {
        let whole = || self.system.iter().chain(&self.crash).chain(&self.faults).chain(&self.simulation);
        whole().find(|name| self.rooms.contains(*name))
    }

    fn of(metadata: &Value) -> Option<Self> {
        let mut names = Self::default();
        for package in metadata.get("packages")?.as_array()? {
            let package_name = package.get("name")?.as_str()?;
            for target in package.get("targets")?.as_array()? {
                if !target.get("kind")?.as_array()?.iter().any(|kind| kind == "test") {
                    continue;
                }
                let name = target.get("name")?.as_str()?;
                let stage = match package_name {
                    SYSTEM_PACKAGE if name.contains("crash") => &mut names.crash,
                    SYSTEM_PACKAGE => &mut names.system,
                    FAULTS_PACKAGE => &mut names.faults,
                    SIM_PACKAGE => &mut names.simulation,
                    _ => &mut names.rooms,
                };
                stage.insert(name.to_owned());
            }
        }
        Some(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tests_go_to_the_stage_of_their_package_and_name() {
        let test = |name: &str| json!({"kind": ["test"], "name": name});
        let metadata = json!({"packages": [
            {"name": "wardgate-spool", "targets": [{"kind": ["lib"], "name": "spool"}, test("crash_model")]},
            {"name": SIM_PACKAGE, "targets": [test("simulation")]},
            {"name": SYSTEM_PACKAGE, "targets": [test("crash"), test("spine")]},
            {"name": FAULTS_PACKAGE, "targets": [test("faults")]},
        ]});
        let names = Names::of(&metadata).unwrap();
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        assert_eq!(
            (names.rooms, names.simulation, names.system, names.crash, names.faults),
            (set("crash_model"), set("simulation"), set("spine"), set("crash"), set("faults"))
        );
    }

    #[test]
    fn no_test_stands_in_two_stages() {
        Names::find().unwrap();
    }

    #[test]
    fn a_name_in_two_stages_is_noticed() {
        let of = |rooms: &[&str], system: &[&str]| Names {
            rooms: rooms.iter().map(|name| (*name).to_owned()).collect(),
            simulation: BTreeSet::new(),
            system: system.iter().map(|name| (*name).to_owned()).collect(),
            ..Names::default()
        };
        assert_eq!(of(&["golden", "fhir"], &["fhir", "spine"]).shared().map(String::as_str), Some("fhir"));
        assert_eq!(of(&["golden"], &["fhir", "spine"]).shared(), None);
    }
}
