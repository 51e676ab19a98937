//! `wardgate check`: everything that is wrong with a configuration, in one run.

use std::path::Path;

use model::Clock as _;
use serde_json::json;

use super::print;
use crate::clock::SystemClock;
use crate::exit;

pub(crate) fn check(file: Option<&Path>, as_json: bool, schema: bool) -> anyhow::Result<()> {
    if schema {
        return print(&format!("{}\n", serde_json::to_string_pretty(&control::schema())?));
    }
    let file = file.unwrap_or(Path::new("/etc/wardgate/gateway.toml"));
    let (findings, warnings) = match control::check_file(file) {
        Ok(checked) => {
            let dates = checked.certificate_warnings(SystemClock.now());
            (Vec::new(), checked.warnings.into_iter().chain(dates).collect())
        }
        Err(findings) => (findings, Vec::new()),
    };
    if as_json {
        print(&format!(
            "{}\n",
            json!({ "ok": findings.is_empty(), "findings": findings, "warnings": warnings })
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
    }
    if findings.is_empty() { Ok(()) } else { Err(exit::Printed.into()) }
}
