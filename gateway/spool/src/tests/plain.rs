//! The log when nothing goes wrong, and refusals.

use std::fs;
use std::sync::Arc;

use model::{Lane, Refusal, StreamEpoch, Timestamp};

use super::support::*;
use crate::disk::RealDisk;
use crate::format::{INLINE_BYTES, META_BYTES_MAX};
use crate::{Config, Entry, Error, LogState, RootKey, Spool, SuiteChoice};

#[tokio::test]
async fn records_come_back_in_order_with_their_envelopes_across_restarts() {
    let dir = tempdir();
    for round in 0..4_u64 {
        let spool = open(dir.path());
        let log = clinical(&spool);
        assert_eq!(*log.durable().borrow(), round * 10);
        for i in 1..=10 {
            let seq = round * 10 + i;
            let meta = format!("meta {seq}").into_bytes();
            assert_eq!(log.append(meta, format!("payload {seq}").as_bytes()).await.unwrap(), seq);
        }
        for seq in 1..=(round + 1) * 10 {
            let Some(Entry::Record(record)) = log.get(seq).await.unwrap() else { panic!("{seq}") };
            assert_eq!(record.meta, format!("meta {seq}"));
            assert_eq!(record.payload.bytes().await.unwrap(), format!("payload {seq}"));
            assert_eq!((record.seq, record.epoch, record.at.year()), (seq, StreamEpoch::FIRST, 2023));
        }
        assert!(log.get(0).await.unwrap().is_none());
        assert!(log.get((round + 1) * 10 + 1).await.unwrap().is_none());
        assert_eq!(all(&log).await.len() as u64, (round + 1) * 10);
        // Odd rounds end in order, even ones as a kill would.
        if round % 2 == 1 {
            spool.stop().await.unwrap();
            assert!(matches!(log.append(vec![], b"late").await, Err(Error::Stopping)));
            assert_eq!(log.stat().state, LogState::Stopped);
            assert_eq!(all(&log).await.len() as u64, (round + 1) * 10, "still readable");
        }
    }
    assert_eq!(segments(dir.path()).len(), 4, "a segment found is never written again");
}

#[tokio::test]
async fn lanes_are_separate_logs() {
    let dir = tempdir();
    let spool = open(dir.path());
    for lane in Lane::ALL {
        assert_eq!(spool.lane(lane).name(), lane.as_str());
        assert_eq!(spool.lane(lane).append(vec![], lane.as_str().as_bytes()).await.unwrap(), 1);
    }
    assert_eq!(spool.held().append(vec![], b"held").await.unwrap(), 1);
    assert_eq!(spool.journal().append(vec![], b"journal").await.unwrap(), 1);
    for log in spool.logs() {
        assert_eq!(all(log).await, [Got::Record(1, log.name().as_bytes().to_vec())]);
    }
    let mut incarnations: Vec<_> = spool.logs().iter().map(crate::Log::incarnation).collect();
    incarnations.sort();
    incarnations.dedup();
    assert_eq!(incarnations.len(), 5);
    assert!(incarnations.iter().all(|i| i.len() == 32));
}

#[tokio::test]
async fn both_suites_read_back_and_may_be_mixed() {
    let dir = tempdir();
    for (i, suite) in
        [SuiteChoice::Auto, SuiteChoice::ChaCha20Poly1305, SuiteChoice::Aes256Gcm].into_iter().enumerate()
    {
        let spool = try_open(dir.path(), &Config { suite, ..small() }, Arc::new(RealDisk)).unwrap();
        let log = clinical(&spool);
        log.append(vec![], b"x").await.unwrap();
        assert_eq!(all(&log).await.len(), i + 1);
    }
}

#[tokio::test]
async fn large_records_stream_through_beside_small_ones() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = spool.lane(Lane::Bulk).clone();
    let sizes = [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 3 * INLINE_BYTES, 5_000_000];
    let tasks = sizes.map(|len| {
        let log = log.clone();
        async move {
            let payload = bytes(len as u64, len);
            let mut appender = log.begin().await.unwrap();
            for piece in payload.chunks(77_777) {
                appender.push(piece).await.unwrap();
                let small = log.append(b"small".to_vec(), b"in between").await.unwrap();
                assert!(small > 0);
            }
            assert_eq!(appender.len(), len as u64);
            (appender.commit(b"large".to_vec()).await.unwrap(), payload)
        }
    });
    let expected = futures(tasks).await;
    spool.stop().await.unwrap();
    let spool = open(dir.path());
    let log = spool.lane(Lane::Bulk).clone();
    for (seq, payload) in &expected {
        let Some(Entry::Record(record)) = log.get(*seq).await.unwrap() else { panic!("{seq}") };
        assert_eq!(record.meta, "large");
        assert_eq!(record.payload.len(), payload.len() as u64);
        assert_eq!(record.payload.at_hand().is_some(), payload.len() <= INLINE_BYTES);
        assert!(record.payload.bytes().await.unwrap() == *payload, "{}", payload.len());
        assert!(record.payload.chunk(record.payload.chunks()).await.unwrap().is_empty());
    }
    let got = all(&log).await;
    assert!(got.iter().all(|g| matches!(g, Got::Record(..))));
    let large = got.iter().filter(|g| matches!(g, Got::Record(_, p) if *p != b"in between")).count();
    assert_eq!(large, sizes.len());
}

