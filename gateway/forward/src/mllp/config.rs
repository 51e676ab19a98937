//! An MLLP destination as an operator writes it, and what is checked before it is believed.

use std::path::PathBuf;
use std::time::Duration;

use hl7::exchange::WaitFor;
use rustls::pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Sender;
use super::connect::{Dialler, TlsDialler};

/// The port where `to` names none: 2575, IANA's for HL7.
pub const PORT_DEFAULT: u16 = 2575;
/// The port over TLS where `to` names none.
pub const PORT_TLS_DEFAULT: u16 = 2576;
/// Longest timeout that can be configured, in seconds.
pub const TIMEOUT_S_MAX: u32 = 3600;
/// Most AE or CE in a row before a record is held.
pub const ATTEMPTS_MAX: u32 = 1_000;

/// Another HL7 v2 receiver, reached over MLLP: one connection per lane, one message under way on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the receiver listens: `host:port`. Port 2575 where none is given, 2576 with `tls`.
    pub to: String,
    /// TLS; without this section the line is in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Longest time for resolving, connecting and the TLS handshake together, in seconds.
    #[serde(default = "connect_timeout_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub connect_timeout_s: u32,
    /// Longest wait for an answer, in seconds. After it the connection is closed and the message sent again.
    #[serde(default = "answer_timeout_s")]
    #[schemars(range(min = 1, max = 3600))]
    pub answer_timeout_s: u32,
    /// What settles a message.
    #[serde(default)]
    pub wait_for: Wait,
    /// What becomes of a message that is answered AE or CE.
    #[serde(default)]
    pub on_error: OnError,
    /// With `on_error = "hold"`: after how many AE or CE in a row a message is held, 1 to 1,000.
    #[serde(default = "attempts")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: u32,
}

const fn connect_timeout_s() -> u32 {
    10
}

const fn answer_timeout_s() -> u32 {
    30
}

const fn attempts() -> u32 {
    5
}

/// What settles a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// What MSH-15 and MSH-16 of the message ask for: CA, AA, or both.
    #[default]
    AsAsked,
    /// The first positive answer, CA included: for receivers whose application answers come another way.
    FirstAnswer,
}

impl From<Wait> for WaitFor {
    fn from(wait: Wait) -> Self {
        match wait {
            Wait::AsAsked => Self::AsAsked,
            Wait::FirstAnswer => Self::FirstAnswer,
        }
    }
}

/// What becomes of a message that is answered AE or CE: the receiver says that it could not, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// It is sent again until the receiver takes it; the lane waits.
    #[default]
    Retry,
    /// After `attempts` of them in a row it is held for a person, and the lane goes on.
    Hold,
}

/// TLS towards the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ReceiverTls")]
pub struct Tls {
    /// PEM file with the authority that signs the receiver's certificate. Only it is trusted.
    pub ca: PathBuf,
    /// PEM file with our certificate and its chain, for mutual TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of that certificate, without a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that the receiver's certificate must bear, where it is not the host of `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The oldest version spoken: `1.3`, or `1.2` with receivers that know no better.
    #[serde(default)]
    pub min_version: tls::Versions,
}

