//! The encrypted logs, their keys and the state store.
