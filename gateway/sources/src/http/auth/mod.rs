//! Who a request is from: SMART backend services (SMART App Launch 2.2, "Backend Services"), or a certificate.
//!
//! A client proves itself at the token endpoint with an assertion signed by its key ([`jwt`]); what it gets is an
//! opaque token of `TOKEN_S` seconds ([`tokens`]) with scopes ([`Scope`]). An assertion is good once ([`replay`]).
//!
//! **Residual.** Assertions that were used are remembered in memory: after a restart of the gateway one that is not
//! older than [`jwt::ASSERTION_S_MAX`] could be used again by whoever got hold of it, which takes a break of the
//! client's TLS. Tokens do not survive a restart; clients fetch new ones.

mod endpoint;
mod jwks;
mod jwt;
mod replay;
mod scope;
mod tokens;

pub(super) use endpoint::{Answer, Authority};
pub use scope::Scope;
pub(super) use tokens::Grant;

/// How long a token is good, in seconds: SMART asks for at most 300.
const TOKEN_S: u64 = 300;

/// Whether a file holds keys that can be used.
pub(super) fn check_keys(file: &std::path::Path) -> Result<(), super::Error> {
    jwks::Keys::load(file).map(drop)
}

/// Whether it is a client id that can stand in logs.
pub(super) fn valid_client_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b))
}
