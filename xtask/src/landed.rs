//! What stands in the tables, as the landing's own reader counts it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;
use crate::site::Site;

/// The tables of one destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Landed {
    /// Rows of `raw`.
    pub(crate) rows: u64,
    /// Record names among them.
    pub(crate) distinct: u64,
    /// Rows that the ledger states.
    pub(crate) ledger_rows: u64,
    /// Records that the ledger skips, each with a reason.
    pub(crate) skipped: u64,
}

/// Reads them. The landing need not run.
pub(crate) fn read(site: &Site, destination: &str) -> Result<Landed> {
    let mut command = site.wardgate_landing("stat");
    let stat = shell::json(command.arg("--root").arg(site.tables(destination)).arg("--json"))?;
    parse(&stat).with_context(|| format!("wardgate-landing stat answered something else: {stat}"))
}

fn parse(stat: &Value) -> Option<Landed> {
    let number = |key: &str| stat.get(key)?.as_u64();
    Some(Landed {
        rows: number("rows")?,
        distinct: number("distinct")?,
        ledger_rows: number("ledger_rows")?,
        skipped: number("skipped")?,
    })
}

/// Has the tables checked against each other; an error tells the first findings.
pub(crate) fn verify(site: &Site, destination: &str) -> Result<()> {
    let mut command = site.wardgate_landing("verify");
    command.arg("--root").arg(site.tables(destination)).arg("--json");
    let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let verdict: Value = serde_json::from_slice(&out.stdout)
        .with_context(|| format!("wardgate-landing verify ended with {} and printed no JSON", out.status))?;
    if out.status.success() && verdict.get("ok") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    bail!(
        "the tables of {destination} do not agree with each other: {}",
        verdict.get("findings").unwrap_or(&verdict)
    )
}

/// Counts the rows of `raw` in the background, for a display: the last count, not the latest moment.
#[derive(Debug)]
pub(crate) struct Counter {
    rows: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Shortest time between two counts.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// A count takes time in proportion to the table: it may take one part in so many.
const COUNT_SHARE: u32 = 4;

impl Counter {
    /// Starts to count.
    pub(crate) fn start(site: &Site, destination: &str) -> Self {
        let mut command = site.wardgate_landing("stat");
        command.arg("--root").arg(site.tables(destination)).arg("--json");
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let (rows, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (rows_too, stop_too) = (Arc::clone(&rows), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stop_too.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if let Some(landed) = count(&mut command) {
                    rows_too.store(landed.rows, Ordering::Relaxed);
                }
                let next = begun + COUNT_EVERY.max(begun.elapsed() * COUNT_SHARE);
                while Instant::now() < next && !stop_too.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { rows, stop, thread: Some(thread) }
    }

    /// The last count.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

/// `None` while the tables are not there yet, or are just being written.
fn count(command: &mut Command) -> Option<Landed> {
    let out = command.output().ok()?;
    parse(&serde_json::from_slice(&out.stdout).ok()?)
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked in a way that matters here: its count is only for display.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_without_a_number_is_none() {
        let whole = serde_json::json!({"rows": 3, "distinct": 2, "ledger_rows": 3, "skipped": 1, "more": []});
        assert_eq!(parse(&whole), Some(Landed { rows: 3, distinct: 2, ledger_rows: 3, skipped: 1 }));
        assert_eq!(parse(&serde_json::json!({"rows": 3})), None);
    }
}
