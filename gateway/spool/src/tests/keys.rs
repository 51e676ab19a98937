//! Key epochs and the root key: what is erased is gone for everybody, what is not stays readable, whatever fails.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use model::{Clock as _, Lane, Timestamp};

use super::faults::{EIO, FaultyDisk};
use super::support::*;
use crate::cipher::LogKeys;
use crate::disk::{Disk, RealDisk};
use crate::epochs::{Epochs, NoKey};
use crate::keys::ring::{COPIES, EPOCHS_MAX, path};
use crate::{Error, LogState, Outside, RootKey, Spool, check_audit, key_status, verify};

const DAY_S: i64 = 86_400;

fn day(n: i64) -> Timestamp {
    Timestamp::from_micros(n * DAY_S * 1_000_000 + 5)
}

/// A key file outside of the spool, as on a box whose key is elsewhere.
fn root_in(dir: &Path) -> RootKey {
    RootKey::from_file(&dir.join("root.key"), true).unwrap()
}

fn open_at(dir: &Path, clock: &Arc<Still>, disk: Arc<dyn Disk>) -> Result<Spool, Error> {
    let gateway = "ward-3".parse().unwrap();
    let outside = Outside { disk, ..Outside::real() };
    Spool::open_on(&dir.join("spool"), &small(), root_in(dir), &gateway, Arc::clone(clock) as Arc<_>, outside)
}

async fn append(log: &crate::Log, count: u64, seed: u64) {
    for i in 0..count {
        log.append(b"m".to_vec(), &bytes(seed + i, 5000)).await.unwrap();
    }
}

/// How many entries the audit log has; none of them is broken.
async fn audited(spool: &Spool) -> u64 {
    let check = check_audit(spool.journal(), &std::collections::BTreeSet::new()).await.unwrap();
    assert_eq!(check.faults, 0, "{check:?}");
    check.entries
}

/// All bytes of all files below.
fn everything(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(everything(&path)) } else { all.extend(fs::read(path).unwrap()) }
    }
    all
}

fn is_in(all: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(all, part).is_some()
}

#[tokio::test]
async fn an_erased_day_is_unreadable_with_a_copy_of_the_disk_and_the_root_key() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    let log = clinical(&spool);
    let large = bytes(99, 700_000);
    append(&log, 5, 10).await;
    log.append(b"m".to_vec(), &large).await.unwrap();
    spool.held().append(b"held".to_vec(), &bytes(500, 300)).await.unwrap();
    // A record that begins to arrive before midnight and ends after it is of both days.
    let mut across = log.begin().await.unwrap();
    across.push(&large).await.unwrap();
    let segments_before = spool.key_status().epochs[0].segments;
    clock.advance_s(DAY_S);
    assert_eq!(across.commit(b"m".to_vec()).await.unwrap(), 7);
    append(&log, 5, 20).await;
    let status = spool.key_status();
    assert_eq!(status.epochs.iter().map(|e| e.epoch).collect::<Vec<_>>(), [1, 2], "{status:?}");
    assert_eq!(status.epochs[0].segments, segments_before, "yesterday's segment was closed");
    assert!(status.epochs[1].is_current && status.epochs[1].segments >= 1);

    // Refused while anybody needs it.
    let refused = |epoch| spool.erase(epoch, "tester").unwrap_err().to_string();
    assert_eq!(refused(1), "key epoch 1 covers records of the clinical log that are not delivered: 1 to 7");
    log.free_through(6, clock.now());
    assert!(refused(1).contains("not delivered: 7 to 7"), "record 7 has chunks there: {}", refused(1));
    log.free_through(12, clock.now());
    assert_eq!(refused(1), "key epoch 1 covers records of the held log that are held: 1 to 1");
    spool.held().free_through(1, clock.now());
    assert_eq!(refused(3), "there is no key epoch 3");
    assert_eq!(spool.key_status().epochs[0].needed_for.as_deref(), Some([].as_slice()));
    assert_eq!(all(&log).await.len(), 12, "a refusal changes nothing");

    // What the disk holds of the key of epoch 1, to look for later.
    let before = tempdir();
    copy(dir.path(), before.path());
    let wrapped = fs::read(path(&dir.path().join("spool"), COPIES[0])).unwrap()[256 + 16..256 + 76].to_vec();
    assert!(is_in(&everything(dir.path()), &wrapped));

    let erasure = spool.erase(1, "tester").unwrap();
    assert!(erasure.segments >= 2, "{erasure:?}");
    assert!(matches!(spool.erase(1, "tester"), Err(Error::NoKeyEpoch { epoch: 1 })));
    let mut expected = vec![Got::Erased(1, 7)];
    expected.extend((8..=12).map(|seq| Got::Record(seq, bytes(20 + seq - 8, 5000))));
    let oldest = log.oldest();
    let got = all(&log).await;
    assert!(got == expected || (oldest > 1 && got == expected[1..]), "{oldest} {:?}", got.first());

    // A copy of the disk and the root key.
    let after = tempdir();
    copy(dir.path(), after.path());
    assert!(!is_in(&everything(after.path()), &wrapped), "its key is nowhere");
    // Even where the segments themselves are brought back from before.
    let logs = after.path().join("spool/logs");
    fs::remove_dir_all(&logs).unwrap();
    copy(&before.path().join("spool/logs"), &logs);
    let other = open_at(after.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(&clinical(&other)).await, expected);
    assert!(!all(other.held()).await.iter().any(|got| matches!(got, Got::Record(..))));
    drop(other);
    let root = root_in(after.path());
    let report = verify(&after.path().join("spool"), Some(&root)).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert!(report.logs.iter().map(|l| l.erased).sum::<u64>() >= 2, "{report:?}");
    // The control: with the ring of before, all of it can be read. So the key is what is missing.
    for name in COPIES {
        fs::copy(path(&before.path().join("spool"), name), path(&after.path().join("spool"), name)).unwrap();
    }
    let other = open_at(after.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(&clinical(&other)).await.first(), Some(&Got::Record(1, bytes(10, 5000))));
    drop(other);

    // It was audited, and goes on after a restart.
    assert_eq!(audited(&spool).await, 1);
    append(&log, 1, 30).await;
    spool.stop().await.unwrap();
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(&clinical(&spool)).await.last(), Some(&Got::Record(13, bytes(30, 5000))));
    assert_eq!(spool.key_status().erased, 1);
}

