//! The header of a message that is still arriving: payloads stream, so only their first bytes are looked at.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::charset::{self, Charset};
use crate::message::{begin, is_blank};
use crate::mllp::can_frame;
use crate::{Delimiters, ParseError, Segment};

/// Within how many bytes of a frame the MSH segment must end. Real ones take 100 to 300 bytes.
pub const MSH_BYTES_MAX: usize = 4 << 10;

/// Without it, ASCII bytes are ASCII in every character set.
const ESC: u8 = 0x1b;
/// A byte-order mark.
const MARK: &str = "\u{feff}";

/// Keeps the first [`MSH_BYTES_MAX`] bytes of a payload.
#[derive(Default)]
pub struct HeaderScan {
    first: Vec<u8>,
    more: bool,
}

impl HeaderScan {
    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { first: Vec::new(), more: false }
    }

    /// Takes the next bytes of the payload, of any length.
    pub fn push(&mut self, chunk: &[u8]) {
        let room = MSH_BYTES_MAX.saturating_sub(self.first.len());
        self.first.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        self.more |= chunk.len() > room;
    }

    /// Reads the header from what came.
    ///
    /// # Errors
    /// [`ParseError`] where the payload does not begin with a header segment that ends in time.
    pub fn finish(&self) -> Result<Header, ParseError> {
        self.finish_in(None)
    }

    /// As [`HeaderScan::finish`], where the source is configured to be in a character set.
    ///
    /// # Errors
    /// The same.
    pub fn finish_in(&self, source: Option<Charset>) -> Result<Header, ParseError> {
        Header::read_in(&self.first, !self.more, source)
    }

    /// For the next payload; keeps the memory.
    pub fn clear(&mut self) {
        self.first.clear();
        self.more = false;
    }
}

impl fmt::Debug for HeaderScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderScan({} bytes)", self.first.len())
    }
}

/// Which segment a header was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderKind {
    /// MSH; also where a batch's first message has it.
    Message,
    /// BHS of a batch without messages (in the bytes looked at).
    Batch,
    /// FHS of a file without messages (in the bytes looked at).
    File,
}

/// A header segment, copied out of its payload: what is needed to identify and to answer a message.
///
/// Where the sender's character set hides delimiters (UTF-16, GB 18030, Big5, ISO 2022-JP, Shift_JIS) the fields are
/// UTF-8, and [`Header::in_its_charset`] brings the answer back; otherwise they are the sender's bytes.
#[derive(Clone)]
pub struct Header {
    segment: Bytes,
    delimiters: Delimiters,
    kind: HeaderKind,
    decoded_from: Option<Wire>,
    /// What bytes beyond ASCII are in where they are the sender's, as far as somebody says so.
    charset: Option<Charset>,
}

/// How the sender's text goes over the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wire {
    charset: Charset,
    /// A byte-order mark comes first.
    marked: bool,
}

impl Header {
    /// Reads the header from the first bytes of a payload; `complete` where these are all. In a batch the header is
    /// the MSH of its first message.
    ///
    /// # Errors
    /// [`ParseError`], as of [`crate::Message::decode`], and [`ParseError::HeaderTooLong`].
    pub fn read(first: &[u8], complete: bool) -> Result<Self, ParseError> {
        Self::read_in(first, complete, None)
    }

    /// As [`Header::read`], where the source is configured to be in a character set: it stands before MSH-18, as in
    /// [`crate::charset::decode`].
    ///
    /// # Errors
    /// The same.
    pub fn read_in(first: &[u8], complete: bool, source: Option<Charset>) -> Result<Self, ParseError> {
        let Some(charset) = charset::layout(first) else {
            return Ok(Self::read_bytes(first, complete)?.decoded(source));
        };
        // Half a letter at the end of what came so far is none.
        let whole = if complete { first.len() } else { first.len() & !1 };
        let payload = Bytes::copy_from_slice(first.get(..whole).unwrap_or(first));
        let text = charset::decode(&payload, None).text;
        let header = Self::read_bytes(&text, complete)?;
        let wire = Wire { charset, marked: text.starts_with(MARK.as_bytes()) };
        Ok(Self { decoded_from: Some(wire), ..header })
    }

    /// Decodes the segment where letters may hide delimiters; as it is where that does not go both ways.
    fn decoded(mut self, source: Option<Charset>) -> Self {
        if self.segment.iter().all(|b| b.is_ascii() && *b != ESC) {
            return self;
        }
        let Some(charset) = source.or_else(|| charset::declared(&self.segment)) else { return self };
        if charset.keeps_delimiters() {
            self.charset = Some(charset);
            return self;
        }
        let decode = |bytes: &Bytes| charset::decode(bytes, Some(charset));
        let decoded = decode(&self.segment);
        if decoded.charset != charset || decoded.undecodable > 0 {
            return self;
        }
        let again = std::str::from_utf8(&decoded.text).ok().and_then(|text| charset.encode(text));
        if again.is_none_or(|bytes| decode(&bytes.into()).text != decoded.text) {
            return self;
        }
        Self { segment: decoded.text, decoded_from: Some(Wire { charset, marked: false }), ..self }
    }

