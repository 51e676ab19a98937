//! The ring on the disk: every key of a spool but the root key, wrapped under it.
//!
//! `<spool>/keys/ring-a` and `ring-b` hold the same 81,920 bytes. A change is written to one of them **in place** and
//! synced, and then to the other; so one is whole at any time, a change needs no room, and on a disk that overwrites
//! what it is told to (ext4, XFS) nothing of a destroyed key stays behind. In force is the whole copy of the highest
//! generation. A copy that rotted, is torn or stands behind is written anew when the spool is opened.
//!
//! ```text
//!      0  magic "WGring\0\x01"      8       72  base key: nonce 12, wrapped 48   60
//!      8  version                   2      132  zeros                           124
//!     10  0                         2      256  entries, 80 bytes each, as many
//!     12  entries                   4           as said; zeros behind them
//!     16  generation                8    81884  HMAC-SHA-256 of 0..81884         32
//!     24  id of the ring           16    81916  CRC of 0..81916                   4
//!     40  id of the root key       16
//!     56  number of the next epoch  8    entry: number 8, begun (µs since 1970) 8,
//!     64  kept through              8           nonce 12, wrapped 48, zeros 4
//! ```
//! Entries are in order of their numbers; the last is the epoch in which segments are begun. A number below *next*
//! that has no entry was erased. Epochs up to *kept through* go by an operator's word alone (see the module `epochs`).
//! Wrapping is AES-256-GCM under the root key's `ring/wrap` with a random nonce; associated data is `base` and the
//! ring's id, or `epoch`, the ring's id, number and begin. The MAC is under the root key's `ring/mac`.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time;
use zeroize::Zeroizing;

use super::wrapped::{WRAPPING_FAILED, Wrapped};
use super::{KeyId, Keys, RootKey, mac, random};
use crate::Error;
use crate::disk::Disk;
use crate::format::{Fields, VERSION, crc_is_right};
use crate::locked::SECRET_BYTES;

const MAGIC: [u8; 8] = *b"WGring\0\x01";
const ENTRIES_AT: usize = 256;
const ENTRY_BYTES: usize = 80;
pub(crate) const RING_BYTES: usize = 81_920;
const MAC_AT: usize = RING_BYTES - 36;
/// Most epochs whose keys are kept: one a day makes more than two and a half years of backlog.
pub(crate) const EPOCHS_MAX: usize = 1020;
/// Its folder in the spool.
pub(crate) const KEYS_DIR: &str = "keys";
pub(crate) const COPIES: [&str; 2] = ["ring-a", "ring-b"];

const _: () = assert!(ENTRIES_AT + EPOCHS_MAX * ENTRY_BYTES <= MAC_AT);

/// The key of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) begun_at: i64,
    key: Wrapped,
}

/// What both copies hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) generation: u64,
    pub(crate) id: KeyId,
    pub(crate) root_id: KeyId,
    pub(crate) next: u64,
    pub(crate) kept_through: u64,
    base: Wrapped,
    pub(crate) entries: Vec<Entry>,
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Copy {
    Whole(Ring),
    Missing,
    /// Rotten or torn.
    Rot,
    /// Its checksum is right and its MAC is wrong.
    Tampered,
    /// Under a root key that we do not have.
    OtherRoot {
        generation: u64,
    },
    Version(u16),
}

impl Entry {
    fn aad(&self, ring: KeyId) -> Vec<u8> {
        let (number, begun_at) = (self.number.to_le_bytes(), self.begun_at.to_le_bytes());
        [b"epoch".as_slice(), &ring, &number, &begun_at].concat()
    }
}

impl Ring {
    /// A ring without epochs, of random keys.
    pub(crate) fn random(root: &RootKey) -> Result<Self, Error> {
        let id = random()?;
        let base = Zeroizing::new(random::<SECRET_BYTES>()?);
        let base = Wrapped::new(&root.ring_wrap(), &base_aad(id), &base)?;
        let root_id = root.key_id();
        Ok(Self { generation: 1, id, root_id, next: 1, kept_through: 0, base, entries: Vec::new() })
    }

    pub(crate) fn base(&self, root: &RootKey) -> Result<Keys, Error> {
        base_of(&self.base, self.id, root).ok_or(WRAPPING_FAILED)?
    }

    /// The base key, wrapped.
    pub(crate) const fn wrapped_base(&self) -> &Wrapped {
        &self.base
    }

