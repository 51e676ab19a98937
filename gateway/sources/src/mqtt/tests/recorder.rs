//! Order, overlap and refusal, without a broker.

use std::time::Duration;

use bytes::Bytes;
use model::{Format, Refusal, Timestamp};

use super::super::recorder::{Arrival, Outcome, Recorder};
use super::intake::{FakeIntake, Mode};

fn arrival(id: u16, record: bool) -> Arrival {
    Arrival {
        topic: "t".into(),
        payload: Bytes::copy_from_slice(&id.to_be_bytes()),
        packet_id: id,
        received_at: Timestamp::default(),
        record_as: record.then(|| Format::Device("bluetooth.plx".into())),
    }
}

fn recorder(intake: &FakeIntake) -> Recorder<FakeIntake> {
    Recorder::new(intake.clone(), "oximeters".parse().unwrap(), "broker:1883".into())
}

async fn soon(recorder: &mut Recorder<FakeIntake>) -> Option<(u16, String)> {
    let next = tokio::time::timeout(Duration::from_millis(50), recorder.next()).await.ok()?;
    let outcome = match next.1 {
        Outcome::Recorded(receipt) => receipt.id.to_string(),
        Outcome::Passed => "passed".into(),
        Outcome::Refused(refusal) => refusal.to_string(),
    };
    Some((next.0.packet_id, outcome))
}

#[tokio::test(start_paused = true)]
async fn commits_overlap_and_outcomes_keep_the_order() {
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let mut recorder = recorder(&intake);
    for id in 1..=4 {
        recorder.push(arrival(id, id != 3));
    }
    assert_eq!((recorder.len(), recorder.bytes()), (4, 8));
    assert_eq!(soon(&mut recorder).await, None);
    assert_eq!(intake.begun(), 3, "all are under way at once");
    intake.set(Mode::Open);
    let expected = [(1, "clinical-1-1"), (2, "clinical-1-2"), (3, "passed"), (4, "clinical-1-3")];
    for (id, outcome) in expected {
        assert_eq!(soon(&mut recorder).await, Some((id, outcome.to_owned())));
    }
    assert!(recorder.is_empty());
    assert_eq!(recorder.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_behind_a_refusal() {
    let intake = FakeIntake::new();
    intake.set(Mode::Refusing(Refusal::Full));
    let mut recorder = recorder(&intake);
    for id in 1..=3 {
        recorder.push(arrival(id, true));
    }
    assert_eq!(soon(&mut recorder).await, Some((1, Refusal::Full.to_string())));
    intake.set(Mode::Open);
    assert_eq!(soon(&mut recorder).await, None);
    assert_eq!(intake.begun(), 0);
    recorder.abandon_uncommitted();
    assert!(recorder.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_stops_nothing() {
    let intake = FakeIntake::new();
    intake.set(Mode::UpTo(1));
    let mut recorder = recorder(&intake);
    recorder.push(arrival(1, true));
    recorder.push(Arrival { payload: Bytes::new(), ..arrival(2, true) });
    assert_eq!(soon(&mut recorder).await, Some((1, Refusal::TooLarge.to_string())));
    assert_eq!(soon(&mut recorder).await, Some((2, "clinical-1-1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn abandoning_keeps_what_is_being_committed() {
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let mut recorder = recorder(&intake);
    recorder.push(arrival(1, true));
    assert_eq!(soon(&mut recorder).await, None);
    recorder.push(arrival(2, true));
    recorder.abandon_uncommitted();
    assert_eq!((recorder.len(), recorder.bytes()), (1, 2));
    intake.set(Mode::Open);
    assert_eq!(soon(&mut recorder).await, Some((1, "clinical-1-1".to_owned())));
    assert!(recorder.is_empty());
}
