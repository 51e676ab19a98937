//! FHIR R4: resources we produce and accept, and the mapping from HL7 v2 to them. Values in, values out.
//!
//! **Promise.** Nothing here reads a file, a socket or a clock, and no input panics.
//!
//! - [`v2`]: HL7 v2 to FHIR, by the maps of [`maps`], which are data.
//! - [`lookup`]: the ids by which a person looks for a resource.
//!
//! Source: HL7 FHIR R4 (4.0.1).

pub mod accept;
pub mod consent;
pub mod definitions;
pub mod fuzz;
pub mod json;
pub mod lookup;
pub mod maps;
pub mod v2;
pub mod validate;

pub use validate::resource_type;
