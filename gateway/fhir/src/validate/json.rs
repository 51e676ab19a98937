//! JSON as RFC 8259 has it, indexed in place: one [`Node`] a value, in the order of the text.
//!
//! **Limits.** [`DEPTH_MAX`] levels, [`NODES_MAX`] values, [`BYTES_MAX`] bytes. **Invariants.** Nothing is copied;
//! what is refused here is no JSON, or more than the limits; what the object's names are is not judged here.

use std::borrow::Cow;

/// Most levels of arrays and objects.
pub const DEPTH_MAX: usize = 100;
/// Most values in a text: 24 bytes of index each.
pub const NODES_MAX: usize = 2 << 20;
/// Longest text that can be indexed.
pub const BYTES_MAX: usize = 64 << 20;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`.
    Object,
    /// `[…]`.
    Array,
    /// A string without escapes.
    String,
    /// A string that has escapes in it.
    Escaped,
    /// A number.
    Number,
    /// `true`.
    True,
    /// `false`.
    False,
    /// `null`.
    Null,
}

/// A value: where it is, its name if it has one, and where its subtree ends in the index.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// Strings: of the text between the quotes.
    start: u32,
    end: u32,
    key_start: u32,
    key_bytes: u32,
    next: u32,
    /// What it is.
    pub kind: Kind,
    key_escaped: bool,
}

/// A text with its index.
#[derive(Debug)]
pub struct Json<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// Why a text is no JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The byte.
    pub at: usize,
    /// Why.
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "[`Why::text`] says what each is")]
pub enum Why {
    Empty,
    TooLong,
    ByteOrderMark,
    NotUtf8,
    Unexpected,
    Truncated,
    TrailingText,
    Control,
    Escape,
    TooDeep,
    TooMany,
}

impl Why {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "the body is empty",
            Self::TooLong => "the text is too long",
            Self::ByteOrderMark => "JSON must not begin with a byte-order mark",
            Self::NotUtf8 => "JSON must be UTF-8",
            Self::Unexpected => "not JSON: unexpected character",
            Self::Truncated => "not JSON: the text ends too early",
            Self::TrailingText => "not JSON: there is text behind the end",
            Self::Control => "not JSON: a control character in a string must be escaped",
            Self::Escape => "not JSON: an escape that does not exist, or half of a surrogate pair",
            Self::TooDeep => "nested too deeply: at most 100 levels are taken",
            Self::TooMany => "too many values: at most 2097152 are taken",
        }
    }
}

impl<'a> Json<'a> {
    /// Indexes a text.
    ///
    /// # Errors
    /// What is no JSON, or beyond a limit.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len() > BYTES_MAX {
            return Err(Fault { at: 0, why: Why::TooLong });
        }
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            return Err(Fault { at: 0, why: Why::ByteOrderMark });
        }
        let text =
            std::str::from_utf8(bytes).map_err(|e| Fault { at: e.valid_up_to(), why: Why::NotUtf8 })?;
        let mut indexer = Indexer { bytes, at: 0, nodes: Vec::with_capacity(bytes.len() / 24) };
        indexer.run()?;
        Ok(Self { text, nodes: indexer.nodes })
    }

    /// The value at this place of the index; 0 is the whole.
    pub fn node(&self, n: usize) -> Option<&Node> {
        self.nodes.get(n)
    }

    /// The values directly in an object or array, with their place in the index.
    pub fn children(&self, parent: usize) -> Children<'_> {
        let container = self.nodes.get(parent).filter(|n| matches!(n.kind, Kind::Object | Kind::Array));
        Children { nodes: &self.nodes, at: parent + 1, end: container.map_or(0, |n| n.next as usize) }
    }

    /// The name of a value in its object.
    pub fn key(&self, node: &Node) -> Cow<'a, str> {
        let from = node.key_start as usize;
        let raw = self.text.get(from..from + node.key_bytes as usize).unwrap_or_default();
        if node.key_escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    /// The text of a string.
    pub fn string(&self, node: &Node) -> Option<Cow<'a, str>> {
        let raw = self.raw(node);
        match node.kind {
            Kind::String => Some(Cow::Borrowed(raw)),
            Kind::Escaped => Some(Cow::Owned(unescape(raw))),
            _ => None,
        }
    }

    /// A value as it is written; of a string what is between the quotes.
    pub fn raw(&self, node: &Node) -> &'a str {
        self.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// The value of this name in an object; of several the first.
    pub fn member(&self, parent: usize, name: &str) -> Option<(usize, &Node)> {
        if self.node(parent)?.kind != Kind::Object {
            return None;
        }
        self.children(parent).find(|(_, node)| self.key(node) == name)
    }

    /// The string of this name in an object.
    pub fn text_of(&self, parent: usize, name: &str) -> Option<Cow<'a, str>> {
        self.member(parent, name).and_then(|(_, node)| self.string(node))
    }

    /// Where a value stands in the text, the quotes of a string included.
    pub fn span(&self, n: usize) -> std::ops::Range<usize> {
        self.nodes.get(n).map_or(0..0, |node| {
            let quote = usize::from(matches!(node.kind, Kind::String | Kind::Escaped));
            node.start as usize - quote..node.end as usize + quote
        })
    }

    /// For finding lines and columns.
    pub const fn places(&self) -> Places<'a> {
        Places::new(self.text.as_bytes())
    }
}

impl Node {
    /// Where its text begins.
    pub const fn offset(&self) -> usize {
        self.start as usize
    }

    /// Where its name begins.
    pub const fn name_offset(&self) -> usize {
        self.key_start as usize
    }
}

/// Lines and columns, from 1, the column in characters; to be asked for ascending offsets.
#[derive(Debug)]
pub struct Places<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Places<'a> {
    /// Of this text.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, line: 1, column: 1 }
    }

    /// Line and column of an offset.
    pub fn at(&mut self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.bytes.len());
        for b in self.bytes.get(self.at..offset).unwrap_or_default() {
            match b {
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                // Of UTF-8, the bytes that go on with a character.
                0x80..=0xBF => {}
                _ => self.column += 1,
            }
        }
        self.at = self.at.max(offset);
        (self.line, self.column)
    }
}

/// The values directly in an object or array.
#[derive(Debug)]
pub struct Children<'n> {
    nodes: &'n [Node],
    at: usize,
    end: usize,
}

impl<'n> Iterator for Children<'n> {
    type Item = (usize, &'n Node);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let at = self.at;
        let node = self.nodes.get(at)?;
        self.at = node.next as usize;
        Some((at, node))
    }
}

struct Indexer<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
}

/// The name that the next value has.
#[derive(Clone, Copy, Default)]
struct Key {
    start: u32,
    bytes: u32,
    escaped: bool,
}

impl Indexer<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        // Indexes of the open containers.
        let mut open: Vec<usize> = Vec::new();
        self.blanks();
        if self.peek().is_none() {
            return Err(self.fault(Why::Empty));
        }
        let mut key = Key::default();
        loop {
            // A value begins here.
            let Some(first) = self.peek() else { return Err(self.fault(Why::Truncated)) };
            let opened = matches!(first, b'{' | b'[');
            self.value(first, key)?;
            if opened {
                if open.len() >= DEPTH_MAX {
                    return Err(self.fault(Why::TooDeep));
                }
                open.push(self.nodes.len() - 1);
                let object = first == b'{';
                self.blanks();
                if self.peek() == Some(if object { b'}' } else { b']' }) {
                    self.at += 1;
                    self.close(&mut open);
                } else {
                    key = if object { self.name()? } else { Key::default() };
                    continue;
                }
            }
            // A value has ended: what follows belongs to the innermost open container.
            loop {
                self.blanks();
                let Some(container) = open.last().and_then(|n| self.nodes.get(*n)) else {
                    return if self.peek().is_none() { Ok(()) } else { Err(self.fault(Why::TrailingText)) };
                };
                let object = container.kind == Kind::Object;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.blanks();
                        key = if object { self.name()? } else { Key::default() };
                        break;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    Some(_) => return Err(self.fault(Why::Unexpected)),
                    None => return Err(self.fault(Why::Truncated)),
                }
                self.at += 1;
                self.close(&mut open);
            }
        }
    }

    fn close(&mut self, open: &mut Vec<usize>) {
        let (next, end) = (small(self.nodes.len()), small(self.at));
        if let Some(node) = open.pop().and_then(|n| self.nodes.get_mut(n)) {
            node.next = next;
            node.end = end;
        }
    }

    fn value(&mut self, first: u8, key: Key) -> Result<(), Fault> {
        let start = self.at;
        let (kind, start, end) = match first {
            b'{' | b'[' => {
                self.at += 1;
                (if first == b'{' { Kind::Object } else { Kind::Array }, start, start)
            }
            b'"' => {
                let escaped = self.string()?;
                (if escaped { Kind::Escaped } else { Kind::String }, start + 1, self.at - 1)
            }
            b't' => (self.word(b"true", Kind::True)?, start, self.at),
            b'f' => (self.word(b"false", Kind::False)?, start, self.at),
            b'n' => (self.word(b"null", Kind::Null)?, start, self.at),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                (Kind::Number, start, self.at)
            }
            _ => return Err(self.fault(Why::Unexpected)),
        };
        if self.nodes.len() >= NODES_MAX {
            return Err(self.fault(Why::TooMany));
        }
        let next = small(self.nodes.len() + 1);
        self.nodes.push(Node {
            start: small(start),
            end: small(end),
            key_start: key.start,
            key_bytes: key.bytes,
            next,
            kind,
            key_escaped: key.escaped,
        });
        Ok(())
    }

    /// A name, its colon, and the blanks around it.
    fn name(&mut self) -> Result<Key, Fault> {
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err(self.fault(Why::Unexpected)),
            None => return Err(self.fault(Why::Truncated)),
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let bytes = self.at - 1 - start;
        self.blanks();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.fault(Why::Unexpected)),
            None => return Err(self.fault(Why::Truncated)),
        }
        self.blanks();
        Ok(Key { start: small(start), bytes: small(bytes), escaped })
    }

    /// From the opening quote to behind the closing one; whether there are escapes.
    fn string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(plain) = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)) else {
                self.at = self.bytes.len();
                return Err(self.fault(Why::Truncated));
            };
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.fault(Why::Control)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let bad = self.fault(Why::Escape);
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = hex4(self.bytes, self.at + 2).ok_or(bad)?;
                self.at += 6;
                match unit {
                    0xD800..=0xDBFF => {
                        let low = self
                            .bytes
                            .get(self.at..)
                            .filter(|rest| rest.starts_with(b"\\u"))
                            .and_then(|_| hex4(self.bytes, self.at + 2));
                        if !matches!(low, Some(0xDC00..=0xDFFF)) {
                            return Err(bad);
                        }
                        self.at += 6;
                    }
                    0xDC00..=0xDFFF => return Err(bad),
                    _ => {}
                }
            }
            _ => return Err(bad),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        self.digits()?;
        if self.bytes.get(whole) == Some(&b'0') && self.at > whole + 1 {
            self.at = whole + 1;
            return Err(self.fault(Why::Unexpected));
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At least one.
    fn digits(&mut self) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            let why = if rest.is_empty() { Why::Truncated } else { Why::Unexpected };
            return Err(self.fault(why));
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<Kind, Fault> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault(Why::Unexpected));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    const fn fault(&self, why: Why) -> Fault {
        Fault { at: self.at, why }
    }
}

/// Exact below [`BYTES_MAX`].
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |n, b| Some(n * 16 + char::from(*b).to_digit(16)?))
}

/// Of a string whose escapes were found good.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut letters = after.chars();
        match letters.next() {
            Some('u') => {
                let tail = letters.as_str();
                let unit = hex4(tail.as_bytes(), 0).unwrap_or(0xFFFD);
                let mut used = 4;
                let mut scalar = unit;
                if (0xD800..0xDC00).contains(&unit) {
                    let low = hex4(tail.as_bytes(), 6).unwrap_or(0xDC00);
                    scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low.saturating_sub(0xDC00) & 0x3FF);
                    used = 10;
                }
                out.push(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = tail.get(used..).unwrap_or_default();
                continue;
            }
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{C}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(other) => out.push(other),
            None => {}
        }
        rest = letters.as_str();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