/// Why an MLLP destination cannot be built. All are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address is not one that is dialled.
    #[error("to {to:?} {detail}; write host:port")]
    To {
        /// As written.
        to: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// The server name is neither a DNS name nor an address.
    #[error("server_name {name:?} is neither a DNS name nor an IP address")]
    ServerName {
        /// As written.
        name: String,
    },
    /// A number is out of range.
    #[error("{field} is {value}; it must be from 1 to {max}")]
    Range {
        /// Which.
        field: &'static str,
        /// As written.
        value: u32,
        /// The largest allowed.
        max: u32,
    },
    /// A certificate without its key, or the other way round.
    #[error("tls has a certificate without a key, or a key without a certificate; mutual TLS needs both")]
    HalfAnIdentity,
    /// Certificate, key or authority cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Config {
    /// A receiver at `host:port`, in the clear, everything else as when it is left out.
    pub fn to(to: &str) -> Self {
        Self {
            to: to.to_owned(),
            tls: None,
            connect_timeout_s: connect_timeout_s(),
            answer_timeout_s: answer_timeout_s(),
            wait_for: Wait::default(),
            on_error: OnError::default(),
            attempts: attempts(),
        }
    }

    /// Checks what can be checked without a file or a network.
    ///
    /// # Errors
    /// [`BuildError`] of any kind but [`BuildError::Tls`].
    pub fn check(&self) -> Result<(), BuildError> {
        for (field, value, max) in [
            ("connect_timeout_s", self.connect_timeout_s, TIMEOUT_S_MAX),
            ("answer_timeout_s", self.answer_timeout_s, TIMEOUT_S_MAX),
            ("attempts", self.attempts, ATTEMPTS_MAX),
        ] {
            if !(1..=max).contains(&value) {
                return Err(BuildError::Range { field, value, max });
            }
        }
        let (host, _) = self.address()?;
        if let Some(tls) = &self.tls {
            if tls.certificate.is_some() != tls.key.is_some() {
                return Err(BuildError::HalfAnIdentity);
            }
            self.server_name(&host, tls)?;
        }
        Ok(())
    }

    /// Loads the files and builds a sender; it connects when first used.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(&self) -> Result<Sender, BuildError> {
        self.check()?;
        Ok(Sender::new(self, self.dialler()?))
    }

    /// How the receiver is reached, for the destination and for `wardgate send`.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn dialler(&self) -> Result<Dialler, BuildError> {
        let (host, port) = self.address()?;
        let tls = match &self.tls {
            None => None,
            Some(tls) => {
                let rotating = match (&tls.certificate, &tls.key) {
                    (Some(certificate), Some(key)) => Some(tls::Rotating::load(certificate, key)?),
                    (None, None) => None,
                    _ => return Err(BuildError::HalfAnIdentity),
                };
                let identity = rotating.as_ref().map(Into::into);
                let config =
                    tls::client_config_accepting(tls.min_version, &tls::load_ca(&tls.ca)?, identity, &[])?;
                let server_name = self.server_name(&host, tls)?;
                Some(TlsDialler { config, server_name, rotating })
            }
        };
        let connect_timeout = seconds(self.connect_timeout_s);
        Ok(Dialler { host, port, tls, connect_timeout })
    }

    /// Host, without the brackets of IPv6, and port.
    fn address(&self) -> Result<(String, u16), BuildError> {
        let wrong = |detail| BuildError::To { to: self.to.clone(), detail };
        if self.to.contains("://") || self.to.contains(['/', '@', ' ']) {
            return Err(wrong("is more than a host and a port"));
        }
        let default = if self.tls.is_some() { PORT_TLS_DEFAULT } else { PORT_DEFAULT };
        let (host, port) = if let Some(rest) = self.to.strip_prefix('[') {
            let (host, rest) =
                rest.split_once(']').ok_or_else(|| wrong("lacks the bracket after the address"))?;
            (host, rest.strip_prefix(':').or(if rest.is_empty() { None } else { Some(rest) }))
        } else if self.to.matches(':').count() > 1 {
            return Err(wrong("is an IPv6 address without brackets"));
        } else {
            self.to.split_once(':').map_or((self.to.as_str(), None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None => default,
            Some(port) => {
                port.parse().ok().filter(|p| *p != 0).ok_or_else(|| wrong("has no port from 1 to 65535"))?
            }
        };
        if host.is_empty() || ServerName::try_from(host.to_owned()).is_err() {
            return Err(wrong("names no valid host"));
        }
        Ok((host.to_owned(), port))
    }

    fn server_name(&self, host: &str, tls: &Tls) -> Result<ServerName<'static>, BuildError> {
        let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
        ServerName::try_from(name.clone()).map_err(|_| BuildError::ServerName { name })
    }
}

/// A timeout of the configuration.
pub(super) fn seconds(value: u32) -> Duration {
    Duration::from_secs(u64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (to, host, port) in [
            ("ris.hospital.example:2576", "ris.hospital.example", 2576),
            ("ris", "ris", PORT_DEFAULT),
            ("10.0.0.5:6661", "10.0.0.5", 6661),
            ("[::1]:6661", "::1", 6661),
            ("[::1]", "::1", PORT_DEFAULT),
        ] {
            assert_eq!(with(&format!("to = '{to}'")).address().unwrap(), (host.to_owned(), port), "{to}");
        }
        for to in [
            "",
            ":2575",
            "ris:0",
            "ris:70000",
            "ris:hl7",
            "ris:",
            "mllp://ris:2575",
            "ris/x",
            "a b",
            "u@ris",
            "::1",
            "fe80::1:2575",
            "[::1",
            "[::1]x",
            "[::1]:",
        ] {
            let error = with(&format!("to = '{to}'")).check().unwrap_err();
            assert!(matches!(error, BuildError::To { .. }), "{to}: {error}");
            assert!(error.to_string().contains("write host:port"), "{error}");
        }
        assert_eq!(with("to = 'ris'\n[tls]\nca = 'ca.pem'").address().unwrap().1, PORT_TLS_DEFAULT);
    }

    #[test]
    fn settings_have_ranges_and_tls_its_pairs() {
        for (text, words) in [
            ("to = 'ris'\nanswer_timeout_s = 0", "answer_timeout_s is 0"),
            ("to = 'ris'\nconnect_timeout_s = 3601", "from 1 to 3600"),
            ("to = 'ris'\nattempts = 1001", "from 1 to 1000"),
            ("to = 'ris'\n[tls]\nca = 'ca.pem'\nkey = 'k.pem'", "needs both"),
            ("to = 'ris'\n[tls]\nca = 'ca.pem'\nserver_name = 'not a name'", "server_name"),
        ] {
            let error = with(text).check().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let config = with("to = 'ris'\nwait_for = 'first-answer'\non_error = 'hold'");
        assert!(config.check().is_ok());
        assert_eq!((config.wait_for, config.on_error), (Wait::FirstAnswer, OnError::Hold));
        assert!(toml::from_str::<Config>("to = 'ris'\nwindow = 5").is_err(), "one in flight, always");
    }
}
