//! What leaves, and what does not.

use std::fmt;

use model::{Reason, Released, Seq, Sequenced};
use serde::Serialize;

use crate::gate;

/// A record as a policy lets it go: the only thing a destination takes. It is written as its
/// [`model::Released`] and read back as that; there is no way to a `Release` but [`crate::Policy::release`].
///
/// Nobody else can make one:
/// ```compile_fail,E0423
/// fn forge(released: model::Released) -> deid::Release {
///     deid::Release(released)
/// }
/// ```
/// nor read one from bytes:
/// ```compile_fail,E0277
/// fn forge(json: &str) -> deid::Release {
///     serde_json::from_str::<deid::Release>(json).unwrap()
/// }
/// ```
/// nor change one:
/// ```compile_fail,E0594
/// fn forge(release: &mut deid::Release) {
///     release.as_released().seq = 7;
/// }
/// ```
#[derive(Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Release(Released);

impl Release {
    /// For [`crate::Policy::release`], after the gate.
    pub(crate) const fn new(released: Released) -> Self {
        Self(released)
    }

    /// The record as it travels.
    pub const fn as_released(&self) -> &Released {
        &self.0
    }

    /// The released bytes.
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    /// The value-free receipt: how many values each rule touched, by rule name, sorted.
    pub fn rules(&self) -> &[(String, u32)] {
        &self.0.rules
    }
}

/// Place and sizes alone: under `treatment` a release is all PHI.
impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Released { seq, payload, observations, .. } = &self.0;
        write!(f, "Release(seq {seq}, {} bytes, {} observations)", payload.len(), observations.len())
    }
}

impl Sequenced for Release {
    fn seq(&self) -> Seq {
        self.0.seq
    }
}

/// A record that the policy cannot let go. It goes to the held log as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("held: {why}")]
pub struct Held {
    /// The reason that the batch gives for the missing row.
    pub reason: Reason,
    /// For the person who looks at it. Positions only.
    pub why: HeldWhy,
}

impl Held {
    pub(crate) const fn new(why: HeldWhy) -> Self {
        Self { reason: Reason::Held, why }
    }
}

/// Why a record is held. Closed, and free of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeldWhy {
    /// The gate found in the release what must not be there.
    #[error("the output gate found {0}")]
    Gate(#[from] gate::Hit),
    /// The policy derives values with keys and the destination has none.
    #[error("the policy makes keyed tokens or shifts dates, and no keys were given")]
    KeysMissing,
    /// The policy takes tokens from a vault and the destination has none.
    #[error("the policy takes tokens from the vault, and no vault was given")]
    VaultMissing,
    /// The vault has no room for the token of another identifier.
    #[error("the vault is full: it keeps the tokens it has, and gives no more (`wardgate vault status`)")]
    VaultFull,
    /// The determination that the policy rests on had expired when the record arrived.
    #[error("the policy's expert determination had expired when the record arrived")]
    DeterminationExpired,
    /// A code of the record is of a category that the policy holds.
    #[error("a code is of a sensitive category that the policy holds")]
    Sensitive,
    /// The policy has no rules for FHIR, and what is not listed is denied.
    #[error("the policy has no section [fhir], so nothing of FHIR may go")]
    FhirWithoutRules,
    /// A Bundle asks to take back what the receiver cannot be told.
    #[error("the Bundle deletes or patches, and a release under this policy cannot say what")]
    RequestUntold,
    /// The bytes are no FHIR.
    #[error("not a resource of FHIR R4 as JSON")]
    NotAResource,
    /// [`crate::hl7_filter`] alone: the bytes are no HL7 v2 message.
    #[error("not an HL7 v2 message")]
    NotAMessage,
}

impl HeldWhy {
    /// A short name for reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gate(hit) => hit.kind.as_str(),
            Self::KeysMissing => "keys-missing",
            Self::VaultMissing => "vault-missing",
            Self::VaultFull => "vault-full",
            Self::DeterminationExpired => "determination-expired",
            Self::Sensitive => "sensitive",
            Self::FhirWithoutRules => "fhir-without-rules",
            Self::RequestUntold => "request-untold",
            Self::NotAResource => "not-a-resource",
            Self::NotAMessage => "not-a-message",
        }
    }
}
