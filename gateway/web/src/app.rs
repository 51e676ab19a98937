//! What all pages share.

use std::net::IpAddr;
use std::sync::Arc;

use model::{AuditAction, AuditEvent, Clock, Timestamp};
use tls::Rotating;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::guard::HostNames;
use crate::history::History;
use crate::password::Hasher;
use crate::session::Sessions;
use crate::throttle::Throttle;
use crate::{AccountName, Product, Status};

/// Most pages that update themselves at once; further ones stand still until they are reloaded.
pub(crate) const LIVE_PAGES_MAX: usize = 32;

/// What all pages share.
pub(crate) struct App {
    pub(crate) product: Arc<dyn Product>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) host_names: HostNames,
    /// What the listener shows. `None` in tests without one.
    pub(crate) identity: Option<Arc<Rotating>>,
    /// Whether an operator installed that certificate.
    pub(crate) trusted_certificate: bool,
    pub(crate) sessions: Sessions,
    pub(crate) throttle: Throttle,
    pub(crate) hasher: Hasher,
    pub(crate) history: History,
    pub(crate) live_pages: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

/// One for all connections.
pub(crate) type Shared = Arc<App>;

/// How things are at one moment, as pages show it.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) now: Timestamp,
    /// Of the certificates that somebody must renew, the one that ends first.
    pub(crate) certificate_expires_at: Option<Timestamp>,
    pub(crate) trend: crate::history::Trend,
}

impl App {
    pub(crate) fn new(
        product: Arc<dyn Product>,
        clock: Arc<dyn Clock>,
        host_names: HostNames,
        identity: Option<Arc<Rotating>>,
        trusted_certificate: bool,
    ) -> Result<Self, crate::password::Busy> {
        Ok(Self {
            product,
            clock,
            host_names,
            identity,
            trusted_certificate,
            sessions: Sessions::default(),
            throttle: Throttle::default(),
            hasher: Hasher::new()?,
            history: History::default(),
            live_pages: Arc::new(Semaphore::new(LIVE_PAGES_MAX)),
            stop: CancellationToken::new(),
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let status = self.product.status();
        // The self-signed certificate renews itself: nobody needs to be told.
        let own =
            self.identity.as_ref().filter(|_| self.trusted_certificate).map(|i| i.current().expires_at());
        let certificate_expires_at = status.certificate_expires_at().into_iter().chain(own).min();
        Snapshot { now: self.clock.now(), certificate_expires_at, trend: self.history.trend(), status }
    }

    /// Takes one sample of the throughput.
    pub(crate) fn sample(&self) {
        self.history.push(&self.product.status());
    }

    /// Writes who did what to the audit log; `false` when it could not be written.
    pub(crate) async fn audit(&self, who: Option<&AccountName>, action: AuditAction, from: IpAddr) -> bool {
        let actor = who.map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let event = AuditEvent {
            at: self.clock.now(),
            actor,
            action,
            subject: "web".to_owned(),
            detail: format!("from {}", from.to_canonical()),
        };
        let written = self.product.audit(event).await;
        if written.is_err() {
            tracing::error!(?action, "the audit log could not be written");
        }
        written.is_ok()
    }
}
