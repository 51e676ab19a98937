//! The root key, the ring of keys it protects, and everything derived from them.
//!
//! **Promise.** No key stands on the disk but wrapped under the root key, and the root key itself only as its
//! provider keeps it ([`mod@provider`]); keys are wiped when dropped; a key never prints. Destroying the key of an
//! epoch makes what was stored under it unreadable for everybody, with the root key too.
//!
//! ```text
//! provider ── unseals ──▶ root key ── wraps ──▶ the ring (module `ring`)
//!                                                 ├─ base key      for good: identities, tokens, MACs, the journal
//!                                                 └─ epoch keys    one a day: each wraps the data keys of segments
//! ```
//! The *root key* is 256 random bits. It wraps the ring and nothing else, so that rotating it rewrites two small
//! files and touches no segment. The *base key* stays the same for the life of a spool: what is derived from it
//! under `use/<purpose>` (pseudonyms, identities of resends) must not change when a root key does. An *epoch key*
//! is what crypto-erase destroys.
//!
//! Derivation is HKDF-SHA-256 (RFC 5869) with the purpose as its `info`, so that no two uses share a key.
//! From the root key: `key id`, `ring/wrap`, `ring/mac`. From the base key: `use/<purpose>`, `mac/<log>` for headers,
//! `kek/<log>` for the journal's data keys. From an epoch key: `kek/<log>`, `index/<log>` for the search index. The 16-byte ids of root key and ring
//! stand in the clear, so that a wrong key is told from tampering before anything changes.

mod file;
pub mod provider;
pub(crate) mod ring;
mod wrapped;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::Error;
use crate::locked::{Locked, SECRET_BYTES};

pub(crate) use file::KeyFile;
pub use file::write_private;
use provider::Protection;
pub(crate) use wrapped::Wrapped;

const SALT: &[u8] = b"wardgate spool root 1";

/// Which key something was written under, in the clear.
pub(crate) type KeyId = [u8; 16];

/// The root key, and where it came from. Cloning shares it.
#[derive(Clone)]
pub struct RootKey {
    secret: Arc<Locked>,
    id: KeyId,
    /// `None`: given by hand, so that it cannot be rotated.
    file: Option<KeyFile>,
    /// A rotation was interrupted and had made this one.
    next: Option<Arc<Self>>,
}

impl RootKey {
    /// Reads the key file. With `create`, a missing one is made: random, mode 0600, durable before it is used,
    /// and never in place of another.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it is missing, may be read by others or is no key file; [`Error::Io`].
    pub fn from_file(path: &Path, create: bool) -> Result<Self, Error> {
        KeyFile::read(path, create)
    }

    /// Takes a root key from elsewhere; the source is wiped.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no memory for it.
    pub fn new(secret: &mut [u8; SECRET_BYTES]) -> Result<Self, Error> {
        let secret = locked(secret)?;
        let mut id = [0; 16];
        expand(secret.expose(), &[b"key id"], &mut id);
        Ok(Self { secret, id, file: None, next: None })
    }

    /// A new one, of random bits.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system has no random bytes; [`Error::Io`].
    pub fn generate() -> Result<Self, Error> {
        Self::new(&mut Zeroizing::new(random()?))
    }

    /// Writes it, kept in this way, to a file that must not exist yet.
    ///
    /// # Errors
    /// [`Error::Provider`]; [`Error::Io`].
    pub fn write_new(&self, path: &Path, protection: &Protection) -> Result<(), Error> {
        file::write_key(path, self, protection)
    }

    /// The key itself: for wrapping a recovery copy, and nothing else.
    pub fn expose_for_escrow(&self) -> &[u8; SECRET_BYTES] {
        self.expose()
    }

    /// What stands in the clear for this key, as 32 lower-case hex digits.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    pub(crate) const fn key_id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.secret.expose()
    }

    pub(crate) const fn file(&self) -> Option<&KeyFile> {
        self.file.as_ref()
    }

    /// How it is kept; `None` where it was given by hand.
    pub fn protection(&self) -> Option<&Protection> {
        self.file.as_ref().map(KeyFile::protection)
    }

    pub(crate) fn next(&self) -> Option<&Self> {
        self.next.as_deref()
    }

    /// This key, or the one that an interrupted rotation had made, by its id.
    pub(crate) fn of_id(&self, id: KeyId) -> Option<Self> {
        let next = self.next.iter().map(|next| &**next);
        std::iter::once(self).chain(next).find(|key| key.id == id).cloned()
    }

    fn with(mut self, file: KeyFile, next: Option<Self>) -> Self {
        self.file = Some(file);
        self.next = next.map(Arc::new);
        self
    }

    /// The same, of no file: opening a spool with it leaves the key file, and the next one beside it, as they are.
    pub(crate) fn of_no_file(mut self) -> Self {
        self.file = None;
        self.next = None;
        self
    }

    /// The same, where no rotation is under way any more.
    pub(crate) fn settled(self, file: KeyFile) -> Self {
        self.with(file, None)
    }

    /// The key that wraps the keys of the ring.
    pub(crate) fn ring_wrap(&self) -> Zeroizing<[u8; 32]> {
        derived(self.expose(), &[b"ring/wrap"])
    }

    /// The key that authenticates the ring.
    pub(crate) fn ring_mac(&self) -> Zeroizing<[u8; 32]> {
        derived(self.expose(), &[b"ring/mac"])
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.id())
    }
}

