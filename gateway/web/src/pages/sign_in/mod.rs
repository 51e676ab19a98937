//! Signing in and out.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use model::AuditAction;
use serde::Deserialize;

use crate::app::Shared;
use crate::form::{Anonymous, Checked, token_field};
use crate::pages::error::Failure;
use crate::password::Password;
use crate::session::{Session, Token};
use crate::throttle::Wait;
use crate::{Account, AccountName, cookie, format, layout};

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Return {
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SignIn {
    name: String,
    password: Password,
    next: Option<String>,
}

/// Whether a path may be returned to: one of our own pages, and nothing that a browser could read as another
/// host.
pub(crate) fn is_return_path(path: &str) -> bool {
    path.len() <= 200
        && path.starts_with('/')
        && !path.contains("//")
        && path.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'/')
}

/// `GET /sign-in`.
pub(crate) async fn show(
    State(app): State<Shared>,
    headers: HeaderMap,
    Query(back): Query<Return>,
) -> Result<Response, Failure> {
    let form = Anonymous::of(&headers).map_err(|_| Failure::unavailable())?;
    Ok(form.answer(StatusCode::OK, page(&app, &form, "", back.next.as_deref(), None)))
}

/// `POST /sign-in`.
pub(crate) async fn submit(
    State(app): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Checked(input): Checked<SignIn>,
) -> Result<Response, Failure> {
    let form = Anonymous::of(&headers).map_err(|_| Failure::unavailable())?;
    let next = input.next.as_deref().filter(|path| is_return_path(path));
    let again =
        |status, name: &str, error: &str| Ok(form.answer(status, page(&app, &form, name, next, Some(error))));
    if let Err(wait) = app.throttle.enter(from.ip()) {
        return again(StatusCode::TOO_MANY_REQUESTS, "", &later(wait))
            .map(|answer| retry_after(answer, wait));
    }
    let name: Option<AccountName> = input.name.trim().to_lowercase().parse().ok();
    let account = name.as_ref().and_then(|name| app.product.account(name));
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    match app.hasher.verify(input.password, hash).await {
        Err(_) => {
            app.throttle.undecided(from.ip());
            again(
                StatusCode::SERVICE_UNAVAILABLE,
                "",
                "Too many people are signing in. Try again in a moment.",
            )
        }
        Ok(true) => {
            app.throttle.succeeded(from.ip());
            let account = account.ok_or(Failure::unavailable())?;
            enter(&app, &account, &headers, from, next.unwrap_or("/")).await
        }
        Ok(false) => {
            // The name of an account is recorded, anything else typed there is not: it may be a password.
            let known = account.as_ref().map(|account| &account.name);
            app.audit(known, AuditAction::SignInFailed, from.ip()).await;
            again(StatusCode::FORBIDDEN, input.name.trim(), "Name or password is not right.")
        }
    }
}

/// Opens a session and goes to `next`. Only after the audit log has it.
pub(crate) async fn enter(
    app: &Shared,
    account: &Account,
    headers: &HeaderMap,
    from: SocketAddr,
    next: &str,
) -> Result<Response, Failure> {
    if !app.audit(Some(&account.name), AuditAction::SignedIn, from.ip()).await {
        return Err(Failure::unavailable());
    }
    if let Some(old) = cookie::read(headers, cookie::SESSION) {
        app.sessions.close(&old);
    }
    let token = app.sessions.open(account).map_err(|_| Failure::unavailable())?;
    let mut answer = Redirect::to(next).into_response();
    for value in [cookie::set(cookie::SESSION, &token), cookie::clear(cookie::FORM)].into_iter().flatten() {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    Ok(answer)
}

/// `POST /sign-out`.
#[derive(Debug, Deserialize)]
pub(crate) struct SignOut {}

/// `POST /sign-out`.
pub(crate) async fn sign_out(
    State(app): State<Shared>,
    Extension(token): Extension<Token>,
    Extension(session): Extension<Session>,
    Checked(SignOut {}): Checked<SignOut>,
) -> Response {
    app.sessions.close(&token);
    tracing::info!(account = %session.name, "signed out");
    let mut answer = Redirect::to("/sign-in").into_response();
    if let Some(value) = cookie::clear(cookie::SESSION) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
    answer
}

/// What somebody reads who has to wait.
pub(crate) fn later(wait: Wait) -> String {
    format!("Too many attempts from this address. Try again in {}.", format::age(wait.seconds.max(1)))
}

/// Tells programs how long to wait.
pub(crate) fn retry_after(mut answer: Response, wait: Wait) -> Response {
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.seconds));
    answer
}

fn page(app: &Shared, form: &Anonymous, name: &str, next: Option<&str>, error: Option<&str>) -> Markup {
    let gateway = app.product.status().gateway;
    let next = next.filter(|path| is_return_path(path));
    let body = html! {
        h1 { "Sign in" }
        @if let Some(error) = error { (layout::form_error(error)) }
        form method="post" action="/sign-in" {
            (token_field(&form.token))
            @if let Some(next) = next { input type="hidden" name="next" value=(next); }
            div.field {
                label for="name" { "Name" }
                input #name name="name" type="text" value=(name) required maxlength="32" autocomplete="username"
                    autocapitalize="none" spellcheck="false" autofocus[name.is_empty()];
            }
            div.field {
                label for="password" { "Password" }
                input #password name="password" type="password" required maxlength="512"
                    autocomplete="current-password" autofocus[!name.is_empty()];
            }
            p.actions { button.button.primary type="submit" { "Sign in" } }
        }
    };
    layout::card("Sign in", &gateway, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_returned_to() {
        for good in ["/", "/feeds", "/feeds/adt-ward-3", "/destinations"] {
            assert!(is_return_path(good), "{good}");
        }
        for bad in [
            "",
            "feeds",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/feeds//x",
            "/a?b",
            "/a%2f",
            "/é",
        ] {
            assert!(!is_return_path(bad), "{bad}");
        }
    }
}
