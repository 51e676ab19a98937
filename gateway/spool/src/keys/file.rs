//! The key file: the root key in the clear or sealed, for its owner alone.
//!
//! Mode 0600. In the clear it is one line: `wardgate-root-key-1 ` and 64 hexadecimal digits. Sealed it is TOML:
//!
//! ```toml
//! wardgate_sealed_root_key = 1
//! root_key = "c1e5…"       # id of the root key, 32 hexadecimal digits
//! sealed = "…"             # what the provider made of it, hexadecimal
//! provider = "tpm2"        # and how to ask it: see the module `provider`
//! device = "/dev/tpmrm0"
//! ```
//! The id is authenticated with what is sealed (`wardgate root key ` and the id, as associated data), and checked against
//! what is unsealed.
//!
//! While the root key is being rotated, the next one stands beside it under the same name with `.next` behind, in
//! either form; the ring says which of the two is in force (module `ring`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::provider::Protection;
use super::{RootKey, random};
use crate::Error;
use crate::disk::{Disk, RealDisk};
use crate::locked::SECRET_BYTES;

const HEAD: &str = "wardgate-root-key-1 ";
const SEALED_VERSION: u32 = 1;
const KEY_FILE_BYTES_MAX: u64 = 16 << 10;

/// Where and how a root key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    path: PathBuf,
    protection: Protection,
}

/// A sealed key as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    wardgate_sealed_root_key: u32,
    root_key: String,
    sealed: String,
    #[serde(flatten)]
    protection: Protection,
}

impl KeyFile {
    /// The key, and the next one where a rotation was interrupted.
    pub(super) fn read(path: &Path, create: bool) -> Result<RootKey, Error> {
        // What it takes to unseal it may be missing too; that is another matter.
        let is_missing = |path: &Path, error: &Error| {
            matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
                && !path.exists()
        };
        let (key, protection) = match read(path) {
            Err(error) if is_missing(path, &error) && create => {
                make(path)?;
                read(path)?
            }
            Err(error) if is_missing(path, &error) => {
                let problem = "does not exist; restore it from where it is kept safe";
                return Err(Error::KeyFile { path: path.to_owned(), problem });
            }
            read => read?,
        };
        let file = Self { path: path.to_owned(), protection };
        let beside = file.next_path();
        let next = match read(&beside) {
            Ok((next, protection)) => Some(next.with(Self { path: path.to_owned(), protection }, None)),
            Err(error) if is_missing(&beside, &error) => None,
            // Cut off while it was being written: then nothing is under it yet.
            Err(Error::KeyFile { path, .. }) if path == beside => None,
            // If it is in force after all, the ring will say so.
            Err(error) => {
                tracing::warn!(%error, "the root key of an interrupted rotation cannot be had");
                None
            }
        };
        Ok(key.with(file, next))
    }

    pub(crate) const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The same file, kept in another way.
    pub(crate) fn kept_by(&self, protection: Protection) -> Self {
        Self { path: self.path.clone(), protection }
    }

    pub(crate) fn worth(&self) -> String {
        self.protection.worth_at(&self.path)
    }

    /// Handed over by the service manager, which alone can exchange it.
    pub(crate) fn is_credential(&self) -> bool {
        is_credential(&self.path)
    }

    pub(crate) fn next_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".next");
        PathBuf::from(name)
    }

    /// Puts the next key beside the one in force, durably.
    pub(crate) fn stage(&self, disk: &dyn Disk, key: &RootKey) -> Result<(), Error> {
        let path = self.next_path();
        let text = text(key, &self.protection)?;
        // What an earlier attempt left, under which nothing is.
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &path, e)),
            _ => {}
        }
        write_new(disk, &path, text.as_bytes()).map_err(|e| Error::io("write", &path, e))
    }

    /// The next key is in force: it takes the place of the former one.
    pub(crate) fn promote(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = self.next_path();
        disk.rename(&path, &self.path)
            .and_then(|()| disk.sync_dir(parent(&path)))
            .map_err(|e| Error::io("rename", &path, e))
    }

    /// The next key never came into force: it goes.
    pub(crate) fn discard(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = self.next_path();
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
            _ => Ok(()),
        }
    }
}

/// Writes a key to a file that must not exist yet.
pub(super) fn write_key(path: &Path, key: &RootKey, protection: &Protection) -> Result<(), Error> {
    write_private(path, text(key, protection)?.as_bytes())
}

/// Writes a file of mode 0600 that must not exist yet, and makes it durable.
///
/// # Errors
/// [`Error::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_new(&RealDisk, path, bytes).map_err(|e| Error::io("create", path, e))
}

fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    disk.write_at(&file, bytes, 0)?;
    disk.sync_data(&file)?;
    disk.sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn context(key: &str) -> String {
    format!("wardgate root key {key}")
}

fn text(key: &RootKey, protection: &Protection) -> Result<Zeroizing<String>, Error> {
    if *protection == Protection::KeyFile {
        return Ok(clear_text(key.expose()));
    }
    let sealed = protection.seal(key.expose(), context(&key.id()).as_bytes())?;
    let sealed = Sealed {
        wardgate_sealed_root_key: SEALED_VERSION,
        root_key: key.id(),
        sealed: hex::encode(sealed),
        protection: protection.clone(),
    };
    let text = toml::to_string(&sealed).map_err(|_| Error::Internal("a sealed key could not be written"))?;
    Ok(Zeroizing::new(text))
}

