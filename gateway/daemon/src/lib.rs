//! The daemon: CLI and wiring.
