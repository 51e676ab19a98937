//! A message: its bytes and the index of its segments.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::charset::{self, Charset};
use crate::parts::is_header_name;
use crate::{Delimiters, Header, Path, Segment};

/// Longest message that can be indexed, in bytes. The frame limit of a feed is smaller.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Most segments of one message: 8 MB of index. The largest real batches have some tens of thousands.
pub const SEGMENTS_MAX: usize = 1_000_000;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// Why bytes are no HL7 v2 message. Positions and sizes only, never content. The sender must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but blank lines.
    #[error("the message is empty")]
    Empty,
    /// The first segment is none of MSH, FHS and BHS.
    #[error("byte {offset}: the message does not begin with an MSH, FHS or BHS segment")]
    NoHeader {
        /// Where the first segment begins.
        offset: usize,
    },
    /// MSH-1 is no ASCII punctuation, or MSH-2 is empty.
    #[error("byte {offset}: MSH-1 and MSH-2 do not name a field and a component separator")]
    Delimiters {
        /// Where the header segment begins.
        offset: usize,
    },
    /// The bytes are UTF-16, in which delimiters cannot be found: see [`Message::decode`].
    #[error("the message is UTF-16 and was read as bytes")]
    Utf16,
    /// The header segment does not end within [`crate::MSH_BYTES_MAX`] bytes; of a stream only.
    #[error("the header segment does not end within {limit} bytes")]
    HeaderTooLong {
        /// The limit.
        limit: usize,
    },
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("the message has {bytes} bytes; at most {MESSAGE_BYTES_MAX} can be read")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("the message has more than {SEGMENTS_MAX} segments")]
    TooManySegments,
}

/// Where a segment lies.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// An HL7 v2 message, or a batch (FHS, BHS, messages, BTS, FTS) in one payload: its bytes, and where each segment
/// lies in them. Cheap to clone but for the index (8 bytes a segment).
///
/// **Segment ends.** CR ends a segment (HL7 v2.8.2 §2.5.2); so do CRLF and LF, which senders write instead. An LF
/// inside a message whose first segment ends with CR is text, unless the line after it begins like a segment.
/// A UTF-8 byte-order mark and blank lines before the first segment are its [`Message::prefix`].
///
/// **Headers.** Each MSH, FHS and BHS declares the delimiters from there on.
///
/// **Text or bytes.** Who reads values wants [`Message::decode`]: the parts are then UTF-8, whatever the sender's
/// character set is, and cut where the sender's letters end. Who passes bytes on as they are, or edits them, wants
/// [`Message::parse`]. For ASCII and UTF-8 both are the same and nothing is copied.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    /// As it came; not `bytes` where it was decoded.
    payload: Bytes,
    charset: Option<Charset>,
    undecodable: usize,
    spans: Vec<Span>,
    /// Index of each header segment that changes the delimiters, ascending; the first is segment 0.
    headers: Vec<(u32, Delimiters)>,
    /// Index of the first MSH; a batch may have none.
    msh: Option<u32>,
}

