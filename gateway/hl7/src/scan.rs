//! Finding the next separator.
//!
//! Fields are short: four bytes on average in real messages, and every other one is empty. A call of `memchr`
//! costs more than looking at sixteen bytes in two words of a register; for what is longer it costs less. Walking all
//! leaves of a message takes half the time this way.

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
/// How many words are looked at before `memchr` takes over.
const WORDS: usize = 2;

/// Where the byte first stands.
#[inline]
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    let mut rest = text;
    for word in 0..WORDS {
        let Some((eight, after)) = rest.split_first_chunk::<8>() else {
            return rest.iter().position(|b| *b == byte).map(|at| word * 8 + at);
        };
        if let Some(at) = find_in_word(byte, *eight) {
            return Some(word * 8 + at);
        }
        rest = after;
    }
    memchr::memchr(byte, rest).map(|at| WORDS * 8 + at)
}

/// Subtracting one from each byte borrows into the high bit of those that were zero. Borrows run upwards, so the
/// lowest hit is a true one.
#[inline]
const fn find_in_word(byte: u8, eight: [u8; 8]) -> Option<usize> {
    let zero_where_equal = u64::from_le_bytes(eight) ^ (LOW * byte as u64);
    let hits = zero_where_equal.wrapping_sub(LOW) & !zero_where_equal & HIGH;
    if hits == 0 { None } else { Some(hits.trailing_zeros() as usize / 8) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            text in proptest::collection::vec(prop_oneof![Just(b'|'), Just(b'}'), Just(b'{'), Just(0), Just(0xfc), any::<u8>()], 0..64),
            byte in prop_oneof![Just(b'|'), any::<u8>()],
        ) {
            prop_assert_eq!(find(byte, &text), text.iter().position(|b| *b == byte));
        }
    }
}
