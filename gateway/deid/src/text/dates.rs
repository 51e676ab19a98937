//! Dates in every spelling, the times that belong to them, and ages over 89.

use std::ops::Range;

use super::lexicon::{self, DATE_CUE, FRACTION_CUE, HOLIDAY, MONTH, MONTH_CUE, ORDINAL, UNIT, WEEKDAY};
use super::tokens::{Case, Kind, Tokens};

/// Years that a date may have.
const YEARS: Range<u32> = 1880..2100;
/// Ages that tell who someone is.
const AGES: Range<u32> = 90..131;
fn is_ordinal(word: &str) -> bool {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end));
    digits.and_then(|d| d.parse::<u32>().ok()).is_some_and(|day| (1..=31).contains(&day))
}

/// `13`, `13th`.
fn is_day(tokens: &Tokens<'_>, n: usize) -> bool {
    tokens.get(n).is_some_and(|t| t.digits <= 2) && tokens.number(n).is_some_and(|d| (1..=31).contains(&d))
        || tokens.get(n).is_some_and(|t| t.kind == Kind::Mixed) && is_ordinal(tokens.word(n))
}

fn is_year(tokens: &Tokens<'_>, n: usize) -> bool {
    tokens.get(n).is_some_and(|t| t.digits == 4) && tokens.number(n).is_some_and(|y| YEARS.contains(&y))
}

/// The end of the date that begins at this token.
pub(super) fn date_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let token = tokens.get(n)?;
    let end = match token.kind {
        Kind::Word if token.classes & (MONTH | WEEKDAY | HOLIDAY | ORDINAL) != 0 => {
            named(tokens, n).or_else(|| month_first(tokens, n)).or_else(|| ordinal_first(tokens, n))
        }
        Kind::Word if matches!(tokens.word(n), "twenty" | "thirty") => ordinal_first(tokens, n),
        Kind::Word => special(tokens, n),
        Kind::Number => numeric(tokens, n)
            .or_else(|| day_first(tokens, n))
            .or_else(|| compact(tokens, n))
            .or_else(|| fraction(tokens, n)),
        Kind::Mixed if is_ordinal(tokens.word(n)) => day_first(tokens, n),
        Kind::Mixed => joined(tokens, n).then_some(n + 1),
    }?;
    Some(time_after(tokens, end))
}

/// `Tuesday`, `Christmas Eve`.
fn named(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if tokens.is(n, HOLIDAY) {
        return Some(if matches!(tokens.word(n + 1), "day" | "eve" | "weekend") { n + 2 } else { n + 1 });
    }
    if !tokens.is(n, WEEKDAY) {
        return None;
    }
    let comma = matches!(tokens.gap(n), ", " | " " | " the ") && n + 1 < tokens.len();
    let date = if comma {
        tokens.get(n + 1).and_then(|t| match t.kind {
            Kind::Word if t.classes & MONTH != 0 => month_first(tokens, n + 1),
            Kind::Number => numeric(tokens, n + 1)
                .or_else(|| day_first(tokens, n + 1))
                .or_else(|| fraction(tokens, n + 1)),
            Kind::Mixed => day_first(tokens, n + 1),
            Kind::Word => None,
        })
    } else {
        None
    };
    Some(date.unwrap_or(n + 1))
}

/// Days of two words: `Labor Day`, `New Year's Eve`, `Fourth of July`.
fn special(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if tokens.get(n)?.case == Case::Lower || !matches!(tokens.gap(n), " " | "'s " | "' ") {
        return None;
    }
    let day = matches!(tokens.word(n + 1), "day" | "eve" | "weekend");
    let known = matches!(
        tokens.word(n),
        "labor"
            | "memorial"
            | "independence"
            | "veterans"
            | "presidents"
            | "columbus"
            | "valentine"
            | "mother"
            | "father"
            | "mothers"
            | "fathers"
            | "boxing"
            | "canada"
            | "patrick"
            | "year"
            | "years"
            | "groundhog"
    );
    let eid =
        matches!(tokens.word(n), "yom" | "rosh" | "eid" | "cinco") && tokens.get(n + 1)?.kind == Kind::Word;
    (day && known || eid).then_some(n + 2)
}