    pub(crate) fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.number == number)
    }

    /// The key of an epoch that has an entry.
    pub(crate) fn epoch_key(&self, root: &RootKey, number: u64) -> Option<Zeroizing<[u8; SECRET_BYTES]>> {
        let entry = self.entry(number)?;
        entry.key.open(&root.ring_wrap(), &entry.aad(self.id))
    }

    /// The same with one more epoch, of a random key.
    pub(crate) fn with_epoch(&self, root: &RootKey, begun_at: i64) -> Result<Self, Error> {
        let key = Zeroizing::new(random::<SECRET_BYTES>()?);
        let empty = Wrapped { nonce: [0; 12], sealed: [0; 48] };
        let mut entry = Entry { number: self.next, begun_at, key: empty };
        entry.key = Wrapped::new(&root.ring_wrap(), &entry.aad(self.id), &key)?;
        let mut ring = self.clone();
        ring.next += 1;
        ring.entries.push(entry);
        Ok(ring)
    }

    /// The same without these epochs.
    pub(crate) fn without(&self, mut is_gone: impl FnMut(&Entry) -> bool) -> Self {
        let mut ring = self.clone();
        ring.entries.retain(|entry| !is_gone(entry));
        ring
    }

    /// The same under another root key.
    pub(crate) fn rewrapped(&self, from: &RootKey, to: &RootKey) -> Result<Self, Error> {
        let mut ring = self.clone();
        ring.root_id = to.key_id();
        ring.base = Wrapped::new(&to.ring_wrap(), &base_aad(self.id), self.base(from)?.expose())?;
        for entry in &mut ring.entries {
            let aad = entry.aad(self.id);
            let key = entry.key.open(&from.ring_wrap(), &aad).ok_or(WRAPPING_FAILED)?;
            entry.key = Wrapped::new(&to.ring_wrap(), &aad, &key)?;
        }
        Ok(ring)
    }

    /// One copy, as it stands on the disk.
    pub(crate) fn encode(&self, root: &RootKey) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RING_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.root_id);
        bytes.extend_from_slice(&self.next.to_le_bytes());
        bytes.extend_from_slice(&self.kept_through.to_le_bytes());
        push_wrapped(&mut bytes, &self.base);
        bytes.resize(ENTRIES_AT, 0);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.number.to_le_bytes());
            bytes.extend_from_slice(&entry.begun_at.to_le_bytes());
            push_wrapped(&mut bytes, &entry.key);
            bytes.extend_from_slice(&[0; 4]);
        }
        bytes.resize(MAC_AT, 0);
        let mac = mac(&root.ring_mac(), &[&bytes]);
        bytes.extend_from_slice(&mac);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Without a root key, the MAC is not checked.
    pub(crate) fn decode(bytes: &[u8], root: Option<&RootKey>) -> Copy {
        if bytes.len() != RING_BYTES || !crc_is_right(bytes) {
            return Copy::Rot;
        }
        let (Some(authenticated), Some(found)) = (bytes.get(..MAC_AT), bytes.get(MAC_AT..MAC_AT + 32)) else {
            return Copy::Rot;
        };
        let ring = match Self::fields(authenticated) {
            Some(Ok(ring)) => ring,
            Some(Err(version)) => return Copy::Version(version),
            None => return Copy::Rot,
        };
        let Some(root) = root else { return Copy::Whole(ring) };
        let Some(root) = root.of_id(ring.root_id) else {
            return Copy::OtherRoot { generation: ring.generation };
        };
        let right = mac(&root.ring_mac(), &[authenticated]);
        if constant_time::verify_slices_are_equal(&right, found).is_err() {
            return Copy::Tampered;
        }
        Copy::Whole(ring)
    }

    fn fields(bytes: &[u8]) -> Option<Result<Self, u16>> {
        let mut f = Fields(bytes.strip_prefix(&MAGIC)?);
        let version = f.u16()?;
        if version != VERSION {
            return Some(Err(version));
        }
        f.u16()?;
        let count = usize::try_from(f.u32()?).ok().filter(|count| *count <= EPOCHS_MAX)?;
        let mut ring = Self {
            generation: f.u64()?,
            id: f.array()?,
            root_id: f.array()?,
            next: f.u64()?,
            kept_through: f.u64()?,
            base: Wrapped { nonce: f.array()?, sealed: f.array()? },
            entries: Vec::with_capacity(count),
        };
        f.array::<{ ENTRIES_AT - 132 }>()?;
        for _ in 0..count {
            let (number, begun_at) = (f.u64()?, f.i64()?);
            let key = Wrapped { nonce: f.array()?, sealed: f.array()? };
            f.u32()?;
            ring.entries.push(Entry { number, begun_at, key });
        }
        let numbers = ring.entries.iter().map(|entry| entry.number);
        let is_sound = numbers.is_sorted_by(|a, b| a < b)
            && ring.entries.iter().all(|entry| entry.number > 0 && entry.number < ring.next);
        is_sound.then_some(Ok(ring))
    }

    /// Reads both copies; with a root key, their MACs are checked.
    pub(crate) fn read(spool: &Path, root: Option<&RootKey>) -> Result<[Copy; 2], Error> {
        let [a, b] = COPIES.map(|name| {
            let path = path(spool, name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Self::decode(&bytes, root)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Copy::Missing),
                Err(e) => Err(Error::io("read", &path, e)),
            }
        });
        Ok([a?, b?])
    }

    /// Writes one copy and makes it durable. A missing file is made.
    pub(crate) fn write(
        &self,
        disk: &dyn Disk,
        spool: &Path,
        copy: usize,
        root: &RootKey,
    ) -> Result<(), Error> {
        let path = path(spool, COPIES.get(copy).copied().unwrap_or_default());
        let bytes = self.encode(root);
        write(disk, &path, &bytes).map_err(|e| Error::io("write", &path, e))
    }
}

