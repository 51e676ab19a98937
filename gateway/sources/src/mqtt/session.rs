//! One connection to the broker: subscribe, take, record, acknowledge.
//!
//! Cancel safety: `EventLoop::poll` is dropped and called again whenever an outcome is ready first. That loses
//! nothing here: received packets stay in its buffers, and it writes nothing but pings, as subscriptions and
//! acknowledgements are written directly, each flushed before the next poll. So this module also knows exactly
//! which PUBACK was written and which was not.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Clock, Format, Intake, Refusal, Slug};
use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{
    ConnectReturnCode, ConnectionError, Event, EventLoop, NetworkOptions, Packet, PubAck, Publish, QoS,
    StateError, SubAck, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use tokio_util::sync::CancellationToken;

use super::config::{Config, Link};
use super::recorder::{Arrival, Outcome, Recorder};
use super::stats::{Counters, count};
use super::{INFLIGHT_BYTES_MAX, PACKET_BYTES_MAX};

/// Longest time for connecting, and for the broker to take what is written, in seconds.
const ANSWER_S_MAX: u64 = 10;
/// Longest time that a stop waits for commits that are under way, in seconds.
const STOP_S_MAX: u64 = 5;
/// Longest time that the broker is given to close after a goodbye, in seconds.
const GOODBYE_S_MAX: u64 = 2;
/// Packet id of the one subscription of a connection.
const SUBSCRIBE_ID: u16 = 1;

/// Publishes that are on the disk and whose PUBACK was certainly never written, by packet id. At most the
/// in-flight window.
pub(super) type Settled = HashMap<u16, Arrival>;

/// Why a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The gateway stops.
    Stopped,
    /// The line broke, or the broker does not want us: in an operator's words.
    Lost(String),
    /// The intake took no more.
    Refused(Refusal),
    /// The broker sends a packet of this many bytes, which is not read into memory.
    Oversize(usize),
}

/// What a session is made of.
pub(super) struct Parts<'c> {
    pub(super) feed: &'c Slug,
    pub(super) config: &'c Config,
    pub(super) clock: &'c dyn Clock,
    pub(super) counters: &'c Counters,
    pub(super) settled: &'c mut Settled,
    /// Whether an earlier connection of this process had a session that the broker should remember.
    pub(super) expects_session: bool,
}

/// One connection.
pub(super) struct Session<'c, I> {
    parts: Parts<'c>,
    eventloop: EventLoop,
    recorder: Recorder<I>,
    /// Whether the broker took the connection.
    pub(super) connected: bool,
    /// Whether a record became durable.
    pub(super) progressed: bool,
}

impl<'c, I: Intake> Session<'c, I> {
    pub(super) fn new(parts: Parts<'c>, link: &Link, intake: I) -> Self {
        let mut eventloop = EventLoop::new(link.options(), 1);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(ANSWER_S_MAX);
        eventloop.set_network_options(network);
        let recorder = Recorder::new(intake, parts.feed.clone(), link.broker.to_string());
        Self { parts, eventloop, recorder, connected: false, progressed: false }
    }

