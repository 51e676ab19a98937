//! Documents within records (HL7 v2 ED, FHIR Attachment and Binary): their text is read, scrubbed and put back as plain text.
//!
//! | what | is read |
//! |---|---|
//! | plain text | in UTF-8, UTF-16 with a byte order mark, or the character set it declares; what is none of these as Windows-1252 |
//! | RTF ([`rtf`]) | its text; not headers, footers, information, pictures, objects, fields' instructions |
//! | CDA ([`cda`]) | titles and texts of its sections, or the document in its `nonXMLBody`; the header tells who its people are and stays behind, and so do coded entries |
//!
//! Anything else is not read and does not leave: PDF, images, HTML, archives. There is no reader of PDF that is made for hostile
//! input (ADR 0024). What the bytes begin with decides, and never the declaration alone: an RTF that calls itself
//! plain is read as RTF.
//!
//! **Limits.** A document has at most [`DOCUMENT_BYTES_MAX`] bytes and [`DOCUMENT_TEXT_BYTES_MAX`] bytes of text, and stands at
//! most [`NESTED_MAX`] documents deep. Elements of XML are nested at most [`xml::XML_DEPTH_MAX`] deep, groups of RTF
//! [`rtf::RTF_DEPTH_MAX`].

pub mod cda;
pub mod rtf;
pub mod xhtml;
pub mod xml;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use crate::text::Known;

/// Largest document that is read, in bytes, decoded.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Longest text of a document, in bytes of UTF-8.
pub const DOCUMENT_TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest document in a document.
pub const NESTED_MAX: usize = 2;

/// Why a document is not read. It does not leave then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// Of a kind that is not read here.
    #[error("not of a kind that is read")]
    Kind,
    /// Not what it says or begins like.
    #[error("not well formed")]
    Malformed,
    /// More than a limit allows.
    #[error("longer or deeper than its limit")]
    Limit,
}

/// What a document says that it is: a type of the internet or of HL7 table 0291, in any case, with parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared<'d>(pub(crate) &'d str);

impl<'d> Declared<'d> {
    /// `text/plain`, and what HL7 has for it; nothing said is that too.
    fn is_plain(self) -> bool {
        let kind = self.0.split(';').next().unwrap_or_default().trim();
        ["", "text", "plain", "text/plain", "tx", "ft"].iter().any(|plain| kind.eq_ignore_ascii_case(plain))
    }

    fn charset(self) -> Option<&'d str> {
        let parameters = self.0.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
        let charset = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        charset.map(|(_, value)| value.trim().trim_matches('"'))
    }
}

/// The text of a document. What its header says of its people becomes known; `year` is that in which it is read.
///
/// # Errors
/// [`Unread`].
pub(crate) fn text(
    bytes: &[u8],
    declared: Declared<'_>,
    known: &mut Known,
    year: i16,
) -> Result<String, Unread> {
    nested(bytes, declared, known, year, 0)
}

fn nested(
    bytes: &[u8],
    declared: Declared<'_>,
    known: &mut Known,
    year: i16,
    deep: usize,
) -> Result<String, Unread> {
    if bytes.len() > DOCUMENT_BYTES_MAX || deep > NESTED_MAX {
        return Err(Unread::Limit);
    }
    let begins = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let text = if begins.starts_with(b"{\\rtf") {
        rtf::text(begins)?
    } else {
        let text = decoded(bytes, declared)?;
        if is_markup(&text) {
            cda::text(&text, known, year, deep)?
        } else if declared.is_plain() && !text.contains(is_binary) {
            text
        } else {
            return Err(Unread::Kind);
        }
    };
    if text.len() > DOCUMENT_TEXT_BYTES_MAX { Err(Unread::Limit) } else { Ok(text) }
}

/// Whether a text begins with a tag, a declaration or a comment; `<5 mmol/L` is none.
fn is_markup(text: &str) -> bool {
    let mut begins = text.trim_start().chars();
    begins.next() == Some('<')
        && begins.next().is_none_or(|c| c.is_alphabetic() || matches!(c, '?' | '!' | '/' | '_'))
}

/// What stands in no text: so begin PDFs, images and archives, or so they go on.
fn is_binary(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c') || c == '\u{fffd}'
}

