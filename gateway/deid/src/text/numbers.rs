//! Numbers of people and things, and addresses: of mail, pages, hosts and houses.

use std::ops::Range;

use super::known::Known;
use super::tokens::{Case, Kind, Tokens};
use super::words::{self, WORD};
use super::{Category, Span, dates};
use crate::geography;

/// A bare number of so many digits is a number of something.
const BARE_DIGITS_MIN: usize = 6;
/// Digits of a code of letters and digits that is a number of something, and its length.
const MIXED_DIGITS_MIN: usize = 4;
const MIXED_LENGTH_MIN: usize = 6;
/// Fewest digits of a telephone number after a word that says so.
const PHONE_DIGITS_MIN: usize = 6;
/// Most groups of a number.
const GROUPS_MAX: usize = 8;

/// Before a number of a person or a thing, however short.
const STRONG_CUES: &[&str] = &[
    "mrn",
    "mr",
    "medical",
    "record",
    "account",
    "acct",
    "ssn",
    "policy",
    "member",
    "license",
    "licence",
    "dea",
    "npi",
    "plate",
    "vin",
    "serial",
    "sn",
    "accession",
    "encounter",
    "chart",
    "passport",
    "iban",
    "subscriber",
    "beneficiary",
    "medicaid",
    "medicare",
    "udi",
    "fin",
    "csn",
    "specimen",
    "claim",
    "social",
    "driver",
    "drivers",
    "dl",
];
/// Before one that has at least four digits.
const WEAK_CUES: &[&str] = &[
    "id",
    "no",
    "number",
    "case",
    "group",
    "visit",
    "lot",
    "device",
    "card",
    "order",
    "ref",
    "reference",
    "pin",
    "tag",
    "patient",
];
/// Between a cue and its number.
const FILLERS: &[&str] = &[
    "number", "no", "num", "id", "is", "nr", "code", "record", "security", "plate", "policy", "card", "was",
    "of", "s",
];
/// After a number that is an amount.
const UNITS: &[&str] = &[
    "mg", "mcg", "g", "ml", "l", "units", "unit", "iu", "cells", "copies", "cfu", "mm", "cm", "kg", "k",
    "cfus", "ul", "dl", "ng", "pg", "steps", "dollars",
];
const STREETS: &[&str] = &[
    "street",
    "st",
    "avenue",
    "ave",
    "road",
    "rd",
    "drive",
    "dr",
    "lane",
    "ln",
    "boulevard",
    "blvd",
    "court",
    "ct",
    "place",
    "pl",
    "way",
    "parkway",
    "pkwy",
    "circle",
    "cir",
    "terrace",
    "ter",
    "trail",
    "trl",
    "highway",
    "hwy",
    "square",
    "sq",
    "loop",
    "alley",
    "crescent",
    "route",
    "plaza",
    "row",
    "close",
    "walk",
    "pike",
    "run",
    "crossing",
    "path",
    "point",
    "ridge",
    "heights",
    "glen",
    "cove",
    "creek",
];
const ROOMS: &[&str] =
    &["apt", "apartment", "unit", "suite", "ste", "floor", "fl", "bldg", "building", "lot", "box"];

