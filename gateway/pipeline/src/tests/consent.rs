//! Who asks for consent gets nothing of a patient who refuses, whoever said so, and nothing while it cannot be told.

use std::sync::Arc;

use model::{AuditAction, Format, Reason};
use spool::{AuditReader, AuditStep};

use super::support::*;
use crate::consent::{Asked, Codes, Named, Unknown, Word};
use crate::*;

const OPT_OUT: Asked = Asked { unknown: Unknown::Permit, list_age_h_max: None };
const OPT_IN: Asked = Asked { unknown: Unknown::Deny, list_age_h_max: None };

fn asking(name: &str, landing: &Arc<Landing>, asked: Asked) -> Route<Landing> {
    Route { consent: Some(asked), ..route(name, "treatment", landing) }
}

fn named(id: &str, authority: &str) -> Named {
    Named { id: id.to_owned(), authority: authority.to_owned() }
}

/// A message of a patient with further segments.
fn with(mrn: &str, control_id: &str, segments: &str) -> String {
    format!("{}{}", message(mrn, control_id), segments.replace('\n', "\r"))
}

async fn take(gateway: &TestBox, text: &str) {
    gateway.take("adt", Format::Hl7v2, "", text.as_bytes()).await;
}

fn control_ids(landing: &Landing) -> Vec<String> {
    let of = |payload: &String| payload.split('|').nth(9).unwrap().to_owned();
    landing.payloads().iter().map(of).collect()
}

