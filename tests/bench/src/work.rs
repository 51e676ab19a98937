//! The same work, done by each library as its own documentation would have it done.

use bytes::Bytes;

/// What is taken: segment, field, component, as HL7 counts. The first segment of that name, the first repetition,
/// the first subcomponent. Ordered by segment.
pub(crate) const LEAVES: [(&str, usize, usize); 20] = [
    ("MSH", 3, 1),
    ("MSH", 4, 1),
    ("MSH", 5, 1),
    ("MSH", 6, 1),
    ("MSH", 7, 1),
    ("MSH", 9, 1),
    ("MSH", 9, 2),
    ("MSH", 10, 1),
    ("MSH", 12, 1),
    ("MSH", 13, 1),
    ("MSH", 15, 1),
    ("MSH", 16, 1),
    ("MSH", 18, 1),
    ("PID", 3, 1),
    ("PID", 3, 4),
    ("PID", 5, 1),
    ("PID", 5, 2),
    ("PV1", 19, 1),
    ("OBR", 2, 1),
    ("OBR", 3, 1),
];

/// What was taken, added up, so that nothing is optimised away and readers can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    bytes: usize,
    mix: u64,
}

impl Sum {
    fn add(&mut self, leaf: Option<&[u8]>) {
        let leaf = leaf.unwrap_or_default();
        let edge = |b: Option<&u8>| u64::from(b.copied().unwrap_or_default());
        self.bytes += leaf.len();
        self.mix = self.mix.rotate_left(9)
            ^ (edge(leaf.first()) << 8 | edge(leaf.last()))
            ^ (leaf.len() as u64) << 16;
    }
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    Wardgate,
    #[cfg(feature = "peers")]
    Hl7Parser,
    #[cfg(feature = "peers")]
    RustHl7,
    #[cfg(feature = "peers")]
    Hl7Two,
}

impl Library {
    pub(crate) const ALL: &[Self] = &[
        Self::Wardgate,
        #[cfg(feature = "peers")]
        Self::Hl7Parser,
        #[cfg(feature = "peers")]
        Self::RustHl7,
        #[cfg(feature = "peers")]
        Self::Hl7Two,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wardgate => "wardgate-hl7",
            #[cfg(feature = "peers")]
            Self::Hl7Parser => "hl7-parser",
            #[cfg(feature = "peers")]
            Self::RustHl7 => "rust-hl7",
            #[cfg(feature = "peers")]
            Self::Hl7Two => "hl7-2",
        }
    }

    /// Reads one message and takes the leaves; nothing where the library refuses it.
    pub(crate) fn read(self, message: &Bytes) -> Option<Sum> {
        match self {
            Self::Wardgate => wardgate(message),
            #[cfg(feature = "peers")]
            Self::Hl7Parser => peers::hl7_parser(std::str::from_utf8(message).ok()?),
            #[cfg(feature = "peers")]
            Self::RustHl7 => peers::rust_hl7(std::str::from_utf8(message).ok()?),
            #[cfg(feature = "peers")]
            Self::Hl7Two => peers::hl7_two(std::str::from_utf8(message).ok()?),
        }
    }
}

fn wardgate(message: &Bytes) -> Option<Sum> {
    let message = hl7::Message::decode(message.clone(), None).ok()?;
    let mut sum = Sum::default();
    let mut segment: Option<(&str, Option<hl7::Segment<'_>>)> = None;
    for (name, field, component) in LEAVES {
        let current = match segment {
            Some((last, found)) if last == name => found,
            _ => {
                let found = message.segments().find(|s| s.name() == name.as_bytes());
                segment = Some((name, found));
                found
            }
        };
        let leaf = current
            .and_then(|s| s.field(field))
            .and_then(|f| f.component(component))
            .and_then(|c| c.subcomponent(1))
            .map(|s| s.raw());
        sum.add(leaf);
    }
    Some(sum)
}

#[cfg(feature = "peers")]
mod peers {
    use super::{LEAVES, Sum};

    pub(super) fn hl7_parser(text: &str) -> Option<Sum> {
        let message = hl7_parser::Message::parse(text).ok()?;
        let mut sum = Sum::default();
        let mut segment: Option<(&str, Option<&hl7_parser::message::Segment<'_>>)> = None;
        for (name, field, component) in LEAVES {
            let current = match segment {
                Some((last, found)) if last == name => found,
                _ => {
                    let found = message.segment(name);
                    segment = Some((name, found));
                    found
                }
            };
            let leaf = current
                .and_then(|s| s.field(field))
                .and_then(|f| f.repeat(1))
                .and_then(|r| r.component(component))
                .and_then(|c| c.subcomponent(1))
                .map(|s| s.raw_value().as_bytes());
            sum.add(leaf);
        }
        Some(sum)
    }

    pub(super) fn rust_hl7(text: &str) -> Option<Sum> {
        let message = rusthl7::message::Message::new(text);
        let mut sum = Sum::default();
        for (name, field, component) in LEAVES {
            let segment =
                message.segments.iter().find(|s| s.fields.first().is_some_and(|f| f.source == name));
            // It counts the fields of MSH without the separator.
            let index = if name == "MSH" { field - 1 } else { field };
            let leaf = segment
                .and_then(|s| s.fields.get(index))
                .and_then(|f| f.subcomponents.first()?.get(component - 1)?.first())
                .map(|leaf| leaf.as_bytes());
            sum.add(leaf);
        }
        Some(sum)
    }

    pub(super) fn hl7_two(text: &str) -> Option<Sum> {
        let message = hl7_2::parse(text).ok()?;
        let mut sum = Sum::default();
        let mut segment: Option<(&str, Option<&hl7_2::er7::Segment>)> = None;
        for (name, field, component) in LEAVES {
            let current = match segment {
                Some((last, found)) if last == name => found,
                _ => {
                    let found = message.segment(name);
                    segment = Some((name, found));
                    found
                }
            };
            let leaf = current
                .and_then(|s| s.component(field, component))
                .and_then(|c| c.subcomponent(1))
                .map(|s| s.raw.as_bytes());
            sum.add(leaf);
        }
        Some(sum)
    }
}
