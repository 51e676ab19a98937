//! What all pages have in common: the frame, the table, the marks.

use maud::{DOCTYPE, Markup, html};
use model::Slug;

use crate::app::Snapshot;
use crate::assets;
use crate::form::token_field;
use crate::format;
use crate::live::{Part, View};
use crate::session::Session;

/// How good or bad something is. Always beside words: colour is never alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    /// Nothing happens and nothing should.
    Calm,
    /// As it should be.
    Good,
    /// Watch it.
    Watch,
    /// Somebody must act.
    Act,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Good => "good",
            Self::Watch => "watch",
            Self::Act => "act",
        }
    }
}

/// The mark of a tone: a ring, a tick, a triangle, a filled square.
pub(crate) fn mark(tone: Tone) -> Markup {
    html! {
        svg class={ "mark " (tone.class()) } viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            @match tone {
                Tone::Calm => circle cx="8" cy="8" r="5.25" fill="none" stroke="currentColor" stroke-width="1.5" {},
                Tone::Good => {
                    circle cx="8" cy="8" r="7" fill="currentColor" {}
                    path d="M4.8 8.3l2.2 2.2 4.2-4.6" fill="none" class="mark-ink" stroke-width="1.7"
                        stroke-linecap="round" stroke-linejoin="round" {}
                },
                Tone::Watch => {
                    path d="M8 1.4l7 12.6H1z" fill="currentColor" stroke="currentColor" stroke-linejoin="round" {}
                    path d="M8 6v3.6M8 11.7v.3" fill="none" class="mark-ink" stroke-width="1.7"
                        stroke-linecap="round" {}
                },
                Tone::Act => {
                    rect x="1" y="1" width="14" height="14" rx="3" fill="currentColor" {}
                    path d="M8 4.2v4.6M8 11.5v.3" fill="none" class="mark-ink" stroke-width="1.9"
                        stroke-linecap="round" {}
                },
            }
        }
    }
}

/// A mark with its words.
pub(crate) fn state(tone: Tone, words: &str) -> Markup {
    html! { span class={ "state " (tone.class()) } { (mark(tone)) span { (words) } } }
}

