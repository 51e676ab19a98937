//! From a judged body to records, and to the answer that a receipt permits.

use std::sync::PoisonError;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use fhir::accept::{self, Accepted, Entry, Interaction};
use fhir::validate::{Issue, Severity, operation_outcome};
use http::{HeaderValue, header};
use model::{Closing, Format, Identity, Intake, Provenance, Receipt, RecordId, Timestamp};

use super::latest::Digest;
use super::request::Prefer;
use super::respond::{self, Answer, Refusal};
use super::service::{Endpoint, Who};

/// Largest resource that is sent back to who sent it; of a larger one a representation is not given.
pub(super) const REPRESENTATION_BYTES_MAX: usize = 1 << 20;
/// Payloads are handed on in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// One request to store something, all of it there.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) who: Who,
    /// How the record names its sender.
    pub(super) peer: String,
    /// How faults name it: with its address.
    pub(super) shown: String,
    pub(super) received_at: Timestamp,
    pub(super) body: Bytes,
    pub(super) key: Option<Vec<u8>>,
    pub(super) prefer: Prefer,
}

impl<I: Intake> Endpoint<I> {
    /// Stores what was accepted, and answers.
    pub(super) async fn store(&self, taking: &Taking, accepted: Accepted) -> Result<Answer, Refusal> {
        match accepted {
            Accepted::One(entry) => self.one(taking, &entry).await,
            Accepted::Transaction(entries) => self.transaction(taking, &entries).await,
            Accepted::Batch(entries) => self.batch(taking, entries).await,
        }
    }

    async fn one(&self, taking: &Taking, entry: &Entry) -> Result<Answer, Refusal> {
        let number = self.number(taking, &[(entry, &taking.body)]);
        let id = entry.id.as_deref().filter(|_| entry.interaction == Interaction::Update).unwrap_or_default();
        let word = word(entry.interaction);
        let identity = self.identity(
            taking,
            &[word.as_bytes(), entry.kind.as_bytes(), id.as_bytes(), &number, &taking.body],
        );
        let channel = format!("{word} {}", entry.kind);
        let receipt = self.record(taking, channel, &taking.body, identity).await?;
        Ok(self.answer_one(taking, entry, &receipt))
    }

    fn answer_one(&self, taking: &Taking, entry: &Entry, receipt: &Receipt) -> Answer {
        let record = receipt.id.to_string();
        let create = entry.interaction == Interaction::Create;
        let status = if create { 201 } else { 200 };
        let small = taking.body.len() <= REPRESENTATION_BYTES_MAX;
        let body = match taking.prefer {
            Prefer::Minimal => None,
            Prefer::Outcome => Some(stored_outcome(&receipt.id)),
            Prefer::Representation if !small => None,
            Prefer::Representation if create => accept::with_id(&taking.body, &record).map(Bytes::from),
            Prefer::Representation => Some(taking.body.clone()),
        };
        let mut answer = body.map_or_else(|| respond::empty(status), |body| respond::fhir(status, body));
        let headers = answer.headers_mut();
        // FHIR R4 http.html, create and update: where the resource stands, of both.
        let name = if create { record.as_str() } else { entry.id.as_deref().unwrap_or_default() };
        if let Ok(location) = HeaderValue::try_from(format!("{}/{}/{name}", self.base, entry.kind)) {
            headers.insert(header::LOCATION, location);
        }
        if let Ok(etag) = HeaderValue::try_from(etag(&record)) {
            headers.insert(header::ETAG, etag);
        }
        answer
    }

    async fn transaction(&self, taking: &Taking, entries: &[Entry]) -> Result<Answer, Refusal> {
        let parts: Vec<(&Entry, &[u8])> =
            entries.iter().map(|e| (e, taking.body.get(e.bytes.clone()).unwrap_or_default())).collect();
        let number = self.number(taking, &parts);
        let identity = self.identity(taking, &[b"transaction", &number, &taking.body]);
        let receipt = self.record(taking, "transaction".to_owned(), &taking.body, identity).await?;
        let record = receipt.id.to_string();
        let responses =
            (1..).zip(entries).map(|(n, entry)| response(entry, &record, &format!("{record}.{n}")));
        Ok(bundle("transaction-response", responses))
    }

