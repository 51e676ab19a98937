//! The audit log: what is noticed, what survives, what can be proven.

use std::collections::BTreeSet;
use std::path::Path;

use audit::proof::{Prover, verify_consistency, verify_inclusion};
use audit::{CompactRange, Entry as Leaf, Hash};
use model::{AuditAction, AuditEvent, Timestamp};

use super::support::*;
use crate::journal::AUDIT_META;
use crate::{AuditReader, AuditStep, AuditTip, Spool, check_audit, open_for_reading};

fn event(i: u64) -> AuditEvent {
    AuditEvent {
        at: Timestamp::from_micros(i.try_into().unwrap()),
        actor: "system".to_owned(),
        action: AuditAction::Started,
        subject: String::new(),
        detail: i.to_string(),
    }
}

fn nothing() -> BTreeSet<u64> {
    BTreeSet::new()
}

/// A log with entries `0..count`, every seventh record of another kind. Roots by size.
fn filled(spool: &Spool, count: u64) -> Vec<Hash> {
    let (sink, audit) = (spool.audit(), spool.audit_log());
    let mut roots = vec![audit.tip().unwrap().range.root()];
    for i in 0..count {
        sink.record(&event(i)).unwrap();
        roots.push(audit.tip().unwrap().range.root());
        if i % 7 == 0 {
            spool.journal().append_blocking(b"other".to_vec(), b"not an audit entry").unwrap();
        }
    }
    roots
}

#[tokio::test]
async fn audit_entries_are_bound_to_each_other() {
    let dir = tempdir();
    for round in 0..3_u64 {
        let spool = open(dir.path());
        let audit = spool.audit();
        for i in 0..5 {
            // From a thread of the runtime, as the rest of the gateway does.
            audit.record(&event(round * 5 + i)).unwrap();
        }
        spool.journal().append(b"other".to_vec(), b"not an audit entry").await.unwrap();
        let check = check_audit(spool.journal(), &nothing()).await.unwrap();
        assert_eq!((check.entries, check.size, check.findings), ((round + 1) * 5, (round + 1) * 5, vec![]));
        assert_eq!(check.root, spool.audit_log().tip().unwrap().range.root());
        spool.stop().await.unwrap();
    }
    // Entries that somebody with the keys put in are noticed: one that names nothing before it, one that stands
    // where another stands, and one that is none.
    let spool = open(dir.path());
    let tip = spool.audit_log().tip().unwrap();
    let mut elsewhere = CompactRange::default();
    for _ in 0..9 {
        elsewhere.push(Hash::ZERO);
    }
    let leaf = Leaf::after(&Hash::ZERO, event(99)).encode().unwrap();
    let mut at = Vec::new();
    for (range, leaf) in [(&tip.range, leaf.as_slice()), (&elsewhere, leaf.as_slice()), (&elsewhere, b"junk")]
    {
        let meta = audit::entry::encode_place(AUDIT_META, range).unwrap();
        at.push(spool.journal().append(meta, leaf).await.unwrap());
    }
    let check = check_audit(spool.journal(), &nothing()).await.unwrap();
    let found: Vec<_> = check.findings.iter().map(|f| (f.entry, f.seq)).collect();
    assert_eq!(found, [(15, at[0]), (9, at[1]), (9, at[2]), (9, at[2])], "{:?}", check.findings);
    spool.journal().append(vec![], b"").await.unwrap();
    let audit = spool.audit();
    spool.stop().await.unwrap();
    audit.record(&event(100)).unwrap_err();
}

#[tokio::test]
async fn a_log_written_anew_by_someone_with_the_keys_has_other_roots_from_there_on() {
    let (honest, forged) = (tempdir(), tempdir());
    let spool = open(honest.path());
    let roots = filled(&spool, 40);
    drop(spool);
    let spool = open(forged.path());
    let sink = spool.audit();
    for i in 0..40 {
        sink.record(&event(if i == 23 { 1_000 } else { i })).unwrap();
    }
    let sizes: BTreeSet<u64> = (0..=40).collect();
    let check = check_audit(spool.journal(), &sizes).await.unwrap();
    assert_eq!(check.findings, [], "from inside it looks sound");
    for size in 0..=40_u64 {
        let is_same = check.roots[&size] == roots[usize::try_from(size).unwrap()];
        assert_eq!(is_same, size <= 23, "{size}");
    }
}

