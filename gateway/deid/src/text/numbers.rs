//! Numbers of people and things; dates and addresses in their order.

use std::ops::Range;

use super::known::Known;
use super::lexicon::{CODE_CUE, FILLER, MONTH, NUMBER_CUE, PHONE_CUE, PLACE, ROOM, UNIT, WEAK_CUE, WEEKDAY};
use super::tokens::{Case, Kind, Tokens};
use super::words::WORD;
use super::{Category, Span, dates, streets};
use crate::geography;

/// A bare number of so many digits is a number of something.
const BARE_DIGITS_MIN: usize = 5;
/// Digits of a code of letters and digits that is a number of something, and its length.
const MIXED_DIGITS_MIN: usize = 4;
const MIXED_LENGTH_MIN: usize = 6;
/// Fewest digits of a telephone number after a word that says so, and without.
const PHONE_CUED_DIGITS_MIN: usize = 6;
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Most groups of a number.
const GROUPS_MAX: usize = 10;
/// Most digits of an amount with its unit, `325mg/5ml`.
const AMOUNT_DIGITS_MAX: usize = 7;
/// Most words between what names a number and the number.
const CUE_WORDS_MAX: usize = 6;

/// Dates, ages, numbers and addresses, in the order of the text.
pub(super) fn find(tokens: &Tokens<'_>, known: &Known) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    let mut n = 0;
    while let Some(token) = tokens.get(n) {
        let found = if token.kind == Kind::Word {
            let cue = token.classes & (NUMBER_CUE | WEAK_CUE) != 0;
            cue.then(|| known_at(tokens, n, known)).flatten().or_else(|| word_at(tokens, n))
        } else {
            known_at(tokens, n, known)
                .or_else(|| glued_at(tokens, n))
                .or_else(|| word_at(tokens, n))
                .or_else(|| number_at(tokens, n))
        };
        let Some((range, category, rule, confidence)) = found else {
            n += 1;
            continue;
        };
        n = range.end.max(n + 1);
        out.push(Span { range: tokens.range(range), category, rule, confidence });
    }
    out
}

type Found = (Range<usize>, Category, &'static str, f32);

/// What begins with a word or may: dates, ages, streets, and what a cue names.
fn word_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let token = tokens.get(n)?;
    if let Some(end) = dates::age_at(tokens, n) {
        return Some((n..end, Category::Age, "age-over-89", 0.95));
    }
    if let Some(end) = dates::date_at(tokens, n) {
        return Some((n..end, Category::Date, "date", 0.95));
    }
    if token.kind != Kind::Word {
        return None;
    }
    if let Some(end) = streets::box_at(tokens, n).or_else(|| streets::street_by_word(tokens, n)) {
        return Some((n..streets::town_after(tokens, end), Category::Address, "street", 0.96));
    }
    if let Some(end) = streets::corner_at(tokens, n) {
        let start = if tokens.word_before(n) == "the" { n - 1 } else { n };
        return Some((start..end, Category::Address, "corner", 0.85));
    }
    // `Suite 292`, `Room 4-B`, standing alone.
    if token.classes & ROOM != 0
        && matches!(
            tokens.word(n),
            "apt" | "apartment" | "suite" | "ste" | "room" | "rm" | "bldg" | "trailer"
        )
        && matches!(tokens.gap(n), " " | ". " | " #" | ". #" | "#" | ".")
        && tokens.get(n + 1).is_some_and(|t| t.digits > 0)
    {
        return Some((
            n..streets::town_after(tokens, streets::rooms_after(tokens, n + 2)),
            Category::Address,
            "room",
            0.8,
        ));
    }
    if token.classes & (NUMBER_CUE | WEAK_CUE) != 0 {
        return after_cue(tokens, n);
    }
    None
}

