//! Escape sequences in values (HL7 v2.8.2 §2.7).

use std::borrow::Cow;

use crate::Delimiters;

/// Resolves `\F\ \S\ \T\ \R\ \E\ \P\` and `\Xdd..\` (§2.7.2, §2.7.5). Everything else stays as it is: highlighting
/// and formatting (`\H\ \N\ \.br\`), character sets (`\C..\ \M..\`), local ones (`\Z..\`), hexadecimal data with
/// an odd or foreign digit, and an escape character without its partner. Borrowed when there is nothing to do.
pub fn unescape<'a>(value: &'a [u8], delimiters: &Delimiters) -> Cow<'a, [u8]> {
    resolved(value, delimiters, true)
}

/// The value as text: as [`unescape`], but where that is no UTF-8 hexadecimal data stays as it is written, visible:
/// `M\XFC\ller`. What is no UTF-8 then is U+FFFD, which does not happen in a decoded message.
pub fn text<'a>(value: &'a [u8], delimiters: &Delimiters) -> Cow<'a, str> {
    let is_utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let bytes = match unescape(value, delimiters) {
        whole if is_utf8(&whole) => whole,
        _ => resolved(value, delimiters, false),
    };
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        ),
    }
}

fn resolved<'a>(value: &'a [u8], delimiters: &Delimiters, hexadecimal: bool) -> Cow<'a, [u8]> {
    let Some(escape) = delimiters.escape() else { return Cow::Borrowed(value) };
    let Some(first) = memchr::memchr(escape, value) else { return Cow::Borrowed(value) };
    let mut out = Vec::with_capacity(value.len());
    let (plain, mut rest) = value.split_at(first);
    out.extend_from_slice(plain);
    // `rest` begins with the escape character, always.
    while let Some(body) = rest.get(1..) {
        let Some(close) = memchr::memchr(escape, body) else { break };
        let (name, after) = body.split_at(close);
        let after = after.get(1..).unwrap_or_default();
        let is_data = matches!(name, [b'X', ..]);
        if (hexadecimal || !is_data) && resolve(name, delimiters, &mut out) {
            rest = after;
        } else if stays_whole(name) {
            out.push(escape);
            out.extend_from_slice(name);
            out.push(escape);
            rest = after;
        } else {
            // A stray escape character: what looked like the end may be the beginning of a real sequence.
            out.push(escape);
            out.extend_from_slice(name);
            rest = body.get(close..).unwrap_or_default();
            continue;
        }
        let next = memchr::memchr(escape, rest).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(next);
        out.extend_from_slice(plain);
        rest = tail;
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Writes a value so that it holds no delimiter and no line end: `\F\ \S\ \T\ \R\ \E\ \P\`, and `\Xdd\` for
/// control characters. Where the message has no escape character, what would need one becomes a space.
pub fn escape<'a>(value: &'a [u8], delimiters: &Delimiters) -> Cow<'a, [u8]> {
    let special = |b: u8| delimiters.contains(b) || b.is_ascii_control();
    if !value.iter().any(|b| special(*b)) {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len() + 16);
    for byte in value.iter().copied() {
        if !special(byte) {
            out.push(byte);
            continue;
        }
        let Some(mark) = delimiters.escape() else {
            out.push(b' ');
            continue;
        };
        out.push(mark);
        match letter_of(byte, delimiters) {
            Some(letter) => out.push(letter),
            None => {
                out.push(b'X');
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 15));
            }
        }
        out.push(mark);
    }
    Cow::Owned(out)
}

/// Appends what the sequence of this name stands for; false where it stands for nothing that is resolved here.
fn resolve(name: &[u8], delimiters: &Delimiters, out: &mut Vec<u8>) -> bool {
    let byte = match name {
        b"F" => Some(delimiters.field()),
        b"S" => Some(delimiters.component()),
        b"T" => delimiters.subcomponent(),
        b"R" => delimiters.repetition(),
        b"E" => delimiters.escape(),
        b"P" => delimiters.truncation(),
        [b'X', digits @ ..] if !digits.is_empty() => return unhex(digits, out),
        _ => None,
    };
    out.extend(byte);
    byte.is_some()
}

/// Sequences that are known and kept, so that their closing character opens nothing.
fn stays_whole(name: &[u8]) -> bool {
    match name {
        b"F" | b"S" | b"T" | b"R" | b"E" | b"P" | b"H" | b"N" => true,
        [b'.', rest @ ..] => rest.len() <= 6,
        [b'C' | b'M' | b'X', rest @ ..] => !rest.is_empty() && rest.iter().all(u8::is_ascii_hexdigit),
        [b'Z', ..] => !name.contains(&b' '),
        _ => false,
    }
}

fn unhex(digits: &[u8], out: &mut Vec<u8>) -> bool {
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    out.extend(pairs.iter().map(|[high, low]| hex_value(*high) << 4 | hex_value(*low)));
    true
}

const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

fn letter_of(byte: u8, delimiters: &Delimiters) -> Option<u8> {
    let byte = Some(byte);
    [
        (Some(delimiters.field()), b'F'),
        (Some(delimiters.component()), b'S'),
        (delimiters.subcomponent(), b'T'),
        (delimiters.repetition(), b'R'),
        (delimiters.escape(), b'E'),
        (delimiters.truncation(), b'P'),
    ]
    .into_iter()
    .find_map(|(delimiter, letter)| (delimiter == byte).then_some(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn un(value: &str) -> String {
        String::from_utf8(unescape(value.as_bytes(), &Delimiters::STANDARD).into_owned()).unwrap()
    }

    #[test]
    fn resolves_what_stands_for_bytes_and_keeps_the_rest() {
        for (written, meant) in [
            (r"plain", "plain"),
            (r"", ""),
            (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f"),
            (r"\X0D\\X4a4B\", "\rJK"),
            (r"\X0\ \XZZ\ \X\", r"\X0\ \XZZ\ \X\"),
            (r"\H\F\N\", r"\H\F\N\"),
            (r"line\.br\line\.sp2\", r"line\.br\line\.sp2\"),
            (r"\Zlocal\F\T\", r"\Zlocal\F&"),
            (r"\C2842\\M0000\", r"\C2842\\M0000\"),
            (r"C:\dir\file", r"C:\dir\file"),
            (r"C:\dir\F\x", r"C:\dir|x"),
            (r"one \ alone", r"one \ alone"),
            (r"\P\", r"\P\"),
            (r"\", r"\"),
            (r"\\", r"\\"),
        ] {
            assert_eq!(un(written), meant, "{written}");
        }
    }

    #[test]
    fn uses_the_message_s_own_delimiters() {
        let own = Delimiters::from_header(b'#', b"*~!&$").unwrap();
        assert_eq!(&*unescape(br"a!F!b!S!c!P!\F\", &own), br"a#b*c$\F\");
        let none = Delimiters::from_header(b'|', b"^~").unwrap();
        assert_eq!(&*unescape(br"\F\", &none), br"\F\");
        assert_eq!(&*escape(b"a|b^c\rd", &none), b"a b c d");
    }

    #[test]
    fn text_is_utf8_and_shows_the_bytes_that_are_none() {
        let d = Delimiters::STANDARD;
        for (written, meant) in [
            (r"M\XC3BC\ller \F\ x", "Müller | x"),
            (r"M\XFC\ller \F\ x", r"M\XFC\ller | x"),
            (r"M\XC3\\XBC\ller", "Müller"),
            ("Müller", "Müller"),
        ] {
            assert_eq!(text(written.as_bytes(), &d), meant, "{written}");
        }
        assert_eq!(text(b"M\xfcller", &d), "M\u{fffd}ller");
        assert!(matches!(text(b"plain", &d), Cow::Borrowed("plain")));
    }

    #[test]
    fn borrows_when_there_is_nothing_to_do() {
        assert!(matches!(unescape(b"plain", &Delimiters::STANDARD), Cow::Borrowed(_)));
        assert!(matches!(escape(b"plain", &Delimiters::STANDARD), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn escaping_is_undone_and_leaves_no_delimiter(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let d = Delimiters::STANDARD;
            let written = escape(&value, &d);
            prop_assert!(!written.iter().any(|b| b"|^~&\r\n".contains(b)));
            prop_assert_eq!(&*unescape(&written, &d), value.as_slice());
        }
    }
}
