//! A FHIR endpoint as it is written in the configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use model::Slug;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::{Scope, check_keys, valid_client_id};
use crate::access::Allow;
use crate::listener::{ClientCertificate, Tls};
use crate::socket::places::Caps;

/// Largest value of [`Config::body_bytes_max`]: what a batch on the wire to the landing can carry.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// Smallest.
const BODY_BYTES_MIN: u64 = 4 << 10;
/// Most connections of one feed.
const CONNECTIONS_MAX: u32 = 10_000;
/// Most clients of one feed.
pub const CLIENTS_MAX: usize = 1_000;
/// Most scopes of one client.
pub const SCOPES_MAX: usize = 200;

/// One FHIR R4 endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// What clients call this listener, without a path: `https://gateway.hospital.example:8444`. Needed where there
    /// are clients with tokens: their assertions name `<url>/token`.
    pub url: Option<String>,
    /// Certificate, key, and what is asked of clients.
    pub tls: Option<Tls>,
    /// For development: plain HTTP without TLS, on a loopback address alone.
    pub plain_text_on_loopback: bool,
    /// Who may connect.
    pub allow: Allow,
    /// What lets a request in where both certificates (`tls.client_ca`) and clients with tokens are configured.
    pub authentication: Authentication,
    /// Clients that fetch tokens by SMART backend services.
    #[serde(rename = "client")]
    #[schemars(length(max = 1000))]
    pub clients: Vec<Client>,
    /// Longest body, in bytes: 4096 to 67108864. A longer one is refused (413).
    #[schemars(range(min = 4096, max = 67_108_864))]
    pub body_bytes_max: u64,
    /// Longest time from a request's header to the last byte of its body, in seconds, 1 to 3600.
    #[schemars(range(min = 1, max = 3600))]
    pub body_timeout_s: u32,
    /// Most connections at once: 1 to 10000. One more is closed at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections_max: u32,
    /// Most connections at once from one address: 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections_per_peer_max: u32,
    /// Most requests of one client in a minute, 1 to 1000000. What is beyond is refused (429).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute_max: u32,
}

/// What lets a request in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// A certificate or a token.
    #[default]
    Either,
    /// A certificate and a token.
    Both,
}

/// A client that fetches tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its `client_id`: 1 to 128 letters, digits and `-._~:/`.
    pub id: String,
    /// File of its public keys, as a JSON Web Key Set: RSA of at least 2048 bits (RS384) or P-384 (ES384).
    pub jwks: PathBuf,
    /// What it may do at most, such as `system/*.write` or `system/Observation.c`.
    #[serde(default = "all")]
    #[schemars(length(min = 1, max = 200))]
    pub scopes: Vec<String>,
}

fn all() -> Vec<String> {
    vec!["system/*.write".to_owned()]
}

impl Config {
    /// How many connections are let in.
    pub(super) const fn caps(&self) -> Caps {
        Caps { all: self.connections_max, of_peer: self.connections_per_peer_max }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8444),
            url: None,
            tls: None,
            plain_text_on_loopback: false,
            allow: Allow::default(),
            authentication: Authentication::Either,
            clients: Vec::new(),
            body_bytes_max: 16 << 20,
            body_timeout_s: 60,
            connections_max: 256,
            connections_per_peer_max: 64,
            requests_per_minute_max: 6_000,
        }
    }
}

/// An endpoint cannot be opened. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, not ours, or not permitted.
    #[error("feed {feed}: cannot listen on {listen}: {source}")]
    Bind {
        /// The feed.
        feed: Slug,
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A setting that cannot be meant so.
    #[error("{setting}: {message}")]
    Setting {
        /// Which, its path below the feed's table.
        setting: &'static str,
        /// What is wrong, and what to write.
        message: String,
    },
    /// A certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The keys of a client.
    #[error("jwks {}: {why}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn wrong<T>(setting: &'static str, message: impl Into<String>) -> Result<T, Error> {
    Err(Error::Setting { setting, message: message.into() })
}

