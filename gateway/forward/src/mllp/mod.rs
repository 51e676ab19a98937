//! Another HL7 v2 receiver: MLLP, in the clear or over TLS.
//!
//! **Promise.** At least once, in the order of the lane. A message is committed by the positive answer that names it in
//! MSA-2, and by nothing else; until then exactly the same bytes are sent again, so that MSH-10 is a stable key by
//! which the receiver can tell a repetition. A crash repeats one message per lane at most.
//!
//! | the receiver | what becomes of the message |
//! |---|---|
//! | AA, or CA where that is enough ([`hl7::exchange`]) | committed |
//! | AE, CE | sent again after a pause, or held after so many of them: `on_error` |
//! | AR, CR | held for a person with condition and place of the refusal; the lane goes on |
//! | silence, a foreign or second answer, a message of its own, a broken line | the connection is closed and the same bytes are sent on a new one |
//!
//! **Limits.** One message under way per lane, so that order survives a refusal; one connection per lane, made when
//! there is something to send. Waits: `connect_timeout_s`, `answer_timeout_s` and the size of the message.
//!
//! **Invariants.**
//! - No connection is used again after a time-out or a fault. Where an answer could not be told from one to an earlier
//!   message (equal or missing MSH-10), a new connection is made first.
//! - What cannot be framed, or is no HL7, is never sent; it is held.
//! - Nothing here remembers what was committed; the pipeline's cursor is the truth ([`crate::Nature`]).
//! - Words of the receiver are not logged: they may quote the message.

pub mod client;
mod config;
mod connect;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use hl7::exchange::WaitFor;
use model::wire::{EpochGrant, EpochRequest};
use model::{Batch, Format, Lane, Seq};
use tls::Rotating;
use tokio::sync::Mutex;

use self::client::{Answer, Client, ClientError};
use crate::check::{Outcome, Report, Step};
use crate::{Committed, Destination, EncodeError, Nature, Release, SendError};

pub use config::{
    ATTEMPTS_MAX, BuildError, Config, OnError, PORT_DEFAULT, PORT_TLS_DEFAULT, TIMEOUT_S_MAX, Tls, Wait,
};
pub use connect::{Dialler, Stream, Wire};

/// How the receiver is called in explanations.
const PEER: &str = "the receiver";

/// A receiver, connected when there is something to send. Share it by reference.
pub struct Sender {
    dialler: Dialler,
    answer_timeout: Duration,
    wait: WaitFor,
    on_error: OnError,
    attempts: u32,
    lanes: Box<[Mutex<Line>; Lane::ALL.len()]>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("dialler", &self.dialler).finish_non_exhaustive()
    }
}

/// One lane's connection.
#[derive(Default)]
struct Line {
    live: Option<Live>,
    /// AE or CE in a row, and for which record.
    declined: (Seq, u32),
}

struct Live {
    client: Client<Stream>,
    /// Which certificate was shown.
    generation: u64,
}

impl Sender {
    fn new(config: &Config, dialler: Dialler) -> Self {
        Self {
            dialler,
            answer_timeout: config::seconds(config.answer_timeout_s),
            wait: config.wait_for.into(),
            on_error: config.on_error,
            attempts: config.attempts,
            lanes: Default::default(),
        }
    }

    /// The certificate we show, where there is one; reload it when its files change.
    pub fn rotating(&self) -> Option<&Arc<Rotating>> {
        self.dialler.rotating()
    }

    fn line(&self, lane: Lane) -> &Mutex<Line> {
        let [urgent, clinical, bulk] = self.lanes.as_ref();
        match lane {
            Lane::Urgent => urgent,
            Lane::Clinical => clinical,
            Lane::Bulk => bulk,
        }
    }

    async fn dial(&self) -> Result<Live, SendError> {
        // Before the handshake: a swap in the midst of it makes this connection count as old, never as new.
        let generation = self.dialler.generation();
        let stream = self.dialler.connect().await.map_err(|why| SendError::Unreachable { why })?;
        Ok(Live { client: Client::waiting_for(self.wait, stream, self.answer_timeout), generation })
    }

    /// A connection on which an answer to `message` can be told from any other; made now where there is none.
    async fn live(&self, line: &mut Line, message: &[u8]) -> Result<Live, SendError> {
        if let Some(mut live) = line.live.take() {
            let usable = live.generation == self.dialler.generation() && live.client.can_send(message);
            report_late(&mut live.client);
            if usable {
                return Ok(live);
            }
        }
        self.dial().await
    }

