//! What an observation says about its own value: its type, what it is about, and its unit.

use std::sync::LazyLock;

use hl7::{Delimiters, Field, Segment, unescape};

use crate::codes;
use crate::fnv::{Map, Set};
use crate::tables::{SOURCES, TABLES, TypeId, entries};
use crate::units;

/// Longest OBX-3 and OBX-6 that are looked into, in bytes. Behind a longer one the value is removed: what it is cannot
/// be told in a time that is linear in the message.
const MEANING_BYTES_MAX: usize = 4096;
/// Components of a coded element that say what is meant: codes and texts, not the names of systems.
const TELLING: [usize; 7] = [1, 2, 4, 5, 9, 10, 11];

/// What OBX says about its own value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observation<'m> {
    pub(super) value_type: Option<TypeId>,
    pub(super) meaning: Meaning,
    /// OBX-3.
    pub(super) identifier: Option<Field<'m>>,
    /// OBX-6.
    unit: Option<Field<'m>>,
}

/// What a value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Meaning {
    #[default]
    Other,
    /// By a word: where the unit is none of time, it was meant otherwise ("percentile for age").
    PerhapsAge,
    /// By its LOINC code.
    Age,
    BirthDate,
    Identifier,
}

/// From where on a number tells an age over 89.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum AgeLimit {
    /// It is no age.
    NoAge,
    /// An age, or an unnamed number, of years.
    Years,
    /// An age, or an unnamed time, in another unit, of which so many are 90 years.
    Other(f64),
    /// An age in a unit that is not known.
    Unknown,
}

impl<'m> Observation<'m> {
    /// What an OBX segment says.
    pub(super) fn of(segment: &Segment<'m>) -> Self {
        let mut observation = Self::default();
        for (number, field) in (1..=6).zip(segment.fields()) {
            match number {
                2 => {
                    let name = std::str::from_utf8(field.raw());
                    observation.value_type = name.ok().and_then(|name| TABLES.type_id(name));
                }
                3 | 6 if field.raw().len() > MEANING_BYTES_MAX => observation.meaning = Meaning::Identifier,
                3 => {
                    observation.meaning = observation.meaning.max(meaning(field));
                    observation.identifier = Some(field);
                }
                6 => observation.unit = Some(field),
                _ => {}
            }
        }
        observation
    }

    /// Whether a number here is an age, and from where on it is over 89.
    pub(super) fn age_limit(&self) -> AgeLimit {
        if self.units().any(units::is_year) {
            return AgeLimit::Years;
        }
        if let Some(limit) = self.units().find_map(units::ninety_years) {
            return AgeLimit::Other(limit);
        }
        let said = self.units().next().is_some();
        match self.meaning {
            Meaning::Age | Meaning::PerhapsAge if !said => AgeLimit::Years,
            Meaning::PerhapsAge if self.has_unit() => AgeLimit::NoAge,
            Meaning::Age | Meaning::PerhapsAge => AgeLimit::Unknown,
            Meaning::BirthDate | Meaning::Identifier | Meaning::Other => AgeLimit::NoAge,
        }
    }

    /// Whether OBX-6 holds a unit of measure, or a code of ISO/IEEE 11073 for one.
    pub(super) fn has_unit(&self) -> bool {
        let Some(delimiters) = self.unit.map(|unit| unit.delimiters()) else { return false };
        self.units().any(|unit| units::is_unit(&unescape(unit, &delimiters)) || is_nomenclature(unit))
    }

    /// What OBX-6 says, but for the names of systems.
    fn units(&self) -> impl Iterator<Item = &'m [u8]> {
        self.unit.into_iter().flat_map(telling)
    }
}

fn is_nomenclature(unit: &[u8]) -> bool {
    codes::System::Mdc.admits(unit, b"MDC")
}

fn telling(field: Field<'_>) -> impl Iterator<Item = &[u8]> {
    let numbered = field.repetitions().flat_map(|r| (1..).zip(r.components()));
    let telling = numbered.filter(|(number, _)| TELLING.contains(number));
    telling.flat_map(|(_, c)| c.subcomponents()).map(|s| s.raw()).filter(|raw| !raw.is_empty())
}

/// An observation that names itself twice is judged by the stricter name.
fn meaning(identifier: Field<'_>) -> Meaning {
    let mut strictest = Meaning::Other;
    let mut by_loinc = false;
    for value in telling(identifier).filter(|value| codes::is_loinc(value)) {
        by_loinc = true;
        strictest = strictest.max(of_code(value));
    }
    let by_word = by_word(identifier.raw(), &identifier.delimiters());
    if by_loinc && by_word == Meaning::PerhapsAge { strictest } else { strictest.max(by_word) }
}

/// What a code of LOINC says of the value beside it.
pub(crate) fn of_code(code: &[u8]) -> Meaning {
    BY_CODE.get(code).copied().unwrap_or_default()
}

/// What the words of a field say.
fn by_word(raw: &[u8], delimiters: &Delimiters) -> Meaning {
    of_words(&unescape(raw, delimiters))
}

