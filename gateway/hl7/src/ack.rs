//! Acknowledgements: MSA for every message, ERR for every refusal.
//!
//! The answer speaks as the sender does: its delimiters, version, processing id and character set, also where that is
//! UTF-16; applications and facilities swapped; MSA-2 the received MSH-10; a fresh MSH-10. The same input gives the
//! same bytes.
//!
//! Form by version (MSH-12 of the message answered):
//!
//! | | before 2.3 | 2.3 | 2.3.1 to 2.4 | from 2.5 |
//! |---|---|---|---|---|
//! | MSH-9 | `ACK` (2.2: `ACK^A01`) | `ACK^A01` | `ACK^A01^ACK` | `ACK^A01^ACK` |
//! | ERR | ERR-1 `segment^sequence^field^code&text&HL70357` | as before | as before | ERR-2, 3, 4, 8 |
//! | MSA-3 | the text | the text | the text | the text, until 2.6 |
//!
//! Source: HL7 v2.8.2 §2.9 (acknowledgement), §2.14.5 (ERR), §2.14.8 (MSA); v2.3.1 and v2.4 chapter 2; tables
//! 0008, 0357, 0516.

use crate::mllp::{CR, FS, VT};
use crate::{Delimiters, Header, HeaderKind, ParseError, Version, escape};

/// What a message is answered with (table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// AA: taken, durably.
    Accept,
    /// AE: not taken now; sending it again later may help.
    Error,
    /// AR: not taken; sending the same again does not help.
    Reject,
    /// CA: enhanced mode, accept acknowledgement: taken, durably.
    CommitAccept,
    /// CE: enhanced mode, as AE.
    CommitError,
    /// CR: enhanced mode, as AR.
    CommitReject,
}

impl AckCode {
    /// All codes.
    pub const ALL: [Self; 6] =
        [Self::Accept, Self::Error, Self::Reject, Self::CommitAccept, Self::CommitError, Self::CommitReject];

    /// As in MSA-1.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "AA",
            Self::Error => "AE",
            Self::Reject => "AR",
            Self::CommitAccept => "CA",
            Self::CommitError => "CE",
            Self::CommitReject => "CR",
        }
    }

    /// From MSA-1.
    pub fn read(code: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str().as_bytes() == code)
    }

    /// Whether the message was taken.
    pub const fn is_positive(self) -> bool {
        matches!(self, Self::Accept | Self::CommitAccept)
    }
}

/// Message error conditions (table 0357).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 100: segments in the wrong order, or a required one missing.
    SegmentSequence,
    /// 101: a required field is missing.
    RequiredFieldMissing,
    /// 102: a field of the wrong type.
    DataType,
    /// 103: a value that is not in its table.
    TableValueNotFound,
    /// 200: message type not supported.
    UnsupportedMessageType,
    /// 201: event code not supported.
    UnsupportedEvent,
    /// 202: processing id not supported.
    UnsupportedProcessingId,
    /// 203: version not supported.
    UnsupportedVersion,
    /// 206: the record is locked; here: the receiver cannot store now.
    RecordLocked,
    /// 207: anything else.
    Internal,
}

impl ErrorCode {
    /// The code and its text in table 0357.
    pub const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::SegmentSequence => ("100", "Segment sequence error"),
            Self::RequiredFieldMissing => ("101", "Required field missing"),
            Self::DataType => ("102", "Data type error"),
            Self::TableValueNotFound => ("103", "Table value not found"),
            Self::UnsupportedMessageType => ("200", "Unsupported message type"),
            Self::UnsupportedEvent => ("201", "Unsupported event code"),
            Self::UnsupportedProcessingId => ("202", "Unsupported processing id"),
            Self::UnsupportedVersion => ("203", "Unsupported version id"),
            Self::RecordLocked => ("206", "Application record locked"),
            Self::Internal => ("207", "Application internal error"),
        }
    }
}