#[tokio::test]
async fn the_epoch_of_today_can_be_erased_too_and_a_quiet_log_moves_on() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    let bulk = spool.lane(Lane::Bulk).clone();
    append(&bulk, 3, 1).await;
    append(spool.lane(Lane::Urgent), 2, 1).await;
    bulk.free_through(3, clock.now());
    assert!(spool.erase(1, "tester").is_err(), "urgent is not delivered");
    spool.lane(Lane::Urgent).free_through(2, clock.now());
    spool.erase(1, "tester").unwrap();
    assert_eq!(bulk.oldest(), 4, "what is erased and next to go is freed");
    append(&bulk, 2, 7).await;
    assert_eq!(all(&bulk).await, [Got::Record(4, bytes(7, 5000)), Got::Record(5, bytes(8, 5000))]);
    drop(spool);
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(spool.lane(Lane::Bulk)).await.len(), 2);
    assert_eq!(spool.lane(Lane::Bulk).stat().damaged, 0);
    // The journal's key is not an epoch's.
    assert_eq!(audited(&spool).await, 1);
    assert!(matches!(spool.erase(0, "tester"), Err(Error::NoKeyEpoch { epoch: 0 })));
}

#[tokio::test]
async fn a_day_that_retention_freed_takes_its_key_along_unless_something_is_missing() {
    for is_missing in [false, true] {
        let dir = tempdir();
        let clock = Arc::new(Still::default());
        let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
        append(spool.lane(Lane::Urgent), 1, 1).await;
        let log = clinical(&spool);
        append(&log, 3, 1).await;
        clock.advance_s(DAY_S);
        append(&log, 3, 4).await;
        spool.lane(Lane::Urgent).free_through(1, clock.now());
        drop(spool);
        // The urgent lane's disk is away when the box starts.
        let (here, away) = (dir.path().join("spool/logs/urgent"), dir.path().join("away"));
        if is_missing {
            fs::rename(&here, &away).unwrap();
        }
        let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
        append(spool.lane(Lane::Urgent), 1, 1).await;
        spool.lane(Lane::Urgent).free_through(2, clock.now());
        let log = clinical(&spool);
        assert_eq!(spool.key_status().epochs.len(), 2);
        log.free_through(6, clock.now());
        for _ in 0..3 {
            clock.advance_s(1800);
            log.free_through(6, clock.now());
            spool.lane(Lane::Urgent).free_through(2, clock.now());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        until("freed", || {
            clock.advance_s(1800);
            log.free_through(6, clock.now());
            spool.lane(Lane::Urgent).free_through(2, clock.now());
            log.oldest() == 4 && (is_missing || spool.key_status().epochs.len() == 1)
        })
        .await;
        let status = spool.key_status();
        if is_missing {
            assert_eq!((status.epochs.len(), status.kept_through), (2, 2), "{status:?}");
            drop(spool);
            fs::remove_dir_all(&here).unwrap();
            fs::rename(&away, &here).unwrap();
            let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
            assert_eq!(all(spool.lane(Lane::Urgent)).await, [Got::Record(1, bytes(1, 5000))]);
            spool.lane(Lane::Urgent).free_through(1, clock.now());
            spool.erase(1, "tester").unwrap();
        } else {
            assert_eq!((status.epochs[0].epoch, status.kept_through, status.erased), (2, 0, 1), "{status:?}");
        }
    }
}

#[tokio::test]
async fn no_step_of_the_clock_erases_anything() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    let log = clinical(&spool);
    let mut seed = 0;
    // Ten years ahead, back again, a second back over midnight, a day before the first of all.
    let steps = [0, 3650 * DAY_S, -3650 * DAY_S, DAY_S, -1, -3 * DAY_S, 9 * DAY_S];
    for step in steps {
        clock.advance_s(step);
        append(&log, 2, seed).await;
        log.free_through(0, clock.now());
        seed += 2;
    }
    let count = steps.len() as u64 * 2;
    let expected: Vec<_> = (1..=count).map(|seq| Got::Record(seq, bytes(seq - 1, 5000))).collect();
    assert_eq!(all(&log).await, expected);
    let numbers: Vec<_> = spool.key_status().epochs.iter().map(|e| e.epoch).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6], "a second back over midnight begins none");
    drop(spool);
    clock.advance_s(-100 * 365 * DAY_S);
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(&clinical(&spool)).await, expected);
}

