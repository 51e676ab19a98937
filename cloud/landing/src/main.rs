//! The landing of Wardgate.
fn main() {}
