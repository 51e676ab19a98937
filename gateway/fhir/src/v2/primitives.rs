//! Texts of v2 as primitives of FHIR R4. Everything returns `None` where the text cannot validly stand there.
//!
//! Source: HL7 FHIR R4 "Data Types", regular expressions of the primitives; HL7 v2.8.2 §2A (DT, TM, DTM, NM).

use crate::json::Json;
use crate::maps::Primitive;

/// The zone of times that name none, in minutes east of Greenwich.
pub(crate) type Offset = i16;

pub(crate) fn convert(kind: Primitive, text: &str, offset: Offset) -> Option<Json> {
    Some(match kind {
        Primitive::String | Primitive::Markdown => Json::text(text),
        Primitive::Code => Json::text(code(text)?),
        Primitive::Id => Json::text(id(text)?),
        Primitive::Uri | Primitive::Url => Json::text(uri(text)?),
        Primitive::Oid => Json::text(oid(text)?),
        Primitive::Date => Json::text(Moment::parse(text)?.date()),
        Primitive::DateTime => Json::text(Moment::parse(text)?.date_time(offset)),
        Primitive::TimedDateTime => {
            let moment = Moment::parse(text)?;
            moment.clock?;
            Json::text(moment.date_time(offset))
        }
        Primitive::Instant => Json::text(Moment::parse(text)?.instant(offset)?),
        Primitive::Time => Json::text(time(text)?),
        Primitive::Decimal => Json::Number(decimal(text)?),
        Primitive::UnsignedDecimal => Json::Number(decimal(text).filter(|number| !number.starts_with('-'))?),
        Primitive::Integer => Json::Number(integer(text, i64::from(i32::MIN))?),
        Primitive::PositiveInt => Json::Number(integer(text, 1)?),
        Primitive::UnsignedInt => Json::Number(integer(text, 0)?),
        Primitive::Boolean => Json::Bool(boolean(text)?),
        Primitive::Base64 => Json::text(base64(text.as_bytes())),
    })
}

fn code(text: &str) -> Option<&str> {
    let single = |c: char| !c.is_whitespace() || c == ' ';
    (text.chars().all(single) && !text.contains("  ")).then_some(text)
}

fn id(text: &str) -> Option<&str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    (text.len() <= 64 && text.bytes().all(fits)).then_some(text)
}

/// No blanks; a URI as R4 has it.
pub(crate) fn uri(text: &str) -> Option<&str> {
    (!text.contains(char::is_whitespace)).then_some(text)
}

/// Whether a text is an object identifier: numbers with dots, none with a leading zero, beginning with 0, 1 or 2.
pub(crate) fn is_oid(text: &str) -> bool {
    let number =
        |n: &str| n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0')) && !n.is_empty();
    // Shorter ones than those of the standards' bodies are somebody's version numbers.
    let long = text.rfind('.').is_some_and(|at| at >= 5);
    long && matches!(text.as_bytes(), [b'0'..=b'2', b'.', ..]) && text.split('.').all(number)
}

fn oid(text: &str) -> Option<String> {
    is_oid(text).then(|| format!("urn:oid:{text}"))
}

/// `Y`, `N` and what is written for them.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_uppercase().as_str() {
        "Y" | "YES" | "TRUE" | "T" | "1" => Some(true),
        "N" | "NO" | "FALSE" | "F" | "0" => Some(false),
        _ => None,
    }
}

fn integer(text: &str, least: i64) -> Option<String> {
    let digits = decimal(text)?;
    let whole = match digits.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => digits.as_str(),
    };
    let number: i64 = whole.parse().ok()?;
    (least..=i64::from(i32::MAX)).contains(&number).then(|| number.to_string())
}

/// NM as a FHIR decimal: the digits stay, a plus sign goes, a bare point gets its zero, leading zeros go.
pub(crate) fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => ("", text.get(1..)?),
        b'-' => ("-", text.get(1..)?),
        _ => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    // R4: at most 18 digits count; more would be read as something else.
    if whole.len() + fraction.len() > 18 {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// TM: `HH[MM[SS[.S…]]]`.
pub(crate) fn time(text: &str) -> Option<String> {
    let (clock, _) = split_zone(text);
    Clock::parse(clock).map(|clock| clock.text())
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |n: u32| char::from(ALPHABET.get((n & 63) as usize).copied().unwrap_or(b'A'));
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        out.push(digit(bits >> 18));
        out.push(digit(bits >> 12));
        out.push(if chunk.len() > 1 { digit(bits >> 6) } else { '=' });
        out.push(if chunk.len() > 2 { digit(bits) } else { '=' });
    }
    out
}

/// A point in time with the precision that it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment<'a> {
    year: u16,
    month: Option<u8>,
    day: Option<u8>,
    clock: Option<Clock<'a>>,
    zone: Option<i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Clock<'a> {
    hour: u8,
    minute: u8,
    second: u8,
    fraction: &'a str,
}

impl<'a> Clock<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
        let two = |at: usize| -> Option<Option<u8>> {
            match digits.get(at..) {
                Some("") | None => Some(None),
                Some(rest) => number(rest.get(..2)?).map(Some),
            }
        };
        if !matches!(digits.len(), 2 | 4 | 6) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (hour, minute, second) = (two(0)??, two(2)?.unwrap_or(0), two(4)?.unwrap_or(0));
        (hour < 24 && minute < 60 && second < 60 && fraction.len() <= 9).then_some(Self {
            hour,
            minute,
            second,
            fraction,
        })
    }

    fn text(self) -> String {
        let Self { hour, minute, second, fraction } = self;
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{hour:02}:{minute:02}:{second:02}{point}{fraction}")
    }
}

