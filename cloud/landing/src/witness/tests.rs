use audit::note::Signer;
use audit::proof::Prover;
use audit::{CompactRange, Head};
use model::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::testing::slug;

const INCARNATION: &str = "0123456789abcdef0123456789abcdef";

/// A clock that is an hour later each time.
#[derive(Debug, Default)]
struct Hours(AtomicI64);

impl Clock for Hours {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed) * 3_600_000_000)
    }
}

/// A gateway's log as far as a witness sees it.
struct Log {
    origin: String,
    signer: Signer,
    leaves: Vec<Hash>,
}

impl Log {
    fn new(gateway: &str, incarnation: &str, seed: u8) -> Self {
        let origin = audit::checkpoint::origin(&slug(gateway), incarnation);
        let signer = Signer::new(&origin, Kind::Log, &[seed; 32]).unwrap();
        Self { origin, signer, leaves: Vec::new() }
    }

    fn grow(&mut self, by: u64) {
        for _ in 0..by {
            self.leaves.push(Hash::leaf(&self.leaves.len().to_be_bytes()));
        }
    }

    fn range(&self, size: usize) -> CompactRange {
        let mut range = CompactRange::default();
        self.leaves[..size].iter().for_each(|leaf| range.push(*leaf));
        range
    }

    fn request(&self, old: usize, heads: Vec<Head>) -> AddCheckpoint {
        let mut prover = Prover::consistency(&self.range(old), self.leaves.len() as u64);
        self.leaves[old..].iter().for_each(|leaf| prover.push(*leaf));
        let whole = self.range(self.leaves.len());
        let checkpoint =
            Checkpoint { origin: self.origin.clone(), size: whole.size(), root: whole.root(), heads };
        let mut note = Note::new(checkpoint.to_text());
        note.sign(&self.signer);
        AddCheckpoint { old_size: old as u64, proof: prover.finish().unwrap(), note }
    }
}

fn head(seq: u64, tag: u8) -> Head {
    Head { log: "clinical".into(), incarnation: INCARNATION.into(), epoch: 1, seq, tag: Some([tag; 16]) }
}

fn witness(root: &Path) -> Witness {
    Witness::new(root, Arc::new(Hours::default()))
}

fn refused(result: Result<AuditReceipt, Refused>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn only_what_continues_is_taken_and_a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ward = slug("ward-3");
    let mut log = Log::new("ward-3", INCARNATION, 1);
    log.grow(5);
    let first = witness(dir.path());
    let receipt = first.add(&ward, log.signer.verifier(), &log.request(0, vec![head(7, 1)])).unwrap();
    log.grow(4);
    let request = log.request(5, vec![head(9, 2)]);
    let again = first.add(&ward, log.signer.verifier(), &request).unwrap();
    // The same once more is the same receipt; the sender did not hear the first answer.
    assert_eq!(first.add(&ward, log.signer.verifier(), &request).unwrap(), again);
    drop(first);

    let second = witness(dir.path());
    assert_eq!(second.all(&ward).unwrap(), [receipt, again.clone()]);
    let standing = second.standing(&ward, &log.origin).unwrap();
    assert_eq!((standing.origin, standing.newest), (Some(again.clone()), Some(again)));
    assert_eq!(second.standing(&slug("ward-4"), &log.origin).unwrap(), AuditStanding::default());

    // A disk that was set back to seven entries and went on otherwise.
    let mut forged = Log::new("ward-3", INCARNATION, 1);
    forged.grow(7);
    let set_back = forged.request(5, vec![head(9, 2)]);
    assert!(refused(second.add(&ward, log.signer.verifier(), &set_back)).contains("begins at 5 entries"));
    forged.leaves.push(Hash::leaf(b"another past"));
    forged.grow(4);
    let text = refused(second.add(&ward, log.signer.verifier(), &forged.request(9, vec![head(9, 2)])));
    assert!(text.contains("12 entries are not shown to continue") && text.contains("receipt of 9"), "{text}");
    // A proof that is none.
    log.grow(1);
    let mut request = log.request(9, vec![head(9, 2)]);
    request.proof.pop();
    assert!(refused(second.add(&ward, log.signer.verifier(), &request)).contains("not shown"));
    // Logs that went back, changed their past, or are hushed up.
    for (heads, why) in [
        (vec![head(8, 2)], "was at 9 and is said to be at 8"),
        (vec![head(9, 3)], "was at 9 and is said to be at 9"),
        (vec![], "nothing is said of log clinical"),
    ] {
        let text = refused(second.add(&ward, log.signer.verifier(), &log.request(9, heads)));
        assert!(text.contains(why), "{text}");
    }
    // Another key.
    let mut other = Log::new("ward-3", INCARNATION, 2);
    other.leaves.clone_from(&log.leaves);
    let text = refused(second.add(&ward, other.signer.verifier(), &other.request(9, vec![head(9, 2)])));
    assert!(text.contains("another key"), "{text}");
    assert_eq!(second.all(&ward).unwrap().len(), 2, "nothing of all that was kept");
    // And the true log goes on.
    second.add(&ward, log.signer.verifier(), &log.request(9, vec![head(9, 2)])).unwrap();
}

