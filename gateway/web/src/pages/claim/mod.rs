//! The first page of a new box: whoever has its one-time code makes the first account. The code stands on the
//! console and comes from `wardgate claim-code`; there is no default password, and no deadline after which the
//! box would be dead.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::app::Shared;
use crate::form::{Anonymous, Checked, token_field};
use crate::pages::error::Failure;
use crate::pages::sign_in;
use crate::password::Password;
use crate::{AccountName, ClaimError, NewAccount, NotAnAccountName, Role, layout};

#[derive(Debug, Deserialize)]
pub(crate) struct Claim {
    code: String,
    name: String,
    password: Password,
    again: Password,
}

/// What is wrong, by field.
#[derive(Debug, Default)]
struct Errors {
    all: Option<String>,
    code: Option<String>,
    name: Option<String>,
    password: Option<String>,
    again: Option<String>,
}

/// `GET /claim`.
pub(crate) async fn show(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, Failure> {
    let form = Anonymous::of(&headers).map_err(|_| Failure::unavailable())?;
    Ok(form.answer(StatusCode::OK, page(&app, &form, "", "", &Errors::default())))
}

/// `POST /claim`.
pub(crate) async fn submit(
    State(app): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Checked(input): Checked<Claim>,
) -> Result<Response, Failure> {
    let form = Anonymous::of(&headers).map_err(|_| Failure::unavailable())?;
    let again = |status, errors: Errors| {
        Ok(form.answer(status, page(&app, &form, &input.code, input.name.trim(), &errors)))
    };
    let name: AccountName = match input.name.trim().to_lowercase().parse() {
        Ok(name) => name,
        Err(NotAnAccountName) => {
            let errors = Errors { name: Some(name_rule()), ..Errors::default() };
            return again(StatusCode::UNPROCESSABLE_ENTITY, errors);
        }
    };
    if let Err(weak) = input.password.check(&name) {
        let errors = Errors { password: Some(weak.to_string()), ..Errors::default() };
        return again(StatusCode::UNPROCESSABLE_ENTITY, errors);
    }
    if input.password != input.again {
        let errors = Errors { again: Some("The two passwords differ.".to_owned()), ..Errors::default() };
        return again(StatusCode::UNPROCESSABLE_ENTITY, errors);
    }
    if let Err(wait) = app.throttle.enter(from.ip()) {
        let errors = Errors { all: Some(sign_in::later(wait)), ..Errors::default() };
        return again(StatusCode::TOO_MANY_REQUESTS, errors).map(|a| sign_in::retry_after(a, wait));
    }
    let Ok(password_hash) = app.hasher.hash(input.password.clone()).await else {
        app.throttle.undecided(from.ip());
        let errors =
            Errors { all: Some("The box is busy. Try again in a moment.".to_owned()), ..Errors::default() };
        return again(StatusCode::SERVICE_UNAVAILABLE, errors);
    };
    // Whoever claims the box manages it: there is nobody else who could.
    let first = NewAccount { name, role: Role::Security, password_hash };
    match app.product.claim(&bare(&input.code), first.clone()).await {
        Ok(()) => {
            app.throttle.succeeded(from.ip());
            sign_in::enter(&app, &first, &headers, from, "/").await
        }
        Err(ClaimError::AlreadyClaimed) => {
            app.throttle.undecided(from.ip());
            Ok(Redirect::to("/sign-in").into_response())
        }
        Err(ClaimError::WrongCode) => {
            let text = "This is not the code of this box. Read it again from the console.";
            again(StatusCode::FORBIDDEN, Errors { code: Some(text.to_owned()), ..Errors::default() })
        }
        Err(ClaimError::Storage) => {
            app.throttle.undecided(from.ip());
            let text = "The account could not be stored. Look at the box's disk and its log, then try again.";
            again(StatusCode::SERVICE_UNAVAILABLE, Errors { all: Some(text.to_owned()), ..Errors::default() })
        }
    }
}

/// As the code is compared: without blanks and hyphens, in upper case.
fn bare(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

fn name_rule() -> String {
    "Use a to z, 0 to 9, '.', '-' and '_', beginning with a letter; at most 32.".to_owned()
}

fn page(app: &Shared, form: &Anonymous, code: &str, name: &str, errors: &Errors) -> Markup {
    let gateway = app.product.status().gateway;
    // Whoever has made a mistake stands where it is.
    let focus = match errors {
        Errors { name: Some(_), .. } => "name",
        Errors { password: Some(_), .. } => "password",
        Errors { again: Some(_), .. } => "again",
        _ => "code",
    };
    let body = html! {
        p.kicker { "New box" }
        h1 { "Claim this gateway" }
        p {
            "The claim code proves that you are the one who set it up. It stands on the console of the box, and "
            code { "wardgate claim-code" } " prints it."
        }
        @if let Some(error) = &errors.all { (layout::form_error(error)) }
        form method="post" action="/claim" {
            (token_field(&form.token))
            div.field {
                label for="code" { "Claim code" }
                input #code.code name="code" type="text" value=(code) required maxlength="64"
                    autocomplete="one-time-code" autocapitalize="characters" spellcheck="false"
                    aria-describedby=[errors.code.as_ref().map(|_| "code-error")]
                    aria-invalid=[errors.code.as_ref().map(|_| "true")] autofocus[focus == "code"];
                (layout::field_error("code-error", errors.code.as_deref()))
            }
            div.field {
                label for="name" { "Your name to sign in with" }
                input #name name="name" type="text" value=(name) required maxlength="32" autocomplete="username"
                    autocapitalize="none" spellcheck="false"
                    aria-describedby=[errors.name.as_ref().map(|_| "name-error")]
                    aria-invalid=[errors.name.as_ref().map(|_| "true")] autofocus[focus == "name"];
                (layout::field_error("name-error", errors.name.as_deref()))
            }
            div.field {
                label for="password" { "Password" }
                input #password name="password" type="password" required minlength="15" maxlength="512"
                    autocomplete="new-password"
                    aria-describedby=(if errors.password.is_some() { "password-hint password-error" } else { "password-hint" })
                    aria-invalid=[errors.password.as_ref().map(|_| "true")] autofocus[focus == "password"];
                p.hint #password-hint { "At least 15 characters. A few words in a row are easy to remember." }
                (layout::field_error("password-error", errors.password.as_deref()))
            }
            div.field {
                label for="again" { "The same password again" }
                input #again name="again" type="password" required maxlength="512" autocomplete="new-password"
                    aria-describedby=[errors.again.as_ref().map(|_| "again-error")]
                    aria-invalid=[errors.again.as_ref().map(|_| "true")] autofocus[focus == "again"];
                (layout::field_error("again-error", errors.again.as_deref()))
            }
            p.actions { button.button.primary type="submit" { "Claim the gateway" } }
        }
    };
    layout::card("Claim this gateway", &gateway, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_people_type_them() {
        for typed in ["ABCD-EFGH-JK23", "abcd efgh jk23", " AbcdEfghJk23\t"] {
            assert_eq!(bare(typed), "ABCDEFGHJK23");
        }
    }
}
