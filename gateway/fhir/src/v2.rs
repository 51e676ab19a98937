//! HL7 v2 to FHIR R4: a message in, a transaction Bundle and an account of every leaf value out.
//!
//! **Promise.** Every leaf value of the message is in the bundle or is listed with its path and the reason why it is
//! not; the same message, record, maps and key give the same bytes. No message panics or loops.
//!
//! **Where values go.** Lines of the maps ([`crate::maps`]) place them, each marked as named by the official map or as
//! our judgement. What no line takes goes to the *rest*: one `QuestionnaireResponse` of the bundle, with an item for
//! each segment and each place in it. Extensions hold nothing that does not also stand in an element.
//!
//! **Ids.** See [`Ids`]: things with an identifier get their id from it and its assigning authority (the sending
//! facility where the message names none), the rest from the record and the place in it. Every entry is a `PUT`, so
//! a replay is idempotent.
//!
//! **Limits.** [`LEAVES_MAX`], [`RESOURCES_MAX`].

mod bundle;
mod coded;
mod finish;
mod ids;
mod leaves;
mod lines;
mod native;
mod observation;
mod pending;
mod place;
mod primitives;
mod report;
mod rest;
mod run;

pub use ids::{Identity, Ids, Keyed};
pub use leaves::LEAVES_MAX;
pub use report::{Kept, Report, Unmapped, Way};
pub use run::RESOURCES_MAX;

use hl7::Message;

use crate::json::Object;
use crate::maps::Maps;

/// What is known of a message besides itself.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The gateway's slug.
    pub gateway: &'a str,
    /// The record that holds the raw message, as it is named everywhere: `clinical-1-42`.
    pub record: &'a str,
    /// When the record was received.
    pub recorded_at: model::Timestamp,
    /// The zone of times that name none, in minutes east of Greenwich.
    pub offset_minutes: i16,
    /// Whether [`Report::kept`] is filled: where each value went. Costs a text for each value.
    pub trace: bool,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context({}, {})", self.gateway, self.record)
    }
}

/// Why there is no bundle. The sender must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A batch without messages.
    #[error("there is no MSH segment, so there is no message to convert")]
    NoMessage,
    /// More than [`LEAVES_MAX`] values.
    #[error("the message has more than {LEAVES_MAX} values")]
    TooManyValues,
    /// More than [`RESOURCES_MAX`] resources.
    #[error("the message makes more than {RESOURCES_MAX} resources")]
    TooManyResources,
}

/// A bundle and what became of each value.
#[derive(Debug)]
pub struct Converted {
    /// The Bundle.
    pub bundle: Object,
    /// The account.
    pub report: Report,
}

impl Converted {
    /// The Bundle as JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.bundle.write(&mut out);
        out
    }
}

/// Maps and the maker of ids, ready to convert.
#[derive(Clone, Copy)]
pub struct Converter<'a> {
    maps: &'a Maps,
    ids: &'a dyn Ids,
}

impl<'a> Converter<'a> {
    /// A converter.
    pub const fn new(maps: &'a Maps, ids: &'a dyn Ids) -> Self {
        Self { maps, ids }
    }

    /// Converts one message.
    ///
    /// # Errors
    /// See [`Error`]; a message that is merely odd is converted as far as it can be read.
    pub fn convert(&self, message: &Message, context: &Context<'_>) -> Result<Converted, Error> {
        let (cuts, leaves) = leaves::cut(message);
        if leaves >= LEAVES_MAX {
            return Err(Error::TooManyValues);
        }
        run::Run::new(self.maps, self.ids, *context, &cuts, leaves).ok_or(Error::NoMessage)?.convert()
    }
}

impl std::fmt::Debug for Converter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Converter({:?})", self.maps)
    }
}

#[cfg(test)]
mod tests;