async fn futures<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tasks: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let mut set = tokio::task::JoinSet::new();
    for task in tasks {
        set.spawn(task);
    }
    set.join_all().await
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_nothing_stored() {
    let dir = tempdir();
    let config = Config { record_bytes_max: 600_000, ..small() };
    let spool = try_open(dir.path(), &config, Arc::new(RealDisk)).unwrap();
    let log = clinical(&spool);
    let refused = log.append(vec![], &[0; 600_001]).await.unwrap_err();
    assert_eq!(Refusal::from(&refused), Refusal::TooLarge);
    let mut appender = log.begin().await.unwrap();
    appender.push(&[0; 600_000]).await.unwrap();
    assert!(matches!(appender.push(&[0]).await, Err(Error::TooLarge { what: "record", .. })));
    let meta = vec![0; META_BYTES_MAX + 1];
    assert!(matches!(log.append(meta, b"").await, Err(Error::TooLarge { what: "envelope", .. })));
    assert_eq!(log.append(vec![1; META_BYTES_MAX], &[2; INLINE_BYTES]).await.unwrap(), 1);
    assert_eq!(log.append(vec![1; META_BYTES_MAX], &[3; 600_000]).await.unwrap(), 2);
    assert_eq!(all(&log).await.len(), 2);
}

#[tokio::test]
async fn what_compresses_takes_less_room_and_comes_back_as_it_was() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let end = || log.0.table().iter().last().map_or(8192, |segment| segment.end);
    // Two that compress, one of them in chunks; one that does not; one that is shorter than a page.
    let payloads = [text(1, 200_000), text(2, 400_000), bytes(3, 200_000), b"short".to_vec()];
    let mut sizes = Vec::new();
    for payload in &payloads {
        let before = end();
        log.append(vec![1; 100], payload).await.unwrap();
        sizes.push(end() - before);
    }
    // In pages: a chunk's batch has one of its own, and so has the record that names the chunks.
    assert_eq!(sizes, [4096, 3 * 4096, 49 * 4096, 4096]);
    drop(spool);
    let spool = open(dir.path());
    let expected: Vec<_> = (1..).zip(payloads).map(|(seq, payload)| Got::Record(seq, payload)).collect();
    assert!(all(&clinical(&spool)).await == expected);
}

#[tokio::test]
async fn what_is_read_ahead_counts_as_what_it_is_unpacked() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    // A page each on the disk: all of them lie within what is read at once.
    for i in 0..40 {
        log.append(vec![], &text(i, INLINE_BYTES)).await.unwrap();
    }
    let mut reader = log.reader(0);
    for _ in 0..40 {
        assert!(matches!(reader.next().await.unwrap(), Some(Entry::Record(_))));
        assert!(reader.ahead_bytes() <= 1 << 20, "{}", reader.ahead_bytes());
    }
}

#[tokio::test]
async fn an_abandoned_record_leaves_nothing() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let mut appender = log.begin().await.unwrap();
    appender.push(&bytes(1, 2_000_000)).await.unwrap();
    drop(appender);
    assert_eq!(log.append(vec![], b"next").await.unwrap(), 1);
    assert_eq!(all(&log).await, [Got::Record(1, b"next".to_vec())]);
    // Its chunks go with their segments.
    for _ in 0..4 {
        log.append(vec![], &bytes(0, 200_000)).await.unwrap();
    }
    log.free_through(5, Timestamp::from_micros(0));
    let oldest = segments(dir.path())[0].clone();
    let table_oldest = log.0.table().iter().next().unwrap().clone();
    assert_eq!((table_oldest.pins, table_oldest.needed_through), (0, 0));
    assert!(log.0.free_oldest(true).unwrap());
    assert!(!oldest.exists());
}

