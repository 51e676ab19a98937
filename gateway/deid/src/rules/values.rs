//! What each rule makes of one value.

use hl7::unescape;

use super::meaning::AgeLimit;
use super::message::Walk;
use super::recognise::{
    compared, decimal, is_digits, is_number, is_range, is_sub_id, is_version, significant_digits,
};
use super::{NUMBER_INTEGER_DIGITS_MAX, Rule};
use crate::codes::System;
use crate::dates::{self, Moved, YEARS_OVER_89};
use crate::geography;
use crate::tables::{Binding, Slot, TABLES, TypeId};
use crate::tally::Touch;
use crate::tokens::TokenKind;
use crate::units;

/// The null value: delete what you have (HL7 v2.8.2 §2.5.3).
pub(super) const NULL: &[u8] = b"\"\"";
/// Longest set id (SI), in digits.
const SET_ID_DIGITS_MAX: usize = 4;
/// An OG has at most so many parts, and each so many digits: `1^1^3`.
const GROUP_PARTS_MAX: usize = 4;
const GROUP_DIGITS_MAX: usize = 2;
/// Most digits of an observation's number, zeros at the ends apart, that pass without a known code or unit, and one
/// less than of a number elsewhere. More may be a telephone number without its area, or a number of the chart.
pub(crate) const UNNAMED_DIGITS_MAX: usize = 5;
/// Most digits of the two numbers of an SN together, counted so: fewer than a social security number has.
const PAIR_DIGITS_MAX: usize = 7;
/// Where a value stands, and so what it is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Repetition,
    Component,
    Subcomponent,
}

impl Level {
    pub(super) const fn below(self) -> Self {
        match self {
            Self::Repetition => Self::Component,
            Self::Component | Self::Subcomponent => Self::Subcomponent,
        }
    }
}

/// Cuts at every separator; at nothing where there is none.
pub(super) fn cut(raw: &[u8], separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(raw);
    std::iter::from_fn(move || {
        let all = rest?;
        let at = separator.and_then(|s| memchr::memchr(s, all));
        let Some((head, tail)) = at.and_then(|at| all.split_at_checked(at)) else {
            rest = None;
            return Some(all);
        };
        rest = tail.get(1..);
        Some(head)
    })
}

impl Walk<'_, '_> {
    /// One value by one rule.
    pub(super) fn value(&mut self, slot: Slot, rule: Rule, raw: &[u8], level: Level) {
        let Some(data_type) = slot.data_type else { return self.refuse(raw, Touch::Removed) };
        if raw.is_empty() {
            return;
        }
        if raw == NULL && rule != Rule::Remove {
            return self.keep(NULL, Touch::Null);
        }
        match rule {
            Rule::Parts => self.parts(data_type, raw, level),
            Rule::Code if is_composite(data_type) => self.coded_element(slot.binding, raw, level),
            Rule::Code => {
                let code = self.only_value(raw, level);
                let known = TABLES.lists(slot.binding, code);
                if known { self.keep(code, Touch::Code) } else { self.refuse(code, Touch::CodeRefused) }
            }
            Rule::Number if is_composite(data_type) => self.structured_number(raw, level),
            Rule::Number => self.number(data_type, raw, level),
            Rule::Year => self.year(raw, level),
            Rule::Date => {
                let date = self.only_value(raw, level);
                let fits = dates::is_date_or_time(date);
                if fits { self.keep(date, Touch::Date) } else { self.refuse(date, Touch::DateRefused) }
            }
            Rule::DateShift => self.shifted(data_type, raw, level),
            Rule::StateZip3 => self.address(raw, level, false),
            Rule::CityStateZip => self.address(raw, level, true),
            Rule::Token => self.token(TokenKind::Keyed, data_type, raw, level),
            Rule::Vault => self.token(TokenKind::Vault, data_type, raw, level),
            Rule::Ff1 => self.format_preserved(data_type, raw, level),
            Rule::Mask => self.mask(raw, level),
            Rule::MaskBut4 => self.mask_but_4(data_type, raw, level),
            Rule::SubId => self.sub_id(raw, level),
            Rule::Range => {
                let range = self.only_value(raw, level);
                if is_range(range) {
                    self.keep(range, Touch::Range)
                } else {
                    self.refuse(range, Touch::RangeRefused)
                }
            }
            Rule::Remove | Rule::Sequence | Rule::ByValueType | Rule::Listed | Rule::Text(_) => {
                self.refuse(raw, Touch::Removed)
            }
        }
    }

