//! A feed's listener as it is written in the configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::Slug;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest value of [`Config::frame_bytes_max`]: what a batch on the wire to the landing can carry.
pub const FRAME_BYTES_MAX: u64 = 64 << 20;
/// Smallest: a header with a few segments.
const FRAME_BYTES_MIN: u64 = 4 << 10;
/// Most connections of one feed.
const CONNECTIONS_MAX: u32 = 10_000;

/// One MLLP listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2575),
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: 256,
            connections_per_peer_max: 64,
            idle_timeout_s: 300,
            frame_timeout_s: 120,
        }
    }
}

impl Config {
    /// Holds every value against its range.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first that is outside.
    pub fn check(&self) -> Result<(), Error> {
        let range = |name, value: u64, min, max| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(Error::Setting { name, min, max, value }) }
        };
        let connections = u64::from(CONNECTIONS_MAX);
        range("frame_bytes_max", self.frame_bytes_max, FRAME_BYTES_MIN, FRAME_BYTES_MAX)?;
        range("connections_max", self.connections_max.into(), 1, connections)?;
        range("connections_per_peer_max", self.connections_per_peer_max.into(), 1, connections)?;
        range("frame_timeout_s", self.frame_timeout_s.into(), 1, u32::MAX.into())
    }
}

/// A listener cannot be opened. The operator must act.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default() {
        let config: Config = toml::from_str("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.listen.to_string(), "0.0.0.0:2575");
        config.check().unwrap();
    }

    #[test]
    fn unknown_and_absurd_settings_are_refused() {
        assert!(toml::from_str::<Config>("port = 1").is_err());
        for (text, message) in [
            ("frame_bytes_max = 100000000", "frame_bytes_max = 100000000 is outside 4096 to 67108864"),
            ("connections_max = 0", "connections_max = 0 is outside 1 to 10000"),
            ("frame_timeout_s = 0", "frame_timeout_s = 0 is outside 1 to 4294967295"),
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_schema_names_every_setting() {
        let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"].as_object().unwrap().len(), 6);
    }
}
