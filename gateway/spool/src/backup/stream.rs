//! The head of the file and its chunks: bytes in, the same bytes out or an error.

use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use model::Timestamp;
use zeroize::Zeroizing;

use super::unusable;
use crate::format::{Fields, TAG_BYTES, crc_is_right};
use crate::keys::ring::base_of;
use crate::keys::{self, KeyId, Wrapped};
use crate::{Error, Keys, RootKey};

const MAGIC: [u8; 8] = *b"WARDBKP\x01";
const VERSION: u16 = 1;
const SUITE_AES_256_GCM: u8 = 1;
/// Magic and version.
const FRONT_BYTES: usize = 10;
const FILE_KEY_AT: usize = 160;
const HEAD_BYTES: usize = 224;
/// Plaintext of a chunk.
const CHUNK_BYTES: usize = 1 << 20;
const PURPOSE: &str = "backup";
const SEALING_FAILED: Error = Error::Internal("a backup was not sealed");

/// What stands in the clear.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) key_id: KeyId,
    pub(super) gateway: [u8; 32],
    pub(super) id: [u8; 16],
    pub(super) made_at: Timestamp,
    pub(super) ring: KeyId,
    pub(super) base: Wrapped,
}

/// The key of one file, bound to its head.
#[derive(Debug)]
struct FileKey {
    key: LessSafeKey,
    aad: [u8; 32],
}

impl FileKey {
    fn new(secret: &[u8], head: &[u8]) -> Result<Self, Error> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).map_err(|_| SEALING_FAILED)?);
        let mut aad = [0; 32];
        aad.copy_from_slice(digest::digest(&digest::SHA256, head).as_ref());
        Ok(Self { key, aad })
    }

    fn nonce(chunk: u64, is_last: bool) -> Nonce {
        let mut bytes = [0; NONCE_LEN];
        let from = [u8::from(is_last), 0, 0, 0].into_iter().chain(chunk.to_be_bytes());
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = from);
        Nonce::assume_unique_for_key(bytes)
    }
}

impl Head {
    /// What comes before the file key.
    fn first_part(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[SUITE_AES_256_GCM, 0]);
        bytes.extend_from_slice(&self.key_id);
        bytes.extend_from_slice(&self.gateway);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&self.made_at.micros().to_le_bytes());
        bytes.extend_from_slice(&self.ring);
        push(&mut bytes, &self.base);
        debug_assert_eq!(bytes.len(), FILE_KEY_AT);
        bytes
    }

    /// What the base key of the spool gives. `None`: this root key is another, or somebody changed the head.
    pub(super) fn keys(&self, root: &RootKey) -> Option<Keys> {
        base_of(&self.base, self.ring, root)?.ok()
    }
}

/// Encrypts what is written, chunk by chunk.
pub(super) struct Sealer<W> {
    out: W,
    key: FileKey,
    chunk: u64,
    buffer: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    /// Writes the head, with a new file key in it.
    pub(super) fn begin(mut out: W, head: &Head, keys: &Keys) -> Result<Self, Error> {
        let mut bytes = head.first_part();
        let secret = Zeroizing::new(keys::random::<32>()?);
        let wrapped = Wrapped::new(&keys.derive(PURPOSE), &bytes, &secret)?;
        push(&mut bytes, &wrapped);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        out.write_all(&bytes).map_err(written)?;
        let key = FileKey::new(secret.as_slice(), &bytes)?;
        Ok(Self { out, key, chunk: 0, buffer: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES)) })
    }

    /// Takes the bytes in.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            // A chunk leaves when more is known to follow: the last one is never empty but in an empty file.
            if self.buffer.len() == CHUNK_BYTES {
                self.flush(false)?;
            }
            let room = CHUNK_BYTES.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn flush(&mut self, is_last: bool) -> Result<(), Error> {
        let nonce = FileKey::nonce(self.chunk, is_last);
        let tag = self
            .key
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(self.key.aad), self.buffer.as_mut_slice())
            .map_err(|_| SEALING_FAILED)?;
        self.chunk += 1;
        self.buffer.extend_from_slice(tag.as_ref());
        let len = self.buffer.len() as u32;
        self.out
            .write_all(&len.to_le_bytes())
            .and_then(|()| self.out.write_all(&[u8::from(is_last)]))
            .and_then(|()| self.out.write_all(&self.buffer))
            .map_err(written)?;
        self.buffer.clear();
        Ok(())
    }

    /// Without this the file is not whole.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.flush(true)?;
        self.out.flush().map_err(written)
    }
}

