//! The root key sealed by a TPM 2.0, spoken to directly.
//!
//! **How.** The storage primary key (ECC P-256, the TCG's template, in the owner hierarchy) is made anew each time from
//! the TPM's seed, so that nothing is stored in the TPM. The root key is a sealed object under it, `fixedTPM` and
//! `fixedParent`: it opens in this TPM alone, until its owner hierarchy is cleared. Both ways the key crosses the bus
//! encrypted, in an HMAC session salted to the primary key, so that a probe on the bus reads nothing; that it is this
//! TPM's primary key, and not that of somebody in between, is known by its *name*, which stands in the sealed form.
//!
//! **Sealed**: name of the primary 34, length of public u16, public, length of private u16, private (big-endian, as the
//! TPM gave them).
//!
//! **Why no library.** `tss-esapi` needs C libraries of the system at link time, which the box and its cross builds do
//! not have. What is needed here is seven commands of *TPM 2.0 Library, Part 3*; layouts are from Parts 1 to 3, and the
//! tests run against swtpm. The device is the kernel's resource manager (`/dev/tpmrm0`), or the UNIX socket of a
//! software TPM. Not used: PCR policies. They bind a key to the boot chain, and lock it away at each update of one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use aws_lc_rs::cipher::{
    AES_128, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{constant_time, digest};
use zeroize::Zeroizing;

use super::Secret;
use crate::keys::{mac, random};
use crate::locked::SECRET_BYTES;

/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const OWNER: u32 = 0x4000_0001;
const NULL_HANDLE: u32 = 0x4000_0007;
const PASSWORD: u32 = 0x4000_0009;
const CREATE_PRIMARY: u32 = 0x131;
const CREATE: u32 = 0x153;
const LOAD: u32 = 0x157;
const UNSEAL: u32 = 0x15E;
const FLUSH_CONTEXT: u32 = 0x165;
const START_AUTH_SESSION: u32 = 0x176;
const SHA256: u16 = 0x000B;
const CONTINUE: u8 = 0x01;
const DECRYPT: u8 = 0x20;
const ENCRYPT: u8 = 0x40;
const NAME_BYTES: usize = 34;
/// AES-128 in CFB mode, as the parts of a template or session say it.
const AES_128_CFB: [u16; 3] = [0x0006, 128, 0x0043];
const NO_SCHEME: u16 = 0x0010;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the TPM at {path} cannot be used: {source}")]
    Device { path: String, source: std::io::Error },
    #[error("the TPM refused {command} with code {code:#x}{hint}", hint = hint(*.code))]
    Refused { command: &'static str, code: u32 },
    #[error("the TPM's answer to {0} makes no sense")]
    Answer(&'static str),
    #[error("this is another TPM than the one the key was sealed by, or its owner hierarchy was cleared")]
    OtherTpm,
    #[error("the sealed key is cut short")]
    Short,
    #[error("a computation failed")]
    Crypto,
}

const fn hint(code: u32) -> &'static str {
    match code {
        0x921 => ": it is locked out for a while after failed authorizations",
        0x100 => ": it was not started",
        0x9A2 | 0x98E => ": the owner hierarchy has a password, which is not supported",
        _ => "",
    }
}

/// Builds what goes to the TPM: integers big-endian, buffers with their length before them.
#[derive(Default)]
struct Out(Zeroizing<Vec<u8>>);

impl Out {
    fn u8(mut self, v: u8) -> Self {
        self.0.push(v);
        self
    }
    fn u16(mut self, v: u16) -> Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    fn u32(mut self, v: u32) -> Self {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }
    fn raw(mut self, v: &[u8]) -> Self {
        self.0.extend_from_slice(v);
        self
    }
    /// What is larger does not occur: all is ours, or came from the TPM with such a length.
    fn sized(self, v: &[u8]) -> Self {
        self.u16(v.len() as u16).raw(v)
    }
    fn aes_128_cfb(self) -> Self {
        AES_128_CFB.into_iter().fold(self, Self::u16)
    }
}

/// Reads what comes back.
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }
    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }
}

enum Wire {
    Device(File),
    Socket(UnixStream),
}

struct Tpm {
    path: String,
    wire: Wire,
}

/// The primary key, loaded.
struct Primary {
    handle: u32,
    name: Vec<u8>,
    /// The uncompressed point.
    point: [u8; 65],
}

/// An HMAC session whose key only the TPM and we know.
struct Session {
    handle: u32,
    key: Zeroizing<[u8; 32]>,
    nonce_tpm: Vec<u8>,
}

