//! Addresses as far as a policy lets them through.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::tables::{SOURCES, TABLES, entries};

/// Longest name of a city that passes, in bytes.
const CITY_BYTES_MAX: usize = 40;
/// Longest postal code that passes, in bytes.
const POSTAL_CODE_BYTES_MAX: usize = 10;
/// Most digits of one outside the United States (Brazil has eight).
const POSTAL_CODE_DIGITS_MAX: usize = 8;
/// Last words of streets and of parts of a building: a line of an address in the wrong place.
const STREETS: [&str; 21] = [
    "street",
    "str",
    "avenue",
    "ave",
    "road",
    "rd",
    "lane",
    "ln",
    "drive",
    "dr",
    "boulevard",
    "blvd",
    "highway",
    "hwy",
    "parkway",
    "pkwy",
    "terrace",
    "apt",
    "apartment",
    "suite",
    "ste",
];
/// First words of lines that are about a person or a box, not about a place.
const NO_PLACES: [&str; 11] =
    ["co", "care", "attn", "attention", "mr", "mrs", "ms", "miss", "dr", "apt", "pobox"];

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

/// Whether this can be the name of a city: letters, blanks, `'`, `-`, `.`, and not what streets end with.
pub(crate) fn is_city(city: &[u8]) -> bool {
    std::str::from_utf8(city).is_ok_and(|city| {
        let mut words = city.split([' ', '.']).filter(|w| !w.is_empty());
        let (first, last) = (words.clone().next(), words.next_back());
        let is = |word: Option<&str>, list: &[&str]| {
            word.is_some_and(|word| list.iter().any(|listed| word.eq_ignore_ascii_case(listed)))
        };
        city.len() <= CITY_BYTES_MAX
            && city.chars().all(|c| c.is_alphabetic() || " '-.".contains(c))
            && !(first != last && is(last, &STREETS))
            && !is(first, &NO_PLACES)
    })
}

/// Whether this can be a postal code: of the United States or Canada where the country says so, or nothing;
/// elsewhere up to eight digits, and letters in groups of one or two. No telephone number and no number of the chart.
pub(crate) fn is_postal_code(code: &[u8], country: &[u8]) -> bool {
    let shape: Vec<u8> = code
        .iter()
        .map(|b| match b {
            b'0'..=b'9' => b'9',
            b'A'..=b'Z' | b'a'..=b'z' => b'A',
            other => *other,
        })
        .collect();
    if is_united_states(country) {
        const HERE: [&[u8]; 6] = [b"99999", b"99999-9999", b"999999999", b"A9A 9A9", b"A9A9A9", b"A9A-9A9"];
        return HERE.contains(&shape.as_slice());
    }
    let digits = shape.iter().filter(|b| **b == b'9').count();
    code.len() <= POSTAL_CODE_BYTES_MAX
        && (1..=POSTAL_CODE_DIGITS_MAX).contains(&digits)
        && shape.iter().all(|b| matches!(b, b'9' | b'A' | b' ' | b'-'))
        && !shape.windows(3).any(|letters| letters == b"AAA")
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
        for city in ["St. Louis", "Street", "Pewee Valley", "Park Ridge", "Avenel", "Le Mans", ""] {
            assert!(is_city(city.as_bytes()), "{city}");
        }
        for line in ["Larkspur Lane", "MAIN ST APT", "Dr. Hollowell", "Mrs Feather", "Elm Blvd."] {
            assert!(!is_city(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn postal_codes_are_those_of_the_country() {
        for (code, country, fits) in [
            ("02139", "USA", true),
            ("02139-4307", "", true),
            ("K1A 0B1", "CAN", true),
            ("K1A 0B1", "", true),
            ("SW1A 1AA", "GBR", true),
            ("1234 AB", "NL", true),
            ("01310-100", "BRA", true),
            ("50667", "DEU", true),
            ("6175550143", "", false),
            ("6175550143", "DEU", false),
            ("555-0143", "USA", false),
            ("MRN44521", "", false),
            ("MRN44521", "DEU", false),
            ("123-45-678", "USA", false),
            ("Ottoline", "DEU", false),
            ("", "", false),
        ] {
            assert_eq!(is_postal_code(code.as_bytes(), country.as_bytes()), fits, "{code} {country}");
        }
    }
}
