//! The configuration: one TOML document, checked as a whole before anything of it is used.
//!
//! **Promise.** [`check`] finds every misspelt key and wrong value in one run, and the first key that a table lacks; in
//! every section that can be read it finds everything else as well. Each is told with file, line, column, what is wrong
//! and what to do. What it returns needs no second look. The UI, the CLI and the fleet go through the same door.
//!
//! **Limits.** [`DOCUMENT_BYTES_MAX`], [`FEEDS_MAX`], [`DESTINATIONS_MAX`].
//!
//! **Invariant of absence.** Nothing is opened, bound or created here: files are read to be checked, that is all.

mod check;
mod document;
mod finding;
mod mistakes;
#[cfg(test)]
mod tests;

pub use check::{Checked, check, check_file};
pub use document::{
    Audit, Batch, Consent, ConsentCodes, DESTINATIONS_MAX, DOCUMENT_BYTES_MAX, Destination, Document,
    Essentials, FEEDS_MAX, Feed, Gateway, Operations, PolicyFile, Start, Syslog, SyslogFormat,
};
pub use finding::{Finding, render};

/// The JSON Schema of the document, as published in `docs/gateway.schema.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
