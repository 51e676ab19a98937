//! What stands on the pages.

use axum::http::StatusCode;
use insta::assert_snapshot;

use super::Box;
use super::fake::Scene;
use crate::Role;

/// Random tokens and digests of assets differ from run to run and from edit to edit.
fn settled(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    for (begin, end) in [("/assets/icon.", ".svg"), ("/assets/app.", ".css"), ("/assets/app.", ".js")] {
        rest = keep(rest, begin, end, &mut out);
    }
    rest = keep(rest, "?shown=", "\"", &mut out);
    rest = keep(rest, r#"name="form_token" value=""#, "\"", &mut out);
    out.push_str(rest);
    // One element a line: a snapshot that a person can read.
    out.replace("><", ">\n<")
}

fn keep<'b>(rest: &'b str, begin: &str, end: &str, out: &mut String) -> &'b str {
    let Some((before, after)) = rest.split_once(begin) else { return rest };
    out.push_str(before);
    out.push_str(begin);
    out.push_str("[…]");
    after.find(end).and_then(|until| after.get(until..)).unwrap()
}

async fn page(scene: Scene, path: &str) -> String {
    let mut here = Box::signed_in(scene, Role::Operator).await;
    let answer = here.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    settled(&answer.body)
}

#[tokio::test(start_paused = true)]
async fn overview_on_a_good_day() {
    assert_snapshot!(page(Scene::Well, "/").await);
}

#[tokio::test(start_paused = true)]
async fn overview_on_a_bad_day() {
    assert_snapshot!(page(Scene::Trouble, "/").await);
}

#[tokio::test(start_paused = true)]
async fn overview_of_an_empty_box() {
    assert_snapshot!(page(Scene::Empty, "/").await);
}

#[tokio::test(start_paused = true)]
async fn one_feed() {
    assert_snapshot!(page(Scene::Well, "/feeds/laboratory").await);
}

#[tokio::test(start_paused = true)]
async fn one_destination() {
    assert_snapshot!(page(Scene::Trouble, "/destinations/research").await);
}

#[tokio::test(start_paused = true)]
async fn claim_and_sign_in() {
    let mut here = Box::new(Scene::Well);
    assert_snapshot!("claim", settled(&here.get("/claim").await.body));
    here.add_account("jane.roe", Role::Viewer).await;
    assert_snapshot!("sign_in", settled(&here.get("/sign-in").await.body));
    assert_snapshot!("not_found", settled(&here.get("/nowhere").await.body));
}

#[tokio::test(start_paused = true)]
async fn status_for_programs() {
    let mut here = Box::signed_in(Scene::Trouble, Role::Viewer).await;
    let answer = here.get("/api/v1/status").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    insta::assert_json_snapshot!(json);
    let nowhere = here.get("/api/v1/nowhere").await;
    assert_snapshot!("problem", nowhere.body);
}

#[tokio::test(start_paused = true)]
async fn every_verdict_has_its_sentence() {
    for (scene, sentence) in [
        (Scene::Empty, "Ready for a first feed"),
        (Scene::Quiet, "Waiting for the first record"),
        (Scene::Well, "All is well, records are on their way"),
        (Scene::Trouble, "One thing needs you"),
    ] {
        assert!(page(scene, "/").await.contains(sentence), "{sentence}");
    }
}

/// Whatever text reaches a page, from configuration, peers' errors or a browser, stays text.
#[tokio::test]
async fn hostile_text_stays_text() {
    const HOSTILE: &str = r#""><script>alert(1)</script><img src=x onerror='alert(2)'>&lt;${7*7}"#;
    let mut here = Box::signed_in(Scene::Trouble, Role::Viewer).await;
    here.fake.hostile.lock().unwrap().replace(HOSTILE.to_owned());
    for path in ["/", "/feeds", "/feeds/adt", "/destinations", "/destinations/lake"] {
        let body = here.get(path).await.body;
        assert!(body.contains("&lt;script&gt;alert(1)"), "{path} shows it");
        assert!(!body.contains("<script>") && !body.contains("<img"), "{path}");
    }
    let mut here = Box::new(Scene::Well);
    let token = here.get("/claim").await.form_token().to_owned();
    let fields = [
        ("form_token", token.as_str()),
        ("code", HOSTILE),
        ("name", HOSTILE),
        ("password", HOSTILE),
        ("again", ""),
    ];
    let body = here.post("/claim", &fields).await.body;
    assert!(body.contains("&quot;&gt;&lt;script&gt;") && !body.contains("<script>"), "{body}");
    here.add_account("jane.roe", Role::Viewer).await;
    let token = here.get("/sign-in").await.form_token().to_owned();
    let fields = [("form_token", token.as_str()), ("name", HOSTILE), ("password", "x"), ("next", HOSTILE)];
    let body = here.post("/sign-in", &fields).await.body;
    assert!(body.contains("&lt;script&gt;") && !body.contains("<script>"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn live_pages_are_counted() {
    use crate::app::LIVE_PAGES_MAX;
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let all =
        std::sync::Arc::clone(&here.app.live_pages).try_acquire_many_owned(LIVE_PAGES_MAX as u32).unwrap();
    let answer = here.get("/events/overview").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "60"));
    drop(all);
    let answer = here.get("/events/overview").await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/event-stream"));
    assert_eq!(here.app.live_pages.available_permits(), LIVE_PAGES_MAX, "a closed page gives its place back");
    assert_eq!(here.get("/events/feeds/nope").await.status, StatusCode::NOT_FOUND);
}

/// The next event of a live page; `None` at its end.
async fn event(body: &mut axum::body::Body) -> Option<String> {
    use http_body_util::BodyExt as _;
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_live_page_gets_what_changed_until_its_session_ends() {
    let mut here = Box::signed_in(Scene::Quiet, Role::Viewer).await;
    let page = here.get("/").await.body;
    let (_, after) = page.split_once("data-live=\"").unwrap();
    let events = after.split('"').next().unwrap().to_owned();
    let mut body = here.open(&events).await;
    // The page says what it shows, so nothing is sent until something changes: only signs of life.
    assert_eq!(event(&mut body).await.unwrap(), ":\n\n");
    *here.fake.scene.lock().unwrap() = Scene::Trouble;
    let mut changed = Vec::new();
    for _ in 0..7 {
        let text = event(&mut body).await.unwrap();
        let data = text.strip_prefix("event: part\ndata: ").unwrap_or_else(|| panic!("{text}"));
        let part: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
        changed.push(part["id"].as_str().unwrap().to_owned());
    }
    changed.sort();
    assert_eq!(changed, ["destinations", "feeds", "flow", "headline", "lanes", "points", "strip"]);
    let token = crate::session::Token::parse(&here.jar[0].1).unwrap();
    here.app.sessions.close(&token);
    loop {
        let text = event(&mut body).await.expect("an end that is announced");
        if text.starts_with("event: gone") {
            break;
        }
    }
    assert_eq!(event(&mut body).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_live_page_of_a_feed_that_is_removed_ends() {
    let mut here = Box::signed_in(Scene::Well, Role::Viewer).await;
    let mut body = here.open("/events/feeds/pathology").await;
    assert!(event(&mut body).await.unwrap().starts_with("event: part"), "who shows nothing gets all");
    *here.fake.scene.lock().unwrap() = Scene::Empty;
    while let Some(text) = event(&mut body).await {
        if text.starts_with("event: gone") {
            return;
        }
    }
    panic!("it ended without a word");
}
