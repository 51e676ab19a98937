//! Secrets that a provider is asked with, and the credential as one.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Secret;
use crate::Error;
use crate::keys::file::not_for_others;
use crate::keys::wrapped::Wrapped;
use crate::keys::{derived, random};
use crate::locked::SECRET_BYTES;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;
/// Shortest credential that counts as a key.
const CREDENTIAL_BYTES_MIN: usize = 32;
const SALT_BYTES: usize = 16;

/// Where a secret is read from: `file:PATH`, a file for its owner alone, or `credential:NAME`, which the service
/// manager hands over in `$CREDENTIALS_DIRECTORY`. A line break at its end does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// A credential.
    Credential(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

impl FromStr for SecretSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            Some(("credential", name)) if is_credential_name(name) => Ok(Self::Credential(name.to_owned())),
            _ => Err(format!("{text:?} is neither file:PATH nor credential:NAME")),
        }
    }
}

impl TryFrom<String> for SecretSource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SecretSource> for String {
    fn from(source: SecretSource) -> Self {
        source.to_string()
    }
}

fn is_credential_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && name != "." && name != ".."
}

impl SecretSource {
    /// The secret.
    pub(crate) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| Error::Provider {
                    provider: "credential",
                    problem: format!("there is no credential {name}: the service manager handed over none")
                        .into(),
                })?;
                PathBuf::from(dir).join(name)
            }
        };
        let problem = |problem| Error::KeyFile { path: path.clone(), problem };
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let about = file.metadata().map_err(|e| Error::io("inspect", &path, e))?;
        if about.is_file() && about.mode() & not_for_others(&path) != 0 {
            return Err(problem("may be read or written by others than its owner; chmod 0600 it"));
        }
        let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX as usize));
        file.take(SECRET_BYTES_MAX).read_to_end(&mut secret).map_err(|e| Error::io("read", &path, e))?;
        while secret.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            secret.pop();
        }
        if secret.is_empty() { Err(problem("is empty")) } else { Ok(secret) }
    }
}

/// The key that a credential makes, for each salt another.
fn key_of(credential: &str, salt: &[u8; SALT_BYTES]) -> Result<Secret, Error> {
    let failed = |problem: String| Error::Provider { provider: "credential", problem: problem.into() };
    if !is_credential_name(credential) {
        return Err(failed(format!("{credential:?} is no name of a credential")));
    }
    let secret = SecretSource::Credential(credential.to_owned()).read()?;
    if secret.len() < CREDENTIAL_BYTES_MIN {
        return Err(failed(format!(
            "the credential {credential} is shorter than {CREDENTIAL_BYTES_MIN} bytes: make it of random bytes"
        )));
    }
    Ok(derived(&secret, &[b"provider/credential", salt]))
}

/// Salt 16, nonce 12, wrapped 48.
pub(super) fn seal_under_credential(
    credential: &str,
    secret: &[u8; SECRET_BYTES],
    context: &[u8],
) -> Result<Vec<u8>, Error> {
    let salt = random::<SALT_BYTES>()?;
    let wrapped = Wrapped::new(&*key_of(credential, &salt)?, context, secret)?;
    Ok([salt.as_slice(), &wrapped.nonce, &wrapped.sealed].concat())
}

pub(super) fn unseal_under_credential(
    credential: &str,
    sealed: &[u8],
    context: &[u8],
) -> Result<Secret, Error> {
    let failed = |problem: &str| Error::Provider { provider: "credential", problem: problem.into() };
    let (salt, wrapped) = sealed.split_first_chunk().ok_or_else(|| failed("the sealed key is cut short"))?;
    let wrapped = Wrapped::read(wrapped).ok_or_else(|| failed("the sealed key is cut short"))?;
    wrapped
        .open(&*key_of(credential, salt)?, context)
        .ok_or_else(|| failed("the key was sealed under another credential, or was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn sources_are_written_as_they_are_read_and_nothing_else_is_one() {
        for text in ["file:/run/pin", "credential:pin"] {
            assert_eq!(text.parse::<SecretSource>().unwrap().to_string(), text);
        }
        for junk in ["", "1234", "file:", "credential:", "credential:../x", "credential:..", "env:PIN"] {
            assert!(junk.parse::<SecretSource>().is_err(), "{junk}");
        }
    }

    #[test]
    fn what_others_may_read_and_what_is_empty_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        let source = SecretSource::File(path.clone());
        assert!(matches!(source.read(), Err(Error::Io { .. })));
        std::fs::write(&path, "1234\r\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(source.read().unwrap_err().to_string().contains("chmod 0600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.read().unwrap().as_slice(), b"1234");
        std::fs::write(&path, "\n").unwrap();
        assert!(source.read().is_err());
    }
}
