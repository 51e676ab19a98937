//! One sentence that says how things are, and what lies behind it: what somebody must do first, then what to
//! watch.

use maud::{Markup, html};

use super::lane_tone;
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
            DestinationState::Retrying { why, .. } => {
                add(Tone::Watch, format!("{} is retrying", destination.name), why.clone(), link);
            }
            DestinationState::Delivering | DestinationState::Idle => {}
        }
    }
    for lane in &status.lanes {
        let tone = lane_tone(lane);
        if tone >= Tone::Watch {
            let share = format::percent(lane.bytes, lane.budget_bytes);
            let why = "When it is full, its feeds are refused until a destination has caught up. Nothing is dropped.";
            add(tone, format!("The {} lane is {share} % full", lane.lane), why.to_owned(), None);
        }
    }
    let disk = layout::disk_tone(status.disk);
    if disk >= Tone::Watch {
        let why = format!(
            "{} are left. Free some space, or give the log a smaller budget.",
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
