//! Claiming, signing in and out, and everything that tries to get past that.

use std::sync::atomic::Ordering;

use axum::http::{Request, StatusCode};
use model::AuditAction;

use super::fake::Scene;
use super::{Answer, Box, CODE, NAME, PASSWORD};
use crate::session::Token;
use crate::throttle::FREE_FAILURES;
use crate::{Role, cookie};

async fn claim(here: &mut Box, code: &str, name: &str, password: &str, again: &str) -> Answer {
    let token = here.get("/claim").await.form_token().to_owned();
    here.post(
        "/claim",
        &[("form_token", &token), ("code", code), ("name", name), ("password", password), ("again", again)],
    )
    .await
}

async fn sign_in(here: &mut Box, name: &str, password: &str, next: &str) -> Answer {
    let token = here.get("/sign-in").await.form_token().to_owned();
    here.post("/sign-in", &[("form_token", &token), ("name", name), ("password", password), ("next", next)])
        .await
}

fn actions(here: &Box) -> Vec<(String, AuditAction)> {
    here.fake.audited.lock().unwrap().iter().map(|event| (event.actor.clone(), event.action)).collect()
}

#[tokio::test]
async fn the_code_makes_the_first_account_and_signs_it_in() {
    let mut here = Box::new(Scene::Well);
    let typed = format!(" {} ", CODE.to_lowercase());
    let answer = claim(&mut here, &typed, NAME, PASSWORD, PASSWORD).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    assert_eq!(here.get("/").await.status, StatusCode::OK);
    let account = here.fake.accounts.lock().unwrap()[0].clone();
    assert_eq!((account.name.as_str(), account.role), (NAME, Role::Security));
    assert!(account.password_hash.as_phc().starts_with("$argon2id$"));
    assert_eq!(
        actions(&here),
        [(NAME.to_owned(), AuditAction::Claimed), (NAME.to_owned(), AuditAction::SignedIn)]
    );
    // The token of the claim form is gone; the session has one of its own.
    assert!(here.jar.iter().all(|(name, _)| name == cookie::SESSION), "{:?}", here.jar);
}

