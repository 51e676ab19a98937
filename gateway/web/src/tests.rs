//! The router from outside: every route, every lock.

mod access;
#[path = "../examples/preview/fake.rs"]
mod fake;
mod forms;
mod over_tls;
mod pages;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fake::{CODE, Fake, Scene};
use http_body_util::BodyExt as _;
use model::{Clock, Timestamp};
use tower::ServiceExt as _;

use crate::app::{App, Shared};
use crate::guard::HostNames;
use crate::{Account, Role, cookie, router};

pub(crate) const NAME: &str = "jane.roe";
pub(crate) const PASSWORD: &str = "seven blue doors by the sea";

#[derive(Debug)]
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        now()
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-24T08:30:00.25Z".parse().unwrap()
}

/// A box and a browser at it.
pub(crate) struct Box {
    pub(crate) app: Shared,
    pub(crate) fake: Arc<Fake>,
    router: axum::Router,
    /// Cookies of the browser.
    pub(crate) jar: Vec<(String, String)>,
    /// Its address.
    pub(crate) from: [u8; 4],
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The token of the page's forms.
    pub(crate) fn form_token(&self) -> &str {
        let (_, after) = self.body.split_once(r#"name="form_token" value=""#).expect("a page with a form");
        after.split('"').next().unwrap()
    }
}

impl Box {
    pub(crate) fn new(scene: Scene) -> Self {
        Self::with(scene, &[])
    }

    pub(crate) fn with(scene: Scene, host_names: &[String]) -> Self {
        let fake = Arc::new(Fake::new(scene, now));
        let host_names = HostNames::new(host_names).unwrap();
        let product: Arc<dyn crate::Product> = Arc::<Fake>::clone(&fake);
        let app = Arc::new(App::new(product, Arc::new(FixedClock), host_names, None, false).unwrap());
        let router = router::build(&app);
        Self { app, fake, router, jar: Vec::new(), from: [10, 0, 0, 77] }
    }

    /// With an account of that role, and signed in.
    pub(crate) async fn signed_in(scene: Scene, role: Role) -> Self {
        let mut here = Self::new(scene);
        let account = here.add_account(NAME, role).await;
        let token = here.app.sessions.open(&account).unwrap();
        here.jar.push((cookie::SESSION.to_owned(), token.as_str().to_owned()));
        here
    }

    pub(crate) async fn add_account(&self, name: &str, role: Role) -> Account {
        let password_hash = self.app.hasher.hash(PASSWORD.to_owned().into()).await.unwrap();
        let account = Account { name: name.parse().unwrap(), role, password_hash };
        self.fake.accounts.lock().unwrap().push(account.clone());
        account
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    /// A form as a page of ours sends it.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, fields, &[("sec-fetch-site", "same-origin"), ("origin", "null")]).await
    }

    pub(crate) async fn post_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send_body(request, serde_urlencoded::to_string(fields).unwrap()).await
    }

    pub(crate) async fn send(&mut self, request: axum::http::request::Builder) -> Answer {
        self.send_body(request, String::new()).await
    }

    /// A live page's events, as they come.
    pub(crate) async fn open(&mut self, path: &str) -> Body {
        let request = self.request(Request::get(path), String::new());
        let answer = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.into_body()
    }

    fn request(&self, mut request: axum::http::request::Builder, body: String) -> Request<Body> {
        if !request.headers_ref().is_some_and(|headers| headers.contains_key(header::HOST)) {
            request = request.header(header::HOST, "10.0.0.1:8443");
        }
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((self.from, 50_000))));
        request
    }

    async fn send_body(&mut self, request: axum::http::request::Builder, body: String) -> Answer {
        let request = self.request(request, body);
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        self.keep_cookies(&parts.headers);
        let live = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let body = if live {
            String::new()
        } else {
            String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let (value, flags) = rest.split_once("; ").unwrap();
            assert!(name.starts_with("__Host-"), "{line}");
            for flag in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"] {
                assert!(flags.split("; ").any(|f| f == flag), "{flag} is missing: {line}");
            }
            assert!(!flags.contains("Domain"), "{line}");
            self.jar.retain(|(known, _)| known != name);
            if !flags.contains("Max-Age=0") {
                self.jar.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
