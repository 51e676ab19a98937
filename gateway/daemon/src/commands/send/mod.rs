//! `wardgate send`: an MLLP client with progress.
//!
//! **Promise.** The messages of a file go one after the other, each when the one before is settled; several connections
//! take different files. What is not answered is sent again, the very same bytes, on a new connection. With `--resume`
//! an interrupted run goes on behind the last message that was settled.
//!
//! **Limits.** [`CONNECTIONS_MAX`] connections; files of up to [`FILE_BYTES_MAX`] bytes, one per connection in memory;
//! folders [`DEPTH_MAX`] deep.

mod progress;
mod resume;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use forward::mllp::client::ClientError;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use self::progress::Progress;
use self::resume::Resume;
use super::print;
use crate::cli;
use crate::dial::{Dialler, Line};
use crate::exit::{self, NotReachable};

/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 16;
/// Most connections.
const CONNECTIONS_MAX: usize = 64;
/// Largest file; cut larger ones up.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Pause before a message that was not answered goes again; it doubles, up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Standard input, as a file.
const STDIN: &str = "-";

/// What to do, from the command line.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) to: String,
    pub(crate) tls: cli::Tls,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) connections: usize,
    pub(crate) rate: f64,
    pub(crate) retries: u32,
    pub(crate) resume: Option<PathBuf>,
    pub(crate) timeout_s: u64,
    pub(crate) json: bool,
}

struct Work {
    files: Vec<PathBuf>,
    next: AtomicUsize,
    dialler: Dialler,
    retries: u32,
    pace: Option<Mutex<Interval>>,
    progress: Progress,
    resume: Option<Resume>,
}

pub(crate) async fn send(plan: Plan) -> anyhow::Result<()> {
    ensure!((1..=CONNECTIONS_MAX).contains(&plan.connections), "--connections is 1 to {CONNECTIONS_MAX}");
    ensure!(plan.rate.is_finite() && plan.rate >= 0.0, "--rate is 0 or more messages a second");
    let timeout = Duration::from_secs(plan.timeout_s.max(1));
    let dialler = Dialler::new(&plan.to, &plan.tls, timeout, timeout)?;
    let mut files = Vec::new();
    let mut bytes = Some(0_u64);
    for path in &plan.files {
        if path.as_os_str() == STDIN {
            files.push(path.clone());
            bytes = None;
        } else {
            collect(path, 0, &mut files, &mut bytes)?;
        }
    }
    files.sort();
    files.dedup();
    let resume = plan.resume.as_deref().map(Resume::open).transpose()?;
    // Found out before anything is read.
    let first = dialler.dial().await?;
    let connections = plan.connections.min(files.len().max(1));
    let pace = (plan.rate > 0.0).then(|| {
        let every = Duration::from_secs_f64(1.0 / plan.rate).max(Duration::from_micros(50));
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Mutex::new(ticks)
    });
    let progress = Progress::new(files.len(), bytes, plan.json);
    let work =
        Work { files, next: AtomicUsize::new(0), dialler, retries: plan.retries, pace, progress, resume };
    let work = std::sync::Arc::new(work);
    let mut tasks = JoinSet::new();
    let mut line = Some(first);
    for _ in 0..connections {
        let (work, line) = (std::sync::Arc::clone(&work), line.take());
        tasks.spawn(async move { work.connection(line).await });
    }
    let shown = tokio::select! {
        outcome = all(&mut tasks) => outcome,
        () = work.progress.show() => Ok(()),
    };
    tasks.shutdown().await;
    let summary = work.progress.finish();
    print(&if plan.json { format!("{}\n", summary.json()) } else { format!("{summary}\n") })?;
    shown?;
    if summary.sent == 0 && summary.resumed == 0 {
        anyhow::bail!("no message in the input: a message begins with MSH at the start of a line");
    }
    if summary.refused == 0 { Ok(()) } else { Err(exit::Printed.into()) }
}

/// The first failure ends all.
async fn all(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(joined) = tasks.join_next().await {
        joined??;
    }
    Ok(())
}

