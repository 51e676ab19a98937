//! A broker that follows a script, for what an honest broker rarely does: forgetting sessions, giving ids out
//! again at once, breaking the line between a record and its acknowledgement.

use std::time::Duration;

use bytes::BytesMut;
use model::Refusal;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, Publish, QoS, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::intake::{FakeIntake, Mode};
use super::{Running, a_while, config, eventually};

const TOPIC: &str = "ward3/oximeter/bed-12/plx";

struct Script {
    listener: TcpListener,
}

struct Line {
    stream: TcpStream,
    received: BytesMut,
}

impl Script {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Takes a connection, up to and with its CONNECT.
    async fn accept(&self) -> Line {
        let accepted = tokio::time::timeout(Duration::from_secs(10), self.listener.accept());
        let (stream, _) = accepted.await.expect("a connection within 10 s").unwrap();
        let mut line = Line { stream, received: BytesMut::new() };
        let Packet::Connect(connect) = line.read().await.unwrap() else { panic!("CONNECT comes first") };
        assert!(!connect.clean_session && connect.client_id == "wardgate-test");
        line
    }

    /// A connection that is ready for publishes.
    async fn session(&self, session_present: bool) -> Line {
        let mut line = self.accept().await;
        line.write(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, session_present))).await;
        let Packet::Subscribe(subscribe) = line.read().await.unwrap() else { panic!("SUBSCRIBE") };
        let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce); subscribe.filters.len()];
        line.write(Packet::SubAck(SubAck::new(subscribe.pkid, granted))).await;
        line
    }
}

impl Line {
    /// The next packet that is no ping; `None` at the end.
    async fn read(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.received, 1 << 20) {
                Ok(Packet::PingReq) => self.write(Packet::PingResp).await,
                Ok(packet) => return Some(packet),
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {
                    let read = tokio::time::timeout(
                        Duration::from_secs(10),
                        self.stream.read_buf(&mut self.received),
                    );
                    match read.await.expect("a packet within 10 s") {
                        Ok(0) | Err(_) => return None,
                        Ok(_) => {}
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn write(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 1 << 20).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn publish(&mut self, id: u16, dup: bool, payload: &[u8]) {
        let mut publish = Publish::new(TOPIC, QoS::AtLeastOnce, payload);
        publish.pkid = id;
        publish.dup = dup;
        self.write(Packet::Publish(publish)).await;
    }

    /// Reads DISCONNECT, and nothing before it; then closes, as a broker does.
    async fn goodbye(mut self) {
        assert_eq!(self.read().await, Some(Packet::Disconnect));
    }

    async fn acknowledged(&mut self) -> u16 {
        match self.read().await {
            Some(Packet::PubAck(ack)) => ack.pkid,
            other => panic!("PUBACK was due: {other:?}"),
        }
    }
}

/// A record became durable after the line broke; the same publish comes again.
async fn broken_during_commit(session_present: bool, id: u16, dup: bool, payload: &[u8]) -> (usize, u64) {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(script.port()), &intake);
    let mut line = script.session(false).await;
    line.publish(7, false, b"97 %").await;
    eventually("a commit under way", async || intake.begun() == 1).await;
    drop(line);
    eventually("the loss is noticed", async || !feed.stats().connected).await;
    intake.set(Mode::Open);
    let mut line = script.session(session_present).await;
    line.publish(id, dup, payload).await;
    assert_eq!(line.acknowledged().await, id);
    drop(line);
    let stats = feed.stop().await;
    (intake.stored().len(), stats.redelivered)
}

#[tokio::test]
async fn a_redelivery_is_recognised_only_where_it_is_certain() {
    assert_eq!(broken_during_commit(true, 7, true, b"97 %").await, (1, 1), "the same publish");
    assert_eq!(
        broken_during_commit(true, 7, false, b"97 %").await,
        (2, 0),
        "not a redelivery: a new publish"
    );
    assert_eq!(broken_during_commit(true, 8, true, b"97 %").await, (2, 0), "another id: another publish");
    assert_eq!(broken_during_commit(true, 7, true, b"96 %").await, (2, 0), "another payload");
    assert_eq!(
        broken_during_commit(false, 7, true, b"97 %").await,
        (2, 0),
        "another session: ids start again"
    );
}

#[tokio::test]
async fn an_id_that_was_acknowledged_says_nothing() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(script.port()), &intake);
    let mut line = script.session(false).await;
    line.publish(1, false, b"97 %").await;
    assert_eq!(line.acknowledged().await, 1);
    // The broker gives id 1 out again at once; the line breaks before we read it; it comes with DUP.
    drop(line);
    let mut line = script.session(true).await;
    line.publish(1, true, b"97 %").await;
    assert_eq!(line.acknowledged().await, 1);
    assert_eq!(intake.stored().len(), 2, "two measurements");
    assert_eq!(feed.stop().await.redelivered, 0);
}

