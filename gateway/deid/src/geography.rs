//! Addresses as far as a policy lets them through.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::tables::{SOURCES, TABLES, entries};

/// Longest name of a city that passes, in bytes.
const CITY_BYTES_MAX: usize = 40;
/// Longest postal code that passes, in bytes.
const POSTAL_CODE_BYTES_MAX: usize = 10;

static SMALL_ZIP3: LazyLock<HashSet<&'static [u8]>> = LazyLock::new(|| {
    let [_, _, _, _, zip3, _] = SOURCES;
    entries(zip3).into_iter().flat_map(|(_, areas)| areas).map(str::as_bytes).collect()
});

/// The first three digits of a ZIP code, or `000` where too few people live there (45 CFR
/// 164.514(b)(2)(i)(B)). `None` where it is no ZIP code: five digits, or nine with or without the hyphen.
pub(crate) fn zip3(code: &[u8]) -> Option<[u8; 3]> {
    let code = code.trim_ascii();
    let digits =
        |range: std::ops::Range<usize>| code.get(range).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    let is_zip = match code.len() {
        3 | 5 | 9 => digits(0..code.len()),
        10 => digits(0..5) && code.get(5) == Some(&b'-') && digits(6..10),
        _ => false,
    };
    let area: [u8; 3] = code.get(..3).filter(|_| is_zip)?.try_into().ok()?;
    Some(if SMALL_ZIP3.contains(area.as_slice()) { *b"000" } else { area })
}

/// Whether this is the postal abbreviation of a state, territory or Canadian province.
pub(crate) fn is_state(state: &[u8]) -> bool {
    TABLES.table("state").is_some_and(|table| TABLES.lists(table, &state.to_ascii_uppercase()))
}

/// Whether this is a country of ISO 3166-1.
pub(crate) fn is_country(country: &[u8]) -> bool {
    TABLES.table("iso3166").is_some_and(|table| TABLES.lists(table, &country.to_ascii_uppercase()))
}

/// Whether ZIP codes are those of the United States: where the country says so, or nothing.
pub(crate) fn is_united_states(country: &[u8]) -> bool {
    matches!(country.to_ascii_uppercase().as_slice(), b"" | b"US" | b"USA" | b"UM" | b"UMI")
}

/// Whether this can be the name of a city: letters, blanks, `'`, `-`, `.`.
pub(crate) fn is_city(city: &[u8]) -> bool {
    std::str::from_utf8(city).is_ok_and(|city| {
        city.len() <= CITY_BYTES_MAX && city.chars().all(|c| c.is_alphabetic() || " '-.".contains(c))
    })
}

/// Whether this can be a postal code of any country: letters, digits, a blank or a hyphen, and a digit among
/// them.
pub(crate) fn is_postal_code(code: &[u8]) -> bool {
    code.len() <= POSTAL_CODE_BYTES_MAX
        && code.iter().any(u8::is_ascii_digit)
        && code.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ' || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zip_codes_keep_three_digits_or_none() {
        for (code, expected) in [
            ("02139", Some(b"021")),
            ("02139-4307", Some(b"021")),
            ("021394307", Some(b"021")),
            ("05901", Some(b"000")),
            ("20500", Some(b"000")),
            ("03601", Some(b"000")),
            ("036", Some(b"000")),
            ("", None),
            ("0213", None),
            ("SW1A1", None),
            ("02139 4307", None),
            ("5551234567", None),
        ] {
            assert_eq!(zip3(code.as_bytes()).as_ref(), expected, "{code}");
        }
        assert_eq!(SMALL_ZIP3.len(), 19);
    }

    #[test]
    fn states_and_countries() {
        assert!(is_state(b"MA") && is_state(b"ma") && is_state(b"QC"));
        assert!(!is_state(b"SMITH") && !is_state(b"XX") && !is_state(b""));
        assert!(is_country(b"USA") && is_country(b"DE") && !is_country(b"DOE"));
    }

    #[test]
    fn cities_are_words() {
        assert!(is_city(b"St. Mary's-on-Sea") && is_city("Zürich".as_bytes()));
        assert!(!is_city(b"12 Main") && !is_city(b"a@b") && !is_city(&[0xe9]));
    }
}
