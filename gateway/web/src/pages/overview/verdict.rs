//! One sentence that says how things are, and what lies behind it: what somebody must do first, then what to
//! watch.

use maud::{Markup, html};

use crate::app::Snapshot;
use crate::layout::{self, Tone};
use crate::{DestinationState, format};

/// Something to know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Point {
    tone: Tone,
    what: String,
    why: String,
    link: Option<String>,
}

/// The sentence and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    tone: Tone,
    sentence: String,
    points: Vec<Point>,
}

pub(super) fn of(snapshot: &Snapshot) -> Verdict {
    let status = &snapshot.status;
    let mut points = Vec::new();
    let mut add = |tone, what: String, why: String, link: Option<String>| {
        points.push(Point { tone, what, why, link });
    };
    for reason in &status.not_ready_because {
        add(Tone::Act, "The gateway is not ready".to_owned(), reason.clone(), None);
    }
    for destination in &status.destinations {
        let link = Some(format!("/destinations/{}", destination.name));
        match &destination.state {
            DestinationState::Blocked { why } => {
                add(Tone::Act, format!("{} is blocked", destination.name), why.clone(), link);
            }
            DestinationState::Unreachable { why, .. } => {
                add(Tone::Watch, format!("{} is unreachable", destination.name), why.clone(), link);
            }
            DestinationState::Retrying { why, .. } => {
                add(Tone::Watch, format!("{} is retrying", destination.name), why.clone(), link);
            }
            DestinationState::Delivering | DestinationState::Idle => {}
        }
    }
    let lane =
        "When it is full, its feeds are refused until a destination has caught up. Nothing is dropped.";
    let held =
        "When it is full, what cannot be released stays in its lane and stops it. Decide on what is held.";
    let journal =
        "When it is full, nothing can be audited, so nothing can be changed. Give it a larger budget.";
    let mut logs: Vec<(String, u64, &str)> =
        status.lanes.iter().map(|l| (format!("The {} lane", l.lane), l.used_percent, lane)).collect();
    logs.push(("The held log".to_owned(), status.held_log_used_percent, held));
    logs.push(("The journal".to_owned(), status.journal_used_percent, journal));
    for (what, percent, why) in logs {
        let tone = layout::room_tone(percent);
        if tone >= Tone::Watch {
            add(tone, format!("{what} is {percent} % full"), why.to_owned(), None);
        }
    }
    let disk = layout::disk_tone(status.disk);
    if disk >= Tone::Watch {
        let why = format!(
            "{} are left. From 95 % on the bulk lane takes nothing more and delivered records go early. Free some space.",
            format::bytes(status.disk.free_bytes)
        );
        add(disk, "The disk is nearly full".to_owned(), why, None);
    }
    if let Some(at) = snapshot.certificate_expires_at {
        let tone = layout::certificate_tone(at, snapshot.now);
        if tone >= Tone::Watch {
            let what =
                if at < snapshot.now { "A certificate has expired" } else { "A certificate expires soon" };
            let day = format::date(at);
            add(
                tone,
                what.to_owned(),
                format!("Valid until {day}. Install a renewed one; no restart is needed."),
                None,
            );
        }
    }
    if status.held > 0 {
        let what = format!(
            "{} held",
            if status.held == 1 {
                "1 record is".to_owned()
            } else {
                format!("{} records are", format::count(status.held))
            }
        );
        let why =
            "A policy could not release them. They stay encrypted here until somebody decides.".to_owned();
        add(Tone::Watch, what, why, Some("/destinations".to_owned()));
    }
    points.sort_by_key(|point| std::cmp::Reverse(point.tone));
    let (tone, sentence) = sentence(snapshot, &points);
    Verdict { tone, sentence, points }
}

