//! The index against a naive scan, and whatever may become of a sidecar.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::{Seq, Timestamp};
use proptest::prelude::*;

use super::support::*;
use crate::{Config, Error, Keyed, Log, RealDisk, Record, SCANNED_MAX, Searched, Spool, Wanted};

/// A payload is a list of keys, each after a space; a `+` says that there may be more. What follows a bar is ballast.
#[derive(Debug, Default)]
struct Words(AtomicUsize);

impl Keyed for Words {
    fn keys(&self, record: &Record, add: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let payload = record.payload.piece(0)?;
        let words = payload.split(|b| *b == b'|').next().unwrap();
        let mut is_all = true;
        for word in words.split(|b| *b == b' ').filter(|w| !w.is_empty()) {
            if word == b"+" {
                is_all = false;
            } else {
                add(word);
            }
        }
        Ok(is_all)
    }
}

fn padded(words: &str) -> Vec<u8> {
    let mut payload = words.as_bytes().to_vec();
    payload.push(b'|');
    payload.extend(bytes(7, 20_000));
    payload
}

fn search(log: &Log, keyed: &Words, words: &[&str], limit: usize) -> (Vec<Seq>, Searched) {
    let keys: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
    let mut seqs = Vec::new();
    let wanted = Wanted { keys: &keys, from: None, to: None, limit };
    let searched = log.search(&wanted, keyed, &mut |record| seqs.push(record.seq)).unwrap();
    (seqs, searched)
}

fn found(log: &Log, words: &[&str]) -> Vec<Seq> {
    let (seqs, searched) = search(log, &Words::default(), words, 10_000);
    assert_eq!(searched, Searched::default());
    seqs
}

fn index_all(log: &Log) -> usize {
    let mut made = 0;
    while let Some(segment) = log.unindexed() {
        log.index(segment, &Words::default()).unwrap();
        made += 1;
    }
    made
}

fn sidecars(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(clinical_dir(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "idx"))
        .collect();
    all.sort();
    all
}

fn number(sidecar: &Path) -> u64 {
    sidecar.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// Room for three records beside header and footer.
const SEGMENT_BYTES: u64 = 112 << 10;

/// A log with these records, three in a segment.
async fn alone(dir: &Path, records: &[&str]) -> Alone {
    let alone = Alone::open_on(dir, Arc::new(RealDisk), SEGMENT_BYTES).unwrap();
    for words in records {
        alone.log.append(b"m".to_vec(), &padded(words)).await.unwrap();
    }
    alone
}

const RECORDS: [&str; 10] =
    ["a all", "b all", "a b all", "all", "c all", "a all", "d + all", "all", "b all", "a all"];

#[tokio::test]
async fn records_are_found_by_all_their_keys_the_newest_first() {
    let dir = tempdir();
    let alone = alone(dir.path(), &RECORDS).await;
    let log = &alone.log;
    let expected = |log: &Log| {
        assert_eq!(found(log, &["a"]), [10, 6, 3, 1]);
        assert_eq!(found(log, &["a", "b"]), [3]);
        assert_eq!(found(log, &["c"]), [5]);
        assert_eq!(found(log, &["nobody"]), [] as [Seq; 0]);
        assert_eq!(found(log, &["all"]), (1..=10).rev().collect::<Vec<_>>());
        assert_eq!(found(log, &[]), (1..=10).rev().collect::<Vec<_>>());
        let (seqs, searched) = search(log, &Words::default(), &["all"], 3);
        assert_eq!((seqs, searched.is_limited), (vec![10, 9, 8], true));
    };
    expected(log);
    assert_eq!(index_all(log), sidecars(dir.path()).len());
    assert!(index_all(log) == 0 && !sidecars(dir.path()).is_empty());
    expected(log);
    let stat = log.index_stat();
    assert_eq!((stat.sidecars, stat.missing), (sidecars(dir.path()).len() as u64, 0));
    let on_disk: u64 = segments(dir.path())
        .iter()
        .chain(&sidecars(dir.path()))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(log.stat().bytes, on_disk, "sidecars count in the budget");

    // Only what may be meant is read: record 7 may have more keys than it says, and the open segment has no sidecar.
    let words = Words::default();
    search(log, &words, &["c"], 10);
    let open = log.0.table().iter().next_back().map(|s| s.last_seq + 1 - s.first_seq).unwrap();
    assert_eq!(words.0.load(Ordering::Relaxed) as u64, open + 2);

    alone.stop();
    let again = Alone::open_on(dir.path(), Arc::new(RealDisk), SEGMENT_BYTES).unwrap();
    expected(&again.log);
    assert_eq!(
        again.log.index_stat().missing,
        0,
        "what was open was sealed by the stop, read, and is the newest"
    );
    for path in sidecars(dir.path()) {
        let bytes = fs::read(path).unwrap();
        assert!(!bytes.windows(3).any(|w| w == b"all"), "nothing stands in the clear");
    }
}

#[tokio::test]
async fn times_bound_a_search_also_within_a_segment() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let gateway = "ward-3".parse().unwrap();
    let spool = Spool::open(dir.path(), &small(), keys(), &gateway, clock.clone()).unwrap();
    let log = clinical(&spool);
    for _ in 0..120 {
        log.append(b"m".to_vec(), &padded("x")).await.unwrap();
        clock.advance_s(1);
    }
    let at = |n: i64| Some(Timestamp::from_micros(1_700_000_000_000_000 + n * 1_000_000));
    for _ in 0..2 {
        for keys in [vec![], vec![b"x".to_vec()]] {
            for (from, to) in [(10, 20), (0, 1), (119, 500), (30, 31), (40, 100), (200, 300)] {
                let mut seqs = Vec::new();
                let wanted = Wanted { keys: &keys, from: at(from), to: at(to), limit: 1000 };
                log.search(&wanted, &Words::default(), &mut |r| seqs.push(r.seq)).unwrap();
                let expected: Vec<Seq> = (from + 1..=to.min(120)).rev().map(|n| n as Seq).collect();
                assert_eq!(seqs, expected, "{from}..{to}");
            }
        }
        assert!(log.index_stat().sidecars == 0 || log.index_stat().missing == 0);
        index_all(&log);
    }
}

