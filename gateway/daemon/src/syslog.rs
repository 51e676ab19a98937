//! The audit log to a syslog server, over TLS (RFC 5425) in the format of RFC 5424.
//!
//! **Promise.** Every entry is sent, oldest first, also those of times without a connection; a server that is away or
//! slow is shown and holds up nothing else, but that the journal keeps what is not sent yet until it is full (docs/keeping.md).
//! Syslog has no answers: an entry counts as sent when the connection
//! stood for [`SETTLE`] after it was written. So what a server swallows while it falls over may be lost to it, and
//! what was written just before a connection broke is sent again.
//!
//! **Limits.** One connection; one entry under way; [`WRITE_TIMEOUT`] for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::audit::export::Exported;
use ::audit::export::syslog::{Body, framed};
use forward::mllp::{Dialler, Stream};
use forward::retry::{Backoff, Limits};
use model::{Clock, Seq, Slug, Timestamp};
use serde::Serialize;
use spool::{AuditReader, AuditStep, Spool, Table};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a connection must stand after an entry was written before the entry counts as sent.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest time for one entry.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most entries that are written and not yet settled.
const UNSETTLED_MAX: u64 = 1024;
/// Where the next entry's number in the journal is remembered.
const POSITION: &[u8] = b"audit-syslog";

/// Who it is, to the journal.
const NAME: &str = "the syslog server";

/// How it stands.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Status {
    /// Whether there is a connection.
    pub(crate) connected: bool,
    /// Entries sent since the start.
    pub(crate) sent: u64,
    /// When the last of them was.
    pub(crate) last_sent_at: Option<Timestamp>,
    /// Why there is no connection, where the last attempt failed.
    pub(crate) failing: Option<String>,
}

/// The status, shared with who shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Status>>);

impl Board {
    pub(crate) fn status(&self) -> Status {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Sends the audit log to one server.
pub(crate) struct Relay {
    pub(crate) gateway: Slug,
    pub(crate) dialler: Dialler,
    pub(crate) body: Body,
    pub(crate) spool: Arc<Spool>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Board,
}

impl Relay {
    /// Sends until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Limits::default());
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = self.session(&mut backoff) => ended,
            };
            let why = match ended {
                Ok(never) => match never {},
                Err(why) => why,
            };
            let wait = backoff.failed(rand::random(), None);
            tracing::warn!(%why, "the audit log does not reach its syslog server");
            self.board.change(|status| {
                status.connected = false;
                status.failing = Some(why);
            });
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.board.change(|status| status.connected = false);
    }

    fn position(&self) -> Result<Seq, spool::Error> {
        let kept = self.spool.state().get(Table::Meta, POSITION)?;
        let seq = kept.and_then(|bytes| bytes.try_into().ok()).map_or(1, u64::from_be_bytes);
        Ok(seq.max(self.spool.journal().oldest()))
    }

    /// From now on the journal keeps what is still to be sent.
    ///
    /// # Errors
    /// The state store's.
    pub(crate) fn announce(&self) -> Result<(), spool::Error> {
        self.needs(self.position()?);
        Ok(())
    }

    fn needs(&self, next: Seq) {
        self.spool.audit_log().need(NAME, next.saturating_sub(1), "every entry was sent to it".to_owned());
    }

    async fn settled(&self, next: Seq) -> Result<(), spool::Error> {
        self.spool.state().put(Table::Meta, POSITION, &next.to_be_bytes())?;
        self.spool.state().sync().await?;
        self.needs(next);
        Ok(())
    }

    /// One connection. Ends with the reason.
    async fn session(&self, backoff: &mut Backoff) -> Result<std::convert::Infallible, String> {
        let stream = self.dialler.connect().await?;
        self.board.change(|status| {
            status.connected = true;
            status.failing = None;
        });
        let ours = |e: spool::Error| e.to_string();
        let mut reader = AuditReader::new(self.spool.journal(), self.position().map_err(ours)?);
        let durable = self.spool.journal().durable();
        let mut line = Line { stream, unsettled: None };
        loop {
            let seen = *durable.borrow();
            let mut is_at_end = true;
            if line.unsettled.as_ref().is_none_or(|u| u.entries < UNSETTLED_MAX)
                && let Some(step) = reader.next().await.map_err(ours)?
            {
                is_at_end = false;
                // What cannot be read is for `wardgate audit verify`; the rest goes on.
                if let AuditStep::Entry(record) = step
                    && let Some(entry) = &record.entry
                {
                    let index = record.before.size();
                    let exported = Exported { gateway: &self.gateway, index, leaf: record.hash, entry };
                    line.write(&framed(&exported, self.body), record.seq + 1).await?;
                    let at = self.clock.now();
                    self.board.change(|status| {
                        status.sent += 1;
                        status.last_sent_at = Some(at);
                    });
                }
            }
            if !is_at_end {
                continue;
            }
            let due = line.unsettled.as_ref().map(|u| u.last + SETTLE);
            tokio::select! {
                ended = line.ended() => return Err(ended),
                _ = durable.beyond(seen) => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some(unsettled) = line.unsettled.take() {
                        self.settled(unsettled.next).await.map_err(ours)?;
                        backoff.succeeded();
                    }
                }
            }
        }
    }
}

/// A connection, and what was written on it lately.
struct Line {
    stream: Stream,
    unsettled: Option<Unsettled>,
}

struct Unsettled {
    entries: u64,
    /// The number in the journal behind the last of them.
    next: Seq,
    /// When it was written.
    last: Instant,
}

impl Line {
    async fn write(&mut self, frame: &[u8], next: Seq) -> Result<(), String> {
        let written = timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(format!("the connection broke: {error}")),
            Err(_) => return Err(format!("it takes nothing for {} s", WRITE_TIMEOUT.as_secs())),
        }
        let entries = self.unsettled.as_ref().map_or(0, |u| u.entries) + 1;
        self.unsettled = Some(Unsettled { entries, next, last: Instant::now() });
        Ok(())
    }

    /// A server of syslog says nothing; what is read is its end.
    async fn ended(&mut self) -> String {
        let mut bytes = [0; 256];
        loop {
            match self.stream.read(&mut bytes).await {
                Ok(0) => return "it closed the connection".to_owned(),
                Ok(_) => {}
                Err(error) => return format!("the connection broke: {error}"),
            }
        }
    }
}
