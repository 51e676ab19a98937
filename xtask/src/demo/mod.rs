//! `cargo xtask demo`: the whole way on one machine. A simulated hospital sends HL7 to a gateway, which keeps it
//! encrypted and forwards it over mutual TLS to a landing, which writes tables: all of it as it came into `lake`
//! (policy `treatment`), without identifiers into `research` (policy `safe-harbor`).
//!
//! A person's own HL7 on the MLLP port goes the same way. With `--seconds` it drains and ends by itself; its
//! summary counts the rows in the tables, not what the programs believe, and `lost` or `duplicated` other than 0
//! is a failure.

mod figures;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::figures::Account;
pub(crate) use self::figures::Progress;
use crate::binaries::{self, Profile};
use crate::child::Child;
use crate::landed::{self, Counter};
use crate::site::{DESTINATIONS, Ports, Running, Site};
use crate::stop::Stop;

/// Between two lines of progress.
const TICK: Duration = Duration::from_secs(1);
/// How long the backlog may stand still before the demo gives up on it.
const STALLED: Duration = Duration::from_secs(60);
/// How long the simulated hospital may take to end.
const HOSPITAL_END: Duration = Duration::from_secs(40);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after so many seconds, drained; without it Ctrl-C ends
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Where everything is kept; a run in the same folder goes on where the last one ended [default: a fresh folder]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Ports on loopback: P MLLP, P+1 UI, P+2 operations, P+3 landing [default: the first free from 12575 on]
    #[arg(long, value_name = "P")]
    port_base: Option<u16>,
    /// Send the files in this folder, and below it, instead of a simulated hospital
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    /// The last line of standard output is the summary as JSON; the rest goes to standard error
    #[arg(long)]
    json: bool,
    /// Messages a second of the simulated hospital
    #[arg(long, value_name = "R", default_value_t = 50)]
    rate: u32,
    /// Seed of the simulated hospital
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

impl Args {
    /// What is for people.
    fn say(&self, line: &str) {
        if self.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let replay = args.replay.as_deref().map(folder_with_files).transpose()?;
    let ports = Ports::choose(args.port_base)?;
    let built = Instant::now();
    let programs = binaries::build(Profile::Dev)?;
    args.say(&format!("built in {:.0} s", built.elapsed().as_secs_f64()));
    let stop = Stop::on_signals()?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("wardgate-demo-{}", std::process::id())),
    };
    let site = Site::prepare(&dir, ports, programs)?;
    let mut running = site.start()?;
    introduce(args, &site);

    let mut hospital = Hospital::start(args, &site, replay)?;
    let lines = Lines::start(args, &site);
    let until = args.seconds.map(|seconds| lines.begun + Duration::from_secs(seconds));
    let mut tick = lines.begun;
    while !stop.asked() {
        tick += TICK;
        // Past the end, when files are still being sent, the ticks go on.
        stop.sleep_until(until.filter(|until| *until > Instant::now()).map_or(tick, |until| until.min(tick)));
        running.still_runs()?;
        hospital.still_well()?;
        lines.say(&Progress::read(&running.status()?));
        if until.is_some_and(|until| Instant::now() >= until) && !hospital.must_finish()? {
            break;
        }
    }

    args.say("the hospital falls silent; draining");
    let acknowledged = hospital.end()?;
    let last = drain(args, &lines, &mut running)?;
    running.stop()?;
    drop(lines);
    summarise(args, &site, &last, acknowledged)
}

