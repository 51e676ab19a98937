//! The tables, as programs read them that share no code with us: `tests/readers/`.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::mllp::{Known, Sent};
use crate::{peers, site};

/// Runs a program of `tests/readers/`.
pub fn reader(name: &str, arguments: &[&str]) -> Output {
    let program = peers::repository().join("tests/readers").join(name);
    let mut all = vec![program.to_str().unwrap()];
    all.extend(arguments);
    site::run(&peers::python(), &all, &peers::repository())
}

/// The rows of a table, all columns; binary ones as hex. Empty where there is no such table.
///
/// # Panics
/// When it cannot be read.
#[track_caller]
pub fn rows(root: &Path, table: &str) -> Vec<Value> {
    let out = reader("rows.py", &[root.to_str().unwrap(), table]);
    assert!(out.status.success(), "rows.py {table}: {}", site::shown(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The payloads of `raw` in the order of lane, epoch and number.
#[track_caller]
pub fn payloads(root: &Path) -> Vec<Vec<u8>> {
    rows(root, "raw").iter().map(|row| hex::decode(row["payload"].as_str().unwrap()).unwrap()).collect()
}

/// The ledger's arithmetic holds, in the eyes of two readers; the counts that the first prints.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn sums(root: &Path) -> Value {
    let out = reader("tables.py", &[root.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "tables.py {}: {}", root.display(), site::shown(&out));
    let first: Value = serde_json::from_slice(&out.stdout).unwrap();
    let out = reader("second.py", &[root.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "second.py {}: {}", root.display(), site::shown(&out));
    let second: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(first["rows"], second["rows"], "the two readers disagree about {}", root.display());
    assert_eq!(first["distinct"], second["distinct"]);
    first
}

/// What the senders know agrees with the tables: each acknowledged message is one row of `lake`, in its sender's
/// order, and the other roots account for the same records.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn accounted(sent: &[Sent], lake: &Path, others: &[&Path]) -> Value {
    let known: Vec<Known> = sent.iter().map(Known::from).collect();
    accounted_for(&known, lake, others)
}

/// As [`accounted`].
///
/// # Panics
/// When tables and senders disagree.
#[track_caller]
pub fn accounted_for(known: &[Known], lake: &Path, others: &[&Path]) -> Value {
    let out = account(known, lake, others);
    assert_eq!(out.status.code(), Some(0), "accounted.py: {}", site::shown(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Holds what senders know against the tables; exit code 1 where they disagree.
pub fn account(known: &[Known], lake: &Path, others: &[&Path]) -> Output {
    let mut lines = String::new();
    for Known { sha256, connection, acknowledged } in known {
        let line = serde_json::json!({
            "sha256": sha256, "connection": connection, "acknowledged": acknowledged
        });
        lines.push_str(&format!("{line}\n"));
    }
    let file = lake.with_extension("sent.jsonl");
    std::fs::write(&file, lines).unwrap();
    let mut arguments = vec![file.to_str().unwrap(), lake.to_str().unwrap()];
    arguments.extend(others.iter().map(|root| root.to_str().unwrap()));
    reader("accounted.py", &arguments)
}
