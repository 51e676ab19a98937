//! Why what was under way with a destination broke off.

use std::time::Duration;

use forward::SendError;

use crate::Error;

/// By whose fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error(transparent)]
    Send(SendError),
    #[error(transparent)]
    Ours(Error),
}

impl Broken {
    /// What the destination asked for.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Send(SendError::Busy { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

impl From<SendError> for Broken {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

impl<E: Into<Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Ours(error.into())
    }
}