fn withheld(landing: &Landing) -> usize {
    landing.skips().iter().filter(|(_, reason)| *reason == Reason::ConsentWithdrawn).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_message_says_counts_from_that_message_on_until_it_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = || vec![route("lake", "treatment", &lake), asking("research", &research, OPT_OUT)];
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes()).await;
    take(&gateway, &with("MRN1", "before", "")).await;
    take(&gateway, &with("MRN1", "refuses", "PD1||||||||||||Y\n")).await;
    take(&gateway, &with("MRN1", "after", "")).await;
    take(&gateway, &with("MRN2", "other", "")).await;
    // By another id of his, under the same authority.
    take(&gateway, &message("X", "alias").replace("X^^^LARKHAVEN^MR", "X^^^LAB~MRN1^^^LARKHAVEN")).await;
    let alternate = message("Y", "alternate").replace("||Y^^^LARKHAVEN^MR||", "||Y^^^LAB|MRN1^^^LARKHAVEN|");
    take(&gateway, &alternate).await;
    // The same number of another authority is another patient; without one it may be his.
    take(&gateway, &message("MRN1", "stranger").replace("LARKHAVEN^MR", "ELSEWHERE^MR")).await;
    take(&gateway, &message("MRN1", "of anybody").replace("^^^LARKHAVEN^MR", "")).await;
    gateway.idle().await;
    assert_eq!(control_ids(&research), ["before", "other", "stranger"]);
    assert_eq!(withheld(&research), 5);
    // Who does not ask gets everything.
    assert_eq!(lake.rows().len(), 8);
    gateway.stop().await;
    // It survives a restart, and is taken back by a later message alone.
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes()).await;
    take(&gateway, &with("MRN1", "again", "")).await;
    take(&gateway, &with("MRN1", "no more", "PD1||||||||||||N\n")).await;
    take(&gateway, &with("MRN1", "free", "")).await;
    gateway.idle().await;
    assert_eq!(control_ids(&research)[3..], ["no more", "free"]);
    research.audit();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_that_speaks_of_consent_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let (research, strict) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let adt = Feed {
        consent: Codes { forms: vec!["001".into(), "RES".into()], open_vip: vec!["STAFF".into()] },
        ..feed("adt", None)
    };
    let routes = vec![asking("research", &research, OPT_OUT), asking("strict", &strict, OPT_IN)];
    let gateway = TestBox::start(dir.path(), vec![adt], routes).await;
    let visit = "PV1|1|I||||||||||||||VIP|||V";
    let cases = [
        // Patient, segments, whether research gets the next plain message of him, and whether strict does.
        ("plain", "", true, false),
        ("pd1", "PD1||||||||||||Y\n", false, false),
        ("odd indicator", "PD1||||||||||||?\n", false, false),
        ("arv", "ARV|1|A|PSY\n", false, false),
        ("arv none", "ARV|1|A|NO\n", true, false),
        ("arv deleted", "ARV|1|A|PSY\nARV|2|D|PSY\n", false, false),
        ("form", "CON|1|001|||||||||A|||20260101\n", true, true),
        ("later form", "CON|1|001|||||||||A|||29990101\n", true, false),
        ("ended form", "CON|1|RES|||||||||A||||20200101\n", true, false),
        ("refused form", "CON|1|RES|||||||||R\n", false, false),
        ("limited form", "CON|1||||||||||L\n", false, false),
        ("surgery", "CON|1|002|||||||||R\n", true, false),
        ("pending", "CON|1|001|||||||||P\n", true, false),
        ("both", "CON|1|001|F1||||||||A\nCON|2|001|F2||||||||X\n", false, false),
        // Of the visit alone: the plain message is of no visit.
        ("vip", &format!("{}9\n", visit.replace("VIP", "V")), true, false),
        ("staff", &format!("{}8\n", visit.replace("VIP", "STAFF")), true, false),
        ("vip without visit", "PV1|1|I||||||||||||||V\n", false, false),
    ];
    for (patient, segments, ..) in cases {
        take(&gateway, &with(patient, &format!("{patient} says"), segments)).await;
        take(&gateway, &with(patient, patient, "")).await;
    }
    take(&gateway, &with("vip", "of the visit", &format!("{}9\n", visit.replace("VIP", "")))).await;
    gateway.idle().await;
    for (landing, column) in [(&research, 0), (&strict, 1)] {
        let got = control_ids(landing);
        for (patient, _, open, closed) in cases {
            let expected = [open, closed][column];
            assert_eq!(got.iter().any(|id| id == patient), expected, "{patient}, column {column}");
        }
        assert!(!got.iter().any(|id| id == "of the visit" || id == "vip says"));
    }
    assert!(control_ids(&research).iter().any(|id| id == "staff says"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_takes_the_refusal_along() {
    let dir = tempfile::tempdir().unwrap();
    let research = Arc::<Landing>::default();
    let routes = vec![asking("research", &research, OPT_OUT)];
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes).await;
    take(&gateway, &with("OLD", "refuses", "ARV|1|A|ALL\n")).await;
    take(&gateway, &with("NEW", "before", "")).await;
    take(&gateway, &with("NEW", "merge", "MRG|OLD^^^LARKHAVEN^MR\n")).await;
    take(&gateway, &with("NEW", "after", "")).await;
    gateway.idle().await;
    assert_eq!(control_ids(&research), ["before"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_looked_up_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (research, strict) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = vec![asking("research", &research, OPT_OUT), asking("strict", &strict, OPT_IN)];
    let feeds = vec![feed("adt", None), feed("fhir", None), feed("oxi", None)];
    let gateway = TestBox::start(dir.path(), feeds, routes).await;
    take(&gateway, &message("", "no id").replace("^^^LARKHAVEN^MR", "")).await;
    // Of nobody at all: master files go where people opt out.
    take(&gateway, "MSH|^~\\&|A|B|C|D|20261124||MFN^M01|files|P|2.5.1\rMFI|CDM\r").await;
    let patient = r#"{"resourceType":"Observation","subject":{"reference":"Patient/MRN5"}}"#;
    let refusal = r#"{"resourceType":"Consent","id":"c1","status":"active","patient":{"reference":"Patient/MRN5"},"provision":{"type":"deny"}}"#;
    let agreement = refusal.replace("MRN5", "MRN6").replace("deny", "permit");
    gateway.take("fhir", Format::Fhir, "", patient.as_bytes()).await;
    gateway.idle().await;
    let later = patient.replace("{\"res", "{\"id\":\"o2\",\"res");
    for body in [refusal, &later, &agreement, &patient.replace("MRN5", "MRN6")] {
        gateway.take("fhir", Format::Fhir, "", body.as_bytes()).await;
    }
    // An id without its authority is one of any authority, of whatever format.
    take(&gateway, &with("MRN5", "by FHIR", "")).await;
    gateway.idle().await;
    assert_eq!((research.rows().len(), withheld(&research)), (4, 3));
    assert_eq!((strict.rows().len(), withheld(&strict)), (2, 4));
    let held: Vec<_> =
        gateway.handle.held().into_iter().map(|h| (h.destination.to_string(), h.id.seq)).collect();
    assert_eq!(held.len(), 3, "{held:?}");
    assert!(held.contains(&("research".into(), 1)) && held.contains(&("strict".into(), 2)));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_counts_at_once_and_as_a_whole_and_a_person_can_say_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let research = Arc::<Landing>::default();
    let routes = || vec![asking("research", &research, OPT_OUT)];
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes()).await;
    let handle = &gateway.handle;
    let list: Vec<Named> =
        (0..2_500).map(|n| named(&format!("M{n}"), if n % 2 == 0 { "" } else { "LARKHAVEN" })).collect();
    assert_eq!(handle.import_opt_outs(&list, false, "ida").await.unwrap(), 2_500);
    for n in [0, 1, 2_499] {
        take(&gateway, &with(&format!("M{n}"), "listed", "")).await;
    }
    take(&gateway, &with("M2500", "not listed", "")).await;
    // The next list is much shorter: a file that was cut off looks like that.
    let refused = handle.import_opt_outs(&list[..9], false, "ida").await.unwrap_err();
    assert!(matches!(refused, Error::OptOutListShrinks { before: 2_500, count: 9 }), "{refused}");
    handle.say_of_consent(&named("M2500", ""), Word::Deny, "ida").await.unwrap();
    assert!(handle.say_of_consent(&named(" ", ""), Word::Deny, "ida").await.is_err());
    gateway.idle().await;
    assert_eq!(control_ids(&research), ["not listed"]);
    gateway.stop().await;

    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes()).await;
    let handle = &gateway.handle;
    assert_eq!(handle.consents().listed, 2_500);
    assert_eq!(handle.look_up_consent(&named("M7", "LARKHAVEN")).unwrap(), Some(false));
    assert_eq!(handle.look_up_consent(&named("M7", "ELSEWHERE")).unwrap(), None);
    // Deny overrides: what a person permits does not beat the list; off the list, it counts.
    handle.say_of_consent(&named("M7", ""), Word::Permit, "ida").await.unwrap();
    assert_eq!(handle.look_up_consent(&named("M7", "")).unwrap(), Some(false));
    assert_eq!(handle.import_opt_outs(&list[..3], true, "ida").await.unwrap(), 3);
    assert_eq!(handle.look_up_consent(&named("M7", "")).unwrap(), Some(true));
    handle.say_of_consent(&named("M2500", ""), Word::Nothing, "ida").await.unwrap();
    assert_eq!(handle.look_up_consent(&named("M2500", "")).unwrap(), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_missing_or_too_old_stops_delivery_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let asked = Asked { list_age_h_max: Some(24), ..OPT_OUT };
    let routes = vec![route("lake", "treatment", &lake), asking("research", &research, asked)];
    let gateway = TestBox::start(dir.path(), vec![feed("adt", None)], routes).await;
    take(&gateway, &with("MRN1", "waits", "")).await;
    while lake.rows().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let blocked = |gateway: &TestBox| {
        let all = gateway.handle.status();
        all.iter().any(|s| {
            s.destination == slug("research")
                && matches!(&s.state, DeliveryState::Blocked { why } if why.contains("consent import"))
        })
    };
    while !blocked(&gateway) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(research.rows().is_empty());
    gateway.handle.import_opt_outs(&[], false, "ida").await.unwrap();
    gateway.idle().await;
    assert_eq!(control_ids(&research), ["waits"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_later_stands_though_an_earlier_record_is_read_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let (one, late) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let feeds = || vec![feed("adt", None)];
    let gateway = TestBox::start(dir.path(), feeds(), vec![asking("one", &one, OPT_OUT)]).await;
    take(&gateway, &with("MRN1", "refuses", "PD1||||||||||||Y\n")).await;
    take(&gateway, &with("MRN1", "takes back", "PD1||||||||||||N\n")).await;
    gateway.idle().await;
    gateway.stop().await;
    // Another destination begins with the oldest record and reads the refusal after it was taken back.
    let from_the_start = Route { start: Start::Oldest, ..asking("late", &late, OPT_OUT) };
    let routes = vec![asking("one", &one, OPT_OUT), from_the_start];
    let gateway = TestBox::start(dir.path(), feeds(), routes).await;
    take(&gateway, &with("MRN1", "free", "")).await;
    gateway.idle().await;
    assert_eq!(control_ids(&one), ["takes back", "free"]);
    assert_eq!(control_ids(&late), ["refuses", "takes back", "free"], "by what holds today");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_routed_elsewhere_is_heard_too_and_no_id_stands_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let feeds = vec![feed("adt", Some(&["lake"])), feed("lab", None)];
    let routes = vec![route("lake", "treatment", &lake), asking("research", &research, OPT_OUT)];
    let gateway = TestBox::start(dir.path(), feeds, routes).await;
    take(&gateway, &with("MRN777001", "refuses", "PD1||||||||||||Y\n")).await;
    gateway.take("lab", Format::Hl7v2, "", message("MRN777001", "result").as_bytes()).await;
    gateway.idle().await;
    assert!(research.rows().is_empty());
    assert_eq!((lake.rows().len(), withheld(&research)), (2, 1));
    let mut reader = AuditReader::new(gateway.handle.spool().journal(), 0);
    let mut heard = 0;
    while let Some(step) = reader.next().await.unwrap() {
        let AuditStep::Entry(record) = step else { panic!("{step:?}") };
        let event = record.entry.unwrap().event;
        heard += usize::from(event.action == AuditAction::ConsentChanged);
        assert!(!format!("{event:?}").contains("777001"));
    }
    assert_eq!(heard, 1);
    gateway.stop().await;
}

#[test]
fn a_list_is_read_or_the_first_bad_line_named() {
    use crate::consent::read_list;
    let text = "\u{feff}# people\r\n7700\r\n \"7701\" , LARKHAVEN \n\n";
    let people = read_list(&text.to_owned().into()).unwrap();
    assert_eq!(people, [named("7700", ""), named("7701", "LARKHAVEN")]);
    for (bad, line) in [("1\n,X\n", 2), ("1,2,3\n", 1), ("a\u{7}b", 1), ("1\n2\n\"3", 3)] {
        assert_eq!(read_list(&bad.to_owned().into()).unwrap_err().0, line, "{bad:?}");
    }
    assert_eq!(read_list(&vec![b'1', b'\n', 0xFF].into()).unwrap_err().0, 2);
    assert!(!format!("{people:?}").contains("7700"));
}

/// At the limit nothing new can be said of anybody: who asks for consent gets nothing more, and what changes a word that stands
/// is heard as before.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_of_statements_who_asks_gets_nothing_and_the_others_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let config = || spool::Config { journal_bytes_max: 192 << 20, ..small() };
    let start = async || {
        let routes = vec![route("lake", "treatment", &lake), asking("research", &research, OPT_OUT)];
        let feeds = vec![feed("adt", None)];
        TestBox::start_on(dir.path(), config(), feeds, routes, spool::Outside::real()).await
    };
    let gateway = start().await;
    take(&gateway, &with("MRN1", "refuses", "PD1||||||||||||Y\n")).await;
    gateway.idle().await;
    let said = gateway.handle.consents().statements;
    crate::consent::fill(gateway.handle.journal(), said).await;
    // All of it can be said again, as before a part of the journal goes.
    gateway.handle.journal().say_again().await.unwrap();
    gateway.stop().await;

    let gateway = start().await;
    assert_eq!(gateway.handle.consents().statements, crate::consent::STATEMENTS_MAX as u64);
    // A word that takes the place of another is heard.
    take(&gateway, &with("MRN1", "permits", "PD1||||||||||||N\n")).await;
    gateway.idle().await;
    assert_eq!(control_ids(&research), ["permits"]);
    let deny = |id: &str| (named(id, "LARKHAVEN"), Word::Deny);
    let (who, word) = deny("NEW");
    let full = gateway.handle.say_of_consent(&who, word, "ada").await;
    assert!(matches!(full, Err(Error::ConsentsFull)), "{full:?}");
    // A new one is not: nothing that was read with it, or after it, leaves.
    take(&gateway, &with("MRN9", "new", "PD1||||||||||||Y\n")).await;
    take(&gateway, &with("MRN2", "of another", "")).await;
    let state = super::anchor::until("blocked", || {
        let status = gateway.handle.status();
        let blocked =
            |s: &DeliveryStatus| matches!(&s.state, DeliveryState::Blocked { why } if why.contains("250000"));
        status.iter().any(|s| s.destination == slug("research") && blocked(s))
    });
    state.await;
    super::anchor::until("the others get everything", || lake.rows().len() == 4).await;
    assert_eq!(control_ids(&research), ["permits"]);
    gateway.stop().await;
    // Not after a restart either.
    let gateway = start().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(control_ids(&research), ["permits"]);
    gateway.stop().await;
}
