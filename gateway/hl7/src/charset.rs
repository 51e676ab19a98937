//! Character sets: which one a payload is in, and its text.
//!
//! **Promise.** [`decode`] never fails and never loses a byte: what cannot be decoded stands in the text as the
//! escape sequence that HL7 has for bytes (`\XFC\`), is counted ([`Decoded::undecodable`]), and the payload as it
//! came stays with whoever called. ASCII and UTF-8, which is nearly everything, are not copied.
//!
//! **Order.** How the bytes are laid out comes first: UTF-16 is recognised by its byte-order mark or by the NULs in
//! the header's name, since nothing else could be read of it; a UTF-8 mark is believed too, where the text is UTF-8.
//! Then:
//!
//! 1. what the source is configured to be,
//! 2. MSH-18 of the first MSH (table 0211, and the spellings that senders use instead: see [`Charset::read`]),
//! 3. detection: ASCII; UTF-8; text with the escape sequences of ISO 2022-JP; otherwise Windows-1252, which is
//!    ISO 8859-1 with the letters that senders put in its gaps.
//!
//! A sender that declares ASCII and sends more, or UTF-16 and sends single bytes, cannot mean it: detection decides
//! ([`Basis::Detected`]). Any other declaration is believed, and bytes that contradict it are the undecodable ones.
//! A batch is in the character set of its first message.
//!
//! MSH-18 may repeat. The first repetition is the default, the others are reached by escape sequences. Those of
//! ISO 2022 (Japan: `~ISO IR87`) are decoded; `\C..\` and `\M..\` (HL7 v2.8.2 §2.7.4) stay in the text as they are.
//!
//! **Why before cutting.** In GB 18030, Big5, Shift_JIS and ISO 2022-JP the second byte of a letter may be `|`, `^`,
//! `~` or `\`. Cutting such a message as bytes tears letters apart and shifts fields.
//!
//! **Not supported**, so that their letters are undecodable: CNS 11643-1992, UTF-32.
//!
//! **UTF-16 over MLLP.** MLLP's own document rules UTF-16 out, because VT, FS and CR are looked for as single bytes.
//! Senders do it nevertheless. Frames with single bytes `VT … FS CR` around UTF-16 are taken, answered alike, and
//! the answer is in UTF-16 of the same byte order. A letter with the byte 0B in it (ċ, and the scripts of U+0B00 to
//! U+0BFF) breaks such a frame off, as any VT does: nothing is acknowledged, the part is kept. Framing in 16-bit
//! units (`00 0B … 00 1C 00 0D`) is not supported.
//!
//! Source: HL7 v2.8.2 §2.14.9.18 and table 0211; RFC 1468, RFC 2237; the encodings themselves by `encoding_rs`.

mod decode;
mod jis;
mod utf16;

use std::fmt;
use std::str::FromStr;

use encoding_rs::Encoding;

pub(crate) use decode::declared;
pub use decode::{Basis, Decoded, decode, layout};

/// A character set that a message can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Charset {
    /// ASCII, 7 bits.
    Ascii,
    /// UTF-8.
    Utf8,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
    /// ISO 8859, by its part: 1 to 11, 13 to 16.
    Iso8859(Part),
    /// A code page of Windows: 1250 to 1258.
    Windows(Page),
    /// GB 18030-2000, and what it includes: GBK, GB 2312.
    Gb18030,
    /// Big5.
    Big5,
    /// KS X 1001 as EUC-KR.
    KsX1001,
    /// ISO 2022-JP with JIS X 0201, 0208 and 0212: ISO IR14, IR87, IR159.
    Iso2022Jp,
    /// Shift_JIS.
    ShiftJis,
    /// EUC-JP.
    EucJp,
}

/// A part of ISO 8859 that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part(u8);

/// A code page of Windows that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page(u16);

/// The text names no character set that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a known character set; for example ASCII, UNICODE UTF-8, 8859/1, WINDOWS-1252, GB 18030-2000, BIG-5, KS X 1001, ISO IR87"
)]
pub struct NotACharset;

impl Charset {
    /// ISO 8859-1 with the letters that Windows has in its gaps: what a byte is when nothing else is known.
    pub(crate) const FALLBACK: Self = Self::Windows(Page(1252));

    /// What [`Charset::read`] knows, for a message about what it does not know.
    pub const NAMES: &str = "ASCII, UNICODE UTF-8, UTF-16LE, UTF-16BE, 8859/1 to 8859/11, 8859/13 to 8859/16, \
                             WINDOWS-1250 to WINDOWS-1258, GB 18030-2000, BIG-5, KS X 1001, ISO IR87, SHIFT_JIS, EUC-JP";

