//! What a number, a range, a sub-id and a version look like.

use super::NUMBER_FRACTION_DIGITS_MAX;

/// Most digits of a number in a reference range: fewer than a number of seven, which may be a telephone's.
const RANGE_DIGITS_MAX: usize = 5;
/// Longest part of an observation sub-id, in digits, and all its parts together: fewer than a social security
/// number has.
const SUB_ID_DIGITS_MAX: usize = 4;
const SUB_ID_DIGITS_TOTAL_MAX: usize = 6;
/// Longest metric in a sub-id of a bedside device, in digits: a code of ISO/IEEE 11073-10101.
const METRIC_DIGITS_MAX: usize = 6;
/// From how many digits on a number that begins with 0 is a number *of* something: `02139`.
const ZERO_PADDED_DIGITS_MIN: usize = 5;

pub(crate) fn is_digits(value: &[u8], min: usize, max: usize) -> bool {
    (min..=max).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// NM: sign, digits, point, digits (HL7 v2.8.2 §2A.2.46).
pub(crate) fn is_number(value: &[u8], integer_digits_max: usize) -> bool {
    let (integer, fraction) = halves(value);
    is_digits(integer, 0, integer_digits_max)
        && is_digits(fraction, 0, NUMBER_FRACTION_DIGITS_MAX)
        && !(integer.is_empty() && fraction.is_empty())
        && !(integer.len() >= ZERO_PADDED_DIGITS_MIN && integer.starts_with(b"0"))
}

fn halves(value: &[u8]) -> (&[u8], &[u8]) {
    let unsigned = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
    let mut halves = unsigned.splitn(2, |b| *b == b'.');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

/// Digits before the point without zeros at either end: how much a number can tell. 250000 has two, a telephone
/// number without its area mostly seven.
pub(crate) fn significant_digits(number: &[u8]) -> usize {
    let (integer, _) = halves(number);
    let first = integer.iter().position(|b| *b != b'0').unwrap_or(integer.len());
    let last = integer.iter().rposition(|b| *b != b'0').map_or(first, |at| at + 1);
    last.saturating_sub(first)
}

/// The number in `<0.5` and `>= 60`, which laboratories send as NM where SN was meant; the value itself where it has
/// no comparator.
pub(crate) fn compared(value: &[u8]) -> &[u8] {
    const COMPARATORS: [&[u8]; 4] = [b"<=", b">=", b"<", b">"];
    COMPARATORS.iter().find_map(|c| value.strip_prefix(*c)).map_or(value, blanks_off)
}

pub(crate) fn decimal(value: &[u8]) -> Option<f64> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

/// `1`, `1.2`, `1.2.3`; and of a bedside device `1.1.2.150456`: system, part, channel, metric and up to two facets
/// (IHE PCD TF-2, OBX-4). Not an address of a host, and not a number cut by points.
pub(crate) fn is_sub_id(value: &[u8]) -> bool {
    let mut parts = [&b""[..]; 7];
    let mut count = 0;
    for part in value.split(|b| *b == b'.') {
        let Some(place) = parts.get_mut(count) else { return false };
        (*place, count) = (part, count + 1);
    }
    let total = value.iter().filter(|b| b.is_ascii_digit()).count();
    let [system, part, channel, metric, facet, sub_facet, beyond] = parts;
    match count {
        1..=3 => {
            total <= SUB_ID_DIGITS_TOTAL_MAX
                && parts.iter().take(count).all(|p| is_digits(p, 1, SUB_ID_DIGITS_MAX))
        }
        _ => {
            is_digits(system, 1, 1)
                && is_digits(part, 1, 2)
                && is_digits(channel, 1, 2)
                && is_digits(metric, 1, METRIC_DIGITS_MAX)
                && [facet, sub_facet].iter().take(count.saturating_sub(4)).all(|p| is_digits(p, 1, 3))
                && beyond.is_empty()
        }
    }
}

/// `3.5-5.0`, `< 5`, `>=60`, `[ 3.5 - 5.0 ]`.
pub(crate) fn is_range(value: &[u8]) -> bool {
    let value = blanks_off(value);
    let value = value.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).map_or(value, blanks_off);
    let limit = |v: &[u8]| is_number(blanks_off(v), RANGE_DIGITS_MAX);
    let compared = compared(value);
    if compared.len() < value.len() {
        return limit(compared);
    }
    let dash = value.iter().skip(1).position(|b| *b == b'-').map(|at| at + 1);
    let Some((low, high)) = dash.and_then(|at| value.split_at_checked(at)) else { return limit(value) };
    let high = high.get(1..).unwrap_or_default();
    limit(low) && limit(high) && decimal(low) <= decimal(high)
}

/// Blanks at both ends off; a line's end stays, and is no blank.
fn blanks_off(value: &[u8]) -> &[u8] {
    let first = value.iter().position(|b| *b != b' ').unwrap_or(value.len());
    let last = value.iter().rposition(|b| *b != b' ').map_or(first, |at| at + 1);
    value.get(first..last).unwrap_or_default()
}

/// The version of a coding system: `2.61`, `10`, `2023AA`. No date, no number of more than a year's digits.
pub(crate) fn is_version(value: &[u8]) -> bool {
    let numbered = value.split(|b| *b == b'.').count() <= 3
        && value.split(|b| *b == b'.').all(|part| is_digits(part, 1, 2));
    let yearly = value.split_at_checked(4).is_some_and(|(year, release)| {
        (year.starts_with(b"19") || year.starts_with(b"20"))
            && is_digits(year, 4, 4)
            && release.len() <= 2
            && release.iter().all(u8::is_ascii_uppercase)
    });
    numbered || yearly
}

#[cfg(test)]
mod tests {
    use super::super::NUMBER_INTEGER_DIGITS_MAX;
    use super::*;

    #[test]
    fn numbers_are_amounts() {
        for good in ["0", "7.4", "-3", "+1.5", ".5", "5.", "1234567", "123.456789", "007", "0.00012"] {
            assert!(is_number(good.as_bytes(), NUMBER_INTEGER_DIGITS_MAX), "{good}");
        }
        for bad in [
            "",
            "-",
            ".",
            "12345678",
            "123456789",
            "1e5",
            "1,000",
            "7.4 mg",
            "1.2.3",
            "0x1",
            "NaN",
            "555-1234",
            "02139",
            "0001234",
        ] {
            assert!(!is_number(bad.as_bytes(), NUMBER_INTEGER_DIGITS_MAX), "{bad}");
        }
    }

    #[test]
    fn zeros_at_the_ends_tell_nothing() {
        for (number, digits) in
            [("250000", 2), ("5550143", 7), ("0.5", 0), ("0012", 2), ("-1000.25", 1), ("0", 0), ("", 0)]
        {
            assert_eq!(significant_digits(number.as_bytes()), digits, "{number}");
        }
    }

    #[test]
    fn comparators_go_before_numbers() {
        for (value, number) in [("<0.5", "0.5"), (">= 60", "60"), ("7", "7"), ("<<7", "<7"), ("<\n7", "\n7")]
        {
            assert_eq!(compared(value.as_bytes()), number.as_bytes(), "{value}");
        }
    }

    #[test]
    fn ranges_are_limits() {
        for good in [
            "3.5-5.0",
            "3.5 - 5.0",
            "<5",
            ">= 60",
            "0-0",
            "-1.5-2",
            "-3--1",
            "12",
            "[ 3.5 - 5.0 ]",
            "[ < 9.99 ]",
            "[70-99]",
        ] {
            assert!(is_range(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "-",
            "<",
            "negative",
            "5.0-3.5",
            "555-12-3456",
            "5551234",
            "123456-234567",
            "3-5 SMITH",
            "1-2-3",
            "02139-4307",
            "[ ]",
            "[3-5",
            "[SMITH]",
            "3-\n5",
            "3-5\n",
        ] {
            assert!(!is_range(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn sub_ids_are_short() {
        for (id, fits) in [
            ("1", true),
            ("1.2.3", true),
            ("12.1.3", true),
            ("1.0.0.0", true),
            ("1.1.2.150456", true),
            ("1.1.2.150456.1.2", true),
            ("10.1.2.3", false),
            ("192.168.1.7", false),
            ("123.45.6789", false),
            ("617.555.0143", false),
            ("1.1.2.1504567", false),
            ("1.1.2.3.4.5.6", false),
            ("1.1.2.", false),
            ("1..2", false),
            ("12345", false),
            ("A", false),
            ("", false),
        ] {
            assert_eq!(is_sub_id(id.as_bytes()), fits, "{id}");
        }
    }

    #[test]
    fn versions_are_short() {
        for (version, fits) in [
            ("2.61", true),
            ("10", true),
            ("2.5.1", true),
            ("2023", true),
            ("2023AA", true),
            ("620210", false),
            ("19620210", false),
            ("44521", false),
            ("2SMITH", false),
            ("1JONES", false),
            ("", false),
        ] {
            assert_eq!(is_version(version.as_bytes()), fits, "{version}");
        }
    }
}
