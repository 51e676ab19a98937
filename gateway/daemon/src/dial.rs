//! Dialling a receiver of MLLP, in plain text or over TLS: for `send` and `simulate`.

use std::time::Duration;

use anyhow::Context as _;
use forward::mllp::client::Client;
use forward::mllp::{self, Stream};

use crate::cli;
use crate::exit::NotReachable;

/// A connection to a receiver.
pub(crate) type Line = Client<Stream>;

/// Dials one receiver as often as needed.
#[derive(Debug, Clone)]
pub(crate) struct Dialler {
    to: String,
    dialler: mllp::Dialler,
    answer_timeout: Duration,
}

impl Dialler {
    /// Checks the address and reads the certificates.
    pub(crate) fn new(
        to: &str,
        tls: &cli::Tls,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> anyhow::Result<Self> {
        let mut config = mllp::Config::to(to);
        config.connect_timeout_s = u32::try_from(connect_timeout.as_secs()).unwrap_or(u32::MAX);
        if tls.tls {
            config.tls = Some(mllp::Tls {
                ca: tls
                    .ca
                    .clone()
                    .context("--tls needs --ca: the authority of the receiver's certificate")?,
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
                server_name: tls.server_name.clone(),
                // A receiver of the field may know no better; who it is is proven all the same.
                min_version: tls::Versions::From12,
            });
        }
        config.check().with_context(|| format!("--to {to}"))?;
        Ok(Self { to: to.to_owned(), dialler: config.dialler()?, answer_timeout })
    }

    /// Finds out whether the receiver lets us in, and why not.
    pub(crate) async fn reach(&self) -> anyhow::Result<()> {
        self.dialler.reach().await.map_err(|why| NotReachable(format!("{}: {why}", self.to)).into())
    }

    /// Connects, and shakes hands where the line is TLS.
    pub(crate) async fn dial(&self) -> anyhow::Result<Line> {
        let stream =
            self.dialler.connect().await.map_err(|why| NotReachable(format!("{}: {why}", self.to)))?;
        Ok(Client::over(stream, self.answer_timeout))
    }
}