#[test]
fn a_new_origin_begins_anew_and_the_old_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (ward, witness) = (slug("ward-3"), witness(dir.path()));
    let mut old = Log::new("ward-3", INCARNATION, 1);
    old.grow(9);
    let receipt = witness.add(&ward, old.signer.verifier(), &old.request(0, vec![head(7, 1)])).unwrap();
    let mut new = Log::new("ward-3", &"f".repeat(32), 1);
    new.grow(3);
    // The logs' heads still count, until they have another incarnation.
    let text = refused(witness.add(&ward, new.signer.verifier(), &new.request(0, vec![head(6, 1)])));
    assert!(text.contains("was at 7"), "{text}");
    let renewed = Head { incarnation: "e".repeat(32), ..head(6, 1) };
    witness.add(&ward, new.signer.verifier(), &new.request(0, vec![renewed])).unwrap();
    let standing = witness.standing(&ward, &old.origin).unwrap();
    assert_eq!(standing.origin, Some(receipt));
    assert!(standing.newest.unwrap().checkpoint.starts_with(&new.origin));
}

#[test]
fn nobody_speaks_for_another_and_nothing_unsigned_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let witness = witness(dir.path());
    let mut log = Log::new("ward-3", INCARNATION, 1);
    log.grow(2);
    let request = log.request(0, vec![]);
    let foreign = witness.add(&slug("ward-4"), log.signer.verifier(), &request);
    assert!(matches!(foreign, Err(Refused::Foreign)));
    let stranger = Signer::new(&log.origin, Kind::Log, &[9; 32]).unwrap();
    let unsigned = witness.add(&slug("ward-3"), stranger.verifier(), &request);
    assert!(matches!(unsigned, Err(Refused::Note(audit::note::Error::Unsigned))));
    let wrong_name = Signer::new("somebody", Kind::Log, &[1; 32]).unwrap();
    assert!(matches!(witness.add(&slug("ward-3"), wrong_name.verifier(), &request), Err(Refused::Foreign)));
    assert!(!dir.path().join(FOLDER).exists());
}

#[test]
fn replicas_that_race_agree_on_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let ward = slug("ward-3");
    let mut log = Log::new("ward-3", INCARNATION, 1);
    log.grow(1);
    witness(dir.path()).add(&ward, log.signer.verifier(), &log.request(0, vec![])).unwrap();
    // Two pasts of one log, each sent to a replica of its own at the same moment: one of them stands.
    let mut one = Log::new("ward-3", INCARNATION, 1);
    one.grow(3);
    let mut two = Log::new("ward-3", INCARNATION, 1);
    two.grow(1);
    two.leaves.push(Hash::ZERO);
    let (a, b) = (witness(dir.path()), witness(dir.path()));
    let (first, second) = (one.request(1, vec![]), two.request(1, vec![]));
    let results = std::thread::scope(|scope| {
        let left = scope.spawn(|| a.add(&ward, one.signer.verifier(), &first).is_ok());
        let right = scope.spawn(|| b.add(&ward, two.signer.verifier(), &second).is_ok());
        [left.join().unwrap(), right.join().unwrap()]
    });
    assert_eq!(results.iter().filter(|ok| **ok).count(), 1, "{results:?}");
    assert_eq!(a.all(&ward).unwrap().len(), 2);
}

#[test]
fn old_ones_are_thinned_to_one_a_day_and_the_last_of_each_origin() {
    let dir = tempfile::tempdir().unwrap();
    let ward = slug("ward-3");
    let shelf = || Shelf::open(dir.path().join(FOLDER).join("ward-3")).unwrap();
    let clock = Hours::default();
    let mut log = Log::new("ward-3", INCARNATION, 1);
    let thinned = usize::try_from(THIN_EVERY).unwrap();
    let count = KEPT_WHOLE + thinned;
    for i in 0..count {
        if i == 100 {
            log = Log::new("ward-3", &"f".repeat(32), 1);
        }
        log.grow(1);
        let receipt = AuditReceipt {
            received_at: clock.now(),
            key: log.signer.verifier().to_string(),
            checkpoint: log.request(log.leaves.len() - 1, vec![]).note.to_string(),
        };
        // Without its sync, which is not what is looked at here.
        let shelf_dir = dir.path().join(FOLDER).join("ward-3");
        fs::create_dir_all(&shelf_dir).unwrap();
        fs::write(shelf_dir.join(format!("{:020}.json", i + 1)), serde_json::to_vec(&receipt).unwrap())
            .unwrap();
    }
    let before = witness(dir.path()).all(&ward).unwrap();
    shelf().thin().unwrap();
    let after = witness(dir.path()).all(&ward).unwrap();
    assert_eq!(after[after.len() - KEPT_WHOLE..], before[thinned..], "the newest are all there");
    let old = &after[..after.len() - KEPT_WHOLE];
    let day = |r: &AuditReceipt| r.received_at.seconds().div_euclid(DAY_S);
    let days: BTreeSet<i64> = before[..thinned].iter().map(day).collect();
    assert_eq!(old.iter().map(day).collect::<BTreeSet<_>>(), days, "each day has one");
    assert!(old.contains(&before[99]), "the last of the first origin");
    assert!(old.len() <= 2 * days.len() + 4, "{} of {thinned}", old.len());
    // Once more changes little: it comes to rest.
    shelf().thin().unwrap();
    assert!(witness(dir.path()).all(&ward).unwrap().contains(&before[99]));
    let standing =
        witness(dir.path()).standing(&ward, &audit::checkpoint::origin(&ward, INCARNATION)).unwrap();
    assert_eq!(standing.origin.as_ref(), Some(&before[99]));
}