/// What words say of the value beside them.
pub(crate) fn of_words(text: &[u8]) -> Meaning {
    let text = text.to_ascii_lowercase();
    let words = || text.split(|b| !b.is_ascii_lowercase()).filter(|word| !word.is_empty());
    let suspects = words().filter_map(|word| BY_WORD.get(word));
    let said = |other: &&[u8]| words().any(|word| word == *other);
    suspects
        .flatten()
        .filter(|(others, _)| others.iter().all(said))
        .map(|(_, meaning)| *meaning)
        .max()
        .unwrap_or_default()
}

fn listed(prefix: &'static str) -> impl Iterator<Item = (Meaning, &'static str)> {
    let [.., loinc] = SOURCES;
    let of = move |name: &str| {
        Some(match name.strip_prefix(prefix)? {
            "age" if prefix.is_empty() => Meaning::Age,
            "age" => Meaning::PerhapsAge,
            "birth-date" => Meaning::BirthDate,
            "identifier" => Meaning::Identifier,
            _ => return None,
        })
    };
    let lists = entries(loinc).into_iter().filter_map(move |(name, of_it)| Some((of(name)?, of_it)));
    lists.flat_map(|(meaning, of_it)| of_it.into_iter().map(move |entry| (meaning, entry)))
}

static BY_CODE: LazyLock<Map<&'static [u8], Meaning>> =
    LazyLock::new(|| listed("").map(|(meaning, code)| (code.as_bytes(), meaning)).collect());

/// Words that must be there as well, and what all mean together.
type Others = (Vec<&'static [u8]>, Meaning);

/// By the first word of an entry.
static BY_WORD: LazyLock<Map<&'static [u8], Vec<Others>>> = LazyLock::new(|| {
    let mut by_word: Map<_, Vec<_>> = Map::default();
    let mut seen = Set::default();
    for (meaning, entry) in listed("word-").filter(|(_, entry)| seen.insert(*entry)) {
        let mut words = entry.split('+').map(str::as_bytes);
        if let Some(first) = words.next() {
            by_word.entry(first).or_default().push((words.collect(), meaning));
        }
    }
    by_word
});

#[cfg(test)]
mod tests {
    use super::*;

    fn of(identifier: &str, unit: &str) -> (Meaning, AgeLimit) {
        let text = format!("MSH|^~\\&|\rOBX|1|NM|{identifier}||7|{unit}\r");
        let message = hl7::Message::parse(text.into_bytes()).unwrap();
        let observation = Observation::of(&message.segment(1).unwrap());
        (observation.meaning, observation.age_limit())
    }

    #[test]
    fn codes_and_words_tell_what_a_value_is_about() {
        for (identifier, meaning) in [
            ("30525-0^Age^LN", Meaning::Age),
            ("AGE^^L", Meaning::PerhapsAge),
            ("X^Patient Age^L", Meaning::PerhapsAge),
            ("PT_AGE^^L", Meaning::PerhapsAge),
            ("X^^L^AGE^^L2", Meaning::PerhapsAge),
            ("X^p\\X41\\ge^L", Meaning::Other),
            ("X^\\X41\\ge^L", Meaning::PerhapsAge),
            ("59576-9^BMI percentile for age^LN", Meaning::Other),
            ("ALTER^Alter des Patienten^L", Meaning::PerhapsAge),
            ("X^Altered mental status^L", Meaning::Other),
            ("DOSAGE^Triage average^L", Meaning::Other),
            ("DOB^^L", Meaning::BirthDate),
            ("X^Date of birth^L", Meaning::BirthDate),
            ("MRN^^L", Meaning::Identifier),
            ("X^Patient's phone (home)^L", Meaning::Identifier),
            ("X^Social Security No^L", Meaning::Identifier),
            ("X^Social history^L", Meaning::Other),
            ("718-7^Hemoglobin^LN^ZIP^^L", Meaning::Identifier),
            ("X^^AGE", Meaning::PerhapsAge),
            ("", Meaning::Other),
        ] {
            assert_eq!(of(identifier, "").0, meaning, "{identifier}");
        }
    }

    #[test]
    fn ages_are_told_from_their_units() {
        for (identifier, unit, limit) in [
            ("30525-0^Age^LN", "", AgeLimit::Years),
            ("30525-0^Age^LN", "moons", AgeLimit::Unknown),
            ("AGE^^L", "", AgeLimit::Years),
            ("AGE^^L", "^years", AgeLimit::Years),
            ("AGE^^L", "moons", AgeLimit::Unknown),
            ("AGE^percentile for age^L", "%", AgeLimit::NoAge),
            ("X^^L", "Yrs. old", AgeLimit::Years),
            ("X^^L", "mo", AgeLimit::Other(1080.0)),
            ("X^^L", "", AgeLimit::NoAge),
            ("X^^L", "mg/dL", AgeLimit::NoAge),
            ("X^^L", "/a", AgeLimit::NoAge),
        ] {
            assert_eq!(of(identifier, unit).1, limit, "{identifier} {unit}");
        }
    }
}