#[test]
fn a_full_ring_and_one_that_cannot_be_written_go_on_under_the_last_key() {
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let (epochs, _) = Epochs::open(dir.path(), &keys(), &*disk, false).unwrap();
    assert_eq!(epochs.begin(day(0), &*disk).unwrap(), 1);
    disk.fail(disk.count(), u64::MAX);
    assert_eq!(epochs.begin(day(1), &*disk).unwrap(), 1);
    assert!(epochs.is_current(1, day(1)), "and is not asked again today");
    assert!(!epochs.is_current(1, day(2)));
    disk.heal();
    for n in 2..=EPOCHS_MAX as u64 {
        assert_eq!(epochs.begin(day(n as i64), &*disk).unwrap(), n);
    }
    let last = EPOCHS_MAX as u64;
    assert_eq!(epochs.begin(day(last as i64 + 1), &*disk).unwrap(), last);
    assert!(epochs.leave(last, day(0), &*disk).is_err());
    epochs.destroy(5, &*disk).unwrap();
    assert_eq!(epochs.begin(day(last as i64 + 2), &*disk).unwrap(), last + 1);
    let again = Epochs::read(dir.path(), &keys()).unwrap().unwrap();
    assert_eq!(again.ring(), epochs.ring());
}

/// The keys of all epochs, as they unwrap.
fn keks(epochs: &Epochs, through: u64) -> Vec<Result<[u8; 32], NoKey>> {
    (0..=through).map(|n| epochs.kek(n, "bulk").map(|k| *k)).collect()
}

/// Three epochs on a disk that may fail.
fn three(dir: &Path, disk: &dyn Disk) -> Epochs {
    let (epochs, _) = Epochs::open(dir, &root_in(dir), disk, false).unwrap();
    for n in 0..3 {
        epochs.begin(day(n), disk).unwrap();
    }
    epochs
}

/// Opens what a crash left, on a disk that fails after so many operations and is cut again, and then for good.
fn open_twice(dir: &Path, after: u64, seed: u64) -> Epochs {
    let disk = FaultyDisk::new(EIO);
    disk.fail(after, u64::MAX);
    let root = RootKey::from_file(&dir.join("root.key"), false).unwrap();
    let (epochs, is_new) = Epochs::open(dir, &root, &*disk, true).unwrap();
    assert!(!is_new);
    drop(epochs.settle(&root, &*disk));
    drop(epochs);
    disk.cut(seed);
    let root = RootKey::from_file(&dir.join("root.key"), false).unwrap();
    let (epochs, _) = Epochs::open(dir, &root, &RealDisk, true).unwrap();
    epochs.settle(&root, &RealDisk).unwrap();
    epochs
}

