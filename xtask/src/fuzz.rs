//! `cargo xtask torture --only fuzz`: coverage-guided fuzzing, each target one after another.
//!
//! A target is a file in `tests/fuzz/src/bin/`, one line over a function of a room; whoever adds a file adds a
//! target. They are built with the stable compiler: LLVM's coverage passes need no nightly. `--fuzz-asan` adds
//! AddressSanitizer, which does, and is slower.
//!
//! What a target finds is written to `target/fuzz/<target>/found/` and fails the run. What it learned stays in
//! `target/fuzz/<target>/corpus/`; with `--fuzz-keep` the smallest part of it that reaches the same code goes to
//! `tests/fuzz/corpus/<target>/`, where the next run begins. A room may run it in its own tests too; that of FHIR does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Longest input in bytes. Longer ones find nothing that these do not, and cost speed.
const INPUT_BYTES_MAX: u64 = 256;
/// The same for FHIR, whose shortest Bundle is longer than that.
const FHIR_BYTES_MAX: u64 = 1024;
/// An input that takes longer, in seconds, is a finding; real ones take microseconds.
const TIMEOUT_S: u64 = 10;
/// Memory of a fuzzer beyond which an input is a finding, in MiB.
const MEMORY_MB_MAX: u64 = 1024;
/// Most bytes of inputs that are kept in the repository for a target.
const KEPT_BYTES_MAX: u64 = 300 << 10;
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What `cargo fuzz` asks of the compiler.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[derive(Debug, clap::Args)]
#[group(id = "fuzz")]
pub(crate) struct Settings {
    /// Executions of each fuzz target
    #[arg(long, default_value_t = 10_000_000)]
    fuzz_executions: u64,
    /// Only this fuzz target; may be given more than once
    #[arg(long, value_name = "TARGET")]
    fuzz_target: Vec<String>,
    /// With AddressSanitizer
    #[arg(long)]
    fuzz_asan: bool,
    /// Keep the smallest inputs that reach the same code in tests/fuzz/corpus
    #[arg(long)]
    fuzz_keep: bool,
}

pub(crate) fn run(args: &Settings) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|t| args.fuzz_target.is_empty() || args.fuzz_target.contains(t)).collect();
    if let Some(unknown) = args.fuzz_target.iter().find(|t| !all.contains(t)) {
        bail!("there is no fuzz target {unknown}; there are {}", all.join(", "));
    }
    let work = shell::target_dir()?.join("fuzz");
    let programs = build(args, &work)?;
    let mut failed = Vec::new();
    for target in chosen {
        let fuzzer = Fuzzer { program: programs.join(target), dir: work.join(target), kept: kept(target) };
        if let Err(error) = fuzzer.run(args) {
            println!("fuzz target {target}: {error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!("found something: {}", failed.join(", "));
    }
    Ok(())
}

fn root() -> PathBuf {
    shell::root().join("tests/fuzz")
}

fn kept(target: &str) -> PathBuf {
    root().join("corpus").join(target)
}

/// The files in `src/bin`.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("src/bin");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if let (Some(stem), Some("rs")) = (path.file_stem(), path.extension().and_then(|e| e.to_str())) {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; the folder with the programs.
fn build(args: &Settings, work: &Path) -> Result<PathBuf> {
    let dir = work.join(if args.fuzz_asan { "build-asan" } else { "build" });
    let mut flags = COVERAGE.to_vec();
    let mut cargo = shell::cargo();
    if args.fuzz_asan {
        flags.push("-Zsanitizer=address");
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.current_dir(root()).env("RUSTFLAGS", flags.join(" "));
    // Not `--locked`: this package follows what the rooms depend on.
    cargo.args(["build", "--release", "--bins", "--target", TRIPLE, "--target-dir"]).arg(&dir);
    shell::run(&mut cargo)?;
    Ok(dir.join(TRIPLE).join("release"))
}

struct Fuzzer {
    program: PathBuf,
    /// Where it works.
    dir: PathBuf,
    /// What the repository keeps for it.
    kept: PathBuf,
}

impl Fuzzer {
    fn run(&self, args: &Settings) -> Result<()> {
        let (corpus, found) = (self.dir.join("corpus"), self.dir.join("found"));
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&found)?;
        let mut fuzzer = self.program();
        fuzzer.arg(format!("-runs={}", args.fuzz_executions));
        fuzzer.arg(format!("-artifact_prefix={}/", found.display()));
        fuzzer.args(["-print_final_stats=1", "-verbosity=0"]).arg(&corpus);
        if self.kept.is_dir() {
            fuzzer.arg(&self.kept);
        }
        shell::run(&mut fuzzer).with_context(|| format!("the input is in {}", found.display()))?;
        if args.fuzz_keep { self.keep(&corpus) } else { Ok(()) }
    }

    /// Takes the smallest part of what was learned into the repository.
    fn keep(&self, corpus: &Path) -> Result<()> {
        let smallest = self.dir.join("smallest");
        std::fs::remove_dir_all(&smallest).ok();
        std::fs::create_dir_all(&smallest)?;
        let mut merge = self.program();
        merge.args(["-merge=1", "-verbosity=0"]).arg(&smallest).arg(corpus);
        if self.kept.is_dir() {
            merge.arg(&self.kept);
        }
        shell::run(&mut merge)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&smallest)? {
            let entry = entry?;
            files.push((entry.metadata()?.len(), entry.path()));
        }
        // Where all do not fit, the shorter ones stay.
        files.sort();
        std::fs::remove_dir_all(&self.kept).ok();
        std::fs::create_dir_all(&self.kept)?;
        let (mut bytes, mut count) = (0, 0);
        for (length, path) in files {
            bytes += length;
            if bytes > KEPT_BYTES_MAX {
                break;
            }
            std::fs::copy(&path, self.kept.join(path.file_name().unwrap_or_default()))?;
            count += 1;
        }
        println!("{count} inputs are kept in {}", self.kept.display());
        Ok(())
    }

    fn program(&self) -> Command {
        let mut program = Command::new(&self.program);
        let fhir = self.program.file_name().is_some_and(|name| name.to_string_lossy().contains("fhir"));
        let (bytes, words) = if fhir { (FHIR_BYTES_MAX, "fhir.dict") } else { (INPUT_BYTES_MAX, "hl7.dict") };
        program.arg(format!("-max_len={bytes}"));
        program.arg(format!("-timeout={TIMEOUT_S}"));
        program.arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
        program.arg(format!("-dict={}", root().join(words).display()));
        program
    }
}
