//! Objects that are larger than a record may be in memory, and what is left of those that were never finished.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use model::{Lane, Timestamp};

use super::support::*;
use crate::config::AT_HAND_BYTES_MAX;
use crate::disk::RealDisk;
use crate::format::{DIRECT_REFS_MAX, FRAME_HEADER_BYTES, FrameHeader, INLINE_BYTES, Kind, TABLE_REFS};
use crate::{Config, Entry, Error, Log, Payload, Spool, verify};

/// Full chunks of an object that is larger than what may be held in memory.
const CHUNKS: usize = (AT_HAND_BYTES_MAX / INLINE_BYTES as u64) as usize;

fn roomy() -> Config {
    Config { record_bytes_max: 100 << 20, held_bytes_max: 256 << 20, bulk_bytes_max: 128 << 20, ..small() }
}

fn bulk(spool: &Spool) -> Log {
    spool.lane(Lane::Bulk).clone()
}

/// Chunk `i` of an object: says where it belongs, and compresses well.
fn chunk(i: usize) -> Vec<u8> {
    let mut chunk = vec![b'a' + (i % 26) as u8; INLINE_BYTES];
    chunk[..8].copy_from_slice(&(i as u64).to_le_bytes());
    chunk
}

async fn append_object(log: &Log, chunks: usize) -> u64 {
    let mut appender = log.begin_sized((chunks * INLINE_BYTES) as u64).await.unwrap();
    for i in 0..chunks {
        appender.push(&chunk(i)).await.unwrap();
    }
    appender.push(b"the rest").await.unwrap();
    appender.commit(b"object".to_vec()).await.unwrap()
}

async fn payload(log: &Log, seq: u64) -> Payload {
    let Some(Entry::Record(record)) = log.get(seq).await.unwrap() else { panic!("{seq}") };
    assert_eq!(record.meta, "object");
    record.payload
}

