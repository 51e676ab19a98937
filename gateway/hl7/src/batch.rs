//! Batches: several messages in one frame, between FHS/BHS and BTS/FTS.
//!
//! **Promise.** [`Splitter`] cuts a payload that begins with FHS or BHS into its messages while it streams by, under any
//! chunking, and nothing else: a payload that begins with MSH is never cut, whatever it holds. The pieces together are
//! the payload, byte for byte, and each has one message: what stands before the first message (FHS, BHS) is part of its
//! piece; what stands between a message and the next, or the end (BTS, BHS, FTS), is part of the piece of the former.
//! A batch without messages is one piece.
//!
//! **What begins a line.** CR always ends a line. LF ends one only where it ends the first line too: in a payload with CR
//! an LF is data, so that `MSH|` after an LF inside a field never cuts a message.
//!
//! **Limits.** The splitter holds at most the envelope's current line, of it no more than [`MSH_BYTES_MAX`] bytes.
//!
//! Source: HL7 v2.8.2 §2.10.3 (batches), §2.14.2 to §2.14.5 (BHS, BTS, FHS, FTS).

mod answer;
#[cfg(test)]
mod tests;

pub use answer::BatchAnswer;

use crate::MSH_BYTES_MAX;

/// What happened next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next piece begins.
    Begin,
    /// Bytes of the piece; never empty.
    Data {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether they belong to its message, and not to the envelope around it or to what stands before it.
        of_message: bool,
    },
    /// A line of the envelope is complete, without its end: [`Splitter::line`].
    Line(Line),
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin => f.write_str("Begin"),
            Self::Data { bytes, of_message } => {
                write!(f, "Data({} bytes, of_message: {of_message})", bytes.len())
            }
            Self::Line(line) => write!(f, "Line({line:?})"),
        }
    }
}

/// A segment of a batch's envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Line {
    /// FHS.
    FileHeader,
    /// BHS.
    BatchHeader,
    /// BTS.
    BatchTrailer,
    /// FTS.
    FileTrailer,
}

/// The message of a piece, without the lines of the envelope around it: what a receiver of messages is to get. The
/// piece itself where it has no envelope, or no message.
///
/// ```
/// let piece = b"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\rMSH|^~\\&|LAB\rPID|1\rBTS|1\rFTS|1\r";
/// assert_eq!(hl7::batch::message_of(piece), b"MSH|^~\\&|LAB\rPID|1\r");
/// ```
pub fn message_of(piece: &[u8]) -> &[u8] {
    let line_end = if piece.contains(&b'\r') { b'\r' } else { b'\n' };
    // Offsets of the lines' beginnings; an LF after CR belongs to the end of the line before.
    let begin_after = |at: usize| match piece.get(at + 1) {
        Some(b'\n') if line_end == b'\r' => at + 2,
        _ => at + 1,
    };
    let named = |at: usize, names: &[&[u8]]| {
        let line = piece.get(at..).unwrap_or_default();
        names.iter().any(|name| line.starts_with(name))
    };
    let unmarked = if piece.starts_with(BOM) { BOM.len() } else { 0 };
    let mut begin = 0;
    if named(unmarked, &[b"FHS", b"BHS"]) {
        let lines = memchr::memchr_iter(line_end, piece).map(begin_after);
        let Some(first) = lines.into_iter().find(|at| named(*at, &[b"MSH"])) else { return piece };
        begin = first;
    }
    let mut end = piece.len();
    let mut searched = piece.len();
    while let Some(at) = piece.get(begin..searched).and_then(|rest| memchr::memrchr(line_end, rest)) {
        searched = begin + at;
        let line = begin_after(searched);
        if named(line, &[b"BTS", b"FTS", b"BHS", b"FHS"]) {
            end = line;
        } else if piece.get(line..end).is_some_and(|rest| !crate::message::is_blank(rest) && !rest.is_empty())
        {
            break;
        }
    }
    piece.get(begin..end).unwrap_or(piece)
}