/// What a spool's base key gives the rest of the gateway. Stays the same when the root key is rotated. Cloning
/// shares it.
#[derive(Clone)]
pub struct Keys {
    base: Arc<Locked>,
}

impl Keys {
    pub(crate) fn new(base: &mut [u8; SECRET_BYTES]) -> Result<Self, Error> {
        Ok(Self { base: locked(base)? })
    }

    /// HMAC-SHA-256 (RFC 2104) of `bytes` under a key of its own for each purpose.
    pub fn mac(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        mac(&self.derive(purpose), &[bytes])
    }

    /// A 256-bit key of its own for each purpose.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        derived(self.base.expose(), &[b"use/", purpose.as_bytes()])
    }

    /// The key that wraps the data keys of a log that is never erased.
    pub(crate) fn kek(&self, log: &str) -> Zeroizing<[u8; 32]> {
        kek(self.base.expose(), log)
    }

    /// The key that authenticates a log's headers.
    pub(crate) fn header_mac(&self, log: &str) -> Zeroizing<[u8; 32]> {
        derived(self.base.expose(), &[b"mac/", log.as_bytes()])
    }

    pub(crate) fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.base.expose()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(redacted)")
    }
}

/// The key that wraps the data keys of a log, from the key of an epoch.
pub(crate) fn kek(secret: &[u8; SECRET_BYTES], log: &str) -> Zeroizing<[u8; 32]> {
    derived(secret, &[b"kek/", log.as_bytes()])
}

/// The key of a log's search index, from the key of an epoch.
pub(crate) fn index_key(secret: &[u8; SECRET_BYTES], log: &str) -> Zeroizing<[u8; 32]> {
    derived(secret, &[b"index/", log.as_bytes()])
}

struct Len(usize);
impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

fn locked(secret: &mut [u8; SECRET_BYTES]) -> Result<Arc<Locked>, Error> {
    let locked = Locked::new(secret).map_err(|e| Error::io("map memory for", Path::new("a key"), e))?;
    Ok(Arc::new(locked))
}

fn derived(secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    expand(secret, info, key.as_mut_slice());
    key
}

fn expand(secret: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let prk: Prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
    let filled = prk.expand(info, Len(out.len())).and_then(|okm| okm.fill(out));
    // HKDF fails only for more than 255 × 32 bytes.
    debug_assert!(filled.is_ok());
}

/// HMAC-SHA-256 of the parts in a row.
pub(crate) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Where randomness comes from: data keys, nonces of wrapped keys, names of logs.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills all of it.
    ///
    /// # Errors
    /// [`Error::Internal`]: there is none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error>;
}

/// The generator of the cryptographic library, seeded by the operating system.
#[derive(Debug)]
pub(crate) struct System;

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        rand::fill(bytes).map_err(|_| Error::Internal("no random bytes"))
    }
}

/// Random bytes from the operating system's seeded generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    System.fill(&mut bytes)?;
    Ok(bytes)
}

/// Forbids core dumps and debuggers of the same user: `prctl(PR_SET_DUMPABLE, 0)`. For the daemon, at start.
///
/// # Errors
/// What the kernel said.
pub fn forbid_core_dumps() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_secrets_do_not_share_keys() {
        let a = Keys::new(&mut [1; 32]).unwrap();
        let b = Keys::new(&mut [2; 32]).unwrap();
        let root = RootKey::new(&mut [1; 32]).unwrap();
        let all = [
            a.mac("x", b"z"),
            a.mac("y", b"z"),
            b.mac("x", b"z"),
            *a.derive("x"),
            *a.derive("y"),
            *a.kek("x"),
            *a.header_mac("x"),
            *a.derive("kek/x"),
            *root.ring_wrap(),
            *root.ring_mac(),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
        assert!(!format!("{a:?}{root:?}").contains("0101"));
        // HKDF and HMAC pinned against an independent implementation (Python hmac), so that a disk stays readable.
        assert_eq!(root.id(), pinned::ID);
        assert_eq!(hex::encode(a.mac("x", b"z")), pinned::MAC);
    }

    mod pinned {
        pub(super) const ID: &str = "c1e5cb9b8241b1de4c476e4e27f2888e";
        pub(super) const MAC: &str = "5d6df349848dbc611796b3f75be1528599cb86a3d9060cf60a5feb6a703e0c24";
    }
}
