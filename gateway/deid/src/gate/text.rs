//! Cutting and comparing, for the gate alone. Deliberately plain, and deliberately not that of the rules.

/// The bytes a message is cut by, as the gate reads them from its first line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delimiters {
    pub(super) field: u8,
    pub(super) component: u8,
    pub(super) repetition: u8,
    pub(super) subcomponent: u8,
}

impl Delimiters {
    const USUAL: Self = Self { field: b'|', component: b'^', repetition: b'~', subcomponent: b'&' };

    /// From the first header line; the usual ones where there is none.
    pub(super) fn of(message: &[u8]) -> Self {
        lines(message).find_map(|(_, line)| Self::of_line(line)).unwrap_or(Self::USUAL)
    }

    /// From a line, where it is a header.
    pub(super) fn of_line(line: &[u8]) -> Option<Self> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let rest = [b"MSH", b"FHS", b"BHS"].iter().find_map(|name| line.strip_prefix(*name))?;
        let (field, rest) = rest.split_first()?;
        let encoding = rest.split(|b| b == field).next()?;
        let nth = |n: usize, usual: u8| encoding.get(n).copied().unwrap_or(usual);
        Some(Self {
            field: *field,
            component: nth(0, b'^'),
            repetition: nth(1, b'~'),
            subcomponent: nth(3, b'&'),
        })
    }

    pub(super) const fn cuts(self, byte: u8) -> bool {
        byte == self.field || byte == self.component || byte == self.repetition || byte == self.subcomponent
    }
}

/// Lines that are not empty, with where they begin. CR and LF both end one.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    pieces(text, |b| matches!(b, b'\r' | b'\n')).filter(|(_, line)| !line.is_empty())
}

/// The fields of a line, with where they begin in it; the first is the segment's name.
pub(super) fn fields(line: &[u8], delimiters: Delimiters) -> impl Iterator<Item = (usize, &[u8])> {
    pieces(line, move |b| b == delimiters.field)
}

/// What stands between delimiters, with where it begins in the line.
pub(super) fn values(line: &[u8], delimiters: Delimiters) -> impl Iterator<Item = (usize, &[u8])> {
    pieces(line, move |b| delimiters.cuts(b))
}

/// The bytes that cut, for a payload of many lines: asked once a byte.
pub(super) struct Cuts([bool; 256]);

impl Cuts {
    pub(super) fn of(delimiters: Delimiters) -> Self {
        let mut cuts = [false; 256];
        for (byte, cuts) in (0..=u8::MAX).zip(&mut cuts) {
            *cuts = delimiters.cuts(byte);
        }
        Self(cuts)
    }

    fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// As [`values`].
    pub(super) fn values<'l>(&'l self, line: &'l [u8]) -> impl Iterator<Item = (usize, &'l [u8])> {
        pieces(line, |b| self.has(b))
    }
}

fn pieces(text: &[u8], ends: impl Fn(u8) -> bool) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let length = rest.iter().position(|b| ends(*b)).unwrap_or(rest.len());
        let piece = (at, rest.get(..length)?);
        at += length + 1;
        Some(piece)
    })
}

/// Words: runs of letters and digits of any script. Takes what [`lower`] made.
pub(super) fn words(lower: &[u8]) -> impl Iterator<Item = &[u8]> {
    lower.split(|b| b.is_ascii() && !b.is_ascii_alphanumeric()).filter(|w| !w.is_empty())
}

/// Lower case, also beyond ASCII where the text is UTF-8.
pub(super) fn lower(value: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(value) {
        Ok(text) if !text.is_ascii() => text.to_lowercase().into_bytes(),
        _ => value.to_ascii_lowercase(),
    }
}

/// Letters and digits alone, in lower case.
pub(super) fn squeezed(value: &[u8]) -> Vec<u8> {
    let mut lower = lower(value);
    lower.retain(|b| b.is_ascii_alphanumeric() || !b.is_ascii());
    lower
}

/// Digits alone.
pub(super) fn digits(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(u8::is_ascii_digit).collect()
}

/// Whether the value is written as a number or a numeric code: digits, points, signs.
pub(super) fn is_numeric(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b' '))
}

/// Whether what follows a value says that it is a concept of SNOMED CT: `^^SCT`. Some eight-digit concepts
/// read like a date, and their check digit was looked at by the rules.
pub(super) fn is_snomed(rest: &[u8], delimiters: Delimiters) -> bool {
    let mut following = values(rest, delimiters).skip(1).map(|(_, value)| value);
    let text_is_empty = following.next().is_some_and(<[u8]>::is_empty);
    text_is_empty
        && following.next().is_some_and(|system| system.starts_with(b"SCT") || system.starts_with(b"SNOMED"))
}
