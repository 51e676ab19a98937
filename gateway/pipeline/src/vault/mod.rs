//! The vault: random tokens in the place of identifiers, and what each of them stands for.
//!
//! **Promise.** An identifier has one token at a destination, another at every other one, and none that follows from it. A token
//! leaves only after it stands in the journal with what it is of; so it is the same after a crash, without the state store and
//! from a backup. What crashes before leaves nothing that anybody has seen.
//!
//! **Limits.** [`IDENTIFIERS_MAX`] identifiers, [`VAULT_BYTES_MAX`] bytes of them and never more than
//! 1 / [`spool::STATE_SHARE`] of the journal's budget. A full vault gives the tokens that it has; a record with an identifier that has
//! none is held. Nothing is ever taken out: a token that was let out must go on to mean something.
//!
//! **Looking up** what a token is of takes two people: [`requests`].
//!
//! **Invariants.** An identifier stands in the journal alone; memory, the state store, logs and the audit log have keyed digests and
//! tokens.

mod kept;
mod requests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deid::{Identifier, VaultToken};
use model::Slug;
use serde::Serialize;
use spool::{STATE_SHARE, Spool};

use self::kept::{Digest, Mapping};
use crate::journal::Journal;
use crate::{Error, Handle};

pub(crate) use kept::{Entry, Kept};
pub use kept::{IDENTIFIERS_MAX, VAULT_BYTES_MAX};
pub use requests::{APPROVE_WITHIN_H, REASON_CHARS_MAX, REQUESTS_MAX, Request, Revealed, SHOW_WITHIN_H};

/// How full the vault is. Numbers alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultStatus {
    /// Identifiers that have a token, all destinations together.
    pub identifiers: u64,
    /// Most of them.
    pub identifiers_max: u64,
    /// Bytes that they take in the journal.
    pub bytes: u64,
    /// Most of these.
    pub bytes_max: u64,
    /// Identifiers by destination, also of destinations that are gone.
    pub by_destination: BTreeMap<Slug, u64>,
}

impl VaultStatus {
    /// How much room is left, in percent of whichever limit is nearer.
    pub fn room_percent(&self) -> u64 {
        let left = |used: u64, max: u64| max.saturating_sub(used).saturating_mul(100) / max.max(1);
        left(self.identifiers, self.identifiers_max).min(left(self.bytes, self.bytes_max))
    }
}

/// Tokens that were given out and are not in the journal yet.
#[derive(Debug, Default)]
struct Fresh {
    tokens: HashMap<Digest, VaultToken>,
    mappings: BTreeMap<Slug, Vec<Mapping>>,
    bytes: u64,
}

/// The tokens of all destinations; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Vaults {
    journal: Journal,
    spool: Arc<Spool>,
    bytes_max: u64,
    fresh: Arc<Mutex<Fresh>>,
    /// Held by whoever writes to the journal.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Held by whoever decides about a request.
    deciding: Arc<tokio::sync::Mutex<()>>,
}

impl Vaults {
    pub(crate) fn new(journal: Journal, spool: Arc<Spool>) -> Self {
        let bytes_max = VAULT_BYTES_MAX.min(spool.config().journal_bytes_max / STATE_SHARE);
        Self {
            journal,
            spool,
            bytes_max,
            fresh: Arc::default(),
            writing: Arc::default(),
            deciding: Arc::default(),
        }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, destination: &Slug, identifier: &Identifier<'_>) -> Digest {
        let canonical = identifier.canonical();
        let mut bytes =
            zeroize::Zeroizing::new(Vec::with_capacity(destination.as_str().len() + 1 + canonical.len()));
        bytes.extend_from_slice(destination.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&canonical);
        let mac = self.spool.keys().mac("vault", &bytes);
        mac.first_chunk().copied().unwrap_or_default()
    }

    fn token(&self, destination: &Slug, identifier: &Identifier<'_>) -> Option<VaultToken> {
        let digest = self.digest(destination, identifier);
        // Under both locks, in this order: what is written is in the journal's state before it is no longer fresh.
        self.journal.with_vault(|kept| {
            let mut fresh = self.fresh();
            if let Some(known) = kept.token(&digest).or_else(|| fresh.tokens.get(&digest).copied()) {
                return Some(known);
            }
            let random =
                self.spool.random().inspect_err(|error| tracing::error!(%error, "no token can be made"));
            let mapping = Mapping::new(digest, VaultToken::new(random.ok()?), identifier);
            let bytes = fresh.bytes + mapping.bytes() as u64;
            if kept.len() + fresh.tokens.len() >= IDENTIFIERS_MAX || kept.bytes() + bytes > self.bytes_max {
                return None;
            }
            let token = mapping.token;
            fresh.bytes = bytes;
            fresh.tokens.insert(digest, token);
            fresh.mappings.entry(destination.clone()).or_default().push(mapping);
            Some(token)
        })
    }

    /// Writes to the journal what was given out since. Nothing that holds a token may leave before.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        if self.fresh().tokens.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let given = self.fresh().mappings.clone();
        for (destination, mappings) in given {
            for entry in kept::entries(&destination, &mappings) {
                self.journal.say_of_vault(entry).await?;
            }
            let mut fresh = self.fresh();
            for mapping in &mappings {
                fresh.tokens.remove(&mapping.digest);
                fresh.bytes = fresh.bytes.saturating_sub(mapping.bytes() as u64);
            }
            if let Some(all) = fresh.mappings.get_mut(&destination) {
                all.drain(..mappings.len().min(all.len()));
            }
        }
        Ok(())
    }

    /// Whether everything that was given out is in the journal.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.fresh().tokens.is_empty()
    }

    pub(crate) fn status(&self) -> VaultStatus {
        self.journal.with_vault(|kept| VaultStatus {
            identifiers: kept.len() as u64,
            identifiers_max: IDENTIFIERS_MAX as u64,
            bytes: kept.bytes(),
            bytes_max: self.bytes_max,
            by_destination: kept.by_destination().clone(),
        })
    }
}

/// The vault as the policy of one destination sees it.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) destination: Slug,
    pub(crate) vaults: Vaults,
}

impl deid::Vault for Desk {
    fn token(&self, identifier: &Identifier<'_>) -> Option<VaultToken> {
        self.vaults.token(&self.destination, identifier)
    }
}

/// Gives the tokens that there are, and something in the place of those that there are not.
#[derive(Debug)]
pub(crate) struct OnTrial(pub(crate) Desk);

impl deid::Vault for OnTrial {
    fn token(&self, identifier: &Identifier<'_>) -> Option<VaultToken> {
        let Desk { destination, vaults } = &self.0;
        let digest = vaults.digest(destination, identifier);
        let known = vaults.journal.with_vault(|kept| kept.token(&digest));
        Some(known.unwrap_or_else(|| VaultToken::new(digest)))
    }
}

impl Handle {
    /// How full the vault is.
    pub fn vault(&self) -> VaultStatus {
        self.vaults.status()
    }
}
