//! What a verified certificate calls its holder, for allow-lists and for people.

use std::fmt;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Most subject alternative names that are looked at; the rest of a certificate with more names nobody.
pub const SAN_NAMES_MAX: usize = 64;
/// Longest name that is kept, in bytes. A longer one, or one that is not printable ASCII, does not count: it would
/// be a trick on the reader of a log.
pub const NAME_BYTES_MAX: usize = 253;
/// So much of a fingerprint stands for a certificate without a name.
const FINGERPRINT_SHOWN: usize = 16;

/// The names of a leaf certificate. Only ever taken from a chain that the handshake has verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerNames {
    uris: Vec<String>,
    dns: Vec<String>,
    common_name: Option<String>,
    fingerprint_sha256: String,
}

impl PeerNames {
    /// Reads a verified chain, leaf first, as rustls gives it. `None` where no certificate was shown.
    pub fn read(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
        let mut names = Self { fingerprint_sha256: hex::encode(digest), ..Self::default() };
        // What cannot be read names nobody; the fingerprint stands.
        let Ok((_, x509)) = x509_parser::parse_x509_certificate(leaf) else { return Some(names) };
        let common_name = x509.subject().iter_common_name().next().and_then(|cn| cn.as_str().ok());
        names.common_name = common_name.filter(|cn| printable(cn)).map(str::to_owned);
        if let Ok(Some(san)) = x509.subject_alternative_name() {
            for name in san.value.general_names.iter().take(SAN_NAMES_MAX) {
                match name {
                    GeneralName::URI(uri) if printable(uri) => names.uris.push((*uri).to_owned()),
                    GeneralName::DNSName(dns) if printable(dns) => names.dns.push(dns.to_ascii_lowercase()),
                    _ => {}
                }
            }
        }
        Some(names)
    }

    /// The URIs among the subject alternative names.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The DNS names among the subject alternative names, in lower case.
    pub fn dns(&self) -> &[String] {
        &self.dns
    }

    /// The subject's common name.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Lower-case hex SHA-256 of the certificate's DER.
    pub fn fingerprint_sha256(&self) -> &str {
        &self.fingerprint_sha256
    }
}

/// The one name by which a person knows the peer: the first URI, else the first DNS name, else the common name, else
/// the beginning of the fingerprint.
impl fmt::Display for PeerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.uris.first().or(self.dns.first()).map(String::as_str).or(self.common_name());
        match name {
            Some(name) => f.write_str(name),
            None => {
                write!(f, "sha256:{}", self.fingerprint_sha256.get(..FINGERPRINT_SHOWN).unwrap_or_default())
            }
        }
    }
}

fn printable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        && name.trim() == name
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::throwaway::{Authority, Issued};

    const FROM: Timestamp = Timestamp::from_micros(0);
    const TO: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

    fn names(issued: &Issued) -> PeerNames {
        PeerNames::read(issued.identity().unwrap().chain()).unwrap()
    }

    #[test]
    fn every_kind_of_name_is_read_and_the_best_is_shown() {
        let authority = Authority::new("test", FROM, TO).unwrap();
        let both = names(&authority.client("LAB01", &["urn:lab:1", "urn:lab:2"], FROM, TO).unwrap());
        assert_eq!(both.uris(), ["urn:lab:1", "urn:lab:2"]);
        assert_eq!((both.common_name(), both.to_string().as_str()), (Some("LAB01"), "urn:lab:1"));
        let dns = names(&authority.server(&["Lab.Example", "10.0.0.1"], FROM, TO).unwrap());
        assert_eq!((dns.dns(), dns.to_string().as_str()), (&["lab.example".to_owned()][..], "lab.example"));
        let bare = names(&authority.client("LAB01", &[], FROM, TO).unwrap());
        assert_eq!(bare.to_string(), "LAB01");
        assert_eq!(bare.fingerprint_sha256().len(), 64);
        assert_eq!(PeerNames::read(&[]), None);
    }

    #[test]
    fn a_name_that_would_trick_a_reader_is_none() {
        let authority = Authority::new("test", FROM, TO).unwrap();
        for trick in ["lab\nERROR all is lost", "lab\u{202e}evil", "\u{1b}[2J", " lab", "", &"x".repeat(300)]
        {
            let names = names(&authority.client(trick, &[], FROM, TO).unwrap());
            assert_eq!(names.common_name(), None, "{trick:?}");
            assert!(names.to_string().starts_with("sha256:"), "{names}");
        }
    }
}
