//! `wardgate keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use spool::SecretSource;

use super::Config;

/// How a root key is kept.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Provider {
    /// In the clear, in a file of mode 0600.
    KeyFile,
    /// Under a passphrase, stretched with Argon2id.
    Passphrase,
    /// Under a credential of the service manager.
    Credential,
    /// By this machine's TPM 2.0.
    Tpm2,
    /// By a key in an HSM, over PKCS#11.
    Pkcs11,
}

/// How the root key shall be kept.
#[derive(Debug, Clone, Args)]
pub(crate) struct Protect {
    /// What keeps it.
    #[arg(long, value_enum)]
    pub(crate) provider: Option<Provider>,
    /// Where the passphrase is read from at every start: file:PATH or credential:NAME.
    #[arg(long, value_name = "SOURCE", requires = "provider", required_if_eq("provider", "passphrase"))]
    pub(crate) passphrase: Option<SecretSource>,
    /// The credential's name in $CREDENTIALS_DIRECTORY; at least 32 random bytes.
    #[arg(long, value_name = "NAME", requires = "provider", required_if_eq("provider", "credential"))]
    pub(crate) credential: Option<String>,
    /// The TPM: the kernel's resource manager, or the UNIX socket of a software TPM.
    #[arg(long, value_name = "PATH", default_value = "/dev/tpmrm0", requires = "provider")]
    pub(crate) device: PathBuf,
    /// The HSM vendor's PKCS#11 library.
    #[arg(long, value_name = "FILE", requires = "provider", required_if_eq("provider", "pkcs11"))]
    pub(crate) module: Option<PathBuf>,
    /// The label of the HSM's token.
    #[arg(long, value_name = "LABEL", requires = "provider", required_if_eq("provider", "pkcs11"))]
    pub(crate) token: Option<String>,
    /// The label of the AES key in the HSM; made there when there is none.
    #[arg(long, value_name = "LABEL", default_value = "wardgate", requires = "provider")]
    pub(crate) key_label: String,
    /// Where the HSM's PIN is read from at every start: file:PATH or credential:NAME.
    #[arg(long, value_name = "SOURCE", requires = "provider", required_if_eq("provider", "pkcs11"))]
    pub(crate) pin: Option<SecretSource>,
}

/// What wraps a recovery copy.
#[derive(Debug, Clone, Args)]
pub(crate) struct EscrowTo {
    /// A key of AWS KMS: its id, ARN or alias. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who asks.
    #[arg(
        long,
        value_name = "KEY",
        requires = "kms_region",
        conflicts_with = "passphrase",
        required_unless_present = "passphrase"
    )]
    pub(crate) kms_key: Option<String>,
    /// The key's region.
    #[arg(long, value_name = "REGION", requires = "kms_key")]
    pub(crate) kms_region: Option<String>,
    /// Where the service is, when it is not where the region says.
    #[arg(long, value_name = "URL", requires = "kms_key")]
    pub(crate) kms_endpoint: Option<String>,
    /// PEM file of the authority of the service's certificate, when it is no public one.
    #[arg(long, value_name = "FILE", requires = "kms_key")]
    pub(crate) kms_ca: Option<PathBuf>,
    /// A passphrase instead: file:PATH or credential:NAME.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) passphrase: Option<SecretSource>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// How the root key is kept and what that is worth, and the key epochs.
    Status {
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the root key before the first start, kept in another way than in a plain file.
    Init {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        protect: Protect,
    },
    /// Exchange the root key for a new one; with --provider, kept in another way. Records stay as they are.
    Rotate {
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        protect: Protect,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Destroy the key of an epoch, so that nobody can read its records; refused while they are needed.
    Erase {
        /// Its number.
        #[arg(long, conflicts_with = "day", required_unless_present = "day")]
        epoch: Option<u64>,
        /// All epochs that began on this day (UTC), such as 2026-11-24.
        #[arg(long, value_name = "DATE")]
        day: Option<String>,
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a recovery copy of the root key, to be kept elsewhere.
    Escrow {
        /// Where to; must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        to: EscrowTo,
        #[command(flatten)]
        config: Config,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put the root key back from a recovery copy, when its key file, TPM or HSM is lost.
    Recover {
        /// The copy.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        protect: Protect,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}
