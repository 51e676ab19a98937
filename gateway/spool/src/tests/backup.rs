//! Backups: what is in them, whatever goes on meanwhile, and that it comes back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Lane, Timestamp};

use super::support::*;
use crate::backup::{Backup, Document, Plan, Restored};
use crate::disk::RealDisk;
use crate::{Config, Entry, Error, Outside, RootKey, Spool, Table, verify};

fn plan(with_backlog: bool) -> Plan {
    let document = Document {
        path: "gateway.toml".to_owned(),
        mode: 0o600,
        is_configuration: true,
        content: b"[gateway]".to_vec().into(),
    };
    Plan {
        gateway: "ward-3".parse().unwrap(),
        version: "0.0.0".to_owned(),
        with_backlog,
        documents: vec![document],
    }
}

pub(super) fn back_up(spool: &Spool, to: &Path, with_backlog: bool) -> crate::backup::Summary {
    let mut file = File::create(to).unwrap();
    spool.backup(&plan(with_backlog), Timestamp::from_micros(5), &mut file).unwrap()
}

pub(super) fn open_backup(path: &Path) -> Result<Backup, Error> {
    Backup::open(path, &keys(), Some(&"ward-3".parse().unwrap()))
}

pub(super) fn restore(path: &Path, dir: &Path, replace: bool) -> Result<Restored, Error> {
    open_backup(path)?.restore(dir, &small(), Arc::new(Still::default()), replace)
}

#[tokio::test]
async fn everything_comes_back_and_no_number_is_used_twice() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    let log = clinical(&spool);
    // Several segments, and a record in chunks across them.
    let payloads: Vec<Vec<u8>> = (0..12).map(|n| bytes(n, if n == 7 { 900_000 } else { 200_000 })).collect();
    for payload in &payloads {
        log.append(b"m".to_vec(), payload).await.unwrap();
    }
    spool.held().append(b"h".to_vec(), b"held").await.unwrap();
    spool.journal().append(b"j".to_vec(), b"journal").await.unwrap();
    spool.state().put(Table::Cursors, b"lake/clinical", b"5").unwrap();
    spool.state().put(Table::Meta, b"x", b"y").unwrap();
    // The first five are delivered: what holds them need not be in it.
    log.free_through(5, Timestamp::from_micros(0));
    let summary = back_up(&spool, &file, true);
    assert_eq!((summary.state_keys, summary.unreadable_bytes), (2, 0));
    let before: Vec<(String, u64)> =
        spool.logs().iter().map(|l| (l.incarnation(), l.epoch().get())).collect();
    log.append(Vec::new(), b"after the backup").await.unwrap();
    drop((log, spool));

    let (checked, documents) = open_backup(&file).unwrap().check().unwrap();
    assert_eq!(checked, summary);
    assert_eq!(documents, plan(true).documents);
    let other = dir.path().join("c/spool");
    let restored = restore(&file, &other, false).unwrap();
    assert_eq!((restored.summary, restored.put_aside), (summary, None));
    let report = verify(&other, Some(&keys())).unwrap();
    assert!(report.is_sound(), "{report:?}");
    let spool = open(&other);
    let log = clinical(&spool);
    let got = all(&log).await;
    let oldest = log.oldest();
    assert!((2..=6).contains(&oldest), "{oldest}");
    let expected: Vec<Got> =
        (oldest..=12).map(|seq| Got::Record(seq, payloads[seq as usize - 1].clone())).collect();
    assert!(got == expected, "from {oldest} on everything is there");
    assert_eq!(all(spool.held()).await, [Got::Record(1, b"held".to_vec())]);
    assert_eq!(all(spool.journal()).await.len(), 2, "and that it was restored");
    assert_eq!(spool.state().get(Table::Cursors, b"lake/clinical").unwrap().unwrap(), b"5");
    assert_eq!(spool.state().get(Table::Meta, b"x").unwrap().unwrap(), b"y");
    for (log, (incarnation, epoch)) in spool.logs().iter().zip(before) {
        assert_ne!(log.incarnation(), incarnation, "{}", log.name());
        assert_eq!(log.epoch().get(), epoch + 1, "{}", log.name());
    }
    assert_eq!(log.append(Vec::new(), b"new").await.unwrap(), 13);
    spool.stop().await.unwrap();
    assert!(verify(&other, Some(&keys())).unwrap().is_sound());
}

