//! Dialling a receiver of MLLP, in plain text or over TLS: for `send` and `simulate`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustls::pki_types::ServerName;
use sources::mllp::client::{Client, ClientError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, rustls};

use crate::cli;

/// What a line runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection to a receiver.
pub(crate) type Line = Client<Box<dyn Stream>>;

/// Dials one receiver as often as needed.
#[derive(Clone)]
pub(crate) struct Dialler {
    address: SocketAddr,
    over: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    answer_timeout: Duration,
}

impl Dialler {
    /// Resolves the address and reads the certificates.
    pub(crate) fn new(
        to: &str,
        tls: &cli::Tls,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let address = cli::resolve(to)?;
        let over = if tls.tls { Some(connector(to, tls)?) } else { None };
        Ok(Self { address, over, connect_timeout, answer_timeout })
    }

    /// Connects, and shakes hands where the line is TLS.
    pub(crate) async fn dial(&self) -> anyhow::Result<Line> {
        let within = self.connect_timeout;
        let dialling = async {
            let stream = TcpStream::connect(self.address).await.map_err(ClientError::Connect)?;
            stream.set_nodelay(true)?;
            let Some((connector, name)) = &self.over else {
                return Ok::<Box<dyn Stream>, anyhow::Error>(Box::new(stream));
            };
            let stream = connector
                .connect(name.clone(), stream)
                .await
                .map_err(|e| anyhow!("{}", tls::explain_io(&e, "the receiver")))?;
            Ok(Box::new(stream))
        };
        let stream = timeout(within, dialling).await.map_err(|_| ClientError::ConnectTimeout(within))??;
        Ok(Client::over(stream, self.answer_timeout))
    }
}

fn connector(to: &str, tls: &cli::Tls) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
    let ca = tls.ca.as_deref().context("--tls needs --ca: the authority of the receiver's certificate")?;
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Some(::tls::Identity::load(certificate, key)?.into()),
        _ => None,
    };
    // A receiver of the field may know no better; who it is is proven all the same.
    let config =
        ::tls::client_config_accepting(::tls::Versions::From12, &::tls::load_ca(ca)?, identity, &[])?;
    let host = to.rsplit_once(':').map_or(to, |(host, _)| host).trim_matches(['[', ']']);
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let name =
        ServerName::try_from(name.clone()).map_err(|_| anyhow!("{name} is no host name and no address"))?;
    Ok((TlsConnector::from(config), name))
}
