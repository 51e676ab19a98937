//! What goes out: all destinations, and each of them.

use axum::extract::{Extension, Path, State};
use maud::{Markup, html};
use model::{Slug, Timestamp};

use crate::app::{Shared, Snapshot};
use crate::layout::{self, Column, Tone, fact, number, place, words};
use crate::live::{Part, View};
use crate::pages::error::Failure;
use crate::session::Session;
use crate::{DESTINATION_EXAMPLE, DestinationState, DestinationStatus, format};

/// `GET /destinations`.
pub(crate) async fn list(State(app): State<Shared>, Extension(session): Extension<Session>) -> Markup {
    let snapshot = app.snapshot();
    let parts = parts(&snapshot);
    let body = html! {
        h1 { "Destinations" }
        p.lead { "A destination gets every record that its policy releases, in order, and keeps its own place in the log." }
        section.solo #destinations aria-label="All destinations" { (place(&parts, "destinations")) }
    };
    layout::page("Destinations", "/destinations", &View::Destinations, &session, &snapshot, &parts, &body)
}

/// `GET /destinations/{destination}`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
) -> Result<Markup, Failure> {
    let name: Slug = name.parse().map_err(|_| Failure::not_found())?;
    let snapshot = app.snapshot();
    let parts = parts_of(&name, &snapshot).ok_or(Failure::not_found())?;
    let body = html! {
        p.crumbs { a href="/destinations" { "Destinations" } }
        h1 { (name) }
        div #destination { (place(&parts, "destination")) }
    };
    let view = View::Destination(name.clone());
    Ok(layout::page(name.as_str(), "/destinations", &view, &session, &snapshot, &parts, &body))
}

/// What changes on the list.
pub(crate) fn parts(snapshot: &Snapshot) -> Vec<Part> {
    vec![("strip", layout::strip(snapshot)), ("destinations", table(snapshot))]
}

/// What changes on the page of one destination.
pub(crate) fn parts_of(name: &Slug, snapshot: &Snapshot) -> Option<Vec<Part>> {
    let destination = snapshot.status.destinations.iter().find(|d| d.name == *name)?;
    Some(vec![("strip", layout::strip(snapshot)), ("destination", one(destination, snapshot.now))])
}

/// All destinations, as on the overview.
pub(crate) fn table(snapshot: &Snapshot) -> Markup {
    const COLUMNS: [Column; 8] = [
        words("Destination"),
        words("State"),
        words("Policy"),
        number("Backlog"),
        number("Oldest unsent"),
        number("Delivered"),
        number("Skipped"),
        number("Held"),
    ];
    let destinations = &snapshot.status.destinations;
    if destinations.is_empty() {
        return html! { h2.table-title { "Destinations" } (nothing_yet()) };
    }
    let rows = destinations
        .iter()
        .map(|destination| {
            vec![
                html! {
                    a href={ "/destinations/" (destination.name) } { (destination.name) }
                    span.sub { (destination.kind) }
                },
                state(&destination.state, snapshot.now),
                html! { (destination.policy) },
                html! { (format::count(destination.backlog())) },
                html! { (destination.oldest_unsent_age_s().map_or_else(|| "none".to_owned(), format::age)) },
                html! { (format::count(destination.delivered)) },
                html! { (format::count(destination.skipped)) },
                html! { (format::count(destination.held)) },
            ]
        })
        .collect();
    layout::table("Destinations", &COLUMNS, rows)
}

fn state(state: &DestinationState, now: Timestamp) -> Markup {
    match state {
        DestinationState::Delivering => layout::state(Tone::Good, "delivering"),
        DestinationState::Idle => layout::state(Tone::Good, "up to date"),
        DestinationState::Unreachable { why, since } => trouble("unreachable", why, *since, now),
        DestinationState::Retrying { why, since } => trouble("retrying", why, *since, now),
        DestinationState::Blocked { why } => {
            html! { (layout::state(Tone::Act, "blocked")) span.sub { (why) } }
        }
    }
}

/// What goes on by itself once the other side is there.
fn trouble(what: &str, why: &str, since: Option<Timestamp>, now: Timestamp) -> Markup {
    let since = since.map(|at| u64::try_from(now.micros_since(at) / 1_000_000).unwrap_or(0));
    let words = since.map_or_else(|| what.to_owned(), |s| format!("{what} for {}", format::age(s)));
    html! { (layout::state(Tone::Watch, &words)) span.sub { (why) } }
}

fn one(destination: &DestinationStatus, now: Timestamp) -> Markup {
    const COLUMNS: [Column; 4] =
        [words("Lane"), number("Settled up to record"), number("Backlog"), number("Oldest unsent")];
    let lanes = destination
        .lanes
        .iter()
        .map(|lane| {
            vec![
                html! { (lane.lane) },
                html! { @if lane.cursor == 0 { "none yet" } @else { (format::count(lane.cursor)) } },
                html! { (format::count(lane.backlog)) },
                html! { (lane.oldest_unsent_age_s.map_or_else(|| "none".to_owned(), format::age)) },
            ]
        })
        .collect();
    html! {
        div.lead { (state(&destination.state, now)) }
        dl.facts {
            (fact("Kind", &html! { (destination.kind) }))
            (fact("Policy", &html! { (destination.policy) }))
            (fact("Delivered", &html! { (format::count(destination.delivered)) }))
            (fact("Skipped with a reason", &html! { (format::count(destination.skipped)) }))
            (fact("Held", &html! { (format::count(destination.held)) }))
            @if let Some(at) = destination.certificate_expires_at {
                (fact("Our certificate ends", &layout::state(layout::certificate_tone(at, now), &format::date(at))))
            }
        }
        (layout::table("How far it has come, by lane", &COLUMNS, lanes))
    }
}

/// How to add the first destination.
fn nothing_yet() -> Markup {
    layout::empty(
        "No destination yet",
        &html! {
            p { "What arrives is kept, and waits. Add a destination to the configuration, for example a lakehouse:" }
            pre tabindex="0" aria-label="Example configuration" { code { (DESTINATION_EXAMPLE) } }
            p { "Then " code { "wardgate check" } " tells whether it is right, and a restart of the service puts it to work." }
        },
    )
}
