//! Certificates, identities and rustls configurations.
//!
//! **Promise.** Every link of Wardgate is made here, so that one place decides what a peer must prove:
//! a private authority is pinned (never the system's list), both sides show a certificate where the link is
//! mutual, and the provider (aws-lc-rs, X25519MLKEM768 first) is named by every configuration instead of
//! being a default of the process.
//!
//! **Limits.** [`PEM_BYTES_MAX`] per file, [`CHAIN_CERTIFICATES_MAX`] per chain, [`AUTHORITIES_MAX`] per
//! authority file, [`SAN_NAMES_MAX`] alternative names per peer, each of [`NAME_BYTES_MAX`].
//!
//! **Invariants.**
//! - TLS 1.3 only, except where [`Versions::From12`] is asked for by name (devices on the ward).
//! - No session is resumed: every connection shows the certificate that is valid now, so that a rotated,
//!   expired or revoked one does not live on in a ticket.
//! - A gateway is who its certificate's one `urn:wardgate:gateway:<slug>` says, and nothing else.
//! - A private key is read, handed to aws-lc-rs (which wipes its own copy) and wiped here.
//! - A name taken from a peer's certificate is printable and short before anything shows it.
//! - Rotation never takes a working identity away: what cannot be loaded leaves the old one in place.
//!
//! Nothing here opens a socket or knows HTTP.

mod config;
mod error;
mod explain;
mod identity;
mod listening;
mod names;
mod peer;
mod rotating;
pub mod throwaway;

#[cfg(test)]
mod tests;

pub use config::{
    ClientAuth, Presented, Versions, client_config, client_config_accepting, provider, server_config,
    server_config_accepting,
};
pub use error::{Error, What};
pub use explain::{Explanation, explain, explain_chain, explain_io};
pub use identity::{AUTHORITIES_MAX, CHAIN_CERTIFICATES_MAX, Ca, Identity, PEM_BYTES_MAX, load_ca};
pub use listening::{ClientCertificate, Listening, Settings};
pub use names::{NAME_BYTES_MAX, PeerNames, SAN_NAMES_MAX};
pub use peer::{GATEWAY_URN_PREFIX, gateway_uri, peer_gateway};
pub use rotating::{Reloaded, Rotating};
