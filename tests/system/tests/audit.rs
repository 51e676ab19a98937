//! The audit log from outside: what its commands say, what the landing's receipts tell of a disk, and what others read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells what it measured"
)]

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use system_tests::mllp::accepted;
use system_tests::process::Process;
use system_tests::site::{self, Site, shown};
use system_tests::{hl7, peers, wait};

/// How often the gateway looks whether a part of the journal may go.
const LOOKED_AFTER: std::time::Duration = std::time::Duration::from_secs(5);
const QUICK: &str = "[audit]\ncheckpoint_entries = 1\ncheckpoint_every_s = 1\n";

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// What the landing has a receipt of, oldest first.
fn receipts(site: &Site) -> Vec<Value> {
    let out = site.landing(&["audit", "ward-3", "--root", site.root("lake").to_str().unwrap(), "--json"]);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&out)))
}

/// The last number of the clinical lane in a receipt.
fn clinical(receipt: &Value) -> u64 {
    let note = receipt["checkpoint"].as_str().unwrap();
    let head = note.lines().find(|line| line.starts_with("head clinical ")).unwrap();
    head.split(' ').nth(4).unwrap().parse().unwrap()
}

fn verify(site: &Site, checkpoints: Option<&Path>) -> (Output, Value) {
    let mut arguments = vec!["audit", "verify", "--config", "gateway.toml", "--json"];
    if let Some(file) = checkpoints {
        arguments.extend(["--checkpoints", file.to_str().unwrap()]);
    }
    let out = site.wardgate(&arguments);
    let verdict = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&out)));
    (out, verdict)
}

fn kept(site: &Site, name: &str) -> PathBuf {
    let file = site.dir.join(name);
    std::fs::write(&file, serde_json::to_vec(&receipts(site)).unwrap()).unwrap();
    file
}

