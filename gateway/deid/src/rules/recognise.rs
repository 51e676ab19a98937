//! What a number, a range and a sub-id look like.

use super::NUMBER_FRACTION_DIGITS_MAX;

/// Most digits of a number in a reference range: fewer than a number of seven, which may be a telephone's.
const RANGE_DIGITS_MAX: usize = 5;
/// Longest part of an observation sub-id, in digits.
const SUB_ID_DIGITS_MAX: usize = 4;

pub(super) fn is_digits(value: &[u8], min: usize, max: usize) -> bool {
    (min..=max).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// NM: sign, digits, point, digits (HL7 v2.8.2 §2A.2.46).
pub(super) fn is_number(value: &[u8], integer_digits_max: usize) -> bool {
    let unsigned = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
    let mut halves = unsigned.splitn(2, |b| *b == b'.');
    let integer = halves.next().unwrap_or_default();
    let fraction = halves.next().unwrap_or_default();
    is_digits(integer, 0, integer_digits_max)
        && is_digits(fraction, 0, NUMBER_FRACTION_DIGITS_MAX)
        && !(integer.is_empty() && fraction.is_empty())
}

pub(super) fn decimal(value: &[u8]) -> Option<f64> {
    std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
}

/// `1`, `1.2`, `1.2.3`.
pub(super) fn is_sub_id(value: &[u8]) -> bool {
    value.split(|b| *b == b'.').count() <= 3
        && value.split(|b| *b == b'.').all(|part| is_digits(part, 1, SUB_ID_DIGITS_MAX))
}

/// `3.5-5.0`, `< 5`, `>=60`.
pub(super) fn is_range(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let limit = |v: &[u8]| is_number(v.trim_ascii(), RANGE_DIGITS_MAX);
    let comparators: [&[u8]; 4] = [b"<=", b">=", b"<", b">"];
    if let Some(number) = comparators.iter().find_map(|c| value.strip_prefix(*c)) {
        return limit(number);
    }
    let dash = value.iter().skip(1).position(|b| *b == b'-').map(|at| at + 1);
    let Some((low, high)) = dash.and_then(|at| value.split_at_checked(at)) else { return limit(value) };
    let high = high.get(1..).unwrap_or_default();
    limit(low) && limit(high) && decimal(low) <= decimal(high)
}

#[cfg(test)]
mod tests {
    use super::super::NUMBER_INTEGER_DIGITS_MAX;
    use super::*;

    #[test]
    fn numbers_are_amounts() {
        for good in ["0", "7.4", "-3", "+1.5", ".5", "5.", "1234567", "123.456789"] {
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
        ] {
            assert!(!is_number(bad.as_bytes(), NUMBER_INTEGER_DIGITS_MAX), "{bad}");
        }
    }

    #[test]
    fn ranges_are_limits() {
        for good in ["3.5-5.0", "3.5 - 5.0", "<5", ">= 60", "0-0", "-1.5-2", "-3--1", "12"] {
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
        ] {
            assert!(!is_range(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn sub_ids_are_short() {
        for (id, fits) in
            [("1", true), ("1.2.3", true), ("10.1.2.3", false), ("12345", false), ("A", false), ("", false)]
        {
            assert_eq!(is_sub_id(id.as_bytes()), fits, "{id}");
        }
    }
}
