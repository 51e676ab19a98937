//! Certificates made on the spot: for the demo, for tests and for the UI's own self-signed certificate.
//!
//! Keys are ECDSA P-256. A hospital's own authority issues the certificates of a real installation; nothing
//! here stores an authority's key.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Slug, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber,
};
use zeroize::Zeroizing;

use crate::error::What;
use crate::{Ca, Error, Identity, gateway_uri};

/// 9999-12-31T23:59:59Z, the last moment that X.509 can name (RFC 5280 section 4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

/// A private authority that lives as long as the process.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// [`Error::Issue`].
    pub fn new(name: &str, not_before: Timestamp, not_after: Timestamp) -> Result<Self, Error> {
        let mut params = params(name, not_before, not_after);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// A server's certificate for DNS names and IP addresses.
    ///
    /// # Errors
    /// [`Error::Issue`], also for a name that is neither.
    pub fn server(
        &self,
        names: &[&str],
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Issued, Error> {
        let mut params = params(names.first().copied().unwrap_or("server"), not_before, not_after);
        params.subject_alt_names = names.iter().map(|n| host(n)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
    }

    /// A gateway's certificate: one SAN URI `urn:wardgate:gateway:<slug>`, for the client side alone.
    ///
    /// # Errors
    /// [`Error::Issue`].
    pub fn gateway(
        &self,
        gateway: &Slug,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Issued, Error> {
        self.client(gateway.as_str(), &[&gateway_uri(gateway)], not_before, not_after)
    }

    /// A client's certificate with any SAN URIs (none for a client that is no gateway).
    ///
    /// # Errors
    /// [`Error::Issue`].
    pub fn client(
        &self,
        name: &str,
        uris: &[&str],
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Issued, Error> {
        let mut params = params(name, not_before, not_after);
        params.subject_alt_names = uris
            .iter()
            .map(|uri| Ok(SanType::URI((*uri).try_into()?)))
            .collect::<Result<_, rcgen::Error>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    /// A revocation list (RFC 5280 section 5) over these certificates, as PEM.
    ///
    /// # Errors
    /// [`Error::Issue`].
    pub fn revocations(
        &self,
        revoked: &[&Issued],
        this_update: Timestamp,
        next_update: Timestamp,
    ) -> Result<String, Error> {
        let revoked_certs = revoked
            .iter()
            .map(|issued| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&issued.serial),
                revocation_time: rcgen::date_time_ymd(1970, 1, 1) + since_1970(this_update),
                reason_code: Some(RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
            .collect();
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(1970, 1, 1) + since_1970(this_update),
            next_update: rcgen::date_time_ymd(1970, 1, 1) + since_1970(next_update),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    /// The authority's certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority, to be pinned.
    ///
    /// # Errors
    /// [`Error::Parse`], which would be a defect.
    pub fn ca(&self) -> Result<Ca, Error> {
        Ca::from_pem(self.certificate_pem.as_bytes(), Path::new("(throw-away authority)"))
    }

    /// Writes the authority's certificate.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_private(What::Authority, path, self.certificate_pem.as_bytes())
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, Error> {
        let serial = serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        Ok(Issued { certificate_pem: certificate.pem(), key_pem, serial })
    }
}

/// A certificate with its key.
pub struct Issued {
    certificate_pem: String,
    key_pem: Zeroizing<String>,
    serial: [u8; 16],
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued")
    }
}

impl Issued {
    /// Writes both as PEM, readable by this user alone (0600), each exchanged in one step. The key goes first:
    /// who reads between the two finds a pair that does not fit, and keeps what it has.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), Error> {
        write_private(What::Key, key, self.key_pem.as_bytes())?;
        write_private(What::Certificate, certificate, self.certificate_pem.as_bytes())
    }

    /// The identity, for use in this process.
    ///
    /// # Errors
    /// [`Error::Parse`], which would be a defect.
    pub fn identity(&self) -> Result<Identity, Error> {
        let nowhere = Path::new("(throw-away certificate)");
        Identity::from_pem(self.certificate_pem.as_bytes(), self.key_pem.as_bytes(), nowhere, nowhere)
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
}

/// A self-signed server certificate for DNS names and IP addresses: what the UI shows until it is given a better
/// one. People recognise it by [`Identity::fingerprint_sha256`].
///
/// # Errors
/// [`Error::Issue`], also for a name that is neither.
pub fn self_signed(names: &[&str], not_before: Timestamp, not_after: Timestamp) -> Result<Issued, Error> {
    let mut params = params(names.first().copied().unwrap_or("wardgate"), not_before, not_after);
    params.subject_alt_names = names.iter().map(|n| host(n)).collect::<Result<_, _>>()?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let serial = serial()?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let key = KeyPair::generate()?;
    let certificate_pem = params.self_signed(&key)?.pem();
    Ok(Issued { certificate_pem, key_pem: Zeroizing::new(key.serialize_pem()), serial })
}

fn params(name: &str, not_before: Timestamp, not_after: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Wardgate throw-away");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_before);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(not_after);
    params
}

fn host(name: &str) -> Result<SanType, rcgen::Error> {
    match name.parse::<IpAddr>() {
        Ok(ip) => Ok(SanType::IpAddress(ip)),
        Err(_) => Ok(SanType::DnsName(name.try_into()?)),
    }
}

/// 127 random bits, positive and short enough (RFC 5280 section 4.1.2.2).
fn serial() -> Result<[u8; 16], Error> {
    let mut serial = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|_| rustls::Error::General("the system gives no random numbers".to_owned()))?;
    let [first, ..] = &mut serial;
    *first = (*first & 0x7f) | 0x40;
    Ok(serial)
}

/// To X.509's precision, whole seconds; clamped to 1970 to 9999.
fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.seconds()).unwrap_or(0).min(LAST_SECOND))
}

fn write_private(what: What, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().map_err(|source| Error::File {
        what,
        path: path.to_owned(),
        source,
        next: "check that the folder exists and can be written to",
    })
}