/// Where in the message the fault is (ERL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<'a> {
    /// The segment's name.
    pub segment: &'a str,
    /// Its occurrence, from 1.
    pub occurrence: u16,
    /// The field, from 1; `None` for the segment as a whole.
    pub field: Option<u16>,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault<'a> {
    /// The condition.
    pub code: ErrorCode,
    /// Where, if it is at one place.
    pub location: Option<Location<'a>>,
    /// One sentence for a person at the sending side: what is wrong and what to do. No content.
    pub text: &'a str,
}

/// An acknowledgement to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// MSA-1.
    pub code: AckCode,
    /// Why not, for a negative answer.
    pub fault: Option<Fault<'a>>,
    /// The fresh MSH-10: at most 20 characters, unique among the answers of this receiver.
    pub control_id: &'a str,
    /// MSH-7: HL7 time, for example `20261124083000+0000`.
    pub sent_at: &'a str,
    /// MSA-4, where the sender uses the sequence number protocol: [`crate::sequence`].
    pub expected_sequence: Option<i64>,
}

impl Ack<'_> {
    /// The bytes of the answer, without a frame; segments end with CR. `header` is that of the message answered;
    /// without one (it could not be read) the answer is of version 2.5 with the usual delimiters and no MSA-2.
    pub fn to_bytes(&self, header: Option<&Header>) -> Vec<u8> {
        let delimiters = header.map_or(Delimiters::STANDARD, Header::delimiters);
        let mut out = Writer::new(delimiters);
        self.msh(&mut out, header);
        self.msa(&mut out, header);
        if let Some(fault) = &self.fault {
            let version = header.map_or(Version::Unknown, Header::version);
            if matches!(version, Version::V2(..=4, _)) {
                out.err_until_2_4(fault);
            } else {
                out.err_from_2_5(fault);
            }
        }
        let bytes = out.into_bytes();
        match header {
            Some(header) => header.in_its_charset(bytes),
            None => bytes,
        }
    }

    fn msh(&self, out: &mut Writer, header: Option<&Header>) {
        let is_message = header.is_some_and(|h| h.kind() == HeaderKind::Message);
        let echoed = |n: usize| header.map(|h| h.field(n)).unwrap_or_default();
        out.name(b"MSH");
        let encoding = header.map_or_else(|| out.delimiters.encoding_characters(), |h| h.field(2).to_vec());
        out.field(&encoding);
        for swapped in [5, 6, 3, 4] {
            out.field(echoed(swapped));
        }
        out.text_field(self.sent_at);
        out.field(b"");
        out.message_type(header);
        out.text_field(self.control_id);
        if is_message {
            out.field(echoed(11));
            out.field(echoed(12));
        } else {
            out.field(b"P");
            out.field(b"2.5");
        }
        let charset = header.map(|h| h.message_field(18)).unwrap_or_default();
        if !charset.is_empty() {
            for _ in 13..18 {
                out.field(b"");
            }
            out.field(charset);
        }
        out.end();
    }

    fn msa(&self, out: &mut Writer, header: Option<&Header>) {
        out.name(b"MSA");
        out.field(self.code.as_str().as_bytes());
        out.field(header.map(Header::control_id).unwrap_or_default());
        // MSA-3 was withdrawn with 2.7; until then it is where people look.
        let has_text = header.is_none_or(|h| !matches!(h.version(), Version::V2(7.., _)));
        let text = self.fault.as_ref().filter(|_| has_text).map(|fault| fault.text);
        match (text, self.expected_sequence) {
            (Some(text), _) => out.text_field(text),
            (None, Some(_)) => out.field(b""),
            (None, None) => {}
        }
        if let Some(number) = self.expected_sequence {
            out.text_field(&number.to_string());
        }
        out.end();
    }
}

/// The fault that an unreadable message is rejected for.
pub fn fault_of(error: &ParseError) -> ErrorCode {
    match error {
        ParseError::Empty | ParseError::NoHeader { .. } => ErrorCode::SegmentSequence,
        ParseError::Delimiters { .. } => ErrorCode::RequiredFieldMissing,
        ParseError::Utf16 => ErrorCode::DataType,
        ParseError::HeaderTooLong { .. } | ParseError::TooLong { .. } | ParseError::TooManySegments => {
            ErrorCode::Internal
        }
    }
}

