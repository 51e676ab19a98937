//! `wardgate simulate`: a hospital that sends HL7 over MLLP and counts what was acknowledged.

mod hospital;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Clock as _;
use rand::Rng;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli;
use crate::clock::SystemClock;
use crate::commands::print;
use crate::dial::{Dialler, Line};
use crate::exit::NotReachable;
use hospital::Hospital;

/// Wait before a connection is tried again.
const RECONNECT: Duration = Duration::from_millis(300);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for an acknowledgement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most connections.
const CONNECTIONS_MAX: u32 = 1_000;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) rate: f64,
    pub(crate) connections: u32,
    pub(crate) seed: u64,
    pub(crate) seconds: Option<u64>,
    pub(crate) count: Option<u64>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Messages given out to connections; what `count` limits.
    begun: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    resent: AtomicU64,
    /// Why a message was sent again last.
    trouble: Mutex<Option<String>>,
}

impl Tally {
    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says it once, until it is something else.
    #[expect(clippy::print_stderr, reason = "findings are for the person; standard output is the summary")]
    fn failed(&self, error: &anyhow::Error) {
        // Over TLS 1.3 a receiver says only now that it does not like our certificate.
        let why = tls::explain_chain(&**error, "the receiver")
            .map_or_else(|| error.to_string(), |explanation| explanation.to_string());
        let mut known = self.trouble();
        if known.as_ref() != Some(&why) {
            eprintln!("{why}; tried again until it works");
            *known = Some(why);
        }
    }
}

pub(crate) async fn simulate(to: &str, tls: &cli::Tls, plan: Plan, as_json: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        (1..=CONNECTIONS_MAX).contains(&plan.connections),
        "--connections is 1 to {CONNECTIONS_MAX}"
    );
    anyhow::ensure!(plan.rate.is_finite() && plan.rate >= 0.0, "--rate is 0 or more messages a second");
    let dialler = Dialler::new(to, tls, CONNECT_TIMEOUT, ANSWER_TIMEOUT)?;
    // Found out now rather than by a loop of reconnects.
    dialler.reach().await?;
    let stop = CancellationToken::new();
    let tally = Arc::new(Tally::default());
    let run: u64 = rand::rng().random_range(0x1000..0xFFFF_FFFF);
    let began = Instant::now();
    let tasks = TaskTracker::new();
    for n in 0..u64::from(plan.connections) {
        let hospital = Hospital::new(plan.seed.wrapping_add(n), run.wrapping_add(n << 32));
        let (stop, tally, dialler) = (stop.clone(), Arc::clone(&tally), dialler.clone());
        drop(tasks.spawn(async move { connection(&dialler, hospital, plan, &tally, &stop).await }));
    }
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = async {
            match plan.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        } => {}
        _ = tokio::signal::ctrl_c() => {}
        () = terminated() => {}
    }
    stop.cancel();
    tasks.wait().await;
    let load = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let (sent, acknowledged, refused, resent) =
        (load(&tally.sent), load(&tally.acknowledged), load(&tally.refused), load(&tally.resent));
    if let (0, true, Some(why)) = (acknowledged, sent > 0, tally.trouble().take()) {
        return Err(NotReachable(format!("{to}: nothing was acknowledged: {why}")).into());
    }
    if as_json {
        let summary = json!({ "sent": sent, "acknowledged": acknowledged, "refused": refused, "resent": resent, "seconds": seconds });
        return print(&format!("{summary}\n"));
    }
    print(&format!(
        "sent {sent}, acknowledged {acknowledged}, refused {refused}, resent {resent} in {seconds:.1} s\n"
    ))
}

async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// One sender: a message at a time, sent again (the same bytes) until it is acknowledged, as an interface engine does.
async fn connection(
    dialler: &Dialler,
    mut hospital: Hospital,
    plan: Plan,
    tally: &Tally,
    stop: &CancellationToken,
) {
    let pace = (plan.rate > 0.0).then(|| Duration::from_secs_f64(f64::from(plan.connections) / plan.rate));
    let mut ticks = pace.map(|every| {
        let mut ticks = tokio::time::interval(every.max(Duration::from_micros(50)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    });
    let mut client: Option<Line> = None;
    loop {
        if let Some(ticks) = &mut ticks {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
        }
        let numbered = tally.begun.fetch_add(1, Ordering::Relaxed);
        if stop.is_cancelled() || plan.count.is_some_and(|count| numbered >= count) {
            return;
        }
        let message = hospital.message(SystemClock.now());
        let mut attempts = 0_u64;
        loop {
            if attempts > 0 {
                tally.resent.fetch_add(1, Ordering::Relaxed);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RECONNECT) => {}
                }
            } else {
                tally.sent.fetch_add(1, Ordering::Relaxed);
            }
            attempts += 1;
            let connected = match client.take() {
                Some(client) => client,
                None => match dialler.dial().await {
                    Ok(client) => client,
                    Err(error) => {
                        tally.failed(&error);
                        continue;
                    }
                },
            };
            let mut connected = connected;
            match connected.send(&message).await {
                Ok(answer) if answer.code().is_positive() => {
                    tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                    client = Some(connected);
                    break;
                }
                Ok(_) => {
                    tally.refused.fetch_add(1, Ordering::Relaxed);
                    client = Some(connected);
                }
                Err(error) => tally.failed(&error.into()),
            }
        }
    }
}
