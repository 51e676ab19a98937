//! The keys of one destination: one for each way in which a value is derived from a person; and its vault, of which nothing is
//! derived.
//!
//! They come from outside, derived from a root key for this destination and a purpose of [`PURPOSES`]; so what two
//! destinations get cannot be joined, and neither can tokens and shifts. A new epoch unlinks the past.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ff1::Ff1Key;
use crate::shift::ShiftKey;
use crate::token::TokenKey;
use crate::vault::Vault;

/// The epoch of today's keys. It stands at the head of every token.
pub const KEY_EPOCH: u16 = 1;
/// What keys are for, in the order in which [`DestinationKeys::derive`] asks for them.
pub const PURPOSES: [&str; 3] = ["tokens", "shift", "ff1"];

/// What a policy derives values with. Zeroized on drop; `Debug` shows the epoch alone.
#[derive(Debug, Clone)]
pub struct DestinationKeys {
    pub(crate) tokens: TokenKey,
    pub(crate) shift: ShiftKey,
    pub(crate) ff1: Ff1Key,
    /// Where random tokens come from; see [`crate::Policy::needs_vault`].
    pub(crate) vault: Option<Arc<dyn Vault>>,
}

impl DestinationKeys {
    /// Asks `secret` for a key for each of [`PURPOSES`]; it must be of this destination alone.
    pub fn derive(secret: impl Fn(&str) -> Zeroizing<[u8; 32]>) -> Self {
        let [tokens, shift, ff1] = PURPOSES.map(secret);
        Self {
            tokens: TokenKey::new(*tokens, KEY_EPOCH),
            shift: ShiftKey::new(*shift),
            ff1: Ff1Key::new(*ff1),
            vault: None,
        }
    }

    /// With the destination's vault.
    #[must_use]
    pub fn with_vault(self, vault: Arc<dyn Vault>) -> Self {
        Self { vault: Some(vault), ..self }
    }
}
