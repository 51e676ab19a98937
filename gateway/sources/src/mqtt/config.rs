//! The `[feed.mqtt]` table: as written, checked, and resolved to what a connection needs.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Error, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPICS_MAX};

/// Longest client id: what every MQTT 3.1.1 broker of the field takes (the standard promises 23).
const CLIENT_ID_BYTES_MAX: usize = 128;
/// Largest password file.
const PASSWORD_BYTES_MAX: usize = 4096;
/// Longest topic filter, by the protocol.
const TOPIC_BYTES_MAX: usize = 65_535;

/// An MQTT feed as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The broker: `mqtt://host:1883`, or `mqtts://host:8883` for TLS.
    #[schemars(extend("pattern" = "^mqtts?://[^/@?#]+$"))]
    pub url: String,
    /// The name of this gateway's session at the broker. Fixed, and used by nobody else: the broker keeps what
    /// is not acknowledged under it.
    #[schemars(length(min = 1, max = 128))]
    pub client_id: String,
    /// Topic filters. What `+` matches names the device, as in `ward3/oximeter/+/plx`.
    #[schemars(length(min = 1, max = 64))]
    pub topics: Vec<String>,
    /// Id of the device profile that decodes the payloads: `bluetooth.plx`.
    #[schemars(length(min = 1))]
    pub profile: String,
    /// User name at the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with the password; a final line break does not count. Read again at every connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities that the broker's certificate must come from. Needed with `mqtts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file of this gateway's certificate, where the broker asks for one; with `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of the certificate's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Permit TLS 1.2, for a broker that knows no better.
    #[serde(default)]
    pub tls12: bool,
    /// Seconds without traffic after which the connection is tested: 5 to 3600.
    #[serde(default = "default_keep_alive_s")]
    #[schemars(range(min = 5, max = 3600))]
    pub keep_alive_s: u16,
    /// Publishes taken and not yet acknowledged: 1 to 1000.
    #[serde(default = "default_inflight_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub inflight_max: u16,
    /// Largest payload that can be a frame of the device, in bytes: 1 to 524288.
    #[serde(default = "default_payload_bytes_max")]
    #[schemars(range(min = 1, max = 524_288))]
    pub payload_bytes_max: usize,
}

const fn default_keep_alive_s() -> u16 {
    30
}

const fn default_inflight_max() -> u16 {
    64
}

const fn default_payload_bytes_max() -> usize {
    16 << 10
}