/// The chunks of a record lie before it, also in segments that hold nothing else that is wanted.
#[tokio::test]
async fn wherever_delivery_stands_nothing_in_a_backup_is_half_there() {
    let dir = tempdir();
    let spool = open(&dir.path().join("a/spool"));
    let log = clinical(&spool);
    let payloads: Vec<Vec<u8>> =
        (0..12).map(|n| bytes(n, if n % 4 == 3 { 900_000 } else { 200_000 })).collect();
    for payload in &payloads {
        log.append(b"m".to_vec(), payload).await.unwrap();
    }
    for through in 0..=12 {
        log.free_through(through, Timestamp::from_micros(0));
        let file = dir.path().join(format!("{through}.backup"));
        back_up(&spool, &file, true);
        let place = dir.path().join(format!("{through}/spool"));
        restore(&file, &place, false).unwrap();
        let restored = open(&place);
        let log = clinical(&restored);
        let oldest = log.oldest();
        assert!(oldest <= through + 1, "{through}: {oldest}");
        let expected: Vec<Got> =
            (oldest..=12).map(|seq| Got::Record(seq, payloads[seq as usize - 1].clone())).collect();
        assert!(all(&log).await == expected, "{through}: from {oldest} on everything is there");
    }
}

/// The journal says its state again at its end and lets its oldest part go, at any moment of a backup.
#[tokio::test]
async fn what_the_journal_says_is_in_a_backup_also_where_its_oldest_part_goes_meanwhile() {
    let dir = tempdir();
    for moment in 0..8 {
        let home = dir.path().join(format!("{moment}"));
        let (place, file) = (home.join("a/spool"), home.join("b.backup"));
        let spool = open(&place);
        let journal = spool.journal().clone();
        journal.append(b"state".to_vec(), b"of the beginning").await.unwrap();
        for n in 0..4 {
            journal.append(Vec::new(), &bytes(n, 900_000)).await.unwrap();
        }
        let lets_go = || {
            journal.append_blocking(b"state".to_vec(), b"of the beginning").unwrap();
            let through = journal.oldest() + 1;
            journal.0.freeing.lock().unwrap().through = through;
            while journal.oldest() <= through {
                assert!(journal.0.free_oldest(true).unwrap());
            }
        };
        let mut out =
            Meanwhile { out: File::create(&file).unwrap(), after: moment, what: Some(Box::new(lets_go)) };
        spool.backup(&plan(true), Timestamp::from_micros(5), &mut out).unwrap();
        let has_gone = out.what.is_none();
        drop(out);
        assert!(has_gone, "{moment}");
        drop((journal, spool));
        let other = home.join("c/spool");
        restore(&file, &other, false).unwrap();
        let report = verify(&other, Some(&keys())).unwrap();
        assert!(report.is_sound(), "{moment}: {report:?}");
        let spool = open(&other);
        let said = all(spool.journal()).await;
        let state = |got: &&Got| matches!(got, Got::Record(_, payload) if payload == b"of the beginning");
        assert!(said.iter().any(|got| state(&got)), "{moment}: what was said is there");
    }
}

#[tokio::test]
async fn an_object_of_many_chunks_comes_back() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let config = Config { record_bytes_max: 128 << 20, held_bytes_max: 256 << 20, ..small() };
    let spool = try_open(&home, &config, Arc::new(RealDisk)).unwrap();
    let log = spool.lane(Lane::Bulk).clone();
    let bytes_max = 70 << 20;
    let piece = |n: u64| bytes(n, 1 << 20);
    let mut appender = log.begin_sized(bytes_max).await.unwrap();
    for n in 0..70 {
        appender.push(&piece(n)).await.unwrap();
    }
    // One that nobody has finished when the backup is made.
    let mut unfinished = log.begin_sized(4 << 20).await.unwrap();
    unfinished.push(&piece(99)).await.unwrap();
    let seq = appender.commit(b"object".to_vec()).await.unwrap();
    back_up(&spool, &file, true);
    drop((unfinished, log, spool));
    let other = dir.path().join("c/spool");
    open_backup(&file).unwrap().restore(&other, &config, Arc::new(Still::default()), false).unwrap();
    assert!(verify(&other, Some(&keys())).unwrap().is_sound());
    let spool = try_open(&other, &config, Arc::new(RealDisk)).unwrap();
    let Some(Entry::Record(record)) = spool.lane(Lane::Bulk).get(seq).await.unwrap() else { panic!() };
    assert_eq!(record.payload.len(), bytes_max);
    let mut whole = Vec::new();
    for chunk in 0..record.payload.chunks() {
        whole.extend_from_slice(&record.payload.chunk(chunk).await.unwrap());
    }
    assert!((0..70).all(|n| whole[n << 20..(n + 1) << 20] == piece(n as u64)));
}