fn number(text: &str) -> Option<u8> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Cuts off `+ZZZZ` or `-ZZZZ`.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    match text.rfind(['+', '-']) {
        Some(at) => match text.split_at_checked(at) {
            Some((clock, zone)) => (clock, Some(zone)),
            None => (text, None),
        },
        None => (text, None),
    }
}

impl<'a> Moment<'a> {
    /// `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][+/-ZZZZ]`; also with the dashes and colons of ISO 8601, which senders write.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.get(4) == Some(&b'-') && bytes.len() >= 7 && bytes.get(7).is_none_or(|b| *b == b'-') {
            return None;
        }
        let (digits, zone) = split_zone(text);
        let zone = match zone {
            None => None,
            Some(zone) => Some(Self::zone(zone)?),
        };
        let year: u16 = digits.get(..4).filter(|y| y.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let part = |from: usize| match digits.get(from..) {
            Some("") | None => Some(None),
            Some(rest) => number(rest.get(..2)?).map(Some),
        };
        let (month, day) = (part(4)?, part(6)?);
        if year == 0 || month.is_some_and(|m| !(1..=12).contains(&m)) {
            return None;
        }
        if let (Some(month), Some(day)) = (month, day)
            && !(1..=days(year, month)).contains(&day)
        {
            return None;
        }
        let clock = match digits.get(8..) {
            None | Some("") => None,
            Some(clock) => Some(Clock::parse(clock)?),
        };
        Some(Self { year, month, day, clock, zone })
    }

    fn zone(text: &str) -> Option<i16> {
        let sign = if text.starts_with('-') { -1 } else { 1 };
        let digits = text.get(1..)?;
        let hours = i16::from(number(digits.get(..2)?)?);
        let minutes = match digits.get(2..)? {
            "" => 0,
            minutes if minutes.len() == 2 => i16::from(number(minutes)?),
            _ => return None,
        };
        (hours <= 14 && minutes < 60 && (hours < 14 || minutes == 0)).then_some(sign * (hours * 60 + minutes))
    }

    pub(crate) fn date(&self) -> String {
        match (self.month, self.day) {
            (Some(month), Some(day)) => format!("{:04}-{month:02}-{day:02}", self.year),
            (Some(month), None) => format!("{:04}-{month:02}", self.year),
            _ => format!("{:04}", self.year),
        }
    }

    pub(crate) fn date_time(&self, offset: Offset) -> String {
        match self.clock {
            None => self.date(),
            Some(clock) => format!("{}T{}{}", self.date(), clock.text(), zone(self.zone.unwrap_or(offset))),
        }
    }

    /// Needs a day at least; a day alone is its first second.
    pub(crate) fn instant(&self, offset: Offset) -> Option<String> {
        self.day?;
        let clock = self.clock.unwrap_or(Clock { hour: 0, minute: 0, second: 0, fraction: "" });
        Some(format!("{}T{}{}", self.date(), clock.text(), zone(self.zone.unwrap_or(offset))))
    }
}

fn zone(minutes: i16) -> String {
    if minutes == 0 {
        return "Z".into();
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

const fn days(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_precision() {
        for (v2, date_time, instant) in [
            ("2024", "2024", None),
            ("202402", "2024-02", None),
            ("20240229", "2024-02-29", Some("2024-02-29T00:00:00+01:00")),
            ("2024022913", "2024-02-29T13:00:00+01:00", Some("2024-02-29T13:00:00+01:00")),
            ("202402291305", "2024-02-29T13:05:00+01:00", Some("2024-02-29T13:05:00+01:00")),
            (
                "20240229130507.1234-0500",
                "2024-02-29T13:05:07.1234-05:00",
                Some("2024-02-29T13:05:07.1234-05:00"),
            ),
            ("20240229130507+0000", "2024-02-29T13:05:07Z", Some("2024-02-29T13:05:07Z")),
        ] {
            let moment = Moment::parse(v2).unwrap();
            assert_eq!(moment.date_time(60), date_time, "{v2}");
            assert_eq!(moment.instant(60).as_deref(), instant, "{v2}");
        }
        for wrong in [
            "",
            "24",
            "20240230",
            "20241301",
            "2024022925",
            "yesterday",
            "20240229130507x",
            "2024-02-29",
            "00000101",
        ] {
            assert!(Moment::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (v2, fhir) in
            [("+5", "5"), ("5.", "5"), (".5", "0.5"), ("-0.50", "-0.50"), ("007", "7"), ("1.50", "1.50")]
        {
            assert_eq!(decimal(v2).as_deref(), Some(fhir), "{v2}");
        }
        for wrong in ["", "<5", "5 mg", "1e5", ".", "-", "1.2.3", "5,0"] {
            assert!(decimal(wrong).is_none(), "{wrong}");
        }
        assert_eq!(integer("3.0", 1).as_deref(), Some("3"));
        assert_eq!(integer("0", 1), None);
        assert_eq!(integer("99999999999", 0), None);
    }

    #[test]
    fn base_64() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