#[tokio::test]
async fn mistakes_at_the_claim_say_what_is_wrong_and_keep_what_is_right() {
    let mut here = Box::new(Scene::Well);
    let cases = [
        (CODE, "Jane Roe", PASSWORD, PASSWORD, StatusCode::UNPROCESSABLE_ENTITY, "beginning with a letter"),
        (CODE, NAME, "too short", "too short", StatusCode::UNPROCESSABLE_ENTITY, "at least 15"),
        (CODE, NAME, PASSWORD, "another one, 15 long", StatusCode::UNPROCESSABLE_ENTITY, "differ"),
        ("ABCD-EFGH-JK23", NAME, PASSWORD, PASSWORD, StatusCode::FORBIDDEN, "not the code"),
    ];
    for (code, name, password, again, status, text) in cases {
        let answer = claim(&mut here, code, name, password, again).await;
        assert_eq!(answer.status, status, "{text}");
        assert!(answer.body.contains(text), "{text}: {}", answer.body);
        assert!(answer.body.contains(&format!(r#"value="{code}""#)), "the code stays: {text}");
        assert!(!answer.body.contains(password), "the password does not come back: {text}");
    }
    assert!(here.fake.accounts.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn codes_cannot_be_guessed_in_a_row_and_the_box_stays_alive() {
    let mut here = Box::new(Scene::Well);
    for _ in 0..FREE_FAILURES {
        let answer = claim(&mut here, "ABCD-EFGH-JK23", NAME, PASSWORD, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let answer = claim(&mut here, CODE, NAME, PASSWORD, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "even the right one waits");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 5);
    assert!(here.fake.accounts.lock().unwrap().is_empty());
    // Another address, the owner's, is not kept waiting; nor is this one for ever.
    let here_again = std::mem::replace(&mut here.from, [10, 0, 0, 78]);
    let answer = claim(&mut here, "ABCD-EFGH-JK23", NAME, PASSWORD, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "looked at");
    here.from = here_again;
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let answer = claim(&mut here, CODE, NAME, PASSWORD, PASSWORD).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "after the wait");
}

#[tokio::test]
async fn signing_in_leads_back_but_never_away() {
    for (next, wanted) in [
        ("/feeds/adt", "/feeds/adt"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
    ] {
        let mut here = Box::new(Scene::Well);
        here.add_account(NAME, Role::Viewer).await;
        let answer = sign_in(&mut here, " Jane.Roe", PASSWORD, next).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, wanted), "{next}");
        assert_eq!(here.get("/").await.status, StatusCode::OK);
        assert_eq!(actions(&here), [(NAME.to_owned(), AuditAction::SignedIn)]);
    }
    let mut here = Box::new(Scene::Well);
    here.add_account(NAME, Role::Viewer).await;
    assert_eq!(here.get("/feeds/adt").await.header("location"), "/sign-in?next=/feeds/adt");
    assert!(here.get("/sign-in?next=/feeds/adt").await.body.contains(r#"name="next" value="/feeds/adt""#));
    assert!(!here.get("/sign-in?next=//evil.example").await.body.contains("evil"));
}

#[tokio::test]
async fn wrong_passwords_are_told_apart_neither_in_words_nor_in_the_audit_log() {
    let mut here = Box::new(Scene::Well);
    here.add_account(NAME, Role::Viewer).await;
    let wrong = sign_in(&mut here, NAME, "not the password", "").await;
    let nobody = sign_in(&mut here, "nobody", "not the password", "").await;
    let strange = sign_in(&mut here, "my secret pass phrase", "", "").await;
    for answer in [&wrong, &nobody, &strange] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.body.contains("Name or password is not right."));
        assert!(!answer.body.contains("not the password"));
    }
    // What was typed in place of a name may be a password; it must not be kept.
    let unknown = || ("unknown".to_owned(), AuditAction::SignInFailed);
    assert_eq!(actions(&here), [(NAME.to_owned(), AuditAction::SignInFailed), unknown(), unknown()]);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_right_password_has_to_wait_too() {
    let mut here = Box::new(Scene::Well);
    here.add_account(NAME, Role::Viewer).await;
    for _ in 0..FREE_FAILURES {
        assert_eq!(sign_in(&mut here, NAME, "not the password", "").await.status, StatusCode::FORBIDDEN);
    }
    let answer = sign_in(&mut here, NAME, PASSWORD, "").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(answer.body.contains("Try again in"));
    let known = actions(&here).len();
    sign_in(&mut here, NAME, PASSWORD, "").await;
    assert_eq!(actions(&here).len(), known, "what is not looked at does not fill the audit log");
}

#[tokio::test]
async fn nobody_gets_in_without_the_audit_log() {
    let mut here = Box::new(Scene::Well);
    here.add_account(NAME, Role::Viewer).await;
    here.fake.audit_is_broken.store(true, Ordering::Relaxed);
    let answer = sign_in(&mut here, NAME, PASSWORD, "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(here.jar.iter().all(|(name, _)| name != cookie::SESSION));
}

#[tokio::test]
async fn a_session_planted_before_sign_in_is_worth_nothing_after() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let before = here.jar.clone();
    let planted = Token::random().unwrap();
    here.jar = vec![(cookie::SESSION.to_owned(), planted.as_str().to_owned())];
    sign_in(&mut here, NAME, PASSWORD, "").await;
    let fresh = here.jar.clone();
    assert!(fresh.iter().all(|(_, value)| value != planted.as_str()), "a new token at sign-in");
    // Signing in again with a session at hand ends that one.
    let token = here.get("/sign-in").await;
    assert_eq!(token.status, StatusCode::SEE_OTHER, "who is signed in goes to the overview");
    here.jar = before.clone();
    assert_eq!(here.get("/").await.status, StatusCode::OK, "another browser's session goes on");
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_box_too() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let stolen = here.jar.clone();
    let token = here.get("/").await.form_token().to_owned();
    let answer = here.post("/sign-out", &[("form_token", &token)]).await;
    assert_eq!(answer.header("location"), "/sign-in");
    assert!(here.jar.is_empty());
    here.jar = stolen;
    assert_eq!(here.get("/").await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn forms_are_taken_only_from_our_own_pages() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let token = here.get("/").await.form_token().to_owned();
    let foreign: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://10.0.0.1:8443")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://10.0.0.1:8443")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
    ];
    for headers in foreign {
        let answer = here.post_with("/sign-out", &[("form_token", &token)], headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    let other = Token::random().unwrap();
    for fields in [
        vec![],
        vec![("form_token", "")],
        vec![("form_token", other.as_str())],
        vec![("form_token", token.as_str()), ("form_token", other.as_str())],
    ] {
        let answer = here.post("/sign-out", &fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{fields:?}");
    }
    assert_eq!(here.get("/").await.status, StatusCode::OK, "still signed in");
    let from_here = [("origin", "https://10.0.0.1:8443")];
    let answer = here.post_with("/sign-out", &[("form_token", &token)], &from_here).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "a browser without Sec-Fetch-Site");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_no_forms() {
    let mut here = Box::new(Scene::Well);
    let token = here.get("/claim").await.form_token().to_owned();
    let large = "a".repeat(crate::router::BODY_BYTES_MAX);
    let answer = here.post("/claim", &[("form_token", &token), ("code", &large)]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let json = Request::post("/claim")
        .header("sec-fetch-site", "same-origin")
        .header("content-type", "application/json");
    assert_eq!(here.send(json).await.status, StatusCode::BAD_REQUEST);
    let lacking = here.post("/claim", &[("form_token", &token)]).await;
    assert_eq!(lacking.status, StatusCode::BAD_REQUEST);
}
