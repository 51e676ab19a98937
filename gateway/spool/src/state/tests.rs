//! The store across reopening, damage and limits.

use super::opening::LOST_KEPT;
use super::*;

fn keys(pairs: Vec<Pair>) -> Vec<String> {
    pairs.into_iter().map(|(k, _)| String::from_utf8(k).unwrap()).collect()
}

#[tokio::test]
async fn writes_survive_reopening_and_tables_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let state = State::open(&path).unwrap();
    assert!(!state.was_lost());
    for key in ["a1", "a2", "a3", "b1"] {
        state.put(Table::Cursors, key.as_bytes(), b"1").unwrap();
    }
    state.put(Table::Seen, b"a2", b"2").unwrap();
    state.delete(Table::Cursors, b"a3").unwrap();
    state.delete(Table::Cursors, b"never").unwrap();
    state.sync().await.unwrap();
    drop(state);
    let state = State::open(&path).unwrap();
    assert!(!state.was_lost());
    assert_eq!(state.get(Table::Cursors, b"a2").unwrap().unwrap(), b"1");
    assert_eq!(state.get(Table::Seen, b"a2").unwrap().unwrap(), b"2");
    assert_eq!(state.get(Table::Meta, b"a2").unwrap(), None);
    assert_eq!(keys(state.scan_prefix(Table::Cursors, b"", None, 9).unwrap()), ["a1", "a2", "b1"]);
    assert_eq!(keys(state.scan_prefix(Table::Cursors, b"a", None, 9).unwrap()), ["a1", "a2"]);
    assert_eq!(keys(state.scan_prefix(Table::Cursors, b"a", Some(b"a1"), 9).unwrap()), ["a2"]);
    assert_eq!(keys(state.scan_prefix(Table::Cursors, b"", None, 1).unwrap()), ["a1"]);
    assert_eq!((state.len(Table::Cursors), state.len(Table::Seen), state.len(Table::Meta)), (3, 1, 0));
}

#[test]
fn a_batch_happens_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state")).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(Table::Cursors, b"x", b"old").put(Table::Cursors, b"x", b"new").put(Table::Meta, b"y", b"1");
    state.write(batch).unwrap();
    assert_eq!(state.get(Table::Cursors, b"x").unwrap().unwrap(), b"new");
    let mut batch = WriteBatch::default();
    batch.delete(Table::Cursors, b"x").put(Table::Meta, b"big", &vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(state.write(batch), Err(Error::TooLarge { what: "value", .. })));
    assert_eq!(
        state.get(Table::Cursors, b"x").unwrap().unwrap(),
        b"new",
        "the deletion did not happen either"
    );
    assert!(matches!(
        state.put(Table::Meta, &[0; KEY_BYTES_MAX + 1], b""),
        Err(Error::TooLarge { what: "key", .. })
    ));
}

#[test]
fn a_full_table_refuses_new_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state")).unwrap();
    let mut batch = WriteBatch::default();
    for i in 0..Table::Meta.keys_max() {
        batch.put(Table::Meta, &i.to_be_bytes(), b"");
    }
    state.write(batch).unwrap();
    assert!(matches!(state.put(Table::Meta, b"one more", b""), Err(Error::StateFull { table: Table::Meta })));
    state.put(Table::Meta, &0_u64.to_be_bytes(), b"changed").unwrap();
    state.put(Table::Cursors, b"elsewhere", b"").unwrap();
    state.delete(Table::Meta, &1_u64.to_be_bytes()).unwrap();
    state.put(Table::Meta, b"one more", b"").unwrap();
}

#[tokio::test]
async fn a_broken_store_is_moved_aside_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    for round in 1..=4 {
        let state = State::open(&path).unwrap();
        state.put(Table::Cursors, b"x", b"1").unwrap();
        state.sync().await.unwrap();
        drop(state);
        let db = path.join("db");
        let len = fs::metadata(&db).unwrap().len();
        fs::write(&db, vec![0xA5; usize::try_from(len).unwrap()]).unwrap();
        if round % 2 == 0 {
            fs::write(path.join("conf"), b"junk").unwrap();
        }
        if round == 4 {
            fs::remove_dir_all(&path).unwrap();
        }
        let state = State::open(&path).unwrap();
        assert!(state.was_lost(), "round {round}");
        assert_eq!(state.get(Table::Cursors, b"x").unwrap(), None);
        drop(state);
    }
    let lost = fs::read_dir(dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("lost-"))
        .count();
    assert_eq!(lost, LOST_KEPT);
}

#[tokio::test]
async fn a_failed_barrier_is_not_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("state")).unwrap();
    state.sync().await.unwrap();
    state.0.has_failed.store(true, Ordering::Release);
    state.put(Table::Cursors, b"x", b"1").unwrap();
    assert!(matches!(state.sync().await, Err(Error::State { .. })));
    assert!(matches!(state.sync().await, Err(Error::State { .. })));
}