fn push(bytes: &mut Vec<u8>, wrapped: &Wrapped) {
    bytes.extend_from_slice(&wrapped.nonce);
    bytes.extend_from_slice(&wrapped.sealed);
}

fn written(error: io::Error) -> Error {
    Error::io("write", Path::new("the backup"), error)
}

/// Decrypts a file from its beginning.
pub(super) struct Opener<'p, R> {
    path: &'p Path,
    from: R,
    key: FileKey,
    chunk: u64,
    is_last: bool,
    buffer: Zeroizing<Vec<u8>>,
    at: usize,
}

/// Reads the head and says nothing yet of who may read on.
pub(super) fn read_head(path: &Path, from: &mut impl Read) -> Result<(Head, Vec<u8>), Error> {
    let mut bytes = vec![0; HEAD_BYTES];
    let none = || unusable(path, "is no backup of Wardgate");
    // What is told first is told of whatever is there: the rest of the head may have another length in a later version.
    let (front, rest) = bytes.split_at_mut(FRONT_BYTES);
    fill(path, from, front)?;
    let mut f = Fields(front.strip_prefix(&MAGIC).ok_or_else(none)?);
    let version = f.u16().ok_or_else(none)?;
    if version != VERSION {
        return Err(Error::Version { path: path.to_owned(), version });
    }
    fill(path, from, rest)?;
    if !crc_is_right(&bytes) {
        return Err(unusable(path, DAMAGED));
    }
    let mut f = Fields(bytes.get(FRONT_BYTES..).unwrap_or_default());
    let head = (|| {
        let [suite, zero] = f.array::<2>()?;
        let head = Head {
            key_id: f.array()?,
            gateway: f.array()?,
            id: f.array()?,
            made_at: Timestamp::from_micros(f.i64()?),
            ring: f.array()?,
            base: Wrapped { nonce: f.array()?, sealed: f.array()? },
        };
        (suite == SUITE_AES_256_GCM && zero == 0).then_some(head)
    })();
    Ok((head.ok_or_else(|| unusable(path, DAMAGED))?, bytes))
}

pub(super) const DAMAGED: &str = "is damaged or was changed; take another backup";
const CUT_OFF: &str = "is cut off: its end is missing; take another backup";

fn fill(path: &Path, from: &mut impl Read, into: &mut [u8]) -> Result<(), Error> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => unusable(path, CUT_OFF),
        _ => Error::io("read", path, error),
    })
}

impl<'p, R: Read> Opener<'p, R> {
    /// `head` is what [`read_head`] returned.
    pub(super) fn begin(path: &'p Path, from: R, head: &[u8], keys: &Keys) -> Result<Self, Error> {
        let (first_part, rest) = head.split_at_checked(FILE_KEY_AT).unwrap_or_default();
        let mut f = Fields(rest);
        let (Some(nonce), Some(sealed)) = (f.array(), f.array()) else {
            return Err(unusable(path, DAMAGED));
        };
        let secret = Wrapped { nonce, sealed }.open(&keys.derive(PURPOSE), first_part);
        let secret = secret.ok_or_else(|| unusable(path, DAMAGED))?;
        let key = FileKey::new(secret.as_slice(), head)?;
        Ok(Self { path, from, key, chunk: 0, is_last: false, buffer: Zeroizing::default(), at: 0 })
    }

