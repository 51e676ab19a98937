//! The primitive types and their forms (R4, "2.24.0.1 Primitive Types"), as byte matchers.

/// A primitive type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is R4's type of that name")]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// Longest string and markdown, in bytes (R4: 1 MB).
const STRING_BYTES_MAX: usize = 1 << 20;

impl Primitive {
    /// R4's name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "base64Binary" => Self::Base64Binary,
            "boolean" => Self::Boolean,
            "canonical" => Self::Canonical,
            "code" => Self::Code,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "id" => Self::Id,
            "instant" => Self::Instant,
            "integer" => Self::Integer,
            "markdown" => Self::Markdown,
            "oid" => Self::Oid,
            "positiveInt" => Self::PositiveInt,
            "string" => Self::String,
            "time" => Self::Time,
            "unsignedInt" => Self::UnsignedInt,
            "uri" => Self::Uri,
            "url" => Self::Url,
            "uuid" => Self::Uuid,
            "xhtml" => Self::Xhtml,
            _ => return None,
        })
    }

    /// R4's name, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64Binary => "base64Binary",
            Self::Boolean => "boolean",
            Self::Canonical => "canonical",
            Self::Code => "code",
            Self::Date => "date",
            Self::DateTime => "dateTime",
            Self::Decimal => "decimal",
            Self::Id => "id",
            Self::Instant => "instant",
            Self::Integer => "integer",
            Self::Markdown => "markdown",
            Self::Oid => "oid",
            Self::PositiveInt => "positiveInt",
            Self::String => "string",
            Self::Time => "time",
            Self::UnsignedInt => "unsignedInt",
            Self::Uri => "uri",
            Self::Url => "url",
            Self::Uuid => "uuid",
            Self::Xhtml => "xhtml",
        }
    }

    /// What the form is, for messages.
    pub const fn form(self) -> &'static str {
        match self {
            Self::Base64Binary => "base64 in groups of four, at least one",
            Self::Boolean => "true or false, without quotes",
            Self::Canonical | Self::Uri | Self::Url => "an address without blanks",
            Self::Code => "text without blanks at its ends, single blanks within",
            Self::Date => "YYYY, YYYY-MM or YYYY-MM-DD, a day of the calendar",
            Self::DateTime => {
                "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz, with seconds and zone where there is a time"
            }
            Self::Decimal => "a JSON number",
            Self::Id => "1 to 64 letters, digits, - and .",
            Self::Instant => "YYYY-MM-DDThh:mm:ss.sss+zz:zz, with seconds and zone",
            Self::Integer => "a JSON number without fraction, -2147483648 to 2147483647",
            Self::Markdown | Self::String => "text that is not empty, at most 1 MiB, no control characters",
            Self::Oid => "urn:oid: and numbers with dots between",
            Self::PositiveInt => "a JSON number without fraction, 1 to 2147483647",
            Self::Time => "hh:mm:ss",
            Self::UnsignedInt => "a JSON number without fraction, 0 to 2147483647",
            Self::Uuid => "urn:uuid: and a UUID in small letters",
            Self::Xhtml => "a div of simple XHTML",
        }
    }

    /// Whether it is written as a JSON number.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt)
    }

    /// Whether text has the form; of numbers the text of the JSON number. XHTML is judged elsewhere.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::Boolean | Self::Decimal | Self::Xhtml => true,
            Self::Integer => whole(text, i32::MIN.into()),
            Self::PositiveInt => whole(text, 1),
            Self::UnsignedInt => whole(text, 0),
            Self::String | Self::Markdown => {
                !text.is_empty()
                    && text.len() <= STRING_BYTES_MAX
                    && !text.bytes().any(|b| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r'))
            }
            Self::Canonical | Self::Uri | Self::Url => {
                !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
            }
            Self::Code => code(text),
            Self::Id => id(text),
            Self::Oid => text.strip_prefix("urn:oid:").is_some_and(oid),
            Self::Uuid => text.strip_prefix("urn:uuid:").is_some_and(uuid),
            Self::Date => date(text),
            Self::DateTime => text.split_once('T').map_or_else(|| date(text), |(d, t)| full(d, t)),
            Self::Instant => text.split_once('T').is_some_and(|(d, t)| full(d, t)),
            Self::Time => time(text),
            Self::Base64Binary => base64(text),
        }
    }
}

/// R4's `id`: what may stand in an address.
pub fn id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

fn whole(text: &str, min: i64) -> bool {
    text != "-0"
        && text.bytes().all(|b| b == b'-' || b.is_ascii_digit())
        && text.parse::<i64>().is_ok_and(|n| (min..=i32::MAX.into()).contains(&n))
}

fn code(text: &str) -> bool {
    let mut blank_before = true;
    for c in text.chars() {
        let blank = c.is_whitespace();
        if (blank && blank_before) || (c.is_control() && !blank) {
            return false;
        }
        blank_before = blank;
    }
    // Also of an empty text.
    !blank_before
}

fn oid(text: &str) -> bool {
    let mut arcs = text.split('.');
    matches!(arcs.next(), Some("0" | "1" | "2"))
        && text.contains('.')
        && arcs.all(|arc| {
            !arc.is_empty()
                && arc.bytes().all(|b| b.is_ascii_digit())
                && (arc == "0" || !arc.starts_with('0'))
        })
}