/// Dates, ages, numbers and addresses, in the order of the text.
pub(super) fn find(tokens: &Tokens<'_>, known: &Known) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    let mut n = 0;
    while let Some(token) = tokens.get(n) {
        let found = if token.kind == Kind::Word && !is_cue(tokens.word(n)) {
            word_at(tokens, n)
        } else {
            known_at(tokens, n, known).or_else(|| word_at(tokens, n)).or_else(|| number_at(tokens, n))
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

fn is_cue(word: &str) -> bool {
    STRONG_CUES.contains(&word) || WEAK_CUES.contains(&word)
}

/// What begins with a word or may: dates, ages, and what a cue names.
fn word_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    if let Some(end) = dates::age_at(tokens, n) {
        return Some((n..end, Category::Age, "age-over-89", 0.95));
    }
    if let Some(end) = dates::date_at(tokens, n) {
        return Some((n..end, Category::Date, "date", 0.95));
    }
    let word = tokens.word(n);
    if word == "box"
        && matches!(tokens.word_before(n), "o" | "po" | "p.o" | "pob")
        && tokens.number(n + 1).is_some()
    {
        return Some((n..n + 2, Category::Address, "post-box", 0.9));
    }
    if is_cue(word) {
        return after_cue(tokens, n);
    }
    None
}

fn after_cue(tokens: &Tokens<'_>, cue: usize) -> Option<Found> {
    let strong = STRONG_CUES.contains(&tokens.word(cue));
    let mut n = cue + 1;
    while n < cue + 4 && FILLERS.contains(&tokens.word(n)) {
        n += 1;
    }
    let gap = tokens.gap_before(n);
    let close =
        gap.len() <= 4 && gap.chars().all(|c| matches!(c, ' ' | ':' | '#' | '.' | '-' | '=' | '(' | '\t'));
    if !close || (cue..n - 1).any(|m| tokens.gap(m).contains('\n')) {
        return None;
    }
    let mut end = n;
    let mut digits = 0;
    while end < n + GROUPS_MAX {
        let Some(token) = tokens.get(end) else { break };
        let joins = end == n
            || matches!(tokens.gap_before(end), "-" | "/" | "_" | ".")
            || tokens.gap_before(end) == " "
                && token.digits > 1
                && strong
                && tokens.before(end).is_some_and(|t| t.digits > 1)
                && !UNITS.contains(&tokens.word(end + 1));
        if !joins
            || end == n
                && token.digits == 0
                && !(token.case == Case::Upper
                    && matches!(tokens.gap(end), "-" | " ")
                    && tokens.get(end + 1).is_some_and(|t| t.digits > 1))
        {
            break;
        }
        digits += token.digits;
        end += 1;
    }
    let marked = gap.contains(['#', ':']) || n > cue + 1 || strong;
    let enough = if strong { 3 } else { 4 };
    if end == n
        || digits < enough
        || !marked
        || dates::date_at(tokens, n).is_some()
        || UNITS.contains(&tokens.word(end))
    {
        return None;
    }
    let ssn = matches!(tokens.word(cue), "ssn" | "social");
    let category = if ssn { Category::Ssn } else { Category::Id };
    Some((n..end, category, "cue", if strong { 0.95 } else { 0.8 }))
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

fn number_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let token = tokens.get(n)?;
    if let Some(found) = street_at(tokens, n) {
        return Some(found);
    }
    let mut end = n + 1;
    while end < n + GROUPS_MAX
        && tokens.get(end).is_some_and(|t| t.kind == Kind::Number)
        && matches!(tokens.gap_before(end), "-" | "." | " " | ") " | ")" | "/" | ")-")
    {
        end += 1;
    }
    let lengths: Vec<usize> = (n..end).filter_map(|m| tokens.get(m)).map(|t| t.digits).collect();
    let plus = tokens.gap_before(n).ends_with('+') || tokens.gap_before(n).ends_with("+(");
    if token.kind == Kind::Number {
        let shape = |groups: usize| lengths.get(..groups).unwrap_or_default();
        let same = |groups: usize| (n + 1..n + groups).all(|m| tokens.gap_before(m) != "/");
        for (groups, shapes) in [
            (4, &[&[1, 3, 3, 4][..], &[4, 4, 4, 4], &[2, 3, 3, 4], &[2, 2, 2, 2]][..]),
            (3, &[&[3, 3, 4][..], &[3, 2, 4], &[4, 6, 5], &[5, 3, 3], &[3, 3, 3]]),
        ] {
            if !shapes.contains(&shape(groups)) || !same(groups) && shape(groups) != [3, 3, 4] {
                continue;
            }
            return match shape(groups) {
                [3, 2, 4] => Some((n..n + 3, Category::Ssn, "ssn", 0.97)),
                [4, 4, 4, 4] | [4, 6, 5] => Some((n..n + groups, Category::Id, "card", 0.95)),
                [2, 2, 2, 2] if !plus => None,
                _ => Some((with_extension(tokens, n, n + groups), Category::Phone, "phone", 0.95)),
            };
        }
        if plus && lengths.iter().sum::<usize>() >= 8 {
            return Some((n..end, Category::Phone, "phone", 0.95));
        }
        let total: usize = lengths.iter().sum();
        if total >= PHONE_DIGITS_MIN && phone_before(tokens, n)
            || total >= 9 && tokens.word(n).starts_with('0') && end > n + 2
        {
            return Some((with_extension(tokens, n, end), Category::Phone, "phone-cue", 0.9));
        }
        let dash = matches!(tokens.gap(n), "-" | ".");
        if shape(2) == [3, 4] && matches!(tokens.gap(n), "-") || shape(2) == [3, 7] && dash {
            return Some((with_extension(tokens, n, n + 2), Category::Phone, "phone", 0.9));
        }
        if shape(2) == [5, 4] && tokens.gap(n) == "-" {
            return Some((n..n + 2, Category::Zip, "zip-plus-four", 0.9));
        }
        if matches!(token.digits, 4..=6) && zip_before(tokens, n, token.digits) {
            return Some((n..n + 1, Category::Zip, "zip", 0.9));
        }
        if token.digits >= BARE_DIGITS_MIN && !UNITS.contains(&tokens.word(n + 1)) {
            let (category, rule) = match token.digits {
                9 => (Category::Ssn, "nine-digits"),
                10 => (Category::Phone, "ten-digits"),
                _ => (Category::Id, "long-number"),
            };
            return Some((n..n + 1, category, rule, 0.8));
        }
    }
    chain_at(tokens, n)
}

/// `AB-1234-567`, `K7734512`, `00:1A:2B:3C`.
fn chain_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let (mut digits, mut length, mut end) = (0, 0, n);
    let mut start = n;
    // Letters before the hyphen belong to it.
    if tokens.gap_before(n) == "-"
        && tokens.before(n).is_some_and(|t| t.kind == Kind::Word && t.case == Case::Upper)
    {
        start -= 1;
    }
    while end < n + GROUPS_MAX && (end == n || matches!(tokens.gap_before(end), "-" | "_")) {
        let Some(token) = tokens.get(end).filter(|t| end == n || t.digits > 0 || t.case == Case::Upper)
        else {
            break;
        };
        digits += token.digits;
        length += token.end - token.start;
        end += 1;
    }
    let mixed = tokens.get(n).is_some_and(|t| t.kind == Kind::Mixed) || start < n || end > n + 1;
    let enough = digits >= MIXED_DIGITS_MIN && length >= MIXED_LENGTH_MIN || digits >= 3 && length >= 9;
    (mixed && enough && !UNITS.contains(&tokens.word(end))).then_some((
        start..end,
        Category::Id,
        "code",
        0.75,
    ))
}

fn with_extension(tokens: &Tokens<'_>, start: usize, end: usize) -> Range<usize> {
    let word = tokens.word(end);
    if matches!(word, "ext" | "x" | "extension") && tokens.number(end + 1).is_some() {
        return start..end + 2;
    }
    let glued =
        word.strip_prefix('x').is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    start..if glued { end + 1 } else { end }
}

/// `Phone: 60-56-85-91`, `call me at 0494 92 82 32`.
fn phone_before(tokens: &Tokens<'_>, n: usize) -> bool {
    const CUES: [&str; 11] =
        ["phone", "telephone", "tel", "fax", "cell", "mobile", "call", "pager", "beeper", "ph", "text"];
    let cue = |m: Option<usize>| m.is_some_and(|m| CUES.contains(&tokens.word(m)));
    cue(n.checked_sub(1))
        || !tokens.gap_before(n).contains('\n') && (cue(n.checked_sub(2)) || cue(n.checked_sub(3)))
}

fn zip_before(tokens: &Tokens<'_>, n: usize, digits: usize) -> bool {
    let word = tokens.word_before(n);
    let cue = matches!(word, "zip" | "zipcode" | "postcode")
        || word == "code" && n > 1 && tokens.word(n - 2) == "zip";
    let near = tokens.gap_before(n).len() <= 2;
    let state = tokens.before(n).is_some_and(|t| t.case != Case::Lower)
        && (geography::is_state(word.to_ascii_uppercase().as_bytes()) || words::kinds(word) & WORD == 0);
    cue || near && state && digits == 5
}

/// `12 North Main Street Apt 4`.
fn street_at(tokens: &Tokens<'_>, n: usize) -> Option<Found> {
    let token = tokens.get(n)?;
    if token.digits == 0 || token.digits > 6 || !matches!(tokens.gap(n), " " | ", ") {
        return None;
    }
    let mut end = None;
    for m in n + 1..n + 6 {
        let word = tokens.word(m);
        if m > n + 1 && !matches!(tokens.gap_before(m), " " | ". " | "-") {
            break;
        }
        if m > n + 1 && STREETS.contains(&word) {
            end = Some(m + 1);
            break;
        }
        let written =
            tokens.caseless || tokens.get(m).is_some_and(|t| t.case != Case::Lower || t.kind == Kind::Mixed);
        if !written || words::is_grammar(word) && word.len() < 3 {
            break;
        }
    }
    // `6750 Koskikatu 25 Apt. 864`: a house number, a word that is none of English, and another number or a room.
    let foreign = || {
        let word = tokens.get(n + 1)?;
        let capital = word.kind == Kind::Word && word.case == Case::Capital && word.kinds & WORD == 0;
        let end = n + 2;
        let number = tokens.get(end).is_some_and(|t| t.kind == Kind::Number && t.digits <= 4)
            && tokens.gap_before(end) == " ";
        let room = ROOMS.contains(&tokens.word(end)) && tokens.gap_before(end).trim().len() <= 1;
        (capital && token.kind == Kind::Number && tokens.gap(n) == " " && (number || room))
            .then(|| if number { end + 1 } else { end })
    };
    let mut end = end.or_else(foreign)?;
    for _ in 0..2 {
        let gap = tokens.gap_before(end);
        let room = ROOMS.contains(&tokens.word(end)) && gap.len() <= 3;
        let number = gap.ends_with('#') && tokens.get(end).is_some_and(|t| t.digits > 0);
        if room && tokens.get(end + 1).is_some_and(|t| t.digits > 0 || t.end - t.start == 1) {
            end += 2;
        } else if number
            || matches!(tokens.word(end), "n" | "s" | "e" | "w" | "nw" | "ne" | "sw" | "se") && gap == " "
        {
            end += 1;
        }
    }
    Some((n..end, Category::Address, "street", 0.9))
}

/// Addresses of mail, pages and hosts, in one walk over the bytes.
pub(super) fn networks(text: &str) -> Vec<Span> {
    let mut out = Vec::new();
    let mut at = 0;
    for piece in text.split(|c: char| {
        c.is_whitespace() || matches!(c, ',' | ';' | '<' | '>' | '"' | '(' | ')' | '[' | ']' | '|')
    }) {
        let start = at;
        at += piece.len() + 1;
        let trimmed = piece.trim_end_matches(['.', ':', '!', '?', '\'']);
        if !trimmed.bytes().any(|b| matches!(b, b'@' | b'/' | b'.' | b':')) {
            continue;
        }
        let found = if trimmed.contains("://") || trimmed.starts_with("www.") {
            Some((Category::Url, "page"))
        } else if trimmed
            .split_once('@')
            .is_some_and(|(_, host)| host.bytes().any(|b| b.is_ascii_alphanumeric()))
        {
            Some((Category::Email, "mail"))
        } else if is_ipv4(trimmed) || is_colons(trimmed) {
            Some((Category::Ip, "host"))
        } else if is_domain(trimmed) {
            Some((Category::Url, "domain"))
        } else {
            None
        };
        if let Some((category, rule)) = found {
            out.push(Span { range: start..start + trimmed.len(), category, rule, confidence: 0.97 });
        }
    }
    out
}

fn is_ipv4(piece: &str) -> bool {
    let host = piece.split(['/', ':']).next().unwrap_or_default();
    host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok())
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
        && matches!(
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
        )
}
