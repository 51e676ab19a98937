//! What is known beforehand of the people in a text: the names and numbers of its message, by data type.

//!
//! A word of a name or an address of the message's own is found in any case and any company, also where it is a word of the
//! clinic: the output gate would not let it go. So a `brown` stain is a name in the notes of a patient called Brown.

use std::collections::HashSet;
use std::ops::Range;

use hl7::Message;

use super::normal::{Normal, skeleton};
use super::words::{self, WORD};
use super::{Category, Span};
use crate::tables::TABLES;

/// Fewest letters of a known name.
const NAME_LETTERS_MIN: usize = 2;
/// Fewest letters of a street's or town's word.
const PLACE_LETTERS_MIN: usize = 4;
/// Fewest characters of a known number.
const NUMBER_CHARACTERS_MIN: usize = 4;
/// Fewest letters of a name of which one may be mistyped.
const MISTYPED_LETTERS_MIN: usize = 5;
/// Most known names that words are compared with letter by letter. Of more, none that is mistyped is found: a message of
/// a megabyte of names would otherwise cost hours.
const MISTYPED_NAMES_MAX: usize = 2000;
/// Fewest letters of a word of a name that is found in any case and company.
const WORD_LETTERS_MIN: usize = 3;
/// Digits of a telephone number without its area.
const TELEPHONE_DIGITS: usize = 7;
/// Most bytes between two groups of digits of one number.
const GROUPS_APART_MAX: usize = 3;
/// Most groups of one number.
const GROUPS_MAX: usize = 5;
/// Fewest digits of a known number that is found in groups.
const GROUPED_DIGITS_MIN: usize = 6;
/// Age from which on a year tells somebody.
const TELLING_AGE: i16 = 90;
/// A name and two initials at most are written together.
const TOGETHER_MAX: usize = 3;

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
    /// Words of names in lower case, and names that are written together.
    words: HashSet<String>,
    /// Words of streets and towns.
    streets: HashSet<String>,
    /// The last seven digits.
    telephones: HashSet<String>,
    /// Birth dates, digits alone, in every order; years that tell an age over 89.
    dates: HashSet<String>,
    /// First letters of given and family names.
    initials: HashSet<String>,
}

/// Counts alone.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { names, places, numbers, .. } = self;
        write!(f, "Known({} names, {} places, {} numbers)", names.len(), places.len(), numbers.len())
    }
}

impl Known {
    /// Everyone of a message: whatever stands in a field whose type holds names, numbers, addresses or telephones. `year` is
    /// that in which it is read.
    pub fn of_message(message: &Message, year: i16) -> Self {
        let mut known = Self::default();
        for segment in message.segments() {
            let slots = <[u8; 3]>::try_from(segment.name()).ok().and_then(|name| TABLES.segments.get(&name));
            for (number, slot) in (1..).zip(slots.into_iter().flatten()) {
                let data_type = slot.data_type.and_then(|t| TABLES.data_type(t)).map_or("", |t| t.name);
                let Some(field) = segment.field(number) else { continue };
                for repetition in field.repetitions() {
                    let parts: Vec<_> = repetition.components().map(|c| c.text().into_owned()).collect();
                    known.learn(data_type, &parts, (segment.name(), number), year);
                }
            }
        }
        known
    }

    fn learn(&mut self, data_type: &str, parts: &[String], place: (&[u8], usize), year: i16) {
        let first = parts.first().map(String::as_str).unwrap_or_default();
        let part = |n: usize| parts.get(n).map(String::as_str).unwrap_or_default();
        match data_type {
            "XPN" | "PN" => {
                self.person(part(0), &[part(1), part(2)]);
                parts.iter().skip(9).for_each(|part| self.name(part));
            }
            "XCN" | "PPN" | "CN" => {
                self.number(first);
                self.person(part(1), &[part(2), part(3)]);
            }
            "CNN" => {
                self.number(first);
                self.person(part(1), &[part(2)]);
            }
            "CX" | "EI" | "DLN" | "CK" => self.number(first),
            "ST" if matches!(place, (b"PID", 19) | (b"IN1", 36) | (b"IN2", 2) | (b"GT1", 12)) => {
                self.number(first);
            }
            // Where somebody was born.
            "ST" if place == (b"PID", 23) => self.place(first),
            "XAD" | "AD" => parts.iter().take(3).for_each(|part| self.place(part)),
            "XTN" => {
                parts.iter().for_each(|part| self.telecom(part));
                self.telecom(&parts.iter().skip(4).take(3).map(String::as_str).collect::<String>());
            }
            _ if matches!(place, (b"PID", 7) | (b"NK1", 16) | (b"GT1", 8) | (b"IN1", 18)) => {
                self.birth_date(first, year);
            }
            _ => {}
        }
    }