fn actions(site: &Site) -> Vec<String> {
    let out = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["action"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_disk_that_was_set_back_is_told_by_the_landing_s_receipts() {
    let mut site = Site::small();
    site.more = QUICK.to_owned();
    let (mut gateway, mut landing) = site.start();
    for n in 1..=3 {
        accepted(site.ports.mllp, &hl7::observation(&format!("audit-{n}"), n));
    }
    site.drained();
    wait::until("a receipt", || receipts(&site).last().filter(|r| clinical(r) == 3).cloned());
    let (out, verdict) = verify(&site, Some(&kept(&site, "receipts.json")));
    assert_eq!(out.status.code(), Some(0), "beside a running gateway: {}", shown(&out));
    assert!(
        verdict["checkpoints"].as_u64().unwrap() > 0 && verdict["vouched"].as_u64().unwrap() > 0,
        "{verdict}"
    );
    gateway.stop();
    copy(&site.data(), &site.dir.join("backup"));
    let mut gateway = site.start_gateway();
    accepted(site.ports.mllp, &hl7::observation("audit-4", 4));
    site.drained();
    wait::until("a receipt", || receipts(&site).last().filter(|r| clinical(r) == 4).cloned());
    gateway.stop();
    // The landing is started again and has forgotten nothing.
    landing.stop();
    let before = receipts(&site);
    let mut landing = site.start_landing();
    let receipts_file = kept(&site, "receipts.json");

    std::fs::remove_dir_all(site.data()).unwrap();
    std::fs::rename(site.dir.join("backup"), site.data()).unwrap();
    let (out, verdict) = verify(&site, None);
    assert_eq!(out.status.code(), Some(0), "from inside nothing shows: {}", shown(&out));
    assert_eq!(verdict["vouched"], Value::Null);
    let (out, verdict) = verify(&site, Some(&receipts_file));
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    let findings = verdict["findings"].as_array().unwrap();
    let of = |log: &str| findings.iter().find(|f| f["log"] == log).map(|f| f["what"].to_string());
    assert!(of("clinical").unwrap().contains("records 4 to 4 were vouched for and are missing"), "{verdict}");
    let entry = findings.iter().find(|f| f["entry"].is_u64()).unwrap();
    assert_eq!(entry["entry"], verdict["size"], "which entries are missing: {verdict}");

    // The box itself notices when it meets the landing, says so, and goes on.
    let mut gateway = site.start_gateway();
    wait::until("a new origin", || {
        let newest = receipts(&site).pop()?;
        let line = |r: &Value| r["checkpoint"].as_str().unwrap().lines().next().unwrap().to_owned();
        (line(&newest) != line(before.last().unwrap())).then_some(())
    });
    accepted(site.ports.mllp, &hl7::observation("audit-5", 5));
    site.drained();
    wait::until("witnessed", || {
        let file = kept(&site, "later.json");
        (verify(&site, Some(&file)).0.status.code() == Some(0)).then_some(())
    });
    assert_eq!(actions(&site).iter().filter(|a| *a == "log-set-back").count(), 2, "{:?}", actions(&site));
    let old: Vec<_> = receipts(&site).into_iter().filter(|r| before.contains(r)).collect();
    assert_eq!(old, before, "the old papers are all there");
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}

/// A byte of one entry on the disk.
#[test]
fn a_changed_entry_is_named_and_the_exit_code_says_so() {
    use std::os::unix::fs::FileExt as _;
    let site = Site::small();
    let (mut gateway, mut landing) = site.start();
    gateway.stop();
    landing.stop();
    let (out, sound) = verify(&site, None);
    assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
    assert!(sound["entries"].as_u64().unwrap() >= 4, "{sound}");
    let journal = site.data().join("spool/logs/journal");
    let segment = std::fs::read_dir(journal).unwrap().map(|e| e.unwrap().path());
    let segment = segment.into_iter().find(|p| p.extension().is_some_and(|e| e == "seg")).unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(segment).unwrap();
    // The first entry's page, behind the two copies of the header.
    let mut byte = [0];
    file.read_exact_at(&mut byte, 8192 + 100).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 8192 + 100).unwrap();
    let (out, verdict) = verify(&site, None);
    assert_eq!(out.status.code(), Some(1), "{}", shown(&out));
    assert_eq!(verdict["findings"][0]["entry"], 0, "{verdict}");
    assert_eq!((&verdict["size"], &verdict["root"]), (&sound["size"], &sound["root"]), "what follows stands");
}

/// Every form of export, in the eyes of others: Python's hashes for ours, the schema of DICOM PS3.15 for ATNA. FHIR has its
/// judges in `fhir_judges.rs`.
#[test]
fn every_export_is_what_its_readers_expect() {
    let mut site = Site::small();
    site.more = QUICK.to_owned();
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::observation("export-1", 1));
    site.drained();
    wait::until("a receipt", || receipts(&site).pop());
    gateway.stop();
    landing.stop();
    let export = |format: &str| {
        let out = site.wardgate(&["audit", "export", "--config", "gateway.toml", "--format", format]);
        assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
        let file = site.dir.join(format!("export.{format}"));
        std::fs::write(&file, &out.stdout).unwrap();
        file
    };
    let receipts_file = kept(&site, "receipts.json");
    let checked = |script: &str, arguments: &[&Path]| {
        let script = peers::repository().join("tests/readers").join(script);
        let mut all = vec![script.to_str().unwrap()];
        all.extend(arguments.iter().map(|a| a.to_str().unwrap()));
        let out = site::run(&peers::python(), &all, &site.dir);
        assert!(out.status.success(), "{}", shown(&out));
        println!("{}", String::from_utf8_lossy(&out.stdout));
    };
    checked("audit_proofs.py", &[&export("json"), &receipts_file]);
    checked("audit_atna.py", &[&export("atna")]);
    let events = std::fs::read_to_string(export("fhir")).unwrap();
    assert!(events.lines().count() >= 4 && events.lines().all(|l| l.contains("\"AuditEvent\"")), "{events}");
}

