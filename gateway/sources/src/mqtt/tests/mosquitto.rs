//! The promise, against an independent broker.

use std::time::Duration;

use model::{Format, Refusal};
use rumqttc::QoS;

use super::broker::{Mosquitto, Peer, kept_for_gateway};
use super::intake::{FakeIntake, Mode, device};
use super::{Running, a_while, config, eventually};

const TOPIC: &str = "ward3/oximeter/bed-12/plx";
const FRAME: &[u8] = &[0x00, 0x61, 0x00, 0x48, 0x00];

/// `count` different frames.
fn frames(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| [FRAME, &n.to_le_bytes()].concat()).collect()
}

#[tokio::test]
async fn a_publish_becomes_a_record_with_its_provenance() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    Peer::device(broker.port).await.send(FRAME).await;
    eventually("a record", async || intake.stored().len() == 1).await;

    let stored = &intake.stored()[0];
    assert_eq!(stored.payload, FRAME);
    assert!(device(stored));
    assert_eq!(stored.provenance.channel, TOPIC);
    assert_eq!(stored.provenance.peer, format!("127.0.0.1:{}", broker.port));
    assert_eq!(stored.provenance.feed.as_str(), "oximeters");
    assert_eq!(stored.provenance.received_at.seconds(), 1_700_000_000);
    assert_eq!(stored.provenance.origin, None);

    let stats = feed.stop().await;
    assert_eq!((stats.received, stats.accepted, stats.connected), (1, 1, false));
    assert!(kept_for_gateway(broker.port).await.is_empty(), "acknowledged");
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let mut device = Peer::device(broker.port).await;
    for frame in frames(3) {
        device.send(&frame).await;
    }
    eventually("three commits under way", async || intake.begun() == 3).await;
    a_while().await;
    feed.crash().await;

    // The broker has all three, and has sent them before.
    let kept = kept_for_gateway(broker.port).await;
    assert_eq!(kept.iter().map(|p| p.payload.to_vec()).collect::<Vec<_>>(), frames(3));
    assert!(kept.iter().all(|publish| publish.dup));

    // After the crash they come again, in order, and are acknowledged.
    intake.set(Mode::Open);
    let feed = Running::start(&config(broker.port), &intake);
    eventually("three records", async || intake.stored().len() == 3).await;
    assert_eq!(intake.payloads(), frames(3));
    feed.stop().await;
    assert!(kept_for_gateway(broker.port).await.is_empty());
}

#[tokio::test]
async fn a_stop_acknowledges_what_is_durable_and_leaves_the_rest() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let mut device = Peer::device(broker.port).await;
    for frame in frames(200) {
        device.send(&frame).await;
    }
    let stats = feed.stop().await;
    let kept = kept_for_gateway(broker.port).await;
    let stored = intake.payloads();
    assert_eq!(stats.accepted as usize, stored.len());
    // Each is in exactly one place.
    let all: Vec<Vec<u8>> =
        stored.iter().map(|p| p.to_vec()).chain(kept.iter().map(|p| p.payload.to_vec())).collect();
    assert_eq!(all, frames(200));
}

#[tokio::test]
async fn what_is_published_while_the_gateway_is_away_arrives_later_in_order() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    feed.stop().await;
    let mut device = Peer::device(broker.port).await;
    for frame in frames(500) {
        device.send(&frame).await;
    }
    let feed = Running::start(&config(broker.port), &intake);
    eventually("all records", async || intake.stored().len() >= 500).await;
    a_while().await;
    assert_eq!(intake.payloads(), frames(500));
    assert_eq!(feed.stop().await.sessions_lost, 0);
}

#[tokio::test]
async fn equal_measurements_are_never_merged() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let mut device = Peer::device(broker.port).await;
    for _ in 0..50 {
        device.send(FRAME).await;
    }
    eventually("fifty records", async || intake.stored().len() == 50).await;
    assert_eq!(feed.stop().await.redelivered, 0);
}

#[tokio::test]
async fn a_refusal_is_not_acknowledged_and_the_broker_sends_again() {
    for refused in [Mode::Refusing(Refusal::Full), Mode::RefusingCommits(Refusal::Storage)] {
        let broker = Mosquitto::start().await;
        let intake = FakeIntake::new();
        intake.set(refused);
        let feed = Running::start(&config(broker.port), &intake);
        feed.connected().await;
        let mut device = Peer::device(broker.port).await;
        for frame in frames(30) {
            device.send(&frame).await;
        }
        eventually("several refusals", async || feed.stats().refused >= 3).await;
        assert!(intake.stored().is_empty());
        assert_eq!(feed.stats().accepted, 0);

        intake.set(Mode::Open);
        eventually("recovery", async || intake.stored().len() >= 30).await;
        a_while().await;
        assert_eq!(intake.payloads(), frames(30), "{refused:?}: each once, in order");
        let stats = feed.stop().await;
        assert!(stats.reconnects >= 2 && stats.lost_qos0 == 0, "{stats:?}");
    }
}