    /// A person's names, alone, together and as initials.
    pub(crate) fn person(&mut self, family: &str, given: &[&str]) {
        self.name(family);
        given.iter().for_each(|name| self.name(name));
        let plain = |name: &str| -> String {
            Normal::of(name).lower().chars().filter(|c| c.is_alphabetic()).collect()
        };
        let (family, given): (_, Vec<_>) = (plain(family), given.iter().map(|name| plain(name)).collect());
        let (Some(of_family), Some(first)) = (family.chars().next(), given.first().filter(|n| !n.is_empty()))
        else {
            return;
        };
        let letters: String = given.iter().filter_map(|name| name.chars().next()).collect();
        let Some(initial) = letters.chars().next() else { return };
        for together in [
            format!("{first}{family}"),
            format!("{family}{first}"),
            format!("{initial}{family}"),
            format!("{family}{initial}"),
            format!("{letters}{family}"),
            format!("{family}{letters}"),
        ] {
            if together.len() > family.len() && family.chars().count() >= WORD_LETTERS_MIN {
                self.words.insert(together);
            }
        }
        self.initials.extend([format!("{initial}{of_family}"), format!("{letters}{of_family}")]);
    }

    /// A name and the names that stand for it.
    pub(crate) fn name(&mut self, name: &str) {
        let plain = Normal::of(name);
        for word in plain.lower().split(|c: char| !c.is_alphanumeric() && c != '\'') {
            let parts = word.split('\'').chain([word]);
            let is_word =
                |w: &&str| w.chars().count() >= WORD_LETTERS_MIN && w.chars().any(|c| !c.is_ascii_digit());
            self.words.extend(parts.filter(is_word).map(str::to_owned));
            if word.chars().count() < NAME_LETTERS_MIN || words::is_grammar(word) {
                continue;
            }
            self.names.insert(skeleton(word));
            let alike = NICKNAMES.iter().filter(|names| names.contains(&word));
            self.names.extend(alike.flat_map(|names| names.iter().map(|name| skeleton(name))));
        }
    }

    /// A birth date: year, month and day, whatever stands between them and behind.
    pub(crate) fn birth_date(&mut self, date: &str, this_year: i16) {
        let digits: String = date.chars().filter(char::is_ascii_digit).take(8).collect();
        let Some(year) = digits.get(..4) else { return };
        if year.parse::<i16>().is_ok_and(|born| this_year.saturating_sub(born) >= TELLING_AGE) {
            self.dates.insert(year.to_owned());
        }
        let (Some(month), Some(day), Some(short)) = (digits.get(4..6), digits.get(6..8), year.get(2..))
        else {
            return;
        };
        for year in [year, short] {
            for order in [[year, month, day], [month, day, year], [day, month, year], [year, day, month]] {
                self.dates.insert(order.concat());
            }
        }
    }

    /// A telephone number or an address of mail.
    pub(crate) fn telecom(&mut self, number: &str) {
        self.number(number);
        let digits: String = Normal::of(number).text().chars().filter(char::is_ascii_digit).collect();
        let local = digits.len().checked_sub(TELEPHONE_DIGITS).and_then(|at| digits.get(at..));
        self.telephones.extend(local.filter(|local| local.bytes().any(|b| b != b'0')).map(str::to_owned));
        if let Some((user, _)) = number.split_once('@') {
            self.words.extend(Some(user.to_lowercase()).filter(|user| user.len() >= WORD_LETTERS_MIN));
        }
    }

    /// A line of an address, a town.
    pub(crate) fn place(&mut self, place: &str) {
        let plain = Normal::of(place);
        let all = plain.lower().split(|c: char| !c.is_alphanumeric());
        let is_word = |w: &&str| w.len() >= PLACE_LETTERS_MIN && w.chars().any(|c| !c.is_ascii_digit());
        self.streets.extend(all.filter(is_word).map(str::to_owned));
        let words = plain.lower().split(|c: char| !c.is_alphanumeric());
        let tells = |w: &&str| w.len() >= PLACE_LETTERS_MIN && w.chars().all(char::is_alphabetic);
        self.places.extend(words.filter(tells).filter(|w| words::kinds(w) & WORD == 0).map(skeleton));
    }

    /// A number of a person, a visit, an order.
    pub(crate) fn number(&mut self, number: &str) {
        let plain = Normal::of(number);
        let squeezed: String = plain.lower().chars().filter(|c| c.is_alphanumeric()).collect();
        let digits = squeezed.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches('0');
        for form in [squeezed.as_str(), digits] {
            if form.len() >= NUMBER_CHARACTERS_MIN && form.bytes().any(|b| b.is_ascii_digit()) {
                self.numbers.insert(form.to_owned());
            }
        }
    }

