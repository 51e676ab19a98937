//! `wardgate-landing check`: whether a landing would start with a configuration.

use model::Clock;
use tls::{Ca, Identity};

use super::read::failed;
use super::{Error, TableError};
use crate::config::{Config, Destination};
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
/// [`Unfit`], all that are found.
pub async fn check(config: &Config, clock: &dyn Clock) -> Result<(), Vec<Unfit>> {
    let mut unfit: Vec<Unfit> = Vec::new();
    let identity = Identity::load(&config.certificate, &config.key)
        .and_then(|identity| identity.check_validity(clock.now()));
    unfit.extend(identity.err().map(Unfit::from));
    let authorities = Ca::load(&config.client_ca).and_then(|authorities| match &config.client_crl {
        Some(lists) => authorities.with_revocations(lists).map(drop),
        None => Ok(()),
    });
    unfit.extend(authorities.err().map(Unfit::from));
    for destination in &config.destinations {
        unfit.extend(tables(destination).await.err().map(Unfit::from));
    }
    if unfit.is_empty() { Ok(()) } else { Err(unfit) }
}

/// Whether a destination's tables, where there are any, are of its policy.
async fn tables(destination: &Destination) -> Result<(), Error> {
    let root = &destination.root;
    let raw = Snapshot::read(root, "raw").await.map_err(|e| failed(root, e))?;
    match raw.filter(|raw| raw.policy != destination.policy) {
        Some(raw) => {
            let source = delta::Error::Policy { found: raw.policy, wanted: destination.policy.clone() };
            Err(Error::Table { root: root.clone(), source: TableError(source) })
        }
        None => Ok(()),
    }
}
