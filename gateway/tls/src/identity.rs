//! Who we are (a certificate chain with its key) and whom we trust (the pinned authorities).

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, What};

/// Largest PEM file read, in bytes.
pub const PEM_BYTES_MAX: u64 = 1 << 20;
/// Most certificates in a chain, the leaf included.
pub const CHAIN_CERTIFICATES_MAX: usize = 10;
/// Most authorities in one file.
pub const AUTHORITIES_MAX: usize = 100;

/// A certificate chain with its private key. Cheap to clone; the key is held by aws-lc-rs alone.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    path: PathBuf,
    not_before: Timestamp,
    not_after: Timestamp,
    fingerprint_sha256: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("path", &self.path)
            .field("fingerprint_sha256", &self.fingerprint_sha256)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a certificate chain (leaf first) and its unencrypted key (PKCS#8, PKCS#1 or SEC1), both PEM.
    /// Does not look at the clock: see [`Identity::check_validity`].
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Parse`] or [`Error::Mismatch`], naming the file and the next step.
    pub fn load(cert_chain_pem: &Path, key_pem: &Path) -> Result<Self, Error> {
        let chain = read(What::Certificate, cert_chain_pem)?;
        let key = read(What::Key, key_pem)?;
        Self::from_pem(&chain, &key, cert_chain_pem, key_pem)
    }

    /// The same from memory; the paths are used in errors only.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8], certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = certificates(What::Certificate, chain_pem, certificate, CHAIN_CERTIFICATES_MAX)?;
        let mut private = private_key(key_pem, key)?;
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private);
        private.zeroize();
        let signing = signing.map_err(|_| Error::Parse {
            what: What::Key,
            path: key.to_owned(),
            detail: "it is of a kind that is not supported".to_owned(),
            next: "use an ECDSA P-256 or P-384, an Ed25519 or an RSA key of at least 2048 bits",
        })?;
        let leaf = chain.first().map(parse_leaf).ok_or(()).and_then(|l| l).map_err(|()| Error::Parse {
            what: What::Certificate,
            path: certificate.to_owned(),
            detail: "its first certificate is not valid X.509".to_owned(),
            next: "have it issued again",
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                return Err(Error::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
            }
            Err(other) => return Err(Error::Crypto(other)),
        }
        Ok(Self {
            certified: Arc::new(certified),
            path: certificate.to_owned(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            fingerprint_sha256: leaf.fingerprint_sha256,
        })
    }

    /// Last second of the leaf's validity.
    pub fn expires_at(&self) -> Timestamp {
        self.not_after
    }

    /// First second of the leaf's validity.
    pub fn valid_from(&self) -> Timestamp {
        self.not_before
    }

    /// Lower-case hex SHA-256 of the leaf's DER: what a person compares.
    pub fn fingerprint_sha256(&self) -> &str {
        &self.fingerprint_sha256
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Whether a peer would accept the dates now.
    ///
    /// # Errors
    /// [`Error::Expired`] or [`Error::NotYetValid`].
    pub fn check_validity(&self, now: Timestamp) -> Result<(), Error> {
        if now > self.not_after {
            Err(Error::Expired { path: self.path.clone(), not_after: self.not_after })
        } else if now < self.not_before {
            Err(Error::NotYetValid { path: self.path.clone(), not_before: self.not_before })
        } else {
            Ok(())
        }
    }
}

/// The authorities that a link trusts, and what they have revoked. Pinned: the system's list plays no part.
#[derive(Clone)]
pub struct Ca {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) revocations: Vec<CertificateRevocationListDer<'static>>,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca")
            .field("authorities", &self.roots.len())
            .field("revocation_lists", &self.revocations.len())
            .finish()
    }
}

/// [`Ca::load`].
///
/// # Errors
/// As there.
pub fn load_ca(path: &Path) -> Result<Ca, Error> {
    Ca::load(path)
}

impl Ca {
    /// Reads one or more authorities from a PEM file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Parse`], naming the file and the next step.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_pem(&read(What::Authority, path)?, path)
    }

    /// From memory; the path is used in errors only.
    ///
    /// # Errors
    /// [`Error::Parse`].
    pub fn from_pem(pem: &[u8], path: &Path) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(What::Authority, pem, path, AUTHORITIES_MAX)? {
            roots.add(certificate).map_err(|_| Error::Parse {
                what: What::Authority,
                path: path.to_owned(),
                detail: "it holds a certificate that is not valid X.509".to_owned(),
                next: "export the authority's certificate again, as PEM",
            })?;
        }
        Ok(Self { roots: Arc::new(roots), revocations: Vec::new() })
    }

    /// Adds the revocation lists (RFC 5280 section 5) of a PEM file: certificates on them are refused, and so
    /// is every certificate of an authority here whose list is out of date.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Parse`].
    pub fn with_revocations(mut self, path: &Path) -> Result<Self, Error> {
        let unusable = |detail: &str| Error::Parse {
            what: What::Revocations,
            path: path.to_owned(),
            detail: detail.to_owned(),
            next: "export the list again, as PEM (\"BEGIN X509 CRL\")",
        };
        let pem = read(What::Revocations, path)?;
        for list in CertificateRevocationListDer::pem_slice_iter(&pem) {
            self.revocations.push(list.map_err(|_| unusable("it is not well-formed PEM"))?);
        }
        if self.revocations.is_empty() { Err(unusable("it holds no revocation list")) } else { Ok(self) }
    }
}

