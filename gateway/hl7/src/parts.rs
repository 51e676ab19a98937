//! Views into a message: segments, fields, repetitions, components, subcomponents. Each borrows its bytes.
//!
//! Everything is found by scanning when asked, so a message costs memory for its segments only. Iterating is
//! linear; asking for field *n* scans to field *n*.

use std::borrow::Cow;
use std::fmt;

use crate::scan::find;
use crate::{Delimiters, text, unescape};

/// A null value: `""`, "delete what you have", as opposed to empty, "I do not say" (HL7 v2.8.2 §2.5.3).
const NULL: &[u8] = b"\"\"";

/// Cuts at every `separator`; at nothing where there is none. There is always at least one piece.
#[derive(Clone)]
struct Cut<'m> {
    rest: Option<&'m [u8]>,
    separator: Option<u8>,
}

impl<'m> Cut<'m> {
    const fn new(raw: &'m [u8], separator: Option<u8>) -> Self {
        Self { rest: Some(raw), separator }
    }
}

impl<'m> Iterator for Cut<'m> {
    type Item = &'m [u8];

    #[inline]
    fn next(&mut self) -> Option<&'m [u8]> {
        let rest = self.rest?;
        let at = self.separator.and_then(|s| find(s, rest));
        let Some((head, tail)) = at.and_then(|at| rest.split_at_checked(at)) else {
            self.rest = None;
            return Some(rest);
        };
        self.rest = tail.get(1..);
        Some(head)
    }
}

/// One segment: a line of the message without what ends it.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    raw: &'m [u8],
    gap: &'m [u8],
    delimiters: Delimiters,
}

impl<'m> Segment<'m> {
    pub(crate) const fn new(raw: &'m [u8], gap: &'m [u8], delimiters: Delimiters) -> Self {
        Self { raw, gap, delimiters }
    }

    /// The bytes, without the segment end.
    pub const fn raw(&self) -> &'m [u8] {
        self.raw
    }

    /// What stands between this segment and the next: its end (CR, LF or CRLF) and blank lines after it. Empty
    /// where the message stops without one.
    pub const fn gap(&self) -> &'m [u8] {
        self.gap
    }

    /// The delimiters in force: those of the header segment at or before this one.
    pub const fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// The name: what stands before the first field separator. Three characters in a valid message.
    pub fn name(&self) -> &'m [u8] {
        if self.is_header() {
            return self.raw.get(..3).unwrap_or_default();
        }
        Cut::new(self.raw, Some(self.delimiters.field())).next().unwrap_or_default()
    }

    /// Whether the fields count from the separator itself: MSH, FHS and BHS.
    pub fn is_header(&self) -> bool {
        self.raw.get(3) == Some(&self.delimiters.field()) && is_header_name(self.raw)
    }

    /// Field `number` as HL7 counts, from 1; in MSH, FHS and BHS field 1 is the separator and field 2 the encoding
    /// characters. `None` where the segment ends before it: an empty field is there, one beyond the end is not.
    #[inline]
    pub fn field(&self, number: usize) -> Option<Field<'m>> {
        self.fields().nth(number.checked_sub(1)?)
    }

    /// The fields in order, from field 1.
    #[inline]
    pub fn fields(&self) -> Fields<'m> {
        let mut cut = Cut::new(self.raw, Some(self.delimiters.field()));
        let head = if self.is_header() { self.raw.get(3..4) } else { None };
        cut.next();
        Fields { separator: head, encoding: head.is_some(), cut, delimiters: self.delimiters }
    }
}

/// Whether a line begins with the name of a segment that declares delimiters.
pub(crate) fn is_header_name(line: &[u8]) -> bool {
    matches!(line.get(..3), Some(b"MSH" | b"FHS" | b"BHS"))
}

/// The fields of a segment.
#[derive(Clone)]
pub struct Fields<'m> {
    separator: Option<&'m [u8]>,
    encoding: bool,
    cut: Cut<'m>,
    delimiters: Delimiters,
}

impl<'m> Iterator for Fields<'m> {
    type Item = Field<'m>;

    #[inline]
    fn next(&mut self) -> Option<Field<'m>> {
        if let Some(raw) = self.separator.take() {
            return Some(Field { raw, delimiters: self.delimiters, literal: true });
        }
        let raw = self.cut.next()?;
        let literal = std::mem::take(&mut self.encoding);
        Some(Field { raw, delimiters: self.delimiters, literal })
    }
}

