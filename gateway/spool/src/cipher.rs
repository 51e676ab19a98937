//! Sealing and opening frames, and the keys that belong to one log.

use std::sync::Arc;

use aws_lc_rs::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use aws_lc_rs::{constant_time, digest};
use model::Timestamp;
use zeroize::Zeroizing;

use crate::Error;
use crate::config::SuiteChoice;
use crate::disk::Disk;
use crate::epochs::{Epochs, LASTING, NoKey};
use crate::format::{FRAME_AAD_BYTES, FrameHeader, SegmentHeader, Suite, TAG_BYTES, Tag};
use crate::keys::{self, Entropy, KeyId};
use crate::spool::JOURNAL;

const IDENTITY_BYTES: usize = 32;
const SEALING_FAILED: Error = Error::Internal("sealing failed");

impl Suite {
    /// The algorithm for new segments.
    pub(crate) fn choose(choice: SuiteChoice) -> Self {
        match choice {
            SuiteChoice::Aes256Gcm => Self::Aes256Gcm,
            SuiteChoice::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
            SuiteChoice::Auto if has_aes() => Self::Aes256Gcm,
            SuiteChoice::Auto => Self::ChaCha20Poly1305,
        }
    }

    pub(crate) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}
#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
const fn has_aes() -> bool {
    false
}

/// The keys of one log: header authentication, and the epochs that wrap its data keys.
#[derive(Debug)]
pub(crate) struct LogKeys {
    log: String,
    mac: Zeroizing<[u8; 32]>,
    epochs: Arc<Epochs>,
    entropy: Arc<dyn Entropy>,
}

/// Why a header's data key cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// Written under another ring of keys.
    OtherKey,
    /// The header is not what was written.
    Tampered,
    /// The key of its epoch was destroyed.
    Erased,
}

impl LogKeys {
    pub(crate) fn of(epochs: &Arc<Epochs>, log: &str) -> Self {
        let mac = epochs.keys().header_mac(log);
        Self { log: log.to_owned(), mac, epochs: Arc::clone(epochs), entropy: Arc::new(keys::System) }
    }

    /// The same with randomness from elsewhere.
    pub(crate) fn with_entropy(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ..self }
    }

    /// The id of the ring.
    pub(crate) fn key_id(&self) -> KeyId {
        self.epochs.id()
    }

    pub(crate) const fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// The key epoch in which a segment is begun now; see [`Epochs::begin`].
    pub(crate) fn begin(&self, now: Timestamp, disk: &dyn Disk) -> Result<u64, Error> {
        if self.log == JOURNAL { Ok(LASTING) } else { self.epochs.begin(now, disk) }
    }

    /// Random bytes, for names and keys.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// HMAC under the log's header key.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        keys::mac(&self.mac, parts)
    }

    pub(crate) fn mac_is_right(&self, parts: &[&[u8]], mac: &[u8; 32]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(parts), mac).is_ok()
    }

    fn kek(&self, key_epoch: u64) -> Result<LessSafeKey, Locked> {
        let kek = self.epochs.kek(key_epoch, &self.log).map_err(|why| match why {
            NoKey::Erased => Locked::Erased,
            NoKey::Wrong => Locked::Tampered,
        })?;
        let kek = UnboundKey::new(&AES_256_GCM, kek.as_slice()).map_err(|_| Locked::Tampered)?;
        Ok(LessSafeKey::new(kek))
    }

    /// Makes a data key for a new segment, wrapped under the header's key epoch; fills in key id, wrapped key and MAC.
    pub(crate) fn create(&self, mut header: SegmentHeader) -> Result<(SegmentHeader, SegmentCipher), Error> {
        header.key_id = self.key_id();
        header.wrap_nonce = self.random()?;
        let dek = Zeroizing::new(self.random::<32>()?);
        let identity = identity(&header);
        let mut wrapped = Zeroizing::new(Vec::with_capacity(header.wrapped.len()));
        wrapped.extend_from_slice(dek.as_slice());
        self.kek(header.key_epoch)
            .map_err(|_| SEALING_FAILED)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(header.wrap_nonce),
                Aad::from(identity),
                &mut *wrapped,
            )
            .map_err(|_| SEALING_FAILED)?;
        header.wrapped = wrapped.as_slice().try_into().map_err(|_| SEALING_FAILED)?;
        header.mac = self.mac(&[&header.authenticated()]);
        let cipher = SegmentCipher::new(header.suite, dek.as_slice(), identity)?;
        Ok((header, cipher))
    }

    /// Checks the MAC and unwraps the data key. [`Locked::Erased`]: the header itself is right.
    pub(crate) fn unlock(&self, header: &SegmentHeader) -> Result<SegmentCipher, Locked> {
        if header.key_id != self.key_id() {
            return Err(Locked::OtherKey);
        }
        if !self.mac_is_right(&[&header.authenticated()], &header.mac) {
            return Err(Locked::Tampered);
        }
        let kek = self.kek(header.key_epoch)?;
        let identity = identity(header);
        let mut wrapped = Zeroizing::new(header.wrapped);
        let nonce = Nonce::assume_unique_for_key(header.wrap_nonce);
        let dek = kek
            .open_in_place(nonce, Aad::from(identity), wrapped.as_mut_slice())
            .map_err(|_| Locked::Tampered)?;
        SegmentCipher::new(header.suite, dek, identity).map_err(|_| Locked::Tampered)
    }
}