async fn check_object(log: &Log, seq: u64, chunks: usize) {
    let payload = payload(log, seq).await;
    assert_eq!(payload.len(), (chunks * INLINE_BYTES) as u64 + 8);
    assert_eq!(payload.chunks(), chunks + 1);
    // In order, and where a reader jumps.
    for i in (0..chunks).chain([0, chunks - 1]) {
        assert!(payload.chunk(i).await.unwrap() == chunk(i), "chunk {i}");
    }
    assert_eq!(payload.chunk(chunks).await.unwrap(), "the rest");
    assert!(payload.chunk(chunks + 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_object_with_more_chunks_than_a_record_names_comes_back_by_way_of_tables() {
    let dir = tempdir();
    let chunks = CHUNKS;
    let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    log.append(vec![], b"before").await.unwrap();
    let seq = append_object(&log, chunks).await;
    log.append(vec![], b"behind").await.unwrap();
    check_object(&log, seq, chunks).await;
    let whole = payload(&log, seq).await;
    assert!(whole.len() > AT_HAND_BYTES_MAX);
    assert!(matches!(whole.bytes().await, Err(Error::TooLarge { .. })), "not to be held in memory");
    // As a kill leaves it, with its last segment open; then as an orderly end does.
    drop((log, spool));
    for _ in 0..2 {
        let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
        let log = bulk(&spool);
        check_object(&log, seq, chunks).await;
        // Every segment from its first chunk on is needed until it is delivered, and then goes.
        log.free_through(seq - 1, Timestamp::from_micros(0));
        let needed = log.stat().segments;
        assert!(!log.0.free_oldest(true).unwrap());
        assert_eq!((log.stat().segments, log.0.free_dead().unwrap()), (needed, 0));
        for keys in [None, Some(&keys())] {
            let report = verify(dir.path(), keys).unwrap();
            assert!(report.is_sound(), "{report:?}");
        }
        spool.stop().await.unwrap();
    }
    let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    let payload = payload(&log, seq).await;
    log.append(vec![], b"in a segment of its own").await.unwrap();
    log.free_through(seq + 1, Timestamp::from_micros(0));
    while log.0.free_oldest(true).unwrap() {}
    assert!(matches!(payload.chunk(0).await, Err(Error::Freed { .. })));
    assert_eq!(all(&log).await, [Got::Record(seq + 2, b"in a segment of its own".to_vec())]);
}

#[tokio::test]
async fn a_table_that_rots_costs_its_object_alone() {
    let dir = tempdir();
    let chunks = CHUNKS;
    let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    let seq = append_object(&log, chunks).await;
    log.append(vec![], b"behind").await.unwrap();
    spool.stop().await.unwrap();
    let (path, at) = table(dir.path()).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at + FRAME_HEADER_BYTES as u64 + 30).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at + FRAME_HEADER_BYTES as u64 + 30).unwrap();
    for keys in [None, Some(&keys())] {
        let report = verify(dir.path(), keys).unwrap();
        assert_eq!((report.faults, report.findings[0].offset), (1, at), "{report:?}");
    }
    let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    let payload = payload(&log, seq).await;
    assert!(matches!(payload.chunk(0).await, Err(Error::Damaged { seq: s }) if s == seq));
    let Some(Entry::Record(behind)) = log.get(seq + 1).await.unwrap() else { panic!() };
    assert_eq!(behind.payload.bytes().await.unwrap(), "behind");
}

/// The file and the offset of the first table in the bulk lane.
fn table(dir: &Path) -> Option<(std::path::PathBuf, u64)> {
    let dir = crate::spool::log_dir(dir, "bulk");
    for number in crate::recover::list(&dir).unwrap().into_keys() {
        let path = crate::table::segment_path(&dir, number);
        let bytes = std::fs::read(&path).unwrap();
        let is_table = |at: &usize| FrameHeader::decode(&bytes[*at..]).is_some_and(|h| h.kind == Kind::Table);
        if let Some(at) = memchr::memmem::find_iter(&bytes, b"WGf1").find(is_table) {
            return Some((path, at as u64));
        }
    }
    None
}

#[tokio::test]
async fn any_part_of_a_large_record_that_is_damaged_is_found_and_costs_that_record_alone() {
    let whole = tempdir();
    let segment_bytes = 4 << 20;
    let open = |dir: &Path| Alone::open_on(dir, Arc::new(RealDisk), segment_bytes).unwrap();
    let alone = open(whole.path());
    // Direct and by way of two tables; chunks as they came and compressed; and small ones between.
    let payloads = [
        b"one".to_vec(),
        bytes(2, DIRECT_REFS_MAX * INLINE_BYTES),
        b"three".to_vec(),
        text(4, TABLE_REFS * INLINE_BYTES + 5_000),
        bytes(5, TABLE_REFS * INLINE_BYTES + 1),
        b"six".to_vec(),
    ];
    for payload in &payloads {
        alone.log.append(vec![], payload).await.unwrap();
    }
    alone.stop();
    let path = segments(whole.path())[0].clone();
    let segment = std::fs::read(&path).unwrap();
    let frames: Vec<_> = memchr::memmem::find_iter(&segment, b"WGf1")
        .filter_map(|at| FrameHeader::decode(&segment[at..]).map(|header| (at, header)))
        .collect();
    let tables = frames.iter().filter(|(_, header)| header.kind == Kind::Table).count();
    assert_eq!((frames.len(), tables), (6 + 2 + 4 + 2 + 4 + 2 + 1, 4));
    let mut record = 1;
    for (at, header) in frames {
        let total = header.total_bytes() as usize;
        let is_footer = header.kind == Kind::Footer;
        for part in [4, 16, 29, FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 16, total - 20, total - 1] {
            let what = format!("{:?} of record {record}, byte {part}", header.kind);
            let mut spoilt = segment.clone();
            spoilt[at + part] ^= 0x10;
            let dir = tempdir();
            copy(whole.path(), dir.path());
            std::fs::write(&segments(dir.path())[0], &spoilt).unwrap();
            for keys in [None, Some(&keys())] {
                assert!(!verify(dir.path(), keys).unwrap().is_sound(), "{what} is not noticed");
            }
            let alone = open(dir.path());
            for (seq, got) in (1..).zip(all(&alone.log).await) {
                let is_lost = seq == record && !is_footer;
                let expected = Got::Record(seq, payloads[seq as usize - 1].clone());
                assert!(got == if is_lost { Got::Damaged(seq, seq) } else { expected }, "{what}: {seq}");
            }
            assert_eq!(alone.log.append(vec![], b"more").await.unwrap(), 7, "{what}");
        }
        record += u64::from(header.kind == Kind::Record);
    }
}

#[tokio::test]
async fn an_object_cut_off_by_a_crash_leaves_nothing_and_its_segments_are_freed() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = bulk(&spool);
    log.append(vec![], b"not delivered").await.unwrap();
    let mut appender = log.begin().await.unwrap();
    for i in 0..24 {
        appender.push(&bytes(i, INLINE_BYTES)).await.unwrap();
    }
    assert!(log.stat().segments >= 6);
    // Its threads end, and nobody tells them that the object is given up.
    drop(spool);
    let spool = open(dir.path());
    let log = bulk(&spool);
    // The first holds a record, the last one the chain.
    assert_eq!(log.stat().segments, 2);
    assert_eq!(log.append(vec![], b"next").await.unwrap(), 2);
    let both = [Got::Record(1, b"not delivered".to_vec()), Got::Record(2, b"next".to_vec())];
    assert_eq!(all(&log).await, both);
    spool.stop().await.unwrap();
    for keys in [None, Some(&keys())] {
        let report = verify(dir.path(), keys).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
    let spool = open(dir.path());
    assert_eq!(all(&bulk(&spool)).await, both);
    assert_eq!(bulk(&spool).append(vec![], b"and on").await.unwrap(), 3);
    drop(appender);
}

#[tokio::test]
async fn an_object_that_is_given_up_frees_its_segments_before_older_records_are_delivered() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = bulk(&spool);
    log.append(vec![], b"not delivered").await.unwrap();
    // One that stays shares segments with the one that goes.
    let kept = bytes(99, 700_000);
    let mut staying = log.begin().await.unwrap();
    staying.push(&kept).await.unwrap();
    let mut appender = log.begin().await.unwrap();
    for i in 0..24 {
        appender.push(&bytes(i, INLINE_BYTES)).await.unwrap();
    }
    let before = log.stat().segments;
    drop(appender);
    until("freed", || log.stat().segments <= 3).await;
    assert!(before >= 6);
    assert_eq!(staying.commit(b"object".to_vec()).await.unwrap(), 2);
    assert!(all(&log).await == [Got::Record(1, b"not delivered".to_vec()), Got::Record(2, kept)]);
    spool.stop().await.unwrap();
    for keys in [None, Some(&keys())] {
        let report = verify(dir.path(), keys).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
    let spool = open(dir.path());
    let log = bulk(&spool);
    assert_eq!(all(&log).await.len(), 2);
    assert_eq!(log.append(vec![], b"next").await.unwrap(), 3);
    log.free_through(3, Timestamp::from_micros(0));
    while log.0.free_oldest(true).unwrap() {}
    assert_eq!(log.oldest(), 3);
}

#[tokio::test]
async fn an_object_that_does_not_fit_is_refused_early_and_leaves_room_for_others() {
    let dir = tempdir();
    let config = Config { bulk_bytes_max: 32 << 20, ..roomy() };
    let spool = try_open(dir.path(), &config, Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    assert!(matches!(log.begin_sized((100 << 20) + 1).await, Err(Error::TooLarge { .. })));
    for too_much in [32 << 20, 29 << 20] {
        assert!(matches!(log.begin_sized(too_much).await, Err(Error::Full { .. })), "{too_much}");
    }
    assert_eq!(log.stat().segments, 0, "before anything is written");
    drop(log.begin_sized(20 << 20).await.unwrap());
    // One that does not say how long it is may grow until there is little left.
    let mut appender = log.begin().await.unwrap();
    let noise = bytes(1, 1 << 20);
    let refused = loop {
        if let Err(refused) = appender.push(&noise).await {
            break refused;
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert!((20 << 20..32 << 20).contains(&appender.len()), "{}", appender.len());
    // Records that come meanwhile are taken.
    assert_eq!(log.append(vec![], &bytes(2, 200_000)).await.unwrap(), 1);
    drop(appender);
    until("freed", || log.stat().segments <= 2).await;
    let object = bytes(3, 20 << 20);
    let mut appender = log.begin_sized(object.len() as u64).await.unwrap();
    appender.push(&object).await.unwrap();
    assert_eq!(appender.commit(vec![]).await.unwrap(), 2);
    assert!(all(&log).await[1] == Got::Record(2, object));
}

#[tokio::test]
async fn a_payload_goes_from_log_to_log_as_a_stream() {
    let dir = tempdir();
    let chunks = CHUNKS;
    let spool = try_open(dir.path(), &roomy(), Arc::new(RealDisk)).unwrap();
    let log = bulk(&spool);
    let seq = append_object(&log, chunks).await;
    let copied = spool.held().append_payload(b"object".to_vec(), &payload(&log, seq).await).await.unwrap();
    check_object(spool.held(), copied, chunks).await;
    let small = Payload::from(::bytes::Bytes::from_static(b"small"));
    let copied = spool.held().append_payload(vec![], &small).await.unwrap();
    assert_eq!(
        short(spool.held().get(copied).await.unwrap().unwrap()).await,
        Got::Record(2, b"small".to_vec())
    );
}
