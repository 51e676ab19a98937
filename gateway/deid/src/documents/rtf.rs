//! The text of a Rich Text Format document (Microsoft, RTF specification 1.9.1).
//!
//! What a reader sees in the body is read, in the order in which it stands. Not read: tables of fonts, colours and styles,
//! information, headers and footers, pictures, objects, the instructions of fields, and every destination that a reader may
//! ignore (`\*`). Bytes beyond ASCII are in the document's code page.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::{DOCUMENT_TEXT_BYTES_MAX, Unread};

/// Deepest nesting of groups.
pub const RTF_DEPTH_MAX: usize = 200;
/// Longest control word and its number, in bytes.
const WORD_BYTES_MAX: usize = 32;
const NUMBER_BYTES_MAX: usize = 10;
/// Most characters that stand in for a character by number.
const FALLBACK_MAX: i64 = 16;
/// Destinations that are no text of the body.
const SKIPPED: [&[u8]; 35] = [
    b"annotation",
    b"atnauthor",
    b"atnid",
    b"author",
    b"colortbl",
    b"comment",
    b"company",
    b"doccomm",
    b"falt",
    b"filetbl",
    b"fldinst",
    b"fonttbl",
    b"footer",
    b"footerf",
    b"footerl",
    b"footerr",
    b"header",
    b"headerf",
    b"headerl",
    b"headerr",
    b"info",
    b"keywords",
    b"listtable",
    b"manager",
    b"nextfile",
    b"object",
    b"operator",
    b"pict",
    b"private1",
    b"revtbl",
    b"stylesheet",
    b"subject",
    b"template",
    b"title",
    b"xmlnstbl",
];

/// A group, within braces.
#[derive(Clone, Copy)]
struct Group {
    /// Nothing of it is text.
    skipped: bool,
    /// How many characters stand in for one by number (`\uc`).
    fallback: i64,
}

struct Reader<'r> {
    rest: &'r [u8],
    groups: Vec<Group>,
    out: String,
    /// In the code page, not decoded yet.
    pending: Vec<u8>,
    encoding: &'static Encoding,
    /// Characters still to be left out, as they stand in for one by number.
    stand_ins: i64,
    /// The first half of a pair.
    high: Option<u16>,
    /// `\*` was read: the word that follows names a destination that may be ignored.
    ignorable: bool,
}

/// Reads a document.
///
/// # Errors
/// [`Unread`]: no such document, one that ends before its end, or beyond a limit.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Unread> {
    let mut reader = Reader {
        rest: bytes,
        groups: Vec::new(),
        out: String::new(),
        pending: Vec::new(),
        encoding: WINDOWS_1252,
        stand_ins: 0,
        high: None,
        ignorable: false,
    };
    if !bytes.starts_with(b"{\\rtf") {
        return Err(Unread::Malformed);
    }
    while let Some((first, rest)) = reader.rest.split_first() {
        reader.rest = rest;
        match first {
            b'{' => reader.open()?,
            b'}' => {
                reader.flush();
                reader.stand_ins = 0;
                reader.groups.pop();
                if reader.groups.is_empty() {
                    return Ok(reader.out);
                }
            }
            b'\\' => reader.control()?,
            b'\r' | b'\n' => {}
            byte => reader.byte(*byte),
        }
        if reader.out.len() + reader.pending.len() > DOCUMENT_TEXT_BYTES_MAX {
            return Err(Unread::Limit);
        }
    }
    Err(Unread::Malformed)
}

