//! What is known beforehand of the people in a text: the names and numbers of its message, by data type.

use std::collections::HashSet;

use hl7::Message;

use super::normal::{Normal, skeleton};
use super::words::{self, WORD};
use crate::tables::TABLES;

/// Fewest letters of a known name.
const NAME_LETTERS_MIN: usize = 2;
/// Fewest letters of a street's or town's word.
const PLACE_LETTERS_MIN: usize = 4;
/// Fewest characters of a known number.
const NUMBER_CHARACTERS_MIN: usize = 4;
/// Fewest letters of a name of which one may be mistyped.
const MISTYPED_LETTERS_MIN: usize = 5;

/// Names that stand for each other.
const NICKNAMES: &[&[&str]] = &[
    &["alexander", "alex", "sasha", "al"],
    &["alexandra", "alex", "sandra", "lexi"],
    &["andrew", "andy", "drew"],
    &["anthony", "tony"],
    &["barbara", "barb", "babs"],
    &["benjamin", "ben", "benny"],
    &["catherine", "katherine", "kathryn", "cathy", "kathy", "kate", "katie", "kat"],
    &["charles", "charlie", "chuck", "chas"],
    &["christina", "christine", "chris", "tina", "chrissy"],
    &["christopher", "chris", "kit"],
    &["daniel", "dan", "danny"],
    &["david", "dave", "davey"],
    &["deborah", "debra", "deb", "debbie"],
    &["donald", "don", "donnie"],
    &["dorothy", "dot", "dottie"],
    &["edward", "ed", "eddie", "ted", "ned"],
    &["elizabeth", "liz", "lizzie", "beth", "betty", "eliza", "betsy", "libby"],
    &["francis", "frank", "fran"],
    &["gregory", "greg"],
    &["henry", "hank", "harry"],
    &["jacob", "jake"],
    &["james", "jim", "jimmy", "jamie"],
    &["jennifer", "jen", "jenny"],
    &["john", "jack", "johnny", "jon"],
    &["jonathan", "jon", "jonny"],
    &["joseph", "joe", "joey"],
    &["joshua", "josh"],
    &["kenneth", "ken", "kenny"],
    &["lawrence", "larry"],
    &["margaret", "maggie", "meg", "peggy", "marge"],
    &["matthew", "matt"],
    &["michael", "mike", "mikey", "mick"],
    &["nicholas", "nick", "nicky"],
    &["pamela", "pam"],
    &["patricia", "pat", "patty", "trish", "tricia"],
    &["patrick", "pat", "paddy"],
    &["peter", "pete"],
    &["rebecca", "becky", "becca"],
    &["richard", "rick", "rich", "dick", "ricky"],
    &["robert", "rob", "bob", "bobby", "bert"],
    &["ronald", "ron", "ronnie"],
    &["samuel", "samantha", "sam", "sammy"],
    &["stephen", "steven", "steve"],
    &["susan", "sue", "susie", "suzy"],
    &["theodore", "ted", "teddy", "theo"],
    &["theresa", "teresa", "terry", "tess"],
    &["thomas", "tom", "tommy"],
    &["timothy", "tim"],
    &["victoria", "vicky", "tori"],
    &["walter", "walt", "wally"],
    &["william", "bill", "billy", "will", "willie", "liam"],
    &["zachary", "zach", "zack"],
];

/// What is known of a text's people. Empty where nothing is.
#[derive(Default)]
pub struct Known {
    /// Skeletons.
    names: HashSet<String>,
    places: HashSet<String>,
    /// Letters and digits alone.
    numbers: HashSet<String>,
}

/// Counts alone.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { names, places, numbers } = self;
        write!(f, "Known({} names, {} places, {} numbers)", names.len(), places.len(), numbers.len())
    }
}

