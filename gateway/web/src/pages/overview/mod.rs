//! How things are, on one screen: what needs somebody, what flows, and the feeds and destinations behind it.

mod flow;
mod verdict;

use axum::extract::{Extension, State};
use maud::{Markup, html};

use crate::app::{Shared, Snapshot};
use crate::layout::{self, Column, number, place, words};
use crate::live::{Part, View};
use crate::pages::{destinations, feeds};
use crate::session::Session;
use crate::{LaneStatus, format};

/// `GET /`.
pub(crate) async fn show(State(app): State<Shared>, Extension(session): Extension<Session>) -> Markup {
    let snapshot = app.snapshot();
    let parts = parts(&snapshot);
    let body = html! {
        div.headline #headline aria-live="polite" { (place(&parts, "headline")) }
        div #points { (place(&parts, "points")) }
        section.flow #flow aria-label="Flow" { (place(&parts, "flow")) }
        section #feeds aria-label="Feeds" { (place(&parts, "feeds")) }
        section #destinations aria-label="Destinations" { (place(&parts, "destinations")) }
        section #lanes aria-label="Log" { (place(&parts, "lanes")) }
    };
    layout::page("Overview", "/", &View::Overview, &session, &snapshot, &parts, &body)
}

/// What changes.
pub(crate) fn parts(snapshot: &Snapshot) -> Vec<Part> {
    let verdict = verdict::of(snapshot);
    vec![
        ("strip", layout::strip(snapshot)),
        ("headline", verdict.headline()),
        ("points", verdict.points()),
        ("flow", flow::show(snapshot)),
        ("feeds", feeds::table(snapshot)),
        ("destinations", destinations::table(snapshot)),
        ("lanes", lanes(&snapshot.status.lanes)),
    ]
}

fn lanes(lanes: &[LaneStatus]) -> Markup {
    const COLUMNS: [Column; 5] = [
        words("Lane"),
        number("Epoch"),
        number("Last durable record"),
        number("On disk"),
        words("Of its budget"),
    ];
    let rows = lanes
        .iter()
        .map(|lane| {
            let share = lane.used_percent;
            vec![
                html! { (lane.lane) },
                html! { (lane.epoch) },
                html! { @if lane.last_durable == 0 { "none yet" } @else { (format::count(lane.last_durable)) } },
                html! { (format::bytes(lane.bytes)) },
                html! {
                    span.share { (layout::bar(share, layout::room_tone(share)))
                    span { (share) " % of " (format::bytes(lane.budget_bytes)) } }
                },
            ]
        })
        .collect();
    layout::table("The log on this box, by lane", &COLUMNS, rows)
}
