//! The rules: what each lets through of a value, and the walk over an HL7 v2 message that applies them.
//!
//! A rule recognises. What it recognises passes, byte for byte or shortened; everything else is removed and
//! counted. The message keeps its delimiters and the places of its values: removed ones are empty, trailing
//! separators go.

pub(crate) mod meaning;
mod message;
mod pseudonyms;
pub(crate) mod recognise;
mod texts;
mod values;

use std::fmt;

pub(crate) use message::shape;
pub(crate) use pseudonyms::{CONTROL_ID, TOKEN_KINDS};
pub use texts::MESSAGE_TEXT_BYTES_MAX;
pub(crate) use texts::{RESULTS, is_coded, spans_of_result};
pub(crate) use values::UNNAMED_DIGITS_MAX;

use crate::policy::TextMode;
use crate::tables::{Binding, SegmentName, Slot, TABLES, TypeId};

/// Most digits before the point of a number that passes: seven. Longer ones are numbers *of* something (a
/// social security number has nine digits, a telephone number ten, a date eight), not amounts.
pub const NUMBER_INTEGER_DIGITS_MAX: usize = 7;
/// Most digits after the point.
pub const NUMBER_FRACTION_DIGITS_MAX: usize = 6;

/// What happens to a value. Closed; the compiler checks that a rule fits its place ([`Rule::fits_type`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// Nothing passes.
    Remove,
    /// Each component by its own type.
    Parts,
    /// A code that its table, its coding system or the policy's own list knows; never text.
    Code,
    /// A number with at most seven digits before the point; an age over 89 becomes `90+`.
    Number,
    /// The year; nothing where it tells an age over 89.
    Year,
    /// A date or a time, whole.
    Date,
    /// A date moved by the patient's days ([`crate::shift`]), with its time of day; the year where it is nobody's.
    DateShift,
    /// State, country, and three digits of a ZIP code.
    StateZip3,
    /// City, state, postal code, country.
    CityStateZip,
    /// A keyed token; see [`crate::DestinationKeys`].
    Token,
    /// A random token; see [`crate::Vault`].
    Vault,
    /// A number of the same form, enciphered ([`crate::ff1`]).
    Ff1,
    /// That there was a value.
    Mask,
    /// That there was a number, and its last four characters where it is long enough.
    MaskBut4,
    /// MSH-10: the record's place in the stream.
    Sequence,
    /// OBX-4: numbers of up to four digits with points between them.
    SubId,
    /// OBX-7: a limit or two.
    Range,
    /// OBX-5: the rule of the type in OBX-2.
    ByValueType,
    /// One of the values that `[listed]` names.
    Listed,
    /// Free text, as `[text]` says.
    Text(TextMode),
}

impl Rule {
    /// The rules that a policy can name.
    pub(crate) const NAMED: [(&'static str, Self); 18] = [
        ("remove", Self::Remove),
        ("parts", Self::Parts),
        ("code", Self::Code),
        ("number", Self::Number),
        ("year", Self::Year),
        ("date", Self::Date),
        ("date-shift", Self::DateShift),
        ("state-zip3", Self::StateZip3),
        ("city-state-zip", Self::CityStateZip),
        ("token", Self::Token),
        ("vault", Self::Vault),
        ("ff1", Self::Ff1),
        ("mask", Self::Mask),
        ("mask-but-4", Self::MaskBut4),
        ("sequence", Self::Sequence),
        ("sub-id", Self::SubId),
        ("range", Self::Range),
        ("by-value-type", Self::ByValueType),
    ];

    /// The rule of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(n, _)| *n == name).map(|(_, rule)| *rule)
    }

    /// Whether the rule can judge values of this type, wherever they stand.
    pub(crate) fn fits_type(self, id: TypeId) -> bool {
        let Some(data_type) = TABLES.data_type(id) else { return false };
        match self {
            Self::Remove => true,
            Self::Parts => {
                !data_type.components.is_empty() && !matches!(data_type.name, "CE" | "CWE" | "CNE" | "CF")
            }
            Self::Code => matches!(data_type.name, "ID" | "IS" | "CE" | "CWE" | "CNE"),
            Self::Number => matches!(data_type.name, "NM" | "SI" | "SN"),
            Self::Year => matches!(data_type.name, "DT" | "DTM"),
            Self::Date | Self::DateShift => matches!(data_type.name, "DT" | "DTM" | "TM"),
            Self::StateZip3 | Self::CityStateZip => matches!(data_type.name, "XAD" | "AD"),
            Self::Token | Self::Vault | Self::Ff1 | Self::MaskBut4 => matches!(data_type.name, "CX" | "EI"),
            Self::Mask => matches!(
                data_type.name,
                "ST" | "TX"
                    | "FT"
                    | "CX"
                    | "EI"
                    | "XPN"
                    | "PN"
                    | "XCN"
                    | "CN"
                    | "CNN"
                    | "PPN"
                    | "XTN"
                    | "XON"
            ),
            Self::Sequence | Self::SubId | Self::Range | Self::ByValueType | Self::Listed | Self::Text(_) => {
                false
            }
        }
    }

    /// Whether the rule can judge this field.
    pub(crate) fn fits_field(self, segment: &SegmentName, number: usize, slot: &Slot) -> bool {
        let control_id = matches!((segment, number), (b"MSH", 10) | (b"FHS" | b"BHS", 11));
        match self {
            Self::Sequence => control_id,
            Self::Token if control_id => true,
            Self::SubId => (segment, number) == (b"OBX", 4),
            Self::Range => (segment, number) == (b"OBX", 7),
            Self::ByValueType => (segment, number) == (b"OBX", 5),
            Self::Remove => true,
            _ => slot.data_type.is_some_and(|t| self.fits_type(t)),
        }
    }

    /// Where the rule fits, for an error's hint.
    pub(crate) const fn fits(self) -> &'static str {
        match self {
            Self::Remove | Self::Listed | Self::Text(_) => "it fits everywhere",
            Self::Parts => "it fits composite types other than coded elements",
            Self::Code => "it fits ID, IS, CE, CWE and CNE",
            Self::Number => "it fits NM, SI and SN",
            Self::Year => "it fits DT and DTM; TS and DR take \"parts\"",
            Self::Date | Self::DateShift => "it fits DT, DTM and TM; TS and DR take \"parts\"",
            Self::StateZip3 | Self::CityStateZip => "it fits XAD and AD",
            Self::Token => "it fits CX, EI and MSH-10",
            Self::Vault => "it fits CX and EI",
            Self::Ff1 | Self::MaskBut4 => "it fits CX and EI",
            Self::Mask => "it fits ST, TX, FT, CX, EI, XPN, PN, XCN, CN, CNN, PPN, XTN and XON",
            Self::Sequence => "it fits MSH-10, FHS-11 and BHS-11",
            Self::SubId => "it fits OBX-4",
            Self::Range => "it fits OBX-7",
            Self::ByValueType => "it fits OBX-5",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMED.iter().find(|(_, rule)| rule == self).map_or("listed", |(name, _)| name);
        f.write_str(name)
    }
}

/// A slot of this type, bound to nothing.
pub(crate) const fn unbound(data_type: TypeId) -> Slot {
    Slot { data_type: Some(data_type), binding: Binding::None, varies: false }
}
