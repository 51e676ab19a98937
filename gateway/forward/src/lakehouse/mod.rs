//! The lakehouse landing: HTTP/2 with mutual TLS 1.3, one connection shared by all lanes.
//!
//! **Promise.** `Ok` means that the landing said so, for this very range, in its own words. Whatever may have
//! been committed without our hearing of it is [`SendError::Unknown`] or [`SendError::Busy`].
//!
//! **Limits.** Answers: [`PROBLEM_BYTES_MAX`]. Time: `connect_timeout_s` for a connection, `request_timeout_s`
//! for an answer, and a second more for every [`UPLINK_BYTES_PER_S_MIN`] bytes of the batch.
//! Batches: `model::wire::{BATCH_RAW_BYTES_MAX, BATCH_WIRE_BYTES_MAX}`.
//!
//! **Format.** `docs/wire-protocol.md`, `model::wire`: `PUT /v1/{destination}/{lane}/{epoch}/{first}` with zstd
//! (level 1) of the CBOR of `Batch<Release>` and the manifest header; `POST /v1/{destination}/{lane}/epoch` with
//! JSON. `POST` and `GET /v1/{destination}/audit` for checkpoints of the audit log.
//!
//! **Connection.** Made on first use. It is replaced when the certificate was rotated, when a request timed out
//! on it, or when it broke; requests under way on the old one end there. No batch is sent before the landing has
//! proved, by speaking, that it took our certificate. Only the host of the configured `https` URL is ever
//! dialled; redirects are answers like any other, and not followed.

mod answer;
mod config;
mod connection;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use model::wire::{
    AUDIT_KEY_HEADER, AUDIT_MEDIA_TYPE, AuditReceipt, AuditStanding, BATCH_MEDIA_TYPE, EpochGrant,
    EpochRequest, Landed, MANIFEST_HEADER, ProblemKind,
};
use model::{Batch, Lane, Sequenced, Slug};
use serde::{Deserialize, Serialize};
use tls::{Ca, Rotating};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::answer::{Answer, unknown};
use self::connection::{Dialler, Live, PEER};
use crate::check::{Outcome, Report, Step};
use crate::{Committed, Destination, Nature, Release, SendError};

pub use answer::PROBLEM_BYTES_MAX;
pub use config::{BuildError, Config, Endpoint, PORT_DEFAULT, TIMEOUT_S_MAX};

/// The slowest uplink that a batch is given time for, in bytes per second.
pub const UPLINK_BYTES_PER_S_MIN: u64 = 16 << 10;
/// How long a stop waits for an answer; what became of the batch is asked at the next start.
const STOP_GRACE: Duration = Duration::from_secs(10);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How far a lane is, as far as it is looked at here.
#[derive(Deserialize)]
struct LaneStatus {
    current_epoch: Option<u64>,
}

/// A landing, connected when first used. Share it by reference; all lanes use one connection.
pub struct Client {
    dialler: Dialler,
    destination: Slug,
    gateway: Slug,
    request_timeout: Duration,
    /// Held while connecting, so that lanes that find the connection gone do not all dial.
    live: Mutex<Option<Live>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("destination", &self.destination)
            .field("endpoint", &self.dialler.endpoint)
            .finish_non_exhaustive()
    }
}

impl Client {
    fn new(
        config: &Config,
        endpoint: Endpoint,
        ca: &Ca,
        rotating: Arc<Rotating>,
        destination: Slug,
        tasks: TaskTracker,
    ) -> Result<Self, tls::Error> {
        let gateway = tls::peer_gateway(rotating.current().chain())?;
        let dialler = Dialler {
            endpoint,
            tls: tls::client_config(ca, Some((&rotating).into()), &["h2"])?,
            rotating,
            connect_timeout: config::seconds(config.connect_timeout_s),
            keep_alive: config::seconds(config.keep_alive_s),
            tasks,
        };
        let request_timeout = config::seconds(config.request_timeout_s);
        Ok(Self { dialler, destination, gateway, request_timeout, live: Mutex::new(None) })
    }

