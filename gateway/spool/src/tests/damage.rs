//! Rot, tampering and loss: what is found, what it costs, what it never does.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::support::*;
use crate::disk::RealDisk;
use crate::format::{CRC_BYTES, DATA_START, FRAME_HEADER_BYTES, FrameHeader, Kind, flags};
use crate::verify::{Fault, examine};
use crate::{Entry, Error, Log, RootKey, Spool, VerifyReport, verify};

/// Of the payloads written, those that are stored compressed.
const PACKED: [usize; 2] = [2, 7];

/// The clinical lane with one segment of batches of one and of two: `(payloads, bytes of the segment)`.
async fn written(dir: &Path, is_closed: bool) -> (Vec<Vec<u8>>, Vec<u8>) {
    let disk = Arc::new(GateDisk::default());
    let alone = Alone::open_on(dir, Arc::clone(&disk) as Arc<_>, 128 << 10).unwrap();
    let mut payloads: Vec<_> = (1..=9).map(|i| bytes(i, 40 + 30 * usize::try_from(i).unwrap())).collect();
    // In a batch with others, and alone.
    payloads[PACKED[0]] = text(3, 5_000);
    payloads[PACKED[1]] = text(8, 9_000);
    alone.log.append(b"m".to_vec(), &payloads[0]).await.unwrap();
    append_together(&alone.log, &disk, &payloads[1], &payloads[2..4]).await;
    append_together(&alone.log, &disk, &payloads[4], &payloads[5..7]).await;
    for payload in &payloads[7..] {
        alone.log.append(b"m".to_vec(), payload).await.unwrap();
    }
    if is_closed {
        alone.stop();
    } else {
        drop(alone);
    }
    (payloads, fs::read(&segments(dir)[0]).unwrap())
}

/// Verifies without looking twice.
fn look(dir: &Path, keys: Option<&RootKey>) -> VerifyReport {
    examine(dir, keys, 1).unwrap()
}

fn frames(segment: &[u8]) -> Vec<(usize, FrameHeader)> {
    let at = |i: usize| FrameHeader::decode(&segment[i..]).map(|h| (i, h));
    (usize::try_from(DATA_START).unwrap()..segment.len()).filter_map(at).collect()
}

fn used(segment: &[u8]) -> usize {
    segment.iter().rposition(|b| *b != 0).unwrap() + 1
}

/// What the clinical log gives after a change to its only segment: at most one record may be missing, and a
/// missing one is reported.
async fn check(dir: &Path, payloads: &[Vec<u8>], what: &str) -> usize {
    let alone = Alone::open(dir);
    let log = alone.log.clone();
    let got = all(&log).await;
    let mut lost = 0;
    let mut next = 1;
    for entry in got {
        match entry {
            Got::Record(seq, payload) => {
                assert_eq!(seq, next, "{what}");
                assert!(payload == payloads[usize::try_from(seq).unwrap() - 1], "{what}: record {seq}");
                next = seq + 1;
            }
            Got::Damaged(first, last) | Got::Erased(first, last) => {
                assert_eq!(first, next, "{what}");
                lost += usize::try_from(last - first + 1).unwrap();
                next = last + 1;
            }
        }
    }
    assert_eq!(next, payloads.len() as u64 + 1, "{what}: the numbering goes on behind what was acknowledged");
    assert_eq!(log.append(vec![], b"more").await.unwrap(), next, "{what}");
    lost
}