#[test]
fn a_rotation_cut_off_at_any_operation_leaves_every_key_readable() {
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let epochs = three(dir.path(), &*disk);
    let from = disk.count();
    epochs.rotate(None, &*disk).unwrap();
    let operations = disk.count() - from;
    assert!(operations >= 11, "{operations}");
    let (mut forth, mut back) = (0, 0);
    for at in 0..=operations {
        for seed in 0..24 {
            let what = format!("cut at {at}, seed {seed}");
            let dir = tempdir();
            let disk = FaultyDisk::new(EIO);
            let epochs = three(dir.path(), &*disk);
            let before = keks(&epochs, 3);
            let (mac, former) = (epochs.keys().mac("x", b"y"), epochs.root().id());
            disk.fail(disk.count() + at, u64::MAX);
            let rotated = epochs.rotate(None, &*disk);
            assert_eq!(rotated.is_ok(), at == operations, "{what}");
            assert_eq!(keks(&epochs, 3), before, "{what}: the process goes on");
            drop(epochs);
            disk.cut(seed);
            let epochs = open_twice(dir.path(), seed, seed + 100);
            assert_eq!(keks(&epochs, 3), before, "{what}");
            assert_eq!(epochs.keys().mac("x", b"y"), mac, "{what}");
            // The key file is the one in force; nothing is left beside it; the former key opens nothing.
            assert!(!dir.path().join("root.key.next").exists(), "{what}");
            let root = RootKey::from_file(&dir.path().join("root.key"), false).unwrap();
            assert_eq!(root.id(), epochs.root().id(), "{what}");
            if let Ok(new) = &rotated {
                assert_eq!(new.id(), root.id(), "{what}: what was said to be done is done");
            }
            if root.id() == former {
                back += 1
            } else {
                forth += 1
            }
            // And it can be done again.
            let again = epochs.rotate(None, &RealDisk).unwrap();
            assert_eq!(keks(&epochs, 3), before, "{what}");
            assert!(matches!(Epochs::read(dir.path(), &root), Err(Error::WrongKey { .. })), "{what}");
            assert_eq!(keks(&Epochs::read(dir.path(), &again).unwrap().unwrap(), 3), before, "{what}");
        }
    }
    assert!(forth > 20 && back > 20, "{forth} {back}: both ways were met");
}

#[test]
fn a_rotation_that_fails_at_any_operation_goes_on_or_can_be_repeated() {
    for at in 0..11 {
        let dir = tempdir();
        let disk = FaultyDisk::new(EIO);
        let epochs = three(dir.path(), &*disk);
        let before = keks(&epochs, 3);
        disk.fail(disk.count() + at, 1);
        let first = epochs.rotate(None, &*disk);
        assert_eq!(keks(&epochs, 3), before, "{at}");
        if first.is_err() {
            epochs.rotate(None, &*disk).unwrap();
        }
        assert_eq!(epochs.begin(day(3), &*disk).unwrap(), 4, "{at}");
        let root = RootKey::from_file(&dir.path().join("root.key"), false).unwrap();
        let again = Epochs::read(dir.path(), &root).unwrap().unwrap();
        assert_eq!(keks(&again, 4), keks(&epochs, 4), "{at}");
    }
}

#[test]
fn an_erasure_cut_off_at_any_operation_is_done_or_not_and_never_undone() {
    let dir = tempdir();
    let disk = FaultyDisk::new(EIO);
    let epochs = three(dir.path(), &*disk);
    let from = disk.count();
    epochs.destroy(2, &*disk).unwrap();
    let operations = disk.count() - from;
    for at in 0..=operations {
        for seed in 0..24 {
            let what = format!("cut at {at}, seed {seed}");
            let dir = tempdir();
            let disk = FaultyDisk::new(EIO);
            let epochs = three(dir.path(), &*disk);
            let before = keks(&epochs, 3);
            let wrapped = fs::read(path(dir.path(), COPIES[0])).unwrap()[336 + 16..336 + 76].to_vec();
            disk.fail(disk.count() + at, u64::MAX);
            let erased = epochs.destroy(2, &*disk);
            drop(epochs);
            disk.cut(seed);
            let epochs = open_twice(dir.path(), seed % 9, seed + 100);
            let after = keks(&epochs, 3);
            assert_eq!((after[0], after[1], after[3]), (before[0], before[1], before[3]), "{what}");
            let is_gone = after[2] == Err(NoKey::Erased);
            assert!(is_gone || after[2] == before[2], "{what}");
            assert!(is_gone || erased.is_err(), "{what}: what was said to be done is done");
            assert_eq!(is_in(&everything(&dir.path().join("keys")), &wrapped), !is_gone, "{what}");
            if !is_gone {
                epochs.destroy(2, &RealDisk).unwrap();
            }
            assert_eq!(epochs.begin(day(9), &RealDisk).unwrap(), 4, "{what}: no number is given out twice");
        }
    }
}

