//! A program that runs beside the test. It ends with the test, however that ends.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::PATIENCE;

/// How much of a log stands in a failure, in bytes.
const TAIL_BYTES: usize = 3_000;

/// A running program. Start it from the test's own thread: it ends with that thread.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it. Standard error is added to `logs/NAME.log`, standard output to `logs/NAME.out`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start(name: &str, program: &Path, arguments: &[&str], dir: &Path, logs: &Path) -> Self {
        std::fs::create_dir_all(logs).unwrap();
        let log = logs.join(format!("{name}.log"));
        let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        // util-linux ties its life to ours, for a test that is itself killed.
        let mut command = if Path::new("/usr/bin/setpriv").is_file() {
            let mut command = Command::new("/usr/bin/setpriv");
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(append(&log.with_extension("out")))
            .stderr(append(&log));
        let child = command.spawn().unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// # Panics
    /// When it has ended, with the end of its log.
    #[track_caller]
    pub fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended with {status}\n{}", self.name, self.tail());
        }
    }

    /// `SIGKILL`, and waits for the end.
    pub fn kill(&mut self) {
        if self.runs() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    /// `SIGTERM`, and waits for an orderly end.
    ///
    /// # Panics
    /// When it ends otherwise or not at all.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert!(status.success(), "{} ended with {status} after SIGTERM\n{}", self.name, self.tail());
    }

    /// Stops it where it stands (`SIGSTOP`), like a machine that hangs.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Process::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends `SIGTERM` without waiting.
    pub fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "{} does not end\n{}", self.name, self.tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for its end; its exit code, or 128 and the signal.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let status = self.ended();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let text = self.log();
        let mut from = text.len().saturating_sub(TAIL_BYTES);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        format!("the end of {}:\n{}", self.log.display(), &text[from..])
    }

    /// All that it has logged, and those of this name before it.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        // It may just have ended.
        kill_process(pid, signal).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
