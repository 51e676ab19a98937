//! Tokens of the vault: the same for a patient at a destination whatever becomes of the box, and in the journal before they leave.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deid::{Identifier, Vault as _, VaultToken};
use model::{AuditAction, AuditEvent, Format, Timestamp};
use spool::{AuditReader, AuditStep};

use super::support::*;
use crate::vault::Desk;
use crate::*;

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
struct Told(AtomicI64);

impl Told {
    fn minutes(&self, minutes: i64) {
        self.0.fetch_add(minutes * 60_000_000, Ordering::Relaxed);
    }

    fn hours(&self, hours: i64) {
        self.minutes(hours * 60);
    }
}

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + self.0.load(Ordering::Relaxed))
    }
}

fn routes(lake: &Arc<Landing>, research: &Arc<Landing>) -> Vec<Route<Landing>> {
    vec![route("lake", "safe-harbor-linked", lake), route("research", "safe-harbor-linked", research)]
}

async fn start(dir: &Path, lake: &Arc<Landing>, research: &Arc<Landing>) -> TestBox {
    TestBox::start(dir, vec![feed("adt", None)], routes(lake, research)).await
}

/// PID-3.1 of each row.
fn tokens(landing: &Landing) -> Vec<String> {
    let of = |payload: &String| {
        let pid = payload.split('\r').find(|line| line.starts_with("PID")).unwrap().to_owned();
        pid.split('|').nth(3).unwrap().split('^').next().unwrap().to_owned()
    };
    landing.payloads().iter().map(of).collect()
}

