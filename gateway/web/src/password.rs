//! Passwords: what is accepted, how they are kept and compared.
//!
//! **Limits.** [`PASSWORD_CHARS_MIN`] to [`PASSWORD_BYTES_MAX`]; one hash at a time, each [`MEMORY_KIB`] of
//! memory, so that a crowd at the door costs the gateway one core's share and 19 MiB, never more. A caller
//! waits at most [`WAIT_S_MAX`] for its turn.
//!
//! **Rules** after NIST SP 800-63B-4 section 3.1.1: length counts, composition does not; what everybody would
//! guess first is refused; nothing expires. Parameters are those of OWASP's password storage cheat sheet for
//! Argon2id (RFC 9106): 19 MiB, two passes, one lane.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Deserialize;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{AccountName, PasswordHash};

/// Shortest password, in characters: the bound for a single factor.
pub const PASSWORD_CHARS_MIN: usize = 15;
/// Longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Longest wait for a turn, in seconds.
const WAIT_S_MAX: u64 = 5;
/// What is left of a password without the words that anybody at the place would try, in characters.
const OWN_CHARS_MIN: usize = 8;

/// Passwords of 15 characters and more that stand in every list of leaked ones.
const BLOCKED: &str = include_str!("assets/blocked-passwords.txt");
/// Words that add nothing to a password here.
const PLACE_WORDS: [&str; 7] =
    ["wardgate", "password", "passwort", "hospital", "gateway", "welcome", "admin"];

/// A password as typed. Wiped when dropped; `Debug` shows nothing of it.
#[derive(Clone, Deserialize)]
#[serde(from = "String")]
pub struct Password(Zeroizing<String>);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(redacted)")
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other.0.as_bytes()).into()
    }
}

/// Why a password is not taken. Shown beside the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too short.
    #[error("Use at least 15 characters. A few words in a row are easy to remember.")]
    Short,
    /// Too long.
    #[error("Use at most 512 bytes.")]
    Long,
    /// On the list of leaked ones.
    #[error("This is one of the passwords that are tried first. Choose another one.")]
    Common,
    /// Easy to guess.
    #[error("This repeats itself or runs along the alphabet or keyboard. Choose something less regular.")]
    Regular,
    /// Made of what anybody at the place would try.
    #[error("Besides the account's name and everyday words, little is left. Choose something of your own.")]
    Obvious,
}

impl Password {
    /// Whether it may become the password of `name`.
    ///
    /// # Errors
    /// [`Weak`]: why not, for the person who chose it.
    pub fn check(&self, name: &AccountName) -> Result<(), Weak> {
        if self.0.len() > PASSWORD_BYTES_MAX {
            return Err(Weak::Long);
        }
        if self.0.chars().count() < PASSWORD_CHARS_MIN {
            return Err(Weak::Short);
        }
        let folded = Zeroizing::new(self.0.to_lowercase());
        if BLOCKED.lines().any(|line| line == folded.as_str()) {
            return Err(Weak::Common);
        }
        if is_regular(&folded) {
            return Err(Weak::Regular);
        }
        let mut own = Zeroizing::new(folded.replace(name.as_str(), ""));
        for word in PLACE_WORDS {
            own = Zeroizing::new(own.replace(word, ""));
        }
        if own.chars().filter(|c| c.is_alphanumeric()).count() < OWN_CHARS_MIN && own.len() < folded.len() {
            return Err(Weak::Obvious);
        }
        Ok(())
    }
}

/// Few different characters, one short piece over and over, or mostly neighbours in the alphabet or on a row of
/// keys.
fn is_regular(text: &str) -> bool {
    const ROWS: [&str; 4] = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm"];
    let chars: Zeroizing<Vec<char>> = Zeroizing::new(text.chars().collect());
    let mut different = Zeroizing::new(chars.to_vec());
    different.sort_unstable();
    different.dedup();
    if different.len() < 5 {
        return true;
    }
    let repeats =
        (1..=chars.len() / 2).any(|period| chars.iter().zip(chars.iter().skip(period)).all(|(a, b)| a == b));
    let neighbours = chars
        .iter()
        .zip(chars.iter().skip(1))
        .filter(|(a, b)| {
            u32::from(**a).abs_diff(u32::from(**b)) <= 1
                || ROWS.iter().any(|row| match (row.find(**a), row.find(**b)) {
                    (Some(a), Some(b)) => a.abs_diff(b) <= 1,
                    _ => false,
                })
        })
        .count();
    repeats || neighbours * 4 >= chars.len() * 3
}

/// The door with one turn.
#[derive(Debug, Clone)]
pub struct Hasher {
    turn: Arc<Semaphore>,
    /// Compared with where there is no such account, so that both answers take as long.
    nobody: Arc<PasswordHash>,
}

