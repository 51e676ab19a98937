//! Exactly once: through crashes between any two commits, races of replicas, and repeats.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Lane, StreamEpoch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::inspect::stat::stat;
use crate::inspect::verify::verify;
use crate::testing::{batch, clock, manifest, slug, stream};

const TREATMENT: &str = "treatment";

/// A replica that runs.
struct Replica {
    handle: Handle,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Replica {
    async fn start(root: &Path, hook: Hook) -> Self {
        Self::try_start(root, TREATMENT, hook).await.unwrap()
    }

    async fn try_start(root: &Path, policy: &str, hook: Hook) -> Result<Self, Error> {
        let config = Config { root: root.to_owned(), policy: policy.to_owned() };
        let (handle, committer) = config.build_with(clock(), hook).await?;
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
        let running = tokio::spawn(committer.run(stop.clone()));
        Ok(Self { handle, stop, running })
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }

    async fn grant(&self, gateway: &str, incarnation: &str, proposed: u64, resume_after: u64) -> EpochGrant {
        let track = Track { gateway: slug(gateway), destination: slug("lake"), lane: Lane::Clinical };
        let proposed = StreamEpoch::new(proposed).unwrap();
        let request = EpochRequest { incarnation: incarnation.to_owned(), proposed, resume_after };
        self.handle.grant(track, request).await.unwrap()
    }

    async fn land(&self, gateway: &str, epoch: u64, first: u64, last: u64) -> Result<Landed, Refused> {
        self.land_under(gateway, epoch, first, last, TREATMENT).await
    }

    async fn land_under(
        &self,
        gateway: &str,
        epoch: u64,
        first: u64,
        last: u64,
        policy: &str,
    ) -> Result<Landed, Refused> {
        self.handle.land(incoming(gateway, epoch, first, last, policy)).await
    }
}

fn incoming(gateway: &str, epoch: u64, first: u64, last: u64, policy: &str) -> Arc<Incoming> {
    let batch = batch(&stream(gateway, epoch), first, last, policy);
    let manifest = manifest(&batch);
    Arc::new(Incoming::new(batch, manifest, 1000, 100, None))
}

async fn assert_sound(root: &Path) {
    let verdict = verify(root).await.unwrap();
    assert!(verdict.ok, "{:#?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_land_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    assert_eq!(lake.land("g", 1, 1, 10).await, Err(Refused::Fenced { current: None }));
    let grant = lake.grant("g", "aa", 1, 0).await;
    assert_eq!((grant.epoch.get(), grant.watermark, grant.manifest_sha256), (1, 0, None));

    let first = lake.land("g", 1, 1, 10).await.unwrap();
    assert_eq!((first.first, first.last), (1, 10));
    assert_eq!(lake.land("g", 1, 12, 13).await, Err(Refused::OutOfOrder { expected: 11 }));
    let second = lake.land("g", 1, 11, 20).await.unwrap();
    assert_eq!(second.table_version, first.table_version + 1);

    // Repeats: of the last, of an earlier one, with other content, with another end, of a part.
    assert_eq!(lake.land("g", 1, 11, 20).await.unwrap(), second);
    assert_eq!(lake.land("g", 1, 1, 10).await.unwrap(), first);
    let mut other = batch(&stream("g", 1), 11, 20, TREATMENT);
    other.policy.sha256 = "cd".repeat(32);
    let other = Arc::new(Incoming::new(other, "cd".repeat(32), 1, 1, None));
    assert_eq!(lake.handle.land(other).await.unwrap().manifest_sha256, second.manifest_sha256);
    assert_eq!(lake.land("g", 1, 11, 25).await, Err(Refused::OtherRange(second.clone())));
    assert_eq!(lake.land("g", 1, 1, 5).await, Err(Refused::OtherRange(first)));
    assert_eq!(lake.land("g", 1, 5, 9).await, Err(Refused::OutOfOrder { expected: 21 }));

    let status = lake.handle.status(Track::of(&stream("g", 1)), None).await.unwrap();
    assert_eq!((status.epoch, status.watermark), (Some(1), 20));
    assert_eq!(status.manifest_sha256, Some(second.manifest_sha256));
    lake.stop().await;
    assert_sound(dir.path()).await;
    let stat = stat(dir.path()).await.unwrap();
    assert_eq!((stat.rows, stat.distinct, stat.ledger_rows, stat.skipped), (18, 18, 18, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_incarnation_fences_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.land("g", 1, 1, 3).await.unwrap();
    assert_eq!(lake.grant("g", "bb", 1, 0).await.epoch.get(), 2);
    assert_eq!(lake.land("g", 1, 4, 5).await, Err(Refused::Fenced { current: Some(2) }));
    lake.land("g", 2, 1, 3).await.unwrap();
    // The same log asks again, as after each restart.
    let again = lake.grant("g", "bb", 2, 0).await;
    assert_eq!((again.epoch.get(), again.watermark), (2, 3));
    assert!(again.manifest_sha256.is_some());
    // A log that was delivered elsewhere up to 100 begins after it.
    assert_eq!(lake.grant("h", "cc", 5, 100).await.watermark, 100);
    lake.land("h", 5, 101, 101).await.unwrap();
    lake.stop().await;
    assert_sound(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_without_records_counts() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.land("g", 1, 1, 6).await.unwrap();
    lake.land("g", 1, 7, 7).await.unwrap();
    lake.land("g", 1, 8, 8).await.unwrap();
    lake.stop().await;
    assert_sound(dir.path()).await;
    let stat = stat(dir.path()).await.unwrap();
    let [stream] = stat.streams.as_slice() else { panic!() };
    assert_eq!((stream.first, stream.last, stream.rows, stream.skipped, stream.batches), (1, 8, 7, 1, 3));
}

/// A kill at every step of every kind: what was answered is there, what was not is there once after asking again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_any_two_commits_is_finished_at_the_next_start() {
    let all = [Step::RawWritten, Step::RawCommitted]
        .into_iter()
        .chain(Silver::ALL.map(Step::SilverWritten))
        .chain(Silver::ALL.map(Step::SilverCommitted));
    for step in all {
        let dir = tempfile::tempdir().unwrap();
        // The grant commits on `raw` too: strike at the second batch.
        let seen = AtomicU64::new(0);
        let strike_at = if matches!(step, Step::RawWritten | Step::RawCommitted) { 2 } else { 1 };
        let hook =
            Hook::new(move |reached| reached == step && seen.fetch_add(1, Ordering::SeqCst) == strike_at);
        let lake = Replica::start(dir.path(), hook).await;
        lake.grant("g", "aa", 1, 0).await;
        lake.land("g", 1, 1, 10).await.unwrap();
        assert_eq!(lake.land("g", 1, 11, 20).await, Err(Refused::Unavailable), "{step:?}");
        lake.running.await.unwrap();

        let lake = Replica::start(dir.path(), Hook::default()).await;
        let committed = step != Step::RawWritten;
        let watermark = lake.grant("g", "aa", 1, 0).await.watermark;
        assert_eq!(watermark, if committed { 20 } else { 10 }, "{step:?}");
        // Everything has caught up before the first answer.
        assert_sound(dir.path()).await;
        lake.land("g", 1, 11, 20).await.unwrap();
        lake.land("g", 1, 21, 22).await.unwrap();
        lake.stop().await;
        assert_sound(dir.path()).await;
        let stat = stat(dir.path()).await.unwrap();
        assert_eq!((stat.rows, stat.skipped), (19, 3), "{step:?}");
    }
}

/// Rows made after a crash, from `raw`, are those that would have been made at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_read_back_are_the_rows_that_were_sent() {
    for policy in [TREATMENT, "safe-harbor"] {
        let mut tables = Vec::new();
        for crash in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let seen = AtomicU64::new(0);
            let hook = Hook::new(move |step| {
                crash && step == Step::RawCommitted && seen.fetch_add(1, Ordering::SeqCst) == 1
            });
            let lake = Replica::try_start(dir.path(), policy, hook).await.unwrap();
            lake.grant("g", "aa", 1, 0).await;
            let landed = lake.land_under("g", 1, 1, 30, policy).await;
            assert_eq!(landed.is_err(), crash);
            if crash {
                lake.running.await.unwrap();
                Replica::try_start(dir.path(), policy, Hook::default()).await.unwrap().stop().await;
            } else {
                lake.stop().await;
            }
            let mut rows = Vec::new();
            for table in ["messages", "observations", "ledger"] {
                let snapshot = delta::Snapshot::read(dir.path(), table).await.unwrap().unwrap();
                for (path, _) in &snapshot.files {
                    rows.extend(delta::read_rows(snapshot.store(), path, None).await.unwrap());
                }
            }
            assert!(rows.iter().map(|r| r.num_rows()).sum::<usize>() > 30);
            tables.push(rows);
        }
        assert_eq!(tables.first(), tables.last());
    }
}

/// Two replicas on one root take the same streams' batches at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_race_and_every_row_is_there_once() {
    const BATCHES: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    // Both find no table at first.
    let (a, b) = tokio::join!(
        Replica::start(dir.path(), Hook::default()),
        Replica::start(dir.path(), Hook::default())
    );
    for gateway in ["g", "h"] {
        assert_eq!(a.grant(gateway, "aa", 1, 0).await.epoch.get(), 1);
        assert_eq!(b.grant(gateway, "aa", 1, 0).await.epoch.get(), 1);
    }
    for n in 0..BATCHES {
        let (first, last) = (n * 10 + 1, n * 10 + 10);
        let (ga, gb, ha, hb) = tokio::join!(
            a.land("g", 1, first, last),
            b.land("g", 1, first, last),
            a.land("h", 1, first, last),
            b.land("h", 1, first, last),
        );
        // Whoever won: both say the same.
        assert_eq!(ga.unwrap(), gb.unwrap());
        assert_eq!(ha.unwrap(), hb.unwrap());
    }
    // What the other has granted and landed meanwhile is known before anything is refused.
    assert_eq!(a.grant("g", "bb", 1, 0).await.epoch.get(), 2);
    a.land("g", 2, 1, 5).await.unwrap();
    assert_eq!(b.land("g", 1, 121, 130).await, Err(Refused::Fenced { current: Some(2) }));
    b.land("g", 2, 6, 9).await.unwrap();
    a.stop().await;
    b.stop().await;
    assert_sound(dir.path()).await;
    let stat = stat(dir.path()).await.unwrap();
    assert_eq!(stat.rows + stat.skipped, 2 * BATCHES * 10 + 9);
    assert_eq!(stat.rows, stat.distinct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_together_is_committed_together() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    let gateways: Vec<String> = (0..20).map(|n| format!("g{n}")).collect();
    for gateway in &gateways {
        lake.grant(gateway, "aa", 1, 0).await;
    }
    let landings = gateways.iter().map(|g| lake.land(g, 1, 1, 10));
    let landed = futures_util::future::join_all(landings).await;
    let versions: std::collections::BTreeSet<u64> =
        landed.into_iter().map(|l| l.unwrap().table_version).collect();
    assert!(versions.len() < 10, "{versions:?}");
    lake.stop().await;
    assert_sound(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_keeps_its_policy() {
    let dir = tempfile::tempdir().unwrap();
    Replica::start(dir.path(), Hook::default()).await.stop().await;
    let error = Replica::try_start(dir.path(), "safe-harbor", Hook::default()).await.err().unwrap();
    assert!(error.to_string().contains("the tables hold `treatment`"), "{error}");
}

/// Under `safe-harbor`, and where dates may be shifted, neither a folder nor a column says on which day something came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn safe_harbor_tables_name_no_day() {
    for policy in ["safe-harbor", "expert-determination"] {
        let dir = tempfile::tempdir().unwrap();
        let lake = Replica::try_start(dir.path(), policy, Hook::default()).await.unwrap();
        lake.grant("g", "aa", 1, 999_990).await;
        lake.land_under("g", 1, 999_991, 1_000_010, policy).await.unwrap();
        lake.stop().await;
        assert_sound(dir.path()).await;
        let folders = |table: &str| -> Vec<String> {
            let mut names: Vec<_> = std::fs::read_dir(dir.path().join(table))
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        for table in ["raw", "messages", "observations"] {
            assert_eq!(folders(table), ["_delta_log", "seq_bucket=0", "seq_bucket=1"], "{policy}");
        }
        let ledger = delta::Snapshot::read(dir.path(), "ledger").await.unwrap().unwrap();
        for (path, _) in &ledger.files {
            for rows in delta::read_rows(ledger.store(), path, None).await.unwrap() {
                let at = rows.column_by_name("committed_at").unwrap();
                assert_eq!(at.null_count(), rows.num_rows(), "{policy}");
            }
        }
    }
}

/// The log of `raw` holds the manifests, and the statistics in it no values of patients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_hold_no_payload() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.land("g", 1, 1, 10).await.unwrap();
    lake.stop().await;
    for table in ["raw", "messages", "observations", "ledger"] {
        for entry in std::fs::read_dir(dir.path().join(table).join("_delta_log")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for value in ["MSH|", "Heart rate", "10.0.0.1", "nonin-1"] {
                assert!(!text.contains(value), "{}: {value}", path.display());
            }
        }
    }
}

/// Over two checkpoints: opening reads the newest and what follows, and a log cleaned up behind it is no obstacle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_hold_the_watermarks() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.grant("quiet", "aa", 7, 5).await;
    for n in 1..=205 {
        lake.land("g", 1, n, n).await.unwrap();
    }
    lake.stop().await;
    let log = dir.path().join("raw/_delta_log");
    assert!(log.join(format!("{:020}.checkpoint.parquet", 200)).exists());
    for version in 0..150 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let lake = Replica::start(dir.path(), Hook::default()).await;
    assert_eq!(lake.grant("quiet", "aa", 7, 0).await.watermark, 5);
    assert_eq!(lake.grant("g", "aa", 1, 0).await.watermark, 205);
    // Its entry is gone; the ledger knows.
    assert_eq!(lake.land("g", 1, 3, 3).await.unwrap().last, 3);
    lake.land("g", 1, 206, 206).await.unwrap();
    lake.stop().await;
    assert_sound(dir.path()).await;
}

/// What an earlier landing made: `raw` without its last column, in the log and in the files.
fn without_charset(root: &Path) {
    use deltalake_core::parquet::arrow::ArrowWriter;
    use deltalake_core::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let raw = root.join("raw");
    for entry in std::fs::read_dir(raw.join("_delta_log")).unwrap() {
        let path = entry.unwrap().path();
        let mut lines = Vec::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            if let Some(metadata) = line.get_mut("metaData") {
                let columns = metadata["schemaString"].as_str().unwrap();
                let mut columns: serde_json::Value = serde_json::from_str(columns).unwrap();
                let fields = columns["fields"].as_array_mut().unwrap();
                fields.retain(|field| field["name"] != "charset");
                metadata["schemaString"] = columns.to_string().into();
            }
            if let Some(add) = line.get_mut("add") {
                let file = raw.join(add["path"].as_str().unwrap());
                let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file).unwrap());
                let rows = reader.unwrap().build().unwrap().map(Result::unwrap).next().unwrap();
                let kept: Vec<_> = (0..rows.num_columns() - 1).collect();
                assert_eq!(rows.schema().fields().last().unwrap().name(), "charset");
                let mut bytes = Vec::new();
                let rows = rows.project(&kept).unwrap();
                let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
                writer.write(&rows).unwrap();
                writer.close().unwrap();
                add["size"] = bytes.len().into();
                std::fs::write(&file, bytes).unwrap();
            }
            lines.push(line.to_string());
        }
        std::fs::write(&path, lines.join("\n")).unwrap();
    }
}

