//! The root key wrapped by an AES key in an HSM, over PKCS#11 (OASIS, v2.40 and later).
//!
//! The key is AES-256, `CKA_TOKEN`, `CKA_SENSITIVE`, not `CKA_EXTRACTABLE`, made in the HSM when there is none of its
//! label. Wrapping is `CKM_AES_GCM` where the token has it. The vendor's library is loaded when it is asked for
//! (`dlopen`), so that the binary links to none.
//!
//! **Sealed**: initialisation vector 12, ciphertext and tag 48. The vector is random, from us: a root key is sealed a
//! few times in the life of an HSM's key.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::Secret;
use crate::keys::random;
use crate::locked::SECRET_BYTES;

const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the PKCS#11 library says: {0}")]
    Library(#[from] cryptoki::error::Error),
    #[error("there is no token with the label {0:?}")]
    NoToken(String),
    #[error("the PIN is not text")]
    Pin,
    #[error("the token has no AES key with the label {0:?}")]
    NoKey(String),
    #[error("the token has several keys with the label {0:?}")]
    SeveralKeys(String),
    #[error("the sealed key is cut short, or is not as long as a key")]
    Length,
    #[error("no random bytes")]
    Random,
}

/// A session of the user with the token of this label. The library stays initialised only as long.
fn with_session<T>(
    module: &Path,
    token: &str,
    pin: &[u8],
    work: impl FnOnce(&Session) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let pin = std::str::from_utf8(pin).map_err(|_| Fault::Pin)?;
    let library = Pkcs11::new(module)?;
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let done = (|| {
        let mut found = None;
        for slot in library.get_slots_with_token()? {
            if library.get_token_info(slot)?.label().trim_end() == token {
                found = Some(slot);
            }
        }
        let slot = found.ok_or_else(|| Fault::NoToken(token.to_owned()))?;
        let session = library.open_rw_session(slot)?;
        session.login(UserType::User, Some(&AuthPin::new(pin.into())))?;
        let done = work(&session);
        session.logout()?;
        done
    })();
    library.finalize()?;
    done
}

fn find(session: &Session, label: &str) -> Result<Option<ObjectHandle>, Fault> {
    let found = session.find_objects(&[
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Label(label.as_bytes().to_vec()),
    ])?;
    match found.as_slice() {
        [] => Ok(None),
        [key] => Ok(Some(*key)),
        _ => Err(Fault::SeveralKeys(label.to_owned())),
    }
}

fn make(session: &Session, label: &str) -> Result<ObjectHandle, Fault> {
    let template = [
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::ValueLen(32.into()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ];
    Ok(session.generate_key(&Mechanism::AesKeyGen, &template)?)
}

/// Wraps a root key.
pub(super) fn seal(
    module: &Path,
    token: &str,
    label: &str,
    pin: &[u8],
    secret: &[u8; SECRET_BYTES],
    context: &[u8],
) -> Result<Vec<u8>, Fault> {
    let mut iv: [u8; IV_BYTES] = random().map_err(|_| Fault::Random)?;
    let sealed_iv = iv;
    let wrapped = with_session(module, token, pin, |session| {
        let key = match find(session, label)? {
            Some(key) => key,
            None => make(session, label)?,
        };
        let gcm = GcmParams::new(&mut iv, context, TAG_BITS.into())?;
        Ok(session.encrypt(&Mechanism::AesGcm(gcm), key, secret)?)
    })?;
    Ok([sealed_iv.as_slice(), &wrapped].concat())
}

/// The way back.
pub(super) fn unseal(
    module: &Path,
    token: &str,
    label: &str,
    pin: &[u8],
    sealed: &[u8],
    context: &[u8],
) -> Result<Secret, Fault> {
    let (iv, wrapped) = sealed.split_first_chunk::<IV_BYTES>().ok_or(Fault::Length)?;
    let mut iv = *iv;
    let plain = with_session(module, token, pin, |session| {
        let key = find(session, label)?.ok_or_else(|| Fault::NoKey(label.to_owned()))?;
        let gcm = GcmParams::new(&mut iv, context, TAG_BITS.into())?;
        Ok(Zeroizing::new(session.decrypt(&Mechanism::AesGcm(gcm), key, wrapped)?))
    })?;
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    if plain.len() != SECRET_BYTES {
        return Err(Fault::Length);
    }
    secret.copy_from_slice(&plain);
    Ok(secret)
}