/// Numbers from a seed (SplitMix64).
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// Does something to the store's files; says what.
fn spoil(dir: &Path, earlier: &[u8], luck: &mut Luck) -> &'static str {
    let (db, conf, marker) = (dir.join("db"), dir.join("conf"), dir.with_extension("id"));
    let mut bytes = fs::read(&db).unwrap();
    // sled allocates ahead; what it holds is at the front.
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let what = match luck.below(11) {
        0 => {
            fs::remove_dir_all(dir).unwrap();
            return "folder gone";
        }
        1 => {
            fs::remove_file(&db).unwrap();
            return "file gone";
        }
        2 => {
            fs::write(&conf, b"junk").unwrap();
            return "settings garbled";
        }
        3 => {
            fs::remove_file(&conf).unwrap();
            return "settings gone";
        }
        4 => {
            fs::write(&marker, b"0123").unwrap();
            return "id of another store";
        }
        5 => {
            bytes.truncate(luck.below(used));
            "cut"
        }
        6 => {
            bytes[luck.below(used)] ^= 1 << luck.below(8);
            "a bit"
        }
        7 => {
            for _ in 0..64 {
                bytes[luck.below(used)] ^= 1 << luck.below(8);
            }
            "many bits"
        }
        8 => {
            let from = luck.below(used);
            let to = (from + luck.below(8192)).min(used);
            bytes[from..to].fill(0);
            "zeros"
        }
        9 => {
            let from = luck.below(used);
            let to = (from + luck.below(8192)).min(used);
            bytes[from..to].iter_mut().for_each(|b| *b = luck.below(256) as u8);
            "noise"
        }
        _ => {
            bytes = earlier.to_vec();
            "set back"
        }
    };
    fs::write(&db, bytes).unwrap();
    what
}

/// 200 stores, each spoilt in another way. What is rebuilt from elsewhere is `gateway/pipeline`'s; here: it opens,
/// shows nothing that was never written, says so where it had to begin anew, and takes and keeps what comes next.
#[tokio::test]
async fn whatever_becomes_of_its_files_it_opens_and_shows_nothing_that_was_never_written() {
    let mut outcomes = BTreeMap::<(&str, &str), u32>::new();
    for round in 0..200_u64 {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = dir.path().join("state");
        let mut luck = Luck(round);
        let state = State::open(&path).unwrap();
        let mut earlier = Vec::new();
        for step in 0..60_u32 {
            let key = (step % 20).to_be_bytes();
            state.put(Table::Cursors, &key, &[&key[..], &step.to_be_bytes()].concat()).unwrap();
            if step % 20 == 19 {
                state.sync().await.unwrap();
                if step < 40 {
                    earlier = fs::read(path.join("db")).unwrap();
                }
            }
        }
        drop(state);
        let what = spoil(&path, &earlier, &mut luck);
        let state = State::open(&path).unwrap_or_else(|e| panic!("round {round}, {what}: {e}"));
        let pairs = state.scan_prefix(Table::Cursors, b"", None, 1000).unwrap();
        for (key, value) in &pairs {
            let step =
                value.strip_prefix(key.as_slice()).map(|step| u32::from_be_bytes(step.try_into().unwrap()));
            let is_ours = step.is_some_and(|step| step < 60 && key.as_slice() == (step % 20).to_be_bytes());
            assert!(is_ours, "round {round}, {what}: {key:?} {value:?}");
        }
        assert!(!state.was_lost() || pairs.is_empty(), "round {round}, {what}");
        assert_eq!(state.len(Table::Cursors), pairs.len() as u64, "round {round}, {what}");
        let is_whole =
            pairs.len() == 20 && pairs.iter().all(|(_, value)| value.last().is_some_and(|step| *step >= 40));
        let outcome = match (state.was_lost(), is_whole) {
            (true, _) => "lost and said so",
            (false, true) => "whole",
            (false, false) => "set back",
        };
        *outcomes.entry((what, outcome)).or_default() += 1;
        state.put(Table::Cursors, b"next", b"1").unwrap();
        state.sync().await.unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert!(!state.was_lost(), "round {round}, {what}");
        assert_eq!(state.get(Table::Cursors, b"next").unwrap().unwrap(), b"1", "round {round}, {what}");
    }
    println!("{outcomes:?}");
    let count = |outcome| outcomes.iter().filter(|((_, o), _)| *o == outcome).map(|(_, n)| n).sum::<u32>();
    assert!(count("lost and said so") > 50, "{outcomes:?}");
    for gone in ["folder gone", "file gone", "id of another store"] {
        assert!(outcomes.keys().all(|(what, o)| *what != gone || *o == "lost and said so"), "{outcomes:?}");
    }
}
