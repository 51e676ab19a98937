//! The subject as a process: one life, from its start to its end, and what it said.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::device::Device;
use crate::expect::{Found, Mark, Said};
use crate::subject::{Kind, Task};

/// Longer than any life takes on a slow machine.
const LIFE_MAX: Duration = Duration::from_secs(120);

/// What a life was like.
#[derive(Debug, Default)]
pub struct Life {
    /// What it found when it opened.
    pub found: Vec<Found>,
    /// What it was told, in order.
    pub marks: Vec<Mark>,
    /// Why it ended otherwise than it should have.
    pub problem: Option<String>,
    /// What it complained about.
    pub complaints: String,
}

/// A failure of system calls that `strace` causes.
#[derive(Debug, Clone)]
pub struct Injection(pub String);

/// Runs a subject to its end. What it says is noted in the record of `device` at once.
pub fn live(task: &Task, device: Option<&Device>, injection: Option<&Injection>) -> Result<Life> {
    let lie = Injection("fdatasync:retval=0".to_owned());
    let injection = if task.kind == Kind::SpoolUnsynced { Some(&lie) } else { injection };
    let mut child = command(task, injection)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("a subject does not start")?;
    let mut go = child.stdin.take().context("stdin")?;
    let lines = BufReader::new(child.stdout.take().context("stdout")?);
    let mut complaints = child.stderr.take().context("stderr")?;
    let listener = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is not said.
        drop(complaints.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let (ended, guard) = watch(child);
    let mut life = Life::default();
    for line in lines.lines() {
        match line?.parse()? {
            Said::Found(found) => life.found.push(found),
            Said::Mark(mark) => {
                if let Some(device) = device {
                    device.mark(mark);
                }
                life.marks.push(mark);
                if matches!(mark, Mark::Freeing(..)) {
                    // It waits; if it has ended meanwhile, that is seen below.
                    drop(go.write_all(b"go\n"));
                }
            }
        }
    }
    life.complaints = listener.join().unwrap_or_default();
    let status = guard.lock().unwrap().wait()?;
    drop(ended);
    if !status.success() {
        life.problem = Some(format!("it ended with {status}: {}", life.complaints.trim()));
    } else if !life.marks.contains(&Mark::Opened) {
        life.problem = Some("it ended before it had opened".to_owned());
    }
    Ok(life)
}

/// Kills it when it takes too long.
fn watch(child: Child) -> (std::sync::mpsc::SyncSender<()>, Arc<Mutex<Child>>) {
    let child = Arc::new(Mutex::new(child));
    let (ended, wait) = sync_channel::<()>(1);
    let watched = Arc::clone(&child);
    std::thread::spawn(move || {
        if wait.recv_timeout(LIFE_MAX) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a subject hangs and is killed");
            drop(watched.lock().unwrap().kill());
        }
    });
    (ended, child)
}

fn command(task: &Task, injection: Option<&Injection>) -> Result<Command> {
    let exe = std::env::current_exe()?;
    let mut command = match injection {
        None => Command::new(exe),
        Some(Injection(what)) => {
            let mut strace = Command::new("strace");
            let name = what.split(':').next().unwrap_or_default();
            // What it would print goes nowhere; the other calls run at full speed.
            strace.args(["-f", "-qqq", "--seccomp-bpf", "-o", "/dev/null"]);
            strace.args(["-e", &format!("trace={name}"), "-e", &format!("inject={what}")]);
            strace.arg(exe);
            strace
        }
    };
    command.arg("subject").args(words(task));
    Ok(command)
}

fn words(task: &Task) -> Vec<String> {
    let path = |path: &Path| path.to_str().unwrap_or_default().to_owned();
    let mut words = vec!["--dir".to_owned(), path(&task.dir)];
    words.extend(["--kind".to_owned(), task.kind.name().to_owned()]);
    for (name, number) in [("--seed", task.seed), ("--first", task.first), ("--steps", task.steps)] {
        words.extend([name.to_owned(), number.to_string()]);
    }
    if let Some(pages) = task.fill {
        words.extend(["--fill".to_owned(), pages.to_string()]);
    }
    let flags = [("--verify", task.verify), ("--stop", task.stop), ("--refusals", task.refusals)];
    words.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned()));
    words
}
