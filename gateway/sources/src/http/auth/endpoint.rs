//! The token endpoint (RFC 6749 section 4.4, RFC 7523), without HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::jwks::Keys;
use super::jwt::Unverified;
use super::replay::{Replay, Seen};
use super::tokens::Tokens;
use super::{Grant, Scope, TOKEN_S};
use crate::http::{Client, Error};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Knows the clients and makes their tokens.
#[derive(Debug)]
pub(crate) struct Authority {
    clients: Vec<Known>,
    /// What assertions must be addressed to.
    audience: String,
    replay: Mutex<Replay>,
    tokens: Mutex<Tokens>,
}

#[derive(Debug)]
struct Known {
    id: Arc<str>,
    scopes: Vec<Scope>,
    keys: Mutex<Keys>,
}

/// An answer of the endpoint, JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// For the log: the client once it is known, and the error.
    pub(crate) client: Option<Arc<str>>,
    pub(crate) error: Option<&'static str>,
}

impl Authority {
    /// Reads the clients' keys.
    pub(crate) fn load(clients: &[Client], audience: String) -> Result<Self, Error> {
        let known = |client: &Client| {
            Ok(Known {
                id: client.id.as_str().into(),
                scopes: client.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect(),
                keys: Mutex::new(Keys::load(&client.jwks)?),
            })
        };
        let clients = clients.iter().map(known).collect::<Result<_, Error>>()?;
        Ok(Self { clients, audience, replay: Mutex::default(), tokens: Mutex::default() })
    }

    /// Whether there are clients at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// The address of the endpoint.
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// Looks for new keys of the clients.
    pub(crate) fn reload_keys(&self) {
        for client in &self.clients {
            let mut keys = client.keys.lock().unwrap_or_else(PoisonError::into_inner);
            match keys.reload_if_changed() {
                Ok(false) => {}
                Ok(true) => tracing::info!(client = %client.id, "the client's keys were exchanged"),
                Err(error) => {
                    tracing::warn!(client = %client.id, %error, "the client's new keys cannot be used; the old stay in use");
                }
            }
        }
    }

    /// What a token stands for.
    pub(crate) fn find(&self, token: &str) -> Option<Grant> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).find(token)
    }

    /// Answers a request for a token; `now` in seconds since 1970.
    pub(crate) fn answer(&self, form: &[u8], now: i64) -> Answer {
        match self.grant(form, now) {
            Ok((client, token, scope)) => {
                let body = json!({
                    "access_token": token, "token_type": "bearer", "expires_in": TOKEN_S, "scope": scope,
                });
                Answer { status: 200, body: body.to_string(), client: Some(client), error: None }
            }
            Err((status, error, client, why)) => {
                let body = json!({"error": error, "error_description": why}).to_string();
                Answer { status, body, client, error: Some(error) }
            }
        }
    }

    fn grant(&self, form: &[u8], now: i64) -> Result<(Arc<str>, String, String), Refusal> {
        let request = |why| (400, "invalid_request", None, why);
        let form = Form::parse(form).ok_or(request("a form, each field once, is expected"))?;
        if form.grant_type != "client_credentials" {
            return Err((400, "unsupported_grant_type", None, "grant_type must be client_credentials"));
        }
        if form.assertion_type != ASSERTION_TYPE || form.assertion.is_empty() {
            return Err(request("client_assertion_type and client_assertion are expected"));
        }
        let stranger = |why| (401, "invalid_client", None, why);
        let assertion = Unverified::parse(&form.assertion).map_err(stranger)?;
        let found = self.clients.iter().enumerate().find(|(_, client)| *client.id == *assertion.client());
        // The same words as of a wrong signature: who is known here is not told to strangers.
        let (n, client) =
            found.ok_or(stranger("the assertion's signature is by none of the client's keys"))?;
        let assertion = {
            let keys = client.keys.lock().unwrap_or_else(PoisonError::into_inner);
            assertion.verify(&keys, &self.audience, now).map_err(stranger)?
        };
        let known = |status, error, why| (status, error, Some(Arc::clone(&client.id)), why);
        let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        match replay.note(n, &assertion.jti, assertion.until, now) {
            Seen::New => {}
            Seen::Before => return Err(known(401, "invalid_client", "this assertion was used before")),
            Seen::Full => {
                return Err(known(
                    503,
                    "temporarily_unavailable",
                    "too many assertions; use a token until it ends",
                ));
            }
        }
        drop(replay);
        let mut granted = Vec::new();
        let mut said = Vec::new();
        for text in form.scope.split(' ').filter(|text| !text.is_empty()) {
            if let Some(scope) = Scope::parse(text)
                && client.scopes.iter().any(|own| own.covers(&scope))
            {
                granted.push(scope);
                said.push(text);
            }
        }
        if granted.is_empty() {
            return Err(known(
                400,
                "invalid_scope",
                "none of the scopes asked for is one that the client may have",
            ));
        }
        let grant = Grant { client: Arc::clone(&client.id), scopes: granted.into() };
        let issued = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).issue(grant);
        let token = issued.ok_or(known(503, "temporarily_unavailable", "try again"))?;
        Ok((Arc::clone(&client.id), token, said.join(" ")))
    }
}

/// Status, error, the client where it is known, and why.
type Refusal = (u16, &'static str, Option<Arc<str>>, &'static str);

/// `application/x-www-form-urlencoded`.
#[derive(Default)]
struct Form {
    grant_type: String,
    assertion_type: String,
    assertion: String,
    scope: String,
}

impl Form {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(bytes).ok()?;
        let mut form = Self::default();
        for (name, value) in pairs {
            let field = match &*name {
                "grant_type" => &mut form.grant_type,
                "client_assertion_type" => &mut form.assertion_type,
                "client_assertion" => &mut form.assertion,
                "scope" => &mut form.scope,
                _ => continue,
            };
            if !field.is_empty() {
                return None;
            }
            *field = value;
        }
        Some(form)
    }
}
