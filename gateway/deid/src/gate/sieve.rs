//! A sieve before the known strings of a record. Most values of a release hold none of them, and that is told here without
//! cutting, folding and hashing each: by the first and last byte of a word and its length.
//!
//! **Invariant.** What the sieve lets fall holds none of the strings that were put in; what it keeps may hold one, and is looked
//! at. Text beyond ASCII and values with [`DIGITS_KEPT`] digits are always kept.

/// So many digits may be cut in ways that no word shows: telephone numbers, dates, social security numbers.
pub(super) const DIGITS_KEPT: usize = 7;
const WORDS: usize = 32;

/// 2,048 bits; some hundred strings set one in twenty.
#[derive(Default)]
pub(super) struct Sieve([u64; WORDS]);

/// What is looked at of a run of bytes.
#[derive(Clone, Copy, Default)]
struct Run {
    first: u8,
    last: u8,
    length: usize,
}

impl Run {
    const fn push(&mut self, byte: u8) {
        if self.length == 0 {
            self.first = byte;
        }
        self.last = byte;
        self.length += 1;
    }

    fn of(bytes: &[u8]) -> Self {
        let end = |byte: Option<&u8>| byte.copied().unwrap_or_default();
        Self { first: end(bytes.first()), last: end(bytes.last()), length: bytes.len() }
    }

    /// Which word of the sieve, and which bit of it.
    fn place(self) -> (usize, u64) {
        let mix = usize::from(self.first) * 131 + usize::from(self.last) * 31 + self.length * 7;
        (mix / 64 % WORDS, 1 << (mix % 64))
    }
}

impl Sieve {
    /// A string in lower case.
    pub(super) fn put(&mut self, string: &[u8]) {
        let (word, bit) = Run::of(string).place();
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= bit;
        }
    }

    /// Whether this string may have been put in.
    pub(super) fn may_have(&self, string: &[u8]) -> bool {
        self.has(Run::of(string))
    }

    fn has(&self, run: Run) -> bool {
        let (word, bit) = run.place();
        run.length > 0 && self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Whether a string may stand in the value: as a word, or as all its letters and digits, or as it is.
    pub(super) fn keeps(&self, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        let (mut word, mut all, mut digits) = (Run::default(), Run::default(), 0);
        for byte in value {
            if !byte.is_ascii_alphanumeric() {
                if !byte.is_ascii() || self.has(word) {
                    return true;
                }
                word = Run::default();
                continue;
            }
            digits += usize::from(byte.is_ascii_digit());
            let lower = byte.to_ascii_lowercase();
            word.push(lower);
            all.push(lower);
        }
        let whole = Run { first: value.first().map_or(0, u8::to_ascii_lowercase), ..Run::of(value) };
        let whole = Run { last: whole.last.to_ascii_lowercase(), ..whole };
        // Zeros that stand before a number are cut off.
        digits >= DIGITS_KEPT
            || digits > 0 && value.first() == Some(&b'0')
            || self.has(word)
            || self.has(all)
            || self.has(whole)
    }
}

/// The first three digits of telephone numbers without their area.
#[derive(Default)]
pub(super) struct Exchanges([u64; 16]);

impl Exchanges {
    fn place(number: &[u8]) -> Option<(usize, u64)> {
        let [a, b, c, ..] = number else { return None };
        let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0')) % 10;
        let exchange = digit(*a) * 100 + digit(*b) * 10 + digit(*c);
        Some((exchange / 64, 1 << (exchange % 64)))
    }

    pub(super) fn put(&mut self, number: &[u8]) {
        let place = Self::place(number);
        if let Some((bits, bit)) = place.and_then(|(word, bit)| Some((self.0.get_mut(word)?, bit))) {
            *bits |= bit;
        }
    }

    pub(super) fn has(&self, number: &[u8]) -> bool {
        Self::place(number).is_some_and(|(word, bit)| self.0.get(word).is_some_and(|bits| bits & bit != 0))
    }
}