fn after_cue(tokens: &Tokens<'_>, cue: usize) -> Option<Found> {
    let strong = tokens.is(cue, NUMBER_CUE);
    let mut n = cue + 1;
    while n < cue + 5
        && tokens.is(n, FILLER)
        && !(tokens.get(n).is_some_and(|t| t.case == Case::Upper && !tokens.caseless) && tokens.gap(n) == "-")
    {
        n += 1;
    }
    let gap = tokens.gap_before(n);
    let close = gap.len() <= 24
        && gap.bytes().all(|c| {
            matches!(c, b' ' | b':' | b'#' | b'.' | b'-' | b'=' | b'(' | b'\t' | b'"' | b'\'' | b'|')
        })
        && (gap.len() <= 5
            || gap.contains(". .")
            || gap.contains("..")
            || gap.trim().is_empty()
            || gap.contains(": "));
    if !close || (cue..n - 1).any(|m| tokens.gap(m).contains('\n')) {
        return None;
    }
    // `Accession NPI 1338046003`, `account ACCT-3533711`: a second cue in capitals belongs to the number.
    let mut end = n;
    let mut digits = 0;
    while end < n + GROUPS_MAX {
        let Some(token) = tokens.get(end) else { break };
        let between = tokens.gap_before(end);
        let joins = end == n
            || matches!(between, "-" | "/" | "_" | "." | ":" | "+" | "(" | ")")
            || between == " "
                && (token.digits > 1 || token.kind == Kind::Number)
                && strong
                && tokens.before(end).is_some_and(|t| t.digits > 0 || end == n + 1)
                && !tokens.is(end + 1, UNIT);
        // `A12 BCD`
        let rest = end > n
            && strong
            && between == " "
            && token.kind == Kind::Word
            && token.case == Case::Upper
            && !tokens.caseless
            && token.end - token.start <= 3
            && token.kinds & WORD == 0
            && token.classes == 0
            && tokens.before(end).is_some_and(|t| t.digits > 0);
        if rest {
            end += 1;
            continue;
        }
        let letters = end == n
            && token.digits == 0
            && token.kind == Kind::Word
            && (!token.grammar || tokens.gap(end) == "-")
            && token.end - token.start <= 8
            && (token.case == Case::Upper || tokens.caseless || tokens.gap(end) == "-")
            && matches!(tokens.gap(end), "-" | " " | "/" | "_" | ": " | "#" | " #")
            && (end + 1..end + 3)
                .any(|m| tokens.get(m).is_some_and(|t| t.digits > 1) && tokens.gap_before(m).len() <= 2);
        if !joins || end == n && token.digits == 0 && !letters {
            break;
        }
        digits += token.digits;
        end += 1;
    }
    let marked = gap.contains(['#', ':']) || n > cue + 1 || strong;
    let enough = if strong { 2 } else { 4 };
    if end == n
        || digits < enough
        || !marked
        || dates::date_at(tokens, n).is_some()
        || tokens.is(end, UNIT)
        || digits < 4
            && !gap.contains(['#', ':'])
            && n == cue + 1
            && (n..end).all(|m| tokens.get(m).is_some_and(|t| t.kind == Kind::Number))
    {
        return None;
    }
    let ssn = matches!(tokens.word(cue), "ssn" | "social" | "soc");
    // `MR-793813`: the cue is part of the number.
    let start = if n == cue + 1 && matches!(gap, "-" | "_") { cue } else { n };
    let category = if ssn { Category::Ssn } else { Category::Id };
    Some((start..end, category, "cue", if strong { 0.95 } else { 0.8 }))
}

/// A number of the message, however it is cut.
fn known_at(tokens: &Tokens<'_>, n: usize, known: &Known) -> Option<Found> {
    if known.is_empty() || tokens.get(n)?.digits == 0 {
        return None;
    }
    let mut squeezed = String::new();
    let mut found = None;
    for m in n..n + GROUPS_MAX {
        let gap = tokens.gap_before(m);
        if m > n && (gap.len() > 2 || gap.contains(',')) || m >= tokens.len() {
            break;
        }
        squeezed.extend(tokens.word(m).chars().filter(|c| *c != '\''));
        if known.is_number(&squeezed) {
            found = Some((n..m + 1, Category::Id, "context-number", 0.99));
        }
    }
    found
}

/// `scan_2019-03`: what hangs on a word is no date.
fn glued_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let word = tokens
        .before(n)
        .filter(|t| t.kind == Kind::Word && t.classes & (MONTH | WEEKDAY) == 0 && t.end - t.start > 2)?;
    let glued = matches!(tokens.gap_before(n), "_" | "-")
        && (tokens.gap_before(n) == "_" || word.kinds & WORD == 0 || word.case == Case::Upper);
    if glued { code_at(tokens, n) } else { None }
}

