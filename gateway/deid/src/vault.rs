//! Vault tokens: random, and derived from nothing.
//!
//! A vault token is `V ‖ base32(16 random bytes)`: 27 characters. It says nothing of the identifier that it stands for, so it is
//! what 45 CFR 164.514(c)(1) allows as a re-identification code, also under `safe-harbor`. Which token stands for which
//! identifier is known to the [`Vault`] alone, which whoever calls [`crate::Policy::release`] gives; nothing here keeps anything or
//! makes random numbers.
//!
//! **Limits.** An identifier with all that names it has at most [`IDENTIFIER_BYTES_MAX`] bytes; a longer one is none, and is
//! removed.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::token::{BASE32, base32};

/// Longest id, authority and kind together, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 512;
/// Random bytes of a token: 128 bits.
pub const VAULT_TOKEN_BYTES: usize = 16;
/// What a vault token begins with. Keyed tokens begin with a digit.
const HEAD: char = 'V';
/// Characters behind it.
const LETTERS: usize = 26;

/// What a token stands for: a number, who gave it, and what kind of number it is (HL7 table 0203, or a FHIR type).
#[derive(Clone, Copy)]
pub struct Identifier<'a> {
    id: &'a [u8],
    authority: &'a [u8],
    kind: &'a [u8],
}

impl<'a> Identifier<'a> {
    /// An identifier, without blanks around its parts.
    pub fn new(id: &'a [u8], authority: &'a [u8], kind: &'a [u8]) -> Self {
        Self { id: id.trim_ascii(), authority: authority.trim_ascii(), kind: kind.trim_ascii() }
    }

    /// The number, as the sender spells it.
    pub const fn id(&self) -> &'a [u8] {
        self.id
    }

    /// Who gave it; empty where nobody says.
    pub const fn authority(&self) -> &'a [u8] {
        self.authority
    }

    /// What kind of number it is; empty where nobody says.
    pub const fn kind(&self) -> &'a [u8] {
        self.kind
    }

    /// The same bytes for the same identifier and other ones for every other: kind in capitals, authority and id, each behind its
    /// length. Case counts: `7a` and `7A` may be two patients.
    pub fn canonical(&self) -> Zeroizing<Vec<u8>> {
        let kind = self.kind.to_ascii_uppercase();
        let parts = [&kind, self.authority, self.id];
        let bytes = parts.iter().map(|part| part.len() + size_of::<u64>()).sum();
        let mut canonical = Zeroizing::new(Vec::with_capacity(bytes));
        for part in parts {
            canonical.extend_from_slice(&(part.len() as u64).to_be_bytes());
            canonical.extend_from_slice(part);
        }
        canonical
    }

    /// Whether it is short enough to be one.
    pub(crate) const fn fits(&self) -> bool {
        self.id.len() + self.authority.len() + self.kind.len() <= IDENTIFIER_BYTES_MAX
    }
}

/// Sizes alone.
impl fmt::Debug for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({} bytes)", self.id.len())
    }
}

/// A token that a vault gave out. Random: it may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultToken([u8; VAULT_TOKEN_BYTES]);

impl VaultToken {
    /// The token of random bytes. They must come from a generator fit for keys.
    pub const fn new(random: [u8; VAULT_TOKEN_BYTES]) -> Self {
        Self(random)
    }

    /// Its bytes, for storage.
    pub const fn bytes(&self) -> [u8; VAULT_TOKEN_BYTES] {
        self.0
    }
}

impl fmt::Display for VaultToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(LETTERS);
        base32(&self.0, &mut text);
        write!(f, "{HEAD}{}", String::from_utf8_lossy(&text))
    }
}

/// The text is no vault token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a vault token is a V and 26 characters of A-Z and 2-7")]
pub struct NotAVaultToken;

impl FromStr for VaultToken {
    type Err = NotAVaultToken;

    fn from_str(text: &str) -> Result<Self, NotAVaultToken> {
        let letters = text.trim().strip_prefix(HEAD).ok_or(NotAVaultToken)?;
        if letters.len() != LETTERS {
            return Err(NotAVaultToken);
        }
        let mut value = 0_u128;
        let mut rest = 0_u8;
        for (n, letter) in letters.bytes().enumerate() {
            let digit = BASE32.iter().position(|l| *l == letter).ok_or(NotAVaultToken)?;
            let digit = u8::try_from(digit).map_err(|_| NotAVaultToken)?;
            // 25 letters are 125 bits; the last one carries three more, and two that are zero.
            if n + 1 < LETTERS {
                value = value << 5 | u128::from(digit);
            } else {
                value = value << 3 | u128::from(digit >> 2);
                rest = digit & 3;
            }
        }
        if rest == 0 { Ok(Self(value.to_be_bytes())) } else { Err(NotAVaultToken) }
    }
}

/// Gives and keeps the tokens of one destination. A release that holds a token may leave only after the vault has made it
/// durable; that is its giver's to see to.
pub trait Vault: fmt::Debug + Send + Sync {
    /// The token of an identifier: the same one every time, and no other destination's. `None` where there is no room for
    /// another one.
    fn token(&self, identifier: &Identifier<'_>) -> Option<VaultToken>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_it_was_written_and_nothing_else_is() {
        for bytes in [[0; 16], [0xFF; 16], *b"0123456789abcdef"] {
            let token = VaultToken::new(bytes);
            let text = token.to_string();
            assert_eq!((text.len(), text.parse::<VaultToken>()), (27, Ok(token)));
        }
        let text = VaultToken::new([7; 16]).to_string();
        let headless = text.replacen('V', "", 1);
        for other in [
            "",
            "V",
            &headless,
            &text.to_lowercase(),
            &format!("{text}A"),
            &format!("{text} A"),
            "V1AAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(other.parse::<VaultToken>(), Err(NotAVaultToken), "{other}");
        }
        // The last letter carries no more than three bits.
        assert!("VAAAAAAAAAAAAAAAAAAAAAAAAAA".parse::<VaultToken>().is_ok());
        assert_eq!("VAAAAAAAAAAAAAAAAAAAAAAAAAB".parse::<VaultToken>(), Err(NotAVaultToken));
    }

    #[test]
    fn spelling_makes_no_other_identifier_and_no_two_are_the_same_bytes() {
        let canonical = |id: &[u8], authority: &[u8], kind: &[u8]| {
            Identifier::new(id, authority, kind).canonical().to_vec()
        };
        assert_eq!(canonical(b" AB1", b"HOSP ", b"mr"), canonical(b"AB1", b"HOSP", b"MR"));
        assert_ne!(canonical(b"ab1", b"HOSP", b"MR"), canonical(b"AB1", b"HOSP", b"MR"));
        for (id, authority, kind) in
            [(&b"AB"[..], &b"1HOSP"[..], &b"MR"[..]), (b"AB1", b"HOS", b"PMR"), (b"AB1", b"HOSP", b"")]
        {
            assert_ne!(canonical(b"AB1", b"HOSP", b"MR"), canonical(id, authority, kind));
        }
        assert_eq!(format!("{:?}", Identifier::new(b"AB1", b"", b"")), "Identifier(3 bytes)");
    }
}
