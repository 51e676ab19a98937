//! The log as a whole: what survives, what is refused, what is found.

mod audit;
mod backup;
mod crashes;
mod damage;
mod faults;
mod keys;
mod model_check;
pub(crate) mod nonces;
mod objects;
mod plain;
mod pressure;
mod restore;
mod sidecar;
mod support;
mod tampering;
mod torn;
