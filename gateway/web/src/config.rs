//! The `[web]` table of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A first feed, as a page shows it to who has none. The daemon's tests hold it against the configuration.
pub const FEED_EXAMPLE: &str = r#"[[feed]]
name = "adt"
[feed.mllp]
listen = "0.0.0.0:2575""#;

/// A first destination, likewise.
pub const DESTINATION_EXAMPLE: &str = r#"[[destination]]
name = "lake"
policy = "safe-harbor"
[destination.lakehouse]
url = "https://landing.example:9443"
ca = "landing-ca.pem"
certificate = "gateway.pem"
key = "gateway-key.pem""#;

/// Where the pages are served and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port. HTTPS only.
    pub listen: SocketAddr,
    /// Certificate chain in PEM, the server's own first. Without one the box makes a self-signed certificate
    /// and keeps it in its data directory; compare its fingerprint with the one that `wardgate claim-code`
    /// prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Host names under which browsers reach the box, without port: `wardgate-3.hospital.example`. IP
    /// addresses and `localhost` always work; any other name is refused unless it is listed here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_names: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            certificate: None,
            key: None,
            host_names: Vec::new(),
        }
    }
}
