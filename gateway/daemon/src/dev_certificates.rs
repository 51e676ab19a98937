//! `wardgate dev-certificates --dir D --gateway ID --landing-host H…`: certificates for a demo or a developer's
//! machine, where no hospital authority is at hand.
//!
//! **Promise.** One throw-away authority issues one server certificate for the landing and one client
//! certificate for the gateway, both for [`VALID_DAYS`] days. The authority's key is never written: nobody can
//! issue another certificate under it, not even the gateway that made it.
//!
//! | file | what |
//! |---|---|
//! | `ca.pem` | the authority both sides pin |
//! | `gateway.pem`, `gateway.key.pem` | `urn:wardgate:gateway:ID`, client side alone |
//! | `landing.pem`, `landing.key.pem` | the hosts named, server side alone |

use std::path::{Path, PathBuf};

use model::{Slug, Timestamp};
use tls::throwaway::Authority;

/// How long they are valid, in days. Short, so that a demo's certificate does not end up in production.
pub(crate) const VALID_DAYS: i64 = 90;
/// They are valid from this much before now, for machines whose clocks disagree. Microseconds.
const EARLY: i64 = 3_600_000_000;
const DAY: i64 = 86_400_000_000;

/// Where the files stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The gateway's certificate and key.
    pub(crate) gateway: (PathBuf, PathBuf),
    /// The landing's certificate and key.
    pub(crate) landing: (PathBuf, PathBuf),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder cannot be made.
    #[error("{path}: the folder for the certificates cannot be made: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate could not be issued or written; a host that is neither a DNS name nor an IP address, for one.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// Makes the five files in `dir`, which is made if need be; files of an earlier call are replaced.
///
/// # Errors
/// [`Error`]; then some of the files may have been written.
pub(crate) fn write(
    dir: &Path,
    gateway: &Slug,
    landing_hosts: &[&str],
    now: Timestamp,
) -> Result<Written, Error> {
    std::fs::create_dir_all(dir).map_err(|source| Error::Folder { path: dir.to_owned(), source })?;
    let from = Timestamp::from_micros(now.micros().saturating_sub(EARLY));
    let to = Timestamp::from_micros(now.micros().saturating_add(VALID_DAYS * DAY));
    let written = Written {
        ca: dir.join("ca.pem"),
        gateway: (dir.join("gateway.pem"), dir.join("gateway.key.pem")),
        landing: (dir.join("landing.pem"), dir.join("landing.key.pem")),
    };
    let authority = Authority::new("Wardgate throw-away authority", from, to)?;
    authority.gateway(gateway, from, to)?.write(&written.gateway.0, &written.gateway.1)?;
    authority.server(landing_hosts, from, to)?.write(&written.landing.0, &written.landing.1)?;
    authority.write(&written.ca)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_pairs_that_name_their_owners() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-24T08:30:00Z".parse().unwrap();
        let made = write(&dir.path().join("new"), &"ward-3".parse().unwrap(), &["127.0.0.1"], now).unwrap();

        tls::load_ca(&made.ca).unwrap();
        let gateway = tls::Identity::load(&made.gateway.0, &made.gateway.1).unwrap();
        assert_eq!(tls::peer_gateway(gateway.chain()).unwrap().as_str(), "ward-3");
        assert_eq!(gateway.expires_at().seconds() - now.seconds(), VALID_DAYS * 86_400);
        let landing = tls::Identity::load(&made.landing.0, &made.landing.1).unwrap();
        assert!(tls::peer_gateway(landing.chain()).is_err(), "a landing is no gateway");
    }

    #[test]
    fn a_host_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::default();
        assert!(write(dir.path(), &"g".parse().unwrap(), &["größe.example"], now).is_err());
    }
}
