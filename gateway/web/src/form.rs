//! Forms, which carry a token of the page they were shown on: the second lock against forgery, behind the
//! check of where a request comes from.

use axum::RequestExt as _;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::IntoResponse;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::cookie;
use crate::pages::error::Failure;
use crate::session::{NoRandomness, Session, Token};

/// Name of the field that carries the token.
pub(crate) const TOKEN_FIELD: &str = "form_token";

/// A form whose token was right. The only way for a handler to get at a form.
#[derive(Debug)]
pub(crate) struct Checked<T>(pub(crate) T);

#[derive(Deserialize)]
struct Signed {
    form_token: String,
}

impl<T: DeserializeOwned> FromRequest<Shared> for Checked<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Failure> {
        let expected = match request.extensions().get::<Session>() {
            Some(session) => Some(session.form_token.clone()),
            None => cookie::read(request.headers(), cookie::FORM),
        };
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(unreadable());
        }
        let body: axum::body::Bytes =
            request.extract().await.map_err(|rejection: axum::extract::rejection::BytesRejection| {
                match rejection.into_response().status() {
                    StatusCode::PAYLOAD_TOO_LARGE => Failure::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "Too much at once",
                        "The form holds more than 16 KiB.",
                    ),
                    _ => unreadable(),
                }
            })?;
        let signed: Signed = parse(&body).ok_or_else(forged)?;
        if !expected.is_some_and(|token| token.is(&signed.form_token)) {
            return Err(forged());
        }
        parse(&body).map(Self).ok_or_else(unreadable)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_urlencoded::from_bytes(body).ok()
}

fn forged() -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "This form is no longer valid",
        "You may have signed in or out meanwhile, or the browser refuses cookies. Open the page again and send \
         the form once more.",
    )
}

fn unreadable() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "The form could not be read",
        "Open the page again and send the form once more.",
    )
}

/// The hidden field with the token.
pub(crate) fn token_field(token: &Token) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(token.as_str()); }
}

/// The token for a form shown to somebody who is not signed in: that of his cookie, or a new one together with
/// its cookie.
#[derive(Debug)]
pub(crate) struct Anonymous {
    pub(crate) token: Token,
    is_new: bool,
}

impl Anonymous {
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, NoRandomness> {
        match cookie::read(headers, cookie::FORM) {
            Some(token) => Ok(Self { token, is_new: false }),
            None => Ok(Self { token: Token::random()?, is_new: true }),
        }
    }

    /// The page, with the cookie where it is new.
    pub(crate) fn answer(&self, status: StatusCode, page: Markup) -> Response {
        let mut answer = (status, page).into_response();
        if let (true, Some(value)) = (self.is_new, cookie::set(cookie::FORM, &self.token)) {
            answer.headers_mut().append(header::SET_COOKIE, value);
        }
        answer
    }
}
