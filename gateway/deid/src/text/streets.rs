//! Addresses of houses: streets, rooms, boxes, corners, and the towns behind them.

use super::lexicon::{CLINIC, DIRECTION, PARTICLE, PLACE, ROOM, STREET, STREET_FIRST, UNIT};
use super::tokens::{Case, Kind, Tokens};
use super::words::WORD;
use crate::geography;

/// Most words between a street and the town's code, and most bytes between two of them.
const TOWN_WORDS_MAX: usize = 9;
const TOWN_GAP_MAX: usize = 10;
/// Most words of two streets that meet.
const CORNER_WORDS_MAX: usize = 14;
/// Most words of a street's name.
const STREET_WORDS_MAX: usize = 7;

/// `P.O. Box 12`, `PSC 0413, Box 8144`, `RR 2 Box 10`, `Unit 5022 Box 1225`.
pub(super) fn box_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
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
pub(super) fn street_by_word(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
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
pub(super) fn corner_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
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

/// `12 North Main Street Apt 4`, `28245 Puruntie 82 Apt. 595`: the end of the line with the house.
pub(super) fn street_at(tokens: &Tokens<'_>, n: usize) -> Option<usize> {
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
pub(super) fn rooms_after(tokens: &Tokens<'_>, mut end: usize) -> usize {
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
pub(super) fn town_after(tokens: &Tokens<'_>, end: usize) -> usize {
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
