//! Words that are names of people and also units, codes and places. A name that stands alone where such a word belongs
//! cannot be told from it, and a patient called Min must not be held for every `/min`.
//!
//! So a known word of this list is a hit only in company: where the value is a sentence, or holds another known
//! word. The list is written here by hand, from the overlap of surnames and first names with what passes in HL7
//! v2; it is not that of the rules.

/// Units, codes, and what senders write where a name is not known. Lower case, sorted.
const WORDS: [&str; 225] = [
    "ack", "adt", "ala", "alb", "all", "alt", "ang", "ann", "anon", "any", "app", "apt", "ara", "area",
    "arm", "art", "asp", "ast", "aus", "aut", "ave", "baby", "back", "bag", "bah", "bar", "bay", "beat",
    "beats", "bed", "bel", "beth", "bethesda", "bld", "body", "bon", "boy", "breath", "bro", "bun", "cal",
    "can", "cap", "caps", "car", "cat", "cea", "cell", "cells", "chd", "chi", "child", "chol", "col",
    "count", "counts", "cpt", "crea", "cup", "day", "days", "dea", "deg", "degree", "degrees", "den", "deu",
    "dft", "dia", "dom", "dose", "doses", "drop", "drops", "ear", "ehrlich", "emc", "eng", "eos", "epi",
    "eye", "father", "female", "ferr", "fib", "field", "fields", "fin", "flow", "flu", "foot", "fra", "fth",
    "gal", "ger", "girl", "gram", "grams", "gum", "hand", "heart", "hemo", "hepa", "hin", "hour", "hours",
    "hun", "inch", "inches", "ind", "iron", "ita", "jew", "kit", "kor", "lam", "lao", "len", "level",
    "liter", "liters", "log", "low", "lung", "mal", "male", "map", "mar", "mass", "max", "mdm", "mean",
    "med", "men", "mex", "mfn", "million", "min", "mins", "mole", "mom", "mon", "mono", "month", "months",
    "mother", "mth", "nam", "neg", "newborn", "nil", "none", "nor", "norm", "normal", "not", "null",
    "number", "ord", "orl", "orm", "oru", "oth", "other", "oul", "pack", "packs", "pan", "par", "pat",
    "patch", "patient", "per", "pin", "point", "points", "pol", "por", "pos", "pound", "pounds", "press",
    "pro", "puff", "puffs", "pul", "pulse", "ras", "rate", "rus", "sal", "san", "sat", "score", "sec",
    "second", "sel", "self", "sen", "ser", "shape", "siu", "skin", "som", "spa", "spo", "spray", "step",
    "steps", "stone", "sun", "sur", "tab", "tam", "tear", "temp", "test", "thu", "todd", "ton", "tube",
    "unit", "units", "unk", "unknown",
];

/// Cities that are also first names or surnames of many, of the United States. Lower case, sorted.
const CITIES: [&str; 92] = [
    "abilene",
    "albany",
    "alexandria",
    "allen",
    "anderson",
    "arlington",
    "ashland",
    "auburn",
    "augusta",
    "aurora",
    "austin",
    "bailey",
    "bedford",
    "benton",
    "bethany",
    "bradford",
    "brandon",
    "bristol",
    "burlington",
    "burton",
    "carson",
    "charleston",
    "charlotte",
    "chester",
    "clarence",
    "clayton",
    "cleveland",
    "clifton",
    "clinton",
    "columbus",
    "concord",
    "corona",
    "crystal",
    "dallas",
    "dalton",
    "dayton",
    "denton",
    "denver",
    "douglas",
    "dublin",
    "easton",
    "elizabeth",
    "eugene",
    "evans",
    "florence",
    "franklin",
    "fremont",
    "garland",
    "gary",
    "georgetown",
    "hamilton",
    "hampton",
    "harrison",
    "helena",
    "henderson",
    "houston",
    "hudson",
    "hugo",
    "irvine",
    "irving",
    "jackson",
    "jefferson",
    "kenton",
    "lancaster",
    "laurel",
    "lawrence",
    "lincoln",
    "london",
    "madison",
    "marion",
    "marshall",
    "mason",
    "milton",
    "monroe",
    "montgomery",
    "morgan",
    "newton",
    "norman",
    "orlando",
    "paris",
    "perry",
    "quincy",
    "raleigh",
    "rochester",
    "roswell",
    "sharon",
    "sidney",
    "sydney",
    "trenton",
    "troy",
    "victoria",
    "warren",
];

/// First and last words of the names of towns.
const BEFORE_A_NAME: [&str; 27] = [
    "big", "cape", "de", "del", "east", "el", "fort", "ft", "glen", "la", "lake", "las", "los", "mount",
    "mt", "new", "north", "point", "port", "saint", "san", "santa", "santo", "south", "st", "ste", "west",
];
const AFTER_A_NAME: [&str; 27] = [
    "beach", "bluff", "center", "city", "creek", "falls", "gardens", "grove", "harbor", "heights", "hill",
    "hills", "island", "junction", "lake", "mills", "park", "point", "rapids", "ridge", "rock", "shores",
    "springs", "town", "township", "valley", "village",
];

/// Whether a word, in lower case, is one of these.
pub(super) fn is_word(word: &[u8]) -> bool {
    has(&WORDS, word)
}

/// Whether a value, cut into words of lower case, is a town that may be named like somebody: one word of the list, or a
/// name with a word before or after it that makes a town of it.
pub(super) fn is_town<'w>(mut words: impl Iterator<Item = &'w [u8]>) -> bool {
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(only), None, ..) => has(&CITIES, only),
        (Some(first), Some(second), None, _) => has(&BEFORE_A_NAME, first) || has(&AFTER_A_NAME, second),
        (Some(first), Some(_), Some(third), None) => has(&BEFORE_A_NAME, first) || has(&AFTER_A_NAME, third),
        _ => false,
    }
}

fn has(list: &[&str], word: &[u8]) -> bool {
    list.iter().any(|listed| listed.as_bytes() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_lower_case() {
        for list in [&WORDS[..], &CITIES] {
            assert!(list.is_sorted() && list.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase())));
        }
    }

    #[test]
    fn towns_are_told_from_people() {
        let town = |text: &str| is_town(text.split(' ').map(str::as_bytes));
        for place in
            ["lincoln", "san antonio", "overland park", "st louis", "salt lake city", "virginia beach"]
        {
            assert!(town(place), "{place}");
        }
        for person in ["featherstone", "antonio", "antonio garcia", "ottoline q featherstone", ""] {
            assert!(!town(person), "{person}");
        }
    }
}
