//! A place in a message, where what is not numbered means any.

use std::borrow::Cow;

use hl7::{Component, Message, NotAPath, Path, Repetition, Segment};

/// A path as [`Path`] reads it, but for what is not numbered: all segments of the name, all repetitions.
#[derive(Debug, Clone)]
pub(super) struct Place {
    text: String,
    segment: [u8; 3],
    occurrence: Option<usize>,
    field: Option<usize>,
    repetition: Option<usize>,
    component: Option<usize>,
    subcomponent: Option<usize>,
}

impl Place {
    pub(super) fn read(text: &str) -> Result<Self, NotAPath> {
        let path: Path = text.parse()?;
        let name = path.segment_name().as_bytes();
        let segment = *name.first_chunk::<3>().ok_or(NotAPath)?;
        // The grammar is the path's, so what follows finds what that has found.
        let (head, rest) = text.split_once('-').map_or((text, None), |(head, rest)| (head, Some(rest)));
        let mut parts = rest.unwrap_or_default().split('.');
        let (field, repetition) = numbered(parts.next().unwrap_or_default());
        let mut number = || parts.next().and_then(|n| n.parse().ok());
        Ok(Self {
            text: text.to_owned(),
            segment,
            occurrence: numbered(head).1,
            field,
            repetition,
            component: number(),
            subcomponent: number(),
        })
    }

    pub(super) fn is_segment(&self) -> bool {
        self.field.is_none()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the test holds for a value at the place; of a whole segment the value is its name.
    pub(super) fn any(&self, message: &Message, test: impl Fn(&str) -> bool) -> bool {
        let segments = message.segments().filter(|s| s.name() == self.segment);
        match self.occurrence {
            Some(n) => segments.skip(n.saturating_sub(1)).take(1).any(|s| self.any_in(&s, &test)),
            None => segments.into_iter().any(|s| self.any_in(&s, &test)),
        }
    }

    fn any_in(&self, segment: &Segment<'_>, test: &impl Fn(&str) -> bool) -> bool {
        let Some(number) = self.field else {
            return test(&text(&self.segment));
        };
        let Some(field) = segment.field(number) else { return false };
        if segment.is_header() && number <= 2 {
            // The delimiters themselves: nothing in them is a delimiter.
            return self.component.is_none_or(|c| c == 1) && test(&text(field.raw()));
        }
        let one = |r: &Repetition<'_>| self.value(r).is_some_and(|v| test(&v));
        match self.repetition {
            Some(n) => field.repetition(n).is_some_and(|r| one(&r)),
            None => field.repetitions().any(|r| one(&r)),
        }
    }

    fn value(&self, repetition: &Repetition<'_>) -> Option<String> {
        let Some(number) = self.component else {
            let parts = repetition.components().map(|c| joined(&c));
            return Some(without_empty_end(parts, '^'));
        };
        let component = repetition.component(number)?;
        match self.subcomponent {
            None => Some(joined(&component)),
            Some(n) => Some(text(&component.subcomponent(n)?.unescaped()).into_owned()),
        }
    }
}

/// `3[2]` as 3 and 2; what is no number is none.
fn numbered(part: &str) -> (Option<usize>, Option<usize>) {
    let (number, bracketed) = part.split_once('[').map_or((part, None), |(n, b)| (n, b.strip_suffix(']')));
    (number.parse().ok(), bracketed.and_then(|n| n.parse().ok()))
}

fn joined(component: &Component<'_>) -> String {
    without_empty_end(component.subcomponents().map(|s| text(&s.unescaped()).into_owned()), '&')
}

fn without_empty_end(parts: impl Iterator<Item = String>, between: char) -> String {
    let mut whole = String::new();
    let mut owed = 0;
    for part in parts {
        if !part.is_empty() {
            whole.extend(std::iter::repeat_n(between, owed));
            whole.push_str(&part);
            owed = 0;
        }
        owed += 1;
    }
    whole
}

/// A decoded message is UTF-8, but for the bytes that its escape sequences stand for (`\XFC\`): these are compared as
/// ISO 8859-1, in which every byte is a character, so that a comparison never loses a value.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}
