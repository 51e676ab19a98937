//! Policies tried on the log.

use std::sync::Arc;

use deid::Policy;
use model::{Format, Reason};

use super::support::*;
use crate::Error;
use crate::trial::Verdict;

#[tokio::test]
async fn a_policy_is_tried_on_what_is_in_the_log_and_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (landing, other) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let feeds = vec![feed("adt", Some(&["lake"])), feed("lab", Some(&["other"]))];
    let routes = vec![route("lake", "safe-harbor", &landing), route("other", "treatment", &other)];
    let gateway = TestBox::start(dir.path(), feeds, routes).await;
    let first = gateway.hl7("ZQMRN1", "C-1").await.id;
    gateway.hl7("ZQMRN2", "C-2").await;
    gateway.take("lab", Format::Hl7v2, "", message("ZQMRN3", "C-3").as_bytes()).await;
    gateway.take("adt", Format::Hl7v2, "", b"no message").await;
    let sent = |landing: &Landing| landing.0.lock().unwrap().rows.len();
    gateway.idle().await;
    assert_eq!((sent(&landing), sent(&other)), (2, 1));

    let candidate = || Policy::builtin("limited-data-set").unwrap();
    let lake = slug("lake");
    let trial = gateway.handle.try_policy(&lake, candidate(), 100, "a test").await.unwrap();
    let counted = &trial.comparison;
    assert_eq!((counted.records, counted.same, trial.not_for_it, trial.unreadable), (2, 0, 1, 1));
    let of_the_id = counted.changes.iter().find(|change| change.path.starts_with("PID-3")).unwrap();
    assert_eq!((of_the_id.first.outcome, of_the_id.values, of_the_id.example), ("removed", 2, first));
    assert_eq!(of_the_id.second.rules, ["token"]);
    let told = format!("{trial:?}");
    assert!(!told.contains("ZQMRN") && told.contains(&trial.candidate.sha256), "{told}");

    // The newest one alone is not for it.
    let trial = gateway.handle.try_policy(&lake, candidate(), 1, "a test").await.unwrap();
    assert_eq!((trial.comparison.records, trial.unreadable), (0, 1));
    let nobody = gateway.handle.try_policy(&slug("nobody"), candidate(), 1, "a test").await;
    assert!(matches!(nobody, Err(Error::NoDestination { .. })));
    assert_eq!((sent(&landing), sent(&other)), (2, 1));
    gateway.stop().await;
}

#[tokio::test]
async fn one_record_is_explained_value_by_value_without_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let landing = Arc::<Landing>::default();
    let feeds = vec![feed("adt", Some(&["lake"])), feed("lab", Some(&[]))];
    let gateway = TestBox::start(dir.path(), feeds, vec![route("lake", "safe-harbor", &landing)]).await;
    let id = gateway.hl7("ZQMRN1", "C-1").await.id;
    let elsewhere = gateway.take("lab", Format::Hl7v2, "", message("ZQMRN3", "C-3").as_bytes()).await.id;
    let broken = gateway.take("adt", Format::Hl7v2, "", b"no message").await.id;

    let explained = gateway.handle.explain(&slug("lake"), id).await.unwrap();
    assert_eq!(explained.verdict, Verdict::Released);
    let of_the_id = explained.steps.iter().find(|step| step.path == "PID[1]-3[1]").unwrap();
    assert_eq!((of_the_id.outcome, &*of_the_id.rules), ("removed", &["removed"][..]));
    assert!(!format!("{explained:?}").contains("ZQMRN"));

    let explained = gateway.handle.explain(&slug("lake"), elsewhere).await.unwrap();
    assert_eq!(explained.verdict, Verdict::NotForIt { reason: Reason::NotRouted });
    let explained = gateway.handle.explain(&slug("lake"), broken).await.unwrap();
    assert!(matches!(explained.verdict, Verdict::Held { .. }) && explained.steps.is_empty());
    gateway.stop().await;
}