#[tokio::test]
async fn a_broker_may_be_restarted() {
    let mut broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let frames = frames(20);
    let mut device = Peer::device(broker.port).await;
    for frame in &frames[..10] {
        device.send(frame).await;
    }
    eventually("ten records", async || intake.stored().len() == 10).await;
    // The broker has read the acknowledgements; see the module on what happens when it has not.
    a_while().await;
    broker.down();
    eventually("the loss is noticed", async || !feed.stats().connected).await;
    broker.up().await;
    let mut device = Peer::device(broker.port).await;
    for frame in &frames[10..] {
        device.send(frame).await;
    }
    eventually("twenty records", async || intake.stored().len() >= 20).await;
    a_while().await;
    assert_eq!(intake.payloads(), frames);
    assert_eq!(feed.stats().sessions_lost, 0);

    broker.forget();
    eventually("the loss is noticed", async || !feed.stats().connected).await;
    broker.up().await;
    feed.connected().await;
    assert_eq!(feed.stop().await.sessions_lost, 1);
}

#[tokio::test]
async fn a_commit_that_outlives_the_connection_makes_one_record() {
    let mut broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let mut device = Peer::device(broker.port).await;
    for frame in frames(5) {
        device.send(&frame).await;
    }
    eventually("five commits under way", async || intake.begun() == 5).await;
    broker.down();
    eventually("the loss is noticed", async || !feed.stats().connected).await;
    broker.up().await;
    intake.set(Mode::Open);
    eventually("recognised", async || feed.stats().redelivered == 5).await;
    a_while().await;
    assert_eq!(intake.payloads(), frames(5));
    assert_eq!(feed.stop().await.accepted, 5);
    assert!(kept_for_gateway(broker.port).await.is_empty());
}

#[tokio::test]
async fn a_large_publish_never_blocks_the_feed() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    intake.set(Mode::UpTo(100_000));
    let config = super::Config { payload_bytes_max: 1000, ..config(broker.port) };
    let feed = Running::start(&config, &intake);
    feed.connected().await;
    let mut peer = Peer::device(broker.port).await;
    peer.send(b"before").await;
    // Over the feed's limit; over the intake's; over what is read into memory, twice.
    for bytes in [1001, 200_000, 3 << 20, 2 << 20] {
        peer.send(&vec![b'x'; bytes]).await;
    }
    peer.send(b"after").await;
    eventually("the last one", async || intake.payloads().iter().any(|p| p == "after")).await;

    let stored = intake.stored();
    let formats: Vec<(usize, bool)> = stored.iter().map(|s| (s.payload.len(), device(s))).collect();
    assert_eq!(formats.first(), Some(&(6, true)));
    assert!(formats.contains(&(1001, false)), "kept whole, as evidence");
    assert!(stored.iter().all(|s| device(s) || s.provenance.format == Format::Unparsed));
    assert!(formats.iter().all(|(bytes, _)| *bytes < 100_000));
    let stats = feed.stop().await;
    assert!(stats.too_large >= 4, "{stats:?}");
    assert!(kept_for_gateway(broker.port).await.is_empty(), "the broker is rid of them");
}

#[tokio::test]
async fn retained_copies_are_not_measured_again() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let mut peer = Peer::device(broker.port).await;
    peer.publish(TOPIC, QoS::AtLeastOnce, true, b"of unknown age").await;
    let feed = Running::start(&config(broker.port), &intake);
    eventually("the copy", async || feed.stats().retained == 1).await;
    // A device that sets the flag is heard all the same while the gateway is there.
    peer.publish(TOPIC, QoS::AtLeastOnce, true, b"live").await;
    eventually("the live one", async || intake.stored().len() == 1).await;
    feed.stop().await;
    let feed = Running::start(&config(broker.port), &intake);
    eventually("the copy again", async || feed.stats().retained == 1).await;
    feed.stop().await;
    assert_eq!(intake.payloads(), ["live"]);
    assert!(kept_for_gateway(broker.port).await.is_empty());
}

