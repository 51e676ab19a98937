//! Units of measure: recognised word by word, so that a name in their place is not one.

use std::sync::LazyLock;

use crate::fnv::Set;
use crate::tables::{SOURCES, entries};

/// Longest unit that passes, in bytes.
pub const UNIT_BYTES_MAX: usize = 24;
/// Most digits in a unit (`10*12/L` has four), and in one number of it: no number hides in one.
const UNIT_DIGITS_MAX: usize = 5;
const UNIT_NUMBER_DIGITS_MAX: usize = 4;

const PREFIXES: [&str; 19] =
    ["", "y", "z", "e", "p", "t", "g", "m", "k", "h", "da", "d", "c", "u", "µ", "n", "f", "a", "mc"];

static WORDS: LazyLock<Set<String>> = LazyLock::new(|| {
    let [_, _, _, units, ..] = SOURCES;
    let mut words = Set::default();
    for (name, atoms) in entries(units) {
        let prefixes = if name == "metric" { PREFIXES.as_slice() } else { &[""] };
        for atom in atoms {
            words.extend(prefixes.iter().map(|prefix| format!("{prefix}{atom}")));
        }
    }
    words
});

/// Whether this is a unit of measure: UCUM, or what wards and laboratories write for it.
pub fn is_unit(unit: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(unit) else { return false };
    if text.is_empty() || text.len() > UNIT_BYTES_MAX {
        return false;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == 'µ' || "/.*^()[]{}%'-_ +".contains(c);
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if digits > UNIT_DIGITS_MAX || longest > UNIT_NUMBER_DIGITS_MAX || !text.chars().all(fits) {
        return false;
    }
    let words =
        || text.split(|c: char| !(c.is_alphabetic() || c == '_' || c == '\'')).filter(|w| !w.is_empty());
    let unit_like = words().next().is_some() || text.contains('%') || text == "1";
    unit_like
        && words().all(|word| word == "_" || WORDS.contains(word.to_lowercase().trim_start_matches('_')))
}

/// Whether the unit counts something in a volume: `/mL`, `{copies}/mL`, `[IU]/mL`, `10*3/uL`. Of such there may be many
/// millions; of nothing else that is measured on a ward.
pub(crate) fn counts_in_volume(unit: &[u8]) -> bool {
    const COUNTED: [&str; 14] = [
        "",
        "cop",
        "copies",
        "copy",
        "cp",
        "cps",
        "geq",
        "iu",
        "cfu",
        "pfu",
        "cells",
        "cell",
        "particles",
        "u",
    ];
    const VOLUMES: [&str; 8] = ["ml", "l", "ul", "dl", "mcl", "µl", "mm3", "cmm"];
    let Some((what, volume)) = std::str::from_utf8(unit).ok().and_then(|unit| unit.rsplit_once('/')) else {
        return false;
    };
    // `[copies]`, `{copies}`, and the number that the count is a multiple of.
    let what: String =
        what.chars().filter(|c| c.is_ascii_alphabetic()).map(|c| c.to_ascii_lowercase()).collect();
    is_unit(unit) && COUNTED.contains(&what.as_str()) && VOLUMES.contains(&volume.to_lowercase().as_str())
}

/// Whether the unit is a year, in any spelling, or an age's unit of years: then a value above 89 may be an
/// age.
pub(crate) fn is_year(unit: &[u8]) -> bool {
    const YEARS: [&str; 16] = [
        "a", "y", "yr", "yrs", "year", "years", "yo", "aj", "ag", "at", "yearold", "yearsold", "yrold",
        "yrsold", "jahre", "ans",
    ];
    is_one_of(unit, &YEARS)
}

/// How many of this unit make 90 years; `None` where it is no unit that ages are given in.
pub(crate) fn ninety_years(unit: &[u8]) -> Option<f64> {
    const UNITS: [(&[&str], f64); 5] = [
        (&["mo", "mos", "month", "months", "moj", "mon"], 90.0 * 12.0),
        (&["wk", "wks", "week", "weeks"], 90.0 * 52.17),
        (&["d", "day", "days"], 90.0 * 365.25),
        (&["h", "hr", "hrs", "hour", "hours"], 90.0 * 365.25 * 24.0),
        (&["min", "mins", "minute", "minutes"], 90.0 * 365.25 * 24.0 * 60.0),
    ];
    UNITS.iter().find(|(names, _)| is_one_of(unit, names)).map(|(_, count)| *count)
}

/// Compares letters alone, in any case; `yrs.`, `{years}` and `a_j` are years, `/a` is none.
fn is_one_of(unit: &[u8], names: &[&str]) -> bool {
    let letters = || unit.iter().filter(|b| b.is_ascii_alphabetic()).map(u8::to_ascii_lowercase);
    let plain =
        unit.iter().all(|b| !b.is_ascii_digit() && b.is_ascii() && (*b != b'/' || is_years_old(unit)));
    unit.len() <= UNIT_BYTES_MAX && plain && names.iter().any(|name| letters().eq(name.bytes()))
}

fn is_years_old(unit: &[u8]) -> bool {
    unit.trim_ascii().eq_ignore_ascii_case(b"y/o")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_pass() {
        for unit in [
            "mg/dL",
            "mmol/L",
            "10*3/uL",
            "10^9/L",
            "x10^9/l",
            "K/uL",
            "mm[Hg]",
            "mmHg",
            "%",
            "/min",
            "bpm",
            "[degF]",
            "degC",
            "kg",
            "kg/m2",
            "mL/min/{1.73_m2}",
            "{score}",
            "g/dL",
            "GM/DL",
            "fL",
            "pg",
            "[IU]/mL",
            "mIU/L",
            "U/L",
            "uL",
            "10*6/uL",
            "{ratio}",
            "cm",
            "[in_i]",
            "[lb_av]",
            "s",
            "sec",
            "mL",
            "TABLET",
            "1",
            "ng/mL",
            "meq/l",
            "mL/min/1.73m2",
            "Cel",
            "a",
            "yrs",
            "mm(hg)",
            "/HPF",
            "thou/mcL",
        ] {
            assert!(is_unit(unit.as_bytes()), "{unit}");
        }
    }

    #[test]
    fn names_and_numbers_do_not() {
        for junk in [
            "",
            "SMITH",
            "John",
            "MARY ANN",
            "DOE^J",
            "123-45-6789",
            "1",
            "5551234567",
            "Boston",
            "mg/SMITH",
            "Müller",
            "a@b",
            "20120501",
            "MRN123",
            "ZQCANARY",
            "44521m",
        ] {
            assert_eq!(is_unit(junk.as_bytes()), junk == "1", "{junk}");
        }
        assert!(!is_unit(&[0xff, b'm']));
    }

    #[test]
    fn times_are_told_in_any_spelling() {
        for year in ["a", "Years", "yrs.", "{years}", "Y/O", "y.o.", "years old", "a_j", "[yr]"] {
            assert!(is_year(year.as_bytes()), "{year}");
        }
        for other in ["", "/a", "mo", "d", "kg/year", "1 a", "pack-years", "Jahr\u{e9}"] {
            assert!(!is_year(other.as_bytes()), "{other}");
        }
        assert_eq!(ninety_years(b"MONTHS"), Some(1080.0));
        assert_eq!(ninety_years(b"/mo"), None);
        assert_eq!(ninety_years(b"mg"), None);
    }
}
