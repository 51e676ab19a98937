//! The requests of the protocol, and every check that comes before the tables.

use std::str::FromStr;
use std::sync::Arc;

use audit::witness::{AddCheckpoint, BODY_BYTES_MAX};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use model::wire::{AUDIT_KEY_HEADER, BATCH_MEDIA_TYPE, EpochRequest, MANIFEST_HEADER, ProblemKind};
use model::{Lane, Released, Seq, Slug, StreamEpoch, StreamId, TimeValue};
use serde::{Deserialize, Serialize};

use super::answer::{Failure, json};
use super::connection::Peer;
use super::upload::Decoded;
use super::{App, Open, operations};
use crate::lake::streams::{EPOCH_MAX, SEQ_MAX};
use crate::lake::{Incoming, Status, Track};
use crate::rows::SAFE_HARBOR;
use crate::witness;

/// Largest request for an epoch, in bytes.
const EPOCH_REQUEST_BYTES_MAX: usize = 4 << 10;
/// Length of an incarnation: 128 bits as hex.
const INCARNATION_CHARS: usize = 32;
/// Longest name of a policy and length of its digest: they go into the tables.
const POLICY_NAME_CHARS_MAX: usize = 128;
const SHA256_CHARS: usize = 64;

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/{destination}/{lane}/epoch", post(grant))
        .route("/v1/{destination}/{lane}/{epoch}/{first}", axum::routing::put(land))
        .route("/v1/{destination}/{lane}/{epoch}", get(status))
        .route("/v1/{destination}/audit", get(audit_standing).post(audit_add))
        .route("/v1/{destination}/{lane}", get(lane_status))
        .with_state(Arc::clone(&app))
        .merge(operations::router(app))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
}

async fn nothing() -> Response {
    Failure::malformed("there is no such request; see docs/wire-protocol.md").into_response()
}

type Answer = Result<Response, Failure>;

/// The destination, if this peer may deliver there.
fn admit<'a>(app: &'a App, peer: &Peer, destination: &str) -> Result<(Slug, &'a Open), Failure> {
    let gateway = match &peer.gateway {
        Ok(gateway) => gateway.clone(),
        Err(why) => return Err(Failure::new(ProblemKind::Forbidden, why.clone())),
    };
    let open =
        destination.parse::<Slug>().ok().and_then(|name| app.destinations.get(&name)).ok_or_else(|| {
            Failure::new(ProblemKind::UnknownDestination, "there is no such destination here")
        })?;
    if !open.config.admits(&gateway) {
        let title = format!("gateway {gateway} is not admitted to destination {}", open.config.name);
        return Err(Failure::new(ProblemKind::Forbidden, title));
    }
    Ok((gateway, open))
}

fn lane(text: &str) -> Result<Lane, Failure> {
    text.parse().map_err(|_| Failure::malformed("the lanes are urgent, clinical and bulk"))
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, Failure> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Failure::malformed(format!("{what} is no number")))
}

fn epoch(text: &str) -> Result<StreamEpoch, Failure> {
    let epoch: u64 = number(text, "the epoch")?;
    StreamEpoch::new(epoch)
        .filter(|e| e.get() <= EPOCH_MAX)
        .ok_or_else(|| Failure::malformed(format!("an epoch is a number from 1 to {EPOCH_MAX}")))
}

fn track(gateway: Slug, open: &Open, lane: Lane) -> Track {
    Track { gateway, destination: open.config.name.clone(), lane }
}

/// Logs what was refused; ids and our own words only.
fn told(gateway: &Slug, what: &str, answer: Answer) -> Response {
    answer.unwrap_or_else(|failure| {
        tracing::info!(%gateway, what, kind = ?failure.kind(), why = failure.title(), "refused");
        failure.into_response()
    })
}

async fn grant(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((destination, lane_name)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (gateway, open) = match admit(&app, &peer, &destination) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into_response(),
    };
    let answer = async {
        let track = track(gateway.clone(), open, lane(&lane_name)?);
        let request = epoch_request(request.into_body()).await?;
        let grant = open.lake.grant(track.clone(), request).await?;
        tracing::info!(%gateway, lane = %track.lane, destination, epoch = %grant.epoch, watermark = grant.watermark, "epoch");
        Ok(json(StatusCode::OK, &grant))
    };
    told(&gateway, "epoch", answer.await)
}