/// The heart of it: the oldest part of the journal is freed, the process starts again, and what is left is proven
/// against what was known before; and what was freed, by what was exported of it.
#[tokio::test]
async fn what_was_freed_stays_proven() {
    let dir = tempdir();
    let spool = open(dir.path());
    let roots = filled(&spool, 700);
    let early = spool.audit_log().tip_at(17).unwrap().unwrap();
    assert_eq!(early.range.root(), roots[17]);
    let all = spool.audit_log().tip().unwrap();
    let proof = spool.audit_log().prove(&early, &all).await.unwrap().unwrap();
    assert!(verify_consistency(17, 700, &proof, &roots[17], &roots[700]));
    // Entry 5 leaves the box with its proof.
    let mut prover = Prover::inclusion(&spool.audit_log().tip_at(5).unwrap().unwrap().range, 700);
    let mut reader = AuditReader::new(spool.journal(), 0);
    let mut exported = None;
    while let Some(AuditStep::Entry(record)) = reader.next().await.unwrap() {
        match record.before.size() {
            0..5 => continue,
            5 => exported = Some(record.hash),
            _ => {}
        }
        prover.push(record.hash);
    }
    let (exported, inclusion) = (exported.unwrap(), prover.finish().unwrap());

    let journal = spool.journal().clone();
    journal.free_through(all.seq, Timestamp::from_micros(0));
    assert!(journal.0.free_oldest(true).unwrap());
    assert!(journal.oldest() > 200, "{}", journal.oldest());
    spool.stop().await.unwrap();

    let spool = open(dir.path());
    let (audit, sink) = (spool.audit_log(), spool.audit());
    assert_eq!(audit.tip().unwrap(), all, "the tree goes on where it was");
    assert_eq!(audit.tip_at(17).unwrap(), None);
    // Everything continues nothing, and a new origin begins with that.
    let nothing = audit.tip_at(0).unwrap().unwrap();
    assert_eq!(nothing, AuditTip::nothing());
    assert_eq!(audit.prove(&nothing, &all).await.unwrap(), Some(Vec::new()));
    assert_eq!(audit.freed().unwrap(), check_audit(spool.journal(), &BTreeSet::new()).await.unwrap().first);
    let sizes: BTreeSet<u64> = [17, 400, 700].into();
    let check = check_audit(spool.journal(), &sizes).await.unwrap();
    assert_eq!((check.findings, check.size, check.root), (vec![], 700, roots[700]));
    assert!(check.first > 200 && check.entries == 700 - check.first, "{}", check.first);
    assert_eq!(check.roots.into_iter().collect::<Vec<_>>(), [(400, roots[400]), (700, roots[700])]);
    sink.record(&event(700)).unwrap();
    let later = audit.tip().unwrap();
    for size in (check.first..=700).step_by(13).chain([700]) {
        let from = audit.tip_at(size).unwrap().unwrap();
        assert_eq!(from.range.root(), roots[usize::try_from(size).unwrap()], "{size}");
        let proof = audit.prove(&from, &later).await.unwrap().unwrap();
        assert!(verify_consistency(size, 701, &proof, &from.range.root(), &later.range.root()), "{size}");
        assert_eq!(audit.prove(&from, &all).await.unwrap().is_some(), size <= 700);
    }
    assert!(verify_inclusion(&exported, 5, 700, &inclusion, &roots[700]), "freed, and proven");
}

#[tokio::test]
async fn the_last_entry_stays_whatever_follows_it() {
    let dir = tempdir();
    let spool = open(dir.path());
    let (audit, now) = (spool.audit_log(), Timestamp::from_micros(0));
    filled(&spool, 1);
    while spool.journal().stat().segments < 3 {
        spool.journal().append(b"other".to_vec(), b"not an audit entry").await.unwrap();
    }
    assert_eq!(audit.oldest_part(u64::MAX, now).await.unwrap(), None, "it tells how the tree stands");
    spool.audit().record(&event(1)).unwrap();
    let part = audit.oldest_part(u64::MAX, now).await.unwrap().unwrap();
    assert_eq!((part.entries, part.is_old), (1, false));
    audit.need("lake", part.through - 1, String::new());
    assert_eq!(audit.oldest_part(u64::MAX, now).await.unwrap(), None, "somebody needs its end");
    audit.need("lake", part.through, String::new());
    assert!(audit.let_go(part).await.unwrap());
    assert_eq!((spool.journal().oldest(), audit.freed().unwrap()), (part.through + 1, 1));
    drop(spool);
    let spool = open(dir.path());
    assert_eq!(spool.audit_log().tip().unwrap().range.size(), 2, "the tree goes on where it was");
}

