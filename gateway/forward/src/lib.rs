//! Releases out: one folder a destination.
