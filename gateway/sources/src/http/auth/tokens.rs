//! Access tokens: 256 random bits, of which the gateway keeps a digest.
//!
//! **Limits.** [`PER_CLIENT_MAX`] of a client at once; one more ends its oldest. In memory alone: a restart ends them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::{Scope, TOKEN_S};

/// Most of one client.
pub(crate) const PER_CLIENT_MAX: usize = 64;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The client's id.
    pub(crate) client: Arc<str>,
    /// What it may do.
    pub(crate) scopes: Arc<[Scope]>,
}

#[derive(Debug, Default)]
pub(crate) struct Tokens {
    by_digest: HashMap<[u8; 32], (Grant, Instant)>,
    /// Oldest first.
    of_client: HashMap<Arc<str>, VecDeque<[u8; 32]>>,
}

fn key(token: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(
        digest::digest(&digest::SHA256, token.as_bytes()).as_ref().first_chunk().unwrap_or(&[0; 32]),
    );
    key
}

impl Tokens {
    /// A new token; `None` where the system gives no randomness.
    pub(crate) fn issue(&mut self, grant: Grant) -> Option<String> {
        let mut bits = [0; 32];
        rand::fill(&mut bits).ok()?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(bits);
        let key = key(&token);
        let own = self.of_client.entry(Arc::clone(&grant.client)).or_default();
        if own.len() >= PER_CLIENT_MAX
            && let Some(oldest) = own.pop_front()
        {
            self.by_digest.remove(&oldest);
        }
        own.push_back(key);
        self.by_digest.insert(key, (grant, Instant::now() + Duration::from_secs(TOKEN_S)));
        Some(token)
    }

    /// What a token stands for, while it is good.
    pub(crate) fn find(&self, token: &str) -> Option<Grant> {
        let (grant, until) = self.by_digest.get(&key(token))?;
        (*until > Instant::now()).then(|| grant.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_for_its_time_and_a_client_has_so_many() {
        let grant = Grant { client: "lab".into(), scopes: [].into() };
        let mut tokens = Tokens::default();
        let first = tokens.issue(grant.clone()).unwrap();
        assert_eq!((first.len(), tokens.find(&first)), (43, Some(grant.clone())));
        assert_eq!(tokens.find("x"), None);
        tokio::time::advance(Duration::from_secs(TOKEN_S - 1)).await;
        assert!(tokens.find(&first).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(tokens.find(&first), None);
        let all: Vec<String> = (0..=PER_CLIENT_MAX).map(|_| tokens.issue(grant.clone()).unwrap()).collect();
        assert_eq!(tokens.by_digest.len(), PER_CLIENT_MAX);
        assert!(tokens.find(&all[0]).is_none() && tokens.find(&all[1]).is_some());
    }
}
