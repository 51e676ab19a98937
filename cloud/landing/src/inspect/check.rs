//! `wardgate-landing check`: whether a landing would start with a configuration.

use model::Clock;
use tls::{Ca, Identity};

use super::read::failed;
use super::{Error, TableError};
use crate::config::Config;
use crate::delta;
use crate::delta::Snapshot;

/// Why a landing would not start.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Tables.
    #[error(transparent)]
    Tables(#[from] Error),
}

/// Looks at certificates and tables; makes nothing.
///
/// # Errors
/// [`Unfit`], the first that is found.
pub async fn check(config: &Config, clock: &dyn Clock) -> Result<(), Unfit> {
    let identity = Identity::load(&config.certificate, &config.key)?;
    identity.check_validity(clock.now())?;
    let authorities = Ca::load(&config.client_ca)?;
    if let Some(lists) = &config.client_crl {
        authorities.with_revocations(lists)?;
    }
    for destination in &config.destinations {
        let root = &destination.root;
        let raw = Snapshot::read(root, "raw").await.map_err(|e| failed(root, e))?;
        if let Some(raw) = raw.filter(|raw| raw.policy != destination.policy) {
            let source = delta::Error::Policy { found: raw.policy, wanted: destination.policy.clone() };
            return Err(Error::Table { root: root.clone(), source: TableError(source) }.into());
        }
    }
    Ok(())
}