impl Message {
    /// Indexes the text of a message: [`charset::decode`] says which character set the payload is in, and parts are
    /// UTF-8 from then on. `source` is what the source is configured to be, if it is. Offsets of errors count in the
    /// text.
    ///
    /// # Errors
    /// [`ParseError`] where it does not begin with a header segment, or is beyond a limit.
    pub fn decode(payload: impl Into<Bytes>, source: Option<Charset>) -> Result<Self, ParseError> {
        let payload = payload.into();
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: payload.len() });
        }
        let decoded = charset::decode(&payload, source);
        let message = Self::parse(decoded.text)?;
        Ok(Self { payload, charset: Some(decoded.charset), undecodable: decoded.undecodable, ..message })
    }

    /// Indexes the bytes of a message as they are, without copying them.
    ///
    /// # Errors
    /// [`ParseError`] where it does not begin with a header segment, or is beyond a limit.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, ParseError> {
        let bytes = bytes.into();
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::TooLong { bytes: bytes.len() });
        }
        let (offset, delimiters) = begin(&bytes)?;
        let mut index = Index {
            bytes: &bytes,
            line_feeds_end: None,
            spans: Vec::with_capacity(16),
            headers: vec![(0, delimiters)],
            msh: None,
        };
        index.run(offset)?;
        let Index { spans, headers, msh, .. } = index;
        let payload = bytes.clone();
        Ok(Self { bytes, payload, charset: None, undecodable: 0, spans, headers, msh })
    }

    /// The bytes that the parts are views of: as they were parsed, or the text that they were decoded to.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message as it came, byte for byte.
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What it was decoded from; `None` where its bytes were parsed as they are.
    pub const fn charset(&self) -> Option<Charset> {
        self.charset
    }

    /// How many bytes of the payload could not be decoded; see [`charset::Decoded::undecodable`].
    pub const fn undecodable(&self) -> usize {
        self.undecodable
    }

    /// What stands before the first segment: a byte-order mark, blank lines; mostly nothing.
    pub fn prefix(&self) -> &[u8] {
        let end = self.spans.first().map_or(0, |s| s.start as usize);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// How many segments there are.
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Never: a message has at least its header.
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The segments in order.
    pub fn segments(&self) -> Segments<'_> {
        Segments { message: self, at: 0, header: 0 }
    }

    /// Segment `index`, from 0.
    pub fn segment(&self, index: usize) -> Option<Segment<'_>> {
        let after = self.headers.partition_point(|(at, _)| *at as usize <= index);
        let (_, delimiters) = self.headers.get(after.checked_sub(1)?)?;
        self.cut(index, *delimiters)
    }

    /// The delimiters of the first header segment.
    pub fn delimiters(&self) -> Delimiters {
        self.headers.first().map_or(Delimiters::STANDARD, |(_, d)| *d)
    }

    /// The first segment of this name.
    pub fn first(&self, name: &[u8]) -> Option<Segment<'_>> {
        self.segments().find(|segment| segment.name() == name)
    }

    /// The first MSH; only a batch without messages has none.
    pub fn msh(&self) -> Option<Segment<'_>> {
        self.segment(self.msh? as usize)
    }

    /// MSH, or FHS or BHS of a batch without messages, for answering.
    pub fn header(&self) -> Header {
        Header::of(self.msh().or_else(|| self.segment(0)))
    }

    /// MSH-9 as sent, for example `ADT^A01^ADT_A01`. `None` where it is empty.
    pub fn message_type(&self) -> Option<&[u8]> {
        self.msh_field(9)
    }

    /// MSH-10. `None` where it is empty.
    pub fn control_id(&self) -> Option<&[u8]> {
        self.msh_field(10)
    }

    /// MSH-12.1, for example `2.5.1`. `None` where it is empty.
    pub fn version(&self) -> Option<&[u8]> {
        let version = self.msh()?.field(12)?.component(1)?.raw();
        (!version.is_empty()).then_some(version)
    }

    /// The bytes that a path names, escapes included: see [`Path`]. `Some` of nothing where the place is there and
    /// empty, `None` where the message ends before it.
    pub fn get(&self, path: &Path) -> Option<&[u8]> {
        path.find(self)
    }

    /// Where a part of this message lies in it, for an error or an edit. `None` for bytes from elsewhere.
    pub fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    fn msh_field(&self, number: usize) -> Option<&[u8]> {
        self.msh()?.field(number).map(|f| f.raw()).filter(|raw| !raw.is_empty())
    }

    fn cut(&self, index: usize, delimiters: Delimiters) -> Option<Segment<'_>> {
        let span = self.spans.get(index)?;
        let next = self.spans.get(index + 1).map_or(self.bytes.len(), |s| s.start as usize);
        let raw = self.bytes.get(span.start as usize..span.end as usize)?;
        let gap = self.bytes.get(span.end as usize..next)?;
        Some(Segment::new(raw, gap, delimiters))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes, {} segments)", self.bytes.len(), self.spans.len())
    }
}

/// The segments of a message, in order.
#[derive(Clone)]
pub struct Segments<'m> {
    message: &'m Message,
    at: usize,
    /// Which of the message's headers is in force.
    header: usize,
}

impl<'m> Iterator for Segments<'m> {
    type Item = Segment<'m>;

