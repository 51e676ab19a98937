//! Format-preserving encryption, FF1 of NIST SP 800-38G Rev. 1: a number becomes one of the same form, where a receiver
//! takes no other.
//!
//! **Form.** Letters and digits are enciphered together, under the smallest of three alphabets that holds them all: digits;
//! digits and capitals; digits, capitals and small letters. Everything else, such as hyphens, stays in its place. The result
//! is of the same alphabet and of no smaller one, and never eight digits that read as a date: where it would not be so, it is
//! enciphered again (cycle walking), so that two numbers of one form never become one.
//!
//! **Refused** are numbers shorter than the standard's least domain of a million asks for ([`LENGTHS_MIN`]), longer than
//! [`LENGTH_MAX`], with characters outside ASCII, and eight digits that read as a date themselves.
//!
//! **Keys.** AES-256 under a key of its own for each destination and kind of number, with the assigning authority as tweak:
//! what two destinations get cannot be joined. One authority's numbers stay distinct; two authorities' may become the same, so
//! a token of the authority goes with them. FF1 is reversible for who has the key, and deterministic: take a token wherever a
//! receiver takes one.

use aes::Aes256;
use aws_lc_rs::{digest, hmac};
use fpe::ff1::{FF1, FlexibleNumeralString};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::dates;

/// Numerals in their order. An alphabet is a beginning of them.
const NUMERALS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Numerals of each alphabet.
const RADICES: [u16; 3] = [10, 36, 62];
/// Fewest characters under each alphabet: the domain has at least a million numbers (SP 800-38G Rev. 1, §5.1).
const LENGTHS_MIN: [usize; 3] = [6, 4, 4];
/// Most characters, as long as HL7 v2.8 makes an identifier with room to spare.
const LENGTH_MAX: usize = 64;
/// Most rounds of cycle walking; the unlikeliest form (four small letters and digits, of which one is a small letter) needs
/// three on average.
const ROUNDS_MAX: usize = 1000;

/// The key of one destination. Zeroized on drop; `Debug` does not show it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Ff1Key([u8; 32]);

impl Ff1Key {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// A number of the same form; `None` where the number is refused.
    pub(crate) fn encipher(&self, id: &[u8], authority: &[u8], kind: &[u8]) -> Option<Vec<u8>> {
        let id = id.trim_ascii();
        let alphabet = alphabet(id)?;
        let kind = kind.trim_ascii().to_ascii_uppercase();
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), &kind).as_ref());
        let cipher = FF1::<Aes256>::new(&key[..], u32::from(*RADICES.get(alphabet)?)).ok()?;
        let tweak = digest::digest(&digest::SHA256, authority);
        let mut number = id.to_vec();
        for _ in 0..ROUNDS_MAX {
            number = enciphered(&cipher, tweak.as_ref(), &number)?;
            if self::alphabet(&number) == Some(alphabet) {
                return Some(number);
            }
        }
        None
    }
}

impl std::fmt::Debug for Ff1Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ff1Key(redacted)")
    }
}

/// Which alphabet a number is of, as an index; `None` where it is refused.
fn alphabet(id: &[u8]) -> Option<usize> {
    let characters = || id.iter().filter(|b| b.is_ascii_alphanumeric());
    let alphabet = if characters().any(u8::is_ascii_lowercase) {
        2
    } else {
        usize::from(characters().any(u8::is_ascii_uppercase))
    };
    let fits = (*LENGTHS_MIN.get(alphabet)?..=LENGTH_MAX).contains(&characters().count());
    let is_date = id.len() == 8 && alphabet == 0 && dates::year(id).is_some();
    (fits && id.is_ascii() && !id.iter().any(u8::is_ascii_control) && !is_date).then_some(alphabet)
}