/// Where the broker is. Displays as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    /// As dialled; an IPv6 address in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Config {
    /// Checks every setting that can be checked without opening a file.
    ///
    /// # Errors
    /// [`Error::Setting`], the first that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let broker = self.broker()?;
        let id = self.client_id.as_bytes();
        if id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX || !id.iter().all(u8::is_ascii_graphic) {
            let message = format!("1 to {CLIENT_ID_BYTES_MAX} visible ASCII characters");
            return Err(Error::setting("client_id", message));
        }
        if self.topics.is_empty() || self.topics.len() > TOPICS_MAX {
            return Err(Error::setting("topics", format!("1 to {TOPICS_MAX} topic filters")));
        }
        for topic in &self.topics {
            if !rumqttc::valid_filter(topic) || topic.len() > TOPIC_BYTES_MAX || topic.contains('\0') {
                return Err(Error::setting(
                    "topics",
                    format!(
                        "{topic:?} is no topic filter: `+` stands for a whole level, `#` for all that follow"
                    ),
                ));
            }
            if topic.starts_with("$share/") {
                return Err(Error::setting("topics", "a shared subscription has no order to keep"));
            }
        }
        if self.profile.is_empty() {
            return Err(Error::setting("profile", "name a device profile, such as `bluetooth.plx`"));
        }
        if self.password_file.is_some() && self.username.is_none() {
            return Err(Error::setting("password_file", "needs a username beside it"));
        }
        let has = |path: &Option<PathBuf>| path.is_some();
        if has(&self.certificate) != has(&self.key) {
            return Err(Error::setting("certificate", "certificate and key belong together"));
        }
        match broker.tls {
            true if !has(&self.ca) => {
                return Err(Error::setting("ca", "mqtts needs the authority of the broker's certificate"));
            }
            false if has(&self.ca) || has(&self.certificate) || self.tls12 => {
                return Err(Error::setting("url", "certificates are of use with mqtts:// only"));
            }
            _ => {}
        }
        if !(5..=3600).contains(&self.keep_alive_s) {
            return Err(Error::setting("keep_alive_s", "5 to 3600 seconds"));
        }
        if !(1..=1000).contains(&self.inflight_max) {
            return Err(Error::setting("inflight_max", "1 to 1000 publishes"));
        }
        if !(1..=PAYLOAD_BYTES_MAX).contains(&self.payload_bytes_max) {
            return Err(Error::setting("payload_bytes_max", format!("1 to {PAYLOAD_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    /// The broker of the url.
    pub(super) fn broker(&self) -> Result<Broker, Error> {
        let wrong = || {
            Error::setting(
                "url",
                "mqtt://host:port or mqtts://host:port; user, password and path do not belong here",
            )
        };
        let (scheme, rest) = self.url.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The port follows the last colon, unless that colon is inside an IPv6 address's brackets.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
            }
            _ => (rest, if tls { 8883 } else { 1883 }),
        };
        let is_v6 = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        let is_name = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_');
        if !is_v6 && !is_name {
            return Err(wrong());
        }
        if is_v6 && tls {
            return Err(Error::setting("url", "with mqtts the broker has a name, not an IPv6 address"));
        }
        Ok(Broker { host: host.to_owned(), port, tls })
    }

    /// Everything one connection needs; reads the files.
    pub(super) fn link(&self) -> Result<Link, Error> {
        self.check()?;
        let broker = self.broker()?;
        let login = match &self.username {
            None => None,
            Some(username) => Some((username.clone(), self.password()?)),
        };
        let tls = match (&self.ca, broker.tls) {
            (Some(ca), true) => {
                let versions = if self.tls12 { tls::Versions::From12 } else { tls::Versions::Only13 };
                let identity = match (&self.certificate, &self.key) {
                    (Some(certificate), Some(key)) => Some(tls::Identity::load(certificate, key)?.into()),
                    _ => None,
                };
                Some(tls::client_config_accepting(versions, &tls::load_ca(ca)?, identity, &[])?)
            }
            _ => None,
        };
        Ok(Link { broker, client_id: self.client_id.clone(), keep_alive_s: self.keep_alive_s, login, tls })
    }

    fn password(&self) -> Result<Zeroizing<String>, Error> {
        let Some(path) = &self.password_file else { return Ok(Zeroizing::default()) };
        let unusable = |source| Error::Password { path: path.clone(), source };
        let mut password = Zeroizing::new(std::fs::read_to_string(path).map_err(unusable)?);
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(unusable(std::io::Error::other(format!("more than {PASSWORD_BYTES_MAX} bytes"))));
        }
        let line = password.trim_end_matches(['\n', '\r']).len();
        password.truncate(line);
        Ok(password)
    }
}

/// What one connection needs: address, login, TLS.
pub(super) struct Link {
    pub(super) broker: Broker,
    pub(super) client_id: String,
    pub(super) keep_alive_s: u16,
    pub(super) login: Option<(String, Zeroizing<String>)>,
    pub(super) tls: Option<std::sync::Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl Link {
    /// Options of the MQTT client. Nothing is ever published, so its own in-flight window is 1.
    pub(super) fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(&self.client_id, &self.broker.host, self.broker.port);
        options
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_inflight(1)
            .set_keep_alive(Duration::from_secs(u64::from(self.keep_alive_s)))
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some((username, password)) = &self.login {
            options.set_credentials(username, password.as_str());
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.clone())));
        }
        options
    }
}
