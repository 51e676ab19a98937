//! Against a scripted landing over loopback: real sockets, real TLS, real HTTP/2.

mod landing;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use model::wire::{BATCH_RAW_BYTES_MAX, EpochRequest, Problem, ProblemKind};
use model::{Batch, Format, Lane, PolicyRef, Reason, Released, Skip, StreamEpoch, StreamId};
use serde_bytes::ByteBuf;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use self::landing::{FUTURE, Landing, PAST, Presents, Script, at, landed, slug};
use super::*;
use crate::EncodeError;

fn batch(lane: Lane, first: u64, payloads: &[&[u8]], skipped: u64) -> Batch<Released> {
    let records: Vec<_> = (first..).zip(payloads).map(|(seq, payload)| record(seq, payload)).collect();
    let after = first + records.len() as u64;
    let last = after + skipped - 1;
    let skips = (skipped > 0).then_some(Skip { first: after, last, reason: Reason::NotRouted });
    Batch {
        stream: StreamId {
            gateway: slug("ward-3"),
            destination: slug("lake"),
            lane,
            epoch: StreamEpoch::FIRST,
        },
        first,
        last,
        policy: PolicyRef { name: "p".into(), label: "treatment".into(), sha256: "00".into() },
        records,
        skipped: skips.into_iter().collect(),
    }
}

fn record(seq: u64, payload: &[u8]) -> Released {
    Released {
        seq,
        origin: None,
        feed: slug("adt"),
        format: Format::Hl7v2,
        received_at: None,
        peer: None,
        channel: None,
        message_type: None,
        control_id: None,
        observations: vec![],
        charset: None,
        payload: ByteBuf::from(payload),
        rules: vec![],
    }
}

fn small() -> Batch<Released> {
    batch(Lane::Clinical, 5, &[b"MSH|^~\\&|1", b"MSH|^~\\&|2"], 3)
}