async fn epoch_request(body: Body) -> Result<EpochRequest, Failure> {
    let body = to_bytes(body, EPOCH_REQUEST_BYTES_MAX)
        .await
        .map_err(|_| Failure::malformed("the request for an epoch is too long or broke off"))?;
    let request: EpochRequest = serde_json::from_slice(&body)
        .map_err(|e| Failure::malformed(format!("not a request for an epoch (column {})", e.column())))?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if request.incarnation.len() != INCARNATION_CHARS || !request.incarnation.bytes().all(hex) {
        return Err(Failure::malformed("an incarnation is 128 bits as lower-case hex"));
    }
    if request.proposed.get() > EPOCH_MAX {
        return Err(Failure::malformed(format!("an epoch is a number from 1 to {EPOCH_MAX}")));
    }
    if request.resume_after >= SEQ_MAX {
        return Err(Failure::malformed(format!("numbers end before {SEQ_MAX}")));
    }
    Ok(request)
}

async fn land(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((destination, lane_name, epoch_text, first_text)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    let (gateway, open) = match admit(&app, &peer, &destination) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into_response(),
    };
    let answer = async {
        let stream = track(gateway.clone(), open, lane(&lane_name)?).stream(epoch(&epoch_text)?);
        let first = number(&first_text, "the first number")?;
        let (head, body) = request.into_parts();
        let upload = Upload::of(&head.headers)?;
        let decoded = app.budget.receive(upload.bytes, body).await?;
        check(&decoded, &upload.manifest_sha256, &stream, first, &open.config.policy)?;
        let Decoded { batch, manifest_sha256, bytes_raw, bytes_wire, memory } = decoded;
        let incoming = Arc::new(Incoming::new(batch, manifest_sha256, bytes_raw, bytes_wire, Some(memory)));
        let landed = open.lake.land(incoming).await?;
        if landed.manifest_sha256 != upload.manifest_sha256 {
            tracing::warn!(%stream, first, "another manifest was committed for this range and stands");
        }
        Ok(json(StatusCode::OK, &landed))
    };
    told(&gateway, "batch", answer.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfOrigin {
    origin: String,
}

async fn audit_standing(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(destination): Path<String>,
    asked: Result<Query<OfOrigin>, QueryRejection>,
) -> Response {
    let (gateway, open) = match admit(&app, &peer, &destination) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into_response(),
    };
    let answer = async {
        let Ok(Query(OfOrigin { origin })) = asked else {
            return Err(Failure::malformed("ask for an origin: /audit?origin=…"));
        };
        let witness = Arc::clone(&open.witness);
        let of = gateway.clone();
        let standing = off_runtime(move || witness.standing(&of, &origin)).await?;
        Ok(json(StatusCode::OK, &standing))
    };
    told(&gateway, "audit", answer.await)
}

async fn audit_add(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path(destination): Path<String>,
    request: Request,
) -> Response {
    let (gateway, open) = match admit(&app, &peer, &destination) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into_response(),
    };
    let answer = async {
        let (head, body) = request.into_parts();
        let key = head.headers.get(AUDIT_KEY_HEADER).and_then(|v| v.to_str().ok());
        let key = key
            .and_then(|key| audit::Verifier::parse(key).ok())
            .ok_or_else(|| Failure::malformed(format!("the header {AUDIT_KEY_HEADER} is no verifier key")))?;
        let body = to_bytes(body, BODY_BYTES_MAX)
            .await
            .map_err(|_| Failure::malformed("the checkpoint is too long or broke off"))?;
        let request = std::str::from_utf8(&body)
            .ok()
            .ok_or(audit::note::Error::Malformed("it is not UTF-8"))
            .and_then(AddCheckpoint::parse)
            .map_err(|e| Failure::malformed(e.to_string()))?;
        let witness = Arc::clone(&open.witness);
        let of = gateway.clone();
        let receipt = off_runtime(move || witness.add(&of, &key, &request)).await?;
        Ok(json(StatusCode::OK, &receipt))
    };
    told(&gateway, "audit", answer.await)
}

/// Runs what reads and writes files on a thread that may wait for them.
async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, witness::Refused> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Failure::from),
        Err(_) => Err(Failure::new(ProblemKind::Unavailable, "the landing is stopping")),
    }
}

/// What the header of a `PUT` says.
struct Upload {
    bytes: Option<usize>,
    manifest_sha256: String,
}

