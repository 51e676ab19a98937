//! Dates and times of HL7 v2: recognised, never corrected.

/// The oldest year that is a year.
const YEAR_MIN: u16 = 1800;
/// The last one.
const YEAR_MAX: u16 = 2199;
/// Years before the reference year from which on a year tells an age over 89
/// (45 CFR 164.514(b)(2)(i)(C)): who was born 90 years ago is 89 or 90.
pub(crate) const YEARS_OVER_89: u16 = 90;

/// Ages are never reckoned against an earlier year: no gateway of this version ran before.
pub(crate) const REFERENCE_YEAR_MIN: u16 = 2026;

/// The year of a DT, DTM or TS value (HL7 v2.8.2 §2A.2.21, §2A.2.22), or of an ISO 8601 date that a sender
/// wrote in its place. `None` for anything else, also where month or day do not exist.
pub(crate) fn year(value: &[u8]) -> Option<u16> {
    let value = value.trim_ascii();
    is_dtm(value).or_else(|| is_iso(value))
}

/// The year of a value in HL7's own format.
fn is_dtm(value: &[u8]) -> Option<u16> {
    let zone = value.iter().position(|b| matches!(b, b'+' | b'-')).unwrap_or(value.len());
    let (local, zone) = value.split_at_checked(zone)?;
    if !(zone.is_empty() || zone.len() == 5 && all_digits(zone.get(1..)?)) {
        return None;
    }
    let point = local.iter().position(|b| *b == b'.').unwrap_or(local.len());
    let (digits, fraction) = local.split_at_checked(point)?;
    let fraction_fits =
        fraction.is_empty() || matches!(fraction.len(), 2..=7) && all_digits(fraction.get(1..)?);
    if !fraction_fits || !all_digits(digits) || !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) {
        return None;
    }
    let part = |from: usize, max: u16, min: u16| match digits.get(from..from + 2) {
        Some(pair) => (min..=max).contains(&number(pair)),
        None => true,
    };
    let fits = part(4, 12, 1) && part(6, 31, 1) && part(8, 24, 0) && part(10, 59, 0) && part(12, 60, 0);
    plausible(digits.get(..4)?).filter(|_| fits)
}

/// The year of `2012-05-01`, alone or followed by a time.
fn is_iso(value: &[u8]) -> Option<u16> {
    let date = value.get(..10)?;
    let month = date.get(5..7)?;
    let day = date.get(8..10)?;
    let separated = date.get(4) == Some(&b'-') && date.get(7) == Some(&b'-');
    let rest = value.get(10..).unwrap_or_default();
    let time_fits = rest.len() <= 20
        && rest
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'T' | b' ' | b':' | b'.' | b'+' | b'-' | b'Z'));
    let fits = separated && time_fits && all_digits(month) && all_digits(day);
    let exists = (1..=12).contains(&number(month)) && (1..=31).contains(&number(day));
    plausible(date.get(..4)?).filter(|_| fits && exists)
}

/// Whether this is a date, a date with time, or a time of day, exactly as HL7 writes them.
pub(crate) fn is_date_or_time(value: &[u8]) -> bool {
    is_dtm(value).is_some() || is_time(value)
}

/// A date and time of HL7 with its day moved; its time of day and zone as they are. A month or year alone cannot be moved by
/// days and comes back as its year. `None` for anything else, also where the day does not exist.
pub(crate) fn moved(value: &[u8], days: i16) -> Option<Moved> {
    let value = value.trim_ascii();
    is_dtm(value)?;
    let Some((date, rest)) = value.split_at_checked(8).filter(|(date, _)| all_digits(date)) else {
        return Some(Moved::OnlyYear(value.get(..4)?.to_vec()));
    };
    let (year, month, day) = (number(date.get(..4)?), number(date.get(4..6)?), number(date.get(6..)?));
    let (year, month, day) = Day::of(year, month, day)?.moved(days).civil();
    let mut whole = format!("{year:04}{month:02}{day:02}").into_bytes();
    whole.extend_from_slice(rest);
    Some(Moved::Whole(whole))
}

/// As [`moved`], for a date or dateTime of FHIR that was recognised as such.
pub(crate) fn moved_iso(value: &str, days: i16) -> Option<Moved> {
    let value = value.as_bytes();
    let Some((date, rest)) = value.split_at_checked(10) else {
        return Some(Moved::OnlyYear(value.get(..4)?.to_vec()));
    };
    let (year, month, day) = (number(date.get(..4)?), number(date.get(5..7)?), number(date.get(8..)?));
    let (year, month, day) = Day::of(year, month, day)?.moved(days).civil();
    let mut whole = format!("{year:04}-{month:02}-{day:02}").into_bytes();
    whole.extend_from_slice(rest);
    Some(Moved::Whole(whole))
}

/// What became of a date.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Whole(Vec<u8>),
    /// It named no day.
    OnlyYear(Vec<u8>),
}

/// A day of the Gregorian calendar, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day(pub(crate) i64);

impl Day {
    /// `None` where there is no such day.
    pub(crate) fn of(year: u16, month: u16, day: u16) -> Option<Self> {
        let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
        // Years from March on, in eras of 400, so that the leap day is the last of its year.
        let from_march = year - i64::from(month <= 2);
        let (era, of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let counted = Self(era * 146_097 + day_of_era - 719_468);
        ((1..=12).contains(&month) && counted.civil() == (year, month, day)).then_some(counted)
    }

    pub(crate) fn moved(self, days: i16) -> Self {
        Self(self.0 + i64::from(days))
    }

    /// Year, month and day.
    pub(crate) const fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + of_era + if month <= 2 { 1 } else { 0 };
        (year, month, of_year - (153 * from_march + 2) / 5 + 1)
    }
}