    /// The next bytes, exactly as many.
    pub(super) fn take(&mut self, mut into: &mut [u8]) -> Result<(), Error> {
        while !into.is_empty() {
            if self.at == self.buffer.len() {
                if self.is_last {
                    return Err(unusable(self.path, DAMAGED));
                }
                self.next_chunk()?;
                continue;
            }
            let here = self.buffer.get(self.at..).unwrap_or_default();
            let n = here.len().min(into.len());
            let (now, later) = std::mem::take(&mut into).split_at_mut(n);
            now.copy_from_slice(here.get(..n).unwrap_or_default());
            self.at += n;
            into = later;
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<(), Error> {
        let damaged = || unusable(self.path, DAMAGED);
        let mut front = [0; 5];
        fill(self.path, &mut self.from, &mut front)?;
        let mut f = Fields(&front);
        let (Some(len), Some([flag])) = (f.u32(), f.array::<1>()) else { return Err(damaged()) };
        let len = len as usize;
        if !(TAG_BYTES..=CHUNK_BYTES + TAG_BYTES).contains(&len) || flag > 1 {
            return Err(damaged());
        }
        self.is_last = flag == 1;
        self.buffer.resize(len, 0);
        fill(self.path, &mut self.from, &mut self.buffer)?;
        let nonce = FileKey::nonce(self.chunk, self.is_last);
        let plain = self.key.key.open_in_place(nonce, Aad::from(self.key.aad), self.buffer.as_mut_slice());
        let len = plain.map_err(|_| damaged())?.len();
        self.buffer.truncate(len);
        self.chunk += 1;
        self.at = 0;
        Ok(())
    }

    /// Everything must have been read, and nothing may follow.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        while !self.is_last && self.at == self.buffer.len() {
            self.next_chunk()?;
        }
        let is_read = self.is_last && self.at == self.buffer.len();
        match self.from.read(&mut [0]) {
            Ok(0) if is_read => Ok(()),
            Ok(_) => Err(unusable(self.path, DAMAGED)),
            Err(error) => Err(Error::io("read", self.path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ring::Ring;

    fn root(seed: u8) -> RootKey {
        RootKey::new(&mut [seed; 32]).unwrap()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let ring = Ring::random(&root(7)).unwrap();
        let head = Head {
            key_id: root(7).key_id(),
            gateway: [1; 32],
            id: [2; 16],
            made_at: Timestamp::from_micros(3),
            ring: ring.id,
            base: *ring.wrapped_base(),
        };
        let mut out = Vec::new();
        let mut sealer = Sealer::begin(&mut out, &head, &ring.base(&root(7)).unwrap()).unwrap();
        for piece in plain.chunks(300_001) {
            sealer.put(piece).unwrap();
        }
        sealer.finish().unwrap();
        out
    }

    fn opened(bytes: &[u8], len: usize) -> Result<Vec<u8>, Error> {
        let path = Path::new("b");
        let mut from = bytes;
        let (head, raw) = read_head(path, &mut from)?;
        let keys = head.keys(&root(7)).ok_or_else(|| unusable(path, DAMAGED))?;
        let mut opener = Opener::begin(path, from, &raw, &keys)?;
        let mut plain = vec![0; len];
        opener.take(&mut plain)?;
        opener.finish()?;
        Ok(plain)
    }

    #[test]
    fn what_goes_in_comes_out_and_every_change_is_found() {
        for len in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
            let plain: Vec<u8> = (0..len).map(|n| (n * 31) as u8).collect();
            assert!(opened(&sealed(&plain), len).unwrap() == plain, "{len}");
        }
        let file = sealed(&[5; 300]);
        for bit in 0..file.len() * 8 {
            let mut changed = file.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&changed, 300).is_err(), "bit {bit}");
        }
        for len in 0..file.len() {
            let error = opened(&file[..len], 300).unwrap_err();
            assert!(error.to_string().contains("cut off"), "{len}: {error}");
        }
        let longer = [file.as_slice(), b"x"].concat();
        assert!(opened(&longer, 300).is_err());
        let (head, _) = read_head(Path::new("b"), &mut file.as_slice()).unwrap();
        assert!(head.keys(&root(8)).is_none(), "another root key");
    }

    #[test]
    fn chunks_cannot_be_left_out_moved_or_taken_for_the_last() {
        let len = 3 * CHUNK_BYTES;
        let file = sealed(&vec![5; len]);
        let head = file.len() - 3 * (CHUNK_BYTES + TAG_BYTES + 5);
        let (front, chunks) = file.split_at(head);
        let chunks: Vec<&[u8]> = chunks.chunks(CHUNK_BYTES + TAG_BYTES + 5).collect();
        let [a, b, c] = chunks[..] else { panic!("three chunks") };
        let mut last_too_early = b.to_vec();
        last_too_early[4] = 1;
        for (order, len) in [
            (vec![a, c], 2 * CHUNK_BYTES),
            (vec![b, a, c], len),
            (vec![a, a, c], len),
            (vec![a, &last_too_early], 2 * CHUNK_BYTES),
        ] {
            let changed = [front, &order.concat()].concat();
            assert!(opened(&changed, len).is_err());
        }
        assert!(opened(&[front, a, b].concat(), 2 * CHUNK_BYTES).is_err(), "the end is missing");
    }
}