#[tokio::test]
async fn any_flipped_bit_and_any_cut_is_noticed_and_the_sidecar_made_anew() {
    let dir = tempdir();
    let alone = alone(dir.path(), &RECORDS).await;
    index_all(&alone.log);
    let path = sidecars(dir.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let number = number(&path);
    let step = if std::env::var_os("WARDGATE_FAULTS_FULL").is_some() { 1 } else { 37 };
    let mut made_anew = 0;
    let mut spoil = |what: String, spoilt: &[u8]| {
        fs::write(&path, spoilt).unwrap();
        assert_eq!(found(&alone.log, &["a"]), [10, 6, 3, 1], "{what}");
        if !path.exists() {
            made_anew += 1;
            assert_eq!(alone.log.unindexed(), Some(number), "{what}");
        }
        alone.log.0.drop_sidecar(number);
        alone.log.index(number, &Words::default()).unwrap();
        assert_eq!(found(&alone.log, &["a"]), [10, 6, 3, 1], "{what}");
        fs::metadata(&path).unwrap();
    };
    for at in (0..whole.len()).step_by(step) {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 1 << (at % 8);
        spoil(format!("bit {at}"), &spoilt);
    }
    let flips = whole.len().div_ceil(step);
    for length in (0..whole.len()).step_by(step * 7) {
        spoil(format!("cut to {length}"), &whole[..length]);
    }
    spoil("of another segment".into(), &fs::read(sidecars(dir.path()).pop().unwrap()).unwrap());
    assert_eq!(made_anew, flips + whole.len().div_ceil(step * 7) + 1, "each of them was noticed");
}

#[tokio::test]
async fn a_sidecar_of_another_life_of_its_segment_is_not_believed() {
    let (dir, other) = (tempdir(), tempdir());
    let first = alone(dir.path(), &RECORDS).await;
    index_all(&first.log);
    first.stop();
    // The same spool, set back to before its first record, writes others under the same numbers.
    copy(dir.path(), other.path());
    fs::remove_dir_all(clinical_dir(other.path())).unwrap();
    let second = alone(other.path(), &["x", "y", "z", "x", "y", "z", "x", "y", "z", "x"]).await;
    second.stop();
    for path in sidecars(dir.path()) {
        fs::copy(&path, clinical_dir(other.path()).join(path.file_name().unwrap())).unwrap();
    }
    let again = Alone::open_on(other.path(), Arc::new(RealDisk), SEGMENT_BYTES).unwrap();
    assert_eq!(found(&again.log, &["x"]), [10, 7, 4, 1]);
    index_all(&again.log);
    assert_eq!(found(&again.log, &["x"]), [10, 7, 4, 1]);
}

#[tokio::test]
async fn damaged_records_keep_no_other_from_the_index_and_are_named() {
    let dir = tempdir();
    let spool = open(dir.path());
    let mut large = b"x|".to_vec();
    large.extend(bytes(1, 600_000));
    clinical(&spool).append(b"m".to_vec(), &large).await.unwrap();
    for _ in 0..40 {
        clinical(&spool).append(b"m".to_vec(), &padded("x")).await.unwrap();
    }
    spool.stop().await.unwrap();
    // In the first chunk of the first record, and somewhere in one of those behind it.
    let path = segments(dir.path()).remove(0);
    let mut segment = fs::read(&path).unwrap();
    for at in [9_000, 700_000] {
        segment[at] ^= 1;
    }
    fs::write(&path, segment).unwrap();
    let spool = open(dir.path());
    let log = clinical(&spool);
    for _ in 0..60 {
        log.append(b"m".to_vec(), &padded("x")).await.unwrap();
    }
    let before = search(&log, &Words::default(), &["x"], 1000);
    assert_eq!(before.1.left_out.len(), 2, "{before:?}");
    assert_eq!(before.1.left_out.last(), Some(&(1, 1)));
    let named = before.1.left_out.iter().map(|(first, last)| last + 1 - first).sum::<u64>();
    assert_eq!(before.0.len() as u64 + named, *log.durable().borrow(), "together they are all");
    assert!(index_all(&log) >= 2);
    assert_eq!(log.index_stat().missing, 0);
    assert_eq!(search(&log, &Words::default(), &["x"], 1000), before);
    let (seqs, searched) = search(&log, &Words::default(), &["nobody"], 1000);
    assert_eq!((seqs.len(), searched.left_out), (0, before.1.left_out), "it may have been one of them");
}

#[tokio::test]
async fn a_sidecar_goes_with_its_segment_and_with_its_key() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    for n in 0..130 {
        log.append(b"m".to_vec(), &padded(if n < 60 { "old" } else { "new" })).await.unwrap();
    }
    index_all(&log);
    let kept = sidecars(dir.path());
    assert!(kept.len() >= 2);
    // An earlier process died between the two removals, in either order.
    fs::copy(&kept[0], clinical_dir(dir.path()).join("00000000000000009999.idx")).unwrap();
    fs::write(clinical_dir(dir.path()).join("index.tmp"), b"half").unwrap();
    spool.stop().await.unwrap();
    let spool = open(dir.path());
    let log = clinical(&spool);
    assert_eq!(sidecars(dir.path()), kept);
    assert!(!clinical_dir(dir.path()).join("index.tmp").exists());
    // Freed: the index goes with the records.
    let through = log.0.table().iter().next().unwrap().last_seq;
    log.0.freeing.lock().unwrap().through = through;
    assert!(log.0.free_oldest(true).unwrap());
    assert_eq!(sidecars(dir.path()), kept[1..]);
    // Erased: what a copy of the disk still holds of it says nothing any more.
    log.0.freeing.lock().unwrap().through = *log.durable().borrow();
    let key_epoch = log.0.table().segment(number(&kept[1])).unwrap().key_epoch;
    let index_key = || log.0.keys.epochs().index_key(key_epoch, "clinical");
    assert!(index_key().is_ok());
    spool.erase(key_epoch, "test").unwrap();
    assert_eq!(sidecars(dir.path()), [] as [PathBuf; 0]);
    assert!(index_key().is_err());
    assert_eq!(found(&log, &["old"]), [] as [Seq; 0]);
}