    fn next(&mut self) -> Option<Segment<'m>> {
        let headers = &self.message.headers;
        if headers.get(self.header + 1).is_some_and(|(at, _)| *at as usize == self.at) {
            self.header += 1;
        }
        let (_, delimiters) = headers.get(self.header)?;
        let segment = self.message.cut(self.at, *delimiters)?;
        self.at += 1;
        Some(segment)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.message.spans.len().saturating_sub(self.at);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Segments<'_> {}

impl fmt::Debug for Segments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segments(at {})", self.at)
    }
}

/// Where the first segment begins, and its delimiters.
pub(crate) fn begin(bytes: &[u8]) -> Result<(usize, Delimiters), ParseError> {
    if charset::layout(bytes).is_some() {
        return Err(ParseError::Utf16);
    }
    let mut rest = bytes;
    loop {
        rest = match rest {
            [b'\r' | b'\n' | b' ' | b'\t', after @ ..] => after,
            _ => match rest.strip_prefix(UTF8_BOM) {
                Some(after) => after,
                None => break,
            },
        };
    }
    let offset = bytes.len() - rest.len();
    if rest.is_empty() {
        return Err(ParseError::Empty);
    }
    if !is_header_name(rest) {
        return Err(ParseError::NoHeader { offset });
    }
    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
    let delimiters = Delimiters::of_header_segment(rest.get(..end).unwrap_or_default());
    delimiters.map(|d| (offset, d)).ok_or(ParseError::Delimiters { offset })
}

/// The one pass over the bytes.
struct Index<'m> {
    bytes: &'m [u8],
    /// Whether an LF ends a segment whatever follows; decided by how the first segment ends.
    line_feeds_end: Option<bool>,
    spans: Vec<Span>,
    headers: Vec<(u32, Delimiters)>,
    msh: Option<u32>,
}

impl<'m> Index<'m> {
    fn run(&mut self, offset: usize) -> Result<(), ParseError> {
        let mut at = offset;
        while at < self.bytes.len() {
            let end = self.line_end(at);
            let line = self.bytes.get(at..end).unwrap_or_default();
            if !is_blank(line) {
                self.add(at, end, line)?;
            }
            at = end + 1;
        }
        Ok(())
    }

    fn add(&mut self, start: usize, end: usize, line: &'m [u8]) -> Result<(), ParseError> {
        if self.spans.len() >= SEGMENTS_MAX {
            return Err(ParseError::TooManySegments);
        }
        let number = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
        if is_header_name(line)
            && let Some(declared) = Delimiters::of_header_segment(line)
        {
            if self.headers.last().is_none_or(|(_, current)| *current != declared) {
                self.headers.push((number, declared));
            }
            if self.msh.is_none() && line.starts_with(b"MSH") {
                self.msh = Some(number);
            }
        }
        // Both fit: the length was held against MESSAGE_BYTES_MAX.
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.spans.push(Span { start: short(start), end: short(end) });
        Ok(())
    }

    /// The position of the byte that ends the line which begins at `start`, or the end of the message.
    fn line_end(&mut self, start: usize) -> usize {
        let mut from = start;
        loop {
            let rest = self.bytes.get(from..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\r', b'\n', rest) else { return self.bytes.len() };
            let at = from + found;
            let is_lf = self.bytes.get(at) == Some(&b'\n');
            let lf_ends = *self.line_feeds_end.get_or_insert(is_lf);
            // An LF at the start of a line is the second half of a CRLF, or a blank line.
            if !is_lf || lf_ends || at == start || self.begins_segment(at + 1) {
                return at;
            }
            from = at + 1;
        }
    }

    /// Whether a line that begins here looks like a segment, or nothing but an end follows.
    fn begins_segment(&self, at: usize) -> bool {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let field = self.headers.last().map(|(_, d)| d.field());
        match rest {
            [] | [b'\r' | b'\n', ..] => true,
            [a, b, c, tail @ ..] => {
                let name = a.is_ascii_uppercase()
                    && [b, c].iter().all(|x| x.is_ascii_uppercase() || x.is_ascii_digit());
                let ends = match tail.first() {
                    None | Some(b'\r' | b'\n') => true,
                    Some(next) => {
                        Some(*next) == field || (is_header_name(rest) && next.is_ascii_punctuation())
                    }
                };
                name && ends
            }
            _ => false,
        }
    }
}

/// Blank lines belong to the gap: no content. NULs are what some senders pad with.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' ' | b'\t' | 0))
}

#[cfg(test)]
mod tests;
