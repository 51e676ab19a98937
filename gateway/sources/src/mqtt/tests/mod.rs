//! The feed against mosquitto, against a broker that follows a script, and its parts by themselves.

mod broker;
mod config;
mod intake;
mod mosquitto;
mod recorder;
mod scripted;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Client, Config, Handle, Stats};
use intake::FakeIntake;

/// A clock that stands still.
#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }
}

fn config(port: u16) -> Config {
    toml::from_str(&format!(
        "url = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"wardgate-test\"\ntopics = [\"ward3/oximeter/+/plx\"]\n\
         profile = \"bluetooth.plx\"\n"
    ))
    .unwrap()
}

/// A feed that runs.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start(config: &Config, intake: &FakeIntake) -> Self {
        let client =
            Client::build("oximeters".parse().unwrap(), config, Arc::new(Noon)).unwrap().with_pace(20, 100);
        let handle = client.handle();
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "a test ends its task by handle")]
        let task = tokio::spawn(client.run(intake.clone(), stop.clone()));
        Self { handle, stop, task }
    }

    fn stats(&self) -> Stats {
        self.handle.stats()
    }

    async fn connected(&self) {
        eventually("the feed is connected", async || self.stats().connected).await;
    }

    async fn stop(self) -> Stats {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("stops in time").unwrap();
        self.handle.stats()
    }

    /// As a crash: nothing is written any more.
    async fn crash(self) -> Stats {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.handle.stats()
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..1500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 15 s: {what}");
}

/// Long enough for what must not happen to happen.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(400)).await;
}
