//! What the rules make of one value.

use fhir::definitions::Property;
use fhir::validate::Primitive;
use fhir::validate::json::{Json, Kind, Node};

use super::ids::Referred;
use super::{Walk, terms};
use crate::dates;
use crate::geography;
use crate::policy::{FhirAddress, FhirDate};
use crate::rules::meaning::Meaning;
use crate::rules::recognise::{decimal, is_number, significant_digits};
use crate::rules::{NUMBER_FRACTION_DIGITS_MAX, NUMBER_INTEGER_DIGITS_MAX, TOKEN_KINDS, UNNAMED_DIGITS_MAX};
use crate::tally::Touch;
use crate::units;

/// Most digits behind the point of a number that has a name: those of a double.
const FRACTION_DIGITS_MAX: usize = 17;
/// UCUM's address.
const UCUM: &str = "http://unitsofmeasure.org";
/// From this age on it is not said which.
const AGE_CAPPED: f64 = 90.0;
/// HL7's table of kinds of identifiers.
const KINDS_OF_IDS: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
/// Systems of numbers that are never made tokens, by the end of their address: of states, insurers and employers.
const FOREIGN_IDS: [&str; 6] =
    ["us-ssn", "us-npi", "us-medicare", "us-mbi", "2.16.840.1.113883.4.1", "passport"];
/// Most bytes of samples that are looked at one by one.
const SAMPLES_BYTES_MAX: usize = 4 << 20;

