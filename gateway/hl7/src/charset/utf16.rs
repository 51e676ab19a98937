//! UTF-16: recognised by its layout, and decoded.

use super::Charset;
use super::decode::Out;
use crate::parts::is_header_name;

/// The byte order, where these are the first bytes of UTF-16: a byte-order mark, or a header's name with a NUL at
/// every other byte, perhaps after blank lines.
pub(super) fn order(bytes: &[u8]) -> Option<Charset> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(Charset::Utf16Le),
        [0xfe, 0xff, ..] => return Some(Charset::Utf16Be),
        _ => {}
    }
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut letters = pairs.iter().skip_while(|pair| {
        matches!(pair, [0, b'\r' | b'\n' | b' ' | b'\t'] | [b'\r' | b'\n' | b' ' | b'\t', 0])
    });
    let name = [letters.next()?, letters.next()?, letters.next()?];
    let of = |high: usize, low: usize| {
        name.iter().all(|pair| pair.get(high) == Some(&0))
            && is_header_name(&name.map(|pair| pair.get(low).copied().unwrap_or_default()))
    };
    if of(1, 0) {
        Some(Charset::Utf16Le)
    } else if of(0, 1) {
        Some(Charset::Utf16Be)
    } else {
        None
    }
}

/// Decodes. Half a surrogate pair and an odd last byte are undecodable.
pub(super) fn decode(bytes: &[u8], big_endian: bool, out: &mut Out) {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let unit =
        |pair: &[u8; 2]| if big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    for letter in char::decode_utf16(pairs.iter().map(unit)) {
        match letter {
            Ok(letter) => out.letter(letter),
            Err(half) => {
                let unit = half.unpaired_surrogate();
                out.bad(&if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() });
            }
        }
    }
    out.bad(odd);
}
