//! Health for machines on this host, without TLS: `/healthz` (the process answers) and `/readyz` (every root can
//! be written to). Bind it to loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::json;
use super::{App, HEADER_S_MAX};

/// Most connections.
const CONNECTIONS_MAX: usize = 16;
/// Longest life of a connection, in seconds.
const CONNECTION_S_MAX: u64 = 30;

/// `/healthz` and `/readyz`, also for the TLS listener.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new().route("/healthz", get(health)).route("/readyz", get(ready)).with_state(app)
}

async fn health() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let roots: serde_json::Map<_, _> =
        app.destinations.iter().map(|(name, open)| (name.to_string(), open.lake.is_alive().into())).collect();
    let status = if app.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &serde_json::json!({ "ready": app.is_ready(), "destinations": roots }))
}

/// Serves until the stop.
pub(super) async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) {
    let router = router(app);
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(router.clone());
        let stop = stop.clone();
        tasks.spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(HEADER_S_MAX));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let limit = Duration::from_secs(CONNECTION_S_MAX);
            tokio::select! {
                () = stop.cancelled() => {}
                ended = tokio::time::timeout(limit, connection) => {
                    if let Ok(Err(error)) = ended {
                        tracing::debug!(%error, "operations connection");
                    }
                }
            }
            drop(place);
        });
    }
    tasks.close();
    tasks.wait().await;
}
