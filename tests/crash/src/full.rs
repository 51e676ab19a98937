//! A disk that gets full while the logs are being written, to within any number of pages; opened again while it is
//! full, and once there is room.

use anyhow::Result;

use crate::device::{Device, Image};
use crate::disk::{Bench, FileSystem, Mounted};
use crate::expect::Expect;
use crate::process::{Life, live};
use crate::subject::{FILLER, Kind, Task};

/// As small as leaves all logs room to begin with.
const DISK_BYTES: u64 = 64 << 20;
/// Pages left free: each number below.
const PAGES: u64 = 500;

/// What is to be tried.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// How many of the 500 numbers of free pages, evenly spread
    #[arg(long, default_value_t = 20)]
    pub cases: u64,
    /// Decides what is done
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Disks filled.
    pub cases: u64,
    /// Records, audit entries and cursors that had to be there, over all looks.
    pub demanded: u64,
    /// Things refused while the disk was full.
    pub refusals: u64,
    /// What was wrong.
    pub failures: Vec<String>,
}

impl Tally {
    /// For a program to read.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cases": self.cases,
            "demanded": self.demanded,
            "refusals": self.refusals,
            "failures": self.failures,
        })
    }
}

/// A task; only the folder, the seed and the ids differ in the end.
pub(crate) fn task(seed: u64, life: u64, steps: u64) -> Task {
    Task {
        dir: std::path::PathBuf::new(),
        kind: Kind::Spool,
        seed: seed * 10 + life,
        first: 1 + life * 1_000_000,
        steps,
        verify: false,
        stop: false,
        refusals: false,
        fill: None,
    }
}

/// What is wrong with a life; if nothing is, what it was told must be there in the next.
pub(crate) fn judge(life: &Life, expect: &mut Expect, what: &str) -> Result<(), String> {
    if let Some(problem) = &life.problem {
        return Err(format!("{what}: {problem}"));
    }
    let wrong = expect.check(&life.found);
    if !wrong.is_empty() {
        return Err(format!("{what}: {} wrong: {}", wrong.len(), wrong[..wrong.len().min(5)].join("; ")));
    }
    life.marks.iter().for_each(|mark| expect.must(*mark));
    Ok(())
}

/// Tries.
pub fn run(plan: &Plan) -> Result<Tally> {
    let bench = Bench::new()?;
    let empty = FileSystem::Ext4.make_of(DISK_BYTES)?;
    let mut tally = Tally::default();
    // What every case begins with.
    let device = Device::new(empty);
    let mounted = bench.mount(&device, FileSystem::Ext4)?;
    let life = live(&Task { dir: mounted.dir().to_owned(), ..task(plan.seed, 0, 40) }, None, None)?;
    mounted.unmount()?;
    let mut begun = Expect::nothing();
    judge(&life, &mut begun, "before anything was full").map_err(anyhow::Error::msg)?;
    let before = device.image();
    for case in 0..plan.cases {
        let pages = case * PAGES / plan.cases;
        tally.cases += 1;
        if let Err(problem) = fill(&bench, &before, begun.clone(), plan.seed + case, pages, &mut tally)? {
            tally.failures.push(format!("{pages} pages free: {problem}"));
        }
    }
    Ok(tally)
}

fn fill(
    bench: &Bench,
    before: &Image,
    mut expect: Expect,
    seed: u64,
    pages: u64,
    tally: &mut Tally,
) -> Result<Result<(), String>> {
    let device = Device::new(before.clone());
    let mounted = bench.mount(&device, FileSystem::Ext4)?;
    let done = lives(&mounted, &mut expect, seed, pages, tally);
    mounted.unmount()?;
    done
}

fn lives(
    mounted: &Mounted<'_>,
    expect: &mut Expect,
    seed: u64,
    pages: u64,
    tally: &mut Tally,
) -> Result<Result<(), String>> {
    let of = |task: Task| Task { dir: mounted.dir().to_owned(), ..task };
    let is_orderly = seed.is_multiple_of(2);
    let lives = [
        ("filled", Task { fill: Some(pages), refusals: true, stop: is_orderly, ..task(seed, 1, 80) }),
        ("still full", Task { refusals: true, stop: !is_orderly, ..task(seed, 2, 20) }),
        ("roomy again", Task { verify: true, stop: true, ..task(seed, 3, 20) }),
        ("at last", Task { verify: true, stop: true, ..task(seed, 4, 0) }),
    ];
    for (what, task) in lives {
        if what == "roomy again" {
            std::fs::remove_file(mounted.dir().join(FILLER))?;
        }
        let life = live(&of(task), None, None)?;
        tally.demanded += expect.demanded() as u64;
        tally.refusals += life.complaints.lines().filter(|line| line.starts_with("refused")).count() as u64;
        if let Err(problem) = judge(&life, expect, what) {
            return Ok(Err(problem));
        }
    }
    Ok(Ok(()))
}
