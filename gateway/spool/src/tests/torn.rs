//! The last batch of a log, of which any of its sectors were not written, wherever its frames begin and end.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::support::*;
use crate::format::{DATA_START, FrameHeader, PAGE_BYTES, SECTOR_BYTES};

const SECTOR: usize = SECTOR_BYTES as usize;

/// A log that a kill left with a batch of one record and a batch of three, of which the first ends `at` bytes
/// into a sector, the `nth` of its page: the folder, the segment, and where the frames of its records end.
async fn written(at: usize, nth: usize) -> (tempfile::TempDir, Vec<u8>, Vec<usize>) {
    // What a record takes beside its payload: frame, time, length of the envelope, envelope.
    const AROUND: usize = crate::format::FRAME_OVERHEAD_BYTES + 8 + 4 + 1;
    let dir = tempdir();
    let disk = Arc::new(GateDisk::default());
    let alone = Alone::open_on(dir.path(), Arc::clone(&disk) as Arc<_>, 64 << 10).unwrap();
    let first = nth * SECTOR + at + if nth == 0 { PAGE_BYTES as usize } else { 0 } - AROUND;
    // The second spans the end of the page, the third ends in a sector of its own.
    let then = [bytes(2, first), bytes(3, 5 * SECTOR), bytes(4, 700)];
    append_together(&alone.log, &disk, &bytes(1, 1000), &then).await;
    drop(alone);
    let segment = fs::read(&segments(dir.path())[0]).unwrap();
    let ends: Vec<_> = (DATA_START as usize..segment.len())
        .filter_map(|i| FrameHeader::decode(&segment[i..]).map(|h| i + h.total_bytes() as usize))
        .collect();
    assert_eq!((ends.len(), ends[1] % SECTOR), (4, at));
    (dir, segment, ends)
}

/// How many records a log shows with that for its last segment; nothing else may be shown.
async fn shown(dir: &Path, segment: &[u8], what: &str) -> usize {
    fs::write(&segments(dir)[0], segment).unwrap();
    let alone = Alone::open(dir);
    let got = all(&alone.log).await;
    for (entry, seq) in got.iter().zip(1..) {
        assert!(matches!(entry, Got::Record(number, _) if *number == seq), "{what}: {entry:?}");
    }
    assert_eq!(alone.log.stat().damaged, 0, "{what}");
    got.len()
}

#[tokio::test]
async fn a_batch_that_misses_any_of_its_sectors_is_no_damage_and_costs_nothing_before_it() {
    for at in [0, 1, 2, 3, 4, 5, 20, 52, 100, 459, 460, 461, 508, 509, 510, 511] {
        // So that what is missing is in the middle of a page, or up to its end.
        for nth in [4, 6, 7, 0] {
            let (dir, segment, ends) = written(at, nth).await;
            let batch = ends[0].next_multiple_of(PAGE_BYTES as usize);
            let sectors = (ends[3] - batch).div_ceil(SECTOR);
            let mut luck = at as u64 * 64 + nth as u64;
            for round in 0..40 + sectors {
                luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Each one alone, then some of them.
                let missing = if round < sectors { 1 << round } else { luck >> 20 };
                let mut left = segment.clone();
                for i in (0..sectors).filter(|i| missing >> i & 1 == 1) {
                    left[batch + i * SECTOR..][..SECTOR].fill(0);
                }
                let what = format!("{at} bytes into sector {nth}, without {missing:b}");
                let is_whole = |end: &usize| left[..*end] == segment[..*end];
                let whole = ends.iter().take_while(|end| is_whole(end)).count();
                let count = shown(dir.path(), &left, &what).await;
                // The last byte of a checksum may be missing, or be zero: the record is whole all the same.
                let is_nearly = ends.get(whole).is_some_and(|end| is_whole(&(end - 1)));
                assert!(count == whole || is_nearly && count == whole + 1, "{what}: {count} of {whole}");
            }
        }
    }
}

#[tokio::test]
async fn what_has_rotted_in_the_last_batch_is_not_taken_for_torn() {
    for at in [0, 1, 2, 4, 52, 100, 460, 511] {
        for nth in [4, 7, 0] {
            let (dir, segment, ends) = written(at, nth).await;
            let batch = ends[0].next_multiple_of(PAGE_BYTES as usize);
            for sector in (batch..ends[3]).step_by(SECTOR) {
                let mut left = segment.clone();
                let rotted = sector..(sector + SECTOR).min(ends[3]);
                left[rotted.clone()].iter_mut().for_each(|b| *b = !*b | 1);
                fs::write(&segments(dir.path())[0], &left).unwrap();
                let alone = Alone::open(dir.path());
                assert!(alone.log.stat().damaged > 0, "{at} bytes into sector {nth}, rot at {sector}");
                // All that do not lie there are shown, and no number is used again.
                let got = all(&alone.log).await;
                let readable = got.iter().filter(|entry| matches!(entry, Got::Record(..))).count();
                let starts = [DATA_START as usize, batch, ends[1], ends[2]];
                let hit =
                    starts.iter().zip(&ends).filter(|(s, e)| **s < rotted.end && **e > rotted.start).count();
                assert!(readable >= 4 - hit, "{at} bytes into sector {nth}, rot at {sector}: {got:?}");
            }
        }
    }
}
