//! Frames and files that somebody moved: swapped, doubled, taken out, set back, brought from elsewhere. Whatever
//! it is, it is found, no record is shown that was not written under its number, and no number is given out again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::support::*;
use crate::format::FrameHeader;
use crate::keys::ring::KEYS_DIR;
use crate::verify::examine;

type Files = BTreeMap<String, Vec<u8>>;

const SEGMENT_BYTES: u64 = 64 << 10;

fn files(dir: &Path) -> Files {
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    fs::read_dir(clinical_dir(dir)).unwrap().map(|e| read(e.unwrap())).collect()
}

/// A log of several segments that was closed in order, as it was at some moments before, and its records.
/// In a folder that may hold a ring of keys already.
async fn written(dir: &tempfile::TempDir, seed: u64) -> (Files, Vec<Files>, Vec<Vec<u8>>) {
    let alone =
        Alone::open_on(dir.path(), std::sync::Arc::new(crate::disk::RealDisk), SEGMENT_BYTES).unwrap();
    let payload = |i: u64| match i % 5 {
        // Compressed, and of a page as the others are.
        3 => text(seed * 100 + i, 5_000),
        _ => bytes(seed * 100 + i, 200 + (i as usize * 977) % 3000),
    };
    let payloads: Vec<_> = (0..40).map(payload).collect();
    let mut earlier = Vec::new();
    for (i, payload) in payloads.iter().enumerate() {
        if i % 7 == 5 {
            earlier.push(files(dir.path()));
        }
        alone.log.append(b"m".to_vec(), payload).await.unwrap();
    }
    alone.stop();
    (files(dir.path()), earlier, payloads)
}

fn frames(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = crate::format::DATA_START as usize;
    while at < segment.len() {
        match FrameHeader::decode(&segment[at..]) {
            Some(header) => {
                found.push(at..at + header.total_bytes() as usize);
                at += header.total_bytes() as usize;
            }
            None => at = (at + 1).next_multiple_of(4),
        }
    }
    found
}

/// Overwrites bytes at a place, as far as the file goes.
fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    let len = bytes.len().min(file.len() - at);
    file[at..at + len].copy_from_slice(&bytes[..len]);
}

struct Luck(Vec<u8>);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        let taken: Vec<u8> = self.0.drain(..4).collect();
        u32::from_le_bytes(taken.try_into().unwrap()) as usize % bound
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// One piece of mischief; says what it was.
fn spoil(ours: &mut Files, earlier: &[Files], theirs: &Files, luck: &mut Luck) -> &'static str {
    let names: Vec<String> =
        ours.keys().filter(|n| crate::table::segment_number(n).is_some()).cloned().collect();
    let name = luck.of(&names).clone();
    let other = luck.of(&names).clone();
    let own = frames(&ours[&name]);
    match luck.below(7) {
        0 => {
            let (a, b) = (luck.of(&own).clone(), luck.of(&own).clone());
            let (a, b) = if a.start <= b.start { (a, b) } else { (b, a) };
            let file = &ours[&name];
            let swapped = match a.end <= b.start {
                true => [&file[b.clone()], &file[a.end..b.start], &file[a.clone()]].concat(),
                false => return "nothing",
            };
            put(ours.get_mut(&name).unwrap(), a.start, &swapped);
            "swapped"
        }
        1 => {
            let (from, to) = (luck.of(&own).clone(), luck.of(&own).start);
            let copied = ours[&name][from].to_vec();
            put(ours.get_mut(&name).unwrap(), to, &copied);
            "doubled"
        }
        2 => {
            let gone = luck.of(&own).clone();
            let rest = ours[&name][gone.end..].to_vec();
            let file = ours.get_mut(&name).unwrap();
            put(file, gone.start, &rest);
            let end = file.len();
            file[end - gone.len()..].fill(0);
            "taken out"
        }
        3 => {
            let from = luck.of(&frames(&ours[&other])).clone();
            let copied = ours[&other][from].to_vec();
            put(ours.get_mut(&name).unwrap(), luck.of(&own).start, &copied);
            "from another segment"
        }
        4 => {
            let Some(foreign) = theirs.get(&name) else { return "nothing" };
            if luck.below(4) == 0 {
                ours.insert(name, foreign.clone());
                return "the file of another log";
            }
            let copied = foreign[luck.of(&frames(foreign)).clone()].to_vec();
            put(ours.get_mut(&name).unwrap(), luck.of(&own).start, &copied);
            "from another log"
        }
        5 => {
            let (a, b) = (ours[&name].clone(), ours[&other].clone());
            ours.insert(name, b);
            ours.insert(other, a);
            "files exchanged"
        }
        _ => {
            let Some(old) = luck.of(earlier).get(&name) else { return "nothing" };
            if luck.below(2) == 0 {
                ours.insert(name, old.clone());
                return "file set back";
            }
            let page = luck.below(old.len() / 4096) * 4096;
            let pages = 4096 * (1 + luck.below(4));
            let (old, file) = (old.clone(), ours.get_mut(&name).unwrap());
            if page < file.len() {
                put(file, page, &old[page..(page + pages).min(old.len())]);
            }
            "pages set back"
        }
    }
}