/// What a token with digits begins or belongs to.
fn number_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    if let Some(end) = streets::street_at(tokens, n) {
        return Some((n..streets::town_after(tokens, end), Category::Address, "street", 0.96));
    }
    // `(01)00312345(21)A1234`
    let element = tokens.gap_before(n).ends_with('(') && tokens.gap(n) == ")" && tokens.get(n)?.digits == 2;
    if element && let Some(found) = code_at(tokens, n) {
        return Some(found);
    }
    let phone = phone_at(tokens, n).map(|(range, category, rule, confidence)| {
        // `ST-555-0100`: letters that hang on it.
        let glued = range.start.checked_sub(1).filter(|m| {
            tokens.gap(*m) == "-"
                && tokens.get(*m).is_some_and(|t| t.kind == Kind::Word && t.case == Case::Upper)
        });
        (glued.unwrap_or(range.start)..range.end, category, rule, confidence)
    });
    phone.or_else(|| zip_at(tokens, n)).or_else(|| code_at(tokens, n))
}

/// Groups of digits that someone could dial, or a card or a security number has.
fn phone_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let token = tokens.get(n)?;
    let mut start_extra = 0;
    if token.kind != Kind::Number {
        // `DE89 3704 0044 …`
        let iban = token.digits >= 2
            && token.end - token.start == 4
            && tokens.get(n + 1)?.digits == 4
            && tokens.get(n + 2)?.digits == 4;
        if !iban {
            return None;
        }
        start_extra = 2;
    }
    let mut end = n + 1;
    let mut dots = 0;
    while end < n + GROUPS_MAX && tokens.get(end).is_some_and(|t| t.kind == Kind::Number) {
        let gap = tokens.gap_before(end);
        let joins = matches!(
            gap,
            "-" | "." | " " | ") " | ")" | "/" | ")-" | " (" | "(" | " - " | "--" | "-(" | ")."
        );
        if !joins {
            break;
        }
        dots += usize::from(gap == ".");
        end += 1;
    }
    let digits = |m: usize| tokens.get(m).map_or(0, |t| t.digits);
    let mut shape = [0_usize; GROUPS_MAX];
    for (slot, m) in shape.iter_mut().zip(n..end) {
        *slot = digits(m);
    }
    let count = end - n;
    let shape = shape.get(..count).unwrap_or_default();
    let total: usize = shape.iter().sum::<usize>() + start_extra;
    let before = tokens.gap_before(n);
    let plus = before.ends_with('+') || before.ends_with("+(") || before.ends_with("+ ");
    let bracket = before.ends_with('(');
    if tokens.is_before(n, CODE_CUE) && count < 3 {
        return None;
    }
    if dots == 3 && count == 4 && shape.iter().all(|d| *d <= 3) {
        return Some((n..end, Category::Ip, "host", 0.9));
    }
    let phone = |groups: usize| Some((with_extension(tokens, n, n + groups), Category::Phone, "phone", 0.95));
    match shape {
        [3, 2, 4, ..] => return Some((n..n + 3, Category::Ssn, "ssn", 0.97)),
        [1, 3, 3, 4, ..] | [2, 3, 3, 4, ..] | [3, 3, 3, 4, ..] => return phone(4),
        [4, 4, 4, 4, ..] => return Some((n..end, Category::Id, "card", 0.95)),
        [4, 6, 5, ..] | [4, 6, 4, ..] => return Some((n..n + 3, Category::Id, "card", 0.95)),
        [3, 3, 4, ..] => return phone(3),
        [3, 4, ..] if tokens.gap(n) == "-" || phone_before(tokens, n) => return phone(2),
        [3, 7] if matches!(tokens.gap(n), "-" | "." | ") ") => return phone(2),
        [5, 4] if tokens.gap(n) == "-" => return Some((n..n + 2, Category::Zip, "zip-plus-four", 0.9)),
        _ => {}
    }
    if (plus && total >= 7 || total >= PHONE_CUED_DIGITS_MIN && phone_before(tokens, n))
        && (total < 16 || count > 2)
    {
        return Some((with_extension(tokens, n, end), Category::Phone, "phone-cue", 0.9));
    }
    let long = shape.iter().any(|d| *d >= 4);
    let zero = tokens.word(n).starts_with('0') && digits(n) > 1;
    let grouped = count >= 2 && shape.iter().skip(1).all(|d| *d >= 2) && !tokens.is(end, UNIT);
    // Decimals: `98.6 72 16`.
    let decimals = dots > 0 && dots < count - 1;
    let sevens = count >= 3 && (zero || bracket || long || count >= 4 || shape.iter().all(|d| *d >= 3))
        || count == 2 && total >= 9 && (zero || long);
    if grouped && !decimals && sevens && PHONE_DIGITS.contains(&total) {
        let (start, end) = spaced(tokens, n, with_extension(tokens, n, end).end);
        return Some((start..end, Category::Phone, "grouped-digits", 0.8));
    }
    if matches!(shape, [4, 4] | [3, 4])
        && matches!(tokens.gap(n), " " | "-")
        && !tokens.is(end, UNIT)
        && !year_range(tokens, n)
    {
        return Some((n..end, Category::Id, "grouped-digits", 0.7));
    }
    if grouped && total > *PHONE_DIGITS.end() {
        return Some((n..end, Category::Id, "grouped-digits", 0.8));
    }
    None
}

