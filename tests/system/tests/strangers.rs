//! Clients that the landing must not believe: batches replayed, out of order, of another gateway, under a fenced
//! epoch, malformed; certificates that are nobody's or of yesterday. The client is Python and knows the protocol
//! from its description.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, with what it saw"
)]

use model::Timestamp;
use serde_json::{Value, json};
use system_tests::site::{Destination, Site, days_from_now};
use system_tests::wire::{Client, epoch, kind, put};
use system_tests::{hl7, mllp, readers, wait};

/// How long a certificate lasts that shall end soon.
const SHORT_S: i64 = 4;

/// The rows of the lane that the client uses, in order.
fn rows(site: &Site) -> Vec<(u64, String)> {
    readers::rows(&site.root("lake"), "raw")
        .iter()
        .filter(|row| row["lane"] == "bulk")
        .map(|row| {
            let payload = hex::decode(row["payload"].as_str().unwrap()).unwrap();
            (row["seq"].as_u64().unwrap(), String::from_utf8(payload).unwrap())
        })
        .collect()
}

fn message(n: u64) -> String {
    String::from_utf8(hl7::observation(&format!("h-{n}"), n)).unwrap()
}

#[test]
fn a_batch_lands_once_however_often_it_is_sent() {
    let site = Site::small();
    site.write();
    let mut landing = site.start_landing();
    let client = Client::new(&site, "gateway");
    let [one, two, three] = [1, 2, 3].map(message);
    let answers = client.take(&[
        epoch(1, 1, 0),
        put(1, 1, &[&one, &two]),
        json!({"do": "again", "step": 1}),
        // The same range with other bytes: what was committed first stands.
        put(1, 1, &[&one, "MSH|^~\\&|FORGED\r"]),
        // The same beginning, another end.
        put(1, 1, &[&one]),
        put(1, 3, &[&three]),
        // An old one again, after later ones.
        json!({"do": "again", "step": 1}),
        put(1, 1, &[&one, &two, "MSH|^~\\&|LONGER\r"]),
        json!({"do": "restart"}),
        json!({"do": "again", "step": 5}),
    ]);
    assert_eq!(answers[0]["body"]["epoch"], 1, "{answers:#?}");
    let landed = &answers[1];
    assert_eq!(landed["status"], 200, "{landed}");
    assert_eq!((&landed["body"]["first"], &landed["body"]["last"]), (&json!(1), &json!(2)));
    assert_eq!(answers[2]["body"], landed["body"], "the same batch has the same answer");
    assert_eq!(answers[2]["sha256"], landed["sha256"], "byte for byte");
    assert_eq!(answers[3]["status"], 200);
    assert_eq!(answers[3]["body"], landed["body"], "told that another manifest stands");
    assert_eq!(kind(&answers[4]), (409, "other-range".to_owned()), "{}", answers[4]);
    assert_eq!(answers[4]["body"]["landed"], landed["body"], "told which range stands");
    assert_eq!(answers[5]["status"], 200);
    assert_eq!(answers[6]["body"], landed["body"], "told from the ledger");
    assert_eq!(kind(&answers[7]), (409, "other-range".to_owned()), "{}", answers[7]);
    assert_eq!(answers[9]["body"], answers[5]["body"], "over another connection");

    // The answer does not depend on anything in memory.
    landing.kill();
    let mut landing = site.start_landing();
    let after = client.answered(&put(1, 1, &[&one, &two]));
    assert_eq!(after["sha256"], landed["sha256"], "the same answer after a kill");
    let expected = [(1, one), (2, two), (3, three)];
    assert_eq!(rows(&site), expected);
    landing.stop();
    readers::sums(&site.root("lake"));
}

#[test]
fn only_the_next_number_is_taken_and_only_under_the_epoch_in_force() {
    let site = Site::small();
    site.write();
    let mut landing = site.start_landing();
    let client = Client::new(&site, "gateway");
    let [one, two] = [1, 2].map(message);
    let answers = client.take(&[
        put(1, 1, &[&one]),
        epoch(1, 1, 0),
        put(1, 2, &[&two]),
        put(1, 9, &[&two]),
        put(1, 1, &[&one]),
        put(1, 3, &[&two]),
        // Another disk presents itself: it gets a later epoch, and the old one is fenced.
        epoch(2, 1, 0),
        put(1, 2, &[&two]),
        put(2, 1, &[&two]),
        json!({"do": "get", "path": "/v1/lake/bulk"}),
    ]);
    assert_eq!(kind(&answers[0]), (410, "fenced".to_owned()), "no epoch was granted: {}", answers[0]);
    for n in [2, 3] {
        assert_eq!(kind(&answers[n]), (409, "out-of-order".to_owned()), "{}", answers[n]);
        assert_eq!(answers[n]["body"]["expected"], 1);
    }
    assert_eq!(answers[4]["status"], 200, "{}", answers[4]);
    assert_eq!(answers[5]["body"]["expected"], 2, "{}", answers[5]);
    assert_eq!(answers[6]["body"]["epoch"], 2, "{}", answers[6]);
    assert_eq!(kind(&answers[7]), (410, "fenced".to_owned()), "{}", answers[7]);
    assert_eq!(answers[8]["status"], 200, "{}", answers[8]);
    assert_eq!(answers[9]["body"]["watermark"], 1, "{}", answers[9]);
    for answer in &answers {
        let title = answer["body"]["title"].as_str();
        assert!(answer["status"] == 200 || title.is_some_and(|t| t.len() > 15), "says why: {answer}");
    }
    assert_eq!(rows(&site), [(1, one), (1, two)]);
    landing.stop();
    readers::sums(&site.root("lake"));
}