#[tokio::test]
async fn any_flipped_bit_is_found_and_costs_one_record_at_most() {
    for is_closed in [true, false] {
        let dir = tempdir();
        let (payloads, segment) = written(dir.path(), is_closed).await;
        let path = segments(dir.path())[0].clone();
        assert!(look(dir.path(), Some(&keys())).is_sound());
        assert!(look(dir.path(), None).is_sound());
        let frames = frames(&segment);
        assert_eq!(frames.len(), 9 + usize::from(is_closed));
        for (i, (_, header)) in frames.iter().enumerate().take(9) {
            assert_eq!(header.flags & flags::ZSTD != 0, PACKED.contains(&i), "frame {i}");
        }
        // One bit in every byte that holds something, and in some that hold zeros; without opening the spool,
        // so that all of them are tried in reasonable time.
        let end = used(&segment);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for at in 0..end + 64 {
            let Some(byte) = segment.get(at).filter(|b| **b != 0 || at % 13 == 0) else { continue };
            file.write_all_at(&[byte ^ (1 << (at % 8))], at as u64).unwrap();
            let report = look(dir.path(), None);
            assert!(!report.is_sound(), "closed {is_closed}: byte {at} was not noticed");
            let lost = 9 - report.logs[0].records;
            assert!(lost <= 1, "closed {is_closed}: byte {at} costs {lost} records");
            file.write_all_at(&[*byte], at as u64).unwrap();
        }
        // And with the whole of recovery, for a byte of each part of each frame.
        for (i, (frame, header)) in frames.iter().enumerate() {
            let total = usize::try_from(header.total_bytes()).unwrap();
            for part in [0, 4, 8, 16, 24, 28, 29, 32, 48, 52, total - 20, total - 4] {
                let copied = tempdir();
                fs::write(&path, &segment).unwrap();
                copy(dir.path(), copied.path());
                let mut spoilt = segment.clone();
                spoilt[frame + part] ^= 0x10;
                fs::write(&segments(copied.path())[0], &spoilt).unwrap();
                let lost =
                    check(copied.path(), &payloads, &format!("closed {is_closed} frame {i} part {part}"))
                        .await;
                assert_eq!(lost, usize::from(i < 9), "closed {is_closed} frame {i} part {part}");
            }
        }
    }
}

