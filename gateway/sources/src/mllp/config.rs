//! A feed's listener as it is written in the configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hl7::Charset;
use model::Slug;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Acknowledge, Sender};
use crate::access::{Allow, ListLength, list_length};
use crate::listener::{self, Tls};
use crate::socket::places::Caps;

/// Largest value of [`Config::frame_bytes_max`]: what a batch on the wire to the landing can carry.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;
/// Smallest: a header with a few segments.
const FRAME_BYTES_MIN: u64 = 4 << 10;
/// Largest value of [`Config::peer_messages_per_s_max`].
const PEER_MESSAGES_PER_S_MAX: u64 = 1_000_000;
/// Smallest pace in bytes.
const PEER_BYTES_PER_S_MIN: u64 = 4 << 10;
/// The ports of HL7 over MLLP, plain and over TLS (IANA `hl7`, and its neighbour by custom).
const PORT: u16 = 2575;
const PORT_TLS: u16 = 2576;
/// Most connections of one feed.
const CONNECTIONS_MAX: u32 = 10_000;

/// One MLLP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on: `0.0.0.0:2575` unless written, with TLS `0.0.0.0:2576`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Longest message, in bytes: 4096 to 67108864. A longer one is rejected (AR).
    #[schemars(range(min = 4096, max = 67_108_864))]
    pub frame_bytes_max: u64,
    /// Most connections at once: 1 to 10000. One more is closed at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections_max: u32,
    /// Most connections at once from one address: 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections_per_peer_max: u32,
    /// A connection without a frame for so long is closed, in seconds; 0 keeps it open as long as its peer lives.
    pub idle_timeout_s: u32,
    /// Longest time between the first and the last byte of a frame, in seconds, at least 1.
    #[schemars(range(min = 1))]
    pub frame_timeout_s: u32,
    /// Most messages a second from one address, 0 to 1000000; beyond that it is read more slowly. 0: no limit.
    #[schemars(range(max = 1_000_000))]
    pub peer_messages_per_s_max: u32,
    /// Most bytes a second from one address, 4096 or more; beyond that it is read more slowly. 0: no limit.
    pub peer_bytes_per_s_max: u64,
    /// TLS instead of plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may connect; everybody unless written.
    pub allow: Allow,
    /// Whose messages are taken (MSH-3, MSH-4); everybody's unless written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub senders: Option<Vec<Sender>>,
    /// The character set of its messages, by a name as MSH-18 has it (`8859/1`, `UNICODE UTF-8`, `WINDOWS-1252`).
    /// It stands before MSH-18. Unless written: MSH-18, else what the bytes look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// How messages are acknowledged.
    pub acknowledge: Acknowledge,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: 256,
            connections_per_peer_max: 64,
            idle_timeout_s: 300,
            frame_timeout_s: 120,
            peer_messages_per_s_max: 0,
            peer_bytes_per_s_max: 0,
            tls: None,
            allow: Allow::default(),
            senders: None,
            charset: None,
            acknowledge: Acknowledge::default(),
        }
    }
}

impl Config {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let port = if self.tls.is_some() { PORT_TLS } else { PORT };
        self.listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    }

    /// How many connections are let in.
    pub(crate) const fn caps(&self) -> Caps {
        Caps { all: self.connections_max, of_peer: self.connections_per_peer_max }
    }

    /// What its messages are in, where that is written and known.
    pub fn charset(&self) -> Option<Charset> {
        self.charset.as_ref()?.parse().ok()
    }

    /// Holds every value against its range, and the settings against each other. Opens no file.
    ///
    /// # Errors
    /// [`Error`] with the first that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let range = |name, value: u64, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(Error::Setting { name, min, max, value }) }
        };
        let connections = u64::from(CONNECTIONS_MAX);
        range("frame_bytes_max", self.frame_bytes_max, FRAME_BYTES_MIN, FRAME_BYTES_MAX)?;
        range("connections_max", self.connections_max.into(), 1, connections)?;
        range("connections_per_peer_max", self.connections_per_peer_max.into(), 1, connections)?;
        range("frame_timeout_s", self.frame_timeout_s.into(), 1, u32::MAX.into())?;
        range("peer_messages_per_s_max", self.peer_messages_per_s_max.into(), 0, PEER_MESSAGES_PER_S_MAX)?;
        if self.peer_bytes_per_s_max != 0 {
            range("peer_bytes_per_s_max", self.peer_bytes_per_s_max, PEER_BYTES_PER_S_MIN, u64::MAX)?;
        }
        if let Some(tls) = &self.tls {
            tls.check()?;
        }
        self.allow.check()?;
        list_length("senders", self.senders.as_ref().map(Vec::len))?;
        if !self.senders.iter().flatten().all(Sender::is_named) {
            return Err(Error::Sender);
        }
        if let Some(name) = self.charset.as_ref().filter(|_| self.charset().is_none()) {
            return Err(Error::Charset { name: name.clone() });
        }
        let required = self.tls.as_ref().is_some_and(Tls::requires_certificate);
        if self.allow.certificates.is_some() && !required {
            return Err(Error::NoCertificates);
        }
        self.acknowledge.check().map_err(|what| Error::Acknowledge { what })
    }
}