    /// Runs until the connection ends, and until what was being committed is settled.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> End {
        let end = match self.connect(stop).await {
            Ok(()) => {
                self.connected = true;
                self.parts.counters.connected.store(true, Ordering::Relaxed);
                self.take(stop).await
            }
            Err(end) => end,
        };
        self.parts.counters.connected.store(false, Ordering::Relaxed);
        if let Err(goodbye) = self.wind_up(stop, end == End::Stopped).await {
            // Why the connection ended stands in `end`; that the last words failed as well is a detail.
            tracing::debug!(feed = %self.parts.feed, ?goodbye, "the broker could not be told");
        }
        end
    }

    async fn connect(&mut self, stop: &CancellationToken) -> Result<(), End> {
        let event = tokio::select! {
            () = stop.cancelled() => return Err(End::Stopped),
            event = self.eventloop.poll() => event.map_err(|e| ended(&e))?,
        };
        let Event::Incoming(Packet::ConnAck(connack)) = event else {
            return Err(End::Lost("the broker does not answer with MQTT; check the port".to_owned()));
        };
        if !connack.session_present {
            // Ids of a forgotten session mean nothing any more.
            self.parts.settled.clear();
            if self.parts.expects_session {
                count(&self.parts.counters.sessions_lost);
                tracing::warn!(
                    feed = %self.parts.feed,
                    "the broker has forgotten this gateway's session, and with it what it kept for it; \
                     let it persist sessions"
                );
            }
        }
        let filters = self
            .parts
            .config
            .topics
            .iter()
            .map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce));
        let mut subscribe = Subscribe::new_many(filters);
        subscribe.pkid = SUBSCRIBE_ID;
        self.write([Packet::Subscribe(subscribe)]).await
    }

    async fn take(&mut self, stop: &CancellationToken) -> End {
        loop {
            let room = self.recorder.len() < usize::from(self.parts.config.inflight_max)
                && self.recorder.bytes() < INFLIGHT_BYTES_MAX;
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => Err(End::Stopped),
                (arrival, outcome) = self.recorder.next(), if !self.recorder.is_empty() => {
                    self.settle(arrival, outcome).await
                }
                event = self.eventloop.poll(), if room => match event {
                    Ok(Event::Incoming(packet)) => self.incoming(packet),
                    Ok(Event::Outgoing(_)) => Ok(()),
                    Err(error) => Err(ended(&error)),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn incoming(&mut self, packet: Packet) -> Result<(), End> {
        match packet {
            Packet::Publish(publish) => self.arrived(publish),
            Packet::SubAck(suback) => self.subscribed(&suback),
            _ => Ok(()),
        }
    }

    fn arrived(&mut self, publish: Publish) -> Result<(), End> {
        let Counters { received, too_large, redelivered, retained, unrouted, .. } = self.parts.counters;
        count(received);
        if publish.qos == QoS::ExactlyOnce {
            return Err(End::Lost("the broker sends QoS 2 where QoS 1 was asked for".to_owned()));
        }
        let mut arrival = Arrival {
            topic: publish.topic,
            payload: publish.payload,
            packet_id: publish.pkid,
            received_at: self.parts.clock.now(),
            record_as: None,
        };
        let config = self.parts.config;
        if self.is_settled(&arrival, publish.dup) {
            count(redelivered);
        } else if publish.retain {
            count(retained);
        } else if !config.topics.iter().any(|filter| profile::topic_matches(filter, &arrival.topic)) {
            count(unrouted);
        } else if arrival.payload.len() > config.payload_bytes_max {
            warn_too_large(self.parts.feed, count(too_large), arrival.payload.len());
            arrival.record_as = Some(Format::Unparsed);
        } else {
            arrival.record_as = Some(Format::Device(config.profile.clone()));
        }
        self.recorder.push(arrival);
        Ok(())
    }

    /// Whether this is certainly a publish that is on the disk already; see the module `mqtt`. An entry whose
    /// id comes with anything else is void: the broker has given the id to another publish.
    fn is_settled(&mut self, arrival: &Arrival, dup: bool) -> bool {
        let Some(settled) = self.parts.settled.get(&arrival.packet_id) else { return false };
        let same = dup && settled.topic == arrival.topic && settled.payload == arrival.payload;
        if !same {
            self.parts.settled.remove(&arrival.packet_id);
        }
        same
    }

    fn subscribed(&mut self, suback: &SubAck) -> Result<(), End> {
        let topics = &self.parts.config.topics;
        let mut granted = topics.len();
        for (filter, code) in topics.iter().zip(&suback.return_codes) {
            match code {
                SubscribeReasonCode::Success(QoS::AtLeastOnce) => {}
                SubscribeReasonCode::Success(_) => tracing::warn!(
                    feed = %self.parts.feed, filter,
                    "the broker grants no QoS 1: what it sends while the gateway is away is lost"
                ),
                SubscribeReasonCode::Failure => {
                    granted = granted.saturating_sub(1);
                    tracing::warn!(
                        feed = %self.parts.feed, filter,
                        "the broker refuses the subscription; check the user's rights there"
                    );
                }
            }
        }
        if granted == 0 {
            return Err(End::Lost(
                "the broker refuses every subscription; check the user's rights there".into(),
            ));
        }
        Ok(())
    }

    /// Acknowledges an outcome, and with it all that are ready behind it: one flush for all.
    async fn settle(&mut self, arrival: Arrival, outcome: Outcome) -> Result<(), End> {
        let mut acknowledged = Vec::new();
        let mut refused = None;
        let mut next = Some((arrival, outcome));
        while let Some((arrival, outcome)) = next {
            match self.judge(&arrival, &outcome) {
                None => acknowledged.push(arrival),
                Some(refusal) => {
                    refused = Some(End::Refused(refusal));
                    break;
                }
            }
            next = self.recorder.try_next();
        }
        self.acknowledge(acknowledged).await?;
        refused.map_or(Ok(()), Err)
    }

    /// Counts an outcome; `None` where the publish may be acknowledged.
    fn judge(&mut self, arrival: &Arrival, outcome: &Outcome) -> Option<Refusal> {
        let counters = self.parts.counters;
        match outcome {
            Outcome::Recorded(receipt) => {
                tracing::trace!(feed = %self.parts.feed, record = %receipt.id, "durable");
                count(&counters.accepted);
                self.progressed = true;
                None
            }
            Outcome::Passed => None,
            Outcome::Refused(Refusal::TooLarge) => {
                warn_too_large(self.parts.feed, count(&counters.too_large), arrival.payload.len());
                None
            }
            Outcome::Refused(refusal) => {
                count(&counters.refused);
                if arrival.packet_id == 0 {
                    count(&counters.lost_qos0);
                }
                Some(*refusal)
            }
        }
    }

    async fn acknowledge(&mut self, arrivals: Vec<Arrival>) -> Result<(), End> {
        let ids: Vec<u16> = arrivals.iter().map(|a| a.packet_id).filter(|id| *id != 0).collect();
        for id in &ids {
            // From here on the broker may have seen the PUBACK: nothing is certain about the id any more.
            self.parts.settled.remove(id);
        }
        self.write(ids.into_iter().map(|id| Packet::PubAck(PubAck::new(id)))).await
    }

    async fn write(&mut self, packets: impl IntoIterator<Item = Packet>) -> Result<(), End> {
        let Some(network) = &mut self.eventloop.network else {
            return Err(End::Lost("the connection to the broker is gone".to_owned()));
        };
        let writing = async {
            for packet in packets {
                network.write(packet).await?;
            }
            network.flush().await
        };
        match within(ANSWER_S_MAX, writing).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(ended(&ConnectionError::MqttState(error))),
            None => Err(End::Lost("the broker does not take what is written to it".to_owned())),
        }
    }

    /// Sees to the end what is being committed. In order of a stop it is acknowledged; otherwise it is
    /// remembered as settled. Then says goodbye where the line stands.
    async fn wind_up(&mut self, stop: &CancellationToken, stopped: bool) -> Result<(), End> {
        self.recorder.abandon_uncommitted();
        let too_long = async {
            stop.cancelled().await;
            tokio::time::sleep(Duration::from_secs(STOP_S_MAX)).await;
        };
        tokio::pin!(too_long);
        let mut acknowledged = Vec::new();
        let mut in_order = true;
        while !self.recorder.is_empty() {
            let (arrival, outcome) = tokio::select! {
                biased;
                next = self.recorder.next() => next,
                () = &mut too_long => break,
            };
            in_order &= self.judge(&arrival, &outcome).is_none();
            let durable = matches!(outcome, Outcome::Recorded(_));
            if in_order && stopped {
                acknowledged.push(arrival);
            } else if durable && arrival.packet_id != 0 {
                self.parts.settled.insert(arrival.packet_id, arrival);
            }
        }
        if self.eventloop.network.is_none() {
            return Ok(());
        }
        self.acknowledge(acknowledged).await?;
        self.write([Packet::Disconnect]).await?;
        // The broker closes after a DISCONNECT. To close first, with something of it unread, would reset the
        // connection, and the broker might never read the last acknowledgements.
        let closed = async { while self.eventloop.poll().await.is_ok() {} };
        within(GOODBYE_S_MAX, closed)
            .await
            .ok_or_else(|| End::Lost("the broker does not close the connection".to_owned()))
    }
}

/// Waits for the broker; `None` when it takes longer.
async fn within<F: Future>(seconds: u64, answer: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::from_secs(seconds), answer).await.ok()
}

