//! The pipeline against a landing in memory that follows the protocol's rules and can be told to misbehave.

mod ages;
mod anchor;
mod consent;
mod delivery;
mod forgetful;
mod held;
mod letting_go;
mod renames;
mod restored;
mod routing;
mod search;
mod senders;
pub(crate) mod support;
mod trial;
mod vault;
