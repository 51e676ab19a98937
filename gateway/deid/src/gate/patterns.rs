//! What identifiers look like, without knowing whose they are.

use super::HitKind;
use super::text::words;

/// Fewest digits of a date, a telephone number or a social security number.
const DIGITS_MIN: usize = 6;

/// Digits of a social security number, and of a telephone number with its area.
const SSN_DIGITS: usize = 9;
const TELEPHONE_DIGITS: usize = 10;

/// Longest time of a day with its fraction and zone.
const INSTANT_TIME_BYTES_MAX: usize = 24;

/// The first pattern in a value.
pub(super) fn find(value: &[u8]) -> Option<HitKind> {
    let (mut digits, mut points, mut ats, mut colons, mut ws) = (0, 0, 0, 0, 0);
    for byte in value {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => points += 1,
            b'@' => ats += 1,
            b':' => colons += 1,
            b'w' | b'W' => ws += 1,
            _ => {}
        }
    }
    if digits < DIGITS_MIN && ats == 0 && colons == 0 && points < 2 {
        return None;
    }
    if digits == value.len() {
        return is_compact(value).then_some(HitKind::DatePattern);
    }
    let has_network = ats > 0 && is_mail(value)
        || colons > 0 && value.windows(3).any(|w| w == b"://")
        || ws > 2 && value.windows(4).any(|w| w.eq_ignore_ascii_case(b"www."))
        || points > 2 && is_host(value);
    if has_network {
        return Some(HitKind::NetworkPattern);
    }
    if digits < DIGITS_MIN {
        return None;
    }
    let shape: Vec<u8> = value.iter().map(|b| if b.is_ascii_digit() { b'9' } else { *b }).collect();
    const SSNS: [&[u8]; 3] = [b"999-99-9999", b"999 99 9999", b"999.99.9999"];
    if digits >= SSN_DIGITS && SSNS.iter().any(|s| has_shape(&shape, s)) {
        return Some(HitKind::SsnPattern);
    }
    const TELEPHONES: [&[u8]; 6] = [
        b"999-999-9999",
        b"999.999.9999",
        b"999 999 9999",
        b"(999)999-9999",
        b"(999) 999-9999",
        b"999/999-9999",
    ];
    if digits >= TELEPHONE_DIGITS && TELEPHONES.iter().any(|t| has_shape(&shape, t)) {
        return Some(HitKind::TelephonePattern);
    }
    has_date(value, &shape).then_some(HitKind::DatePattern)
}

/// `2012-05-01T12:30:00.000+01:00`: a day and a time of it, and nothing else.
pub(super) fn is_instant(value: &[u8]) -> bool {
    let shape = |at: usize, mark: u8| value.get(at) == Some(&mark);
    let time = value.get(11..).unwrap_or_default();
    shape(4, b'-')
        && shape(7, b'-')
        && shape(10, b'T')
        && is_day(value, 0, 5, 8)
        && (5..=INSTANT_TIME_BYTES_MAX).contains(&time.len())
        && time.iter().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z'))
        && shape(13, b':')
}

/// Where a channel is in a bedside device: system, part, channel, metric, each of the first three a small number.
pub(super) fn is_containment(value: &[u8]) -> bool {
    let mut parts = value.split(|b| *b == b'.');
    let mut short = |digits: usize| parts.next().is_some_and(|p| (1..=digits).contains(&p.len()));
    value.iter().all(|b| b.is_ascii_digit() || *b == b'.') && short(1) && short(2) && short(2)
}

/// The shape stands there and no digit touches it.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    shape_at(text, shape).is_some()
}

fn shape_at(text: &[u8], shape: &[u8]) -> Option<usize> {
    let digit = |at: Option<usize>| at.and_then(|at| text.get(at)) == Some(&b'9');
    text.windows(shape.len()).enumerate().find_map(|(at, window)| {
        let alone = !digit(at.checked_sub(1)) && !digit(Some(at + shape.len()));
        (window == shape && alone).then_some(at)
    })
}