const BOM: &[u8] = b"\xef\xbb\xbf";
/// What may stand at a line's beginning and means something.
const NAMES: [&[u8]; 6] = [BOM, b"MSH", b"FHS", b"BHS", b"BTS", b"FTS"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a line; so many bytes of this name have been taken and not yet passed on.
    LineStart { name: &'static [u8], held: usize },
    /// What the name is has been found; it is to be passed on, after [`Event::Begin`] where that is due.
    Named { name: &'static [u8], begins: bool },
    /// In a line.
    InLine,
    /// A line of the envelope has ended.
    LineEnded,
    /// Not a batch: everything passes.
    Plain,
}

/// Cuts a payload into the messages of its batch.
#[derive(Clone)]
pub struct Splitter {
    state: State,
    begun: bool,
    is_batch: bool,
    /// Whether LF ends a line; decided by how the first ends.
    line_feeds_end: Option<bool>,
    /// Whether the piece has its message already.
    has_message: bool,
    /// The envelope's line in progress.
    envelope: Option<Line>,
    line: Vec<u8>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Splitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Splitter(is_batch: {}, has_message: {})", self.is_batch, self.has_message)
    }
}

impl Splitter {
    /// At the beginning of a payload.
    pub const fn new() -> Self {
        Self {
            state: State::LineStart { name: b"", held: 0 },
            begun: false,
            is_batch: false,
            line_feeds_end: None,
            has_message: false,
            envelope: None,
            line: Vec::new(),
        }
    }

    /// Whether the payload has turned out to be a batch.
    pub const fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Whether the current piece has a message.
    pub const fn has_message(&self) -> bool {
        self.has_message
    }

    /// The envelope's line that [`Event::Line`] spoke of, without its end and cut off after [`MSH_BYTES_MAX`] bytes.
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Takes bytes off the front of `input` and says what they were. `None` when `input` is used up: then call again
    /// with the next bytes.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        loop {
            let first = *input.first()?;
            if !std::mem::replace(&mut self.begun, true) {
                return Some(Event::Begin);
            }
            match self.state {
                State::Plain => return Some(self.data(take(input, usize::MAX))),
                State::LineStart { name, held } => {
                    if let Some(event) = self.at_line_start(first, name, held, input) {
                        return Some(event);
                    }
                }
                State::Named { name, begins: true } => {
                    self.state = State::Named { name, begins: false };
                    self.has_message = false;
                    return Some(Event::Begin);
                }
                State::Named { name, .. } => {
                    self.state = State::InLine;
                    self.has_message |= name == b"MSH";
                    return Some(self.data(name));
                }
                State::InLine => return Some(self.in_line(input)),
                State::LineEnded => {
                    self.state = State::LineStart { name: b"", held: 0 };
                    if let Some(line) = self.envelope.take() {
                        return Some(Event::Line(line));
                    }
                }
            }
        }
    }

    /// The payload has ended. Call it until it says `None`.
    pub fn finish(&mut self) -> Option<Event<'static>> {
        match self.state {
            State::LineStart { held: 0, .. } | State::Plain => None,
            State::LineStart { name, held } => {
                self.begin_text();
                // A trailer may consist of its name alone.
                let whole = name.len() == held && self.is_batch;
                self.envelope = trailer(name).filter(|_| whole);
                self.line.clear();
                Some(self.data(name.get(..held).unwrap_or_default()))
            }
            // The name is known by the byte after it, so there was one.
            State::Named { name, .. } => {
                self.state = State::InLine;
                Some(self.data(name))
            }
            State::InLine | State::LineEnded => {
                self.state = State::LineStart { name: b"", held: 0 };
                self.envelope.take().map(Event::Line)
            }
        }
    }

    fn at_line_start<'a>(
        &mut self,
        first: u8,
        name: &'static [u8],
        held: usize,
        input: &mut &'a [u8],
    ) -> Option<Event<'a>> {
        if held == name.len() && held > 0 {
            return self.named(name, first);
        }
        if held == 0 && matches!(first, b'\r' | b'\n' | b' ' | b'\t') {
            // Blank lines, and the LF of a CRLF.
            let blank = input.iter().take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | b'\t')).count();
            return Some(self.data(take(input, blank)));
        }
        let so_far = name.get(..held).unwrap_or_default();
        let longer = NAMES.into_iter().find(|n| n.starts_with(so_far) && n.get(held) == Some(&first));
        match longer {
            // A byte-order mark stands at the beginning alone.
            Some(name) if name != BOM || !self.is_batch => {
                take(input, 1);
                self.state = State::LineStart { name, held: held + 1 };
                None
            }
            _ => {
                self.begin_text();
                (held > 0).then(|| self.data(so_far))
            }
        }
    }

    /// The line's first bytes are a name, and `next` follows.
    fn named(&mut self, name: &'static [u8], next: u8) -> Option<Event<'static>> {
        if name == BOM {
            self.state = State::LineStart { name: b"", held: 0 };
            return Some(self.data(BOM));
        }
        let separated = next.is_ascii_punctuation();
        let line = header(name).filter(|_| separated);
        let end = trailer(name).filter(|_| separated || matches!(next, b'\r' | b'\n'));
        let is_message = name == b"MSH" && separated;
        if !self.is_batch {
            self.is_batch = line.is_some();
        }
        if !self.is_batch || (line.is_none() && end.is_none() && !is_message) {
            self.begin_text();
            return Some(self.data(name));
        }
        self.envelope = line.or(end);
        self.line.clear();
        let begins = self.has_message && is_message;
        self.state = State::Named { name, begins };
        None
    }

    /// The line is none that begins anything.
    fn begin_text(&mut self) {
        self.state = if self.is_batch { State::InLine } else { State::Plain };
    }

    fn in_line<'a>(&mut self, input: &mut &'a [u8]) -> Event<'a> {
        let end = match self.line_feeds_end {
            Some(false) => memchr::memchr(b'\r', input),
            Some(true) | None => memchr::memchr2(b'\r', b'\n', input),
        };
        let Some(end) = end else { return self.data(take(input, usize::MAX)) };
        let is_lf = input.get(end) == Some(&b'\n');
        self.line_feeds_end.get_or_insert(is_lf);
        self.state = State::LineEnded;
        let event = self.data(take(input, end + 1));
        if matches!(self.line.last(), Some(b'\r' | b'\n')) {
            self.line.pop();
        }
        event
    }

    fn data<'a>(&mut self, bytes: &'a [u8]) -> Event<'a> {
        if self.envelope.is_some() {
            let room = MSH_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
        let is_plain = self.state == State::Plain;
        Event::Data { bytes, of_message: is_plain || (self.envelope.is_none() && self.has_message) }
    }
}

fn header(name: &[u8]) -> Option<Line> {
    match name {
        b"FHS" => Some(Line::FileHeader),
        b"BHS" => Some(Line::BatchHeader),
        _ => None,
    }
}

fn trailer(name: &[u8]) -> Option<Line> {
    match name {
        b"BTS" => Some(Line::BatchTrailer),
        b"FTS" => Some(Line::FileTrailer),
        _ => None,
    }
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
    *input = rest;
    taken
}

/// The count that a trailer (BTS-1, FTS-1) states; `None` where it states none that can be read.
pub fn stated_count(trailer: &[u8]) -> Option<i64> {
    let separator = *trailer.get(3)?;
    let field = trailer.get(4..)?.split(|b| *b == separator).next()?;
    let text = std::str::from_utf8(field.trim_ascii()).ok()?;
    text.parse().ok().filter(|count| *count >= 0)
}