#[tokio::test]
async fn a_damaged_entry_is_named_and_the_tree_goes_on() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempdir();
    let spool = open(dir.path());
    let roots = filled(&spool, 20);
    let victim = spool.audit_log().tip_at(12).unwrap().unwrap();
    spool.stop().await.unwrap();
    // A byte in the middle of the thirteenth entry's frame: each stands on a page of its own.
    let path = std::fs::read_dir(crate::spool::log_dir(dir.path(), "journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "seg"))
        .unwrap();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = crate::format::DATA_START + victim.seq * crate::format::PAGE_BYTES + 100;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();

    let spool = open(dir.path());
    let sizes: BTreeSet<u64> = (0..=20).collect();
    let check = check_audit(spool.journal(), &sizes).await.unwrap();
    let [finding] = check.findings.as_slice() else { panic!("{:?}", check.findings) };
    assert_eq!((finding.entry, finding.seq), (12, victim.seq + 1), "{finding:?}");
    assert_eq!((check.size, check.entries, check.root), (20, 19, roots[20]), "what follows is known again");
    spool.audit().record(&event(20)).unwrap();
    let tip = spool.audit_log().tip().unwrap();
    assert_eq!(tip.range.size(), 21);
    let (before, after) =
        (spool.audit_log().tip_at(10).unwrap().unwrap(), spool.audit_log().tip_at(14).unwrap().unwrap());
    assert_eq!(spool.audit_log().prove(&before, &tip).await.unwrap(), None, "an entry is missing between");
    assert!(spool.audit_log().prove(&after, &tip).await.unwrap().is_some());
}

#[tokio::test]
async fn another_process_reads_beside_a_running_one() {
    let dir = tempdir();
    let spool = open(dir.path());
    let roots = filled(&spool, 10);
    let look = |dir: &Path| {
        open_for_reading(
            dir,
            "journal",
            &keys(),
            &"ward-3".parse().unwrap(),
            std::sync::Arc::new(Still::default()),
        )
    };
    let seen = look(dir.path()).unwrap();
    let check = check_audit(&seen, &nothing()).await.unwrap();
    assert_eq!((check.findings, check.root), (vec![], roots[10]));
    assert_eq!(seen.head().unwrap(), spool.journal().head().unwrap());
    assert!(seen.append(vec![], b"").await.is_err(), "it cannot be written to");
    assert_eq!(filled(&spool, 3).len(), 4, "and the other goes on");
    let empty = tempdir();
    assert!(look(empty.path()).is_err());
    let other = open_for_reading(
        dir.path(),
        "journal",
        &keys(),
        &"ward-4".parse().unwrap(),
        std::sync::Arc::new(Still::default()),
    );
    assert!(matches!(other, Err(crate::Error::OtherGateway { .. })));
}

#[tokio::test]
async fn a_head_names_the_last_record_and_all_before_it() {
    let dir = tempdir();
    let spool = open(dir.path());
    let log = clinical(&spool);
    let empty = log.head().unwrap();
    assert_eq!((empty.seq, empty.tag, empty.log.as_str()), (0, None, "clinical"));
    log.append(b"m".to_vec(), b"one").await.unwrap();
    let one = log.head().unwrap();
    let twin = tempdir();
    copy(dir.path(), twin.path());
    log.append(b"m".to_vec(), b"two").await.unwrap();
    let two = log.head().unwrap();
    assert!(one.may_become(&two) && !two.may_become(&one));
    assert_eq!(log.tag(1).unwrap(), one.tag);
    drop(spool);
    // The copy, set back by one record, goes on with another second record under the same incarnation.
    let spool = open(twin.path());
    let log = clinical(&spool);
    log.append(b"m".to_vec(), b"two").await.unwrap();
    let other = log.head().unwrap();
    assert_eq!((other.incarnation.as_str(), other.seq), (two.incarnation.as_str(), two.seq));
    assert_ne!(other.tag, two.tag, "the same number and bytes, in another past");
    assert!(!two.may_become(&other));
}
