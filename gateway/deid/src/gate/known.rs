//! The strings by which a record knows its people, from where HL7 puts them.

use std::borrow::Cow;
use std::collections::HashSet;

use super::sieve::{Exchanges, Sieve};
use super::text::{Delimiters, digits, is_numeric, lines, lower, squeezed, words};
use super::{Dates, HitKind, Scope, ordinary};

/// Shortest word of a name that is looked for. Shorter ones are also units, states and codes.
pub const NAME_LETTERS_MIN: usize = 3;
/// Shortest identifier that is looked for, in letters and digits.
pub const ID_CHARACTERS_MIN: usize = 4;
/// Shortest word of an address that is looked for.
pub const STREET_LETTERS_MIN: usize = 4;
/// Shortest number, digits alone, that is looked for of a provider; and of anybody without letters or zeros that stand
/// before it. Shorter ones are also results.
pub const BARE_ID_DIGITS_MIN: usize = 5;
/// Fewest digits of a value that is compared without its points and hyphens: a social security number cut by points
/// is found, a result with a point in it is not taken for another number.
const CUT_DIGITS_MIN: usize = 7;
/// The earliest year in which the gate can run: a box whose clock was lost counts ages from it.
const THIS_YEAR_MIN: i16 = 2026;
/// Digits of a telephone number without its area.
const TELEPHONE_DIGITS: usize = 7;
/// Digits of one with its country and area.
const COUNTRY_AREA_AND_NUMBER_DIGITS: usize = 11;

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// XPN, PN: names in components 1 to 3 and beyond 9.
    Name,
    /// XCN, CN: an identifier, then a name.
    Provider,
    /// CX, ST: an identifier.
    Id,
    /// XAD, AD: street, other, city.
    Address,
    /// XTN, TN.
    Telephone,
    BirthDate,
}

/// Fields by number, from 1.
type Fields = &'static [(usize, Holds)];

/// Where people stand. Fields as HL7 counts.
const PLACES: [(&[u8; 3], Fields); 16] = {
    use Holds::{Address, BirthDate, Id, Name, Provider, Telephone};
    [
        (
            b"PID",
            &[
                (2, Id),
                (3, Id),
                (4, Id),
                (5, Name),
                (6, Name),
                (7, BirthDate),
                (9, Name),
                (11, Address),
                (13, Telephone),
                (14, Telephone),
                (18, Id),
                (19, Id),
                (20, Id),
                (21, Id),
                (23, Address),
                (40, Telephone),
            ],
        ),
        (b"PD1", &[(4, Provider)]),
        (b"MRG", &[(1, Id), (2, Id), (3, Id), (4, Id), (5, Id), (6, Id), (7, Name)]),
        (
            b"NK1",
            &[
                (2, Name),
                (4, Address),
                (5, Telephone),
                (6, Telephone),
                (12, Id),
                (16, BirthDate),
                (26, Name),
                (30, Name),
                (31, Telephone),
                (32, Address),
                (33, Id),
                (37, Id),
                (40, Telephone),
                (41, Telephone),
            ],
        ),
        (
            b"GT1",
            &[
                (2, Id),
                (3, Name),
                (4, Name),
                (5, Address),
                (6, Telephone),
                (7, Telephone),
                (8, BirthDate),
                (12, Id),
                (16, Name),
                (17, Address),
                (18, Telephone),
                (19, Id),
                (29, Id),
                (42, Name),
                (45, Name),
                (46, Telephone),
            ],
        ),
        (
            b"IN1",
            &[
                (6, Name),
                (7, Telephone),
                (10, Id),
                (16, Name),
                (18, BirthDate),
                (19, Address),
                (36, Id),
                (44, Address),
                (49, Id),
            ],
        ),
        (
            b"IN2",
            &[
                (1, Id),
                (2, Id),
                (6, Id),
                (7, Name),
                (8, Id),
                (9, Name),
                (10, Id),
                (22, Name),
                (25, Id),
                (26, Id),
                (40, Name),
                (52, Name),
                (53, Telephone),
                (58, Telephone),
                (61, Id),
                (62, Id),
                (63, Telephone),
                (64, Telephone),
            ],
        ),
        (
            b"PV1",
            &[
                (5, Id),
                (7, Provider),
                (8, Provider),
                (9, Provider),
                (17, Provider),
                (19, Id),
                (50, Id),
                (52, Provider),
            ],
        ),
        (b"PV2", &[(13, Provider)]),
        (
            b"ORC",
            &[(10, Provider), (11, Provider), (12, Provider), (14, Telephone), (19, Provider), (24, Address)],
        ),
        (b"OBR", &[(10, Provider), (16, Provider), (17, Telephone), (28, Provider)]),
        (b"OBX", &[(16, Provider), (25, Provider)]),
        (b"EVN", &[(5, Provider)]),
        (b"ROL", &[(4, Provider), (11, Address), (12, Telephone)]),
        (b"DG1", &[(16, Provider)]),
        (b"TXA", &[(5, Provider), (9, Provider), (10, Provider), (11, Provider)]),
    ]
};

