//! Trials: record a life, cut the power anywhere in it, open what is left, cut again while that goes on, open again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::device::{Cut, Damage, Device, Event, Image, cut};
use crate::disk::{Bench, FileSystem};
use crate::expect::{Expect, Mark};
use crate::process::{Life, live};
use crate::subject::{Kind, Task};

/// Shares of unflushed pages that reach the disk.
const KEPT_PERCENT: [u8; 5] = [0, 25, 50, 75, 100];
/// Things done in the life that is recorded; fewer before and after.
const STEPS: u64 = 100;
/// Ids a life may use.
const IDS: u64 = 1_000_000;
/// Failures told in full.
const TOLD_MAX: usize = 20;

/// What is to be tried.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// On which file system
    #[arg(long, value_enum, default_value = "ext4")]
    pub file_system: FileSystem,
    /// What is put to the test
    #[arg(long, value_enum, default_value = "spool")]
    pub kind: Kind,
    /// How many power cuts; the second one of a trial is not counted
    #[arg(long, default_value_t = 20)]
    pub trials: u64,
    /// Ends earlier, once this many seconds are over
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Decides where the power goes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Cuts of one recorded life
    #[arg(long, default_value_t = 25)]
    pub cuts_per_life: u64,
    /// The images of failed trials go to this folder
    #[arg(long)]
    pub keep_failed: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Power cuts tried.
    pub trials: u64,
    /// With a second cut while the first one was recovered from or just after.
    pub twice: u64,
    /// Of these, before the logs were open.
    pub in_recovery: u64,
    /// Trials in which something was wrong.
    pub failed: u64,
    /// Lives recorded.
    pub lives: u64,
    /// Records, audit entries and cursors that had to be there, over all looks.
    pub demanded: u64,
    /// Cuts by the share of unflushed pages kept.
    pub by_kept: BTreeMap<u8, u64>,
    /// Unflushed pages over all cuts.
    pub damage: Damage,
    /// What was wrong, the first of it.
    pub failures: Vec<String>,
    /// How long it took.
    pub time: Duration,
}

impl Tally {
    /// For a program to read.
    pub fn json(&self, plan: &Plan) -> serde_json::Value {
        serde_json::json!({
            "file_system": plan.file_system.name(),
            "kind": plan.kind.name(),
            "seed": plan.seed,
            "trials": self.trials,
            "failed": self.failed,
            "second_cuts": self.twice,
            "second_cuts_in_recovery": self.in_recovery,
            "lives": self.lives,
            "demanded": self.demanded,
            "by_kept_percent": self.by_kept,
            "unflushed_pages": {"kept": self.damage.kept, "lost": self.damage.lost, "torn": self.damage.torn},
            "seconds": self.time.as_secs_f64(),
            "failures": self.failures,
        })
    }

    fn add(&mut self, cut: Cut, damage: Damage) {
        *self.by_kept.entry(cut.kept_percent).or_default() += 1;
        self.damage.kept += damage.kept;
        self.damage.lost += damage.lost;
        self.damage.torn += damage.torn;
    }
}

/// A recorded life and what came before it.
struct Recording {
    before: Image,
    prior: Expect,
    events: Vec<Event>,
}

struct Trials<'a> {
    plan: &'a Plan,
    bench: Bench,
    empty: Image,
    next_id: u64,
    tally: Tally,
}

/// Tries.
pub fn run(plan: &Plan) -> Result<Tally> {
    let begun = Instant::now();
    let mut trials = Trials {
        plan,
        bench: Bench::new()?,
        empty: plan.file_system.make()?,
        next_id: 1,
        tally: Tally::default(),
    };
    let is_over = |tally: &Tally| {
        tally.trials >= plan.trials
            || plan.seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds))
    };
    while !is_over(&trials.tally) {
        let mut luck = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003) + trials.tally.lives);
        let recording = trials.record(&mut luck)?;
        for _ in 0..plan.cuts_per_life {
            if is_over(&trials.tally) {
                break;
            }
            trials.cut(&recording, &mut luck)?;
        }
    }
    trials.tally.time = begun.elapsed();
    Ok(trials.tally)
}