#[test]
fn nobody_speaks_for_another_gateway() {
    let site = Site::small();
    site.write();
    site.certificate_of("ward-4");
    let mut landing = site.start_landing();
    let one = message(1);
    let other = Client::new(&site, "ward-4");
    let mut forged = put(1, 1, &[&one]);
    forged["batch"]["gateway"] = json!("ward-3");
    let mut own = put(1, 1, &[&one]);
    own["batch"]["gateway"] = json!("ward-4");
    let mut elsewhere = own.clone();
    elsewhere["batch"]["stream"] = json!({"destination": "research"});
    let mut other_lane = own.clone();
    other_lane["batch"]["stream"] = json!({"lane": "urgent"});
    let mut nowhere = own.clone();
    nowhere["destination"] = json!("nowhere");
    let answers = other.take(&[
        epoch(1, 1, 0),
        forged,
        elsewhere,
        other_lane,
        nowhere,
        json!({"do": "get", "path": "/v1/lake/bulk"}),
        own,
    ]);
    assert_eq!(answers[0]["status"], 200);
    assert_eq!(kind(&answers[1]), (403, "forbidden".to_owned()), "{}", answers[1]);
    assert_eq!(kind(&answers[2]), (400, "malformed".to_owned()), "{}", answers[2]);
    assert_eq!(kind(&answers[3]), (400, "malformed".to_owned()), "{}", answers[3]);
    assert_eq!(kind(&answers[4]), (404, "unknown-destination".to_owned()), "{}", answers[4]);
    assert_eq!(answers[5]["body"]["gateway"], "ward-4", "each sees its own stream: {}", answers[5]);
    assert_eq!(answers[6]["status"], 200, "{}", answers[6]);
    // The other's stream begins where it would have begun without all that.
    let answers = Client::new(&site, "gateway").take(&[epoch(3, 1, 0), put(1, 1, &[&one])]);
    assert_eq!(answers[0]["body"]["watermark"], 0, "{}", answers[0]);
    assert_eq!(answers[1]["status"], 200, "{}", answers[1]);
    let gateways: Vec<Value> =
        readers::rows(&site.root("lake"), "raw").iter().map(|row| row["gateway"].clone()).collect();
    assert_eq!(gateways, ["ward-3", "ward-4"]);
    landing.stop();
    readers::sums(&site.root("lake"));
}

#[test]
fn what_is_no_batch_is_refused_and_changes_nothing() {
    let site = Site::small();
    site.write();
    let mut landing = site.start_landing();
    let client = Client::new(&site, "gateway");
    let one = message(1);
    let with = |name: &str, value: Value| {
        let mut step = put(1, 1, &[&one]);
        step["batch"][name] = value;
        step
    };
    let mut wrong_digest = put(1, 1, &[&one]);
    wrong_digest["manifest"] = json!("0".repeat(64));
    let mut no_zstd = put(1, 1, &[&one]);
    no_zstd["raw"] = json!("00");
    let mut bomb = put(1, 1, &[&one]);
    bomb["bomb"] = json!(200 << 20);
    let gap = json!([{"first": 3, "last": 3, "reason": "held"}]);
    let invented = json!([{"first": 2, "last": 2, "reason": "lost"}]);
    let mut unknown_time = put(1, 1, &[&one]);
    unknown_time["batch"]["record"] = json!({"received_at": {"moment": 3}});
    let steps = [
        epoch(1, 1, 0),
        wrong_digest,
        no_zstd,
        bomb,
        with("skipped", gap),
        with("skipped", invented),
        with("last", json!(7)),
        with("first", json!(2)),
        with("policy", json!("safe-harbor")),
        with("surprise", json!(1)),
        unknown_time,
        json!({"do": "get", "path": "/v1/lake/bulk/../../../etc"}),
        json!({"do": "get", "path": "/v1/lake/bulk"}),
    ];
    let answers = client.take(&steps);
    let expected = [
        (1, (400, "malformed")),
        (2, (400, "malformed")),
        (3, (413, "too-large")),
        (4, (400, "malformed")),
        (5, (400, "malformed")),
        (6, (400, "malformed")),
        (7, (400, "malformed")),
        (8, (422, "policy-refused")),
        (10, (400, "malformed")),
        (11, (400, "malformed")),
    ];
    for (n, (status, name)) in expected {
        assert_eq!(kind(&answers[n]), (status, name.to_owned()), "{}: {}", steps[n], answers[n]);
    }
    let policy = answers[8]["body"]["title"].as_str().unwrap();
    assert!(policy.contains("treatment"), "{policy}");
    // A field that is not known yet is passed over, so that a newer gateway can speak with an older landing.
    let watermark = &answers[12]["body"]["watermark"];
    assert_eq!(answers[9]["status"].as_u64() == Some(200), watermark == 1, "{answers:#?}");
    let landed = usize::from(answers[9]["status"] == 200);
    assert_eq!(rows(&site).len(), landed);
    landing.still_runs();
    landing.stop();
    // No answer and no line of the log repeats what was sent.
    let [family, given, mrn, ..] = hl7::identifiers(1);
    let told = format!("{answers:?}{}", landing.log());
    for identifier in [family, given, mrn] {
        assert!(!told.contains(&identifier), "{identifier} is repeated");
    }
}