/// A UUID in small letters.
pub(crate) fn uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || matches!(b, b'a'..=b'f'),
        })
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let Some(year) = parts.next().and_then(|y| digits(y, 4)).filter(|y| *y > 0) else { return false };
    let Some(month) = parts.next() else { return true };
    let Some(month) = digits(month, 2).filter(|m| (1..=12).contains(m)) else { return false };
    let Some(day) = parts.next() else { return true };
    digits(day, 2).is_some_and(|d| (1..=days(year, month)).contains(&d))
}

const fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

fn full(day: &str, rest: &str) -> bool {
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (Some(clock), Some(zone)) = (rest.get(..at), rest.get(at..)) else { return false };
    day.len() == 10 && date(day) && time(clock) && self::zone(zone)
}

fn time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(c, f)| (c, Some(f)));
    let mut parts = clock.splitn(3, ':').map(|p| digits(p, 2));
    let (hour, minute, second) = (parts.next(), parts.next(), parts.next());
    matches!((hour, minute, second), (Some(Some(0..=23)), Some(Some(0..=59)), Some(Some(0..=60))))
        && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
}

fn zone(text: &str) -> bool {
    let Some(offset) = text.strip_prefix(['+', '-']) else { return text == "Z" };
    let Some((hour, minute)) = offset.split_once(':') else { return false };
    matches!((digits(hour, 2), digits(minute, 2)), (Some(0..=13), Some(0..=59)) | (Some(14), Some(0)))
}

/// Groups of four, blanks between, padding at the end alone.
fn base64(text: &str) -> bool {
    let (mut count, mut padding) = (0_usize, 0_usize);
    for b in text.bytes() {
        match b {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        count += 1;
    }
    count > 0 && count.is_multiple_of(4) && padding <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        use Primitive::*;
        let table: &[(Primitive, &[&str], &[&str])] = &[
            (Id, &["a", "A-1.b", &"x".repeat(64)], &["", "a b", "a_b", "ä", &"x".repeat(65)]),
            (Code, &["final", "a b"], &["", " a", "a ", "a  b", "\t", "a\u{0}b"]),
            (Uri, &["urn:x", "a", "#a"], &["", "a b", "a\n", "a\u{a0}b"]),
            (
                Oid,
                &["urn:oid:1.2.840", "urn:oid:2.0"],
                &["1.2", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02", "urn:oid:1."],
            ),
            (
                Uuid,
                &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
                &[
                    "urn:uuid:C757873D-EC9A-4326-A141-556F43239520",
                    "c757873d-ec9a-4326-a141-556f43239520",
                    "urn:uuid:",
                ],
            ),
            (
                Date,
                &["2024", "2024-02", "2024-02-29", "0001", "2000-02-29"],
                &[
                    "",
                    "0000",
                    "24",
                    "2024-13",
                    "2023-02-29",
                    "1900-02-29",
                    "2024-2-1",
                    "2024-02-29T00:00:00Z",
                    "2024-02-29-1",
                ],
            ),
            (
                DateTime,
                &["2024", "2024-02-29", "2024-02-29T23:59:60Z", "2024-02-29T00:00:00.123456+14:00"],
                &[
                    "2024-02-29T10:00",
                    "2024-02-29T10:00Z",
                    "2024-02-29T10:00:00",
                    "2024-02T10:00:00Z",
                    "2024-02-29T24:00:00Z",
                    "2024-02-29T10:00:00+15:00",
                    "2024-02-29T10:00:00+0100",
                    "2024-02-29T10:00:00.Z",
                    "20240229",
                    "2024-02-29 10:00:00Z",
                    "2024-02-29T10:00:00z",
                ],
            ),
            (Instant, &["2024-02-29T10:00:00.1-05:30"], &["2024-02-29", "2024", "2024-02-29T10:00:00"]),
            (Time, &["00:00:00", "23:59:59.9"], &["24:00:00", "1:00:00", "10:00", "10:00:00Z", "10:00:00."]),
            (Base64Binary, &["YQ==", "YWJj", "YW Jj\n"], &["", "YQ", "YQ=", "Y===", "YQ==YQ==", "Y%==", " "]),
            (
                Integer,
                &["0", "-1", "2147483647", "-2147483648"],
                &["1.0", "1e3", "2147483648", "-0", "-2147483649"],
            ),
            (PositiveInt, &["1"], &["0", "-1", "1.5", "99999999999999999999"]),
            (UnsignedInt, &["0"], &["-1"]),
            (String, &["a", " ", "a\r\n\tb"], &["", "a\u{0}", "\u{1b}"]),
            (Markdown, &["# a"], &[""]),
        ];
        for (kind, good, bad) in table {
            for text in *good {
                assert!(kind.fits(text), "{} {text:?}", kind.name());
            }
            for text in *bad {
                assert!(!kind.fits(text), "{} {text:?}", kind.name());
            }
            assert_eq!(Primitive::named(kind.name()), Some(*kind));
        }
    }
}
