//! A 256-bit key, wrapped under another: AES-256-GCM with a random nonce. Nonce 12, ciphertext and tag 48.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::random;
use crate::Error;
use crate::format::Fields;
use crate::locked::SECRET_BYTES;

pub(crate) const WRAPPING_FAILED: Error = Error::Internal("a key could not be wrapped");

/// A 256-bit key, wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrapped {
    pub(crate) nonce: [u8; 12],
    pub(crate) sealed: [u8; 48],
}

fn cipher(under: &[u8; SECRET_BYTES]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&AES_256_GCM, under).map_err(|_| WRAPPING_FAILED)?;
    Ok(LessSafeKey::new(key))
}

impl Wrapped {
    pub(crate) fn new(
        under: &[u8; SECRET_BYTES],
        aad: &[u8],
        key: &[u8; SECRET_BYTES],
    ) -> Result<Self, Error> {
        let nonce = random()?;
        let mut sealed = [0; 48];
        let (text, tag_out) = sealed.split_at_mut(SECRET_BYTES);
        text.copy_from_slice(key);
        let tag = cipher(under)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text)
            .map_err(|_| WRAPPING_FAILED)?;
        tag_out.copy_from_slice(tag.as_ref());
        Ok(Self { nonce, sealed })
    }

    /// From its bytes, all of them.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut f = Fields(bytes);
        let wrapped = Self { nonce: f.array()?, sealed: f.array()? };
        f.0.is_empty().then_some(wrapped)
    }

    /// `None`: under another key, for another place, or changed.
    pub(crate) fn open(
        &self,
        under: &[u8; SECRET_BYTES],
        aad: &[u8],
    ) -> Option<Zeroizing<[u8; SECRET_BYTES]>> {
        let mut sealed = Zeroizing::new(self.sealed);
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let plain = cipher(under).ok()?.open_in_place(nonce, Aad::from(aad), sealed.as_mut_slice()).ok()?;
        let mut key = Zeroizing::new([0; SECRET_BYTES]);
        key.copy_from_slice(plain.get(..SECRET_BYTES)?);
        Some(key)
    }
}