/// A listener cannot be opened, or not so. The operator must act.
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
    /// A setting is out of its range.
    #[error("{name} = {value} is outside {min} to {max}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its smallest value.
        min: u64,
        /// Its largest value.
        max: u64,
        /// What was written.
        value: u64,
    },
    /// Settings of acknowledgement contradict each other.
    #[error("acknowledge: {what}")]
    Acknowledge {
        /// Which.
        what: &'static str,
    },
    /// A setting of TLS does not fit the others.
    #[error("tls.{0}")]
    Listener(#[from] listener::Setting),
    /// A list is empty or too long.
    #[error(transparent)]
    List(#[from] ListLength),
    /// A sender without a name.
    #[error("each of `senders` has application (MSH-3), facility (MSH-4) or both, and neither is empty")]
    Sender,
    /// A character set that is not known.
    #[error("{name:?} is no known character set; known are {}", Charset::NAMES)]
    Charset {
        /// What was written.
        name: String,
    },
    /// `allow.certificates` at a listener that asks for none.
    #[error(
        "allow.certificates needs [feed.mllp.tls] with client_ca, and client_certificate = \"required\" there"
    )]
    NoCertificates,
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Error {
    /// The key of the setting that is wrong, within the `mllp` table; empty where it is none.
    pub fn place(&self) -> Vec<&'static str> {
        match self {
            Self::Setting { name, .. } => vec![name],
            Self::Listener(setting) => vec!["tls", setting.setting],
            Self::List(ListLength { list: "senders", .. }) | Self::Sender => vec!["senders"],
            Self::List(length) => vec!["allow", length.list],
            Self::Charset { .. } => vec!["charset"],
            Self::NoCertificates => vec!["allow", "certificates"],
            Self::Acknowledge { .. } => vec!["acknowledge"],
            Self::Bind { .. } => vec!["listen"],
            Self::Tls(_) => vec!["tls"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.address().to_string(), "0.0.0.0:2575");
        config.check().unwrap();
    }

    #[test]
    fn unknown_and_absurd_settings_are_refused() {
        assert!(toml::from_str::<Config>("port = 1").is_err());
        for (text, message) in [
            ("frame_bytes_max = 100000000", "frame_bytes_max = 100000000 is outside 4096 to 67108864"),
            ("connections_max = 0", "connections_max = 0 is outside 1 to 10000"),
            ("frame_timeout_s = 0", "frame_timeout_s = 0 is outside 1 to 4294967295"),
            ("peer_bytes_per_s_max = 1", "peer_bytes_per_s_max = 1 is outside 4096 to 18446744073709551615"),
            (
                "peer_messages_per_s_max = 1000001",
                "peer_messages_per_s_max = 1000001 is outside 0 to 1000000",
            ),
            (
                "senders = [{ }]",
                "each of `senders` has application (MSH-3), facility (MSH-4) or both, and neither is empty",
            ),
            (
                "senders = [{ facility = \"\" }]",
                "each of `senders` has application (MSH-3), facility (MSH-4) or both, and neither is empty",
            ),
            ("senders = []", "`senders` has 0 entries; write 1 to 1000, or leave it out to ask for nothing"),
            (
                "charset = \"8859/12\"",
                "\"8859/12\" is no known character set; known are ASCII, UNICODE UTF-8, UTF-16LE, UTF-16BE, 8859/1 to 8859/11, 8859/13 to 8859/16, WINDOWS-1250 to WINDOWS-1258, GB 18030-2000, BIG-5, KS X 1001, ISO IR87, SHIFT_JIS, EUC-JP",
            ),
            (
                "allow = { certificates = [\"cn:A\"] }",
                "allow.certificates needs [feed.mllp.tls] with client_ca, and client_certificate = \"required\" there",
            ),
            (
                "tls = { certificate = \"c\", key = \"k\", client_certificate = \"required\" }",
                "tls.client_certificate: needs client_ca, the authority of the certificates",
            ),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_character_set_has_the_names_of_msh_18() {
        for (name, known) in [("8859/1", "8859/1"), ("latin1", "8859/1"), ("Unicode_UTF8", "UNICODE UTF-8")] {
            let config: Config = toml::from_str(&format!("charset = \"{name}\"")).unwrap();
            config.check().unwrap();
            assert_eq!(config.charset().unwrap().to_string(), known);
        }
        assert_eq!(Config::default().charset(), None);
    }

    #[test]
    fn over_tls_it_listens_on_the_port_for_tls() {
        let config: Config = toml::from_str("tls = { certificate = \"c\", key = \"k\" }").unwrap();
        config.check().unwrap();
        assert_eq!(config.address().to_string(), "0.0.0.0:2576");
    }

    #[test]
    fn the_schema_names_every_setting() {
        let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"].as_object().unwrap().len(), 13);
    }
}