impl Trials<'_> {
    fn task(&mut self, luck: &mut StdRng, steps: u64) -> Task {
        let first = self.next_id;
        self.next_id += IDS;
        Task {
            dir: PathBuf::new(),
            kind: self.plan.kind,
            seed: luck.random_range(0..u64::MAX / 1000),
            first,
            steps,
            verify: false,
            stop: false,
            refusals: false,
            fill: None,
        }
    }

    /// One life on a device; what happened until its end, and how it was.
    fn life(&self, device: &Arc<Device>, mut task: Task) -> Result<(Vec<Event>, Life)> {
        let mounted = self.bench.mount(device, self.plan.file_system)?;
        task.dir = mounted.dir().to_owned();
        let life = live(&task, Some(device), None)?;
        let events = device.take_events();
        mounted.unmount()?;
        Ok((events, life))
    }

    fn record(&mut self, luck: &mut StdRng) -> Result<Recording> {
        let (mut before, mut prior) = (self.empty.clone(), Expect::nothing());
        // Three of four have a past, which ended in order or did not.
        if luck.random_ratio(3, 4) {
            let device = Device::new(before);
            let task = Task { stop: luck.random(), ..self.task(luck, STEPS / 2) };
            let (_, life) = self.life(&device, task)?;
            sound(&life)?;
            life.marks.iter().for_each(|mark| prior.must(*mark));
            before = device.image();
        }
        let device = Device::new(before.clone());
        let task = Task { stop: luck.random_ratio(1, 4), ..self.task(luck, STEPS) };
        let (events, life) = self.life(&device, task)?;
        sound(&life)?;
        // Nothing has happened yet: if it is wrong now, it is the harness.
        let wrong = if self.plan.kind == Kind::Spool { prior.check(&life.found) } else { Vec::new() };
        if !wrong.is_empty() {
            bail!("wrong without a power cut: {}", wrong.join("; "));
        }
        self.tally.lives += 1;
        Ok(Recording { before, prior, events })
    }

    fn cut(&mut self, recording: &Recording, luck: &mut StdRng) -> Result<()> {
        self.tally.trials += 1;
        let first = self.any_cut(&recording.events, false, luck);
        let (image, damage) =
            cut(&recording.before, &recording.events, first, self.plan.file_system.superblocks(), luck);
        self.tally.add(first, damage);
        let mut expect = recording.prior.clone();
        apply(&mut expect, &recording.events, first.at);
        let task = self.task(luck, STEPS / 8);
        let Some((events, life)) = self.look(&image, &expect, task, &format!("{first:?}"))? else {
            return Ok(());
        };
        if self.plan.kind == Kind::BareSled {
            return Ok(());
        }
        // And again, while that went on.
        let second = self.any_cut(&events, true, luck);
        let opened = events.iter().position(|e| matches!(e, Event::Mark(Mark::Opened))).unwrap_or(usize::MAX);
        self.tally.twice += 1;
        if second.at <= opened {
            self.tally.in_recovery += 1;
        } else {
            expect.must_stay(&life.found);
        }
        apply(&mut expect, &events, second.at);
        let (image, damage) = cut(&image, &events, second, self.plan.file_system.superblocks(), luck);
        self.tally.add(second, damage);
        let task = Task { verify: true, stop: true, ..self.task(luck, STEPS / 20) };
        self.look(&image, &expect, task, &format!("{first:?} {second:?} (open at {opened})"))?;
        Ok(())
    }

    /// Opens what a cut left. `None`: it was wrong, and is noted.
    fn look(
        &mut self,
        image: &Image,
        expect: &Expect,
        task: Task,
        what: &str,
    ) -> Result<Option<(Vec<Event>, Life)>> {
        self.tally.demanded += expect.demanded() as u64;
        let device = Device::new(image.clone());
        let (events, wrong, life) = match self.life(&device, task) {
            Err(error) => (Vec::new(), vec![format!("{error:#}")], Life::default()),
            Ok((events, life)) => match &life.problem {
                Some(problem) => (events, vec![problem.clone()], life),
                None => (events, expect.check(&life.found), life),
            },
        };
        if wrong.is_empty() {
            return Ok(Some((events, life)));
        }
        self.tally.failed += 1;
        if let Some(dir) = &self.plan.keep_failed {
            let name =
                format!("{}-{}-{}.img", self.plan.file_system.name(), self.plan.seed, self.tally.trials);
            image.store(&dir.join(&name)).with_context(|| name.clone())?;
            std::fs::write(
                dir.join(&name).with_extension("txt"),
                format!("{what}\n{}\n{}", wrong.join("\n"), life.complaints),
            )?;
        }
        if self.tally.failures.len() < TOLD_MAX {
            let shown: Vec<_> = wrong.iter().take(5).cloned().collect();
            let (lives, trial) = (self.tally.lives, self.tally.trials);
            self.tally.failures.push(format!(
                "trial {trial} in life {lives}, {what}: {} wrong: {}",
                wrong.len(),
                shown.join("; ")
            ));
        }
        Ok(None)
    }

    /// Just after somebody was told something, or just before a flush, or anywhere; the second time half of the cuts
    /// come before the logs were open.
    fn any_cut(&self, events: &[Event], is_second: bool, luck: &mut StdRng) -> Cut {
        let opened = events.iter().position(|e| matches!(e, Event::Mark(Mark::Opened)));
        let end = opened.filter(|_| is_second && luck.random()).unwrap_or(events.len());
        let places = |wanted: fn(&Event) -> bool, shift: usize| -> Vec<usize> {
            let all = events[..end].iter().enumerate();
            all.filter(|(_, event)| wanted(event)).map(|(i, _)| i + shift).collect()
        };
        let told = |e: &Event| {
            matches!(e, Event::Mark(Mark::Acknowledged(..) | Mark::Audited(..) | Mark::Synced(..)))
        };
        let among = match luck.random_range(0..3) {
            0 => places(told, 1),
            1 => places(|e| matches!(e, Event::Flush), 0),
            _ => Vec::new(),
        };
        Cut {
            at: among.choose(luck).copied().unwrap_or_else(|| luck.random_range(0..=end)),
            kept_percent: KEPT_PERCENT.choose(luck).copied().unwrap_or(0),
            is_torn: luck.random(),
        }
    }
}

fn sound(life: &Life) -> Result<()> {
    match &life.problem {
        Some(problem) => bail!("without a power cut: {problem}"),
        None => Ok(()),
    }
}

/// What was said before the cut must hold, and what was begun at any time may.
fn apply(expect: &mut Expect, events: &[Event], at: usize) {
    for (i, event) in events.iter().enumerate() {
        let Event::Mark(mark) = event else { continue };
        if i < at { expect.must(*mark) } else { expect.may(*mark) }
    }
}
