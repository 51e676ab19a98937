//! ISO 2022-JP as senders write it: escape sequences switch between ASCII, JIS X 0201, 0208 and 0212.
//!
//! Each letter is brought to EUC-JP, which has the same tables without a state, and decoded by `encoding_rs`. More
//! lenient than RFC 1468 where HL7 needs it: the Roman half of JIS X 0201 is read as ASCII, because `\` and `~` are
//! delimiters also for senders that switch back with `ESC ( J`; a line end switches back to ASCII; a byte of A1 to DF
//! is a katakana of JIS X 0201.

use super::decode::Out;

const ESC: u8 = 0x1b;
/// What comes before a katakana of JIS X 0201 in EUC-JP, and before a letter of JIS X 0212.
const SINGLE_SHIFT_2: u8 = 0x8e;
const SINGLE_SHIFT_3: u8 = 0x8f;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Ascii,
    Katakana,
    Jis0208,
    Jis0212,
}

/// The escape sequences, and what they switch to.
const SWITCHES: [(&[u8], Set); 7] = [
    (b"\x1b(B", Set::Ascii),
    (b"\x1b(J", Set::Ascii),
    (b"\x1b(I", Set::Katakana),
    (b"\x1b$@", Set::Jis0208),
    (b"\x1b$B", Set::Jis0208),
    (b"\x1b$(B", Set::Jis0208),
    (b"\x1b$(D", Set::Jis0212),
];

/// Whether a switch to one of the Japanese sets is in there.
pub(super) fn switches(bytes: &[u8]) -> bool {
    memchr::memchr_iter(ESC, bytes)
        .any(|at| switch(bytes.get(at..).unwrap_or_default()).is_some_and(|(_, s)| s != Set::Ascii))
}

fn switch(rest: &[u8]) -> Option<(usize, Set)> {
    SWITCHES
        .iter()
        .find(|(sequence, _)| rest.starts_with(sequence))
        .map(|(sequence, set)| (sequence.len(), *set))
}

pub(super) fn decode(bytes: &[u8], out: &mut Out) {
    let mut set = Set::Ascii;
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        if let Some((length, next)) = switch(rest) {
            set = next;
            rest = rest.get(length..).unwrap_or_default();
            continue;
        }
        let second = after.first().copied();
        let (taken, euc): (usize, [u8; 3]) = match (set, *first, second) {
            (_, b'\r' | b'\n', _) => {
                set = Set::Ascii;
                out.letter(char::from(*first));
                rest = after;
                continue;
            }
            (_, 0xa1..=0xdf, _) => (1, [SINGLE_SHIFT_2, *first, 0]),
            (Set::Katakana, 0x21..=0x5f, _) => (1, [SINGLE_SHIFT_2, *first | 0x80, 0]),
            (Set::Jis0208, 0x21..=0x7e, Some(second @ 0x21..=0x7e)) => (2, [*first | 0x80, second | 0x80, 0]),
            (Set::Jis0212, 0x21..=0x7e, Some(second @ 0x21..=0x7e)) => {
                (2, [SINGLE_SHIFT_3, *first | 0x80, second | 0x80])
            }
            (_, 0x80.., _) | (Set::Jis0208 | Set::Jis0212, 0x21..=0x7e, _) => {
                out.bad(&[*first]);
                rest = after;
                continue;
            }
            // ASCII; controls and blanks mean themselves in every set.
            _ => {
                out.letter(char::from(*first));
                rest = after;
                continue;
            }
        };
        let (letter, after) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
        rest = after;
        let euc =
            if euc.first() == Some(&SINGLE_SHIFT_3) { &euc[..] } else { euc.get(..2).unwrap_or_default() };
        match encoding_rs::EUC_JP.decode_without_bom_handling_and_without_replacement(euc) {
            Some(text) => text.chars().for_each(|c| out.letter(c)),
            None => out.bad(letter),
        }
    }
}
