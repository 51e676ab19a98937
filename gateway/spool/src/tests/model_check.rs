//! The log against the simplest model of one: a list. Random work, crashes at random points with random damage to
//! what was never acknowledged, reopening; whatever happens, the log holds the list.

use proptest::prelude::*;

use super::support::*;

#[derive(Debug, Clone)]
enum Op {
    /// Appends one record of this size.
    Append(usize),
    /// Appends several at the same time.
    Together(Vec<usize>),
    /// Begins a large record and drops it.
    Abandon(usize),
    /// Ends in order and opens again.
    Stop,
    /// Crashes and opens what the disk holds; garbage may stand behind what was acknowledged.
    Crash {
        garbage: Vec<u8>,
        is_cut: bool,
    },
    /// Delivers a share of what is there, in eighths, and frees what may go.
    Free(u64),
    /// Reads one number, in eighths of what there is.
    Get(u64),
    Epoch,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 0..3_000_usize, 2 => 3_000..60_000_usize, 1 => 250_000..700_000_usize];
    prop_oneof![
        6 => size.clone().prop_map(Op::Append),
        3 => prop::collection::vec(size.clone(), 2..6).prop_map(Op::Together),
        1 => size.prop_map(Op::Abandon),
        1 => Just(Op::Stop),
        2 => (prop::collection::vec(any::<u8>(), 0..2_000), any::<bool>()).prop_map(|(garbage, is_cut)| Op::Crash { garbage, is_cut }),
        2 => (0..=8_u64).prop_map(Op::Free),
        2 => (0..=8_u64).prop_map(Op::Get),
        1 => Just(Op::Epoch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..costly(48) })]

    #[test]
    fn the_log_is_a_list(ops in prop::collection::vec(op(), 1..25)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(ops));
    }
}

/// Every other one is stored compressed, where it is long enough.
fn any_bytes(seed: u64, len: usize) -> Vec<u8> {
    if seed.is_multiple_of(2) { text(seed, len) } else { bytes(seed, len) }
}

async fn run(ops: Vec<Op>) {
    let dir = tempdir();
    let mut alone = Some(Alone::open(dir.path()));
    // Payloads by number, from 1; what was freed stays in the list.
    let mut list: Vec<Vec<u8>> = Vec::new();
    let mut seed = 0;
    for op in ops {
        let log = alone.as_ref().unwrap().log.clone();
        match op {
            Op::Append(len) => {
                seed += 1;
                let payload = any_bytes(seed, len);
                if let Ok(seq) = log.append(b"m".to_vec(), &payload).await {
                    list.push(payload);
                    assert_eq!(seq, list.len() as u64);
                }
            }
            Op::Together(sizes) => {
                let mut tasks = tokio::task::JoinSet::new();
                for len in sizes {
                    seed += 1;
                    let (log, payload) = (log.clone(), any_bytes(seed, len));
                    tasks.spawn(async move { (log.append(b"m".to_vec(), &payload).await, payload) });
                }
                let mut done: Vec<_> =
                    tasks.join_all().await.into_iter().filter_map(|(seq, p)| Some((seq.ok()?, p))).collect();
                done.sort();
                for (seq, payload) in done {
                    list.push(payload);
                    assert_eq!(seq, list.len() as u64);
                }
            }
            Op::Abandon(len) => {
                if let Ok(mut appender) = log.begin().await {
                    drop(appender.push(&bytes(0, len)).await);
                }
            }
            Op::Stop => {
                alone.take().unwrap().stop();
                alone = Some(Alone::open(dir.path()));
            }
            Op::Crash { garbage, is_cut } => {
                // Wait for chunks of abandoned records; they are written, though nobody waits for them.
                if log.append(b"m".to_vec(), b"last").await.is_ok() {
                    list.push(b"last".to_vec());
                }
                let end = log.0.table().iter().last().map_or(0, |s| s.end);
                drop(alone.take());
                if let Some(path) = segments(dir.path()).last() {
                    spoil(path, end, &garbage, is_cut);
                }
                alone = Some(Alone::open(dir.path()));
            }
            Op::Free(eighths) => {
                log.free_through(list.len() as u64 * eighths / 8, model::Timestamp::from_micros(0));
                while log.0.free_oldest(true).unwrap() {}
            }
            Op::Get(eighths) => {
                let seq = list.len() as u64 * eighths / 8;
                match log.get(seq).await {
                    Ok(Some(entry)) => {
                        let payload = list[usize::try_from(seq).unwrap() - 1].clone();
                        assert!(short(entry).await == Got::Record(seq, payload));
                    }
                    Ok(None) => assert_eq!(seq, 0),
                    Err(crate::Error::Freed { oldest }) => assert!(seq < oldest),
                    Err(e) => panic!("{e}"),
                }
            }
            Op::Epoch => {
                let next = model::StreamEpoch::new(log.epoch().get() + 1).unwrap();
                log.adopt_epoch(next).unwrap();
            }
        }
        let log = &alone.as_ref().unwrap().log;
        assert_eq!(*log.durable().borrow(), list.len() as u64);
        let got = all(log).await;
        let kept = usize::try_from(log.oldest()).unwrap() - 1;
        assert_eq!(got.len(), list.len() - kept);
        for (i, entry) in got.into_iter().enumerate() {
            assert!(
                entry == Got::Record((kept + i) as u64 + 1, list[kept + i].clone()),
                "record {}",
                kept + i + 1
            );
        }
    }
}

/// Garbage where a batch would have been written next, never acknowledged: whole pages of it end somewhere.
fn spoil(path: &std::path::Path, end: u64, garbage: &[u8], is_cut: bool) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    if file.metadata().unwrap().len() <= end {
        return;
    }
    // The head of a real frame with a body that did not arrive, or plain cutting.
    if is_cut {
        file.set_len(end + garbage.len() as u64).unwrap();
    } else {
        let header = crate::format::FrameHeader {
            body_len: 5000,
            frame: 1 << 20,
            seq: 1 << 40,
            batch: 1 << 20,
            kind: crate::format::Kind::Record,
            flags: 0,
            previous_tag: [7; 16],
        };
        file.write_all_at(&header.encode(), end).unwrap();
        file.write_all_at(garbage, end + 52).unwrap();
    }
}