    pub(super) const fn separator(&self, level: Level) -> Option<u8> {
        match level {
            Level::Repetition => Some(self.delimiters.component()),
            Level::Component => self.delimiters.subcomponent(),
            Level::Subcomponent => None,
        }
    }

    /// The value of a primitive: what stands before the first deeper delimiter. The standard puts nothing
    /// after it, so that is removed.
    fn only_value<'r>(&mut self, raw: &'r [u8], level: Level) -> &'r [u8] {
        let mut value = raw;
        for separator in [self.separator(level), self.separator(level.below())] {
            value = cut(value, separator).next().unwrap_or_default();
        }
        if value.len() < raw.len() {
            self.tally.count(Touch::ExtraRemoved);
        }
        value
    }

    /// Writes the parts of `raw` with separators between them; those at the end that stayed empty go.
    fn joined(&mut self, level: Level, raw: &[u8], parts: impl IntoIterator<Item = impl FnOnce(&mut Self)>) {
        let mut end = self.out.len();
        for (n, write) in parts.into_iter().enumerate() {
            if n > 0 {
                self.out.extend(self.separator(level));
            }
            let start = self.out.len();
            if self.tally.is_traced() {
                let part = cut(raw, self.separator(level)).nth(n).unwrap_or_default();
                self.tally.enter(format_args!(".{}", n + 1), part);
            }
            write(self);
            self.leave(start);
            if self.out.len() > start {
                end = self.out.len();
            }
        }
        self.out.truncate(end);
    }

    fn parts(&mut self, data_type: TypeId, raw: &[u8], level: Level) {
        let components = TABLES.data_type(data_type).map(|t| t.components.as_slice()).unwrap_or_default();
        if level == Level::Subcomponent {
            return self.refuse(raw, Touch::Removed);
        }
        if self.policy.ages_capped && self.is_quantity_of_ninety_years(data_type, raw, level) {
            return self.refuse(raw, Touch::AgeOver89);
        }
        let pieces = cut(raw, self.separator(level)).enumerate();
        self.joined(
            level,
            raw,
            pieces.map(|(n, piece)| {
                move |walk: &mut Self| match components.get(n) {
                    Some(slot) => {
                        let rule = slot.data_type.map_or(Rule::Remove, |t| walk.policy.rule_of(t));
                        walk.value(*slot, rule, piece, level.below());
                    }
                    None => walk.refuse(piece, Touch::ExtraRemoved),
                }
            }),
        );
    }

    /// A CQ such as `93^a`: an age without a name.
    fn is_quantity_of_ninety_years(&self, data_type: TypeId, raw: &[u8], level: Level) -> bool {
        let inner = self.separator(level.below());
        let mut parts = cut(raw, self.separator(level)).map(|part| cut(part, inner).find(|v| !v.is_empty()));
        let quantity = parts.next().flatten().and_then(|number| decimal(compared(number.trim_ascii())));
        let unit = parts.next().flatten().unwrap_or_default();
        TABLES.data_type(data_type).is_some_and(|t| t.name == "CQ")
            && quantity.is_some_and(|q| {
                let limit = if units::is_year(unit) { Some(90.0) } else { units::ninety_years(unit) };
                limit.is_some_and(|limit| q.abs() >= limit)
            })
    }

    /// CE, CWE, CNE: up to three codes, each with its system; a version of the first two systems. No text.
    fn coded_element(&mut self, binding: Binding, raw: &[u8], level: Level) {
        if level == Level::Subcomponent {
            // A coded element where only a primitive fits: its code, if the table knows it.
            return self.code(binding, raw, b"");
        }
        let inner = self.separator(level.below());
        let mut parts: [&[u8]; 12] = [b""; 12];
        let mut extra = false;
        for (n, piece) in cut(raw, self.separator(level)).enumerate() {
            match parts.get_mut(n) {
                Some(part) => *part = cut(piece, inner).next().unwrap_or_default(),
                None => extra |= !piece.is_empty(),
            }
        }
        if extra {
            self.tally.count(Touch::ExtraRemoved);
        }
        let [code, text, system, code2, text2, system2, version, version2, original, code3, text3, system3] =
            parts;
        let slots: [(&[u8], &[u8], Part); 12] = [
            (code, system, Part::Code),
            (text, b"", Part::Text),
            (system, code, Part::System),
            (code2, system2, Part::Code),
            (text2, b"", Part::Text),
            (system2, code2, Part::System),
            (version, system, Part::Version),
            (version2, system2, Part::Version),
            (original, b"", Part::Text),
            (code3, system3, Part::Code),
            (text3, b"", Part::Text),
            (system3, code3, Part::System),
        ];
        self.joined(
            level,
            raw,
            slots.map(|(value, with, part)| {
                move |walk: &mut Self| match part {
                    Part::Code => walk.code(binding, value, with),
                    Part::Text => walk.refuse(value, Touch::Removed),
                    Part::System => walk.system(binding, value, with),
                    Part::Version => walk.version(value, with),
                }
            }),
        );
    }

    fn code(&mut self, binding: Binding, code: &[u8], system: &[u8]) {
        if code.is_empty() {
            return;
        }
        if code == NULL {
            return self.keep(NULL, Touch::Null);
        }
        let bound = TABLES.lists(binding, code) || binding == Binding::Unit && self.is_unit(code);
        let mnemonic =
            self.policy.systems.contains(&System::Mnemonic) && System::Mnemonic.admits(code, system);
        let known = bound || mnemonic || self.vouches(system, code);
        if known { self.keep(code, Touch::Code) } else { self.refuse(code, Touch::CodeRefused) }
    }

    /// The name of a coding system stays where it vouches for its code.
    fn system(&mut self, binding: Binding, system: &[u8], code: &[u8]) {
        let unit = binding == Binding::Unit && System::of(system) == Some(System::Ucum) && self.is_unit(code);
        if !code.is_empty() && (self.vouches(system, code) || unit) {
            self.out.extend_from_slice(system);
        } else {
            self.refuse(system, Touch::Removed);
        }
    }

    fn version(&mut self, version: &[u8], system: &[u8]) {
        let allowed = System::of(system).is_some_and(|s| self.policy.systems.contains(&s));
        if is_version(version) && allowed {
            self.out.extend_from_slice(version);
        } else {
            self.refuse(version, Touch::Removed);
        }
    }

    /// Whether an allowed coding system, or the policy's own list, knows the code.
    fn vouches(&self, system: &[u8], code: &[u8]) -> bool {
        if system.is_empty() {
            return false;
        }
        match System::of(system) {
            Some(System::Ucum) => self.policy.systems.contains(&System::Ucum) && self.is_unit(code),
            Some(known) => self.policy.systems.contains(&known) && known.admits(code, system),
            None => self.policy.local_codes.get(system).is_some_and(|codes| codes.contains(code)),
        }
    }

    fn is_unit(&self, raw: &[u8]) -> bool {
        units::is_unit(&unescape(raw, &self.delimiters))
    }

    fn number(&mut self, data_type: TypeId, raw: &[u8], level: Level) {
        let number = self.only_value(raw, level).trim_ascii();
        let set_id = TABLES.data_type(data_type).is_some_and(|t| t.name == "SI");
        let amount = compared(number);
        let fits = if set_id {
            is_digits(number, 1, SET_ID_DIGITS_MAX)
        } else {
            is_number(amount, NUMBER_INTEGER_DIGITS_MAX) && self.may_be_so_long(amount)
        };
        if !fits {
            return self.refuse(number, Touch::NumberRefused);
        }
        match self.age(&[amount]) {
            Age::Over89 => self.keep(b"90+", Touch::AgeOver89),
            Age::OtherOver89 => self.refuse(number, Touch::AgeOver89),
            Age::NoneOrBelow => self.keep(number, Touch::Number),
        }
    }

    /// SN: comparator, number, separator, number (HL7 v2.8.2 §2A.2.70).
    fn structured_number(&mut self, raw: &[u8], level: Level) {
        let mut pieces = cut(raw, self.separator(level));
        let mut next = || pieces.next().unwrap_or_default();
        let (comparator, first, separator, second) = (next(), next(), next(), next());
        if pieces.next().is_some() {
            self.tally.count(Touch::ExtraRemoved);
        }
        let number = |n: &[u8]| n.is_empty() || is_number(n, NUMBER_INTEGER_DIGITS_MAX);
        let digits = significant_digits;
        let fits = matches!(comparator, b"" | b">" | b"<" | b">=" | b"<=" | b"=" | b"<>")
            && matches!(separator, b"" | b"-" | b"+" | b"/" | b"." | b":")
            && number(first)
            && number(second)
            && (first.is_empty() || second.is_empty() || digits(first) + digits(second) <= PAIR_DIGITS_MAX)
            && self.may_be_so_long(first)
            && self.may_be_so_long(second);
        if !fits {
            return self.refuse(raw, Touch::NumberRefused);
        }
        match self.age(&[first, second]) {
            Age::Over89 => {
                self.tally.count(Touch::AgeOver89);
                self.joined(
                    level,
                    raw,
                    [&b">"[..], b"89"].map(|part| move |walk: &mut Self| walk.out.extend_from_slice(part)),
                );
            }
            Age::OtherOver89 => self.refuse(raw, Touch::AgeOver89),
            Age::NoneOrBelow => {
                self.tally.count(Touch::Number);
                let parts = [comparator, first, separator, second];
                self.joined(
                    level,
                    raw,
                    parts.map(|part| move |walk: &mut Self| walk.out.extend_from_slice(part)),
                );
            }
        }
    }

    /// A long number in an observation is an amount where a known code says of what, or a unit; elsewhere where it has
    /// a point.
    fn may_be_so_long(&self, number: &[u8]) -> bool {
        let digits = significant_digits(number);
        let Some(identifier) = self.observation.identifier.filter(|_| self.in_value) else {
            return digits <= UNNAMED_DIGITS_MAX + 1 || number.contains(&b'.');
        };
        if digits <= UNNAMED_DIGITS_MAX {
            return true;
        }
        self.observation.has_unit()
            || identifier.repetitions().any(|repetition| {
                let part = |n: usize| repetition.component(n).map(|c| c.raw()).unwrap_or_default();
                [(1, 3), (4, 6)].iter().any(|(code, system)| self.vouches(part(*system), part(*code)))
            })
    }

    fn age(&self, numbers: &[&[u8]]) -> Age {
        let reaches = |limit: f64| numbers.iter().filter_map(|n| decimal(n)).any(|n| n.abs() >= limit);
        if !self.policy.ages_capped || !self.in_value {
            return Age::NoneOrBelow;
        }
        match self.observation.age_limit() {
            AgeLimit::Years if reaches(90.0) => Age::Over89,
            AgeLimit::Other(limit) if reaches(limit) => Age::OtherOver89,
            AgeLimit::Unknown if reaches(90.0) => Age::OtherOver89,
            AgeLimit::NoAge | AgeLimit::Years | AgeLimit::Other(_) | AgeLimit::Unknown => Age::NoneOrBelow,
        }
    }

    /// OBX-4: an ST before v2.8.2, an OG since: sub-id, group, sequence, identifier (HL7 v2.8.2 §2A.2.48).
    fn sub_id(&mut self, raw: &[u8], level: Level) {
        let separator = self.separator(level);
        let short = |part: &[u8]| is_digits(part, 0, GROUP_DIGITS_MAX);
        let parts = cut(raw, separator).count();
        let fits = match parts {
            1 => is_sub_id(raw),
            _ => parts <= GROUP_PARTS_MAX && cut(raw, separator).all(short),
        };
        if fits { self.keep(raw, Touch::SubId) } else { self.refuse(raw, Touch::Removed) }
    }

    fn year(&mut self, raw: &[u8], level: Level) {
        let date = self.only_value(raw, level);
        if dates::year(date).is_none() {
            return self.refuse(date, Touch::YearRefused);
        }
        if self.tells_age(date) {
            return self.refuse(date, Touch::YearOver89);
        }
        self.keep(date.trim_ascii().get(..4).unwrap_or_default(), Touch::Year);
    }

    /// A date moved by the patient's days. What is nobody's, or names no day, keeps its year; a time of day stays.
    fn shifted(&mut self, data_type: TypeId, raw: &[u8], level: Level) {
        let date = self.only_value(raw, level);
        let is_of_times = TABLES.data_type(data_type).is_some_and(|t| t.name == "TM");
        let is_time = dates::is_time(date) && (is_of_times || dates::year(date).is_none());
        let Some(shift) = self.shift.filter(|_| !is_time) else {
            return if is_time { self.keep(date, Touch::Date) } else { self.year(date, level) };
        };
        match dates::moved(date, shift.days()) {
            Some(Moved::Whole(moved)) if [date, &moved].iter().any(|date| self.tells_age(date)) => {
                self.refuse(date, Touch::YearOver89);
            }
            Some(Moved::Whole(moved)) => self.keep(&moved, Touch::DateShifted),
            Some(Moved::OnlyYear(year)) => self.year(&year, level),
            None => self.refuse(date, Touch::DateRefused),
        }
    }

    /// Whether the year of a date tells an age over 89 that the policy caps.
    fn tells_age(&self, date: &[u8]) -> bool {
        let years = dates::year(date).map(|year| self.reference_year.saturating_sub(year));
        self.policy.ages_capped && years.is_some_and(|years| years >= YEARS_OVER_89)
    }

    /// XAD and AD: street, other, city, state, postal code, country, kind of address.
    fn address(&mut self, raw: &[u8], level: Level, with_city: bool) {
        let inner = self.separator(level.below());
        let mut parts: [&[u8]; 7] = [b""; 7];
        for (n, piece) in cut(raw, self.separator(level)).enumerate() {
            match parts.get_mut(n) {
                Some(part) => *part = cut(piece, inner).next().unwrap_or_default(),
                None => self.refuse(piece, Touch::Removed),
            }
        }
        let [street, other, city, state, postal, country, kind] = parts;
        let united_states = geography::is_united_states(country.trim_ascii());
        let kinds = TABLES.table("0190").unwrap_or(Binding::None);
        self.joined(
            level,
            raw,
            (0..parts.len()).map(|n| {
                move |walk: &mut Self| match n {
                    2 if with_city && geography::is_city(city) => walk.keep(city, Touch::City),
                    3 if geography::is_state(state.trim_ascii()) => {
                        walk.keep(state.trim_ascii(), Touch::State)
                    }
                    4 if with_city && geography::is_postal_code(postal, country.trim_ascii()) => {
                        walk.keep(postal, Touch::PostalCode)
                    }
                    4 if !with_city && united_states => match geography::zip3(postal) {
                        Some(area) => walk.keep(&area, Touch::Zip3),
                        None => walk.refuse(postal, Touch::Removed),
                    },
                    5 if geography::is_country(country.trim_ascii()) => {
                        walk.keep(country.trim_ascii(), Touch::Country)
                    }
                    6 if TABLES.lists(kinds, kind) => walk.keep(kind, Touch::Code),
                    _ => walk.refuse(
                        [street, other, city, state, postal, country, kind].get(n).unwrap_or(&&b""[..]),
                        Touch::Removed,
                    ),
                }
            }),
        );
    }
}

enum Part {
    Code,
    Text,
    System,
    Version,
}

enum Age {
    /// In years: it can be written as 90 and more.
    Over89,
    /// In another unit, or one that is not known: it is removed.
    OtherOver89,
    NoneOrBelow,
}

fn is_composite(data_type: TypeId) -> bool {
    TABLES.data_type(data_type).is_some_and(|t| !t.components.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_keep_every_piece() {
        let pieces = |raw: &'static [u8], separator| cut(raw, separator).collect::<Vec<_>>();
        assert_eq!(pieces(b"a^^b", Some(b'^')), [&b"a"[..], b"", b"b"]);
        assert_eq!(pieces(b"^", Some(b'^')), [b"", b""]);
        assert_eq!(pieces(b"a^b", None), [b"a^b"]);
    }
}