    /// Brings an answer, made of fields of this header and ASCII, to the sender's own character set. It can be framed.
    pub fn in_its_charset(&self, answer: Vec<u8>) -> Vec<u8> {
        let Some(Wire { charset, marked }) = self.decoded_from else { return answer };
        let mark = if marked { MARK } else { "" };
        let text = String::from_utf8_lossy(&answer);
        let bytes = charset.encode(&format!("{mark}{text}")).unwrap_or_else(|| answer.clone());
        if can_frame(&bytes) {
            return bytes;
        }
        // In UTF-16 two letters can look like the end of a frame. A question mark for each is better than half an answer.
        let ascii: String = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        charset.encode(&format!("{mark}{ascii}")).unwrap_or(answer)
    }

    fn read_bytes(first: &[u8], complete: bool) -> Result<Self, ParseError> {
        let (offset, _) = begin(first)?;
        let mut rest = first.get(offset..).unwrap_or_default();
        let mut batch: Option<Self> = None;
        while !rest.is_empty() {
            let end = memchr::memchr2(b'\r', b'\n', rest);
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            rest = end.and_then(|e| rest.get(e + 1..)).unwrap_or_default();
            let cut_off = end.is_none() && !complete;
            let Some(kind) = kind_of(line) else {
                if is_blank(line) {
                    continue;
                }
                break;
            };
            let Some(delimiters) = Delimiters::of_header_segment(line) else { break };
            if cut_off {
                break;
            }
            let header = Self {
                segment: Bytes::copy_from_slice(line),
                delimiters,
                kind,
                decoded_from: None,
                charset: None,
            };
            if kind == HeaderKind::Message {
                return Ok(header);
            }
            // BHS is closer to the messages than FHS.
            batch = Some(header);
        }
        batch.ok_or(ParseError::HeaderTooLong { limit: MSH_BYTES_MAX })
    }

    /// The header of a parsed message.
    pub(crate) fn of(segment: Option<Segment<'_>>) -> Self {
        let (raw, delimiters) =
            segment.map_or((&b""[..], Delimiters::STANDARD), |s| (s.raw(), s.delimiters()));
        Self {
            segment: Bytes::copy_from_slice(raw),
            delimiters,
            kind: kind_of(raw).unwrap_or(HeaderKind::Message),
            decoded_from: None,
            charset: None,
        }
    }

    /// A value of this header as UTF-8, as far as the source's configuration or MSH-18 says what it is in; otherwise
    /// as it is.
    pub fn text<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let Some(charset) = self.charset.filter(|_| !value.is_ascii()) else { return Cow::Borrowed(value) };
        let text = charset::decode(&Bytes::copy_from_slice(value), Some(charset)).text;
        Cow::Owned(text.to_vec())
    }

    /// The segment.
    pub fn segment(&self) -> Segment<'_> {
        Segment::new(&self.segment, b"", self.delimiters)
    }

    /// Which segment it is.
    pub const fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// The sender's delimiters.
    pub const fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// Field `number` as sent; empty where it is not there.
    pub fn field(&self, number: usize) -> &[u8] {
        self.segment().field(number).map(|f| f.raw()).unwrap_or_default()
    }

    /// MSH-10; of a batch without messages BHS-11 or FHS-11.
    pub fn control_id(&self) -> &[u8] {
        self.field(if self.kind == HeaderKind::Message { 10 } else { 11 })
    }

    /// MSH-7, the message's own time.
    pub fn sent_at(&self) -> &[u8] {
        self.field(7)
    }

    /// MSH-9, for example `ADT^A01^ADT_A01`; empty of a batch without messages.
    pub fn message_type(&self) -> &[u8] {
        self.message_field(9)
    }

    /// MSH-12.
    pub fn version(&self) -> Version {
        let id = self.segment().field(12).and_then(|f| f.component(1)).map(|c| c.raw());
        match (self.kind, id) {
            (HeaderKind::Message, Some(id)) => Version::read(id),
            _ => Version::Unknown,
        }
    }

    /// A field that only MSH has.
    pub(crate) fn message_field(&self, number: usize) -> &[u8] {
        if self.kind == HeaderKind::Message { self.field(number) } else { b"" }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:?}, {} bytes)", self.kind, self.segment.len())
    }
}