#[tokio::test]
async fn a_recognised_redelivery_is_forgotten_after_its_acknowledgement() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(script.port()), &intake);
    let mut line = script.session(false).await;
    line.publish(7, false, b"97 %").await;
    eventually("a commit under way", async || intake.begun() == 1).await;
    drop(line);
    eventually("the loss is noticed", async || !feed.stats().connected).await;
    intake.set(Mode::Open);
    for records in [1, 2] {
        let mut line = script.session(true).await;
        line.publish(7, true, b"97 %").await;
        assert_eq!(line.acknowledged().await, 7);
        assert_eq!(intake.stored().len(), records);
    }
    assert_eq!(feed.stop().await.redelivered, 1);
}

#[tokio::test]
async fn acknowledgements_come_in_order_and_stop_at_a_refusal() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(script.port()), &intake);
    let mut line = script.session(false).await;
    for id in 1..=20 {
        line.publish(id, false, &[id as u8]).await;
    }
    eventually("twenty commits under way", async || intake.begun() == 20).await;
    intake.set(Mode::Open);
    for id in 1..=20 {
        assert_eq!(line.acknowledged().await, id);
    }
    intake.set(Mode::RefusingCommits(Refusal::Full));
    line.publish(21, false, b"refused").await;
    line.goodbye().await;
    feed.stop().await;
}

#[tokio::test]
async fn no_more_is_taken_than_the_limits_allow() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let config = super::Config { inflight_max: 4, ..config(script.port()) };
    let feed = Running::start(&config, &intake);
    let mut line = script.session(false).await;
    for id in 1..=100 {
        line.publish(id, false, b"x").await;
    }
    eventually("four commits under way", async || intake.begun() == 4).await;
    a_while().await;
    assert_eq!(intake.begun(), 4);
    assert_eq!(feed.stats().received, 4);
    intake.set(Mode::Open);
    for id in 1..=100 {
        assert_eq!(line.acknowledged().await, id);
    }
    feed.stop().await;
    assert_eq!(intake.stored().len(), 100);
}

#[tokio::test]
async fn what_is_no_broker_is_left_alone() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    let feed = Running::start(&config(script.port()), &intake);
    let refusal = Packet::ConnAck(ConnAck::new(ConnectReturnCode::NotAuthorized, false));
    script.accept().await.write(refusal).await;
    // An HTTP server.
    let mut line = script.accept().await;
    line.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    drop(line);
    // One that closes at once, one that refuses the subscription, one that sends QoS 2.
    drop(script.accept().await);
    let mut line = script.accept().await;
    line.write(Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false))).await;
    assert!(matches!(line.read().await, Some(Packet::Subscribe(_))));
    line.write(Packet::SubAck(SubAck::new(1, vec![SubscribeReasonCode::Failure]))).await;
    line.goodbye().await;
    let mut line = script.session(false).await;
    let mut publish = Publish::new(TOPIC, QoS::ExactlyOnce, "x");
    publish.pkid = 1;
    line.write(Packet::Publish(publish)).await;
    line.goodbye().await;
    // And then a good one.
    let mut line = script.session(false).await;
    line.publish(1, false, b"good").await;
    assert_eq!(line.acknowledged().await, 1);
    assert!(feed.stop().await.reconnects >= 5);
    assert_eq!(intake.payloads(), ["good"]);
}

#[tokio::test]
async fn a_stop_waits_for_the_commit_and_acknowledges_it() {
    let script = Script::new().await;
    let intake = FakeIntake::new();
    intake.set(Mode::Held);
    let feed = Running::start(&config(script.port()), &intake);
    let mut line = script.session(false).await;
    line.publish(1, false, b"x").await;
    eventually("a commit under way", async || intake.begun() == 1).await;
    feed.stop.cancel();
    a_while().await;
    intake.set(Mode::Open);
    assert_eq!(line.acknowledged().await, 1);
    line.goodbye().await;
    assert_eq!(feed.stop().await.accepted, 1);
}
