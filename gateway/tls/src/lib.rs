//! Certificates, identities and rustls configurations.
