//! What a policy is asked to release, and what it needs to know besides.

use std::fmt;

use bytes::Bytes;
use model::{Observation, Provenance, Seq};

use crate::token::TokenKey;
use crate::{DestinationKeys, Vault};

/// One decoded record. Grows by a variant for each form the gateway learns to read.
#[derive(Clone)]
pub enum Clinical {
    /// One HL7 v2 message.
    Hl7(hl7::Message),
    /// One FHIR resource or Bundle.
    Fhir {
        /// Its type, such as `Patient`.
        resource_type: &'static str,
        /// The bytes as they came.
        raw: Bytes,
    },
    /// What a device measured, decoded by its profile.
    Observations {
        /// The decoded values.
        values: Vec<Observation>,
        /// The bytes they were decoded from.
        raw: Bytes,
    },
}

/// Sizes alone.
impl fmt::Debug for Clinical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hl7(message) => write!(f, "Hl7({} bytes)", message.bytes().len()),
            Self::Fhir { resource_type, raw } => write!(f, "Fhir({resource_type}, {} bytes)", raw.len()),
            Self::Observations { values, raw } => {
                write!(f, "Observations({}, {} bytes)", values.len(), raw.len())
            }
        }
    }
}

/// What stands around the record.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Its place in the stream of the destination.
    pub seq: Seq,
    /// Where it came from and when.
    pub provenance: &'a Provenance,
    /// The destination's keys; see [`crate::Policy::needs_keys`].
    pub keys: Option<&'a DestinationKeys>,
}

impl<'a> Context<'a> {
    pub(crate) fn tokens(&self) -> Option<&'a TokenKey> {
        self.keys.map(|keys| &keys.tokens)
    }

    pub(crate) fn vault(&self) -> Option<&'a dyn Vault> {
        self.keys?.vault.as_deref()
    }
}