/// Debian's rsyslog, over mutual TLS: it gets every entry, and while it is away nothing else waits.
#[test]
fn a_syslog_server_gets_every_entry_and_holds_up_nothing_while_it_is_away() {
    let mut site = Site::small();
    let port = site::free_port();
    let received = site.dir.join("syslog/received");
    std::fs::create_dir_all(site.dir.join("syslog")).unwrap();
    site.more = format!(
        "{QUICK}[audit.syslog]\nto = \"127.0.0.1:{port}\"\n[audit.syslog.tls]\nca = \"certificates/ca.pem\"\n\
         certificate = \"certificates/gateway.pem\"\nkey = \"certificates/gateway.key.pem\"\nmin_version = \"1.2\"\n"
    );
    let at = |name: &str| site.certificate(name).to_str().unwrap().to_owned();
    let configuration = format!(
        "global(workDirectory=\"{dir}\" defaultNetstreamDriverCAFile=\"{ca}\" \
         defaultNetstreamDriverCertFile=\"{cert}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
         module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\")\n\
         input(type=\"imtcp\" port=\"{port}\")\n\
         template(name=\"all\" type=\"string\" string=\"%pri% %protocol-version% %hostname% %app-name% %msgid% %structured-data% %msg%\\n\")\n\
         action(type=\"omfile\" file=\"{received}\" template=\"all\")\n",
        dir = site.dir.join("syslog").display(),
        ca = at("ca.pem"),
        cert = at("landing.pem"),
        key = at("landing.key.pem"),
        received = received.display(),
    );
    std::fs::write(site.dir.join("rsyslog.conf"), configuration).unwrap();
    let server = |site: &Site| {
        let pid = site.dir.join("syslog/pid");
        let arguments = ["-n", "-f", "rsyslog.conf", "-i", pid.to_str().unwrap()];
        Process::start("rsyslog", Path::new("/usr/sbin/rsyslogd"), &arguments, &site.dir, &site.logs())
    };
    let (mut gateway, mut landing) = site.start();
    let syslog = |site: &Site| site.status().map(|s| s["audit"]["syslog"].clone()).unwrap_or_default();
    wait::until("it says that the server is away", || syslog(&site)["failing"].as_str().map(str::to_owned));
    // Of the journal nothing would go that it has not got.
    let waits = |site: &Site| -> u64 {
        let (_, metrics) = system_tests::http::get(site.ports.operations, "/metrics").unwrap();
        let line = "wardgate_journal_waits_records{holder=\"the syslog server\"} ";
        metrics
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .unwrap_or_else(|| panic!("{metrics}"))
            .parse()
            .unwrap()
    };
    let waited = waits(&site);
    assert!(waited >= 4, "{waited}");
    accepted(site.ports.mllp, &hl7::observation("syslog-1", 1));
    site.drained();
    let mut first = server(&site);
    let lines = || std::fs::read_to_string(&received).unwrap_or_default();
    let has = |action: &str| lines().lines().filter(|l| l.contains(&format!(" wardgate {action} "))).count();
    wait::until("what was there before", || (has("started") == 1).then_some(()));
    assert!(syslog(&site)["connected"] == true, "{:?}", syslog(&site));
    for line in lines().lines().filter(|l| l.contains(" wardgate ")) {
        let json = line.split_once('{').map(|(_, rest)| format!("{{{rest}")).unwrap();
        let entry: Value = serde_json::from_str(&json).unwrap();
        assert!(line.contains(&format!("[audit@32473 index=\"{}\"", entry["index"])), "{line}");
        assert!(line.contains(" 1 ward-3 wardgate "), "{line}");
    }
    // It is killed; what is audited meanwhile comes later, and nothing of before is missing.
    wait::until("settled", || (syslog(&site)["sent"].as_u64()? >= 4).then_some(()));
    wait::until("nothing is waited for but what came since", || (waits(&site) < waited).then_some(()));
    first.kill();
    gateway.stop();
    let mut gateway = site.start_gateway();
    let mut second = server(&site);
    wait::until("what came meanwhile", || (has("stopped") >= 1 && has("started") >= 2).then_some(()));
    gateway.stop();
    landing.stop();
    let indices: std::collections::BTreeSet<u64> =
        lines().lines().filter_map(|l| l.split_once("index=\"")?.1.split('"').next()?.parse().ok()).collect();
    let last = *indices.last().unwrap();
    assert_eq!(indices.len() as u64, last + 1, "without a gap: {indices:?}");
    second.stop();
}

/// One entry of the audit log: a search. The status it is answered with; none where nobody answers.
fn searched(site: &Site) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(site.data().join("control.sock")).ok()?;
    let body = r#"{"control_id":"nobody-has-it"}"#;
    let request = format!(
        "POST /search HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// The segments of the journal, oldest first.
fn journal(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.data().join("spool/logs/journal")).unwrap();
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "seg"));
    paths.sort();
    paths
}

