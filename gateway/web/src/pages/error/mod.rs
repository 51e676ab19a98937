//! What a person reads instead of the page that was asked for, and a program instead of its answer.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Serialize;

use crate::app::App;
use crate::layout;

/// An error: what happened and what to do next. Becomes a page or a problem on its way out (see
/// [`crate::guard`]), by who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: StatusCode,
    title: &'static str,
    text: &'static str,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    uri: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
}

impl Failure {
    pub(crate) const fn new(status: StatusCode, title: &'static str, text: &'static str) -> Self {
        Self { status, title, text }
    }

    pub(crate) const fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Nothing here",
            "There is no page at this address. A feed or destination that was removed has no page any more.",
        )
    }

    /// Something of ours that should not happen; details are in the log.
    pub(crate) const fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not possible right now",
            "The box could not do that at the moment. Try again; if it stays so, look at its log.",
        )
    }

    pub(crate) fn page(&self, app: &App) -> Response {
        let gateway = app.product.status().gateway;
        let body = html! {
            p.kicker { "Error " (self.status.as_u16()) }
            h1 { (self.title) }
            p { (self.text) }
            p.actions { a.button href="/" { "To the overview" } }
        };
        (self.status, layout::card(self.title, &gateway, &body)).into_response()
    }

    pub(crate) fn problem(&self) -> Response {
        let problem = Problem {
            uri: "about:blank",
            title: self.title,
            status: self.status.as_u16(),
            detail: self.text,
        };
        let mut answer = (self.status, Json(problem)).into_response();
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        answer
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut answer = self.status.into_response();
        answer.extensions_mut().insert(self);
        answer
    }
}
