//! FHIR R4 over HTTPS: an endpoint that takes in.
//!
//! **Promise.** A positive status of a create, update or transaction, or of an entry of a batch, leaves when, and only
//! when, the bytes are durable; everything else says what is wrong in an OperationOutcome. What is stored are the
//! bytes as they came, and only what [`fhir::accept`] found good.
//!
//! | request | stored | answer |
//! |---|---|---|
//! | `POST /fhir/Type` | the body, one record | 201, `Location: …/Type/<record>` |
//! | `PUT /fhir/Type/id` | the body, one record | 200, `Location: …/Type/id` |
//! | `POST /fhir`, transaction | the Bundle, one record, or nothing | 200, a transaction-response |
//! | `POST /fhir`, batch | each good entry's resource, one record each | 200, a batch-response that says of each |
//! | `POST …/$validate` | nothing | 200, an OperationOutcome |
//! | `GET /fhir/metadata` | nothing | the CapabilityStatement |
//! | `POST /token`, `GET /fhir/.well-known/smart-configuration` | nothing | SMART backend services |
//! | anything else | nothing | 4xx or 501 |
//!
//! The id that a created resource gets is the name of its record (`clinical-1-42`; in a transaction with the place of
//! its entry: `clinical-1-42.3`), so that whoever has the answer can trace the bytes, and so that an answer can be
//! given again without being kept.
//!
//! **Resends.** A request that is identical in client, method, address, `Idempotency-Key` and body makes no second
//! record and gets the same answer, also when both are in flight at once. For creates this holds across restarts.
//! Updates are told apart by what was last written to their address ([`latest`]): A, B, A are three records.
//!
//! **Limits** (beside those of [`Config`]). Headers of [`HEADER_BYTES_MAX`] within [`HEADER_S_MAX`] s, [`STREAMS_MAX`]
//! requests at once on an HTTP/2 connection, [`CONNECTION_S_MAX`] s a connection, bodies of [`MEMORY_BYTES_MAX`] in
//! memory together (who waits for room longer than [`ROOM_S_MAX`] s is told to come again), [`JUDGED_AT_ONCE_MAX`]
//! large bodies judged at once, [`ingest::REPRESENTATION_BYTES_MAX`] sent back.
//!
//! **Stop.** No new connections; requests in progress are finished within [`STOP_GRACE_S`] s.
//!
//! **Invariants.** hyper is known to [`server`] and [`body`] alone. Nothing logs an address, a body or an id of a
//! resource: feed, client, interaction, type, status, record and size.

mod auth;
mod body;
mod capability;
mod config;
mod ingest;
mod latest;
mod limits;
mod request;
mod respond;
mod server;
mod service;
mod stats;
#[cfg(test)]
mod tests;

pub use auth::Scope;
pub use body::{JUDGED_AT_ONCE_MAX, MEMORY_BYTES_MAX, ROOM_S_MAX};
pub use config::{Authentication, BODY_BYTES_MAX, CLIENTS_MAX, Client, Config, Error, SCOPES_MAX};
pub use server::{
    CONNECTION_S_MAX, HEADER_BYTES_MAX, HEADER_S_MAX, Handle, STOP_GRACE_S, STREAMS_MAX, Server,
};
pub use stats::{Counters, Stats};
