//! SHA-256 with the two prefixes of RFC 6962.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Length of a hash, in bytes.
pub(crate) const HASH_BYTES: usize = 32;

/// A hash of the tree. Displays as lower-case hex; notes and proofs carry it as Base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// 32 zero bytes: what stands for the entry before the first.
    pub const ZERO: Self = Self([0; HASH_BYTES]);

    /// The hash of a leaf: SHA-256(0x00 ‖ `bytes`).
    pub fn leaf(bytes: &[u8]) -> Self {
        digest(&[&[0], bytes])
    }

    /// The hash of a node: SHA-256(0x01 ‖ `left` ‖ `right`).
    pub fn node(left: &Self, right: &Self) -> Self {
        digest(&[&[1], &left.0, &right.0])
    }

    /// The root of a tree without leaves: SHA-256 of nothing.
    pub fn empty() -> Self {
        digest(&[])
    }

    /// From as many bytes as it has.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As Base64 (RFC 4648 section 4).
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// From Base64.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().and_then(|bytes| Self::from_slice(&bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// SHA-256 of the parts in a row.
pub(crate) fn digest(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; HASH_BYTES];
    out.copy_from_slice(context.finish().as_ref());
    Hash(out)
}