    /// Who we are, as our certificate says.
    pub fn gateway(&self) -> &Slug {
        &self.gateway
    }

    /// The certificate we show; reload it when its files change.
    pub fn rotating(&self) -> &Arc<Rotating> {
        &self.dialler.rotating
    }

    async fn send_batch<R: Serialize + Sequenced>(&self, batch: &Batch<R>) -> Result<Committed, SendError> {
        let encoded = encode::encode(batch, &self.dialler.tasks).await?;
        let bytes_wire = encoded.body.len() as u64;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(BATCH_MEDIA_TYPE));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        let manifest = HeaderValue::from_str(&encoded.manifest_sha256).map_err(|_| unsendable())?;
        headers.insert(MANIFEST_HEADER, manifest);
        let stream = &batch.stream;
        let path = format!("/v1/{}/{}/{}/{}", stream.destination, stream.lane, stream.epoch, batch.first);
        let landed: Landed = self.exchange(Method::PUT, &path, headers, encoded.body).await?.accept()?;
        if landed.first != batch.first {
            return Err(unknown("it answered for another batch"));
        }
        if landed.last != batch.last {
            return Err(SendError::OtherRange(landed));
        }
        Ok(Committed {
            landed: Some(landed),
            manifest_sha256: encoded.manifest_sha256,
            bytes_raw: encoded.bytes_raw,
            bytes_wire,
        })
    }

    /// One request and its answer. Dials anew, once, when the connection turns out to be gone before anything was
    /// sent on it.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let size = body.len() as u64;
        let patience = self.request_timeout + Duration::from_secs(size / UPLINK_BYTES_PER_S_MIN);
        let mut request = self.request(method, path, headers, body)?;
        for _ in 0..2 {
            let mut live = self.live().await?;
            let deadline = Instant::now() + patience;
            let attempt = tokio::time::timeout_at(deadline, async {
                match live.sender.try_send_request(request).await {
                    Ok(response) => Ok(Answer::read(response).await),
                    Err(e) => Err(e),
                }
            });
            match attempt.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(mut e)) => {
                    self.forget(&live).await;
                    match e.take_message() {
                        Some(unsent) => request = unsent,
                        None => return Err(SendError::Unknown { why: why(&live, e.error()) }),
                    }
                }
                Err(_) => {
                    self.forget(&live).await;
                    let why =
                        format!("{PEER} did not answer within {} s; look in its log", patience.as_secs());
                    return Err(SendError::Unknown { why });
                }
            }
        }
        let why = format!("{PEER} closes every connection before it takes a request; look in its log");
        Err(SendError::Unreachable { why })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let uri = Uri::builder()
            .scheme("https")
            .authority(self.dialler.endpoint.authority.as_str())
            .path_and_query(path)
            .build()
            .map_err(|_| unsendable())?;
        let length = HeaderValue::from(body.len() as u64);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.headers_mut().insert(CONTENT_LENGTH, length);
        request.headers_mut().insert(ACCEPT, JSON);
        Ok(request)
    }

    /// The connection, made now where there is none that still serves.
    async fn live(&self) -> Result<Live, SendError> {
        let mut slot = self.live.lock().await;
        let generation = self.dialler.rotating.generation();
        if let Some(live) = slot.as_ref().filter(|l| l.generation == generation && !l.sender.is_closed()) {
            return Ok(live.clone());
        }
        // Dropped first: requests under way keep their own handle, and the old connection ends with the last.
        *slot = None;
        let live = self
            .dialler
            .connect()
            .await
            .map_err(|e| SendError::Unreachable { why: e.explanation.to_string() })?;
        *slot = Some(live.clone());
        Ok(live)
    }

    /// The next request gets a new connection, unless somebody has made one already.
    async fn forget(&self, gone: &Live) {
        let mut slot = self.live.lock().await;
        if slot.as_ref().is_some_and(|live| live.is_same(gone)) {
            *slot = None;
        }
    }
}

