//! An identity that is renewed while the process runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::{Error, Identity};

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files hold the identity that is in use.
    Unchanged,
    /// New handshakes use a new one from now on; connections that stand keep the old one until they are closed.
    Swapped,
}

/// An identity read from two files (or fixed), shown in every new handshake in its newest form. Share it as
/// `Arc<Rotating>`; whoever renews certificates calls [`Rotating::reload_if_changed`] now and then, or
/// [`Rotating::reload`] on a signal. While certificate and key are being exchanged one after the other they do
/// not fit: that reload fails, the old identity stays, and the next look tries again.
pub struct Rotating {
    files: Option<(PathBuf, PathBuf)>,
    current: RwLock<Identity>,
    generation: AtomicU64,
    /// What the files looked like at the last successful look; locked for the whole of a reload.
    seen: Mutex<Option<[Stat; 2]>>,
}

/// Enough of a file's metadata to notice an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl fmt::Debug for Rotating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotating")
            .field("current", &self.current())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl Rotating {
    /// Loads the identity and remembers where it came from.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn load(cert_chain_pem: &Path, key_pem: &Path) -> Result<Arc<Self>, Error> {
        let seen = stat_both(cert_chain_pem, key_pem);
        let identity = Identity::load(cert_chain_pem, key_pem)?;
        Ok(Arc::new(Self {
            files: Some((cert_chain_pem.to_owned(), key_pem.to_owned())),
            current: RwLock::new(identity),
            generation: AtomicU64::new(1),
            seen: Mutex::new(seen),
        }))
    }

    /// An identity without files: it changes by [`Rotating::swap`] alone.
    pub fn fixed(identity: Identity) -> Arc<Self> {
        Arc::new(Self {
            files: None,
            current: RwLock::new(identity),
            generation: AtomicU64::new(1),
            seen: Mutex::new(None),
        })
    }

    /// The identity that the next handshake shows.
    pub fn current(&self) -> Identity {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the swaps, from 1: a connection made under a lower generation shows an old certificate.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// New handshakes use `identity` from now on.
    pub fn swap(&self, identity: Identity) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = identity;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`Identity::load`]; the old identity stays in use.
    pub fn reload(&self) -> Result<Reloaded, Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((certificate, key)) = &self.files else { return Ok(Reloaded::Unchanged) };
        // Looked at before reading: what changes meanwhile is noticed at the next look.
        let stat = stat_both(certificate, key);
        let identity = Identity::load(certificate, key)?;
        *seen = stat;
        if identity.chain() == self.current().chain() {
            return Ok(Reloaded::Unchanged);
        }
        self.swap(identity);
        Ok(Reloaded::Swapped)
    }

    /// Reads the files again where their time, size or inode has changed. Cheap enough for every few seconds.
    ///
    /// # Errors
    /// As [`Rotating::reload`]; the next call tries again.
    pub fn reload_if_changed(&self) -> Result<Reloaded, Error> {
        let Some((certificate, key)) = &self.files else { return Ok(Reloaded::Unchanged) };
        let stat = stat_both(certificate, key);
        let unchanged = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            stat.is_some() && *seen == stat
        };
        if unchanged { Ok(Reloaded::Unchanged) } else { self.reload() }
    }
}

fn stat_both(certificate: &Path, key: &Path) -> Option<[Stat; 2]> {
    Some([stat(certificate)?, stat(key)?])
}

pub(crate) fn stat(path: &Path) -> Option<Stat> {
    use std::os::unix::fs::MetadataExt as _;
    let data = fs::metadata(path).ok()?;
    Some(Stat { modified: data.modified().ok(), bytes: data.len(), inode: data.ino() })
}

impl ResolvesServerCert for Rotating {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().certified)
    }
}

impl ResolvesClientCert for Rotating {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // The server's list of authorities is a hint (RFC 8446 section 4.2.4) that is not followed: a refused
        // certificate gives a clear alert, a withheld one gives a puzzle.
        let certified = self.current().certified;
        certified.key.choose_scheme(schemes).is_some().then_some(certified)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Names the algorithm, so that a configuration page can show it.
impl Rotating {
    /// The key's algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.current().certified.key.algorithm()
    }
}