/// A bar of a share in percent; the number stands beside it in words.
pub(crate) fn bar(percent: u64, tone: Tone) -> Markup {
    html! {
        svg class={ "bar " (tone.class()) } viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect class="bar-track" width="100" height="6" {}
            rect class="bar-fill" width=(percent.min(100)) height="6" {}
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    label: &'static str,
    class: Option<&'static str>,
}

/// A column of words.
pub(crate) const fn words(label: &'static str) -> Column {
    Column { label, class: None }
}

/// A column of numbers.
pub(crate) const fn number(label: &'static str) -> Column {
    Column { label, class: Some("number") }
}

/// A table with a caption, whose first cell in a row names it. On a narrow screen each row becomes a card; the
/// roles are spelled out because some browsers forget that a table is one when it is laid out otherwise.
pub(crate) fn table(caption: &str, columns: &[Column], rows: Vec<Vec<Markup>>) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for column in columns {
                        th scope="col" role="columnheader" class=[column.class] { (column.label) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (place, (column, cell)) in columns.iter().zip(row).enumerate() {
                            @if place == 0 {
                                th scope="row" role="rowheader" { (cell) }
                            } @else {
                                td role="cell" class=[column.class] data-label=(column.label) { (cell) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What to do next where there is nothing to show.
pub(crate) fn empty(title: &str, text: &Markup) -> Markup {
    html! { div.empty { p.empty-title { (title) } (text) } }
}

/// A number with its name, for a list of facts.
pub(crate) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// An error of a whole form.
pub(crate) fn form_error(text: &str) -> Markup {
    html! { p.form-error role="alert" { (mark(Tone::Act)) span { (text) } } }
}

/// An error of one field.
pub(crate) fn field_error(id: &str, text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { p.field-error id=(id) { (text) } } }
}

const TABS: [(&str, &str); 3] = [("/", "Overview"), ("/feeds", "Feeds"), ("/destinations", "Destinations")];

/// A page of somebody who is signed in. `parts` are what changes by itself; `body` places them with [`place`].
pub(crate) fn page(
    title: &str,
    tab: &str,
    view: &View,
    session: &Session,
    snapshot: &Snapshot,
    parts: &[Part],
    body: &Markup,
) -> Markup {
    let gateway = &snapshot.status.gateway;
    let inner = html! {
        body data-live=(view.events(parts)) {
            a.skip href="#main" { "Skip to content" }
            header.top {
                div.top-row {
                    a.brand href="/" aria-label="Wardgate, overview" { (emblem()) span { "Wardgate" } }
                    span.gateway title="This gateway" { (gateway) }
                    nav aria-label="Pages" {
                        ul {
                            @for (path, label) in TABS {
                                li { a href=(path) aria-current=[(path == tab).then_some("page")] { (label) } }
                            }
                        }
                    }
                    div.who {
                        span { (session.name) span.role { (session.role.as_str()) } }
                        form method="post" action="/sign-out" {
                            (token_field(&session.form_token))
                            button.button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
            }
            section.strip aria-label="Status" {
                div.strip-row {
                    div #strip { (strip(snapshot)) }
                    span #live data-state="still" { "Reload to see what is new" }
                }
            }
            main #main tabindex="-1" { (body) }
            footer {
                span #drift role="status" {}
                span.version { "Wardgate " (snapshot.status.version) }
            }
        }
    };
    frame(title, Some(gateway), &inner)
}

/// A page with one thing on it, for somebody who is not signed in, and for errors.
pub(crate) fn card(title: &str, gateway: &Slug, body: &Markup) -> Markup {
    let inner = html! {
        body.plain {
            main #main.card {
                div.card-brand { (emblem()) span { "Wardgate" } span.gateway { (gateway) } }
                (body)
            }
        }
    };
    frame(title, Some(gateway), &inner)
}

/// The place on a page where a part stands and is renewed.
pub(crate) fn place(parts: &[Part], id: &str) -> Markup {
    let content = parts.iter().find(|(name, _)| *name == id).map(|(_, markup)| markup);
    html! { @if let Some(content) = content { (content) } }
}

fn frame(title: &str, gateway: Option<&Slug>, body: &Markup) -> Markup {
    let paths = assets::paths();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if let Some(gateway) = gateway { " · " (gateway) } " · Wardgate" }
                link rel="icon" type="image/svg+xml" href=(paths.icon);
                link rel="stylesheet" href=(paths.style);
                script src=(paths.script) defer {}
            }
            (body)
        }
    }
}

/// The emblem: a gate with something passing through.
fn emblem() -> Markup {
    html! {
        svg.emblem viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path d="M4 21V10a8 8 0 0 1 16 0v11" fill="none" stroke="currentColor" stroke-width="2.4"
                stroke-linecap="round" {}
            path.emblem-pulse d="M1.5 15.5h6l1.8-4 3 7.5 2.4-5.2.8 1.7h7" fill="none" stroke-width="1.9"
                stroke-linecap="round" stroke-linejoin="round" {}
        }
    }
}

/// Seconds in a day.
const DAY_S: i64 = 86_400;

/// How near the end of a certificate is.
pub(crate) fn certificate_tone(expires_at: model::Timestamp, now: model::Timestamp) -> Tone {
    match expires_at.seconds().saturating_sub(now.seconds()).div_euclid(DAY_S) {
        ..7 => Tone::Act,
        7..30 => Tone::Watch,
        _ => Tone::Good,
    }
}

/// How full the disk is.
pub(crate) fn disk_tone(disk: crate::Disk) -> Tone {
    // The system may not have said.
    if disk.total_bytes == 0 { Tone::Calm } else { room_tone(disk.used_percent) }
}

/// How full something is of what may not go: from 90 % on it is to be watched, from 95 % on somebody must act.
pub(crate) const fn room_tone(used_percent: u64) -> Tone {
    match used_percent {
        95.. => Tone::Act,
        90..95 => Tone::Watch,
        _ => Tone::Good,
    }
}

/// The line under the head of every page: backlog, oldest, held, disk, certificate, clock.
pub(crate) fn strip(snapshot: &Snapshot) -> Markup {
    let status = &snapshot.status;
    let cell = |name: &str, tone: Option<Tone>, value: &Markup| {
        html! {
            div class=[tone.filter(|t| *t >= Tone::Watch).map(Tone::class)] {
                dt { (name) }
                dd { @if let Some(tone) = tone.filter(|t| *t >= Tone::Watch) { (mark(tone)) } (value) }
            }
        }
    };
    let oldest = status.oldest_unsent_age_s().map_or_else(|| "none".to_owned(), format::age);
    let held = if status.held > 0 { Some(Tone::Watch) } else { None };
    let now = snapshot.now.to_string();
    let minute: String = now.chars().skip(11).take(5).collect();
    let date: String = now.chars().take(10).collect();
    html! {
        dl {
            (cell("Backlog", None, &html! { (format::counted(status.backlog(), "record", "records")) }))
            (cell("Oldest unsent", None, &html! { (oldest) }))
            (cell("Held", held, &html! { (format::counted(status.held, "record", "records")) }))
            (cell("Disk free", Some(disk_tone(status.disk)), &html! {
                @if status.disk.total_bytes == 0 { "unknown" } @else {
                    (format::bytes(status.disk.free_bytes)) " of " (format::bytes(status.disk.total_bytes))
                }
            }))
            @if let Some(at) = snapshot.certificate_expires_at {
                (cell("Certificate until", Some(certificate_tone(at, snapshot.now)), &format::day(at)))
            }
            (cell("Clock", None, &html! {
                time #clock datetime={ (date) "T" (minute) "Z" } { (minute) " UTC" }
            }))
        }
    }
}
