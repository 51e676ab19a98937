//! Cuts a file into messages, the bytes as they are. A file in UTF-16 is cut between its 16-bit units.

use std::borrow::Cow;

use crate::Charset;
use crate::charset::layout;

/// What stands in the shadow of a file in UTF-16 for a letter that is no ASCII, and for the byte-order mark.
const LETTER: u8 = 0x80;
const MARK: u8 = 0xfe;

/// The messages of a file, in order. A message begins with `MSH` at the start of a line and ends before the next
/// one, before a batch envelope's segment (FHS, BHS, BTS, FTS) or at the end of the file; blank lines at its end
/// are not part of it, the end of its last segment is. What stands before the first message is left out: see
/// [`pieces`].
pub fn split(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    pieces(file).filter_map(|piece| match piece {
        Piece::Message(bytes) => Some(bytes),
        Piece::Envelope(_) | Piece::Other(_) => None,
    })
}

/// The whole file: all pieces together are its bytes, in order.
pub fn pieces(file: &[u8]) -> Pieces<'_> {
    let (text, unit) = match layout(file) {
        Some(charset) => (Cow::Owned(shadow(file, charset == Charset::Utf16Be)), 2),
        None => (Cow::Borrowed(file), 1),
    };
    Pieces { file, text, unit, at: 0 }
}

/// A byte for each unit of a file in UTF-16.
fn shadow(file: &[u8], big_endian: bool) -> Vec<u8> {
    let (pairs, _) = file.as_chunks::<2>();
    let letter = |pair: &[u8; 2]| {
        let unit = if big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
        match unit {
            0xfeff => MARK,
            _ => u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(LETTER),
        }
    };
    pairs.iter().map(letter).collect()
}

/// A piece of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Piece<'f> {
    /// A message.
    Message(&'f [u8]),
    /// A segment of a batch's envelope: FHS, BHS, BTS or FTS, with its end.
    Envelope(&'f [u8]),
    /// Anything else: a byte-order mark, blank lines, remarks, MLLP frame bytes.
    Other(&'f [u8]),
}

impl<'f> Piece<'f> {
    /// Its bytes.
    pub const fn bytes(&self) -> &'f [u8] {
        match self {
            Self::Message(bytes) | Self::Envelope(bytes) | Self::Other(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Message(_) => "Message",
            Self::Envelope(_) => "Envelope",
            Self::Other(_) => "Other",
        };
        write!(f, "{name}({} bytes)", self.bytes().len())
    }
}

/// The pieces of a file, in order.
#[derive(Clone)]
pub struct Pieces<'f> {
    file: &'f [u8],
    /// What is looked at: the file itself, or its shadow.
    text: Cow<'f, [u8]>,
    /// Bytes of the file for each of the text.
    unit: usize,
    /// How far the text is cut.
    at: usize,
}

impl<'f> Iterator for Pieces<'f> {
    type Item = Piece<'f>;

    fn next(&mut self) -> Option<Piece<'f>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let preamble = if self.at == 0 { preamble(rest, self.unit) } else { 0 };
        if preamble > 0 {
            return self.take(preamble).map(Piece::Other);
        }
        match kind_of(rest) {
            Line::Envelope => {
                let end = line_end(rest);
                self.take(end).map(Piece::Envelope)
            }
            Line::Message => {
                let end = run_end(rest, true);
                self.take(end).map(Piece::Message)
            }
            Line::Text | Line::Blank => {
                let end = run_end(rest, false);
                self.take(end).map(Piece::Other)
            }
        }
    }
}

impl<'f> Pieces<'f> {
    fn take(&mut self, length: usize) -> Option<&'f [u8]> {
        let begin = self.at * self.unit;
        self.at += length;
        // Half a unit at the end of a file goes with its last piece.
        let end = if self.at == self.text.len() { self.file.len() } else { self.at * self.unit };
        self.file.get(begin..end)
    }
}

/// Where the run of lines that begins here ends: before the next message or envelope; of a message also before the
/// blank lines at its end.
fn run_end(text: &[u8], of_message: bool) -> usize {
    let mut at = line_end(text);
    let mut end = at;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        let kind = kind_of(rest);
        if matches!(kind, Line::Message | Line::Envelope) {
            break;
        }
        at += line_end(rest);
        if kind != Line::Blank || !of_message {
            end = at;
        }
    }
    end
}

impl std::fmt::Debug for Pieces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pieces({} of {} cut)", self.at, self.text.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Message,
    Envelope,
    Blank,
    Text,
}

