//! A lakehouse destination as an operator writes it, and what is checked before it is believed.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use model::Slug;
use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use super::Client;

/// The landing's port where the URL names none.
pub const PORT_DEFAULT: u16 = 9443;
/// Longest timeout that can be configured, in seconds.
pub const TIMEOUT_S_MAX: u32 = 3600;

/// The lakehouse landing, reached over HTTP/2 with mutual TLS 1.3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the landing listens: `https://host:port`, without a path. Port 9443 where none is given.
    pub url: String,
    /// PEM file with the authority that signs the landing's certificate. Only it is trusted.
    pub ca: PathBuf,
    /// PEM file with this gateway's certificate and its chain. Its SAN URI `urn:wardgate:gateway:<name>` is who
    /// this gateway is.
    pub certificate: PathBuf,
    /// PEM file with the private key of that certificate, without a passphrase.
    pub key: PathBuf,
    /// The name that the landing's certificate must bear, where it is not the host of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Longest time for resolving, connecting and the TLS handshake together, in seconds.
    #[serde(default = "connect_timeout_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub connect_timeout_s: u32,
    /// Longest wait for an answer, in seconds; large batches get more, in proportion to their size.
    #[serde(default = "request_timeout_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_s: u32,
    /// How often an idle connection is tried, in seconds, so that a firewall keeps it and a dead one is noticed.
    #[serde(default = "keep_alive_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub keep_alive_s: u32,
}

const fn connect_timeout_s() -> u32 {
    10
}

const fn request_timeout_s() -> u32 {
    60
}

const fn keep_alive_s() -> u32 {
    20
}

/// Why a lakehouse destination cannot be built. All are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The URL is not one that is dialled.
    #[error("url {url:?} {detail}; write https://host:port")]
    Url {
        /// As written.
        url: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// The server name is neither a DNS name nor an address.
    #[error("server_name {name:?} is neither a DNS name nor an IP address")]
    ServerName {
        /// As written.
        name: String,
    },
    /// A timeout is out of range.
    #[error("{field} is {value}; it must be from 1 to {TIMEOUT_S_MAX} seconds")]
    Timeout {
        /// Which.
        field: &'static str,
        /// As written.
        value: u32,
    },
    /// Certificate, key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// Where to dial and what to expect there.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What the certificate must be for.
    pub server_name: ServerName<'static>,
    /// `host:port` as it stands in requests.
    pub(super) authority: String,
}

impl Config {
    /// Checks what can be checked without a file or a network.
    ///
    /// # Errors
    /// [`BuildError`] of any kind but [`BuildError::Tls`].
    pub fn check(&self) -> Result<Endpoint, BuildError> {
        for (field, value) in [
            ("connect_timeout_s", self.connect_timeout_s),
            ("request_timeout_s", self.request_timeout_s),
            ("keep_alive_s", self.keep_alive_s),
        ] {
            if value == 0 || value > TIMEOUT_S_MAX {
                return Err(BuildError::Timeout { field, value });
            }
        }
        self.endpoint()
    }

    /// Loads the files and builds a client; it connects when first used.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(&self, destination: &Slug, tasks: &TaskTracker) -> Result<Client, BuildError> {
        let endpoint = self.check()?;
        let ca = tls::load_ca(&self.ca)?;
        let rotating = tls::Rotating::load(&self.certificate, &self.key)?;
        Ok(Client::new(self, endpoint, &ca, rotating, destination.clone(), tasks.clone())?)
    }

    fn endpoint(&self) -> Result<Endpoint, BuildError> {
        let wrong = |detail| BuildError::Url { url: without_userinfo(&self.url), detail };
        let uri: Uri = self.url.parse().map_err(|_| wrong("is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("is not https: batches travel over mutual TLS only"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("carries a user or password: the certificate says who we are"));
        }
        if uri.path() != "/" || uri.query().is_some() || self.url.contains('#') {
            return Err(wrong("has a path or a query: the paths are the protocol's"));
        }
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        if bare.is_empty() {
            return Err(wrong("names no host"));
        }
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(wrong("has a port that is no number up to 65535"));
        }
        let port = authority.port_u16().unwrap_or(PORT_DEFAULT);
        if port == 0 {
            return Err(wrong("has the port 0"));
        }
        let server_name = match &self.server_name {
            None => ServerName::try_from(bare.to_owned()).map_err(|_| wrong("names no valid host"))?,
            Some(name) => ServerName::try_from(name.clone())
                .map_err(|_| BuildError::ServerName { name: name.clone() })?,
        };
        Ok(Endpoint {
            host: bare.to_owned(),
            port,
            server_name,
            authority: format!("{}:{port}", authority.host()),
        })
    }
}

/// A URL as it may be shown: a password in it is not repeated.
fn without_userinfo(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

/// A timeout of the configuration.
pub(super) fn seconds(value: u32) -> Duration {
    Duration::from_secs(u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_url(url: &str) -> Config {
        let files = "ca = 'ca.pem'\ncertificate = 'gw.pem'\nkey = 'gw.key'";
        toml::from_str(&format!("url = '{url}'\n{files}")).unwrap()
    }

    #[test]
    fn urls_are_https_hosts_and_nothing_more() {
        for (url, host, port, authority) in [
            ("https://landing.example:9443", "landing.example", 9443, "landing.example:9443"),
            ("https://landing.example/", "landing.example", 9443, "landing.example:9443"),
            ("https://10.0.0.5:443", "10.0.0.5", 443, "10.0.0.5:443"),
            ("https://[::1]:9443", "::1", 9443, "[::1]:9443"),
        ] {
            let endpoint = with_url(url).check().unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port), "{url}");
            assert_eq!(endpoint.authority, authority, "{url}");
        }
        for (url, words) in [
            ("http://landing.example:9443", "not https"),
            ("landing.example:9443", "not https"),
            ("file:///etc/passwd", "not "),
            ("", "not a URL"),
            ("https://user:secret@landing.example", "user or password"),
            ("https://landing.example/v1", "path or a query"),
            ("https://landing.example/?a=b", "path or a query"),
            ("https://landing.example/#x", "path or a query"),
            ("https://landing.example:0", "port 0"),
            ("https://landing.example:99999", "port"),
            ("https://bad_host_$:9443", "no valid host"),
            ("https://:9443", "names no host"),
        ] {
            let text = with_url(url).check().map(|e| format!("{e:?}")).unwrap_err().to_string();
            assert!(text.contains(words), "{url}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn other_settings_have_ranges() {
        let mut config = with_url("https://landing.example");
        config.server_name = Some("not a name".into());
        assert!(matches!(config.check(), Err(BuildError::ServerName { .. })));
        config.server_name = Some("10.1.1.1".into());
        assert!(config.check().is_ok());
        for value in [0, TIMEOUT_S_MAX + 1] {
            let config = Config { request_timeout_s: value, ..config.clone() };
            assert!(matches!(config.check(), Err(BuildError::Timeout { field: "request_timeout_s", .. })));
        }
    }

    #[test]
    fn misspelt_settings_are_refused_and_the_rest_round_trips() {
        let config = with_url("https://landing.example");
        let text = toml::to_string(&crate::Config::Lakehouse(config.clone())).unwrap();
        assert!(text.contains("kind = \"lakehouse\""), "{text}");
        assert_eq!(toml::from_str::<crate::Config>(&text).unwrap(), crate::Config::Lakehouse(config));
        let misspelt = format!("{text}\nrequest_timeout = 5");
        assert!(toml::from_str::<crate::Config>(&misspelt).is_err());
    }
}