#[tokio::test]
async fn a_segment_stays_while_a_record_needs_its_chunks() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let payload = bytes(9, 900_000);
    let mut appender = log.begin().await.unwrap();
    appender.push(&payload).await.unwrap();
    // Small records fill this segment and the next; all of them are delivered.
    for _ in 0..16 {
        log.append(vec![], &bytes(1, 200_000)).await.unwrap();
    }
    log.free_through(16, Timestamp::from_micros(0));
    assert!(!log.0.free_oldest(true).unwrap(), "the record is not finished");
    let seq = appender.commit(vec![]).await.unwrap();
    assert_eq!(seq, 17);
    assert!(!log.0.free_oldest(true).unwrap(), "the record is not delivered");
    drop(spool);
    // The same is known after a restart.
    let spool = open(dir.path());
    let log = clinical(&spool);
    log.append(vec![], b"in a segment of its own").await.unwrap();
    log.free_through(16, Timestamp::from_micros(0));
    assert!(!log.0.free_oldest(true).unwrap(), "nor forgotten");
    assert_eq!(short(log.get(17).await.unwrap().unwrap()).await, Got::Record(17, payload));
    log.free_through(17, Timestamp::from_micros(0));
    while log.0.free_oldest(true).unwrap() {}
    assert_eq!(log.oldest(), 18);
    assert!(matches!(log.get(17).await, Err(Error::Freed { oldest: 18 })));
}

#[tokio::test]
async fn delivered_segments_stay_for_their_time_and_go_with_it() {
    let dir = tempdir();
    let clock = Arc::new(Still::default());
    let gateway = "ward-3".parse().unwrap();
    let start = || Spool::open(dir.path(), &small(), keys(), &gateway, Arc::clone(&clock) as Arc<_>).unwrap();
    let now = || model::Clock::now(&*clock);
    let spool = start();
    let log = clinical(&spool);
    for _ in 0..12 {
        log.append(vec![], &bytes(1, 200_000)).await.unwrap();
    }
    let count = log.stat().segments;
    assert!(count >= 3);
    log.free_through(12, now());
    let is_stamped =
        |log: &crate::Log| log.0.table().iter().next().is_some_and(|s| s.delivered_at_s.is_some());
    until("stamped", || is_stamped(&log)).await;
    clock.advance_s(3000);
    log.free_through(12, now());
    spool.stop().await.unwrap();
    let spool = start();
    let log = clinical(&spool);
    assert_eq!((log.stat().segments, log.oldest()), (count, 1), "not old enough");
    assert!(is_stamped(&log), "the age survives a restart");
    until("freed", || {
        clock.advance_s(60);
        log.free_through(12, now());
        log.stat().segments == 1
    })
    .await;
    assert!(log.oldest() > 1);
    assert_eq!(segments(dir.path()).len(), 1, "the newest stays");
    let oldest = log.oldest();
    let mut reader = log.reader(1);
    assert!(matches!(reader.next().await, Err(Error::Freed { oldest: o }) if o == oldest));
    assert_eq!(log.append(vec![], b"on").await.unwrap(), 13);
    assert!(matches!(all(&log).await.last(), Some(Got::Record(13, _))));
}

#[tokio::test]
async fn a_reader_follows_the_writer() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let writer = {
        let log = log.clone();
        async move {
            for i in 1..=300_u64 {
                log.append(vec![], &bytes(i, 9_000)).await.unwrap();
            }
        }
    };
    let follow = async {
        let durable = log.durable();
        let mut reader = log.reader(1);
        let mut next = 1;
        while next <= 300 {
            match reader.next().await.unwrap() {
                Some(entry) => {
                    assert!(short(entry).await == Got::Record(next, bytes(next, 9_000)), "{next}");
                    next += 1;
                }
                None => {
                    durable.beyond(next - 1).await;
                }
            }
        }
        assert!(reader.next().await.unwrap().is_none());
    };
    tokio::join!(writer, follow);
    assert!(log.stat().segments >= 3);
}

#[tokio::test]
async fn epochs_only_grow_and_survive() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let incarnation = log.incarnation();
    let epoch = |n| StreamEpoch::new(n).unwrap();
    log.append(vec![], b"one").await.unwrap();
    log.adopt_epoch(epoch(5)).unwrap();
    log.adopt_epoch(epoch(5)).unwrap();
    assert!(matches!(log.adopt_epoch(epoch(4)), Err(Error::EpochBackwards { .. })));
    log.append(vec![], b"two").await.unwrap();
    drop(spool);
    // The file of the epoch is lost: the newest segment knows it.
    for is_lost in [false, true] {
        if is_lost {
            fs::remove_file(clinical_dir(dir.path()).join("log.id")).unwrap();
        }
        let spool = open(dir.path());
        let log = clinical(&spool);
        assert_eq!((log.epoch(), log.incarnation()), (epoch(5), incarnation.clone()));
        let mut epochs = Vec::new();
        for seq in 1..=2 {
            let Some(Entry::Record(record)) = log.get(seq).await.unwrap() else { panic!("{seq}") };
            epochs.push(record.epoch.get());
        }
        assert_eq!(epochs, [1, 5]);
    }
    let spool = open(dir.path());
    let log = clinical(&spool);
    log.renew_incarnation().unwrap();
    assert_ne!(log.incarnation(), incarnation);
    assert_eq!(log.epoch(), epoch(6));
    assert_eq!(log.append(vec![], b"three").await.unwrap(), 3);
    assert_eq!(all(&log).await.len(), 3);
}