/// Writes segments with the sender's delimiters.
pub(crate) struct Writer {
    out: Vec<u8>,
    delimiters: Delimiters,
}

impl Writer {
    pub(crate) fn new(delimiters: Delimiters) -> Self {
        Self { out: Vec::with_capacity(256), delimiters }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Begins a segment.
    pub(crate) fn name(&mut self, name: &[u8]) {
        self.out.extend_from_slice(name);
    }

    /// A field as it stood in the message.
    pub(crate) fn field(&mut self, raw: &[u8]) {
        self.out.push(self.delimiters.field());
        self.echo(raw);
    }

    /// Bytes of the message, without what would end our own frame or segment.
    fn echo(&mut self, raw: &[u8]) {
        self.out.extend(raw.iter().filter(|b| !matches!(**b, VT | FS | CR | b'\n')));
    }

    pub(crate) fn text_field(&mut self, text: &str) {
        self.out.push(self.delimiters.field());
        self.text(text);
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(&escape(text.as_bytes(), &self.delimiters));
    }

    fn component(&mut self, text: &str) {
        self.out.push(self.delimiters.component());
        self.text(text);
    }

    pub(crate) fn end(&mut self) {
        self.out.push(CR);
    }

    /// MSH-9, with the trigger of the message answered as far as the version has it.
    fn message_type(&mut self, header: Option<&Header>) {
        self.out.push(self.delimiters.field());
        self.text("ACK");
        let Some(header) = header else { return };
        let received = header.segment().field(9);
        let part = |n| received.and_then(|f| f.component(n)).map(|c| c.raw()).unwrap_or_default();
        let trigger = part(2);
        let (has_trigger, has_structure) = match header.version() {
            Version::V2(..=1, _) => (false, false),
            Version::V2(2, _) | Version::V2(3, 0) => (true, false),
            Version::V2(..) => (true, true),
            Version::Unknown => (true, !part(3).is_empty()),
        };
        if has_trigger && !trigger.is_empty() && header.kind() == HeaderKind::Message {
            self.out.push(self.delimiters.component());
            self.echo(trigger);
            if has_structure {
                self.component("ACK");
            }
        }
    }

    /// ERR-1 of type ELD: segment, sequence, field, code (a CE in subcomponents).
    fn err_until_2_4(&mut self, fault: &Fault<'_>) {
        self.name(b"ERR");
        self.out.push(self.delimiters.field());
        self.location(fault, 3);
        let (code, name) = fault.code.parts();
        self.component(code);
        if let Some(separator) = self.delimiters.subcomponent() {
            for part in [name, "HL70357"] {
                self.out.push(separator);
                self.text(part);
            }
        }
        self.end();
    }

    /// ERR-2 ERL, ERR-3 CWE, ERR-4 severity, ERR-8 user message.
    fn err_from_2_5(&mut self, fault: &Fault<'_>) {
        self.name(b"ERR");
        self.field(b"");
        self.out.push(self.delimiters.field());
        self.location(fault, 0);
        let (code, name) = fault.code.parts();
        self.text_field(code);
        self.component(name);
        self.component("HL70357");
        self.field(b"E");
        for _ in 5..8 {
            self.field(b"");
        }
        self.text_field(fault.text);
        self.end();
    }

    /// Segment, occurrence and field, filled up to `components`.
    fn location(&mut self, fault: &Fault<'_>, components: usize) {
        let mut written = 1;
        if let Some(location) = &fault.location {
            self.text(location.segment);
            self.component(&location.occurrence.to_string());
            written = 2;
            if let Some(field) = location.field {
                self.component(&field.to_string());
                written = 3;
            }
        }
        for _ in written..components {
            self.component("");
        }
    }
}

#[cfg(test)]
mod tests;