/// Rows by what they say of their character set.
async fn charsets(root: &Path) -> std::collections::BTreeMap<Option<String>, u64> {
    use deltalake_core::arrow::array::AsArray as _;

    let mut found = std::collections::BTreeMap::new();
    let raw = delta::Snapshot::read(root, "raw").await.unwrap().unwrap();
    for (path, _) in &raw.files {
        for rows in delta::read_rows(raw.store(), path, Some(&["seq", "charset"])).await.unwrap() {
            match rows.column_by_name("charset") {
                None => *found.entry(None).or_default() += rows.num_rows() as u64,
                Some(column) => {
                    for name in column.as_string::<i32>() {
                        *found.entry(name.map(str::to_owned)).or_default() += 1;
                    }
                }
            }
        }
    }
    found
}

/// The column is added once, whoever comes first; the rows that were there stay; everything can still be made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_made_before_a_column_was_there_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    let before = lake.land("g", 1, 1, 6).await.unwrap();
    lake.stop().await;
    without_charset(dir.path());
    assert_sound(dir.path()).await;

    let (a, b) = tokio::join!(
        Replica::start(dir.path(), Hook::default()),
        Replica::start(dir.path(), Hook::default())
    );
    assert_eq!(a.land("g", 1, 1, 6).await.unwrap(), before, "what was committed is known as before");
    let landed = a.land("g", 1, 8, 9).await;
    assert_eq!(landed, Err(Refused::OutOfOrder { expected: 7 }));
    let after = b.land("g", 1, 7, 12).await.unwrap();
    assert_eq!(after.table_version, before.table_version + 2, "one commit added the column");
    a.land("g", 1, 13, 18).await.unwrap();
    a.stop().await;
    b.stop().await;
    assert_sound(dir.path()).await;
    let found = charsets(dir.path()).await;
    assert_eq!(found.get(&None), Some(&(6 + 5)), "{found:?}");
    assert_eq!(found.get(&Some("8859/1".to_owned())), Some(&5), "{found:?}");

    // The other tables are made again from rows of both kinds.
    for table in ["messages", "observations"] {
        std::fs::remove_dir_all(dir.path().join(table)).unwrap();
    }
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.land("g", 1, 19, 19).await.unwrap();
    lake.stop().await;
    assert_sound(dir.path()).await;
}

