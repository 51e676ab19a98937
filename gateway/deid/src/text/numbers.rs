//! Numbers of people and things, and addresses: of mail, pages, hosts and houses.

use std::ops::Range;

use super::known::Known;
use super::lexicon::{
    CLINIC, CODE_CUE, DIRECTION, FILLER, MONTH, NUMBER_CUE, PARTICLE, PHONE_CUE, PLACE, ROOM, STREET,
    STREET_FIRST, UNIT, WEAK_CUE, WEEKDAY,
};
use super::tokens::{Case, Kind, Tokens};
use super::words::{self, WORD};
use super::{Category, Span, dates};
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
/// Most words between a street and the town's code, and most bytes between two of them.
const TOWN_WORDS_MAX: usize = 9;
const TOWN_GAP_MAX: usize = 10;
/// Most digits of an amount with its unit, `325mg/5ml`.
const AMOUNT_DIGITS_MAX: usize = 7;
/// Most words between what names a number and the number.
const CUE_WORDS_MAX: usize = 6;
/// Most words of two streets that meet.
const CORNER_WORDS_MAX: usize = 14;
/// Most words of a street's name.
const STREET_WORDS_MAX: usize = 7;

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
    if let Some(end) = box_at(tokens, n).or_else(|| street_by_word(tokens, n)) {
        return Some((n..town_after(tokens, end), Category::Address, "street", 0.96));
    }
    if let Some(end) = corner_at(tokens, n) {
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
        return Some((n..town_after(tokens, rooms_after(tokens, n + 2)), Category::Address, "room", 0.8));
    }
    if token.classes & (NUMBER_CUE | WEAK_CUE) != 0 {
        return after_cue(tokens, n);
    }
    None
}

/// `P.O. Box 12`, `PSC 0413, Box 8144`, `RR 2 Box 10`, `Unit 5022 Box 1225`.
fn box_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let digits = |m: usize| tokens.get(m).is_some_and(|t| t.digits > 0);
    let is_box = |m: usize| tokens.word(m) == "box" && digits(m + 1);
    match tokens.word(n) {
        "p" if matches!(tokens.word(n + 1), "o" | "0") && is_box(n + 2) => Some(n + 4),
        "po" | "pob" | "postbox" | "caller" if is_box(n + 1) => Some(n + 3),
        "psc" | "rr" | "hc" | "unit" | "cmr" | "hcr" if digits(n + 1) && is_box(n + 2) => Some(n + 4),
        "box" if digits(n + 1) && tokens.get(n)?.case != Case::Lower && !tokens.caseless => Some(n + 2),
        _ => None,
    }
}

/// `Villacher Strasse 89`, `Rue Gafsa 12`, `the corner of Main Street and Elm Avenue`, and `Main Street` alone.
fn street_by_word(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let token = tokens.get(n)?;
    let capital =
        |m: usize| tokens.get(m).is_some_and(|t| t.kind == Kind::Word && t.case != Case::Lower && !t.grammar);
    if !capital(n) && !tokens.caseless {
        return None;
    }
    if tokens.caseless {
        return None;
    }
    let number = |m: usize| {
        tokens.get(m).is_some_and(|t| t.digits > 0 && t.digits <= 4 && t.end - t.start <= 5)
            && matches!(tokens.gap_before(m), " " | ", ")
    };
    if token.classes & STREET_FIRST != 0 && capital(n + 1) && tokens.gap(n) == " " {
        let end = (n + 2..n + 5).find(|m| !capital(*m) || tokens.gap_before(*m) != " ").unwrap_or(n + 5);
        return number(end).then(|| end + 1);
    }
    if is_street_word(tokens.word(n)) && number(n + 1) && !tokens.is(n + 2, UNIT) {
        return Some(n + 2);
    }
    let end = (n + 1..n + 5)
        .find(|m| !capital(*m) || !matches!(tokens.gap_before(*m), " " | "-" | ". "))
        .unwrap_or(n + 5);
    let last = end.checked_sub(1).filter(|last| *last > n)?;
    let kind = matches!(
        tokens.word(last),
        "street"
            | "avenue"
            | "ave"
            | "road"
            | "rd"
            | "boulevard"
            | "blvd"
            | "lane"
            | "ln"
            | "highway"
            | "hwy"
            | "parkway"
            | "pkwy"
            | "strasse"
            | "str"
            | "terrace"
            | "drive"
            | "alley"
            | "route"
            | "turnpike"
            | "st"
    );
    if !kind || tokens.is(n, CLINIC) && tokens.get(n)?.kinds & WORD == 0 {
        return None;
    }
    Some(if number(end) { end + 1 } else { end })
}