/// `the eighth of October`, `twenty-first of May`.
fn ordinal_first(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let of = spoken_day(tokens, n)?;
    (tokens.word(of) == "of" && tokens.is(of + 1, MONTH)).then(|| year_after(tokens, of + 2))
}

/// `fourth`, `twenty-seventh`: the end of a day in words.
fn spoken_day(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if tokens.is(n, ORDINAL) {
        return Some(n + 1);
    }
    let tens = matches!(tokens.word(n), "twenty" | "thirty") && matches!(tokens.gap(n), "-" | " ");
    (tens && tokens.is(n + 1, ORDINAL)).then_some(n + 2)
}

/// `March 3rd, 2019`, `Mar 2019`, `in March`.
fn month_first(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let word = tokens.word(n);
    if !tokens.is(n, MONTH) {
        return None;
    }
    let gap = tokens.gap(n);
    let close = gap.len() <= 3 && gap.chars().all(|c| matches!(c, ' ' | '.' | ',' | '-' | '/' | '\'' | '\n'));
    let the = if tokens.word(n + 1) == "the" { n + 2 } else { n + 1 };
    if close && let Some(end) = spoken_day(tokens, the) {
        return Some(year_after(tokens, end));
    }
    if close && the == n + 2 && is_ordinal(tokens.word(n + 2)) {
        return Some(year_after(tokens, n + 3));
    }
    if close && is_day(tokens, n + 1) && !tokens.gap(n + 1).starts_with('%') {
        // `March 3-5`, `March 3 and 4`.
        let range = matches!(tokens.gap(n + 1), "-" | " - " | "/") && is_day(tokens, n + 2)
            || matches!(tokens.word(n + 2), "and" | "to" | "or" | "through")
                && is_day(tokens, n + 3)
                && !tokens.is(n + 4, UNIT);
        let end = match (range, tokens.get(n + 2).is_some_and(|t| t.kind == Kind::Word)) {
            (true, true) => n + 4,
            (true, false) => n + 3,
            _ => n + 2,
        };
        return Some(year_after(tokens, end));
    }
    let short =
        gap.ends_with('\'') && tokens.get(n + 1).is_some_and(|t| t.digits == 2 && t.kind == Kind::Number);
    if close && (is_year(tokens, n + 1) || short) {
        return Some(n + 2);
    }
    if close && tokens.word(n + 1) == "of" && is_year(tokens, n + 2) {
        return Some(n + 3);
    }
    let verb = matches!(word, "may" | "march" | "mar" | "sep" | "dec" | "jan");
    let cue = tokens.is_before(n, MONTH_CUE);
    let capital = tokens.get(n).is_some_and(|t| t.case != Case::Lower) && !tokens.caseless;
    let small = tokens.caseless && !verb;
    let part = matches!(tokens.word_before(n), "late" | "early" | "mid" | "last" | "next" | "since");
    let (cue, verb) = (cue || part, verb && !part);
    (cue && (capital || !verb) || (capital || small) && word.len() > 3 && !(verb && tokens.begins(n)))
        .then_some(n + 1)
}

/// `3 March 2019`, `3rd of March`, `03-Mar-19`.
fn day_first(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if !is_day(tokens, n) || tokens.gap(n).len() > 2 || tokens.gap(n).is_empty() {
        return None;
    }
    let at = if tokens.word(n + 1) == "of" { n + 2 } else { n + 1 };
    let close = matches!(tokens.gap_before(at), " " | "-" | "/" | "." | ". ");
    let capital = tokens.get(at).is_some_and(|t| t.case != Case::Lower);
    (close && tokens.is(at, MONTH) && (tokens.word(at) != "may" || capital || is_year(tokens, at + 1)))
        .then(|| year_after(tokens, at + 1))
}

