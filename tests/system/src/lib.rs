//! The whole product, from outside: real binaries, real TLS, real peers.
//!
//! A [`site::Site`] is a folder with a gateway, a landing, their certificates and their configurations on free
//! ports of loopback. Tests start and kill the two programs, send over MLLP and MQTT, and look at what an outsider
//! can see: answers, exit codes, `/status`, files, and the tables, which only programs read that share no code with
//! us (`tests/readers/`).
//!
//! What the tests need is built and installed by `cargo xtask test`; without it they fail and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "the harness of tests fails by panicking, with what it saw"
)]
#![allow(clippy::disallowed_methods, reason = "real programs take real time")]

pub mod disk;
pub mod fixtures;
pub mod hl7;
pub mod http;
pub mod mllp;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod readers;
pub mod site;
pub mod wait;
pub mod wire;

/// Lower-case hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
