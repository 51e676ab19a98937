//! The name of a place in a message: `PID-3[2].4`.

use std::fmt;
use std::str::FromStr;

use crate::{Message, Segment};

/// A place in a message, as people write it:
///
/// ```text
/// PID             the first PID segment
/// OBX[3]-5        field 5 of the third OBX, all repetitions
/// PID-3[2]        the second repetition of PID-3
/// PID-3.1         component 1 of its first repetition
/// PID-3[2].4.2    subcomponent 2 of component 4 of the second repetition
/// ```
///
/// All numbers count from 1. In MSH, FHS and BHS field 1 is the separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    name: [u8; 3],
    occurrence: u16,
    field: Option<u16>,
    repetition: Option<u16>,
    component: Option<u16>,
    subcomponent: Option<u16>,
}

/// The text is no [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a path is SEG-FIELD, such as PID-3, OBX[3]-5 or PID-3[2].4.1; numbers are 1 to 65535")]
pub struct NotAPath;

impl Path {
    /// The segment's name.
    pub fn segment_name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }

    pub(crate) fn find<'m>(&self, message: &'m Message) -> Option<&'m [u8]> {
        let skip = usize::from(self.occurrence).checked_sub(1)?;
        let segment = message.segments().filter(|s| s.name() == self.name).nth(skip)?;
        self.find_in(segment)
    }

    fn find_in<'m>(&self, segment: Segment<'m>) -> Option<&'m [u8]> {
        let Some(field) = self.field else { return Some(segment.raw()) };
        let field = segment.field(field.into())?;
        if self.repetition.is_none() && self.component.is_none() {
            return Some(field.raw());
        }
        let repetition = field.repetition(self.repetition.unwrap_or(1).into())?;
        let Some(component) = self.component else { return Some(repetition.raw()) };
        let component = repetition.component(component.into())?;
        let Some(subcomponent) = self.subcomponent else { return Some(component.raw()) };
        component.subcomponent(subcomponent.into()).map(|s| s.raw())
    }
}

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let mut rest = Cursor(text.as_bytes());
        let name = rest.name()?;
        let occurrence = rest.bracketed()?.unwrap_or(1);
        let mut path =
            Self { name, occurrence, field: None, repetition: None, component: None, subcomponent: None };
        if rest.take(b'-') {
            path.field = Some(rest.number()?);
            path.repetition = rest.bracketed()?;
            if rest.take(b'.') {
                path.component = Some(rest.number()?);
                if rest.take(b'.') {
                    path.subcomponent = Some(rest.number()?);
                }
            }
        }
        if rest.0.is_empty() { Ok(path) } else { Err(NotAPath) }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.segment_name())?;
        if self.occurrence != 1 {
            write!(f, "[{}]", self.occurrence)?;
        }
        let Some(field) = self.field else { return Ok(()) };
        write!(f, "-{field}")?;
        if let Some(repetition) = self.repetition {
            write!(f, "[{repetition}]")?;
        }
        for part in [self.component, self.subcomponent].into_iter().flatten() {
            write!(f, ".{part}")?;
        }
        Ok(())
    }
}

/// What is left of the text.
struct Cursor<'t>(&'t [u8]);

impl Cursor<'_> {
    fn take(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn name(&mut self) -> Result<[u8; 3], NotAPath> {
        let (name, rest) = self.0.split_first_chunk::<3>().ok_or(NotAPath)?;
        let fits = name.first().is_some_and(u8::is_ascii_uppercase)
            && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        self.0 = rest;
        if fits { Ok(*name) } else { Err(NotAPath) }
    }

    fn bracketed(&mut self) -> Result<Option<u16>, NotAPath> {
        if !self.take(b'[') {
            return Ok(None);
        }
        let number = self.number()?;
        if self.take(b']') { Ok(Some(number)) } else { Err(NotAPath) }
    }

    fn number(&mut self) -> Result<u16, NotAPath> {
        let digits = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at_checked(digits).ok_or(NotAPath)?;
        self.0 = rest;
        let number: u16 = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).ok_or(NotAPath)?;
        if number == 0 { Err(NotAPath) } else { Ok(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str =
        "MSH|^~\\&|A|B\rPID|1||100^^^H&1.2&ISO~200^^^M&3.4||\"\"\rOBX|1\rOBX|2|x\rOBX|3|||\r";

    #[test]
    fn names_places() {
        let message = Message::parse(MESSAGE).unwrap();
        for (path, bytes) in [
            ("MSH-1", Some("|")),
            ("MSH-2", Some("^~\\&")),
            ("MSH-2.1", Some("^~\\&")),
            ("MSH-3", Some("A")),
            ("PID-3", Some("100^^^H&1.2&ISO~200^^^M&3.4")),
            ("PID-3[2]", Some("200^^^M&3.4")),
            ("PID-3[2].4", Some("M&3.4")),
            ("PID-3[2].4.2", Some("3.4")),
            ("PID-3.4.3", Some("ISO")),
            ("PID-3.1.1", Some("100")),
            ("PID-3[3]", None),
            ("PID-3.5", None),
            ("PID-2", Some("")),
            ("PID-5", Some("\"\"")),
            ("PID-6", None),
            ("OBX", Some("OBX|1")),
            ("OBX[2]-2", Some("x")),
            ("OBX[3]-4", Some("")),
            ("OBX[4]-1", None),
            ("ZZZ-1", None),
        ] {
            let parsed: Path = path.parse().unwrap();
            assert_eq!(message.get(&parsed), bytes.map(str::as_bytes), "{path}");
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn other_text_is_no_path() {
        for bad in [
            "",
            "PI",
            "pid-3",
            "PID-",
            "PID-0",
            "PID-3[0]",
            "PID-3[",
            "PID-3[1",
            "PID-3.",
            "PID-3.1.",
            "PID-3.1.1.1",
            "PID3",
            "PID-3 ",
            "PID-99999",
            "PID-+1",
            "PID[*]-1",
            "é-1",
            "1ID-1",
        ] {
            assert_eq!(bad.parse::<Path>(), Err(NotAPath), "{bad}");
        }
        assert_eq!("PID[1]-3".parse::<Path>().unwrap().to_string(), "PID-3");
    }
}
