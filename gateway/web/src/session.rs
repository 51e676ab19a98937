//! Who is signed in. Sessions live in memory: a restart signs everybody out.
//!
//! **Limits.** [`SESSIONS_MAX`] in all and [`SESSIONS_PER_ACCOUNT_MAX`] an account, the one unused for longest
//! makes room; [`IDLE_S_MAX`] without a request and [`AGE_S_MAX`] in all. The live update of an open page does
//! not count as a request, so that a forgotten browser signs itself out.
//!
//! **Invariants.** A token is 256 random bits, made at sign-in and never before; only its SHA-256 is kept, so
//! that neither a memory dump nor the time of a look-up gives one away. A session ends with its account, and
//! with the password it was opened with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::{Account, AccountName, Role};

/// Most sessions.
const SESSIONS_MAX: usize = 256;
/// Most sessions of one account.
const SESSIONS_PER_ACCOUNT_MAX: usize = 8;
/// Seconds without a request after which a session ends.
pub(crate) const IDLE_S_MAX: u64 = 30 * 60;
/// Seconds after which a session ends in any case: one shift.
pub(crate) const AGE_S_MAX: u64 = 12 * 60 * 60;

/// 256 random bits as text: a session's token, or the token of its forms.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(Zeroizing<String>);

/// The system gives no random numbers; nobody can sign in.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(crate) struct NoRandomness;

impl Token {
    /// A fresh one.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        let mut bits = Zeroizing::new([0_u8; 32]);
        aws_lc_rs::rand::fill(bits.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bits.as_ref()))))
    }

    /// From a cookie; `None` for anything that [`Token::random`] cannot have made.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let shape =
            text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        shape.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// For a cookie or a form field.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its time how much was right.
    pub(crate) fn is(&self, text: &str) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), text.as_bytes()).into()
    }

    fn digest(&self) -> Digest {
        digest(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

type Digest = [u8; 32];

fn digest(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

/// A session as a request sees it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Whose.
    pub(crate) name: AccountName,
    /// What the account may do now.
    pub(crate) role: Role,
    /// The token that its forms carry.
    pub(crate) form_token: Token,
}

#[derive(Debug)]
struct Entry {
    name: AccountName,
    password: Digest,
    form_token: Token,
    opened: Instant,
    used: Instant,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.used) >= Duration::from_secs(IDLE_S_MAX)
            || now.duration_since(self.opened) >= Duration::from_secs(AGE_S_MAX)
    }
}

/// Whether looking a session up keeps it from idling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// A person asked for something.
    Request,
    /// An open page looks after itself.
    Background,
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    entries: Mutex<HashMap<Digest, Entry>>,
}

impl Sessions {
    /// Opens a session for an account whose password was right. Returns the token for its cookie.
    pub(crate) fn open(&self, account: &Account) -> Result<Token, NoRandomness> {
        let (token, form_token, now) = (Token::random()?, Token::random()?, Instant::now());
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| !entry.is_over(now));
        while entries.values().filter(|e| e.name == account.name).count() >= SESSIONS_PER_ACCOUNT_MAX {
            remove_oldest(&mut entries, |entry| entry.name == account.name);
        }
        while entries.len() >= SESSIONS_MAX {
            remove_oldest(&mut entries, |_| true);
        }
        let entry = Entry {
            name: account.name.clone(),
            password: digest(account.password_hash.as_phc().as_bytes()),
            form_token,
            opened: now,
            used: now,
        };
        entries.insert(token.digest(), entry);
        Ok(token)
    }

    /// The session of a token. `account` finds an account as it is now.
    pub(crate) fn find(
        &self,
        token: &Token,
        how: Use,
        account: impl FnOnce(&AccountName) -> Option<Account>,
    ) -> Option<Session> {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let key = token.digest();
        let entry = entries.get_mut(&key).filter(|entry| !entry.is_over(now));
        let found = entry.and_then(|entry| {
            let account = account(&entry.name)?;
            if digest(account.password_hash.as_phc().as_bytes()) != entry.password {
                return None;
            }
            if how == Use::Request {
                entry.used = now;
            }
            Some(Session { name: account.name, role: account.role, form_token: entry.form_token.clone() })
        });
        if found.is_none() {
            entries.remove(&key);
        }
        found
    }

    /// Ends a session.
    pub(crate) fn close(&self, token: &Token) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&token.digest());
    }
}