#[tokio::test]
async fn without_the_backlog_what_was_not_delivered_is_an_exact_range() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    let log = clinical(&spool);
    for n in 0..9 {
        log.append(Vec::new(), &bytes(n, 100_000)).await.unwrap();
    }
    log.free_through(4, Timestamp::from_micros(0));
    back_up(&spool, &file, false);
    drop((log, spool));
    let bytes = fs::metadata(&file).unwrap().len();
    assert!(bytes < 150_000, "{bytes}");
    let other = dir.path().join("c/spool");
    restore(&file, &other, false).unwrap();
    let spool = open(&other);
    let log = clinical(&spool);
    assert_eq!(all(&log).await, [Got::Damaged(5, 9)]);
    assert_eq!(log.append(Vec::new(), b"new").await.unwrap(), 10);
    spool.stop().await.unwrap();
}

#[tokio::test]
async fn a_backup_made_under_load_holds_all_that_was_acknowledged_before() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = Arc::new(open(&home));
    let log = clinical(&spool);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..3_u64 {
        let (log, stop) = (log.clone(), Arc::clone(&stop));
        writers.spawn(async move {
            let size = if n == 0 { 500_000 } else { 3_000 };
            while !stop.load(Ordering::Relaxed) {
                if log.append(Vec::new(), &bytes(n, size)).await.is_err() {
                    break;
                }
            }
        });
    }
    until("a few are there", || *log.durable().borrow() > 50).await;
    let before = *log.durable().borrow();
    // Meanwhile everybody takes what there is.
    log.free_through(before / 2, Timestamp::from_micros(0));
    let (making, to) = (Arc::clone(&spool), file.clone());
    tokio::task::spawn_blocking(move || back_up(&making, &to, true)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    drop((log, spool));
    let other = dir.path().join("c/spool");
    restore(&file, &other, false).unwrap();
    let spool = open(&other);
    let log = clinical(&spool);
    let got = all(&log).await;
    assert!(*log.durable().borrow() >= before);
    assert!(log.oldest() <= before / 2 + 1);
    let damaged: Vec<&Got> = got.iter().filter(|got| !matches!(got, Got::Record(..))).collect();
    assert!(damaged.is_empty(), "nothing of it is damaged: {damaged:?} of {before} from {}", log.oldest());
    spool.stop().await.unwrap();
    assert!(verify(&other, Some(&keys())).unwrap().is_sound());
}

#[tokio::test]
async fn what_the_disk_does_not_give_is_counted_and_damaged() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    let log = clinical(&spool);
    for n in 0..3 {
        log.append(Vec::new(), &bytes(n, 50_000)).await.unwrap();
    }
    // The end of the file cannot be read.
    let path = segments(&home).pop().unwrap();
    File::options().write(true).open(path).unwrap().set_len(8192 + 60_000).unwrap();
    let summary = back_up(&spool, &file, true);
    assert!(summary.unreadable_bytes > 80_000, "{summary:?}");
    drop((log, spool));
    assert_eq!(open_backup(&file).unwrap().check().unwrap().0, summary);
    let other = dir.path().join("c/spool");
    restore(&file, &other, false).unwrap();
    let spool = open(&other);
    assert_eq!(all(&clinical(&spool)).await, [Got::Record(1, bytes(0, 50_000)), Got::Damaged(2, 3)]);
    spool.stop().await.unwrap();
}

