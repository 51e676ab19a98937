//! The whole product, from outside: real binaries, real TLS, real peers.
