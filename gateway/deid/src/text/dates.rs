//! Dates in every spelling, the times that belong to them, and ages over 89.

use std::ops::Range;

use super::tokens::{Case, Kind, Tokens};

/// Years that a date may have.
const YEARS: Range<u32> = 1880..2100;
/// Ages that tell who someone is.
const AGES: Range<u32> = 90..131;
/// Words before `3/14` that make it a date.
const DATE_CUES: &[&str] = &[
    "on", "since", "until", "date", "dated", "dos", "dob", "by", "from", "through", "thru", "born", "of",
    "before", "after",
];

fn month(word: &str) -> bool {
    matches!(
        word,
        "jan"
            | "january"
            | "feb"
            | "february"
            | "mar"
            | "march"
            | "apr"
            | "april"
            | "may"
            | "jun"
            | "june"
            | "jul"
            | "july"
            | "aug"
            | "august"
            | "sep"
            | "sept"
            | "september"
            | "oct"
            | "october"
            | "nov"
            | "november"
            | "dec"
            | "december"
    )
}

fn is_ordinal(word: &str) -> bool {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end));
    digits.and_then(|d| d.parse::<u32>().ok()).is_some_and(|day| (1..=31).contains(&day))
}

/// `13`, `13th`.
fn is_day(tokens: &Tokens<'_>, n: usize) -> bool {
    tokens.get(n).is_some_and(|t| t.digits <= 2) && tokens.number(n).is_some_and(|d| (1..=31).contains(&d))
        || is_ordinal(tokens.word(n))
}

fn is_year(tokens: &Tokens<'_>, n: usize) -> bool {
    tokens.get(n).is_some_and(|t| t.digits == 4) && tokens.number(n).is_some_and(|y| YEARS.contains(&y))
}

/// The end of the date that begins at this token.
pub(super) fn date_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let token = tokens.get(n)?;
    let end = match token.kind {
        Kind::Word => month_first(tokens, n),
        Kind::Number => numeric(tokens, n).or_else(|| day_first(tokens, n)).or_else(|| compact(tokens, n)),
        Kind::Mixed if is_ordinal(tokens.word(n)) => day_first(tokens, n),
        Kind::Mixed => joined(tokens, n).then_some(n + 1),
    }?;
    Some(time_after(tokens, end))
}

/// `March 3rd, 2019`, `Mar 2019`, `in March`.
fn month_first(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let word = tokens.word(n);
    if !month(word) {
        return None;
    }
    let gap = tokens.gap(n);
    let close = gap.len() <= 3 && gap.chars().all(|c| matches!(c, ' ' | '.' | ',' | '-' | '/' | '\''));
    if close && tokens.word(n + 1) == "the" && is_ordinal(tokens.word(n + 2)) {
        return Some(year_after(tokens, n + 3));
    }
    if close && is_day(tokens, n + 1) && !tokens.gap(n + 1).starts_with('%') {
        return Some(year_after(tokens, n + 2));
    }
    if close && is_year(tokens, n + 1) {
        return Some(n + 2);
    }
    if close && tokens.word(n + 1) == "of" && is_year(tokens, n + 2) {
        return Some(n + 3);
    }
    let verb = matches!(word, "may" | "march" | "mar" | "sep" | "dec" | "jan");
    let cue = matches!(
        tokens.word_before(n),
        "in" | "since"
            | "last"
            | "next"
            | "this"
            | "early"
            | "late"
            | "mid"
            | "of"
            | "until"
            | "by"
            | "from"
            | "every"
            | "through"
    );
    let capital = tokens.get(n).is_some_and(|t| t.case == Case::Capital);
    (cue && (capital || !verb) || !verb && word.len() > 3 && capital).then_some(n + 1)
}

/// `3 March 2019`, `3rd of March`, `03-Mar-19`.
fn day_first(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if !is_day(tokens, n) || tokens.gap(n).len() > 2 {
        return None;
    }
    let at = if tokens.word(n + 1) == "of" { n + 2 } else { n + 1 };
    let close = matches!(tokens.gap_before(at), " " | "-" | "/" | "." | ". ");
    let capital = tokens.get(at).is_some_and(|t| t.case != Case::Lower);
    (close && month(tokens.word(at)) && (tokens.word(at) != "may" || capital || is_year(tokens, at + 1)))
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
        let year = is_year(tokens, n + 2) || digits(n + 2) == 2 && gap != ".";
        if small && (day_and_month(a, b) || day_and_month(b, a)) && year {
            return Some(n + 3);
        }
        return None;
    }
    if gap == "/" && digits(n) <= 2 && (1..=12).contains(&a) && is_year(tokens, n + 1) {
        return Some(n + 2);
    }
    let cue = DATE_CUES.contains(&tokens.word_before(n)) || month(tokens.word_before(n));
    let alone = !matches!(tokens.word(n + 2), "mmhg" | "strength" | "pain" | "on");
    (gap == "/" && small && day_and_month(a, b) && cue && alone).then_some(n + 2)
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
    month(name) && word.len() > name.len() && (name.len() < rest.len() || word.len() <= name.len() + 2)
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