#[test]
fn no_lane_and_no_key_stands_in_a_backup_in_the_clear() {
    let dir = tempdir();
    let (home, file) = (dir.path().join("a/spool"), dir.path().join("b.backup"));
    let spool = open(&home);
    let log = spool.lane(Lane::Urgent).clone();
    log.append_blocking(b"envelope of KESTREL".to_vec(), b"PID|KESTREL").unwrap();
    spool.state().put(Table::Meta, b"PEERNAME", b"10.0.0.1").unwrap();
    back_up(&spool, &file, true);
    let bytes = fs::read(&file).unwrap();
    for word in [b"KESTREL".as_slice(), b"PEERNAME", b"[gateway]", &[7; 32]] {
        assert!(memchr::memmem::find(&bytes, word).is_none());
    }
}

/// A writer that has something happen when it is written to once more after some times.
struct Meanwhile<'a> {
    out: File,
    after: u64,
    what: Option<Box<dyn FnOnce() + 'a>>,
}

impl Write for Meanwhile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.after.checked_sub(1) {
            Some(left) => self.after = left,
            None => {
                if let Some(what) = self.what.take() {
                    what();
                }
            }
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[tokio::test]
async fn a_backup_opens_with_the_root_key_of_its_time_whatever_came_after() {
    let dir = tempdir();
    let (home, key_file) = (dir.path().join("a/spool"), dir.path().join("root.key"));
    let clock = Arc::new(Still::default());
    let gateway = "ward-3".parse().unwrap();
    let root = || RootKey::from_file(&key_file, false).unwrap();
    let first = RootKey::from_file(&key_file, true).unwrap();
    fs::copy(&key_file, dir.path().join("first.key")).unwrap();
    let opened = |dir: &Path, root| {
        Spool::open_on(dir, &small(), root, &gateway, Arc::clone(&clock) as Arc<_>, Outside::real()).unwrap()
    };
    let spool = opened(&home, root());
    let log = clinical(&spool);
    // Three days, each under a key of its own, and one of them erased.
    for day in 0..3 {
        log.append(Vec::new(), &bytes(day, 40_000)).await.unwrap();
        clock.advance_s(86_400);
    }
    log.free_through(1, Timestamp::from_micros(0));
    let derived = *spool.keys().derive("tokens");
    let before = dir.path().join("before.backup");
    back_up(&spool, &before, true);
    // The root key is rotated while another one is made, and after it.
    let during = dir.path().join("during.backup");
    let rotate = || drop(spool.rotate_root_key(None, "tester").unwrap());
    let mut out = Meanwhile { out: File::create(&during).unwrap(), after: 0, what: Some(Box::new(rotate)) };
    spool.backup(&plan(true), Timestamp::from_micros(5), &mut out).unwrap();
    drop(out);
    let second = root();
    let after = dir.path().join("after.backup");
    back_up(&spool, &after, true);
    drop((log, spool));
    assert_ne!(first.id(), second.id());

    for (file, right, wrong) in
        [(&before, &first, &second), (&during, &first, &second), (&after, &second, &first)]
    {
        assert!(matches!(Backup::open(file, wrong, None), Err(Error::WrongKey { .. })), "{}", file.display());
        let backup = Backup::open(file, right, Some(&gateway)).unwrap();
        let place = file.with_extension("place").join("spool");
        backup.restore(&place, &small(), Arc::clone(&clock) as Arc<_>, false).unwrap();
        assert!(verify(&place, Some(right)).unwrap().is_sound());
        let spool = opened(&place, right.clone());
        let got = all(&clinical(&spool)).await;
        let expected: Vec<Got> = (1..=3).map(|n| Got::Record(n, bytes(n - 1, 40_000))).collect();
        assert!(expected.ends_with(&got) && got.len() >= 2, "{}: {} records", file.display(), got.len());
        assert_eq!(*spool.keys().derive("tokens"), derived, "pseudonyms stay what they were");
        // It goes on: another day, another key, another root key.
        clock.advance_s(86_400);
        clinical(&spool).append(Vec::new(), b"later").await.unwrap();
        spool.stop().await.unwrap();
    }
}