/// The known strings of one record.
#[derive(Default)]
pub(super) struct Known {
    names: HashSet<Vec<u8>>,
    addresses: HashSet<Vec<u8>>,
    cities: HashSet<Vec<u8>>,
    /// As written in lower case, and squeezed.
    ids: HashSet<Vec<u8>>,
    telephones: HashSet<Vec<u8>>,
    /// Digits in five orders, and the years of who is over 89.
    birth_dates: HashSet<Vec<u8>>,
    /// All of them but telephone numbers.
    sieve: Sieve,
    exchanges: Exchanges,
}

impl Known {
    /// Reads them from a message: what the scope lets through is not among them.
    pub(super) fn of_message(message: &[u8], year: i16, scope: Scope) -> Self {
        let mut known = Self::default();
        let year = year.max(THIS_YEAR_MIN);
        let mut delimiters = Delimiters::of(message);
        for (_, line) in lines(message) {
            if let Some(own) = Delimiters::of_line(line) {
                delimiters = own;
                continue;
            }
            let Some((_, places)) = PLACES.iter().find(|(name, _)| line.starts_with(*name)) else { continue };
            for (number, field) in line.split(|b| *b == delimiters.field).enumerate() {
                let Some((_, holds)) = places.iter().find(|(n, _)| *n == number) else { continue };
                let may_stay = match holds {
                    Holds::Provider => scope.providers,
                    Holds::BirthDate => scope.dates == Dates::Kept,
                    Holds::Name | Holds::Id | Holds::Address | Holds::Telephone => false,
                };
                if may_stay {
                    continue;
                }
                for repetition in field.split(|b| *b == delimiters.repetition) {
                    known.learn(*holds, repetition, delimiters, year, scope);
                }
            }
        }
        known.settle(scope);
        known
    }

    /// Everything was learned; before that nothing is found.
    pub(super) fn settle(&mut self, scope: Scope) {
        let cities = std::mem::take(&mut self.cities);
        if !scope.towns {
            self.addresses.extend(cities);
        } else {
            // A street may be named after the town it is in, and the town may stay.
            self.addresses.retain(|word| !cities.contains(word));
        }
        self.sift();
    }

    /// Fills the sieve.
    fn sift(&mut self) {
        let strings = [&self.names, &self.addresses, &self.ids, &self.birth_dates].into_iter().flatten();
        strings.for_each(|string| self.sieve.put(string));
        self.telephones.iter().for_each(|number| self.exchanges.put(number));
    }

    /// A telephone number, or an address of mail.
    pub(super) fn telecom(&mut self, value: &[u8]) {
        self.telephone(value, std::iter::once(value));
    }

    /// A line of an address.
    pub(super) fn street(&mut self, line: &[u8]) {
        address(&mut self.addresses, line);
    }

    pub(super) fn city(&mut self, name: &[u8]) {
        address(&mut self.cities, name);
    }