impl Walk<'_> {
    /// A name of our own definitions and its colon.
    pub(super) fn name(&mut self, name: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string that the rules made or recognised: no such string needs an escape.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        self.out.extend(text.bytes().filter(|b| !matches!(b, b'"' | b'\\' | 0..0x20)));
        self.out.push(b'"');
    }

    pub(super) fn text_or_removed(&mut self, text: Option<String>) {
        match text {
            Some(text) => self.text(&text),
            None => self.tally.count(Touch::Removed),
        }
    }

    pub(super) fn keep(&mut self, text: &str, touch: Touch) {
        self.tally.count(touch);
        self.text(text);
    }

    pub(super) fn primitive(
        &mut self,
        kind: &str,
        name: &str,
        property: &Property,
        primitive: Primitive,
        node: &Node,
    ) {
        let raw = self.json.raw(node);
        // An escape is one way to write the same code: `\u0066inal`.
        let text = self.json.string(node);
        match (primitive, &text) {
            (Primitive::Boolean, None) if matches!(node.kind, Kind::True | Kind::False) => {
                self.out.extend_from_slice(raw.as_bytes());
            }
            (
                Primitive::Integer | Primitive::PositiveInt | Primitive::UnsignedInt | Primitive::Decimal,
                None,
            ) if node.kind == Kind::Number => self.number(raw),
            (Primitive::Code, Some(code)) => {
                let set = property.binding.and_then(|set| self.definitions.set(set));
                if set.is_some_and(|set| set.closed() && set.contains(None, code)) {
                    self.keep(code, Touch::Code);
                } else {
                    self.tally.count(Touch::CodeRefused);
                }
            }
            (Primitive::Date | Primitive::DateTime | Primitive::Instant, Some(date))
                if self.rules.dates == FhirDate::Shift =>
            {
                self.shifted(date, primitive == Primitive::Instant);
            }
            (Primitive::Time, Some(time)) if self.rules.dates == FhirDate::Shift && is_date_or_time(time) => {
                self.keep(time, Touch::Date);
            }
            (Primitive::Date | Primitive::DateTime, Some(date)) => self.date(date),
            (Primitive::Instant | Primitive::Time, Some(time)) if self.rules.dates == FhirDate::Keep => {
                self.date(time);
            }
            (Primitive::String, Some(data)) if (kind, name) == ("SampledData", "data") => self.samples(data),
            (Primitive::String | Primitive::Markdown, _) => self.string(kind, name, node),
            _ => self.tally.count(Touch::Removed),
        }
    }

    /// The value of an allowed extension: a code of the two that they hold.
    pub(super) fn code_of_extension(&mut self, node: &Node) {
        let code = self.json.string(node).unwrap_or_default();
        let is_code = matches!(&*code, "F" | "M" | "UNK" | "OTH" | "ASKU" | "248152002" | "248153007")
            || terms::vouches(self.policy, "http://terminology.hl7.org/CodeSystem/data-absent-reason", &code);
        if is_code {
            self.keep(&code, Touch::Code);
        } else {
            self.tally.count(Touch::CodeRefused);
        }
    }

    fn number(&mut self, raw: &str) {
        if !self.is_amount(raw, self.about.is_named) {
            return self.tally.count(Touch::NumberRefused);
        }
        let is_age = matches!(self.about.meaning, Meaning::Age | Meaning::PerhapsAge);
        if self.policy.ages_capped && is_age && decimal(raw.as_bytes()).is_some_and(|n| n.abs() >= AGE_CAPPED)
        {
            return self.tally.count(Touch::AgeOver89);
        }
        self.tally.count(Touch::Number);
        self.out.extend_from_slice(raw.as_bytes());
    }

    /// A number that is one of something, and not a number of somebody.
    fn is_amount(&self, raw: &str, is_named: bool) -> bool {
        if let Some((mantissa, exponent)) = raw.split_once(['e', 'E']) {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
            return matches!(exponent.len(), 1 | 2)
                && exponent.bytes().all(|b| b.is_ascii_digit())
                && digits <= NUMBER_INTEGER_DIGITS_MAX
                && is_number(mantissa.as_bytes(), NUMBER_INTEGER_DIGITS_MAX);
        }
        let bytes = raw.as_bytes();
        let fraction = raw.split_once('.').map_or("", |(_, fraction)| fraction);
        // What was computed has as many digits as its machine; they are part of an amount that has a name.
        let exact = raw.len()
            - fraction.len().saturating_sub(if is_named { NUMBER_FRACTION_DIGITS_MAX } else { usize::MAX });
        is_number(bytes.get(..exact).unwrap_or_default(), NUMBER_INTEGER_DIGITS_MAX)
            && fraction.len() <= FRACTION_DIGITS_MAX
            && fraction.bytes().all(|b| b.is_ascii_digit())
            && (is_named || raw.contains('.') || significant_digits(bytes) <= UNNAMED_DIGITS_MAX + 1)
    }

    /// Numbers and the letters that FHIR gives them company of: error, below, above.
    fn samples(&mut self, raw: &str) {
        let fits = |sample: &str| matches!(sample, "E" | "U" | "L") || self.is_amount(sample, false);
        if raw.len() <= SAMPLES_BYTES_MAX && raw.split(' ').all(fits) {
            self.keep(raw, Touch::Number);
        } else {
            self.tally.count(Touch::NumberRefused);
        }
    }

    fn date(&mut self, raw: &str) {
        let (rule, fits) = (self.rules.dates, is_date_or_time(raw));
        match rule {
            FhirDate::Keep if fits => return self.keep(raw, Touch::Date),
            FhirDate::Year if fits => {}
            FhirDate::Keep | FhirDate::Year | FhirDate::Shift | FhirDate::Remove => {
                return self.tally.count(Touch::DateRefused);
            }
        }
        self.year(raw);
    }

    /// The year of a date, unless it tells an age over 89.
    pub(super) fn year(&mut self, raw: &str) {
        let year = raw.get(..4).unwrap_or_default();
        if dates::year(year.as_bytes()).is_none() {
            return self.tally.count(Touch::YearRefused);
        }
        if self.tells_age(raw) {
            return self.tally.count(Touch::YearOver89);
        }
        self.keep(year, Touch::Year);
    }

    /// State, postal code and country; by policy the city.
    pub(super) fn address(&mut self, at: usize) {
        if self.rules.addresses == FhirAddress::Remove {
            return self.tally.count(Touch::Removed);
        }
        let with_city = self.rules.addresses == FhirAddress::CityStateZip;
        let part = |name| self.json.text_of(at, name).unwrap_or_default();
        let (city, state, postal, country) =
            (part("city"), part("state"), part("postalCode"), part("country"));
        let (state, postal, country) = (state.trim(), postal.trim(), country.trim());
        let mut stay: Vec<(&str, String, Touch)> = Vec::new();
        if with_city && !city.trim().is_empty() && geography::is_city(city.as_bytes()) {
            stay.push(("city", city.into_owned(), Touch::City));
        }
        if geography::is_state(state.as_bytes()) {
            stay.push(("state", state.to_owned(), Touch::State));
        }
        if with_city && geography::is_postal_code(postal.as_bytes(), country.as_bytes()) {
            stay.push(("postalCode", postal.to_owned(), Touch::PostalCode));
        } else if geography::is_united_states(country.as_bytes())
            && let Some(area) = geography::zip3(postal.as_bytes())
        {
            stay.push(("postalCode", String::from_utf8_lossy(&area).into_owned(), Touch::Zip3));
        }
        if geography::is_country(country.as_bytes()) {
            stay.push(("country", country.to_owned(), Touch::Country));
        }
        self.tally.count(Touch::Removed);
        let parts = stay.into_iter().map(|(name, value, touch)| {
            self.tally.count(touch);
            (name, value)
        });
        let parts: Vec<_> = parts.collect();
        self.strings(&parts);
    }

    /// An object of strings; nothing where there is none.
    pub(super) fn strings(&mut self, members: &[(&str, String)]) {
        if members.is_empty() {
            return;
        }
        self.out.push(b'{');
        for (n, (name, value)) in members.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.name(name);
            self.text(value);
        }
        self.out.push(b'}');
    }

    /// A token and what kind of number it was, or nothing.
    pub(super) fn identifier(&mut self, at: usize) {
        let value = self.json.text_of(at, "value").unwrap_or_default();
        let system = self.json.text_of(at, "system").unwrap_or_default();
        let kind = kind_of_id(self.json, at);
        let is_ours = TOKEN_KINDS.contains(&kind.as_deref().unwrap_or_default().as_bytes())
            && !FOREIGN_IDS.iter().any(|foreign| system.ends_with(foreign));
        let wanted = self.rules.identifiers.filter(|_| is_ours && !value.trim().is_empty());
        let token = wanted.and_then(|which| {
            let authority = self.namespace.authority(&[system.as_bytes()]);
            let kind = kind.as_deref().unwrap_or_default().as_bytes();
            Some((which, self.tokens.token(which, value.as_bytes(), &authority, kind)?))
        });
        let Some((which, token)) = token else { return self.tally.count(Touch::Removed) };
        self.tally.count(which.touch());
        self.out.push(b'{');
        if let Some(kind) = kind {
            self.out.extend_from_slice(b"\"type\":{\"coding\":[");
            self.strings(&[("system", KINDS_OF_IDS.to_owned()), ("code", kind)]);
            self.out.extend_from_slice(b"]},");
        }
        self.name("value");
        self.text(&token);
        self.out.push(b'}');
    }

    /// A code that somebody vouches for, with its system.
    pub(super) fn coding(&mut self, at: usize) {
        let part = |name| self.json.text_of(at, name).unwrap_or_default();
        let (system, code) = (part("system"), part("code"));
        let is_whole = system != "urn:ietf:bcp:47" || terms::is_language(&code);
        if !is_whole || !terms::vouches(self.policy, &system, &code) {
            return self.tally.count(Touch::CodeRefused);
        }
        self.tally.count(Touch::Code);
        self.strings(&[("system", system.into_owned()), ("code", code.into_owned())]);
    }

    /// A number with its unit. An age over 89 becomes `>= 90`.
    pub(super) fn quantity(&mut self, at: usize) {
        let part = |name| self.json.text_of(at, name).unwrap_or_default();
        let (unit, system, code, comparator) =
            (part("unit"), part("system"), part("code"), part("comparator"));
        let is_code = system == UCUM && units::is_unit(code.as_bytes());
        let is_unit = units::is_unit(unit.as_bytes());
        let named = self.about.is_named || is_code || is_unit;
        let number = self.json.member(at, "value").filter(|(_, node)| node.kind == Kind::Number);
        // What a code names and a unit counts in a volume.
        let is_count = self.about.is_named
            && (is_code && units::counts_in_volume(code.as_bytes())
                || is_unit && units::counts_in_volume(unit.as_bytes()));
        let fits = |raw: &&str| self.is_amount(raw, named) || is_count && is_count_of_many(raw);
        let number = number.map(|(_, node)| self.json.raw(node)).filter(fits);
        let Some(mut number) = number else { return self.tally.count(Touch::NumberRefused) };
        let mut comparator = Some(&*comparator).filter(|c| matches!(*c, "<" | "<=" | ">=" | ">"));
        if self.policy.ages_capped && self.is_over_89(number, &unit, &code) {
            let is_years = [&unit, &code].iter().any(|unit| units::is_year(unit.as_bytes()));
            self.tally.count(Touch::AgeOver89);
            if !is_years {
                return;
            }
            (number, comparator) = ("90", Some(">="));
        } else {
            self.tally.count(Touch::Number);
        }
        self.out.extend_from_slice(b"{\"value\":");
        self.out.extend_from_slice(number.as_bytes());
        let members = [
            comparator.map(|c| ("comparator", c.to_owned())),
            is_unit.then(|| ("unit", unit.into_owned())),
            is_code.then(|| ("system", UCUM.to_owned())),
            is_code.then(|| ("code", code.into_owned())),
        ];
        for (name, value) in members.into_iter().flatten() {
            self.out.push(b',');
            self.name(name);
            self.text(&value);
        }
        self.out.push(b'}');
    }

    fn is_over_89(&self, number: &str, unit: &str, code: &str) -> bool {
        let Some(number) = decimal(number.as_bytes()) else { return true };
        let units = || [unit, code].into_iter().map(str::as_bytes).filter(|unit| !unit.is_empty());
        let is_age = matches!(self.about.meaning, Meaning::Age | Meaning::PerhapsAge);
        let limit = if units().any(units::is_year) || is_age && units().next().is_none() {
            Some(AGE_CAPPED)
        } else {
            units().find_map(units::ninety_years)
        };
        match limit {
            Some(limit) => number.abs() >= limit,
            // An age in a unit that is not known.
            None => self.about.meaning == Meaning::Age,
        }
    }

    pub(super) fn reference(&mut self, at: usize) {
        let reference = self.json.text_of(at, "reference").unwrap_or_default();
        let said = self.json.text_of(at, "type").unwrap_or_default();
        let said = self.definitions.resource(&said).map(|(_, kind)| kind.name);
        let referred = if let Some(id) = reference.strip_prefix('#') {
            let number = self.contained.iter().position(|contained| contained == id && !id.is_empty());
            number.map_or(Referred::Gone, |number| Referred::To(format!("#{}", number + 1)))
        } else {
            self.ids.reference(&reference, &self.server)
        };
        let (to, kind) = match referred {
            Referred::To(to) => (Some(to), said),
            Referred::Only(kind) => (None, Some(kind)),
            Referred::Gone => (None, said),
        };
        self.tally.count(if to.is_some() { Touch::Reference } else { Touch::Removed });
        let members = [to.map(|to| ("reference", to)), kind.map(|kind| ("type", kind.to_owned()))];
        let members: Vec<_> = members.into_iter().flatten().collect();
        self.strings(&members);
    }
}