fn kind_of(line: &[u8]) -> Option<HeaderKind> {
    match line.get(..3) {
        Some(b"MSH") => Some(HeaderKind::Message),
        Some(b"BHS") => Some(HeaderKind::Batch),
        Some(b"FHS") => Some(HeaderKind::File),
        _ => None,
    }
}

/// A version of HL7 v2, as far as the form of an answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Not stated, or not understood.
    Unknown,
    /// 2.`minor`.`patch`: `2.5.1` is `(5, 1)`.
    V2(u8, u8),
}

impl Version {
    /// From MSH-12.1: `2.3`, `2.5.1`.
    pub fn read(id: &[u8]) -> Self {
        let mut numbers = id.split(|b| *b == b'.').map(|part| match part {
            [digit @ b'0'..=b'9'] => Some(digit - b'0'),
            _ => None,
        });
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(2)), Some(Some(minor)), None) => Self::V2(minor, 0),
            (Some(Some(2)), Some(Some(minor)), Some(Some(patch))) => Self::V2(minor, patch),
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(chunks: &[&[u8]]) -> Result<Header, ParseError> {
        let mut scan = HeaderScan::new();
        chunks.iter().for_each(|c| scan.push(c));
        scan.finish()
    }

    #[test]
    fn reads_msh_from_any_chunking() {
        let payload = b"\xef\xbb\xbf\r\nMSH|^~\\&|LAB|H|EHR|H|20260101||ORU^R01|42|P|2.5.1^DEU\rPID|1\r";
        for size in 1..payload.len() {
            let header = scan(&payload.chunks(size).collect::<Vec<_>>()).unwrap();
            assert_eq!(header.control_id(), b"42");
            assert_eq!(header.sent_at(), b"20260101");
            assert_eq!(header.message_type(), b"ORU^R01");
            assert_eq!(header.version(), Version::V2(5, 1));
            assert_eq!(header.field(99), b"");
        }
    }

    #[test]
    fn a_batch_is_answered_by_its_first_message() {
        let header = scan(&[b"FHS|^~\\&|F\rBHS|^~\\&|B\r\n \0\rMSH#*~\\&#M####7##A#9\r"]).unwrap();
        assert_eq!((header.kind(), header.control_id()), (HeaderKind::Message, &b"9"[..]));
        assert_eq!(header.delimiters().field(), b'#');
        let header = scan(&[b"FHS|^~\\&|F\rBHS|^~\\&|B||||||||77\rBTS|0\r"]).unwrap();
        assert_eq!((header.kind(), header.control_id()), (HeaderKind::Batch, &b"77"[..]));
        assert_eq!((header.version(), header.message_type()), (Version::Unknown, &b""[..]));
    }

    #[test]
    fn an_endless_header_is_refused_and_memory_is_bounded() {
        let mut scan = HeaderScan::new();
        scan.push(b"MSH|^~\\&|");
        for _ in 0..100 {
            scan.push(&[b'x'; 1000]);
        }
        assert_eq!(scan.finish().unwrap_err(), ParseError::HeaderTooLong { limit: MSH_BYTES_MAX });
        assert_eq!(scan.first.len(), MSH_BYTES_MAX);
        scan.clear();
        assert_eq!(scan.finish().unwrap_err(), ParseError::Empty);
    }

    #[test]
    fn a_header_that_ends_exactly_at_the_limit_is_read() {
        let mut payload = b"MSH|^~\\&|".to_vec();
        payload.resize(MSH_BYTES_MAX, b'x');
        assert!(scan(&[&payload]).is_ok());
        payload.extend_from_slice(b"\rPID|1");
        assert!(scan(&[&payload]).is_err(), "whether the segment ended there is not known");
        payload.remove(20);
        assert!(scan(&[&payload]).is_ok());
    }

    #[test]
    fn says_why_there_is_no_header() {
        for (payload, error) in [
            (&b""[..], ParseError::Empty),
            (b"\r\n \n", ParseError::Empty),
            (b"\r\nPID|1\r", ParseError::NoHeader { offset: 2 }),
            (b"MSH", ParseError::Delimiters { offset: 0 }),
            (b"MSHA^~", ParseError::Delimiters { offset: 0 }),
            (b"\xff\xfeM\0S\0H\0|\0", ParseError::Delimiters { offset: 3 }),
            (b"\xfe\xff", ParseError::Empty),
        ] {
            assert_eq!(scan(&[payload]).unwrap_err(), error);
        }
    }

    #[test]
    fn versions() {
        for (id, version) in [
            ("2.1", Version::V2(1, 0)),
            ("2.5.1", Version::V2(5, 1)),
            ("2.9", Version::V2(9, 0)),
            ("", Version::Unknown),
            ("3.0", Version::Unknown),
            ("2", Version::Unknown),
            ("2.10", Version::Unknown),
        ] {
            assert_eq!(Version::read(id.as_bytes()), version, "{id}");
        }
    }
}