    /// The names of devices.
    pub(super) fn of_devices<'d>(devices: impl Iterator<Item = &'d str>) -> Self {
        let mut known = Self::default();
        devices.for_each(|device| known.id(device.as_bytes()));
        known.sift();
        known
    }

    fn learn(&mut self, holds: Holds, value: &[u8], delimiters: Delimiters, year: i16, scope: Scope) {
        let components = || value.split(|b| *b == delimiters.component);
        let first = components().next().unwrap_or_default();
        match holds {
            Holds::Name => {
                for (_, part) in components().enumerate().filter(|(n, _)| *n < 3 || *n > 8) {
                    self.name(part);
                }
            }
            Holds::Provider => {
                if !is_numeric(first) || digits(first).len() >= BARE_ID_DIGITS_MIN {
                    self.id(first);
                }
                components().skip(1).take(3).for_each(|part| self.name(part));
            }
            Holds::Id => {
                self.id(first.split(|b| *b == delimiters.subcomponent).next().unwrap_or_default());
            }
            Holds::Address => {
                components().take(2).for_each(|part| address(&mut self.addresses, part));
                components().skip(2).take(1).for_each(|part| address(&mut self.cities, part));
            }
            Holds::Telephone => self.telephone(value, components()),
            Holds::BirthDate => self.birth_date(first, year, scope),
        }
    }

    pub(super) fn name(&mut self, part: &[u8]) {
        let is_name = |w: &&[u8]| w.len() >= NAME_LETTERS_MIN && w.iter().any(|b| !b.is_ascii_digit());
        self.names.extend(words(&lower(part)).filter(is_name).map(<[u8]>::to_vec));
    }

    pub(super) fn id(&mut self, id: &[u8]) {
        let squeezed = squeezed(id);
        if squeezed.len() < ID_CHARACTERS_MIN || is_filler(&squeezed) || is_year(&squeezed) {
            return;
        }
        // `MRN-00044521` is also `44521`.
        let bare = digits(id);
        let bare = bare.get(bare.iter().position(|b| *b != b'0').unwrap_or_default()..).unwrap_or_default();
        if bare.len() >= BARE_ID_DIGITS_MIN {
            self.ids.insert(bare.to_vec());
        }
        self.ids.insert(lower(id.trim_ascii()));
        self.ids.insert(squeezed);
    }

    fn telephone<'v>(&mut self, whole: &[u8], components: impl Iterator<Item = &'v [u8]>) {
        let parts: Vec<&[u8]> = components.collect();
        // Country, area and number in components of their own make one number.
        let split: Vec<u8> = parts.iter().skip(4).take(3).flat_map(|p| digits(p)).collect();
        for number in parts.iter().map(|p| digits(p)).chain([split]) {
            let local = number.len().checked_sub(TELEPHONE_DIGITS).and_then(|at| number.get(at..));
            if let Some(local) = local.filter(|local| !is_filler(local)) {
                self.telephones.insert(local.to_vec());
            }
        }
        if whole.contains(&b'@') {
            parts.iter().filter(|p| p.contains(&b'@')).for_each(|p| self.id(p));
        }
    }

    pub(super) fn birth_date(&mut self, date: &[u8], this_year: i16, scope: Scope) {
        let all = digits(date);
        let (Some(year), month, day) = (all.get(..4), all.get(4..6), all.get(6..8)) else { return };
        let written = std::str::from_utf8(year).ok().and_then(|y| y.parse::<i16>().ok()).unwrap_or(i16::MAX);
        if this_year.saturating_sub(written) >= 90 && !scope.ages {
            self.birth_dates.insert(year.to_vec());
        }
        let (Some(month), Some(day)) = (month, day) else { return };
        // A moved date may read as the birth date with month and day exchanged.
        let others = if scope.dates == Dates::Shifted { 0 } else { 3 };
        let other_orders = [[month, day, year], [day, month, year], [year, day, month]];
        for order in std::iter::once([year, month, day]).chain(other_orders.into_iter().take(others)) {
            self.birth_dates.insert(order.concat());
        }
        let hyphens = [year, month, day].join(&b'-');
        self.birth_dates.insert(hyphens);
    }

    /// Whether a telephone number stands among the digits of a value. In a number with one point it is what stands before the
    /// point, or it ends the whole: what a machine computed to sixteen digits holds any seven sooner or later.
    fn has_telephone(&self, lower: &[u8], digits: &[u8], numeric: bool) -> bool {
        let is_known = |window: &[u8]| self.exchanges.has(window) && self.telephones.contains(window);
        let any = |digits: &[u8]| digits.windows(TELEPHONE_DIGITS).any(is_known);
        let mut halves = lower.strip_prefix(b"-").unwrap_or(lower).split(|b| *b == b'.');
        let is_whole = |half: &[u8]| half.iter().all(u8::is_ascii_digit);
        match (halves.next(), halves.next(), halves.next()) {
            (Some(before), Some(after), None) if numeric && is_whole(before) && is_whole(after) => {
                let last = digits.len().checked_sub(TELEPHONE_DIGITS).and_then(|at| digits.get(at..));
                any(before) || last.is_some_and(any)
            }
            _ => any(digits),
        }
    }

    /// What of the record stands in a value. `town`: the value stands where a town may.
    pub(super) fn find(&self, value: &[u8], town: bool) -> Option<HitKind> {
        if self.sieve.keeps(value) { self.look(value, town) } else { None }
    }

    fn look(&self, value: &[u8], town: bool) -> Option<HitKind> {
        let lower = lower(value.trim_ascii());
        let words = || words(&lower);
        let numeric = is_numeric(value);
        let may_be_town = || town && ordinary::is_town(words());
        // No name and no street is all digits.
        if !numeric && self.stands_in(&self.names, &lower) && !may_be_town() {
            return Some(HitKind::Name);
        }
        let whole = if numeric { Cow::Borrowed(lower.as_slice()) } else { Cow::Owned(squeezed(value)) };
        let cut = digits(&lower);
        let bare = cut.get(cut.iter().position(|b| *b != b'0').unwrap_or_default()..).unwrap_or_default();
        let is_id = |text: &[u8]| self.sieve.may_have(text) && self.ids.contains(text);
        let id = is_id(&whole) && !ordinary::is_word(&whole)
            || numeric && cut.len() >= CUT_DIGITS_MIN && is_id(&cut)
            || numeric && cut.len() == lower.len() && bare.len() < cut.len() && is_id(bare)
            || !numeric && words().any(|word| is_id(word) && !ordinary::is_word(word));
        if id {
            return Some(HitKind::Identifier);
        }
        if !numeric && self.stands_in(&self.addresses, &lower) && !may_be_town() {
            return Some(HitKind::Address);
        }
        if cut.len() >= TELEPHONE_DIGITS && self.has_telephone(&lower, &cut, numeric) {
            return Some(HitKind::Telephone);
        }
        let is_birth = |text: &[u8]| {
            let day = text.get(..8).filter(|_| text.len() > 8);
            let is_known = |text: &[u8]| self.sieve.may_have(text) && self.birth_dates.contains(text);
            is_known(text) || day.is_some_and(is_known)
        };
        let born = is_birth(&whole) || !numeric && words().any(is_birth);
        born.then_some(HitKind::BirthDate)
    }
}