fn year_after(tokens: &Tokens<'_>, at: usize) -> usize {
    let gap = tokens.gap_before(at);
    let close = !gap.is_empty()
        && gap.len() <= 3
        && gap.chars().all(|c| matches!(c, ' ' | ',' | '.' | '-' | '/' | '\''));
    let short = matches!(gap, "-" | "/" | " '" | "'")
        && tokens.get(at).is_some_and(|t| t.digits == 2 && t.kind == Kind::Number);
    if close && (is_year(tokens, at) || short) {
        at + 1
    } else if tokens.word(at) == "of" && is_year(tokens, at + 1) {
        at + 2
    } else {
        at
    }
}

/// `3/14/2019`, `2019-03-14`, `14.3.2019`, and with a cue `3/14`; `03/2019`.
fn numeric(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let gap = tokens.gap(n).trim();
    if !matches!(gap, "/" | "-" | ".") || tokens.gap(n).len() > 3 {
        return None;
    }
    let (a, b) = (tokens.number(n)?, tokens.number(n + 1)?);
    let digits = |m: usize| tokens.get(m).map_or(0, |t| t.digits);
    let day_and_month = |x: u32, y: u32| (1..=12).contains(&x) && (1..=31).contains(&y);
    let small = digits(n) <= 2 && digits(n + 1) <= 2;
    if tokens.gap(n + 1).trim() == gap && tokens.gap(n + 1).len() <= 3 {
        let third = tokens.word(n + 2);
        // `2019-03-14`, `2019-03-14T08:30`.
        if is_year(tokens, n)
            && digits(n + 1) <= 2
            && (day_and_month(b, 1) || b <= 31)
            && third.starts_with(|c: char| c.is_ascii_digit())
        {
            return Some(n + 3);
        }
        let year = is_year(tokens, n + 2) || digits(n + 2) == 2;
        if small && (day_and_month(a, b) || day_and_month(b, a)) && year {
            return Some(n + 3);
        }
        return None;
    }
    // `1931-11`
    let month = digits(n + 1) == 2 && (1..=12).contains(&b) && !matches!(tokens.gap(n + 1), "-" | "/");
    if matches!(gap, "-" | "/") && is_year(tokens, n) && month {
        return Some(n + 2);
    }
    if gap == "/" && digits(n) <= 2 && (1..=12).contains(&a) && is_year(tokens, n + 1) {
        return Some(n + 2);
    }
    None
}

/// `3/14`: a day where it cannot well be a score, or something before it says so.
fn fraction(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let gap = tokens.gap(n);
    let digits = |m: usize| tokens.get(m).map_or(0, |t| t.digits);
    if !matches!(gap, "/" | "-")
        || digits(n) > 2
        || digits(n + 1) > 2
        || matches!(tokens.gap(n + 1), "/" | "-" | ".")
    {
        return None;
    }
    if matches!(tokens.gap_before(n), "/" | "-" | "." | "+") {
        return None;
    }
    let (a, b) = (tokens.number(n)?, tokens.number(n + 1)?);
    if !(1..=12).contains(&a) || !(1..=31).contains(&b) {
        return None;
    }
    let strong = tokens.is_before(n, DATE_CUE | MONTH | WEEKDAY) && tokens.word_before(n) != "of";
    // `on 3/4 and 3/7`
    let joined = n >= 4
        && matches!(tokens.word_before(n), "and" | "or" | "to" | "through")
        && tokens.gap(n - 3) == "/"
        && tokens.is(n - 4, DATE_CUE | MONTH_CUE)
        && tokens.word(n - 4) != "of";
    let strong = strong || joined;
    let clinical = tokens.is(n + 2, FRACTION_CUE | UNIT)
        || tokens.is_before(n, FRACTION_CUE)
        || n.checked_sub(2).is_some_and(|m| tokens.is(m, FRACTION_CUE))
        || matches!(tokens.gap(n + 1), "%" | " %");
    let of_a_whole = matches!(b, 5 | 6 | 10) || b == 15 || b == 30 || a == b;
    let plain = tokens.word(n).starts_with('0') || b > 10 && !of_a_whole || a < b && !of_a_whole && b > 6;
    let alone =
        tokens.gap_before(n).ends_with(['|', '\n', '\t']) && tokens.gap(n + 1).starts_with(['|', '\n']);
    (gap == "/" && (strong && (!clinical || !of_a_whole) || plain && !clinical || alone)).then_some(n + 2)
}