/// By the mark at its beginning, by what it declares, as UTF-8, or as Windows-1252.
fn decoded(bytes: &[u8], declared: Declared<'_>) -> Result<String, Unread> {
    if bytes.starts_with(b"%PDF") || bytes.starts_with(b"PK\x03\x04") {
        return Err(Unread::Kind);
    }
    let marked = Encoding::for_bom(bytes)
        .map(|(encoding, length)| (encoding, bytes.get(length..).unwrap_or_default()));
    let said = || declared.charset().or_else(|| xml::declared_encoding(bytes));
    let (encoding, rest) = match (marked, said()) {
        (Some(marked), _) => marked,
        (None, Some(label)) => (Encoding::for_label(label.as_bytes()).ok_or(Unread::Kind)?, bytes),
        (None, None) if std::str::from_utf8(bytes).is_ok() => (UTF_8, bytes),
        (None, None) => (WINDOWS_1252, bytes),
    };
    let (text, _) = encoding.decode_without_bom_handling(rest);
    Ok(text.into_owned())
}

/// Base64 as it is found in messages: with line ends and blanks, with or without the padding.
pub(crate) fn base64(text: &[u8]) -> Result<Vec<u8>, Unread> {
    use base64::Engine as _;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    if text.len() / 4 * 3 > DOCUMENT_BYTES_MAX + (DOCUMENT_BYTES_MAX >> 3) {
        return Err(Unread::Limit);
    }
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let squeezed: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    engine.decode(squeezed).map_err(|_| Unread::Malformed)
}

/// Two digits a byte, blanks between them or not.
pub(crate) fn hex(text: &[u8]) -> Result<Vec<u8>, Unread> {
    if text.len() / 2 > DOCUMENT_BYTES_MAX {
        return Err(Unread::Limit);
    }
    let digits = text.iter().filter(|b| !b.is_ascii_whitespace()).map(|b| char::from(*b).to_digit(16));
    let digits: Option<Vec<u8>> = digits.map(|digit| digit.and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.ok_or(Unread::Malformed)?;
    let (pairs, odd) = digits.as_chunks::<2>();
    if odd.is_empty() {
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    } else {
        Err(Unread::Malformed)
    }
}

/// A text as it is put back.
pub(crate) fn to_base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Checks what holds for any document: it is read within its limits or not at all, and base64 and hex make no more of it.
///
/// # Panics
/// Where one of that does not hold: a fault of this module.
pub fn fuzz(input: &[u8]) {
    let (kind, bytes) = input.split_first().unwrap_or((&0, input));
    let declared = ["text/plain", "text/rtf", "application/xml", "text/plain; charset=utf-16le"];
    let declared = declared.get(usize::from(kind % 4)).copied().unwrap_or_default();
    is_within_limits(bytes, declared);
    for decoded in [base64(bytes), hex(bytes)].into_iter().flatten() {
        assert!(decoded.len() <= bytes.len(), "more bytes than there were");
    }
}

/// As [`fuzz`], of what begins as RTF.
pub fn fuzz_rtf(input: &[u8]) {
    is_within_limits(&[b"{\\rtf1", input, b"}"].concat(), "text/rtf");
}

/// As [`fuzz`], of what stands in a section of a CDA document, and of any XML.
pub fn fuzz_cda(input: &[u8]) {
    const HEAD: &[u8] = b"<ClinicalDocument><component><structuredBody><component><section>";
    const TAIL: &[u8] = b"</section></component></structuredBody></component></ClinicalDocument>";
    is_within_limits(&[HEAD, input, TAIL].concat(), "text/xml");
    is_within_limits(&[b"<", input].concat(), "text/xml");
}

/// Checks that what is left of a narrative is one, with the same text and form.
///
/// # Panics
/// Where it is not: a fault of [`xhtml`].
pub fn fuzz_xhtml(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for div in [text.to_string(), format!("<div>{text}</div>")] {
        let Some(read) = xhtml::Narrative::of(&div) else { continue };
        let markup = String::from_utf8_lossy(&read.markup);
        let again = xhtml::Narrative::of(&markup);
        assert!(again.is_some(), "what is left is no narrative");
        if let Some(again) = again {
            assert_eq!(again.markup, read.markup, "another form");
            assert_eq!(again.written.text(), read.written.text(), "another text");
        }
    }
}

fn is_within_limits(bytes: &[u8], declared: &str) {
    if let Ok(text) = text(bytes, Declared(declared), &mut Known::default(), 2026) {
        assert!(text.len() <= DOCUMENT_TEXT_BYTES_MAX, "a text beyond its limit");
    }
}

#[cfg(test)]
mod tests;
