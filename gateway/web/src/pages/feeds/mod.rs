//! What comes in: all feeds, and each of them.

use axum::extract::{Extension, Path, State};
use maud::{Markup, html};
use model::Slug;

use crate::app::{Shared, Snapshot};
use crate::layout::{self, Column, Tone, fact, number, place, words};
use crate::live::{Part, View};
use crate::pages::error::Failure;
use crate::session::Session;
use crate::{FEED_EXAMPLE, FeedStatus, format};

/// Seconds since the last record for which a feed counts as receiving.
const RECEIVING_S: u64 = 5 * 60;

/// `GET /feeds`.
pub(crate) async fn list(State(app): State<Shared>, Extension(session): Extension<Session>) -> Markup {
    let snapshot = app.snapshot();
    let parts = parts(&snapshot);
    let body = html! {
        h1 { "Feeds" }
        p.lead { "A feed takes records in. Each is written to the encrypted log before its sender gets an answer." }
        section.solo #feeds aria-label="All feeds" { (place(&parts, "feeds")) }
    };
    layout::page("Feeds", "/feeds", &View::Feeds, &session, &snapshot, &parts, &body)
}

/// `GET /feeds/{feed}`.
pub(crate) async fn show(
    State(app): State<Shared>,
    Extension(session): Extension<Session>,
    Path(name): Path<String>,
) -> Result<Markup, Failure> {
    let name: Slug = name.parse().map_err(|_| Failure::not_found())?;
    let snapshot = app.snapshot();
    let parts = parts_of(&name, &snapshot).ok_or(Failure::not_found())?;
    let body = html! {
        p.crumbs { a href="/feeds" { "Feeds" } }
        h1 { (name) }
        div #feed { (place(&parts, "feed")) }
    };
    Ok(layout::page(name.as_str(), "/feeds", &View::Feed(name.clone()), &session, &snapshot, &parts, &body))
}

/// What changes on the list.
pub(crate) fn parts(snapshot: &Snapshot) -> Vec<Part> {
    vec![("strip", layout::strip(snapshot)), ("feeds", table(snapshot))]
}

/// What changes on the page of one feed.
pub(crate) fn parts_of(name: &Slug, snapshot: &Snapshot) -> Option<Vec<Part>> {
    let feed = snapshot.status.feeds.iter().find(|feed| feed.name == *name)?;
    Some(vec![("strip", layout::strip(snapshot)), ("feed", one(feed))])
}

/// All feeds, as on the overview.
pub(crate) fn table(snapshot: &Snapshot) -> Markup {
    const COLUMNS: [Column; 7] = [
        words("Feed"),
        words("Last received"),
        number("Received"),
        number("Accepted"),
        number("Duplicates"),
        number("Refused"),
        number("Connections"),
    ];
    let feeds = &snapshot.status.feeds;
    if feeds.is_empty() {
        return html! { h2.table-title { "Feeds" } (nothing_yet()) };
    }
    let rows = feeds
        .iter()
        .map(|feed| {
            vec![
                html! {
                    a href={ "/feeds/" (feed.name) } { (feed.name) }
                    span.sub { (feed.kind) " · " (feed.listen) }
                },
                last_received(feed),
                html! { (format::count(feed.received)) },
                html! { (format::count(feed.accepted)) },
                html! { (format::count(feed.duplicates)) },
                html! { span.refused[feed.refused > 0] { (format::count(feed.refused)) } },
                html! { (format::count(feed.connections)) },
            ]
        })
        .collect();
    layout::table("Feeds", &COLUMNS, rows)
}

fn last_received(feed: &FeedStatus) -> Markup {
    match feed.silent_for_s {
        None => layout::state(Tone::Calm, "nothing yet"),
        Some(silent) if silent < RECEIVING_S => {
            layout::state(Tone::Good, &format!("{} ago", format::age(silent)))
        }
        Some(silent) => layout::state(Tone::Calm, &format!("silent for {}", format::age(silent))),
    }
}

fn one(feed: &FeedStatus) -> Markup {
    html! {
        p.lead { (last_received(feed)) }
        dl.facts {
            (fact("Speaks", &html! { (feed.kind) }))
            (fact("Address", &html! { code { (feed.listen) } }))
            (fact("Connections now", &html! { (format::count(feed.connections)) }))
            @if let Some(at) = feed.last_received_at { (fact("Last received", &format::when(at))) }
        }
        (layout::table(
            "What became of what arrived, since the start",
            &[words("Outcome"), number("Records"), words("Meaning")],
            vec![
                row("Received", feed.received, "Arrived complete."),
                row("Accepted", feed.accepted, "New, on the disk, then acknowledged."),
                row("Duplicates", feed.duplicates, "Sent again; answered as before, not stored twice."),
                row("Refused", feed.refused, "Answered negatively and not stored: the sender keeps it and should try again."),
            ],
        ))
        @if !feed.faults.is_empty() {
            (layout::table(
                "What went wrong with its senders, since the start",
                &[words("Fault"), number("Times"), words("Meaning")],
                feed.faults.iter().map(|(kind, count)| row(kind.as_str(), *count, kind.text())).collect(),
            ))
            p.quiet { "Each with its sender and time: " code { "wardgate faults --feed " (feed.name) } }
        }
        @if feed.received == 0 {
            (layout::empty("Nothing has arrived yet", &html! {
                p { "Point the sender at the address above. If it cannot connect, check the firewall between the two, "
                    "and that the sender uses the same kind of connection, with or without TLS." }
            }))
        }
    }
}

fn row(outcome: &str, records: u64, meaning: &str) -> Vec<Markup> {
    vec![html! { (outcome) }, html! { (format::count(records)) }, html! { span.quiet { (meaning) } }]
}

/// How to add the first feed.
fn nothing_yet() -> Markup {
    layout::empty(
        "No feed yet",
        &html! {
            p { "Nothing can arrive until there is one. Add a feed to the configuration, for example for HL7 over MLLP:" }
            pre tabindex="0" aria-label="Example configuration" { code { (FEED_EXAMPLE) } }
            p { "Then " code { "wardgate check" } " tells whether it is right, and a restart of the service puts it to work." }
        },
    )
}
