//! How far a run of `wardgate send` is: a line that changes on a terminal, a line now and then elsewhere, nothing with
//! `--json`. Findings go to standard error, the summary to standard output.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// How often the line on a terminal changes.
const REDRAW: Duration = Duration::from_millis(200);
/// How often a line is written elsewhere.
const REPORT: Duration = Duration::from_secs(10);
/// To the end of the line.
const ERASE: &str = "\r\x1b[K";

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Summary {
    files: usize,
    pub(super) sent: u64,
    acknowledged: u64,
    unanswered: u64,
    pub(super) refused: u64,
    repeated: u64,
    pub(super) resumed: u64,
    bytes: u64,
    seconds: f64,
}

impl Summary {
    pub(super) fn json(&self) -> Value {
        json!({
            "files": self.files,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "unanswered": self.unanswered,
            "refused": self.refused,
            "repeated": self.repeated,
            "resumed": self.resumed,
            "seconds": self.seconds,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, sent, acknowledged, refused, seconds, .. } = self;
        write!(f, "{files} files: sent {sent}, acknowledged {acknowledged}, refused {refused}")?;
        for (count, what) in [
            (self.unanswered, "asked for no answer"),
            (self.repeated, "attempts repeated"),
            (self.resumed, "settled by an earlier run"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, " in {seconds:.1} s")
    }
}

#[derive(Debug)]
struct State {
    summary: Summary,
    /// The line on the terminal stands there.
    drawn: bool,
}

#[derive(Debug)]
pub(super) struct Progress {
    state: Mutex<State>,
    /// Of all files; unknown with standard input.
    bytes: Option<u64>,
    files: usize,
    began: Instant,
    quiet: bool,
    terminal: bool,
}

#[expect(
    clippy::print_stderr,
    reason = "progress and findings are for the person; standard output is the summary"
)]
impl Progress {
    pub(super) fn new(files: usize, bytes: Option<u64>, quiet: bool) -> Self {
        Self {
            state: Mutex::new(State { summary: Summary::default(), drawn: false }),
            bytes,
            files,
            began: Instant::now(),
            quiet,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn file(&self) {
        self.state().summary.files += 1;
    }

    fn settled(&self, bytes: usize, count: impl FnOnce(&mut Summary) -> &mut u64) {
        let mut state = self.state();
        state.summary.sent += 1;
        state.summary.bytes += bytes as u64;
        *count(&mut state.summary) += 1;
    }

    pub(super) fn acknowledged(&self, bytes: usize) {
        self.settled(bytes, |s| &mut s.acknowledged);
    }

    /// It asked for no answer, and the receiver has read to the end.
    pub(super) fn unanswered(&self, bytes: usize) {
        self.settled(bytes, |s| &mut s.unanswered);
    }

    pub(super) fn refused(&self, bytes: usize, finding: &str) {
        self.settled(bytes, |s| &mut s.refused);
        self.say(finding);
    }

    /// An earlier run has settled it.
    pub(super) fn resumed(&self, bytes: usize) {
        let mut state = self.state();
        state.summary.resumed += 1;
        state.summary.bytes += bytes as u64;
    }

    /// An attempt that has to be repeated, or another remark.
    pub(super) fn again(&self, remark: &str) {
        self.state().summary.repeated += 1;
        self.say(remark);
    }

    fn say(&self, text: &str) {
        let mut state = self.state();
        // Answers of a stranger go to a terminal here.
        let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let erase = if std::mem::take(&mut state.drawn) { ERASE } else { "" };
        eprintln!("{erase}{clean}");
    }

    /// Shows progress for ever.
    pub(super) async fn show(&self) {
        if self.quiet {
            std::future::pending::<()>().await;
        }
        let every = if self.terminal { REDRAW } else { REPORT };
        loop {
            tokio::time::sleep(every).await;
            let mut state = self.state();
            let line = self.line(&state.summary, self.began.elapsed().as_secs_f64());
            if self.terminal {
                state.drawn = true;
                eprint!("{ERASE}{line}");
                let _best_effort = std::io::stderr().flush();
            } else {
                eprintln!("{line}");
            }
        }
    }

    fn line(&self, s: &Summary, seconds: f64) -> String {
        let seconds = seconds.max(0.001);
        let mut line = format!(
            "{} sent, {} acknowledged, {} refused, {:.0}/s",
            s.sent,
            s.acknowledged,
            s.refused,
            s.sent as f64 / seconds
        );
        if let (Some(total), true) = (self.bytes, s.bytes > 0) {
            let done = (s.bytes as f64 / total.max(1) as f64).min(1.0);
            let left = seconds * (1.0 - done) / done;
            line.push_str(&format!(", {:.0} %, {} left", done * 100.0, duration(left)));
        }
        line
    }

    /// The end: the summary.
    pub(super) fn finish(&self) -> Summary {
        let mut state = self.state();
        if std::mem::take(&mut state.drawn) {
            eprint!("{ERASE}");
        }
        let files = state.summary.files.min(self.files);
        Summary { files, seconds: self.began.elapsed().as_secs_f64(), ..state.summary }
    }
}

fn duration(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_fast_and_how_long() {
        let progress = Progress::new(2, Some(1_000), true);
        assert_eq!(progress.line(&progress.state().summary, 0.0), "0 sent, 0 acknowledged, 0 refused, 0/s");
        progress.acknowledged(150);
        progress.refused(100, "a finding\x1b[2J");
        let line = progress.line(&progress.state().summary, 50.0);
        assert_eq!(line, "2 sent, 1 acknowledged, 1 refused, 0/s, 25 %, 2 min 30 s left");
        progress.resumed(0);
        progress.unanswered(0);
        progress.file();
        let shown = Summary { seconds: 50.0, ..progress.finish() }.to_string();
        let expected = "1 files: sent 3, acknowledged 1, refused 1, 1 asked for no answer, 1 settled by an earlier run in 50.0 s";
        assert_eq!(shown, expected);
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }
}