impl Tpm {
    fn open(path: &Path) -> Result<Self, Fault> {
        let failed = |source| Fault::Device { path: path.display().to_string(), source };
        let is_socket = std::fs::metadata(path).map_err(failed)?.file_type().is_socket();
        let wire = if is_socket {
            let stream = UnixStream::connect(path).map_err(failed)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
            Wire::Socket(stream)
        } else {
            Wire::Device(OpenOptions::new().read(true).write(true).open(path).map_err(failed)?)
        };
        Ok(Self { path: path.display().to_string(), wire })
    }

    /// One command; the answer's tag and what follows its header.
    fn run(
        &mut self,
        name: &'static str,
        tag: u16,
        code: u32,
        body: &[u8],
    ) -> Result<(u16, Zeroizing<Vec<u8>>), Fault> {
        let command = Out::default().u16(tag).u32(10 + body.len() as u32).u32(code).raw(body);
        let mut answer = Zeroizing::new(vec![0; ANSWER_BYTES_MAX]);
        let exchanged = match &mut self.wire {
            // The driver takes a command in one write and gives its answer in one read.
            Wire::Device(file) => file.write_all(&command.0).and_then(|()| file.read(&mut answer)),
            Wire::Socket(stream) => {
                stream.write_all(&command.0).and_then(|()| read_answer(stream, &mut answer))
            }
        };
        let len = exchanged.map_err(|source| Fault::Device { path: self.path.clone(), source })?;
        answer.truncate(len);
        let header = (|| {
            let mut f = In(&answer);
            let (tag, size, code) = (f.u16()?, f.u32()?, f.u32()?);
            (usize::try_from(size) == Ok(len)).then_some((tag, code))
        })();
        let (tag, code) = header.ok_or(Fault::Answer(name))?;
        if code != 0 {
            return Err(Fault::Refused { command: name, code });
        }
        let rest = Zeroizing::new(answer.get(10..).unwrap_or_default().to_vec());
        Ok((tag, rest))
    }

    fn flush(&mut self, handle: u32) {
        let body = Out::default().u32(handle);
        if let Err(error) = self.run("FlushContext", NO_SESSIONS, FLUSH_CONTEXT, &body.0) {
            tracing::debug!(%error, "an object of the TPM could not be flushed");
        }
    }

    /// Makes the storage primary key from the TPM's seed.
    fn primary(&mut self) -> Result<Primary, Fault> {
        const NAME: &str = "CreatePrimary";
        // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
        let template = Out::default()
            .u16(0x0023)
            .u16(SHA256)
            .u32(0x0003_0472)
            .sized(&[])
            .aes_128_cfb()
            .u16(NO_SCHEME)
            .u16(0x0003)
            .u16(NO_SCHEME)
            .sized(&[])
            .sized(&[]);
        let body = Out::default()
            .u32(OWNER)
            .u32(9)
            .u32(PASSWORD)
            .sized(&[])
            .u8(0)
            .sized(&[])
            .sized(&Out::default().sized(&[]).sized(&[]).0)
            .sized(&template.0)
            .sized(&[])
            .u32(0);
        let (_, answer) = self.run(NAME, SESSIONS, CREATE_PRIMARY, &body.0)?;
        let mut f = In(&answer);
        let handle = f.u32().ok_or(Fault::Answer(NAME))?;
        let read = (|| {
            f.u32()?;
            let public = f.sized()?;
            let mut p = In(public);
            // Type, name algorithm, attributes; policy; symmetric, scheme, curve, derivation; the point.
            p.take(8)?;
            p.sized()?;
            p.take(12)?;
            let (x, y) = (p.sized()?, p.sized()?);
            Some((name_of(public), point(x, y)?))
        })();
        match read {
            Some((name, point)) => Ok(Primary { handle, name, point }),
            None => {
                self.flush(handle);
                Err(Fault::Answer(NAME))
            }
        }
    }

    /// A session salted to the primary key: ECDH with a key of ours, Part 1 annex C.6.1.
    fn session(&mut self, primary: &Primary) -> Result<Session, Fault> {
        const NAME: &str = "StartAuthSession";
        let ours =
            EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(|_| Fault::Crypto)?;
        let public = ours.compute_public_key().map_err(|_| Fault::Crypto)?;
        let (our_x, our_y) = coordinates(public.as_ref()).ok_or(Fault::Crypto)?;
        let (their_x, _) = coordinates(&primary.point).ok_or(Fault::Crypto)?;
        let theirs = UnparsedPublicKey::new(&ECDH_P256, primary.point.as_slice());
        let salt = agree_ephemeral(ours, theirs, Fault::Crypto, |z| {
            let parts: [&[u8]; 5] = [&1_u32.to_be_bytes(), z, b"SECRET\0", our_x, their_x];
            Ok(Zeroizing::new(sha256(&parts)))
        })?;
        let nonce: [u8; 32] = random().map_err(|_| Fault::Crypto)?;
        let body = Out::default()
            .u32(primary.handle)
            .u32(NULL_HANDLE)
            .sized(&nonce)
            .sized(&Out::default().sized(our_x).sized(our_y).0)
            .u8(0)
            .aes_128_cfb()
            .u16(SHA256);
        let (_, answer) = self.run(NAME, NO_SESSIONS, START_AUTH_SESSION, &body.0)?;
        let mut f = In(&answer);
        let handle = f.u32().ok_or(Fault::Answer(NAME))?;
        let Some(nonce_tpm) = f.sized().map(<[u8]>::to_vec) else {
            self.flush(handle);
            return Err(Fault::Answer(NAME));
        };
        let key = kdf_a(&salt, b"ATH\0", &nonce_tpm, &nonce);
        Ok(Session { handle, key, nonce_tpm })
    }

