//! Which identifier has which token, as the journal keeps it. Of the identifiers themselves nothing stays in memory.
//!
//! **Format.** An [`Entry::Given`] holds mappings of one destination one behind another, numbers big-endian:
//!
//! ```text
//! 16 digest   16 token   u16 kind_len   u16 authority_len   u16 id_len   kind   authority   id
//! ```
//!
//! The digest is the first half of HMAC-SHA-256 over the destination and the identifier's canonical bytes, under a key of its own;
//! it is what a mapping is found by. The journal encrypts all of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deid::{Identifier, VaultToken};
use model::{Seq, Slug};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Most identifiers that have a token, of all destinations together. Beyond, records with another one are held. Their index
/// takes 41 bytes each, 86 MB in all.
pub const IDENTIFIERS_MAX: usize = 1_800_000;
/// Most bytes of mappings that the journal carries.
pub const VAULT_BYTES_MAX: u64 = 128 << 20;
/// Bytes of mappings in one entry: an envelope of the journal holds it.
const ENTRY_BYTES_MAX: usize = 48 << 10;
/// Bytes of a mapping besides its identifier.
const FIXED_BYTES: usize = 38;

/// What an identifier at a destination is found by.
pub(super) type Digest = [u8; 16];

/// An entry of the journal about the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// Tokens that were given out. See the module for the format.
    Given { destination: Slug, mappings: ByteBuf },
}

/// A token and where in the journal it stands what it is of.
#[derive(Debug, Clone, Copy)]
struct Place {
    token: VaultToken,
    at: Seq,
}

/// Every mapping that stands in the journal.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    by_digest: HashMap<Digest, Place>,
    by_destination: BTreeMap<Slug, u64>,
    bytes: u64,
}

impl Kept {
    /// `at` is the entry's number in the journal.
    pub(crate) fn apply(&mut self, entry: &Entry, at: Seq) {
        let Entry::Given { destination, mappings } = entry;
        for mapping in Mapping::all(mappings) {
            let known = self.by_digest.get_mut(&mapping.digest);
            match known {
                // The state was said again, or an entry was written twice. Of two tokens the first was let out first.
                Some(place) if place.token == mapping.token => place.at = place.at.max(at),
                Some(_) => {}
                None => {
                    self.by_digest.insert(mapping.digest, Place { token: mapping.token, at });
                    *self.by_destination.entry(destination.clone()).or_default() += 1;
                    self.bytes += mapping.bytes() as u64;
                }
            }
        }
    }

    pub(super) fn token(&self, digest: &Digest) -> Option<VaultToken> {
        self.by_digest.get(digest).map(|place| place.token)
    }

    /// Where in the journal it stands what a token is of.
    pub(super) fn place(&self, token: VaultToken) -> Option<Seq> {
        self.by_digest.values().find(|place| place.token == token).map(|place| place.at)
    }

    /// The numbers of the journal's entries that together say all of it.
    pub(crate) fn places(&self) -> BTreeSet<Seq> {
        self.by_digest.values().map(|place| place.at).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn by_destination(&self) -> &BTreeMap<Slug, u64> {
        &self.by_destination
    }
}

/// An identifier and its token. The identifier is a patient's.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) digest: Digest,
    pub(super) token: VaultToken,
    pub(super) kind: Vec<u8>,
    pub(super) authority: Vec<u8>,
    pub(super) id: Vec<u8>,
}

/// Nothing of whom it is of.
impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mapping({})", self.token)
    }
}

impl Mapping {
    pub(super) fn new(digest: Digest, token: VaultToken, identifier: &Identifier<'_>) -> Self {
        let [kind, authority, id] =
            [identifier.kind(), identifier.authority(), identifier.id()].map(<[u8]>::to_vec);
        Self { digest, token, kind, authority, id }
    }