/// Letters and digits enciphered, in their places.
fn enciphered(cipher: &FF1<Aes256>, tweak: &[u8], id: &[u8]) -> Option<Vec<u8>> {
    let place = |b: &u8| NUMERALS.iter().position(|n| n == b).and_then(|at| u16::try_from(at).ok());
    let numerals: Vec<u16> = id.iter().filter_map(place).collect();
    let numerals: Vec<u16> = cipher.encrypt(tweak, &FlexibleNumeralString::from(numerals)).ok()?.into();
    let mut numerals = numerals.into_iter().map(|n| NUMERALS.get(usize::from(n)).copied());
    id.iter().map(|b| if b.is_ascii_alphanumeric() { numerals.next()? } else { Some(*b) }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aes::{Aes128, Aes192};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// What FF1 makes of numerals written as digits and small letters.
    macro_rules! sample {
        ($cipher:ty, $radix:expr, $key:expr, $tweak:expr, $text:expr) => {{
            let numerals: Vec<u16> = $text.chars().map(|c| c.to_digit(36).unwrap() as u16).collect();
            let cipher = FF1::<$cipher>::new($key, $radix).unwrap();
            let out = cipher.encrypt(&bytes($tweak), &FlexibleNumeralString::from(numerals)).unwrap();
            let out: Vec<u16> = out.into();
            out.into_iter().map(|n| char::from_digit(n.into(), 36).unwrap()).collect::<String>()
        }};
    }

    /// The nine samples that NIST publishes with SP 800-38G ("FF1samples.pdf").
    #[test]
    fn the_samples_of_nist() {
        let key = bytes("2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94");
        let (ten, tweak) = ("0123456789", "39383736353433323130");
        let (letters, long) = ("0123456789abcdefghi", "3737373770717273373737");
        for (radix, tweak, text, expected) in [
            (10, "", ten, ["2433477484", "2830668132", "6657667009"]),
            (10, tweak, ten, ["6124200773", "2496655549", "1001623463"]),
            (36, long, letters, ["a9tv40mll9kdu509eum", "xbj3kv35jrawxv32ysr", "xs8a0azh2avyalyzuwd"]),
        ] {
            let found = [
                sample!(Aes128, radix, &key[..16], tweak, text),
                sample!(Aes192, radix, &key[..24], tweak, text),
                sample!(Aes256, radix, &key, tweak, text),
            ];
            assert_eq!(found, expected);
        }
    }

    fn encipher(id: &str) -> Option<String> {
        Ff1Key::new([9; 32]).encipher(id.as_bytes(), b"H", b"MR").map(|id| String::from_utf8(id).unwrap())
    }

    #[test]
    fn the_form_stays() {
        let form = |id: &str| -> String {
            id.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { c }).collect()
        };
        for id in ["123456", "0000044521", "MRN-0044521", "a7-K2", "12/3456-7", "Z999", " 1234567 "] {
            let out = encipher(id).unwrap();
            assert_eq!(form(&out), form(id.trim()), "{id}");
            assert_eq!(alphabet(out.as_bytes()), alphabet(id.trim().as_bytes()), "{id} {out}");
            assert_ne!(out, id.trim());
            assert_eq!(encipher(id), Some(out));
        }
    }

    #[test]
    fn domains_below_a_million_are_refused() {
        for (radix, length) in RADICES.iter().zip(LENGTHS_MIN) {
            let size = |length: usize| u64::from(*radix).pow(length as u32);
            assert!(size(length) >= 1_000_000 && size(length - 1) < 1_000_000, "{radix}");
        }
        for id in ["12345", "A12", "a1B", "", "---", "19620210", "1234567\u{e9}", "12\t3456", &"7".repeat(65)]
        {
            assert_eq!(encipher(id), None, "{id}");
        }
    }

    /// Numbers in a row, in four forms: no two become one, and none a date.
    #[test]
    fn two_numbers_stay_two() {
        let key = Ff1Key::new([9; 32]);
        let mut seen = HashSet::new();
        for n in 0..4_000_u32 {
            for id in
                [format!("{n:06}"), format!("{n:08}"), format!("A{n:05}"), format!("{:x}", 0xabc_0000 + n)]
            {
                if let Some(out) = key.encipher(id.as_bytes(), b"H", b"MR") {
                    assert!(out.len() != 8 || dates::year(&out).is_none());
                    assert!(seen.insert(out), "{id}");
                }
            }
        }
        assert!(seen.len() > 15_000, "{}", seen.len());
    }

    #[test]
    fn destinations_kinds_and_authorities_have_their_own() {
        let of = |key: u8, authority: &str, kind: &str| {
            let of = |id: &str| {
                Ff1Key::new([key; 32]).encipher(id.as_bytes(), authority.as_bytes(), kind.as_bytes())
            };
            [of("1234567"), of("7654321")]
        };
        let base = of(9, "H", "MR");
        assert_eq!(base, of(9, "H", "mr"));
        for other in [of(8, "H", "MR"), of(9, "K", "MR"), of(9, "H", "AN")] {
            assert_ne!(base, other);
        }
        assert_eq!(format!("{:?}", Ff1Key::new([9; 32])), "Ff1Key(redacted)");
    }
}