    async fn deliver(&self, lane: Lane, seq: Seq, message: &[u8]) -> Result<(), SendError> {
        if !hl7::mllp::can_frame(message) {
            let why = "it holds the bytes that begin or end an MLLP frame, so no receiver could find its end";
            return Err(SendError::Rejected { seq, why: why.to_owned() });
        }
        let mut line = self.line(lane).lock().await;
        // Out of its place while it is used: should this call be cancelled, the connection goes with it.
        let mut live = self.live(&mut line, message).await?;
        let answer = live.client.deliver(message).await.map_err(|e| unknown(&e))?;
        report_late(&mut live.client);
        line.live = Some(live);
        let refused = answer.filter(|a| !a.code().is_positive());
        let declined = std::mem::take(&mut line.declined);
        let Some(refused) = refused else { return Ok(()) };
        let why = format!("{PEER} answered {}", refused.reason());
        if !client::is_passing(refused.code()) {
            return Err(SendError::Rejected { seq, why });
        }
        let count = if declined.0 == seq { declined.1.saturating_add(1) } else { 1 };
        if self.on_error == OnError::Hold && count >= self.attempts {
            let why = format!("{why}, {count} times in a row");
            return Err(SendError::Rejected { seq, why });
        }
        line.declined = (seq, count);
        Err(SendError::Declined { why })
    }
}

/// An application answer that comes after a CA changes nothing any more: the receiver had taken the message over.
fn report_late(client: &mut Client<Stream>) {
    for answer in client.take_late() {
        if !answer.code().is_positive() {
            tracing::warn!(reason = %Answer::reason(&answer), "a receiver that had taken a message over reports an error of its application");
        }
    }
}

/// Whether a message that is not answered was taken is not known: it is sent again on a new connection.
fn unknown(error: &ClientError) -> SendError {
    let why = match error {
        ClientError::Io(e) => tls::explain_io(e, PEER).to_string(),
        ClientError::Closed => {
            format!("{PEER} closed the connection before it answered; look in its log")
        }
        ClientError::Timeout(waited) => {
            format!("{PEER} did not answer within {} s; look in its log", waited.as_secs())
        }
        ClientError::NotMllp => "what answers there does not speak MLLP; check the port".to_owned(),
        other => format!("{other}; the connection is closed and the message sent again"),
    };
    SendError::Unknown { why }
}

impl Destination for Sender {
    fn nature(&self) -> Nature {
        let stop_grace = self.answer_timeout.min(crate::STOP_GRACE_MAX);
        Nature { remembers: false, hl7_only: true, stop_grace }
    }

    /// There is nobody to ask: the receiver grants what is proposed, and what the cursor says was taken is taken. It
    /// is reached, though, so that the breaker hears of one that is away.
    async fn open(&self, lane: Lane, request: &EpochRequest) -> Result<EpochGrant, SendError> {
        let mut line = self.line(lane).lock().await;
        if line.live.is_none() {
            line.live = Some(self.dial().await?);
        }
        Ok(EpochGrant { epoch: request.proposed, watermark: request.resume_after, manifest_sha256: None })
    }

    /// A batch of one record at most, so that no answer stands for two.
    async fn send(&self, batch: &Batch<Release>) -> Result<Committed, SendError> {
        batch.check().map_err(EncodeError::Untiled)?;
        let (manifest, bytes) = match batch.records.as_slice() {
            [] => (String::new(), 0),
            [release] => {
                let released = release.as_released();
                if released.format != Format::Hl7v2 {
                    let why = "it is no HL7 v2 message, and this destination takes nothing else";
                    return Err(SendError::Rejected { seq: released.seq, why: why.to_owned() });
                }
                // A record may carry the envelope of the batch it came in; the receiver gets messages.
                let message = hl7::batch::message_of(release.payload());
                self.deliver(batch.stream.lane, released.seq, message).await?;
                let sha256 = digest::digest(&digest::SHA256, message);
                (hex::encode(sha256), message.len() as u64)
            }
            _ => return Err(SendError::Encode(EncodeError::TooManyRecords)),
        };
        Ok(Committed { landed: None, manifest_sha256: manifest, bytes_raw: bytes, bytes_wire: bytes })
    }

    async fn test(&self) -> Report {
        let mut tried = Vec::new();
        let connected = self
            .dialler
            .connect_telling(&mut |step, detail| tried.push((step, Outcome::Passed { detail })))
            .await;
        let lingered = match connected {
            Ok(stream) => self.dialler.linger(stream).await,
            Err(e) => Err(e),
        };
        let outcome = match lingered {
            Ok(()) => {
                let detail =
                    "it keeps the connection; MLLP has no greeting, so the first message shows the rest";
                (Step::Authorisation, Outcome::Passed { detail: detail.to_owned() })
            }
            Err(e) => {
                tried.retain(|(step, _)| *step < e.step);
                let tls::Explanation { what, remedy } = e.explanation;
                (e.step, Outcome::Failed { why: what, remedy })
            }
        };
        tried.push(outcome);
        Report::complete(tried)
    }
}
