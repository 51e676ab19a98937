//! Answers: JSON, never cached, with what the standard's headers say.

use bytes::Bytes;
use fhir::validate::{Code, Issue, Severity, operation_outcome};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use model::FaultKind;

/// Media type of answers.
const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer without its body's type.
pub(super) type Answer = Response<Bytes>;

/// Why a request is refused, and what goes into the answer's header.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) issues: Vec<Issue>,
    pub(super) allow: Option<&'static str>,
    pub(super) retry_after_s: Option<u64>,
    /// For `WWW-Authenticate`: `None` where the answer is not about that.
    pub(super) challenge: Option<&'static str>,
    pub(super) broken_off: bool,
}

impl Refusal {
    pub(super) fn new(status: u16, code: Code, diagnostics: impl Into<String>) -> Self {
        Self::with(status, vec![Issue::new(Severity::Error, code, diagnostics)])
    }

    pub(super) const fn with(status: u16, issues: Vec<Issue>) -> Self {
        Self { status, issues, allow: None, retry_after_s: None, challenge: None, broken_off: false }
    }

    /// 401; `invalid` where a token was shown.
    pub(super) fn unauthorised(invalid: bool, why: &str) -> Self {
        let challenge =
            if invalid { "Bearer realm=\"fhir\", error=\"invalid_token\"" } else { "Bearer realm=\"fhir\"" };
        Self { challenge: Some(challenge), ..Self::new(401, Code::Login, why) }
    }

    /// 403: known, and not permitted to do this.
    pub(super) fn forbidden(why: &str) -> Self {
        let challenge = "Bearer realm=\"fhir\", error=\"insufficient_scope\"";
        Self { challenge: Some(challenge), ..Self::new(403, Code::Forbidden, why) }
    }

    /// To be tried again.
    pub(super) fn later(status: u16, code: Code, retry_after_s: u64, why: &str) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(status, code, why) }
    }

    /// What it is among the faults of a feed.
    pub(super) fn kind(&self) -> FaultKind {
        match self.status {
            401 | 403 => FaultKind::Unauthorised,
            408 => FaultKind::CutOff,
            400 if self.broken_off => FaultKind::CutOff,
            413 => FaultKind::TooLong,
            429 => FaultKind::OverQuota,
            500 | 503 | 507 => FaultKind::NotStored,
            _ => FaultKind::BadRequest,
        }
    }

    /// The body ended before its end.
    pub(super) fn broken_off() -> Self {
        Self { broken_off: true, ..Self::new(400, Code::Structure, "the body was broken off") }
    }

    /// What the log says when it takes nothing.
    pub(super) fn storage(refusal: model::Refusal) -> Self {
        match refusal {
            model::Refusal::Full => Self::later(
                507,
                Code::NoStore,
                60,
                "the gateway has no room left now; nothing was stored, try again later",
            ),
            model::Refusal::Stopping => Self::later(
                503,
                Code::Transient,
                10,
                "the gateway is stopping; nothing was stored, try again",
            ),
            model::Refusal::Storage => Self::later(
                500,
                Code::NoStore,
                60,
                "the gateway's storage failed; nothing was stored, its operator must act",
            ),
            model::Refusal::TooLarge => {
                Self::new(413, Code::TooLong, "larger than the gateway's limit; nothing was stored")
            }
        }
    }
}

impl From<fhir::accept::Refused> for Refusal {
    fn from(refused: fhir::accept::Refused) -> Self {
        Self::with(refused.status, refused.issues)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut answer = fhir(refusal.status, operation_outcome(&refusal.issues));
        let headers = answer.headers_mut();
        if let Some(allow) = refusal.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = refusal.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = refusal.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// A resource.
pub(super) fn fhir(status: u16, body: impl Into<Bytes>) -> Answer {
    with_body(status, FHIR_JSON, body.into())
}

/// JSON that is no resource.
pub(super) fn json(status: u16, body: String) -> Answer {
    with_body(status, JSON, body.into())
}

/// Nothing but a header.
pub(super) fn empty(status: u16) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = code(status);
    secured(answer.headers_mut());
    answer
}

fn with_body(status: u16, kind: HeaderValue, body: Bytes) -> Answer {
    let mut answer = empty(status);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    *answer.body_mut() = body;
    answer
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A status as the entries of a batch-response have it: `422 Unprocessable Entity`.
pub(super) fn status_line(status: u16) -> String {
    let code = code(status);
    code.canonical_reason().map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

/// Answers may hold what a person sent: no cache keeps them, no browser guesses at them.
fn secured(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
