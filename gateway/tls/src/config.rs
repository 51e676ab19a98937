//! rustls configurations, with everything decided.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Ca, Error, Identity, Rotating};

/// The oldest version of TLS that is spoken, as `min_version` of a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TlsVersion")]
pub enum Versions {
    /// TLS 1.2 with its AEAD suites, and 1.3: for devices and engines on the ward that know no better.
    #[serde(rename = "1.2")]
    From12,
    /// TLS 1.3 alone.
    #[default]
    #[serde(rename = "1.3")]
    Only13,
}

static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static FROM_12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

impl Versions {
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Only13 => ONLY_13,
            Self::From12 => FROM_12,
        }
    }
}

/// What a side shows: an identity as it is, or one that rotates.
#[derive(Debug, Clone)]
pub struct Presented(Arc<Rotating>);

impl From<Identity> for Presented {
    fn from(identity: Identity) -> Self {
        Self(Rotating::fixed(identity))
    }
}

impl From<&Identity> for Presented {
    fn from(identity: &Identity) -> Self {
        Self(Rotating::fixed(identity.clone()))
    }
}

impl From<Arc<Rotating>> for Presented {
    fn from(rotating: Arc<Rotating>) -> Self {
        Self(rotating)
    }
}

impl From<&Arc<Rotating>> for Presented {
    fn from(rotating: &Arc<Rotating>) -> Self {
        Self(Arc::clone(rotating))
    }
}

/// What a listener asks of a client's certificate.
#[derive(Debug, Clone, Copy)]
pub enum ClientAuth<'a> {
    /// It is not asked for one.
    Nothing,
    /// It may show one; one that is shown must come from this authority.
    Optional(&'a Ca),
    /// It must show one of this authority.
    Required(&'a Ca),
}

/// The provider that every configuration names.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A listener's configuration, TLS 1.3 only. With `client_ca` the client must show a certificate of it; without,
/// it is not asked for one. `alpn` in order of preference, e.g. `&["h2"]`.
///
/// # Errors
/// [`Error::Crypto`], also for revocation lists that cannot be read.
pub fn server_config(
    identity: impl Into<Presented>,
    client_ca: Option<&Ca>,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, Error> {
    let client = client_ca.map_or(ClientAuth::Nothing, ClientAuth::Required);
    server_config_accepting(Versions::Only13, identity, client, alpn)
}

/// [`server_config`] for other versions, and with a choice of what is asked of a client.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_accepting(
    versions: Versions,
    identity: impl Into<Presented>,
    client: ClientAuth<'_>,
    alpn: &[&str],
) -> Result<Arc<ServerConfig>, Error> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions.supported())?;
    let verifier = |ca: &Ca| {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&ca.roots), provider())
            .with_crls(ca.revocations.iter().cloned())
            .enforce_revocation_expiration()
            .allow_unknown_revocation_status()
    };
    let built = match client {
        ClientAuth::Nothing => None,
        ClientAuth::Optional(ca) => Some(verifier(ca).allow_unauthenticated().build()),
        ClientAuth::Required(ca) => Some(verifier(ca).build()),
    };
    let builder = match built {
        None => builder.with_no_client_auth(),
        Some(verifier) => {
            builder.with_client_cert_verifier(verifier.map_err(|e| rustls::Error::General(e.to_string()))?)
        }
    };
    let Presented(rotating) = identity.into();
    let mut config = builder.with_cert_resolver(rotating);
    config.alpn_protocols = protocols(alpn);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A client's configuration, TLS 1.3 only: the server must show a certificate of `pinned` for the name that is
/// dialled; `identity` is shown when the server asks.
///
/// # Errors
/// [`Error::Crypto`].
pub fn client_config(
    pinned: &Ca,
    identity: Option<Presented>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, Error> {
    client_config_accepting(Versions::Only13, pinned, identity, alpn)
}

/// [`client_config`] for other versions: brokers and engines that know no TLS 1.3.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_accepting(
    versions: Versions,
    pinned: &Ca,
    identity: Option<Presented>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, Error> {
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::<RootCertStore>::clone(&pinned.roots),
        provider(),
    )
    .with_crls(pinned.revocations.iter().cloned())
    .enforce_revocation_expiration()
    .allow_unknown_revocation_status()
    .build()
    .map_err(|e| rustls::Error::General(e.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions.supported())?
        .with_webpki_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Presented(rotating)) => builder.with_client_cert_resolver(rotating),
    };
    config.alpn_protocols = protocols(alpn);
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