impl Upload {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        if text(CONTENT_TYPE.as_str()) != Some(BATCH_MEDIA_TYPE) {
            return Err(Failure::malformed(format!("the content type of a batch is {BATCH_MEDIA_TYPE}")));
        }
        if text(CONTENT_ENCODING.as_str()) != Some("zstd") {
            return Err(Failure::malformed("the content encoding of a batch is zstd"));
        }
        let manifest_sha256 = text(MANIFEST_HEADER)
            .ok_or_else(|| Failure::malformed(format!("the header {MANIFEST_HEADER} is missing")))?
            .to_owned();
        let bytes = match headers.get(CONTENT_LENGTH) {
            Some(length) => Some(number(length.to_str().unwrap_or_default(), "the content length")?),
            None => None,
        };
        Ok(Self { bytes, manifest_sha256 })
    }
}

/// What a batch says of itself must agree with its header, its URL, its sender and its destination.
fn check(
    decoded: &Decoded,
    manifest_sha256: &str,
    stream: &StreamId,
    first: Seq,
    policy: &str,
) -> Result<(), Failure> {
    let batch = &decoded.batch;
    if decoded.manifest_sha256 != manifest_sha256 {
        return Err(Failure::malformed("the batch does not have the SHA-256 that its header states"));
    }
    if batch.stream.gateway != stream.gateway {
        let title = format!("the batch is of another gateway; the certificate is that of {}", stream.gateway);
        return Err(Failure::new(ProblemKind::Forbidden, title));
    }
    if batch.stream != *stream || batch.first != first {
        return Err(Failure::malformed("the batch is of another stream or range than its URL"));
    }
    batch.check().map_err(|e| Failure::malformed(e.to_string()))?;
    if batch.last >= SEQ_MAX {
        return Err(Failure::malformed(format!("numbers end before {SEQ_MAX}")));
    }
    let reference = &batch.policy;
    if reference.name.chars().count() > POLICY_NAME_CHARS_MAX || reference.sha256.len() != SHA256_CHARS {
        return Err(Failure::malformed("the policy has no usable name or no SHA-256"));
    }
    if reference.label != policy {
        let title = format!("this destination takes releases of `{policy}` alone");
        return Err(Failure::new(ProblemKind::PolicyRefused, title));
    }
    if let Some(record) = batch.records.iter().find(|r| policy == SAFE_HARBOR && says_too_much(r)) {
        let title = format!(
            "number {} has a time finer than a year, a peer, a channel or a control id, which `{policy}` excludes",
            record.seq
        );
        return Err(Failure::new(ProblemKind::PolicyRefused, title));
    }
    Ok(())
}

/// Whether an envelope holds what `safe-harbor` never lets through, whatever the gateway's policy of that label.
fn says_too_much(record: &Released) -> bool {
    let exact = |time: Option<TimeValue>| matches!(time, Some(TimeValue::Instant(_)));
    exact(record.received_at)
        || record.peer.is_some()
        || record.channel.is_some()
        || record.control_id.is_some()
        || record.observations.iter().any(|o| exact(o.time) || exact(o.device_time))
}

/// How far a stream is committed, for people and for `GET`.
#[derive(Serialize)]
struct StreamStatus {
    gateway: Slug,
    destination: Slug,
    lane: Lane,
    #[serde(flatten)]
    status: Status,
}

async fn status(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((destination, lane_name, epoch_text)): Path<(String, String, String)>,
) -> Response {
    status_of(&app, &peer, &destination, &lane_name, Some(&epoch_text)).await
}

async fn lane_status(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    Path((destination, lane_name)): Path<(String, String)>,
) -> Response {
    status_of(&app, &peer, &destination, &lane_name, None).await
}

async fn status_of(
    app: &App,
    peer: &Peer,
    destination: &str,
    lane_name: &str,
    epoch_text: Option<&str>,
) -> Response {
    let (gateway, open) = match admit(app, peer, destination) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into_response(),
    };
    let answer = async {
        let track = track(gateway.clone(), open, lane(lane_name)?);
        let epoch = epoch_text.map(epoch).transpose()?.map(StreamEpoch::get);
        let status = open.lake.status(track.clone(), epoch).await?;
        let Track { gateway, destination, lane } = track;
        Ok(json(StatusCode::OK, &StreamStatus { gateway, destination, lane, status }))
    };
    told(&gateway, "status", answer.await)
}