fn year_range(tokens: &Tokens<'_>, n: usize) -> bool {
    [n, n + 1].into_iter().all(|m| tokens.number(m).is_some_and(|year| (1900..2100).contains(&year)))
}

fn with_extension(tokens: &Tokens<'_>, start: usize, end: usize) -> Range<usize> {
    let word = tokens.word(end);
    if matches!(word, "ext" | "x" | "extension" | "extn")
        && tokens.gap_before(end).len() <= 3
        && tokens.number(end + 1).is_some()
    {
        return start..end + 2;
    }
    let glued = ["x", "ext"].iter().any(|mark| {
        word.strip_prefix(mark).is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    });
    // `3621x0135`
    let inside = tokens.gap_before(end).len() == 1
        && word.split_once('x').is_some_and(|(a, b)| {
            [a, b].iter().all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))
        });
    start..if glued || inside { end + 1 } else { end }
}

/// `Phone: 60-56-85-91`, `call me at 0494 92 82 32`.
fn phone_before(tokens: &Tokens<'_>, n: usize) -> bool {
    let cue = |back: usize| n.checked_sub(back).is_some_and(|m| tokens.is(m, PHONE_CUE));
    cue(1) || !tokens.gap_before(n).contains('\n') && (cue(2) || cue(3))
}

/// `MA 02139`, `Zip: 2371`, `53-320`.
fn zip_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let token = tokens.get(n)?;
    if token.kind != Kind::Number || !matches!(token.digits, 3..=6) {
        return None;
    }
    let word = tokens.word_before(n);
    let back = |m: usize| n.checked_sub(m).map_or("", |m| tokens.word(m));
    let cue = ["zip", "zipcode", "postcode", "postal", "plz"]
        .iter()
        .any(|cue| word == *cue || matches!(word, "code" | "is") && (back(2) == *cue || back(3) == *cue));
    let near =
        tokens.gap_before(n).bytes().all(|b| matches!(b, b' ' | b',' | b'\n' | b'\t' | b'^' | b'.' | b'-'));
    let state = near
        && tokens.before(n).is_some_and(|t| {
            t.classes & PLACE != 0
                || t.case != Case::Lower
                    && word.len() == 2
                    && geography::is_state(word.to_ascii_uppercase().as_bytes())
                || tokens.caseless
                    && word.len() == 2
                    && geography::is_state(word.to_ascii_uppercase().as_bytes())
        });
    let foreign = near
        && token.digits >= 4
        && tokens.before(n).is_some_and(|t| {
            t.kind == Kind::Word && t.case == Case::Capital && t.kinds == 0 && t.classes == 0
        });
    if !(cue || state && token.digits == 5 || foreign && !tokens.is(n + 1, UNIT))
        || tokens.is_before(n, CODE_CUE)
    {
        return None;
    }
    let more = tokens.get(n + 1).is_some_and(|t| {
        matches!(tokens.gap(n), "-" | " ")
            && (t.kind == Kind::Number && t.digits <= 4
                || cue && t.case == Case::Upper && t.end - t.start <= 3)
            && !tokens.is(n + 2, UNIT)
    });
    let end = if more && (cue || tokens.gap(n) == "-") { n + 2 } else { n + 1 };
    Some((n..end, Category::Zip, "zip", 0.9))
}

