//! Keyed tokens: the same person is the same token at one destination, and another at the next.
//!
//! A token is `epoch ‖ base32(HMAC-SHA256(key, type ‖ assigning authority ‖ id)[..16])`: the epoch as decimal
//! digits, then 26 characters of RFC 4648 base32 without padding. The parts are trimmed of blanks and each preceded by
//! its length, so that no two triples are the same text. Case counts: `7a` and `7A` may be two patients. Where a number
//! names no authority the feed stands for it ([`crate::patient`]). The key is one of [`crate::DestinationKeys`].
//!
//! A token is derived from the person's data and therefore never allowed under `safe-harbor` (45 CFR
//! 164.514(c)).

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of the MAC that go into a token: 128 bits.
const TOKEN_MAC_BYTES: usize = 16;
/// RFC 4648 §6.
pub(crate) const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The key of one destination in one epoch. Zeroized on drop; `Debug` shows the epoch alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct TokenKey {
    key: [u8; 32],
    epoch: u16,
}

impl TokenKey {
    /// A key derived by the caller for this destination and epoch. Epochs begin at 1.
    pub(crate) const fn new(key: [u8; 32], epoch: u16) -> Self {
        Self { key, epoch }
    }

    /// The token of an identifier.
    pub(crate) fn token(&self, id: &[u8], authority: &[u8], kind: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let mut mac = hmac::Context::with_key(&key);
        let kind = kind.to_ascii_uppercase();
        for part in [&kind, authority, id].map(<[u8]>::trim_ascii) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let tag = mac.sign();
        let mut token = self.epoch.to_string().into_bytes();
        base32(tag.as_ref().get(..TOKEN_MAC_BYTES).unwrap_or_default(), &mut token);
        token
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey(epoch {})", self.epoch)
    }
}

/// RFC 4648 base32 without padding.
pub(crate) fn base32(bytes: &[u8], out: &mut Vec<u8>) {
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    let mut push = |index: u32| out.extend(BASE32.get((index & 31) as usize));
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
        }
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> TokenKey {
        TokenKey::new([fill; 32], 1)
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            let mut out = Vec::new();
            base32(bytes.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn tokens_are_stable_and_do_not_link() {
        let token = key(1).token(b"12345", b"HOSP", b"MR");
        assert_eq!(token.len(), 1 + 26);
        assert_eq!(token, key(1).token(b" 12345", b"HOSP ", b"mr"), "blanks do not matter");
        for other in [
            key(2).token(b"12345", b"HOSP", b"MR"),
            key(1).token(b"12346", b"HOSP", b"MR"),
            key(1).token(b"12345", b"hosp", b"MR"),
            key(1).token(b"1234a", b"HOSP", b"MR"),
            key(1).token(b"1234A", b"HOSP", b"MR"),
            key(1).token(b"12345", b"HOS", b"PMR"),
            key(1).token(b"12345", b"HOSP", b"VN"),
            TokenKey::new([1; 32], 2).token(b"12345", b"HOSP", b"MR"),
        ] {
            assert_ne!(token, other);
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", key(7)), "TokenKey(epoch 1)");
    }
}
