//! Makes the sidecars of the search index in the background, the newest first: also of what an earlier process left, and
//! of what was lost.

use std::sync::Arc;
use std::time::Duration;

use model::Lane;
use spool::Spool;
use tokio_util::sync::CancellationToken;

use super::keys::RecordKeys;

/// How often it is looked whether a segment was sealed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a log whose index cannot be written is left alone.
const WAIT_AFTER_ERROR: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Indexer {
    spool: Arc<Spool>,
    keyed: RecordKeys,
}

impl Indexer {
    pub(crate) const fn new(spool: Arc<Spool>, keyed: RecordKeys) -> Self {
        Self { spool, keyed }
    }

    /// Runs until stopped; a sidecar that is begun is finished.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let mut wait = LOOK_EVERY;
            for lane in Lane::ALL {
                if !self.lane(lane, &stop).await {
                    wait = WAIT_AFTER_ERROR;
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether all that can be done is done.
    async fn lane(&self, lane: Lane, stop: &CancellationToken) -> bool {
        let log = self.spool.lane(lane);
        while let Some(segment) = log.unindexed() {
            if stop.is_cancelled() {
                return true;
            }
            match log.index_off_runtime(segment, Arc::new(self.keyed.clone())).await {
                Ok(()) => {}
                // It heals when there is room: meanwhile a search reads what it can and says what it left out.
                Err(error @ spool::Error::Full { .. }) => {
                    tracing::debug!(%lane, %error, "the search index waits for room");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(%lane, segment, %error, "a segment could not be indexed yet");
                    return false;
                }
            }
        }
        true
    }
}
