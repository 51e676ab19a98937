//! The table of routes and who may use them.
//!
//! Every route names its [`Access`]; there is no other way to add one, and the tests walk the table. A page is
//! one folder under `pages/` and one line here.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::handler::Handler;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::{App, Shared};
use crate::pages::error::Failure;
use crate::session::{Session, Token, Use};
use crate::{Role, api, assets, cookie, guard, live, pages};

/// Largest body of a request, in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 10;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: what the first page needs to look like something.
    Anyone,
    /// Whoever stands before a box without an account.
    Unclaimed,
    /// Whoever is not signed in, once the box is claimed.
    SignIn,
    /// An account with at least this role.
    Role(Role),
}

/// One line of the table.
pub(crate) struct Route {
    #[cfg(test)]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    handler: MethodRouter<Shared>,
}

fn get<H: Handler<T, Shared>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route {
        #[cfg(test)]
        method: Method::GET,
        path,
        access,
        handler: on(MethodFilter::GET, handler),
    }
}

fn post<H: Handler<T, Shared>, T: 'static>(path: &'static str, access: Access, handler: H) -> Route {
    Route {
        #[cfg(test)]
        method: Method::POST,
        path,
        access,
        handler: on(MethodFilter::POST, handler),
    }
}

/// All routes.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Anyone, SignIn, Unclaimed};
    const VIEWER: Access = Access::Role(Role::Viewer);
    vec![
        get("/assets/{file}", Anyone, assets::show),
        get("/claim", Unclaimed, pages::claim::show),
        post("/claim", Unclaimed, pages::claim::submit),
        get("/sign-in", SignIn, pages::sign_in::show),
        post("/sign-in", SignIn, pages::sign_in::submit),
        post("/sign-out", VIEWER, pages::sign_in::sign_out),
        get("/", VIEWER, pages::overview::show),
        get("/feeds", VIEWER, pages::feeds::list),
        get("/feeds/{feed}", VIEWER, pages::feeds::show),
        get("/destinations", VIEWER, pages::destinations::list),
        get("/destinations/{destination}", VIEWER, pages::destinations::show),
        get("/events/{*page}", VIEWER, live::stream),
        get("/api/v1/status", VIEWER, api::status),
    ]
}

/// Whether an error here is read by a program and not by a person.
pub(crate) fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/events/")
}

/// The router of a table.
pub(crate) fn build(app: &Shared) -> axum::Router {
    let mut router = axum::Router::new();
    for Route { path, access, handler, .. } in table() {
        let gate = middleware::from_fn_with_state(Arc::clone(app), move |state, request, next| {
            admit(access, state, request, next)
        });
        router = router.route(path, handler.route_layer(gate));
    }
    router
        .fallback(|| async { Failure::not_found() })
        .method_not_allowed_fallback(|| async {
            Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not here",
                "This address does not take that kind of request.",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard::screen))
        .with_state(Arc::clone(app))
}

/// The session of a request's cookie.
pub(crate) fn session_of(app: &App, headers: &HeaderMap, how: Use) -> Option<(Token, Session)> {
    let token = cookie::read(headers, cookie::SESSION)?;
    let session = app.sessions.find(&token, how, |name| app.product.account(name))?;
    Some((token, session))
}

/// The gate before one route.
async fn admit(access: Access, State(app): State<Shared>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let claimed = app.product.claimed();
    let session = session_of(&app, request.headers(), Use::Request);
    match access {
        Access::Anyone => {}
        Access::Unclaimed if claimed => return Redirect::to("/sign-in").into_response(),
        Access::SignIn | Access::Role(_) if !claimed => return unclaimed(&path),
        Access::Unclaimed => {}
        Access::SignIn if session.is_some() && request.method() == Method::GET => {
            return Redirect::to("/").into_response();
        }
        Access::SignIn => {}
        Access::Role(needed) => match session {
            None => return signed_out(&path, request.method()),
            Some((_, session)) if session.role < needed => {
                return Failure::new(
                    StatusCode::FORBIDDEN,
                    "Not with this role",
                    "Your account may not do this. Ask somebody who manages the accounts of this box.",
                )
                .into_response();
            }
            Some((token, session)) => {
                request.extensions_mut().insert(token);
                request.extensions_mut().insert(session);
            }
        },
    }
    next.run(request).await
}

fn unclaimed(path: &str) -> Response {
    if is_for_programs(path) {
        let text = "Nobody has claimed this box yet. Open it in a browser and enter its claim code.";
        return Failure::new(StatusCode::FORBIDDEN, "Not claimed yet", text).into_response();
    }
    Redirect::to("/claim").into_response()
}

fn signed_out(path: &str, method: &Method) -> Response {
    if is_for_programs(path) {
        let failure = Failure::new(StatusCode::UNAUTHORIZED, "Not signed in", "Sign in first.");
        let mut answer = failure.into_response();
        answer
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Session realm=\"wardgate\""));
        return answer;
    }
    if *method == Method::GET && path != "/" && pages::sign_in::is_return_path(path) {
        return Redirect::to(&format!("/sign-in?next={path}")).into_response();
    }
    Redirect::to("/sign-in").into_response()
}