fn identity(header: &SegmentHeader) -> [u8; IDENTITY_BYTES] {
    let mut out = [0; IDENTITY_BYTES];
    out.copy_from_slice(digest::digest(&digest::SHA256, &header.identity_bytes()).as_ref());
    out
}

/// The data key of one segment. aws-lc wipes it when dropped.
#[derive(Debug)]
pub(crate) struct SegmentCipher {
    key: LessSafeKey,
    identity: [u8; IDENTITY_BYTES],
    /// Tells keys apart without having them.
    #[cfg(test)]
    print: [u8; 32],
}

impl SegmentCipher {
    fn new(suite: Suite, dek: &[u8], identity: [u8; IDENTITY_BYTES]) -> Result<Self, Error> {
        let key = UnboundKey::new(suite.algorithm(), dek).map_err(|_| SEALING_FAILED)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            identity,
            #[cfg(test)]
            print: keys::mac(&[0; 32], &[dek]),
        })
    }

    /// Encrypts in place; returns the tag. The caller counts frames up and never reuses a number.
    pub(crate) fn seal(&self, header: &FrameHeader, body: &mut [u8]) -> Result<Tag, Error> {
        #[cfg(test)]
        crate::tests::nonces::note(self.print, header.frame);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(header.frame), self.aad(header), body)
            .map_err(|_| SEALING_FAILED)?;
        tag.as_ref().try_into().map_err(|_| SEALING_FAILED)
    }

    /// Decrypts a body (ciphertext and tag) in place; `None` when the tag is wrong.
    pub(crate) fn open(&self, header: &FrameHeader, mut body: Vec<u8>) -> Option<Vec<u8>> {
        let plain_len = self.key.open_in_place(nonce(header.frame), self.aad(header), &mut body).ok()?.len();
        body.truncate(plain_len);
        Some(body)
    }

    fn aad(&self, header: &FrameHeader) -> Aad<[u8; IDENTITY_BYTES + FRAME_AAD_BYTES]> {
        let mut aad = [0; IDENTITY_BYTES + FRAME_AAD_BYTES];
        for (to, from) in aad.iter_mut().zip(self.identity.iter().chain(&header.aad())) {
            *to = *from;
        }
        Aad::from(aad)
    }
}