/// `20190314`, `201903140830`.
fn compact(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let word = tokens.word(n);
    if !matches!(word.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    let part = |range: Range<usize>| word.get(range).and_then(|p| p.parse::<u32>().ok());
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    ((1900..2100).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)).then_some(n + 1)
}

/// `14mar2019`.
fn joined(tokens: &Tokens<'_>, n: usize) -> bool {
    let word = tokens.word(n);
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let name = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    lexicon::classes(name) & MONTH != 0
        && word.len() > name.len()
        && (name.len() < rest.len() || word.len() <= name.len() + 2)
}

/// The end of a time that belongs to a date: ` at 08:30:00 am`.
fn time_after(tokens: &Tokens<'_>, end: usize) -> usize {
    let mut n = end;
    if matches!(tokens.word(n), "at" | "t" | "around") {
        n += 1;
    }
    // `14T08` is one token of the date; then the minutes follow.
    let inside = n == end && tokens.word_before(n).contains('t') && tokens.gap_before(n) == ":";
    let near = inside || matches!(tokens.gap_before(n), " " | ", " | "  " | " @ " | "@");
    if !near || !tokens.get(n).is_some_and(|t| t.digits > 0 && t.digits <= 4) {
        return end;
    }
    let start = n;
    n += 1;
    while n < start + 4
        && matches!(tokens.gap_before(n), ":" | ".")
        && tokens.get(n).is_some_and(|t| t.digits >= 2)
    {
        n += 1;
    }
    let half = matches!(tokens.word(n), "am" | "pm" | "hrs" | "hours") && tokens.gap_before(n).len() <= 1;
    let glued = ["am", "pm", "hrs", "z"].iter().any(|end| tokens.word_before(n).ends_with(end));
    match () {
        () if half => n + 1,
        () if n > start + 1 || glued || inside => n,
        () => end,
    }
}

/// An age over 89 that stands here: `94-year-old`, `aged 91`, `92 y/o`, `ninety-four years old`.
pub(super) fn age_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let word = tokens.word(n);
    if matches!(word, "centenarian" | "nonagenarian" | "supercentenarian")
        || word == "nineties" && matches!(tokens.word_before(n), "her" | "his" | "their")
    {
        return Some(n + 1);
    }
    let glued = ["yo", "y", "yr", "yrs", "f", "m"]
        .iter()
        .find_map(|end| word.strip_suffix(end))
        .and_then(|d| d.parse::<u32>().ok());
    if glued.is_some_and(|age| AGES.contains(&age)) {
        return Some(n + 1);
    }
    let ones = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let spoken = word == "ninety" || word == "hundred" && matches!(tokens.word_before(n), "one" | "a");
    let end = if word == "ninety" && tokens.gap(n).len() == 1 && ones.contains(&tokens.word(n + 1)) {
        n + 2
    } else if spoken || tokens.number(n).is_some_and(|age| AGES.contains(&age)) {
        n + 1
    } else {
        return None;
    };
    let unit = tokens.word(end);
    let years = matches!(unit, "year" | "years" | "yr" | "yrs" | "yo" | "yearold");
    let old = matches!(
        tokens.word(end + 1),
        "old" | "of" | "o" | "female" | "male" | "man" | "woman" | "gentleman" | "lady"
    );
    let short = unit == "y" && tokens.word(end + 1) == "o";
    let before = matches!(tokens.word_before(n), "age" | "aged" | "ages" | "turned" | "turning")
        || matches!(tokens.word_before(n), "is" | "of")
            && n.checked_sub(2).is_some_and(|m| tokens.word(m) == "age");
    let person = matches!(unit, "male" | "female" | "m" | "f") && tokens.gap_before(end).len() == 1;
    (before || unit == "yo" || years && old || short || person).then_some(end)
}