#[test]
fn what_was_freed_is_told_and_the_receipts_still_connect_after_kills() {
    let mut site = Site::small();
    site.spool = "segment_bytes = 1048576\njournal_bytes_max = 4194304".to_owned();
    site.more = "[audit]\ncheckpoint_entries = 50\ncheckpoint_every_s = 1\n".to_owned();
    let (mut gateway, mut landing) = site.start();
    accepted(site.ports.mllp, &hl7::observation("freed-1", 1));
    site.drained();
    // It is killed while its oldest part goes, at other moments of it each time.
    for pause_us in [0, 300, 1_500, 6_000] {
        let oldest = journal(&site).remove(0);
        wait::until("the oldest part to go", || {
            // It may be full for a moment, until it is looked after.
            let goes = (0..50).any(|_| !oldest.exists() || searched(&site) != Some(200));
            (goes && !oldest.exists()).then_some(())
        });
        std::thread::sleep(std::time::Duration::from_micros(pause_us));
        gateway.kill();
        let (out, verdict) = verify(&site, Some(&kept(&site, "receipts.json")));
        assert_eq!(out.status.code(), Some(0), "{}", shown(&out));
        let first = verdict["first"].as_u64().unwrap();
        assert!(first > 200 && verdict["entries"].as_u64().unwrap() < verdict["size"].as_u64().unwrap());
        assert!(verdict["vouched"].as_u64().unwrap() > first, "{verdict}");
        let detail = verdict["freed"]["detail"].as_str().unwrap();
        assert!(detail.contains("room is needed; lake: its receipt of "), "{verdict}");
        gateway = site.start_gateway();
    }
    let text = site.wardgate(&["audit", "verify", "--config", "gateway.toml"]);
    assert!(shown(&text).contains(" were freed, the last of them at "), "{}", shown(&text));
    let export = site.wardgate(&["audit", "export", "--config", "gateway.toml"]);
    assert_eq!(export.status.code(), Some(0), "{}", shown(&export));
    assert!(String::from_utf8_lossy(&export.stderr).contains(" were freed, "), "{}", shown(&export));

    // The landing is away: nothing goes, until the journal is full and the gateway takes nothing in.
    landing.stop();
    // What there is a receipt of already may still go, when it is looked after next.
    let stays_full = (0..6).any(|_| {
        while searched(&site) == Some(200) {}
        std::thread::sleep(LOOKED_AFTER * 2);
        searched(&site) != Some(200)
    });
    assert!(stays_full, "what nobody has a receipt of goes");
    let oldest = journal(&site).remove(0);
    let refused = system_tests::mllp::send(site.ports.mllp, &hl7::observation("freed-2", 2));
    assert_eq!(refused.code(), "AE", "{refused:?}");
    let (code, why) = system_tests::http::get(site.ports.operations, "/readyz").unwrap();
    assert!(code == 503 && why.contains("the journal takes nothing in") && why.contains("lake has"), "{why}");
    // Also a gateway that starts with it waits, and comes out by itself when the landing is there.
    gateway.kill();
    let mut gateway = site.launch_gateway();
    wait::until("it says why it waits", || gateway.log().contains("the journal is full").then_some(()));
    assert!(oldest.exists(), "nobody has a receipt of it");
    let mut landing = site.start_landing();
    site.gateway_ready(&mut gateway);
    system_tests::mllp::resent_until_accepted(site.ports.mllp, &hl7::observation("freed-2", 2));
    assert!(!oldest.exists());
    site.drained();
    wait::until("witnessed", || {
        (verify(&site, Some(&kept(&site, "later.json"))).0.status.code() == Some(0)).then_some(())
    });
    assert!(!actions(&site).iter().any(|a| a == "log-set-back"), "{:?}", actions(&site));
    let origins: std::collections::BTreeSet<String> = receipts(&site)
        .iter()
        .map(|r| r["checkpoint"].as_str().unwrap().lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(origins.len(), 1, "one log for the landing, whatever was freed of it");
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}