/// Eight digits that are no day, or nine of which the last two at least are zeros (a social security number has nine), with or
/// without digits behind a point. Virus loads are counted so far.
fn is_count_of_many(raw: &str) -> bool {
    let (integer, fraction) = raw.split_once('.').unwrap_or((raw, ""));
    let bytes = integer.as_bytes();
    let fits = match bytes.len() {
        8 => !dates::is_day_in_any_order(bytes),
        9 => integer.ends_with("00"),
        _ => false,
    };
    fits && !integer.starts_with('0')
        && integer.bytes().all(|b| b.is_ascii_digit())
        && fraction.len() <= NUMBER_FRACTION_DIGITS_MAX
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// The code of table 0203 that an identifier has.
pub(super) fn kind_of_id(json: &Json<'_>, at: usize) -> Option<String> {
    let (kind, _) = json.member(at, "type")?;
    let (codings, _) = json.member(kind, "coding")?;
    let code = |coding| {
        let is_kind = json.text_of(coding, "system")? == KINDS_OF_IDS;
        json.text_of(coding, "code").filter(|_| is_kind)
    };
    json.children(codings).find_map(|(coding, _)| code(coding)).map(std::borrow::Cow::into_owned)
}

/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, the last with a time, or a time alone, as R4 writes them.
pub(super) fn is_date_or_time(text: &str) -> bool {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None if text.get(2..3) == Some(":") => ("", Some(text)),
        None => (text, None),
    };
    let digits = |text: &str, lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let mut parts = date.split('-');
    let year = parts.next().unwrap_or_default();
    let part = |text: Option<&str>, max: u8| {
        text.is_none_or(|text| digits(text, &[2]) && text.parse().is_ok_and(|n: u8| (1..=max).contains(&n)))
    };
    let is_date = year.len() == 4
        && dates::year(year.as_bytes()).is_some()
        && part(parts.next(), 12)
        && part(parts.next(), 31)
        && parts.next().is_none();
    let is_time = |time: &str| {
        let clock = time.strip_suffix('Z').or_else(|| time.split_once(['+', '-']).map(|(clock, _)| clock));
        let zone = time.split_once(['+', '-']).map_or("00:00", |(_, zone)| zone);
        let clock = clock.unwrap_or(time);
        let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        whole.split(':').count() <= 3
            && whole.split(':').all(|part| digits(part, &[2]))
            && (1..=9).contains(&fraction.len())
            && digits(fraction, &[fraction.len()])
            && zone.split(':').count() == 2
            && zone.split(':').all(|part| digits(part, &[2]))
    };
    match time {
        Some(time) => (date.is_empty() || is_date && date.len() == 10) && is_time(time),
        None => is_date,
    }
}

#[cfg(test)]
mod tests {
    use super::is_date_or_time;

    #[test]
    fn dates_are_as_r4_writes_them() {
        for good in [
            "2012",
            "2012-05",
            "2012-05-01",
            "2012-05-01T12:30:00Z",
            "2012-05-01T12:30:00.123+01:00",
            "08:30:00",
        ] {
            assert!(is_date_or_time(good), "{good}");
        }
        for bad in [
            "",
            "12",
            "20120501",
            "2012-05-01 SMITH",
            "SMITH",
            "2012-05-01T12:30:00SMITH",
            "2012-05T12:00:00Z",
            "555-12-3456",
            "12:SM",
            "5553-12-25",
            "2012-13-01",
            "2012-05-32",
            "2012-05-01-02",
        ] {
            assert!(!is_date_or_time(bad), "{bad}");
        }
    }
}
