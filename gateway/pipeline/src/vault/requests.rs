//! Looking up what a token is of: one person asks, another agrees, and the first is shown it, once.
//!
//! **Promise.** Nobody is shown what a token is of who has not asked for it himself, whom nobody else has approved, or whose time is
//! over. Each step is in the audit log before it is done, with the token, the people and the reason, and without what it is of.
//! What is about to be shown is first taken off the list, durably: a crash in between shows nothing, and one has to ask again.
//!
//! **Limits.** [`REQUESTS_MAX`] open requests. One ends [`APPROVE_WITHIN_H`] h after it was made, and [`SHOW_WITHIN_H`] h after it was
//! approved. A reason has at most [`REASON_CHARS_MAX`] characters.
//!
//! **Format.** The open requests are a document of the journal, as CBOR. Nothing of a patient stands in it.

use deid::VaultToken;
use model::{AuditAction, AuditEvent, Seq, Slug, Timestamp, codec};
use serde::{Deserialize, Serialize};

use super::kept::{Entry, Mapping};
use crate::{Error, Handle};

/// Most requests that are open.
pub const REQUESTS_MAX: usize = 100;
/// Hours within which somebody has to approve.
pub const APPROVE_WITHIN_H: i64 = 24;
/// Hours within which what was approved is shown.
pub const SHOW_WITHIN_H: i64 = 1;
/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;
/// The journal's document.
const DOCUMENT: &str = "vault-requests";
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Somebody wants to know what a token is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its number.
    pub id: u64,
    /// The token.
    pub token: String,
    /// Where the token was given out.
    pub destination: Slug,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Who agreed, and when.
    pub approved: Option<(String, Timestamp)>,
}

impl Request {
    /// Whether its time is over. A clock that was set back far does not give it more.
    fn is_over(&self, now: Timestamp) -> bool {
        let (since, hours) = match &self.approved {
            None => (self.at, APPROVE_WITHIN_H),
            Some((_, at)) => (*at, SHOW_WITHIN_H),
        };
        now.micros_since(since).unsigned_abs() >= (hours * MICROS_PER_HOUR).unsigned_abs()
    }
}

/// What a token is of: a patient's number, and so PHI.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Revealed {
    /// The destination that knows the token.
    pub destination: Slug,
    /// What kind of number: HL7 table 0203, or a type of FHIR.
    pub kind: String,
    /// Who gave the number.
    pub authority: String,
    /// The number.
    pub id: String,
}

/// Nothing of whom it is of.
impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Revealed({})", self.destination)
    }
}

/// The document.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Requests {
    /// The number of the newest.
    last: u64,
    open: Vec<Request>,
}

impl Requests {
    fn find(&mut self, id: u64) -> Result<&mut Request, Error> {
        self.open.iter_mut().find(|request| request.id == id).ok_or(Error::NoVaultRequest { id })
    }
}

impl Handle {
    /// The requests whose time is not over.
    pub fn vault_requests(&self) -> Vec<Request> {
        self.requests().open
    }

    fn requests(&self) -> Requests {
        let document = self.journal.document(DOCUMENT).unwrap_or_default();
        let mut requests: Requests = codec::decode(&document).unwrap_or_default();
        let now = self.clock.now();
        requests.open.retain(|request| !request.is_over(now));
        requests
    }

    async fn put_requests(&self, requests: &Requests) -> Result<(), Error> {
        self.journal.put_document(DOCUMENT, codec::encode(requests)?).await
    }

