//! From an HTTP response to a verdict. Everything here comes from a peer: bounded, and believed only as far as
//! it makes sense.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use model::wire::{Problem, ProblemKind};
use serde::de::DeserializeOwned;

use crate::SendError;
use crate::retry::RETRY_AFTER_MAX;

/// Largest body of an answer that is read, in bytes: a landed batch, a grant or a problem.
pub const PROBLEM_BYTES_MAX: usize = 64 << 10;
/// Longest text of a peer that is passed on, in characters.
const TITLE_CHARS_MAX: usize = 300;
const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// A response, read.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `Err` says why there is no body worth reading.
    body: Result<Bytes, &'static str>,
}

impl Answer {
    /// Reads the body to its end or to [`PROBLEM_BYTES_MAX`].
    pub(super) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, PROBLEM_BYTES_MAX).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(e) if e.is::<http_body_util::LengthLimitError>() => Err("the answer is too long"),
            Err(_) => Err("the answer broke off"),
        };
        Self { status: head.status, headers: head.headers, body }
    }

    /// The value that a 200 or 201 carries, or the error that everything else means.
    pub(super) fn accept<T: DeserializeOwned>(&self) -> Result<T, SendError> {
        if self.status != StatusCode::OK && self.status != StatusCode::CREATED {
            return Err(self.refusal());
        }
        let body = self.body.as_ref().map_err(|why| unknown(why))?;
        serde_json::from_slice(body).map_err(|_| unknown("the answer is not what the protocol says"))
    }

    fn refusal(&self) -> SendError {
        let status = self.status.as_u16();
        match (self.problem(), self.status) {
            (Some(problem), _) => self.from_problem(problem),
            (None, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                self.busy(format!("it answered {status}"))
            }
            (
                None,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::CONFLICT | StatusCode::GONE,
            ) => unknown(&format!("status {status} without an explanation")),
            (None, code) if code.is_redirection() => {
                let there = self.headers.get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or("nowhere");
                self.refused(
                    None,
                    &format!("it redirects to {there}, which is never followed; correct the url"),
                )
            }
            (None, code) if code.is_client_error() => {
                let title = "the answer is not a landing's; check the url, and for a proxy between";
                self.refused(None, title)
            }
            (None, _) => unknown(&format!("status {status}")),
        }
    }

    #[expect(
        clippy::wrong_self_convention,
        reason = "the problem is what is converted; self has the headers"
    )]
    fn from_problem(&self, problem: Problem) -> SendError {
        match problem.kind {
            ProblemKind::OutOfOrder => problem.expected.map_or_else(
                || unknown("it says out of order without the number expected"),
                |expected| SendError::OutOfOrder { expected },
            ),
            ProblemKind::OtherRange => problem
                .landed
                .map_or_else(|| unknown("it says other range without the range"), SendError::OtherRange),
            ProblemKind::Fenced => SendError::Fenced,
            ProblemKind::Unavailable => self.busy(clean(&problem.title)),
            kind @ (ProblemKind::Malformed
            | ProblemKind::Forbidden
            | ProblemKind::UnknownDestination
            | ProblemKind::TooLarge
            | ProblemKind::Inconsistent
            | ProblemKind::PolicyRefused) => self.refused(Some(kind), &problem.title),
        }
    }

    /// The landing's own explanation, where this is one.
    fn problem(&self) -> Option<Problem> {
        let media_type = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(PROBLEM_MEDIA_TYPE) {
            return None;
        }
        let problem: Problem = serde_json::from_slice(self.body.as_ref().ok()?).ok()?;
        // A kind under a status that it does not belong to was not written by a landing.
        let busy = problem.kind == ProblemKind::Unavailable && self.status == StatusCode::TOO_MANY_REQUESTS;
        let fits = Problem::new(problem.kind, "").status == self.status.as_u16();
        (fits || busy).then_some(problem)
    }

    fn busy(&self, why: String) -> SendError {
        let seconds = self.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let retry_after = seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
        SendError::Busy { retry_after, why }
    }

    fn refused(&self, kind: Option<ProblemKind>, title: &str) -> SendError {
        SendError::Refused { kind, status: self.status.as_u16(), title: clean(title) }
    }
}

pub(super) fn unknown(why: &str) -> SendError {
    SendError::Unknown { why: why.to_owned() }
}

/// A peer's text, fit for a log line.
fn clean(text: &str) -> String {
    text.chars().take(TITLE_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
