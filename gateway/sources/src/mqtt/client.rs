//! The feed: one connection after the other, until it is stopped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Intake, Slug};
use tokio_util::sync::CancellationToken;

use super::config::Link;
use super::session::{End, Parts, Session, Settled, warn_too_large};
use super::skip::pass_over_one;
use super::stats::{Counters, count};
use super::{Config, Error, RECONNECT_MS_MAX, RECONNECT_MS_MIN, Stats};

/// An MQTT feed that is ready to run.
pub struct Client {
    feed: Slug,
    config: Config,
    clock: Arc<dyn Clock>,
    link: Link,
    counters: Arc<Counters>,
    pace: Pace,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("feed", &self.feed)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Shows what a feed does.
#[derive(Debug, Clone)]
pub struct Handle {
    counters: Arc<Counters>,
}

impl Handle {
    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.counters.stats()
    }
}

impl Client {
    /// Checks the configuration and reads its files.
    ///
    /// # Errors
    /// [`Error`]; the operator must act.
    pub fn build(feed: Slug, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let link = config.link()?;
        let counters = Arc::new(Counters::default());
        Ok(Self { feed, config: config.clone(), clock, link, counters, pace: Pace::default() })
    }

    /// For others to look at it while it runs.
    pub fn handle(&self) -> Handle {
        Handle { counters: Arc::clone(&self.counters) }
    }

    /// Takes publishes until `stop`: connects, reconnects for ever, and at the end acknowledges what is durable
    /// (waiting at most 5 s for commits under way) and disconnects. Dropping the future is a crash: what was not
    /// acknowledged comes again.
    pub async fn run<I: Intake>(mut self, intake: I, stop: CancellationToken) {
        let mut settled = Settled::new();
        let mut expects_session = false;
        let mut first = true;
        while !stop.is_cancelled() {
            if !first {
                count(&self.counters.reconnects);
                self.refresh();
            }
            first = false;
            let parts = Parts {
                feed: &self.feed,
                config: &self.config,
                clock: &*self.clock,
                counters: &self.counters,
                settled: &mut settled,
                expects_session,
            };
            let mut session = Session::new(parts, &self.link, intake.clone());
            let end = session.run(&stop).await;
            expects_session |= session.connected;
            if session.progressed {
                self.pace.reset();
            }
            let reason = match end {
                End::Stopped => break,
                End::Lost(reason) => reason,
                End::Refused(refusal) => refusal.to_string(),
                End::Oversize(bytes) => {
                    warn_too_large(&self.feed, count(&self.counters.too_large), bytes);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        passed = pass_over_one(&self.link) => match passed {
                            Ok(()) => continue,
                            Err(error) => tls::explain_io(&error, "the broker").to_string(),
                        },
                    }
                }
            };
            let wait = self.pace.next_wait();
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(feed = %self.feed, broker = %self.link.broker, wait_ms, reason, "MQTT connection ended");
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        tracing::info!(feed = %self.feed, "MQTT feed stopped");
    }

    /// Reads password and certificates again, so that renewed ones are used. What cannot be read now (a renewal
    /// half done) leaves the old ones in place.
    fn refresh(&mut self) {
        match self.config.link() {
            Ok(link) => self.link = link,
            Err(error) => {
                tracing::warn!(feed = %self.feed, %error, "the connection's files cannot be read; using the old ones");
            }
        }
    }

    #[cfg(test)]
    pub(super) fn with_pace(mut self, min_ms: u64, max_ms: u64) -> Self {
        self.pace = Pace { bound_ms: min_ms, min_ms, max_ms };
        self
    }
}

/// How long to wait before connecting again: a bound that doubles, and half of it by chance, so that the
/// gateways of a house do not come back in step.
struct Pace {
    bound_ms: u64,
    min_ms: u64,
    max_ms: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bound_ms: RECONNECT_MS_MIN, min_ms: RECONNECT_MS_MIN, max_ms: RECONNECT_MS_MAX }
    }
}

impl Pace {
    fn next_wait(&mut self) -> Duration {
        let half = self.bound_ms / 2;
        self.bound_ms = self.bound_ms.saturating_mul(2).min(self.max_ms);
        Duration::from_millis(half + rand::random_range(0..=half))
    }

    const fn reset(&mut self) {
        self.bound_ms = self.min_ms;
    }
}