    /// A command on one object, authorised by the session: the first parameter goes and comes encrypted as
    /// `attributes` say. The answer's handle, where the command has one, and its parameters.
    fn authorised(
        &mut self,
        session: &mut Session,
        (name, code): (&'static str, u32),
        (handle, handle_name): (u32, &[u8]),
        attributes: u8,
        first: &[u8],
        rest: &[u8],
    ) -> Result<(Option<u32>, Zeroizing<Vec<u8>>), Fault> {
        let attributes = attributes | CONTINUE;
        let nonce: [u8; 32] = random().map_err(|_| Fault::Crypto)?;
        let mut first = Zeroizing::new(first.to_vec());
        if attributes & DECRYPT != 0 {
            cfb(&kdf_a(&session.key, b"CFB\0", &nonce, &session.nonce_tpm), &mut first, true)?;
        }
        let parameters = match code {
            UNSEAL => Out::default(),
            _ => Out::default().sized(&first).raw(rest),
        };
        let cp_hash = sha256(&[&code.to_be_bytes(), handle_name, &parameters.0]);
        let hmac = mac(&session.key, &[&cp_hash, &nonce, &session.nonce_tpm, &[attributes]]);
        let auth = Out::default().u32(session.handle).sized(&nonce).u8(attributes).sized(&hmac);
        let body = Out::default().u32(handle).u32(auth.0.len() as u32).raw(&auth.0).raw(&parameters.0);
        let (tag, answer) = self.run(name, SESSIONS, code, &body.0)?;
        let mut f = In(&answer);
        let new_handle = if code == LOAD { Some(f.u32().ok_or(Fault::Answer(name))?) } else { None };
        let checked = (|| {
            let size = f.u32()?;
            let parameters = f.take(usize::try_from(size).ok()?)?;
            let (nonce_tpm, attributes, hmac) = (f.sized()?, f.u8()?, f.sized()?);
            let rp_hash = sha256(&[&0_u32.to_be_bytes(), &code.to_be_bytes(), parameters]);
            let right = mac(&session.key, &[&rp_hash, nonce_tpm, &nonce, &[attributes]]);
            constant_time::verify_slices_are_equal(&right, hmac).ok()?;
            let mut parameters = Zeroizing::new(parameters.to_vec());
            if attributes & ENCRYPT != 0 {
                let len = usize::from(In(&parameters).u16()?);
                let key = kdf_a(&session.key, b"CFB\0", nonce_tpm, &nonce);
                cfb(&key, parameters.get_mut(2..2 + len)?, false).ok()?;
            }
            Some((parameters, nonce_tpm.to_vec()))
        })();
        match checked.filter(|_| tag == SESSIONS) {
            Some((parameters, nonce_tpm)) => {
                session.nonce_tpm = nonce_tpm;
                Ok((new_handle, parameters))
            }
            None => {
                // Somebody else answered, or the session's key is not the TPM's.
                new_handle.into_iter().for_each(|handle| self.flush(handle));
                Err(Fault::Answer(name))
            }
        }
    }

    /// Does something with the primary key and a session; both are gone afterwards.
    fn with<T>(
        &mut self,
        expected: Option<&[u8]>,
        work: impl FnOnce(&mut Self, &Primary, &mut Session) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let primary = self.primary()?;
        let done = (|| {
            if expected.is_some_and(|name| name != primary.name) {
                return Err(Fault::OtherTpm);
            }
            let mut session = self.session(&primary)?;
            let done = work(self, &primary, &mut session);
            self.flush(session.handle);
            done
        })();
        self.flush(primary.handle);
        done
    }
}

fn read_answer(stream: &mut UnixStream, answer: &mut [u8]) -> std::io::Result<usize> {
    let short = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (header, rest) = answer.split_first_chunk_mut::<10>().ok_or_else(short)?;
    stream.read_exact(header)?;
    let size = In(header.get(2..).unwrap_or_default()).u32().unwrap_or(0) as usize;
    let body = size.checked_sub(10).and_then(|len| rest.get_mut(..len)).ok_or_else(short)?;
    stream.read_exact(body)?;
    Ok(size)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn name_of(public: &[u8]) -> Vec<u8> {
    [SHA256.to_be_bytes().as_slice(), &sha256(&[public])].concat()
}

/// 256 bits of KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC-SHA-256.
fn kdf_a(key: &[u8; 32], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(mac(key, &[&1_u32.to_be_bytes(), label, u, v, &256_u32.to_be_bytes()]))
}

/// AES-128-CFB; the first half of `key` is the key, the second the initialisation vector.
fn cfb(key: &[u8; 32], bytes: &mut [u8], should_encrypt: bool) -> Result<(), Fault> {
    let (key, iv) = key.split_first_chunk::<16>().ok_or(Fault::Crypto)?;
    let iv = FixedLength::<16>::try_from(iv).map_err(|_| Fault::Crypto)?;
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| Fault::Crypto)?;
    let done = if should_encrypt {
        EncryptingKey::cfb128(key)
            .and_then(|key| key.less_safe_encrypt(bytes, EncryptionContext::Iv128(iv)))
            .map(drop)
    } else {
        DecryptingKey::cfb128(key).and_then(|key| key.decrypt(bytes, DecryptionContext::Iv128(iv)).map(drop))
    };
    done.map_err(|_| Fault::Crypto)
}

/// The uncompressed form of a point whose coordinates may have lost leading zeros.
fn point(x: &[u8], y: &[u8]) -> Option<[u8; 65]> {
    let mut point = [0; 65];
    let (form, xy) = point.split_first_mut()?;
    *form = 4;
    let (to_x, to_y) = xy.split_at_mut(32);
    for (to, from) in [(to_x, x), (to_y, y)] {
        to.get_mut(32_usize.checked_sub(from.len())?..)?.copy_from_slice(from);
    }
    Some(point)
}

fn coordinates(point: &[u8]) -> Option<(&[u8], &[u8])> {
    point.get(1..)?.split_at_checked(32)
}

/// Seals a root key.
pub(super) fn seal(device: &Path, secret: &[u8; SECRET_BYTES]) -> Result<Vec<u8>, Fault> {
    const NAME: &str = "Create";
    let mut tpm = Tpm::open(device)?;
    tpm.with(None, |tpm, primary, session| {
        let sensitive = Out::default().sized(&[]).sized(secret);
        // fixedTPM, fixedParent, userWithAuth, noDA.
        let template =
            Out::default().u16(0x0008).u16(SHA256).u32(0x0000_0452).sized(&[]).u16(NO_SCHEME).sized(&[]);
        let rest = Out::default().sized(&template.0).sized(&[]).u32(0);
        let parent = (primary.handle, primary.name.as_slice());
        let (_, answer) = tpm.authorised(session, (NAME, CREATE), parent, DECRYPT, &sensitive.0, &rest.0)?;
        let mut f = In(&answer);
        let (private, public) = (|| Some((f.sized()?, f.sized()?)))().ok_or(Fault::Answer(NAME))?;
        let sealed = Out::default().raw(&primary.name).sized(public).sized(private);
        Ok(sealed.0.to_vec())
    })
}

/// The way back.
pub(super) fn unseal(device: &Path, sealed: &[u8]) -> Result<Secret, Fault> {
    let mut f = In(sealed);
    let parts = (|| Some((f.take(NAME_BYTES)?, f.sized()?, f.sized()?)))();
    let (name, public, private) = parts.filter(|_| f.0.is_empty()).ok_or(Fault::Short)?;
    let mut tpm = Tpm::open(device)?;
    tpm.with(Some(name), |tpm, primary, session| {
        let parent = (primary.handle, primary.name.as_slice());
        let rest = Out::default().sized(public);
        let (loaded, _) = tpm.authorised(session, ("Load", LOAD), parent, 0, private, &rest.0)?;
        let loaded = loaded.ok_or(Fault::Answer("Load"))?;
        let object = name_of(public);
        let answer = tpm.authorised(session, ("Unseal", UNSEAL), (loaded, &object), ENCRYPT, &[], &[]);
        tpm.flush(loaded);
        let (_, answer) = answer?;
        let plain = In(&answer).sized().ok_or(Fault::Answer("Unseal"))?;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        if plain.len() != SECRET_BYTES {
            return Err(Fault::Answer("Unseal"));
        }
        secret.copy_from_slice(plain);
        Ok(secret)
    })
}

#[cfg(test)]
mod tests;
