//! Argon2id (RFC 9106) of a passphrase, in the second of the RFC's recommended forms: 64 MiB, 3 passes, 4 lanes.
//!
//! Sealed: memory in KiB u32, passes u32, lanes u32 (little-endian), salt 16, nonce 12, wrapped 48. What a file asks for
//! is bounded by [`MEMORY_KIB_MAX`] and [`PASSES_MAX`].

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Secret;
use crate::Error;
use crate::format::Fields;
use crate::keys::random;
use crate::keys::wrapped::Wrapped;
use crate::locked::SECRET_BYTES;

const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 64;
const SALT_BYTES: usize = 16;
/// Shortest passphrase that is taken, in bytes. Six random words have more.
const PASSPHRASE_BYTES_MIN: usize = 12;

fn failed(problem: &str) -> Error {
    Error::Provider { provider: "passphrase", problem: problem.into() }
}

fn stretch(
    passphrase: &[u8],
    salt: &[u8; SALT_BYTES],
    [memory_kib, passes, lanes]: [u32; 3],
) -> Result<Secret, Error> {
    if memory_kib > MEMORY_KIB_MAX || passes > PASSES_MAX {
        return Err(failed("the key file asks for more memory or time than this program gives"));
    }
    let params = Params::new(memory_kib, passes, lanes, Some(SECRET_BYTES))
        .map_err(|_| failed("the key file asks for an impossible Argon2"))?;
    let mut key = Zeroizing::new([0; SECRET_BYTES]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|_| failed("the passphrase could not be stretched"))?;
    Ok(key)
}

pub(super) fn seal(passphrase: &[u8], secret: &[u8; SECRET_BYTES], context: &[u8]) -> Result<Vec<u8>, Error> {
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        return Err(failed("the passphrase is shorter than 12 bytes; take six random words"));
    }
    let salt = random::<SALT_BYTES>()?;
    let cost = [MEMORY_KIB, PASSES, LANES];
    let wrapped = Wrapped::new(&*stretch(passphrase, &salt, cost)?, context, secret)?;
    let mut sealed: Vec<u8> = cost.iter().flat_map(|number| number.to_le_bytes()).collect();
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(&wrapped.nonce);
    sealed.extend_from_slice(&wrapped.sealed);
    Ok(sealed)
}

pub(super) fn unseal(passphrase: &[u8], sealed: &[u8], context: &[u8]) -> Result<Secret, Error> {
    let mut f = Fields(sealed);
    let read = (|| Some(([f.u32()?, f.u32()?, f.u32()?], f.array::<SALT_BYTES>()?, Wrapped::read(f.0)?)))();
    let (cost, salt, wrapped) = read.ok_or_else(|| failed("the sealed key is cut short"))?;
    wrapped
        .open(&*stretch(passphrase, &salt, cost)?, context)
        .ok_or_else(|| failed("the passphrase is wrong, or the sealed key was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_it_and_only_where_it_belongs() {
        let sealed = seal(b"correct horse battery", &[7; 32], b"key 1").unwrap();
        assert_eq!(*unseal(b"correct horse battery", &sealed, b"key 1").unwrap(), [7; 32]);
        assert!(unseal(b"correct horse batterz", &sealed, b"key 1").is_err());
        assert!(unseal(b"correct horse battery", &sealed, b"key 2").is_err());
        assert!(seal(b"short", &[7; 32], b"key 1").is_err());
        for len in 0..sealed.len() {
            assert!(unseal(b"correct horse battery", &sealed[..len], b"key 1").is_err(), "{len}");
        }
        // A file that asks for a gigabyte, an hour or nonsense is refused before it gets any.
        for (at, value) in [(0, 1_u32 << 20), (4, 1 << 30), (8, 0), (0, 0)] {
            let mut greedy = sealed.clone();
            greedy[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert!(unseal(b"correct horse battery", &greedy, b"key 1").is_err(), "{at} {value}");
        }
    }

    #[test]
    fn it_is_argon2id_as_everybody_computes_it() {
        // Pinned against the reference implementation (Python argon2-cffi): hash_secret_raw(b"correct horse battery",
        // bytes(range(16)), 3, 65536, 4, 32, Type.ID).
        let salt: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let key = stretch(b"correct horse battery", &salt, [MEMORY_KIB, PASSES, LANES]).unwrap();
        assert_eq!(hex::encode(*key), "5995fc5ddabdb7f10fae2ad796270c269821d70b0efb8fb60262a81f1b6f0eb8");
    }
}
