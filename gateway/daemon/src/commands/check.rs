//! `wardgate check`: everything that is wrong with a configuration, in one run.

use std::path::Path;

use control::Document;
use forward::Destination as _;
use forward::check::Report;
use model::{Clock as _, Slug};
use serde::Serialize;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::print;
use crate::clock::SystemClock;
use crate::exit::{self, NotReachable};

pub(crate) fn check(file: Option<&Path>, as_json: bool, schema: bool, connect: bool) -> anyhow::Result<()> {
    if schema {
        return print(&format!("{}\n", serde_json::to_string_pretty(&control::schema())?));
    }
    let file = file.unwrap_or(Path::new("/etc/wardgate/gateway.toml"));
    let mut reports = Vec::new();
    let (findings, warnings) = match control::check_file(file, SystemClock.now()) {
        Ok(checked) => {
            let dates = checked.certificate_warnings(SystemClock.now());
            if connect {
                reports = super::runtime()?.block_on(try_all(&checked.document))?;
            }
            (Vec::new(), checked.warnings.into_iter().chain(dates).collect())
        }
        Err(findings) => (findings, Vec::new()),
    };
    if as_json {
        print(&format!(
            "{}\n",
            json!({
                "ok": findings.is_empty() && reports.iter().all(|r| r.report.passed()),
                "findings": findings,
                "warnings": warnings,
                "destinations": reports,
            })
        ))?;
    } else {
        print(&control::render(&findings))?;
        let warned = control::render(&warnings);
        print(
            &warned
                .lines()
                .map(|l| if l.starts_with(' ') { format!("{l}\n") } else { format!("warning: {l}\n") })
                .collect::<String>(),
        )?;
        if findings.is_empty() {
            print(&format!("{}: fine\n", file.display()))?;
        }
        for Tried { name, report } in &reports {
            print(&format!("\n{name}\n{report}"))?;
        }
    }
    if !findings.is_empty() {
        return Err(exit::Printed.into());
    }
    let away: Vec<&str> = reports.iter().filter(|r| !r.report.passed()).map(|r| r.name.as_str()).collect();
    if away.is_empty() { Ok(()) } else { Err(NotReachable(format!("{}: see above", away.join(", "))).into()) }
}

/// How the way to a destination is.
#[derive(Debug, Serialize)]
struct Tried {
    name: Slug,
    #[serde(flatten)]
    report: Report,
}

async fn try_all(document: &Document) -> anyhow::Result<Vec<Tried>> {
    let tasks = TaskTracker::new();
    let mut reports = Vec::new();
    for destination in &document.destinations {
        let Some(kind) = destination.kind() else { continue };
        let report = kind.build(&destination.name, &tasks)?.test().await;
        reports.push(Tried { name: destination.name.clone(), report });
    }
    Ok(reports)
}