pub(super) fn warn_too_large(feed: &Slug, so_far: u64, bytes: usize) {
    // The first, the second, the fourth …: a wrong device does not fill the log.
    if so_far.is_power_of_two() {
        tracing::warn!(%feed, bytes, so_far, "a publish is larger than the feed's limit");
    }
}

/// An error in an operator's words; never the packet that caused it.
fn ended(error: &ConnectionError) -> End {
    let text = match error {
        ConnectionError::MqttState(StateError::Deserialization(PacketError::PayloadSizeLimitExceeded(
            bytes,
        ))) => {
            return End::Oversize(*bytes);
        }
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword => "the broker does not know this user name and password",
            ConnectReturnCode::NotAuthorized => "the broker does not admit this client",
            ConnectReturnCode::BadClientId => "the broker does not take this client id",
            ConnectReturnCode::ServiceUnavailable => "the broker is there, but does not serve now",
            _ => "the broker does not speak MQTT 3.1.1",
        },
        ConnectionError::NetworkTimeout => "the broker did not answer in time",
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the broker closed the connection",
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker does not answer any more",
        ConnectionError::NotConnAck(_) | ConnectionError::MqttState(StateError::Deserialization(_)) => {
            match tls::explain_chain(error, "the broker") {
                Some(explanation) => return End::Lost(explanation.to_string()),
                None => "the broker does not answer with MQTT 3.1.1; check the port",
            }
        }
        other => match tls::explain_chain(other, "the broker") {
            Some(explanation) => return End::Lost(explanation.to_string()),
            None => "the connection to the broker failed",
        },
    };
    End::Lost(text.to_owned())
}

// A packet of the largest payload, with the longest topic, is within what is read.
const _: () = assert!(super::PAYLOAD_BYTES_MAX + 65_535 + 16 <= PACKET_BYTES_MAX);
