//! Answers: JSON, and problems as RFC 9457 wants them.

use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use model::wire::{Problem, ProblemKind};
use serde::Serialize;

use crate::lake::Refused;
use crate::witness;

/// After how many seconds a sender may ask again when too many requests wait, and when the storage failed.
const BUSY_S: u16 = 1;
const UNAVAILABLE_S: u16 = 5;

/// A problem on its way out.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Box<Problem>,
    retry_after: Option<u16>,
}

impl Failure {
    pub(super) fn new(kind: ProblemKind, title: impl Into<String>) -> Self {
        let retry_after = (kind == ProblemKind::Unavailable).then_some(UNAVAILABLE_S);
        Self { problem: Box::new(Problem::new(kind, title)), retry_after }
    }

    pub(super) fn malformed(title: impl Into<String>) -> Self {
        Self::new(ProblemKind::Malformed, title)
    }

    pub(super) fn kind(&self) -> ProblemKind {
        self.problem.kind
    }

    pub(super) fn title(&self) -> &str {
        &self.problem.title
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::OutOfOrder { expected } => {
                let title = format!("this stream continues with number {expected}");
                let mut failure = Self::new(ProblemKind::OutOfOrder, title);
                failure.problem.expected = Some(expected);
                failure
            }
            Refused::OtherRange(landed) => {
                let title =
                    format!("numbers {} to {} were committed as one batch", landed.first, landed.last);
                let mut failure = Self::new(ProblemKind::OtherRange, title);
                failure.problem.landed = Some(landed);
                failure
            }
            Refused::Fenced { current: Some(current) } => Self::new(
                ProblemKind::Fenced,
                format!("epoch {current} is in force for this lane; ask for an epoch before sending"),
            ),
            Refused::Fenced { current: None } => Self::new(
                ProblemKind::Fenced,
                "no epoch was granted for this lane; ask for an epoch before sending",
            ),
            Refused::Busy => {
                let mut failure = Self::new(ProblemKind::Unavailable, "too many batches wait; send it again");
                failure.retry_after = Some(BUSY_S);
                failure
            }
            Refused::Unavailable => Self::new(
                ProblemKind::Unavailable,
                "the tables could not be written; send it again (the landing's log says why)",
            ),
        }
    }
}

impl From<witness::Refused> for Failure {
    fn from(refused: witness::Refused) -> Self {
        let title = refused.to_string();
        match refused {
            witness::Refused::Foreign => Self::new(ProblemKind::Forbidden, title),
            witness::Refused::Note(_) => Self::malformed(title),
            witness::Refused::Inconsistent { size, .. } => {
                let mut failure = Self::new(ProblemKind::Inconsistent, title);
                failure.problem.expected = Some(size);
                failure
            }
            witness::Refused::Storage(error) => {
                tracing::error!(%error, "a checkpoint could not be kept or read");
                Self::new(ProblemKind::Unavailable, "the checkpoint could not be kept; send it again")
            }
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &self.problem);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> axum::response::Response {
    // Plain structs always serialise.
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