    /// Each entry is a record of its own, or refused with its own words. Only where storage fails before the first of
    /// them is the whole refused, so that a client which looks at the status alone sends again.
    async fn batch(
        &self,
        taking: &Taking,
        entries: Vec<Result<Entry, accept::Refused>>,
    ) -> Result<Answer, Refusal> {
        let whole = hash(&[&taking.body]);
        let mut responses = Vec::with_capacity(entries.len());
        let mut stored = false;
        for (index, entry) in entries.into_iter().enumerate() {
            let permitted = entry.map_err(Refusal::from).and_then(|entry| {
                let create = entry.interaction == Interaction::Create;
                if taking.who.permits(entry.kind, create) {
                    return Ok(entry);
                }
                Err(Refusal::forbidden("the token's scopes do not permit this"))
            });
            let entry = match permitted {
                Ok(entry) => entry,
                Err(refusal) => {
                    self.refuse_entry(taking, &refusal);
                    responses.push(refused_entry(&refusal));
                    continue;
                }
            };
            let bytes = taking.body.slice(entry.bytes.clone());
            let number = self.number(taking, &[(&entry, &bytes)]);
            let place = index.to_be_bytes();
            let identity = self.identity(taking, &[b"batch", &whole, &place, &number]);
            let channel = format!("{} {}", word(entry.interaction), entry.kind);
            match self.record(taking, channel, &bytes, identity).await {
                Ok(receipt) => {
                    stored = true;
                    let record = receipt.id.to_string();
                    responses.push(response(&entry, &record, &record));
                }
                Err(refusal) if stored => {
                    self.refuse_entry(taking, &refusal);
                    responses.push(refused_entry(&refusal));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(bundle("batch-response", responses.into_iter()))
    }

    /// An entry of a batch is refused like a request.
    fn refuse_entry(&self, taking: &Taking, refusal: &Refusal) {
        self.refused(&taking.who.name, refusal);
        self.report(&taking.shown, refusal.kind(), 0);
    }

    /// Makes bytes durable.
    async fn record(
        &self,
        taking: &Taking,
        channel: String,
        payload: &[u8],
        identity: Identity,
    ) -> Result<Receipt, Refusal> {
        let provenance = Provenance {
            feed: self.name.clone(),
            peer: taking.peer.clone(),
            channel,
            received_at: taking.received_at,
            format: Format::Fhir,
            origin: None,
        };
        let kind = provenance.channel.clone();
        let mut writer = self.intake.begin(provenance).await.map_err(Refusal::storage)?;
        for piece in payload.chunks(PIECE_BYTES) {
            writer.push(piece).await.map_err(Refusal::storage)?;
        }
        let closing = Closing { identity: Some(identity), ..Closing::default() };
        let receipt = writer.commit(closing).await.map_err(Refusal::storage)?;
        self.counters.received.one();
        let (feed, client, bytes) = (&self.name, &taking.who.name, payload.len());
        if receipt.duplicate.is_some() {
            self.counters.duplicates.one();
            tracing::info!(%feed, %client, %kind, bytes, record = %receipt.id, "an identical resend");
        } else {
            self.counters.accepted.one();
            tracing::debug!(%feed, %client, %kind, bytes, record = %receipt.id, "a resource is durable");
        }
        Ok(receipt)
    }

    /// What tells updates apart that look like resends; empty where there are no updates, or where the client tells
    /// its requests apart by itself.
    fn number(&self, taking: &Taking, entries: &[(&Entry, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        if taking.key.is_some() {
            return out;
        }
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for (entry, bytes) in entries.iter().filter(|(entry, _)| entry.interaction == Interaction::Update) {
            let address = hash(&[entry.kind.as_bytes(), entry.id.as_deref().unwrap_or_default().as_bytes()]);
            if out.is_empty() {
                out.extend_from_slice(&self.started);
            }
            out.extend_from_slice(&latest.number(short(&address), short(&hash(&[bytes]))).to_be_bytes());
        }
        out
    }

    fn identity(&self, taking: &Taking, parts: &[&[u8]]) -> Identity {
        let key = taking.key.as_ref().map_or_else(Vec::new, |key| [b"key", &**key].concat());
        let mut all: Vec<&[u8]> = vec![b"fhir", taking.who.name.as_bytes(), &key];
        all.extend_from_slice(parts);
        Identity(hash(&all))
    }
}

/// SHA-256 over the parts, each after its length (64 bits, big-endian).
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref().first_chunk::<32>().unwrap_or(&[0; 32]));
    out
}

fn short(digest: &[u8; 32]) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(digest.first_chunk::<16>().unwrap_or(&[0; 16]));
    out
}

const fn word(interaction: Interaction) -> &'static str {
    match interaction {
        Interaction::Create => "create",
        Interaction::Update => "update",
    }
}

fn etag(record: &str) -> String {
    format!("W/\"{record}\"")
}

fn stored_outcome(id: &RecordId) -> Bytes {
    let text = format!("stored durably as record {id}");
    let issue = Issue::new(Severity::Information, fhir::validate::Code::Informational, text);
    operation_outcome(&[issue]).into()
}

/// The part of a response Bundle that says of one entry that it is stored.
fn response(entry: &Entry, record: &str, created: &str) -> String {
    let (status, id) = match entry.interaction {
        Interaction::Create => (201, created),
        Interaction::Update => (200, entry.id.as_deref().unwrap_or_default()),
    };
    // Names of types, ids and records need no escapes.
    format!(
        r#"{{"response":{{"status":"{}","location":"{}/{id}","etag":"W/\"{record}\""}}}}"#,
        respond::status_line(status),
        entry.kind,
    )
}

fn refused_entry(refusal: &Refusal) -> String {
    let (status, outcome) = (respond::status_line(refusal.status), operation_outcome(&refusal.issues));
    format!(r#"{{"response":{{"status":"{status}","outcome":{outcome}}}}}"#)
}

fn bundle(kind: &str, responses: impl Iterator<Item = String>) -> Answer {
    let mut out = format!(r#"{{"resourceType":"Bundle","type":"{kind}""#);
    for (n, response) in responses.enumerate() {
        out.push_str(if n == 0 { r#","entry":["# } else { "," });
        out.push_str(&response);
    }
    out.push_str(if out.ends_with('}') { "]}" } else { "}" });
    respond::fhir(200, out)
}
