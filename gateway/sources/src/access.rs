//! Who may connect to a listener: networks and certificates, as written in the configuration.
//!
//! **Promise.** Every list that is written must be satisfied; a list that is not written asks for nothing. An empty
//! list is a mistake, not a way to let everybody in or nobody. Names of certificates come from chains that the
//! handshake has verified ([`tls::PeerNames`]), addresses from the socket: neither is what the peer merely says.
//!
//! **Limits.** [`ENTRIES_MAX`] entries a list.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tls::PeerNames;

/// Most entries of one list.
pub const ENTRIES_MAX: usize = 1_000;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Networks that a peer may come from, such as `10.1.0.0/16`, `2001:db8::/32` or a single address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub networks: Option<Vec<Network>>,
    /// Certificates that a peer may show: `uri:…` and `dns:…` (subject alternative names), `cn:…` (the subject's
    /// common name), or `sha256:…` (the certificate's fingerprint). Needs a client authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub certificates: Option<Vec<CertificateName>>,
}

/// Why a peer is not let in. Displays as the end of a sentence for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its address is in none of the networks.
    #[error("its address is in none of the networks in `allow`")]
    Network,
    /// Its certificate, if it showed one, is none of those listed.
    #[error("its certificate is none of those in `allow`")]
    Certificate,
    /// It showed none.
    #[error("it showed no certificate, and `allow` names certificates")]
    NoCertificate,
}

/// A list that cannot be meant so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{list}` has {count} entries; write 1 to {ENTRIES_MAX}, or leave it out to ask for nothing")]
pub struct ListLength {
    /// Which list.
    pub list: &'static str,
    /// Its entries.
    pub count: usize,
}

impl Allow {
    /// Whether the lists have a length that makes sense.
    ///
    /// # Errors
    /// [`ListLength`].
    pub fn check(&self) -> Result<(), ListLength> {
        list_length("networks", self.networks.as_ref().map(Vec::len))?;
        list_length("certificates", self.certificates.as_ref().map(Vec::len))
    }

    /// Whether the address may connect at all; asked before a handshake costs anything.
    ///
    /// # Errors
    /// [`Denied::Network`].
    pub fn address(&self, peer: IpAddr) -> Result<(), Denied> {
        match &self.networks {
            Some(networks) if !networks.iter().any(|n| n.contains(peer)) => Err(Denied::Network),
            _ => Ok(()),
        }
    }

    /// Whether the certificate is one of those listed; asked after the handshake.
    ///
    /// # Errors
    /// [`Denied::Certificate`] or [`Denied::NoCertificate`].
    pub fn certificate(&self, peer: Option<&PeerNames>) -> Result<(), Denied> {
        match (&self.certificates, peer) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(Denied::NoCertificate),
            (Some(listed), Some(names)) if listed.iter().any(|l| l.is_of(names)) => Ok(()),
            (Some(_), Some(_)) => Err(Denied::Certificate),
        }
    }
}

/// Holds the length of a list against [`ENTRIES_MAX`]; a list that is not written is fine.
///
/// # Errors
/// [`ListLength`].
pub fn list_length(list: &'static str, count: Option<usize>) -> Result<(), ListLength> {
    match count {
        Some(count) if !(1..=ENTRIES_MAX).contains(&count) => Err(ListLength { list, count }),
        _ => Ok(()),
    }
}

/// A network: an address with the length of its prefix. IPv4 addresses that come mapped into IPv6
/// (`::ffff:10.0.0.1`, as a listener on `[::]` sees them) are IPv4 addresses, here and in peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// Not of the form.
    #[error("a network is an address with a prefix, such as 10.1.0.0/16 or 2001:db8::/32, or one address")]
    Form,
    /// A prefix that is longer than the address.
    #[error("the prefix of such an address is 0 to {max}")]
    Prefix {
        /// The longest.
        max: u8,
    },
    /// Bits beyond the prefix are set, so that it is not clear what is meant.
    #[error("an address within the network, not the network itself; write {meant}, or the address alone")]
    HostBits {
        /// The network around it.
        meant: Network,
    },
}

impl Network {
    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = mask(self.prefix, 32);
                u128::from(network.to_bits()) == u128::from(address.to_bits()) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                network.to_bits() == address.to_bits() & mask(self.prefix, 128)
            }
            _ => false,
        }
    }
}

