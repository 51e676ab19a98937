//! What went wrong between a peer and a source, kept so that it can be searched: never only a line in a log.
//!
//! A fault names the feed, the peer's address, a kind of a closed list, sizes and counts. It holds nothing of a
//! message; where bytes of one were kept as evidence, `record` says where they lie, encrypted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{RecordId, Slug, Timestamp};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal, $text:literal;)+) => {
        /// What kind of fault it is. Closed: every kind has a name and a sentence for a person.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultKind {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $kind,)+
        }

        impl FaultKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// The name in commands, metrics and JSON, such as `cut-off`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// What happened, for a person.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$kind => $text,)+ }
            }
        }
    };
}

kinds! {
    /// There was no place for one connection more.
    NoPlace = "no-place", "a connection was closed at once: there was no place left for it";
    /// The peer, its certificate or its message is not on the feed's list.
    NotAllowed = "not-allowed", "the sender is not on the feed's list";
    /// A request without a valid token or certificate, or beyond what these permit.
    Unauthorised = "unauthorised", "a request had no valid token or certificate, or wanted what these do not permit";
    /// A request that is not understood or not valid; its client was told.
    BadRequest = "bad-request", "a request was not understood or not valid; it was not stored and its client told so";
    /// TLS could not be agreed on.
    TlsFailed = "tls-failed", "TLS could not be agreed on";
    /// The peer sent more than its share; it was made to wait or refused.
    OverQuota = "over-quota", "the sender was over its quota";
    /// Bytes outside of frames, beyond the line ends that many senders append.
    Junk = "junk", "bytes outside of frames were skipped";
    /// A new frame began before the last one ended; what came of it is kept as evidence.
    BrokenOff = "broken-off", "a frame lost its end; the part that came is kept apart";
    /// The connection ended, or time was up, in the middle of a frame or a request's body.
    CutOff = "cut-off", "the connection ended, or time was up, in the middle of a message; it was not taken";
    /// A frame or a request's body beyond the feed's limit.
    TooLong = "too-long", "a message was longer than the feed's limit and was rejected";
    /// A frame without a readable header; it is kept as evidence.
    NoHeader = "no-header", "a frame has no readable header segment; it is kept and was rejected";
    /// The peer did not take its answers.
    AnswersNotTaken = "answers-not-taken", "the sender did not take its answers; the connection was ended";
    /// A message could not be stored, and its sender has asked not to be told.
    LostUnanswered = "lost-unanswered", "a message was not stored, and its sender does not want to be told";
    /// A message was not stored: no room, a failing disk, or a stop. Its sender was told.
    NotStored = "not-stored", "a message was not stored; its sender was told to send it again";
    /// A sequence number is not the expected one: messages are missing, or came out of order.
    SequenceGap = "sequence-gap", "a sequence number is not the expected one: messages may be missing";
    /// The control id of an earlier message with other content.
    ReusedId = "reused-id", "a message has the control id of an earlier one and other content; both are kept";
    /// A batch does not hold as many messages as its trailer says.
    BatchCount = "batch-count", "a batch does not hold as many messages as its trailer says; all that came are kept";
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no kind of fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such kind of fault; there are: {}", FaultKind::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", "))]
pub struct NotAFaultKind;

impl FromStr for FaultKind {
    type Err = NotAFaultKind;
    fn from_str(text: &str) -> Result<Self, NotAFaultKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(NotAFaultKind)
    }
}

/// Two numbers that should be equal, such as a sequence number or a count of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// What was expected.
    pub expected: i64,
    /// What came.
    pub found: i64,
}

/// Something that went wrong between a peer and a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The feed.
    pub feed: Slug,
    /// The sender, as the transport knows it: `10.1.2.3:50211`.
    pub peer: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: FaultKind,
    /// How many bytes it is about; 0 where it is not about bytes.
    #[serde(default)]
    pub bytes: u64,
    /// The record that holds the evidence, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordId>,
    /// The numbers that do not agree, where it is about numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

impl Fault {
    /// A fault without bytes, record or numbers.
    pub fn new(feed: Slug, peer: impl Into<String>, at: Timestamp, kind: FaultKind) -> Self {
        Self { feed, peer: peer.into(), at, kind, bytes: 0, record: None, mismatch: None }
    }

    /// With so many bytes.
    #[must_use]
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// With the record that holds the evidence.
    #[must_use]
    pub fn record(self, record: RecordId) -> Self {
        Self { record: Some(record), ..self }
    }

    /// With two numbers that do not agree.
    #[must_use]
    pub fn mismatch(self, expected: i64, found: i64) -> Self {
        Self { mismatch: Some(Mismatch { expected, found }), ..self }
    }

    /// The peer's address alone: `10.1.2.3`, `2001:db8::1`; as it is where there is none.
    pub fn host(&self) -> &str {
        host_of(&self.peer)
    }
}

/// A peer without its port, and without the name of its certificate before it.
fn host_of(peer: &str) -> &str {
    let peer = peer.strip_suffix(')').and_then(|p| p.rsplit_once(" (")).map_or(peer, |(_, address)| address);
    match peer.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
                Some(v6) => v6,
                None if host.contains(':') => peer,
                None => host,
            }
        }
        _ => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_as_written() {
        for kind in FaultKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            let encoded = crate::codec::encode(kind).unwrap();
            assert_eq!(crate::codec::decode::<FaultKind>(&encoded).unwrap(), *kind);
        }
        assert!("nothing".parse::<FaultKind>().unwrap_err().to_string().contains("cut-off"));
    }

    #[test]
    fn the_host_of_a_peer_is_found() {
        for (peer, host) in [
            ("10.1.2.3:50211", "10.1.2.3"),
            ("[2001:db8::1]:2575", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("urn:lab:1 (10.1.2.3:50211)", "10.1.2.3"),
            ("LAB (1) ([2001:db8::1]:2575)", "2001:db8::1"),
            ("dns:lab.example (10.1.2.3:50211)", "10.1.2.3"),
            ("dns:lab.example ([2001:db8::1]:2575)", "2001:db8::1"),
            ("broker", "broker"),
            ("lab.example:x", "lab.example:x"),
            ("", ""),
        ] {
            assert_eq!(host_of(peer), host, "{peer}");
        }
    }
}