/// `AB-1234-567`, `K7734512`, `00:1A:2B:3C`, `IMG_4411.jpg`: whatever stands together without a blank, if it has enough
/// digits and is not what the clinic writes.
fn code_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let joins = |m: usize| match tokens.gap_before(m) {
        "-" | "_" | "/" | "." | ":" | "+" | "--" | "#" => true,
        // `(01)00312345(21)A1234`
        "(" | ")" => {
            tokens.before(m).is_some_and(|t| t.digits > 0) && tokens.get(m).is_some_and(|t| t.digits > 0)
        }
        _ => false,
    };
    let mut start = n;
    while start > 0 && n - start < 4 && joins(start) {
        start -= 1;
    }
    let mut end = n + 1;
    while end < n + GROUPS_MAX && end < tokens.len() && joins(end) {
        end += 1;
    }
    let (mut digits, mut letters, mut numbers, mut most) = (0, 0, 0, 0);
    for m in start..end {
        let token = tokens.get(m)?;
        digits += token.digits;
        letters += token.end - token.start - token.digits;
        numbers += usize::from(token.kind == Kind::Number);
        most = most.max(token.digits);
    }
    let length = digits + letters;
    let groups = end - start;
    let code = tokens.is_before(start, CODE_CUE)
        || start.checked_sub(2).is_some_and(|m| tokens.is(m, CODE_CUE) && tokens.gap(m).len() <= 2);
    let file = matches!(
        tokens.word(end - 1),
        "jpg"
            | "jpeg"
            | "png"
            | "pdf"
            | "tif"
            | "tiff"
            | "gif"
            | "dcm"
            | "heic"
            | "bmp"
            | "mp4"
            | "mov"
            | "wav"
            | "doc"
            | "docx"
            | "txt"
    );
    if file && groups > 1 && digits > 0 {
        return Some((start..end, Category::Id, "file", 0.85));
    }
    let near =
        letters > 0 && digits >= 2 && length >= 3 && tokens.get(n).is_some_and(|t| t.case == Case::Upper);
    let near = near && !code && cue_near(tokens, start);
    let kept = is_clinical(tokens, start, end, digits, letters) && !near;
    if code && (letters == 0 || length <= MIXED_LENGTH_MIN) || tokens.is(end, UNIT) && letters == 0 || kept {
        return None;
    }
    let mixed = letters > 0
        && (digits >= MIXED_DIGITS_MIN && length >= MIXED_LENGTH_MIN
            || digits >= 3 && length >= 5 && (groups >= 2 || length >= 6)
            || digits >= 5
            // Hexadecimal, and letters and digits in turn.
            || digits >= 2 && length >= 8 && tokens.get(n).is_some_and(|t| t.kind == Kind::Mixed));
    let bare = letters == 0 && most >= BARE_DIGITS_MIN;
    let chain = letters == 0
        && groups >= 3
        && digits >= 6
        && numbers == groups
        && !(start..end).any(|m| m > start && tokens.gap_before(m) == ".");
    let pair = letters == 0 && groups == 2 && digits >= 6 && tokens.gap(start) == "-";
    let cued = near || digits >= 4 && cue_near(tokens, start);
    if !(mixed || bare || chain || pair || cued) {
        return None;
    }
    let (start, end) = spaced(tokens, start, end);
    let (category, rule) = match (letters, digits) {
        (0, 9) => (Category::Ssn, "nine-digits"),
        (0, 10 | 11) => (Category::Phone, "ten-digits"),
        (0, _) => (Category::Id, "long-number"),
        _ => (Category::Id, "code"),
    };
    Some((start..end, category, rule, 0.8))
}

