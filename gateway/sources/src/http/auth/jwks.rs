//! The public keys of a client, from a file that may be exchanged while the gateway runs.
//!
//! **Limits.** [`FILE_BYTES_MAX`], [`KEYS_MAX`] keys. Keys of other kinds than RS384 and ES384 need are passed over;
//! private keys are refused, so that nobody leaves them lying about.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::http::Error;

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Most keys of one client.
const KEYS_MAX: usize = 32;
/// An RSA modulus has so many bytes at least (2048 bits) and at most.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// A coordinate of P-384.
const COORDINATE_BYTES: usize = 48;

/// The keys of one client.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    kid: Option<String>,
    public: Public,
}

#[derive(Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// Uncompressed.
    P384(Vec<u8>),
}

/// How an assertion is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs384,
    Es384,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Written>,
}

#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    k: Option<serde::de::IgnoredAny>,
}

impl Keys {
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let seen = stat(path);
        Ok(Self { path: path.to_owned(), seen, keys: read(path)? })
    }

    /// Reads the file again if it has changed. What cannot be read leaves the old keys in use.
    pub(crate) fn reload_if_changed(&mut self) -> Result<bool, Error> {
        let now = stat(&self.path);
        if now == self.seen {
            return Ok(false);
        }
        self.keys = read(&self.path)?;
        self.seen = now;
        Ok(true)
    }

    /// Whether one of the keys made the signature; of those with the name `kid`, or of all where none is given.
    pub(crate) fn verify(&self, algorithm: Algorithm, kid: Option<&str>, signed: &[u8], by: &[u8]) -> bool {
        self.keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid).any(|key| {
            match (&key.public, algorithm) {
                (Public::Rsa { n, e }, Algorithm::Rs384) => RsaPublicKeyComponents { n: &**n, e: &**e }
                    .verify(&signature::RSA_PKCS1_2048_8192_SHA384, signed, by)
                    .is_ok(),
                (Public::P384(point), Algorithm::Es384) => {
                    UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                        .verify(signed, by)
                        .is_ok()
                }
                _ => false,
            }
        })
    }
}

fn stat(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn read(path: &Path) -> Result<Vec<Key>, Error> {
    let failed = |why: String| Error::Keys { path: path.to_owned(), why };
    let meta = std::fs::metadata(path).map_err(|e| failed(format!("cannot be read: {e}")))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(failed(format!("is {} bytes long; at most {FILE_BYTES_MAX} are taken", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|e| failed(format!("cannot be read: {e}")))?;
    let set: Set = serde_json::from_slice(&bytes)
        .map_err(|e| failed(format!("no JSON Web Key Set, {{\"keys\": […]}}: {e}")))?;
    if set.keys.iter().any(|key| key.d.is_some() || key.k.is_some()) {
        return Err(failed(
            "holds a private or secret key; ask the client for its public keys alone".to_owned(),
        ));
    }
    if set.keys.len() > KEYS_MAX {
        return Err(failed(format!("has {} keys; at most {KEYS_MAX} are taken", set.keys.len())));
    }
    let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        let why = "has no key that can be used: RSA of 2048 to 8192 bits, or EC with P-384";
        return Err(failed(why.to_owned()));
    }
    Ok(keys)
}

fn usable(key: Written) -> Option<Key> {
    if key.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
    let public = match (&*key.kty, key.crv.as_deref()) {
        ("RSA", _) => {
            let n: Vec<u8> = bytes(key.n)?.into_iter().skip_while(|b| *b == 0).collect();
            let e = bytes(key.e)?;
            MODULUS_BYTES.contains(&n.len()).then_some(Public::Rsa { n, e })?
        }
        ("EC", Some("P-384")) => {
            let (x, y) = (bytes(key.x)?, bytes(key.y)?);
            if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
                return None;
            }
            Public::P384([&[4][..], &x, &y].concat())
        }
        _ => return None,
    };
    Some(Key { kid: key.kid, public })
}