impl Known {
    /// Whether one of the words stands in a value of lower case: an ordinary one only in a sentence, or with another.
    fn stands_in(&self, known: &HashSet<Vec<u8>>, lower: &[u8]) -> bool {
        let hits = || words(lower).filter(|word| self.sieve.may_have(word) && known.contains(*word));
        let tells =
            |word: &[u8]| word.len() >= NAME_LETTERS_MIN && !ordinary::is_word(word) && !is_numeric(word);
        match hits().count() {
            0 => false,
            1 => hits().any(tells) || lower.contains(&b' ') && words(lower).any(tells),
            _ => hits().any(tells) || lower.contains(&b' '),
        }
    }

    /// What of the record a whole field is, where its delimiters cut it into numbers: `778^-^8123`, `617~5550143`.
    /// Birth dates only with `any_date`.
    pub(super) fn find_cut(&self, field: &[u8], delimiters: Delimiters, any_date: bool) -> Option<HitKind> {
        if field.len() < CUT_DIGITS_MIN
            || !field.iter().all(|b| is_numeric(std::slice::from_ref(b)) || delimiters.cuts(*b))
            || !field.iter().any(|b| delimiters.cuts(*b))
        {
            return None;
        }
        let number = digits(field);
        if number.len() < CUT_DIGITS_MIN {
            return None;
        }
        let local = number.len().checked_sub(TELEPHONE_DIGITS).and_then(|at| number.get(at..));
        if self.ids.contains(&number) {
            Some(HitKind::Identifier)
        } else if number.len() <= COUNTRY_AREA_AND_NUMBER_DIGITS
            && local.is_some_and(|local| self.telephones.contains(local))
        {
            Some(HitKind::Telephone)
        } else {
            (any_date && self.birth_dates.contains(&number)).then_some(HitKind::BirthDate)
        }
    }
}

