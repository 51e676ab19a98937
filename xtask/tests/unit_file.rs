//! The unit file, read by systemd's own tools where they are installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod common;

use std::process::Command;

use common::root;

/// Highest exposure, in tenths: 1.5.
const EXPOSURE_MAX: &str = "15";

/// `None`, with a note, on a machine without systemd.
fn systemd_analyze() -> Option<Command> {
    let found =
        Command::new("systemd-analyze").arg("--version").output().is_ok_and(|out| out.status.success());
    if !found {
        println!("skipped: this machine has no systemd-analyze");
    }
    found.then(|| Command::new("systemd-analyze"))
}

#[test]
fn exposure_is_low() {
    let Some(mut analyze) = systemd_analyze() else { return };
    analyze.args(["security", "--no-pager", "--offline=true", &format!("--threshold={EXPOSURE_MAX}")]);
    let out = analyze.arg(root().join("systemd/wardgate.service")).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    // An older systemd ignores the threshold: read what it says.
    let level = said.split("Overall exposure level for wardgate.service: ").nth(1).unwrap();
    let level: f64 = level.split_whitespace().next().unwrap().parse().unwrap();
    assert!(level <= 1.5, "exposure {level}");
}

#[test]
fn systemd_understands_every_line() {
    let Some(mut analyze) = systemd_analyze() else { return };
    // The binary is not installed on this machine: another stands in for it.
    let unit = std::fs::read_to_string(root().join("systemd/wardgate.service")).unwrap();
    let stand_in = unit.replace("ExecStart=/usr/bin/wardgate ", "ExecStart=/bin/true ");
    assert_ne!(unit, stand_in, "ExecStart has changed");
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("unit");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("wardgate.service");
    std::fs::write(&path, stand_in).unwrap();
    let out = analyze.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("wardgate.service")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn account_and_folders_are_those_of_the_unit() {
    let read = |name: &str| std::fs::read_to_string(root().join("systemd").join(name)).unwrap();
    let unit = read("wardgate.service");
    for line in ["User=wardgate", "StateDirectory=wardgate", "Type=notify", "LimitCORE=0"] {
        assert!(unit.lines().any(|l| l == line), "{line}");
    }
    let fields = |text: &str, kind: &str| -> Vec<Vec<String>> {
        text.lines()
            .filter(|line| line.starts_with(kind))
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(fields(&read("wardgate.sysusers"), "u")[0][1], "wardgate");
    let folders = fields(&read("wardgate.tmpfiles"), "d");
    for (path, mode) in [("/etc/wardgate", "0750"), ("/var/lib/wardgate", "0700")] {
        assert!(folders.iter().any(|f| f[1] == path && f[2] == mode), "{path} {mode}");
    }
}
