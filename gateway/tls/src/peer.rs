//! Which gateway a certificate names.

use model::Slug;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use crate::Error;

/// What the SAN URI of a gateway's certificate begins with.
pub const GATEWAY_URN_PREFIX: &str = "urn:wardgate:gateway:";

/// The SAN URI that a gateway's certificate carries.
pub fn gateway_uri(gateway: &Slug) -> String {
    format!("{GATEWAY_URN_PREFIX}{gateway}")
}

/// The gateway that a verified chain (leaf first, as rustls gives it) names: its leaf has exactly one SAN URI
/// `urn:wardgate:gateway:<slug>`. URIs of other namespaces do not matter; the common name never does.
///
/// # Errors
/// [`Error::Peer`] where there is no certificate, no such URI, more than one, or one whose name is no slug.
pub fn peer_gateway(certificates: &[CertificateDer<'_>]) -> Result<Slug, Error> {
    let refused = |detail| Error::Peer { detail };
    let leaf = certificates.first().ok_or(refused("was not shown"))?;
    let (_, x509) = x509_parser::parse_x509_certificate(leaf).map_err(|_| refused("is not valid X.509"))?;
    let names = x509
        .subject_alternative_name()
        .map_err(|_| refused("has an unreadable subject alternative name"))?
        .ok_or(refused("has no subject alternative name"))?;
    let mut gateways = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(GATEWAY_URN_PREFIX),
        _ => None,
    });
    let name = gateways.next().ok_or(refused("names no gateway"))?;
    if gateways.next().is_some() {
        return Err(refused("names more than one gateway"));
    }
    name.parse().map_err(|_| refused("names a gateway in characters that are not allowed"))
}
