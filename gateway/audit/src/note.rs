//! Signed notes: `c2sp.org/signed-note`, with the Ed25519 signatures of that page (type 0x01) and the timestamped
//! ones of witnesses (`c2sp.org/tlog-cosignature`, type 0x04).
//!
//! ```text
//! text, every line of it ended
//!
//! — name base64(4 bytes of the key's id ‖ signature)
//! ```
//!
//! A *verifier key* is `name+hex(id)+base64(type ‖ public key)`. A signature by a key that is not asked for is
//! passed over; one that names the key asked for and is wrong spoils the note.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;

use crate::hash::digest;

/// Largest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 8 << 10;
/// Most signatures of a note.
pub const SIGNATURES_MAX: usize = 16;

/// Length of a seed and of a public key, in bytes.
pub const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;
const TIME_BYTES: usize = 8;

/// Why a note, or a key for one, is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no note.
    #[error("it is no signed note: {0}")]
    Malformed(&'static str),
    /// The key asked for has not signed it.
    #[error("it is not signed with the key asked for")]
    Unsigned,
    /// A signature that names the key asked for is wrong.
    #[error("the signature is wrong: the note was changed, or another key made it")]
    WrongSignature,
    /// A name or key that cannot be used.
    #[error("it is no verifier key: {0}")]
    Key(&'static str),
}

/// What kind of signature a key makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of the text.
    Log = 1,
    /// Of the text and the time at which a witness saw it.
    Witness = 4,
}

/// A note and its signatures, not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; ID_BYTES],
    /// What follows the id.
    bytes: Vec<u8>,
}

impl Note {
    /// A note without signatures. The text must end with a line's end.
    pub const fn new(text: String) -> Self {
        Self { text, signatures: Vec::new() }
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(note: &str) -> Result<Self, Error> {
        let bad = Error::Malformed;
        if note.len() > NOTE_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(bad("it has a control character"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(bad("it has no signatures"))?;
        let mut note = Self::new(format!("{text}\n"));
        let lines = signatures.strip_suffix('\n').ok_or(bad("its last line is not ended"))?;
        for line in lines.split('\n') {
            if note.signatures.len() == SIGNATURES_MAX {
                return Err(bad("it has too many signatures"));
            }
            let line = line.strip_prefix("\u{2014} ").ok_or(bad("a signature has no dash"))?;
            let (name, base64) = line.split_once(' ').ok_or(bad("a signature has no name"))?;
            if !is_name(name) {
                return Err(bad("the name of a key has no letter, a space or a plus"));
            }
            let bytes = STANDARD.decode(base64).map_err(|_| bad("a signature is no Base64"))?;
            let (id, rest) = bytes.split_first_chunk::<ID_BYTES>().ok_or(bad("a signature is too short"))?;
            note.signatures.push(Signature { name: name.to_owned(), id: *id, bytes: rest.to_owned() });
        }
        Ok(note)
    }

    /// What is signed, with the end of its last line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of those who signed, as they say.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.name.as_str())
    }

    /// Adds the signature of a log.
    pub fn sign(&mut self, signer: &Signer) {
        let bytes = signer.keys.sign(self.text.as_bytes()).as_ref().to_vec();
        self.put(signer, bytes);
    }

    /// Adds the signature of a witness who saw the note at `at`.
    pub fn cosign(&mut self, signer: &Signer, at: Timestamp) {
        let seconds = u64::try_from(at.seconds()).unwrap_or(0);
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend_from_slice(signer.keys.sign(&witnessed(seconds, &self.text)).as_ref());
        self.put(signer, bytes);
    }

    /// One signature of each key: the newest.
    fn put(&mut self, signer: &Signer, bytes: Vec<u8>) {
        let Verifier { name, id, .. } = signer.verifier.clone();
        self.signatures.retain(|other| other.name != name || other.id != id);
        self.signatures.push(Signature { name, id, bytes });
    }

    /// Checks that a key has signed it; says when, of a witness.
    ///
    /// # Errors
    /// [`Error::Unsigned`] and [`Error::WrongSignature`].
    pub fn verify(&self, verifier: &Verifier) -> Result<Option<Timestamp>, Error> {
        let signature = self
            .signatures
            .iter()
            .find(|s| s.name == verifier.name && s.id == verifier.id)
            .ok_or(Error::Unsigned)?;
        let key = UnparsedPublicKey::new(&ED25519, &verifier.key);
        let (message, bytes, at) = match verifier.kind {
            Kind::Log => (self.text.as_bytes().to_vec(), signature.bytes.as_slice(), None),
            Kind::Witness => {
                let (seconds, rest) =
                    signature.bytes.split_first_chunk::<TIME_BYTES>().ok_or(Error::WrongSignature)?;
                let seconds = u64::from_be_bytes(*seconds);
                let micros = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1_000_000));
                let at = micros.map(Timestamp::from_micros).ok_or(Error::WrongSignature)?;
                (witnessed(seconds, &self.text), rest, Some(at))
            }
        };
        if bytes.len() != SIGNATURE_BYTES || key.verify(&message, bytes).is_err() {
            return Err(Error::WrongSignature);
        }
        Ok(at)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for Signature { name, id, bytes } in &self.signatures {
            let all: Vec<u8> = id.iter().chain(bytes).copied().collect();
            writeln!(f, "\u{2014} {name} {}", STANDARD.encode(all))?;
        }
        Ok(())
    }
}

