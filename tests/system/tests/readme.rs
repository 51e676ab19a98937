//! The README's minimal files and commands, as a newcomer would type them; only the ports are others, so that the test
//! may run beside whatever listens on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};

use system_tests::process::Process;
use system_tests::{peers, site, wait};

/// The TOML block behind a mark of the README.
fn block<'t>(readme: &'t str, mark: &str) -> &'t str {
    let after = readme.split_once(&format!("<!-- tested: {mark} -->")).expect(mark).1;
    after.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0
}

/// Runs a command in the folder; its standard output, once it ended well.
fn run(dir: &Path, program: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_minimal_files_and_the_commands_below_them_work() {
    let readme = std::fs::read_to_string(peers::repository().join("README.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mllp, landing, ui, operations) =
        (site::free_port(), site::free_port(), site::free_port(), site::free_port());
    let gateway_file = block(&readme, "minimal gateway");
    let landing_file = block(&readme, "minimal landing");
    assert!(gateway_file.contains("0.0.0.0:2575") && gateway_file.contains("https://localhost:9443"));
    assert!(landing_file.contains("127.0.0.1:9443"));
    let gateway_file = gateway_file
        .replace("0.0.0.0:2575", &format!("127.0.0.1:{mllp}"))
        .replace("localhost:9443", &format!("localhost:{landing}"));
    let others =
        format!("[web]\nlisten = \"127.0.0.1:{ui}\"\n[operations]\nlisten = \"127.0.0.1:{operations}\"\n");
    std::fs::write(dir.join("gateway.toml"), format!("{gateway_file}\n{others}")).unwrap();
    let landing_file = landing_file.replace("127.0.0.1:9443", &format!("127.0.0.1:{landing}"));
    std::fs::write(dir.join("landing.toml"), landing_file).unwrap();

    let (wardgate, landing) = (peers::wardgate(), peers::landing());
    run(dir, &wardgate, &["dev-certificates", "--dir", "certs", "--gateway", "ward-3"]);
    assert!(run(dir, &wardgate, &["check", "gateway.toml"]).contains("fine"));
    let logs = dir.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let mut landing_runs =
        Process::start("landing", &landing, &["run", "--config", "landing.toml"], dir, &logs);
    let mut gateway_runs =
        Process::start("gateway", &wardgate, &["run", "--config", "gateway.toml"], dir, &logs);
    let to = format!("127.0.0.1:{mllp}");
    wait::until("the gateway listens", || std::net::TcpStream::connect(&to).ok());
    let sent = run(dir, &wardgate, &["simulate", "--to", &to, "--count", "100"]);
    assert!(sent.contains("acknowledged 100"), "{sent}");
    let trace = ["trace", "clinical-1-100", "--config", "gateway.toml"];
    wait::until("the last record has landed", || {
        run(dir, &wardgate, &trace).contains("row clinical-1-100 in raw since").then_some(())
    });
    let verdict = run(dir, &landing, &["verify", "--root", "lake"]);
    assert!(verdict.contains("100 rows") && verdict.contains("0 findings"), "{verdict}");
    assert_eq!(run(dir, &wardgate, &["claim-code", "--config", "gateway.toml"]).trim().len(), 14);
    gateway_runs.stop();
    landing_runs.stop();
}