/// `the corner of 35 Elm Street and Oak Avenue`.
fn corner_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    if !matches!(tokens.word(n), "corner" | "intersection") || tokens.word(n + 1) != "of" {
        return None;
    }
    let mut end = n + 2;
    while end < n + CORNER_WORDS_MAX {
        let Some(token) = tokens.get(end) else { break };
        let part = token.case != Case::Lower
            || token.digits > 0
            || tokens.caseless && !token.grammar
            || matches!(tokens.word(end), "and" | "de" | "la" | "du" | "del")
            || token.classes & STREET != 0;
        if !part || !matches!(tokens.gap_before(end), " " | "-" | ". " | " & " | "'") {
            break;
        }
        end += 1;
    }
    let joined = (n + 2..end).any(|m| matches!(tokens.word(m), "and") || tokens.gap_before(m) == " & ");
    (joined && end > n + 4).then_some(end)
}

/// Street and its kind in one word, as in much of Europe.
fn is_street_end(word: &str) -> bool {
    matches!(
        word,
        "utca"
            | "gate"
            | "gata"
            | "gade"
            | "vej"
            | "vei"
            | "ulica"
            | "ut"
            | "ter"
            | "rkp"
            | "trg"
            | "cesta"
            | "put"
            | "du"
            | "tie"
            | "katu"
    )
}