impl Config {
    /// Checks what can be checked without opening a file.
    ///
    /// # Errors
    /// [`Error::Setting`], the first that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let range = |name, value: u64, min, max| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            wrong(name, format!("{value} is outside {min} to {max}"))
        };
        let connections = u64::from(CONNECTIONS_MAX);
        range("body_bytes_max", self.body_bytes_max, BODY_BYTES_MIN, BODY_BYTES_MAX)?;
        range("body_timeout_s", self.body_timeout_s.into(), 1, 3600)?;
        range("connections_max", self.connections_max.into(), 1, connections)?;
        range("connections_per_peer_max", self.connections_per_peer_max.into(), 1, connections)?;
        range("requests_per_minute_max", self.requests_per_minute_max.into(), 1, 1_000_000)?;
        range("client", self.clients.len() as u64, 0, CLIENTS_MAX as u64)?;
        if let Err(length) = self.allow.check() {
            return wrong("allow", length.to_string());
        }
        if let Some(url) = &self.url {
            check_url(url, self.tls.is_some())?;
        }
        match &self.tls {
            Some(_) if self.plain_text_on_loopback => {
                return wrong("plain_text_on_loopback", "contradicts tls: write one of them");
            }
            Some(tls) => {
                if let Err(setting) = tls.check() {
                    return wrong("tls", setting.to_string());
                }
            }
            None if !self.plain_text_on_loopback => {
                return wrong("tls", "is missing: name a certificate and its key");
            }
            None if !self.listen.ip().is_loopback() => {
                return wrong(
                    "plain_text_on_loopback",
                    "is for development: listen on 127.0.0.1 or [::1], or write tls",
                );
            }
            None => {}
        }
        self.check_who()
    }

    /// Somebody can be let in, and nobody by mistake.
    fn check_who(&self) -> Result<(), Error> {
        let certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let tokens = !self.clients.is_empty();
        if self.tls.is_some() && !certificates && !tokens {
            return wrong(
                "tls",
                "nobody could be let in: name client_ca for certificates, or clients for tokens",
            );
        }
        if self.authentication == Authentication::Both && !(certificates && tokens) {
            return wrong("authentication", "\"both\" needs tls.client_ca and a client");
        }
        let required = self.tls.as_ref().is_some_and(Tls::requires_certificate);
        if self.authentication == Authentication::Either && required && tokens {
            return wrong(
                "tls",
                "every client must show a certificate here, so that no token is ever asked for; write \
                 client_certificate = \"optional\" for either, or authentication = \"both\"",
            );
        }
        let optional =
            self.tls.as_ref().is_some_and(|t| t.client_certificate == Some(ClientCertificate::Optional));
        if optional && !tokens {
            return wrong(
                "tls",
                "client_certificate = \"optional\" lets in nobody without clients for tokens",
            );
        }
        if self.allow.certificates.is_some() && !certificates {
            return wrong("allow", "certificates needs tls.client_ca");
        }
        if tokens && self.url.is_none() {
            return wrong(
                "url",
                "is missing: clients' assertions name <url>/token, so write what clients call this",
            );
        }
        for (n, client) in self.clients.iter().enumerate() {
            if !valid_client_id(&client.id) {
                return wrong("client", "an id is 1 to 128 letters, digits and -._~:/");
            }
            if self.clients.iter().take(n).any(|other| other.id == client.id) {
                return wrong("client", format!("a second client with the id {}", client.id));
            }
            if !(1..=SCOPES_MAX).contains(&client.scopes.len()) {
                return wrong(
                    "client",
                    format!("{} has {} scopes; write 1 to {SCOPES_MAX}", client.id, client.scopes.len()),
                );
            }
            if let Some(scope) = client.scopes.iter().find(|scope| Scope::parse(scope).is_none()) {
                return wrong(
                    "client",
                    format!(
                        "`{scope}` is no scope that permits writing; write such as system/*.write or system/Observation.cu"
                    ),
                );
            }
        }
        Ok(())
    }

    /// Reads the clients' keys; relative files are taken from `base`.
    ///
    /// # Errors
    /// [`Error::Keys`], the first file that cannot be used.
    pub fn check_keys(&self, base: &Path) -> Result<(), Error> {
        self.clients.iter().try_for_each(|client| check_keys(&base.join(&client.jwks)))
    }

    /// The files, so that relative paths can be made absolute.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let tls = self.tls.iter_mut().flat_map(Tls::files_mut);
        tls.chain(self.clients.iter_mut().map(|client| &mut client.jwks))
    }
}

