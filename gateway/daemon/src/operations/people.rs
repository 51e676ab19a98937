//! What takes a person, over the control socket: accounts, and looking up what a token of the vault is of.
//!
//! The socket tells nobody apart, so each question carries the name and the password of an account. A wrong password is in the
//! audit log, under the account's name; what was typed is nowhere.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deid::VaultToken;
use model::{AuditAction, AuditEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use web::{Account, AccountName, Password, Product, Role};

use super::{ACTOR, Shared, answer, problem};
use crate::product::Gateway;

/// Most accounts of a box.
const ACCOUNTS_MAX: usize = 100;

/// A question, and who asks it.
#[derive(Debug, Deserialize)]
struct Signed<T> {
    #[serde(rename = "as")]
    name: AccountName,
    password: Password,
    #[serde(flatten)]
    what: T,
}

/// Reads a question and makes sure of who asks: an account of this role at least.
async fn signed<T: DeserializeOwned>(
    gateway: &Gateway,
    body: &Bytes,
    role: Role,
) -> Result<(String, T), Response> {
    let Ok(Signed { name, password, what }) = serde_json::from_slice::<Signed<T>>(body) else {
        return Err(problem(StatusCode::BAD_REQUEST, "the body does not say who asks what"));
    };
    let account = gateway.account(&name);
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    match gateway.door.verify(password, hash).await {
        Err(busy) => Err(problem(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string())),
        Ok(false) => {
            let known = account.map_or_else(|| ACTOR.to_owned(), |account| account.name.to_string());
            let event = event(gateway, &known, AuditAction::SignInFailed, ACTOR, "at the control socket");
            // Nothing is done, so nothing depends on the entry.
            if let Err(error) = gateway.audited(event).await {
                tracing::error!(%error, "a wrong password could not be audited");
            }
            Err(problem(StatusCode::FORBIDDEN, "name or password is not right"))
        }
        Ok(true) if account.is_some_and(|account| account.role >= role) => Ok((name.to_string(), what)),
        Ok(true) => Err(problem(
            StatusCode::FORBIDDEN,
            &format!("this takes an account with the role {}", role.as_str()),
        )),
    }
}

fn event(gateway: &Gateway, actor: &str, action: AuditAction, subject: &str, detail: &str) -> AuditEvent {
    AuditEvent {
        at: gateway.clock.now(),
        actor: actor.to_owned(),
        action,
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    }
}

/// Who has an account, and what each may do.
pub(super) async fn accounts(State(gateway): Shared) -> Response {
    let shown = |account: Account| json!({ "name": account.name, "role": account.role });
    Json(gateway.claim.accounts().into_iter().map(shown).collect::<Vec<_>>()).into_response()
}

#[derive(Debug, Deserialize)]
struct New {
    name: AccountName,
    role: Role,
    new_password: Password,
}

/// The box is claimed where its claim code is shown.
pub(super) async fn first_account(State(gateway): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<New>(&body) {
        Ok(new) => make_account(&gateway, None, new).await.unwrap_or_else(|refused| refused),
        Err(_) => problem(StatusCode::BAD_REQUEST, "the body is no account"),
    }
}

pub(super) async fn add_account(State(gateway): Shared, body: Bytes) -> Response {
    match signed::<New>(&gateway, &body, Role::Security).await {
        Ok((by, new)) => make_account(&gateway, Some(&by), new).await.unwrap_or_else(|refused| refused),
        Err(refused) => refused,
    }
}

/// `by` nobody where it is the first.
async fn make_account(gateway: &Gateway, by: Option<&str>, new: New) -> Result<Response, Response> {
    let New { name, role, new_password } = new;
    new_password.check(&name).map_err(|weak| problem(StatusCode::UNPROCESSABLE_ENTITY, &weak.to_string()))?;
    let hashed = gateway.door.hash(new_password).await;
    let password_hash = hashed.map_err(|busy| problem(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string()))?;
    let _one_at_a_time = gateway.claiming.lock().await;
    let mut accounts = gateway.claim.accounts();
    if by.is_none() && (!accounts.is_empty() || role != Role::Security) {
        return Err(problem(StatusCode::CONFLICT, "the box is claimed already: `wardgate account add`"));
    }
    if accounts.iter().any(|account| account.name == name) {
        return Err(problem(StatusCode::CONFLICT, "there is an account of this name"));
    }
    if accounts.len() >= ACCOUNTS_MAX {
        let full = format!("a box has at most {ACCOUNTS_MAX} accounts");
        return Err(problem(StatusCode::CONFLICT, &full));
    }
    let detail = format!("with the role {}", role.as_str());
    let (actor, action) = by.map_or((ACTOR, AuditAction::Claimed), |by| (by, AuditAction::AccountAdded));
    let event = event(gateway, actor, action, name.as_str(), &detail);
    accounts.push(Account { name, role, password_hash });
    keep(gateway, event, accounts).await
}

/// In the audit log first, then in the journal.
async fn keep(gateway: &Gateway, event: AuditEvent, accounts: Vec<Account>) -> Result<Response, Response> {
    let failed = |error: String| problem(StatusCode::INTERNAL_SERVER_ERROR, &error);
    gateway.audited(event).await.map_err(|error| failed(error.to_string()))?;
    gateway.claim.put(&accounts).await.map_err(|error| failed(error.to_string()))?;
    Ok(Json(json!({ "accounts": accounts.len() })).into_response())
}

#[derive(Debug, Deserialize)]
struct Gone {
    name: AccountName,
}

pub(super) async fn remove_account(State(gateway): Shared, body: Bytes) -> Response {
    let (by, Gone { name }) = match signed(&gateway, &body, Role::Security).await {
        Ok(signed) => signed,
        Err(refused) => return refused,
    };
    let _one_at_a_time = gateway.claiming.lock().await;
    let (gone, left): (Vec<Account>, Vec<Account>) =
        gateway.claim.accounts().into_iter().partition(|account| account.name == name);
    if gone.is_empty() {
        return problem(StatusCode::NOT_FOUND, "there is no account of this name");
    }
    if !left.iter().any(|account| account.role == Role::Security) {
        return problem(StatusCode::CONFLICT, "the last account with the role security stays");
    }
    let event = event(&gateway, &by, AuditAction::AccountRemoved, name.as_str(), "");
    keep(&gateway, event, left).await.unwrap_or_else(|refused| refused)
}

/// How full the vault is, and which requests are open.
pub(super) async fn vault(State(gateway): Shared) -> Response {
    let status = serde_json::to_value(gateway.pipeline.vault());
    let Ok(mut status) = status else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    if let Some(status) = status.as_object_mut() {
        status.insert("requests".to_owned(), json!(gateway.pipeline.vault_requests()));
    }
    Json(status).into_response()
}

#[derive(Debug, Deserialize)]
struct Asked {
    token: String,
    reason: String,
}

pub(super) async fn request(State(gateway): Shared, body: Bytes) -> Response {
    let (by, Asked { token, reason }) = match signed(&gateway, &body, Role::Operator).await {
        Ok(signed) => signed,
        Err(refused) => return refused,
    };
    match token.parse::<VaultToken>() {
        Ok(token) => answer(gateway.pipeline.request_reidentification(token, &reason, &by).await),
        Err(error) => problem(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    }
}

#[derive(Debug, Deserialize)]
struct Decided {
    request: u64,
}

pub(super) async fn approve(State(gateway): Shared, body: Bytes) -> Response {
    match signed(&gateway, &body, Role::Security).await {
        Ok((by, Decided { request })) => {
            answer(gateway.pipeline.approve_reidentification(request, &by).await)
        }
        Err(refused) => refused,
    }
}

pub(super) async fn refuse(State(gateway): Shared, body: Bytes) -> Response {
    match signed(&gateway, &body, Role::Operator).await {
        Ok((by, Decided { request })) => answer(gateway.pipeline.refuse_reidentification(request, &by).await),
        Err(refused) => refused,
    }
}

pub(super) async fn show(State(gateway): Shared, body: Bytes) -> Response {
    match signed(&gateway, &body, Role::Operator).await {
        Ok((by, Decided { request })) => answer(gateway.pipeline.reidentify(request, &by).await),
        Err(refused) => refused,
    }
}
