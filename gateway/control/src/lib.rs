//! The configuration: one TOML document, checked as a whole before anything of it is used.
//!
//! **Promise.** [`check`] finds every error in one run, each with file, line, column, what is wrong and what to do;
//! what it returns needs no second look. The UI, the CLI and the fleet go through the same door.
//!
//! **Limits.** [`DOCUMENT_BYTES_MAX`], [`FEEDS_MAX`], [`DESTINATIONS_MAX`].
//!
//! **Invariant of absence.** Nothing is opened, bound or created here: files are read to be checked, that is all.

mod check;
mod document;
mod finding;
#[cfg(test)]
mod tests;

pub use check::{Checked, check, check_file};
pub use document::{
    Batch, DESTINATIONS_MAX, DOCUMENT_BYTES_MAX, Destination, Document, FEEDS_MAX, Feed, Gateway, Operations,
    PolicyFile, Start,
};
pub use finding::{Finding, render};

/// The JSON Schema of the document, as published in `docs/gateway.schema.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
