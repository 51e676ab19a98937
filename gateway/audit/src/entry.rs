//! An entry of the audit log, and what stands beside it.

use model::{AuditEvent, codec};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{CompactRange, Hash};

/// One entry. Its CBOR is a leaf of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Hash of the leaf before; 32 zero bytes in the first. It makes a chain of the entries, for whoever has them alone.
    pub previous: ByteBuf,
    /// What happened.
    pub event: AuditEvent,
}

impl Entry {
    /// An entry behind another.
    pub fn after(previous: &Hash, event: AuditEvent) -> Self {
        Self { previous: ByteBuf::from(previous.0), event }
    }

    /// The leaf.
    ///
    /// # Errors
    /// [`codec::EncodeError`].
    pub fn encode(&self) -> Result<Vec<u8>, codec::EncodeError> {
        codec::encode(self)
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// [`codec::DecodeError`].
    pub fn decode(leaf: &[u8]) -> Result<Self, codec::DecodeError> {
        codec::decode(leaf)
    }

    /// Hash of the leaf before.
    pub fn previous(&self) -> Option<Hash> {
        Hash::from_slice(&self.previous)
    }
}

/// What an entry's record says beside the entry: the tree as it was before it. With it, any entry that is still kept
/// is a place to go on from, and to prove everything behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    size: u64,
    peaks: ByteBuf,
}

/// The envelope of an entry that follows `range`: `head` and the range.
///
/// # Errors
/// [`codec::EncodeError`].
pub fn encode_place(head: &[u8], range: &CompactRange) -> Result<Vec<u8>, codec::EncodeError> {
    let place = Place { size: range.size(), peaks: ByteBuf::from(range.to_bytes()) };
    let mut bytes = head.to_vec();
    codec::encode_to(&place, &mut bytes)?;
    Ok(bytes)
}

/// Reads an envelope; `None` where it is another's.
pub fn decode_place(head: &[u8], envelope: &[u8]) -> Option<CompactRange> {
    let place: Place = codec::decode(envelope.strip_prefix(head)?).ok()?;
    CompactRange::from_bytes(place.size, &place.peaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_is_nobody_else_s() {
        let mut range = CompactRange::default();
        for i in 0..37_u8 {
            let envelope = encode_place(b"audit", &range).unwrap();
            assert_eq!(decode_place(b"audit", &envelope).as_ref(), Some(&range));
            assert_eq!(decode_place(b"other", &envelope), None);
            assert_eq!(decode_place(b"audit", &envelope[..envelope.len() - 1]), None);
            range.push(Hash::leaf(&[i]));
        }
    }
}