impl Known {
    /// Everyone of a message: whatever stands in a field whose type holds names, numbers, addresses or telephones.
    pub fn of_message(message: &Message) -> Self {
        let mut known = Self::default();
        for segment in message.segments() {
            let slots = <[u8; 3]>::try_from(segment.name()).ok().and_then(|name| TABLES.segments.get(&name));
            for (number, slot) in (1..).zip(slots.into_iter().flatten()) {
                let data_type = slot.data_type.and_then(|t| TABLES.data_type(t)).map_or("", |t| t.name);
                let Some(field) = segment.field(number) else { continue };
                for repetition in field.repetitions() {
                    let parts: Vec<_> = repetition.components().map(|c| c.text().into_owned()).collect();
                    known.learn(data_type, &parts, (segment.name(), number));
                }
            }
        }
        known
    }

    fn learn(&mut self, data_type: &str, parts: &[String], place: (&[u8], usize)) {
        let first = parts.first().map(String::as_str).unwrap_or_default();
        match data_type {
            "XPN" => parts.iter().take(3).for_each(|part| self.name(part)),
            "XCN" | "PPN" | "CNN" => {
                self.number(first);
                parts.iter().skip(1).take(3).for_each(|part| self.name(part));
            }
            "CX" | "EI" | "DLN" => self.number(first),
            "ST" if matches!(place, (b"PID", 19) | (b"IN1", 36) | (b"IN2", 2) | (b"GT1", 12)) => {
                self.number(first);
            }
            "XAD" => parts.iter().take(3).for_each(|part| self.place(part)),
            "XTN" => {
                parts.iter().for_each(|part| self.number(part));
                self.number(&parts.iter().skip(5).take(2).map(String::as_str).collect::<String>());
            }
            _ => {}
        }
    }

    /// A name and the names that stand for it.
    fn name(&mut self, name: &str) {
        let plain = Normal::of(name);
        for word in plain.lower().split(|c: char| !c.is_alphanumeric() && c != '\'') {
            if word.chars().count() < NAME_LETTERS_MIN || words::is_grammar(word) {
                continue;
            }
            self.names.insert(skeleton(word));
            let alike = NICKNAMES.iter().filter(|names| names.contains(&word));
            self.names.extend(alike.flat_map(|names| names.iter().map(|name| skeleton(name))));
        }
    }

    fn place(&mut self, place: &str) {
        let plain = Normal::of(place);
        let words = plain.lower().split(|c: char| !c.is_alphanumeric());
        let tells = |w: &&str| w.len() >= PLACE_LETTERS_MIN && w.chars().all(char::is_alphabetic);
        self.places.extend(words.filter(tells).filter(|w| words::kinds(w) & WORD == 0).map(skeleton));
    }

    fn number(&mut self, number: &str) {
        let plain = Normal::of(number);
        let squeezed: String = plain.lower().chars().filter(|c| c.is_alphanumeric()).collect();
        let digits = squeezed.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0');
        for form in [squeezed.as_str(), digits] {
            if form.len() >= NUMBER_CHARACTERS_MIN && form.bytes().any(|b| b.is_ascii_digit()) {
                self.numbers.insert(form.to_owned());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.places.is_empty() && self.numbers.is_empty()
    }

    /// Whether a word in lower case is one of the names, read or typed wrongly too.
    pub(super) fn is_name(&self, lower: &str, kinds: u8) -> bool {
        let seen = skeleton(lower);
        self.names.contains(&seen)
            || kinds & WORD == 0
                && seen.len() >= MISTYPED_LETTERS_MIN
                && self.names.iter().any(|name| {
                    name.len() >= MISTYPED_LETTERS_MIN
                        && name.len().abs_diff(seen.len()) <= 1
                        && strsim::osa_distance(name, &seen) <= 1
                })
    }

    pub(super) fn is_place(&self, lower: &str) -> bool {
        self.places.contains(&skeleton(lower))
    }

    /// Whether letters and digits, squeezed together, are one of the numbers.
    pub(super) fn is_number(&self, squeezed: &str) -> bool {
        self.numbers.contains(squeezed) || self.numbers.contains(squeezed.trim_start_matches('0'))
    }
}
