//! One condition, compiled.

use std::collections::BTreeSet;
use std::fmt;

use hl7::Message;
use regex::{Regex, RegexBuilder};

use super::place::Place;
use super::rule::Condition;
use super::{PATTERN_BYTES_MAX, PATTERN_SIZE_MAX, VALUES_MAX};

/// A condition that can be asked.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    question: Question,
    not: bool,
}

#[derive(Debug, Clone)]
enum Question {
    Type(Vec<Type>),
    Segment(Place),
    Value(Place, Test),
}

/// `ADT^A01`; `None` is `*`.
#[derive(Debug, Clone)]
struct Type {
    code: Option<String>,
    event: Option<String>,
}

#[derive(Debug, Clone)]
enum Test {
    OneOf(BTreeSet<String>),
    Matches(Regex),
    Present,
}

/// The key that is wrong, what is wrong with it, and what to do.
type Wrong = (&'static str, String, Option<String>);

impl Compiled {
    pub(super) fn new(written: &Condition) -> Result<Self, Wrong> {
        let c = written;
        let asked: Vec<&'static str> =
            [("type", c.kind.is_some()), ("segment", c.segment.is_some()), ("path", c.path.is_some())]
                .into_iter()
                .filter_map(|(key, is)| is.then_some(key))
                .collect();
        let tests: Vec<&'static str> = [
            ("equals", c.equals.is_some()),
            ("one_of", c.one_of.is_some()),
            ("matches", c.matches.is_some()),
            ("present", c.present.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, is)| is.then_some(key))
        .collect();
        let wrong = |key: &'static str, message: &str, hint: &str| {
            Err((key, message.to_owned(), Some(hint.to_owned())))
        };
        match (asked.as_slice(), tests.as_slice()) {
            ([], [test, ..]) => wrong(test, "a test without a place", "say of which: path = \"PID-3.4\""),
            ([], []) => wrong(
                "",
                "a condition that asks nothing",
                "write type = \"ADT^A01\", segment = \"ZPI\", or path = \"PID-3.4\" with equals = \"…\"",
            ),
            ([_, second, ..], _) => {
                wrong(second, "one condition asks about one thing", "make it two conditions")
            }
            ([key @ ("type" | "segment")], [_, ..]) => {
                wrong(key, "tests of values are asked of a path", "write path = \"…\", or leave the test out")
            }
            (["path"], []) => wrong(
                "path",
                "a place without a test",
                "add equals, one_of, matches or present, or ask for a segment: segment = \"PV1\"",
            ),
            (["path"], [_, second, ..]) => {
                wrong(second, "a condition has one test", "make it two conditions")
            }
            _ => Ok(Self { question: question(c)?, not: c.not != (c.present == Some(false)) }),
        }
    }

    pub(super) fn holds(&self, message: &Message) -> bool {
        self.not
            != match &self.question {
                Question::Type(types) => {
                    let part = |n| value_of(message, n);
                    let (code, event) = (part(1), part(2));
                    types.iter().any(|t| {
                        let fits = |wanted: &Option<String>, is: &[u8]| {
                            wanted.as_ref().is_none_or(|w| w.as_bytes() == is)
                        };
                        fits(&t.code, code) && fits(&t.event, event)
                    })
                }
                Question::Segment(place) => place.any(message, |_| true),
                Question::Value(place, test) => place.any(message, |value| match test {
                    Test::OneOf(values) => values.contains(value),
                    Test::Matches(pattern) => pattern.is_match(value),
                    Test::Present => !value.is_empty() && value != "\"\"",
                }),
            }
    }
}