/// The upper `prefix` of `width` bits.
fn mask(prefix: u8, width: u32) -> u128 {
    let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
    let host = width.saturating_sub(prefix.into());
    all & u128::MAX.checked_shl(host).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NotANetwork::Form)?;
        let width: u8 = if written.is_ipv4() { 32 } else { 128 };
        let mut prefix = match prefix {
            None => width,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(NotANetwork::Form);
            }
            Some(digits) => {
                digits.parse().ok().filter(|p| *p <= width).ok_or(NotANetwork::Prefix { max: width })?
            }
        };
        let mut address = written;
        // `::ffff:10.1.0.0/112` is 10.1.0.0/16. With a shorter prefix it is a network of IPv6.
        if let (IpAddr::V4(v4), true, Some(short)) =
            (written.to_canonical(), written.is_ipv6(), prefix.checked_sub(96))
        {
            (address, prefix) = (IpAddr::V4(v4), short);
        }
        let base = match address {
            IpAddr::V4(v4) => {
                let bits = u128::from(v4.to_bits()) & mask(prefix, 32);
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)))
            }
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask(prefix, 128))),
        };
        let network = Self { address: base, prefix };
        if base == address { Ok(network) } else { Err(NotANetwork::HostBits { meant: network }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A certificate, by one of its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CertificateName {
    /// A URI among its subject alternative names, exactly.
    Uri(String),
    /// A DNS name among its subject alternative names, in any case; no wildcards.
    Dns(String),
    /// Its subject's common name, exactly.
    CommonName(String),
    /// The SHA-256 of the certificate: 64 hex digits, colons allowed.
    Fingerprint(String),
}

/// The text is no [`CertificateName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotACertificateName {
    /// Not of the form.
    #[error("a certificate is named by uri:…, dns:…, cn:… or sha256:…")]
    Form,
    /// Not 64 hex digits.
    #[error("sha256: is followed by the 64 hex digits of the fingerprint, colons allowed")]
    Fingerprint,
}

impl CertificateName {
    fn is_of(&self, names: &PeerNames) -> bool {
        match self {
            Self::Uri(uri) => names.uris().contains(uri),
            Self::Dns(dns) => names.dns().contains(dns),
            Self::CommonName(name) => names.common_name() == Some(name),
            Self::Fingerprint(digest) => names.fingerprint_sha256() == digest,
        }
    }
}

impl FromStr for CertificateName {
    type Err = NotACertificateName;

    fn from_str(text: &str) -> Result<Self, NotACertificateName> {
        let (kind, name) = text.split_once(':').ok_or(NotACertificateName::Form)?;
        if name.is_empty() || name.trim() != name {
            return Err(NotACertificateName::Form);
        }
        match kind {
            "uri" => Ok(Self::Uri(name.to_owned())),
            "dns" => Ok(Self::Dns(name.to_ascii_lowercase())),
            "cn" => Ok(Self::CommonName(name.to_owned())),
            "sha256" => {
                let digits: String = name.chars().filter(|c| *c != ':').collect();
                if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    Ok(Self::Fingerprint(digits.to_ascii_lowercase()))
                } else {
                    Err(NotACertificateName::Fingerprint)
                }
            }
            _ => Err(NotACertificateName::Form),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(name) => write!(f, "uri:{name}"),
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::CommonName(name) => write!(f, "cn:{name}"),
            Self::Fingerprint(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

macro_rules! text_in_the_document {
    ($($kind:ident: $pattern:literal),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse().map_err(|e| format!("{text:?}: {e}"))
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )*};
}

text_in_the_document!(
    Network: "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    CertificateName: "^(uri:|dns:|cn:|sha256:).+$"
);

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use tls::throwaway::Authority;

    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn networks_hold_what_they_say() {
        for (text, shown, inside, outside) in [
            ("10.1.0.0/16", "10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("10.1.2.3", "10.1.2.3/32", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/33", "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("2001:DB8::1", "2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("10.1.2.128/25", "10.1.2.128/25", "10.1.2.129", "10.1.2.127"),
            // As a listener on [::] sees IPv4 peers, and as somebody may copy it from its log.
            ("10.1.0.0/16", "10.1.0.0/16", "::ffff:10.1.2.3", "::ffff:10.2.2.3"),
            ("::ffff:10.1.0.0/112", "10.1.0.0/16", "10.1.9.9", "10.2.0.0"),
            ("::ffff:10.1.2.3", "10.1.2.3/32", "::ffff:10.1.2.3", "10.1.2.2"),
        ] {
            let network = network(text);
            assert_eq!(network.to_string(), shown);
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} in {text}");
            assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_said_with_what_may_be_meant() {
        let said = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        for form in [
            "",
            "10.1",
            "10.1.0.0/",
            "10.1.0.0/+8",
            "10.1.0.0/8/8",
            "lab.example",
            "10.1.0.0/ 8",
            "[::1]",
            "fe80::1%eth0",
        ] {
            assert_eq!(form.parse::<Network>(), Err(NotANetwork::Form), "{form}");
        }
        assert_eq!(said("10.0.0.0/33"), "the prefix of such an address is 0 to 32");
        assert_eq!(said("::/129"), "the prefix of such an address is 0 to 128");
        assert_eq!(said("::/999"), "the prefix of such an address is 0 to 128");
        assert!(said("10.1.2.3/16").contains("write 10.1.0.0/16"), "{}", said("10.1.2.3/16"));
        assert!(said("2001:db8::1/32").contains("write 2001:db8::/32"));
    }

    #[test]
    fn every_list_that_is_written_must_be_satisfied() {
        let (from, to) = (Timestamp::from_micros(0), Timestamp::from_micros(4_000_000_000_000_000));
        let authority = Authority::new("test", from, to).unwrap();
        let names = |name: &str, uris: &[&str]| {
            let issued = authority.client(name, uris, from, to).unwrap();
            PeerNames::read(issued.identity().unwrap().chain()).unwrap()
        };
        let lab = names("LAB01", &["urn:lab:1"]);
        let host = PeerNames::read(
            authority.server(&["Lab.Example"], from, to).unwrap().identity().unwrap().chain(),
        )
        .unwrap();
        let fingerprint: Vec<String> = lab
            .fingerprint_sha256()
            .to_ascii_uppercase()
            .as_bytes()
            .chunks(2)
            .map(|c| String::from_utf8(c.to_vec()).unwrap())
            .collect();
        let listed = |name: &str| Allow { certificates: Some(vec![name.parse().unwrap()]), networks: None };
        for (name, peer, verdict) in [
            ("uri:urn:lab:1", &lab, Ok(())),
            ("uri:urn:lab:2", &lab, Err(Denied::Certificate)),
            ("cn:LAB01", &lab, Ok(())),
            ("cn:lab01", &lab, Err(Denied::Certificate)),
            ("dns:LAB.example", &host, Ok(())),
            ("dns:example", &host, Err(Denied::Certificate)),
            (&format!("sha256:{}", fingerprint.join(":")), &lab, Ok(())),
            (&format!("sha256:{}", fingerprint.join("")), &host, Err(Denied::Certificate)),
        ] {
            assert_eq!(listed(name).certificate(Some(peer)), verdict, "{name}");
            assert_eq!(listed(name).certificate(None), Err(Denied::NoCertificate));
        }
        assert_eq!(Allow::default().certificate(None), Ok(()));
        assert_eq!(Allow::default().address("203.0.113.9".parse().unwrap()), Ok(()));
        let allow = Allow { networks: Some(vec![network("10.0.0.0/8")]), ..listed("cn:LAB01") };
        assert_eq!(allow.address("10.9.9.9".parse().unwrap()), Ok(()));
        assert_eq!(allow.address("11.9.9.9".parse().unwrap()), Err(Denied::Network));
        assert_eq!(allow.certificate(None), Err(Denied::NoCertificate));
        for bad in
            ["", "LAB01", "cn:", "cn: LAB", "ip:10.0.0.1", "sha256:12", &format!("sha256:{}", "g".repeat(64))]
        {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_list_is_a_mistake() {
        let allow: Allow = toml::from_str("networks = []").unwrap();
        assert!(allow.check().unwrap_err().to_string().contains("leave it out"));
        assert!(toml::from_str::<Allow>("network = [\"10.0.0.0/8\"]").is_err());
        let written: Allow =
            toml::from_str("networks = [\"10.0.0.0/8\"]\ncertificates = [\"cn:A\"]").unwrap();
        written.check().unwrap();
        assert_eq!(toml::from_str::<Allow>(&toml::to_string(&written).unwrap()).unwrap(), written);
    }
}