fn introduce(args: &Args, site: &Site) {
    let Ports { mllp, ui, operations, landing } = site.ports;
    let mut claim = site.wardgate("claim-code");
    let claim = crate::shell::output(claim.arg("--config").arg(site.gateway_config()))
        .unwrap_or_else(|_| "none: this box was claimed in an earlier run".to_owned());
    let [lake, research] = DESTINATIONS.map(|(name, _)| site.tables(name).display().to_string());
    args.say(&format!(
        "\n\
         UI          https://127.0.0.1:{ui}   (self-signed certificate)\n\
         claim code  {}\n\
         MLLP        127.0.0.1:{mllp}   send your own: {} send --to 127.0.0.1:{mllp} FILE…\n\
         status      http://127.0.0.1:{operations}/status   (also /metrics, /healthz, /readyz)\n\
         landing     https://127.0.0.1:{landing}   (mutual TLS)\n\
         folder      {}   (logs in logs/)\n\
         \n\
         Everything as it came, and without identifiers, as Delta Lake tables:\n\
         \x20 pip install polars deltalake\n\
         \x20 python3 -c \"import polars as pl; print(pl.read_delta('{lake}/raw').select('record_id', 'message_type', 'payload'))\"\n\
         \x20 python3 -c \"import polars as pl; print(pl.read_delta('{research}/raw').select('record_id', 'message_type', 'payload'))\"\n\
         \x20 duckdb -c \"INSTALL delta; LOAD delta; SELECT first, last, rows, skipped FROM delta_scan('{lake}/ledger')\"\n",
        claim.trim(),
        site.wardgate("").get_program().to_string_lossy(),
        site.dir.display(),
    ));
    if args.seconds.is_none() {
        args.say("Ctrl-C ends the demo, drained.\n");
    }
}

/// The lines of progress. `rows` are counted in the tables, a moment later than the rest.
struct Lines<'a> {
    args: &'a Args,
    begun: Instant,
    counter: Counter,
}

impl<'a> Lines<'a> {
    fn start(args: &'a Args, site: &Site) -> Self {
        let [(lake, _), _] = DESTINATIONS;
        args.say(
            "          received   durable   delivered   backlog      rows   (delivered and rows: to lake)",
        );
        Self { args, begun: Instant::now(), counter: Counter::start(site, lake) }
    }

    fn say(&self, progress: &Progress) {
        let [(lake, _), _] = DESTINATIONS;
        let mut line = format!(
            "{:>6.0} s   {:>7}   {:>7}     {:>7}   {:>7}   {:>7}",
            self.begun.elapsed().as_secs_f64(),
            progress.received,
            progress.durable,
            progress.destination(lake).delivered,
            progress.backlog(),
            self.counter.rows()
        );
        for destination in &progress.destinations {
            if let Some(why) = &destination.trouble {
                line.push_str(&format!("   {}: {why}", destination.name));
            }
        }
        self.args.say(&line);
    }
}

