//! The one trait through which these pages see the product. The daemon implements it; a preview and the
//! tests implement it with made-up data.

use std::fmt;
use std::str::FromStr;

use model::{AuditError, AuditEvent, BoxFuture};
use serde::{Deserialize, Serialize};

use crate::Status;

/// Longest account name, in bytes.
pub const ACCOUNT_NAME_BYTES_MAX: usize = 32;

/// The gateway as its pages see it. Every method may be called often and from many tasks at once; those that
/// return a plain value answer from memory and do not block.
pub trait Product: Send + Sync + 'static {
    /// A snapshot of how things are. Called every few seconds for every open page: from memory, cheap.
    fn status(&self) -> Status;

    /// Whether the box has its first account. Once `true`, it stays `true`.
    fn claimed(&self) -> bool;

    /// Makes the first account, if `code` is the one-time code of this box. Compares in constant time and
    /// accepts the code as typed: the caller has removed blanks and hyphens and raised it to upper case.
    /// On `Ok` the account is durable, the claim is in the audit log and the code is worth nothing any more.
    fn claim<'a>(&'a self, code: &'a str, first: NewAccount) -> BoxFuture<'a, Result<(), ClaimError>>;

    /// The account of this name. Asked on every request, so that a removed account is out at once.
    fn account(&self, name: &AccountName) -> Option<Account>;

    /// Writes to the audit log and returns when the event is on the disk.
    fn audit(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>>;
}

/// The name a person signs in with: `a-z`, `0-9`, `.`, `-` and `_`, beginning with a letter, at most
/// [`ACCOUNT_NAME_BYTES_MAX`] bytes. It appears in the audit log and on pages, so it cannot carry markup,
/// line ends or look-alikes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountName(String);

/// The text is no [`AccountName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 32 characters of a-z, 0-9, '.', '-' and '_' and begins with a letter")]
pub struct NotAnAccountName;

impl AccountName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountName {
    type Error = NotAnAccountName;
    fn try_from(text: String) -> Result<Self, NotAnAccountName> {
        let bytes = text.as_bytes();
        let first_is_letter = bytes.first().is_some_and(u8::is_ascii_lowercase);
        let rest_fits = bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'));
        if first_is_letter && rest_fits && bytes.len() <= ACCOUNT_NAME_BYTES_MAX {
            Ok(Self(text))
        } else {
            Err(NotAnAccountName)
        }
    }
}

impl FromStr for AccountName {
    type Err = NotAnAccountName;
    fn from_str(text: &str) -> Result<Self, NotAnAccountName> {
        Self::try_from(text.to_owned())
    }
}

impl From<AccountName> for String {
    fn from(name: AccountName) -> Self {
        name.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an account may do; each role has the rights of those before it. Seeing a patient's data is none of
/// them: that is a right of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees how things are.
    Viewer,
    /// Acts on what is held: releases, replays, dismisses.
    Operator,
    /// Changes the configuration.
    Engineer,
    /// Manages accounts, keys and certificates; the account that claims a box has this role.
    Security,
}

impl Role {
    /// The name on pages and in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Engineer => "engineer",
            Self::Security => "security",
        }
    }
}

/// An account to be made. The password exists only as its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// The name to sign in with.
    pub name: AccountName,
    /// What it may do.
    pub role: Role,
    /// The password's Argon2id hash.
    pub password_hash: PasswordHash,
}

/// An account as it is stored.
pub type Account = NewAccount;

/// An Argon2id hash in the PHC string format. Neither printed nor logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub(crate) String);

impl PasswordHash {
    /// The PHC string, for storage.
    pub fn as_phc(&self) -> &str {
        &self.0
    }

    /// From storage. A string that is no PHC hash makes an account nobody can sign in to.
    pub fn from_phc(phc: impl Into<String>) -> Self {
        Self(phc.into())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// Why a claim did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Not the code of this box. The person at the page should read it again.
    #[error("the claim code is not right")]
    WrongCode,
    /// Somebody has claimed the box before.
    #[error("the box is claimed already")]
    AlreadyClaimed,
    /// The account could not be made durable. An operator must look at the disk.
    #[error("the account could not be stored")]
    Storage,
}
