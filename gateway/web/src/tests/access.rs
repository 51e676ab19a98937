//! Who gets where: made from the table of routes, so that no route can be forgotten.

use axum::http::{Method, Request, StatusCode};

use super::fake::Scene;
use super::{Answer, Box};
use crate::guard;
use crate::router::{Access, is_for_programs, table};
use crate::{Role, assets};

/// A path that matches a route.
fn example(path: &str) -> String {
    let asset = assets::paths().style.clone();
    path.replace("/assets/{file}", &asset)
        .replace("{feed}", "adt")
        .replace("{destination}", "lake")
        .replace("{*page}", "overview")
}

async fn ask(here: &mut Box, method: &Method, path: &str) -> Answer {
    if *method == Method::GET { here.get(path).await } else { here.post(path, &[]).await }
}

fn is_redirect_to(answer: &Answer, place: &str) -> bool {
    answer.status == StatusCode::SEE_OTHER && answer.header("location").split('?').next() == Some(place)
}

#[tokio::test]
async fn every_route_of_an_unclaimed_box() {
    let mut here = Box::new(Scene::Well);
    for route in table() {
        let path = example(route.path);
        let answer = ask(&mut here, &route.method, &path).await;
        let what = format!("{} {path}: {}", route.method, answer.status);
        match (route.access, is_for_programs(&path)) {
            (Access::Anyone, _) => assert_eq!(answer.status, StatusCode::OK, "{what}"),
            // Without its token, a form goes nowhere.
            (Access::Unclaimed, _) if route.method == Method::POST => {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
            }
            (Access::Unclaimed, _) => assert_eq!(answer.status, StatusCode::OK, "{what}"),
            (_, true) => assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}"),
            (_, false) => assert!(is_redirect_to(&answer, "/claim"), "{what}"),
        }
    }
}

#[tokio::test]
async fn every_route_without_a_session() {
    let mut here = Box::new(Scene::Well);
    here.add_account("jane.roe", Role::Security).await;
    for forged in [None, Some("x"), Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")] {
        here.jar =
            forged.map(|value| (crate::cookie::SESSION.to_owned(), value.to_owned())).into_iter().collect();
        for route in table() {
            let path = example(route.path);
            let answer = ask(&mut here, &route.method, &path).await;
            let what = format!("{} {path}: {}", route.method, answer.status);
            match (route.access, is_for_programs(&path)) {
                (Access::Anyone, _) => assert_eq!(answer.status, StatusCode::OK, "{what}"),
                (Access::Unclaimed, _) => assert!(is_redirect_to(&answer, "/sign-in"), "{what}"),
                (Access::SignIn, _) if route.method == Method::POST => {
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                }
                (Access::SignIn, _) => assert_eq!(answer.status, StatusCode::OK, "{what}"),
                (Access::Role(_), true) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
                    assert!(!answer.header("www-authenticate").is_empty(), "{what}");
                }
                (Access::Role(_), false) => assert!(is_redirect_to(&answer, "/sign-in"), "{what}"),
            }
            if let Access::Role(_) = route.access {
                for secret in ["ward-3", "icu-oximeters", "0.1.0"] {
                    assert!(!answer.body.contains(secret), "{what} tells {secret}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_route_with_every_role() {
    for role in [Role::Viewer, Role::Operator, Role::Engineer, Role::Security] {
        let mut here = Box::signed_in(Scene::Well, role).await;
        for route in table() {
            let path = example(route.path);
            let answer = ask(&mut here, &route.method, &path).await;
            let what = format!("{} {path} as {}: {}", route.method, role.as_str(), answer.status);
            match route.access {
                Access::Role(needed) if role < needed => {
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}");
                }
                Access::Unclaimed => assert!(is_redirect_to(&answer, "/sign-in"), "{what}"),
                Access::SignIn if route.method == Method::GET => {
                    assert!(is_redirect_to(&answer, "/"), "{what}")
                }
                // Every form without its token.
                _ if route.method == Method::POST => {
                    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}")
                }
                _ => assert_eq!(answer.status, StatusCode::OK, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let mut answers = Vec::new();
    for route in table() {
        let path = example(route.path);
        answers.push((path.clone(), ask(&mut here, &route.method, &path).await));
        answers.push((
            format!("DELETE {path}"),
            here.send(Request::delete(&path).header("sec-fetch-site", "same-origin")).await,
        ));
    }
    for path in [
        "/nowhere",
        "/assets/app.css",
        "/feeds/nope",
        "/feeds/%00",
        "/events/nowhere",
        "/api/v1/nowhere",
        "/sign-in?next=a&next=b",
        "/events/feeds?shown=1&shown=2",
    ] {
        answers.push((path.to_owned(), here.get(path).await));
    }
    for (path, answer) in &answers {
        for (name, value) in guard::HEADERS {
            assert_eq!(answer.header(name.as_str()), value, "{path}");
        }
        let kept = path.starts_with("/assets/") && answer.status == StatusCode::OK;
        assert_eq!(answer.header("cache-control") == "no-store", !kept, "{path}");
        assert_eq!(answer.header("strict-transport-security"), "", "{path}: the certificate is self-signed");
        if answer.status.is_client_error() {
            let wanted = if is_for_programs(path.trim_start_matches("DELETE ")) {
                "application/problem+json"
            } else {
                "text/html; charset=utf-8"
            };
            assert_eq!(answer.header("content-type"), wanted, "{path}: {}", answer.body);
        }
        // What a strict policy would block must not be there in the first place.
        for inline in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
            assert!(!answer.body.contains(inline), "{path}: {inline}");
        }
    }
}

#[tokio::test]
async fn names_that_are_not_ours() {
    let mut here = Box::with(Scene::Well, &["gw.hospital.example".to_owned()]);
    here.add_account("jane.roe", Role::Viewer).await;
    for (host, wanted) in [
        ("gw.hospital.example:8443", StatusCode::OK),
        ("GW.hospital.example", StatusCode::OK),
        ("[fe80::1]:8443", StatusCode::OK),
        ("localhost:8443", StatusCode::OK),
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("gw.hospital.example.evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("10.0.0.1@evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let answer = here.send(Request::get("/sign-in").header("host", host)).await;
        assert_eq!(answer.status, wanted, "{host}");
    }
    // HTTP/2 and absolute targets: the target counts.
    let answer = here.send(Request::get("https://evil.example/sign-in").header("host", "10.0.0.1")).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    let twice = Request::get("/sign-in").header("host", "10.0.0.1").header("host", "10.0.0.1");
    assert_eq!(here.send(twice).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_removed_account_is_out_at_once() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    assert_eq!(here.get("/").await.status, StatusCode::OK);
    here.fake.accounts.lock().unwrap().retain(|account| account.name.as_str() != super::NAME);
    here.add_account("somebody.else", Role::Viewer).await;
    assert!(is_redirect_to(&here.get("/").await, "/sign-in"));
}