/// Waits until nothing is left to deliver, or nothing has moved for [`STALLED`].
fn drain(args: &Args, lines: &Lines<'_>, running: &mut Running<'_>) -> Result<Progress> {
    let mut moved = Instant::now();
    let mut before = u64::MAX;
    loop {
        running.still_runs()?;
        let progress = Progress::read(&running.status()?);
        if progress.backlog() == 0 {
            lines.say(&progress);
            return Ok(progress);
        }
        if progress.backlog() < before {
            before = progress.backlog();
            moved = Instant::now();
        }
        if moved.elapsed() > STALLED {
            lines.say(&progress);
            args.say("the backlog stands still: going on to the count");
            return Ok(progress);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn summarise(args: &Args, site: &Site, last: &Progress, acknowledged: Option<u64>) -> Result<()> {
    let (mut accounts, mut disagreements) = (Vec::new(), Vec::new());
    for (name, _) in DESTINATIONS {
        let landed = landed::read(site, name)?;
        disagreements.extend(landed::verify(site, name).err());
        accounts.push((name, Account::of(last.durable, last.destination(name).held, landed)));
    }
    // What the hospital was told is safe, and the gateway does not have.
    let vanished = acknowledged.map_or(0, |count| count.saturating_sub(last.accepted + last.duplicates));
    let (_, mut first) = accounts.first().copied().context("there is no destination")?;
    first.lost += vanished;
    let mut summary = first.json();
    if let Value::Object(summary) = &mut summary {
        summary.insert("received".to_owned(), json!(last.received));
        summary.insert("durable".to_owned(), json!(last.durable));
        summary.insert("acknowledged".to_owned(), json!(acknowledged));
        summary.insert("resent".to_owned(), json!(last.duplicates));
        let each = accounts.iter().map(|(name, account)| ((*name).to_owned(), account.json()));
        summary.insert("destinations".to_owned(), Value::Object(each.collect()));
        summary.insert("dir".to_owned(), json!(site.dir));
    }
    args.say(&format!(
        "\nreceived {}   durable {}   resent {}   ({})",
        last.received,
        last.durable,
        last.duplicates,
        site.dir.display()
    ));
    for (name, account) in &accounts {
        args.say(&format!(
            "{name:<9} delivered {}   rows {}   skipped {}   held {}   lost {}   duplicated {}",
            account.delivered, account.rows, account.skipped, account.held, account.lost, account.duplicated
        ));
    }
    if args.json {
        println!("{summary}");
    } else {
        let keys = ["received", "durable", "delivered", "rows", "skipped", "lost", "duplicated", "held"];
        let words: Vec<String> =
            keys.iter().map(|key| format!("{key}={}", summary.get(key).unwrap_or(&Value::Null))).collect();
        println!("summary: {}", words.join(" "));
    }
    if let Some(disagreement) = disagreements.pop() {
        return Err(disagreement);
    }
    let wrong = |account: &Account| account.lost != 0 || account.duplicated != 0;
    if wrong(&first) || accounts.iter().any(|(_, account)| wrong(account)) {
        bail!("records were lost or duplicated; everything is still in {}", site.dir.display());
    }
    Ok(())
}

/// Who sends: a simulated hospital, or the files of a folder.
#[derive(Debug)]
struct Hospital {
    child: Child,
    /// The files are sent to their end; the simulation ends when we say so.
    replays: bool,
    /// How it ended, once it has.
    finished: bool,
}

impl Hospital {
    fn start(args: &Args, site: &Site, replay: Option<PathBuf>) -> Result<Self> {
        let to = format!("127.0.0.1:{}", site.ports.mllp);
        let logs = site.dir.join("logs");
        let replays = replay.is_some();
        let (name, command): (_, Command) = if let Some(folder) = replay {
            args.say(&format!("sending the files below {}", folder.display()));
            let mut send = site.wardgate("send");
            send.args(["--to", &to, "--json"]).arg(folder);
            ("send", send)
        } else {
            let mut simulate = site.wardgate("simulate");
            simulate.args(["--to", &to, "--json"]);
            simulate.args(["--rate", &args.rate.to_string(), "--seed", &args.seed.to_string()]);
            ("hospital", simulate)
        };
        Ok(Self { child: Child::start(name, &command, &logs)?, replays, finished: false })
    }

    /// An error if it ended badly.
    fn still_well(&mut self) -> Result<()> {
        if !self.finished
            && let Some(status) = self.child.ended()?
        {
            self.finished = true;
            match (status.success(), self.replays) {
                (true, _) => {}
                // What was refused is the sender's business, and not lost: it was never acknowledged.
                (false, true) => eprintln!("not everything was accepted; {}", self.child.tail()),
                (false, false) => bail!("the simulated hospital ended with {status}; {}", self.child.tail()),
            }
        }
        Ok(())
    }

    /// Whether it still has files to send.
    fn must_finish(&mut self) -> Result<bool> {
        Ok(self.replays && self.child.ended()?.is_none())
    }

    /// Ends it; how many messages were acknowledged to it, if it says so.
    fn end(mut self) -> Result<Option<u64>> {
        if self.child.ended()?.is_none() {
            self.child.stop(HOSPITAL_END)?;
        }
        let printed = self.child.printed()?;
        let last = printed.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
        let report: Option<Value> = serde_json::from_str(last).ok();
        Ok(report.and_then(|report| report.get("acknowledged")?.as_u64()))
    }
}

/// The folder, if there is something in it to send.
fn folder_with_files(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().with_context(|| format!("--replay {}", dir.display()))?;
    let mut dirs = vec![dir.clone()];
    while let Some(next) = dirs.pop() {
        let entries = std::fs::read_dir(&next).with_context(|| format!("--replay {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                return Ok(dir);
            } else if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            }
        }
    }
    bail!("--replay {}: no files there", dir.display())
}