/// Whether a birth date belongs in this field of a line.
pub(super) fn is_birth_date(line: &[u8], field: usize) -> bool {
    let places = PLACES.iter().find(|(name, _)| line.starts_with(*name)).map(|(_, places)| *places);
    places.unwrap_or_default().contains(&(field, Holds::BirthDate))
}

/// `0000`, `9999999`: what is typed where a number is not known.
fn is_filler(number: &[u8]) -> bool {
    number.first().is_some_and(|first| first.is_ascii_digit() && number.iter().all(|b| b == first))
}

/// Four digits that read as a year: they stand in every message.
fn is_year(number: &[u8]) -> bool {
    number.len() == 4 && is_numeric(number) && (number.starts_with(b"19") || number.starts_with(b"20"))
}

fn address(into: &mut HashSet<Vec<u8>>, part: &[u8]) {
    let is_word = |w: &&[u8]| w.len() >= STREET_LETTERS_MIN && w.iter().any(|b| !b.is_ascii_digit());
    into.extend(words(&lower(part)).filter(is_word).map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names, numbers, days and streets, and what they may be mistaken for.
    fn string() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-cA-C]{1,5}",
            "[0-9]{1,14}",
            "0{1,3}[1-9]{2,6}",
            "[A-C]{1,2}[0-9]{2,6}",
            "19[0-9]{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12][0-9])",
            "[a-c]{2,3}é[a-c]{0,2}",
        ]
    }

    fn gap() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just(""), Just(" "), Just("-"), Just("."), Just("^"), Just("0")]
    }

    proptest! {
        /// The sieve lets nothing fall that would be found.
        #[test]
        fn what_falls_through_the_sieve_holds_nothing(
            names in prop::collection::vec(string(), 0..4),
            ids in prop::collection::vec(string(), 0..3),
            telephone in string(),
            born in string(),
            value in prop::collection::vec((string(), gap()), 0..4),
        ) {
            let mut known = Known::default();
            names.iter().for_each(|name| known.name(name.as_bytes()));
            names.iter().for_each(|name| known.street(name.as_bytes()));
            ids.iter().for_each(|id| known.id(id.as_bytes()));
            known.telecom(telephone.as_bytes());
            let digits: String = born.chars().filter(char::is_ascii_digit).collect();
            let scope = Scope::from(crate::Label::SafeHarbor);
            known.birth_date(digits.as_bytes(), 2026, scope);
            known.settle(scope);
            let value: String = value.into_iter().map(|(text, gap)| text + gap).collect();
            for value in names.iter().chain(&ids).chain([&telephone, &born, &value]) {
                let found = known.find(value.as_bytes(), false);
                prop_assert_eq!(found, known.look(value.as_bytes(), false), "{}", value);
            }
        }
    }
}
