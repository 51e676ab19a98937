//! What can be wrong with the configuration of an MQTT feed.

use std::path::PathBuf;

/// Why a client cannot be built; the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error("mqtt.{setting}: {message}")]
    Setting {
        /// Its name in the configuration.
        setting: &'static str,
        /// What is wrong, and what is right.
        message: String,
    },
    /// The password file cannot be used.
    #[error("mqtt.password_file: {} cannot be read: {source}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate, key or authority cannot be used.
    #[error("mqtt: {0}")]
    Tls(#[from] tls::Error),
}

impl Error {
    pub(super) fn setting(setting: &'static str, message: impl Into<String>) -> Self {
        Self::Setting { setting, message: message.into() }
    }
}
