//! XML as documents here may be: no document type, no entities but XML's own and characters by number, nesting bounded.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Deepest nesting of elements.
pub const XML_DEPTH_MAX: usize = 100;
/// Longest declaration at the beginning, in bytes.
const DECLARATION_BYTES_MAX: usize = 200;
/// Longest character reference, in bytes.
const REFERENCE_BYTES_MAX: usize = 16;

/// What an XML text is made of. Names are without their prefix.
#[derive(Debug)]
pub(super) enum Part<'x> {
    Start(BytesStart<'x>),
    /// Its name in the text. An element without content is a start and an end.
    End,
    /// As it is written, without references.
    Text(&'x [u8]),
    /// What a reference stands for, and how it is written, without `&` and `;`.
    Reference(char, &'x [u8]),
    /// Character data that is not escaped.
    Data(&'x [u8]),
}

/// What may not be, or is no XML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// Reads a whole text, part by part.
pub(super) fn read<'x>(
    text: &'x str,
    mut take: impl FnMut(Part<'x>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let (mut depth, mut is_begun) = (0_usize, false);
    loop {
        match reader.read_event().map_err(|_| Refused)? {
            Event::Start(start) => {
                // One element holds all.
                if depth == 0 && is_begun || depth >= XML_DEPTH_MAX {
                    return Err(Refused);
                }
                (depth, is_begun) = (depth + 1, true);
                take(Part::Start(start))?;
            }
            Event::Empty(start) => {
                if depth == 0 && is_begun || depth >= XML_DEPTH_MAX {
                    return Err(Refused);
                }
                is_begun = true;
                take(Part::Start(start))?;
                take(Part::End)?;
            }
            Event::End(_) => {
                depth = depth.checked_sub(1).ok_or(Refused)?;
                take(Part::End)?;
            }
            Event::Text(part) if depth > 0 => take(Part::Text(borrowed(part.into_inner())?))?,
            Event::CData(part) if depth > 0 => take(Part::Data(borrowed(part.into_inner())?))?,
            Event::GeneralRef(name) if depth > 0 => {
                let c = meant(&name).ok_or(Refused)?;
                take(Part::Reference(c, borrowed(name.into_inner())?))?;
            }
            Event::Text(part) if part.iter().all(u8::is_ascii_whitespace) => {}
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) | Event::DocType(_) => {
                return Err(Refused);
            }
            Event::Eof if depth == 0 && is_begun => return Ok(()),
            Event::Eof => return Err(Refused),
        }
    }
}

/// What was read from a slice borrows from it.
fn borrowed(part: std::borrow::Cow<'_, [u8]>) -> Result<&[u8], Refused> {
    match part {
        std::borrow::Cow::Borrowed(part) => Ok(part),
        std::borrow::Cow::Owned(_) => Err(Refused),
    }
}

/// `amp`, `#233`, `#xE9`.
fn meant(name: &BytesRef<'_>) -> Option<char> {
    if name.len() > REFERENCE_BYTES_MAX {
        return None;
    }
    match &**name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        // Of HTML, in every narrative that was made of it.
        b"nbsp" => Some(' '),
        number => {
            let digits = std::str::from_utf8(number).ok()?.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code).filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
        }
    }
}

/// What an XML declaration at the beginning says that the text is in.
pub(super) fn declared_encoding(bytes: &[u8]) -> Option<&str> {
    let head = bytes.get(..DECLARATION_BYTES_MAX).unwrap_or(bytes);
    let end = head.windows(2).position(|two| two == b"?>")?;
    let declaration = std::str::from_utf8(head.get(..end)?).ok()?.strip_prefix("<?xml")?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

/// A name without its prefix.
pub(super) fn local<'n>(start: &'n BytesStart<'_>) -> &'n [u8] {
    start.local_name().into_inner()
}