#[test]
fn a_stranger_gets_nowhere() {
    let mut site = Site::small();
    site.write();
    let mut landing = site.start_landing();
    // No certificate at all, and one by an authority that nobody knows.
    let anonymous = Client::new(&site, "").step(epoch(1, 1, 0));
    assert!(anonymous["error"].is_string(), "{anonymous}");
    site.stranger_certificate();
    for answer in Client::new(&site, "gateway").take(&vec![epoch(1, 1, 0); 8]) {
        // Told every time, although TLS 1.3 lets a client speak before its certificate is looked at.
        let error = answer["error"].as_str().unwrap_or_default().to_lowercase();
        assert!(error.contains("unknown_ca") || error.contains("unknown ca"), "{answer}");
    }

    // Our own gateway with such a certificate takes messages in, says what is wrong, and delivers nothing.
    let mut gateway = site.start_gateway();
    let message = hl7::observation("stranger-1", 1);
    mllp::accepted(site.ports.mllp, &message);
    let why = site.complaint("lake", "certificate");
    assert!(why.contains("authority") || why.contains("issued"), "says what to do: {why}");
    assert!(readers::rows(&site.root("lake"), "raw").is_empty());
    assert!(landing.log().contains("handshake refused"), "{}", landing.tail());

    // The right one, exchanged on the disk while it runs.
    site.gateway_certificate(days_from_now(-1), days_from_now(30));
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), [message]);
    gateway.stop();
    landing.stop();

    // The other way round: a landing that nobody vouches for gets nothing.
    site.stranger_landing();
    site.destinations = vec![Destination::new("lake", "treatment")];
    let mut landing = site.start_landing();
    let mut gateway = site.start_gateway();
    let second = hl7::observation("stranger-2", 2);
    mllp::accepted(site.ports.mllp, &second);
    let why = site.complaint("lake", "certificate");
    assert!(why.contains("authority") || why.contains("issued"), "says what to do: {why}");
    assert_eq!(readers::rows(&site.root("lake"), "raw").len(), 1);
    landing.stop();
    site.landing_certificate(days_from_now(-1), days_from_now(30));
    let mut landing = site.start_landing();
    site.drained();
    assert_eq!(readers::rows(&site.root("lake"), "raw").len(), 2);
    gateway.stop();
    landing.stop();
}

#[test]
fn a_certificate_of_yesterday_is_named_as_the_reason() {
    let site = Site::small();
    site.gateway_certificate(days_from_now(-30), days_from_now(-1));
    let (mut gateway, mut landing) = site.start();
    let one = hl7::observation("expired-1", 1);
    mllp::accepted(site.ports.mllp, &one);
    let why = site.complaint("lake", "expired");
    assert!(why.contains("certificate"), "{why}");
    assert!(readers::rows(&site.root("lake"), "raw").is_empty());
    site.gateway_certificate(days_from_now(-1), days_from_now(30));
    site.drained();

    // Now the landing's: it does not start with one that is over, and one that ends while it runs ends all
    // handshakes.
    gateway.stop();
    landing.stop();
    site.landing_certificate(days_from_now(-30), days_from_now(-1));
    let mut refusing = site.launch_landing();
    assert_eq!(refusing.exit_code(), 1);
    assert!(refusing.log().contains("landing.pem expired on"), "{}", refusing.tail());
    let end = Timestamp::from_micros(days_from_now(0).micros() + SHORT_S * 1_000_000);
    // X.509 counts seconds, the last one included.
    let over = Timestamp::from_micros(end.micros() + 1_500_000);
    site.landing_certificate(days_from_now(-1), end);
    let mut landing = site.start_landing();
    wait::until("the landing's certificate to end", || (days_from_now(0) > over).then_some(()));
    let mut gateway = site.start_gateway();
    let two = hl7::observation("expired-2", 2);
    mllp::accepted(site.ports.mllp, &two);
    let why = site.complaint("lake", "expired");
    assert!(why.contains("landing") || why.contains("server"), "says whose: {why}");
    assert_eq!(readers::rows(&site.root("lake"), "raw").len(), 1);
    // Renewed on the disk; nobody is restarted.
    site.landing_certificate(days_from_now(-1), days_from_now(30));
    site.drained();
    assert_eq!(readers::payloads(&site.root("lake")), [one, two]);
    gateway.stop();
    landing.stop();
    site.nothing_to_find();
}
