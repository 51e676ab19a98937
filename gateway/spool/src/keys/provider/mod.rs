//! Who keeps the root key, and what that is worth.
//!
//! The key file holds the root key itself, or the root key *sealed*: wrapped by what a provider keeps elsewhere. A
//! closed list:
//!
//! | provider | wraps with | lost with |
//! |---|---|---|
//! | `key-file` | nothing: the key stands in the file | the file |
//! | `passphrase` | AES-256-GCM under Argon2id (RFC 9106) of a passphrase | the passphrase |
//! | `credential` | AES-256-GCM under a credential that systemd hands over | the credential |
//! | `tpm2` | this machine's TPM 2.0 (module `tpm2`) | the board |
//! | `pkcs11` | an AES key that does not leave an HSM (module `pkcs11`) | the HSM |
//!
//! What is sealed can only be had on this machine or with that secret; so a recovery copy belongs elsewhere
//! (`wardgate keys escrow`). Secrets that a provider needs to answer (a passphrase, a PIN) come from a
//! [`SecretSource`], never from the configuration, the command line or the environment.

mod passphrase;
mod pkcs11;
mod secret;
mod tpm2;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use secret::SecretSource;

use crate::Error;
use crate::locked::SECRET_BYTES;

/// The root key, for a moment.
type Secret = Zeroizing<[u8; SECRET_BYTES]>;

/// How the root key is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "kebab-case")]
pub enum Protection {
    /// In the clear, in a file for its owner alone.
    #[default]
    KeyFile,
    /// Under a passphrase.
    Passphrase {
        /// Where it is read from, at every start.
        passphrase: SecretSource,
    },
    /// Under a credential of the service manager: `LoadCredentialEncrypted=` in the unit.
    Credential {
        /// Its name in `$CREDENTIALS_DIRECTORY`.
        credential: String,
    },
    /// By this machine's TPM 2.0.
    Tpm2 {
        /// `/dev/tpmrm0`, or the socket of a software TPM.
        device: PathBuf,
    },
    /// By a key in an HSM.
    Pkcs11 {
        /// The vendor's PKCS#11 library.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// The label of an AES key in it that may encrypt and decrypt. Made if there is none.
        key_label: String,
        /// Where the user's PIN is read from, at every start.
        pin: SecretSource,
    },
}

impl Protection {
    /// Its name, as written in the key file.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::Passphrase { .. } => "passphrase",
            Self::Credential { .. } => "credential",
            Self::Tpm2 { .. } => "tpm2",
            Self::Pkcs11 { .. } => "pkcs11",
        }
    }

    /// How the key in a file is kept, without unsealing it.
    ///
    /// # Errors
    /// [`Error::KeyFile`]; [`Error::Io`].
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        super::file::protection_of(path)
    }

    /// What it is worth, in a sentence or two for whoever must decide whether that is enough.
    pub fn worth_at(&self, path: &Path) -> String {
        match self {
            Self::KeyFile if super::file::is_credential(path) => "The key is a credential of the service manager: \
                 sealed to this machine where the unit loads it with LoadCredentialEncrypted=. It cannot be rotated \
                 from here; sealed under a credential, it could."
                .to_owned(),
            Self::KeyFile => "The key stands in a file: whoever takes the disk and the file reads everything. \
                 Good for a demonstration, or where the disk itself is encrypted."
                .to_owned(),
            Self::Passphrase { passphrase } => format!(
                "As strong as the passphrase, and as the place it is read from at every start ({passphrase}). \
                 The disk alone is worth nothing unless that place is on it."
            ),
            Self::Credential { credential } => format!(
                "As strong as the credential {credential}: sealed to this machine where the unit loads it with \
                 LoadCredentialEncrypted=. The disk alone is worth nothing where that means the TPM."
            ),
            Self::Tpm2 { .. } => "Sealed to this machine's TPM: the disk alone is worth nothing, in another machine \
                 either. Whoever runs programs as the gateway's user on this machine can unseal it. Lost with the \
                 board: keep a recovery copy."
                .to_owned(),
            Self::Pkcs11 { token, pin, .. } => format!(
                "Wrapped by a key that does not leave the HSM {token}: the disk alone is worth nothing. Whoever has \
                 the PIN ({pin}) and reaches the HSM can unwrap it. Lost with the HSM: keep a recovery copy."
            ),
        }
    }

    /// Wraps a root key; `context` names it and is authenticated.
    pub(super) fn seal(&self, secret: &[u8; SECRET_BYTES], context: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::KeyFile => Err(Error::Internal("a key file is not sealed")),
            Self::Passphrase { passphrase } => passphrase::seal(&passphrase.read()?, secret, context),
            Self::Credential { credential } => secret::seal_under_credential(credential, secret, context),
            Self::Tpm2 { device } => tpm2::seal(device, secret).map_err(|e| self.failed(e)),
            Self::Pkcs11 { module, token, key_label, pin } => {
                pkcs11::seal(module, token, key_label, &pin.read()?, secret, context)
                    .map_err(|e| self.failed(e))
            }
        }
    }

    /// The way back.
    pub(super) fn unseal(&self, sealed: &[u8], context: &[u8]) -> Result<Secret, Error> {
        match self {
            Self::KeyFile => Err(Error::Internal("a key file is not sealed")),
            Self::Passphrase { passphrase } => passphrase::unseal(&passphrase.read()?, sealed, context),
            Self::Credential { credential } => secret::unseal_under_credential(credential, sealed, context),
            Self::Tpm2 { device } => tpm2::unseal(device, sealed).map_err(|e| self.failed(e)),
            Self::Pkcs11 { module, token, key_label, pin } => {
                pkcs11::unseal(module, token, key_label, &pin.read()?, sealed, context)
                    .map_err(|e| self.failed(e))
            }
        }
    }

    fn failed(&self, problem: impl std::fmt::Display) -> Error {
        Error::Provider { provider: self.name(), problem: problem.to_string().into() }
    }
}