/// An origin: scheme and authority, no path.
fn check_url(url: &str, tls: bool) -> Result<(), Error> {
    let authority = url.strip_prefix(if tls { "https://" } else { "http://" });
    let good = authority.is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
    });
    if good {
        return Ok(());
    }
    wrong("url", "write scheme, name and port alone, such as https://gateway.hospital.example:8444")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap();
        config.check().err().map(|e| e.to_string()).unwrap_or_default()
    }

    const TLS: &str = "tls = { certificate = \"c\", key = \"k\", client_ca = \"ca\" }\n";
    const OPTIONAL: &str =
        "tls = { certificate = \"c\", key = \"k\", client_ca = \"ca\", client_certificate = \"optional\" }\n";
    const CLIENT: &str = "url = \"https://h:8444\"\n[[client]]\nid = \"lab\"\njwks = \"lab.json\"\n";

    #[test]
    fn somebody_can_be_let_in_and_nobody_by_mistake() {
        for good in [
            TLS.to_owned(),
            format!("{OPTIONAL}{CLIENT}"),
            format!("{TLS}authentication = \"both\"\n{CLIENT}"),
            format!("tls = {{ certificate = \"c\", key = \"k\" }}\n{CLIENT}"),
            "listen = \"127.0.0.1:0\"\nplain_text_on_loopback = true".to_owned(),
        ] {
            assert_eq!(said(&good), "", "{good}");
        }
        let both = format!("{TLS}{CLIENT}");
        for (text, words) in [
            ("", "tls: is missing"),
            ("plain_text_on_loopback = true", "is for development"),
            ("tls = { certificate = \"c\", key = \"k\" }", "nobody could be let in"),
            (&both, "no token is ever asked for"),
            (OPTIONAL, "lets in nobody without clients"),
            (&format!("{TLS}authentication = \"both\""), "\"both\" needs"),
            (&format!("{TLS}plain_text_on_loopback = true"), "contradicts tls"),
            (&format!("{TLS}body_bytes_max = 1"), "body_bytes_max: 1 is outside 4096 to 67108864"),
            (&format!("{TLS}url = \"http://h\""), "scheme, name and port"),
            (&format!("{TLS}url = \"https://h/fhir\""), "scheme, name and port"),
            (&format!("{OPTIONAL}{}", CLIENT.replace("url = \"https://h:8444\"\n", "")), "url: is missing"),
            (&format!("{OPTIONAL}{CLIENT}scopes = [\"system/*.read\"]"), "no scope that permits writing"),
            (&format!("{OPTIONAL}{CLIENT}scopes = []"), "has 0 scopes"),
            (&format!("{OPTIONAL}{CLIENT}[[client]]\nid = \"lab\"\njwks = \"x\""), "a second client"),
            (&format!("{OPTIONAL}{}", CLIENT.replace("\"lab\"", "\"l b\"")), "an id is"),
            (&format!("{TLS}allow = {{ networks = [] }}"), "allow: "),
        ] {
            assert!(said(text).contains(words), "{text}: {}", said(text));
        }
        assert!(toml::from_str::<Config>("port = 1").is_err());
    }

    #[test]
    fn the_files_can_be_made_absolute() {
        let mut config: Config = toml::from_str(&format!("{OPTIONAL}{CLIENT}")).unwrap();
        assert_eq!(config.files_mut().count(), 4);
    }
}