impl Reader<'_> {
    fn open(&mut self) -> Result<(), Unread> {
        self.flush();
        self.stand_ins = 0;
        if self.groups.len() >= RTF_DEPTH_MAX {
            return Err(Unread::Limit);
        }
        let outer = self.groups.last().copied().unwrap_or(Group { skipped: false, fallback: 1 });
        self.groups.push(outer);
        Ok(())
    }

    fn is_skipped(&self) -> bool {
        self.groups.last().is_none_or(|group| group.skipped)
    }

    fn skip(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            group.skipped = true;
        }
    }

    /// A byte of text in the code page.
    fn byte(&mut self, byte: u8) {
        if self.stand_ins > 0 {
            self.stand_ins -= 1;
        } else if !self.is_skipped() {
            self.pending.push(byte);
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let (text, _) = self.encoding.decode_without_bom_handling(&self.pending);
            self.out.push_str(&text);
            self.pending.clear();
        }
    }

    fn character(&mut self, c: char) {
        if !self.is_skipped() {
            self.flush();
            self.out.push(c);
        }
    }

    fn control(&mut self) -> Result<(), Unread> {
        let (first, rest) = self.rest.split_first().ok_or(Unread::Malformed)?;
        if first.is_ascii_alphabetic() {
            let (word, number) = self.word()?;
            return self.act(word, number);
        }
        self.rest = rest;
        match first {
            b'\'' => {
                let digits = self.rest.split_at_checked(2).ok_or(Unread::Malformed)?;
                self.rest = digits.1;
                let text = std::str::from_utf8(digits.0).map_err(|_| Unread::Malformed)?;
                self.byte(u8::from_str_radix(text, 16).map_err(|_| Unread::Malformed)?);
            }
            b'*' => self.ignorable = true,
            b'\\' | b'{' | b'}' => self.byte(*first),
            b'~' => self.character(' '),
            b'_' => self.character('-'),
            b'\r' | b'\n' => self.character('\n'),
            b'\t' => self.character('\t'),
            // Optional hyphens, index entries, formulas.
            _ => {}
        }
        Ok(())
    }

    /// A control word and its number, and the blank that ends them.
    fn word(&mut self) -> Result<(Vec<u8>, Option<i64>), Unread> {
        let length = |bytes: &[u8], fits: fn(&u8) -> bool| bytes.iter().take_while(|b| fits(b)).count();
        let (word, rest) = self.rest.split_at(length(self.rest, u8::is_ascii_alphabetic));
        let signed = rest.strip_prefix(b"-");
        let digits = signed.unwrap_or(rest);
        let (number, behind) = digits.split_at(length(digits, u8::is_ascii_digit));
        if word.len() > WORD_BYTES_MAX || number.len() > NUMBER_BYTES_MAX {
            return Err(Unread::Malformed);
        }
        let value = std::str::from_utf8(number).ok().and_then(|number| number.parse::<i64>().ok());
        let value = value.map(|value| if signed.is_some() { -value } else { value });
        let rest = if value.is_some() { behind } else { rest };
        self.rest = rest.strip_prefix(b" ").unwrap_or(rest);
        Ok((word.to_vec(), value))
    }

    fn act(&mut self, word: Vec<u8>, number: Option<i64>) -> Result<(), Unread> {
        if std::mem::take(&mut self.ignorable) || SKIPPED.contains(&word.as_slice()) {
            self.flush();
            self.skip();
        }
        match word.as_slice() {
            b"bin" => {
                let length = usize::try_from(number.unwrap_or(0)).map_err(|_| Unread::Malformed)?;
                self.rest = self.rest.get(length..).ok_or(Unread::Malformed)?;
            }
            b"u" => return self.by_number(number.ok_or(Unread::Malformed)?),
            b"uc" => {
                let count = number.filter(|n| (0..=FALLBACK_MAX).contains(n)).ok_or(Unread::Malformed)?;
                if let Some(group) = self.groups.last_mut() {
                    group.fallback = count;
                }
            }
            b"ansicpg" => {
                self.flush();
                self.encoding = code_page(number.unwrap_or(0)).ok_or(Unread::Kind)?;
            }
            b"mac" => self.encoding = encoding_rs::MACINTOSH,
            // Code pages of DOS, whose letters are not known here.
            b"pc" | b"pca" => return Err(Unread::Kind),
            _ if self.stand_ins > 0 => self.stand_ins -= 1,
            b"par" | b"line" | b"sect" | b"page" | b"row" | b"column" | b"softline" | b"nestrow" => {
                self.character('\n');
            }
            b"tab" | b"cell" | b"nestcell" => self.character('\t'),
            b"emdash" | b"endash" => self.character('-'),
            b"bullet" => self.character('\u{2022}'),
            b"lquote" | b"rquote" => self.character('\''),
            b"ldblquote" | b"rdblquote" => self.character('"'),
            b"emspace" | b"enspace" | b"qmspace" => self.character(' '),
            _ => {}
        }
        Ok(())
    }

    /// `\u8217?`: a unit of UTF-16, and what stands in for it.
    fn by_number(&mut self, number: i64) -> Result<(), Unread> {
        let unit = u16::try_from(number.rem_euclid(1 << 16)).map_err(|_| Unread::Malformed)?;
        self.stand_ins = self.groups.last().map_or(1, |group| group.fallback);
        let units: Vec<u16> = self.high.take().into_iter().chain([unit]).collect();
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return Ok(());
        }
        for c in char::decode_utf16(units) {
            self.character(c.map_err(|_| Unread::Malformed)?);
        }
        Ok(())
    }
}

