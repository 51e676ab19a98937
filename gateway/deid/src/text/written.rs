//! A text as a record writes it, with escapes and markup, and the way back: what is replaced in the text is replaced in the
//! record, and every other byte of the record stays as it was.

use std::ops::Range;

use hl7::{Delimiters, unescape};

/// Longest escape sequence that is looked for the end of, in bytes. A longer one is text.
const ESCAPE_BYTES_MAX: usize = 4096;

/// A stretch of text, and the bytes of the record that it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    text: Range<usize>,
    raw: Range<usize>,
    /// Byte for byte the same; else the stretch is written as a whole.
    literal: bool,
}

/// A text as it is read, and where each part of it is written.
#[derive(Debug, Default)]
pub(crate) struct Written {
    text: Vec<u8>,
    runs: Vec<Run>,
}

impl Written {
    /// Text that is written as it is read.
    pub(crate) fn literal(&mut self, raw: &[u8], at: Range<usize>) {
        let bytes = raw.get(at.clone()).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        match self.runs.last_mut() {
            Some(last) if last.literal && last.raw.end == at.start => {
                (last.raw.end, last.text.end) = (at.end, self.text.len());
            }
            _ => self.runs.push(Run { text: start..self.text.len(), raw: at, literal: true }),
        }
    }

    /// Text that another writing stands for.
    pub(crate) fn other(&mut self, text: &[u8], at: Range<usize>) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.runs.push(Run { text: start..self.text.len(), raw: at, literal: false });
    }

    /// A value of HL7 v2: escapes resolved, line breaks of formatting as such, highlighting unseen. Delimiters within are
    /// characters of the text, as whoever did not escape them meant.
    pub(crate) fn of_hl7(raw: &[u8], delimiters: &Delimiters) -> Self {
        let mut written = Self::default();
        let mut at = 0;
        while let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
            let next = delimiters.escape().and_then(|escape| memchr::memchr(escape, rest));
            let Some(next) = next else {
                written.literal(raw, at..raw.len());
                break;
            };
            written.literal(raw, at..at + next);
            let start = at + next;
            let body = raw.get(start + 1..).unwrap_or_default();
            let within = body.get(..ESCAPE_BYTES_MAX).unwrap_or(body);
            let close = delimiters.escape().and_then(|escape| memchr::memchr(escape, within));
            let Some(end) = close.map(|close| start + close + 2) else {
                written.literal(raw, start..start + 1);
                at = start + 1;
                continue;
            };
            let sequence = raw.get(start..end).unwrap_or_default();
            let name = sequence.get(1..sequence.len() - 1).unwrap_or_default();
            let meant = unescape(sequence, delimiters);
            at = end;
            match name {
                b"H" | b"N" => {}
                b".br" | b".ce" | b".fi" | b".nf" => written.other(b"\n", start..end),
                _ if meant != sequence => written.other(&meant, start..end),
                [b'.', b's' | b'i' | b't', ..] if name.len() <= 6 => written.other(b"\n", start..end),
                _ => {
                    // No sequence: its end may begin one.
                    written.literal(raw, start..end - 1);
                    at = end - 1;
                }
            }
        }
        written
    }

    /// The text; `None` where its bytes are no UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.text).ok()
    }

    /// The record with places of the text replaced. Places are in order and apart. Where one is written in several parts, with
    /// markup between them, the first becomes the replacement, the others go and the markup stays.
    pub(crate) fn replaced<'r>(
        &self,
        raw: &[u8],
        places: impl IntoIterator<Item = (Range<usize>, &'r [u8])>,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(raw.len());
        let mut at = 0;
        for (place, replacement) in places {
            let first = self.runs.partition_point(|run| run.text.end <= place.start);
            let mut is_written = false;
            for run in self.runs.iter().skip(first).take_while(|run| run.text.start < place.end) {
                let part = if run.literal {
                    let to_raw = |text: usize| run.raw.start + text.saturating_sub(run.text.start);
                    to_raw(place.start.max(run.text.start))..to_raw(place.end.min(run.text.end))
                } else {
                    run.raw.clone()
                };
                out.extend_from_slice(raw.get(at..part.start).unwrap_or_default());
                if !is_written {
                    out.extend_from_slice(replacement);
                    is_written = true;
                }
                at = at.max(part.end);
            }
        }
        out.extend_from_slice(raw.get(at..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(raw: &str) -> Written {
        Written::of_hl7(raw.as_bytes(), &Delimiters::STANDARD)
    }

    #[test]
    fn a_value_is_read_with_its_escapes_resolved() {
        for (raw, text) in [
            ("plain", "plain"),
            (r"a\T\b\S\c\E\d", r"a&b^c\d"),
            (r"one\.br\two\.sp2\three\.in+4\x", "one\ntwo\nthree\nx"),
            (r"Jo\H\hn\N\ was", "John was"),
            (r"M\XC3\\XBC\ller", "Müller"),
            (r"C:\dir\F\x", r"C:\dir|x"),
            (r"one \ alone \", r"one \ alone \"),
            (r"\\", r"\\"),
            (r"\", r"\"),
            ("a^b&c", "a^b&c"),
        ] {
            assert_eq!(read(raw).text(), Some(text), "{raw}");
        }
        assert_eq!(read(r"M\XFC\ller").text(), None);
    }

    #[test]
    fn what_is_replaced_is_replaced_where_it_is_written() {
        for (raw, hidden, out) in [
            ("Mr John was", "John", "Mr [N] was"),
            (r"a\T\b John\.br\was", "John", r"a\T\b [N]\.br\was"),
            (r"Jo\H\hn\N\ was", "John", r"[N]\H\\N\ was"),
            (r"\X4A6F\hn was", "John", "[N] was"),
            (r"x \X204A6F686E20\ was", "John", "x [N] was"),
            (r"M\XC3\\XBC\ller\T\", "Müller", r"[N]\T\"),
        ] {
            let written = read(raw);
            let at = written.text().unwrap().find(hidden).unwrap();
            let replaced = written.replaced(raw.as_bytes(), [(at..at + hidden.len(), &b"[N]"[..])]);
            assert_eq!(String::from_utf8(replaced).unwrap(), out);
        }
    }

    proptest! {
        #[test]
        fn what_is_not_replaced_stays_as_it_was(raw in r"[a-z\\.XTFSE0-9 éß^&]{0,60}") {
            let written = read(&raw);
            prop_assert_eq!(written.replaced(raw.as_bytes(), []), raw.as_bytes());
        }
    }
}
