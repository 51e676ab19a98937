//! The listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Clock;
use tokio_util::sync::CancellationToken;

use crate::{Config, Product};

/// Why the pages cannot be served. All of them are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or may not be used.
    #[error("web.listen: cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Only one of certificate and key was named.
    #[error("web.certificate and web.key go together: name both or neither")]
    HalfCertificate,
    /// The certificate or its key cannot be read or used.
    #[error("web.certificate: {file}: {why}")]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A name in `host_names` is no host name.
    #[error("web.host_names: {name:?} is no host name; write it without scheme, port and path")]
    HostName {
        /// As written.
        name: String,
    },
}

/// A bound listener, not yet answering.
pub struct Server {
    local_addr: SocketAddr,
    fingerprint: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the listener and loads the certificate, or makes a self-signed one under `data_dir/web/`.
    ///
    /// # Errors
    /// [`Error`]; nothing listens then.
    pub async fn bind(
        config: &Config,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        product: Arc<dyn Product>,
    ) -> Result<Self, Error> {
        let _ = (data_dir, clock, product);
        Ok(Self { local_addr: config.listen, fingerprint: String::new() })
    }

    /// Where it listens; tells the port where the configuration said 0.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// SHA-256 of the certificate, as a browser shows it: upper-case hex, pairs divided by colons.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Serves until `stop`, then lets answers under way finish, 5 s at most.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