fn code_page(number: i64) -> Option<&'static Encoding> {
    if number == 65001 {
        return Some(UTF_8);
    }
    let label = match number {
        0 => return Some(WINDOWS_1252),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10000 => "macintosh".to_owned(),
        20127 => "windows-1252".to_owned(),
        number => format!("windows-{number}"),
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_read_and_nothing_else() {
        for (rtf, read) in [
            (r"{\rtf1\ansi Mr. {\b Jo}hn\par was}", "Mr. John\nwas"),
            (r"{\rtf1{\fonttbl{\f0 Arial;}}{\info{\author Smith}}{\*\generator Word;}x}", "x"),
            (r"{\rtf1{\header Smith}{\footer Smith}{\pict\bin2 }}}x}", "x"),
            (r"{\rtf1\ansicpg1252 M\'fcller \u8217?s \uc0\u233 t\'e9}", "Müller \u{2019}s été"),
            (r"{\rtf1\ansicpg1251 \'cf\'f0}", "Пр"),
            (r"{\rtf1 \u-10179?\u-8704?}", "\u{1f600}"),
            (r"{\rtf1{\field{\*\fldinst HYPERLINK Smith}{\fldrslt here}}}", "here"),
            (r"{\rtf1 a\~b\_c\-d\{e\}\\f\tab g\line h}", "a b-cd{e}\\f\tg\nh"),
            ("{\\rtf1 one\r\ntwo}trailing", "onetwo"),
        ] {
            assert_eq!(text(rtf.as_bytes()).as_deref(), Ok(read), "{rtf}");
        }
    }

    #[test]
    fn what_is_no_such_document_is_not_read() {
        let deep = format!("{{\\rtf1{}{}}}", "{".repeat(300), "}".repeat(300));
        let long = format!("{{\\rtf1 {}}}", "x".repeat(DOCUMENT_TEXT_BYTES_MAX + 1));
        for (rtf, why) in [
            ("", Unread::Malformed),
            ("John", Unread::Malformed),
            (r"{\rtf1 John", Unread::Malformed),
            (r"{\rtf1\bin99 x}", Unread::Malformed),
            (r"{\rtf1\bin-1 x}", Unread::Malformed),
            (r"{\rtf1 \'zz}", Unread::Malformed),
            (r"{\rtf1 \u-8704?}", Unread::Malformed),
            (r"{\rtf1\pc John}", Unread::Kind),
            (r"{\rtf1\ansicpg437 John}", Unread::Kind),
            (deep.as_str(), Unread::Limit),
            (long.as_str(), Unread::Limit),
        ] {
            assert_eq!(text(rtf.as_bytes()), Err(why), "{}", rtf.get(..40).unwrap_or(rtf));
        }
    }
}
