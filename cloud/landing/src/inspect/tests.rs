//! A checker that finds nothing proves nothing: each of these plants one fault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Lane;
use model::wire::EpochRequest;
use tokio_util::sync::CancellationToken;

use super::stat::stat;
use super::verify::{Verdict, verify_within};
use crate::lake::{Config, Incoming, Track};
use crate::testing::{batch, clock, manifest, slug, stream};

/// Three batches of ten, one a commit.
async fn tables() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { root: dir.path().to_owned(), policy: "treatment".to_owned() };
    let (handle, committer) = config.build(clock()).await.unwrap();
    let stop = CancellationToken::new();
    let work = async {
        let track = Track { gateway: slug("g"), destination: slug("lake"), lane: Lane::Clinical };
        let proposed = stream("g", 1).epoch;
        let request = EpochRequest { incarnation: "aa".into(), proposed, resume_after: 0 };
        handle.grant(track, request).await.unwrap();
        for n in 0..3 {
            let batch = batch(&stream("g", 1), n * 10 + 1, n * 10 + 10, "treatment");
            let sha = manifest(&batch);
            handle.land(Arc::new(Incoming::new(batch, sha, 9, 9, None))).await.unwrap();
        }
        stop.cancel();
    };
    tokio::join!(committer.run(stop.clone()), work);
    dir
}

async fn verdict(root: &Path) -> Verdict {
    verify_within(root, 1).await.unwrap()
}

fn entry(root: &Path, table: &str, version: u64) -> PathBuf {
    root.join(table).join("_delta_log").join(format!("{version:020}.json"))
}

/// The version after the last of a table.
fn next(root: &Path, table: &str) -> u64 {
    (0..).find(|version| !entry(root, table, *version).exists()).unwrap()
}

/// The `add` line of a version.
fn add(root: &Path, table: &str, version: u64) -> serde_json::Value {
    let text = std::fs::read_to_string(entry(root, table, version)).unwrap();
    let line = text.lines().find(|l| l.starts_with("{\"add\"")).unwrap();
    serde_json::from_str(line).unwrap()
}

/// Takes the file of a version out of a table.
fn remove(root: &Path, table: &str, version: u64) {
    let add = add(root, table, version);
    let line = format!("{{\"remove\":{{\"path\":{},\"dataChange\":true}}}}\n", add["add"]["path"]);
    std::fs::write(entry(root, table, next(root, table)), line).unwrap();
}

/// Adds the rows of a version once more, as a commit without `txn` would.
fn repeat(root: &Path, table: &str, version: u64) {
    let mut line = add(root, table, version);
    let path = line["add"]["path"].as_str().unwrap().to_owned();
    let copy = path.replace("part-", "part-copy-");
    std::fs::copy(root.join(table).join(&path), root.join(table).join(&copy)).unwrap();
    line["add"]["path"] = copy.into();
    std::fs::write(entry(root, table, next(root, table)), format!("{line}\n")).unwrap();
}

#[track_caller]
fn assert_found(verdict: &Verdict, check: &str, says: &str) {
    let found = verdict.findings.iter().any(|f| f.check == check && f.detail.contains(says));
    assert!(!verdict.ok && found, "{verdict:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_tables_pass() {
    let dir = tables().await;
    let verdict = verdict(dir.path()).await;
    assert!(verdict.ok && verdict.found == 0, "{verdict:#?}");
    assert_eq!((verdict.rows, verdict.batches, verdict.streams), (26, 3, 1));
    let stat = stat(dir.path()).await.unwrap();
    assert_eq!((stat.rows, stat.distinct, stat.ledger_rows, stat.skipped), (26, 26, 26, 4));
    assert_eq!(stat.tables["messages"].rows, stat.tables["raw"].rows - 12 + 2);
    let json = serde_json::to_value(&stat).unwrap();
    assert_eq!(json["streams"][0]["gateway"], "g");
    assert_eq!(json["tables"]["ledger"]["rows"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_there_twice_are_found() {
    let dir = tables().await;
    repeat(dir.path(), "raw", 3);
    let verdict = verdict(dir.path()).await;
    assert_found(&verdict, "raw", "more than once");
    assert_found(&verdict, "raw", "batch 11 to 20 states 9 rows, raw has 18");
    assert!(verdict.findings.len() < verdict.found as usize + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_missing_are_found() {
    let dir = tables().await;
    remove(dir.path(), "raw", 3);
    assert_found(&verdict(dir.path()).await, "raw", "batch 11 to 20 states 9 rows, raw has 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_the_ledger_lost_is_found() {
    for (version, check, says) in [
        (2, "ledger", "batch 21 to 30 stands where 11 should begin"),
        (3, "watermark", "the log says 30, the ledger ends at 20"),
    ] {
        let dir = tables().await;
        remove(dir.path(), "ledger", version);
        let verdict = verdict(dir.path()).await;
        assert_found(&verdict, check, says);
        assert_found(&verdict, "raw", "is in no batch of the ledger");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_disagree_with_raw_are_found() {
    for table in ["messages", "observations"] {
        let dir = tables().await;
        remove(dir.path(), table, 2);
        assert_found(&verdict(dir.path()).await, table, "has no rows and should have");
        let dir = tables().await;
        repeat(dir.path(), table, 2);
        assert_found(&verdict(dir.path()).await, table, "rows and should have");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_behind_is_found() {
    let dir = tables().await;
    std::fs::remove_file(entry(dir.path(), "messages", 3)).unwrap();
    let verdict = verdict(dir.path()).await;
    assert_found(&verdict, "behind", "messages has version 3 of raw, which has batches up to 4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_tables_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = stat(dir.path()).await.unwrap_err();
    assert!(error.to_string().contains("there are no tables of a landing"), "{error}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "looking made something");
}
