//! `log.id`: who a log is, in 156 bytes that are replaced as a whole.
//!
//! ```text
//!   0  magic "WGid"       4      88  epoch                       8
//!   4  version            2      96  floor: last record freed    8
//!   6  0                  2     104  head: newest segment known  8
//!   8  id of the ring    16     112  head: record known durable  8
//!  24  SHA-256 of gateway 32    120  HMAC-SHA-256 of 0..120     32
//!  56  log's name        16     152  CRC of 0..152               4
//!  72  incarnation       16
//! ```
//! The *floor* tells records that were freed from records that are missing at the front. The *head* is written
//! when a segment begins and when the log is closed: where the directory holds less than the head says, the
//! tail was lost. It is never used to believe in more than the segments show.
//!
//! Where the file itself is lost, incarnation and epoch come from the newest segment's header.

use std::fs;
use std::io;
use std::path::Path;

use crate::Error;
use crate::cipher::LogKeys;
use crate::disk::{self, Disk};
use crate::format::{Fields, VERSION, crc_is_right};
use crate::keys::KeyId;

const MAGIC: [u8; 4] = *b"WGid";
const MAC_AT: usize = 120;
const FILE_BYTES: usize = 156;
pub(crate) const FILE_NAME: &str = "log.id";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) key_id: KeyId,
    pub(crate) gateway: [u8; 32],
    pub(crate) log: [u8; 16],
    pub(crate) incarnation: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) floor: u64,
    pub(crate) head_segment: u64,
    pub(crate) head_seq: u64,
}

/// What became of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Missing,
    Rot,
    /// Whole, but its MAC is wrong; only found with the key.
    Tampered,
    Version(u16),
}

impl Identity {
    fn authenticated(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.key_id);
        bytes.extend_from_slice(&self.gateway);
        bytes.extend_from_slice(&self.log);
        bytes.extend_from_slice(&self.incarnation);
        for number in [self.epoch, self.floor, self.head_segment, self.head_seq] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        debug_assert_eq!(bytes.len(), MAC_AT);
        bytes
    }

    /// Replaces the file durably.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path, keys: &LogKeys) -> Result<(), Error> {
        let mut bytes = self.authenticated();
        let mac = keys.mac(&[b"log.id", &bytes]);
        bytes.extend_from_slice(&mac);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let path = dir.join(FILE_NAME);
        disk::replace(disk, &path, &bytes).map_err(|e| Error::io("replace", &path, e))
    }

    /// Reads the file; its MAC is checked when there are keys of the same id.
    pub(crate) fn load(dir: &Path, keys: Option<&LogKeys>) -> Result<Result<Self, Lost>, Error> {
        let path = dir.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(Lost::Missing)),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        if bytes.len() != FILE_BYTES || !crc_is_right(&bytes) {
            return Ok(Err(Lost::Rot));
        }
        let Some((identity, mac)) = Self::fields(&bytes) else { return Ok(Err(Lost::Rot)) };
        let identity = match identity {
            Ok(identity) => identity,
            Err(version) => return Ok(Err(Lost::Version(version))),
        };
        if let Some(keys) = keys
            && keys.key_id() == identity.key_id
            && !keys.mac_is_right(&[b"log.id", &identity.authenticated()], &mac)
        {
            return Ok(Err(Lost::Tampered));
        }
        Ok(Ok(identity))
    }

    fn fields(bytes: &[u8]) -> Option<(Result<Self, u16>, [u8; 32])> {
        let mut f = Fields(bytes.strip_prefix(&MAGIC)?);
        let version = f.u16()?;
        if version != VERSION {
            return Some((Err(version), [0; 32]));
        }
        f.u16()?;
        let identity = Self {
            key_id: f.array()?,
            gateway: f.array()?,
            log: f.array()?,
            incarnation: f.array()?,
            epoch: f.u64()?,
            floor: f.u64()?,
            head_segment: f.u64()?,
            head_seq: f.u64()?,
        };
        (identity.epoch > 0).then_some((Ok(identity), f.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RootKey;
    use crate::disk::RealDisk;
    use crate::epochs::Epochs;
    use crate::format::SegmentHeader;

    #[test]
    fn reads_back_notices_each_flipped_bit_and_names_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let root = RootKey::new(&mut [1; 32]).unwrap();
        let epochs = Epochs::open(dir.path(), &root, &RealDisk, false).unwrap().0;
        let keys = LogKeys::of(&std::sync::Arc::new(epochs), "urgent");
        let identity = Identity {
            key_id: keys.key_id(),
            gateway: [2; 32],
            log: SegmentHeader::log_name("urgent"),
            incarnation: [3; 16],
            epoch: 4,
            floor: 5,
            head_segment: 6,
            head_seq: 7,
        };
        assert_eq!(Identity::load(dir.path(), Some(&keys)).unwrap(), Err(Lost::Missing));
        identity.store(&RealDisk, dir.path(), &keys).unwrap();
        assert_eq!(Identity::load(dir.path(), Some(&keys)).unwrap(), Ok(identity));
        let path = dir.path().join(FILE_NAME);
        let bytes = fs::read(&path).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut spoilt = bytes.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &spoilt).unwrap();
            assert_eq!(Identity::load(dir.path(), Some(&keys)).unwrap(), Err(Lost::Rot), "bit {bit}");
        }
        // A right CRC over changed bytes is tampering, and only the key shows it.
        let mut forged = bytes.clone();
        forged[88] ^= 1;
        let crc = crc32c::crc32c(&forged[..152]).to_le_bytes();
        forged[152..].copy_from_slice(&crc);
        fs::write(&path, &forged).unwrap();
        assert_eq!(Identity::load(dir.path(), Some(&keys)).unwrap(), Err(Lost::Tampered));
        assert!(Identity::load(dir.path(), None).unwrap().is_ok());
    }
}
