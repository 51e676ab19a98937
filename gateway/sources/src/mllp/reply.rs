//! The answers, and the texts that tell a sender what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hl7::{Ack, AckCode, ErrorCode, Fault, Header, Location, ParseError};
use model::{Clock, Refusal};

/// Writes acknowledgements with a fresh MSH-10 each.
#[derive(Debug)]
pub(crate) struct Replies {
    clock: Arc<dyn Clock>,
    /// Microseconds at the start, then counted up: unique across restarts as long as there are fewer than a million
    /// answers a second, and in the order of writing.
    next: AtomicU64,
    frame_bytes_max: u64,
}

impl Replies {
    pub(crate) fn new(clock: Arc<dyn Clock>, frame_bytes_max: u64) -> Self {
        let next = AtomicU64::new(u64::try_from(clock.now().micros()).unwrap_or(0));
        Self { clock, next, frame_bytes_max }
    }

    /// AA.
    pub(crate) fn accepted(&self, header: &Header) -> Bytes {
        self.write(AckCode::Accept, None, Some(header))
    }

    /// AR for a frame that is no message. It is stored all the same.
    pub(crate) fn unparsed(&self, error: &ParseError) -> Bytes {
        let text = format!("Rejected: {error}. Correct the message and send it again.");
        let fault = Fault { code: hl7::ack::fault_of(error), location: None, text: &text };
        self.write(AckCode::Reject, Some(fault), None)
    }

    /// AE or AR for a frame that was not stored.
    pub(crate) fn refused(&self, refusal: Refusal, header: Option<&Header>) -> Bytes {
        let limit = self.frame_bytes_max;
        let (code, condition, text) = match refusal {
            Refusal::Full => (
                AckCode::Error,
                ErrorCode::RecordLocked,
                "Not stored: the gateway has no room left. Send the message again later.".to_owned(),
            ),
            Refusal::Stopping => (
                AckCode::Error,
                ErrorCode::RecordLocked,
                "Not stored: the gateway is stopping. Connect again and send the message again.".to_owned(),
            ),
            Refusal::Storage => (
                AckCode::Error,
                ErrorCode::Internal,
                "Not stored: the gateway's storage failed. Tell its operator and send the message again later."
                    .to_owned(),
            ),
            Refusal::TooLarge => (
                AckCode::Reject,
                ErrorCode::Internal,
                format!(
                    "Not stored: longer than this feed's limit of {limit} bytes. Send a shorter message or have the limit raised."
                ),
            ),
        };
        self.write(code, Some(Fault { code: condition, location: None, text: &text }), header)
    }

    /// AR for a message of a sender that the feed does not take.
    pub(crate) fn sender_refused(&self, header: &Header) -> Bytes {
        let location = Location { segment: "MSH", occurrence: 1, field: Some(3) };
        let text = "Not stored: this feed does not take messages of this sending application and facility (MSH-3, \
                    MSH-4). Send it to the feed that does, or have the sender admitted here.";
        let fault = Fault { code: ErrorCode::TableValueNotFound, location: Some(location), text };
        self.write(AckCode::Reject, Some(fault), Some(header))
    }

    fn write(&self, code: AckCode, fault: Option<Fault<'_>>, header: Option<&Header>) -> Bytes {
        let control_id = control_id(self.next.fetch_add(1, Ordering::Relaxed));
        let sent_at = self.clock.now().to_hl7();
        let (control_id, sent_at) = (control_id.as_str(), sent_at.as_str());
        Ack { code, fault, control_id, sent_at, expected_sequence: None }.to_bytes(header).into()
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
    fn control_ids_are_short_and_distinct() {
        assert_eq!(control_id(0), "W0");
        assert_eq!(control_id(36), "W10");
        assert_eq!(control_id(1_795_000_000_000_000).len(), 11);
        assert!(control_id(u64::MAX).len() <= 20);
        assert_ne!(control_id(1_795_000_000_000_000), control_id(1_795_000_000_000_001));
    }
}
