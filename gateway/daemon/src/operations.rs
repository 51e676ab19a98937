//! Two small HTTP servers for machines: health and metrics on loopback, and the control socket in the data
//! directory, through which the CLI talks to the running gateway. Neither answers with message content.
//!
//! The control socket has mode 0600: who may read the box's keys may use it, nobody else. What takes a person ([`people`]) also
//! takes his password.

mod people;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{self, DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::{AuditAction, AuditEvent, Clock as _, RecordId, Slug, codec};
use pipeline::FaultQuery;
use pipeline::consent::{Named, Word};
use pipeline::search::Query;
use serde_json::json;
use spool::Protection;
use spool::backup::Plan;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use web::Product;

use crate::clock::SystemClock;
use crate::product::Gateway;
use crate::{metrics, pipe};

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "control.sock";
/// Who acts, as far as the control socket can tell.
const ACTOR: &str = "console";
/// Largest edited message.
const EDIT_BYTES_MAX: usize = 64 << 20;
/// How long an answer under way may take when the gateway stops.
const DRAIN: Duration = Duration::from_secs(2);

/// Health and metrics.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken) {
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .route("/status", get(status))
        .with_state(gateway);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    within_drain(served.into_future(), &stop, "operations").await;
}

/// The CLI's way to the running gateway. A backup is made on the threads of what goes out: the intake comes first.
pub(crate) async fn serve_control(
    listener: UnixListener,
    gateway: Arc<Gateway>,
    outward: Handle,
    stop: CancellationToken,
) {
    let app = Router::new()
        .route("/status", get(status))
        .route("/claim-code", get(claim_code))
        .route("/trace/{id}", get(trace))
        .route("/faults", get(faults))
        .route("/search", post(search))
        .route("/explain/{destination}/{id}", get(explain))
        .route("/policy-trials/{destination}", post(try_policy))
        .route("/consent", get(consents).post(say_of_consent))
        .route("/consent/check", post(look_up_consent))
        .route("/consent/list", post(import_opt_outs))
        .route("/accounts", get(people::accounts).post(people::add_account))
        .route("/accounts/first", post(people::first_account))
        .route("/accounts/remove", post(people::remove_account))
        .route("/vault", get(people::vault))
        .route("/vault/request", post(people::request))
        .route("/vault/approve", post(people::approve))
        .route("/vault/refuse", post(people::refuse))
        .route("/vault/show", post(people::show))
        .route("/held", get(held))
        .route("/held/{destination}/{id}/release", post(release))
        .route("/held/{destination}/{id}/dismiss", post(dismiss))
        .route("/replay/{destination}/{id}", post(replay))
        .route(
            "/backup",
            post({
                let stop = stop.clone();
                async move |gateway: Shared, plan: Bytes| backup(gateway, plan, &outward, stop).await
            }),
        )
        .route("/keys", get(keys))
        .route("/keys/rotate", post(rotate_root_key))
        .route("/keys/erase/{epoch}", post(erase_key_epoch))
        .route("/keys/escrow", post(root_key_escrowed))
        .layer(DefaultBodyLimit::max(EDIT_BYTES_MAX))
        .with_state(gateway);
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    within_drain(served.into_future(), &stop, "control socket").await;
}

async fn within_drain(
    served: impl Future<Output = io::Result<()>>,
    stop: &CancellationToken,
    what: &'static str,
) {
    tokio::select! {
        served = served => if let Err(error) = served {
            tracing::error!(%error, what, "the listener failed");
        },
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => {}
    }
}

/// Binds the operations listener.
pub(crate) async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(listen).await
}

