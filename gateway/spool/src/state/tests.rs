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