/// `HH[MM[SS[.SSSS]]][+/-ZZZZ]` (HL7 v2.8.2 §2A.2.76).
pub(crate) fn is_time(value: &[u8]) -> bool {
    let zone = value.iter().position(|b| matches!(b, b'+' | b'-')).unwrap_or(value.len());
    let Some((local, zone)) = value.split_at_checked(zone) else { return false };
    let zone_fits = zone.is_empty() || zone.len() == 5 && zone.get(1..).is_some_and(all_digits);
    let digits = local.split(|b| *b == b'.').next().unwrap_or_default();
    let fraction = local.get(digits.len()..).unwrap_or_default();
    let fraction_fits = fraction.is_empty()
        || matches!(fraction.len(), 2..=5) && fraction.get(1..).is_some_and(all_digits) && digits.len() == 6;
    let part = |from: usize, max: u16| digits.get(from..from + 2).is_none_or(|pair| number(pair) <= max);
    zone_fits
        && fraction_fits
        && matches!(digits.len(), 4 | 6)
        && all_digits(digits)
        && part(0, 24)
        && part(2, 59)
        && part(4, 60)
}

/// Whether eight digits are a day, the year first or last, month and day in either order.
pub(crate) fn is_day_in_any_order(digits: &[u8]) -> bool {
    let part = |from: usize, length: usize| digits.get(from..from + length).unwrap_or_default();
    let is_day = |year: &[u8], one: &[u8], other: &[u8]| {
        let [one, other] = [number(one), number(other)];
        plausible(year).is_some() && (1..=31).contains(&one.max(other)) && (1..=12).contains(&one.min(other))
    };
    digits.len() == 8
        && all_digits(digits)
        && (is_day(part(0, 4), part(4, 2), part(6, 2)) || is_day(part(4, 4), part(0, 2), part(2, 2)))
}

fn plausible(year: &[u8]) -> Option<u16> {
    let year = all_digits(year).then(|| number(year))?;
    (YEAR_MIN..=YEAR_MAX).contains(&year).then_some(year)
}

fn all_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

fn number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |n: u16, d| n.saturating_mul(10).saturating_add(u16::from(d.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_dates_only() {
        for (value, expected) in [
            ("2012", Some(2012)),
            ("201205", Some(2012)),
            ("20120501", Some(2012)),
            ("201205011230", Some(2012)),
            ("20120501123059.1234-0500", Some(2012)),
            ("2012-05-01", Some(2012)),
            ("2012-05-01T12:30:00Z", Some(2012)),
            ("2012-05-01SMITH", None),
            ("20121301", None),
            ("20120532", None),
            ("195712345", None),
            ("1234", None),
            ("SMITH", None),
            ("", None),
            ("2012 Smith", None),
            ("05/01/2012", None),
        ] {
            assert_eq!(year(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn days_are_seen_in_any_order() {
        for day in ["19540311", "03111954", "11031954", "20263112"] {
            assert!(is_day_in_any_order(day.as_bytes()), "{day}");
        }
        for amount in ["12345678", "99999999", "19541331", "1954031", "195403110", "10000000", ""] {
            assert!(!is_day_in_any_order(amount.as_bytes()), "{amount}");
        }
    }

    #[test]
    fn kept_dates_are_exact() {
        for good in ["2012", "20120501", "20120501123059+0100", "1230", "123059.5", "0830-0500"] {
            assert!(is_date_or_time(good.as_bytes()), "{good}");
        }
        for bad in ["", "12", "2561", "2012-05-01", "noon", "20120501x", "5551234567"] {
            assert!(!is_date_or_time(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn days_move_and_the_rest_stays() {
        let whole = |value: &str, days| match moved(value.as_bytes(), days) {
            Some(Moved::Whole(whole)) => String::from_utf8(whole).unwrap(),
            other => format!("{other:?}"),
        };
        for (value, days, expected) in [
            ("20120501", 1, "20120502"),
            ("20120228", 1, "20120229"),
            ("20120229", 365, "20130228"),
            ("20110228", 1, "20110301"),
            ("20000101", -1, "19991231"),
            ("20120501123059.1234-0500", -30, "20120401123059.1234-0500"),
            ("201205012400", 2, "201205032400"),
        ] {
            assert_eq!(whole(value, days), expected, "{value} {days}");
        }
        for month in ["2012", "201205", "2012+0100"] {
            assert_eq!(moved(month.as_bytes(), 9), Some(Moved::OnlyYear(b"2012".to_vec())), "{month}");
        }
        for none in ["20120231", "20110229", "1230", "", "SMITH", "2012-05-01"] {
            assert_eq!(moved(none.as_bytes(), 9), None, "{none}");
        }
        let iso = moved_iso("2012-12-31T23:59:60.5+01:00", 1);
        assert_eq!(iso, Some(Moved::Whole(b"2013-01-01T23:59:60.5+01:00".to_vec())));
        assert_eq!(moved_iso("2012-05", 1), Some(Moved::OnlyYear(b"2012".to_vec())));
        assert_eq!(moved_iso("2011-02-29", 1), None);
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        assert_eq!(Day::of(1970, 1, 1), Some(Day(0)));
        assert_eq!(Day::of(2026, 11, 27), Some(Day(20_784)));
        let first = Day::of(1800, 1, 1).unwrap();
        let mut before = (1799, 12, 31);
        for n in 0..146_097 {
            let civil = Day(first.0 + n).civil();
            let (year, month, day) = civil;
            let parts = [year, month, day].map(|part| u16::try_from(part).unwrap());
            assert_eq!(Day::of(parts[0], parts[1], parts[2]), Some(Day(first.0 + n)));
            assert!(civil > before);
            before = civil;
        }
        assert_eq!(before, (2199, 12, 31));
    }
}
