//! From a payload to its text.

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding};

use super::{Charset, jis, utf16};
use crate::Delimiters;
use crate::message::begin;
use crate::parts::Segment;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
/// MSH-18, and how many fields further right it may have been pushed by letters whose second byte is the separator.
const CHARSET_FIELD: usize = 18;
const PUSHED_FIELDS_MAX: usize = 4;
/// How much of a text in UTF-16 is decoded to find its delimiters.
const UTF16_HEAD_BYTES: usize = 256;

/// How much is decoded at a time.
const PIECE_BYTES: usize = 4 << 10;

/// What a character set was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// What the source is configured to be.
    Source,
    /// MSH-18.
    Header,
    /// The bytes themselves.
    Detected,
}

/// A payload's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    /// UTF-8, always valid; the payload itself, uncopied, where that is UTF-8 or ASCII already.
    pub text: Bytes,
    /// What the payload is in: decoded as from this source it is the same text again. ASCII where its bytes are,
    /// whatever was declared; not so where they hold escape sequences of ISO 2022 that the declaration makes no use of.
    pub charset: Charset,
    /// Where that comes from.
    pub basis: Basis,
    /// How many bytes could not be decoded. Each stands in the text as `\Xhh\`, runs as `\Xhhhh..\`; as U+FFFD where
    /// the message has no escape character.
    pub undecodable: usize,
}

/// Sizes alone.
impl std::fmt::Debug for Decoded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { text, charset, basis, undecodable } = self;
        write!(f, "Decoded({charset}, {basis:?}, {} bytes, {undecodable} undecodable)", text.len())
    }
}

/// The text of a payload. `source` is what the source is configured to be, if it is. See the module.
pub fn decode(payload: &Bytes, source: Option<Charset>) -> Decoded {
    let as_it_is = |charset, basis| Decoded { text: payload.clone(), charset, basis, undecodable: 0 };
    if let Some(charset) = layout(payload) {
        return transcoded(payload, charset, Basis::Detected);
    }
    let is_ascii = Encoding::ascii_valid_up_to(payload) == payload.len();
    // Nothing but ISO 2022-JP means something else by ASCII bytes, and it needs escape sequences for that.
    if is_ascii && !jis::switches(payload) {
        return as_it_is(Charset::Ascii, Basis::Detected);
    }
    let is_utf8 = || Encoding::utf8_valid_up_to(payload) == payload.len();
    if payload.starts_with(UTF8_MARK) && is_utf8() {
        return as_it_is(Charset::Utf8, Basis::Detected);
    }
    let of_header = || declared(payload).map(|charset| (charset, Basis::Header));
    let named = source.map(|charset| (charset, Basis::Source)).or_else(of_header);
    let (charset, basis) = named
        .filter(|(charset, _)| !matches!(charset, Charset::Ascii | Charset::Utf16Le | Charset::Utf16Be))
        .unwrap_or_else(|| {
            let charset = if is_ascii {
                Charset::Iso2022Jp
            } else if is_utf8() {
                Charset::Utf8
            } else {
                Charset::FALLBACK
            };
            (charset, Basis::Detected)
        });
    if is_ascii && charset != Charset::Iso2022Jp {
        return as_it_is(charset, basis);
    }
    if charset == Charset::Utf8 && is_utf8() {
        return as_it_is(charset, basis);
    }
    transcoded(payload, charset, basis)
}

/// What the layout of the first bytes says by itself: UTF-16, of either order.
pub fn layout(bytes: &[u8]) -> Option<Charset> {
    utf16::order(bytes)
}

/// The character set that the first MSH names, of a payload whose header is written in ASCII.
pub(crate) fn declared(payload: &[u8]) -> Option<Charset> {
    let (mut at, _) = begin(payload).ok()?;
    loop {
        let rest = payload.get(at..)?;
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len()))?;
        if line.starts_with(b"MSH") {
            return of_segment(Segment::new(line, b"", Delimiters::of_header_segment(line)?));
        }
        // A batch: what stands before the first message is FHS and BHS.
        if !matches!(line.get(..3), Some(b"FHS" | b"BHS") | None) {
            return None;
        }
        at += end? + 1;
    }
}