/// `ABC 123 456`: what stands beside a code with one blank between and is made like it.
fn spaced(tokens: &Tokens<'_>, mut start: usize, mut end: usize) -> (usize, usize) {
    let letters = |m: usize| {
        tokens.get(m).is_some_and(|t| {
            t.kind == Kind::Word
                && t.case == Case::Upper
                && t.end - t.start <= 4
                && t.kinds & WORD == 0
                && t.classes == 0
                && !t.grammar
        })
    };
    for _ in 0..2 {
        let before =
            start.checked_sub(1).filter(|m| tokens.gap(*m) == " " && !tokens.caseless && letters(*m));
        let Some(before) = before else { break };
        start = before;
    }
    while end < start + GROUPS_MAX && tokens.gap_before(end) == " " && !tokens.is(end + 1, UNIT) {
        let group = tokens.get(end).is_some_and(|t| {
            t.digits >= 3 && t.end - t.start <= 6
                || t.kind == Kind::Mixed && t.digits >= 2 && t.case == Case::Upper
        });
        if !(group || letters(end) && !tokens.caseless) {
            break;
        }
        end += 1;
    }
    (start, end)
}

/// Whether a word that names numbers stands before within the sentence.
fn cue_near(tokens: &Tokens<'_>, n: usize) -> bool {
    let mut m = n;
    for _ in 0..CUE_WORDS_MAX {
        if m == 0 || tokens.gap_before(m).contains(['.', ';', '\n', '?', '!']) {
            return false;
        }
        m -= 1;
        if tokens.is(m, NUMBER_CUE) {
            return true;
        }
    }
    false
}

/// Whether a token is part of what [`is_clinical`] knows by its letters and digits: a diagnosis, an amount with its unit.
pub(super) fn is_clinical_code(tokens: &Tokens<'_>, n: usize) -> bool {
    let joins = |m: usize| matches!(tokens.gap_before(m), "-" | "." | "/");
    let (mut start, mut end) = (n, n + 1);
    while start > 0 && n - start < 4 && joins(start) {
        start -= 1;
    }
    while end < n + 4 && end < tokens.len() && joins(end) {
        end += 1;
    }
    let (digits, length) = (start..end)
        .filter_map(|m| tokens.get(m))
        .fold((0, 0), |(digits, length), t| (digits + t.digits, length + t.end - t.start));
    length > digits && is_clinical(tokens, start, end, digits, length - digits)
}

/// Amounts, ranges, codes of diagnoses, levels of the spine, parity.
fn is_clinical(tokens: &Tokens<'_>, start: usize, end: usize, digits: usize, letters: usize) -> bool {
    let word = tokens.word(start);
    let bytes = word.as_bytes();
    // `250.000`, `1998-2004`, `120/80`
    if letters == 0 && end - start == 2 {
        let each = |max: usize| (start..end).all(|m| tokens.get(m).is_some_and(|t| t.digits <= max));
        let year = |m: usize| tokens.number(m).is_some_and(|y| (1900..2100).contains(&y));
        return match tokens.gap(start) {
            "/" => each(3),
            "-" => each(4) && digits < 6 || each(3) || year(start) && (year(start + 1) || each(4)),
            "." => each(5) && digits < 7 || each(4),
            _ => each(3),
        };
    }
    // `500mg`, `325mg/5ml`, `12hr`
    let amounts = (start..end).all(|m| {
        let word = tokens.word(m);
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.is_empty()
            || rest.len() < word.len() && super::lexicon::classes(rest) & UNIT != 0
            || tokens.is(m, UNIT)
    });
    if letters > 0 && amounts && digits <= AMOUNT_DIGITS_MAX {
        return true;
    }
    // `E11.65`, `M54.50`, `S72.001A`
    if let [b'a'..=b'z', b'0'..=b'9', b'0'..=b'9' | b'a'..=b'b', ..] = bytes
        && word.len() <= 3 + 4
        && (end == start + 1 && word.len() <= 5
            || end == start + 2 && word.len() == 3 && tokens.gap(start) == ".")
    {
        return true;
    }
    // `T11-T12`, `L4-5`
    let spine = matches!(bytes.first(), Some(b'c' | b't' | b'l' | b's'))
        && (start..end).all(|m| {
            let word = tokens.word(m).trim_start_matches(['c', 't', 'l', 's']);
            !word.is_empty() && word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit())
        });
    // `G2P1001`
    let parity = bytes.first() == Some(&b'g')
        && word.contains('p')
        && end == start + 1
        && word.len() <= 8
        && word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'g' | b'p' | b'a' | b'l'));
    spine || parity
}