struct Leaf {
    not_before: Timestamp,
    not_after: Timestamp,
    fingerprint_sha256: String,
}

fn parse_leaf(der: &CertificateDer<'static>) -> Result<Leaf, ()> {
    let (_, x509) = x509_parser::parse_x509_certificate(der).map_err(|_| ())?;
    let at = |t: x509_parser::time::ASN1Time| Timestamp::from_micros(t.timestamp().saturating_mul(1_000_000));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    Ok(Leaf {
        not_before: at(x509.validity().not_before),
        not_after: at(x509.validity().not_after),
        fingerprint_sha256: hex::encode(digest),
    })
}

/// Reads a file, at most [`PEM_BYTES_MAX`] of it, into memory that is wiped.
fn read(what: What, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = |source: std::io::Error| {
        let next = match source.kind() {
            ErrorKind::NotFound => "check the path in the configuration",
            ErrorKind::PermissionDenied => "let the service's user read it (owner or group, mode 0640)",
            _ => "check the path and the disk",
        };
        Error::File { what, path: path.to_owned(), source, next }
    };
    // The whole room is reserved first, so that growing leaves no copy of a key behind.
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = File::open(path).map_err(file)?;
    let length = opened.metadata().map_err(file)?.len();
    if length > PEM_BYTES_MAX {
        return Err(Error::Parse {
            what,
            path: path.to_owned(),
            detail: format!("it has {length} bytes, and at most {PEM_BYTES_MAX} are read"),
            next: "check that the path names the PEM file",
        });
    }
    bytes.reserve_exact(usize::try_from(length).unwrap_or(0).saturating_add(1));
    opened.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(file)?;
    Ok(bytes)
}

fn certificates(
    what: What,
    pem: &[u8],
    path: &Path,
    count_max: usize,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unusable = |detail: String, next| Error::Parse { what, path: path.to_owned(), detail, next };
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| {
            unusable("it is not well-formed PEM".to_owned(), "export the certificate again, as PEM")
        })?;
        if found.len() == count_max {
            return Err(unusable(
                format!("it holds more than {count_max} certificates"),
                "leave only those that are needed",
            ));
        }
        found.push(certificate);
    }
    if found.is_empty() {
        return Err(unusable(
            "it holds no certificate (\"BEGIN CERTIFICATE\")".to_owned(),
            "check that the path names the certificate and not the key or a DER file",
        ));
    }
    Ok(found)
}

fn private_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        let holds = |text: &[u8]| pem.windows(text.len()).any(|w| w == text);
        let (detail, next) = if holds(b"ENCRYPTED") {
            (
                "the key is protected by a passphrase",
                "store it without: openssl pkey -in OLD -out NEW, readable by the service's user alone",
            )
        } else if holds(b"BEGIN CERTIFICATE") {
            ("it holds a certificate and no key", "check that certificate and key are not exchanged")
        } else {
            ("it holds no private key (\"BEGIN PRIVATE KEY\")", "check that the path names the key, as PEM")
        };
        Error::Parse { what: What::Key, path: path.to_owned(), detail: detail.to_owned(), next }
    })
}
