//! One request, from its header to its answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fhir::accept::{self, Accepted, Interaction};
use fhir::validate::Code;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::body::Body;
use model::{Clock, Fault, FaultKind, Intake, Slug};
use tokio_util::task::TaskTracker;

use super::auth::{self, Authority, Scope};
use super::body::Room;
use super::ingest::Taking;
use super::latest::Latest;
use super::limits::{Quotas, STRANGERS_PER_MINUTE_MAX};
use super::request::{self, Route};
use super::respond::{self, Answer, Refusal};
use super::stats::Counters;
use super::{Authentication, Config, capability};

/// Longest form at the token endpoint.
const FORM_BYTES_MAX: u64 = 16 << 10;
/// Longest time for it.
const FORM_S_MAX: u64 = 10;

/// What the connections of a listener share.
#[derive(Debug)]
pub(super) struct Endpoint<I> {
    pub(super) name: Slug,
    pub(super) config: Config,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    pub(super) authority: Authority,
    pub(super) intake: I,
    /// What `Location` begins with.
    pub(super) base: String,
    /// Tells this run of the gateway from others.
    pub(super) started: [u8; 16],
    pub(super) latest: Mutex<Latest>,
    pub(super) room: Room,
    pub(super) quotas: Quotas,
    pub(super) statement: Bytes,
    /// What is being stored goes on when its client has gone: a record that may exist must be known to exist, or a
    /// resend would make a second one.
    pub(super) tasks: TaskTracker,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    /// The name in its certificate, which was verified.
    pub(super) certificate: Option<Arc<str>>,
}

impl Caller {
    /// How it is called where nothing more is known of it.
    pub(super) fn called(&self) -> String {
        self.named(self.certificate.as_deref().unwrap_or_default())
    }

    /// How it is called under the name that lets it in.
    fn named(&self, name: &str) -> String {
        if name.is_empty() { self.address.to_string() } else { format!("{name} ({})", self.address) }
    }
}

/// Why a request is refused, and whose it is, as far as that is known.
type Refused = (Option<Who>, Refusal);

/// A refusal of somebody who is not known yet.
const fn of_stranger(refusal: Refusal) -> Refused {
    (None, refusal)
}

/// Who a request is from.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) name: Arc<str>,
    /// `None` permits everything: a certificate has no scopes.
    scopes: Option<Arc<[Scope]>>,
}

impl Who {
    pub(super) fn permits(&self, kind: &str, create: bool) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.permits(kind, create)))
    }
}

impl<I: Intake> Endpoint<I> {
    /// The state of a listener without connections.
    pub(super) fn new(
        name: Slug,
        config: Config,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        authority: Authority,
        started: [u8; 16],
        intake: I,
    ) -> Self {
        let certificates = config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let statement = capability::statement(config.url.as_deref(), !authority.is_empty(), certificates);
        Self {
            base: format!("{}/fhir", config.url.as_deref().unwrap_or_default()),
            statement: statement.into(),
            latest: Mutex::default(),
            room: Room::default(),
            quotas: Quotas::default(),
            tasks: TaskTracker::new(),
            name,
            config,
            clock,
            counters,
            authority,
            started,
            intake,
        }
    }

