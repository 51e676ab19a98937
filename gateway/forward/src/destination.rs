//! The kinds of destination, closed: a new one is a folder and one line in each list here.

use model::wire::{AuditReceipt, AuditStanding, EpochGrant, EpochRequest};
use model::{Batch, Lane, Slug};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::{Committed, Destination, Nature, Release, SendError, check, lakehouse, mllp};

/// A destination as written in the configuration; `kind` says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Config {
    /// The lakehouse landing, over HTTP/2 with mutual TLS.
    Lakehouse(lakehouse::Config),
    /// Another HL7 v2 receiver.
    Mllp(mllp::Config),
}

impl Config {
    /// Checks what can be checked without a file or a network.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn check(&self) -> Result<(), BuildError> {
        match self {
            Self::Lakehouse(config) => config.check().map(drop).map_err(BuildError::Lakehouse),
            Self::Mllp(config) => config.check().map_err(BuildError::Mllp),
        }
    }

    /// Loads the files it names and builds the destination; connects when first used. Its connections are
    /// driven by tasks of `tasks`, which end soon after the destination is dropped.
    ///
    /// # Errors
    /// [`BuildError`] for the operator.
    pub fn build(&self, name: &Slug, tasks: &TaskTracker) -> Result<AnyDestination, BuildError> {
        match self {
            Self::Lakehouse(config) => {
                config.build(name, tasks).map(AnyDestination::Lakehouse).map_err(BuildError::Lakehouse)
            }
            Self::Mllp(config) => config.build().map(AnyDestination::Mllp).map_err(BuildError::Mllp),
        }
    }
}

/// Why a destination cannot be built; for the operator.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A lakehouse.
    #[error(transparent)]
    Lakehouse(#[from] lakehouse::BuildError),
    /// An HL7 v2 receiver.
    #[error(transparent)]
    Mllp(#[from] mllp::BuildError),
}

/// A destination of any kind.
#[derive(Debug)]
pub enum AnyDestination {
    /// The lakehouse landing.
    Lakehouse(lakehouse::Client),
    /// Another HL7 v2 receiver.
    Mllp(mllp::Sender),
}

impl AnyDestination {
    /// The name of its kind on pages: `lakehouse`, `mllp`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Lakehouse(_) => "lakehouse",
            Self::Mllp(_) => "mllp",
        }
    }

    /// The gateway that we are in the eyes of the destination, where it has a notion of that.
    pub fn gateway(&self) -> Option<&Slug> {
        match self {
            Self::Lakehouse(client) => Some(client.gateway()),
            Self::Mllp(_) => None,
        }
    }

    /// The certificate that we show and that has to be renewed, where there is one.
    pub fn rotating(&self) -> Option<&std::sync::Arc<tls::Rotating>> {
        match self {
            Self::Lakehouse(client) => Some(client.rotating()),
            Self::Mllp(sender) => sender.rotating(),
        }
    }
}

impl Destination for AnyDestination {
    fn nature(&self) -> Nature {
        match self {
            Self::Lakehouse(client) => client.nature(),
            Self::Mllp(sender) => sender.nature(),
        }
    }

    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        match self {
            Self::Lakehouse(client) => client.open(lane, request).await,
            Self::Mllp(sender) => sender.open(lane, request).await,
        }
    }

    async fn send(&self, batch: &Batch<Release>) -> Result<Committed, SendError> {
        match self {
            Self::Lakehouse(client) => client.send(batch).await,
            Self::Mllp(sender) => sender.send(batch).await,
        }
    }

    async fn knows(&self, lane: Lane) -> Result<Option<bool>, SendError> {
        match self {
            Self::Lakehouse(client) => client.knows(lane).await,
            Self::Mllp(sender) => sender.knows(lane).await,
        }
    }

    async fn standing(&self, origin: &str) -> Result<Option<AuditStanding>, SendError> {
        match self {
            Self::Lakehouse(client) => client.standing(origin).await,
            Self::Mllp(sender) => sender.standing(origin).await,
        }
    }

    async fn witness(&self, key: &str, body: String) -> Result<Option<AuditReceipt>, SendError> {
        match self {
            Self::Lakehouse(client) => client.witness(key, body).await,
            Self::Mllp(sender) => sender.witness(key, body).await,
        }
    }

    async fn test(&self) -> check::Report {
        match self {
            Self::Lakehouse(client) => client.test().await,
            Self::Mllp(sender) => sender.test().await,
        }
    }
}