    /// From MSH-18 or a configuration. Case, blanks and punctuation do not count, so `UTF-8`, `utf8`,
    /// `UNICODE UTF-8` and `Unicode_UTF8` are the same; so are `8859/1`, `ISO-8859-1`, `ISO8859_1` and `latin1`.
    pub fn read(name: &[u8]) -> Option<Self> {
        // The longest known name has 15 letters and digits.
        if name.len() > 64 {
            return None;
        }
        let squeezed: Vec<u8> =
            name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
        let squeezed = std::str::from_utf8(&squeezed).ok()?;
        Some(match squeezed {
            "ASCII" | "USASCII" | "ISOIR6" | "ISO646" | "ISO646US" | "ANSIX341968" => Self::Ascii,
            "UNICODEUTF8" | "UTF8" | "UNICODE" | "ISO106461993" => Self::Utf8,
            "UNICODEUTF16" | "UTF16" | "UTF16LE" | "UNICODEUTF16LE" | "UCS2" => Self::Utf16Le,
            "UTF16BE" | "UNICODEUTF16BE" => Self::Utf16Be,
            "LATIN1" | "ISOIR100" => Self::Iso8859(Part(1)),
            "ANSI" => Self::FALLBACK,
            "GB180302000" | "GB18030" | "GBK" | "GB2312" | "CP936" | "WINDOWS936" => Self::Gb18030,
            "BIG5" | "CP950" | "WINDOWS950" => Self::Big5,
            "KSX1001" | "KSC5601" | "EUCKR" | "ISOIR149" | "CP949" | "WINDOWS949" => Self::KsX1001,
            "ISOIR87" | "ISOIR159" | "ISOIR14" | "ISOIR13" | "ISO2022JP" | "JIS" => Self::Iso2022Jp,
            "SHIFTJIS" | "SJIS" | "MS932" | "CP932" | "WINDOWS31J" | "WINDOWS932" => Self::ShiftJis,
            "EUCJP" => Self::EucJp,
            _ => {
                let (start, number) =
                    squeezed.split_at_checked(squeezed.find(|c: char| c.is_ascii_digit())?)?;
                match (start, number.split_at_checked(4)?) {
                    ("" | "ISO" | "ISOIEC", ("8859", part)) => Self::Iso8859(Part::of(part.parse().ok()?)?),
                    ("WINDOWS" | "CP" | "WIN", (page, "")) => Self::Windows(Page::of(page.parse().ok()?)?),
                    _ => return None,
                }
            }
        })
    }

    /// Whether every ASCII byte is itself and nothing else is made of ASCII bytes, so that a message can be cut at
    /// its delimiters as bytes.
    pub const fn keeps_delimiters(self) -> bool {
        match self {
            // Second bytes of EUC-KR are letters or beyond ASCII, as far as they are ASCII at all.
            Self::Ascii | Self::Utf8 | Self::Iso8859(_) | Self::Windows(_) | Self::KsX1001 | Self::EucJp => {
                true
            }
            Self::Utf16Le | Self::Utf16Be | Self::Gb18030 | Self::Big5 | Self::Iso2022Jp | Self::ShiftJis => {
                false
            }
        }
    }

    /// The bytes of a text; `None` where this character set does not have all its letters.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Ascii => text.is_ascii().then(|| text.as_bytes().to_vec()),
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Utf16Le => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Self::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            _ => {
                let (bytes, _, unmappable) = self.encoding()?.encode(text);
                (!unmappable).then(|| bytes.into_owned())
            }
        }
    }

    /// Who decodes it; the others are decoded here.
    fn encoding(self) -> Option<&'static Encoding> {
        use encoding_rs as e;
        Some(match self {
            Self::Ascii | Self::Utf8 | Self::Utf16Le | Self::Utf16Be => return None,
            Self::Iso8859(Part(part)) => match part {
                2 => e::ISO_8859_2,
                3 => e::ISO_8859_3,
                4 => e::ISO_8859_4,
                5 => e::ISO_8859_5,
                6 => e::ISO_8859_6,
                7 => e::ISO_8859_7,
                8 => e::ISO_8859_8,
                9 => e::WINDOWS_1254,
                10 => e::ISO_8859_10,
                11 => e::WINDOWS_874,
                13 => e::ISO_8859_13,
                14 => e::ISO_8859_14,
                15 => e::ISO_8859_15,
                16 => e::ISO_8859_16,
                _ => e::WINDOWS_1252,
            },
            Self::Windows(Page(page)) => match page {
                1250 => e::WINDOWS_1250,
                1251 => e::WINDOWS_1251,
                1253 => e::WINDOWS_1253,
                1254 => e::WINDOWS_1254,
                1255 => e::WINDOWS_1255,
                1256 => e::WINDOWS_1256,
                1257 => e::WINDOWS_1257,
                1258 => e::WINDOWS_1258,
                _ => e::WINDOWS_1252,
            },
            Self::Gb18030 => e::GB18030,
            Self::Big5 => e::BIG5,
            Self::KsX1001 => e::EUC_KR,
            Self::Iso2022Jp => e::ISO_2022_JP,
            Self::ShiftJis => e::SHIFT_JIS,
            Self::EucJp => e::EUC_JP,
        })
    }
}

impl Part {
    const fn of(part: u8) -> Option<Self> {
        if matches!(part, 1..=11 | 13..=16) { Some(Self(part)) } else { None }
    }
}

impl Page {
    const fn of(page: u16) -> Option<Self> {
        if matches!(page, 1250..=1258) { Some(Self(page)) } else { None }
    }
}

/// As table 0211 writes it, where it does.
impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso8859(Part(part)) => return write!(f, "8859/{part}"),
            Self::Windows(Page(page)) => return write!(f, "WINDOWS-{page}"),
            Self::Ascii => "ASCII",
            Self::Utf8 => "UNICODE UTF-8",
            Self::Utf16Le => "UNICODE UTF-16LE",
            Self::Utf16Be => "UNICODE UTF-16BE",
            Self::Gb18030 => "GB 18030-2000",
            Self::Big5 => "BIG-5",
            Self::KsX1001 => "KS X 1001",
            Self::Iso2022Jp => "ISO-2022-JP",
            Self::ShiftJis => "SHIFT_JIS",
            Self::EucJp => "EUC-JP",
        })
    }
}

impl FromStr for Charset {
    type Err = NotACharset;

    fn from_str(name: &str) -> Result<Self, NotACharset> {
        Self::read(name.as_bytes()).ok_or(NotACharset)
    }
}

#[cfg(test)]
mod tests;