fn sentence(snapshot: &Snapshot, points: &[Point]) -> (Tone, String) {
    let status = &snapshot.status;
    let acts = points.iter().filter(|point| point.tone == Tone::Act).count();
    let watches = points.len() - acts;
    match (acts, watches) {
        (1, _) => (Tone::Act, "One thing needs you".to_owned()),
        (2.., _) => (Tone::Act, format!("{acts} things need you")),
        (_, 1) => (Tone::Watch, "Working, with one thing to watch".to_owned()),
        (_, 2..) => (Tone::Watch, format!("Working, with {watches} things to watch")),
        _ if !status.ready => (Tone::Watch, "Starting".to_owned()),
        _ if status.feeds.is_empty() => (Tone::Calm, "Ready for a first feed".to_owned()),
        _ if status.destinations.is_empty() => (Tone::Calm, "Ready for a first destination".to_owned()),
        _ if status.backlog() > 0 => (Tone::Good, "All is well, records are on their way".to_owned()),
        _ if status.lanes.iter().all(|lane| lane.last_durable == 0) => {
            (Tone::Calm, "Waiting for the first record".to_owned())
        }
        _ => (Tone::Good, "All is well, everything has been delivered".to_owned()),
    }
}

impl Verdict {
    pub(super) fn headline(&self) -> Markup {
        html! { h1 class=(self.tone.class()) { (layout::mark(self.tone)) span { (self.sentence) } } }
    }

