//! A kernel that says EIO or ENOSPC: `strace` lets the nth call of a kind in each thread fail, once or from then on.
//! The process may refuse, it may even decline to open, but it may not lose anything, and its next life finds all.

use anyhow::Result;

use crate::device::Device;
use crate::disk::{Bench, FileSystem};
use crate::expect::{Expect, Mark};
use crate::full::{judge, task};
use crate::process::{Injection, live};
use crate::subject::Task;

/// Kinds of calls, as strace lists them.
const CALLS: [&str; 7] = [
    "fdatasync",
    "fsync",
    "pwrite64",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "ftruncate",
    "fallocate",
];

/// What is to be tried.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// Every call of a kind up to this one; beyond 4, about half as many more each time
    #[arg(long, default_value_t = 8)]
    pub upto: u64,
    /// All of them, not fewer and fewer
    #[arg(long)]
    pub every: bool,
    /// Only one kind of calls
    #[arg(long, value_parser = CALLS)]
    pub calls: Option<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Lives with a failing call.
    pub cases: u64,
    /// Of these, that declined to open.
    pub declined: u64,
    /// Things refused.
    pub refusals: u64,
    /// Records, audit entries and cursors that had to be there.
    pub demanded: u64,
    /// What was wrong.
    pub failures: Vec<String>,
}

impl Tally {
    /// For a program to read.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cases": self.cases,
            "declined_to_open": self.declined,
            "refusals": self.refusals,
            "demanded": self.demanded,
            "failures": self.failures,
        })
    }
}

/// Tries.
pub fn run(plan: &Plan) -> Result<Tally> {
    let bench = Bench::new()?;
    let device = Device::new(FileSystem::Ext4.make()?);
    let mounted = bench.mount(&device, FileSystem::Ext4)?;
    let mut tally = Tally::default();
    let mut nth = 1;
    while nth <= plan.upto {
        for calls in CALLS.into_iter().filter(|calls| plan.calls.as_deref().is_none_or(|only| only == *calls))
        {
            for (errno, more) in [("EIO", ""), ("EIO", "+"), ("ENOSPC", "")] {
                let what = format!("{calls}:error={errno}:when={nth}{more}");
                let dir = mounted.dir().join("case");
                std::fs::create_dir(&dir)?;
                tally.cases += 1;
                if let Err(problem) = fail(&dir, nth, &what, &mut tally)? {
                    tally.failures.push(format!("{what}: {problem}"));
                }
                std::fs::remove_dir_all(&dir)?;
                drop(device.take_events());
            }
        }
        nth += if plan.every || nth < 4 { 1 } else { nth / 2 };
    }
    mounted.unmount()?;
    Ok(tally)
}

fn fail(dir: &std::path::Path, seed: u64, what: &str, tally: &mut Tally) -> Result<Result<(), String>> {
    let mut expect = Expect::nothing();
    let of = |task: Task| Task { dir: dir.to_owned(), ..task };
    let injection = Injection(what.to_owned());
    let mut life = live(&of(Task { refusals: true, ..task(seed, 0, 40) }), None, Some(&injection))?;
    tally.refusals += life.complaints.lines().filter(|line| line.starts_with("refused")).count() as u64;
    if life.problem.is_some() && !life.marks.contains(&Mark::Opened) && life.complaints.contains("error: ") {
        // Said why, and changed its mind about nothing.
        tally.declined += 1;
        life.problem = None;
    }
    if let Err(problem) = judge(&life, &mut expect, "failing") {
        return Ok(Err(problem));
    }
    let lives = [
        ("well again", Task { verify: true, stop: true, ..task(seed, 1, 15) }),
        ("at last", Task { verify: true, stop: true, ..task(seed, 2, 0) }),
    ];
    for (what, task) in lives {
        tally.demanded += expect.demanded() as u64;
        let life = live(&of(task), None, None)?;
        if let Err(problem) = judge(&life, &mut expect, what) {
            return Ok(Err(problem));
        }
    }
    Ok(Ok(()))
}