macro_rules! value {
    ($name:ident) => {
        impl<'m> $name<'m> {
            /// The bytes as they stand in the message, escapes included.
            pub const fn raw(&self) -> &'m [u8] {
                self.raw
            }

            /// Nothing was said.
            pub const fn is_empty(&self) -> bool {
                self.raw.is_empty()
            }

            /// The null value `""`: what the receiver has is to be deleted. Distinct from empty.
            pub fn is_null(&self) -> bool {
                self.raw == NULL
            }

            /// The delimiters in force.
            pub const fn delimiters(&self) -> Delimiters {
                self.delimiters
            }

            /// The bytes with escapes resolved; see [`unescape`].
            pub fn unescaped(&self) -> Cow<'m, [u8]> {
                if self.literal { Cow::Borrowed(self.raw) } else { unescape(self.raw, &self.delimiters) }
            }

            /// The value as text, escapes resolved; see [`text`].
            pub fn text(&self) -> Cow<'m, str> {
                if self.literal {
                    String::from_utf8_lossy(self.raw)
                } else {
                    text(self.raw, &self.delimiters)
                }
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.raw.len())
            }
        }
    };
}

macro_rules! iterator {
    ($name:ident yields $item:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone)]
        pub struct $name<'m> {
            cut: Cut<'m>,
            delimiters: Delimiters,
            literal: bool,
        }

        impl<'m> Iterator for $name<'m> {
            type Item = $item<'m>;

            #[inline]
            fn next(&mut self) -> Option<$item<'m>> {
                let raw = self.cut.next()?;
                Some($item { raw, delimiters: self.delimiters, literal: self.literal })
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

/// A field with all its repetitions. MSH-1 and MSH-2 are one literal value and are not cut further.
#[derive(Clone, Copy)]
pub struct Field<'m> {
    raw: &'m [u8],
    delimiters: Delimiters,
    literal: bool,
}

impl<'m> Field<'m> {
    /// The repetitions in order; one where the field does not repeat, also when it is empty.
    #[inline]
    pub fn repetitions(&self) -> Repetitions<'m> {
        let separator = if self.literal { None } else { self.delimiters.repetition() };
        Repetitions { cut: Cut::new(self.raw, separator), delimiters: self.delimiters, literal: self.literal }
    }

    /// Repetition `number`, from 1.
    #[inline]
    pub fn repetition(&self, number: usize) -> Option<Repetition<'m>> {
        self.repetitions().nth(number.checked_sub(1)?)
    }

    /// Component `number` of the first repetition, from 1.
    #[inline]
    pub fn component(&self, number: usize) -> Option<Component<'m>> {
        self.repetition(1)?.component(number)
    }
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'m> {
    raw: &'m [u8],
    delimiters: Delimiters,
    literal: bool,
}

impl<'m> Repetition<'m> {
    /// The components in order; at least one.
    #[inline]
    pub fn components(&self) -> Components<'m> {
        let separator = if self.literal { None } else { Some(self.delimiters.component()) };
        Components { cut: Cut::new(self.raw, separator), delimiters: self.delimiters, literal: self.literal }
    }

    /// Component `number`, from 1.
    #[inline]
    pub fn component(&self, number: usize) -> Option<Component<'m>> {
        self.components().nth(number.checked_sub(1)?)
    }
}

/// One component of a repetition.
#[derive(Clone, Copy)]
pub struct Component<'m> {
    raw: &'m [u8],
    delimiters: Delimiters,
    literal: bool,
}

impl<'m> Component<'m> {
    /// The subcomponents in order; at least one.
    #[inline]
    pub fn subcomponents(&self) -> Subcomponents<'m> {
        let separator = if self.literal { None } else { self.delimiters.subcomponent() };
        Subcomponents {
            cut: Cut::new(self.raw, separator),
            delimiters: self.delimiters,
            literal: self.literal,
        }
    }

    /// Subcomponent `number`, from 1.
    #[inline]
    pub fn subcomponent(&self, number: usize) -> Option<Subcomponent<'m>> {
        self.subcomponents().nth(number.checked_sub(1)?)
    }
}

/// One subcomponent: a leaf.
#[derive(Clone, Copy)]
pub struct Subcomponent<'m> {
    raw: &'m [u8],
    delimiters: Delimiters,
    literal: bool,
}

value!(Field);
value!(Repetition);
value!(Component);
value!(Subcomponent);
iterator!(Repetitions yields Repetition, "The repetitions of a field.");
iterator!(Components yields Component, "The components of a repetition.");
iterator!(Subcomponents yields Subcomponent, "The subcomponents of a component.");

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} bytes)", self.raw.len())
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fields")
    }
}
