//! One line of a map, compiled.

use crate::json::{Json, Name};

/// A place in a segment (field, component, subcomponent) or in a value (component, subcomponent); 0 is "all of it".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Source(pub(crate) [u16; 3]);

/// `source target how [with …] [if …] [ours]`.
pub(crate) struct Line {
    /// `None` for a constant.
    pub(crate) source: Option<Source>,
    /// Empty for `.`, the element itself.
    pub(crate) target: Vec<Step>,
    pub(crate) how: How,
    pub(crate) with: Vec<(Vec<Step>, Json)>,
    pub(crate) when: Option<Cond>,
    /// Whether the official map names the element.
    pub(crate) official: bool,
}

/// A step of a target path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member.
    Member(Name),
    /// A new element of an array for each value.
    Append(Name),
    /// The last element of an array, made where there is none: for what several segments say of one thing.
    Last(Name),
    /// An element of an array that lines share by a label.
    Shared(Name, u16),
    /// The same, one for each repetition of the source.
    SharedEach(Name, u16),
    /// The extension of R4 core with this URL.
    Extension(Name),
}

/// How a value comes about.
pub(crate) enum How {
    Constant(Json),
    /// A reference to the current resource of a type.
    Current(Name),
    Primitive(Primitive),
    /// A code, translated; a code that is not in the table becomes a tag of the resource.
    Code(usize),
    /// A Coding of a v2 table, by its four digits.
    TableCoding(Box<str>),
    /// A CodeableConcept of a closed list: the translation as its coding, what the sender wrote as its text.
    Closed(usize),
    /// What no other line took of a field, as a component with this name.
    Left(Name),
    /// A coded value, its vocabulary.
    Coded(Coded, Option<usize>),
    /// A type map by its number.
    Type(usize),
    /// The lines of a type map, on the same element.
    Into(usize),
    Native(Native),
}

/// What a coded value becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coded {
    CodeableConcept,
    Coding,
    /// A CodeableConcept of text alone, from ST.
    Text,
}

/// A primitive type of FHIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Primitive {
    String,
    Markdown,
    Code,
    Id,
    Uri,
    Url,
    Oid,
    Date,
    DateTime,
    Instant,
    /// A `dateTime` where a time of day was said.
    TimedDateTime,
    Time,
    Decimal,
    UnsignedDecimal,
    Integer,
    PositiveInt,
    UnsignedInt,
    Boolean,
    Base64,
}

/// What needs code instead of lines. A closed list; each is described in `docs/fhir-maps.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Native {
    /// OBX-5 by OBX-2, with OBX-6.
    ObservationValue,
    /// OBX-5 as the content of a document.
    DocumentContent,
    /// PL as a chain of Locations.
    Locations,
    /// The number of an XTN.
    TelephoneNumber,
    /// The same of the places in an NDL.
    LocationsOfNdl,
    /// The universal id of an HD as a URI.
    AuthorityUri,
    /// The same of an EI.
    EntityUri,
    /// The name of a coding system as a URI.
    CodingSystem,
    /// The number of a CQ, with its unit.
    Quantity,
    /// The unit of a number that stands elsewhere.
    Unit,
    /// MSH-9 as an event.
    MessageEvent,
    /// ED or RP as an Attachment.
    Attachment,
    /// The number of the segment: what it was made from is named by it in the Provenance.
    SetId,
}

/// When a line or a section applies.
pub(crate) enum Cond {
    /// One of them is.
    Valued(Vec<Source>),
    Empty(Source),
    In(Source, Vec<Box<str>>),
    NotIn(Source, Vec<Box<str>>),
    Message(Vec<Box<str>>),
    Have(Vec<Name>),
    Lack(Vec<Name>),
    Next(Vec<Box<str>>),
    Parent(Vec<Name>),
    All(Vec<Cond>),
}

impl Primitive {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "markdown" => Self::Markdown,
            "code" => Self::Code,
            "id" => Self::Id,
            "uri" => Self::Uri,
            "url" => Self::Url,
            "oid" => Self::Oid,
            "date" => Self::Date,
            "dateTime" => Self::DateTime,
            "instant" => Self::Instant,
            "dateTime-if-timed" => Self::TimedDateTime,
            "time" => Self::Time,
            "decimal" => Self::Decimal,
            "unsignedDecimal" => Self::UnsignedDecimal,
            "integer" => Self::Integer,
            "positiveInt" => Self::PositiveInt,
            "unsignedInt" => Self::UnsignedInt,
            "boolean" => Self::Boolean,
            "base64" => Self::Base64,
            _ => return None,
        })
    }
}

impl Native {
    /// Whether it wants a field with all its repetitions and puts what it makes where it belongs by itself.
    pub(crate) const fn takes_the_field(self) -> bool {
        matches!(self, Self::ObservationValue | Self::DocumentContent | Self::SetId)
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "observation-value" => Self::ObservationValue,
            "document-content" => Self::DocumentContent,
            "locations" => Self::Locations,
            "telephone-number" => Self::TelephoneNumber,
            "locations-of-ndl" => Self::LocationsOfNdl,
            "entity-uri" => Self::EntityUri,
            "coding-system" => Self::CodingSystem,
            "authority-uri" => Self::AuthorityUri,
            "quantity" => Self::Quantity,
            "unit" => Self::Unit,
            "message-event" => Self::MessageEvent,
            "attachment" => Self::Attachment,
            "set-id" => Self::SetId,
            _ => return None,
        })
    }
}