#[tokio::test]
async fn a_torn_batch_is_dropped_whole_records_before_it_are_not() {
    let dir = tempdir();
    let disk = Arc::new(GateDisk::default());
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 512 << 10).unwrap();
    let payloads: Vec<_> = (1..=6).map(|i| bytes(i, 3000)).collect();
    for payload in &payloads[..2] {
        alone.log.append(vec![], payload).await.unwrap();
    }
    append_together(&alone.log, &disk, &payloads[2], &payloads[3..]).await;
    drop(alone);
    // The fourth record begins the last batch; before it was written there were zeros.
    let after = fs::read(&segments(dir.path())[0]).unwrap();
    let begin = frames(&after)[3].0;
    assert_eq!((begin % 4096, frames(&after).len()), (0, 6));
    let mut before = after.clone();
    before[begin..].fill(0);
    let sectors: Vec<usize> = (begin / 512..used(&after).div_ceil(512)).collect();
    let mut seen = [0; 4];
    // Any subset of sectors may have reached the disk.
    for round in 0..200_u64 {
        let luck = bytes(round, sectors.len());
        let share = u8::try_from(round % 100).unwrap();
        let mut torn = before.clone();
        for (sector, luck) in sectors.iter().zip(luck) {
            if luck >= share {
                torn[sector * 512..][..512].copy_from_slice(&after[sector * 512..][..512]);
            }
        }
        let copied = tempdir();
        copy(dir.path(), copied.path());
        fs::write(&segments(copied.path())[0], &torn).unwrap();
        let report = look(copied.path(), Some(&keys()));
        assert!(report.is_sound(), "round {round}: a tear is no fault: {report:?}");
        let alone = Alone::open(copied.path());
        let got = all(&alone.log).await;
        assert!(got.len() >= 3, "round {round}");
        for (i, entry) in got.iter().enumerate() {
            assert!(*entry == Got::Record(i as u64 + 1, payloads[i].clone()), "round {round}: {i}");
        }
        seen[got.len() - 3] += 1;
        // What is written next takes the numbers over, and what was torn is void for good.
        let next = got.len() as u64 + 1;
        assert_eq!(alone.log.append(vec![], b"new").await.unwrap(), next);
        assert!(all(&alone.log).await[got.len()] == Got::Record(next, b"new".to_vec()));
        let report = look(copied.path(), Some(&keys()));
        assert!(report.is_sound(), "round {round}: {report:?}");
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[tokio::test]
async fn frames_that_are_moved_copied_or_taken_out_are_found() {
    let dir = tempdir();
    let (payloads, segment) = written(dir.path(), true).await;
    let path = segments(dir.path())[0].clone();
    let frames = frames(&segment);
    let range = |i: usize| frames[i].0..frames[i].0 + usize::try_from(frames[i].1.total_bytes()).unwrap();
    // Frames of the same batch are of different length, so a swap moves what is between, too.
    let (a, b) = (range(2), range(3));
    assert_eq!(a.end, b.start);
    let swapped = [&segment[..a.start], &segment[b.clone()], &segment[a.clone()], &segment[b.end..]].concat();
    let removed =
        [&segment[..a.start], &segment[b.start..b.end], &vec![0; a.len()], &segment[b.end..]].concat();
    let mut copied = segment.clone();
    copied[range(4)].fill(0);
    copied[range(4).start..][..range(0).len()].copy_from_slice(&segment[range(0)]);
    let mut forged = segment.clone();
    // The right checksums over a changed ciphertext.
    let r = range(5);
    forged[r.start + 60] ^= 1;
    right_crc(&mut forged[r.clone()]);
    // The same over a flag: what is compressed shall be shown as it is stored, what is not shall be unpacked.
    let reflagged = |i: usize| {
        let mut reflagged = segment.clone();
        let header = FrameHeader { flags: frames[i].1.flags ^ flags::ZSTD, ..frames[i].1 };
        reflagged[range(i)][..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        right_crc(&mut reflagged[range(i)]);
        reflagged
    };
    let cases = [
        ("swapped", swapped, 1),
        ("removed", removed, 1),
        ("copied", copied, 1),
        ("forged", forged, 1),
        ("forged: not compressed", reflagged(PACKED[0]), 1),
        ("forged: compressed", reflagged(5), 1),
    ];
    for (what, bytes, lost) in cases {
        assert_eq!(bytes.len(), segment.len(), "{what}");
        fs::write(&path, &bytes).unwrap();
        let with = look(dir.path(), Some(&keys()));
        assert!(
            with.findings.iter().any(|f| f.fault == Fault::Tampering || f.fault == Fault::Missing),
            "{what}: {with:?}"
        );
        if !what.starts_with("forged") {
            assert!(!look(dir.path(), None).is_sound(), "{what} is seen without the key");
        }
        let again = tempdir();
        copy(dir.path(), again.path());
        assert_eq!(check(again.path(), &payloads, what).await, lost, "{what}");
    }
}

/// Gives a frame the right checksum over what it holds now.
fn right_crc(frame: &mut [u8]) {
    let (front, crc) = frame.split_last_chunk_mut::<CRC_BYTES>().unwrap();
    *crc = crc32c::crc32c(front).to_le_bytes();
}

#[tokio::test]
async fn a_segment_of_another_log_or_spool_is_not_believed() {
    let ours = tempdir();
    let (payloads, _) = written(ours.path(), true).await;
    // The same root key, the same gateway, the same place: another incarnation.
    let theirs = tempdir();
    let (_, foreign) = written(theirs.path(), true).await;
    let spliced = tempdir();
    copy(ours.path(), spliced.path());
    let own = fs::read(&segments(ours.path())[0]).unwrap();
    let (from, to) = (frames(&foreign)[4].0, frames(&own)[4].0);
    assert_eq!(frames(&foreign)[4].1.total_bytes(), frames(&own)[4].1.total_bytes());
    let len = usize::try_from(frames(&own)[4].1.total_bytes()).unwrap();
    let mut bytes = own.clone();
    bytes[to..to + len].copy_from_slice(&foreign[from..from + len]);
    fs::write(&segments(spliced.path())[0], bytes).unwrap();
    let report = look(spliced.path(), Some(&keys()));
    assert!(report.findings.iter().any(|f| f.fault == Fault::Tampering), "{report:?}");
    assert_eq!(check(spliced.path(), &payloads, "spliced").await, 1);
    // A whole file from the held log.
    let spool = try_open(theirs.path(), &small(), Arc::new(RealDisk)).unwrap();
    spool.held().append(vec![], b"x").await.unwrap();
    spool.stop().await.unwrap();
    let held = crate::table::segment_path(&crate::spool::log_dir(theirs.path(), "held"), 1);
    let copied = tempdir();
    copy(ours.path(), copied.path());
    fs::copy(held, &segments(copied.path())[0]).unwrap();
    assert!(!look(copied.path(), None).is_sound());
    assert_eq!(check(copied.path(), &payloads, "held").await, 9);
}

/// Nine records of 240 kB in several segments, and what they hold.
async fn several(dir: &Path) -> Vec<Vec<u8>> {
    let spool = open(dir);
    let log = clinical(&spool);
    let payloads: Vec<_> = (1..=9).map(|i| bytes(i, 240_000)).collect();
    for payload in &payloads {
        log.append(vec![], payload).await.unwrap();
    }
    spool.stop().await.unwrap();
    assert_eq!(segments(dir).len(), 3);
    payloads
}

async fn damaged(log: &Log) -> Vec<(u64, u64)> {
    let damaged = |g| if let Got::Damaged(a, b) = g { Some((a, b)) } else { None };
    all(log).await.into_iter().filter_map(damaged).collect()
}

#[tokio::test]
async fn a_missing_or_unreadable_segment_is_an_exact_range() {
    let cases: [(&str, usize, (u64, u64)); 3] =
        [("first", 0, (1, 4)), ("middle", 1, (5, 8)), ("last", 2, (9, 9))];
    for (what, index, range) in cases {
        for is_removed in [true, false] {
            let dir = tempdir();
            several(dir.path()).await;
            let path = segments(dir.path())[index].clone();
            if is_removed {
                fs::remove_file(&path).unwrap();
            } else {
                let mut bytes = fs::read(&path).unwrap();
                bytes[10] ^= 1;
                bytes[4096 + 10] ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            for keys in [None, Some(&keys())] {
                let report = look(dir.path(), keys);
                assert!(!report.is_sound(), "{what} {is_removed}");
            }
            let spool = open(dir.path());
            let log = clinical(&spool);
            assert_eq!(damaged(&log).await, [range], "{what} {is_removed}");
            assert!(
                matches!(log.get(range.0).await.unwrap(), Some(Entry::Damaged { first, last }) if (first, last) == (range.0, range.0))
            );
            assert_eq!(log.append(vec![], b"on").await.unwrap(), 10, "{what} {is_removed}");
            assert!(log.stat().damaged > 0);
            // A missing file at the end may have held more: no number may be given out twice.
            let is_renewed = log.epoch().get() == 2;
            assert_eq!(is_renewed, what == "last" && is_removed, "{what} {is_removed}");
        }
    }
}

#[tokio::test]
async fn one_copy_of_a_header_is_enough() {
    for at in [10, 4096 + 10] {
        let dir = tempdir();
        let payloads = several(dir.path()).await;
        for path in segments(dir.path()) {
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(look(dir.path(), Some(&keys())).faults, 3);
        assert_eq!(check(dir.path(), &payloads, "one copy").await, 0);
    }
}

#[tokio::test]
async fn a_cut_file_is_noticed_wherever_it_is_cut() {
    let dir = tempdir();
    let (payloads, segment) = written(dir.path(), true).await;
    // Every byte is tried; the whole of recovery takes longer, and is for some of them.
    let step = usize::try_from(count(97, 1)).unwrap();
    let cut = tempdir();
    copy(dir.path(), cut.path());
    let file = fs::OpenOptions::new().write(true).open(&segments(cut.path())[0]).unwrap();
    for len in (0..segment.len()).rev() {
        file.set_len(len as u64).unwrap();
        assert!(!look(cut.path(), None).is_sound(), "{len}");
    }
    for len in (0..segment.len()).step_by(step) {
        let cut = tempdir();
        copy(dir.path(), cut.path());
        fs::write(&segments(cut.path())[0], &segment[..len]).unwrap();
        let lost = check(cut.path(), &payloads, &format!("cut at {len}")).await;
        // The header's first copy is needed, and the frame's last byte.
        let cut_off = |(at, h): &&(usize, FrameHeader)| at + usize::try_from(h.total_bytes()).unwrap() > len;
        assert_eq!(lost, frames(&segment)[..9].iter().filter(cut_off).count(), "{len}");
    }
    // The same for a segment that has a successor.
    let dir = tempdir();
    several(dir.path()).await;
    let first = segments(dir.path())[0].clone();
    let len = fs::metadata(&first).unwrap().len();
    fs::OpenOptions::new().write(true).open(&first).unwrap().set_len(len * 6 / 10).unwrap();
    let report = look(dir.path(), None);
    let costs: Vec<_> =
        report.findings.iter().map(|f| (f.fault, f.records.map(|r| (r.first, r.last)))).collect();
    for cost in [(Fault::Truncation, None), (Fault::Truncation, Some((3, 3))), (Fault::Missing, Some((4, 4)))]
    {
        assert!(costs.contains(&cost), "{report:?}");
    }
    let spool = open(dir.path());
    assert_eq!(damaged(&clinical(&spool)).await, [(3, 4)]);
}

#[tokio::test]
async fn a_damaged_chunk_damages_its_record_alone() {
    // Chunks as they came, and chunks that are compressed.
    for payload in [bytes, text] {
        let dir = tempdir();
        let spool = open(dir.path());
        let log = clinical(&spool);
        for i in 1..=3 {
            log.append(vec![], &payload(i, 600_000)).await.unwrap();
        }
        spool.stop().await.unwrap();
        let path = segments(dir.path())[0].clone();
        let mut segment = fs::read(&path).unwrap();
        let (at, chunk) = frames(&segment)[1];
        assert_eq!(chunk.kind, Kind::Chunk);
        segment[at + FRAME_HEADER_BYTES + 10] ^= 1;
        fs::write(&path, segment).unwrap();
        let report = look(dir.path(), Some(&keys()));
        assert_eq!((report.faults, report.findings[0].fault), (1, Fault::Rot));
        let spool = open(dir.path());
        assert_eq!(damaged(&clinical(&spool)).await, [(1, 1)]);
    }
}

#[tokio::test]
async fn verify_works_beside_a_running_spool_and_names_a_wrong_key() {
    let dir = tempdir();
    assert!(matches!(verify(dir.path(), None), Err(Error::Io { .. })));
    let spool = open(dir.path());
    let log = clinical(&spool);
    let writing = {
        let log = log.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            for i in 0..400 {
                log.append(vec![], &bytes(i, 5_000)).await.unwrap();
            }
        });
        tasks
    };
    let path = dir.path().to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let mut looks = 0;
        for _ in 0..30 {
            let report = verify(&path, Some(&keys())).unwrap();
            assert!(report.is_sound(), "{report:?}");
            looks += 1;
        }
        looks
    });
    assert_eq!(looking.await.unwrap(), 30);
    writing.join_all().await;
    let report = crate::stat(dir.path()).unwrap();
    let clinical = report.logs.iter().find(|l| l.name == "clinical").unwrap();
    assert_eq!((clinical.first, clinical.last, clinical.epoch), (1, 400, 1));
    assert_eq!(clinical.bytes, log.stat().bytes);
    assert_eq!(verify(dir.path(), None).unwrap().logs[1].records, 400);
    let other = crate::RootKey::new(&mut [9; 32]).unwrap();
    assert!(matches!(verify(dir.path(), Some(&other)), Err(Error::WrongKey { .. })));
    drop::<Spool>(spool);
}