fn proposal() -> EpochRequest {
    EpochRequest { incarnation: "00".repeat(16), proposed: StreamEpoch::FIRST, resume_after: 7 }
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn a_batch_lands_as_the_protocol_says() {
    let landing = Landing::start().await;
    let client = landing.client();
    assert_eq!(client.gateway(), &slug("ward-3"));
    let sent = small();
    let committed = client.send_batch(&sent).await.unwrap();

    let [seen] = landing.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/v1/lake/clinical/1/5"));
    assert_eq!((seen.batch(), seen.gateway.as_str()), (sent, "ward-3"));
    let header = |name: &str| seen.headers.get(name).unwrap().to_str().unwrap().to_owned();
    let raw = zstd::decode_all(seen.body.as_ref()).unwrap();
    assert_eq!(header("wardgate-manifest-sha256"), hex::encode(digest(&SHA256, &raw)));
    assert_eq!(header("content-type"), "application/vnd.wardgate.batch+cbor");
    assert_eq!(header("content-encoding"), "zstd");
    assert_eq!(header("content-length"), seen.body.len().to_string());

    assert!(committed.is_ours());
    let landed = committed.landed.unwrap();
    assert_eq!((landed.first, landed.last), (5, 9));
    assert_eq!((committed.bytes_raw, committed.bytes_wire), (raw.len() as u64, seen.body.len() as u64));
}

/// The public way takes what the policy releases, and the landing reads it as [`Released`].
#[tokio::test]
async fn releases_travel_as_the_landing_reads_them() {
    let landing = Landing::start().await;
    let client = landing.client();
    let policy = deid::Policy::builtin("treatment").unwrap();
    let provenance = model::Provenance {
        feed: slug("oximeter"),
        peer: "broker".into(),
        channel: "ward-3/bed-7".into(),
        received_at: at(PAST),
        format: Format::Device("nonin-3230".into()),
        origin: None,
    };
    let raw = Bytes::from_static(b"\x01\x02\x03");
    let measured = deid::Clinical::Observations { values: vec![], raw: raw.clone() };
    let context = deid::Context { seq: 1, provenance: &provenance, keys: None };
    let release = policy.release(&measured, &context).unwrap();
    let Batch { stream, .. } = small();
    let batch = Batch {
        stream,
        first: 1,
        last: 1,
        policy: policy.reference().clone(),
        records: vec![release],
        skipped: vec![],
    };
    assert!(client.send(&batch).await.unwrap().is_ours());
    let [seen] = landing.seen().try_into().unwrap();
    let read = seen.batch();
    assert_eq!(&read.records[0], batch.records[0].as_released());
    assert_eq!((read.records[0].payload.as_ref(), &read.policy), (raw.as_ref(), &batch.policy));
}

#[tokio::test]
async fn an_epoch_is_asked_for_as_the_protocol_says() {
    let landing = Landing::start().await;
    let client = landing.client();
    let grant = client.open(Lane::Bulk, &proposal()).await.unwrap();
    assert_eq!((grant.epoch.get(), grant.watermark, grant.manifest_sha256.as_deref()), (2, 7, Some("ab")));
    let [seen] = landing.seen().try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/lake/bulk/epoch"));
    assert_eq!(serde_json::from_slice::<EpochRequest>(&seen.body).unwrap(), proposal());
}

#[tokio::test]
async fn a_batch_without_records_and_a_large_one_land_too() {
    let landing = Landing::start().await;
    let client = landing.client();
    client.send_batch(&batch(Lane::Urgent, 1, &[], 50_000)).await.unwrap();
    let payload = noise(3 << 20);
    let committed = client.send_batch(&batch(Lane::Bulk, 1, &[&payload], 0)).await.unwrap();
    assert!(committed.bytes_wire > 3 << 20);
    assert_eq!(landing.seen().last().unwrap().batch().records[0].payload.as_ref(), payload);
}

#[tokio::test]
async fn all_lanes_share_one_connection() {
    let landing = Landing::start().await;
    let client = landing.client();
    let [urgent, clinical, bulk] = Lane::ALL.map(|lane| batch(lane, 1, &[b"x"], 0));
    let (a, b, c) =
        tokio::join!(client.send_batch(&urgent), client.send_batch(&clinical), client.send_batch(&bulk));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    client.send_batch(&batch(Lane::Urgent, 2, &[b"x"], 0)).await.unwrap();
    assert_eq!(landing.connections(), 1);
}

#[tokio::test]
async fn an_earlier_attempt_stands_and_shows() {
    let landing = Landing::start().await;
    let client = landing.client();
    let body = serde_json::to_vec(&landed(5, 9, &"ee".repeat(32))).unwrap();
    landing.will([Script::Say { status: 200, headers: vec![], body }]);
    let committed = client.send_batch(&small()).await.unwrap();
    assert!(!committed.is_ours());
    assert_eq!(committed.landed.unwrap().manifest_sha256, "ee".repeat(32));
}

#[tokio::test]
async fn each_problem_means_what_it_says() {
    let landing = Landing::start().await;
    let client = landing.client();
    let problem = |kind| Problem::new(kind, "because\r\nof this");
    let refused =
        |kind, status| SendError::Refused { kind: Some(kind), status, title: "because  of this".into() };
    let busy = |seconds: Option<u64>| SendError::Busy {
        retry_after: seconds.map(Duration::from_secs),
        why: "because  of this".into(),
    };
    use ProblemKind as K;
    let cases = [
        (Script::problem(&problem(K::Malformed)), refused(K::Malformed, 400)),
        (Script::problem(&problem(K::Forbidden)), refused(K::Forbidden, 403)),
        (Script::problem(&problem(K::UnknownDestination)), refused(K::UnknownDestination, 404)),
        (Script::problem(&problem(K::TooLarge)), refused(K::TooLarge, 413)),
        (Script::problem(&problem(K::PolicyRefused)), refused(K::PolicyRefused, 422)),
        (Script::problem(&problem(K::Fenced)), SendError::Fenced),
        (
            Script::problem(&Problem { expected: Some(3), ..problem(K::OutOfOrder) }),
            SendError::OutOfOrder { expected: 3 },
        ),
        (
            Script::problem(&Problem { landed: Some(landed(5, 6, "aa")), ..problem(K::OtherRange) }),
            SendError::OtherRange(landed(5, 6, "aa")),
        ),
        (Script::problem(&problem(K::Unavailable)), busy(None)),
        (Script::problem(&problem(K::Unavailable)).with("retry-after", "7"), busy(Some(7))),
        (Script::problem(&problem(K::Unavailable)).with("retry-after", "99999999"), busy(Some(3600))),
        (
            Script::problem(&problem(K::Unavailable)).with("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
            busy(None),
        ),
    ];
    for (script, expected) in cases {
        landing.will([script]);
        assert_eq!(client.send_batch(&small()).await.unwrap_err(), expected);
    }
    assert_eq!(landing.connections(), 1, "an answer, whichever, does not cost the connection");
}

#[tokio::test]
async fn what_is_not_a_landings_answer_is_never_a_commit() {
    let landing = Landing::start().await;
    let client = landing.client();
    let say = |status, body: &[u8]| Script::Say { status, headers: vec![], body: body.to_vec() };
    let json = |value: &model::wire::Landed| serde_json::to_vec(value).unwrap();
    let mislabelled = serde_json::to_vec(&Problem::new(ProblemKind::Fenced, "")).unwrap();
    let unknown = [
        ("garbage", say(200, b"<html>welcome</html>"), "not what the protocol says"),
        ("nothing", say(200, b""), "not what the protocol says"),
        ("no content", say(204, b""), "status 204"),
        ("another batch", say(200, &json(&landed(6, 9, "aa"))), "another batch"),
        ("a flood", say(200, &vec![b' '; PROBLEM_BYTES_MAX + 1]), "too long"),
        ("a bad gateway", say(502, b"<html>"), "502"),
        ("a gateway timeout", say(504, b""), "504"),
        ("a crash", say(500, b""), "500"),
        ("an unexplained conflict", say(409, b"{}"), "409"),
        ("a problem without its label", say(410, &mislabelled), "410"),
        (
            "out of order without a number",
            Script::problem(&Problem::new(ProblemKind::OutOfOrder, "")),
            "number",
        ),
        ("other range without a range", Script::problem(&Problem::new(ProblemKind::OtherRange, "")), "range"),
        (
            "a kind under another status",
            Script::problem(&Problem { status: 500, ..Problem::new(ProblemKind::Fenced, "") }),
            "500",
        ),
    ];
    for (name, script, words) in unknown {
        landing.will([script]);
        let error = client.send_batch(&small()).await.unwrap_err();
        assert!(matches!(&error, SendError::Unknown { why } if why.contains(words)), "{name}: {error:?}");
        assert!(error.may_have_committed() && error.is_transient(), "{name}");
    }
    let refused = [
        ("a proxy that wants a password", say(407, b"<html>"), "not a landing's"),
        ("a web server", say(404, b"<html>"), "not a landing's"),
        ("a redirect", say(307, b"").with("location", "https://elsewhere.test/"), "never followed"),
    ];
    for (name, script, words) in refused {
        landing.will([script]);
        let error = client.send_batch(&small()).await.unwrap_err();
        let fits = matches!(&error, SendError::Refused { kind: None, title, .. } if title.contains(words));
        assert!(fits, "{name}: {error:?}");
        assert!(!error.may_have_committed() && !error.is_transient(), "{name}");
    }
    landing.will([say(429, b"slow down").with("retry-after", "2"), say(503, b"")]);
    let error = client.send_batch(&small()).await.unwrap_err();
    assert!(matches!(error, SendError::Busy { retry_after: Some(d), .. } if d.as_secs() == 2), "{error:?}");
    let error = client.send_batch(&small()).await.unwrap_err();
    assert!(matches!(error, SendError::Busy { retry_after: None, .. }), "{error:?}");
    landing.will([Script::Say { status: 200, headers: vec![], body: json(&landed(5, 6, "aa")) }]);
    let error = client.send_batch(&small()).await.unwrap_err();
    assert_eq!(error, SendError::OtherRange(landed(5, 6, "aa")));
    let long = Problem::new(ProblemKind::Malformed, "é".repeat(5000));
    landing.will([Script::problem(&long)]);
    let error = client.send_batch(&small()).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { title, .. } if title.chars().count() == 300));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_the_next_request_dials_again() {
    let landing = Landing::start().await;
    let client = landing.client();
    client.send_batch(&small()).await.unwrap();
    let large = batch(Lane::Clinical, 5, &[&noise(2 << 20)], 0);
    for (script, sent) in [
        (Script::CloseAfterReading, &small()),
        (Script::BreakOff, &small()),
        (Script::CloseAtOnce, &small()),
        (Script::CloseAtOnce, &large),
    ] {
        landing.will([script]);
        let before = landing.connections();
        let error = client.send_batch(sent).await.unwrap_err();
        assert!(matches!(error, SendError::Unknown { .. }), "{error:?}");
        client.open(Lane::Clinical, &proposal()).await.unwrap();
        assert_eq!(landing.connections(), before + 1);
    }
}

#[tokio::test]
async fn a_late_answer_is_unknown_and_the_connection_is_not_trusted_again() {
    let landing = Landing::start().await;
    let mut client = landing.client();
    client.request_timeout = Duration::from_millis(50);
    landing.will([Script::Wait(Arc::new(Notify::new()))]);
    let error = client.send_batch(&small()).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Unknown { why } if why.contains("did not answer within")),
        "{error:?}"
    );
    client.request_timeout = Duration::from_secs(10);
    client.send_batch(&small()).await.unwrap();
    assert_eq!(landing.connections(), 2);
}