#[tokio::test]
async fn without_room_there_is_no_sidecar_and_the_answer_says_what_it_left_out() {
    let dir = tempdir();
    let config = Config { clinical_bytes_max: 10 << 20, ..small() };
    let spool = try_open(dir.path(), &config, Arc::new(RealDisk)).unwrap();
    let log = clinical(&spool);
    while log.append(b"m".to_vec(), &padded("x")).await.is_ok() {}
    let last = *log.durable().borrow();
    let segment = log.unindexed().unwrap();
    assert!(matches!(log.index(segment, &Words::default()), Err(Error::Full { .. })));
    assert_eq!(sidecars(dir.path()), [] as [PathBuf; 0]);
    let (seqs, searched) = search(&log, &Words::default(), &["x"], 100_000);
    let [(first, through)] = searched.left_out.as_slice() else { panic!("{searched:?}") };
    assert_eq!((*first, *through + 1), (1, *seqs.last().unwrap()), "together they are all");
    assert_eq!(seqs, (*through + 1..=last).rev().collect::<Vec<_>>());
    // What is delivered makes room.
    log.0.freeing.lock().unwrap().through = last;
    index_all(&log);
    assert!(!sidecars(dir.path()).is_empty());
    assert!(log.stat().bytes <= 10 << 20);
}

proptest! {
    #![proptest_config(costly(24))]

    #[test]
    fn the_index_finds_what_a_naive_scan_finds(
        records in prop::collection::vec(prop::collection::btree_set("[a-f+]|all", 0..5), 1..60),
        asked in prop::collection::vec("[a-g]|all", 0..3),
        indexed in 0..12_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempdir();
            let texts: Vec<String> =
                records.iter().map(|r| r.iter().cloned().collect::<Vec<_>>().join(" ")).collect();
            let alone = alone(dir.path(), &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
            let mut made = 0;
            while let Some(segment) = alone.log.unindexed().filter(|_| made < indexed) {
                alone.log.index(segment, &Words::default()).unwrap();
                made += 1;
            }
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            let (seqs, searched) = search(&alone.log, &Words::default(), &asked, 1000);
            let mut naive: Vec<Seq> = (1..=records.len() as Seq)
                .zip(&records)
                .filter(|(seq, r)| {
                    asked.iter().all(|a| r.contains(*a))
                        && !searched.left_out.iter().any(|(first, last)| (first..=last).contains(&seq))
                })
                .map(|(seq, _)| seq)
                .collect();
            naive.reverse();
            assert_eq!(seqs, naive);
            let all = segments(dir.path()).len();
            assert!(searched.left_out.is_empty() || all - made > SCANNED_MAX);
        });
    }
}
