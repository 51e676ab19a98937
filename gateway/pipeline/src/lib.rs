//! Intake, lanes, readers and delivery: the one way through.