fn is_street_word(word: &str) -> bool {
    const ENDS: [&str; 27] = [
        "strasse",
        "strase",
        "stra\u{df}e",
        "gasse",
        "weg",
        "allee",
        "platz",
        "vej",
        "gade",
        "gata",
        "gatan",
        "vagen",
        "vegen",
        "veien",
        "katu",
        "kuja",
        "polku",
        "laan",
        "straat",
        "plein",
        "gracht",
        "stræde",
        "veg",
        "damm",
        "ufer",
        "steig",
        "tanga",
    ];
    word.len() > 6 && ENDS.iter().any(|end| word.ends_with(end))
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
    if let Some(end) = street_at(tokens, n) {
        return Some((n..town_after(tokens, end), Category::Address, "street", 0.96));
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

/// `12 North Main Street Apt 4`, `28245 Puruntie 82 Apt. 595`: the end of the line with the house.
fn street_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
    let token = tokens.get(n)?;
    if token.digits == 0 || token.digits > 6 || token.end - token.start > 7 {
        return None;
    }
    if !matches!(tokens.gap(n), " " | ", " | "-" | "/" | "  " | "\n")
        || matches!(tokens.gap_before(n), "." | "/" | "-" | ":")
    {
        return None;
    }
    // `1436 2450 Redbud Drive`, `12-B Main Street`.
    let mut first = n + 1;
    let second = tokens.get(first)?;
    let unit_letter = tokens.gap(n) == "-" && second.end - second.start <= 2;
    if (second.kind == Kind::Number && second.digits <= 4 && tokens.gap(n) == " " || unit_letter)
        && tokens.gap(first) == " "
    {
        first += 1;
    } else if !matches!(tokens.gap(n), " " | ", " | "  " | "\n") {
        return None;
    }
    let mut end = None;
    for m in first..first + STREET_WORDS_MAX {
        let Some(part) = tokens.get(m) else { break };
        if m > first && !matches!(tokens.gap_before(m), " " | ". " | "-" | "'") {
            break;
        }
        let street = part.classes & STREET != 0 && part.kind == Kind::Word;
        if part.grammar
            && part.end - part.start < 3
            && part.classes & DIRECTION == 0
            && !(street && m > first)
        {
            break;
        }
        if m > first && street && (part.case != Case::Lower || tokens.caseless)
            || m == first && is_street_word(tokens.word(m))
        {
            end = Some(m + 1);
            continue;
        }
        let written = tokens.caseless
            || part.case != Case::Lower
            || part.kind == Kind::Mixed
            || part.kind == Kind::Number && end.is_none();
        let clinical = part.classes & (CLINIC | UNIT) != 0
            && part.kinds & WORD != 0
            && part.classes & (STREET | PLACE | DIRECTION) == 0;
        if !written || end.is_some() || clinical && tokens.caseless {
            break;
        }
    }
    // A house number, a word that is none of English, and another number or a room.
    let foreign = || {
        let word = tokens.get(first)?;
        let telling = word.kind == Kind::Word
            && (word.case == Case::Capital && word.kinds & WORD == 0 && word.classes & (CLINIC | UNIT) == 0
                || word.classes & STREET_FIRST != 0 && (word.case != Case::Lower || tokens.caseless));
        if !telling || token.kind != Kind::Number {
            return None;
        }
        let end = (first + 1..first + 5)
            .find(|m| {
                let part = tokens.get(*m).is_some_and(|t| {
                    t.kind == Kind::Word
                        && t.classes & ROOM == 0
                        && (t.case != Case::Lower
                            || t.classes & PARTICLE != 0
                            || is_street_end(tokens.word(*m)))
                });
                !part || !matches!(tokens.gap_before(*m), " " | "-" | ". " | "'")
            })
            .unwrap_or(first + 5);
        let number = tokens.get(end).is_some_and(|t| {
            t.kind == Kind::Number && t.digits <= 4 || t.kind == Kind::Mixed && t.end - t.start <= 4
        }) && tokens.gap_before(end) == " "
            && !tokens.is(end + 1, UNIT);
        let room = tokens.is(end, ROOM) && tokens.gap_before(end).trim().len() <= 1;
        let large = token.digits >= 3 && word.kinds == 0 && word.classes == 0;
        (number || room || large).then(|| if number { end + 1 } else { end })
    };
    let end = end.or_else(foreign)?;
    Some(rooms_after(tokens, end))
}

/// `… Apt 4`, `… # 12`, `… NW`, `… no. 7`.
fn rooms_after(tokens: &Tokens<'_>, mut end: usize) -> usize {
    for _ in 0..3 {
        let gap = tokens.gap_before(end);
        let plain = gap.len() <= TOWN_GAP_MAX
            && gap.bytes().all(|b| matches!(b, b' ' | b',' | b'.' | b'\n' | b'#' | b'^'));
        let Some(token) = tokens.get(end) else { break };
        if !plain {
            break;
        }
        let next = tokens.get(end + 1);
        if token.classes & ROOM != 0
            && matches!(tokens.gap(end), " " | ". " | " #" | "." | "  " | ". #" | "#")
            && next.is_some_and(|t| t.digits > 0 || t.end - t.start == 1)
        {
            end += 2;
            // `Unit 4-B`
            if tokens.gap_before(end) == "-" && tokens.get(end).is_some_and(|t| t.end - t.start <= 2) {
                end += 1;
            }
        } else if gap.ends_with('#') && token.digits > 0
            || token.classes & DIRECTION != 0 && gap == " " && token.case != Case::Lower
            || token.kind == Kind::Number
                && token.digits <= 4
                && matches!(gap, " " | ". ")
                && !tokens.is(end + 1, UNIT)
        {
            end += 1;
        } else {
            break;
        }
    }
    end
}

/// `…, Springfield, MA 02139`: the town, the state and the code after a street. Without a code, state or country at its end
/// no word is taken: it may be the next sentence.
fn town_after(tokens: &Tokens<'_>, end: usize) -> usize {
    let mut sure = end;
    for m in end..end + TOWN_WORDS_MAX {
        let Some(token) = tokens.get(m) else { break };
        let gap = tokens.gap_before(m);
        let plain = gap.len() <= TOWN_GAP_MAX
            && gap.bytes().all(|b| {
                matches!(
                    b,
                    b' ' | b',' | b'\n' | b'\r' | b'^' | b'\t' | b'-' | b'\'' | b'>' | b'.' | b'(' | b')'
                )
            })
            && (!gap.contains('.') || tokens.before(m).is_some_and(|t| t.end - t.start <= 3))
            && !gap.contains("\n\n");
        if !plain {
            break;
        }
        let code = token.digits >= 4 && token.digits <= 6
            || token.digits == 9
            || token.digits >= 2 && token.end - token.start <= 4 && m > sure;
        if code && !tokens.is(m + 1, UNIT) {
            sure = m + 1;
            // `53-320`, `02139-1204`, `340 12`, `7412 SL`.
            let more = tokens.get(m + 1).is_some_and(|t| {
                matches!(tokens.gap(m), "-" | " ")
                    && (t.digits >= 2 && t.digits <= 4 && t.kind == Kind::Number
                        || t.case == Case::Upper && t.end - t.start == 2 && !tokens.caseless)
            });
            if more {
                sure = m + 2;
            }
            if token.digits >= 4 {
                return sure;
            }
            continue;
        }
        let written = tokens.caseless
            || token.case != Case::Lower
            || matches!(
                tokens.word(m),
                "de" | "la" | "del" | "of" | "nan" | "am" | "an" | "der" | "in" | "d"
            );
        if !written || token.grammar && token.end - token.start > 2 || token.kind == Kind::Number {
            break;
        }
        let word = tokens.word(m);
        let state = token.case == Case::Upper
            && word.len() == 2
            && geography::is_state(word.to_ascii_uppercase().as_bytes())
            || token.classes & PLACE != 0;
        if state {
            sure = m + 1;
        }
    }
    sure
}

/// Addresses of mail, pages and hosts, in one walk over the bytes.
pub(super) fn networks(text: &str) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    let bytes = text.as_bytes();
    // Each has one of these in it: a text without them is passed over at the speed of memory.
    let mut at = 0;
    while let Some(mark) =
        bytes.get(at..).and_then(|rest| memchr::memchr3(b'@', b'.', b':', rest)).map(|found| at + found)
    {
        let breaks = |b: &u8| {
            b.is_ascii_whitespace()
                || matches!(b, b',' | b';' | b'<' | b'>' | b'"' | b'(' | b')' | b'[' | b']' | b'|' | b'^')
        };
        let start = bytes
            .get(at..mark)
            .and_then(|before| before.iter().rposition(breaks))
            .map_or(at, |found| at + found + 1);
        let end = bytes
            .get(mark..)
            .and_then(|rest| rest.iter().position(breaks))
            .map_or(text.len(), |found| mark + found);
        at = end.max(mark + 1);
        let piece = text.get(start..end).unwrap_or_default();
        let trimmed = piece.trim_end_matches(['.', ':', '!', '?', '\'', '-', '/']);
        let Some((category, rule)) = network(trimmed) else { continue };
        let (mut from, to) = (start, start + trimmed.len());
        // `jane . doe@example.org`, `jane at example.org`, `jane[at]example.org`
        let before = text.get(..start).unwrap_or_default();
        if category == Category::Url || trimmed.starts_with('@') || trimmed.starts_with('.') {
            for middle in [" at ", "[at]", "(at)", " [at] ", " (at) ", " @ ", " . "] {
                if let Some(head) =
                    before.strip_suffix(middle).or_else(|| before.strip_suffix(middle.trim_end()))
                {
                    let name = head
                        .bytes()
                        .rev()
                        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'))
                        .count();
                    let word = head.get(head.len() - name..).unwrap_or_default();
                    let plain = middle.trim() == "at" && words::kinds(word) & WORD != 0;
                    if name > 0 && !plain {
                        from = head.len() - name;
                        break;
                    }
                }
            }
        } else if category == Category::Email
            && let Some(head) = before.strip_suffix(" . ")
        {
            from = head.len() - head.bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        }
        out.push(Span { range: from..to, category, rule, confidence: 0.97 });
    }
    out
}

