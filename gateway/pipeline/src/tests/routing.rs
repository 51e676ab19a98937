//! Which message goes where, all the way to the landings.

use super::support::*;
use model::{Format, Reason};

use crate::routing::Router;
use crate::*;

/// A feed with these routes.
fn routed(routes: &str) -> Feed {
    #[derive(serde::Deserialize)]
    struct Document {
        route: Vec<routing::Rule>,
    }
    let rules = toml::from_str::<Document>(routes).unwrap().route;
    Feed { routes: Some(Arc::new(Router::compile(&rules).unwrap())), ..feed("adt", None) }
}

fn of_type(kind: &str, mrn: &str, control_id: &str) -> String {
    message(mrn, control_id).replace("ADT^A08^ADT_A01", kind)
}

const BY_TYPE: &str = "[[route]]\nname = \"labs\"\ndestinations = [\"research\"]\nwhen = [{ type = \"ORU^*\" }]\n\
    [[route]]\ndestinations = [\"lake\"]\nwhen = [{ type = \"ORU^*\", not = true }, { path = \"PID-3.1\", matches = \"^MRN\" }]\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_message_goes_where_its_routes_lead_and_every_number_is_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research) = (Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = vec![route("lake", "treatment", &lake), route("research", "treatment", &research)];
    let gateway = TestBox::start(dir.path(), vec![routed(BY_TYPE)], routes).await;
    let (mut labs, mut others, mut last) = (Vec::new(), Vec::new(), None);
    for n in 0..30 {
        // Every third is for nobody: no route takes its medical record number.
        let kind = if n % 3 == 0 { "ORU^R01" } else { "ADT^A01" };
        let mrn = if n % 3 == 2 { format!("X{n}") } else { format!("MRN{n}") };
        let text = of_type(kind, &mrn, &format!("C{n}"));
        last = Some(gateway.take("adt", Format::Hl7v2, "", text.as_bytes()).await.id);
        match n % 3 {
            0 => labs.push(text),
            1 => others.push(text),
            _ => {}
        }
    }
    gateway.idle().await;
    assert_eq!((research.payloads(), lake.payloads()), (labs, others));
    for landing in [&lake, &research] {
        landing.audit();
        assert_eq!(landing.skips().len(), 20);
        assert!(landing.skips().iter().all(|(_, reason)| *reason == Reason::NotRouted));
    }
    let trace = gateway.handle.trace(last.unwrap()).await.unwrap();
    assert!(
        trace
            .destinations
            .iter()
            .all(|f| matches!(f.outcome, Outcome::Skipped { reason: Reason::NotRouted, held: false, .. }))
    );
    let said: Vec<_> = trace.routes.iter().map(|v| (v.route.as_str(), v.fits, v.because.as_str())).collect();
    assert_eq!(
        said,
        [
            ("labs", false, "it does not hold that the type is ORU^*"),
            ("route 2", false, "it does not hold that PID-3.1 matches the pattern"),
        ]
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_held_where_any_route_leads_and_follows_the_routes_once_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (lake, research, other) =
        (Arc::<Landing>::default(), Arc::<Landing>::default(), Arc::<Landing>::default());
    let routes = vec![
        route("lake", "treatment", &lake),
        route("research", "treatment", &research),
        route("other", "treatment", &other),
    ];
    let gateway = TestBox::start(dir.path(), vec![routed(BY_TYPE)], routes).await;
    let broken = gateway.take("adt", Format::Hl7v2, "", b"no message").await.id;
    gateway.idle().await;
    let held: Vec<_> = gateway.handle.held().into_iter().map(|h| (h.destination.to_string(), h.id)).collect();
    assert_eq!(held.len(), 2, "{held:?}");
    assert!(held.contains(&("lake".into(), broken)) && held.contains(&("research".into(), broken)));
    assert_eq!(other.skips(), [(1, Reason::NotRouted)]);

    let mended = Bytes::from(of_type("ORU^R01", "MRN1", "C1"));
    for destination in ["lake", "research"] {
        gateway.handle.release(&slug(destination), broken, Some(mended.clone()), "somebody").await.unwrap();
    }
    gateway.idle().await;
    assert_eq!(research.payloads(), [of_type("ORU^R01", "MRN1", "C1")]);
    assert_eq!(lake.payloads(), Vec::<String>::new(), "nobody gets by hand what no route gives");
    assert!(gateway.handle.held().is_empty());
    for landing in [&lake, &research, &other] {
        landing.audit();
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_routes_holds_from_then_on_and_leaves_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let start = |routes: &str| {
        TestBox::start(dir.path(), vec![routed(routes)], vec![route("lake", "treatment", &lake)])
    };
    let only =
        |kind: &str| format!("[[route]]\ndestinations = [\"lake\"]\nwhen = [{{ type = \"{kind}\" }}]\n");
    let gateway = start(&only("ADT^A01")).await;
    gateway.take("adt", Format::Hl7v2, "", of_type("ADT^A03", "MRN0", "C0").as_bytes()).await;
    gateway.idle().await;
    // Committed, and the answer is lost; another one is not committed.
    lake.fault(Fault::LoseAnswer);
    gateway.take("adt", Format::Hl7v2, "", of_type("ADT^A01", "MRN1", "C1").as_bytes()).await;
    while lake.rows().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..50 {
        lake.fault(Fault::Away);
    }
    gateway.take("adt", Format::Hl7v2, "", of_type("ADT^A01", "MRN2", "C2").as_bytes()).await;
    gateway.stop().await;
    lake.0.lock().unwrap().faults.clear();
    let gateway = start(&only("ADT^A03")).await;
    gateway.take("adt", Format::Hl7v2, "", of_type("ADT^A03", "MRN3", "C3").as_bytes()).await;
    gateway.idle().await;
    lake.audit();
    assert_eq!(lake.payloads(), [of_type("ADT^A01", "MRN1", "C1"), of_type("ADT^A03", "MRN3", "C3")]);
    assert_eq!(lake.skips(), [(1, Reason::NotRouted), (3, Reason::NotRouted)]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_subject_keeps_its_order_among_what_is_routed_and_holds_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let gateway = TestBox::start(
        dir.path(),
        vec![routed("[[route]]\ndestinations = [\"lake\"]\nwhen = [{ type = \"ADT^*\" }]\n")],
        vec![route("lake", "safe-harbor", &lake)],
    )
    .await;
    let send = async |kind: &str, name: &str, id: &str| {
        // A medical record number that is also a code of the message: the gate holds it.
        let text = format!(
            "{}OBX|1|CE|24323-8^Panel^LN||x||||||F\r",
            of_type(kind, "24323-8", id).replace("KESTREL", name)
        );
        gateway.take("adt", Format::Hl7v2, "", text.as_bytes()).await.id
    };
    let first = send("ADT^A01", "KESTREL", "C1").await;
    gateway.idle().await;
    assert_eq!(gateway.handle.held().iter().map(|h| h.id).collect::<Vec<_>>(), [first]);
    let unrouted = send("ORU^R01", "KESTREL", "C2").await;
    let follower = send("ADT^A08", "KESTREL", "C3").await;
    gateway.idle().await;
    let held: Vec<_> = gateway.handle.held().into_iter().map(|h| h.id).collect();
    assert_eq!(held, [first, follower]);
    let trace = gateway.handle.trace(unrouted).await.unwrap();
    assert!(matches!(trace.destinations[0].outcome, Outcome::Skipped { reason: Reason::NotRouted, .. }));
    lake.audit();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_feed_is_configured_to_be_in_decides_what_its_routes_read() {
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    // In ISO 8859-2 and Windows-1251 the byte of the third letter is another one.
    let routes =
        "[[route]]\ndestinations = [\"lake\"]\nwhen = [{ path = \"PV1-3.1\", equals = \"Señal\" }]\n";
    let feeds =
        |charset: Option<&str>| vec![Feed { charset: charset.map(|c| c.parse().unwrap()), ..routed(routes) }];
    let mut sent = Vec::new();
    for declared in ["", "8859/2", "WINDOWS-1251"] {
        let header = format!("MSH|^~\\&|LAB|W|EHR|M|2026||ADT^A01|1|P|2.5||||||{declared}\rPID|1||1\r");
        sent.push([header.as_bytes(), b"PV1|1|I|Se\xf1al\r"].concat());
    }
    // By their own word, or by detection.
    let gateway = TestBox::start(dir.path(), feeds(None), vec![route("lake", "treatment", &lake)]).await;
    for bytes in &sent {
        gateway.take("adt", Format::Hl7v2, "", bytes).await;
    }
    gateway.idle().await;
    assert_eq!(lake.skips(), [(2, Reason::NotRouted), (3, Reason::NotRouted)]);
    gateway.stop().await;
    // By the feed's word.
    let dir = tempfile::tempdir().unwrap();
    let lake = Arc::<Landing>::default();
    let gateway =
        TestBox::start(dir.path(), feeds(Some("8859/1")), vec![route("lake", "treatment", &lake)]).await;
    let mut last = None;
    for bytes in &sent {
        last = Some(gateway.take("adt", Format::Hl7v2, "", bytes).await.id);
    }
    gateway.idle().await;
    let passed: Vec<Vec<u8>> = lake.rows().iter().map(|r| r.payload.to_vec()).collect();
    assert_eq!(passed, sent, "byte for byte");
    let trace = gateway.handle.trace(last.unwrap()).await.unwrap();
    assert!(trace.routes.iter().all(|v| v.fits), "{:?}", trace.routes);
    gateway.stop().await;
}
