//! Where the tokens of one record come from, and whether one was due that could not be had.

use std::cell::Cell;

use crate::Context;
use crate::release::{Held, HeldWhy};
use crate::tally::Touch;
use crate::token::TokenKey;
use crate::vault::{Identifier, Vault};

/// Which tokens a policy wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TokenKind {
    /// Derived from the identifier by the destination's key: `TokenKey`.
    Keyed,
    /// Random, from the destination's [`Vault`].
    Vault,
}

impl TokenKind {
    /// As it is counted.
    pub(crate) const fn touch(self) -> Touch {
        match self {
            Self::Keyed => Touch::Token,
            Self::Vault => Touch::VaultToken,
        }
    }
}

/// The tokens of one record. One that is due and cannot be had holds the record: see [`Tokens::settle`].
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    key: Option<&'a TokenKey>,
    vault: Option<&'a dyn Vault>,
    failed: Cell<Option<HeldWhy>>,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(context: &Context<'a>) -> Self {
        Self { key: context.tokens(), vault: context.vault(), failed: Cell::new(None) }
    }

    /// The key, for what is derived in another way.
    pub(crate) const fn key(&self) -> Option<&'a TokenKey> {
        self.key
    }

    /// The token of an identifier; `None` where it is too long to be one, or the token cannot be had.
    pub(crate) fn token(&self, which: TokenKind, id: &[u8], authority: &[u8], kind: &[u8]) -> Option<String> {
        let identifier = Identifier::new(id, authority, kind);
        let token = match (which, self.key, self.vault) {
            (TokenKind::Keyed, Some(key), _) => {
                return String::from_utf8(key.token(id, authority, kind)).ok();
            }
            (TokenKind::Keyed, None, _) => Err(HeldWhy::KeysMissing),
            (TokenKind::Vault, _, None) => Err(HeldWhy::VaultMissing),
            (TokenKind::Vault, ..) if !identifier.fits() => return None,
            (TokenKind::Vault, _, Some(vault)) => {
                vault.token(&identifier).map(|token| token.to_string()).ok_or(HeldWhy::VaultFull)
            }
        };
        token.map_err(|why| self.failed.set(Some(why))).ok()
    }

    /// Whether every token that was due was there.
    pub(crate) fn settle(&self) -> Result<(), Held> {
        self.failed.get().map_or(Ok(()), |why| Err(Held::new(why)))
    }
}