#[test]
fn whatever_is_moved_is_found_and_shown_to_nobody() {
    let rounds = count(2_000, 10_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let kinds: BTreeMap<&str, u64> = std::thread::scope(|scope| {
        let one = |thread: u64| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(rounds_of(thread, (thread..rounds).step_by(threads as usize)))
            })
        };
        let mut all = BTreeMap::new();
        for thread in (0..threads).map(one).collect::<Vec<_>>() {
            for (kind, count) in thread.join().unwrap() {
                *all.entry(kind).or_default() += count;
            }
        }
        all
    });
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert!(kinds["nothing"] < rounds / 3, "{kinds:?}");
}

async fn rounds_of(thread: u64, rounds: impl Iterator<Item = u64>) -> BTreeMap<&'static str, u64> {
    let our_dir = tempdir();
    let (ours, earlier, payloads) = written(&our_dir, 1 + thread).await;
    // Another log, as its twin on a disk that was copied and begun anew would be: under the same ring.
    let their_dir = tempdir();
    let ring = |dir: &Path| copy(&our_dir.path().join(KEYS_DIR), &dir.join(KEYS_DIR));
    ring(their_dir.path());
    let (theirs, ..) = written(&their_dir, 100).await;
    assert!(ours.len() > 5, "several segments");
    let mut kinds = BTreeMap::new();
    for round in rounds {
        let mut luck = Luck(bytes(round, 100));
        let mut spoilt = ours.clone();
        let kind = spoil(&mut spoilt, &earlier, &theirs, &mut luck);
        if spoilt == ours {
            *kinds.entry("nothing").or_default() += 1;
            continue;
        }
        *kinds.entry(kind).or_default() += 1;
        let what = format!("round {round}: {kind}");
        let dir = tempdir();
        ring(dir.path());
        fs::create_dir_all(clinical_dir(dir.path())).unwrap();
        for (name, bytes) in &spoilt {
            fs::write(clinical_dir(dir.path()).join(name), bytes).unwrap();
        }
        let report = examine(dir.path(), Some(&keys()), 1).unwrap();
        assert!(!report.is_sound(), "{what} is not noticed");
        let alone =
            Alone::open_on(dir.path(), std::sync::Arc::new(crate::disk::RealDisk), SEGMENT_BYTES).unwrap();
        let mut next = 1;
        for entry in all(&alone.log).await {
            next = match entry {
                Got::Record(seq, payload) => {
                    assert!(payload == payloads[seq as usize - 1], "{what}: {seq} is another record");
                    seq + 1
                }
                Got::Damaged(_, last) | Got::Erased(_, last) => last + 1,
            };
        }
        assert_eq!(next, payloads.len() as u64 + 1, "{what}: no number is forgotten");
        assert_eq!(alone.log.append(vec![], b"more").await.unwrap(), next, "{what}");
    }
    kinds
}