fn network(piece: &str) -> Option<(Category, &'static str)> {
    if piece.contains("://") || piece.starts_with("www.") {
        Some((Category::Url, "page"))
    } else if piece.split_once('@').is_some_and(|(_, host)| host.bytes().any(|b| b.is_ascii_alphanumeric())) {
        Some((if piece.starts_with('@') { Category::Url } else { Category::Email }, "mail"))
    } else if is_ipv4(piece) || is_colons(piece) {
        Some((Category::Ip, "host"))
    } else if is_domain(piece) {
        Some((Category::Url, "domain"))
    } else {
        None
    }
}

fn is_ipv4(piece: &str) -> bool {
    let host = piece.split(['/', ':']).next().unwrap_or_default();
    host.split('.').count() == 4
        && host.split('.').all(|part| matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit()))
}

/// An IPv6 or a hardware address.
fn is_colons(piece: &str) -> bool {
    let groups = piece.split(':').count();
    let hex = piece.split(':').all(|g| g.len() <= 4 && g.bytes().all(|b| b.is_ascii_hexdigit()));
    hex && (groups >= 4 || groups >= 3 && piece.contains("::"))
}

fn is_domain(piece: &str) -> bool {
    let host = piece.split('/').next().unwrap_or_default();
    let Some((name, top)) = host.rsplit_once('.') else { return false };
    name.len() > 1
        && !name.contains(['@', '\''])
        && name.bytes().any(|b| b.is_ascii_alphabetic())
        && (top.len() >= 2
            && piece.len() > host.len() + 1
            && top.bytes().all(|b| b.is_ascii_alphabetic())
            && name.len() > 3
            || matches!(
                top,
                "com"
                    | "org"
                    | "net"
                    | "edu"
                    | "gov"
                    | "io"
                    | "info"
                    | "uk"
                    | "de"
                    | "ca"
                    | "biz"
                    | "health"
                    | "mil"
                    | "eu"
                    | "fr"
                    | "au"
                    | "us"
                    | "co"
                    | "me"
                    | "tv"
                    | "nl"
                    | "se"
                    | "dk"
                    | "fi"
                    | "pl"
                    | "ch"
                    | "es"
                    | "ie"
                    | "jp"
                    | "nz"
                    | "app"
                    | "dev"
                    | "care"
                    | "med"
                    | "clinic"
                    | "hospital"
            ))
}
