//! Pages that keep themselves up to date: server-sent events (WHATWG HTML section 9.2) carry a part of the page
//! anew when it has changed. Without the script the pages stand still and are otherwise the same.
//!
//! **Limits.** [`crate::app::LIVE_PAGES_MAX`] streams, one look every [`LOOK_S`] seconds, a sign of life every
//! [`ALIVE_S`] seconds. A stream ends with its session and does not prolong it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use maud::Markup;
use model::Slug;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};

use crate::app::{Shared, Snapshot};
use crate::pages::error::Failure;
use crate::pages::{destinations, feeds, overview};
use crate::session::{Token, Use};

/// Seconds between two looks.
const LOOK_S: u64 = 2;
/// Seconds between two signs of life, so that a dead connection is noticed.
const ALIVE_S: u64 = 15;
/// Most parts of a page.
const PARTS_MAX: usize = 16;

/// A part of a page that changes: its element's id and its content.
pub(crate) type Part = (&'static str, Markup);

/// What a page says that it shows: digests of its parts, in their order. A browser that reconnects says what it
/// began with, and gets what has changed since.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Shown {
    #[serde(default)]
    shown: String,
}

/// Short, because the page carries it; a collision leaves one part as it is until its next change.
fn digest(html: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, html.as_bytes());
    hex::encode(digest).chars().take(8).collect()
}

/// A page that keeps itself up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum View {
    /// `/`
    Overview,
    /// `/feeds`
    Feeds,
    /// `/feeds/{feed}`
    Feed(Slug),
    /// `/destinations`
    Destinations,
    /// `/destinations/{destination}`
    Destination(Slug),
}

impl View {
    /// From what follows `/events/`.
    fn parse(page: &str) -> Option<Self> {
        match page.split_once('/') {
            None if page == "overview" => Some(Self::Overview),
            None if page == "feeds" => Some(Self::Feeds),
            None if page == "destinations" => Some(Self::Destinations),
            Some(("feeds", name)) => name.parse().ok().map(Self::Feed),
            Some(("destinations", name)) => name.parse().ok().map(Self::Destination),
            _ => None,
        }
    }

    /// Where its events come from, for a page that shows `parts` already.
    pub(crate) fn events(&self, parts: &[Part]) -> String {
        let shown: Vec<String> = parts.iter().map(|(_, markup)| digest(&markup.0)).collect();
        format!("{}?shown={}", self.path(), shown.join("."))
    }

    fn path(&self) -> String {
        match self {
            Self::Overview => "/events/overview".to_owned(),
            Self::Feeds => "/events/feeds".to_owned(),
            Self::Feed(name) => format!("/events/feeds/{name}"),
            Self::Destinations => "/events/destinations".to_owned(),
            Self::Destination(name) => format!("/events/destinations/{name}"),
        }
    }

    /// Its parts as they are now; `None` when there is no such feed or destination.
    pub(crate) fn parts(&self, snapshot: &Snapshot) -> Option<Vec<Part>> {
        match self {
            Self::Overview => Some(overview::parts(snapshot)),
            Self::Feeds => Some(feeds::parts(snapshot)),
            Self::Feed(name) => feeds::parts_of(name, snapshot),
            Self::Destinations => Some(destinations::parts(snapshot)),
            Self::Destination(name) => destinations::parts_of(name, snapshot),
        }
    }
}

struct Watching {
    app: Shared,
    view: View,
    token: Token,
    /// Digests of what the browser has, in the order of the parts.
    shown: Vec<String>,
    looks: Interval,
    /// Ready to go out.
    queue: Vec<Event>,
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// `GET /events/{*page}`.
pub(crate) async fn stream(
    State(app): State<Shared>,
    Extension(token): Extension<Token>,
    Path(page): Path<String>,
    Query(Shown { shown }): Query<Shown>,
) -> Response {
    let Some(view) = View::parse(&page).filter(|view| view.parts(&app.snapshot()).is_some()) else {
        return Failure::not_found().into_response();
    };
    let Ok(place) = Arc::clone(&app.live_pages).try_acquire_owned() else {
        let mut answer = Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many open pages",
            "As many pages as possible are updating themselves. Close some, or reload this one by hand.",
        )
        .into_response();
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return answer;
    };
    let shown = shown.split('.').take(PARTS_MAX).map(str::to_owned).collect();
    let mut looks = tokio::time::interval(Duration::from_secs(LOOK_S));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching { app, view, token, shown, looks, queue: Vec::new(), over: false, _place: place };
    let events = stream::unfold(watching, |mut watching| async move {
        let event = watching.next().await?;
        Some((Ok::<_, Infallible>(event), watching))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(ALIVE_S));
    Sse::new(events).keep_alive(alive).into_response()
}

impl Watching {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let stop = self.app.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                _ = self.looks.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let product = &self.app.product;
        let signed_in =
            self.app.sessions.find(&self.token, Use::Background, |name| product.account(name)).is_some();
        let parts = if signed_in { self.view.parts(&self.app.snapshot()) } else { None };
        let Some(parts) = parts else {
            // Signed out, or the feed is gone: the page finds out by reloading.
            self.over = true;
            self.queue.push(Event::default().event("gone").data("-"));
            return;
        };
        self.shown.resize(parts.len(), String::new());
        for ((id, markup), shown) in parts.into_iter().zip(&mut self.shown) {
            let now = digest(&markup.0);
            if *shown == now {
                continue;
            }
            *shown = now;
            let data = serde_json::json!({ "id": id, "html": markup.0 }).to_string();
            self.queue.push(Event::default().event("part").data(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_name_their_events() {
        let adt: Slug = "adt".parse().unwrap();
        for view in
            [View::Overview, View::Feeds, View::Feed(adt.clone()), View::Destinations, View::Destination(adt)]
        {
            let events = view.path();
            assert_eq!(View::parse(events.strip_prefix("/events/").unwrap()), Some(view));
        }
        for bad in ["", "x", "feeds/", "feeds/A", "feeds/a/b", "overview/", "sign-in"] {
            assert_eq!(View::parse(bad), None, "{bad}");
        }
    }
}