impl Work {
    /// Takes one file after the other.
    async fn connection(&self, mut line: Option<Line>) -> anyhow::Result<()> {
        loop {
            let Some(file) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
            let bytes = read(file).await?;
            let done = self.resume.as_ref().map_or(0, |r| r.done(file));
            for (index, message) in hl7::split(&bytes).enumerate() {
                let number = index as u64 + 1;
                if number <= done {
                    self.progress.resumed(message.len());
                    continue;
                }
                if let Some(pace) = &self.pace {
                    pace.lock().await.tick().await;
                }
                self.message(&mut line, file, number, message).await?;
                if let Some(resume) = &self.resume {
                    resume.settled(file, number)?;
                }
            }
            self.progress.file();
        }
    }

    /// One message, until it is settled.
    async fn message(
        &self,
        line: &mut Option<Line>,
        file: &Path,
        number: u64,
        message: &[u8],
    ) -> anyhow::Result<()> {
        let place = || format!("{}: message {number}", file.display());
        let mut pause = PAUSE.0;
        for attempt in 0..=self.retries {
            let why = match self.attempt(line, message).await {
                Ok(None) => {
                    self.progress.unanswered(message.len());
                    return Ok(());
                }
                Ok(Some(answer)) if answer.code().is_positive() => {
                    self.progress.acknowledged(message.len());
                    return Ok(());
                }
                Ok(Some(answer)) => {
                    let (code, text) = (answer.code().as_str(), answer.text().unwrap_or_default());
                    self.progress.refused(message.len(), &format!("{}: {code} {text}", place()));
                    return Ok(());
                }
                // The file holds bytes that MLLP cannot carry; the connection is as good as before.
                Err(e) if matches!(e.downcast_ref(), Some(ClientError::Unframeable)) => {
                    self.progress.refused(message.len(), &format!("{}: not sent: {e}", place()));
                    return Ok(());
                }
                // Over TLS 1.3 a receiver says only now that it does not like our certificate.
                Err(e) => {
                    tls::explain_chain(&*e, "the receiver").map_or_else(|| e.to_string(), |e| e.to_string())
                }
            };
            if attempt == self.retries {
                return Err(NotReachable(format!("{}: {why}; given up", place())).into());
            }
            self.progress.again(&format!("{}: {why}; sent again in {} ms", place(), pause.as_millis()));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        Ok(())
    }

    /// Sends it on a connection on which its answer can be told from every other.
    async fn attempt(
        &self,
        line: &mut Option<Line>,
        message: &[u8],
    ) -> anyhow::Result<Option<forward::mllp::client::Answer>> {
        let mut standing = line.take();
        let usable = standing.as_mut().is_some_and(|open| open.can_send(message));
        let mut open = match standing.filter(|_| usable) {
            Some(open) => open,
            None => self.dialler.dial().await?,
        };
        let answer = open.deliver(message).await;
        for late in open.take_late().iter().filter(|late| !late.code().is_positive()) {
            self.progress.again(&format!("an error reported later: {}", late.reason()));
        }
        if !matches!(answer, Err(ref e) if !matches!(e, ClientError::Unframeable)) {
            *line = Some(open);
        }
        Ok(answer?)
    }
}

async fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let file = file.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let read = if file.as_os_str() == STDIN {
            std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(&file).and_then(|f| f.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        };
        read.with_context(|| file.display().to_string())?;
        ensure!(
            bytes.len() as u64 <= FILE_BYTES_MAX,
            "{}: larger than {FILE_BYTES_MAX} bytes; cut it up",
            file.display()
        );
        Ok(bytes)
    })
    .await?
}

fn collect(
    path: &Path,
    depth: usize,
    files: &mut Vec<PathBuf>,
    bytes: &mut Option<u64>,
) -> anyhow::Result<()> {
    let kind = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    if kind.is_file() {
        files.push(path.to_owned());
        *bytes = bytes.map(|b| b.saturating_add(kind.len()));
    } else if kind.is_dir() {
        ensure!(depth < DEPTH_MAX, "{}: deeper than {DEPTH_MAX} folders", path.display());
        for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
            collect(&entry?.path(), depth + 1, files, bytes)?;
        }
    } else {
        return Err(anyhow!("{}: neither a file nor a folder", path.display()));
    }
    Ok(())
}
