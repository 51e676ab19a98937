//! Where a record came from: stored beside its bytes, encrypted with them.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{RecordId, Slug, Timestamp};

/// What the bytes of a record are, as its source knows them. Decoding happens after the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One HL7 v2 message, without its MLLP frame.
    Hl7v2,
    /// One FHIR R4 resource or transaction Bundle, as JSON.
    Fhir,
    /// A frame that is not what its feed promises: no HL7 v2 message, or larger than a frame of the device can
    /// be; kept as evidence.
    Unparsed,
    /// One unit of a device's protocol, to be decoded by the profile of this id.
    Device(String),
}

impl Format {
    /// The name in tables and metrics: `hl7v2`, `fhir`, `unparsed`, `device`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Hl7v2 => "hl7v2",
            Self::Fhir => "fhir",
            Self::Unparsed => "unparsed",
            Self::Device(_) => "device",
        }
    }
}

/// Where a record came from and when. `peer` and `channel` are part of the envelope and pass the
/// de-identification policy like the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The feed that took it in.
    pub feed: Slug,
    /// The sender, as the transport knows it: `10.1.2.3:50211`, with its certificate's name before it where it
    /// showed one (`urn:lab:1 (10.1.2.3:50211)`), or a broker.
    pub peer: String,
    /// What the transport says beside the bytes: an MQTT topic, a file name. Empty where there is none.
    pub channel: String,
    /// When the first byte arrived.
    pub received_at: Timestamp,
    /// What the bytes are.
    pub format: Format,
    /// The record this one is an edited or released copy of.
    pub origin: Option<RecordId>,
}

/// Something unusual about a record that was taken all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// An earlier record of its sender had the same id and other content.
    ReusedId,
    /// Its sequence number was not the expected one.
    OutOfSequence,
}

/// The last sequence number of a link, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkNumber {
    /// The keyed name of the link.
    pub link: ByteBuf,
    /// The number; -1 where the link begins anew.
    pub last: i64,
}

/// What stands beside a payload in the log: CBOR by [`crate::codec`], sealed with the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where it came from.
    pub provenance: Provenance,
    /// The only destinations that may have it; `None` for all that the routes name. Set by release and replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Slug>>,
    /// The keyed identity by which a resend is recognised; `None` where the source has no such notion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<ByteBuf>,
    /// What the source answered, to be repeated word for word to an identical resend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ByteBuf>,
    /// Where it stands on its link, if its protocol numbers messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequenced: Option<LinkNumber>,
    /// What is unusual about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}