fn clear_text(secret: &[u8; SECRET_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(format!("{HEAD}{}\n", Zeroizing::new(hex::encode(secret)).as_str()))
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let problem = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let about = file.metadata().map_err(|e| Error::io("inspect", path, e))?;
    if !about.is_file() {
        return Err(problem("is not a regular file"));
    }
    if about.mode() & not_for_others(path) != 0 {
        return Err(problem("may be read or written by others than its owner; chmod 0600 it"));
    }
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    Ok(text)
}

fn sealed(path: &Path, text: &str) -> Result<Sealed, Error> {
    let problem = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let sealed: Sealed = toml::from_str(text).map_err(|_| {
        problem("is not a Wardgate key file: it begins with neither wardgate-root-key-1 nor wardgate_sealed_root_key")
    })?;
    if sealed.wardgate_sealed_root_key != SEALED_VERSION || sealed.protection == Protection::KeyFile {
        return Err(problem("was written by a newer version of this program"));
    }
    Ok(sealed)
}

fn read(path: &Path) -> Result<(RootKey, Protection), Error> {
    let problem = |problem| Error::KeyFile { path: path.to_owned(), problem };
    let text = read_text(path)?;
    if let Some(digits) = text.strip_prefix(HEAD).map(str::trim_end) {
        let mut secret = Zeroizing::new([0_u8; SECRET_BYTES]);
        hex::decode_to_slice(digits, secret.as_mut_slice())
            .map_err(|_| problem("does not hold 64 hexadecimal digits"))?;
        return Ok((RootKey::new(&mut secret)?, Protection::KeyFile));
    }
    let Sealed { root_key: id, sealed, protection, .. } = sealed(path, &text)?;
    let sealed = hex::decode(sealed).map_err(|_| problem("holds a sealed key that is no hexadecimal"))?;
    let key = RootKey::new(&mut *protection.unseal(&sealed, context(&id).as_bytes())?)?;
    if key.id() == id { Ok((key, protection)) } else { Err(problem("holds another root key than it says")) }
}

/// How the key in a file is kept, without asking for it.
pub(super) fn protection_of(path: &Path) -> Result<Protection, Error> {
    let text = read_text(path)?;
    if text.starts_with(HEAD) {
        return Ok(Protection::KeyFile);
    }
    Ok(sealed(path, &text)?.protection)
}

/// The mode bits that a key file must not have. The service manager's credentials lie in a folder that only the unit can
/// enter, and give the unit its right by an access list, which shows as the group's bit to read.
pub(super) fn not_for_others(path: &Path) -> u32 {
    if is_credential(path) { 0o037 } else { 0o077 }
}

pub(super) fn is_credential(path: &Path) -> bool {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    credentials.is_some_and(|folder| path.starts_with(folder))
}

fn make(path: &Path) -> Result<(), Error> {
    let parent = parent(path);
    let suffix: [u8; 8] = random()?;
    let text = clear_text(&Zeroizing::new(random::<SECRET_BYTES>()?));
    let temporary = parent.join(format!(".root-key-{}", hex::encode(suffix)));
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
        let missing = RootKey::from_file(&path, false).unwrap_err();
        assert!(missing.to_string().contains("does not exist"), "{missing}");
        let made = RootKey::from_file(&path, true).unwrap();
        let read = RootKey::from_file(&path, true).unwrap();
        assert_eq!(made.id(), read.id());
        assert_eq!(made.expose(), read.expose());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn what_others_may_read_or_no_key_at_all_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        RootKey::from_file(&path, true).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(RootKey::from_file(&path, true).unwrap_err().to_string().contains("chmod 0600"));
        let unknown = "wardgate_sealed_root_key = 1\nroot_key = \"\"\nsealed = \"\"\nprovider = \"moon\"\n";
        for junk in ["", "hello", "wardgate-root-key-1 abcd", "wardgate-root-key-1 ", unknown] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, junk).unwrap();
            assert!(matches!(RootKey::from_file(&path, true), Err(Error::KeyFile { .. })), "{junk}");
        }
    }

    #[test]
    fn a_sealed_key_file_says_how_it_is_kept_and_nothing_of_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let (path, words) = (dir.path().join("root.key"), dir.path().join("words"));
        write_private(&words, b"six random words in a row\n").unwrap();
        let passphrase = format!("file:{}", words.display()).parse().unwrap();
        let protection = Protection::Passphrase { passphrase };
        let key = RootKey::generate().unwrap();
        key.write_new(&path, &protection).unwrap();
        assert!(key.write_new(&path, &protection).is_err(), "never in the place of another");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("provider = \"passphrase\"") && text.contains(&key.id()), "{text}");
        assert!(!text.contains(&hex::encode(key.expose())));
        assert_eq!(protection_of(&path).unwrap(), protection);
        let read = RootKey::from_file(&path, false).unwrap();
        assert_eq!(read.expose(), key.expose());
        assert_eq!(read.file().unwrap().protection(), &protection);
        // The id is part of it.
        fs::write(&path, text.replace(&key.id(), &"0".repeat(32))).unwrap();
        assert!(RootKey::from_file(&path, false).is_err());
        fs::write(&path, &text).unwrap();
        fs::write(&words, "six other words in a row").unwrap();
        let wrong = RootKey::from_file(&path, true).unwrap_err();
        assert!(wrong.to_string().contains("the passphrase is wrong"), "{wrong}");
    }
}
