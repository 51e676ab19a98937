//! `wardgate run`: the gateway, until SIGTERM or Ctrl-C.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::Clock;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use web::Product as _;

use crate::clock::SystemClock;
use crate::{logging, wiring};

pub(crate) async fn run(config: &Path) -> anyhow::Result<()> {
    let checked = super::checked(config)?;
    logging::start();
    if let Err(error) = spool::forbid_core_dumps() {
        tracing::warn!(%error, "core dumps could not be forbidden; one would hold keys");
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    for finding in checked.certificate_warnings(clock.now()) {
        tracing::warn!(line = finding.line, "{}", finding.message);
    }
    let built = wiring::build(checked, clock).await?;
    let (url, fingerprint) = built.web();
    tracing::info!(gateway = %built.gateway().id, version = env!("CARGO_PKG_VERSION"), ui = %url, %fingerprint,
        claimed = built.gateway().claimed(), "serving");

    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let signalled = {
        let stop = stop.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            tracing::info!("stopping: what is in flight is finished, what is stored stays");
            notify(&[NotifyState::Stopping]);
            stop.cancel();
        }
    };
    notify(&[NotifyState::Ready]);
    let watched = watchdog(Arc::clone(built.gateway()), stop.clone());
    let (ran, (), ()) = tokio::join!(built.run(stop), signalled, watched);
    ran?;
    tracing::info!("stopped");
    Ok(())
}

/// Tells the service manager that the gateway lives, as long as it can answer for its status.
async fn watchdog(gateway: Arc<crate::product::Gateway>, stop: CancellationToken) {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) {
        return;
    }
    let half = Duration::from_micros(micros / 2).max(Duration::from_millis(100));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(half) => {
                let status = gateway.status();
                let backlog = status.backlog();
                notify(&[NotifyState::Watchdog, NotifyState::Status(&format!("backlog {backlog}, held {}", status.held))]);
            }
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "no service manager was told");
    }
}