    pub(super) const fn bytes(&self) -> usize {
        FIXED_BYTES + self.kind.len() + self.authority.len() + self.id.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.token.bytes());
        let parts = [&self.kind, &self.authority, &self.id];
        for part in parts {
            out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
        parts.into_iter().for_each(|part| out.extend_from_slice(part));
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (digest, rest) = bytes.split_first_chunk::<16>()?;
        let (token, rest) = rest.split_first_chunk::<16>()?;
        let (lengths, mut rest) = rest.split_first_chunk::<6>()?;
        let [a, b, c, d, e, f] = *lengths;
        let mut part = |length: [u8; 2]| {
            let (part, left) = rest.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
            rest = left;
            Some(part.to_vec())
        };
        let (kind, authority, id) = (part([a, b])?, part([c, d])?, part([e, f])?);
        Some((Self { digest: *digest, token: VaultToken::new(*token), kind, authority, id }, rest))
    }

    /// The mappings of an entry.
    pub(super) fn all(mut bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        std::iter::from_fn(move || {
            let (mapping, rest) = Self::read(bytes)?;
            bytes = rest;
            Some(mapping)
        })
    }
}

/// Entries that say that these were given out.
pub(super) fn entries(destination: &Slug, mappings: &[Mapping]) -> Vec<Entry> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for mapping in mappings {
        let part = match parts.last_mut() {
            Some(part) if part.len() + mapping.bytes() <= ENTRY_BYTES_MAX => part,
            _ => parts.push_mut(Vec::new()),
        };
        mapping.write(part);
    }
    let given = |part| Entry::Given { destination: destination.clone(), mappings: ByteBuf::from(part) };
    parts.into_iter().map(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(n: u8, id: &[u8]) -> Mapping {
        Mapping {
            digest: [n; 16],
            token: VaultToken::new([n; 16]),
            kind: b"MR".to_vec(),
            authority: b"HOSP".to_vec(),
            id: id.to_vec(),
        }
    }

    #[test]
    fn mappings_are_read_as_they_were_written_in_entries_that_the_journal_takes() {
        let lake: Slug = "lake".parse().unwrap();
        let mappings: Vec<Mapping> =
            (0..=255).map(|n| mapping(n, &vec![n; usize::from(n) + deid::IDENTIFIER_BYTES_MAX])).collect();
        let entries = entries(&lake, &mappings);
        assert!(entries.len() > 1);
        let mut read = Vec::new();
        for Entry::Given { mappings, .. } in &entries {
            assert!(mappings.len() <= ENTRY_BYTES_MAX);
            read.extend(Mapping::all(mappings));
        }
        assert_eq!(read, mappings);
        // What is cut off is not made up.
        let Entry::Given { mappings, .. } = &entries[0];
        let whole = Mapping::all(mappings).count();
        assert_eq!(Mapping::all(&mappings[..mappings.len() - 1]).count(), whole - 1);
    }

    #[test]
    fn what_is_said_again_counts_once_and_is_found_where_it_was_said_last() {
        let lake: Slug = "lake".parse().unwrap();
        let mut kept = Kept::default();
        for (at, n) in [(3, 1), (4, 2), (9, 1)] {
            entries(&lake, &[mapping(n, b"44521")]).iter().for_each(|entry| kept.apply(entry, at));
        }
        assert_eq!((kept.len(), kept.by_destination()[&lake]), (2, 2));
        assert_eq!(kept.bytes(), 2 * mapping(1, b"44521").bytes() as u64);
        assert_eq!(kept.place(VaultToken::new([1; 16])), Some(9));
        assert_eq!(kept.places(), BTreeSet::from([4, 9]));
        // Another token for the same identifier: the first one was let out first.
        let other = Mapping { token: VaultToken::new([7; 16]), ..mapping(1, b"44521") };
        entries(&lake, &[other]).iter().for_each(|entry| kept.apply(entry, 10));
        assert_eq!(kept.token(&[1; 16]), Some(VaultToken::new([1; 16])));
    }
}