pub(crate) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.len() != RING_BYTES as u64 {
        disk.allocate(&file, RING_BYTES as u64)?;
    }
    disk.write_at(&file, bytes, 0)?;
    disk.sync_data(&file)?;
    // Once a day; so that the name is durable too, whenever the file was made.
    path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

fn push_wrapped(bytes: &mut Vec<u8>, wrapped: &Wrapped) {
    bytes.extend_from_slice(&wrapped.nonce);
    bytes.extend_from_slice(&wrapped.sealed);
}

/// A ring's base key, unwrapped. `None`: under another root key, of another ring, or changed.
pub(crate) fn base_of(base: &Wrapped, ring: KeyId, root: &RootKey) -> Option<Result<Keys, Error>> {
    let mut base = base.open(&root.ring_wrap(), &base_aad(ring))?;
    Some(Keys::new(&mut base))
}

fn base_aad(ring: KeyId) -> Vec<u8> {
    [b"base".as_slice(), &ring].concat()
}

/// A file of the ring.
pub(crate) fn path(spool: &Path, name: &str) -> PathBuf {
    spool.join(KEYS_DIR).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn root(seed: u8) -> RootKey {
        RootKey::new(&mut [seed; 32]).unwrap()
    }

    #[test]
    fn a_copy_reads_back_under_its_root_key_alone_and_every_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(KEYS_DIR)).unwrap();
        let ring = Ring::random(&root(1)).unwrap().with_epoch(&root(1), 7).unwrap();
        ring.write(&RealDisk, dir.path(), 1, &root(1)).unwrap();
        let read = |seed: u8| Ring::read(dir.path(), Some(&root(seed))).unwrap();
        assert_eq!(read(1), [Copy::Missing, Copy::Whole(ring.clone())]);
        assert_eq!(read(2), [Copy::Missing, Copy::OtherRoot { generation: 1 }]);
        let bytes = ring.encode(&root(1));
        assert_eq!(bytes.len(), RING_BYTES);
        for bit in (0..420 * 8).chain((MAC_AT - 8) * 8..RING_BYTES * 8) {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ring::decode(&spoilt, Some(&root(1))), Copy::Rot, "bit {bit}");
            // With a right CRC it is tampering, another root key's or another version, and never believed.
            let crc = crc32c::crc32c(&spoilt[..RING_BYTES - 4]).to_le_bytes();
            spoilt[RING_BYTES - 4..].copy_from_slice(&crc);
            let is_crc = bit / 8 >= RING_BYTES - 4;
            assert_eq!(matches!(Ring::decode(&spoilt, Some(&root(1))), Copy::Whole(_)), is_crc, "bit {bit}");
        }
    }

    #[test]
    fn keys_open_under_their_own_root_and_in_their_own_place_alone() {
        let ring = Ring::random(&root(1)).unwrap();
        let ring = ring.with_epoch(&root(1), 7).unwrap().with_epoch(&root(1), 7).unwrap();
        let keys: Vec<_> = [1, 2].map(|n| *ring.epoch_key(&root(1), n).unwrap()).to_vec();
        assert_ne!(keys[0], keys[1]);
        assert!(ring.epoch_key(&root(2), 1).is_none());
        let mut swapped = ring.clone();
        swapped.entries[0].key = ring.entries[1].key;
        assert!(swapped.epoch_key(&root(1), 1).is_none());
        let moved = ring.rewrapped(&root(1), &root(2)).unwrap();
        assert_eq!(*moved.epoch_key(&root(2), 2).unwrap(), keys[1]);
        assert!(moved.epoch_key(&root(1), 2).is_none());
        assert_eq!(moved.base(&root(2)).unwrap().mac("x", b"y"), ring.base(&root(1)).unwrap().mac("x", b"y"));
        assert!(ring.without(|e| e.number == 1).epoch_key(&root(1), 1).is_none());
    }
}