    /// Somebody asks what a token is of. Audited first.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::VaultReason`], [`Error::VaultRequestsFull`] and storage errors.
    pub async fn request_reidentification(
        &self,
        token: VaultToken,
        reason: &str,
        by: &str,
    ) -> Result<Request, Error> {
        let reason = reason.trim();
        let length = reason.chars().count();
        if length == 0 || length > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
            return Err(Error::VaultReason);
        }
        let (destination, _) = self.mapping(token).await?;
        let _deciding = self.vaults.deciding.lock().await;
        let mut requests = self.requests();
        if requests.open.len() >= REQUESTS_MAX {
            return Err(Error::VaultRequestsFull);
        }
        requests.last += 1;
        let request = Request {
            id: requests.last,
            token: token.to_string(),
            destination,
            reason: reason.to_owned(),
            by: by.to_owned(),
            at: self.clock.now(),
            approved: None,
        };
        self.audit_request(
            AuditAction::ReidentificationRequested,
            &request,
            by,
            &format!("because: {reason}"),
        )?;
        requests.open.push(request.clone());
        self.put_requests(&requests).await?;
        Ok(request)
    }

    /// Somebody else agrees. Audited first.
    ///
    /// # Errors
    /// [`Error::NoVaultRequest`], [`Error::SamePerson`] and storage errors.
    pub async fn approve_reidentification(&self, id: u64, by: &str) -> Result<Request, Error> {
        let _deciding = self.vaults.deciding.lock().await;
        let mut requests = self.requests();
        let request = requests.find(id)?;
        if request.by == by {
            return Err(Error::SamePerson { id });
        }
        if request.approved.is_none() {
            let detail = format!("{} asked", request.by);
            self.audit_request(AuditAction::ReidentificationApproved, request, by, &detail)?;
            request.approved = Some((by.to_owned(), self.clock.now()));
        }
        let request = request.clone();
        self.put_requests(&requests).await?;
        Ok(request)
    }

    /// Somebody disagrees, or takes back what he asked for: the request is over. Audited first.
    ///
    /// # Errors
    /// [`Error::NoVaultRequest`] and storage errors.
    pub async fn refuse_reidentification(&self, id: u64, by: &str) -> Result<(), Error> {
        let _deciding = self.vaults.deciding.lock().await;
        let mut requests = self.requests();
        let request = requests.find(id)?;
        let detail = format!("{} asked", request.by);
        self.audit_request(AuditAction::ReidentificationRefused, request, by, &detail)?;
        requests.open.retain(|request| request.id != id);
        self.put_requests(&requests).await
    }

    /// What the token of an approved request is of, for the person who asked. Once: audited and taken off the list first.
    ///
    /// # Errors
    /// [`Error::NoVaultRequest`], [`Error::NotApproved`], [`Error::AnotherAsked`], [`Error::VaultDamaged`] and storage errors.
    pub async fn reidentify(&self, id: u64, by: &str) -> Result<Revealed, Error> {
        let _deciding = self.vaults.deciding.lock().await;
        let mut requests = self.requests();
        let request = requests.find(id)?.clone();
        if request.by != by {
            return Err(Error::AnotherAsked { id });
        }
        let Some((approver, _)) = &request.approved else { return Err(Error::NotApproved { id }) };
        let token = request.token.parse().map_err(|_| Error::NoSuchToken)?;
        // Read before it is audited: what cannot be read was not shown.
        let (destination, mapping) = self.mapping(token).await?;
        self.audit_request(AuditAction::Reidentified, &request, by, &format!("{approver} approved"))?;
        requests.open.retain(|request| request.id != id);
        self.put_requests(&requests).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Mapping { kind, authority, id, .. } = mapping;
        Ok(Revealed { destination, kind: text(&kind), authority: text(&authority), id: text(&id) })
    }

    async fn mapping(&self, token: VaultToken) -> Result<(Slug, Mapping), Error> {
        let at: Seq = self.journal.with_vault(|kept| kept.place(token)).ok_or(Error::NoSuchToken)?;
        let Entry::Given { destination, mappings } = self.journal.vault_entry(at).await?;
        let mapping = Mapping::all(&mappings).find(|mapping| mapping.token == token);
        Ok((destination, mapping.ok_or(Error::VaultDamaged)?))
    }

    fn audit_request(
        &self,
        action: AuditAction,
        request: &Request,
        by: &str,
        detail: &str,
    ) -> Result<(), Error> {
        let event = AuditEvent {
            at: self.clock.now(),
            actor: by.to_owned(),
            action,
            subject: format!("request {}: {}", request.id, request.token),
            detail: format!("a token of {}; {detail}", request.destination),
        };
        Ok(self.spool.audit().record(&event)?)
    }
}
