//! Arrivals: what takes bytes from the ward and hands them to the intake.
//!
//! **Promise.** A source acknowledges its peer when, and only when, it holds a [`model::Receipt`].
//! A source knows nothing of the log, of policies or of destinations: it sees [`model::Intake`] alone.

pub mod access;
pub mod http;
pub mod listener;
pub mod mllp;
pub mod mqtt;
pub mod socket;
