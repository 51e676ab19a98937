//! Programs that run beside us. Each has a log file and a process group of its own, so that Ctrl-C reaches
//! only us and we end them in order; dropping one ends it, and so does our own death.

use std::fs::{File, create_dir_all};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::shell;

/// What a dropped child gets before it is killed.
const DROP_GRACE: Duration = Duration::from_secs(3);
/// How much of a log stands in an error, in bytes.
const TAIL_BYTES: u64 = 2_000;

/// A running program.
#[derive(Debug)]
pub(crate) struct Child {
    name: &'static str,
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    /// Starts it. Standard error is added to `logs/NAME.log`; standard output replaces `logs/NAME.out`.
    ///
    /// Call it from the main thread: a child started by another ends when that thread ends.
    pub(crate) fn start(name: &'static str, command: &Command, logs: &Path) -> Result<Self> {
        create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let process = tied(command)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(log.with_extension("out"))?)
            .stderr(File::options().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("could not start {name}: `{}`", shell::shown(command)))?;
        Ok(Self { name, process, log })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has printed on standard output.
    pub(crate) fn printed(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.log.with_extension("out"))?)
    }

    /// `None` while it runs.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// An error with the end of its log, if it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; {}", self.name, self.tail()),
        }
    }

    /// The end of its log, for an error.
    pub(crate) fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        format!("the end of {} says:\n{}", self.log.display(), text.trim_end())
    }

    /// Asks it to end and waits; kills it after `grace`, which is an error.
    pub(crate) fn stop(&mut self, grace: Duration) -> Result<()> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM);
        }
        match self.wait(grace)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} ended with {status}; {}", self.name, self.tail()),
            None => {
                self.kill();
                bail!("{} did not end within {} s and was killed", self.name, grace.as_secs())
            }
        }
    }

    /// Waits at most `limit`; `None` if it still runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended: then there is nothing to signal.
            kill_process(pid, signal).ok();
        }
    }

    fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.ended(), Ok(None)) {
            self.signal(Signal::TERM);
            if !matches!(self.wait(DROP_GRACE), Ok(Some(_))) {
                self.kill();
            }
        }
    }
}

/// The same command, tied to our life where util-linux's `setpriv` can do that.
fn tied(command: &Command) -> Command {
    let mut tied = if shell::has("setpriv") {
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
        tied
    } else {
        Command::new(command.get_program())
    };
    tied.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        tied.current_dir(dir);
    }
    tied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-child-{name}-{}", std::process::id()))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn runs(id: u32) -> bool {
        Path::new("/proc").join(id.to_string()).exists()
    }

    #[test]
    fn a_dropped_child_ends() {
        let logs = logs("dropped");
        let child = Child::start("sleep", &shell("exec sleep 100"), &logs).unwrap();
        let id = child.id();
        assert!(runs(id));
        drop(child);
        assert!(!runs(id));
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn one_that_does_not_listen_is_killed_and_reported() {
        let logs = logs("deaf");
        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let mut child = Child::start("deaf", &shell(script), &logs).unwrap();
        while child.printed().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = child.stop(Duration::from_millis(100)).unwrap_err().to_string();
        assert!(error.contains("was killed") && !runs(child.id()), "{error}");
        std::fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn one_that_fails_is_reported_with_the_end_of_its_log() {
        let logs = logs("failing");
        let mut child = Child::start("failing", &shell("echo the disk is full >&2; exit 3"), &logs).unwrap();
        while child.ended().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let error = child.still_runs().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("the disk is full"), "{error}");
        assert!(child.stop(Duration::from_secs(1)).is_err());
        std::fs::remove_dir_all(logs).unwrap();
    }
}