fn remove_oldest(entries: &mut HashMap<Digest, Entry>, of: impl Fn(&Entry) -> bool) {
    let oldest = entries.iter().filter(|(_, e)| of(e)).min_by_key(|(_, e)| e.used).map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        entries.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PasswordHash;

    fn account(name: &str) -> Account {
        Account {
            name: name.parse().unwrap(),
            role: Role::Viewer,
            password_hash: PasswordHash::from_phc("$argon2id$one"),
        }
    }

    fn alive(sessions: &Sessions, token: &Token, how: Use) -> bool {
        sessions.find(token, how, |name| Some(account(name.as_str()))).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn idle_and_absolute_limits() {
        let sessions = Sessions::default();
        let token = sessions.open(&account("jane")).unwrap();
        let almost = Duration::from_secs(IDLE_S_MAX - 1);
        for _ in 0..3 {
            tokio::time::advance(almost).await;
            assert!(alive(&sessions, &token, Use::Request));
        }
        tokio::time::advance(almost).await;
        assert!(alive(&sessions, &token, Use::Background));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!alive(&sessions, &token, Use::Background), "a page left open does not keep it alive");

        let token = sessions.open(&account("jane")).unwrap();
        for _ in 0..AGE_S_MAX / IDLE_S_MAX * 2 - 1 {
            tokio::time::advance(Duration::from_secs(IDLE_S_MAX / 2)).await;
            assert!(alive(&sessions, &token, Use::Request));
        }
        tokio::time::advance(Duration::from_secs(IDLE_S_MAX / 2)).await;
        assert!(!alive(&sessions, &token, Use::Request), "a shift is over");
    }

    #[tokio::test(start_paused = true)]
    async fn ends_with_its_account_its_password_or_its_sign_out() {
        let sessions = Sessions::default();
        let open = || sessions.open(&account("jane")).unwrap();
        let token = open();
        assert!(sessions.find(&token, Use::Request, |_| None).is_none());
        assert!(!alive(&sessions, &token, Use::Request), "and does not come back with the account");

        let token = open();
        let changed = |_: &AccountName| {
            Some(Account { password_hash: PasswordHash::from_phc("$argon2id$two"), ..account("jane") })
        };
        assert!(sessions.find(&token, Use::Request, changed).is_none());

        let token = open();
        sessions.close(&token);
        assert!(!alive(&sessions, &token, Use::Request));

        let token = open();
        let promoted = |_: &AccountName| Some(Account { role: Role::Engineer, ..account("jane") });
        assert_eq!(sessions.find(&token, Use::Request, promoted).unwrap().role, Role::Engineer);
    }

    #[tokio::test(start_paused = true)]
    async fn bounded_per_account_and_in_all() {
        let sessions = Sessions::default();
        let first = sessions.open(&account("jane")).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..SESSIONS_PER_ACCOUNT_MAX {
            sessions.open(&account("jane")).unwrap();
        }
        assert!(!alive(&sessions, &first, Use::Request), "the oldest made room");
        for n in 0..SESSIONS_MAX {
            sessions.open(&account(&format!("a{n}"))).unwrap();
        }
        assert_eq!(sessions.entries.lock().unwrap().len(), SESSIONS_MAX);
    }

    #[test]
    fn tokens_have_256_bits_and_one_shape() {
        let (one, two) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, two);
        assert_eq!(URL_SAFE_NO_PAD.decode(one.as_str()).unwrap().len(), 32);
        assert!(Token::parse(one.as_str()).unwrap().is(one.as_str()));
        assert!(!one.is(two.as_str()) && !one.is(""));
        for bad in ["", "short", &"a".repeat(44), &format!("{};", "a".repeat(42))] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{one:?}"), "Token(redacted)");
    }
}