fn kind_of(line: &[u8]) -> Line {
    let separated = line.get(3).is_some_and(u8::is_ascii_punctuation);
    match line.get(..3) {
        Some(b"MSH") if separated => Line::Message,
        Some(b"FHS" | b"BHS" | b"BTS" | b"FTS") if separated => Line::Envelope,
        _ => match line.first() {
            Some(b'\r' | b'\n') => Line::Blank,
            _ => Line::Text,
        },
    }
}

/// The length of the first line with its end: CR, LF or CRLF.
fn line_end(text: &[u8]) -> usize {
    let Some(at) = memchr::memchr2(b'\r', b'\n', text) else { return text.len() };
    let is_crlf = text.get(at..at + 2) == Some(b"\r\n");
    at + if is_crlf { 2 } else { 1 }
}

/// The length of a byte-order mark or an MLLP start byte that hides the first `MSH`.
fn preamble(text: &[u8], unit: usize) -> usize {
    let marks = if unit == 1 { [&b"\xef\xbb\xbf"[..], b"\x0b"] } else { [&[MARK][..], b"\x0b"] };
    marks.into_iter().find(|mark| text.starts_with(mark)).map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(file: &[u8]) -> Vec<String> {
        split(file).map(|m| String::from_utf8_lossy(m).into_owned()).collect()
    }

    #[test]
    fn cuts_at_msh_at_a_line_s_start() {
        for (file, messages) in [
            ("", vec![]),
            ("\r\n\n", vec![]),
            ("MSH|^~\\&|A", vec!["MSH|^~\\&|A"]),
            ("MSH|1\rPID|MSH|\rMSH|2\r", vec!["MSH|1\rPID|MSH|\r", "MSH|2\r"]),
            ("MSH|1\nPID\n\n\nMSH|2\n", vec!["MSH|1\nPID\n", "MSH|2\n"]),
            ("MSH|1\r\nPID\r\n\r\nMSH|2", vec!["MSH|1\r\nPID\r\n", "MSH|2"]),
            ("MSH|1\r\n\r\nPID\r\n", vec!["MSH|1\r\n\r\nPID\r\n"]),
            ("\u{feff}MSH|1\r", vec!["MSH|1\r"]),
            ("\u{b}MSH|1\r\u{1c}\r", vec!["MSH|1\r\u{1c}\r"]),
            ("# remark\nMSH#1\nMSHX\n", vec!["MSH#1\nMSHX\n"]),
            ("FHS|1\rBHS|1\rMSH|1\rPID\rMSH|2\rBTS|2\rFTS|1\r", vec!["MSH|1\rPID\r", "MSH|2\r"]),
        ] {
            assert_eq!(texts(file.as_bytes()), messages, "{file:?}");
        }
    }

    proptest! {
        /// In UTF-16 a file is cut where its text is.
        #[test]
        fn pieces_of_utf16_are_those_of_its_text(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("MSH|"), Just("BTS|"), Just("\r"), Just("\n"), Just("\r\n"), Just("Ä😀"), Just("\u{4d}S"), Just("ⴍ"),
                ],
                0..40,
            ),
            big_endian: bool,
            marked: bool,
            odd: bool,
        ) {
            let charset = if big_endian { Charset::Utf16Be } else { Charset::Utf16Le };
            let text = format!("{}MSH|{}", if marked { "\u{feff}" } else { "" }, parts.concat());
            let mut file = charset.encode(&text).unwrap();
            file.extend(odd.then_some(0x0d));
            let mut expected: Vec<(std::mem::Discriminant<Piece<'_>>, Vec<u8>)> = pieces(text.as_bytes())
                .map(|p| (std::mem::discriminant(&p), charset.encode(std::str::from_utf8(p.bytes()).unwrap()).unwrap()))
                .collect();
            expected.last_mut().unwrap().1.extend(odd.then_some(0x0d));
            let found: Vec<_> = pieces(&file).map(|p| (std::mem::discriminant(&p), p.bytes().to_vec())).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn pieces_are_the_file(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("MSH|"), Just("BTS|"), Just("\r"), Just("\n"), Just("\r\n"), Just("x"), Just("\u{feff}"), Just("\u{b}"),
                ],
                0..40,
            )
        ) {
            let file = parts.concat().into_bytes();
            let mut again = Vec::new();
            for piece in pieces(&file) {
                prop_assert!(!piece.bytes().is_empty());
                if let Piece::Message(m) = piece {
                    prop_assert!(m.starts_with(b"MSH|"));
                }
                again.extend_from_slice(piece.bytes());
            }
            prop_assert_eq!(again, file);
        }
    }
}