    /// What of the message stands in a text, in any case and company.
    pub(super) fn find(&self, normal: &Normal) -> Vec<Span> {
        let mut out = Vec::new();
        if self.is_empty() {
            return out;
        }
        let mut mark = |range: Range<usize>, category, rule| {
            // A town is called one by who looked at what stands around it.
            let confidence = if category == Category::Address { 0.9 } else { 1.0 };
            out.push(Span { range, category, rule, confidence });
        };
        let text = normal.lower();
        for word in pieces(text, char::is_alphanumeric) {
            let written = text.get(word.clone()).unwrap_or_default();
            if self.words.contains(written)
                || self.words.contains(written.trim_matches(|c: char| c.is_ascii_digit()))
            {
                mark(word, Category::Name, "context-word");
            } else if self.streets.contains(written) {
                mark(word, Category::Address, "context-street");
            } else if self.numbers.contains(written) {
                mark(word, Category::Id, "context-number");
            }
        }
        for letters in self.initials_in(normal) {
            mark(letters, Category::Name, "context-initials");
        }
        for (number, digits) in groups(text) {
            let local = |window: &[u8]| {
                std::str::from_utf8(window).is_ok_and(|window| self.telephones.contains(window))
            };
            if digits.as_bytes().windows(TELEPHONE_DIGITS).any(local) {
                mark(number, Category::Phone, "context-telephone");
            } else if self.dates.contains(&digits) {
                mark(number, Category::Date, "context-date");
            } else if digits.len() >= GROUPED_DIGITS_MIN && self.is_number(&digits) {
                mark(number, Category::Id, "context-number");
            }
        }
        out
    }

    /// `J. S.`, `J.R.S.`: letters with a point behind each.
    fn initials_in(&self, normal: &Normal) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        let (text, bytes) = (normal.lower(), normal.text().as_bytes());
        let mut run: Vec<Range<usize>> = Vec::new();
        for word in pieces(text, char::is_alphanumeric) {
            let is_initial = word.len() == 1 && bytes.get(word.start).is_some_and(u8::is_ascii_uppercase);
            let follows = run.last().is_some_and(|last| {
                matches!(text.get(last.end..word.start), Some("." | ". ")) && run.len() < TOGETHER_MAX
            });
            if !is_initial || !follows {
                run.clear();
            }
            if is_initial {
                run.push(word);
            }
            let letters: String = run.iter().filter_map(|letter| text.get(letter.clone())).collect();
            if let (Some(first), Some(last)) = (run.first(), run.last())
                && text.get(last.end..).is_some_and(|rest| rest.starts_with('.'))
                && self.initials.contains(&letters)
            {
                out.push(first.start..last.end);
            }
        }
        out
    }

    /// Whether a text holds one of them.
    pub(crate) fn holds_any(&self, text: &str) -> bool {
        let plain = Normal::of(text);
        plain.lower().split(|c: char| !c.is_alphanumeric()).any(|word| !word.is_empty() && self.holds(word))
    }

    /// Whether a word in lower case is one of a name or an address.
    pub(super) fn holds(&self, word: &str) -> bool {
        self.words.contains(word) || self.streets.contains(word) || self.names.contains(&skeleton(word))
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { names, places, numbers, words, streets, telephones, dates, initials: _ } = self;
        [names, places, numbers, words, streets, telephones, dates].iter().all(|known| known.is_empty())
    }

    /// Whether a word in lower case is one of the names, read or typed wrongly too.
    pub(super) fn is_name(&self, lower: &str, kinds: u8) -> bool {
        let seen = skeleton(lower);
        self.names.contains(&seen)
            || kinds & WORD == 0
                && seen.len() >= MISTYPED_LETTERS_MIN
                && self.names.len() <= MISTYPED_NAMES_MAX
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

/// Longest runs of characters of a kind.
fn pieces(text: &str, belongs: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| belongs(*c)) {
        match out.last_mut() {
            Some(last) if last.end == at => last.end = at + c.len_utf8(),
            _ => out.push(at..at + c.len_utf8()),
        }
    }
    out
}

/// Numbers of one group of digits and more, with their digits: `617-555 0143`, `(03) 11/1954`.
fn groups(text: &str) -> Vec<(Range<usize>, String)> {
    let all = pieces(text, |c| c.is_ascii_digit());
    let mut out = Vec::with_capacity(all.len());
    for (n, first) in all.iter().enumerate() {
        let (mut end, mut digits) = (first.start, String::new());
        for group in all.iter().skip(n).take(GROUPS_MAX) {
            let gap = text.get(end..group.start).unwrap_or_default();
            if gap.len() > GROUPS_APART_MAX || !gap.bytes().all(|b| b" -./()+_,".contains(&b)) {
                break;
            }
            end = group.end;
            digits.push_str(text.get(group.clone()).unwrap_or_default());
            out.push((first.start..end, digits.clone()));
            if digits.len() > 2 * TELEPHONE_DIGITS {
                break;
            }
        }
    }
    out
}