/// No turn within [`WAIT_S_MAX`], or the system has no randomness or memory to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("passwords cannot be compared right now")]
pub struct Busy;

impl Hasher {
    /// A door of its own.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn new() -> Result<Self, Busy> {
        let nobody = hash_now(b"no password has this hash")?;
        Ok(Self { turn: Arc::new(Semaphore::new(1)), nobody: Arc::new(nobody) })
    }

    /// Hashes with a fresh salt.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, Busy> {
        self.in_turn(move || hash_now(password.0.as_bytes())).await?
    }

    /// Whether `password` is the one behind `hash`; `None` takes as long and is never it.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn verify(&self, password: Password, hash: Option<PasswordHash>) -> Result<bool, Busy> {
        let nobody = Arc::clone(&self.nobody);
        self.in_turn(move || {
            let known = hash.is_some();
            let hash = hash.as_ref().unwrap_or(&nobody);
            // The limit also stands here: an endless password must not buy an endless first pass.
            let fits = password.0.len() <= PASSWORD_BYTES_MAX;
            let bytes: &[u8] = if fits { password.0.as_bytes() } else { b"" };
            let same = phc::PasswordHash::new(hash.as_phc())
                .is_ok_and(|stored| Argon2::default().verify_password(bytes, &stored).is_ok());
            same && known && fits
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let wait = Duration::from_secs(WAIT_S_MAX);
        let turn = tokio::time::timeout(wait, Arc::clone(&self.turn).acquire_owned())
            .await
            .map_err(|_| Busy)?
            .map_err(|_| Busy)?;
        // The turn ends with the work, also when the visitor has left meanwhile.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(|_| Busy)
    }
}

fn hash_now(password: &[u8]) -> Result<PasswordHash, Busy> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| Busy)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: phc::PasswordHash = argon2.hash_password(password).map_err(|_| Busy)?;
    Ok(PasswordHash(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), Weak> {
        Password::from(password.to_owned()).check(&"jane.roe".parse().unwrap())
    }

    #[test]
    fn length_counts_and_composition_does_not() {
        assert_eq!(check("short but fine"), Err(Weak::Short));
        assert_eq!(check("fifteen is fine"), Ok(()));
        assert_eq!(check("vier wörter über wände"), Ok(()));
        // Fifteen characters, not fifteen bytes.
        assert_eq!(check("ööööööööööööab"), Err(Weak::Short));
        assert_eq!(check(&"long horse ".repeat(60)), Err(Weak::Long));
    }

    #[test]
    fn what_is_tried_first_is_refused() {
        for common in ["CorrectHorseBatteryStaple", "passwordpassword", "1q2w3e4r5t6y7u8i9o0p"] {
            assert_eq!(check(common), Err(Weak::Common), "{common}");
        }
        for regular in [
            "aaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabc",
            "abcdefghijklmnop",
            "qwertyuiopasdfghjkl",
            "987654321098765",
        ] {
            assert_eq!(check(regular), Err(Weak::Regular), "{regular}");
        }
        for obvious in ["jane.roe-jane.roe-1", "wardgate-hospital-1", "AdminPassword2026!"] {
            assert_eq!(check(obvious), Err(Weak::Obvious), "{obvious}");
        }
        // A place word inside a long password does no harm.
        assert_eq!(check("the hospital has seven blue doors"), Ok(()));
    }

    #[test]
    fn the_list_holds_only_what_the_length_lets_through() {
        for line in BLOCKED.lines() {
            assert!(line.chars().count() >= PASSWORD_CHARS_MIN, "{line}");
            assert_eq!(line, line.to_lowercase());
        }
    }

    #[tokio::test]
    async fn hashes_are_salted_argon2id_and_verify() {
        let hasher = Hasher::new().unwrap();
        let password = || Password::from("seven blue doors".to_owned());
        let one = hasher.hash(password()).await.unwrap();
        let two = hasher.hash(password()).await.unwrap();
        assert!(one.as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_phc());
        assert_ne!(one, two);
        assert_eq!(hasher.verify(password(), Some(one.clone())).await, Ok(true));
        let other = Password::from("seven blue door".to_owned());
        assert_eq!(hasher.verify(other, Some(one)).await, Ok(false));
        assert_eq!(hasher.verify(password(), None).await, Ok(false));
        assert_eq!(hasher.verify(password(), Some(PasswordHash::from_phc("no hash"))).await, Ok(false));
        assert_eq!(format!("{two:?} {:?}", password()), "PasswordHash(redacted) Password(redacted)");
    }
}
