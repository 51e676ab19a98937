//! What stands in the tables, as the landing's own reader counts it.

use anyhow::{Context, Result};
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
