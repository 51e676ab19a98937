//! What a word tells about what stands beside it: the classes of `data/cues.txt`, as bits.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The classes of a word.
pub(super) type Class = u32;

pub(super) const TITLE: Class = 1;
pub(super) const KIN: Class = 1 << 1;
pub(super) const LABEL: Class = 1 << 2;
pub(super) const DEGREE: Class = 1 << 3;
pub(super) const SUFFIX: Class = 1 << 4;
pub(super) const PARTICLE: Class = 1 << 5;
pub(super) const EPONYM_OF: Class = 1 << 6;
pub(super) const FACILITY: Class = 1 << 7;
pub(super) const FACILITY_PART: Class = 1 << 8;
pub(super) const PLACE_CUE: Class = 1 << 9;
pub(super) const ORG_CUE: Class = 1 << 10;
pub(super) const MONTH: Class = 1 << 11;
pub(super) const WEEKDAY: Class = 1 << 12;
pub(super) const HOLIDAY: Class = 1 << 13;
pub(super) const ORDINAL: Class = 1 << 14;
pub(super) const DATE_CUE: Class = 1 << 15;
pub(super) const MONTH_CUE: Class = 1 << 16;
pub(super) const NUMBER_CUE: Class = 1 << 17;
pub(super) const WEAK_CUE: Class = 1 << 18;
pub(super) const FILLER: Class = 1 << 19;
pub(super) const PHONE_CUE: Class = 1 << 20;
pub(super) const UNIT: Class = 1 << 21;
pub(super) const CODE_CUE: Class = 1 << 22;
pub(super) const STREET: Class = 1 << 23;
pub(super) const STREET_FIRST: Class = 1 << 24;
pub(super) const ROOM: Class = 1 << 25;
pub(super) const DIRECTION: Class = 1 << 26;
pub(super) const PLACE: Class = 1 << 27;
pub(super) const PLACE_PART: Class = 1 << 28;
pub(super) const PERSON_VERB: Class = 1 << 29;
pub(super) const FRACTION_CUE: Class = 1 << 30;
pub(super) const CLINIC: Class = 1 << 31;

const NAMES: [(&str, Class); 32] = [
    ("title", TITLE),
    ("kin", KIN),
    ("label", LABEL),
    ("degree", DEGREE),
    ("suffix", SUFFIX),
    ("particle", PARTICLE),
    ("eponym-of", EPONYM_OF),
    ("facility", FACILITY),
    ("facility-part", FACILITY_PART),
    ("place-cue", PLACE_CUE),
    ("org-cue", ORG_CUE),
    ("month", MONTH),
    ("weekday", WEEKDAY),
    ("holiday", HOLIDAY),
    ("ordinal", ORDINAL),
    ("date-cue", DATE_CUE),
    ("month-cue", MONTH_CUE),
    ("number-cue", NUMBER_CUE),
    ("weak-cue", WEAK_CUE),
    ("filler", FILLER),
    ("phone-cue", PHONE_CUE),
    ("unit", UNIT),
    ("code-cue", CODE_CUE),
    ("street", STREET),
    ("street-first", STREET_FIRST),
    ("room", ROOM),
    ("direction", DIRECTION),
    ("place", PLACE),
    ("place-part", PLACE_PART),
    ("person-verb", PERSON_VERB),
    ("fraction-cue", FRACTION_CUE),
    ("clinic", CLINIC),
];

pub(super) const SOURCE: &str = include_str!("../../data/cues.txt");
/// Words of the clinic that the lists of names and words are packed with: they name nobody either.
pub(super) const CLINIC_WORDS: &str = include_str!("../../data/clinic.txt");

static CLASSES: LazyLock<HashMap<&'static str, Class>> = LazyLock::new(|| {
    let mut classes: HashMap<&'static str, Class> = CLINIC_WORDS.lines().map(|word| (word, CLINIC)).collect();
    let mut class = 0;
    for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        if !line.starts_with(' ') {
            let name = words.next().unwrap_or_default();
            class = NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, class)| *class);
        }
        for word in words {
            *classes.entry(word).or_default() |= class;
        }
    }
    classes
});

/// The classes of a word in lower case.
pub(super) fn classes(word: &str) -> Class {
    CLASSES.get(word).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_the_file_is_known_and_used() {
        let heads = || {
            SOURCE
                .lines()
                .filter(|line| !line.starts_with(['#', ' ']) && !line.is_empty())
                .filter_map(|line| line.split(' ').next())
        };
        assert!(heads().all(|head| NAMES.iter().any(|(name, _)| *name == head)));
        assert!(NAMES.iter().all(|(name, _)| heads().any(|head| head == *name)));
        assert_eq!(classes("dr") & (TITLE | STREET), TITLE | STREET);
        assert_eq!(classes("metformin"), CLINIC);
        assert_eq!(classes("zzzz"), 0);
    }
}
