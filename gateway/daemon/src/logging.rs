//! Structured logs on standard error: JSON lines for a journal, plain lines for a terminal. No PHI: what may
//! identify a patient travels as `model::Phi`, which does not print.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The environment variable that sets the level, e.g. `WARDGATE_LOG=debug`.
const VARIABLE: &str = "WARDGATE_LOG";

/// Starts logging. Called once.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env(VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new("info,rumqttc=warn,sled=warn,hyper=warn,h2=warn,rustls=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().flatten_event(true).init();
    }
}