    /// Answers a request.
    pub(super) async fn answer<B>(self: &Arc<Self>, request: Request<B>, caller: &Caller) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, mut body) = request.into_parts();
        let answered = match request::route(&parts) {
            Ok(route) => self.routed(&parts, &mut body, caller, route).await,
            Err(refusal) => Err(of_stranger(self.strange(caller).err().unwrap_or(refusal))),
        };
        let mut answer = answered.unwrap_or_else(|(who, refusal)| {
            let shown = who.map_or_else(|| caller.called(), |who| caller.named(&who.name));
            self.report(&shown, refusal.kind(), request::announced(&parts.headers).unwrap_or(0));
            refusal.into()
        });
        super::body::swallow(&mut body).await;
        if let Some(id) = request::request_id(&parts.headers) {
            answer.headers_mut().insert("x-request-id", id.clone());
        }
        if parts.method == Method::HEAD {
            *answer.body_mut() = Bytes::new();
        }
        answer
    }

    /// So that it can be searched for: feed, peer, kind and size, nothing of the request.
    pub(super) fn report(&self, peer: &str, kind: FaultKind, bytes: u64) {
        self.intake.report(Fault::new(self.name.clone(), peer, self.clock.now(), kind).bytes(bytes));
    }

    async fn routed<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        caller: &Caller,
        route: Route,
    ) -> Result<Answer, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        match route {
            Route::Metadata => {
                let readable = self.strange(caller).and_then(|()| request::takes_json(parts));
                readable.map(|()| respond::fhir(200, self.statement.clone())).map_err(of_stranger)
            }
            Route::SmartConfiguration | Route::Token if self.authority.is_empty() => {
                let text = "this endpoint gives no tokens: clients show a certificate";
                Err(of_stranger(Refusal::new(404, Code::NotFound, text)))
            }
            Route::SmartConfiguration => {
                self.strange(caller).map_err(of_stranger)?;
                Ok(respond::json(200, capability::smart(self.authority.audience())))
            }
            Route::Token => self.token(parts, body, caller).await.map_err(of_stranger),
            Route::Validate { kind, id } => self.validate(parts, body, caller, kind, id).await,
            Route::Create { .. } | Route::Update { .. } | Route::Bundle => {
                self.take(parts, body, caller, route).await.inspect_err(|(who, refusal)| {
                    let address = caller.address.ip().to_string();
                    self.refused(who.as_ref().map_or(&*address, |who| &*who.name), refusal);
                })
            }
        }
    }

    /// Counts and logs what was not stored. A client may repeat it for days: the log gets fewer and fewer lines of it,
    /// the counter every one.
    pub(super) fn refused(&self, client: &str, refusal: &Refusal) {
        self.counters.received.one();
        let refused = self.counters.refused.one();
        let (feed, status) = (&self.name, refusal.status);
        let issue = refusal.issues.first().map_or("", |issue| issue.code.as_str());
        if refused.is_power_of_two() {
            tracing::warn!(%feed, %client, status, issue, refused, "a request was not stored, and its client told so");
        } else {
            tracing::debug!(%feed, %client, status, issue, refused, "a request was not stored, and its client told so");
        }
    }

    async fn take<B>(
        self: &Arc<Self>,
        parts: &Parts,
        body: B,
        caller: &Caller,
        route: Route,
    ) -> Result<Answer, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let received_at = self.clock.now();
        let who = self.who(&parts.headers, caller).map_err(of_stranger)?;
        let result = async {
            match &route {
                Route::Create { kind } => self.permitted(&who, kind, true)?,
                Route::Update { kind, .. } => self.permitted(&who, kind, false)?,
                _ => {}
            }
            request::takes_json(parts)?;
            request::is_json(&parts.headers)?;
            request::unconditional(&parts.headers)?;
            let key = request::idempotency_key(&parts.headers)?.map(<[u8]>::to_vec);
            let whole = self.read(&parts.headers, body).await?;
            let accepted = self.room.judge(&whole, move |bytes| judge(&route, bytes)).await??;
            if let Accepted::Transaction(entries) = &accepted {
                for entry in entries {
                    self.permitted(&who, entry.kind, entry.interaction == Interaction::Create)?;
                }
            }
            let taking = Taking {
                peer: if who.name.is_empty() { caller.called() } else { who.name.to_string() },
                shown: caller.named(&who.name),
                who: who.clone(),
                received_at,
                body: whole.bytes.clone(),
                key,
                prefer: request::prefer(&parts.headers),
            };
            let endpoint = Arc::clone(self);
            let storing = self.tasks.spawn(async move {
                let answer = endpoint.store(&taking, accepted).await;
                drop(whole);
                answer
            });
            storing.await.unwrap_or_else(|_| Err(Refusal::storage(model::Refusal::Storage)))
        };
        let result = result.await;
        result.map_err(|refusal| (Some(who), refusal))
    }

    fn permitted(&self, who: &Who, kind: &str, create: bool) -> Result<(), Refusal> {
        if who.permits(kind, create) {
            return Ok(());
        }
        self.counters.unauthorised.one();
        Err(Refusal::forbidden("the token's scopes do not permit this"))
    }

    async fn validate<B>(
        &self,
        parts: &Parts,
        body: B,
        caller: &Caller,
        kind: Option<&'static str>,
        id: Option<String>,
    ) -> Result<Answer, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let who = self.who(&parts.headers, caller).map_err(of_stranger)?;
        let judging = async {
            request::takes_json(parts)?;
            request::is_json(&parts.headers)?;
            let whole = self.read(&parts.headers, body).await?;
            self.room.judge(&whole, move |bytes| accept::judge(kind, id.as_deref(), bytes)).await
        };
        let report = judging.await.map_err(|refusal| (Some(who), refusal))?;
        // R4: the operation has worked, whatever it found; what is no JSON could not be judged.
        let status = if report.is_valid() || report.resource_type.is_some() { 200 } else { 400 };
        Ok(respond::fhir(status, report.operation_outcome()))
    }

    async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<super::body::Whole, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let within = Duration::from_secs(self.config.body_timeout_s.into());
        let whole = self.room.read(headers, body, self.config.body_bytes_max, within).await?;
        self.counters.bytes.add(whole.bytes.len() as u64);
        Ok(whole)
    }

    async fn token<B>(&self, parts: &Parts, body: B, caller: &Caller) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.strange(caller)?;
        let kind = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded") {
            let text = "Content-Type must be application/x-www-form-urlencoded";
            return Err(Refusal::new(415, Code::NotSupported, text));
        }
        let within = Duration::from_secs(FORM_S_MAX);
        let form = self.room.read(&parts.headers, body, FORM_BYTES_MAX, within).await?;
        let auth::Answer { status, body, client, error } =
            self.authority.answer(&form.bytes, self.clock.now().seconds());
        let shown = client.as_deref().map_or_else(|| caller.called(), |client| caller.named(client));
        let (feed, client) = (&self.name, client.as_deref().unwrap_or("unknown"));
        match error {
            None => {
                self.counters.tokens.one();
                tracing::info!(%feed, client, peer = %caller.address, "a client was given a token");
            }
            Some(error) => {
                let unauthorised = self.counters.unauthorised.one();
                self.report(&shown, FaultKind::Unauthorised, form.bytes.len() as u64);
                if unauthorised.is_power_of_two() {
                    tracing::warn!(%feed, client, peer = %caller.address, error, unauthorised, "a client was given no token");
                }
            }
        }
        Ok(respond::json(status, body))
    }

    /// Counts a request of somebody who need not be known.
    fn strange(&self, caller: &Caller) -> Result<(), Refusal> {
        self.quota(&format!("address {}", caller.address.ip()), STRANGERS_PER_MINUTE_MAX)
    }

    fn quota(&self, client: &str, per_minute: u32) -> Result<(), Refusal> {
        self.quotas.take(client, per_minute).map_err(|wait| {
            self.counters.throttled.one();
            let text = "more requests than this client may send in a minute";
            Refusal::later(429, Code::Throttled, wait.as_secs() + 1, text)
        })
    }

    /// Who a request is from, and that it has not sent too much.
    fn who(&self, headers: &HeaderMap, caller: &Caller) -> Result<Who, Refusal> {
        let who = self.identified(headers, caller).inspect_err(|_| {
            self.counters.unauthorised.one();
        });
        let who = match who {
            Ok(who) => who,
            Err(refusal) => return Err(self.strange(caller).err().unwrap_or(refusal)),
        };
        let address = caller.address.ip().to_string();
        let counted = if who.name.is_empty() { &address } else { &*who.name };
        self.quota(counted, self.config.requests_per_minute_max)?;
        Ok(who)
    }

    fn identified(&self, headers: &HeaderMap, caller: &Caller) -> Result<Who, Refusal> {
        let grant = request::bearer(headers)?
            .map(|token| {
                let ended = "the token is unknown or has ended: fetch a new one";
                self.authority.find(token).ok_or_else(|| Refusal::unauthorised(true, ended))
            })
            .transpose()?;
        let token = grant.map(|grant| Who { name: grant.client, scopes: Some(grant.scopes) });
        let certificate =
            caller.certificate.as_ref().map(|name| Who { name: Arc::clone(name), scopes: None });
        let open = self.config.tls.is_none() && self.authority.is_empty();
        match (self.config.authentication, token, certificate) {
            (Authentication::Either, Some(token), _) => Ok(token),
            (Authentication::Either, None, Some(certificate)) => Ok(certificate),
            (Authentication::Either, None, None) if open => Ok(Who { name: "".into(), scopes: None }),
            (Authentication::Both, Some(token), Some(_)) => Ok(token),
            (Authentication::Both, Some(_), None) => {
                Err(Refusal::unauthorised(false, "a client certificate is expected beside the token"))
            }
            (_, None, _) => {
                let text =
                    "a token is expected (SMART backend services: see .well-known/smart-configuration)";
                Err(Refusal::unauthorised(false, text))
            }
        }
    }
}

/// Judges a body by what was asked for.
fn judge(route: &Route, bytes: &[u8]) -> Result<Accepted, Refusal> {
    let request = match route {
        Route::Create { kind } => accept::Request::Create { kind },
        Route::Update { kind, id } => accept::Request::Update { kind, id },
        _ => accept::Request::Bundle,
    };
    accept::accept(request, bytes).map_err(Refusal::from)
}
