//! A listener's side of TLS, from files that may be renewed while it runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;

use crate::rotating::{Stat, stat};
use crate::{Ca, ClientAuth, Error, Identity, Reloaded, Rotating, Versions, server_config_accepting};

/// Whether a client that does not show a certificate is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It is refused in the handshake.
    Required,
    /// It is taken; who does show one must show one of the authority.
    Optional,
}

/// Which files, and what is asked of a peer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The listener's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authorities of client certificates, PEM; `None` asks for none.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of these authorities, PEM.
    pub client_revocations: Option<PathBuf>,
    /// What becomes of a client without a certificate; of no meaning without `client_ca`.
    pub client_certificate: ClientCertificate,
    /// Which versions of TLS are taken.
    pub versions: Versions,
    /// Protocols in order of preference, such as `h2`; none for MLLP.
    pub alpn: &'static [&'static str],
}

/// What a listener shows and asks for. Take [`Listening::config`] anew for every handshake: after a renewal of any
/// of the files (certificate and key, authorities, revocation lists) new handshakes use what is new, and connections
/// that stand are left alone. What cannot be loaded leaves the old in use.
pub struct Listening {
    settings: Settings,
    rotating: Arc<Rotating>,
    config: RwLock<Arc<ServerConfig>>,
    /// What the authorities' files looked like when they were read; locked for the whole of a reload.
    seen: Mutex<[Option<Stat>; 2]>,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Listening {
    /// Reads every file.
    ///
    /// # Errors
    /// [`Error`], naming the file and the next step.
    pub fn load(settings: Settings) -> Result<Arc<Self>, Error> {
        let rotating = Rotating::load(&settings.certificate, &settings.key)?;
        let seen = settings.seen();
        let config = RwLock::new(settings.build(&rotating)?);
        Ok(Arc::new(Self { settings, rotating, config, seen: Mutex::new(seen) }))
    }

    /// For the next handshake.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is shown now.
    pub fn identity(&self) -> Identity {
        self.rotating.current()
    }

    /// Reads again what has changed on the disk. Cheap enough for every few seconds.
    ///
    /// # Errors
    /// [`Error`]; what was in use stays, and the next call tries again.
    pub fn reload_if_changed(&self) -> Result<Reloaded, Error> {
        let shown = self.rotating.reload_if_changed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at before reading: what changes meanwhile is noticed at the next look.
        let now = self.settings.seen();
        if *seen == now {
            return shown;
        }
        let config = self.settings.build(&self.rotating)?;
        *seen = now;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        shown.map(|_| Reloaded::Swapped)
    }
}

impl Settings {
    fn seen(&self) -> [Option<Stat>; 2] {
        [&self.client_ca, &self.client_revocations].map(|file| file.as_deref().and_then(stat))
    }

    fn build(&self, rotating: &Arc<Rotating>) -> Result<Arc<ServerConfig>, Error> {
        let mut ca = self.client_ca.as_deref().map(Ca::load).transpose()?;
        if let Some(lists) = &self.client_revocations {
            ca = ca.map(|ca| ca.with_revocations(lists)).transpose()?;
        }
        let client = match (&ca, self.client_certificate) {
            (None, _) => ClientAuth::Nothing,
            (Some(ca), ClientCertificate::Optional) => ClientAuth::Optional(ca),
            (Some(ca), ClientCertificate::Required) => ClientAuth::Required(ca),
        };
        server_config_accepting(self.versions, rotating, client, self.alpn)
    }
}
