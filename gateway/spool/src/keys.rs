//! The root key and everything derived from it.
//!
//! **Promise.** No key but those wrapped under the root key is ever on the disk; derived keys are wiped when
//! dropped; a key never prints.
//!
//! One root key of 256 random bits, from a key file for now. Everything else is HKDF-SHA-256 (RFC 5869) with
//! the purpose as its `info`, so that no two uses share a key: `kek/<log>` wraps the data keys of segments,
//! `mac/<log>` authenticates headers, [`Keys::mac`] and [`Keys::derive`] serve the rest of the gateway under
//! `use/<purpose>`. The 16-byte *key id* is derived too; it stands in the clear in each header, so that a wrong
//! key is told from tampering before anything changes.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;
use crate::locked::{Locked, SECRET_BYTES};

const HEAD: &str = "wardgate-root-key-1 ";
const KEY_FILE_BYTES_MAX: u64 = 4096;
const SALT: &[u8] = b"wardgate spool root 1";

/// Which root key a file was written under, in the clear.
pub(crate) type KeyId = [u8; 16];

/// The root key. Cloning shares it.
#[derive(Clone)]
pub struct Keys {
    root: Arc<Locked>,
    id: KeyId,
}

struct Len(usize);
impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    /// Reads the key file. With `create`, a missing one is made: random, mode 0600, durable before it is used,
    /// and never in place of another.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it is missing, may be read by others or is no key file; [`Error::Io`].
    pub fn from_file(path: &Path, create: bool) -> Result<Self, Error> {
        let problem = |problem| Error::KeyFile { path: path.to_owned(), problem };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {
                make(path)?;
                File::open(path).map_err(|e| Error::io("open", path, e))?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(problem("does not exist; restore it from where it is kept safe"));
            }
            Err(e) => return Err(Error::io("open", path, e)),
        };
        let about = file.metadata().map_err(|e| Error::io("inspect", path, e))?;
        if !about.is_file() {
            return Err(problem("is not a regular file"));
        }
        if about.mode() & not_for_others(path) != 0 {
            return Err(problem("may be read or written by others than its owner; chmod 0600 it"));
        }
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
        let digits = text.strip_prefix(HEAD).map(str::trim_end).ok_or_else(|| {
            problem("is not a Wardgate key file: its first line begins with wardgate-root-key-1")
        })?;
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        hex::decode_to_slice(digits, secret.as_mut_slice())
            .map_err(|_| problem("does not hold 64 hexadecimal digits"))?;
        Self::new(&mut secret)
    }

    /// Takes a root key from elsewhere (a credential, a test); the source is wiped.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when there is no memory for it.
    pub fn new(secret: &mut [u8; SECRET_BYTES]) -> Result<Self, Error> {
        let root =
            Locked::new(secret).map_err(|e| Error::io("map memory for", Path::new("the root key"), e))?;
        let mut keys = Self { root: Arc::new(root), id: [0; 16] };
        let mut id = [0; 16];
        keys.expand(&[b"key id"], &mut id);
        keys.id = id;
        Ok(keys)
    }

    /// HMAC-SHA-256 (RFC 2104) of `bytes` under a key of its own for each purpose.
    pub fn mac(&self, purpose: &str, bytes: &[u8]) -> [u8; 32] {
        mac(&self.derive(purpose), &[bytes])
    }

    /// A 256-bit key of its own for each purpose.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        self.derived(&[b"use/", purpose.as_bytes()])
    }

    /// What stands in the clear for this key, as 32 lower-case hex digits.
    pub fn id(&self) -> String {
        hex::encode(self.id)
    }

    pub(crate) const fn key_id(&self) -> KeyId {
        self.id
    }

    /// The key that wraps the data keys of a log's segments.
    pub(crate) fn kek(&self, log: &str) -> Zeroizing<[u8; 32]> {
        self.derived(&[b"kek/", log.as_bytes()])
    }

    /// The key that authenticates a log's headers.
    pub(crate) fn header_mac(&self, log: &str) -> Zeroizing<[u8; 32]> {
        self.derived(&[b"mac/", log.as_bytes()])
    }

    fn derived(&self, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.expand(info, key.as_mut_slice());
        key
    }

    fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        let prk: Prk = Salt::new(HKDF_SHA256, SALT).extract(self.root.expose());
        let filled = prk.expand(info, Len(out.len())).and_then(|okm| okm.fill(out));
        // HKDF fails only for more than 255 × 32 bytes.
        debug_assert!(filled.is_ok());
    }
}

/// The mode bits that a key file must not have. The service manager's credentials lie in a folder that only the unit can
/// enter, and give the unit its right by an access list, which shows as the group's bit to read.
fn not_for_others(path: &Path) -> u32 {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(std::path::PathBuf::from);
    if credentials.is_some_and(|folder| path.starts_with(folder)) { 0o037 } else { 0o077 }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.id())
    }
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

/// Random bytes from the operating system's seeded generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| Error::Internal("no random bytes"))?;
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

fn make(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut secret: [u8; SECRET_BYTES] = random()?;
    let mut suffix: [u8; 8] = random()?;
    let text = Zeroizing::new(format!("{HEAD}{}\n", Zeroizing::new(hex::encode(secret)).as_str()));
    secret.zeroize();
    let temporary = parent.join(format!(".root-key-{}", hex::encode(suffix)));
    suffix.zeroize();
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, fails where another process was faster: its key stays.
        match fs::hard_link(&temporary, path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        File::open(parent)?.sync_all()
    })();
    let removed = fs::remove_file(&temporary);
    written.and(removed).map_err(|e| Error::io("create", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let missing = Keys::from_file(&path, false).unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        let made = Keys::from_file(&path, true).unwrap();
        let read = Keys::from_file(&path, true).unwrap();
        assert_eq!(made.id(), read.id());
        assert_eq!(made.mac("x", b"y"), read.mac("x", b"y"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn what_others_may_read_or_no_key_at_all_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        Keys::from_file(&path, true).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Keys::from_file(&path, true).unwrap_err().to_string().contains("chmod 0600"));
        for junk in ["", "hello", "wardgate-root-key-1 abcd", "wardgate-root-key-1 "] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, junk).unwrap();
            assert!(matches!(Keys::from_file(&path, true), Err(Error::KeyFile { .. })), "{junk}");
        }
    }

    #[test]
    fn purposes_and_roots_do_not_share_keys() {
        let a = Keys::new(&mut [1; 32]).unwrap();
        let b = Keys::new(&mut [2; 32]).unwrap();
        let all = [
            a.mac("x", b"z"),
            a.mac("y", b"z"),
            b.mac("x", b"z"),
            *a.derive("x"),
            *a.derive("y"),
            *a.kek("x"),
            *a.header_mac("x"),
            *a.derive("kek/x"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
        assert!(!format!("{a:?}").contains("0101"));
        // HKDF and HMAC pinned against an independent implementation (Python hmac), so that a disk stays readable.
        assert_eq!(a.id(), pinned::ID);
        assert_eq!(hex::encode(a.mac("x", b"z")), pinned::MAC);
    }

    mod pinned {
        pub(super) const ID: &str = "c1e5cb9b8241b1de4c476e4e27f2888e";
        pub(super) const MAC: &str = "5d6df349848dbc611796b3f75be1528599cb86a3d9060cf60a5feb6a703e0c24";
    }
}