fn is_mail(value: &[u8]) -> bool {
    value.iter().position(|b| *b == b'@').is_some_and(|at| {
        let before = at.checked_sub(1).and_then(|b| value.get(b)).is_some_and(u8::is_ascii_alphanumeric);
        before && value.get(at + 1..).is_some_and(|host| host.contains(&b'.'))
    })
}

/// An address of IP version 4.
fn is_host(value: &[u8]) -> bool {
    value.split(|b| !(b.is_ascii_digit() || *b == b'.')).any(|run| {
        let octets = || run.split(|b| *b == b'.');
        octets().count() == 4 && octets().all(|o| (1..=3).contains(&o.len()) && number(o) <= 255)
    })
}

/// Eight, twelve or fourteen digits that are a date with or without time; `2012-05-01`; `5/1/2012`.
fn has_date(value: &[u8], shape: &[u8]) -> bool {
    let compact = words(value).any(is_compact);
    let iso =
        shape_at(shape, b"9999-99-99").and_then(|at| value.get(at..)).is_some_and(|d| is_day(d, 0, 5, 8));
    let slashes =
        [&b"99/99/9999"[..], b"9/9/9999", b"99/9/9999", b"9/99/9999"].iter().any(|s| has_shape(shape, s));
    compact || iso || slashes
}

/// `20120501`, also with a time behind it.
fn is_compact(word: &[u8]) -> bool {
    matches!(word.len(), 8 | 10 | 12 | 14) && word.iter().all(u8::is_ascii_digit) && is_day(word, 0, 4, 6)
}

fn is_day(text: &[u8], year: usize, month: usize, day: usize) -> bool {
    let part = |from: usize, length: usize| text.get(from..from + length).map(number).unwrap_or_default();
    (1880..=2100).contains(&part(year, 4))
        && (1..=12).contains(&part(month, 2))
        && (1..=31).contains(&part(day, 2))
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |n: u32, d| n.saturating_mul(10).saturating_add(u32::from(d.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_in_any_company() {
        for (value, kind) in [
            ("123-45-6789", HitKind::SsnPattern),
            ("ssn 123 45 6789.", HitKind::SsnPattern),
            ("123.45.6789", HitKind::SsnPattern),
            ("555-123-4567", HitKind::TelephonePattern),
            ("call (555)123-4567", HitKind::TelephonePattern),
            ("jane@example.org", HitKind::NetworkPattern),
            ("https://x", HitKind::NetworkPattern),
            ("at 10.1.2.3,", HitKind::NetworkPattern),
            ("19620210", HitKind::DatePattern),
            ("20120501123059", HitKind::DatePattern),
            ("20120501123059.12-0500", HitKind::DatePattern),
            ("2012-05-01", HitKind::DatePattern),
            ("born 5/1/1962", HitKind::DatePattern),
        ] {
            assert_eq!(find(value.as_bytes()), Some(kind), "{value}");
        }
    }

    #[test]
    fn instants_are_told_from_numbers() {
        for good in ["2012-05-01T12:30:00Z", "1988-11-04T08:59:41.909-08:00", "2024-05-06T07:08+01:00"] {
            assert!(is_instant(good.as_bytes()), "{good}");
        }
        for bad in
            ["2012-05-01", "5553-12-55T67:00:00", "2012-05-01T555-312-5567", "2012-05-01T12:30:00SMITH", ""]
        {
            assert!(!is_instant(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn clinical_values_are_not() {
        for value in [
            "",
            "7.4",
            "718-7",
            "2106-3",
            "0002-1433-80",
            "100-1000",
            "22298006",
            "10*3/uL",
            "2012",
            "201205",
            "I10",
            "2.16.840.1.113883.6.1",
            "12345678",
            "1.2.3",
            "HL70078",
            "A10BA02",
            "@",
            "99999-9999-99",
        ] {
            assert_eq!(find(value.as_bytes()), None, "{value}");
        }
    }
}
