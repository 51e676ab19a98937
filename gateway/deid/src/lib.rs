//! De-identification: policies, rules, receipts. Pure: no I/O, no clock, no randomness.
//!
//! **Promise.** No identifier leaves that the policy does not name. What leaves is a [`Release`], and only
//! [`Policy::release`] makes one; the gate reads it a second time on the way out. Unlisted means denied.
//!
//! **Limits.** Numbers that pass have at most [`rules::NUMBER_INTEGER_DIGITS_MAX`] digits before the point (long ones
//! only beside a known code or unit, see `docs/policies.md`);
//! units at most [`units::UNIT_BYTES_MAX`] bytes; a policy file at most [`POLICY_BYTES_MAX`] bytes. Time is
//! linear in the message.
//!
//! **Invariants.**
//! - A value passes because a rule recognised it as harmless, never because no rule recognised it as harmful.
//! - The rules look at data types and values; nothing is believed because of the version a message claims.
//! - A policy labelled `safe-harbor` derives nothing from a person's data (45 CFR 164.514(c)): it does not
//!   compile. Its tokens are random ([`Vault`]).
//! - [`gate`] shares no code with [`rules`]; they agree because both are right, or the message is held.
//! - `Display` and `Debug` of what is held say where, never what.
//! - [`text`] finds what can be told from free text; what is sent rests on it where a policy says so and says that it knows.
//!
//! **Tables** stand in `data/`, **policies** in `policies/`; both are part of the hash in
//! [`model::PolicyRef`].

mod clinical;
pub mod codes;
mod compare;
mod dates;
pub mod documents;
mod envelope;
mod explain;
mod ff1;
mod fhir;
mod filter;
mod fnv;
pub mod fuzz;
pub mod gate;
mod geography;
mod keys;
mod observations;
mod patient;
mod policy;
mod release;
pub mod rules;
mod sensitive;
mod shift;
mod tables;
mod tally;
pub mod text;
mod token;
mod tokens;
pub mod units;
mod vault;

pub use clinical::{Clinical, Context};
pub use compare::{CHANGES_MAX, Change, Comparison, Fate};
pub use explain::{Explained, Outcome, Step};
pub use filter::{fhir_filter, fhir_records, filtered, hl7_filter, hl7_records};
pub use keys::{DestinationKeys, KEY_EPOCH, PURPOSES};
pub use policy::{BUILTIN_POLICIES, CompileError, Label, Mistake, POLICY_BYTES_MAX, Policy, policy_schema};
pub use release::{Held, HeldWhy, Release};
pub use shift::SHIFT_DAYS_MAX;
pub use vault::{IDENTIFIER_BYTES_MAX, Identifier, NotAVaultToken, VAULT_TOKEN_BYTES, Vault, VaultToken};