/// Binds the control socket in the place of one that a killed gateway left behind. The data directory is locked by
/// then, so no living gateway can own it.
pub(crate) fn bind_control(data_dir: &Path) -> io::Result<UnixListener> {
    let path = socket(data_dir);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Where the control socket of a data directory is.
pub(crate) fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

type Shared = State<Arc<Gateway>>;

async fn ready(State(gateway): Shared) -> Response {
    let status = gateway.status();
    if status.ready {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let mut why = status.not_ready_because.join("\n");
    why.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn render(State(gateway): Shared) -> Response {
    match metrics::render(&gateway) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What the pages show, and the audit log's witnesses beside it.
async fn status(State(gateway): Shared) -> Response {
    match serde_json::to_value(gateway.status()) {
        Ok(mut status) => {
            if let Some(status) = status.as_object_mut() {
                status.insert(
                    "audit".to_owned(),
                    json!({
                        "witnessed": gateway.pipeline.witnessed(),
                        "syslog": gateway.syslog.as_ref().map(crate::syslog::Board::status),
                    }),
                );
            }
            Json(status).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn claim_code(State(gateway): Shared) -> Response {
    match gateway.claim.code() {
        Some(code) => Json(json!({ "code": code })).into_response(),
        None => problem(StatusCode::GONE, "the box is claimed already"),
    }
}

async fn trace(State(gateway): Shared, UrlPath(id): UrlPath<RecordId>) -> Response {
    answer(gateway.pipeline.trace(id).await)
}

async fn faults(State(gateway): Shared, extract::Query(query): extract::Query<FaultQuery>) -> Response {
    answer(gateway.pipeline.faults(&query))
}

/// What is searched stands in the body, so that no log of requests has it.
async fn search(State(gateway): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<Query>(&body) {
        Ok(query) => answer(gateway.pipeline.search(query, ACTOR).await),
        Err(_) => problem(StatusCode::BAD_REQUEST, "the body is no question"),
    }
}

async fn explain(State(gateway): Shared, UrlPath((destination, id)): UrlPath<(Slug, RecordId)>) -> Response {
    answer(gateway.pipeline.explain(&destination, id).await)
}

/// A policy that a destination may get, or may not.
#[derive(Debug, serde::Deserialize)]
struct Candidate {
    name: String,
    /// Its text; none of a built-in one.
    toml: Option<String>,
    last: u64,
}

async fn try_policy(State(gateway): Shared, UrlPath(destination): UrlPath<Slug>, body: Bytes) -> Response {
    let Ok(Candidate { name, toml, last }) = serde_json::from_slice::<Candidate>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is no policy with its name");
    };
    let compiled = match toml {
        Some(toml) => {
            deid::Policy::compile(&name, &toml, SystemClock.now()).map_err(|error| error.to_string())
        }
        None => deid::Policy::builtin(&name).ok_or_else(|| "it is not built in".to_owned()),
    };
    match compiled {
        Ok(policy) => answer(gateway.pipeline.try_policy(&destination, policy, last, ACTOR).await),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, &format!("policy {name}: {error}")),
    }
}

async fn consents(State(gateway): Shared) -> Response {
    Json(gateway.pipeline.consents()).into_response()
}

/// Whom it is about stands in the body, as with [`search`].
#[derive(Debug, serde::Deserialize)]
struct Said {
    patient: Named,
    #[serde(default)]
    word: Option<Word>,
}

async fn say_of_consent(State(gateway): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<Said>(&body) {
        Ok(Said { patient, word: Some(word) }) => {
            answer(gateway.pipeline.say_of_consent(&patient, word, ACTOR).await)
        }
        _ => problem(StatusCode::BAD_REQUEST, "the body does not say what of whom"),
    }
}

async fn look_up_consent(State(gateway): Shared, body: Bytes) -> Response {
    let Ok(said) = serde_json::from_slice::<Said>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body does not say of whom");
    };
    answer(gateway.pipeline.look_up_consent(&said.patient).map(|known| {
        let standing = match known {
            Some(true) => "permitted",
            Some(false) => "refused",
            None => "unknown",
        };
        json!({ "standing": standing })
    }))
}

#[derive(Debug, serde::Deserialize)]
struct OptOuts {
    people: Vec<Named>,
    shrinks: bool,
}

async fn import_opt_outs(State(gateway): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<OptOuts>(&body) {
        Ok(OptOuts { people, shrinks }) => {
            answer(gateway.pipeline.import_opt_outs(&people, shrinks, ACTOR).await)
        }
        Err(_) => problem(StatusCode::BAD_REQUEST, "the body is no list"),
    }
}

async fn held(State(gateway): Shared) -> Response {
    Json(gateway.pipeline.held()).into_response()
}

async fn release(
    State(gateway): Shared,
    UrlPath((destination, id)): UrlPath<(Slug, RecordId)>,
    edited: Bytes,
) -> Response {
    let edited = (!edited.is_empty()).then_some(edited);
    answer(gateway.pipeline.release(&destination, id, edited, ACTOR).await)
}

async fn dismiss(State(gateway): Shared, UrlPath((destination, id)): UrlPath<(Slug, RecordId)>) -> Response {
    answer(gateway.pipeline.dismiss(&destination, id, ACTOR).await)
}

async fn replay(State(gateway): Shared, UrlPath((destination, id)): UrlPath<(Slug, RecordId)>) -> Response {
    answer(gateway.pipeline.replay(&destination, id, ACTOR).await)
}

/// The backup as it is made. Where making it fails, or the gateway stops, the answer breaks off.
async fn backup(State(gateway): Shared, plan: Bytes, outward: &Handle, stop: CancellationToken) -> Response {
    let plan: Plan = match codec::decode(&plan) {
        Ok(plan) => plan,
        Err(e) => return problem(StatusCode::BAD_REQUEST, &e.to_string()),
    };
    if plan.gateway != gateway.id {
        return problem(
            StatusCode::CONFLICT,
            "the gateway that runs here has another id than the configuration",
        );
    }
    let event = AuditEvent {
        at: gateway.clock.now(),
        actor: ACTOR.to_owned(),
        action: AuditAction::BackupMade,
        subject: gateway.id.to_string(),
        detail: (if plan.with_backlog { "with the backlog" } else { "without the backlog" }).to_owned(),
    };
    if gateway.audited(event).await.is_err() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the audit log cannot be written");
    }
    let (mut pipe, body) = pipe::pipe(stop);
    drop(outward.spawn_blocking(move || {
        let now = gateway.clock.now();
        let made = gateway.pipeline.spool().backup(&plan, now, &mut pipe);
        let whole = made.map_err(|error| error.to_string()).and_then(|summary| {
            pipe.finish().map_err(|error| error.to_string())?;
            Ok(summary.id)
        });
        match whole {
            Ok(backup) => tracing::info!(%backup, "a backup was made"),
            Err(error) => tracing::error!(%error, "a backup could not be made"),
        }
    }));
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

async fn keys(State(gateway): Shared) -> Response {
    on_disk(gateway, |gateway| Ok(gateway.pipeline.spool().key_status())).await
}

async fn rotate_root_key(State(gateway): Shared, body: Bytes) -> Response {
    let Ok(protection) = serde_json::from_slice::<Option<Protection>>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not how a root key may be kept");
    };
    on_disk(gateway, |gateway| {
        let key = gateway.pipeline.spool().rotate_root_key(protection, ACTOR)?;
        Ok(json!({ "root_key": key }))
    })
    .await
}

async fn erase_key_epoch(State(gateway): Shared, UrlPath(epoch): UrlPath<u64>) -> Response {
    on_disk(gateway, move |gateway| gateway.pipeline.spool().erase(epoch, ACTOR)).await
}

/// What is about to be copied for recovery, by somebody who can read the key file.
#[derive(Debug, serde::Deserialize)]
struct Escrowed {
    key: String,
    detail: String,
}

async fn root_key_escrowed(State(gateway): Shared, body: Bytes) -> Response {
    let Ok(escrowed) = serde_json::from_slice::<Escrowed>(&body) else {
        return problem(StatusCode::BAD_REQUEST, "the body is not what is copied");
    };
    let event = AuditEvent {
        at: gateway.clock.now(),
        actor: ACTOR.to_owned(),
        action: AuditAction::RootKeyEscrowed,
        subject: format!("root key {}", escrowed.key),
        detail: escrowed.detail,
    };
    match gateway.audited(event).await {
        Ok(()) => Json(json!({ "audited": true })).into_response(),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Work on keys waits for the disk, and for what keeps the root key.
async fn on_disk<T: serde::Serialize + Send + 'static>(
    gateway: Arc<Gateway>,
    work: impl FnOnce(&Gateway) -> Result<T, spool::Error> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || work(&gateway)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error @ spool::Error::NoKeyEpoch { .. })) => {
            problem(StatusCode::NOT_FOUND, &error.to_string())
        }
        Ok(Err(error @ spool::Error::KeyEpochInUse { .. })) => {
            problem(StatusCode::CONFLICT, &error.to_string())
        }
        Ok(Err(error)) => problem(StatusCode::INTERNAL_SERVER_ERROR, &caused(&error)),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error with its cause.
fn caused(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn answer<T: serde::Serialize>(outcome: Result<T, pipeline::Error>) -> Response {
    match outcome {
        Ok(value) => Json(value).into_response(),
        Err(
            e @ (pipeline::Error::NotHeld { .. }
            | pipeline::Error::NotKept { .. }
            | pipeline::Error::NoDestination { .. }
            | pipeline::Error::NoSuchToken
            | pipeline::Error::NoVaultRequest { .. }),
        ) => problem(StatusCode::NOT_FOUND, &e.to_string()),
        Err(
            e @ (pipeline::Error::SamePerson { .. }
            | pipeline::Error::AnotherAsked { .. }
            | pipeline::Error::NotApproved { .. }
            | pipeline::Error::VaultRequestsFull),
        ) => problem(StatusCode::CONFLICT, &e.to_string()),
        Err(
            e @ (pipeline::Error::EditUnreadable { .. }
            | pipeline::Error::NotSearchable { .. }
            | pipeline::Error::NoPatient
            | pipeline::Error::VaultReason
            | pipeline::Error::OptOutListShrinks { .. }
            | pipeline::Error::OptOutListLong { .. }),
        ) => problem(StatusCode::UNPROCESSABLE_ENTITY, &e.to_string()),
        Err(e) => problem(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string()),
    }
}

fn problem(status: StatusCode, title: &str) -> Response {
    let body = json!({ "title": title, "status": status.as_u16() }).to_string();
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
}
