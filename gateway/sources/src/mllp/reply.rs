//! The answers, and the texts that tell a sender what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hl7::mllp::{CR, FS, VT};
use hl7::{Ack, ErrorCode, Fate, Fault, Header, Location, ParseError};
use model::{Clock, Refusal};

use super::{Acknowledge, Config};

/// What stands between two answers that leave together: the end of a frame and the beginning of the next.
const BETWEEN: [u8; 3] = [FS, CR, VT];

/// The answers of one message, each without its frame.
pub(crate) fn split_frames(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(answer);
    std::iter::from_fn(move || {
        let now = rest?;
        let (first, later) = match memchr::memmem::find(now, &BETWEEN) {
            Some(at) => (now.get(..at)?, now.get(at + BETWEEN.len()..)),
            None => (now, None),
        };
        rest = later;
        Some(first)
    })
}

/// Writes acknowledgements with a fresh MSH-10 each.
#[derive(Debug)]
pub(crate) struct Replies {
    clock: Arc<dyn Clock>,
    /// Microseconds at the start, then counted up: unique across restarts as long as there are fewer than a million
    /// answers a second, and in the order of writing.
    next: AtomicU64,
    frame_bytes_max: u64,
    acknowledge: Acknowledge,
}

impl Replies {
    pub(crate) fn new(clock: Arc<dyn Clock>, config: &Config) -> Self {
        let next = AtomicU64::new(u64::try_from(clock.now().micros()).unwrap_or(0));
        Self { clock, next, frame_bytes_max: config.frame_bytes_max, acknowledge: config.acknowledge }
    }

    /// A fresh control id, and the time.
    pub(crate) fn stamp(&self) -> (String, String) {
        (control_id(self.next.fetch_add(1, Ordering::Relaxed)), self.clock.now().to_hl7())
    }

    /// CA and AA, as far as they are asked for.
    pub(crate) fn accepted(&self, header: &Header, sequence: Option<i64>) -> Option<Bytes> {
        self.write(Fate::Accepted, None, Some(header), sequence)
    }

    /// CR or AR for a frame that is no message. It is stored all the same.
    pub(crate) fn unparsed(&self, error: &ParseError) -> Option<Bytes> {
        let text = format!("Rejected: {error}. Correct the message and send it again.");
        let fault = Fault { code: hl7::ack::fault_of(error), location: None, text: &text };
        self.write(Fate::Rejected, Some(fault), None, None)
    }

    /// CE or AE for a message that comes out of its order.
    pub(crate) fn out_of_sequence(&self, header: &Header, expected: i64, found: i64) -> Option<Bytes> {
        let text = format!("Not stored: the sequence number is {found} and {expected} is expected.");
        let location = Some(Location { segment: "MSH", occurrence: 1, field: Some(13) });
        let fault = Fault { code: ErrorCode::Internal, location, text: &text };
        self.write(Fate::Failed, Some(fault), Some(header), Some(expected))
    }

    /// CE, AE, CR or AR for a frame that was not stored.
    pub(crate) fn refused(&self, refusal: Refusal, header: Option<&Header>) -> Option<Bytes> {
        let limit = self.frame_bytes_max;
        let (fate, condition, text) = match refusal {
            Refusal::Full => (
                Fate::Failed,
                ErrorCode::RecordLocked,
                "Not stored: the gateway has no room left. Send the message again later.".to_owned(),
            ),
            Refusal::Stopping => (
                Fate::Failed,
                ErrorCode::RecordLocked,
                "Not stored: the gateway is stopping. Connect again and send the message again.".to_owned(),
            ),
            Refusal::Storage => (
                Fate::Failed,
                ErrorCode::Internal,
                "Not stored: the gateway's storage failed. Tell its operator and send the message again later."
                    .to_owned(),
            ),
            Refusal::TooLarge => (
                Fate::Rejected,
                ErrorCode::Internal,
                format!(
                    "Not stored: longer than this feed's limit of {limit} bytes. Send a shorter message or have the limit raised."
                ),
            ),
        };
        self.write(fate, Some(Fault { code: condition, location: None, text: &text }), header, None)
    }

    /// CR or AR for a message of a sender that the feed does not take.
    pub(crate) fn sender_refused(&self, header: &Header) -> Option<Bytes> {
        let location = Location { segment: "MSH", occurrence: 1, field: Some(3) };
        let text = "Not stored: this feed does not take messages of this sending application and facility (MSH-3, \
                    MSH-4). Send it to the feed that does, or have the sender admitted here.";
        let fault = Fault { code: ErrorCode::TableValueNotFound, location: Some(location), text };
        self.write(Fate::Rejected, Some(fault), Some(header), None)
    }

    fn write(
        &self,
        fate: Fate,
        fault: Option<Fault<'_>>,
        header: Option<&Header>,
        expected_sequence: Option<i64>,
    ) -> Option<Bytes> {
        let mut out = Vec::new();
        for code in self.acknowledge.mode_for(header).codes(fate) {
            if !out.is_empty() {
                out.extend_from_slice(&BETWEEN);
            }
            let (control_id, sent_at) = self.stamp();
            let (control_id, sent_at) = (control_id.as_str(), sent_at.as_str());
            out.extend(Ack { code, fault, control_id, sent_at, expected_sequence }.to_bytes(header));
        }
        (!out.is_empty()).then(|| out.into())
    }
}

/// `W` and base 36: 11 characters until the year 5188, within the 20 that MSH-10 has in every version.
fn control_id(mut number: u64) -> String {
    let mut digits = Vec::with_capacity(14);
    loop {
        let digit = u32::try_from(number % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0').to_ascii_uppercase());
        number /= 36;
        if number == 0 {
            break;
        }
    }
    std::iter::once('W').chain(digits.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_leave_together_are_told_apart() {
        let frames = |answer: &'static [u8]| split_frames(answer).collect::<Vec<_>>();
        assert_eq!(frames(b"MSH|1\rMSA|CA\r"), [b"MSH|1\rMSA|CA\r"]);
        assert_eq!(frames(b"MSH|1\r\x1c\r\x0bMSH|2\r"), [b"MSH|1\r", b"MSH|2\r"]);
    }

    #[test]
    fn control_ids_are_short_and_distinct() {
        assert_eq!(control_id(0), "W0");
        assert_eq!(control_id(36), "W10");
        assert_eq!(control_id(1_795_000_000_000_000).len(), 11);
        assert!(control_id(u64::MAX).len() <= 20);
        assert_ne!(control_id(1_795_000_000_000_000), control_id(1_795_000_000_000_001));
    }
}
