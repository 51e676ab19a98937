//! A destination that remembers nothing: the cursor on this box is the only truth.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::support::*;
use model::{Format, Reason};

use crate::*;

async fn start(dir: &Path, ris: &Arc<Landing>) -> TestBox {
    let adt = Feed { device_topics: vec![], ..feed("adt", None) };
    TestBox::start(dir, vec![adt, feed("oximeter", None)], vec![route("ris", "treatment", ris)]).await
}

fn ids(landing: &Landing) -> Vec<String> {
    let control_id = |m: &String| m.split('|').nth(9).unwrap().to_owned();
    landing.payloads().iter().map(control_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_answered_before_the_next_goes_and_a_lost_answer_repeats_one() {
    let dir = tempfile::tempdir().unwrap();
    let ris = Landing::forgetful();
    let gateway = start(dir.path(), &ris).await;
    assert_eq!(ris.0.lock().unwrap().opened, 0, "nobody is bothered while there is nothing to send");
    for fault in [Fault::LoseAnswer, Fault::Away, Fault::Decline, Fault::LoseAnswer] {
        ris.fault(fault);
    }
    let mut last = None;
    for n in 0..20 {
        last = Some(gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await);
    }
    gateway.idle().await;
    let mut expected: Vec<String> = (0..20).map(|n| format!("C{n}")).collect();
    expected.splice(0..1, ["C0", "C0", "C0"].map(String::from));
    assert_eq!(ids(&ris), expected, "the same again, never another order");
    let trace = gateway.handle.trace(last.unwrap().id).await.unwrap();
    assert!(
        matches!(
            trace.destinations[0].outcome,
            Outcome::Landed { first: 20, last: 20, table_version: None, committed_at: Some(_), .. }
        ),
        "{trace:?}"
    );
    gateway.stop().await;
    let gateway = start(dir.path(), &ris).await;
    gateway.hl7("MRN1", "C20").await;
    gateway.idle().await;
    assert_eq!(ids(&ris).len(), 23, "nothing is sent again after a restart");
    gateway.stop().await;
}

/// The cursor is all that knows what was taken. Where it cannot be made durable, nothing more goes out, or the next start
/// would send all of it again.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_cursor_cannot_be_kept_nothing_more_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ris = Landing::forgetful();
    let shelf = Arc::<Brittle>::default();
    let start = || {
        let outside = spool::Outside { state: Some(Arc::clone(&shelf) as _), ..spool::Outside::real() };
        let adt = Feed { device_topics: vec![], ..feed("adt", None) };
        TestBox::start_on(dir.path(), small(), vec![adt], vec![route("ris", "treatment", &ris)], outside)
    };
    let gateway = start().await;
    gateway.hl7("MRN0", "C0").await;
    gateway.idle().await;
    shelf.is_broken.store(true, Ordering::SeqCst);
    let opened = ris.0.lock().unwrap().opened;
    for n in 1..6 {
        gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await;
    }
    // It tries again and again.
    for _ in 0..2_000 {
        if ris.0.lock().unwrap().opened > opened + 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ris.0.lock().unwrap().opened > opened + 4);
    let under_way = ids(&ris).len() - 1;
    assert!(under_way <= 1, "{:?}", ids(&ris));
    gateway.stop().await;
    // What the store had not made durable is gone.
    shelf.crash();
    let gateway = start().await;
    gateway.idle().await;
    let expected: Vec<String> = (0..=under_way).chain(1..6).map(|n| format!("C{n}")).collect();
    assert_eq!(ids(&ris), expected);
    gateway.stop().await;
}

/// A state store in memory whose barrier can be made to fail.
#[derive(Debug, Default)]
struct Brittle {
    /// Now, and as it was at the last barrier.
    pairs: std::sync::Mutex<(Pairs, Pairs)>,
    is_broken: std::sync::atomic::AtomicBool,
}

type Pairs = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

impl Brittle {
    fn crash(&self) {
        let mut pairs = self.pairs.lock().unwrap();
        pairs.0 = pairs.1.clone();
        self.is_broken.store(false, Ordering::SeqCst);
    }
}

impl spool::Shelf for Brittle {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, spool::Error> {
        Ok(self.pairs.lock().unwrap().0.get(key).cloned())
    }

    fn apply(&self, writes: Vec<spool::Write>) -> Result<(), spool::Error> {
        let mut pairs = self.pairs.lock().unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => drop(pairs.0.insert(key, value)),
                None => drop(pairs.0.remove(&key)),
            }
        }
        Ok(())
    }

    fn walk(&self, from: &[u8], see: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), spool::Error> {
        let pairs = self.pairs.lock().unwrap().0.clone();
        for (key, value) in pairs.iter().skip_while(|(key, _)| key.as_slice() < from) {
            if !see(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), spool::Error> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(spool::Error::State { what: "flush", problem: "broken".into() });
        }
        let mut pairs = self.pairs.lock().unwrap();
        pairs.1 = pairs.0.clone();
        Ok(())
    }

    fn was_lost(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_receiver_rejects_is_held_and_its_subject_waits_for_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let ris = Landing::forgetful();
    let gateway = start(dir.path(), &ris).await;
    ris.fault(Fault::Reject);
    let rejected = gateway.hl7("MRN1", "C0").await;
    gateway.hl7("MRN2", "C1").await;
    let follows = gateway.hl7("MRN1", "C2").await;
    gateway.hl7("MRN3", "C3").await;
    gateway.idle().await;
    assert_eq!(ids(&ris), ["C1", "C3"], "the lane goes on");
    assert_eq!(ris.skips(), [(1, Reason::Held), (3, Reason::Held)]);
    let held = gateway.handle.held();
    assert_eq!(held.iter().map(|h| h.id).collect::<Vec<_>>(), [rejected.id, follows.id]);
    assert_eq!(held[0].why, "AR, condition 103 at PID-3");
    gateway.stop().await;

    let gateway = start(dir.path(), &ris).await;
    gateway.hl7("MRN2", "C4").await;
    gateway.idle().await;
    assert_eq!(ids(&ris), ["C1", "C3", "C4"], "held is not tried again by itself");
    let mended = Bytes::from(message("MRN1", "C0"));
    gateway.handle.release(&slug("ris"), rejected.id, Some(mended), "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(ids(&ris), ["C1", "C3", "C4", "C0", "C2"], "in the subject's order");
    // Rejected once more, it is held under its new name.
    ris.fault(Fault::Reject);
    let again = gateway.handle.replay(&slug("ris"), rejected.id, "somebody").await.unwrap();
    gateway.idle().await;
    assert_eq!(gateway.handle.held().iter().map(|h| h.id).collect::<Vec<_>>(), [again]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hl7_has_no_route_to_a_receiver_of_hl7() {
    let dir = tempfile::tempdir().unwrap();
    let ris = Landing::forgetful();
    let gateway = start(dir.path(), &ris).await;
    let device = Format::Device("continua-plx".into());
    gateway.take("oximeter", device, "ward/7/plx", b"\x00\x01").await;
    gateway.hl7("MRN1", "C1").await;
    // A frame that is no message is evidence for a person, as everywhere.
    gateway.take("adt", Format::Unparsed, "", b"PID|1||MRN2\r").await;
    gateway.idle().await;
    assert_eq!(ids(&ris), ["C1"]);
    assert_eq!(ris.skips(), [(1, Reason::NotRouted), (3, Reason::Quarantined)]);
    assert_eq!(gateway.handle.held_total(), 1);
    gateway.stop().await;
}

/// Without its state store the box asks nobody how far it was: the journal's marks say it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_store_repeats_nothing_beyond_the_last_mark_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ris = Landing::forgetful();
    let gateway = start(dir.path(), &ris).await;
    for n in 0..10 {
        gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await;
    }
    gateway.idle().await;
    // A stop writes a mark.
    gateway.stop().await;
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start(dir.path(), &ris).await;
    for n in 10..15 {
        gateway.hl7(&format!("MRN{n}"), &format!("C{n}")).await;
    }
    gateway.idle().await;
    assert_eq!(ids(&ris), (0..15).map(|n| format!("C{n}")).collect::<Vec<_>>());
    // A power cut does not: what came since the last mark goes again, in order, and what was never sent goes.
    let copy = tempfile::tempdir().unwrap();
    ris.0.lock().unwrap().faults.extend(std::iter::repeat_n(Fault::Away, 1_000));
    gateway.hl7("MRN15", "C15").await;
    copy_all(dir.path(), copy.path());
    gateway.stop().await;
    ris.0.lock().unwrap().faults.clear();
    std::fs::remove_dir_all(copy.path().join("spool/state")).unwrap();
    let gateway = start(copy.path(), &ris).await;
    gateway.idle().await;
    let expected = (0..15).chain(10..16).map(|n| format!("C{n}")).collect::<Vec<_>>();
    assert_eq!(ids(&ris), expected);
    gateway.stop().await;
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A mark is due by count and by time, and never beyond the cursor.
#[tokio::test(start_paused = true)]
async fn marks_are_written_now_and_then() {
    use crate::marks::*;
    let dir = tempfile::tempdir().unwrap();
    let keys = spool::RootKey::from_file(&dir.path().join("root.key"), true).unwrap();
    let config = spool::Config::default();
    let spool = Spool::open(
        &dir.path().join("spool"),
        &config,
        keys,
        &slug("ward-3"),
        Arc::new(TestClock::default()),
    );
    let journal = crate::journal::Journal::load(Arc::new(spool.unwrap())).await.unwrap();
    let mut marks = Marks::new(journal.clone(), slug("ris"), Lane::Clinical);
    let at = |seq| Cursor { incarnation: "a".into(), seq, batches: 0, unmet: None, lost: None };
    let noted = || journal.mark(&slug("ris"), Lane::Clinical).map(|m| m.through);
    marks.note(&at(MARK_AFTER_RECORDS * 2), false).await.unwrap();
    assert_eq!(noted(), None, "not more often than every minute");
    tokio::time::advance(MARK_EVERY_MIN).await;
    marks.note(&at(MARK_AFTER_RECORDS - 1), false).await.unwrap();
    assert_eq!(noted(), None, "few records wait longer");
    marks.note(&at(MARK_AFTER_RECORDS), false).await.unwrap();
    assert_eq!(noted(), Some(MARK_AFTER_RECORDS));
    assert_eq!(marks.due_in(&at(MARK_AFTER_RECORDS)), None);
    let next = at(MARK_AFTER_RECORDS + 1);
    assert_eq!(marks.due_in(&next), Some(MARK_EVERY_MAX));
    tokio::time::advance(MARK_EVERY_MAX).await;
    marks.note(&next, false).await.unwrap();
    assert_eq!(noted(), Some(MARK_AFTER_RECORDS + 1));
    marks.note(&at(MARK_AFTER_RECORDS + 2), true).await.unwrap();
    assert_eq!(noted(), Some(MARK_AFTER_RECORDS + 2), "the last occasion");
    assert_eq!(marks.through("another"), None, "of another log it says nothing");
}