fn nonce(frame: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    for (to, from) in bytes.iter_mut().skip(4).zip(frame.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

/// The last bytes of a body.
pub(crate) fn tag_of(body: &[u8]) -> Tag {
    body.last_chunk::<TAG_BYTES>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RootKey;
    use crate::disk::RealDisk;
    use crate::format::{Kind, Previous};

    /// The keys of a log in a spool of its own, with key epoch 1 begun.
    fn log_keys(log: &str) -> (tempfile::TempDir, LogKeys) {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKey::new(&mut [1; 32]).unwrap();
        let (epochs, _) = Epochs::open(dir.path(), &root, &RealDisk, false).unwrap();
        assert_eq!(epochs.begin(Timestamp::from_micros(0), &RealDisk).unwrap(), 1);
        let keys = LogKeys::of(&Arc::new(epochs), log);
        (dir, keys)
    }

    fn draft(suite: Suite) -> SegmentHeader {
        SegmentHeader {
            suite,
            segment_bytes: 1 << 20,
            key_id: [0; 16],
            gateway: [2; 32],
            log: SegmentHeader::log_name("bulk"),
            incarnation: [3; 16],
            epoch: 1,
            segment: 1,
            first_seq: 1,
            created_at: 0,
            previous: Previous::default(),
            key_epoch: 1,
            wrap_nonce: [0; 12],
            wrapped: [0; 48],
            mac: [0; 32],
        }
    }

    fn frame() -> FrameHeader {
        FrameHeader {
            body_len: 21,
            frame: 3,
            seq: 4,
            batch: 2,
            kind: Kind::Record,
            flags: 0,
            previous_tag: [9; 16],
        }
    }

    #[test]
    fn both_suites_open_what_they_sealed_and_nothing_else() {
        let (_dir, keys) = log_keys("bulk");
        for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
            let (header, cipher) = keys.create(draft(suite)).unwrap();
            let mut body = b"hello".to_vec();
            let tag = cipher.seal(&frame(), &mut body).unwrap();
            body.extend_from_slice(&tag);
            assert_ne!(&body[..5], b"hello");
            let again = keys.unlock(&header).unwrap();
            assert_eq!(again.open(&frame(), body.clone()).unwrap(), b"hello");
            let spoils: [fn(&mut FrameHeader); 6] = [
                |h| h.frame += 1,
                |h| h.seq += 1,
                |h| h.batch += 1,
                |h| h.kind = Kind::Footer,
                |h| h.flags = 1,
                |h| h.previous_tag[0] ^= 1,
            ];
            for (i, spoil) in spoils.iter().enumerate() {
                let mut other = frame();
                spoil(&mut other);
                assert!(again.open(&other, body.clone()).is_none(), "{i}");
            }
            // The same frame in a segment of another number, even under the same key, does not open.
            let mut moved = header.clone();
            moved.segment = 2;
            assert_eq!(keys.unlock(&moved).err(), Some(Locked::Tampered));
        }
    }

    #[test]
    fn another_ring_another_log_and_an_erased_epoch_are_told_apart() {
        let (_dir, keys) = log_keys("bulk");
        let (header, _) = keys.create(draft(Suite::Aes256Gcm)).unwrap();
        let other_log = LogKeys::of(keys.epochs(), "held");
        assert_eq!(other_log.unlock(&header).err(), Some(Locked::Tampered));
        let (_dir, other_ring) = log_keys("bulk");
        assert_eq!(other_ring.unlock(&header).err(), Some(Locked::OtherKey));
        keys.epochs().destroy(1, &RealDisk).unwrap();
        assert_eq!(keys.unlock(&header).err(), Some(Locked::Erased));
        assert!(keys.create(draft(Suite::Aes256Gcm)).is_err());
    }

    #[test]
    fn data_keys_are_never_alike() {
        let (_dir, keys) = log_keys("bulk");
        let (a, _) = keys.create(draft(Suite::Aes256Gcm)).unwrap();
        let (b, _) = keys.create(draft(Suite::Aes256Gcm)).unwrap();
        assert_ne!(a.wrapped, b.wrapped);
        assert_ne!(a.wrap_nonce, b.wrap_nonce);
    }
}
