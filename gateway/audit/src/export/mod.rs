//! The forms that others read: JSON of our own, FHIR R4 AuditEvent, and the XML of ATNA.
//!
//! An entry is translated by its action alone ([`codes`]); what a person wrote stands in the subject and detail as it
//! is. Nothing is left out in any form.

mod atna;
mod codes;
mod fhir;
mod json;
pub mod syslog;

use model::Slug;

use crate::{Entry, Hash};

pub use atna::audit_message;
pub use codes::{Coded, Codes, codes, name};
pub use fhir::audit_event;
pub use json::json_line;

/// An entry and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Exported<'a> {
    /// Whose log it is.
    pub gateway: &'a Slug,
    /// Its number in the tree, from 0.
    pub index: u64,
    /// Its hash there.
    pub leaf: Hash,
    /// The entry.
    pub entry: &'a Entry,
}

#[cfg(test)]
mod tests;