#[test]
fn an_epoch_begun_and_cut_off_at_any_operation_harms_no_other() {
    for at in 0..8 {
        for seed in 0..24 {
            let what = format!("cut at {at}, seed {seed}");
            let dir = tempdir();
            let disk = FaultyDisk::new(EIO);
            let epochs = three(dir.path(), &*disk);
            let before = keks(&epochs, 3);
            disk.fail(disk.count() + at, u64::MAX);
            let number = epochs.begin(day(3), &*disk).unwrap();
            let key = epochs.kek(number, "bulk").map(|k| *k);
            drop(epochs);
            disk.cut(seed);
            let epochs = open_twice(dir.path(), seed % 9, seed + 100);
            assert_eq!(keks(&epochs, 3), before, "{what}");
            assert_eq!(
                epochs.kek(number, "bulk").map(|k| *k),
                key,
                "{what}: what a segment may be under is there"
            );
        }
    }
}

#[test]
fn a_copy_of_the_ring_that_rots_or_goes_is_mended_and_without_both_nothing_is_touched() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    drop(open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap());
    let spool = dir.path().join("spool");
    let whole = fs::read(path(&spool, COPIES[0])).unwrap();
    for (copy, name) in COPIES.into_iter().enumerate() {
        for spoilt in [Some(vec![7; 90]), Some(whole[..40_000].to_vec()), None] {
            match &spoilt {
                Some(bytes) => fs::write(path(&spool, name), bytes).unwrap(),
                None => fs::remove_file(path(&spool, name)).unwrap(),
            }
            for root in [None, Some(&root_in(dir.path()))] {
                let report = verify(&spool, root).unwrap();
                assert_eq!((report.faults, report.findings[0].file.as_str()), (1, name), "{copy}");
            }
            drop(open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap());
            assert!(verify(&spool, Some(&root_in(dir.path()))).unwrap().is_sound());
        }
    }
    for name in COPIES {
        fs::write(path(&spool, name), b"gone").unwrap();
    }
    let before = everything(dir.path());
    let refused = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap_err();
    assert!(matches!(refused, Error::RingLost { .. }), "{refused}");
    assert!(matches!(verify(&spool, Some(&root_in(dir.path()))), Err(Error::RingLost { .. })));
    assert!(everything(dir.path()) == before);
}

#[tokio::test]
async fn the_root_key_of_a_running_spool_is_rotated_and_nothing_else_changes() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    let log = clinical(&spool);
    append(&log, 3, 1).await;
    let (token, former) = (spool.keys().derive("tokens/lake"), spool.root_key().id());
    let files = || {
        let mut files: Vec<_> =
            segments(&dir.path().join("spool")).into_iter().map(|p| fs::read(p).unwrap()).collect();
        files.sort();
        files
    };
    let before = files();
    let new = spool.rotate_root_key(None, "tester").unwrap();
    assert_ne!(new, former);
    assert!(files() == before, "no segment is touched");
    append(&log, 3, 4).await;
    assert_eq!(spool.keys().derive("tokens/lake"), token);
    assert_eq!(all(&log).await.len(), 6);
    drop(spool);
    let status = key_status(&dir.path().join("spool"), &root_in(dir.path())).unwrap();
    assert_eq!((status.root_key.as_str(), status.epochs.len()), (new.as_str(), 1));
    let spool = open_at(dir.path(), &clock, Arc::new(RealDisk)).unwrap();
    assert_eq!(all(&clinical(&spool)).await.len(), 6);
    assert_eq!(audited(&spool).await, 1);
    assert_eq!(clinical(&spool).stat().state, LogState::Ready);
    // A key that was given by hand has no file to be put in.
    let other = tempdir();
    let given = open(other.path());
    assert!(matches!(given.rotate_root_key(None, "tester"), Err(Error::NoKeyFile)));
    // And a log's keys say nothing.
    let said = format!("{:?}", LogKeys::of(&spool.epochs, "bulk"));
    assert!(
        said.contains(&new) && !said.contains(&hex::encode(&root_in(dir.path()).expose()[..4])),
        "{said}"
    );
}
