//! `wardgate spool`: the logs on the disk, read only; works beside a running gateway.

use ::spool::{Fault, RootKey, stat, verify};

use super::{checked, print};
use crate::cli::Spool;
use crate::exit;
use crate::wiring::SPOOL_DIR;

pub(crate) fn spool(command: Spool) -> anyhow::Result<()> {
    match command {
        Spool::Stat { config, json } => {
            let document = checked(&config.config)?.document;
            let stat = stat(&document.gateway.data_dir.join(SPOOL_DIR))?;
            if json {
                return print(&format!("{}\n", serde_json::to_string(&stat)?));
            }
            print(&table(&stat.logs))
        }
        Spool::Verify { config, without_key, json } => {
            let document = checked(&config.config)?.document;
            let keys =
                if without_key { None } else { Some(RootKey::from_file(&document.spool.key_file, false)?) };
            let report = verify(&document.gateway.data_dir.join(SPOOL_DIR), keys.as_ref())?;
            if json {
                print(&format!("{}\n", serde_json::to_string(&report)?))?;
            } else {
                print(&table(&report.logs))?;
                for f in &report.findings {
                    print(&format!(
                        "{}: {} at byte {}: {}: {}\n",
                        f.log,
                        f.file,
                        f.offset,
                        fault(f.fault),
                        f.detail
                    ))?;
                }
                let how = if report.with_key { "with the key" } else { "without the key: checksums only" };
                print(&format!("{} findings, checked {how}\n", report.findings.len()))?;
            }
            if report.findings.is_empty() { Ok(()) } else { Err(exit::Printed.into()) }
        }
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Rot => "rot",
        Fault::Tampering => "tampering",
        Fault::Missing => "missing",
    }
}

fn table(logs: &[::spool::LogReport]) -> String {
    let mut out = format!(
        "{:<10} {:>8} {:>14} {:>10} {:>10} {:>10}\n",
        "log", "segments", "bytes", "records", "first", "last"
    );
    for l in logs {
        out.push_str(&format!(
            "{:<10} {:>8} {:>14} {:>10} {:>10} {:>10}\n",
            l.name, l.segments, l.bytes, l.records, l.first, l.last
        ));
    }
    out
}
