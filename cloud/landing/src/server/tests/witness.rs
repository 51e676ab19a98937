//! The audit log's witness over real TLS.

use model::wire::{AUDIT_KEY_HEADER, AuditReceipt, AuditStanding};

use super::*;

/// A checkpoint of ward-3's audit log with so many entries, signed, with the proof from an earlier one.
fn checkpoint(gateway: &str, old: u64, size: u64) -> (String, String) {
    let origin = audit::checkpoint::origin(&slug(gateway), INCARNATION);
    let signer = audit::Signer::new(&origin, audit::note::Kind::Log, &[1; 32]).unwrap();
    let mut range = audit::CompactRange::default();
    let leaf = |i: u64| audit::Hash::leaf(&i.to_be_bytes());
    (0..old).for_each(|i| range.push(leaf(i)));
    let mut prover = audit::proof::Prover::consistency(&range, size);
    for i in old..size {
        prover.push(leaf(i));
        range.push(leaf(i));
    }
    let checkpoint = audit::Checkpoint { origin, size, root: range.root(), heads: Vec::new() };
    let mut note = audit::Note::new(checkpoint.to_text());
    note.sign(&signer);
    let proof = prover.finish().unwrap();
    let body = audit::witness::AddCheckpoint { old_size: old, proof, note }.to_body();
    (signer.verifier().to_string(), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_of_the_audit_log_are_kept_and_only_their_continuations_taken() {
    let site = Site::start().await;
    let mut client = site.connect(&site.gateway("ward-3")).await;
    let mut stranger = site.connect(&site.gateway("ward-4")).await;
    let post = |key: &str, body: &str, destination: &str| {
        Request::post(format!("https://localhost/v1/{destination}/audit"))
            .header(AUDIT_KEY_HEADER, key)
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap()
    };
    let (key, first) = checkpoint("ward-3", 0, 5);
    let asked = format!("/v1/lake/audit?origin={}", audit::checkpoint::origin(&slug("ward-3"), INCARNATION));
    assert_eq!(client.get(&asked).await.json::<AuditStanding>(), AuditStanding::default());
    let receipt: AuditReceipt = client.send(post(&key, &first, "lake")).await.unwrap().json();
    assert!(first.ends_with(&receipt.checkpoint), "{receipt:?}");
    let standing: AuditStanding = client.get(&asked).await.json();
    assert_eq!((standing.origin.as_ref(), standing.newest.as_ref()), (Some(&receipt), Some(&receipt)));
    assert_eq!(stranger.get(&asked).await.json::<AuditStanding>(), AuditStanding::default(), "each its own");
    let (_, later) = checkpoint("ward-3", 5, 8);
    client.send(post(&key, &later, "lake")).await.unwrap().json::<AuditReceipt>();
    for (kind, expected, reply) in [
        (
            ProblemKind::Inconsistent,
            Some(8),
            client.send(post(&key, &checkpoint("ward-3", 5, 9).1, "lake")).await,
        ),
        (
            ProblemKind::Inconsistent,
            Some(8),
            client.send(post(&key, &checkpoint("ward-3", 0, 3).1, "lake")).await,
        ),
        (
            ProblemKind::Inconsistent,
            Some(0),
            client.send(post(&key, &checkpoint("ward-3", 5, 9).1, "private")).await,
        ),
        (ProblemKind::Forbidden, None, stranger.send(post(&key, &later, "lake")).await),
        (ProblemKind::Forbidden, None, stranger.send(post(&key, &later, "private")).await),
        (ProblemKind::Malformed, None, client.send(post("no key", &later, "lake")).await),
        (ProblemKind::Malformed, None, client.send(post(&key, "old 8\n\nno note", "lake")).await),
        (
            ProblemKind::Malformed,
            None,
            client.send(post(&key, &later.replace("\n8\n", "\n9\n"), "lake")).await,
        ),
        (ProblemKind::Malformed, None, client.send(post(&key, &"x".repeat(1 << 20), "lake")).await),
        (ProblemKind::Malformed, None, client.try_get("/v1/lake/audit").await),
    ] {
        let problem = reply.unwrap().problem();
        assert_eq!((problem.kind, problem.expected), (kind, expected), "{problem:?}");
    }
    let dir = site.end().await;
    let kept = crate::witness::Witness::new(&dir.path().join("lake"), Arc::new(SystemClock));
    assert_eq!(kept.all(&slug("ward-3")).unwrap().len(), 2);
    assert!(verify(&dir.path().join("lake")).await.unwrap().ok, "the tables do not mind");
}
