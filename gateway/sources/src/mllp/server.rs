//! The listener: bound, then accepting until it is stopped.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use hl7::{Charset, Header};
use model::{Clock, Intake, Refusal, Slug};
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::reply::Replies;
use super::senders;
use super::stats::Counters;
use super::{Config, Error};
use crate::socket::places::Places;
use crate::socket::{Socket, Turned};

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Server {
    name: Slug,
    config: Config,
    clock: Arc<dyn Clock>,
    socket: Socket,
    handle: Handle,
}

/// For others: what the listener counts and where it listens.
pub type Handle = crate::socket::Handle<Counters>;

impl Server {
    /// Reads the certificates and binds the address, so that a wrong one fails at start. Must be called within a runtime.
    ///
    /// # Errors
    /// [`Error`]: the operator must act.
    pub fn bind(feed: Slug, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        config.check()?;
        let acceptor = config.tls.as_ref().map(|tls| tls.acceptor(&[])).transpose()?;
        let address = config.address();
        let socket = Socket::bind(address, acceptor).map_err(|source| Error::Bind {
            feed: feed.clone(),
            listen: address,
            source,
        })?;
        let handle = socket.handle();
        Ok(Self { name: feed, config: config.clone(), clock, socket, handle })
    }

    /// A handle.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The address in use.
    pub const fn local_addr(&self) -> SocketAddr {
        self.handle.local_addr()
    }

    /// Serves until `stop`, then ends the connections in order and returns when the last has ended.
    pub async fn run<I: Intake>(self, intake: I, stop: CancellationToken) {
        let Self { name, config, clock, socket, handle } = self;
        let acceptor = socket.acceptor().cloned();
        tracing::info!(feed = %name, listen = %handle.local_addr(), tls = acceptor.is_some(), "listening for MLLP");
        let feed = Feed::new(name, config, clock, handle.counters(), intake);
        let door = Door { feed: feed.clone(), places: Places::default(), acceptor, stop: stop.clone() };
        socket.accept(&feed.name, &stop, |stream, peer, tracker| door.admit(stream, peer, tracker)).await;
        tracing::info!(feed = %feed.name, "stopped listening for MLLP");
    }
}

/// What the connections of a listener share. Cheap to clone.
pub(crate) struct Feed<I>(Arc<Inner<I>>);

pub(crate) struct Inner<I> {
    pub(crate) name: Slug,
    pub(crate) config: Config,
    /// What its messages are configured to be in.
    pub(crate) charset: Option<Charset>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) replies: Replies,
    pub(crate) intake: I,
    pub(crate) turned: Turned,
}

impl<I> Feed<I> {
    pub(crate) fn new(
        name: Slug,
        config: Config,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        intake: I,
    ) -> Self {
        let replies = Replies::new(Arc::clone(&clock), &config);
        let turned = Turned::default();
        let charset = config.charset();
        Self(Arc::new(Inner { name, config, charset, clock, counters, replies, intake, turned }))
    }
}

impl<I> Clone for Feed<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Deref for Feed<I> {
    type Target = Inner<I>;

    fn deref(&self) -> &Inner<I> {
        &self.0
    }
}

impl<I> Inner<I> {
    /// Whether the feed takes messages of the sender that this header names.
    pub(crate) fn takes(&self, header: &Header) -> bool {
        senders::admits(self.config.senders.as_deref(), header)
    }

    /// Counts and logs a message of a sender that the feed does not take.
    pub(crate) fn refuse_sender(&self, peer: &str, bytes: u64) {
        self.counters.refused.one();
        let denied = self.counters.senders_denied.one();
        if denied.is_power_of_two() {
            tracing::warn!(feed = %self.name, %peer, bytes, denied, "a message was not stored: its sender (MSH-3, MSH-4) is none of the feed's `senders`; it was told so");
        }
    }

    /// Counts and logs a frame that was not stored. A sender may repeat it for days: the log gets fewer and fewer
    /// lines of it, the counter every one.
    pub(crate) fn refuse(&self, refusal: Refusal, peer: &str, bytes: u64) {
        let refused = self.counters.refused.one();
        if !refused.is_power_of_two() {
            tracing::debug!(feed = %self.name, %peer, bytes, refused, %refusal, "a frame was not stored, and its sender told so");
            return;
        }
        tracing::warn!(feed = %self.name, %peer, bytes, refused, %refusal, "a frame was not stored, and its sender told so");
    }
}