/// Names what is asked, never a value: a value in a rule may be a patient's.
impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.not { "not: " } else { "" };
        match &self.question {
            Question::Type(types) => {
                write!(f, "{not}the type is ")?;
                for (n, t) in types.iter().enumerate() {
                    let word = |w: &Option<String>| w.clone().unwrap_or_else(|| "*".to_owned());
                    let or = if n == 0 { "" } else { " or " };
                    write!(f, "{or}{}^{}", word(&t.code), word(&t.event))?;
                }
                Ok(())
            }
            Question::Segment(place) => write!(f, "{not}there is a segment {}", place.text()),
            Question::Value(place, test) => {
                let (place, test) = (
                    place.text(),
                    match test {
                        Test::OneOf(values) if values.len() == 1 => {
                            "equals the value of the route".to_owned()
                        }
                        Test::OneOf(values) => format!("is one of {} values", values.len()),
                        Test::Matches(_) => "matches the pattern".to_owned(),
                        Test::Present => "has a value".to_owned(),
                    },
                );
                write!(f, "{not}{place} {test}")
            }
        }
    }
}

/// Component `n` of MSH-9.
fn value_of(message: &Message, n: usize) -> &[u8] {
    message.msh().and_then(|s| s.field(9)).and_then(|f| f.component(n)).map(|c| c.raw()).unwrap_or_default()
}

fn question(c: &Condition) -> Result<Question, Wrong> {
    if let Some(words) = &c.kind {
        if words.0.is_empty() || words.0.len() > VALUES_MAX {
            return Err(("type", format!("1 to {VALUES_MAX} message types"), None));
        }
        return Ok(Question::Type(words.0.iter().map(|w| read_type(w)).collect::<Result<_, _>>()?));
    }
    if let Some(name) = &c.segment {
        return match Place::read(name) {
            Ok(place) if place.is_segment() => Ok(Question::Segment(place)),
            _ => {
                let hint = "three capital letters or digits, such as ZPI, or OBX[2] for the second of them";
                Err(("segment", format!("`{name}` is no segment's name"), Some(hint.to_owned())))
            }
        };
    }
    let text = c.path.as_deref().unwrap_or_default();
    let place =
        Place::read(text).map_err(|e| ("path", format!("`{text}` is no path"), Some(e.to_string())))?;
    if place.is_segment() {
        let hint = format!("name a field, such as {text}-1, or ask for the segment: segment = \"{text}\"");
        return Err(("path", format!("`{text}` names a whole segment"), Some(hint)));
    }
    Ok(Question::Value(place, test(c)?))
}

fn test(c: &Condition) -> Result<Test, Wrong> {
    let empty = |key| Err((key, "an empty text".to_owned(), Some("write present = false".to_owned())));
    if let Some(pattern) = &c.matches {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(("matches", format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"), None));
        }
        let compiled = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE_MAX).build();
        return compiled.map(Test::Matches).map_err(|e| {
            // The last line says what is wrong; those before it draw the pattern.
            let said = e.to_string();
            let last = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            ("matches", format!("not a regular expression: {last}"), None)
        });
    }
    if let Some(values) = &c.one_of {
        if values.is_empty() || values.len() > VALUES_MAX {
            return Err(("one_of", format!("1 to {VALUES_MAX} values"), None));
        }
        if values.iter().any(String::is_empty) {
            return empty("one_of");
        }
        return Ok(Test::OneOf(values.iter().cloned().collect()));
    }
    match &c.equals {
        Some(value) if value.is_empty() => empty("equals"),
        Some(value) => Ok(Test::OneOf(BTreeSet::from([value.clone()]))),
        None => Ok(Test::Present),
    }
}

fn read_type(word: &str) -> Result<Type, Wrong> {
    let (code, event) = word.split_once('^').unwrap_or((word, "*"));
    let part = |part: &str| match part {
        "*" => Some(None),
        part if !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            Some(Some(part.to_owned()))
        }
        _ => None,
    };
    match (part(code), part(event)) {
        (Some(code), Some(event)) => Ok(Type { code, event }),
        _ => {
            let hint = "a type is CODE^EVENT, such as ADT^A01; * stands for all, as in ADT^*";
            Err(("type", format!("`{word}` is no message type"), Some(hint.to_owned())))
        }
    }
}
