//! What proves the audit log, and the forms it is exported in. Pure: no I/O, no clock, no keys of its own.
//!
//! **Promise.** With a signed [`Checkpoint`] that an outside witness keeps, an audit log that was changed, cut or set
//! back cannot be passed off as the one the checkpoint was made of. Whoever holds two checkpoints can be shown that
//! the later log continues the earlier one ([`proof::verify_consistency`]); whoever holds an entry and a checkpoint,
//! that the entry is in it ([`proof::verify_inclusion`]).
//!
//! **The tree.** The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): SHA-256, leaves hashed after a byte
//! 0x00 and nodes after 0x01. A leaf is the CBOR of an [`Entry`]. A log needs no more than a [`CompactRange`] to go
//! on, the hashes of the largest full subtrees: one for each bit of its size. With the range as it was before an
//! entry, everything from that entry on can be proven without anything before it, so what was freed stays proven.
//!
//! **The paper.** A checkpoint is a signed note of C2SP (`c2sp.org/signed-note`, `c2sp.org/tlog-checkpoint`), so that
//! it can be read by a person and checked by tools of others. See [`checkpoint`] for what ours say beyond the tree.
//!
//! **Limits.** [`note::NOTE_BYTES_MAX`], [`note::SIGNATURES_MAX`], [`proof::PROOF_HASHES_MAX`].

pub mod checkpoint;
pub mod entry;
pub mod export;
mod hash;
pub mod note;
pub mod proof;
mod range;
pub mod receipts;
pub mod tree;
pub mod witness;

pub use checkpoint::{Checkpoint, Head};
pub use entry::Entry;
pub use hash::Hash;
pub use note::{Note, Signer, Verifier};
pub use range::CompactRange;
pub use tree::Tree;
