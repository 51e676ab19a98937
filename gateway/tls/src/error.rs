//! What can be wrong with a certificate, a key or an authority, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use model::Timestamp;

/// Which of the files is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A certificate with its chain.
    Certificate,
    /// A private key.
    Key,
    /// The pinned authorities.
    Authority,
    /// A certificate revocation list.
    Revocations,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Authority => "certificate authority",
            Self::Revocations => "revocation list",
        })
    }
}

/// Why an identity or an authority cannot be used. All but [`Error::Peer`] and [`Error::Crypto`] are for the
/// operator, name the file and say the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("the {what} file {} cannot be used: {source}; {next}", path.display())]
    File {
        /// Which file.
        what: What,
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// What to do.
        next: &'static str,
    },
    /// A file is not the PEM it should be.
    #[error("the {what} file {} is not usable: {detail}; {next}", path.display())]
    Parse {
        /// Which file.
        what: What,
        /// Where.
        path: PathBuf,
        /// What is wrong; never the content.
        detail: String,
        /// What to do.
        next: &'static str,
    },
    /// Certificate and key are not a pair.
    #[error(
        "the key {} does not belong to the certificate {}; put the key in place that the certificate was \
         requested with",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate {} expired on {not_after}; install a renewed one (no restart is needed)", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// Last second of its validity.
        not_after: Timestamp,
    },
    /// The certificate's time has not come.
    #[error(
        "the certificate {} is valid only from {not_before}; check this machine's clock, or wait",
        path.display()
    )]
    NotYetValid {
        /// The certificate's file.
        path: PathBuf,
        /// First second of its validity.
        not_before: Timestamp,
    },
    /// The peer's certificate does not say which gateway it is.
    #[error(
        "the peer's certificate {detail}; issue one with exactly one SAN URI urn:wardgate:gateway:<name>"
    )]
    Peer {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// rustls or aws-lc-rs refused a configuration; our own defect.
    #[error("the TLS configuration was refused: {0}")]
    Crypto(#[from] rustls::Error),
    /// A throw-away certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Issue(#[from] rcgen::Error),
}