impl Destination for Client {
    fn nature(&self) -> Nature {
        Nature { remembers: true, hl7_only: false, stop_grace: STOP_GRACE }
    }

    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        let body = serde_json::to_vec(request).map_err(|_| unsendable())?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON);
        let path = format!("/v1/{}/{lane}/epoch", self.destination);
        self.exchange(Method::POST, &path, headers, body.into()).await?.accept()
    }

    async fn send(&self, batch: &Batch<Release>) -> Result<Committed, SendError> {
        self.send_batch(batch).await
    }

    async fn knows(&self, lane: Lane) -> Result<Option<bool>, SendError> {
        let path = format!("/v1/{}/{lane}", self.destination);
        let status: LaneStatus =
            self.exchange(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?.accept()?;
        Ok(Some(status.current_epoch.is_some()))
    }

    async fn standing(&self, origin: &str) -> Result<Option<AuditStanding>, SendError> {
        let path = format!("/v1/{}/audit?origin={origin}", self.destination);
        self.exchange(Method::GET, &path, HeaderMap::new(), Bytes::new()).await?.accept().map(Some)
    }

    async fn witness(&self, key: &str, body: String) -> Result<Option<AuditReceipt>, SendError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(AUDIT_MEDIA_TYPE));
        headers.insert(AUDIT_KEY_HEADER, HeaderValue::from_str(key).map_err(|_| unsendable())?);
        let path = format!("/v1/{}/audit", self.destination);
        self.exchange(Method::POST, &path, headers, body.into()).await?.accept().map(Some)
    }

    async fn test(&self) -> Report {
        let mut tried = Vec::new();
        let connected = self
            .dialler
            .connect_telling(&mut |step, detail| tried.push((step, Outcome::Passed { detail })))
            .await;
        let mut live = match connected {
            Ok(live) => live,
            Err(e) => {
                let tls::Explanation { what, remedy } = e.explanation;
                tried.push((e.step, Outcome::Failed { why: what, remedy }));
                return Report::complete(tried);
            }
        };
        tried.push((Step::Authorisation, self.ask_admission(&mut live).await));
        Report::complete(tried)
    }
}

impl Client {
    async fn ask_admission(&self, live: &mut Live) -> Outcome {
        let path = format!("/v1/{}/{}", self.destination, Lane::default());
        let asked = match self.request(Method::GET, &path, HeaderMap::new(), Bytes::new()) {
            Ok(request) => {
                let exchange = async {
                    match live.sender.send_request(request).await {
                        Ok(response) => Ok(Answer::read(response).await),
                        Err(e) => Err(e),
                    }
                };
                tokio::time::timeout(self.request_timeout, exchange).await
            }
            Err(e) => return failure(&e),
        };
        match asked {
            Ok(Ok(answer)) => match answer.accept::<serde_json::Value>() {
                Ok(_) => Outcome::Passed {
                    detail: format!("gateway {} may deliver to {}", self.gateway, self.destination),
                },
                Err(e) => failure(&e),
            },
            Ok(Err(e)) => failure(&SendError::Unknown { why: why(live, &e) }),
            Err(_) => failure(&unknown("it did not answer in time")),
        }
    }
}

fn failure(error: &SendError) -> Outcome {
    let remedy = match error {
        SendError::Refused { kind: Some(ProblemKind::Forbidden), .. } => {
            "have this gateway admitted at the landing, under the name in its certificate"
        }
        SendError::Refused { kind: Some(ProblemKind::UnknownDestination), .. } => {
            "add the destination at the landing, or correct its name here"
        }
        SendError::Busy { .. } => "try again later",
        _ => "check the url, and look in the landing's log",
    };
    Outcome::Failed { why: error.to_string(), remedy: remedy.to_owned() }
}

fn why(live: &Live, error: &hyper::Error) -> String {
    live.fault().map_or_else(|| format!("the connection to {PEER} broke: {error}"), |e| e.to_string())
}

/// Slugs, numbers and hex always make a URL and headers.
fn unsendable() -> SendError {
    SendError::Encode(crate::EncodeError::Request)
}
