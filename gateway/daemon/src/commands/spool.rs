//! `wardgate spool`: the logs on the disk, read only; works beside a running gateway.

use ::spool::{Fault, RootKey, VerifyReport, stat, verify};

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
                print(&verdict(&report))?;
            }
            if report.is_sound() { Ok(()) } else { Err(exit::Printed.into()) }
        }
    }
}

fn fault(fault: Fault) -> &'static str {
    match fault {
        Fault::Rot => "rot",
        Fault::Tampering => "tampering",
        Fault::Truncation => "truncation",
        Fault::Missing => "missing",
    }
}

/// What it comes to, and what to do.
fn verdict(report: &VerifyReport) -> String {
    let how = if report.with_key { "with the key" } else { "without the key: checksums only" };
    let lost: u64 = report.findings.iter().filter_map(|f| f.records).map(|r| r.last - r.first + 1).sum();
    let mut out = format!("{} findings, checked {how}\n", report.faults);
    if report.faults > report.findings.len() as u64 {
        out.push_str(&format!("only the first {} are listed\n", report.findings.len()));
    }
    if report.is_sound() {
        return out;
    }
    out.push_str(&format!(
        "{lost} records cannot be read. Delivery skips them as quarantined and goes on; trace and the ledger name \
         them.\n"
    ));
    let has = |fault| report.findings.iter().any(|f| f.fault == fault);
    if has(Fault::Tampering) {
        out.push_str(
            "tampering: checksums are right and the seal is not, so this is no accident. Keep the disk as it is and \
             find out who had access.\n",
        );
    }
    if has(Fault::Rot) {
        out.push_str("rot: bits changed on the medium or in memory. Test both and replace what fails.\n");
    }
    if has(Fault::Truncation) || has(Fault::Missing) {
        out.push_str(
            "truncation, missing: look for files moved or cut by hand, and check the file system. What is put back \
             before the gateway starts is read again.\n",
        );
    }
    out
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
