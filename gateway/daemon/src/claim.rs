//! The one-time code that claims a box: shown on the console and by `wardgate claim-code`, worth nothing once used.
//! Code and accounts are documents of the encrypted journal.

use pipeline::{Error, Journal};
use rand::Rng;
use subtle::ConstantTimeEq;
use web::{Account, ClaimError, NewAccount};

const CODE: &str = "claim-code";
const ACCOUNTS: &str = "accounts";
/// Without 0/O, 1/I/L and U: read aloud over a telephone.
const ALPHABET: &[u8; 30] = b"23456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 12 of 30 characters: 58 bits, against attempts that are limited in rate.
const CODE_CHARS: usize = 12;

/// The accounts and, while there is none, the code.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    journal: Journal,
}

impl Claim {
    /// Makes the code of a box that has none and is not claimed.
    pub(crate) async fn prepare(journal: Journal) -> Result<Self, Error> {
        let claim = Self { journal };
        if !claim.claimed() && claim.journal.document(CODE).is_none() {
            let code: Vec<u8> = {
                let mut rng = rand::rng();
                (0..CODE_CHARS)
                    .filter_map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())).copied())
                    .collect()
            };
            claim.journal.put_document(CODE, code).await?;
        }
        Ok(claim)
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.journal
            .document(ACCOUNTS)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    pub(crate) fn claimed(&self) -> bool {
        !self.accounts().is_empty()
    }

    /// The code in groups of four; `None` once the box is claimed.
    pub(crate) fn code(&self) -> Option<String> {
        if self.claimed() {
            return None;
        }
        let code = String::from_utf8(self.journal.document(CODE)?).ok()?;
        let groups: Vec<&str> = [0..4, 4..8, 8..12].into_iter().filter_map(|r| code.get(r)).collect();
        Some(groups.join("-"))
    }

    /// Is this the code of a box that nobody has claimed?
    pub(crate) fn check(&self, code: &str) -> Result<(), ClaimError> {
        if self.claimed() {
            return Err(ClaimError::AlreadyClaimed);
        }
        let ours = self.journal.document(CODE).unwrap_or_default();
        if ours.is_empty() || !bool::from(ours.as_slice().ct_eq(code.as_bytes())) {
            return Err(ClaimError::WrongCode);
        }
        Ok(())
    }

    /// Makes the first account. Not to be called twice at once: the caller serialises, and has checked the code.
    pub(crate) async fn claim(&self, first: NewAccount) -> Result<(), ClaimError> {
        self.put(&[first]).await.map_err(|_| ClaimError::Storage)
    }

    /// Puts these accounts in the place of those that there are. The caller serialises.
    pub(crate) async fn put(&self, accounts: &[Account]) -> anyhow::Result<()> {
        Ok(self.journal.put_document(ACCOUNTS, serde_json::to_vec(accounts)?).await?)
    }
}