/// MSH-18. Several names stand for ISO 2022 if one of them does, otherwise for the first that says more than ASCII.
fn of_segment(msh: Segment<'_>) -> Option<Charset> {
    let mut pushed = msh.fields().skip(CHARSET_FIELD - 1);
    let mut found: Option<Charset> = None;
    for name in pushed.next()?.repetitions().filter_map(|r| Charset::read(r.raw())) {
        match (found, name) {
            (_, Charset::Iso2022Jp) => return Some(Charset::Iso2022Jp),
            (None | Some(Charset::Ascii), _) => found = Some(name),
            _ => {}
        }
    }
    let is_pushed = |charset: &Charset| !charset.keeps_delimiters();
    found.or_else(|| pushed.take(PUSHED_FIELDS_MAX).find_map(|f| Charset::read(f.raw()).filter(is_pushed)))
}

fn transcoded(payload: &Bytes, charset: Charset, basis: Basis) -> Decoded {
    let mut out = Out::new(payload, charset);
    match charset {
        Charset::Utf16Le => utf16::decode(payload, false, &mut out),
        Charset::Utf16Be => utf16::decode(payload, true, &mut out),
        Charset::Iso2022Jp => jis::decode(payload, &mut out),
        _ => by_encoding(payload, charset.encoding().unwrap_or(encoding_rs::UTF_8), &mut out),
    }
    let (text, undecodable) = out.finish();
    Decoded { text: text.into(), charset, basis, undecodable }
}

fn by_encoding(payload: &[u8], encoding: &'static Encoding, out: &mut Out) {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut at = 0;
    // A small buffer between: decoding right into the text touches all of its spare room again at each bad byte.
    let mut piece = [0; PIECE_BYTES];
    loop {
        let rest = payload.get(at..).unwrap_or_default();
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut piece, true);
        at += read;
        out.text.push_str(piece.get(..written).and_then(|p| std::str::from_utf8(p).ok()).unwrap_or_default());
        match result {
            DecoderResult::InputEmpty => return,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bad, good) => {
                let end = at.saturating_sub(usize::from(good));
                let start = end.saturating_sub(usize::from(bad));
                out.bad(payload.get(start..end).unwrap_or_default());
            }
        }
    }
}

/// A text that is being written.
pub(super) struct Out {
    text: String,
    /// The message's own escape character.
    escape: Option<u8>,
    undecodable: usize,
    /// Where the text ended after the last undecodable byte: the next one goes into the same sequence.
    last_bad: usize,
}

impl Out {
    fn new(payload: &[u8], charset: Charset) -> Self {
        let mut out = Self { text: String::new(), escape: None, undecodable: 0, last_bad: usize::MAX };
        let delimiters = match charset {
            Charset::Utf16Le | Charset::Utf16Be => {
                let head = payload.get(..UTF16_HEAD_BYTES).unwrap_or(payload);
                utf16::decode(head, charset == Charset::Utf16Be, &mut out);
                begin(std::mem::take(&mut out.text).as_bytes()).ok()
            }
            _ => begin(payload).ok(),
        };
        out.escape = delimiters.and_then(|(_, delimiters)| delimiters.escape());
        out.undecodable = 0;
        out.last_bad = usize::MAX;
        out.reserve(payload.len());
        out
    }

    /// Room for what so many bytes decode to, mostly; never more at once than the text has already.
    fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes + bytes / 8 + 16);
    }

    pub(super) fn letter(&mut self, letter: char) {
        self.text.push(letter);
    }

    /// Bytes that stand for no letter.
    pub(super) fn bad(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.undecodable += bytes.len();
        let Some(escape) = self.escape.map(char::from) else {
            return bytes.iter().for_each(|_| self.text.push(char::REPLACEMENT_CHARACTER));
        };
        if self.last_bad == self.text.len() {
            self.text.pop();
        } else {
            self.text.push(escape);
            self.text.push('X');
        }
        for byte in bytes {
            for nibble in [byte >> 4, byte & 15] {
                self.text.extend(char::from_digit(nibble.into(), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
        self.text.push(escape);
        self.last_bad = self.text.len();
    }

    fn finish(self) -> (String, usize) {
        (self.text, self.undecodable)
    }
}