fn desk(gateway: &TestBox, destination: &str) -> Desk {
    Desk { destination: slug(destination), vaults: gateway.handle.vaults.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_keeps_his_token_at_a_destination_and_has_another_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let gateway = start(dir.path(), &lake, &research).await;
    for (mrn, id) in [("MRN1", "a"), ("MRN2", "b"), ("MRN1", "c")] {
        gateway.hl7(mrn, id).await;
    }
    gateway.idle().await;
    let first = tokens(&lake);
    assert_eq!(first[0], first[2]);
    assert_ne!(first[0], first[1]);
    assert!(first.iter().all(|token| token.parse::<VaultToken>().is_ok()), "{first:?}");
    let elsewhere = tokens(&research);
    assert!(elsewhere.iter().all(|token| !first.contains(token)), "{first:?} {elsewhere:?}");
    // After a restart, and again without the state store.
    gateway.stop().await;
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("MRN1", "d").await;
    gateway.idle().await;
    gateway.stop().await;
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("MRN1", "e").await;
    gateway.hl7("MRN2", "f").await;
    gateway.idle().await;
    assert_eq!(tokens(&lake)[3..], [first[0].clone(), first[0].clone(), first[1].clone()]);
    assert_eq!(tokens(&research)[5], elsewhere[1]);
    let status = gateway.handle.vault();
    assert_eq!((status.identifiers, status.by_destination[&slug("lake")]), (4, 2));
    // Said again, as before the journal lets its oldest part go; then the later part alone says it.
    gateway.handle.journal.say_again().await.unwrap();
    let (since, _) = gateway.handle.journal.said();
    assert!(gateway.handle.journal.with_vault(|kept| kept.places().first().is_some_and(|at| *at >= since)));
    assert_eq!(gateway.handle.vault(), status);
    gateway.stop().await;
    let gateway = start(dir.path(), &lake, &research).await;
    assert_eq!(gateway.handle.vault(), status);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_the_journal_before_it_leaves_and_is_the_same_after_a_lost_answer_and_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let gateway = start(dir.path(), &lake, &research).await;
    lake.fault(Fault::Away);
    lake.fault(Fault::LoseAnswer);
    gateway.hl7("MRN1", "a").await;
    gateway.idle().await;
    let token: VaultToken = tokens(&lake)[0].parse().unwrap();
    // What another box reads of this one's journal, without its memory, is what the destination has.
    assert!(gateway.handle.vaults.is_settled(), "nothing that left is in memory alone");
    gateway.stop().await;
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("MRN1", "b").await;
    gateway.idle().await;
    assert_eq!(tokens(&lake), [token.to_string(), token.to_string()]);
    gateway.stop().await;
}

/// What the journal does not take is not settled, and whoever would send it is told so.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_does_not_take_does_not_leave() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let config = spool::Config { journal_bytes_max: 2 << 20, ..small() };
    let feeds = vec![feed("adt", None)];
    let gateway =
        TestBox::start_on(dir.path(), config, feeds, routes(&lake, &research), spool::Outside::real()).await;
    // A delivery that is about to send: its record is in the log, and the journal takes nothing any more.
    for _ in 0..10_000 {
        lake.fault(Fault::Away);
    }
    gateway.hl7("MRN1", "a").await;
    let journal = gateway.handle.spool().journal();
    while journal.append(b"filler".to_vec(), &[7; 60_000]).await.is_ok() {}
    let token = desk(&gateway, "lake").token(&Identifier::new(b"MRN2", b"", b"")).unwrap();
    assert!(matches!(gateway.handle.vaults.settle().await, Err(Error::Spool(spool::Error::Full { .. }))));
    assert!(!gateway.handle.vaults.is_settled());
    assert_eq!(desk(&gateway, "lake").token(&Identifier::new(b"MRN2 ", b"", b"")), Some(token));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_vault_holds_who_has_no_token_and_lets_everybody_else_through() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("MRN1", "a").await;
    gateway.idle().await;
    let elsewhere = desk(&gateway, "elsewhere");
    let long = "9".repeat(deid::IDENTIFIER_BYTES_MAX - 8);
    let mut given = 0_u64;
    // Long ones, and then such that fill the last gap.
    for long in [long.as_str(), ""] {
        while elsewhere.token(&Identifier::new(format!("{long}{given:x}").as_bytes(), b"", b"")).is_some() {
            given += 1;
        }
    }
    let status = gateway.handle.vault();
    assert_eq!(status.bytes_max, 2 << 20, "a quarter of the journal's budget");
    assert!(given > 3_000, "{given}");
    gateway.hl7("MRN1", "b").await;
    gateway.hl7("MRN2", "c").await;
    gateway.hl7("MRN1", "d").await;
    gateway.idle().await;
    assert_eq!(tokens(&lake).len(), 3);
    let held = gateway.handle.held();
    assert_eq!(held.len(), 2, "MRN2, for both: {held:?}");
    assert!(held.iter().all(|item| item.why.contains("the vault is full")), "{held:?}");
    // All of it is durable by now, and the limit still stands after a restart.
    let status = gateway.handle.vault();
    assert_eq!(status.by_destination[&slug("elsewhere")], given);
    assert!(status.bytes <= status.bytes_max);
    drop(elsewhere);
    gateway.stop().await;
    let gateway = start(dir.path(), &lake, &research).await;
    assert_eq!(gateway.handle.vault(), status);
    assert!(desk(&gateway, "lake").token(&Identifier::new(b"MRN3", b"", b"")).is_none());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_refer_to_each_other_by_tokens_whatever_release_they_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let feeds = vec![feed("fhir", None)];
    let gateway = TestBox::start(dir.path(), feeds, routes(&lake, &research)).await;
    for text in [
        r#"{"resourceType":"Patient","id":"kestrel","gender":"female"}"#,
        r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/kestrel"}}"#,
    ] {
        gateway.take("fhir", Format::Fhir, "", text.as_bytes()).await;
    }
    gateway.idle().await;
    for landing in [&lake, &research] {
        let payloads = landing.payloads();
        let token = payloads[0].split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
        token.parse::<VaultToken>().unwrap();
        assert!(payloads[1].contains(&format!("Patient/{token}")), "{payloads:?}");
        assert!(!payloads.concat().contains("kestrel"));
    }
    assert!(lake.payloads() != research.payloads());
    gateway.stop().await;
}