/// What a witness signs.
fn witnessed(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

/// A key that makes signatures. The private half stays in the cryptographic library, which wipes it.
pub struct Signer {
    verifier: Verifier,
    keys: Ed25519KeyPair,
}

impl Signer {
    /// From the seed of RFC 8032. Wipe the seed after use.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn new(name: &str, kind: Kind, seed: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        let keys = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::Key("no such seed"))?;
        let mut public = [0; KEY_BYTES];
        public.copy_from_slice(keys.public_key().as_ref());
        Ok(Self { verifier: Verifier::new(name, kind, public)?, keys })
    }

    /// The public half.
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// A key that checks signatures. Displays as the verifier key of `c2sp.org/signed-note`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: Kind,
    id: [u8; ID_BYTES],
    key: [u8; KEY_BYTES],
}

impl Verifier {
    fn new(name: &str, kind: Kind, key: [u8; KEY_BYTES]) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Key("the name is empty or has a space or a plus"));
        }
        let id = digest(&[name.as_bytes(), b"\n", &[kind as u8], &key]).0;
        let [a, b, c, d, ..] = id;
        Ok(Self { name: name.to_owned(), kind, id: [a, b, c, d], key })
    }

    /// Reads `name+hex(id)+base64(type ‖ public key)`.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = Error::Key;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad("it is name+id+key"));
        };
        let bytes = STANDARD.decode(key).map_err(|_| bad("the key is no Base64"))?;
        let kind = match bytes.first() {
            Some(1) => Kind::Log,
            Some(4) => Kind::Witness,
            _ => return Err(bad("the key is of another type")),
        };
        let key =
            bytes.get(1..).and_then(|key| key.try_into().ok()).ok_or(bad("the key has another length"))?;
        let verifier = Self::new(name, kind, key)?;
        if hex::encode(verifier.id) != id {
            return Err(bad("the id is that of another key"));
        }
        Ok(verifier)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which signatures it checks.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = [self.kind as u8].into_iter().chain(self.key).collect();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example in the documentation of Go's `golang.org/x/mod/sumdb/note`.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_of_go_is_believed_and_a_changed_one_is_not() {
        let key = Verifier::parse(GO_KEY).unwrap();
        assert_eq!(key.to_string(), GO_KEY);
        let note = Note::parse(GO_NOTE).unwrap();
        assert_eq!(note.verify(&key), Ok(None));
        assert_eq!(note.to_string(), GO_NOTE);
        let changed = Note::parse(&GO_NOTE.replace("don't", "do")).unwrap();
        assert_eq!(changed.verify(&key), Err(Error::WrongSignature));
        let other = Signer::new("PeterNeumann", Kind::Log, &[7; 32]).unwrap();
        assert_eq!(note.verify(other.verifier()), Err(Error::Unsigned));
    }

    #[test]
    fn log_and_witness_sign_side_by_side() {
        let log = Signer::new("wardgate/ward-3/00", Kind::Log, &[1; 32]).unwrap();
        let witness = Signer::new("lake.example", Kind::Witness, &[2; 32]).unwrap();
        let mut note = Note::new("one\n\ntwo\n".to_owned());
        note.sign(&log);
        note.cosign(&witness, Timestamp::from_micros(5_700_000));
        note.cosign(&witness, Timestamp::from_micros(6_000_001));
        let read = Note::parse(&note.to_string()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.text(), "one\n\ntwo\n");
        assert_eq!(read.verify(log.verifier()), Ok(None));
        assert_eq!(read.verify(witness.verifier()), Ok(Some(Timestamp::from_micros(6_000_000))));
        assert_eq!(read.signers().collect::<Vec<_>>(), ["wardgate/ward-3/00", "lake.example"]);
        assert_eq!(Verifier::parse(&witness.verifier().to_string()).as_ref(), Ok(witness.verifier()));
        assert!(!format!("{log:?}").contains("0101"));
    }

    #[test]
    fn what_is_no_note_and_no_key_is_refused() {
        let long = format!("{}\n\n\u{2014} a AAAAAAAA\n", "x".repeat(NOTE_BYTES_MAX));
        let many = format!("x\n\n{}", "\u{2014} a AAAAAAAA\n".repeat(SIGNATURES_MAX + 1));
        for text in [
            "",
            "x\n",
            "x\n\n",
            "x\n\n- a AAAAAAAA\n",
            "x\n\n\u{2014} a AAAAAAAA",
            "x\n\n\u{2014} a\n",
            "x\n\n\u{2014} a+b AAAAAAAA\n",
            "x\n\n\u{2014} a !\n",
            "x\n\n\u{2014} a AA==\n",
            "x\ty\n\n\u{2014} a AAAAAAAA\n",
            &long,
            &many,
        ] {
            assert!(matches!(Note::parse(text), Err(Error::Malformed(_))), "{text:.40}");
        }
        for key in [
            "",
            "a",
            "a+b",
            "a+00000000+AQ==",
            "a+00000000+!",
            &GO_KEY.replace("c7", "c8"),
            &GO_KEY.replace("ARpc", "Ahpc"),
        ] {
            assert!(matches!(Verifier::parse(key), Err(Error::Key(_))), "{key}");
        }
        assert!(Signer::new("a b", Kind::Log, &[1; 32]).is_err());
    }

    proptest! {
        #[test]
        fn every_flipped_bit_spoils_it(bit in any::<prop::sample::Index>()) {
            let log = Signer::new("log", Kind::Log, &[1; 32]).unwrap();
            let mut note = Note::new("some text\n".to_owned());
            note.sign(&log);
            let mut bytes = note.to_string().into_bytes();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let believed = String::from_utf8(bytes).ok().and_then(|text| Note::parse(&text).ok()).map(|note| note.verify(log.verifier()));
            prop_assert!(!matches!(believed, Some(Ok(_))));
        }

        #[test]
        fn hostile_text_does_not_panic(text in "[\\n\u{2014} a-d+/=A-D]{0,80}") {
            if let Ok(note) = Note::parse(&text) {
                prop_assert_eq!(Note::parse(&note.to_string()), Ok(note));
            }
            if let Ok(key) = Verifier::parse(&text) {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