/// Somebody compacts or changes a table: the landing goes on, or says why it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_commits_are_read_and_respected() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    let landed = lake.land("g", 1, 1, 3).await.unwrap();
    let log = dir.path().join("raw/_delta_log");
    let entry = |version: u64| log.join(format!("{version:020}.json"));
    let next = landed.table_version + 1;
    std::fs::write(entry(next), "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"OPTIMIZE\"}}\n").unwrap();
    assert_eq!(lake.land("g", 1, 4, 6).await.unwrap().table_version, next + 1);

    // A feature that an appender would have to know.
    let protocol = "{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":7,\"writerFeatures\":[\"rowTracking\",\"domainMetadata\"]}}\n";
    std::fs::write(entry(next + 2), protocol).unwrap();
    assert_eq!(lake.land("g", 1, 7, 8).await, Err(Refused::Unavailable));
    std::fs::remove_file(entry(next + 2)).unwrap();
    lake.land("g", 1, 7, 8).await.unwrap();
    lake.stop().await;
    assert_sound(dir.path()).await;
}

/// A full or broken disk: nothing is half there, and it goes on when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.land("g", 1, 1, 3).await.unwrap();
    for table in ["raw", "messages"] {
        // A folder that is none: every write below fails.
        let (log, away) = (dir.path().join(table).join("_delta_log"), dir.path().join("away"));
        std::fs::rename(&log, &away).unwrap();
        std::fs::write(&log, "").unwrap();
        let (first, last) = if table == "raw" { (4, 6) } else { (7, 9) };
        assert_eq!(lake.land("g", 1, first, last).await, Err(Refused::Unavailable), "{table}");
        std::fs::remove_file(&log).unwrap();
        std::fs::rename(&away, &log).unwrap();
        lake.land("g", 1, first, last).await.unwrap();
    }
    lake.stop().await;
    assert_sound(dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stop_nothing_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Replica::start(dir.path(), Hook::default()).await;
    lake.grant("g", "aa", 1, 0).await;
    let handle = lake.handle.clone();
    lake.stop().await;
    assert!(!handle.is_alive());
    assert_eq!(handle.land(incoming("g", 1, 1, 3, TREATMENT)).await, Err(Refused::Unavailable));
}

/// Steps come in the order that the promise needs: no table follows before `raw` is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_is_committed_first() {
    let dir = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    let hook = Hook::new(move |step| {
        log.lock().unwrap().push(step);
        false
    });
    let lake = Replica::start(dir.path(), hook).await;
    lake.grant("g", "aa", 1, 0).await;
    lake.land("g", 1, 1, 3).await.unwrap();
    lake.stop().await;
    let steps = steps.lock().unwrap().clone();
    let grant = [Step::RawWritten, Step::RawCommitted];
    assert_eq!(steps.get(..4).unwrap(), [grant, grant].concat());
    assert_eq!(steps.len(), 4 + 6);
}