/// What the audit log says, from its beginning.
async fn audited(gateway: &TestBox) -> Vec<AuditEvent> {
    let mut reader = AuditReader::new(gateway.handle.spool().journal(), 0);
    let mut events = Vec::new();
    while let Some(AuditStep::Entry(record)) = reader.next().await.unwrap() {
        events.push(record.entry.unwrap().event);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_is_of_takes_two_people_is_shown_once_and_is_audited_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("zqMRN1", "a").await;
    gateway.idle().await;
    let token: VaultToken = tokens(&lake)[0].parse().unwrap();
    let handle = gateway.handle.clone();
    let unknown = handle.request_reidentification(VaultToken::new([7; 16]), "why not", "ada").await;
    assert!(matches!(unknown, Err(Error::NoSuchToken)));
    for reason in ["", "  ", "two\nlines", &"x".repeat(201)] {
        let refused = handle.request_reidentification(token, reason, "ada").await;
        assert!(matches!(refused, Err(Error::VaultReason)), "{reason:?}");
    }
    let asked = handle.request_reidentification(token, "incidental finding", "ada").await.unwrap();
    assert_eq!(
        (asked.id, asked.destination.as_str(), asked.token.as_str()),
        (1, "lake", token.to_string().as_str())
    );
    // Nobody has approved; ada cannot; and what grace approves is shown to nobody but ada.
    assert!(matches!(handle.reidentify(1, "ada").await, Err(Error::NotApproved { id: 1 })));
    assert!(matches!(handle.approve_reidentification(1, "ada").await, Err(Error::SamePerson { id: 1 })));
    handle.approve_reidentification(1, "grace").await.unwrap();
    assert!(matches!(handle.reidentify(1, "grace").await, Err(Error::AnotherAsked { id: 1 })));
    // It survives a restart, also without the state store.
    gateway.stop().await;
    drop(handle);
    std::fs::remove_dir_all(dir.path().join("spool/state")).unwrap();
    let gateway = start(dir.path(), &lake, &research).await;
    gateway.handle.journal.say_again().await.unwrap();
    let revealed = gateway.handle.reidentify(1, "ada").await.unwrap();
    assert_eq!((revealed.id.as_str(), revealed.authority.as_str()), ("zqMRN1", "LARKHAVEN"));
    assert_eq!((revealed.kind.as_str(), revealed.destination.as_str()), ("MR", "lake"));
    assert!(!format!("{revealed:?}").contains("zqMRN1"));
    assert!(
        matches!(gateway.handle.reidentify(1, "ada").await, Err(Error::NoVaultRequest { id: 1 })),
        "once"
    );
    // A refusal ends one.
    let second = gateway.handle.request_reidentification(token, "again", "ada").await.unwrap();
    gateway.handle.refuse_reidentification(second.id, "grace").await.unwrap();
    assert!(matches!(
        gateway.handle.approve_reidentification(2, "grace").await,
        Err(Error::NoVaultRequest { id: 2 })
    ));
    let events = audited(&gateway).await;
    let steps: Vec<_> = events
        .iter()
        .filter(|event| event.subject.starts_with("request "))
        .map(|event| (event.action, event.actor.as_str(), event.detail.as_str()))
        .collect();
    assert_eq!(
        steps,
        [
            (AuditAction::ReidentificationRequested, "ada", "a token of lake; because: incidental finding"),
            (AuditAction::ReidentificationApproved, "grace", "a token of lake; ada asked"),
            (AuditAction::Reidentified, "ada", "a token of lake; grace approved"),
            (AuditAction::ReidentificationRequested, "ada", "a token of lake; because: again"),
            (AuditAction::ReidentificationRefused, "grace", "a token of lake; ada asked"),
        ]
    );
    assert!(!format!("{events:?}").contains("zqMRN1"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_when_its_time_is_over_and_there_are_not_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let mut gateway = start(dir.path(), &lake, &research).await;
    gateway.hl7("MRN1", "a").await;
    gateway.idle().await;
    let token: VaultToken = tokens(&lake)[0].parse().unwrap();
    let clock = Arc::new(Told::default());
    gateway.handle.clock = Arc::<Told>::clone(&clock);
    let handle = &gateway.handle;
    let ask = async || handle.request_reidentification(token, "study", "ada").await;
    ask().await.unwrap();
    clock.hours(23);
    handle.approve_reidentification(1, "grace").await.unwrap();
    clock.minutes(59);
    assert_eq!(handle.vault_requests().len(), 1);
    clock.minutes(1);
    assert!(matches!(handle.reidentify(1, "ada").await, Err(Error::NoVaultRequest { id: 1 })));
    ask().await.unwrap();
    clock.hours(24);
    assert!(matches!(
        handle.approve_reidentification(2, "grace").await,
        Err(Error::NoVaultRequest { id: 2 })
    ));
    ask().await.unwrap();
    // A clock that is set back far gives nobody more time.
    clock.hours(-30);
    assert_eq!(handle.vault_requests(), []);
    for _ in 0..crate::vault::REQUESTS_MAX {
        ask().await.unwrap();
    }
    assert!(matches!(ask().await, Err(Error::VaultRequestsFull)));
    gateway.stop().await;
}