    pub(super) fn points(&self) -> Markup {
        html! {
            @if !self.points.is_empty() {
                ul.points {
                    @for point in &self.points {
                        li class=(point.tone.class()) {
                            (layout::mark(point.tone))
                            div {
                                p.what {
                                    @match &point.link {
                                        Some(link) => a href=(link) { (point.what) },
                                        None => { (point.what) },
                                    }
                                }
                                p.why { (point.why) }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Lane, StreamEpoch, Timestamp};

    use super::*;
    use crate::history::Trend;
    use crate::{DestinationLane, DestinationStatus, Disk, FeedStatus, LaneStatus, Status};

    const DAY_MICROS: i64 = 86_400_000_000;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_micros(20_000 * DAY_MICROS + days * DAY_MICROS)
    }

    /// A box with one feed and one destination, on a good day.
    fn snapshot() -> Snapshot {
        let lane = |lane| LaneStatus {
            lane,
            epoch: StreamEpoch::FIRST,
            last_durable: 5,
            bytes: 1,
            budget_bytes: 100,
            used_percent: 1,
        };
        let feed = FeedStatus {
            name: "adt".parse().unwrap(),
            kind: "mllp".to_owned(),
            listen: "0.0.0.0:2575".to_owned(),
            received: 5,
            accepted: 5,
            duplicates: 0,
            refused: 0,
            connections: 1,
            faults: std::collections::BTreeMap::new(),
            last_received_at: Some(at(0)),
            silent_for_s: Some(1),
        };
        let destination = DestinationStatus {
            name: "lake".parse().unwrap(),
            kind: "lakehouse".to_owned(),
            policy: "treatment".to_owned(),
            state: DestinationState::Idle,
            lanes: vec![DestinationLane {
                lane: Lane::Clinical,
                cursor: 5,
                backlog: 0,
                oldest_unsent_age_s: None,
            }],
            delivered: 5,
            skipped: 0,
            held: 0,
            certificate_expires_at: None,
        };
        let status = Status {
            gateway: "ward-3".parse().unwrap(),
            version: "0.1.0".to_owned(),
            uptime_s: 1,
            ready: true,
            not_ready_because: Vec::new(),
            lanes: Lane::ALL.into_iter().map(lane).collect(),
            feeds: vec![feed],
            destinations: vec![destination],
            disk: Disk { free_bytes: 50, total_bytes: 100, used_percent: 50 },
            held_log_used_percent: 0,
            journal_used_percent: 1,
            held: 0,
        };
        Snapshot { status, now: at(0), certificate_expires_at: Some(at(300)), trend: Trend::default() }
    }

    #[test]
    fn one_cause_one_point() {
        type Case = (fn(&mut Snapshot), Tone, &'static str, &'static str);
        let cases: [Case; 18] = [
            (|_| {}, Tone::Good, "All is well, everything has been delivered", ""),
            (
                |s| s.status.destinations[0].lanes[0].backlog = 3,
                Tone::Good,
                "All is well, records are on their way",
                "",
            ),
            (|s| s.status.ready = false, Tone::Watch, "Starting", ""),
            (|s| s.status.feeds.clear(), Tone::Calm, "Ready for a first feed", ""),
            (|s| s.status.destinations.clear(), Tone::Calm, "Ready for a first destination", ""),
            (
                |s| s.status.not_ready_because.push("the disk failed".to_owned()),
                Tone::Act,
                "One thing needs you",
                "The gateway is not ready",
            ),
            (
                |s| s.status.destinations[0].state = DestinationState::Blocked { why: "w".to_owned() },
                Tone::Act,
                "One thing needs you",
                "lake is blocked",
            ),
            (
                |s| {
                    s.status.destinations[0].state =
                        DestinationState::Retrying { why: "w".to_owned(), since: None }
                },
                Tone::Watch,
                "Working, with one thing to watch",
                "lake is retrying",
            ),
            (
                |s| {
                    s.status.destinations[0].state =
                        DestinationState::Unreachable { why: "w".to_owned(), since: None }
                },
                Tone::Watch,
                "Working, with one thing to watch",
                "lake is unreachable",
            ),
            (
                // Delivered records that fill the budget are no trouble.
                |s| s.status.lanes[1].bytes = 100,
                Tone::Good,
                "All is well, everything has been delivered",
                "",
            ),
            (
                |s| s.status.lanes[1].used_percent = 90,
                Tone::Watch,
                "Working, with one thing to watch",
                "The clinical lane is 90 % full",
            ),
            (
                |s| s.status.lanes[1].used_percent = 95,
                Tone::Act,
                "One thing needs you",
                "The clinical lane is 95 % full",
            ),
            (
                |s| s.status.held_log_used_percent = 92,
                Tone::Watch,
                "Working, with one thing to watch",
                "The held log is 92 % full",
            ),
            (
                |s| s.status.journal_used_percent = 99,
                Tone::Act,
                "One thing needs you",
                "The journal is 99 % full",
            ),
            (
                |s| s.status.disk.used_percent = 96,
                Tone::Act,
                "One thing needs you",
                "The disk is nearly full",
            ),
            (
                |s| s.certificate_expires_at = Some(at(20)),
                Tone::Watch,
                "Working, with one thing to watch",
                "A certificate expires soon",
            ),
            (
                |s| s.certificate_expires_at = Some(at(-1)),
                Tone::Act,
                "One thing needs you",
                "A certificate has expired",
            ),
            (|s| s.status.held = 1, Tone::Watch, "Working, with one thing to watch", "1 record is held"),
        ];
        for (change, tone, sentence, point) in cases {
            let mut snapshot = snapshot();
            change(&mut snapshot);
            let verdict = of(&snapshot);
            assert_eq!((verdict.tone, verdict.sentence.as_str()), (tone, sentence));
            let points: Vec<&str> = verdict.points.iter().map(|p| p.what.as_str()).collect();
            assert_eq!(points, if point.is_empty() { vec![] } else { vec![point] });
        }
    }

    #[test]
    fn what_needs_somebody_stands_first() {
        let mut snapshot = snapshot();
        snapshot.status.held = 2;
        snapshot.status.disk = Disk { free_bytes: 1, total_bytes: 100, used_percent: 99 };
        let verdict = of(&snapshot);
        assert_eq!(verdict.sentence, "One thing needs you");
        let tones: Vec<Tone> = verdict.points.iter().map(|p| p.tone).collect();
        assert_eq!(tones, [Tone::Act, Tone::Watch]);
        // A system that does not tell the size of its disk raises no alarm.
        snapshot.status.disk = Disk { free_bytes: 0, total_bytes: 0, used_percent: 100 };
        assert_eq!(of(&snapshot).points.len(), 1);
    }
}