#[tokio::test]
async fn a_wrong_key_changes_nothing() {
    let dir = tempdir();
    let spool = open(dir.path());
    clinical(&spool).append(vec![], b"x").await.unwrap();
    spool.stop().await.unwrap();
    let files = |dir: &std::path::Path| {
        let mut found = Vec::new();
        let mut stack = vec![dir.to_owned()];
        while let Some(dir) = stack.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    stack.push(path)
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()))
                }
            }
        }
        found.sort();
        found
    };
    let gateway = "ward-3".parse().unwrap();
    let clock = || Arc::new(Still::default());
    // Also where the file that would say so first is lost.
    for is_lost in [false, true] {
        if is_lost {
            for name in crate::spool::LOG_NAMES {
                fs::remove_file(crate::spool::log_dir(dir.path(), name).join("log.id")).unwrap();
            }
        }
        let before = files(dir.path());
        let other = RootKey::new(&mut [8; 32]).unwrap();
        let refused = Spool::open(dir.path(), &small(), other, &gateway, clock()).unwrap_err();
        assert!(matches!(refused, Error::WrongKey { .. }), "{refused}");
        let refused =
            Spool::open(dir.path(), &small(), keys(), &"ward-4".parse().unwrap(), clock()).unwrap_err();
        assert!(matches!(refused, Error::OtherGateway { .. }), "{refused}");
        assert!(before == files(dir.path()));
    }
    assert_eq!(all(&clinical(&open(dir.path()))).await.len(), 1);
}

#[test]
fn only_one_has_it_open() {
    let dir = tempdir();
    let spool = open(dir.path());
    assert!(matches!(try_open(dir.path(), &small(), Arc::new(RealDisk)), Err(Error::Locked { .. })));
    drop(spool);
    open(dir.path());
}

#[tokio::test]
async fn no_payload_and_no_envelope_stands_in_the_clear() {
    let dir = tempdir();
    let spool = open(dir.path());
    let needle = b"DOE^JANE^Q-canary";
    let mut large = bytes(3, 700_000);
    large[300_000..300_000 + needle.len()].copy_from_slice(needle);
    for log in spool.logs() {
        log.append(needle.to_vec(), needle).await.unwrap();
        log.append(needle.to_vec(), &large).await.unwrap();
    }
    spool.stop().await.unwrap();
    let mut stack = vec![dir.path().to_owned()];
    let mut seen = 0;
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else {
                seen += 1;
                let found = memchr::memmem::find(&fs::read(&path).unwrap(), b"canary");
                assert!(found.is_none(), "{}", path.display());
            }
        }
    }
    assert!(seen > 10);
}

#[tokio::test]
async fn more_segments_than_descriptors_open_and_verify() {
    let dir = tempdir();
    let alone = Alone::open_on(dir.path(), Arc::new(RealDisk), 64 << 10).unwrap();
    // An epoch of its own for each record makes a segment of its own.
    let count = 1500;
    for i in 1..=count {
        alone.log.adopt_epoch(StreamEpoch::new(i).unwrap()).unwrap();
        let Ok(seq) = alone.log.append(vec![], b"x").await else { panic!("{:?}", alone.log.stat()) };
        assert_eq!(seq, i);
    }
    drop(alone);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(limit > 100);
    let few = rustix::process::Rlimit {
        current: Some(limit.min(512)),
        maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let alone = Alone::open_on(dir.path(), Arc::new(RealDisk), 64 << 10).unwrap();
    assert_eq!(alone.log.stat().segments, count);
    assert_eq!(all(&alone.log).await.len() as u64, count);
    let report = crate::verify(dir.path(), Some(&keys())).unwrap();
    assert!(report.is_sound(), "{report:?}");
}

#[tokio::test]
async fn a_disk_that_went_away_is_an_error_and_not_damage() {
    let dir = tempdir();
    let alone = Alone::open(dir.path());
    for i in 1..=3 {
        alone.log.append(vec![], &bytes(i, 1000)).await.unwrap();
    }
    let (here, away) = (clinical_dir(dir.path()), dir.path().join("away"));
    let mut reader = alone.log.reader(1);
    fs::rename(&here, &away).unwrap();
    assert!(matches!(reader.next().await, Err(Error::Io { .. })));
    assert_eq!(reader.position(), 1, "nothing was skipped");
    fs::rename(&away, &here).unwrap();
    let Some(Entry::Record(record)) = reader.next().await.unwrap() else { panic!() };
    assert_eq!(record.seq, 1);
}
