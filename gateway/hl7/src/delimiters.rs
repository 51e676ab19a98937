//! The characters that a message is cut by, as its own MSH-1 and MSH-2 say.

/// A delimiter that the message does not have. NUL is never a delimiter: those are printable.
const ABSENT: u8 = 0;

/// The delimiters of a message: MSH-1 and the characters of MSH-2 in their order (HL7 v2.8.2 §2.5.4, §2.14.9.2).
///
/// A character that MSH-2 leaves out, or that already has another role, is absent: then nothing is cut by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delimiters {
    field: u8,
    component: u8,
    repetition: u8,
    escape: u8,
    subcomponent: u8,
    truncation: u8,
}

impl Delimiters {
    /// `|^~\&`, for messages that are written here without a message to answer. Never assumed when reading.
    pub const STANDARD: Self = Self {
        field: b'|',
        component: b'^',
        repetition: b'~',
        escape: b'\\',
        subcomponent: b'&',
        truncation: ABSENT,
    };

    /// From a field separator (MSH-1) and encoding characters (MSH-2). `None` where the separator is not ASCII
    /// punctuation, or MSH-2 is empty or begins with something else than ASCII punctuation.
    pub fn from_header(field: u8, encoding: &[u8]) -> Option<Self> {
        if !field.is_ascii_punctuation() {
            return None;
        }
        let mut taken = [field, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT];
        for (n, byte) in encoding.iter().take(5).enumerate() {
            if !byte.is_ascii_punctuation() {
                break;
            }
            // `^~\\&`, written by senders that escape once too often: the first role keeps the character.
            if !taken.contains(byte)
                && let Some(role) = taken.get_mut(n + 1)
            {
                *role = *byte;
            }
        }
        let [field, component, repetition, escape, subcomponent, truncation] = taken;
        (component != ABSENT).then_some(Self {
            field,
            component,
            repetition,
            escape,
            subcomponent,
            truncation,
        })
    }

    /// Reads them from a segment that begins with `MSH`, `FHS` or `BHS`.
    pub(crate) fn of_header_segment(segment: &[u8]) -> Option<Self> {
        let (separator, rest) = segment.get(3..)?.split_first()?;
        let end = memchr::memchr(*separator, rest).unwrap_or(rest.len());
        Self::from_header(*separator, rest.get(..end)?)
    }

    /// MSH-1, between fields.
    pub const fn field(&self) -> u8 {
        self.field
    }

    /// The first character of MSH-2, between components.
    pub const fn component(&self) -> u8 {
        self.component
    }

    /// The second, between repetitions.
    pub const fn repetition(&self) -> Option<u8> {
        present(self.repetition)
    }

    /// The third, around escape sequences.
    pub const fn escape(&self) -> Option<u8> {
        present(self.escape)
    }

    /// The fourth, between subcomponents.
    pub const fn subcomponent(&self) -> Option<u8> {
        present(self.subcomponent)
    }

    /// The fifth, after a truncated value; since v2.7.
    pub const fn truncation(&self) -> Option<u8> {
        present(self.truncation)
    }

    /// Whether a value that holds this byte must be escaped.
    pub const fn contains(&self, byte: u8) -> bool {
        byte != ABSENT
            && (byte == self.field
                || byte == self.component
                || byte == self.repetition
                || byte == self.escape
                || byte == self.subcomponent
                || byte == self.truncation)
    }

    /// MSH-2 as it has to be written for these delimiters. A role in the middle that is absent ends it.
    pub fn encoding_characters(&self) -> Vec<u8> {
        [self.component, self.repetition, self.escape, self.subcomponent, self.truncation]
            .into_iter()
            .take_while(|b| *b != ABSENT)
            .collect()
    }
}

const fn present(byte: u8) -> Option<u8> {
    if byte == ABSENT { None } else { Some(byte) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn come_from_the_header_alone() {
        let d = Delimiters::of_header_segment(br"MSH#*~\&#A").unwrap();
        assert_eq!((d.field(), d.component(), d.repetition()), (b'#', b'*', Some(b'~')));
        assert_eq!((d.escape(), d.subcomponent(), d.truncation()), (Some(b'\\'), Some(b'&'), None));
        let d = Delimiters::of_header_segment(br"MSH|^~\&#|A").unwrap();
        assert_eq!(d.truncation(), Some(b'#'));
        assert_eq!(d.encoding_characters(), br"^~\&#");
        assert_eq!(Delimiters::of_header_segment(br"MSH|^~\&|"), Some(Delimiters::STANDARD));
    }

    #[test]
    fn what_is_left_out_is_absent() {
        let d = Delimiters::of_header_segment(b"MSH|^~|A").unwrap();
        assert_eq!((d.repetition(), d.escape(), d.subcomponent()), (Some(b'~'), None, None));
        let d = Delimiters::of_header_segment(b"MSH|^").unwrap();
        assert_eq!((d.component(), d.repetition()), (b'^', None));
    }

    #[test]
    fn a_character_has_one_role() {
        let d = Delimiters::of_header_segment(br"MSH|^~\\&|A").unwrap();
        assert_eq!((d.escape(), d.subcomponent(), d.truncation()), (Some(b'\\'), None, Some(b'&')));
        assert_eq!(d.encoding_characters(), br"^~\");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["MSH", "MSH|", "MSH||", "MSHA^~", "MSH ^~", "MSH|A~\\&|", "MSH\0^~", "MSH\u{a6}^~"] {
            assert_eq!(Delimiters::of_header_segment(bad.as_bytes()), None, "{bad}");
        }
    }
}