#[tokio::test]
async fn filters_of_an_earlier_configuration_bring_nothing() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let before = super::Config { topics: vec!["ward4/#".into()], ..config(broker.port) };
    let feed = Running::start(&before, &intake);
    feed.connected().await;
    let mut peer = Peer::device(broker.port).await;
    peer.publish("ward4/x", QoS::AtLeastOnce, false, b"wanted").await;
    eventually("a record", async || intake.stored().len() == 1).await;
    feed.stop().await;

    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    peer.publish("ward4/x", QoS::AtLeastOnce, false, b"removed").await;
    peer.send(FRAME).await;
    eventually("the other record", async || intake.stored().len() == 2).await;
    assert_eq!(feed.stop().await.unrouted, 1);
    assert_eq!(intake.payloads(), [b"wanted".as_slice(), FRAME]);
    assert!(kept_for_gateway(broker.port).await.is_empty());
}

#[tokio::test]
async fn qos_0_is_recorded_and_its_loss_is_counted() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(broker.port), &intake);
    feed.connected().await;
    let mut peer = Peer::device(broker.port).await;
    peer.publish(TOPIC, QoS::AtMostOnce, false, b"kept").await;
    eventually("a record", async || intake.stored().len() == 1).await;
    intake.set(Mode::Refusing(Refusal::Full));
    peer.publish(TOPIC, QoS::AtMostOnce, false, b"lost").await;
    eventually("the loss", async || feed.stats().lost_qos0 == 1).await;
    feed.stop().await;
    assert_eq!(intake.payloads(), ["kept"]);
}

#[tokio::test]
async fn topics_that_are_not_ascii_are_topics() {
    let broker = Mosquitto::start().await;
    let intake = FakeIntake::new();
    let config = super::Config { topics: vec!["#".into()], ..config(broker.port) };
    let feed = Running::start(&config, &intake);
    feed.connected().await;
    let mut peer = Peer::device(broker.port).await;
    peer.publish("é/ç", QoS::AtLeastOnce, false, b"").await;
    eventually("a record", async || intake.stored().len() == 1).await;
    assert_eq!(intake.stored()[0].provenance.channel, "é/ç");
    assert!(intake.stored()[0].payload.is_empty());
    feed.stop().await;
}

#[tokio::test]
async fn over_mutual_tls_with_a_password() {
    let from = "2020-01-01T00:00:00Z".parse().unwrap();
    let to = "2049-01-01T00:00:00Z".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let authority = tls::throwaway::Authority::new("ward authority", from, to).unwrap();
    authority.write(&at("ca.pem")).unwrap();
    let stranger = tls::throwaway::Authority::new("a stranger", from, to).unwrap();
    stranger.write(&at("stranger.pem")).unwrap();
    authority.server(&["localhost"], from, to).unwrap().write(&at("broker.pem"), &at("broker.key")).unwrap();
    let gateway = "gw-1".parse().unwrap();
    authority.gateway(&gateway, from, to).unwrap().write(&at("gateway.pem"), &at("gateway.key")).unwrap();

    let broker = Mosquitto::start_with(&format!(
        "cafile {0}/ca.pem\ncertfile {0}/broker.pem\nkeyfile {0}/broker.key\nrequire_certificate true",
        folder.path().display()
    ))
    .await;
    assert!(broker.folder().is_dir());
    std::fs::write(at("password"), "not asked for here\n").unwrap();
    let good = super::Config {
        url: format!("mqtts://localhost:{}", broker.port),
        ca: Some(at("ca.pem")),
        certificate: Some(at("gateway.pem")),
        key: Some(at("gateway.key")),
        username: Some("gateway".into()),
        password_file: Some(at("password")),
        ..config(broker.port)
    };
    let intake = FakeIntake::new();
    let feed = Running::start(&good, &intake);
    feed.connected().await;

    // The oversize packet takes its own way through TLS.
    let link = good.link().unwrap();
    let mut options = link.options();
    options.set_client_id("bridge".into()).set_max_packet_size(1 << 28, 1 << 28);
    let (client, mut eventloop) = rumqttc::AsyncClient::new(options, 10);
    for payload in [FRAME.to_vec(), vec![0; 2 << 20], b"after".to_vec()] {
        client.publish(TOPIC, QoS::AtLeastOnce, false, payload).await.unwrap();
    }
    tokio::select! {
        () = eventually("two records", async || intake.stored().len() == 2) => {}
        () = async { while eventloop.poll().await.is_ok() {} } => panic!("the publisher lost the broker"),
    }
    assert_eq!(intake.payloads(), [FRAME, b"after"]);
    assert_eq!(feed.stop().await.too_large, 1);

    let misled = super::Config { ca: Some(at("stranger.pem")), ..good };
    let feed = Running::start(&misled, &intake);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!feed.stats().connected && feed.stats().reconnects >= 1);
    feed.stop().await;
}