#[tokio::test]
async fn a_restarted_landing_costs_no_unknown_outcome() {
    let landing = Landing::start().await;
    let client = landing.client();
    for round in 1..=3 {
        client.send_batch(&small()).await.unwrap();
        assert_eq!(landing.connections(), round);
        let live = client.live.lock().await.clone().unwrap();
        landing.close_all();
        while live.fault().is_none() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn nothing_is_dialled_for_a_batch_that_cannot_be_sent() {
    let landing = Landing::start().await;
    let client = landing.client();
    let mut torn = small();
    torn.records.remove(0);
    let error = client.send_batch(&torn).await.unwrap_err();
    assert!(matches!(error, SendError::Encode(EncodeError::Untiled(_))), "{error:?}");
    let zeros = vec![0; BATCH_RAW_BYTES_MAX];
    let error = client.send_batch(&batch(Lane::Bulk, 1, &[&zeros], 0)).await.unwrap_err();
    assert!(matches!(error, SendError::Encode(EncodeError::RawTooLarge { .. })), "{error:?}");
    assert!(!error.may_have_committed() && !error.is_transient());
    assert_eq!(landing.connections(), 0);
}

/// What goes wrong before a request is sent is [`SendError::Unreachable`], and the stepwise test stops there.
async fn unreachable(client: &Client, step: Step, words: &[&str]) {
    let error = client.send_batch(&small()).await.unwrap_err();
    let SendError::Unreachable { why } = &error else { panic!("{error:?}") };
    let report = client.test().await;
    assert!(!report.passed());
    for (expected, reported) in Step::ALL.into_iter().zip(&report.steps) {
        match expected.cmp(&step) {
            std::cmp::Ordering::Less => {
                assert!(matches!(reported.outcome, Outcome::Passed { .. }), "{report}")
            }
            std::cmp::Ordering::Greater => assert_eq!(reported.outcome, Outcome::Skipped, "{report}"),
            std::cmp::Ordering::Equal => {
                let Outcome::Failed { why: told, remedy } = &reported.outcome else { panic!("{report}") };
                assert!(!remedy.is_empty());
                for words in words {
                    assert!(why.contains(words), "{why} should say {words}");
                    assert!(format!("{told}; {remedy}").contains(words), "{report}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_landing_that_is_away_is_unreachable() {
    let landing = Landing::start().await;
    let mut config = landing.config();
    config.url = "https://a..b:9443".into();
    config.server_name = Some("127.0.0.1".into());
    let client = config.build(&slug("lake"), &landing.tasks).unwrap();
    unreachable(&client, Step::Dns, &["the name a..b", "check the host"]).await;

    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    config.url = format!("https://{address}");
    config.server_name = None;
    let mut client = config.build(&slug("lake"), &landing.tasks).unwrap();
    // It accepts and never speaks.
    client.dialler.connect_timeout = Duration::from_millis(60);
    unreachable(&client, Step::Tls, &["did not answer in time"]).await;
    drop(free);
    unreachable(&client, Step::Tcp, &["nothing listens", &address.port().to_string()]).await;
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_explained() {
    let cases = [
        (
            Presents { stranger: true, ..Presents::default() },
            "signed by another authority than the pinned one",
        ),
        (
            Presents { not_after: "2024-02-29T12:00:00Z", ..Presents::default() },
            "expired on 2024-02-29T12:00:00",
        ),
        (Presents { names: vec!["other.test"], ..Presents::default() }, "not for 127.0.0.1 but for"),
        (Presents { alpn: "http/1.1", ..Presents::default() }, "does not speak the protocol expected"),
    ];
    for (presents, words) in cases {
        let landing = Landing::presenting(presents).await;
        unreachable(&landing.client(), Step::Tls, &["the landing", words]).await;
    }
}

#[tokio::test]
async fn our_own_certificate_being_refused_is_explained_before_a_batch_is_sent() {
    let landing = Landing::start().await;
    let config = landing.config();
    let others = tls::throwaway::Authority::new("somebody else", at(PAST), at(FUTURE)).unwrap();
    let stranger = others.gateway(&slug("ward-3"), at(PAST), at(FUTURE)).unwrap();
    let expired = landing.authority.gateway(&slug("ward-3"), at(PAST), at("2024-02-29T12:00:00Z")).unwrap();
    for (issued, words) in
        [(stranger, "authority that the landing does not know"), (expired, "it has expired")]
    {
        issued.write(&config.certificate, &config.key).unwrap();
        let client = config.build(&slug("lake"), &landing.tasks).unwrap();
        unreachable(&client, Step::Tls, &["the landing refused our certificate", words]).await;
    }
    assert!(landing.seen().is_empty());
    let nameless = landing.authority.client("x", &[], at(PAST), at(FUTURE)).unwrap();
    nameless.write(&config.certificate, &config.key).unwrap();
    let error = config.build(&slug("lake"), &landing.tasks).unwrap_err();
    assert!(error.to_string().contains("urn:wardgate:gateway:"), "{error}");
}

#[tokio::test]
async fn a_rotated_certificate_is_shown_without_breaking_what_is_under_way() {
    let landing = Landing::start().await;
    let client = Arc::new(landing.client());
    let answer = Arc::new(Notify::new());
    landing.will([Script::Wait(Arc::clone(&answer))]);
    let under_way = {
        let client = Arc::clone(&client);
        landing.tasks.spawn(async move { client.send_batch(&small()).await })
    };
    while landing.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let renewed = landing.authority.gateway(&slug("ward-4"), at(PAST), at(FUTURE)).unwrap();
    renewed.write(&landing.file("gw.pem"), &landing.file("gw.key")).unwrap();
    assert_eq!(client.rotating().reload_if_changed().unwrap(), tls::Reloaded::Swapped);
    client.send_batch(&batch(Lane::Urgent, 1, &[b"x"], 0)).await.unwrap();
    answer.notify_one();
    assert!(under_way.await.unwrap().unwrap().is_ours());
    let seen = landing.seen();
    let shown: Vec<_> = seen.iter().map(|s| (s.connection, s.gateway.as_str())).collect();
    assert_eq!(shown, [(1, "ward-3"), (2, "ward-4")]);
}

#[tokio::test]
async fn the_connection_test_ends_with_admission() {
    let landing = Landing::start().await;
    let client = landing.client();
    let report = client.test().await;
    assert!(report.passed(), "{report}");
    assert!(report.to_string().contains("gateway ward-3 may deliver to lake"), "{report}");
    let forbidden = Script::problem(&Problem::new(ProblemKind::Forbidden, "ward-3 is not admitted"));
    let nowhere = Script::problem(&Problem::new(ProblemKind::UnknownDestination, "no lake"));
    let web = Script::Say { status: 404, headers: vec![], body: b"<html>".to_vec() };
    for (script, words) in [
        (forbidden, "have this gateway admitted"),
        (nowhere, "add the destination"),
        (web, "check the url"),
        (Script::CloseAfterReading, "closed the connection"),
    ] {
        landing.will([script]);
        let report = client.test().await;
        let Outcome::Failed { why, remedy } = &report.steps[3].outcome else { panic!("{report}") };
        assert!(format!("{why}; {remedy}").contains(words), "{report}");
    }
    assert!(client.live.lock().await.is_none(), "the test uses connections of its own");
}

#[tokio::test]
async fn nothing_is_left_running_when_the_client_is_gone() {
    let landing = Landing::start().await;
    let client = landing.client();
    client.send_batch(&small()).await.unwrap();
    client.test().await;
    assert!(!landing.tasks.is_empty());
    drop(client);
    landing.tasks.close();
    tokio::time::timeout(Duration::from_secs(5), landing.tasks.wait()).await.unwrap();
}
