//! The cloud side: mutual TLS in, lakehouse tables out.
//!
//! **Promise.** A batch that was answered with 200 is in `raw` and in every table that follows it, exactly once,
//! and survives a power cut at the landing. `docs/wire-protocol.md` is what a gateway relies on, `docs/tables.md`
//! what a query relies on.
//!
//! **Limits.** Those of `model::wire` for a batch; [`server`] for connections and memory; [`lake`] for queues.
//!
//! **Invariants.**
//! - Who sends is said by the client certificate alone; what a URL or a batch claims must agree with it.
//! - A table root takes the releases of one policy and says so in its own metadata.
//! - Nothing is kept outside the table roots: replicas are stateless, and what a crash interrupts is finished by
//!   whoever opens the root next.
//! - Logs and answers carry ids, sizes, counts and positions, never content.
//!
//! Delta Lake stays in `delta`: nothing else names a log entry or a Parquet file.

pub mod clock;
pub mod config;
mod delta;
pub mod inspect;
pub mod lake;
mod rows;
pub mod server;
pub mod witness;

#[cfg(test)]
mod testing;
